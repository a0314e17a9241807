"""Metrics of masks and of forests."""
from sohes.evaluation.mask_metrics import (
    ImageMasks,
    MaskMetrics,
    evaluate_masks,
)

__all__ = ['ImageMasks', 'MaskMetrics', 'evaluate_masks']
