"""A COCO segmentation, of whichever kind, as a checked compressed RLE."""
import math
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sohes.evaluation.image_matching import (
    InputError,
    image_name,
    other_size,
)
from sohes.structures.rle_kernels import rle_stats

#: Pixels; pycocotools walks along a polygon's sides step by step.
_FARTHEST = 1e5


def to_rle(annotation: dict, row: dict, where: str) -> tuple[dict, float]:
    """A segmentation as compressed RLE, and its area.

    pycocotools takes runs that do not fill the image and polygons with nan,
    and gives wrong areas or crashes; so they are looked at first.

    Args:
        annotation: With ``segmentation``: polygons, runs, or compressed RLE.
        row: The image, with ``height`` and ``width``.
        where: File and annotation, for messages.

    Returns:
        The RLE and its pixels.

    Raises:
        InputError: It is none of these, or of another size than the image.
    """
    segmentation = annotation.get('segmentation')
    size = row['height'], row['width']
    where = f'{where} on image {image_name(row)}'
    if not segmentation:
        raise InputError(f'{where} has no segmentation')
    try:
        if isinstance(segmentation, list):
            _check_polygons(segmentation, where)
            rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
            return rle, float(coco_mask.area(rle))
        if tuple(segmentation['size']) != size:
            raise InputError(other_size(where, segmentation['size'], row))
        rle = segmentation
        if isinstance(segmentation['counts'], list):
            _check_runs(segmentation['counts'], size, where)
            rle = coco_mask.frPyObjects(segmentation, *size)
        return rle, _area(rle['counts'], size, where)
    except InputError:
        raise
    except Exception as error:  # pycocotools raises whatever happens
        raise InputError(f'{where}: the segmentation is neither polygons nor '
                         f'RLE ({type(error).__name__}: {error})') from error


def _check_polygons(polygons: list, where: str) -> None:
    for polygon in polygons:
        if (not isinstance(polygon, list) or len(polygon) < 6
                or len(polygon) % 2):
            raise InputError(f'{where}: a polygon must be at least three '
                             f'x, y pairs, got {polygon!r:.60}')
        for value in polygon:
            if not (is_finite(value) and abs(value) <= _FARTHEST):
                raise InputError(f'{where}: a polygon has the coordinate '
                                 f'{value!r}, which is no place in an image')


def _check_runs(runs: list, size: tuple[int, int], where: str) -> None:
    if not all(type(run) is int and run >= 0 for run in runs):
        raise InputError(f'{where}: runs must be whole numbers from 0, got '
                         f'{runs!r:.60}')
    if sum(runs) != size[0] * size[1]:
        raise InputError(f'{where}: the runs do not add up to {size[0]} x '
                         f'{size[1]} pixels, but to {sum(runs)}')


def _area(counts: str | bytes, size: tuple[int, int], where: str) -> float:
    """Pixels of a compressed RLE that fills the image exactly."""
    text = counts.encode() if isinstance(counts, str) else counts
    areas, _ = rle_stats(
        np.frombuffer(text, np.uint8), np.array([0, len(text)]),
        np.array([size]))
    if areas[0] < 0:
        raise InputError(f'{where}: the RLE is broken or does not fill '
                         f'{size[0]} x {size[1]} pixels: {counts!r:.40}')
    return float(areas[0])


def is_finite(value: Any) -> bool:
    """Whether it is a number as json has them, and not nan or infinite."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and math.isfinite(value))
