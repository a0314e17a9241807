"""The transform gives what the function gives, in mmdet's structures."""
import os
import pickle

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from PIL import Image

from sohes.datasets import ClusterPseudoLabels
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.pipeline import explore
from sohes.registry import MODELS
from tests.test_models.test_backbones.vit_reference import random_vit, save
from tests.test_pseudo_labels.color_extractor import (
    BG,
    BODY,
    PART,
    ColorExtractor,
    stripes,
)

MODELS.register_module(name='TestColorExtractor', module=ColorExtractor,
                       force=True)
EXTRACTOR = dict(type='sohes.TestColorExtractor')
# 16 x 16 patches of 8 x 10 pixels; bands of 8, 5 and 3 of them
IMAGE = stripes(128, (80, BG), (50, BODY), (30, PART))
OPTIONS = dict(image_size=128, local=None)


def _run(image: np.ndarray = IMAGE, **kwargs) -> dict:
    transform = ClusterPseudoLabels(EXTRACTOR, OPTIONS, **kwargs)
    return transform(dict(img=image[..., ::-1].copy()))


def _span(left: int, right: int) -> np.ndarray:
    mask = np.zeros((128, 160), np.uint8)
    mask[:, left:right] = 1
    return mask


def test_labels_of_three_bands():
    results = _run()
    spans = {(0, 160): -1, (0, 80): (0, 160), (80, 160): (0, 160),
             (80, 130): (80, 160), (130, 160): (80, 160)}
    boxes = results['gt_bboxes'].tensor
    assert boxes.dtype == torch.float32 and boxes.shape == (5, 4)
    found = [(int(b[0]), int(b[2])) for b in boxes]
    assert sorted(found) == sorted(spans)
    assert (boxes[:, 1] == 0).all() and (boxes[:, 3] == 128).all()
    for k, span in enumerate(found):
        np.testing.assert_array_equal(results['gt_masks'].masks[k],
                                      _span(*span))
        parent = results['gt_parents'][k]
        assert spans[span] == (-1 if parent < 0 else found[parent])
    np.testing.assert_array_equal(results['gt_bboxes_labels'], [0] * 5)
    np.testing.assert_array_equal(results['gt_ignore_flags'], [False] * 5)
    np.testing.assert_array_equal(results['gt_ids'], [1, 2, 3, 4, 5])
    for key, dtype in dict(gt_bboxes_labels=np.int64, gt_ids=np.int64,
                           gt_ignore_flags=bool, gt_parents=np.int64).items():
        assert results[key].dtype == dtype


@pytest.mark.parametrize('channel_order', ['bgr', 'rgb'])
def test_same_labels_as_explore(rng, channel_order):
    colors = np.array([BG, BODY, PART], np.uint8)
    image = colors[rng.integers(0, 3, (9, 11))].repeat(16, 0).repeat(16, 1)
    options = dict(image_size=96, refiner=dict(type='densecrf'))
    transform = ClusterPseudoLabels(EXTRACTOR, options, channel_order)
    given = image if channel_order == 'rgb' else image[..., ::-1]
    results = transform(dict(img=given.copy(), kept='as it was'))
    labels = explore(image, ColorExtractor(), (0.9, 0.5, 0.1),
                     ExploreOptions.from_dict(options))
    assert len(labels.rles) > 5
    np.testing.assert_array_equal(results['gt_masks'].masks.astype(bool),
                                  labels.masks())
    np.testing.assert_array_equal(results['gt_parents'],
                                  labels.forest.parents)
    np.testing.assert_array_equal(results['img'], given)
    assert results['kept'] == 'as it was'


def test_boxes_are_those_of_the_masks():
    results = _run()
    torch.testing.assert_close(
        results['gt_bboxes'].tensor,
        results['gt_masks'].get_bboxes('hbox').tensor)


def test_thresholds_of_the_config_count_before_the_preset_s():
    options = dict(OPTIONS, thresholds=[0.5])
    results = ClusterPseudoLabels(EXTRACTOR, options)(
        dict(img=IMAGE[..., ::-1].copy()))
    found = sorted((int(b[0]), int(b[2])) for b in results['gt_bboxes'].tensor)
    assert found == [(0, 80), (80, 160)]


