"""The compiled merge loop of step 1 (paper, section 3.1).

The rule is plain: of all pairs of adjacent regions the one with the highest
cosine similarity merges. Done plainly, every merge recomputes the similarity
of the new region to all its neighbours, which is what makes a large sky slow:
1 500 neighbours, thousands of merges, C multiplications each.

Here most of them are never computed. When region ``i`` takes in ``j``, its
feature sum turns by an angle that is known from the lengths of the two sums
and their similarity. A neighbour that stood at angle t to ``i`` stands
afterwards at t minus that angle at the least (the triangle inequality on the
sphere), so each edge keeps a lower bound of its angle, and a dot product is
spent only on an edge whose bound could make it the next maximum. A large
region hardly turns when a patch joins it, so its bounds last. Where both
parents shared a neighbour and both dot products are known, the new one is
their sum. The result is exact: no edge is passed over unless a bound proves
that it cannot be the maximum.

A region lives in the slot of its smallest patch index. Each edge is owned by
the end that changed last; an owner's key is the best of its edges, or an
upper bound of it; a tournament tree over the owners' keys gives the next.
"""
import math
from collections import namedtuple

import numpy as np
from numba import njit

from sohes.pseudo_labels._similarity import (
    MARGIN,
    add_row,
    cosine,
    dot_rows,
    turn_above,
    turned_above,
)

# Dot products are added up over merges only while the region's sum has not
# cancelled: |sum| of at least 1 % of the summed lengths of its patches keeps
# the error of a similarity under 1e-11.
_COHERENT = 1e-2
_NO_EDGE = -2.0  # the key of a region without edges: below any similarity

# The region adjacency graph. N regions, E edges, C channels.
_Graph = namedtuple(
    '_Graph',
    [
        # regions
        'sums',  # (N, C) float64, sum of the features of the patches
        'square',  # (N,) float64, squared length of the sum
        'mass',  # (N,) float64, summed lengths of the patches' features
        # lists of edges, one a region, in a common pool
        'pool',  # (12 N + 64,) int32, edge ids
        'free',  # (1,) int64, first unused place of the pool
        'begin',  # (N,) int64, start of the region's list
        'length',  # (N,) int64, its length; -1 once the region is absorbed
        'room',  # (N,) int64, how long it may grow in place
        # edges
        'ends',  # (E, 2) int32, the two regions
        'alive',  # (E,) bool
        'owner',  # (E,) int32, the end that changed last
        'fresh',  # (E,) bool, whether dot and similarity are up to date
        'dot',  # (E,) float64
        'similarity',  # (E,) float64, an upper bound while not fresh
        # keys of the owners
        'key',  # (N,) float64, best similarity, or an upper bound
        'exact',  # (N,) bool, whether the key is a measured similarity
        'best',  # (N,) int32, the edge behind the key
        'pair',  # (N, 2) int32, its ids; (-1, -1) behind a bound
        'tree',  # (2 P,) int32, the tournament, P >= N a power of two
        'mark',  # (N,) int32, scratch: -1, or an edge to this region
    ])


@njit(forceinline=True)
def _other(g, edge, region):
    """The region at the other end of an edge."""
    if g.ends[edge, 0] == region:
        return g.ends[edge, 1]
    return g.ends[edge, 0]


@njit(forceinline=True)
def _beats(g, edge, rival):
    """Whether a measured edge comes before another: ties go to small ids."""
    if rival < 0:
        return True
    if g.similarity[edge] != g.similarity[rival]:
        return g.similarity[edge] > g.similarity[rival]
    a, b = g.ends[edge, 0], g.ends[edge, 1]
    c, d = g.ends[rival, 0], g.ends[rival, 1]
    a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
    return a < c or (a == c and b < d)


@njit(forceinline=True)
def _winner(g, a, b):
    """The region whose key comes first. A bound wins a tie, to be measured."""
    if g.key[a] != g.key[b]:
        return a if g.key[a] > g.key[b] else b
    if g.pair[a, 0] != g.pair[b, 0]:
        return a if g.pair[a, 0] < g.pair[b, 0] else b
    return a if g.pair[a, 1] <= g.pair[b, 1] else b


