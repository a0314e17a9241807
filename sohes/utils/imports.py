"""Imports that say nothing."""
import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def nothing_printed() -> Iterator[None]:
    """Inside, nothing that is imported prints.

    OneDL's mmdet and mmpretrain say that a package of their maker is not
    there, which nobody misses, to the standard output that a command's result
    goes to. mmengine imports both when it looks a type up; an import before
    that is the one that would print. mmdet also warns that a package for
    metrics of its own is missing; ours are others.
    """
    with contextlib.redirect_stdout(io.StringIO()), \
            warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
        yield


def import_quietly(name: str) -> None:
    """Import a module, such as ``mmpretrain.models``, as above."""
    with nothing_printed():
        importlib.import_module(name)


def import_datasets() -> None:
    """Import what registers mmdet's and mmpretrain's datasets, as above."""
    for package in ('mmdet', 'mmpretrain'):
        import_quietly(f'{package}.datasets')
