"""The hierarchy of entities, parts and subparts in one image."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sohes.structures.ancestor_graph import deepest_parents, drop_weaker_edges
from sohes.structures.mask_ops import MaskLike, pairwise_intersections


@dataclass(frozen=True, eq=False)
class EntityForest:
    """Who is part of whom among N masks: a set of trees, and a relation.

    Whole entities are roots, their descendants are parts, subparts and so on
    (SOHES, section 3.1). Frozen: the arrays are read-only.

    The paper tests every pair of masks, and that relation is not transitive:
    a mask may be an ancestor of a part and not of that part's part. The
    trees, which are for people, cannot say so; ``pairs`` do, and
    :attr:`ancestors`, which the model learns, follows them.

    Attributes:
        parents: (N,) int64, the index of each mask's parent, -1 for a root.
        pairs: (P, 2) int64, the relation as indices (ancestor, descendant),
            in order, none twice. None: it is what the trees say.

    Raises:
        ValueError: ``parents`` is not one-dimensional or not of integers,
            an index is out of range, there is a cycle, or a pair is of a
            mask and itself; the indices are named.

    Examples:
        >>> forest = EntityForest([-1, 0, 1])
        >>> forest.depth.tolist(), forest.children(0)
        ([0, 1, 2], [1])
    """
    parents: np.ndarray
    pairs: np.ndarray | None = None

    def __post_init__(self) -> None:
        parents = np.asarray(self.parents)
        if parents.size == 0:
            parents = parents.astype(np.int64)
        if parents.ndim != 1 or parents.dtype.kind not in 'iu':
            raise ValueError('parents must be (N,) integers, got '
                             f'{parents.dtype} of shape {parents.shape}')
        parents = parents.astype(np.int64)
        wrong = np.flatnonzero((parents < -1) | (parents >= len(parents)))
        if len(wrong):
            raise ValueError(
                f'parents must be -1 to {len(parents) - 1}, got '
                f'{parents[wrong].tolist()} at {wrong.tolist()}')
        _refuse_cycle(parents)
        parents.flags.writeable = False
        object.__setattr__(self, 'parents', parents)
        if self.pairs is not None:
            object.__setattr__(self, 'pairs',
                               _checked_pairs(self.pairs, len(parents)))

    def __len__(self) -> int:
        return len(self.parents)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EntityForest):
            return NotImplemented
        return (np.array_equal(self.parents, other.parents)
                and np.array_equal(self.ancestors, other.ancestors))

    def __hash__(self) -> int:
        return hash(self.parents.tobytes())

    def __reduce__(self) -> tuple:
        # What is cached stays behind: N x N is dear between processes.
        return EntityForest, (self.parents, self.pairs)

    @cached_property
    def depth(self) -> np.ndarray:
        """(N,) int64, edges up to the root; 0 for a root. Read-only."""
        depth = np.zeros(len(self), np.int64)
        current = self.parents
        while (current >= 0).any():
            depth += current >= 0
            current = np.where(current >= 0, self.parents[current], -1)
        depth.flags.writeable = False
        return depth

    def levels(self, count: int = 3) -> np.ndarray:
        """(N,) int64: 0 whole, 1 part, 2 subpart, as HASSOD counts.

        Args:
            count: How many levels; what lies deeper is in the last.
        """
        return np.minimum(self.depth, count - 1)

    @cached_property
    def ancestors(self) -> np.ndarray:
        """(N, N) bool, ``[i, j]``: i is an ancestor of j. Read-only.

        The matrix P of section 3.2, from ``pairs``; without these it is the
        :attr:`closure`. No mask is its own ancestor.
        """
        if self.pairs is None:
            return self.closure
        ancestors = np.zeros((len(self), len(self)), bool)
        ancestors[self.pairs[:, 0], self.pairs[:, 1]] = True
        ancestors.flags.writeable = False
        return ancestors

    @cached_property
    def closure(self) -> np.ndarray:
        """(N, N) bool, ``[i, j]``: i is above j in the trees. Read-only.

        The transitive closure of ``parents``: a parent, its parent, and so
        on.
        """
        closure = np.zeros((len(self), len(self)), bool)
        for child in np.argsort(self.depth, kind='stable'):
            parent = self.parents[child]
            if parent >= 0:
                closure[:, child] = closure[:, parent]
                closure[parent, child] = True
        closure.flags.writeable = False
        return closure

    @property
    def roots(self) -> list[int]:
        """Indices of the whole entities, rising."""
        return np.flatnonzero(self.parents == -1).tolist()

    def children(self, index: int) -> list[int]:
        """Direct parts of a mask.

        Args:
            index: Which mask, 0 to N - 1.

        Returns:
            The indices of its children, rising.

        Raises:
            IndexError: No such mask.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'mask {index} of {len(self)}')
        return np.flatnonzero(self.parents == index).tolist()

    def subset(self, indices: Sequence[int]) -> 'EntityForest':
        """The forest of some of the masks.

        A mask whose parent is left out hangs from the nearest mask above it
        in its tree that stays, or becomes a root. Of ``pairs`` those stay
        of which both masks do.

        Args:
            indices: (M,) integers or (N,) bool; which masks stay, and in
                which order.

        Returns:
            A forest of M masks, numbered as in ``indices``.

        Raises:
            ValueError: An index is out of range or comes twice.
        """
        indices = np.asarray(indices)
        if indices.dtype == bool and len(indices) == len(self):
            indices = np.flatnonzero(indices)
        indices = indices.astype(np.int64)
        if len(indices) and not (indices.min() >= 0
                                 and indices.max() < len(self)):
            raise ValueError(f'indices must be 0 to {len(self) - 1}, got '
                             f'{indices.tolist()}')
        if len(np.unique(indices)) != len(indices):
            raise ValueError(f'an index comes twice in {indices.tolist()}')
        # One more entry, so that -1 looks up itself.
        number = np.full(len(self) + 1, -1, np.int64)
        number[indices] = np.arange(len(indices))
        current = self.parents[indices]
        while (lost := (current >= 0) & (number[current] < 0)).any():
            current[lost] = self.parents[current[lost]]
        pairs = None
        if self.pairs is not None:
            pairs = number[self.pairs]
            pairs = pairs[(pairs >= 0).all(axis=1)]
        return EntityForest(number[current], pairs)

    @classmethod
    def cat(cls, forests: Sequence['EntityForest']) -> 'EntityForest':
        """Forests side by side, the masks numbered through.

        Args:
            forests: One or more. Where one of them has ``pairs``, those of
                the others are taken from their trees.

        Returns:
            The forest of all their masks.
        """
        shift = np.cumsum([0, *map(len, forests)])
        parents = np.concatenate([
            np.where(forest.parents >= 0, forest.parents + by, -1)
            for forest, by in zip(forests, shift)
        ])
        if all(forest.pairs is None for forest in forests):
            return cls(parents)
        return cls(parents, np.concatenate([
            by + (np.argwhere(forest.closure)
                  if forest.pairs is None else forest.pairs)
            for forest, by in zip(forests, shift)
        ]))

    @classmethod
    def from_masks(cls, masks: MaskLike,
                   coverage: float = 0.9) -> 'EntityForest':
        """Finds the hierarchy by pixel coverage (section 3.1, step 4).

        j is an ancestor of i when at least ``coverage`` of i's pixels are in
        j and less than ``coverage`` of j's are in i. The parent is the
        smallest ancestor; of equally large ones that which shares most
        pixels with i, then the one that comes first.

        That relation, ``pairs``, need not be transitive: a is 90 % in b, b
        is 90 % in c, and a 81 % in c, so c is no ancestor of a, though it is
        above a in its tree.

        It has no cycle: ``shared / area_i >= coverage > shared / area_j``
        gives ``area_i < area_j``, so every parent is larger than its child.
        Equal masks are siblings; an empty mask is a root without children.

        Args:
            masks: (N, H, W) bool, COCO RLEs, or packed masks; see
                :meth:`PackedMasks.from_any`.
            coverage: In (0, 1]; the paper has 0.9.

        Returns:
            The forest of the N masks.

        Raises:
            ValueError: ``coverage`` out of range, or masks that cannot be
                read.
        """
        if not 0 < coverage <= 1:
            raise ValueError(f'coverage must be in (0, 1], got {coverage}')
        shared = pairwise_intersections(masks)
        areas = np.diagonal(shared).copy()
        # A quotient, not a product: 9 / 10 >= 0.9 holds in floating point,
        # and rounding keeps the order that the proof above needs.
        covered = shared / np.maximum(areas, 1)[:, None] >= coverage
        above = covered & ~covered.T
        parents = np.full(len(areas), -1, np.int64)
        for child in np.flatnonzero(above.any(axis=1)):
            candidates = np.flatnonzero(above[child])
            order = np.lexsort((candidates, -shared[child, candidates],
                                areas[candidates]))
            parents[child] = candidates[order[0]]
        return cls(parents, np.argwhere(above.T))

    @classmethod
    def from_ancestor_scores(cls, scores: np.ndarray,
                             threshold: float = 0.5) -> 'EntityForest':
        """Builds a forest from predicted relations (section 3.2).

        Scores above ``threshold`` are edges. Of two opposite edges the
        weaker goes; then, from the strongest down, an edge that would close
        a cycle with stronger ones goes, so that each edge lost is the
        weakest of a cycle. In topological order every mask then hangs from
        the deepest of its remaining ancestors. Always a forest, whatever
        the scores; the edges that stay are its ``pairs``.

        Ties: of equal scores the edge with the smaller ancestor, then the
        smaller descendant, counts as stronger; of equally deep ancestors
        the one with the higher score is the parent, then the first.

        Args:
            scores: (N, N), ``[i, j]`` says that i is an ancestor of j; the
                diagonal is not read.
            threshold: Scores strictly above it count.

        Returns:
            The forest of the N masks.

        Raises:
            ValueError: ``scores`` is not square, or has a NaN (its first
                position is named).
        """
        scores = np.array(scores, np.float64)
        if scores.size == 0:
            scores = scores.reshape(0, 0)
        if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
            raise ValueError(f'scores must be (N, N), got {scores.shape}')
        np.fill_diagonal(scores, -np.inf)
        if np.isnan(scores).any():
            first = tuple(np.argwhere(np.isnan(scores))[0].tolist())
            raise ValueError(f'scores has NaN, first at {first}')
        edges = drop_weaker_edges(scores, scores > threshold)
        return cls(deepest_parents(scores, edges), np.argwhere(edges))


