"""A COCO segmentation, of whichever kind, as a checked compressed RLE."""
from typing import Any

import numpy as np

from sohes.evaluation.image_matching import (
    InputError,
    image_name,
    other_size,
)
from sohes.structures.rle_kernels import rle_stats
from sohes.structures.segmentations import (
    SegmentationError,
    compressed_counts,
    is_number,
    is_whole,
)


def to_rle(annotation: dict, row: dict, where: str) -> tuple[dict, float]:
    """A segmentation as compressed RLE, and its area.

    Args:
        annotation: With ``segmentation``: polygons, runs, or compressed RLE.
        row: The image, with ``height`` and ``width``.
        where: File and annotation, for messages.

    Returns:
        The RLE and its pixels.

    Raises:
        InputError: It is none of these, or of another size than the image.
    """
    found = annotation.get('segmentation')
    size = row['height'], row['width']
    where = f'{where} on image {image_name(row)}'
    sides = found.get('size') if isinstance(found, dict) else None
    if isinstance(sides, list) and len(sides) == 2 and all(
            map(is_whole, sides)) and tuple(sides) != size:
        raise InputError(other_size(where, sides, row))
    try:
        counts = compressed_counts(found, size)
    except SegmentationError as error:
        raise InputError(f'{where}: {error}') from error
    areas, _ = rle_stats(
        np.frombuffer(counts, np.uint8), np.array([0, len(counts)]),
        np.array([size], np.int64))
    return dict(size=list(size), counts=counts), float(areas[0])


def is_finite(value: Any) -> bool:
    """Whether it is a number as json has them, and not nan or infinite."""
    return is_number(value)
