"""Segmentations from files, checked before any C code sees them.

pycocotools believes what it is given: runs that do not fill the image,
polygons that are not finite or lie far away and text without an end make it
write outside its arrays or take all memory. Whatever comes from a file goes
through here first.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

from sohes.structures.rle_kernels import rle_stats
from sohes.utils.errors import FileError, renamed
from sohes.utils.limits import pixel_limit, too_large

__getattr__ = renamed(
    __name__, SegmentationError='sohes.utils.errors.FileError')

#: Ids at most: what every reader of json keeps exact.
LARGEST_ID = 2**53 - 1
#: Masks of an image at most: tables of all pairs are made of them.
MOST_MASKS = 5000
#: Pixels along the sides of an annotation's polygons at most: pycocotools
#: walks them step by step and keeps every step.
_LONGEST_SIDES = 1e6
#: Polygons or parts that are united in one call.
_TOGETHER = 16


def is_whole(value: Any, low: int = -LARGEST_ID,
             high: int = LARGEST_ID) -> bool:
    """Whether it is an integer, no bool, in [low, high]."""
    return type(value) is int and low <= value <= high


def is_number(value: Any, most: float = 3e38) -> bool:
    """Whether it is a number, finite and at most ``most`` from 0."""
    # nan fails both comparisons; a Python integer may have any length.
    return type(value) in (int, float) and -most <= value <= most


def check_image_size(height: Any, width: Any) -> None:
    """Refuse what cannot be the size of an image.

    Args:
        height: in pixels.
        width: in pixels.

    Raises:
        FileError: no whole numbers from 1, or too many pixels.
    """
    for name, side in (('height', height), ('width', width)):
        if not is_whole(side, 1):
            raise FileError(f'its {name} must be a whole number of '
                            f'pixels, got {side!r:.60}')
    if height * width > pixel_limit():
        raise FileError(f'it {too_large(height * width)}')


def check_rle_size(found: Any, size: Sequence[int]) -> None:
    """Refuse an RLE's size that is not that of its image.

    Args:
        found: what the file says, height and width.
        size: (H, W) of the image in pixels.

    Raises:
        FileError: it differs, or is no two whole numbers.
    """
    if (not isinstance(found, (list, tuple)) or len(found) != 2
            or any(type(side) is not int for side in found)
            or tuple(found) != tuple(size)):
        raise FileError(
            f'its mask has the size {found!r:.60}, its image {list(size)} '
            '(height, width)')


def compressed_counts(found: Any, size: tuple[int, int]) -> bytes:
    """The counts of a segmentation's compressed RLE.

    Args:
        found: polygons, or an RLE with ``counts`` as compressed text, as
            bytes or as a list of runs.
        size: (H, W) of the image in pixels.

    Returns:
        Counts that fill the image exactly; safe for pycocotools.

    Raises:
        FileError: it is neither, or does not fit the image.
    """
    check_image_size(*size)
    if not found:
        raise FileError('it has no segmentation')
    if isinstance(found, list):
        return _from_polygons(found, size)
    if not isinstance(found, dict) or not isinstance(
            found.get('counts'), (str, bytes, list, tuple)):
        raise FileError('its segmentation is neither polygons nor '
                        f'RLE: {found!r:.60}')
    check_rle_size(found.get('size'), size)
    if isinstance(found['counts'], (list, tuple)):
        return _from_runs(found['counts'], size)
    return _checked_text(found['counts'], size)


def checked_rle(rle: Any, size: Sequence[int] | None = None
                ) -> dict[str, Any]:
    """A segmentation as a compressed RLE that pycocotools may be given.

    Args:
        rle: see :func:`compressed_counts`.
        size: (H, W) of the image; None: the RLE's own.

    Returns:
        ``size`` and ``counts``, these as bytes.

    Raises:
        FileError: as :func:`compressed_counts` does.
    """
    if size is None:
        size = rle.get('size') if isinstance(rle, dict) else None
        if not isinstance(size, (list, tuple)) or len(size) != 2:
            raise FileError(f'an RLE needs a size, got {size!r:.60}')
        size = [int(side) if isinstance(side, np.integer) else side
                for side in size]
        rle = {**rle, 'size': size}
    height, width = size
    return dict(size=[height, width],
                counts=compressed_counts(rle, (height, width)))


def _from_polygons(polygons: list, size: tuple[int, int]) -> bytes:
    from pycocotools import mask as coco_mask
    _check_polygons(polygons, size)
    parts = coco_mask.frPyObjects(polygons, *size)
    # In groups: one after the other, all that was united is copied again.
    while len(parts) > 1:
        parts = [coco_mask.merge(parts[k:k + _TOGETHER])
                 for k in range(0, len(parts), _TOGETHER)]
    return parts[0]['counts']


def _check_polygons(polygons: list, size: tuple[int, int]) -> None:
    farthest = 2 * max(size) + 1000
    sides = 0.0
    for polygon in polygons:
        if (not isinstance(polygon, list) or len(polygon) < 6
                or len(polygon) % 2):
            raise FileError('a polygon must be at least three x, y '
                            f'pairs, got {polygon!r:.60}')
        for value in polygon:
            if not is_number(value, farthest):
                raise FileError(
                    f'a polygon has the coordinate {value!r:.40}, which is '
                    f'no place in an image of {size[0]} x {size[1]} pixels')
        points = np.array(polygon, np.float64).reshape(-1, 2)
        steps = np.abs(points - np.roll(points, 1, axis=0))
        sides += float(steps.max(axis=1).sum())
    # Twice the pixels is an outline that winds through all of them.
    most = min(2 * size[0] * size[1] + 10 * sum(size) + 1000, _LONGEST_SIDES)
    if sides > most:
        raise FileError(
            f'the sides of its polygons are {sides:.0f} pixels long, more '
            f'than an outline in an image of {size[0]} x {size[1]} pixels '
            'can have')


def _from_runs(runs: Sequence[Any], size: tuple[int, int]) -> bytes:
    from pycocotools import mask as coco_mask
    pixels = size[0] * size[1]
    if not all(is_whole(run, 0) for run in runs):
        raise FileError('the runs must be whole numbers from 0, got '
                        f'{list(runs[:20])!r:.60}')
    if sum(runs) != pixels:
        raise FileError(
            f'the runs do not add up to {size[0]} x {size[1]} pixels, but to '
            f'{sum(runs)}')
    return coco_mask.frPyObjects(
        dict(size=list(size), counts=list(runs)), *size)['counts']


def _checked_text(counts: str | bytes, size: tuple[int, int]) -> bytes:
    text = (counts.encode('ascii', 'replace')
            if isinstance(counts, str) else counts)
    areas, _ = rle_stats(
        np.frombuffer(text, np.uint8), np.array([0, len(text)]),
        np.array([size], np.int64))
    if areas[0] < 0:
        raise FileError(
            f'the RLE is broken or does not fill {size[0]} x {size[1]} '
            f'pixels: {counts!r:.40}')
    return text
