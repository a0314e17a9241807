"""Step 1: merge patches into regions at falling thresholds (section 3.1)."""
from collections.abc import Sequence

import numpy as np

from sohes.pseudo_labels.merge_tree import MergeTree

# The paper's six (appendix A), for keys of DINO's ViT-B/8.
PAPER_THRESHOLDS = (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


def check_thresholds(thresholds: Sequence[float]) -> np.ndarray:
    """Return thresholds as float64 (T,), or say what is wrong.

    Raises:
        ValueError: if there is none, one is not a number in [-1, 1], or they
            do not fall strictly.
    """
    values = np.atleast_1d(np.asarray(thresholds, np.float64))
    if values.ndim != 1 or values.size == 0:
        raise ValueError('thresholds must be a non-empty sequence of numbers, '
                         f'found {thresholds!r}')
    if not np.all(np.abs(values) <= 1):
        raise ValueError('thresholds are cosine similarities in [-1, 1], '
                         f'found {values.tolist()}')
    if not np.all(np.diff(values) < 0):
        raise ValueError('thresholds must fall strictly, found '
                         f'{values.tolist()}')
    return values


def cluster_features(
        features: np.ndarray,
        thresholds: Sequence[float] = PAPER_THRESHOLDS) -> np.ndarray:
    """Cluster a grid of patch features at several thresholds in one run.

    The pair of 4-neighbours with the highest cosine similarity merges, again
    and again; the merged feature is the area-weighted mean, the smaller id is
    kept, ties go to the smaller pair of ids. The partition of a threshold is
    what stands before the first maximum below it (section 3.1, step 1).
    Exact and deterministic: feature sums are float64, one thread.

    Args:
        features (np.ndarray): (H, W, C) float32, finite. A zero vector has
            similarity 0 to all.
        thresholds (Sequence[float]): T cosine similarities in [-1, 1],
            strictly falling. Defaults to the paper's six.

    Returns:
        np.ndarray: (T, H, W) int32 region ids; a region's id is the smallest
        index ``row * W + column`` of its patches.

    Raises:
        ValueError: if features are not (H, W, C), empty or not finite, or
            thresholds do not fall.
    """
    thresholds = check_thresholds(thresholds)
    tree = MergeTree.from_features(features)
    return np.stack([tree.partition(t) for t in thresholds])
