"""The kernel against the oracle, on every kind of input."""
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sohes.pseudo_labels import PAPER_THRESHOLDS, MergeTree, cluster_features
from tests.test_pseudo_labels.oracle import (
    exact_order,
    float_similarity,
    merge_all_edges,
    partitions,
)

THRESHOLDS = [0.99, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, -0.5]


def _expected(features: np.ndarray, exact: bool) -> tuple[list, np.ndarray]:
    if exact:
        merges = merge_all_edges(features.astype(int).astype(object),
                                 exact_order)
        sims = [np.sign(s) * abs(float(s))**0.5 for *_, s in merges]
    else:
        merges = merge_all_edges(features.astype(np.float64),
                                 float_similarity)
        sims = [s for *_, s in merges]
    return merges, partitions(merges, features.shape[:2], THRESHOLDS, sims)


def _assert_same(features: np.ndarray, exact: bool) -> None:
    features = features.astype(np.float32)
    merges, labels = _expected(features, exact)
    tree = MergeTree.from_features(features)
    assert tree.pairs.tolist() == [[a, b] for a, b, _ in merges]
    np.testing.assert_array_equal(
        cluster_features(features, THRESHOLDS), labels)


def _smooth(rng, height, width, channels):
    """Features that vary slowly, with a large flat part, as photos do."""
    field = rng.normal(size=(height, width, channels))
    for axis in (0, 1):
        for _ in range(3):
            field = (field + np.roll(field, 1, axis)) / 2
    field[:height // 2] = (rng.normal(size=channels) +
                           0.2 * rng.normal(size=field[:height // 2].shape))
    return field


@pytest.mark.parametrize('shape', [(1, 1), (1, 2), (2, 1), (1, 33), (29, 1),
                                   (2, 2), (7, 5), (16, 16), (13, 24)])
@pytest.mark.parametrize('channels', [2, 3, 50])
def test_random_features_equal_oracle(rng, shape, channels):
    _assert_same(rng.normal(size=(*shape, channels)), exact=False)
    _assert_same(_smooth(rng, *shape, channels), exact=False)


@pytest.mark.parametrize('low, high', [(0, 2), (-1, 2), (-3, 4), (0, 200)])
@pytest.mark.parametrize('shape', [(9, 9), (1, 30), (12, 7)])
def test_integer_features_equal_exact_oracle(rng, low, high, shape):
    """Ties are ties of real numbers: the oracle compares fractions."""
    for channels in (1, 2, 5):
        _assert_same(
            rng.integers(low, high, size=(*shape, channels)), exact=True)


@pytest.mark.parametrize('colours', [
    ([3, 1, 2], [3, 1, 2]),
    ([3, 1, 2], [1, 4, -2]),
    ([1, 0, 0], [0, 1, 0]),
    ([1, 2, 3], [-1, -2, -3]),
    ([0, 0, 0], [0, 1, 0]),
    ([0, 0, 0], [0, 0, 0]),
])
@pytest.mark.parametrize('pattern', ['checkerboard', 'two halves', 'stripes'])
def test_two_colours_equal_exact_oracle(colours, pattern):
    rows, columns = np.indices((11, 12))
    which = {
        'checkerboard': (rows + columns) % 2,
        'two halves': columns // 6,
        'stripes': rows % 2
    }[pattern]
    _assert_same(np.array(colours)[which], exact=True)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_small_integer_grid(data):
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    values = data.draw(
        st.lists(
            st.integers(-2, 2),
            min_size=height * width * 2,
            max_size=height * width * 2))
    _assert_same(np.array(values).reshape(height, width, 2), exact=True)


def test_opposite_features_cancel_exactly():
    """Two regions that sum to zero leave a vector similar to nothing."""
    features = np.array([[[1, 0], [-1, 0], [0, 1]]])
    _assert_same(features, exact=True)
    centred = np.random.default_rng(3).normal(size=(12, 12, 4))
    centred -= centred.mean((0, 1))
    _assert_same(centred, exact=False)


def test_threshold_is_inclusive_and_similarity_may_rise_again():
    # 3-4-5: the first pair stands at exactly 0.6.
    line = np.array([[[1, 0], [3, 4]]], np.float32)
    assert len(np.unique(cluster_features(line, [0.6])[0])) == 1
    assert len(np.unique(cluster_features(line, [0.61])[0])) == 2
    # The first two merge at 0.71, then the third joins at 0.92: at 0.8
    # nothing has merged, though a merge above 0.75 comes later.
    rising = np.array([[[1, 0], [1, 1], [1, -0.02]]], np.float32)
    tree = MergeTree.from_features(rising)
    assert tree.similarities[1] > tree.similarities[0]
    between = tree.similarities.mean()
    assert len(np.unique(tree.partition(between))) == 3


def _replayed_gaps(features: np.ndarray, tree: MergeTree) -> np.ndarray:
    """True maximum minus the true similarity of each merge, in float64."""
    merges = iter(tree.pairs.tolist())
    gaps = []
    height, width, _ = features.shape
    sums = features.reshape(height * width, -1).astype(np.float64)
    alive = np.arange(height * width)
    rows = np.arange(height * width).reshape(height, width)
    edges = np.concatenate([
        np.stack([rows[:, :-1].ravel(), rows[:, 1:].ravel()], 1),
        np.stack([rows[:-1].ravel(), rows[1:].ravel()], 1)
    ])
    norms = np.linalg.norm(sums, axis=1)

    def cosines(e):
        return (np.einsum('ij,ij->i', sums[e[:, 0]], sums[e[:, 1]]) /
                (norms[e[:, 0]] * norms[e[:, 1]]))

    sims = cosines(edges)
    for kept, absorbed in merges:
        chosen = ((edges == (kept, absorbed)) |
                  (edges == (absorbed, kept))).all(1)
        gaps.append(sims.max() - sims[chosen].min())
        sums[kept] += sums[absorbed]
        norms[kept] = np.linalg.norm(sums[kept])
        alive[absorbed] = kept
        edges[edges == absorbed] = kept
        stay = edges[:, 0] != edges[:, 1]
        edges, sims = edges[stay], sims[stay]
        touched = (edges == kept).any(1)
        sims[touched] = cosines(edges[touched])
    return np.array(gaps)


def test_every_merge_is_the_true_maximum(rng):
    features = _smooth(rng, 24, 31, 64).astype(np.float32)
    gaps = _replayed_gaps(features, MergeTree.from_features(features))
    assert np.abs(gaps).max() < 1e-9


def test_real_features_equal_oracle(real_features):
    small = real_features[:22, :26]
    _assert_same(small, exact=False)
    gaps = _replayed_gaps(real_features,
                          MergeTree.from_features(real_features))
    assert np.abs(gaps).max() < 1e-9


@pytest.mark.slow
def test_same_in_another_process_and_thread_count(rng, repo_root):
    features = _smooth(rng, 20, 20, 33).astype(np.float32)
    here = MergeTree.from_features(features)
    code = ('import sys, numpy as np, numba; numba.set_num_threads(1);'
            'from sohes.pseudo_labels import MergeTree;'
            'f = np.frombuffer(sys.stdin.buffer.read(), np.float32);'
            't = MergeTree.from_features(f.reshape(20, 20, 33));'
            'sys.stdout.buffer.write(t.pairs.tobytes()'
            ' + t.similarities.tobytes())')
    there = subprocess.run([sys.executable, '-c', code], check=True,
                           input=features.tobytes(), capture_output=True,
                           cwd=repo_root, env={'OMP_NUM_THREADS': '1',
                                               'PYTHONPATH': str(repo_root)})
    assert there.stdout == (here.pairs.tobytes() +
                            here.similarities.tobytes())


def test_tree_agrees_with_pixels(rng):
    features = _smooth(rng, 9, 10, 6).astype(np.float32)
    tree = MergeTree.from_features(features)
    masks = np.stack([tree.mask(n) for n in range(len(tree))])
    flat = masks.reshape(len(tree), -1).astype(np.int64)
    inter = flat @ flat.T
    area = flat.sum(1)
    np.testing.assert_array_equal(tree.area, area)
    nodes = np.arange(len(tree))
    np.testing.assert_array_equal(
        tree.contains(nodes[:, None], nodes), inter == area[None])
    np.testing.assert_allclose(
        tree.iou(nodes[:, None], nodes),
        inter / (area[:, None] + area - inter))
    for threshold in PAPER_THRESHOLDS:
        labels = tree.partition(threshold)
        regions = {(labels == i).tobytes() for i in np.unique(labels)}
        assert regions == {masks[n].tobytes()
                           for n in tree.nodes_at(threshold)}
    assert masks[-1].all() and tree.parent[-1] == -1
    assert tree.absorbed[tree.children[-1]].tolist() == [tree.formed[-1]] * 2


def test_level_of_one_region_is_kept():
    """Peers lose a level when everything merges into one region."""
    labels = cluster_features(np.ones((4, 5, 3), np.float32), [0.5, 0.1])
    assert labels.shape == (2, 4, 5) and not labels.any()


@pytest.mark.parametrize('features, match', [
    (np.zeros((3, 3)), r'\(H, W, C\), found shape \(3, 3\)'),
    (np.zeros((0, 3, 4)), r'empty: shape \(0, 3, 4\)'),
    (np.zeros((2, 3, 0)), 'empty'),
    (np.full((2, 2, 2), 1j), 'real numbers'),
    (np.array([['a']])[None], 'real numbers'),
])
def test_bad_features_are_refused(features, match):
    with pytest.raises(ValueError, match=match):
        cluster_features(features)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_place(value):
    features = np.ones((3, 4, 2), np.float32)
    features[1, 2, 1] = value
    with pytest.raises(ValueError, match=r'\(1, 2, 1\)'):
        cluster_features(features)


@pytest.mark.parametrize('thresholds, match', [
    ([], 'non-empty'),
    ([0.3, 0.5], 'fall strictly'),
    ([0.5, 0.5], 'fall strictly'),
    ([1.5, 0.5], r'\[-1, 1\]'),
    ([np.nan], r'\[-1, 1\]'),
])
def test_bad_thresholds_are_refused(thresholds, match):
    with pytest.raises(ValueError, match=match):
        cluster_features(np.ones((2, 2, 2), np.float32), thresholds)


def test_tree_refuses_wrong_number_of_merges():
    with pytest.raises(ValueError, match='2 x 3 patches has 5 merges'):
        MergeTree((2, 3), np.zeros((4, 2), int), np.zeros(4))
