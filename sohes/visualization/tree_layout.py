"""Which nodes of a forest are drawn as a tree, and where."""
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sohes.structures import EntityForest

#: Side of a node by depth, in pixels; what lies deeper is only counted.
SIDES = (76, 60, 48, 38)
#: Small forests are drawn larger, by the first factor with which all fits.
ZOOMS = (1.6, 1.4, 1.2, 1.0)
#: Pixels between siblings, between trees, and between rows.
GAP = 10
TREE_GAP = 22
ROW_GAP = 48


@dataclass
class TreeLayout:
    """Where the nodes are.

    Attributes:
        zoom: Factor on ``SIDES``.
        centers: Node to (x, y) of its centre, in pixels.
        hidden: Node to the number of its descendants that are not drawn
            and do not hang under another drawn node.
        hidden_trees: Masks in trees of which nothing is drawn.
        width: Pixels that the nodes take.
        height: Pixels that the nodes take, without what is written below.
    """
    zoom: float = 1.0
    centers: dict[int, tuple[float, float]] = field(default_factory=dict)
    hidden: dict[int, int] = field(default_factory=dict)
    hidden_trees: int = 0
    width: float = 0.0
    height: float = 0.0

    def side(self, depth: int) -> int:
        """Side of a node of that depth, in pixels."""
        return round(SIDES[depth] * self.zoom)


def layout_forest(forest: EntityForest, areas: np.ndarray,
                  positions: np.ndarray, width: float) -> TreeLayout:
    """Lays out as many of the largest masks as fit side by side.

    Parents are centred over their children; siblings stand from left to
    right as in the photo. A mask whose parent is not drawn is not drawn
    either, so every link in the picture is a true one.

    Args:
        forest: Of N masks.
        areas: (N,) pixels; larger masks are taken first.
        positions: (N,) how far right a mask is in the photo, any unit.
        width: Pixels there are; at least one node is drawn.

    Returns:
        The layout, its left and top edge at 0.
    """
    for zoom in ZOOMS:
        layout = TreeLayout(zoom)
        spans = _choose(forest, layout, areas, width)
        if len(spans) == len(forest):
            break
    children: dict[int, list[int]] = {node: [] for node in (-1, *spans)}
    for node in sorted(spans, key=lambda i: (positions[i], i)):
        children[int(forest.parents[node])].append(node)

    def place(nodes: list[int], left: float, top: float, gap: float) -> None:
        for node in nodes:
            side = layout.side(forest.depth[node])
            layout.centers[node] = (left + spans[node] / 2, top + side / 2)
            layout.height = max(layout.height, top + side)
            inner = _total((spans[c] for c in children[node]), GAP)
            place(children[node], left + (spans[node] - inner) / 2,
                  top + side + ROW_GAP, GAP)
            left += spans[node] + gap

    place(children[-1], 0.0, 0.0, TREE_GAP)
    layout.width = _total((spans[c] for c in children[-1]), TREE_GAP)
    _count_hidden(forest, layout)
    return layout


def _choose(forest: EntityForest, layout: TreeLayout, areas: np.ndarray,
            width: float) -> dict[int, float]:
    """The nodes to draw, with the pixels across that their trees take."""
    spans: dict[int, float] = {}
    below: dict[int, list[int]] = {}
    total = 0.0
    for node in sorted(range(len(forest)), key=lambda i: (-areas[i], i)):
        parent = int(forest.parents[node])
        if forest.depth[node] >= len(SIDES) or (parent >= 0
                                                and parent not in spans):
            continue
        # A new leaf may widen its ancestors, and so the whole.
        grown = {node: float(layout.side(forest.depth[node]))}
        child, change = node, grown[node] + TREE_GAP * bool(spans)
        while (above := int(forest.parents[child])) >= 0:
            others = [spans[c] for c in below[above] if c != child]
            grown[above] = max(spans[above],
                               _total((*others, grown[child]), GAP))
            child, change = above, grown[above] - spans[above]
        if spans and total + change > width:
            continue
        total += change
        spans.update(grown)
        below[node] = []
        if parent >= 0:
            below[parent].append(node)
    return spans


def _total(spans: Iterable[float], gap: float) -> float:
    """Width of neighbours side by side."""
    spans = list(spans)
    return sum(spans) + gap * (len(spans) - 1) if spans else 0.0


def _count_hidden(forest: EntityForest, layout: TreeLayout) -> None:
    """Books every mask not drawn on its nearest drawn ancestor."""
    for node in range(len(forest)):
        if node in layout.centers:
            continue
        current = int(forest.parents[node])
        while current >= 0 and current not in layout.centers:
            current = int(forest.parents[current])
        if current >= 0:
            layout.hidden[current] = layout.hidden.get(current, 0) + 1
        else:
            layout.hidden_trees += 1
