"""The forest on hand-drawn masks, and its promises on random ones."""
import pickle

import numpy as np
import pytest

from sohes.structures import EntityForest


def draw(*pictures: str) -> np.ndarray:
    """(N, H, W) bool from pictures of '#' and '.', rows divided by '/'."""
    return np.array([[[pixel == '#' for pixel in row]
                      for row in picture.split('/')]
                     for picture in pictures])


FULL = '####/####/####/####'
LEFT = '##../##../##../##..'
RIGHT = '..##/..##/..##/..##'
CORNER = '##../##../..../....'
DOT = '#.../..../..../....'
MIDDLE = '..../.##./.##./....'
EMPTY = '..../..../..../....'


@pytest.mark.parametrize('pictures, parents', [
    ([], []),
    ([FULL], [-1]),
    ([EMPTY], [-1]),
    ([EMPTY, FULL, EMPTY], [-1, -1, -1]),
    ([FULL, LEFT, CORNER, DOT], [-1, 0, 1, 2]),
    ([DOT, CORNER, LEFT, FULL], [1, 2, 3, -1]),
    ([LEFT, RIGHT, DOT], [-1, -1, 0]),
    ([FULL, LEFT, RIGHT, DOT, MIDDLE], [-1, 0, 0, 1, 0]),
    ([LEFT, MIDDLE], [-1, -1]),
    # Equal masks are siblings, and the first takes the children.
    ([LEFT, LEFT], [-1, -1]),
    ([FULL, LEFT, LEFT, CORNER], [-1, 0, 0, 1]),
    ([CORNER, FULL, FULL], [1, -1, -1]),
])
def test_parents_of_drawn_masks(pictures, parents) -> None:
    masks = draw(*pictures).reshape(-1, 4, 4)
    assert EntityForest.from_masks(masks).parents.tolist() == parents


def test_coverage_counts_exactly_at_the_threshold() -> None:
    # 9 of 10 pixels inside: 0.9 is reached. 8 of 10: not.
    masks = np.zeros((3, 2, 40), bool)
    masks[0, 0, :30] = True
    masks[1, 0, 21:31] = True
    masks[2, 0, 22:32] = True
    assert EntityForest.from_masks(masks).parents.tolist() == [-1, 0, -1]
    assert EntityForest.from_masks(
        masks, coverage=0.8).parents.tolist()[1] == 0
    assert EntityForest.from_masks(
        masks, coverage=1.0).parents.tolist() == [-1, -1, -1]


def test_of_equally_large_ancestors_the_one_that_shares_more() -> None:
    part = np.zeros((1, 100), bool)
    part[0, :10] = True
    less, more = np.zeros((2, 1, 100), bool)
    less[0, 1:31] = True  # 9 of the part's 10
    more[0, :30] = True  # all 10
    masks = np.stack([part, less, more])
    assert EntityForest.from_masks(masks).parents.tolist()[0] == 2


def test_the_relation_is_that_of_the_pairs_and_the_trees_are_as_ever() -> None:
    masks = np.zeros((3, 1, 400), bool)
    masks[0, 0, :10] = True
    masks[1, 0, 1:101] = True  # covers 9 of 10
    masks[2, 0, 10:400] = True  # covers 91 of 100, nothing of mask 0
    forest = EntityForest.from_masks(masks)
    assert forest.parents.tolist() == [1, 2, -1]
    # Mask 2 covers nothing of mask 0, but is above it in its tree.
    assert forest.pairs.tolist() == [[1, 0], [2, 1]]
    assert np.argwhere(forest.ancestors).tolist() == [[1, 0], [2, 1]]
    assert np.argwhere(forest.closure).tolist() == [[1, 0], [2, 0], [2, 1]]
    assert forest != EntityForest(forest.parents)
    assert pickle.loads(pickle.dumps(forest)) == forest
    # Without mask 1, mask 0 hangs from mask 2, which is no ancestor of it.
    some = forest.subset([0, 2])
    assert some.parents.tolist() == [1, -1] and some.pairs.tolist() == []
    assert forest.subset([2, 1]).pairs.tolist() == [[0, 1]]


def test_a_mask_may_be_an_ancestor_without_being_above_in_the_tree() -> None:
    masks = np.zeros((3, 1, 60), bool)
    masks[0, 0, :10] = True  # in both others, which only overlap
    masks[1, 0, :30] = True
    masks[2, 0, :20] = masks[2, 0, 40:60] = True
    forest = EntityForest.from_masks(masks)
    assert forest.parents.tolist() == [1, -1, -1]
    assert forest.pairs.tolist() == [[1, 0], [2, 0]]


def test_forests_side_by_side() -> None:
    trees, pairs = EntityForest([-1, 0, 1]), EntityForest([1, -1], [(1, 0)])
    assert EntityForest.cat([trees, trees]).pairs is None
    both = EntityForest.cat([pairs, trees])
    assert both.parents.tolist() == [1, -1, -1, 2, 3]
    assert both.pairs.tolist() == [[1, 0], [2, 3], [2, 4], [3, 4]]


@pytest.mark.parametrize('pairs, message', [
    ([(0, 2)], r'two of 2 masks, numbered from 0, got \[0, 2\]'),
    ([(-1, 0)], r'got \[-1, 0\]'),
    ([(1, 1)], r'got \[1, 1\]'),
    ([0, 1], r'\(P, 2\) integers, got int64 of shape \(2,\)'),
    ([(0., 1.)], 'got float64'),
])
def test_what_are_no_pairs_is_refused(pairs, message) -> None:
    with pytest.raises(ValueError, match=message):
        EntityForest([-1, 0], pairs)


