"""Entities: masks, the forest of them, and their json; no mm* here."""
from sohes.structures.entities import Entities
from sohes.structures.entity_forest import EntityForest
from sohes.structures.mask_ops import (
    PackedMasks,
    pairwise_coverage,
    pairwise_intersections,
    pairwise_iou,
)

__all__ = [
    'Entities', 'EntityForest', 'PackedMasks', 'pairwise_coverage',
    'pairwise_intersections', 'pairwise_iou'
]
