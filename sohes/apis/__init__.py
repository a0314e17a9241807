"""What a person calls: a folder in, labels out; a photo in, entities out."""
from typing import TYPE_CHECKING, Any

from sohes.apis.generate import UsageError, generate
from sohes.utils.imports import import_quietly
from sohes.utils.versions import check_versions

if TYPE_CHECKING:
    from sohes.apis.entity_inferencer import EntityInferencer

__all__ = ['EntityInferencer', 'UsageError', 'generate']


def __getattr__(name: str) -> Any:
    # Imported when asked for: Phase 1 needs no mmdet.
    if name == 'EntityInferencer':
        check_versions('mmcv', 'mmdet')
        import_quietly('mmdet.datasets')
        from sohes.apis.entity_inferencer import EntityInferencer
        return EntityInferencer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