def brute_force(masks: np.ndarray, tenths: int) -> tuple[list, list]:
    """Step 4 on sets of pixels, in integers: parents and pairs."""
    pixels = [set(np.flatnonzero(mask).tolist()) for mask in masks]

    def covered(i: int, j: int) -> bool:
        return bool(pixels[i]) and (
            10 * len(pixels[i] & pixels[j]) >= tenths * len(pixels[i]))

    parents, pairs = [], []
    for i in range(len(masks)):
        above = [
            j for j in range(len(masks))
            if j != i and covered(i, j) and not covered(j, i)
        ]
        parents.append(
            min(above, default=-1, key=lambda j:
                (len(pixels[j]), -len(pixels[i] & pixels[j]), j)))
        pairs += [[j, i] for j in above]
    return parents, sorted(pairs)


@pytest.mark.parametrize('seed', range(30))
def test_from_masks_equals_brute_force(seed) -> None:
    rng = np.random.default_rng(seed)
    masks = np.zeros((rng.integers(1, 40), rng.integers(1, 12),
                      rng.integers(1, 90)), bool)
    for mask in masks:
        rows = np.sort(rng.integers(0, mask.shape[0] + 1, 2))
        columns = np.sort(rng.integers(0, mask.shape[1] + 1, 2))
        box = mask[rows[0]:rows[1], columns[0]:columns[1]]
        box[:] = rng.random(box.shape) < rng.choice([0.5, 0.95, 1])
    tenths = int(rng.integers(1, 11))
    forest = EntityForest.from_masks(masks, coverage=tenths / 10)
    parents, pairs = brute_force(masks, tenths)
    assert forest.parents.tolist() == parents
    assert forest.pairs.tolist() == pairs


@pytest.mark.parametrize('coverage', [0, -0.1, 1.01, float('nan')])
def test_coverage_out_of_range(coverage) -> None:
    with pytest.raises(ValueError, match='coverage'):
        EntityForest.from_masks(draw(FULL), coverage=coverage)


def test_from_coco_rles() -> None:
    coco_mask = pytest.importorskip('pycocotools.mask')
    masks = draw(LEFT, DOT, FULL)
    rles = [
        coco_mask.encode(np.asfortranarray(m.view(np.uint8))) for m in masks
    ]
    assert EntityForest.from_masks(rles).parents.tolist() == [2, 0, -1]


def test_relations_by_hand() -> None:
    #   0       4
    #  / \      |
    # 1   3     5
    # |
    # 2
    forest = EntityForest([-1, 0, 1, 0, -1, 4])
    assert len(forest) == 6
    assert forest.roots == [0, 4]
    assert forest.depth.tolist() == [0, 1, 2, 1, 0, 1]
    assert [forest.children(i) for i in range(6)] == [[1, 3], [2], [], [],
                                                      [5], []]
    expected = np.zeros((6, 6), bool)
    for ancestor, child in [(0, 1), (0, 2), (0, 3), (1, 2), (4, 5)]:
        expected[ancestor, child] = True
    np.testing.assert_array_equal(forest.ancestors, expected)
    with pytest.raises(IndexError, match='mask 6 of 6'):
        forest.children(6)


def test_forest_is_frozen_and_copies() -> None:
    parents = np.array([-1, 0])
    forest = EntityForest(parents)
    parents[1] = -1
    assert forest.parents.tolist() == [-1, 0]
    for array in (forest.parents, forest.depth, forest.ancestors):
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 1
    with pytest.raises(AttributeError):
        forest.parents = parents


def test_equality_hash_and_pickle() -> None:
    forest = EntityForest([-1, 0, 0])
    assert forest == EntityForest(np.array([-1, 0, 0], np.int32))
    assert hash(forest) == hash(EntityForest([-1, 0, 0]))
    assert forest != EntityForest([-1, 0, 1]) and forest != 'forest'
    copy = pickle.loads(pickle.dumps(forest))
    assert copy == forest and not copy.parents.flags.writeable


@pytest.mark.parametrize('parents, message', [
    ([0], r'cycle in parents, through \[0\]'),
    ([-1, 2, 3, 1, 2], r'cycle in parents, through \[1, 2, 3\]'),
    ([-1, 2], r'-1 to 1, got \[2\] at \[1\]'),
    ([-2, 0], r'-1 to 1, got \[-2\] at \[0\]'),
    ([0.0], 'integers, got float64'),
    ([[-1]], r'of shape \(1, 1\)'),
])
def test_what_is_no_forest_is_refused(parents, message) -> None:
    with pytest.raises(ValueError, match=message):
        EntityForest(parents)


def test_subset_keeps_the_nearest_ancestor() -> None:
    forest = EntityForest([-1, 0, 1, 2, -1])
    assert forest.subset([3, 0]).parents.tolist() == [1, -1]
    assert forest.subset([2, 3, 4]).parents.tolist() == [-1, 0, -1]
    assert forest.subset([]).parents.tolist() == []
    assert forest.subset(
        np.array([True, False, True, False,
                  False])).parents.tolist() == [-1, 0]
    with pytest.raises(ValueError, match='twice'):
        forest.subset([1, 1])
    with pytest.raises(ValueError, match='0 to 4'):
        forest.subset([5])


def test_subset_keeps_every_relation(rng) -> None:
    for _ in range(50):
        forest = random_forest(rng, 12)
        keep = rng.permutation(12)[:rng.integers(0, 13)]
        np.testing.assert_array_equal(
            forest.subset(keep).ancestors, forest.ancestors[np.ix_(keep,
                                                                   keep)])


def random_forest(rng: np.random.Generator, count: int) -> EntityForest:
    """Every shape of tree, with the numbers shuffled."""
    order = rng.permutation(count)
    parents = np.full(count, -1)
    for rank in range(1, count):
        if rng.random() < 0.8:
            parents[order[rank]] = order[rng.integers(rank)]
    return EntityForest(parents)
