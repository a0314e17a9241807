"""The mean field of a conditional random field of two labels, compiled.

A neighbour is an offset, the same for all pixels: the neighbours of a row are
another row, moved, and a row's sums are whole vector registers of products.
With masks as the fast axis a product takes three times as long here, and
small masks have to be computed on windows that hold many.
"""
import math
from typing import NamedTuple

import numpy as np

from sohes.utils.compiled import njit


class Links(NamedTuple):
    """What ties the pixels of a crop to each other.

    Attributes:
        far (np.ndarray): (F, 2) int64, (rows, columns) to a neighbour in the
            bilateral kernel.
        appearance (float): weight of that kernel.
        near (np.ndarray): (N, 2) int64, neighbours in the kernel of
            smoothness.
        near_weights (np.ndarray): (N,) float32, its weights.
        iterations (int): all pixels at once in each.
    """
    far: np.ndarray
    appearance: float
    near: np.ndarray
    near_weights: np.ndarray
    iterations: int


def likeness_table(levels: float) -> np.ndarray:
    """A Gaussian of the squared distance of two colours, in 255ths.

    Args:
        levels (float): standard deviation in levels of RGB.

    Returns:
        np.ndarray: (D,) uint8 by the squared distance; 0 from D - 1 on.
    """
    squared = np.arange(int(14 * levels * levels) + 2)
    return np.rint(255 * np.exp(-squared /
                                (2 * levels * levels))).astype(np.uint8)


