"""Which of many overlapping masks to keep, when only so many may stay."""
import numpy as np
from numpy.typing import NDArray

#: The IoUs between which a match gains in COCO's average recall, whose
#: thresholds are 0.5, 0.55, ..., 0.95: each is worth a tenth.
_LOW, _HIGH = 0.45, 0.95


def expected_recall(iou: NDArray[np.floating], scores: NDArray[np.floating],
                    count: int) -> NDArray[np.int64]:
    """Chooses the masks that together should match the most entities.

    Each candidate is taken for an entity with probability ``scores ** 2``,
    and an entity is found as well as the best chosen mask fits it, counted
    as COCO's average recall counts. The sum of this over the candidates is
    submodular, so that choosing the greatest gain again and again comes
    within 1 - 1/e of the best choice (Nemhauser et al. 1978). A cluster of
    similar masks sends its middle first; the surest masks alone would all
    come from a few such clusters. Ours.

    Args:
        iou: (N, N), of the candidates with each other.
        scores: (N,) in [0, 1].
        count: So many at most.

    Returns:
        Indices of the chosen, the greatest gain first.
    """
    worth = np.clip((iou - _LOW) / (_HIGH - _LOW), 0, 1).astype(np.float32)
    np.fill_diagonal(worth, 1)
    weight = np.square(scores, dtype=np.float32)
    found = np.zeros(len(worth), np.float32)
    gain = worth @ weight
    chosen = np.empty(min(count, len(worth)), np.int64)
    for k in range(len(chosen)):
        best = chosen[k] = gain.argmax()
        better = np.flatnonzero(worth[best] > found)
        before, after = found[better], worth[best, better]
        found[better] = after
        # What the others would have gained there, and no longer do.
        columns = worth[:, better]
        gain -= (np.maximum(columns, before) - np.maximum(columns, after) +
                 (after - before)) @ weight[better]
        gain[best] = -np.inf
    return chosen


def falling(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The nearest values that never rise, by pooling adjacent violators.

    Args:
        values: (N,).

    Returns:
        (N,), with the least sum of squared changes.
    """
    means: list[float] = []
    sizes: list[int] = []
    for value in values:
        mean, size = float(value), 1
        while means and means[-1] < mean:
            before, many = means.pop(), sizes.pop()
            mean = (mean * size + before * many) / (size + many)
            size += many
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes)
