"""What a person calls: label, train, test, publish, infer."""
import importlib
from typing import TYPE_CHECKING, Any

from sohes.apis.generate import UsageError, generate
from sohes.apis.photo_entities import label_image
from sohes.utils.imports import import_quietly
from sohes.utils.versions import check_versions

if TYPE_CHECKING:
    from sohes.apis.entity_inferencer import EntityInferencer
    from sohes.apis.publish import publish_model
    from sohes.apis.training import test_model, train_model

__all__ = ['EntityInferencer', 'UsageError', 'generate', 'label_image',
           'publish_model', 'test_model', 'train_model']
# Imported when asked for: Phase 1 needs no mmdet.
_LATE = dict(
    EntityInferencer='entity_inferencer', publish_model='publish',
    test_model='training', train_model='training')


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    check_versions('mmcv', 'mmdet')
    module = f'{__name__}.{_LATE[name]}'
    import_quietly('mmdet.datasets')
    import_quietly(module)  # mmdet's inferencer imports its metrics
    return getattr(importlib.import_module(module), name)
