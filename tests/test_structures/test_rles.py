"""Masks in COCO's run-length encoding, as pycocotools has it."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.structures.rles import (
    decode_rles,
    encode_mask,
    encode_window,
    region_rles,
    rle_areas,
    rle_boxes,
)


def test_encode_mask(rng):
    mask = rng.random((7, 11)) > 0.5
    rle = encode_mask(mask)
    assert rle['size'] == [7, 11] and isinstance(rle['counts'], str)
    np.testing.assert_array_equal(coco_mask.decode(rle), mask)


@pytest.mark.parametrize('box', [
    (0, 0, 11, 7), (3, 2, 9, 5), (0, 0, 4, 7), (5, 0, 11, 7), (2, 4, 11, 7)])
@pytest.mark.parametrize('share', [0, 0.5, 1])
def test_encode_window(rng, box, share):
    left, top, right, bottom = box
    cut = rng.random((bottom - top, right - left)) < share
    mask = np.zeros((7, 11), bool)
    mask[top:bottom, left:right] = cut
    assert encode_window(cut, (left, top), (7, 11)) == encode_mask(mask)


def test_regions_are_what_pycocotools_encodes(rng):
    labels = rng.integers(0, 4, (13, 17))
    found = region_rles(labels)
    assert list(found) == [0, 1, 2, 3]
    for value, rle in found.items():
        mask = np.asfortranarray((labels == value).astype(np.uint8))
        assert rle['counts'] == coco_mask.encode(mask)['counts'].decode()


@pytest.mark.parametrize('count', [0, 1, 300])
def test_areas_and_boxes_of_any_number(count):
    mask = np.zeros((7, 11), bool)
    mask[2:5, 1:3] = True
    rles = [encode_mask(mask)] * count
    assert rle_areas(rles).tolist() == [6] * count
    assert rle_boxes(rles).tolist() == [[1, 2, 2, 3]] * count
    assert (decode_rles(rles, (7, 11)) == mask).all()
    assert rle_areas(rles).dtype == np.int64
