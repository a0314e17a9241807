"""Datasets and their transforms.

The types come from :mod:`sohes.datasets.registered`, which wants mmdet. It is
imported at the first of them, so that labels can be read and browsed through
:mod:`sohes.datasets.entity_index` where mmdet is not installed.
"""
import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """A type of ``registered``, by its name here."""
    if name.startswith('_'):
        raise AttributeError(name)
    registered = importlib.import_module('sohes.datasets.registered')
    try:
        return getattr(registered, name)
    except AttributeError as error:
        raise AttributeError(
            f'sohes.datasets has no {name!r}') from error
