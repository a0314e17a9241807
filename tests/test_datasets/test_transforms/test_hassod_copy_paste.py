"""HASSOD's copy-paste on drawn masks; the optimiser that goes with it."""
import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.mask_sources import BitSource
from sohes.datasets.transforms import HassodCopyPaste, PackEntityInputs
from sohes.engine.optimizers import ClippedSGD
from sohes.registry import OPTIMIZERS, TRANSFORMS
from sohes.structures import EntityForest


def drawn(boxes: list[tuple[int, int, int, int]], parents: list[int],
          size: tuple[int, int], color: int) -> dict:
    """Results with rectangles (left, top, right, bottom) as masks."""
    dense = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(dense, boxes):
        mask[top:bottom, left:right] = True
    masks = EntityMasks(BitSource(np.packbits(dense, axis=2), size[1]),
                        np.arange(len(boxes)), EntityForest(parents))
    return dict(
        img=np.full((*size, 3), color, np.uint8), gt_masks=masks,
        gt_bboxes=masks.get_bboxes(), gt_ignore_flags=np.zeros(
            len(boxes), bool), gt_bboxes_labels=np.zeros(len(boxes),
                                                         np.int64))


def pasted(seed: int, transform: HassodCopyPaste, source: dict) -> dict:
    np.random.seed(seed)
    results = drawn([(0, 0, 40, 20), (2, 2, 12, 12)], [-1, 0], (40, 60), 10)
    return transform(dict(results, mix_results=[source]))


def source(size: tuple[int, int] = (80, 60)) -> dict:
    """A whole with a part with a part, and one apart."""
    return drawn([(0, 0, 30, 60), (5, 5, 25, 40), (6, 6, 20, 20),
                  (40, 10, 56, 70)], [-1, 0, 1, -1], size, 200)


def test_what_is_pasted_is_at_least_one_and_never_all():
    transform = HassodCopyPaste(max_covered=1.0)
    counts = set()
    for seed in range(60):
        found = pasted(seed, transform, source())
        counts.add(len(found['gt_masks']))
        assert 'mix_results' not in found
    # Two of its own, of which pasted ones can hide one wholly, and 1 to 3.
    assert counts <= {2, 3, 4, 5} and {3, 4, 5} <= counts


@pytest.mark.parametrize('seed', range(12))
def test_pixels_masks_boxes_and_levels_agree(seed):
    found = pasted(seed, HassodCopyPaste(), source())
    masks = found['gt_masks'].to_ndarray().astype(bool)
    new = found['gt_masks'].ids >= 2  # after the two of the first image
    cover = masks[new].any(0)
    assert ((found['img'] == 200).all(-1) == cover).all()
    assert not (masks[~new] & cover).any()  # what lies under it is erased
    boxes = found['gt_bboxes']
    assert isinstance(boxes, HorizontalBoxes) and len(boxes) == len(masks)
    for mask, box in zip(masks, boxes.tensor.tolist()):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(
            mask.any(0))
        assert box == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    # Levels are those of where each entity came from.
    levels = np.array([0, 1, 0, 1, 2, 0])
    assert found['gt_masks'].levels.tolist() == levels[
        found['gt_masks'].ids].tolist()
    packed = PackEntityInputs(bitmaps=True, meta_keys=())(found)
    truth = packed['data_samples'].gt_instances
    assert truth.levels.tolist() == found['gt_masks'].levels.tolist()


def test_one_scale_of_the_target_in_both_directions():
    transform = HassodCopyPaste(scale=(0.5, 0.5), max_covered=1.0)
    sides = set()
    for seed in range(30):
        found = pasted(seed, transform, source())
        for mask in found['gt_masks'][found['gt_masks'].ids == 5].to_ndarray():
            sides.add((mask.any(1).sum(), mask.any(0).sum()))
    # 60 x 16 of 80 x 60 pixels, on half of 40 x 60: 15 x 8.
    assert sides == {(15, 8)}


def test_a_paste_that_covers_half_of_a_mask_is_rejected():
    everything = drawn([(0, 0, 60, 80), (0, 0, 60, 80)], [-1, -1], (80, 60),
                       200)
    transform = HassodCopyPaste(scale=(1.0, 1.0))
    found = pasted(0, transform, everything)
    assert len(found['gt_masks']) == 2 and (found['img'] == 10).all()
    found = pasted(0, HassodCopyPaste(scale=(1.0, 1.0), max_covered=1.0),
                   everything)
    assert len(found['gt_masks']) == 2  # covered by exactly 1: rejected
    # Exactly half is rejected, less is not.
    for top, kept in ((10, False), (11, True)):
        results = drawn([(0, 0, 40, 20)], [-1], (40, 60), 10)
        band = drawn([(0, top, 60, 40)], [-1], (40, 60), 200)
        harmless, hidden = transform._bounded(
            band['gt_masks'].draw()[0], np.eye(1, dtype=bool),
            results['gt_masks'].draw()[0])
        assert harmless.tolist() == [kept]
        assert hidden == kept * 9 / 20


def test_a_single_entity_is_not_pasted():
    found = pasted(0, HassodCopyPaste(), drawn([(0, 0, 9, 9)], [-1],
                                               (80, 60), 200))
    assert len(found['gt_masks']) == 2 and (found['img'] == 10).all()


@pytest.mark.parametrize('options', [dict(scale=(0, 1)), dict(
    scale=(0.5, 0.3)), dict(max_covered=0), dict(prob=2)])
def test_bad_options(options):
    with pytest.raises(ValueError, match='must be'):
        TRANSFORMS.build(dict(type='sohes.HassodCopyPaste', **options))


def test_each_parameter_is_clipped_by_itself():
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    optimizer = OPTIMIZERS.build(dict(
        type='sohes.ClippedSGD', params=weights, lr=1.0, max_norm=1.0))
    assert isinstance(optimizer, ClippedSGD)
    weights[0].grad = torch.tensor([30., 40.])
    weights[1].grad = torch.tensor([0.3, 0.4])
    optimizer.step()
    torch.testing.assert_close(weights[0].data, torch.tensor([-0.6, -0.8]),
                               rtol=1e-4, atol=1e-6)
    assert weights[1].tolist() == pytest.approx([-0.3, -0.4])
    assert weights[2].tolist() == [0, 0]
    with pytest.raises(ValueError, match='max_norm'):
        ClippedSGD(weights, max_norm=0, lr=1)
