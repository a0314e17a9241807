"""The registries of scope ``sohes``.

Every one is a child of mmengine's root registry: a child of mmdet's would be
invisible to mmseg and mmpretrain. mmengine imports this module when a config
first names the scope; ``locations`` are imported when a type is looked up.
"""
import sys
from importlib.util import find_spec

from sohes.utils.versions import SUPPORTED, check_versions

# mmseg's users bring it with them; the rooms look at what they import.
check_versions('torch', 'mmengine', *SUPPORTED.keys() & sys.modules.keys())

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

# The backbones serve mmseg and mmpretrain users, who may have no mmdet.
_NEED_MMDET = ('dense_heads', 'detectors', 'roi_heads')
_MODEL_ROOMS = ('backbones', *(_NEED_MMDET if find_spec('mmdet') else ()))

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='sohes',
    locations=[f'sohes.models.{room}' for room in _MODEL_ROOMS])
TASK_UTILS = Registry(
    'task util',
    parent=MMENGINE_TASK_UTILS,
    scope='sohes',
    locations=['sohes.models.roi_heads'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='sohes',
    locations=['sohes.datasets.registered'])
DATA_SAMPLERS = Registry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    scope='sohes',
    locations=['sohes.datasets.registered'])
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='sohes',
    locations=['sohes.datasets.registered'])
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='sohes',
    # Not the room: who counts masks without a model needs no mmengine.
    locations=[
        'sohes.evaluation.entity_metric', 'sohes.evaluation.forest_metric'
    ])
VISUALIZERS = Registry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    scope='sohes',
    # Not the room: Phase 1 draws without mmengine's visualizer.
    locations=['sohes.visualization.forest_visualizer'])
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='sohes',
    locations=[
        'sohes.engine.hooks',
        *(['sohes.engine.hooks.teacher_hook'] if find_spec('mmdet') else ())
    ])
OPTIMIZERS = Registry(
    'optimizer',
    parent=MMENGINE_OPTIMIZERS,
    scope='sohes',
    locations=['sohes.engine.optimizers'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='sohes',
    locations=['sohes.engine.optimizers'])

__all__ = [
    'DATASETS', 'DATA_SAMPLERS', 'HOOKS', 'METRICS', 'MODELS', 'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS', 'TASK_UTILS', 'TRANSFORMS', 'VISUALIZERS'
]
