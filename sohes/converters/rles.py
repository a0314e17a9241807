"""Masks of published datasets as compressed COCO RLEs."""
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sohes.converters.entity_json import ConverterError
from sohes.structures.mask_ops import text_rle
from sohes.structures.segmentations import (
    SegmentationError,
    compressed_counts,
)


def region_rles(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """Every region of a label map, in one pass over the pixels.

    Args:
        labels (np.ndarray): (H, W) integers; a region is all pixels of one
            label, connected or not.

    Returns:
        dict: by rising label the compressed RLE, its counts as text.
    """
    height, width = labels.shape
    # COCO's runs go down the columns.
    pixels = np.ascontiguousarray(labels.T).ravel()
    starts = np.flatnonzero(np.r_[True, pixels[1:] != pixels[:-1]])
    stops = np.append(starts[1:], len(pixels))
    of = pixels[starts]
    order = np.argsort(of, kind='stable')
    values, first = np.unique(of[order], return_index=True)
    found = {}
    for value, runs in zip(values.tolist(), np.split(order, first[1:])):
        edges = np.stack([starts[runs], stops[runs]], 1).ravel()
        counts = np.diff(edges, prepend=0).tolist()
        if edges[-1] < len(pixels):
            counts.append(len(pixels) - int(edges[-1]))
        found[value] = text_rle(
            coco_mask.frPyObjects(
                dict(size=[height, width], counts=counts), height, width))
    return found


def measures(rle: dict[str, Any]) -> dict[str, Any]:
    """Area in pixels and box, x, y, width and height, of an RLE."""
    return dict(
        area=int(coco_mask.area(rle)),
        bbox=[float(side) for side in coco_mask.toBbox(rle)])


def plain_segmentation(found: Any, size: tuple[int, int],
                       where: str) -> Any:
    """A segmentation that pycocotools reads, or nothing.

    Args:
        found (Any): polygons, compressed or plain RLE.
        size (tuple): (H, W) of the image in pixels.
        where (str): names the annotation in messages.

    Returns:
        Polygons of three points and more as they are, or a compressed RLE
        with its counts as text. None: polygons without any area. With four
        numbers pycocotools would take a polygon for a box.

    Raises:
        ConverterError: neither polygons nor an RLE of the image's size.
    """
    if isinstance(found, list):
        found = [p for p in found if isinstance(p, list) and len(p) >= 6]
        if not found:
            return None
    elif not isinstance(found, dict) or 'counts' not in found:
        raise ConverterError(f'{where}: its segmentation is neither polygons '
                             f'nor RLE: {found!r:.60}')
    try:
        counts = compressed_counts(found, size)
    except SegmentationError as error:
        raise ConverterError(f'{where}: {error}') from error
    if isinstance(found, list):
        return found
    return text_rle(dict(size=size, counts=counts))