@njit(cache=True, nogil=True)
def likeness(pixels: np.ndarray, offsets: np.ndarray,
             table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike each pixel and each of its neighbours are.

    Args:
        pixels (np.ndarray): (h, w, 3) uint8 RGB.
        offsets (np.ndarray): (K, 2) int64, (rows, columns) to a neighbour;
            ``offsets[K - 1 - k]`` is the opposite of ``offsets[k]``.
        table (np.ndarray): see `likeness_table`.

    Returns:
        tuple: (h, K, w) uint8, the Gaussian in 255ths, 0 for neighbours
        beyond the pixels; (h, w) float32, one over the square root of its
        sum, for the kernel's symmetric normalisation.
    """
    height, width, _ = pixels.shape
    count = len(offsets)
    last = np.int32(len(table) - 1)
    alike = np.zeros((height, count, width), np.uint8)
    total = np.full((height, width), np.float32(1))
    for y in range(height):
        for k in range(count // 2):
            row, across = y + offsets[k, 0], offsets[k, 1]
            if row < 0 or row >= height:
                continue
            for x in range(max(0, -across), min(width, width - across)):
                far = np.int32(0)
                for c in range(3):
                    step = (np.int32(pixels[y, x, c]) -
                            np.int32(pixels[row, x + across, c]))
                    far += step * step
                value = table[min(far, last)]
                alike[y, k, x] = value
                alike[row, count - 1 - k, x + across] = value
                total[y, x] += value
                total[row, x + across] += value
    return alike, 1 / np.sqrt(total)


@njit(cache=True, nogil=True)
def unary(values: np.ndarray, rows: tuple, columns: tuple,
          certainty: float) -> np.ndarray:
    """Logits of a mask's window from its patches.

    Args:
        values (np.ndarray): (g, g') float32 in [0, 1], membership of patches.
        rows (tuple): see `patch_samples`, each (h,); `columns` likewise.
        certainty (float): membership is clipped to [1 - this, this].

    Returns:
        np.ndarray: (h, w) float32.
    """
    out = np.empty((len(rows[0]), len(columns[0])), np.float32)
    low, high = np.float32(1 - certainty), np.float32(certainty)
    least = np.float32(math.log(low / high))
    for y in range(out.shape[0]):
        above, below = values[rows[0][y]], values[rows[1][y]]
        for x in range(out.shape[1]):
            first, last = columns[0][x], columns[1][x]
            one = above[first] + rows[2][y] * (below[first] - above[first])
            two = above[last] + rows[2][y] * (below[last] - above[last])
            likely = one + columns[2][x] * (two - one)
            if not (rows[3][y] and columns[3][x]) or likely <= low:
                out[y, x] = least
            elif likely >= high:
                out[y, x] = -least
            else:
                out[y, x] = math.log(likely / (1 - likely))
    return out


@njit(cache=True, nogil=True, fastmath={'contract'})
def mean_field(logits: np.ndarray, corner: tuple, alike: np.ndarray,
               norm: np.ndarray, links: Links) -> np.ndarray:
    """Settle one mask in its window; what lies beyond is outside of it.

    Args:
        logits (np.ndarray): (h, w) float32, the unary term.
        corner (tuple): (top, left) of the window in the crop.
        alike (np.ndarray): (H, F, W) uint8 of the crop, see `likeness`.
        norm (np.ndarray): (H, W) float32 of the crop, likewise.
        links (Links): of the crop.

    Returns:
        np.ndarray: (h, w) float32, logits of the mask.
    """
    far, appearance, near, near_weights, iterations = links
    height, width = logits.shape
    top, left = corner
    pad = np.abs(near).max()
    if len(far) > 0:  # none where a patch is less than a pixel
        pad = max(pad, np.abs(far).max())
    # Twice the probability less one, as it is and times `norm`.
    plain = np.full((height + 2 * pad, width + 2 * pad), np.float32(-1))
    scaled = np.zeros_like(plain)
    for y in range(max(0, top - pad), min(len(norm), top + height + pad)):
        for x in range(max(0, left - pad),
                       min(norm.shape[1], left + width + pad)):
            scaled[y - top + pad, x - left + pad] = -norm[y, x]
    total = logits.copy()
    for _ in range(iterations):
        for y in range(height):
            scale = norm[top + y, left:left + width]
            to_plain = plain[y + pad, pad:pad + width]
            to_scaled = scaled[y + pad, pad:pad + width]
            for x in range(width):
                # tanh(t / 2), within 0.024, and exact at 0 and far out
                half = total[y, x] * np.float32(0.5)
                square = half * half
                value = half * (np.float32(27) + square) / (
                    np.float32(27) + np.float32(9) * square)
                value = min(max(value, np.float32(-1)), np.float32(1))
                to_plain[x] = value
                to_scaled[x] = value * scale[x]
        for y in range(height):
            row = total[y]
            row[:] = np.float32(0)
            # Four neighbours at once, so that the sums are read and written
            # once for them: up to a sixth faster.
            for k in range(0, len(far) - 3, 4):
                one, two, three, four = (
                    scaled[y + pad + far[k, 0], pad + far[k, 1]:],
                    scaled[y + pad + far[k + 1, 0], pad + far[k + 1, 1]:],
                    scaled[y + pad + far[k + 2, 0], pad + far[k + 2, 1]:],
                    scaled[y + pad + far[k + 3, 0], pad + far[k + 3, 1]:])
                weights = alike[top + y, k:k + 4, left:]
                for x in range(width):
                    row[x] += (
                        (np.float32(weights[0, x]) * one[x] +
                         np.float32(weights[1, x]) * two[x]) +
                        (np.float32(weights[2, x]) * three[x] +
                         np.float32(weights[3, x]) * four[x]))
            for k in range(len(far) // 4 * 4, len(far)):
                start = pad + far[k, 1]
                there = scaled[y + pad + far[k, 0], start:start + width]
                weight = alike[top + y, k, left:left + width]
                for x in range(width):
                    row[x] += np.float32(weight[x]) * there[x]
            scale = norm[top + y, left:left + width]
            for x in range(width):
                row[x] = row[x] * (scale[x] * np.float32(appearance)) + (
                    logits[y, x])
            for k in range(len(near)):
                start = pad + near[k, 1]
                there = plain[y + pad + near[k, 0], start:start + width]
                for x in range(width):
                    row[x] += near_weights[k] * there[x]
    return total
