"""The photo, its masks level by level, and the tree, as one picture."""
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from sohes.structures import EntityForest, PackedMasks
from sohes.structures.mask_ops import MaskLike
from sohes.visualization.colors import forest_colors
from sohes.visualization.panels import paint_level, resize_photo, scale_mask
from sohes.visualization.tree_layout import TreeLayout, layout_forest
from sohes.visualization.tree_picture import INK, TREE_MARGIN, draw_tree, font

#: White around the picture and between panels, in pixels.
MARGIN = 24
GUTTER = 14
#: Height of a panel's title, in pixels.
TITLE = 30
#: The panels together are at most this high, in pixels.
PANELS_HEIGHT = 720
#: Share of that height that a single row may take.
ONE_ROW = 0.8
#: The least width of a panel with its title, in pixels.
NARROWEST = 170
#: Less has no room for the titles.
NARROWEST_PICTURE = 800
#: Sides of larger photos are scaled down to this first, in pixels.
LARGEST = 1600
LEVELS = ('whole entities', 'parts', 'subparts')


def draw_forest(image: np.ndarray, masks: MaskLike, forest: EntityForest,
                scores: np.ndarray | None = None,
                width: int = 1880,
                levels: np.ndarray | None = None) -> np.ndarray:
    """Draws a photo with its masks by level of the forest, and the tree.

    Panels: the photo; the whole entities; their parts; subparts and all
    below. Levels that do not exist are left out. A mask has one colour
    everywhere, related to its parent's. Under them the tree, as many of the
    largest masks as fit, with the number of the others.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: N masks of (H, W); see ``PackedMasks.from_any``.
        forest: Of the N masks.
        scores: (N,) written under the nodes of the tree, or None.
        width: Pixels of the picture, at least ``NARROWEST_PICTURE``.
        levels: (N,) int, 0 whole, 1 part, 2 subpart: which panel a mask is
            in. None: by its depth in the forest.

    Returns:
        (H', width, 3) uint8 RGB.

    Raises:
        ValueError: The image is not (H, W, 3) uint8, the masks, forest and
            scores do not belong together, or the width is too small.
    """
    if width < NARROWEST_PICTURE:
        raise ValueError(f'width must be at least {NARROWEST_PICTURE}, got '
                         f'{width}')
    image = np.ascontiguousarray(image)
    packed = PackedMasks.from_any(masks)
    _check(image, packed, forest, scores)
    if levels is not None and np.shape(levels) != (len(forest), ):
        raise ValueError(f'{len(forest)} masks, but levels of shape '
                         f'{np.shape(levels)}')
    colors = forest_colors(forest, packed.areas)
    image, packed = _shrink(image, packed)
    panels = _panels(forest, levels)
    columns, size = _arrange(image.shape[:2], len(panels), width)
    inner = width - 2 * MARGIN
    layout = layout_forest(forest, packed.areas, _positions(packed),
                           inner - 2 * TREE_MARGIN)
    tree = draw_tree(image, packed, forest, layout, colors, scores, inner)
    top = MARGIN + len(panels) // columns * (size[0] + TITLE + GUTTER)
    height = top + TITLE + (tree.shape[0] if len(forest) else 0) + MARGIN
    canvas = Image.new('RGB', (width, height), 'white')
    cell = max(size[1], NARROWEST)
    left = (width - columns * (cell + GUTTER) + GUTTER) // 2
    for number, (title, chosen) in enumerate(panels):
        row, column = divmod(number, columns)
        x = left + column * (cell + GUTTER)
        y = MARGIN + row * (size[0] + TITLE + GUTTER)
        panel = (resize_photo(image, size) if chosen is None else paint_level(
            image, packed, chosen, colors, size))
        _write(canvas, title, x + cell / 2, y)
        canvas.paste(Image.fromarray(panel),
                     (x + (cell - size[1]) // 2, y + TITLE))
    _write(canvas, _tree_title(forest, layout), width / 2, top)
    if len(forest):
        canvas.paste(Image.fromarray(tree), (MARGIN, top + TITLE))
    return np.asarray(canvas)


def _panels(forest: EntityForest, levels: np.ndarray | None = None
            ) -> list[tuple[str, list[int] | None]]:
    """The title of each panel and its masks; None is the photo alone."""
    panels: list[tuple[str, list[int] | None]] = [('photo', None)]
    # The last panel takes all that lies deeper too.
    depth = forest.levels(len(LEVELS)) if levels is None else levels
    for level, name in enumerate(LEVELS[:max(depth, default=-1) + 1]):
        chosen = np.flatnonzero(depth == level).tolist()
        panels.append((f'{name} ({len(chosen)})', chosen))
    return panels


def _write(canvas: Image.Image, text: str, x: float, y: float) -> None:
    """Centres a title on x, in the ``TITLE`` pixels under y."""
    ImageDraw.Draw(canvas).text((x, y + TITLE / 2 - 2), text, INK, font(17),
                                anchor='mm')


def _check(image: np.ndarray, masks: PackedMasks, forest: EntityForest,
           scores: np.ndarray | None) -> None:
    """Raises ValueError for what does not belong together."""
    if (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3
            or not image.size):
        raise ValueError('image must be (H, W, 3) uint8, got '
                         f'{image.dtype} of shape {image.shape}')
    if len(masks) and masks.size != image.shape[:2]:
        raise ValueError(f'masks are {masks.size}, the image '
                         f'{image.shape[:2]}')
    if len(masks) != len(forest):
        raise ValueError(f'{len(masks)} masks, but a forest of '
                         f'{len(forest)}')
    if scores is not None and np.shape(scores) != (len(forest), ):
        raise ValueError(f'{len(masks)} masks, but scores of shape '
                         f'{np.shape(scores)}')


def _shrink(image: np.ndarray,
            masks: PackedMasks) -> tuple[np.ndarray, PackedMasks]:
    """Scales a large photo and its masks down to what a screen can show."""
    scale = LARGEST / max(image.shape[:2])
    if scale >= 1:
        return image, masks
    size = tuple(max(round(side * scale), 1) for side in image.shape[:2])

    def scaled() -> Iterator[np.ndarray]:
        for index in range(len(masks)):
            inside, top, left = scale_mask(masks, index, size)
            mask = np.zeros(size, bool)
            mask[top:top + inside.shape[0],
                 left:left + inside.shape[1]] = inside
            yield mask

    return resize_photo(image, size), PackedMasks.pack(
        scaled(), len(masks), size)


def _arrange(shape: tuple[int, int], count: int,
             width: int) -> tuple[int, tuple[int, int]]:
    """Columns of panels, and the (height, width) of one.

    The arrangement in which the panels are largest; rather one row when it
    makes little difference.
    """
    best = None
    for columns in range(count, 0, -1):
        least = columns * (NARROWEST + GUTTER) - GUTTER
        if count % columns or least > width - 2 * MARGIN:
            continue
        rows = count // columns
        box_width = (width - 2 * MARGIN - (columns - 1) * GUTTER) / columns
        box_height = PANELS_HEIGHT / rows
        if rows == 1:
            box_height *= ONE_ROW
        scale = min(box_width / shape[1], box_height / shape[0])
        if best is None or scale > 1.35 * best[0]:
            best = scale, columns
    scale, columns = best
    return columns, (max(round(shape[0] * scale), 1),
                     max(round(shape[1] * scale), 1))


def _positions(masks: PackedMasks) -> np.ndarray:
    """(N,) the column of the middle of each mask's box; 0 for an empty."""
    positions = np.zeros(len(masks))
    for index in range(len(masks)):
        crop, _, left = masks.crop(index)
        positions[index] = left + crop.shape[1] / 2
    return positions


def _tree_title(forest: EntityForest, layout: TreeLayout) -> str:
    """Says what the tree shows and what it leaves out."""
    if not len(forest):
        return 'no masks'
    shown = len(layout.centers)
    title = f'forest of {len(forest)} mask{"s" * (len(forest) > 1)}'
    if shown < len(forest):
        more = ['+k: k more below'] if layout.hidden else []
        if layout.hidden_trees:
            more.append(f'{layout.hidden_trees} more in trees not drawn')
        title += f': the {shown} largest that fit ({"; ".join(more)})'
    return title
