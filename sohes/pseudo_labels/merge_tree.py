"""The tree of merges: every partition and every mask, without pixels."""
from functools import cached_property

import numpy as np

from sohes.pseudo_labels._merge_kernel import merge_regions
from sohes.utils.compiled import njit


@njit(cache=True)
def _number_nodes(pairs: np.ndarray, n_leaves: int) -> np.ndarray:
    """Children (M, 2) of each merge as node ids: leaves, then merges."""
    children = np.empty_like(pairs)
    node = np.arange(n_leaves).astype(pairs.dtype)
    for t in range(len(pairs)):
        kept, absorbed = pairs[t]
        children[t, 0], children[t, 1] = node[kept], node[absorbed]
        node[kept] = n_leaves + t
    return children


@njit(cache=True)
def _grow_areas(children: np.ndarray, n_leaves: int) -> np.ndarray:
    """Leaves under each node, (2 N - 1,)."""
    area = np.ones(n_leaves + len(children), np.int32)
    for t in range(len(children)):
        area[n_leaves + t] = area[children[t, 0]] + area[children[t, 1]]
    return area


@njit(cache=True)
def _lay_out(children: np.ndarray, area: np.ndarray,
             n_leaves: int) -> tuple[np.ndarray, np.ndarray]:
    """Order the leaves so that every node is an interval of them.

    Returns:
        tuple: the first position of each node, and the leaf at each position.
    """
    start = np.zeros(len(area), np.int32)
    for t in range(len(children) - 1, -1, -1):
        first, second = children[t]
        start[first] = start[n_leaves + t]
        start[second] = start[first] + area[first]
    order = np.empty(n_leaves, np.int32)
    for leaf in range(n_leaves):
        order[start[leaf]] = leaf
    return start, order


@njit(cache=True)
def _label_after(pairs: np.ndarray, n_merges: int,
                 n_leaves: int) -> np.ndarray:
    """The region of each leaf after the first merges, by its smallest id."""
    label = np.arange(n_leaves).astype(np.int32)
    for t in range(n_merges - 1, -1, -1):
        label[pairs[t, 1]] = label[pairs[t, 0]]
    return label