@njit(forceinline=True)
def _replay(g, region):
    """Replay the tournament from a region's leaf as far as it matters."""
    node = (g.tree.size // 2 + region) // 2
    while node >= 1:
        winner = _winner(g, g.tree[2 * node], g.tree[2 * node + 1])
        if winner == g.tree[node] and winner != region:
            break
        g.tree[node] = winner
        node //= 2


@njit(forceinline=True)
def _second_key(g):
    """The best key of all regions but the tournament's winner."""
    node = g.tree.size // 2 + g.tree[1]
    second = _NO_EDGE
    while node > 1:
        second = max(second, g.key[g.tree[node ^ 1]])
        node //= 2
    return second


@njit(forceinline=True)
def _set_key(g, region, top, loose):
    """Set a region's key from its best measured edge and its best bound.

    Args:
        top (int): the best measured edge, or -1.
        loose (int): the unmeasured edge with the highest bound, or -1.
    """
    above = g.similarity[loose] if loose >= 0 else _NO_EDGE
    if top >= 0 and g.similarity[top] > above:
        g.key[region] = g.similarity[top]
        g.exact[region] = True
        g.best[region] = top
        g.pair[region, 0] = min(g.ends[top, 0], g.ends[top, 1])
        g.pair[region, 1] = max(g.ends[top, 0], g.ends[top, 1])
    else:
        g.key[region] = above
        g.exact[region] = False
        g.best[region] = loose
        g.pair[region, 0] = g.pair[region, 1] = -1


@njit(forceinline=True)
def _measure(g, edge):
    """Compute the similarity of an edge from the sums."""
    a, b = g.ends[edge, 0], g.ends[edge, 1]
    g.dot[edge] = dot_rows(g.sums, a, b)
    g.similarity[edge] = cosine(g.dot[edge], g.square[a], g.square[b])
    g.fresh[edge] = True


@njit(forceinline=True)
def _resolve(g, region, rival_key):
    """Find a region's best edge, measuring no more than can matter.

    An edge is measured when its bound reaches both the best measured one
    and `rival_key`, the best key of all other regions.
    """
    top = loose = -1
    limit = rival_key
    edge = g.best[region]
    if edge >= 0 and g.alive[edge] and g.owner[edge] == region:
        if not g.fresh[edge]:
            _measure(g, edge)
        top = edge
        limit = max(limit, g.similarity[edge])
    write = g.begin[region]
    for n in range(g.begin[region], g.begin[region] + g.length[region]):
        edge = g.pool[n]
        if not g.alive[edge]:
            continue
        g.pool[write] = edge
        write += 1
        if g.owner[edge] != region:
            continue
        if not g.fresh[edge]:
            if g.similarity[edge] < limit:
                if loose < 0 or g.similarity[edge] > g.similarity[loose]:
                    loose = edge
                continue
            _measure(g, edge)
        if _beats(g, edge, top):
            top = edge
            limit = max(limit, g.similarity[edge])
    g.length[region] = write - g.begin[region]
    _set_key(g, region, top, loose)


@njit(forceinline=True)
def _compact(g):
    """Move all lists to the front of the pool, dropping dead edges."""
    free = 0
    for region in np.argsort(g.begin):
        if g.length[region] < 0:
            continue
        start = free
        for n in range(g.begin[region],
                       g.begin[region] + g.length[region]):
            if g.alive[g.pool[n]]:
                g.pool[free] = g.pool[n]
                free += 1
        g.begin[region] = start
        g.length[region] = g.room[region] = free - start
    g.free[0] = free


@njit(forceinline=True)
def _make_room(g, big, small):
    """Let the list of `big` grow by that of `small`, moving it if needed."""
    need = g.length[big] + g.length[small]
    if need <= g.room[big]:
        return
    if g.free[0] + need + need // 2 > g.pool.size:
        _compact(g)
        need = g.length[big] + g.length[small]
    start = g.free[0]
    for n in range(g.length[big]):
        g.pool[start + n] = g.pool[g.begin[big] + n]
    g.begin[big] = start
    g.room[big] = need + need // 2
    g.free[0] = start + g.room[big]


@njit(forceinline=True)
def _loosen(g, edge, turn):
    """Turn an edge's similarity into a bound after one end has turned."""
    above = g.similarity[edge]
    if g.fresh[edge]:
        above += MARGIN
        g.fresh[edge] = False
    g.similarity[edge] = turned_above(above, turn[0], turn[1])


@njit(forceinline=True)
def _coherent(g, region):
    return _COHERENT * g.mass[region] <= math.sqrt(g.square[region])


@njit(forceinline=True)
def _fold(g, edge, twin, region, turn, twin_turn):
    """Make one edge of the two that led from both parents to a neighbour."""
    g.alive[twin] = False
    x = g.ends[edge, 1]
    if (g.fresh[edge] and g.fresh[twin] and _coherent(g, region)
            and _coherent(g, x)):
        g.dot[edge] += g.dot[twin]
        g.similarity[edge] = cosine(g.dot[edge], g.square[region],
                                    g.square[x])
    else:
        _loosen(g, edge, turn)
        _loosen(g, twin, twin_turn)
        g.similarity[edge] = min(g.similarity[edge], g.similarity[twin])


@njit(forceinline=True)
def _add(g, i, j, similarity):
    """Add region j's features to i's; how far at most each has turned."""
    norm_i, norm_j = math.sqrt(g.square[i]), math.sqrt(g.square[j])
    g.square[i] = add_row(g.sums, i, j)
    g.mass[i] += g.mass[j]
    total = math.sqrt(g.square[i])
    return (turn_above(norm_i, norm_j, total, similarity),
            turn_above(norm_j, norm_i, total, similarity))


@njit(forceinline=True)
def _merge(g, i, j, link):
    """Merge region j into region i < j along an edge."""
    turn, small_turn = _add(g, i, j, g.similarity[link])
    big, small = i, j
    if g.length[j] > g.length[i]:
        big, small, turn, small_turn = j, i, small_turn, turn
    g.alive[link] = False
    _make_room(g, big, small)
    first, second = g.begin[big], g.begin[small]
    for n in range(second, second + g.length[small]):
        if g.alive[g.pool[n]]:
            g.mark[_other(g, g.pool[n], small)] = g.pool[n]
    write, split = first, g.length[big]
    top = loose = -1
    for n in range(split + g.length[small]):
        in_big = n < split
        edge = g.pool[first + n] if in_big else g.pool[second + n - split]
        if not g.alive[edge]:
            continue
        x = _other(g, edge, big if in_big else small)
        g.ends[edge, 0], g.ends[edge, 1] = i, x
        g.owner[edge] = i
        twin, g.mark[x] = g.mark[x], -1
        if in_big and twin >= 0:
            _fold(g, edge, twin, i, turn, small_turn)
        else:
            _loosen(g, edge, turn if in_big else small_turn)
        g.pool[write] = edge
        write += 1
        if g.fresh[edge]:
            if _beats(g, edge, top):
                top = edge
        elif loose < 0 or g.similarity[edge] > g.similarity[loose]:
            loose = edge
    g.begin[i], g.room[i] = first, g.room[big]
    g.length[i], g.length[j] = write - first, -1
    g.key[j] = _NO_EDGE
    _set_key(g, i, top, loose)


@njit(cache=True)
def _start(g, height, width):
    """Fill in the 4-neighbour edges of a grid of patches, all measured."""
    n_edges = 0
    for region in range(height * width):
        g.square[region] = dot_rows(g.sums, region, region)
        g.mass[region] = math.sqrt(g.square[region])
        g.begin[region] = 4 * region
    for region in range(height * width):
        for step in range(2):
            x = region + (1 if step == 0 else width)
            if x >= height * width or (step == 0 and x % width == 0):
                continue
            g.ends[n_edges, 0], g.ends[n_edges, 1] = region, x
            g.owner[n_edges] = region
            g.alive[n_edges] = True
            _measure(g, n_edges)
            for end in (region, x):
                g.pool[g.begin[end] + g.length[end]] = n_edges
                g.length[end] += 1
            n_edges += 1
    leaves = g.tree.size // 2
    for region in range(height * width):
        _resolve(g, region, 1.0)
    for node in range(leaves):
        g.tree[leaves + node] = min(node, height * width - 1)
    for node in range(leaves - 1, 0, -1):
        g.tree[node] = _winner(g, g.tree[2 * node], g.tree[2 * node + 1])


@njit(cache=True)
def _run(g, pairs, similarities):
    """Merge until one region is left; fill in the list of merges."""
    done = 0
    while done < pairs.shape[0]:
        region = g.tree[1]
        edge = g.best[region]
        if (g.exact[region] and g.alive[edge]
                and g.owner[edge] == region):
            i = min(g.ends[edge, 0], g.ends[edge, 1])
            j = max(g.ends[edge, 0], g.ends[edge, 1])
            pairs[done, 0], pairs[done, 1] = i, j
            similarities[done] = g.similarity[edge]
            done += 1
            _merge(g, i, j, edge)
            _replay(g, j)
            _replay(g, i)
        else:
            _resolve(g, region, _second_key(g))
            _replay(g, region)


def merge_regions(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge the patches of a grid, most similar neighbours first.

    Args:
        features (np.ndarray): (H, W, C) float32, finite.

    Returns:
        tuple: the merges in order. ``pairs`` (H * W - 1, 2) int32, the kept
        and the absorbed region, each named by its smallest patch index;
        ``similarities`` (H * W - 1,) float64 in [-1, 1].
    """
    height, width, channels = features.shape
    n = height * width
    m = max(height * (width - 1) + (height - 1) * width, 1)
    leaves = 1 << max(n - 1, 0).bit_length()
    graph = _Graph(
        sums=features.reshape(n, channels).astype(np.float64),
        square=np.zeros(n),
        mass=np.zeros(n),
        pool=np.empty(12 * n + 64, np.int32),
        free=np.full(1, 4 * n, np.int64),
        begin=np.zeros(n, np.int64),
        length=np.zeros(n, np.int64),
        room=np.full(n, 4, np.int64),
        ends=np.zeros((m, 2), np.int32),
        alive=np.zeros(m, np.bool_),
        owner=np.zeros(m, np.int32),
        fresh=np.zeros(m, np.bool_),
        dot=np.zeros(m),
        similarity=np.zeros(m),
        key=np.full(n, _NO_EDGE),
        exact=np.zeros(n, np.bool_),
        best=np.full(n, -1, np.int32),
        pair=np.zeros((n, 2), np.int32),
        tree=np.zeros(2 * leaves, np.int32),
        mark=np.full(n, -1, np.int32))
    pairs = np.empty((n - 1, 2), np.int32)
    similarities = np.empty(n - 1)
    _start(graph, height, width)
    _run(graph, pairs, similarities)
    return pairs, similarities
