"""Several methods' masks beside the photo and the ground truth.

As the paper's Figures 10 to 14: a row for each photo, a column for each
method.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sohes.structures import EntityForest, PackedMasks
from sohes.visualization.colors import forest_colors
from sohes.visualization.panels import paint_level, resize_photo
from sohes.visualization.tree_picture import INK, PALE, font

#: Pixels: a column, white around everything, and between panels.
CELL, MARGIN, GUTTER = 340, 20, 10
#: Pixels for the columns' titles, and for what stands under a panel.
HEAD, CAPTION = 34, 24
#: A panel is at most this many times as high as wide.
TALLEST = 1.25


@dataclass(frozen=True)
class Panel:
    """Masks over a photo.

    Attributes:
        rles: N compressed COCO RLEs of the photo's size.
        forest: Of them, which gives related colours.
        caption: What stands under it.
    """
    rles: list[dict]
    forest: EntityForest
    caption: str


def draw_comparison(titles: Sequence[str],
                    rows: Sequence[tuple[str, np.ndarray, Sequence[Panel]]],
                    ) -> np.ndarray:
    """Draws the grid.

    Args:
        titles: M, of the panels of a row.
        rows: For each photo its name, its pixels (H, W, 3) uint8 RGB, and M
            panels.

    Returns:
        (H', W', 3) uint8 RGB on white.
    """
    sizes = []
    for _, image, _ in rows:
        scale = min(CELL / image.shape[1], TALLEST * CELL / image.shape[0])
        sizes.append(tuple(max(round(n * scale), 1)
                           for n in image.shape[:2]))
    columns = 1 + len(titles)
    width = 2 * MARGIN + columns * (CELL + GUTTER) - GUTTER
    height = 2 * MARGIN + HEAD + sum(s[0] + CAPTION for s in sizes)
    canvas = Image.new('RGB', (width, height), 'white')
    pen = ImageDraw.Draw(canvas)

    def middle(column: int) -> float:
        return MARGIN + column * (CELL + GUTTER) + CELL / 2

    for column, title in enumerate(('photo', *titles)):
        pen.text((middle(column), MARGIN + HEAD / 2 - 4),
                 _shorten(pen, title, 17), INK, font(17), anchor='mm')
    top = MARGIN + HEAD
    for (name, image, panels), size in zip(rows, sizes):
        cells = [(name, resize_photo(image, size)),
                 *((p.caption, _paint(image, p, size)) for p in panels)]
        for column, (caption, picture) in enumerate(cells):
            left = round(middle(column) - size[1] / 2)
            canvas.paste(Image.fromarray(picture), (left, top))
            pen.text((middle(column), top + size[0] + CAPTION / 2 - 1),
                     _shorten(pen, caption, 12), PALE, font(12), anchor='mm')
        top += size[0] + CAPTION
    return np.asarray(canvas)


def _paint(image: np.ndarray, panel: Panel,
           size: tuple[int, int]) -> np.ndarray:
    """Masks over the faded photo, small over large."""
    masks = PackedMasks.from_any(panel.rles)
    colors = forest_colors(panel.forest, masks.areas)
    return paint_level(image, masks, range(len(masks)), colors, size)


def _shorten(pen: ImageDraw.ImageDraw, text: str, size: int) -> str:
    """Cuts what is wider than a column."""
    letters = font(size)
    if pen.textlength(text, letters) <= CELL:
        return text
    while text and pen.textlength(text + '…', letters) > CELL:
        text = text[:-1]
    return text + '…'
