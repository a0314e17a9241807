"""SOHES: self-supervised open-world hierarchical entity segmentation.

Only the version lives here, so that ``import sohes`` stays light; mmengine
imports ``sohes.registry`` by itself when a config names the scope ``sohes``.
"""
from sohes.version import __version__

__all__ = ['__version__']
