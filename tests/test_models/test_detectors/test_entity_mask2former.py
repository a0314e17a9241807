"""The segmenter as mmengine's loops call it."""
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine import ConfigDict
from mmengine.optim import OptimWrapper
from pycocotools import mask as coco_mask

from sohes.registry import MODELS
from tests.test_models.test_dense_heads.tiny_head import (
    boxes_of,
    head_config,
    sample_of,
    train_config,
)

BOXES = [(8, 8, 60, 60), (16, 16, 50, 50), (70, 4, 90, 40)]


def build(train_only=None, **test_cfg):
    torch.manual_seed(0)
    head = head_config(in_channels=[64, 128, 256, 512])
    train_cfg = head.pop('train_cfg', train_config())
    return MODELS.build(
        ConfigDict(
            type='sohes.EntityMask2Former',
            train_only=train_only,
            data_preprocessor=dict(
                type='mmdet.DetDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                pad_size_divisor=32,
                pad_mask=True,
                mask_pad_value=0),
            backbone=dict(type='mmdet.ResNet', depth=18, norm_eval=True),
            panoptic_head=head,
            panoptic_fusion_head=dict(type='sohes.EntityFusionHead'),
            train_cfg=train_cfg,
            test_cfg=test_cfg))


def batch(*sizes, boxes=BOXES):
    rng = np.random.default_rng(0)
    data = dict(inputs=[], data_samples=[])
    for index, size in enumerate(sizes):
        image = rng.integers(0, 256, (3, *size), dtype=np.uint8)
        data['inputs'].append(torch.from_numpy(image))
        sample = sample_of(boxes_of(*boxes, size=size), index)
        sample.set_metainfo(dict(ori_shape=(2 * size[0] - 1, 2 * size[1])))
        data['data_samples'].append(sample)
    return data


def test_masks_that_have_no_query_are_counted():
    model = build().train()
    many = [(8 * i, 0, 8 * i + 8, 30) for i in range(11)]
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    queries = model.panoptic_head.num_queries
    for boxes, left in ((many, 11 - queries), (BOXES, 0)):
        logs = model.train_step(batch((64, 96), (64, 96), boxes=boxes),
                                optimizer)
        assert logs['masks_without_query'] == left
        assert logs['loss'].item() == pytest.approx(sum(
            value.item() for name, value in logs.items() if 'loss_' in name))


def test_one_head_is_trained_and_the_rest_stays():
    model = build(train_only='ancestor_head').train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.train_step(batch((64, 96)), optimizer)
    changed = {name for name, parameter in model.named_parameters()
               if not torch.equal(before[name], parameter)}
    assert changed == {f'panoptic_head.ancestor_head.{name}.weight'
                       for name in ('ancestor', 'descendant')}
    with pytest.raises(ValueError, match="train_only='no_head' in its name"):
        build(train_only='no_head')


@pytest.mark.parametrize('boxes', [BOXES, []])
def test_train_step_on_odd_sizes(boxes):
    model = build().train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    logs = model.train_step(batch((97, 131), (64, 96), boxes=boxes),
                            optimizer)
    assert np.isfinite([float(value) for value in logs.values()]).all()
    assert {'loss', 'loss_ancestor', 'd0.loss_ancestor'} <= set(logs)
    name = 'panoptic_head.ancestor_head.ancestor.weight'
    assert not torch.equal(before[name], model.get_parameter(name))


@pytest.mark.parametrize('mask_format', ['tensor', 'rle'])
@pytest.mark.parametrize('step', ['val_step', 'test_step'])
def test_prediction_on_odd_sizes(step, mask_format):
    model = build(mask_format=mask_format).eval()
    data = batch((97, 131), (64, 96))
    sizes = [sample.ori_shape for sample in data['data_samples']]
    for sample, size in zip(getattr(model, step)(data), sizes):
        assert isinstance(sample, DetDataSample)
        result = sample.pred_instances
        assert 0 < len(result) <= 6
        assert ((result.scores > 0) & (result.scores <= 1)).all()
        masks = (
            torch.tensor(coco_mask.decode(result.masks)).permute(2, 0, 1)
            if mask_format == 'rle' else result.masks)
        assert masks.shape == (len(result), *size)
        assert (result.parents < len(result)).all()


def test_forward_gives_logits_of_every_layer():
    data = batch((64, 96))
    model = build()
    data = model.data_preprocessor(data)
    classes, masks, ancestors = model(**data, mode='tensor')
    assert classes[-1].shape == (1, 6, 2)
    assert masks[-1].shape == (1, 6, 16, 24)
    assert ancestors[-1].shape == (1, 6, 6)


@pytest.mark.parametrize('refiner', [None, dict(type='localcrf')])
def test_views_of_a_photo_through_any_backbone(refiner):
    """Two photos in a padded batch, each looked at ten times."""
    model = build(zooms=[1, 2], view_size=64, max_per_image=20,
                  mask_format='rle', refiner=refiner).eval()
    shapes = []
    forward = model.backbone.forward
    model.backbone.forward = lambda images: (
        shapes.append(tuple(images.shape)) or forward(images))
    samples = model.test_step(batch((97, 131), (64, 96)))
    assert shapes == 2 * [(4, 3, 64, 64), (4, 3, 64, 64), (2, 3, 64, 64)]
    for sample in samples:
        found = sample.pred_instances
        assert 0 < len(found) <= 20
        areas = coco_mask.area(found.masks)
        assert (areas > 0).all()
        assert {tuple(rle['size']) for rle in found.masks} == {
            tuple(sample.ori_shape)}
        assert len(found.parents) == len(found.bboxes) == len(found)
