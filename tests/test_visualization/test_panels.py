"""Masks painted over a photo."""
import numpy as np
import pytest

from sohes.structures import PackedMasks
from sohes.visualization.panels import paint_level, resize_photo, scale_mask

COLORS = np.array([[200, 40, 40], [40, 160, 40]], np.uint8)


def photo(height: int, width: int) -> np.ndarray:
    """A blue photo, so that grey and colours can be told from it."""
    return np.full((height, width, 3), (30, 60, 180), np.uint8)


def test_small_over_large_with_a_white_border_on_grey() -> None:
    masks = np.zeros((2, 90, 120), bool)
    masks[0, 30:60, 40:60] = True
    masks[1, 10:80, 20:100] = True
    panel = paint_level(photo(90, 120), PackedMasks.from_any(masks), [0, 1],
                        COLORS, (90, 120)).astype(int)
    assert panel.shape == (90, 120, 3)
    small, large, outside = panel[45, 50], panel[20, 30], panel[3, 3]
    assert small[0] > small[1] + 50 and small[0] > small[2] + 50
    assert large[1] > large[0] + 40 and large[1] > large[2] + 40
    assert outside[0] == outside[1] == outside[2]
    # Walking right from the small mask: a white line before the large.
    assert panel[45, 55:65].min(axis=1).max() > 240
    # No line along the photo's own edge.
    assert panel[0].max() < 240


def test_only_the_chosen_masks_are_painted() -> None:
    masks = np.ones((2, 80, 80), bool)
    panel = paint_level(photo(80, 80), PackedMasks.from_any(masks), [1],
                        COLORS, (40, 40)).astype(int)
    assert (panel[..., 1] > panel[..., 0] + 30).all()


@pytest.mark.parametrize('size', [(40, 60), (17, 23), (90, 131), (400, 10)])
def test_a_mask_of_everything_stays_everything(size) -> None:
    masks = PackedMasks.from_any(np.ones((1, 40, 60), bool))
    inside, top, left = scale_mask(masks, 0, size)
    assert (top, left) == (0, 0) and inside.shape == size and inside.all()


def test_scaled_masks_keep_place_and_area(rng) -> None:
    for _ in range(20):
        mask = np.zeros((1, 120, 200), bool)
        y, x = rng.integers(0, 80), rng.integers(0, 150)
        h, w = rng.integers(10, 40), rng.integers(10, 50)
        mask[0, y:y + h, x:x + w] = True
        inside, top, left = scale_mask(PackedMasks.from_any(mask), 0,
                                       (300, 500))
        assert abs(inside.sum() - 6.25 * h * w) < 0.08 * 6.25 * h * w
        rows = np.flatnonzero(inside.any(axis=1)) + top
        columns = np.flatnonzero(inside.any(axis=0)) + left
        np.testing.assert_allclose(
            [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1],
            2.5 * np.array([y, y + h, x, x + w]), atol=1.01)


def test_one_pixel_of_a_large_photo_is_seen() -> None:
    mask = np.zeros((1, 2000, 2000), bool)
    mask[0, 1990, 7] = True
    packed = PackedMasks.from_any(mask)
    assert scale_mask(packed, 0, (100, 100))[0].sum() == 1
    panel = paint_level(np.zeros((2000, 2000, 3), np.uint8), packed, [0],
                        COLORS, (100, 100)).astype(int)
    red = panel[..., 0] > panel[..., 1] + 40
    assert 1 <= red.sum() <= 25 and red[95:, :6].any()


def test_an_empty_mask_paints_nothing() -> None:
    packed = PackedMasks.from_any(np.zeros((1, 30, 30), bool))
    assert scale_mask(packed, 0, (60, 60))[0].size == 0
    panel = paint_level(photo(30, 30), packed, [0], COLORS, (60, 60))
    assert len(np.unique(panel)) == 1


def test_a_tiny_photo_keeps_its_pixels() -> None:
    pixels = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    large = resize_photo(pixels, (10, 20))
    assert (large[:, :10] == [255, 0, 0]).all()
    assert (large[:, 10:] == [0, 0, 255]).all()
