"""Imports that say nothing."""
import contextlib
import importlib
import io


def import_quietly(name: str) -> None:
    """Import a module that prints while it is imported.

    OneDL's mmdet and mmpretrain say that a package of their maker is not
    there, which nobody misses, to the standard output that a command's result
    goes to. mmengine imports both when a type is looked up; an import before
    that is the one that would print.

    Args:
        name: the module's full name, such as ``mmpretrain.models``.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(name)
