"""Segmenters."""
from sohes.models.detectors.entity_mask2former import EntityMask2Former

__all__ = ['EntityMask2Former']