def _checked_pairs(pairs: np.ndarray, count: int) -> np.ndarray:
    """(P, 2) int64 in order, each once and read-only; or ValueError."""
    pairs = np.asarray(pairs)
    if pairs.size == 0:
        pairs = np.zeros((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in 'iu':
        raise ValueError('pairs must be (P, 2) integers, got '
                         f'{pairs.dtype} of shape {pairs.shape}')
    pairs = pairs.astype(np.int64)
    wrong = ((pairs < 0) | (pairs >= count)).any(axis=1)
    wrong |= pairs[:, 0] == pairs[:, 1]
    if wrong.any():
        raise ValueError(
            f'pairs must be of two of {count} masks, numbered from 0, got '
            f'{pairs[wrong][0].tolist()}')
    keys = np.unique(pairs[:, 0] * count + pairs[:, 1])
    pairs = np.stack(np.divmod(keys, max(count, 1)), axis=1)
    pairs.flags.writeable = False
    return pairs


def _refuse_cycle(parents: np.ndarray) -> None:
    """Raises ValueError when following the parents never ends."""
    current = parents
    for _ in range(len(parents)):
        if not (current >= 0).any():
            return
        current = np.where(current >= 0, parents[current], -1)
    # After N steps up, whoever has not left the forest is on a cycle.
    cycle = np.unique(current[current >= 0])
    if len(cycle):
        raise ValueError(f'a cycle in parents, through {cycle.tolist()}')
