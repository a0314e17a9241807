import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import DefaultScope

from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.transforms import EntityCopyPaste, PackEntityInputs
from tests.test_datasets.coco_files import box_mask
from tests.test_datasets.test_entity_masks import entity_masks

SIZE = 20, 30


@pytest.fixture(autouse=True)
def scope_of_configs():
    """Whatever scope another test has left behind."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def sample(boxes: list, parents: list, color: int = 0,
           size: tuple[int, int] = SIZE) -> dict:
    """An image of one colour with rectangular masks."""
    dense = np.array([box_mask(*size, *box) for box in boxes])
    count = len(boxes)
    return dict(
        img=np.full((*size, 3), color, np.uint8), img_shape=size,
        gt_masks=entity_masks(dense.reshape(count, *size), parents),
        gt_bboxes=HorizontalBoxes(np.array(boxes, np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.zeros(count, np.int64),
        gt_ignore_flags=np.zeros(count, bool))


# A whole on the left with a part and a part of that, a whole on the right.
BOXES = [(0, 0, 12, 20), (1, 1, 10, 10), (2, 2, 6, 6), (20, 5, 30, 15)]
PARENTS = [-1, 0, 1, -1]


def parents_of(results: dict) -> list[int]:
    return results['gt_masks'].forest.parents.tolist()


def boxes_of(results: dict) -> list[list[int]]:
    return results['gt_masks'].draw()[2].tolist()


def test_flip_and_resize():
    results = sample(BOXES, PARENTS)
    for config in (dict(type='RandomFlip', prob=1.0),
                   dict(type='Resize', scale=(60, 40), keep_ratio=True)):
        results = TRANSFORMS.build(config)(results)
    expected = [[36, 0, 60, 40], [40, 2, 58, 20], [48, 4, 56, 12],
                [0, 10, 20, 30]]
    assert boxes_of(results) == expected
    assert results['gt_bboxes'].tensor.tolist() == expected
    assert parents_of(results) == PARENTS


@pytest.mark.parametrize('shape, expected', [
    ((1, 900), (1, 60)), ((900, 1), (60, 1)), ((1, 30), (2, 60)),
    ((20, 30), (40, 60))])
def test_no_side_becomes_0(shape, expected):
    results = sample([(0, 0, shape[1], shape[0])], [-1], size=shape)
    config = dict(type='sohes.EntityResize', scale=(60, 60), keep_ratio=True)
    results = TRANSFORMS.build(config)(results)
    assert results['img'].shape[:2] == results['img_shape'] == expected
    height, width = expected
    assert boxes_of(results) == [[0, 0, width, height]]
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, width, height]]
    # All others are as in mmdet.
    if min(shape) > 1:
        plain = TRANSFORMS.build(dict(config, type='Resize'))(
            sample(BOXES, PARENTS))
        ours = TRANSFORMS.build(config)(sample(BOXES, PARENTS))
        assert (plain['img'] == ours['img']).all()
        assert plain['scale_factor'] == ours['scale_factor']


def test_crop_leaves_children_to_their_grandparent(monkeypatch):
    crop = TRANSFORMS.build(
        dict(type='RandomCrop', crop_size=(18, 20), recompute_bbox=True))
    monkeypatch.setattr(crop, '_rand_offset', lambda margin: (2, 0))
    results = crop(sample(BOXES[:3] + [(20, 0, 30, 2)], PARENTS))
    assert boxes_of(results) == [[0, 0, 12, 18], [1, 0, 10, 8], [2, 0, 6, 4]]
    assert parents_of(results) == [-1, 0, 1]
    # The part in the middle is dropped by a filter, the innermost stays.
    results['gt_masks'] = results['gt_masks'][[0, 2]]
    assert parents_of(results) == [-1, 0]


def test_filter_by_area():
    keep = TRANSFORMS.build(
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), by_mask=True,
             min_gt_mask_area=17))
    results = keep(sample(BOXES, PARENTS))
    assert boxes_of(results) == [list(BOXES[k]) for k in (0, 1, 3)]
    assert parents_of(results) == [-1, 0, -1]
    assert len(results['gt_bboxes']) == len(results['gt_bboxes_labels']) == 3


def test_pack_drops_the_small_and_moves_their_children():
    results = sample([(0, 0, 12, 20), (1, 1, 4, 4), (2, 2, 30, 3)],
                     [-1, 0, 1])
    packed = PackEntityInputs(min_area=10, meta_keys=())(results)
    found = packed['data_samples'].gt_instances
    assert found.masks.areas().tolist() == [240, 28]
    assert found.ancestors.tolist() == [[False, True], [False, False]]
    assert found.bboxes.tensor.tolist() == [[0, 0, 12, 20], [2, 2, 30, 3]]
    assert 'gt_ignore_flags' in results


class Chosen(EntityCopyPaste):
    """Copy-paste of what the test says."""

    def __init__(self, seeds: list[int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.seeds = seeds

    def _choose(self, masks: EntityMasks) -> np.ndarray:
        # (K, N), in the order of the seeds.
        choice = np.random.choice
        randint = np.random.randint
        try:
            np.random.choice = lambda *_, **__: np.array(
                self.seeds, np.int64)
            np.random.randint = lambda _: len(self.seeds)
            return super()._choose(masks)
        finally:
            np.random.choice, np.random.randint = choice, randint


def test_pasted_entities_bring_their_parts_and_cover():
    target = sample(BOXES, PARENTS, color=1)
    source = sample(
        [(0, 0, 10, 10), (2, 2, 8, 8), (3, 3, 5, 5), (15, 0, 30, 20),
         (20, 5, 29, 14)], [-1, 0, 1, -1, 3], color=2)
    target['mix_results'] = [source]
    results = Chosen([1])(target)
    # Pasted: (2, 2, 8, 8) and its part. It covers mask 2 whole, and its
    # own parent stays behind.
    assert parents_of(results) == [-1, 0, -1, -1, 3]
    areas = results['gt_masks'].areas.tolist()
    assert areas == [240 - 36, 81 - 36, 100, 36, 4]
    dense = results['gt_masks'].to_ndarray().astype(bool)
    assert (dense[0] == box_mask(*SIZE, 0, 0, 12, 20)
            & ~box_mask(*SIZE, 2, 2, 8, 8)).all()
    assert (results['img'][..., 0] == np.where(
        box_mask(*SIZE, 2, 2, 8, 8), 2, 1)).all()
    assert results['gt_bboxes'].tensor.tolist()[3:] == [[2, 2, 8, 8],
                                                       [3, 3, 5, 5]]
    assert len(results['gt_ignore_flags']) == 5
    assert 'mix_results' not in results


def test_what_disappears_leaves_its_children_to_its_parent():
    # The middle is left with a thin rim, under a tenth of it; the innermost
    # lies in that rim.
    target = sample([(0, 0, 20, 20), (2, 2, 14, 14), (2, 2, 3, 14)],
                    [-1, 0, 1], color=1)
    source = sample([(3, 2, 14, 14)], [-1], color=2)
    for least, parents in ((0.1, [-1, 0, -1]), (0.05, [-1, 0, 1, -1])):
        results = dict(target, mix_results=[dict(source)])
        results = Chosen([0], min_visible=least)(results)
        assert parents_of(results) == parents


@pytest.mark.parametrize(('seeds', 'most', 'pasted', 'covered'), [
    ([1, 2, 0], 1.0, 600, 340), ([1, 2, 0], 0.5, 130, 130),
    ([0, 2, 1], 0.5, 130, 130), ([1, 2, 0], 0.2, 30, 30),
    ([2, 1, 0], 0.3, 100, 100), ([1, 2, 0], 0.0, 0, 0)])
def test_what_may_be_covered_is_bounded(seeds, most, pasted, covered):
    # The wholes of the first image have 240 and 100 pixels. The second has
    # one mask that hides all of it, one of 30 and one of 100 pixels.
    target = sample(BOXES, PARENTS, color=1)
    target['mix_results'] = [sample(
        [(0, 0, 30, 20), (20, 5, 23, 15), (0, 0, 5, 20)], [-1] * 3, color=2)]
    results = Chosen(seeds, max_covered=most)(target)
    assert (results['img'][..., 0] == 2).sum() == pasted
    assert results['covered'] == pytest.approx(covered / 340)


def test_a_kept_map_is_mixed_by_what_is_pasted():
    def target() -> dict:
        return dict(sample(BOXES, PARENTS), feature_map=torch.zeros(3, 2, 2))

    source = sample([(0, 0, 15, 5)], [-1], color=2)
    without = Chosen([0])(dict(target(), mix_results=[dict(source)]))
    assert 'feature_map' not in without  # the backbone computes it
    source['feature_map'] = torch.ones(3, 2, 2)
    mixed = Chosen([0])(dict(target(), mix_results=[source]))
    # Half of the upper left cell of 10 x 15 pixels is pasted upon.
    assert mixed['feature_map'].tolist() == [[[.5, 0], [0, 0]]] * 3


@pytest.mark.parametrize('size', [(10, 50), (40, 12)])
def test_a_second_image_of_another_size(size):
    target = sample(BOXES, PARENTS, color=1)
    target['mix_results'] = [sample([(0, 0, *size[::-1])], [-1], 2, size)]
    results = Chosen([0])(target)
    height, width = min(size[0], 20), min(size[1], 30)
    assert boxes_of(results)[-1] == [0, 0, width, height]
    assert (results['img'][:height, :width] == 2).all()
    assert (results['img'] == 2).sum() == 3 * height * width


@pytest.mark.parametrize('boxes', [[], [(25, 0, 30, 20)]])
def test_nothing_to_paste(boxes):
    small = (20, 10)
    target = sample([(0, 0, 5, 5)], [-1], 1, small)
    target['mix_results'] = [sample(boxes, [-1] * len(boxes), 2)]
    results = Chosen(list(range(len(boxes))))(target)
    assert boxes_of(results) == [[0, 0, 5, 5]]
    assert (results['img'] == 1).all()


def test_whole_entities_only():
    np.random.seed(0)
    masks = sample(BOXES, PARENTS)['gt_masks']

    def pasted(**options) -> set:
        paste = EntityCopyPaste(**options)
        return {tuple(np.flatnonzero(paste._choose(masks).any(0)).tolist())
                for _ in range(90)}

    seen = pasted(choose='root')
    assert seen == {(), (0, 1, 2), (3, ), (0, 1, 2, 3)}
    seen = pasted(max_pasted=1)
    assert seen == {(), (0, 1, 2), (1, 2), (2, ), (3, )}


@pytest.mark.parametrize('options', [
    dict(prob=2), dict(choose='leaf'), dict(max_pasted=0),
    dict(min_visible=-1), dict(max_covered=1.1)], ids=str)
def test_values_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EntityCopyPaste(**options)
