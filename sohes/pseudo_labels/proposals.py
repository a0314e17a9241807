"""Regions of a merge tree as masks: tree NMS, scores, rendering."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sohes.pseudo_labels.merge_tree import MergeTree


@dataclass(frozen=True)
class Proposal:
    """A candidate mask: patches of a grid laid over a box of the image.

    Attributes:
        grid (np.ndarray): (h, w) bool, the patches inside.
        box (tuple): (left, top, right, bottom) in pixels of the original
            image, integers, what the grid covers.
        score (float): similarity at which the region formed minus that at
            which it was absorbed; how long it stood alone.
        step (int): 1 global clustering, 2 local re-clustering.
    """
    grid: np.ndarray
    box: tuple[int, int, int, int]
    score: float
    step: int

    @property
    def area(self) -> float:
        """Area in pixels of the original image."""
        left, top, right, bottom = self.box
        return float(self.grid.mean() * (right - left) * (bottom - top))

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
        left, top, right, bottom = window
        rows = _hat_weights(top, bottom, shape[0], self.box[1], self.box[3],
                            self.grid.shape[0])
        columns = _hat_weights(left, right, shape[1], self.box[0],
                               self.box[2], self.grid.shape[1])
        return rows @ self.grid.astype(np.float32) @ columns.T

    def render(self, size: tuple[int, int]) -> np.ndarray:
        """Draw the mask at the size of the image.

        Args:
            size (tuple): (H, W) of the original image.

        Returns:
            np.ndarray: (H, W) bool.
        """
        left, top, right, bottom = self.box
        out = np.zeros(size, bool)
        out[top:bottom, left:right] = self.soft(
            self.box, (bottom - top, right - left)) > 0.5
        return out


def _hat_weights(start: int, stop: int, length: int, box_start: int,
                 box_stop: int, n_patches: int) -> np.ndarray:
    """Weights of patches at samples along one axis, linear interpolation.

    Args:
        start (int): of the window, in pixels; `stop` likewise.
        length (int): samples over the window.
        box_start (int): of what the patches cover; `box_stop` likewise.
        n_patches (int): patches over the box.

    Returns:
        np.ndarray: (length, n_patches) float32; rows sum to 1 inside the
        box, to 0 outside.
    """
    pixel = start + (np.arange(length) + 0.5) * ((stop - start) / length)
    inside = (pixel > box_start) & (pixel < box_stop)
    place = (pixel - box_start) * (n_patches /
                                   (box_stop - box_start)) - 0.5
    place = np.clip(place, 0, n_patches - 1)
    hat = 1 - np.abs(place[:, None] - np.arange(n_patches))
    return (np.maximum(hat, 0) * inside[:, None]).astype(np.float32)


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
    clash = tree.iou(nodes[:, None], nodes) > max_iou
    return nodes[_keep_first(clash)]


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
