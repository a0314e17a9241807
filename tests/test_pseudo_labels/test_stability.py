"""Masks that return in other views, by hand."""
import numpy as np
import pytest

from sohes.pseudo_labels.stability import (
    VIEWS,
    View,
    agreement,
    best_matches,
    graded,
    sample,
    shares_returning,
)

FLIP, CROP, RESCALE, HALF = VIEWS


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


def share(own: np.ndarray, found: np.ndarray, view: View) -> float:
    value, = shares_returning(own, [found], [view])
    return value


def test_what_is_found_again_counts_whole() -> None:
    assert share(LEFT, RIGHT, FLIP) == 1.0
    assert share(LEFT, LEFT, RESCALE) == 1.0
    assert share(LEFT, RIGHT, RESCALE) == 0.0
    assert share(LEFT, np.zeros((0, 4, 4), bool), RESCALE) == 0.0


def test_iou_is_graded_as_recall() -> None:
    """12 of 16 cells: IoU 0.75 passes 0.5 to 0.75, six of ten."""
    whole = np.ones((1, 4, 4), bool)
    part = np.ones((1, 4, 4), bool)
    part[0, 3] = False
    assert share(whole, part, RESCALE) == pytest.approx(0.6)
    assert graded(np.array([0.4, 0.5, 1.0])).tolist() == [0.0, 0.1, 1.0]


def test_a_mask_outside_the_crop_does_not_count() -> None:
    right_half = View('right', box=(0.5, 0.0, 1.0, 1.0))
    both = np.concatenate([LEFT, RIGHT])
    seen = masks('####', '####', '....', '....')
    visible, iou, match = best_matches(both, seen, right_half)
    assert visible.tolist() == [False, True]
    assert (iou[1], match[1]) == (1.0, 0)
    assert shares_returning(both, [seen], [right_half]).tolist() == [0, 1]
    # Another view shows the left one, too.
    assert shares_returning(both, [seen, both], [right_half, RESCALE]
                            ).tolist() == [1, 1]


def test_the_worst_view_counts() -> None:
    both = np.concatenate([LEFT, RIGHT])
    assert shares_returning(both, [both, LEFT], [FLIP, HALF]
                            ).tolist() == [1, 0]


def blocks(side: int, shift: int = 0) -> np.ndarray:
    """A partition of 24 x 24 cells into squares of one side."""
    rows = (np.arange(24) + shift) // side
    label = rows[:, None] * 100 + rows
    return np.array([label == value for value in np.unique(label)])


def arbitrary(seed: int, count: int = 36) -> np.ndarray:
    """A partition of 24 x 24 cells by the nearest of random points."""
    points = np.random.default_rng(seed).uniform(0, 24, (count, 2))
    cells = np.stack(np.mgrid[:24, :24], -1)[..., None, :]
    label = ((cells - points)**2).sum(-1).argmin(-1)
    return np.array([label == k for k in range(count)])


def test_who_finds_what_the_others_see_in_every_view_wins() -> None:
    """Two see the squares, at two sizes; two others see anything."""
    four, eight = blocks(4), blocks(8)
    both = np.concatenate([four, eight])
    partitions = [four, both, arbitrary(0), arbitrary(1)]
    views = [
        [sample(four, view.box, view.flip, 96) for view in VIEWS],
        [sample(both, view.box, view.flip, 96) for view in VIEWS],
        [arbitrary(10 + k) for k in range(4)],
        [arbitrary(20 + k) for k in range(4)],
    ]
    weights = [shares_returning(own, found)
               for own, found in zip(partitions, views)]
    assert weights[0].mean() > 0.8
    # What another random partition has by chance is little.
    assert weights[2].mean() < 0.1 and weights[3].mean() < 0.1
    found = agreement(partitions, weights)
    np.fill_diagonal(found, 0)
    first, second, third, fourth = found.sum(1)
    assert min(first, second) > 4 * max(third, fourth)
    # The larger squares are found by one alone.
    assert found[1, 0] == pytest.approx(weights[0].sum())
    assert found[0, 1] < weights[1].sum()


def test_many_arbitrary_masks_do_not_pay() -> None:
    """Of 288, some return and some of 16 are found: by chance, too few."""
    truth = blocks(6)
    many = np.concatenate([arbitrary(k) for k in range(8)])
    others = [np.concatenate([arbitrary(8 * k + n) for n in range(8)])
              for k in range(1, 5)]
    returning = shares_returning(many, others).sum()
    found = agreement([truth, truth, many],
                      [np.ones(16), np.ones(16), np.zeros(len(many))])
    assert found[0].tolist() == [16, 16, 0]
    assert returning * found[2, 0] < 16 * found[0, 1] / 2


def test_without_masks_nothing_is_found() -> None:
    none = np.zeros((0, 4, 4), bool)
    assert shares_returning(none, [LEFT] * 4).shape == (0, )
    found = agreement([LEFT, none], [np.ones(1), np.zeros(0)])
    assert found.tolist() == [[1, 0], [0, 0]]
