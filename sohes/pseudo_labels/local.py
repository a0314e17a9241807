"""Step 2: zoom into small regions and cluster again (section 3.1)."""
from collections.abc import Sequence

import numpy as np

from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.proposals import (
    Proposal,
    pool_nodes,
    propose_nodes,
    suppress_nodes,
)

Box = tuple[int, int, int, int]


def square_crop(bounds: Sequence[float], size: tuple[int, int], scale: float,
                min_side: int) -> Box:
    """The square around a region in which it is looked at again.

    Args:
        bounds (Sequence[float]): the region's (left, top, right, bottom) in
            pixels.
        size (tuple): (H, W) of the image in pixels.
        scale (float): side of the crop over the longer side of the bounds.
        min_side (int): the crop is not smaller than this, in pixels.

    Returns:
        tuple: (left, top, right, bottom) integers inside the image. The
        square is moved to lie inside; where the image is too narrow for it,
        it is clipped.
    """
    left, top, right, bottom = bounds
    side = max(scale * max(right - left, bottom - top), min_side)
    out = []
    for low, high, limit in ((left, right, size[1]), (top, bottom, size[0])):
        length = int(min(round(side), limit))
        start = round((low + high) / 2 - length / 2)
        start = int(np.clip(start, 0, limit - length))
        out.append((start, start + length))
    return out[0][0], out[1][0], out[0][1], out[1][1]


def plan_crops(bounds: Sequence[Sequence[float]],
               size: tuple[int, int],
               scale: float = 2.0,
               min_side: int = 32,
               max_zoom_out: float = 1.5,
               max_crops: int | None = None) -> tuple[list[Box], int]:
    """Choose crops so that every small region lies well inside one.

    Large regions come first. A region shares a crop that holds it with a
    margin of half the usual one on each side, unless the crop is so much
    larger than its own would be that the zoom is lost.

    Args:
        bounds (Sequence): N boxes (left, top, right, bottom) in pixels.
        size (tuple): (H, W) of the image in pixels.
        scale (float): see `square_crop`.
        min_side (int): see `square_crop`.
        max_zoom_out (float): a shared crop's side over the region's own.
        max_crops (int, optional): the crops that hold most regions stay.

    Returns:
        tuple: list of (left, top, right, bottom) crops, and the number of
        regions that no crop was left for.
    """
    crops, holds = [], []
    reach = np.zeros((4, len(bounds)))  # a row an edge, a column a crop
    sides = np.zeros(len(bounds))
    margin = (scale - 1) / 4
    by_size = sorted(
        range(len(bounds)),
        key=lambda k: (-max(bounds[k][2] - bounds[k][0], bounds[k][3] -
                            bounds[k][1]), *bounds[k]))
    for k in by_size:
        own = square_crop(bounds[k], size, scale, min_side)
        side = max(own[2] - own[0], own[3] - own[1])
        pad = margin * max(bounds[k][2] - bounds[k][0],
                           bounds[k][3] - bounds[k][1])
        made = slice(len(crops))
        fits = ((reach[0, made] <= bounds[k][0] - pad) &
                (reach[1, made] <= bounds[k][1] - pad) &
                (reach[2, made] >= bounds[k][2] + pad) &
                (reach[3, made] >= bounds[k][3] + pad) &
                (sides[made] <= max_zoom_out * side))
        if fits.any():
            holds[int(fits.argmax())] += 1
        else:
            reach[:, len(crops)], sides[len(crops)] = _reach(own, size), side
            crops.append(own)
            holds.append(1)
    if max_crops is None or len(crops) <= max_crops:
        return crops, 0
    most = sorted(range(len(crops)), key=lambda c: (-holds[c], c))
    kept = sorted(most[:max_crops])
    return [crops[c] for c in kept], sum(holds[c] for c in most[max_crops:])


def _reach(crop: Box, size: tuple[int, int]) -> tuple[float, ...]:
    """The crop's edges, endless at the image's: nothing is cut off there."""
    left, top, right, bottom = crop
    return (left or -np.inf, top or -np.inf,
            right if right < size[1] else np.inf,
            bottom if bottom < size[0] else np.inf)


def cut_crops(image: np.ndarray, crops: Sequence[Box]) -> list[np.ndarray]:
    """Cut (left, top, right, bottom) boxes out of an (H, W, 3) image."""
    return [image[top:bottom, left:right]
            for left, top, right, bottom in crops]


def plan_windows(size: tuple[int, int],
                 count: int) -> tuple[list[Box], tuple[int, int]]:
    """Cut an image into windows that touch.

    Args:
        size (tuple): (H, W) of the image in pixels.
        count (int): windows along the longer side.

    Returns:
        tuple: list of (left, top, right, bottom), row by row, and how many
        rows and columns there are.
    """
    longest = max(size)
    rows, columns = (
        min(side, max(1, round(count * side / longest))) for side in size)
    y = [round(k * size[0] / rows) for k in range(rows + 1)]
    x = [round(k * size[1] / columns) for k in range(columns + 1)]
    return [(x[c], y[r], x[c + 1], y[r + 1])
            for r in range(rows) for c in range(columns)], (rows, columns)


def join_windows(features: np.ndarray, shape: tuple[int, int],
                 center: bool) -> np.ndarray:
    """Features of windows as those of the whole image.

    Args:
        features (np.ndarray): (rows * columns, h, w, C) float32.
        shape (tuple): (rows, columns) of windows.
        center (bool): subtract the mean over all windows.

    Returns:
        np.ndarray: (rows * h, columns * w, C) float32.
    """
    _, height, width, channels = features.shape
    rows, columns = shape
    # (r c, h, w, C) -> (r, h, c, w, C) -> (r h, c w, C)
    joined = features.reshape(rows, columns, height, width, channels)
    joined = joined.transpose(0, 2, 1, 3, 4).reshape(
        rows * height, columns * width, channels)
    if center:
        joined = joined - joined.mean((0, 1))
    return joined


def _touches_border(grid: np.ndarray, crop: Box, size: tuple[int, int],
                    inner: bool) -> bool:
    """Whether patches touch a border of the crop, or of its inner ones."""
    left, top, right, bottom = crop
    cut = (left > 0, top > 0, right < size[1], bottom < size[0])
    sides = (grid[:, 0], grid[0], grid[:, -1], grid[-1])
    return any((is_cut or not inner) and bool(side.any())
               for is_cut, side in zip(cut, sides))


def cluster_crop(features: np.ndarray, crop: Box, size: tuple[int, int],
                 thresholds: Sequence[float], max_iou: float,
                 min_patches: int,
                 keep_image_edges: bool = True) -> list[Proposal]:
    """Cluster one crop; keep what lies wholly inside it.

    Args:
        features (np.ndarray): (h, w, C) float32 of the resized crop.
        crop (tuple): (left, top, right, bottom) in pixels of the image.
        size (tuple): (H, W) of the image in pixels.
        thresholds (Sequence[float]): as for the whole image.
        max_iou (float): of the suppression along the crop's tree.
        min_patches (int): smaller subregions are not kept.
        keep_image_edges (bool): the image's own border counts as inside.

    Returns:
        list[Proposal]: of step 2. What meets a border of the crop is
        incomplete and left out.
    """
    tree = MergeTree.from_features(features)
    nodes = pool_nodes(tree, thresholds)
    nodes = nodes[tree.area[nodes] >= min_patches]
    nodes = suppress_nodes(tree, nodes, max_iou)
    return [
        item for item in propose_nodes(tree, nodes, crop, size, step=2)
        if not _touches_border(item.grid, crop, size, keep_image_edges)
    ]
