"""Imports that say nothing."""
import contextlib
import importlib
import io


def import_quietly(name: str) -> None:
    """Import a module that prints while it is imported.

    OneDL's mmdet says twice that a package of its maker is not there, which
    nobody misses, to the standard output that a command's result goes to.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(name)
