"""The forest of entities and the masks that it stands on; no mm* here."""
from sohes.structures.entity_forest import EntityForest
from sohes.structures.mask_ops import (
    PackedMasks,
    pairwise_coverage,
    pairwise_intersections,
    pairwise_iou,
)

__all__ = [
    'EntityForest', 'PackedMasks', 'pairwise_coverage',
    'pairwise_intersections', 'pairwise_iou'
]
