"""What an entity index keeps of each image and annotation, and as what."""
from pathlib import Path
from typing import Any

import numpy as np

#: Raise it when a field or file changes: older indices are then built anew.
FORMAT = 3

#: One image; its annotations are ``first`` to ``first + count``.
IMAGE = np.dtype([
    ('id', '<i8'),
    ('height', '<i4'),
    ('width', '<i4'),
    ('name', '<i8'),  # where the file's name ends in the names
    ('first', '<i8'),
    ('count', '<i4'),
    ('masks', '<i4'),  # those that are no crowd
    ('pair', '<i8'),  # where its pairs start
    ('pairs', '<i4'),  # how many; TREES: the relation is that of the trees
])

#: One annotation, 57 bytes; its RLE follows that of the one before.
ANNOTATION = np.dtype([
    ('id', '<i8'),
    ('category', '<i8'),
    ('rle', '<i8'),  # where its RLE starts
    ('length', '<i4'),  # characters of its RLE
    ('parent', '<i4'),  # among those of its image, -1 for a root
    ('box', '<i4', 4),  # x, y, width, height in pixels
    ('area', '<i4'),  # pixels
    ('score', '<f4'),
    ('crowd', '?'),
])

#: An annotation on the way, before its image's others are known.
DRAFT = np.dtype(ANNOTATION.descr + [
    ('image', '<i4'),  # position of the image
    ('parent_id', '<i8'),
    ('ancestor', '<i8'),  # where its ancestor_ids start
    ('ancestors', '<i4'),  # how many, ABSENT without that key
])

#: One annotation is an ancestor of another: positions among those of their
#: image. Two bytes each, four where an image has more annotations.
SMALL_PAIR = np.dtype('<u2')
LARGE_PAIR = np.dtype('<u4')

TREES = -1
ABSENT = -1

#: parent_id of a root, and of an annotation without that key.
ROOT = np.iinfo(np.int64).min
UNKNOWN = ROOT + 1


def pair_dtype(images: np.ndarray) -> np.dtype:
    """The smallest that numbers the annotations of every image."""
    most = images['count'].max(initial=0)
    return LARGE_PAIR if most > np.iinfo(SMALL_PAIR).max else SMALL_PAIR


def map_raw(path: Path, dtype: Any) -> np.ndarray:
    """A file without a header as an array."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype)
    # Not the subclass: its slices are slow to make.
    return np.asarray(np.memmap(path, dtype, mode='r'))
