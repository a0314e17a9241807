"""Scalar pieces of the merge kernel: similarity and its bounds.

Everything here is compiled and inlined into :mod:`._merge_kernel`. The bounds
are conservative on purpose: a bound that is loose costs one dot product, a
bound that is wrong costs exactness.
"""
import math

import numpy as np

from sohes.utils.compiled import njit

# Upper bound of the rounding error of a cosine of two float64 vectors. The
# error of a dot product of 4096 terms summed in 8 lanes is below 1e-13.
MARGIN = 2e-13

_SPLIT = 134217729.0  # 2 ** 27 + 1, Veltkamp's splitting constant


@njit(forceinline=True)
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


@njit(forceinline=True)
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


@njit(forceinline=True)
def turn_above(norm: float, other: float, total: float,
               similarity: float) -> tuple:
    """By how much at most a vector turns when another is added to it.

    Args:
        norm (float): length of the vector.
        other (float): length of the one added.
        total (float): length of their sum.
        similarity (float): their cosine.

    Returns:
        tuple: cosine and sine of an angle not below the true one; (-1, 0),
        half a turn, where the two nearly cancel and nothing is known.
    """
    along = norm + other * similarity  # the sum's component along the vector
    if along <= 0.0 or total <= 1e-2 * (norm + other):
        return -1.0, 0.0
    sine = math.sqrt(max(0.0, 1.0 - similarity * similarity) + 2 * MARGIN)
    sine = other * sine / total * (1.0 + 1e-12) + MARGIN
    if sine >= 1.0:
        return -1.0, 0.0
    return math.sqrt(1.0 - sine * sine), sine


@njit(forceinline=True)
def turned_above(above: float, cosine_turn: float, sine_turn: float) -> float:
    """Upper bound of a similarity after one of its vectors turned.

    The cosine of (t - turn), where t is the angle whose cosine is `above`:
    the triangle inequality on the sphere, without a trigonometric call.

    Args:
        above (float): upper bound of the similarity before, at most 1.
        cosine_turn (float): cosine of the turn, as `turn_above` gives it.
        sine_turn (float): its sine.

    Returns:
        float: upper bound in [-1, 1].
    """
    if above >= cosine_turn:
        return 1.0
    sine = math.sqrt(max(0.0, 1.0 - above * above))
    return min(1.0, above * cosine_turn + sine * sine_turn + 1e-15)


@njit(fastmath={'reassoc', 'contract', 'nsz'})
def dot_rows(a: np.ndarray, b: np.ndarray) -> float:
    """Dot product of two (C,) float32 or float64 vectors, in float64."""
    total = 0.0
    for c in range(a.size):
        total += np.float64(a[c]) * np.float64(b[c])
    return total


@njit(fastmath={'reassoc', 'contract', 'nsz'})
def add_rows(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> float:
    """Write a + b, (C,) vectors, to float64 out; return its squared length.
    """
    total = 0.0
    for c in range(a.size):
        value = np.float64(a[c]) + np.float64(b[c])
        out[c] = value
        total += value * value
    return total
