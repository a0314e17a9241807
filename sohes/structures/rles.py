"""COCO's run-length encoding: from pixels, to text, to areas and boxes.

What comes from a file goes through :mod:`sohes.structures.segmentations`
first.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def text_rle(rle: Mapping[str, Any]) -> dict[str, Any]:
    """A compressed COCO RLE as json holds it, with text for ``counts``."""
    counts = rle['counts']
    if isinstance(counts, bytes):
        counts = counts.decode('ascii')
    return dict(size=[int(side) for side in rle['size']], counts=counts)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Encodes an (H, W) bool mask as a COCO RLE, ``counts`` as text."""
    from pycocotools import mask as coco_mask
    return text_rle(
        coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))


def encode_window(mask: np.ndarray, corner: tuple[int, int],
                  size: tuple[int, int]) -> dict[str, Any]:
    """As :func:`encode_mask`, of a mask that is a cut out of its image.

    Only the cut is looked at: a camera's photo has a thousand times as many
    pixels as most of its masks.

    Args:
        mask: (h, w) bool, nothing lies outside of it.
        corner: (left, top) of the cut in pixels of the image.
        size: (H, W) of the image in pixels.
    """
    height, width = mask.shape
    left, top = corner
    if height == size[0]:
        # Runs go on from column to column: one long column.
        start = left * height
        steps = np.diff(mask.T.ravel().view(np.int8), prepend=0, append=0)
        ends = np.flatnonzero(steps) + start
    else:
        steps = np.diff(mask.T.view(np.int8), axis=1, prepend=0, append=0)
        column, row = np.nonzero(steps)
        ends = (column + left) * size[0] + row + top
    return _from_edges(ends, size)


def region_rles(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """Encodes every region of a label map, in one pass over the pixels.

    Args:
        labels: (H, W) integers; a region is all pixels of one label,
            connected or not.

    Returns:
        By rising label the compressed RLE, its counts as text.
    """
    # COCO's runs go down the columns.
    pixels = np.ascontiguousarray(labels.T).ravel()
    starts = np.flatnonzero(np.r_[True, pixels[1:] != pixels[:-1]])
    stops = np.append(starts[1:], len(pixels))
    of = pixels[starts]
    order = np.argsort(of, kind='stable')
    values, first = np.unique(of[order], return_index=True)
    return {
        value: _from_edges(
            np.stack([starts[runs], stops[runs]], 1).ravel(), labels.shape)
        for value, runs in zip(values.tolist(), np.split(order, first[1:]))
    }


def _from_edges(edges: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """The RLE of a mask that starts and stops at these pixels.

    Args:
        edges: (2 K,) int, rising, counted down the columns.
        size: (H, W) in pixels.
    """
    from pycocotools import mask as coco_mask
    counts = np.diff(edges, prepend=0, append=size[0] * size[1])
    if counts[-1] == 0:  # as pycocotools ends a mask that fills the corner
        counts = counts[:-1]
    return text_rle(coco_mask.frPyObjects(
        dict(size=list(size), counts=counts.tolist()), *size))


def decode_rles(rles: Sequence[Mapping[str, Any]],
                size: tuple[int, int]) -> np.ndarray:
    """Decodes N RLEs of one (H, W) as (N, H, W) bool."""
    from pycocotools import mask as coco_mask
    masks = np.zeros((len(rles), *size), bool)
    # One at a time: all at once would take the memory twice.
    for mask, rle in zip(masks, rles):
        mask[:] = coco_mask.decode(dict(rle))
    return masks


def rle_areas(rles: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N,) int64, the pixels of each of N RLEs."""
    from pycocotools import mask as coco_mask
    # Of 256 and more together pycocotools fails where numpy is 2.
    return np.array([coco_mask.area(dict(rle)) for rle in rles], np.int64)


def rle_boxes(rles: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N, 4) float64, left, top, width and height of each, in pixels."""
    from pycocotools import mask as coco_mask
    if not len(rles):
        return np.zeros((0, 4))
    return coco_mask.toBbox(list(rles))
