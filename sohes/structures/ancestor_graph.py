"""From scored ancestor relations to a graph without cycles, to parents."""
import numpy as np


def drop_weaker_edges(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Makes a directed graph acyclic, at the expense of its weakest edges.

    Of two opposite edges the weaker goes. Then edges come in from the
    strongest down, and one that would close a cycle stays out. A dropped
    edge is thus the weakest of a cycle whose others all stay, and no further
    edge could come back.

    Args:
        scores: (N, N) float without NaN; equal scores rank by position.
        edges: (N, N) bool, ``[i, j]`` an edge from ancestor i to j; nothing
            on the diagonal.

    Returns:
        (N, N) bool, the edges that stay.
    """
    upper = np.triu(np.ones_like(edges), 1)
    # On equal scores the edge above the diagonal wins: the smaller ancestor.
    beaten = edges & edges.T & ((scores < scores.T) |
                                ((scores == scores.T) & ~upper))
    edges = edges & ~beaten
    if topological_order(edges) is not None:
        return edges
    sources, targets = np.nonzero(edges)
    order = np.lexsort((targets, sources, -scores[sources, targets]))
    kept = np.zeros_like(edges)
    # below[i]: i and all that can be reached from it, one bit a node. A
    # Python integer is a bit set of any length, and needs no compiler.
    below = [1 << node for node in range(len(edges))]
    for source, target in zip(sources[order].tolist(),
                              targets[order].tolist()):
        if below[target] >> source & 1:
            continue
        kept[source, target] = True
        if not below[source] >> target & 1:
            gained = below[target]
            for node, reached in enumerate(below):
                if reached >> source & 1:
                    below[node] = reached | gained
    return kept


def deepest_parents(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Hangs every node of an acyclic graph from its deepest ancestor.

    The depth of a node in the forest that comes out is the length of the
    longest path to it in the graph.

    Args:
        scores: (N, N) float; of equally deep ancestors the one with the
            higher score is the parent, then the one that comes first.
        edges: (N, N) bool, ``[i, j]`` an edge from ancestor i to j, without
            cycles.

    Returns:
        (N,) int64, the parent of each node, -1 for a root.

    Raises:
        ValueError: There is a cycle.
    """
    order = topological_order(edges)
    if order is None:
        raise ValueError('the graph has a cycle')
    parents = np.full(len(edges), -1, np.int64)
    depth = np.zeros(len(edges), np.int64)
    for node in order:
        above = np.flatnonzero(edges[:, node])
        if len(above):
            best = np.lexsort((above, -scores[above, node], -depth[above]))[0]
            parents[node] = above[best]
            depth[node] = depth[above[best]] + 1
    return parents


def topological_order(edges: np.ndarray) -> np.ndarray | None:
    """Orders nodes so that every edge points forward (Kahn 1962).

    Args:
        edges: (N, N) bool, ``[i, j]`` an edge from i to j.

    Returns:
        (N,) int64, or None when there is a cycle.
    """
    waiting = edges.sum(axis=0)
    ready = np.flatnonzero(waiting == 0)
    layers = [ready]
    while len(ready):
        waiting[ready] = -1
        waiting -= edges[ready].sum(axis=0)
        ready = np.flatnonzero(waiting == 0)
        layers.append(ready)
    order = np.concatenate(layers)
    return order if len(order) == len(edges) else None


def nodes_on_cycles(sources: np.ndarray, targets: np.ndarray,
                    count: int) -> np.ndarray:
    """Finds the nodes that can be reached from themselves.

    Args:
        sources: (E,) int64, where each edge begins; no edge from a node to
            itself.
        targets: (E,) int64, where it ends.
        count: N nodes.

    Returns:
        (K,) int64, rising; empty where there is no cycle.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    edges = coo_array((np.ones(len(sources), bool), (sources, targets)),
                      shape=(count, count))
    _, component = connected_components(edges, connection='strong')
    return np.flatnonzero(np.bincount(component)[component] > 1)
