"""Class-agnostic average recall and precision of masks, as COCO counts them.

Every figure is equal to pycocotools' to the last bit. pycocotools' own
summary stops at 100 predictions an image; the paper's tables have 1000.
"""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sohes.evaluation.mask_matching import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    ImageMasks,
    ImageMatches,
    detection_limits,
    match_image,
)

#: COCO's 101 recalls at which precision is read: 0, 0.01 to 1.
RECALLS = np.linspace(.0, 1.00, int(np.round((1.00 - .0) / .01)) + 1,
                      endpoint=True)


@dataclass(frozen=True)
class MaskMetrics:
    """What :func:`evaluate_masks` counts.

    Rates are in [0, 1], means over the IoU thresholds 0.5, 0.55 to 0.95
    where no threshold is said; None when the ground truth has no mask in
    that range.

    Attributes:
        ar_at: Average recall by the number of best predictions an image
            that count: 1, 10, 100 and ``max_dets``.
        ar_small: At ``max_dets``, for ground truth up to 32^2 pixels.
        ar_medium: From 32^2 to 96^2.
        ar_large: From 96^2.
        ap_at: Average precision over 101 recalls, with the best 100 and with
            the best ``max_dets`` predictions an image.
        ap50: At IoU 0.5 alone, with ``max_dets``.
        ap75: At IoU 0.75 alone.
        recalls: Recall at ``max_dets`` by IoU threshold; None for none.
        masks_per_image: Predictions an image, before ``max_dets``.
        max_dets: Predictions an image that count, the best first.
    """
    ar_at: dict[int, float | None]
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    ap_at: dict[int, float | None]
    ap50: float | None
    ap75: float | None
    recalls: dict[float, float | None]
    masks_per_image: float
    max_dets: int

    @property
    def ar(self) -> float | None:
        """Average recall at ``max_dets``, the paper's main figure."""
        return self.ar_at[self.max_dets]

    @property
    def ap(self) -> float | None:
        """Average precision at ``max_dets``."""
        return self.ap_at[self.max_dets]

    def percentages(self) -> dict[str, float | None]:
        """All of it by name: rates in percent, and masks an image."""
        rates = {
            f'AR@{self.max_dets}': self.ar,
            'AR_S': self.ar_small,
            'AR_M': self.ar_medium,
            'AR_L': self.ar_large,
            f'AP@{self.max_dets}': self.ap,
            **{f'AP@{k}': value for k, value in self.ap_at.items()},
            'AP50': self.ap50,
            'AP75': self.ap75,
            **{f'AR@{k}': value for k, value in self.ar_at.items()},
            **{f'R@{iou:.2f}': value for iou, value in self.recalls.items()},
        }
        return {
            'masks/image': self.masks_per_image,
            **{name: rate if rate is None else 100 * rate
               for name, rate in rates.items()}
        }


def evaluate_masks(images: Iterable[ImageMasks],
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
    limits = detection_limits(max_dets)
    return summarize([match_image(image, limits) for image in images],
                     max_dets)


def summarize(images: Sequence[ImageMatches],
              max_dets: int = 1000) -> MaskMetrics:
    """Sums up images that are matched already.

    Args:
        images: Of :func:`match_image` with the limits of ``max_dets``, in
            the order of :func:`evaluate_masks`.
        max_dets: Predictions an image that count.

    Returns:
        The metrics.

    Raises:
        ValueError: No image.
    """
    if not images:
        raise ValueError('no image to evaluate on')
    limits = detection_limits(max_dets)
    positives = sum(image.positives for image in images)
    hits = sum(image.hits for image in images)
    # (A, K, T); a range without ground truth has no recall.
    recall = np.where(positives[:, None, None] > 0,
                      hits / np.maximum(positives, 1)[:, None, None], -1)
    precision = {
        k: _precision(images, k, int(positives[0]))
        for k in sorted({min(100, max_dets), max_dets})
    }
    at = precision[max_dets]
    return MaskMetrics(
        {k: _mean(recall[0, number]) for number, k in enumerate(limits)},
        *(_mean(recall[area, -1]) for area in range(1, len(AREA_RANGES))),
        ap_at={k: _mean(values) for k, values in precision.items()},
        ap50=_mean(at[0]),
        ap75=_mean(at[5]),
        recalls={
            float(iou): _mean(recall[0, -1, t:t + 1])
            for t, iou in enumerate(IOU_THRESHOLDS)
        },
        masks_per_image=sum(i.predictions for i in images) / len(images),
        max_dets=max_dets)


def _precision(images: Sequence[ImageMatches], limit: int,
               positives: int) -> np.ndarray:
    """(T, 101) precision at each recall, -1 if there is no ground truth."""
    found = np.zeros((len(IOU_THRESHOLDS), len(RECALLS)))
    if not positives:
        return found - 1
    scores = np.concatenate([image.scores[:limit] for image in images])
    order = np.argsort(-scores, kind='mergesort')
    # One threshold at a time: the sums are as long as all predictions.
    for t, row in enumerate(found):
        right, wrong = (np.cumsum(
            np.concatenate([image.bits(name, t)[:limit]
                            for image in images])[order],
            dtype=np.float64) for name in ('right', 'wrong'))
        precision = right / (wrong + right + np.spacing(1))
        # At a recall counts the best precision at it or at a higher one.
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(right / positives, RECALLS, side='left')
        reached = at < len(precision)
        row[reached] = precision[at[reached]]
    return found


def _mean(values: np.ndarray) -> float | None:
    """Mean of what could be counted; -1 marks the rest, as in pycocotools."""
    values = values[values > -1]
    return float(np.mean(values)) if values.size else None
