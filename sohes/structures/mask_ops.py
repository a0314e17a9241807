"""Areas and overlaps of many binary masks, on packed bits.

200 masks of 1024x1024 have 19 900 pairs; as full images those are 20 billion
pixel comparisons. Here a mask is one bit a pixel, cropped to its bounding box
(to whole 64-bit words across), and a pair is compared only where the boxes of
both meet.
"""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sohes.structures.rles import rle_boxes
from sohes.structures.segmentations import checked_rle
from sohes.utils.compiled import njit

#: Bits of one packed word.
WORD = 64
#: Bytes that the masks of one image from a file may take as bits; while they
#: are packed it is twice as much.
MOST_PACKED = 1 << 30


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """N binary masks of one size, one bit a pixel, cropped to their boxes.

    Build it with :meth:`from_any`; the fields are for the kernels.

    Attributes:
        words: (K,) uint64, all masks one after the other, each row-major
            over its own crop; the leftmost pixel is the highest bit of the
            first byte.
        offsets: (N + 1,) int64, mask ``i`` is
            ``words[offsets[i]:offsets[i + 1]]``.
        extents: (N, 4) int64, the crop as first row, last row + 1, first
            word column, last word column + 1; all 0 for an empty mask.
        areas: (N,) int64, pixels inside each mask.
        size: (H, W) in pixels.
    """
    words: np.ndarray
    offsets: np.ndarray
    extents: np.ndarray
    areas: np.ndarray
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.areas)

    @classmethod
    def from_any(cls, masks: 'MaskLike') -> 'PackedMasks':
        """Packs whatever holds masks.

        Args:
            masks: (N, H, W) array of bool or integers (not 0 is inside), a
                list of N such (H, W) arrays, a list of N COCO RLE dicts with
                ``size`` and ``counts`` (compressed or not; needs
                pycocotools), or a :class:`PackedMasks`, which comes back as
                it is. ``[]`` is no mask, of size (0, 0).

        Returns:
            The N packed masks.

        Raises:
            ValueError: Not 3-dimensional, float values, or sizes that
                differ; the index of the first offender is named.
        """
        if isinstance(masks, PackedMasks):
            return masks
        if isinstance(masks, np.ndarray):
            if masks.ndim != 3:
                raise ValueError('masks must be (N, H, W), got the shape '
                                 f'{masks.shape}')
            size = masks.shape[1:]
        else:
            masks = list(masks)
            size = _size_of(masks[0], 0) if masks else (0, 0)
        return cls.pack(_iterate(masks, size), len(masks), size)

    @classmethod
    def pack(cls, masks: Iterable[np.ndarray], count: int,
             size: tuple[int, int]) -> 'PackedMasks':
        """Crops and packs masks one at a time: only one is ever unpacked.

        Args:
            masks: Gives ``count`` arrays, each (H, W) bool.
            count: N.
            size: (H, W) in pixels.

        Returns:
            The N packed masks.
        """
        extents = np.zeros((count, 4), np.int64)
        chunks = [np.zeros(0, np.uint64)]
        for index, mask in enumerate(masks):
            rows = np.flatnonzero(mask.any(axis=1))
            if len(rows) == 0:
                chunks.append(chunks[0])
                continue
            top, bottom = rows[0], rows[-1] + 1
            columns = np.flatnonzero(mask[top:bottom].any(axis=0))
            left, right = columns[0] // WORD, columns[-1] // WORD + 1
            extents[index] = top, bottom, left, right
            crop = mask[top:bottom, left * WORD:right * WORD]
            packed = np.zeros((bottom - top, (right - left) * WORD // 8),
                              np.uint8)
            packed[:, :(crop.shape[1] + 7) // 8] = np.packbits(crop, axis=1)
            chunks.append(packed.view(np.uint64).ravel())
        words = np.concatenate(chunks)
        offsets = np.cumsum([len(chunk) for chunk in chunks]).astype(np.int64)
        return cls(words, offsets, extents, _areas(words, offsets),
                   (int(size[0]), int(size[1])))

    def crop(self, index: int) -> tuple[np.ndarray, int, int]:
        """Unpacks the part of one mask that has pixels.

        Args:
            index: Which mask, 0 to N - 1.

        Returns:
            (h, w) bool, the mask in its bounding box (0 x 0 for an empty
            one), and the box's top and left in pixels.
        """
        top, bottom, left, right = self.extents[index].tolist()
        if bottom == top:
            return np.zeros((0, 0), bool), 0, 0
        words = self.words[self.offsets[index]:self.offsets[index + 1]]
        bits = np.unpackbits(
            words.reshape(bottom - top, right - left).view(np.uint8), axis=1)
        columns = np.flatnonzero(bits.any(axis=0))
        first, last = columns[0], columns[-1] + 1
        return bits[:, first:last].view(bool), top, int(left * WORD + first)

    def mask(self, index: int) -> np.ndarray:
        """Unpacks one mask.

        Args:
            index: Which mask, 0 to N - 1.

        Returns:
            (H, W) bool.
        """
        mask = np.zeros(self.size, bool)
        crop, top, left = self.crop(index)
        mask[top:top + crop.shape[0], left:left + crop.shape[1]] = crop
        return mask


#: What the functions below take as masks.
MaskLike = PackedMasks | np.ndarray | Sequence[Any]


def check_packable(rles: Sequence[dict]) -> None:
    """Refuse masks that would take all memory once they are packed.

    An RLE of a few bytes can be a mask of the largest photo, and a file may
    have thousands of them.

    Args:
        rles: compressed COCO RLEs of one image, safe for pycocotools.

    Raises:
        ValueError: they take more than ``MOST_PACKED`` bytes; says how many
            masks of which size, and what to do. Goes on an image's name.
    """
    if not rles:
        return
    left, _, width, height = rle_boxes(rles).T
    words = (left + width + WORD - 1) // WORD - left // WORD
    taken = int((height * words).sum()) * WORD // 8
    if taken > MOST_PACKED:
        sides = rles[0]['size']
        raise ValueError(
            f'its {len(rles)} masks of {sides[1]} x {sides[0]} pixels take '
            f'{taken} bytes at a bit a pixel, which may be {MOST_PACKED} at '
            'most; leave masks out, or make the photo and its masks smaller')


def pairwise_intersections(masks: MaskLike) -> np.ndarray:
    """Pixels that each pair of masks shares.

    Args:
        masks: N masks, as :meth:`PackedMasks.from_any` takes them.

    Returns:
        (N, N) int64, symmetric, the areas on the diagonal.
    """
    packed = PackedMasks.from_any(masks)
    return _intersections(packed.words, packed.offsets, packed.extents)


def pairwise_coverage(masks: MaskLike) -> np.ndarray:
    """How much of each mask lies in each other (paper, section 3.1).

    Args:
        masks: N masks, as :meth:`PackedMasks.from_any` takes them.

    Returns:
        (N, N) float64 in [0, 1]: ``[i, j]`` is the share of mask i's pixels
        that are also in mask j; 0 in the row of an empty mask.
    """
    shared = pairwise_intersections(masks)
    areas = np.diagonal(shared)[:, None]
    return shared / np.maximum(areas, 1)


def pairwise_iou(masks: MaskLike) -> np.ndarray:
    """Intersection over union of each pair of masks.

    Args:
        masks: N masks, as :meth:`PackedMasks.from_any` takes them.

    Returns:
        (N, N) float64 in [0, 1]; 0 where both are empty.
    """
    shared = pairwise_intersections(masks)
    areas = np.diagonal(shared)
    union = areas[:, None] + areas[None, :] - shared
    return shared / np.maximum(union, 1)


def _size_of(mask: Any, index: int) -> tuple[int, int]:
    """(H, W) of one mask of a list."""
    if isinstance(mask, dict):
        if 'size' not in mask or 'counts' not in mask:
            raise ValueError(f'mask {index}: an RLE needs size and counts, '
                             f'got the keys {sorted(mask)}')
        return tuple(mask['size'])
    shape = np.shape(mask)
    if len(shape) != 2:
        raise ValueError(f'mask {index} must be (H, W), got the shape {shape}')
    return shape


def _iterate(masks: np.ndarray | list,
             size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yields each mask as (H, W) bool, checked."""
    for index, mask in enumerate(masks):
        if _size_of(mask, index) != tuple(size):
            raise ValueError(f'mask {index} is {_size_of(mask, index)}, '
                             f'mask 0 is {tuple(size)}: one image, one size')
        if isinstance(mask, dict):
            yield _decode(mask)
            continue
        mask = np.asarray(mask)
        if mask.dtype.kind not in 'biu':
            raise ValueError(f'mask {index} is {mask.dtype}: threshold soft '
                             'masks first')
        yield mask if mask.dtype == bool else mask != 0


def _decode(rle: dict) -> np.ndarray:
    """One COCO RLE, compressed or not, as (H, W) bool."""
    from pycocotools import mask as coco_mask
    return coco_mask.decode(checked_rle(rle)).view(bool)


@njit(cache=True, nogil=True)
def _popcount(word: np.uint64) -> np.int64:
    """Bits set in a word; LLVM turns this into the machine's own popcount."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = ((word & np.uint64(0x3333333333333333))
            + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333)))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0f0f0f0f0f0f0f0f)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def _areas(words: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(N,) pixels of each packed mask."""
    areas = np.zeros(len(offsets) - 1, np.int64)
    for index in range(len(areas)):
        for k in range(offsets[index], offsets[index + 1]):
            areas[index] += _popcount(words[k])
    return areas


@njit(cache=True, nogil=True)
def _intersections(words: np.ndarray, offsets: np.ndarray,
                   extents: np.ndarray) -> np.ndarray:
    """(N, N) shared pixels; see :func:`pairwise_intersections`."""
    count = len(extents)
    shared = np.zeros((count, count), np.int64)
    for i in range(count):
        width_i = extents[i, 3] - extents[i, 2]
        for j in range(i, count):
            top = max(extents[i, 0], extents[j, 0])
            bottom = min(extents[i, 1], extents[j, 1])
            left = max(extents[i, 2], extents[j, 2])
            right = min(extents[i, 3], extents[j, 3])
            if top >= bottom or left >= right:
                continue
            width_j = extents[j, 3] - extents[j, 2]
            total = 0
            for row in range(top, bottom):
                at_i = (offsets[i] + (row - extents[i, 0]) * width_i
                        + left - extents[i, 2])
                at_j = (offsets[j] + (row - extents[j, 0]) * width_j
                        + left - extents[j, 2])
                # Views, because an index that might be negative costs three
                # times as much.
                row_i = words[at_i:at_i + right - left]
                row_j = words[at_j:at_j + right - left]
                for k in range(right - left):
                    total += _popcount(row_i[k] & row_j[k])
            shared[i, j] = total
            shared[j, i] = total
    return shared
