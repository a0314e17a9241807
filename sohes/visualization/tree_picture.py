"""The tree of a forest, every node a small cut-out of the photo."""
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from sohes.structures import EntityForest, PackedMasks
from sohes.visualization.panels import SUPERSAMPLE
from sohes.visualization.tree_layout import TreeLayout

#: Pixels under a node for what is written there.
CAPTION = 20
#: Pixels around the tree, into which frames and badges stick out.
TREE_MARGIN = 8
#: A mask is shown with some of what is around it: its box grows by this
#: factor, and to this many pixels of the photo at least.
SURROUNDINGS = 1.25
SMALLEST_VIEW = 9
INK = (60, 60, 60)
PALE = (140, 140, 140)


@lru_cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """The font that comes with Pillow, in pixels."""
    return ImageFont.load_default(size)


def draw_tree(image: np.ndarray, masks: PackedMasks, forest: EntityForest,
              layout: TreeLayout, colors: np.ndarray,
              scores: np.ndarray | None, width: int) -> np.ndarray:
    """Draws a layout.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: N masks of (H, W).
        forest: Of the masks.
        layout: Where the nodes are.
        colors: (N, 3) uint8, one a mask.
        scores: (N,) written under the nodes, or None.
        width: Pixels of the picture; the tree is centred in it.

    Returns:
        (height, width, 3) uint8 on white.
    """
    scale = SUPERSAMPLE
    height = int(np.ceil(layout.height)) + CAPTION + 2 * TREE_MARGIN
    canvas = Image.new('RGB', (width * scale, height * scale), 'white')
    pen = ImageDraw.Draw(canvas)
    left = max((width - layout.width) / 2, TREE_MARGIN)

    def at(node: int) -> tuple[float, float]:
        x, y = layout.centers[node]
        return (x + left) * scale, (y + TREE_MARGIN) * scale

    for node in layout.centers:
        parent = int(forest.parents[node])
        if parent >= 0:
            (x0, y0), (x1, y1) = at(parent), at(node)
            y0 += layout.side(forest.depth[parent]) / 2 * scale
            y1 -= layout.side(forest.depth[node]) / 2 * scale
            if scores is not None:
                y0 += CAPTION * scale
            pen.line(_curve(x0, y0, x1, y1), tuple(colors[node].tolist()),
                     2 * scale, joint='curve')
    for node in layout.centers:
        side = layout.side(forest.depth[node]) * scale
        x, y = at(node)
        corner = round(x - side / 2), round(y - side / 2)
        tile = _tile(image, masks, node, colors[node], side)
        _frame(canvas, tile, corner, colors[node])
        if scores is not None:
            pen.text((x, y + side / 2 + 7 * scale), f'{scores[node]:.2f}',
                     PALE, font(11 * scale), anchor='mt')
        if node in layout.hidden:
            _badge(pen, corner[0] + side, corner[1] + side,
                   f'+{layout.hidden[node]}', colors[node])
    return np.asarray(
        canvas.resize((width, height), Image.Resampling.BOX))


def _frame(canvas: Image.Image, tile: np.ndarray, corner: tuple[int, int],
           color: np.ndarray) -> None:
    """Pastes a tile with round corners and a frame of its colour."""
    side, radius = len(tile), 8 * SUPERSAMPLE
    shape = Image.new('L', (side, side))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, side - 1, side - 1),
                                            radius, 255)
    canvas.paste(Image.fromarray(tile), corner, shape)
    ImageDraw.Draw(canvas).rounded_rectangle(
        (*corner, corner[0] + side - 1, corner[1] + side - 1), radius,
        outline=tuple(color.tolist()), width=2 * SUPERSAMPLE + 1)


def _badge(pen: ImageDraw.ImageDraw, right: int, bottom: int, text: str,
           color: np.ndarray) -> None:
    """A pill on a tile's lower right corner, for what is not drawn."""
    scale = SUPERSAMPLE
    letters = font(11 * scale)
    width = pen.textlength(text, letters) + 9 * scale
    box = (right - width + 5 * scale, bottom - 11 * scale, right + 5 * scale,
           bottom + 5 * scale)
    pen.rounded_rectangle(box, 8 * scale, 'white', tuple(color.tolist()),
                          2 * scale)
    pen.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, INK,
             letters, anchor='mm')


def _curve(x0: float, y0: float, x1: float,
           y1: float) -> list[tuple[float, float]]:
    """A link that leaves and arrives upright."""
    t = np.linspace(0, 1, 25)
    ease = t * t * (3 - 2 * t)
    return list(zip(x0 + (x1 - x0) * ease, y0 + (y1 - y0) * t))


def _tile(image: np.ndarray, masks: PackedMasks, node: int,
          color: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3) uint8: the mask's part of the photo on a faded rest."""
    crop, top, left = masks.crop(node)
    if not crop.size:
        return np.full((side, side, 3), 235, np.uint8)
    span = max(int(np.ceil(SURROUNDINGS * max(crop.shape))), SMALLEST_VIEW)
    photo = np.full((span, span, 3), 255, np.uint8)
    inside = np.zeros((span, span), np.uint8)
    y, x = ((span - n) // 2 for n in crop.shape)
    inside[y:y + crop.shape[0], x:x + crop.shape[1]] = crop * np.uint8(255)
    _paste(photo, image, top - y, left - x)
    photo, inside = (np.asarray(
        Image.fromarray(a).resize((side, side), Image.Resampling.BILINEAR,
                                  reducing_gap=2),
        np.float32) for a in (photo, inside))
    share = inside[..., None] / 255
    pale = photo.mean(axis=2, keepdims=True) * 0.2 + 255 * 0.8
    tile = share * photo + (1 - share) * pale
    # An outline where the mask ends, as wide as the frame.
    edge = np.asarray(Image.fromarray(inside > 127).convert('L').filter(
        ImageFilter.MaxFilter(5)), np.float32)[..., None] / 255 * (1 - share)
    tile = (1 - edge) * tile + edge * color
    return np.round(tile).astype(np.uint8)


def _paste(target: np.ndarray, image: np.ndarray, top: int,
           left: int) -> None:
    """Copies the part of an image from (top, left), where it has one."""
    y0, x0 = max(top, 0), max(left, 0)
    y1 = min(top + target.shape[0], image.shape[0])
    x1 = min(left + target.shape[1], image.shape[1])
    target[y0 - top:y1 - top, x0 - left:x1 - left] = image[y0:y1, x0:x1]
