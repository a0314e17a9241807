"""The transform gives what the function gives, in mmdet's structures."""
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from PIL import Image

from sohes.apis.run_config import read_config
from sohes.apis.training import train_model
from sohes.datasets import ClusterPseudoLabels
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.pipeline import explore
from sohes.registry import MODELS
from tests.test_pseudo_labels.color_extractor import (
    BG,
    BODY,
    PART,
    ColorExtractor,
    stripes,
)
from tests.test_weights.vit_reference import random_vit, save
from tests.tiny_entities import shrunk

ROOT = Path(__file__).resolve().parents[3]
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
    boxes, masks = results['gt_bboxes'].tensor, results['gt_masks']
    assert boxes.dtype == torch.float32 and boxes.shape == (5, 4)
    found = [(int(b[0]), int(b[2])) for b in boxes]
    assert sorted(found) == sorted(spans)
    assert (boxes[:, 1] == 0).all() and (boxes[:, 3] == 128).all()
    for k, span in enumerate(found):
        np.testing.assert_array_equal(masks.to_ndarray()[k], _span(*span))
        parent = masks.forest.parents[k]
        assert spans[span] == (-1 if parent < 0 else found[parent])
    np.testing.assert_array_equal(results['gt_bboxes_labels'], [0] * 5)
    np.testing.assert_array_equal(results['gt_ignore_flags'], [False] * 5)
    assert results['gt_bboxes_labels'].dtype == np.int64
    assert results['gt_ignore_flags'].dtype == bool


@pytest.mark.parametrize('channel_order', ['bgr', 'rgb'])
def test_same_labels_as_explore(rng, channel_order):
    colors = np.array([BG, BODY, PART], np.uint8)
    image = colors[rng.integers(0, 3, (9, 11))].repeat(16, 0).repeat(16, 1)
    options = dict(image_size=96, refiner=dict(type='densecrf'))
    transform = ClusterPseudoLabels(EXTRACTOR, options, channel_order)
    given = image if channel_order == 'rgb' else image[..., ::-1]
    results = transform(dict(img=given.copy(), kept='as it was'))
    labels = explore(image, ColorExtractor(),
                     ExploreOptions.from_dict(options))
    assert len(labels.rles) > 5
    np.testing.assert_array_equal(
        results['gt_masks'].to_ndarray().astype(bool), labels.masks())
    np.testing.assert_array_equal(results['gt_masks'].forest.parents,
                                  labels.forest.parents)
    np.testing.assert_allclose(results['gt_masks'].scores, labels.scores)
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
    assert results['gt_masks'].to_ndarray().shape == (0, 128, 160)
    assert results['gt_bboxes'].tensor.shape == (0, 4)
    labels = results['gt_bboxes_labels']
    assert labels.shape == (0, ) and labels.dtype == np.int64


def _sample(folder: Path, *transforms: dict) -> dict:
    """The file of IMAGE through mmdet's transforms, labelled on the way."""
    import mmdet.datasets.transforms  # noqa: F401
    Image.fromarray(IMAGE).save(folder / 'a.png')
    pipeline = Compose([
        ROOT_TRANSFORMS.build(config) for config in (
            dict(type='LoadImageFromFile'),
            dict(type='sohes.ClusterPseudoLabels', extractor=EXTRACTOR,
                 pseudo_labels=OPTIONS), *transforms)
    ])
    return pipeline(dict(img_path=str(folder / 'a.png'), img_id=0))


@pytest.mark.parametrize('bitmaps', [False, True])
def test_in_a_pipeline_of_mmdet_from_a_file(tmp_path, bitmaps):
    sample = _sample(
        tmp_path, dict(type='mmdet.Resize', scale=(80, 64)),
        dict(type='mmdet.RandomFlip', prob=1.0),
        dict(type='sohes.PackEntityInputs', bitmaps=bitmaps))['data_samples']
    found = sample.gt_instances
    masks = found.masks.masks if bitmaps else found.masks.dense().numpy()
    assert masks.shape == (5, 64, 80)
    whole = int(masks.sum((1, 2)).argmax())
    assert masks[whole].all()
    assert found.bboxes.tensor[whole].tolist() == [0, 0, 80, 64]


@pytest.mark.parametrize('seed', range(5))
def test_a_crop_keeps_masks_and_forest_together(tmp_path, seed):
    np.random.seed(seed)
    results = _sample(
        tmp_path, dict(type='mmdet.RandomCrop', crop_size=(128, 30),
                       crop_type='absolute', allow_negative_crop=True))
    masks = results['gt_masks']
    assert 2 <= len(masks) <= 5
    assert len(masks) == len(results['gt_bboxes'])
    assert (masks.areas > 0).all()
    # One of them is the whole image, and all the others are in it.
    forest = masks.forest
    root, = forest.roots
    assert masks.areas[root] == 128 * 30
    assert forest.ancestors[root].sum() == len(masks) - 1
    unknown = results.keys() - {
        'img_path', 'img_id', 'img', 'img_shape', 'ori_shape',
        'homography_matrix'}
    assert unknown == {'gt_masks', 'gt_bboxes', 'gt_bboxes_labels',
                       'gt_ignore_flags'}  # no id or parent without a mask


def test_through_the_training_pipeline_to_the_loss(tmp_path):
    (tmp_path / 'images').mkdir()
    for name in 'ab':
        Image.fromarray(IMAGE).save(tmp_path / f'images/{name}.png')
    config = read_config(str(ROOT / 'configs/tiny/sohes_phase2_tiny.py'),
                         {'train_cfg.max_iters': 1}, str(tmp_path / 'run'))
    config = shrunk(config)
    _, _, *between, paste, pack = config.train_dataloader.dataset.pipeline
    assert paste.type == 'sohes.EntityCopyPaste'
    label = dict(type='sohes.ClusterPseudoLabels', extractor=EXTRACTOR,
                 pseudo_labels=OPTIONS, channel_order='rgb')
    config.train_dataloader.dataset = dict(
        type='MultiImageMixDataset',
        dataset=dict(
            type='sohes.ImageFolderDataset',
            data_root=f'{tmp_path}/',
            data_prefix=dict(img='images/'),
            pipeline=[dict(type='sohes.LoadEntityImage'), label, *between]),
        pipeline=[paste, pack])
    config.default_hooks.logger.interval = 1
    runner = train_model(config)
    loss = runner.message_hub.get_scalar('train/loss').current()
    assert np.isfinite(loss) and loss > 0
    assert runner.message_hub.get_scalar('train/loss_ancestor').current() > 0


def test_pickled_without_the_extractor():
    transform = ClusterPseudoLabels(EXTRACTOR, OPTIONS)
    first = transform(dict(img=IMAGE.copy()))
    assert transform._built is not None
    copy = pickle.loads(pickle.dumps(transform))
    assert copy._built is None
    np.testing.assert_array_equal(
        copy(dict(img=IMAGE.copy()))['gt_masks'].forest.parents,
        first['gt_masks'].forest.parents)


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
        masks = self.transform(dict(img=image))['gt_masks']
        return [masks.forest.parents.tolist(), masks.areas.tolist()]


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
