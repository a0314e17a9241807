"""Matches the predicted masks of one image to its ground truth, as COCO does.

pycocotools is the definition. Its matching is plain Python, nine tenths of
the time at 1000 masks an image; here the same loop is compiled and compares
the same numbers in the same order. What is kept of an image is a few
kilobytes, so a test set's masks never have to be in memory together.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pycocotools import mask as coco_mask

from sohes.structures import Entities
from sohes.utils.compiled import njit

#: IoU 0.5, 0.55 to 0.95, in pycocotools' own words: the same doubles.
IOU_THRESHOLDS = np.linspace(
    .5, 0.95, int(np.round((0.95 - .5) / .05)) + 1, endpoint=True)
#: COCO's area ranges in pixels of the ground truth, both ends included.
AREA_RANGES = {
    'all': (0, 1e5**2),
    'small': (0, 32**2),
    'medium': (32**2, 96**2),
    'large': (96**2, 1e5**2),
}


@dataclass
class ImageMasks:
    """Ground truth and predictions of one image; all masks of its size.

    Attributes:
        gt_rles: G compressed COCO RLEs.
        gt_areas: G areas in pixels, as annotated: they choose the range.
        gt_crowd: G flags; a crowd region counts for nothing, and what it
            swallows counts for nothing either.
        rles: D compressed COCO RLEs.
        scores: D scores, any finite scale; higher is better.
        areas: D areas in pixels.
    """
    gt_rles: list[dict] = field(default_factory=list)
    gt_areas: list[float] = field(default_factory=list)
    gt_crowd: list[bool] = field(default_factory=list)
    rles: list[dict] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)

    def with_predictions(self, found: Entities) -> 'ImageMasks':
        """The same ground truth beside these predictions."""
        return replace(self, rles=found.rles, scores=found.scores.tolist(),
                       areas=found.areas().tolist())


@dataclass(frozen=True)
class ImageMatches:
    """What the metrics need to know of one image.

    With T thresholds of IoU, A area ranges, K limits on the number of
    predictions and D predictions within the highest limit.

    Attributes:
        scores: (D,) float64, falling.
        right: (T, ceil(D / 8)) uint8, bits: matched to a mask that counts.
        wrong: The same: matched to nothing, where that counts.
        hits: (A, K, T) int64, masks of the ground truth that are found.
        positives: (A,) int64, masks of the ground truth that count.
        predictions: All that there were, before the limit.
    """
    scores: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    hits: np.ndarray
    positives: np.ndarray
    predictions: int

    def bits(self, name: str, threshold: int) -> np.ndarray:
        """``right`` or ``wrong`` at one threshold's index, (D,) bool."""
        return np.unpackbits(
            getattr(self, name)[threshold], count=len(self.scores)).view(bool)


def detection_limits(max_dets: int) -> tuple[int, ...]:
    """The numbers of predictions that recall is given at: 1, 10, 100, ...

    Args:
        max_dets: The highest.

    Raises:
        ValueError: It is under 1.
    """
    if max_dets < 1:
        raise ValueError(f'max_dets must be at least 1, got {max_dets}')
    return (*(k for k in (1, 10, 100) if k < max_dets), max_dets)


def match_image(image: ImageMasks, limits: Sequence[int]) -> ImageMatches:
    """Matches one image in every area range.

    Args:
        image: Its masks; scores must be finite.
        limits: From :func:`detection_limits`.

    Returns:
        The matches.
    """
    scores = np.asarray(image.scores, np.float64)
    best = np.argsort(-scores, kind='mergesort')[:limits[-1]]
    gt_areas = np.asarray(image.gt_areas, np.float64)
    areas = np.asarray(image.areas, np.float64)[best]
    crowd = np.asarray(image.gt_crowd, bool)
    ious = np.zeros((len(best), len(crowd)))
    if ious.size:
        ious[:] = coco_mask.iou([image.rles[i] for i in best], image.gt_rles,
                                crowd.astype(int).tolist())
    hits = np.zeros((len(AREA_RANGES), len(limits), len(IOU_THRESHOLDS)),
                    np.int64)
    positives = np.zeros(len(AREA_RANGES), np.int64)
    packed = []
    for number, (least, most) in enumerate(AREA_RANGES.values()):
        ignore = crowd | (gt_areas < least) | (gt_areas > most)
        # Ignored ground truth last: a prediction takes it only if none else.
        order = np.argsort(ignore, kind='mergesort')
        matches = _match(np.ascontiguousarray(ious[:, order]),
                         IOU_THRESHOLDS, ignore[order], crowd[order])
        # The last entry is what -1, unmatched, looks up.
        right = np.append(~ignore[order], False)[matches]
        hits[number] = [right[:, :k].sum(axis=1) for k in limits]
        positives[number] = (~ignore).sum()
        if not number:  # precision is of all sizes together
            outside = (areas < least) | (areas > most)
            wrong = (matches < 0) & ~outside
            packed = [np.packbits(bits, axis=1) for bits in (right, wrong)]
    return ImageMatches(scores[best], *packed, hits, positives,
                        len(image.rles))


@njit(cache=True, nogil=True)
def _match(ious: np.ndarray, thresholds: np.ndarray, ignore: np.ndarray,
           crowd: np.ndarray) -> np.ndarray:
    """COCO's greedy matching: the best prediction chooses first.

    Args:
        ious: (D, G) IoU, predictions by falling score, ignored ground truth
            last.
        thresholds: (T,) IoU thresholds.
        ignore: (G,) bool, crowds and masks outside the area range.
        crowd: (G,) bool, may be matched many times.

    Returns:
        (T, D) int64, the ground truth of each prediction, -1 for none.
    """
    matches = np.full((len(thresholds), len(ious)), -1, np.int64)
    for t, threshold in enumerate(thresholds):
        taken = np.zeros(len(ignore), np.bool_)
        for d in range(len(ious)):
            best, best_iou = -1, min(threshold, 1 - 1e-10)
            for g in range(len(ignore)):
                # Not below: of equal IoUs the later ground truth wins.
                if ious[d, g] < best_iou:
                    continue
                if taken[g] and not crowd[g]:
                    continue
                if best >= 0 and not ignore[best] and ignore[g]:
                    break
                best, best_iou = g, ious[d, g]
            if best >= 0:
                matches[t, d] = best
                taken[best] = True
    return matches
