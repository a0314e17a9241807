"""The masks that together should match the most entities."""
import itertools

import numpy as np
import pytest

from sohes.models.dense_heads.expected_recall import (
    expected_recall,
    falling,
)


def recall(iou, scores, chosen):
    """What the choice is worth, from its definition."""
    worth = np.clip((iou - 0.45) / 0.5, 0, 1)
    np.fill_diagonal(worth, 1)
    return (scores**2 * worth[:, list(chosen)].max(1, initial=0)).sum()


def some_iou(rng, count):
    """IoUs of random intervals of a line."""
    ends = np.sort(rng.integers(0, 40, (count, 2)), axis=1) + [0, 1]
    masks = (np.arange(41) >= ends[:, :1]) & (np.arange(41) < ends[:, 1:])
    shared = (masks[:, None] & masks).sum(-1)
    return shared / (masks[:, None] | masks).sum(-1)


def test_twins_leave_room_for_another():
    iou = np.eye(3)
    iou[0, 1] = iou[1, 0] = 0.9
    scores = np.array([0.9, 0.8, 0.3])
    assert expected_recall(iou, scores, 2).tolist() == [0, 2]
    assert expected_recall(iou, scores, 9).tolist() == [0, 2, 1]


def test_the_middle_of_a_cluster_comes_first():
    """Though it is not the surest."""
    iou = np.array([[1, 0.5, 0.8], [0.5, 1, 0.8], [0.8, 0.8, 1]])
    assert expected_recall(iou, np.array([0.6, 0.6, 0.55]), 1).tolist() == [2]


@pytest.mark.parametrize('seed', range(5))
def test_each_choice_gains_most_and_all_come_near_the_best(seed):
    rng = np.random.default_rng(seed)
    iou, scores = some_iou(rng, 9), rng.random(9)
    chosen = expected_recall(iou, scores, 4).tolist()
    assert len(set(chosen)) == 4
    for k, got in enumerate(chosen):
        gains = [recall(iou, scores, [*chosen[:k], other])
                 for other in range(9)]
        assert gains[got] == pytest.approx(max(gains), abs=1e-6)
    best = max(recall(iou, scores, some)
               for some in itertools.combinations(range(9), 4))
    assert recall(iou, scores, chosen) >= (1 - np.exp(-1)) * best


@pytest.mark.parametrize('count', [0, 3])
def test_nothing_to_choose(count):
    none = expected_recall(np.zeros((0, 0)), np.zeros(0), count)
    assert none.tolist() == [] and none.dtype == np.int64


def test_falling_values_are_the_nearest():
    assert falling([3, 1, 2, 2, 0]).tolist() == pytest.approx(
        [3, 5 / 3, 5 / 3, 5 / 3, 0])
    assert falling([]).tolist() == []
    values = np.random.default_rng(0).random(50)
    got = falling(values)
    assert (np.diff(got) <= 0).all()
    assert got.sum() == pytest.approx(values.sum())
    # No small change that keeps them falling comes nearer.
    for shift in (got - 0.01, np.minimum(got, 0.6), np.sort(values)[::-1]):
        assert ((got - values)**2).sum() <= ((shift - values)**2).sum()
