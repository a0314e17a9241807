"""Transforms for the pipelines of OpenMMLab."""
from sohes.datasets.transforms.branches import OrderedMultiBranch
from sohes.datasets.transforms.clustering import ClusterPseudoLabels
from sohes.datasets.transforms.copy_paste import EntityCopyPaste
from sohes.datasets.transforms.feature_maps import LoadFeatureMap
from sohes.datasets.transforms.formatting import PackEntityInputs
from sohes.datasets.transforms.hassod_copy_paste import HassodCopyPaste
from sohes.datasets.transforms.loading import LoadEntities, LoadEntityImage
from sohes.datasets.transforms.resizing import EntityResize

__all__ = [
    'ClusterPseudoLabels', 'EntityCopyPaste', 'EntityResize',
    'HassodCopyPaste', 'LoadEntities', 'LoadEntityImage', 'LoadFeatureMap',
    'OrderedMultiBranch', 'PackEntityInputs'
]