def test_no_mask_at_all():
    # a single patch is under min_patches
    results = ClusterPseudoLabels(EXTRACTOR, dict(image_size=8, local=None))(
        dict(img=IMAGE.copy()))
    assert results['gt_masks'].masks.shape == (0, 128, 160)
    assert results['gt_bboxes'].tensor.shape == (0, 4)
    for key in ('gt_parents', 'gt_ids', 'gt_bboxes_labels'):
        assert results[key].shape == (0, ) and results[key].dtype == np.int64


def test_in_a_pipeline_of_mmdet_from_a_file(tmp_path):
    import mmdet.datasets.transforms  # noqa: F401
    Image.fromarray(IMAGE).save(tmp_path / 'a.png')
    pipeline = Compose([
        ROOT_TRANSFORMS.build(config) for config in (
            dict(type='LoadImageFromFile'),
            dict(type='sohes.ClusterPseudoLabels', extractor=EXTRACTOR,
                 pseudo_labels=OPTIONS),
            dict(type='mmdet.Resize', scale=(80, 64)),
            dict(type='mmdet.RandomFlip', prob=1.0),
            dict(type='mmdet.PackDetInputs'))
    ])
    sample = pipeline(dict(img_path=str(tmp_path / 'a.png')))['data_samples']
    masks = sample.gt_instances.masks.masks
    assert masks.shape == (5, 64, 80)
    whole = int(masks.sum((1, 2)).argmax())
    assert masks[whole].all()
    assert sample.gt_instances.bboxes.tensor[whole].tolist() == [
        0, 0, 80, 64]


def test_pickled_without_the_extractor():
    transform = ClusterPseudoLabels(EXTRACTOR, OPTIONS)
    first = transform(dict(img=IMAGE.copy()))
    assert transform._built is not None
    copy = pickle.loads(pickle.dumps(transform))
    assert copy._built is None
    np.testing.assert_array_equal(copy(dict(img=IMAGE.copy()))['gt_parents'],
                                  first['gt_parents'])


def test_extractor_is_built_once_a_process(monkeypatch):
    transform = ClusterPseudoLabels(EXTRACTOR, OPTIONS)
    transform(dict(img=IMAGE.copy()))
    first = transform._build()
    assert transform._build() is first
    monkeypatch.setattr(os, 'getpid', lambda: -1)
    assert transform._build() is not first


class _Files(torch.utils.data.Dataset):

    def __init__(self, transform: ClusterPseudoLabels) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> list[list[int]]:
        image = np.roll(IMAGE, 40 * index, axis=1)
        results = self.transform(dict(img=image))
        return [results['gt_parents'].tolist(),
                results['gt_masks'].masks.sum((1, 2)).tolist()]


def test_in_the_workers_of_a_data_loader(tmp_path):
    weights = save(random_vit(patch_size=16), tmp_path / 'vit.pth')
    transform = ClusterPseudoLabels(
        dict(weights=str(weights)),
        dict(image_size=96, thresholds=(0.9, 0.6, 0.3), local=None),
        channel_order='rgb')
    here = [_Files(transform)[k] for k in range(3)]
    assert all(parents for parents, _ in here)
    loader = torch.utils.data.DataLoader(
        _Files(transform), num_workers=2, batch_size=None)
    assert list(loader) == here


@pytest.mark.parametrize('kwargs, reason', [
    (dict(channel_order='RGB'), "'bgr' or 'rgb', found 'RGB'"),
    (dict(pseudo_labels=dict(tresholds=[0.5])), "'tresholds'"),
    (dict(pseudo_labels=dict(local=dict(size=3))), "local: .*'size'"),
    (dict(pseudo_labels=dict(coverage=2)), 'coverage'),
])
def test_wrong_arguments_are_named_at_once(kwargs, reason):
    with pytest.raises(ValueError, match=reason):
        ClusterPseudoLabels(EXTRACTOR, **kwargs)


@pytest.mark.parametrize('image', [
    IMAGE.astype(np.float32), IMAGE[..., 0], IMAGE[..., :2]])
def test_image_of_another_kind(image):
    with pytest.raises(ValueError, match=r'must be \(H, W, 3\) uint8'):
        ClusterPseudoLabels(EXTRACTOR, OPTIONS)(dict(img=image))
