"""Datasets and their transforms; importing this registers them all."""
from sohes.utils.imports import import_quietly
from sohes.utils.versions import check_versions

check_versions('mmcv', 'mmdet')
import_quietly('mmdet.datasets')

from sohes.datasets.entity_dataset import EntityDataset
from sohes.datasets.entity_index import EntityIndex
from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.image_folder import ImageFolderDataset
from sohes.datasets.samplers import ResumableSampler
from sohes.datasets.transforms import (
    ClusterPseudoLabels,
    EntityCopyPaste,
    LoadEntities,
    LoadEntityImage,
    OrderedMultiBranch,
    PackEntityInputs,
)
from sohes.datasets.two_streams import TwoStreamDataset

__all__ = [
    'ClusterPseudoLabels', 'EntityCopyPaste', 'EntityDataset', 'EntityIndex',
    'EntityMasks', 'ImageFolderDataset', 'LoadEntities', 'LoadEntityImage',
    'OrderedMultiBranch', 'PackEntityInputs', 'ResumableSampler',
    'TwoStreamDataset'
]
