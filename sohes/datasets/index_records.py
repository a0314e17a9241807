"""What an entity index keeps of each image and of each annotation."""
import numpy as np

#: Raise it when a field or file changes: older indices are then built anew.
FORMAT = 2

#: One image; its annotations are ``first`` to ``first + count``.
IMAGE = np.dtype([
    ('id', '<i8'),
    ('height', '<i4'),
    ('width', '<i4'),
    ('name', '<i8'),  # where the file's name ends in the names
    ('first', '<i8'),
    ('count', '<i4'),
    ('masks', '<i4'),  # those that are no crowd
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
])

#: parent_id of a root, and of an annotation without that key.
ROOT = np.iinfo(np.int64).min
UNKNOWN = ROOT + 1
