"""Colours by hand, and what they promise about a forest."""
import itertools

import numpy as np
import pytest

from sohes.structures import EntityForest
from sohes.visualization.colors import forest_colors, oklch_to_rgb


def hues(rgb: np.ndarray) -> np.ndarray:
    """(N,) degrees in the hexagon of RGB: enough to tell what is near."""
    x = rgb.astype(float) @ [1, -0.5, -0.5]
    y = rgb.astype(float) @ [0, np.sqrt(3) / 2, -np.sqrt(3) / 2]
    return np.rad2deg(np.arctan2(y, x))


def apart(a: float, b: float) -> float:
    """Degrees between two hues."""
    return abs((a - b + 180) % 360 - 180)


@pytest.mark.parametrize('lch, rgb', [
    ((0, 0, 0), (0, 0, 0)),
    ((1, 0, 123), (255, 255, 255)),
    # Ottosson's own: the corners of sRGB.
    ((0.62796, 0.25768, 29.234), (255, 0, 0)),
    ((0.86644, 0.29483, 142.495), (0, 255, 0)),
    ((0.45201, 0.31321, 264.052), (0, 0, 255)),
])
def test_oklch_of_known_colours(lch, rgb) -> None:
    np.testing.assert_allclose(oklch_to_rgb([lch])[0], rgb, atol=1)


def test_what_no_screen_shows_keeps_its_lightness() -> None:
    grey, vivid = oklch_to_rgb([(0.7, 0, 150), (0.7, 0.9, 150)]).astype(int)
    assert vivid[1] > vivid[0] and vivid[1] > vivid[2]
    luma = [0.2126, 0.7152, 0.0722]
    assert abs(grey @ luma - vivid @ luma) < 25


def test_ten_siblings_are_told_apart() -> None:
    colors = forest_colors(EntityForest([-1] * 10),
                           np.arange(10, 0, -1)).astype(float)
    assert min(np.linalg.norm(a - b)
               for a, b in itertools.combinations(colors, 2)) > 25


def test_neighbours_in_size_differ_in_hue() -> None:
    found = hues(forest_colors(EntityForest([-1] * 40),
                               np.arange(40, 0, -1)))
    assert min(apart(a, b) for a, b in zip(found, found[1:])) > 60


def test_parts_are_nearer_to_their_own_whole() -> None:
    parents = [-1, -1, -1] + [0, 0, 1, 1, 2, 2] + [3, 4, 5, 6, 7, 8]
    forest = EntityForest(parents)
    found = hues(forest_colors(forest, np.arange(15, 0, -1)))
    for part in range(3, 15):
        root = int(np.flatnonzero(forest.ancestors[:, part])[0])
        distance = [apart(found[part], found[r]) for r in forest.roots]
        assert int(np.argmin(distance)) == root


def test_colours_depend_on_nothing_else(rng) -> None:
    forest = EntityForest([-1, 0, 0, 1, -1, 4])
    areas = np.array([90, 40, 40, 5, 70, 7])
    np.testing.assert_array_equal(forest_colors(forest, areas),
                                  forest_colors(forest, areas))
    assert forest_colors(EntityForest([]), np.zeros(0)).shape == (0, 3)
