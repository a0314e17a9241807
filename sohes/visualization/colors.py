"""Colours that say who belongs to whom.

After Tennekes and de Jonge (Tree Colors, 2014): every node owns a wedge of
the hue circle and its children share it, so that parts look related to their
whole and siblings differ. In OKLCH, where equal steps look equal.
"""
import numpy as np

from sohes.structures import EntityForest

#: Steps of (sqrt 5 - 1) / 2 never come close to an earlier one soon.
GOLDEN = 0.6180339887498949
#: Degrees: where the first whole entity lies (a warm orange).
FIRST_HUE = 55.0
#: A wedge grows with the number of masks below, to this power: those of a
#: large tree need the room, but small trees must still differ.
WEIGHT = 0.75
#: Share of its wedge that a node hands on; the rest keeps cousins apart.
HANDED_ON = 0.8
#: Degrees: the least that siblings share, or two parts of a narrow wedge
#: would look the same. Wedges may then overlap.
NARROWEST = 70.0
#: Lightness and chroma by depth: parts are deeper and more vivid.
LIGHTNESS = (0.76, 0.70, 0.66, 0.62)
CHROMA = (0.115, 0.135, 0.15, 0.16)
#: Siblings in turn are a little lighter or darker than their depth says.
ACCENTS = (0.0, 0.08, -0.08)


def forest_colors(forest: EntityForest, areas: np.ndarray) -> np.ndarray:
    """Gives every mask its colour.

    Args:
        forest: Of N masks.
        areas: (N,) pixels; the largest siblings come first and so differ
            most.

    Returns:
        (N, 3) uint8, sRGB.
    """
    lch = np.zeros((len(forest), 3))
    descendants = forest.closure.sum(axis=1)
    wedges = [(forest.roots, FIRST_HUE, 360.0)] if len(forest) else []
    while wedges:
        siblings, start, width = wedges.pop()
        siblings = sorted(siblings, key=lambda i: (-areas[i], i))
        # Neighbours in size must not be neighbours in hue.
        turns = np.arange(len(siblings)) * GOLDEN % 1
        order = np.argsort(turns, kind='stable')
        shares = (1.0 + descendants[siblings])[order]**WEIGHT
        shares *= width / shares.sum()
        starts = start + np.cumsum(shares) - shares
        for place, rank in enumerate(order.tolist()):
            node = siblings[rank]
            hue = starts[place] + shares[place] / 2
            level = min(forest.depth[node], len(LIGHTNESS) - 1)
            lch[node] = (LIGHTNESS[level] + ACCENTS[rank % len(ACCENTS)],
                         CHROMA[level], hue)
            children = forest.children(node)
            if children:
                inner = max(shares[place] * HANDED_ON, NARROWEST)
                wedges.append((children, hue - inner / 2, inner))
    return oklch_to_rgb(lch)


def oklch_to_rgb(lch: np.ndarray) -> np.ndarray:
    """Converts OKLCH (Ottosson 2020) to sRGB.

    Args:
        lch: (N, 3) lightness in [0, 1], chroma (0 is grey, 0.3 is much),
            hue in degrees. Colours that a screen cannot show lose chroma,
            not lightness or hue.

    Returns:
        (N, 3) uint8.
    """
    lch = np.array(lch, np.float64).reshape(-1, 3)
    linear = _linear_rgb(lch)
    for _ in range(40):
        # A rounding error outside is still inside; it is clipped below.
        outside = (np.abs(linear - 0.5) > 0.501).any(axis=1)
        if not outside.any():
            break
        lch[outside, 1] *= 0.93
        linear[outside] = _linear_rgb(lch[outside])
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear,
                       1.055 * linear**(1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def _linear_rgb(lch: np.ndarray) -> np.ndarray:
    """(N, 3) OKLCH to linear sRGB, unclipped."""
    hue = np.deg2rad(lch[:, 2])
    lab = np.stack(
        [lch[:, 0], lch[:, 1] * np.cos(hue), lch[:, 1] * np.sin(hue)], axis=1)
    cones = lab @ np.array([[1, 1, 1],
                            [0.3963377774, -0.1055613458, -0.0894841775],
                            [0.2158037573, -0.0638541728, -1.2914855480]])
    return cones**3 @ np.array(
        [[4.0767416621, -1.2684380046, -0.0041960863],
         [-3.3077115913, 2.6097574011, -0.7034186147],
         [0.2309699292, -0.3413193965, 1.7076147010]])
