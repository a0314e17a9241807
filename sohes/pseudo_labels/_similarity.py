"""Scalar pieces of the merge kernel: similarity, bounds on angles.

Everything here is compiled and inlined into :mod:`._merge_kernel`. The bounds
are conservative on purpose: a bound that is loose costs one dot product, a
bound that is wrong costs exactness.
"""
import math

import numpy as np
from numba import njit

# Upper bound of the rounding error of a cosine of two float64 vectors. The
# error of a dot product of 4096 terms summed in 8 lanes is below 1e-13.
MARGIN = 2e-13
# Slack on angles in radians: sums and differences of a few angles below pi.
ANGLE_MARGIN = 1e-12

_SPLIT = 134217729.0  # 2 ** 27 + 1, Veltkamp's splitting constant


@njit(inline='always')
def _two_product(a: float, b: float) -> tuple:
    """Return ``(p, e)`` with ``p + e == a * b`` exactly (Dekker)."""
    p = a * b
    t = _SPLIT * a
    a_hi = t - (t - a)
    a_lo = a - a_hi
    t = _SPLIT * b
    b_hi = t - (t - b)
    b_lo = b - b_hi
    e = ((a_hi * b_hi - p) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo
    return p, e


@njit(inline='always')
def cosine(dot: float, sq_a: float, sq_b: float) -> float:
    """Cosine similarity ``dot / sqrt(sq_a * sq_b)``, correctly rounded.

    Done in doubled precision, so that pairs whose similarities are equal as
    real numbers (integer features, constant areas) get the same float64 and
    the tie rule decides, not the rounding.

    Args:
        dot (float): dot product of the two feature sums.
        sq_a (float): squared norm of the first sum, >= 0.
        sq_b (float): squared norm of the second sum, >= 0.

    Returns:
        float: similarity in [-1, 1]; 0 when a vector is zero.
    """
    p_hi, p_lo = _two_product(sq_a, sq_b)
    if p_hi <= 0.0:
        return 0.0
    q_hi = math.sqrt(p_hi)
    r_hi, r_lo = _two_product(q_hi, q_hi)
    q_lo = ((p_hi - r_hi) - r_lo + p_lo) / (2.0 * q_hi)
    s_hi = dot / q_hi
    t_hi, t_lo = _two_product(s_hi, q_hi)
    s_lo = ((dot - t_hi) - t_lo - s_hi * q_lo) / q_hi
    return min(1.0, max(-1.0, s_hi + s_lo))


@njit(inline='always')
def angle_below(similarity: float) -> float:
    """Lower bound in radians of the angle whose cosine is `similarity`."""
    return math.acos(min(1.0, similarity + MARGIN))


@njit(inline='always')
def angle_above(similarity: float) -> float:
    """Upper bound in radians of the angle whose cosine is `similarity`."""
    return math.acos(max(-1.0, similarity - MARGIN)) + ANGLE_MARGIN


@njit(inline='always')
def similarity_above(angle: float) -> float:
    """Upper bound of the similarity at an angle of at least `angle`."""
    if angle <= 0.0:
        return 1.0
    return min(1.0, math.cos(angle) + MARGIN)


@njit(inline='always')
def rotation_above(norm: float, other: float, similarity: float) -> float:
    """Upper bound of the angle by which a sum turns when another is added.

    Args:
        norm (float): length of the vector that turns, > 0.
        other (float): length of the vector added to it.
        similarity (float): their cosine.

    Returns:
        float: radians; pi when the two nearly cancel and nothing is known.
    """
    if similarity < -0.5:
        return math.pi
    sine = math.sqrt(max(0.0, 1.0 - similarity * similarity) + 2 * MARGIN)
    return math.atan2(other * sine,
                      norm + other * similarity) + ANGLE_MARGIN


@njit(fastmath={'reassoc', 'contract', 'nsz'})
def dot_rows(sums: np.ndarray, i: int, j: int) -> float:
    """Dot product of two rows of ``sums`` (N, C) float64."""
    total = 0.0
    for c in range(sums.shape[1]):
        total += sums[i, c] * sums[j, c]
    return total
