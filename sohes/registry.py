"""The registries of scope ``sohes``.

Every one is a child of mmengine's root registry: a child of mmdet's would be
invisible to mmseg and mmpretrain. mmengine imports this module when a config
first names the scope; ``locations`` are imported when a type is looked up.
"""
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

from sohes.utils.versions import check_versions

check_versions()

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='sohes',
    locations=['sohes.models'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='sohes',
    locations=['sohes.datasets'])
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='sohes',
    locations=['sohes.datasets.transforms'])
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='sohes',
    locations=['sohes.evaluation'])
VISUALIZERS = Registry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    scope='sohes',
    locations=['sohes.visualization'])

__all__ = ['DATASETS', 'METRICS', 'MODELS', 'TRANSFORMS', 'VISUALIZERS']
