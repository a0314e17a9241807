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

import numpy as np

from sohes.pseudo_labels._merge_graph import (
    NO_EDGE,
    MergeGraph,
    beats,
    borrowed,
    first_of,
    make_room,
    other_end,
    replay,
    second_key,
    set_key,
)
from sohes.pseudo_labels._similarity import (
    MARGIN,
    add_rows,
    cosine,
    dot_rows,
    turn_above,
    turned_above,
)
from sohes.utils.compiled import njit

# Dot products are added up over merges only while the region's sum has not
# cancelled: |sum| of at least 1 % of the summed lengths of its patches keeps
# the error of a similarity under 1e-11.
_COHERENT = 1e-2


@njit(forceinline=True)
def _dot(g, a, b):
    """Dot product of the feature sums of two regions."""
    row_a, row_b = g.row[a], g.row[b]
    if row_a < 0 and row_b < 0:
        return dot_rows(g.patches[a], g.patches[b])
    if row_a < 0:
        return dot_rows(g.patches[a], g.sums[row_b])
    if row_b < 0:
        return dot_rows(g.patches[b], g.sums[row_a])
    return dot_rows(g.sums[row_a], g.sums[row_b])


@njit(forceinline=True)
def _measure(g, edge):
    """Compute the similarity of an edge from the sums."""
    a, b = g.ends[edge, 0], g.ends[edge, 1]
    g.dot[edge] = _dot(g, a, b)
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
        if beats(g, edge, top):
            top = edge
            limit = max(limit, g.similarity[edge])
    g.length[region] = write - g.begin[region]
    set_key(g, region, top, loose)


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
    row_i, row_j = g.row[i], g.row[j]
    if row_i < 0 and row_j < 0:
        g.n_spare[0] -= 1
        g.row[i] = g.spare[g.n_spare[0]]
        g.square[i] = add_rows(g.patches[i], g.patches[j], g.sums[g.row[i]])
    elif row_j < 0:
        g.square[i] = add_rows(g.patches[j], g.sums[row_i], g.sums[row_i])
    elif row_i < 0:
        g.row[i] = row_j
        g.square[i] = add_rows(g.patches[i], g.sums[row_j], g.sums[row_j])
    else:
        g.square[i] = add_rows(g.sums[row_j], g.sums[row_i], g.sums[row_i])
        g.spare[g.n_spare[0]] = row_j
        g.n_spare[0] += 1
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
    make_room(g, big, small)
    first, second = g.begin[big], g.begin[small]
    for n in range(second, second + g.length[small]):
        if g.alive[g.pool[n]]:
            g.mark[other_end(g, g.pool[n], small)] = g.pool[n]
    write, split = first, g.length[big]
    top = loose = -1
    for n in range(split + g.length[small]):
        in_big = n < split
        edge = g.pool[first + n] if in_big else g.pool[second + n - split]
        if not g.alive[edge]:
            continue
        x = other_end(g, edge, big if in_big else small)
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
            if beats(g, edge, top):
                top = edge
        elif loose < 0 or g.similarity[edge] > g.similarity[loose]:
            loose = edge
    g.begin[i], g.room[i] = first, g.room[big]
    g.length[i], g.length[j] = write - first, -1
    g.key[j] = NO_EDGE
    set_key(g, i, top, loose)


@njit(cache=True)
def _start(g, height, width):
    """Fill in the 4-neighbour edges of a grid of patches, all measured."""
    g = borrowed(g)
    n_edges = 0
    for region in range(height * width):
        g.square[region] = _dot(g, region, region)
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
        g.tree[node] = first_of(g, g.tree[2 * node], g.tree[2 * node + 1])


@njit(cache=True)
def _run(g, pairs, similarities):
    """Merge until one region is left; fill in the list of merges."""
    g = borrowed(g)
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
            replay(g, j)
            replay(g, i)
        else:
            _resolve(g, region, second_key(g))
            replay(g, region)


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
    graph = MergeGraph(
        patches=np.ascontiguousarray(features.reshape(n, channels)),
        row=np.full(n, -1, np.int32),
        sums=np.empty((n // 2, channels)),
        spare=np.arange(n // 2, dtype=np.int32),
        n_spare=np.full(1, n // 2, np.int64),
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
        key=np.full(n, NO_EDGE),
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
