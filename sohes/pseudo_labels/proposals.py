"""Regions of a merge tree as masks: tree NMS, scores, rendering."""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.utils.compiled import njit


@dataclass(frozen=True)
class Proposal:
    """A candidate mask: patches of a grid laid over a box of the image.

    Attributes:
        grid (np.ndarray): (h, w) bool, the patches inside.
        box (tuple): (left, top, right, bottom) in pixels of the original
            image, integers, what the grid covers.
        score (float): in [0, 1], see `region_score`.
        step (int): 1 global clustering, 2 local re-clustering.
        membership (np.ndarray, optional): (h, w) uint8 in 255ths, how surely
            a patch is inside; see `patch_membership`.
    """
    grid: np.ndarray
    box: tuple[int, int, int, int]
    score: float
    step: int
    membership: np.ndarray | None = None

    @property
    def area(self) -> float:
        """Area in pixels of the original image."""
        left, top, right, bottom = self.box
        return float(self.grid.mean() * (right - left) * (bottom - top))

    @property
    def patch_size(self) -> float:
        """Side of a patch in pixels of the original, the mean of both."""
        left, top, right, bottom = self.box
        return ((right - left) / self.grid.shape[1] +
                (bottom - top) / self.grid.shape[0]) / 2

    def bounds(self) -> tuple[float, float, float, float]:
        """The region's own box (left, top, right, bottom) in pixels."""
        rows = np.flatnonzero(self.grid.any(1))
        columns = np.flatnonzero(self.grid.any(0))
        left, top, right, bottom = self.box
        step_x = (right - left) / self.grid.shape[1]
        step_y = (bottom - top) / self.grid.shape[0]
        return (left + columns[0] * step_x, top + rows[0] * step_y,
                left + (columns[-1] + 1) * step_x,
                top + (rows[-1] + 1) * step_y)

    def soft(self, window: tuple[int, int, int, int],
             shape: tuple[int, int]) -> np.ndarray:
        """Resample the patches bilinearly over a window of the image.

        Pixel centres are aligned and patch borders stay in place: the 0.5
        line of a straight edge lies exactly on the border between patches.

        Args:
            window (tuple): (left, top, right, bottom) in pixels.
            shape (tuple): (h, w) of the result, which the window is
                resampled to.

        Returns:
            np.ndarray: (h, w) float32 in [0, 1]; 0 outside the box.
        """
        return self._resample(self.grid.astype(np.float32), window, shape)

    def likely(self, window: tuple[int, int, int, int],
               shape: tuple[int, int]) -> np.ndarray:
        """As `soft`, of the membership where there is one."""
        if self.membership is None:
            return self.soft(window, shape)
        return self._resample(
            self.membership.astype(np.float32) / 255, window, shape)

    def _resample(self, values: np.ndarray, window: tuple[int, int, int, int],
                  shape: tuple[int, int]) -> np.ndarray:
        """(h, w) float32 values of patches over a window, see `soft`."""
        left, top, right, bottom = window
        columns = patch_samples(left, right, shape[1], self.box[0],
                                self.box[2], self.grid.shape[1])
        rows = patch_samples(top, bottom, shape[0], self.box[1], self.box[3],
                             self.grid.shape[0])
        return _lerp(_lerp(values, *rows).T, *columns).T

    def render(self, size: tuple[int, int]) -> np.ndarray:
        """Draw the mask at the size of the image.

        Args:
            size (tuple): (H, W) of the original image.

        Returns:
            np.ndarray: (H, W) bool.
        """
        out = np.zeros(size, bool)
        if self.grid.any():
            left, top, right, bottom = window = self.window(size)
            out[top:bottom, left:right] = self.soft(
                window, (bottom - top, right - left)) > 0.5
        return out

    def window(self, size: tuple[int, int],
               margin: float = 1.0) -> tuple[int, int, int, int]:
        """The region's bounds and a margin, in whole pixels of the image.

        Args:
            size (tuple): (H, W) of the original image.
            margin (float): pixels.

        Returns:
            tuple: (left, top, right, bottom), inside the image.
        """
        left, top, right, bottom = self.bounds()
        return (max(0, math.floor(left - margin)),
                max(0, math.floor(top - margin)),
                min(size[1], math.ceil(right + margin)),
                min(size[0], math.ceil(bottom + margin)))


def patch_samples(start: float, stop: float, length: int, box_start: int,
                  box_stop: int, n_patches: int) -> tuple:
    """Where samples along one axis fall between patch centres.

    Args:
        start (float): of the window, in pixels; `stop` likewise.
        length (int): samples over the window.
        box_start (int): of what the patches cover; `box_stop` likewise.
        n_patches (int): patches over the box.

    Returns:
        tuple: (length,) int patch before, (length,) int patch after,
        (length,) float32 weight of the one after, (length,) bool inside.
    """
    pixel = start + (np.arange(length) + 0.5) * ((stop - start) / length)
    inside = (pixel > box_start) & (pixel < box_stop)
    place = (pixel - box_start) * (n_patches / (box_stop - box_start)) - 0.5
    place = np.clip(place, 0, n_patches - 1)
    before = place.astype(np.int64)
    after = np.minimum(before + 1, n_patches - 1)
    return before, after, (place - before).astype(np.float32), inside