class MergeTree:
    """The binary tree that merging a grid of patches leaves behind.

    Nodes are numbered like scipy's linkage: the ``N = H * W`` leaves are the
    patches in raster order, node ``N + t`` is what merge ``t`` made; the last
    node is the whole image. Any two nodes are nested or disjoint, so areas,
    containment and IoU need no pixels.

    Args:
        shape (tuple): (H, W) of the grid in patches.
        pairs (np.ndarray): (N - 1, 2) int, kept and absorbed region of each
            merge, a region named by its smallest patch index.
        similarities (np.ndarray): (N - 1,) float, the cosine similarity of
            each pair when it merged, in [-1, 1]. Not monotone: similarity can
            rise again after a merge.

    Raises:
        ValueError: if the numbers of patches and of merges do not fit.
    """

    def __init__(self, shape: tuple[int, int], pairs: np.ndarray,
                 similarities: np.ndarray) -> None:
        n_merges = shape[0] * shape[1] - 1
        if len(pairs) != n_merges or len(similarities) != n_merges:
            raise ValueError(f'a grid of {shape[0]} x {shape[1]} patches has '
                             f'{n_merges} merges, found {len(pairs)} pairs '
                             f'and {len(similarities)} similarities')
        self.shape = tuple(shape)
        self.pairs = pairs
        self.similarities = similarities

    @classmethod
    def from_features(cls, features: np.ndarray) -> 'MergeTree':
        """Cluster patch features (step 1 of section 3.1).

        Args:
            features (np.ndarray): (H, W, C) float32, finite.

        Returns:
            MergeTree: of the complete run, down to one region.

        Raises:
            ValueError: if features are empty, not 3-d or not finite.
        """
        features = check_features(features)
        return cls(features.shape[:2], *merge_regions(features))

    def __len__(self) -> int:
        """Number of nodes, 2 N - 1."""
        return 2 * self.n_leaves - 1

    @property
    def n_leaves(self) -> int:
        """Number of patches N."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def children(self) -> np.ndarray:
        """(N - 1, 2) int32, the two nodes of each merge, the kept first."""
        return _number_nodes(self.pairs, self.n_leaves)

    @cached_property
    def parent(self) -> np.ndarray:
        """(2 N - 1,) int32, the node that took each one in; -1 at the root."""
        parent = np.full(len(self), -1, np.int32)
        merged = np.arange(self.n_leaves, len(self))
        parent[self.children] = merged[:, None]
        return parent

    @cached_property
    def area(self) -> np.ndarray:
        """(2 N - 1,) int32, patches under each node."""
        return _grow_areas(self.children, self.n_leaves)

    @cached_property
    def _layout(self) -> tuple[np.ndarray, np.ndarray]:
        return _lay_out(self.children, self.area, self.n_leaves)

    @cached_property
    def formed(self) -> np.ndarray:
        """(2 N - 1,) float64, similarity at which a node formed; leaves 1."""
        return np.concatenate([np.ones(self.n_leaves), self.similarities])

    @cached_property
    def absorbed(self) -> np.ndarray:
        """(2 N - 1,) float64, similarity at which it was absorbed; root 0."""
        out = np.zeros(len(self))
        out[:-1] = self.formed[self.parent[:-1]]
        return out

    def merges_before(self, threshold: float) -> int:
        """Number of merges before the first maximum below a threshold."""
        below = self.similarities < threshold
        return int(below.argmax()) if below.any() else len(below)

    def partition(self, threshold: float) -> np.ndarray:
        """(H, W) int32 region ids: each region's smallest patch index."""
        labels = _label_after(self.pairs, self.merges_before(threshold),
                              self.n_leaves)
        return labels.reshape(self.shape)

    def nodes_at(self, threshold: float) -> np.ndarray:
        """(K,) int, the nodes of the partition at a threshold, rising."""
        last = self.n_leaves + self.merges_before(threshold)
        nodes = np.arange(last)
        parent = self.parent[:last]
        return nodes[(parent == -1) | (parent >= last)]

    def mask(self, node: int) -> np.ndarray:
        """(H, W) bool, the patches under a node."""
        start, order = self._layout
        out = np.zeros(self.n_leaves, bool)
        out[order[start[node]:start[node] + self.area[node]]] = True
        return out.reshape(self.shape)

    def contains(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether nodes a contain nodes b (a node contains itself).

        Args:
            a (np.ndarray): int node ids.
            b (np.ndarray): int node ids; the two broadcast.

        Returns:
            np.ndarray: bool, of the broadcast shape.
        """
        start, _ = self._layout
        return ((start[a] <= start[b]) &
                (start[b] + self.area[b] <= start[a] + self.area[a]))

    def iou(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """IoU of nodes: the ratio of areas if nested, otherwise 0.

        Args:
            a (np.ndarray): int node ids.
            b (np.ndarray): int node ids; the two broadcast.

        Returns:
            np.ndarray: float64 in [0, 1], of the broadcast shape.
        """
        small = np.minimum(self.area[a], self.area[b])
        large = np.maximum(self.area[a], self.area[b])
        nested = self.contains(a, b) | self.contains(b, a)
        return np.where(nested, small / large, 0.0)


def check_features(features: np.ndarray) -> np.ndarray:
    """Return features as contiguous float32, or say what is wrong.

    Args:
        features (np.ndarray): (H, W, C), any float or integer type.

    Returns:
        np.ndarray: (H, W, C) float32, C-contiguous.

    Raises:
        ValueError: if it is not 3-d, empty, not numeric or not finite.
    """
    features = np.asarray(features)
    if features.ndim != 3:
        raise ValueError('features must be (H, W, C), found shape '
                         f'{features.shape}')
    if 0 in features.shape:
        raise ValueError(f'features are empty: shape {features.shape}')
    if features.dtype.kind not in 'fiub':
        raise ValueError('features must be real numbers, found dtype '
                         f'{features.dtype}')
    features = np.ascontiguousarray(features, np.float32)
    # A sum is finite when all are; the slow test only names the place.
    if not np.isfinite(features.sum(dtype=np.float64)):
        bad = np.argwhere(~np.isfinite(features))
        if len(bad):
            raise ValueError(f'features hold {len(bad)} NaN or Inf, the '
                             f'first at (row, column, channel) '
                             f'{tuple(bad[0].tolist())}')
    return features
