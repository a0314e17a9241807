"""Masks that return in other views, by hand."""
import numpy as np
import pytest

from sohes.pseudo_labels.stability import (
    VIEWS,
    Stability,
    View,
    sample,
    shares_returning,
    stability,
)

FLIP, CROP, RESCALE = VIEWS


def masks(*rows: str) -> np.ndarray:
    """One mask (1, h, w) from rows of '#' and '.'."""
    return np.array([[cell == '#' for cell in row] for row in rows])[None]


LEFT = masks('##..', '##..', '....', '....')
RIGHT = masks('..##', '..##', '....', '....')


def test_a_view_shows_its_part_of_the_photo() -> None:
    image = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    assert np.array_equal(FLIP.take(image), image[:, ::-1])
    crop = View('crop', box=(0.5, 0.2, 1.0, 0.6))
    assert np.array_equal(crop.take(image), image[2:6, 10:])
    assert np.array_equal(RESCALE.take(image), image)


def test_sampling_crops_and_flips() -> None:
    assert np.array_equal(sample(LEFT, side=4), LEFT)
    assert np.array_equal(sample(LEFT, flip=True, side=4), RIGHT)
    quarter = sample(LEFT, (0.0, 0.0, 0.5, 0.5), side=4)
    assert quarter.all()
    assert sample(LEFT, side=8).sum() == 4 * LEFT.sum()


def test_what_is_found_again_counts_whole() -> None:
    assert shares_returning(LEFT, RIGHT, FLIP) == 1.0
    assert shares_returning(LEFT, LEFT, RESCALE) == 1.0
    assert shares_returning(LEFT, RIGHT, RESCALE) == 0.0
    assert shares_returning(LEFT, np.zeros((0, 4, 4), bool), RESCALE) == 0.0


def test_iou_is_graded_as_recall() -> None:
    """12 of 16 cells: IoU 0.75 passes 0.5 to 0.75, six of ten."""
    whole = np.ones((1, 4, 4), bool)
    part = np.ones((1, 4, 4), bool)
    part[0, 3] = False
    assert shares_returning(whole, part, RESCALE) == pytest.approx(0.6)


def test_a_mask_outside_the_crop_does_not_count() -> None:
    right_half = View('right', box=(0.5, 0.0, 1.0, 1.0))
    assert shares_returning(LEFT, LEFT, right_half) is None
    both = np.concatenate([LEFT, RIGHT])
    seen = masks('####', '####', '....', '....')
    assert shares_returning(both, seen, right_half) == 1.0


def test_many_arbitrary_masks_and_few_safe_ones_do_not_win() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((50, 8, 8)) < 0.5
    others = [rng.random((50, 8, 8)) < 0.5 for _ in VIEWS]
    blocks = np.zeros((16, 8, 8), bool)
    for k in range(16):
        blocks[k, k // 4 * 2:k // 4 * 2 + 2, k % 4 * 2:k % 4 * 2 + 2] = True

    def seen(found: np.ndarray) -> list[np.ndarray]:
        return [sample(found, view.box, view.flip, 40) for view in VIEWS]

    good = stability(blocks, seen(blocks))
    one = stability(blocks[:1], seen(blocks[:1]))
    assert good.masks == 16 and good.share > 0.9
    assert good.returning > stability(noise, others).returning
    assert good.returning > one.returning
    assert stability(blocks[:0], seen(blocks)) == Stability(0.0, 0.0)
