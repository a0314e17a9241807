"""The graph of regions that the merge loop works on, and its upkeep.

Which regions are neighbours, which edge stands for a region, and which region
comes next. Nothing here looks at a feature; that is :mod:`._merge_kernel`.
"""
from collections import namedtuple
from typing import Any

import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic

from sohes.utils.compiled import njit

NO_EDGE = -2.0  # the key of a region without edges: below any similarity

# The region adjacency graph. N regions, E edges, C channels.
MergeGraph = namedtuple(
    'MergeGraph',
    [
        # regions
        'patches',  # (N, C) float32, the features
        'row',  # (N,) int32, where a region's sum is; -1: it is one patch
        'sums',  # (N // 2, C) float64, of regions of two patches and more
        'spare',  # (N // 2,) int32, a stack of unused rows of sums
        'n_spare',  # (1,) int64, its height
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


@intrinsic
def borrowed(typing_context: Any, graph: Any) -> tuple:
    """The same graph, whose arrays are not counted.

    numba counts references to an array whenever it is taken out of a tuple,
    which was half of the merge loop's time. The arrays of the caller outlive
    the call, so here nobody has to count.
    """

    def generate(context: Any, builder: Any, signature: Any,
                 args: Any) -> Any:
        arrays = []
        for kind, value in zip(graph.types,
                               cgutils.unpack_tuple(builder, args[0])):
            array = context.make_array(kind)(context, builder, value=value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            arrays.append(array._getvalue())
        return context.make_tuple(builder, graph, arrays)

    return graph(graph), generate


@njit(forceinline=True)
def other_end(g, edge, region):
    """The region at the other end of an edge."""
    if g.ends[edge, 0] == region:
        return g.ends[edge, 1]
    return g.ends[edge, 0]


@njit(forceinline=True)
def beats(g, edge, rival):
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
def first_of(g, a, b):
    """The region whose key comes first. A bound wins a tie, to be measured."""
    if g.key[a] != g.key[b]:
        return a if g.key[a] > g.key[b] else b
    if g.pair[a, 0] != g.pair[b, 0]:
        return a if g.pair[a, 0] < g.pair[b, 0] else b
    return a if g.pair[a, 1] <= g.pair[b, 1] else b


@njit(forceinline=True)
def replay(g, region):
    """Replay the tournament from a region's leaf as far as it matters."""
    node = (g.tree.size // 2 + region) // 2
    while node >= 1:
        winner = first_of(g, g.tree[2 * node], g.tree[2 * node + 1])
        if winner == g.tree[node] and winner != region:
            break
        g.tree[node] = winner
        node //= 2


@njit(forceinline=True)
def second_key(g):
    """The best key of all regions but the tournament's winner."""
    node = g.tree.size // 2 + g.tree[1]
    second = NO_EDGE
    while node > 1:
        second = max(second, g.key[g.tree[node ^ 1]])
        node //= 2
    return second


@njit(forceinline=True)
def set_key(g, region, top, loose):
    """Set a region's key from its best measured edge and its best bound.

    Args:
        top (int): the best measured edge, or -1.
        loose (int): the unmeasured edge with the highest bound, or -1.
    """
    above = g.similarity[loose] if loose >= 0 else NO_EDGE
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
def make_room(g, big, small):
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
