"""The merging rule of section 3.1, as plainly as it can be written.

No heap, no bounds: every step looks at all edges. Slow, and the judge of the
compiled kernel.
"""
from fractions import Fraction

import numpy as np


def _grid_neighbours(height: int, width: int) -> dict[int, set[int]]:
    near = {r: set() for r in range(height * width)}
    for r in near:
        for x, inside in ((r + 1, (r + 1) % width), (r + width, 1)):
            if inside and x < height * width:
                near[r].add(x)
                near[x].add(r)
    return near


def merge_all_edges(features: np.ndarray, similarity) -> list:
    """Merge (H, W, C) features to one region.

    Args:
        similarity (callable): of two feature sums; any ordered type.

    Returns:
        list: (kept, absorbed, similarity) of each merge.
    """
    height, width, _ = features.shape
    sums = list(features.reshape(height * width, -1))
    near = _grid_neighbours(height, width)
    edges = {(a, b): similarity(sums[a], sums[b])
             for a in near for b in near[a] if a < b}
    merges = []
    while edges:
        most = max(edges.values())
        kept, absorbed = min(e for e, s in edges.items() if s == most)
        merges.append((kept, absorbed, most))
        sums[kept] = sums[kept] + sums[absorbed]
        for x in near.pop(absorbed):
            near[x].discard(absorbed)
            del edges[min(x, absorbed), max(x, absorbed)]
            if x != kept:
                near[x].add(kept)
                near[kept].add(x)
        for x in near[kept]:
            edges[min(x, kept), max(x, kept)] = similarity(
                sums[kept], sums[x])
    return merges


def float_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine in float64; a zero vector is similar to nothing."""
    norms = float(a @ a) * float(b @ b)
    return float(a @ b) / norms**0.5 if norms > 0 else 0.0


def exact_order(a: np.ndarray, b: np.ndarray) -> Fraction:
    """Cosine times its absolute value, a rational number: exact ties.

    The vectors are of Python integers (dtype object).
    """
    norms = int(a @ a) * int(b @ b)
    dot = int(a @ b)
    return Fraction(dot * abs(dot), norms) if norms else Fraction(0)


def partitions(merges: list, shape: tuple, thresholds: list,
               similarities: list) -> np.ndarray:
    """(T, H, W) region ids before the first maximum below each threshold."""
    out = []
    for threshold in thresholds:
        label = np.arange(shape[0] * shape[1])
        for (kept, absorbed, _), s in zip(merges, similarities):
            if s < threshold:
                break
            label[label == absorbed] = kept
        out.append(label.reshape(shape))
    return np.stack(out)