def _lerp(values: np.ndarray, before: np.ndarray, after: np.ndarray,
          weight: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Interpolate (n, k) values along the first axis, 0 outside."""
    out = values[before]
    out += (values[after] - out) * weight[:, None]
    out[~inside] = 0
    return out


def region_score(persistence: float, share: float) -> float:
    """How likely a region is an entity rather than an accident of merging.

    How long it stood alone, times the square root of its area: the error of
    a mean of n patches falls as the root of n, so a small region stands
    alone by chance. The fourth root keeps the order and brings the values
    together, so that step 3's IoU, which multiplies it, has the first word.

    Args:
        persistence (float): similarity at which the region formed minus that
            at which it was absorbed.
        share (float): of the image's area, in [0, 1].

    Returns:
        float: in [0, 1]; 0 for a region that was absorbed at a higher
        similarity than it formed at.
    """
    return float((min(max(persistence, 0.0), 1.0) * share**0.5)**0.25)


def propose_nodes(tree: MergeTree, nodes: np.ndarray,
                  box: tuple[int, int, int, int], size: tuple[int, int],
                  step: int) -> list[Proposal]:
    """Nodes of a tree as proposals.

    Args:
        tree (MergeTree): of the box.
        nodes (np.ndarray): (K,) int.
        box (tuple): (left, top, right, bottom) in pixels of the image.
        size (tuple): (H, W) of the image in pixels.
        step (int): 1 or 2.

    Returns:
        list[Proposal]: in the order of the nodes.
    """
    left, top, right, bottom = box
    patch_share = ((right - left) * (bottom - top) /
                   (tree.n_leaves * size[0] * size[1]))
    return [
        Proposal(
            tree.mask(node), box,
            region_score(tree.formed[node] - tree.absorbed[node],
                         tree.area[node] * patch_share), step)
        for node in nodes
    ]


def pool_nodes(tree: MergeTree, thresholds: Sequence[float]) -> np.ndarray:
    """Mix the regions of all thresholds, each node once.

    Returns:
        np.ndarray: (K,) int, rising node ids.
    """
    return np.unique(np.concatenate([tree.nodes_at(t) for t in thresholds]))


def suppress_nodes(tree: MergeTree, nodes: np.ndarray,
                   max_iou: float) -> np.ndarray:
    """Non-maximal suppression along the tree; no pixel is compared.

    Args:
        nodes (np.ndarray): (K,) int.
        max_iou (float): in (0, 1]; of two nodes with a higher IoU the one
            that stood alone longer stays (ties: the smaller id).

    Returns:
        np.ndarray: the nodes kept, best score first.
    """
    score = (tree.formed - tree.absorbed)[nodes]
    nodes = nodes[np.argsort(-score, kind='stable')]
    return nodes[_keep_first_nodes(nodes, tree.children, tree.parent,
                                   tree.area, max_iou)]


@njit(cache=True)
def _keep_first_nodes(nodes: np.ndarray, children: np.ndarray,
                      parent: np.ndarray, area: np.ndarray,
                      max_iou: float) -> np.ndarray:
    """Greedy choice along the tree, see `_keep_first`.

    Who clashes with a node is above or below it, and IoU only falls on the
    way: a few steps instead of a matrix of all pairs, which a picture of
    gravel with its ten thousand regions fills with gigabytes.

    Returns:
        np.ndarray: (K,) bool.
    """
    n_leaves = len(children) + 1
    clashes = np.zeros(len(area), np.bool_)
    kept = np.zeros(len(nodes), np.bool_)
    stack = [np.int64(0)]
    for k in range(len(nodes)):
        node = nodes[k]
        if clashes[node]:
            continue
        kept[k] = True
        above = parent[node]
        while above >= 0 and area[node] / area[above] > max_iou:
            clashes[above] = True
            above = parent[above]
        stack.clear()
        stack.append(node)
        while len(stack) > 0:
            inner = stack.pop()
            if inner < n_leaves:
                continue
            for side in range(2):
                below = children[inner - n_leaves, side]
                if area[below] / area[node] > max_iou:
                    clashes[below] = True
                    stack.append(below)
    return kept


def _keep_first(clash: np.ndarray) -> np.ndarray:
    """Greedy choice: each item goes that clashes with an earlier kept one.

    Args:
        clash (np.ndarray): (K, K) bool, symmetric.

    Returns:
        np.ndarray: (K,) bool.
    """
    kept = np.ones(len(clash), bool)
    for k in range(len(clash)):
        if kept[k]:
            kept[k + 1:] &= ~clash[k, k + 1:]
    return kept


def suppress_masks(iou: np.ndarray, scores: np.ndarray,
                   max_iou: float) -> np.ndarray:
    """Non-maximal suppression of masks that come from different trees.

    Args:
        iou (np.ndarray): (K, K) float in [0, 1].
        scores (np.ndarray): (K,) float.
        max_iou (float): of two masks with a higher IoU the higher score
            stays (ties: the first).

    Returns:
        np.ndarray: (L,) int, indices kept, best score first.
    """
    order = np.argsort(-scores, kind='stable')
    return order[_keep_first((iou > max_iou)[np.ix_(order, order)])]
