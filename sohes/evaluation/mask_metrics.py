"""Class-agnostic average recall and precision of masks, as COCO counts them.

pycocotools is the definition and does the counting, but for one loop: its
matching of predictions to ground truth is plain Python, nine tenths of the
time at 150 masks an image. Here that loop is compiled and compares the same
numbers in the same order, so every result is equal to the last bit.
"""
import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from pycocotools.cocoeval import COCOeval

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


@dataclass(frozen=True)
class MaskMetrics:
    """What :func:`evaluate_masks` counts.

    The five rates are in [0, 1], means over the IoU thresholds 0.5, 0.55 to
    0.95; None when the ground truth has no mask in that range.

    Attributes:
        ar: Average recall of the ``max_dets`` best predictions an image.
        ar_small: The same for ground truth up to 32^2 pixels.
        ar_medium: From 32^2 to 96^2.
        ar_large: From 96^2.
        ap: Average precision over 101 recalls, with the same predictions.
        masks_per_image: Predictions an image, before ``max_dets``.
        max_dets: Predictions an image that count, the best first.
    """
    ar: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    ap: float | None
    masks_per_image: float
    max_dets: int

    def percentages(self) -> dict[str, float | None]:
        """The columns of the paper's tables: rates in percent, and masks."""
        rates = {
            f'AR@{self.max_dets}': self.ar,
            'AR_S': self.ar_small,
            'AR_M': self.ar_medium,
            'AR_L': self.ar_large,
            'AP': self.ap,
        }
        return {
            'masks/image': self.masks_per_image,
            **{name: rate if rate is None else 100 * rate
               for name, rate in rates.items()}
        }


def evaluate_masks(images: Sequence[ImageMasks],
                   max_dets: int = 1000) -> MaskMetrics:
    """Evaluates predicted masks without regard to classes.

    Args:
        images: Every image of the ground truth, those without a mask or
            without a prediction too. Their order breaks ties between equal
            scores for the precision; pycocotools sorts by image id.
        max_dets: Predictions an image that count, at least 1.

    Returns:
        The metrics (paper, section 4 and appendix B).

    Raises:
        ValueError: No image, or ``max_dets`` under 1.
    """
    if not images:
        raise ValueError('no image to evaluate on')
    if max_dets < 1:
        raise ValueError(f'max_dets must be at least 1, got {max_dets}')
    evaluator = _MaskEval(images, max_dets)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
    # (IoUs, recalls, classes, areas, max_dets) and without recalls; read
    # here because pycocotools' own summary knows only 1, 10 and 100.
    precision = evaluator.eval['precision'][:, :, :, 0, 0]
    recall = evaluator.eval['recall'][:, :, :, 0]
    return MaskMetrics(
        *(_mean(recall[:, :, area]) for area in range(len(AREA_RANGES))),
        ap=_mean(precision),
        masks_per_image=sum(len(i.rles) for i in images) / len(images),
        max_dets=max_dets)


def _mean(values: np.ndarray) -> float | None:
    """Mean of what pycocotools could count; it marks the rest with -1."""
    values = values[values > -1]
    return float(np.mean(values)) if values.size else None


class _MaskEval(COCOeval):
    """pycocotools on :class:`ImageMasks`, with the matching compiled."""

    def __init__(self, images: Sequence[ImageMasks], max_dets: int) -> None:
        super().__init__(iouType='segm')
        self.images = images
        self.params.imgIds = list(range(len(images)))
        self.params.catIds = [1]
        self.params.maxDets = [max_dets]
        self.params.areaRng = [list(r) for r in AREA_RANGES.values()]
        self.params.areaRngLbl = list(AREA_RANGES)

    def _prepare(self) -> None:
        """Fills what pycocotools' IoU reads."""
        for number, image in enumerate(self.images):
            self._gts[number, 1] = [
                {'segmentation': rle, 'iscrowd': int(crowd)}
                for rle, crowd in zip(image.gt_rles, image.gt_crowd)
            ]
            self._dts[number, 1] = [
                {'segmentation': rle, 'score': score}
                for rle, score in zip(image.rles, image.scores)
            ]

    def evaluateImg(self, imgId: int, catId: int, aRng: list[float],
                    maxDet: int) -> dict | None:
        """Matches one image in one area range; named as pycocotools calls."""
        image = self.images[imgId]
        if not image.gt_rles and not image.rles:
            return None
        gt_areas = np.asarray(image.gt_areas, np.float64)
        crowd = np.asarray(image.gt_crowd, bool)
        ignore = crowd | (gt_areas < aRng[0]) | (gt_areas > aRng[1])
        scores = np.asarray(image.scores, np.float64)
        best = np.argsort(-scores, kind='mergesort')[:maxDet]
        # Ignored ground truth last: a prediction takes it only if none else.
        order = np.argsort(ignore, kind='mergesort')
        ignore, crowd = ignore[order], crowd[order]
        ious = np.zeros((len(best), len(order)))
        if ious.size:
            ious[:] = self.ious[imgId, catId][:, order]
        matches = _match(ious, np.asarray(self.params.iouThrs), ignore, crowd)
        areas = np.asarray(image.areas, np.float64)[best]
        outside = (areas < aRng[0]) | (areas > aRng[1])
        # The last entry is what -1, unmatched, looks up.
        swallowed = np.append(ignore, False)[matches]
        return {
            'dtScores': scores[best],
            'dtMatches': matches >= 0,
            'dtIgnore': swallowed | ((matches < 0) & outside),
            'gtIgnore': ignore,
        }


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
                if taken[g] and not crowd[g]:
                    continue
                if best >= 0 and not ignore[best] and ignore[g]:
                    break
                # Not below: of equal IoUs the later ground truth wins.
                if ious[d, g] >= best_iou:
                    best, best_iou = g, ious[d, g]
            if best >= 0:
                matches[t, d] = best
                taken[best] = True
    return matches
