"""From any matrix of scores to a forest."""
import itertools

import numpy as np
import pytest

from sohes.structures import EntityForest
from sohes.structures.ancestor_graph import (
    deepest_parents,
    drop_weaker_edges,
    topological_order,
)

Edge = tuple[int, int]


def matrix(count: int, edges: dict[Edge, float]) -> np.ndarray:
    """(N, N) scores, 0 but for the edges."""
    scores = np.zeros((count, count))
    for edge, score in edges.items():
        scores[edge] = score
    return scores


@pytest.mark.parametrize('count, edges, parents', [
    (0, {}, []),
    (1, {(0, 0): 0.9}, [-1]),
    (2, {(0, 1): 0.9}, [-1, 0]),
    (2, {(0, 1): 0.5}, [-1, -1]),  # strictly above the threshold
    # The parent is the deepest ancestor, not the surest.
    (3, {(0, 1): 0.9, (1, 2): 0.6, (0, 2): 0.99}, [-1, 0, 1]),
    # Of two opposite edges the weaker goes; of equal ones the later.
    (2, {(0, 1): 0.7, (1, 0): 0.8}, [1, -1]),
    (2, {(0, 1): 0.8, (1, 0): 0.8}, [-1, 0]),
    # The weakest of a cycle goes.
    (3, {(0, 1): 0.9, (1, 2): 0.7, (2, 0): 0.8}, [2, 0, -1]),
    # Two cycles share their weakest edge: only that one goes.
    (4, {(0, 1): 0.6, (1, 2): 0.9, (2, 0): 0.9, (1, 3): 0.8, (3, 0): 0.8},
     [2, -1, 1, 1]),
    # Equally deep ancestors: the surer, then the first.
    (3, {(0, 2): 0.7, (1, 2): 0.8}, [-1, -1, 1]),
    (3, {(0, 2): 0.8, (1, 2): 0.8}, [-1, -1, 0]),
])
def test_parents_by_hand(count, edges, parents) -> None:
    forest = EntityForest.from_ancestor_scores(matrix(count, edges))
    assert forest.parents.tolist() == parents


def test_threshold_is_an_argument() -> None:
    scores = matrix(2, {(0, 1): 0.4})
    assert EntityForest.from_ancestor_scores(
        scores, threshold=0.3).parents.tolist() == [-1, 0]


def reaches(edges: set[Edge], start: int, goal: int) -> bool:
    """Depth-first search."""
    stack, seen = [start], set()
    while stack:
        node = stack.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            stack += [target for source, target in edges if source == node]
    return False


def oracle(scores: np.ndarray) -> tuple[set[Edge], list[int]]:
    """The edges that stay, and the parents, in plain Python."""
    count = len(scores)
    edges = {(i, j) for i in range(count) for j in range(count)
             if i != j and scores[i, j] > 0.5}
    edges = {(i, j) for i, j in edges if (j, i) not in edges
             or (-scores[i, j], i) < (-scores[j, i], j)}
    kept: set[Edge] = set()
    for edge in sorted(edges, key=lambda e: (-scores[e], e)):
        if not reaches(kept, edge[1], edge[0]):
            kept.add(edge)

    def depth(node: int) -> int:
        return max((1 + depth(i) for i, j in kept if j == node), default=0)

    parents = [
        min((i for i in range(count) if (i, node) in kept), default=-1,
            key=lambda i: (-depth(i), -scores[i, node], i))
        for node in range(count)
    ]
    return kept, parents


def test_every_matrix_of_three_nodes() -> None:
    off_diagonal = [(i, j) for i in range(3) for j in range(3) if i != j]
    for values in itertools.product([0, 0.6, 0.7, 0.8], repeat=6):
        scores = matrix(3, dict(zip(off_diagonal, values)))
        assert (EntityForest.from_ancestor_scores(scores).parents.tolist()
                == oracle(scores)[1])


@pytest.mark.parametrize('seed', range(60))
def test_random_matrices_equal_the_oracle(seed) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 9))
    scores = rng.random((count, count))
    if seed % 2:  # ties
        scores = np.round(scores, 1)
    scores *= rng.random((count, count)) < rng.choice([0.3, 1])
    kept, parents = oracle(scores)
    np.fill_diagonal(scores, 0)
    edges = drop_weaker_edges(scores, scores > 0.5)
    assert set(map(tuple, np.argwhere(edges).tolist())) == kept
    assert (EntityForest.from_ancestor_scores(scores).parents.tolist()
            == parents)


@pytest.mark.parametrize('seed', range(20))
def test_a_true_relation_comes_back(seed) -> None:
    rng = np.random.default_rng(seed)
    parents = np.array([rng.integers(-1, i) if i else -1 for i in range(40)])
    forest = EntityForest(parents)
    scores = np.where(forest.ancestors, 0.6 + 0.4 * rng.random((40, 40)),
                      0.4 * rng.random((40, 40)))
    assert EntityForest.from_ancestor_scores(scores) == forest


@pytest.mark.parametrize('scores', [
    np.ones((7, 7)), np.full((7, 7), np.inf), np.zeros((7, 7)),
    np.full((7, 7), -np.inf), np.zeros((0, 0)), []
])
def test_degenerate_scores_still_give_a_forest(scores) -> None:
    assert len(EntityForest.from_ancestor_scores(scores)) == len(scores)


def test_all_ones_is_a_chain() -> None:
    forest = EntityForest.from_ancestor_scores(np.ones((5, 5)))
    assert forest.parents.tolist() == [-1, 0, 1, 2, 3]


def test_nan_and_wrong_shapes_are_refused() -> None:
    scores = np.zeros((3, 3))
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match=r'NaN, first at \(2, 1\)'):
        EntityForest.from_ancestor_scores(scores)
    with pytest.raises(ValueError, match=r'\(N, N\), got \(2, 3\)'):
        EntityForest.from_ancestor_scores(np.zeros((2, 3)))


def test_the_input_is_left_alone() -> None:
    scores = np.full((3, 3), 0.9)
    EntityForest.from_ancestor_scores(scores)
    assert (scores == 0.9).all()


def test_graph_helpers_refuse_cycles() -> None:
    cycle = matrix(3, {(0, 1): 1, (1, 2): 1, (2, 0): 1}) > 0
    assert topological_order(cycle) is None
    with pytest.raises(ValueError, match='cycle'):
        deepest_parents(np.ones((3, 3)), cycle)


def test_an_untrained_head_does_not_stall() -> None:
    # 300 queries, half of all pairs above the threshold.
    scores = np.random.default_rng(0).random((300, 300))
    forest = EntityForest.from_ancestor_scores(scores)
    assert len(forest) == 300
