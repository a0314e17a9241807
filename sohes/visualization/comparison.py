"""Several methods' masks beside the photo and the ground truth.

As the paper's Figures 10 to 14: a row for each photo, a column for each
method.
"""
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from sohes.structures import Entities
from sohes.visualization.panels import paint_masks, resize_photo
from sohes.visualization.tree_picture import INK, PALE, font

#: Pixels: a column, white around everything, and between panels.
CELL, MARGIN, GUTTER = 340, 20, 10
#: Pixels for the columns' titles, and for what stands under a panel.
HEAD, CAPTION = 34, 24
#: A panel is at most this many times as high as wide.
TALLEST = 1.25


def draw_comparison(titles: Sequence[str],
                    rows: Sequence[tuple[str, np.ndarray,
                                         Sequence[tuple[Entities, str]]]],
                    ) -> np.ndarray:
    """Draws the grid.

    Args:
        titles: M, of the panels of a row.
        rows: For each photo its name, its pixels (H, W, 3) uint8 RGB, and M
            panels: entities, whose forest gives related colours, and what
            stands under them.

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
                 *((caption, paint_masks(image, found.rles, found.forest,
                                         size))
                   for found, caption in panels)]
        for column, (caption, picture) in enumerate(cells):
            left = round(middle(column) - size[1] / 2)
            canvas.paste(Image.fromarray(picture), (left, top))
            pen.text((middle(column), top + size[0] + CAPTION / 2 - 1),
                     _shorten(pen, caption, 12), PALE, font(12), anchor='mm')
        top += size[0] + CAPTION
    return np.asarray(canvas)


def _shorten(pen: ImageDraw.ImageDraw, text: str, size: int) -> str:
    """Cuts what is wider than a column."""
    letters = font(size)
    if pen.textlength(text, letters) <= CELL:
        return text
    while text and pen.textlength(text + '…', letters) > CELL:
        text = text[:-1]
    return text + '…'
