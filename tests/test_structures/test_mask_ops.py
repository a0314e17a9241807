"""Packed masks against plain boolean arithmetic."""

import numpy as np
import pytest

from sohes.structures import (
    PackedMasks,
    mask_ops,
    pairwise_coverage,
    pairwise_intersections,
    pairwise_iou,
)


def brute_force(masks: np.ndarray) -> np.ndarray:
    """(N, N) shared pixels, one full image at a time."""
    return np.array([[np.count_nonzero(a & b) for b in masks]
                     for a in masks]).reshape(len(masks), len(masks))


def random_masks(rng: np.random.Generator, count: int, height: int,
                 width: int) -> np.ndarray:
    """Noise in random boxes: empty, tiny, touching every border."""
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        rows = np.sort(rng.integers(0, height + 1, 2))
        columns = np.sort(rng.integers(0, width + 1, 2))
        box = mask[rows[0]:rows[1], columns[0]:columns[1]]
        box[:] = rng.random(box.shape) < rng.random()
    return masks


SIZES = [(1, 1), (1, 63), (1, 64), (1, 65), (7, 1), (5, 128), (33, 129),
         (90, 40), (20, 200)]


@pytest.mark.parametrize('size', SIZES)
def test_intersections_equal_brute_force(rng, size) -> None:
    for count in (0, 1, 2, 25):
        masks = random_masks(rng, count, *size)
        np.testing.assert_array_equal(
            pairwise_intersections(masks), brute_force(masks))


@pytest.mark.parametrize('size', SIZES)
def test_packing_loses_nothing(rng, size) -> None:
    masks = random_masks(rng, 20, *size)
    packed = PackedMasks.from_any(masks)
    assert len(packed) == 20 and packed.size == size
    np.testing.assert_array_equal(packed.areas, masks.sum((1, 2)))
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(packed.mask(index), mask)
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        crop, top, left = packed.crop(index)
        if mask.any():
            assert (top, left) == (rows[0], columns[0])
            np.testing.assert_array_equal(
                crop, mask[top:rows[-1] + 1, left:columns[-1] + 1])
        else:
            assert crop.shape == (0, 0)


def test_packed_masks_are_cropped_to_their_boxes() -> None:
    masks = np.zeros((2, 1000, 1000), bool)
    masks[0, 500:510, 70:80] = True
    packed = PackedMasks.from_any(masks)
    assert packed.extents.tolist() == [[500, 510, 1, 2], [0, 0, 0, 0]]
    assert packed.offsets.tolist() == [0, 10, 10]


def test_every_input_form_gives_the_same(rng) -> None:
    coco_mask = pytest.importorskip('pycocotools.mask')
    masks = random_masks(rng, 12, 30, 75)
    compressed = [
        coco_mask.encode(np.asfortranarray(m.view(np.uint8))) for m in masks
    ]
    texts = [{**rle, 'counts': rle['counts'].decode()} for rle in compressed]
    expected = brute_force(masks)
    for form in (masks, list(masks), masks.astype(np.uint8),
                 masks.astype(np.int64) * 255, compressed, texts,
                 [uncompressed(m) for m in masks],
                 PackedMasks.from_any(masks)):
        np.testing.assert_array_equal(pairwise_intersections(form), expected)


def uncompressed(mask: np.ndarray) -> dict:
    """COCO's list of run lengths, column-major, the first run outside."""
    flat = np.concatenate([[False], mask.T.ravel()])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], ends, [mask.size]]))
    return {'size': list(mask.shape), 'counts': counts.tolist()}


def test_coverage_and_iou_by_hand() -> None:
    masks = np.array([[[1, 1, 1, 1]], [[1, 1, 0, 0]], [[0, 1, 1, 0]],
                      [[0, 0, 0, 0]]], bool)
    np.testing.assert_allclose(
        pairwise_coverage(masks),
        [[1, .5, .5, 0], [1, 1, .5, 0], [1, .5, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(
        pairwise_iou(masks),
        [[1, .5, .5, 0], [.5, 1, 1 / 3, 0], [.5, 1 / 3, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize('masks, message', [
    (np.zeros((4, 4), bool), r'must be \(N, H, W\)'),
    (np.zeros((2, 4, 4)), 'mask 0 is float64: threshold'),
    ([np.zeros((4, 4), bool), np.zeros((4, 5), bool)],
     r'mask 1 is \(4, 5\), mask 0 is \(4, 4\)'),
    ([np.zeros((4, 4), bool), np.zeros(4, bool)], 'mask 1 must be'),
    ([{'size': [4, 4]}], 'mask 0: an RLE needs size and counts'),
])
def test_what_is_no_mask_is_refused(masks, message) -> None:
    with pytest.raises(ValueError, match=message):
        PackedMasks.from_any(masks)


def test_no_masks_in_a_list() -> None:
    assert pairwise_intersections([]).shape == (0, 0)
    assert pairwise_iou([]).shape == (0, 0)


def test_200_masks_of_a_megapixel(rng) -> None:
    # Boxes of noise, a ninth of the frame on average, so many overlap.
    masks = random_masks(rng, 200, 1024, 1024)
    shared = pairwise_intersections(masks)
    assert np.count_nonzero(shared) > 10000
    assert shared[17, 101] == np.count_nonzero(masks[17] & masks[101])


def test_bytes_are_known_before_masks_are_packed(rng, monkeypatch) -> None:
    from pycocotools import mask as coco_mask
    for size in SIZES:
        masks = random_masks(rng, 20, *size)
        taken = PackedMasks.from_any(masks).words.nbytes
        rles = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0),
                                                  np.uint8))
        monkeypatch.setattr(mask_ops, 'MOST_PACKED', taken)
        mask_ops.check_packable(rles)
        monkeypatch.setattr(mask_ops, 'MOST_PACKED', taken - 1)
        with pytest.raises(ValueError, match=f'its 20 masks .* {taken} byte'):
            mask_ops.check_packable(rles)
    mask_ops.check_packable([])
