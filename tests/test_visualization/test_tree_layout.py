"""The tree's layout: nothing overlaps, nothing is lost."""
import itertools

import numpy as np
import pytest

from sohes.structures import EntityForest
from sohes.visualization.tree_layout import SIDES, ZOOMS, layout_forest


def random_forest(rng: np.random.Generator, count: int) -> EntityForest:
    """Later masks hang under earlier ones, to any depth."""
    return EntityForest([
        int(rng.integers(-1, i)) if i and rng.random() < 0.8 else -1
        for i in range(count)])


@pytest.mark.parametrize('seed', range(15))
def test_nothing_overlaps_and_nothing_is_lost(seed) -> None:
    rng = np.random.default_rng(seed)
    forest = random_forest(rng, int(rng.integers(1, 250)))
    areas = rng.integers(1, 1000, len(forest))
    width = float(rng.integers(300, 2000))
    layout = layout_forest(forest, areas, rng.random(len(forest)), width)
    assert layout.width <= width + 1e-6
    boxes = {}
    for node, (x, y) in layout.centers.items():
        half = layout.side(forest.depth[node]) / 2
        boxes[node] = (x - half, y - half, x + half, y + half)
        assert boxes[node][0] >= -1e-6 and boxes[node][1] >= -1e-6
        assert boxes[node][2] <= layout.width + 1e-6
        assert boxes[node][3] <= layout.height + 1e-6
        parent = int(forest.parents[node])
        assert parent < 0 or boxes[parent][3] < boxes[node][1]
    for a, b in itertools.combinations(boxes.values(), 2):
        assert (a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1]
                or b[3] <= a[1])
    assert (len(layout.centers) + sum(layout.hidden.values())
            + layout.hidden_trees) == len(forest)


def test_a_small_forest_by_hand() -> None:
    # 0 over 1 and 2; 3 alone, to the left of it in the photo.
    layout = layout_forest(EntityForest([-1, 0, 0, -1]),
                           np.array([9, 2, 3, 4]), np.array([5, 6, 4, 1]),
                           2000)
    assert layout.zoom == ZOOMS[0] and layout.hidden == {}
    x = {node: center[0] for node, center in layout.centers.items()}
    assert x[3] < x[2] < x[0] < x[1]
    assert x[0] == pytest.approx((x[1] + x[2]) / 2)
    assert layout.centers[1][1] == layout.centers[2][1] > layout.centers[0][1]


def test_the_largest_come_first_and_the_rest_is_counted() -> None:
    # Room for two roots of 76 pixels and the gap between, no more.
    forest = EntityForest([-1, -1, -1, 0, 0, 3])
    layout = layout_forest(forest, np.array([9, 8, 7, 6, 5, 4]),
                           np.arange(6), 2 * SIDES[0] + 30)
    assert set(layout.centers) == {0, 1, 3, 5}
    assert layout.hidden == {0: 1} and layout.hidden_trees == 1


def test_what_is_too_deep_is_counted() -> None:
    depth = len(SIDES) + 3
    layout = layout_forest(EntityForest(np.arange(-1, depth - 1)),
                           np.arange(depth, 0, -1), np.zeros(depth), 500)
    assert len(layout.centers) == len(SIDES)
    assert layout.hidden == {len(SIDES) - 1: 3}


def test_no_forest_and_no_room() -> None:
    assert layout_forest(EntityForest([]), np.zeros(0), np.zeros(0),
                         500).centers == {}
    assert len(layout_forest(EntityForest([-1, -1]), np.array([1, 2]),
                             np.zeros(2), 10).centers) == 1
