"""Datasets and their transforms; importing this registers them all."""
from sohes.datasets.entity_dataset import EntityDataset
from sohes.datasets.entity_index import EntityIndex
from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.samplers import ResumableSampler
from sohes.datasets.transforms import (
    ClusterPseudoLabels,
    EntityCopyPaste,
    LoadEntities,
    LoadEntityImage,
    PackEntityInputs,
)

__all__ = [
    'ClusterPseudoLabels', 'EntityCopyPaste', 'EntityDataset', 'EntityIndex',
    'EntityMasks', 'LoadEntities', 'LoadEntityImage', 'PackEntityInputs',
    'ResumableSampler'
]
