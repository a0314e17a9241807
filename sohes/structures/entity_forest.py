"""The hierarchy of entities, parts and subparts in one image."""
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sohes.structures.ancestor_graph import deepest_parents, drop_weaker_edges
from sohes.structures.mask_ops import MaskLike, pairwise_intersections


@dataclass(frozen=True, eq=False)
class EntityForest:
    """Who is part of whom among N masks: a set of trees.

    Whole entities are roots, their descendants are parts, subparts and so on
    (SOHES, section 3.1). Frozen: the arrays are read-only.

    Attributes:
        parents: (N,) int64, the index of each mask's parent, -1 for a root.

    Raises:
        ValueError: ``parents`` is not one-dimensional or not of integers,
            an index is out of range, or there is a cycle; the indices are
            named.

    Examples:
        >>> forest = EntityForest([-1, 0, 1])
        >>> forest.depth.tolist(), forest.children(0)
        ([0, 1, 2], [1])
    """
    parents: np.ndarray

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

    def __len__(self) -> int:
        return len(self.parents)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EntityForest):
            return NotImplemented
        return np.array_equal(self.parents, other.parents)

    def __hash__(self) -> int:
        return hash(self.parents.tobytes())

    def __reduce__(self) -> tuple:
        # What is cached stays behind: N x N is dear between processes.
        return EntityForest, (self.parents, )

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

        The transitive closure of ``parents``: a parent, its parent, and so
        on; never the mask itself.
        """
        ancestors = np.zeros((len(self), len(self)), bool)
        for child in np.argsort(self.depth, kind='stable'):
            parent = self.parents[child]
            if parent >= 0:
                ancestors[:, child] = ancestors[:, parent]
                ancestors[parent, child] = True
        ancestors.flags.writeable = False
        return ancestors

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

        A mask whose parent is left out hangs from its nearest ancestor that
        stays, or becomes a root.

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
        return EntityForest(number[current])

    @classmethod
    def from_masks(cls, masks: MaskLike,
                   coverage: float = 0.9) -> 'EntityForest':
        """Finds the hierarchy by pixel coverage (section 3.1, step 4).

        j is an ancestor of i when at least ``coverage`` of i's pixels are in
        j and less than ``coverage`` of j's are in i. The parent is the
        smallest ancestor; of equally large ones that which shares most
        pixels with i, then the one that comes first.

        That relation need not be transitive: a is 90 % in b, b is 90 % in c,
        and a 81 % in c. :attr:`ancestors` follows the parents, so there c is
        an ancestor of a.

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
        return cls(parents)

    @classmethod
    def from_ancestor_scores(cls, scores: np.ndarray,
                             threshold: float = 0.5) -> 'EntityForest':
        """Builds a forest from predicted relations (section 3.2).

        Scores above ``threshold`` are edges. Of two opposite edges the
        weaker goes; then, from the strongest down, an edge that would close
        a cycle with stronger ones goes, so that each edge lost is the
        weakest of a cycle. In topological order every mask then hangs from
        the deepest of its remaining ancestors. Always a forest, whatever
        the scores.

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
        return cls(deepest_parents(scores, edges))

    def to_json(self) -> str:
        """``{"parents": [...]}``, with null for a root."""
        return json.dumps(
            {'parents': [None if p < 0 else p for p in self.parents.tolist()]})

    @classmethod
    def from_json(cls, text: str | bytes) -> 'EntityForest':
        """Reads what :meth:`to_json` wrote.

        Raises:
            ValueError: Not json, no list ``parents`` in it, or not a forest.
        """
        data: Any = json.loads(text)
        parents = data.get('parents') if isinstance(data, dict) else None
        if not isinstance(parents, list):
            raise ValueError('no list "parents" in the json of a forest')
        for index, parent in enumerate(parents):
            # -1 would pass as a root, and bool as an integer.
            if parent is not None and (type(parent) is not int or parent < 0):
                raise ValueError(f'parents[{index}] must be an index or null, '
                                 f'got {parent!r}')
        return cls(np.array([-1 if p is None else p for p in parents],
                            np.int64))


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
