"""Imports that say nothing."""
import contextlib
import importlib
import io
from contextlib import AbstractContextManager


def nothing_printed() -> AbstractContextManager:
    """Inside, nothing that is imported prints.

    OneDL's mmdet and mmpretrain say that a package of their maker is not
    there, which nobody misses, to the standard output that a command's result
    goes to. mmengine imports both when it looks a type up; an import before
    that is the one that would print.
    """
    return contextlib.redirect_stdout(io.StringIO())


def import_quietly(name: str) -> None:
    """Import a module, such as ``mmpretrain.models``, as above."""
    with nothing_printed():
        importlib.import_module(name)
