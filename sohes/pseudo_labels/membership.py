"""Which patches near a region's border belong to it, and how surely."""
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sohes.pseudo_labels.proposals import Proposal

# Patches around the region that its inside is compared with, and patches
# within its border that may still turn out to lie outside.
BAND = 2


def patch_membership(features: np.ndarray, grid: np.ndarray,
                     sharpness: float = 10.0) -> np.ndarray:
    """Soft membership of patches in a region, for step 3 to start from.

    Clustering puts a patch that straddles a border wholly on one side. Its
    feature says more: a patch is as likely inside as its cosine similarity
    to the region's mean exceeds that to the mean of what surrounds it,
    ``sigmoid(sharpness * (cos_inside - cos_around))``. Only patches near
    the border are asked; deep inside is 1, beyond one patch outside is 0.

    Args:
        features (np.ndarray): (h, w, C) float32 of the box that was
            clustered, each of unit length (or zero).
        grid (np.ndarray): (h, w) bool, the region's patches.
        sharpness (float): how fast membership turns from 0 to 1; above 0.

    Returns:
        np.ndarray: (h, w) uint8, membership in 255ths. The region itself
        where nothing surrounds it.
    """
    import cv2
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    rows, columns = (_span(grid.any(1 - axis), grid.shape[axis])
                     for axis in (0, 1))
    inside = grid[rows, columns]
    patches = features[rows, columns]
    drawn = inside.astype(np.uint8)
    # Beyond the grid nothing is known: it neither surrounds nor erodes.
    around = cv2.dilate(drawn, cross, iterations=BAND).astype(bool) & ~inside
    out = np.zeros(grid.shape, np.uint8)
    if not around.any():
        out[grid] = 255
        return out
    margin = patches @ (_unit_mean(patches[inside]) -
                        _unit_mean(patches[around]))
    soft = 1 / (1 + np.exp(-sharpness * margin))
    soft[cv2.dilate(drawn, cross) == 0] = 0
    soft[cv2.erode(drawn, cross, iterations=BAND) == 1] = 1
    out[rows, columns] = np.rint(255 * soft)
    return out


def add_membership(items: Iterable[Proposal], features: np.ndarray,
                   sharpness: float | None) -> list[Proposal]:
    """Proposals of one box with their membership.

    Args:
        items (Iterable[Proposal]): all of the box that was clustered.
        features (np.ndarray): (h, w, C) float32 of it, of any length.
        sharpness (float, optional): see `patch_membership`; None leaves the
            proposals as they are.

    Returns:
        list[Proposal]: in the same order.
    """
    if sharpness is None:
        return list(items)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    return [
        replace(item, membership=patch_membership(unit, item.grid, sharpness))
        for item in items
    ]


def _span(filled: np.ndarray, limit: int) -> slice:
    """From the first to the last true entry and the band around them."""
    where = np.flatnonzero(filled)
    return slice(max(0, where[0] - BAND), min(limit, where[-1] + BAND + 1))


def _unit_mean(features: np.ndarray) -> np.ndarray:
    """The direction of the mean of (n, C) features, or zeros."""
    mean = features.mean(0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0 else mean
