"""Masks drawn by hand: borders stay in place, NMS keeps the right one."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.proposals import (
    Proposal,
    pool_nodes,
    propose_nodes,
    region_score,
    suppress_masks,
    suppress_nodes,
)
from sohes.structures import PackedMasks, pairwise_iou


def _item(grid: list | np.ndarray, box: tuple[int, int, int, int],
          score: float = 0.0) -> Proposal:
    return Proposal(np.array(grid, bool), box, score, 1)


def _text(mask: np.ndarray) -> str:
    return ' '.join(''.join('.#'[int(v)] for v in row) for row in mask)


@pytest.mark.parametrize('grid, size, expected', [
    # straight edges between patches of 2 x 2 pixels
    ([[1, 0], [1, 0]], (4, 4), '##.. ##.. ##.. ##..'),
    ([[1, 1], [0, 0]], (4, 4), '#### #### .... ....'),
    # patches of 3 x 2
    ([[0, 1]], (2, 6), '...### ...###'),
    # 5 pixels to 2 patches: the border at 2.5 runs through a pixel, whose
    # centre lies on it and does not count
    ([[1, 0]], (1, 5), '##...'),
    ([[0, 1]], (1, 5), '...##'),
    # 7 pixels to 3 patches: borders at 2.33 and 4.67
    ([[0, 1, 0]], (1, 7), '..###..'),
    ([[1, 0, 1]], (1, 7), '##...##'),
    # one patch for all
    ([[1]], (3, 2), '## ## ##'), ([[0]], (3, 2), '.. .. ..'),
    # a corner is cut: bilinear, as the DenseCRF sees it
    ([[1, 0], [0, 0]], (8, 8),
     '####.... ####.... ####.... ###..... ........ ........ ........ '
     '........'),
])
def test_render(grid, size, expected):
    item = _item(grid, (0, 0, size[1], size[0]))
    assert _text(item.render(size)) == expected


def test_render_in_a_crop():
    item = _item([[1, 0], [1, 0]], (1, 2, 5, 6))
    assert _text(item.render((7, 6))) == (
        '...... ...... .##... .##... .##... .##... ......')


def test_crop_ends_where_it_ends():
    # patches at the crop's border reach it, and not one pixel further
    item = _item([[1]], (2, 1, 4, 3))
    assert _text(item.render((4, 6))) == '...... ..##.. ..##.. ......'


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 12),
       st.integers(0, 3), st.booleans())
def test_straight_edge_lies_on_the_border_of_patches(n_patches, extra, edge,
                                                     left, upright):
    """Whatever the size: a pixel is inside when its centre is."""
    edge = min(edge, n_patches)
    side = n_patches + extra
    grid = np.zeros((2, n_patches), bool)
    grid[:, :edge] = True
    centers = np.arange(side) + 0.5
    border = edge * side / n_patches
    expected = np.zeros((5, left + side), bool)
    expected[:, left:] = centers < border - 1e-6
    on_border = np.zeros(left + side, bool)
    on_border[left:] = np.abs(centers - border) < 1e-6
    item = _item(grid, (left, 0, left + side, 5))
    found = item.render((5, left + side))
    if upright:
        item = _item(grid.T, (0, left, 5, left + side))
        found = item.render((left + side, 5)).T
    np.testing.assert_array_equal(found[:, ~on_border],
                                  expected[:, ~on_border])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_soft_is_bilinear_interpolation(data):
    """Against cv2, which aligns centres the same way."""
    import cv2
    h, w = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    grid = np.array(data.draw(st.lists(
        st.booleans(), min_size=h * w, max_size=h * w))).reshape(h, w)
    height, width = data.draw(st.integers(1, 30)), data.draw(
        st.integers(1, 30))
    if height < h or width < w:
        return  # cv2 computes in fixed point where it shrinks
    item = _item(grid, (0, 0, width, height))
    expected = cv2.resize(grid.astype(np.float32), (width, height),
                          interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(
        item.soft((0, 0, width, height), (height, width)), expected,
        atol=1e-5)


def test_soft_of_a_window_is_a_cut_of_the_whole(rng):
    item = _item(rng.random((5, 7)) > 0.5, (3, 2, 38, 22))
    whole = item.soft((0, 0, 40, 30), (30, 40))
    assert whole.dtype == np.float32
    np.testing.assert_allclose(item.soft((10, 4, 40, 30), (26, 30)),
                               whole[4:30, 10:40], atol=1e-6)
    assert (whole[:2] == 0).all() and (whole[:, 38:] == 0).all()
    assert whole.min() >= 0 and whole.max() <= 1


def test_soft_shrunk():
    # 8 pixels seen as 4 samples: centres at 1, 3, 5, 7; patches' at 2 and 6
    item = _item([[1, 0]], (0, 0, 8, 1))
    np.testing.assert_allclose(item.soft((0, 0, 8, 1), (1, 4)),
                               [[1, 0.75, 0.25, 0]])


def test_render_draws_the_same_as_soft_everywhere(rng):
    for _ in range(30):
        item = _item(rng.random((4, 5)) > 0.6, (2, 1, 33, 18))
        np.testing.assert_array_equal(
            item.render((20, 36)), item.soft((0, 0, 36, 20), (20, 36)) > 0.5)


@pytest.mark.parametrize('size', [(1, 1), (3, 2), (1, 9)])
def test_image_smaller_than_the_grid(size):
    item = _item(np.ones((16, 16)), (0, 0, size[1], size[0]))
    assert item.render(size).all() and item.render(size).shape == size
    half = np.zeros((16, 16), bool)
    half[:, :8] = True
    mask = _item(half, (0, 0, size[1], size[0])).render(size)
    centers = np.arange(size[1]) + 0.5
    np.testing.assert_array_equal(mask[0][centers != size[1] / 2],
                                  (centers < size[1] / 2)[
                                      centers != size[1] / 2])


def test_area_bounds_and_window():
    grid = np.zeros((4, 5), bool)
    grid[1, 2:4] = grid[2, 2] = True
    item = _item(grid, (10, 20, 60, 28))  # patches of 10 x 2 pixels
    assert item.area == 60
    assert item.bounds() == (30, 22, 50, 26)
    assert item.patch_size == 6
    assert item.window((100, 100)) == (29, 21, 51, 27)
    assert item.window((100, 100), 2.5) == (27, 19, 53, 29)
    assert item.window((27, 45), 100) == (0, 0, 45, 27)


def _tree(features: list) -> MergeTree:
    return MergeTree.from_features(np.array(features, np.float32))


# Two and two of a kind: pairs merge at 1, then all at 0.
PAIRS = [[[1, 0], [1, 0], [0, 1], [0, 1]]]


def test_pool_holds_each_node_once():
    tree = _tree(PAIRS)
    pool = pool_nodes(tree, (0.9, 0.5, 0.1, -0.5))
    masks = sorted(_text(tree.mask(node)) for node in pool)
    assert masks == ['####', '##..', '..##']


def test_everything_in_one_region_does_not_vanish():
    tree = _tree(np.ones((3, 3, 2)))
    pool = pool_nodes(tree, (0.9, 0.5))
    assert [tree.mask(node).all() for node in pool] == [True]


def test_tree_nms_keeps_the_longer_lived():
    # A row of 10: nine alike, the tenth at similarity 0.8, so that the nine
    # form at 1 and last until 0.8; all ten last from 0.8 to 0. IoU 0.9.
    features = [[[1, 0]] * 9 + [[0.8, 0.6]]]
    tree = _tree(features)
    pool = pool_nodes(tree, (0.9, 0.5))
    assert sorted(tree.area[pool]) == [1, 9, 10]
    assert sorted(tree.area[suppress_nodes(tree, pool, 0.9)]) == [1, 9, 10]
    kept = suppress_nodes(tree, pool, 0.89)
    assert tree.area[kept].tolist() == [10, 1]  # 0.8 long, 0.2 long


def _nms_on_pixels(tree: MergeTree, nodes: np.ndarray,
                   max_iou: float) -> np.ndarray:
    """The rule as written down: no tree, every pair of masks."""
    score = (tree.formed - tree.absorbed)[nodes]
    kept = []
    for k in np.argsort(-score, kind='stable'):
        mask = tree.mask(nodes[k])
        if all((mask & other).sum() / (mask | other).sum() <= max_iou
               for other in map(tree.mask, kept)):
            kept.append(nodes[k])
    return np.array(kept, int)


@pytest.mark.parametrize('max_iou', [0.1, 0.34, 0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (7, 1), (5, 6), (9, 8)])
@pytest.mark.parametrize('kind', ['floats', 'ties'])
def test_tree_nms_equals_pixel_nms(rng, shape, max_iou, kind):
    for _ in range(4):
        features = (rng.standard_normal((*shape, 3)) if kind == 'floats'
                    else rng.integers(-1, 2, (*shape, 3)))
        tree = _tree(features)
        for nodes in (pool_nodes(tree, (0.9, 0.6, 0.3, 0.0)),
                      np.arange(len(tree))):
            np.testing.assert_array_equal(
                suppress_nodes(tree, nodes, max_iou),
                _nms_on_pixels(tree, nodes, max_iou))


def test_mask_nms_equals_tree_nms(rng):
    tree = _tree(rng.standard_normal((8, 8, 3)))
    nodes = pool_nodes(tree, (0.9, 0.6, 0.3, 0.0))
    iou = pairwise_iou(PackedMasks.from_any([tree.mask(n) for n in nodes]))
    kept = suppress_masks(iou, (tree.formed - tree.absorbed)[nodes], 0.6)
    np.testing.assert_array_equal(nodes[kept], suppress_nodes(tree, nodes,
                                                              0.6))
    assert len(kept) < len(nodes)


def test_mask_nms_by_hand():
    iou = np.array([[1, .95, 0], [.95, 1, .95], [0, .95, 1]])
    # the best takes out the middle, which then takes nobody with it
    assert suppress_masks(iou, np.array([3, 2, 1]), 0.9).tolist() == [0, 2]
    assert suppress_masks(iou, np.array([1, 3, 2]), 0.9).tolist() == [1]
    assert suppress_masks(iou, np.array([1, 1, 1]), 0.9).tolist() == [0, 2]
    assert suppress_masks(iou, np.array([1, 2, 3]), 0.95).tolist() == [2, 1, 0]
    assert suppress_masks(np.zeros((0, 0)), np.zeros(0), 0.9).tolist() == []


def test_region_score():
    assert region_score(1, 1) == 1
    assert region_score(0.5, 0.25) == pytest.approx((0.5 * 0.5)**0.25)
    assert region_score(-0.1, 0.5) == 0  # absorbed above where it formed
    assert region_score(1.5, 1) == 1  # formed at 1, absorbed below 0
    assert region_score(0.3, 0.2) < region_score(0.3, 0.4)
    assert region_score(0.3, 0.2) < region_score(0.4, 0.2)


def test_nodes_as_proposals_of_a_crop():
    tree = _tree(PAIRS)
    node = int(pool_nodes(tree, (0.9, ))[1])
    item, = propose_nodes(tree, np.array([node]), (8, 0, 16, 2), (10, 20), 2)
    assert _text(item.grid) == '..##'
    assert item.box == (8, 0, 16, 2) and item.step == 2
    # from 1 to 0, 4 by 2 pixels of 200
    assert item.score == pytest.approx(region_score(1, 8 / 200))
    assert item.area == 8
