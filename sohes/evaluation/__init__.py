"""Metrics of masks and of forests."""
from sohes.evaluation.mask_matching import ImageMasks
from sohes.evaluation.mask_metrics import (
    MaskMetrics,
    evaluate_masks,
)

__all__ = ['ImageMasks', 'MaskMetrics', 'evaluate_masks']
