"""One level of the forest, painted over the photo."""
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sohes.structures import EntityForest, PackedMasks
from sohes.structures.mask_ops import MaskLike
from sohes.visualization.colors import forest_colors

#: Everything is painted this much larger and scaled down: smooth edges.
SUPERSAMPLE = 2
#: How much of the fill covers the photo.
FILL = 0.62
#: Width of the line between masks, in pixels of the finished panel.
BORDER = 1.5
#: Smaller masks are drawn as a dot of this many pixels, or their border
#: would cover them.
DOT = 5
#: Pixels around a mask that is scaled.
RING = 2
#: Share of white in the grey photo around the masks.
FADE = 0.35


def resize_photo(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a photo; a tiny one keeps its pixels visible.

    Args:
        image: (H, W, 3) uint8.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) uint8.
    """
    tiny = max(image.shape[:2]) < 64
    method = Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize(size[::-1], method))


def scale_mask(masks: PackedMasks, index: int,
               size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Scales one mask, touching only its own box.

    Args:
        masks: N masks of (H, W).
        index: Which.
        size: (height, width) that the whole image is scaled to.

    Returns:
        (h, w) bool, a crop of the scaled mask, and its top and left. A mask
        that would vanish keeps one pixel; an empty one is 0 x 0.
    """
    crop, top, left = masks.crop(index)
    if not crop.size:
        return crop, 0, 0
    scale_y, scale_x = (size[0] / masks.size[0], size[1] / masks.size[1])
    first = int(top * scale_y), int(left * scale_x)
    last = (min(int(np.ceil((top + crop.shape[0]) * scale_y)), size[0]),
            min(int(np.ceil((left + crop.shape[1]) * scale_x)), size[1]))
    # The integer target box, back in pixels of the crop. A ring of zeros
    # gives the filter something to fall off to, except at the photo's edge.
    padded = np.pad(crop, RING, mode='edge')
    padded[:RING] &= top == 0
    padded[-RING:] &= top + crop.shape[0] == masks.size[0]
    padded[:, :RING] &= left == 0
    padded[:, -RING:] &= left + crop.shape[1] == masks.size[1]
    box = (first[1] / scale_x - left + RING, first[0] / scale_y - top + RING,
           last[1] / scale_x - left + RING, last[0] / scale_y - top + RING)
    box = (max(box[0], 0), max(box[1], 0), min(box[2], padded.shape[1]),
           min(box[3], padded.shape[0]))
    scaled = np.asarray(
        Image.fromarray(padded.view(np.uint8) * 255).resize(
            (last[1] - first[1], last[0] - first[0]),
            Image.Resampling.BILINEAR, box=box))
    inside = scaled >= 128
    if not inside.any():
        inside = scaled == scaled.max()
    return inside, *first


def paint_level(image: np.ndarray, masks: PackedMasks,
                indices: Sequence[int], colors: np.ndarray,
                size: tuple[int, int]) -> np.ndarray:
    """Paints some of the masks, small over large, over a faded photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: N masks of (H, W).
        indices: Which of them.
        colors: (N, 3) uint8, one a mask.
        size: (height, width) of the panel.

    Returns:
        (height, width, 3) uint8.
    """
    large = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
    owner = np.full(large, -1, np.int32)
    for index in sorted(indices, key=lambda i: (-masks.areas[i], i)):
        inside, top, left = _at_least_a_dot(
            *scale_mask(masks, index, large), large)
        area = owner[top:top + inside.shape[0], left:left + inside.shape[1]]
        area[inside] = index
    grey = np.asarray(
        Image.fromarray(resize_photo(image, large)).convert('L'), np.float32)
    # Lifted, or colours over a dark photo would be mud.
    panel = np.repeat((grey + FADE * (255 - grey))[..., None], 3, axis=2)
    inside = owner >= 0
    panel[inside] += FILL * (colors[owner[inside]] - panel[inside])
    panel[_borders(owner)] = 255
    return np.asarray(
        Image.fromarray(np.round(panel).astype(np.uint8)).resize(
            size[::-1], Image.Resampling.BOX))


def paint_masks(image: np.ndarray, masks: MaskLike, forest: EntityForest,
                size: tuple[int, int] | None = None) -> np.ndarray:
    """Paints all masks over a faded photo, in related colours.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: N masks of (H, W); see ``PackedMasks.from_any``.
        forest: Of the N masks.
        size: (height, width) of the picture; None: of the photo.

    Returns:
        (height, width, 3) uint8.
    """
    packed = PackedMasks.from_any(masks)
    return paint_level(image, packed, range(len(packed)),
                       forest_colors(forest, packed.areas),
                       size or image.shape[:2])


def _at_least_a_dot(inside: np.ndarray, top: int, left: int,
                    size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Replaces a mask that is too small to see."""
    side = DOT * SUPERSAMPLE
    if not inside.size or max(inside.shape) >= side or min(size) < side:
        return inside, top, left
    top += inside.shape[0] // 2 - side // 2
    left += inside.shape[1] // 2 - side // 2
    y, x = (axis - (side - 1) / 2 for axis in np.ogrid[:side, :side])
    dot = y**2 + x**2 <= side**2 / 4
    return (dot, min(max(top, 0), size[0] - side),
            min(max(left, 0), size[1] - side))


def _borders(owner: np.ndarray) -> np.ndarray:
    """(H, W) bool, a line of ``BORDER`` between different owners."""
    edge = np.zeros(owner.shape, bool)
    edge[1:] |= owner[1:] != owner[:-1]
    edge[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    wide = edge.copy()
    for _ in range(round(BORDER * SUPERSAMPLE) - 1):
        wide[:-1] |= wide[1:]
        wide[:, :-1] |= wide[:, 1:]
    return wide
