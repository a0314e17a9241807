"""Sphinx: `make docs` builds build/docs/index.html.

The pages reference.md and configs.md are written here, from the docstrings of
the registered types and of the configurations, so that they cannot go stale.
"""
import ast
import inspect
import itertools
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from sohes.version import __version__

project = 'SOHES'
author = 'The SOHES contributors'
copyright = '2026, ' + author
release = version = __version__

extensions = [
    'myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon',
    'sphinx.ext.viewcode', 'sphinx_copybutton'
]
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3
html_theme = 'sphinx_book_theme'
html_title = 'SOHES'
html_theme_options = dict(show_toc_level=2, home_page_in_toc=True,
                          navbar_persistent=[])
# Typed and untyped docstrings look the same.
autodoc_typehints = 'none'
napoleon_use_rtype = False
napoleon_use_ivar = True
exclude_patterns = ['_build']
# What our classes inherit from other packages has docstrings of its own.
autodoc_inherit_docstrings = False
suppress_warnings = ['myst.header']


def registered() -> dict[str, dict[str, type]]:
    """Types of scope sohes by registry."""
    from sohes import registry
    found = {}
    for name, value in vars(registry).items():
        if isinstance(value, registry.Registry) and value.scope == 'sohes':
            value.import_from_location()
            own = {
                key: kind for key, kind in sorted(value.module_dict.items())
                if kind.__module__.startswith('sohes.')
            }
            if own:
                found[name] = own
    return found


def write_reference() -> str:
    """Every type that a configuration can name, with its arguments."""
    lines = ['# Reference: types in configurations', '',
             'Written as `sohes.NAME` in a configuration. Generated from the '
             'docstrings.', '']
    for registry, kinds in registered().items():
        lines += [f'## {registry}', '']
        for name, kind in kinds.items():
            what = 'class' if inspect.isclass(kind) else 'function'
            lines += [f'### {name}', '', '```{eval-rst}',
                      f'.. auto{what}:: {kind.__module__}.{kind.__name__}',
                      '```', '']
    lines += ['## Python', '', '```{eval-rst}',
              '.. autoclass:: sohes.apis.EntityInferencer',
              '   :members: __call__, find',
              '.. autofunction:: sohes.apis.label_image',
              '.. autofunction:: sohes.apis.generate',
              '.. autofunction:: sohes.pseudo_labels.pipeline.explore',
              '.. autofunction:: sohes.pseudo_labels.cluster_features',
              '.. autoclass:: sohes.pseudo_labels.MergeTree',
              '   :members:',
              '.. autoclass:: sohes.structures.Entities',
              '   :members:',
              '.. autoclass:: sohes.structures.EntityForest',
              '   :members:', '```', '']
    return '\n'.join(lines)


def write_configs() -> str:
    """Every configuration with what its docstring says."""
    lines = ['# Reference: configurations', '',
             'Generated from the docstrings; each file comments its keys.',
             '']
    files = sorted((path.parent.relative_to(ROOT).as_posix(), path)
                   for path in (ROOT / 'configs').rglob('*.py')
                   if '_base_' not in path.parts)
    for folder, group in itertools.groupby(files, lambda pair: pair[0]):
        lines += [f'## {folder}/', '']
        for _, path in group:
            text = ast.get_docstring(ast.parse(path.read_text())) or ''
            lines += [f'### {path.name}', '', '```text', text, '```', '']
    return '\n'.join(lines)


def write_pages(app: Any) -> None:
    for name, text in (('reference', write_reference()),
                       ('configs', write_configs())):
        path = DOCS / f'{name}.md'
        # Unchanged it is not read again.
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def setup(app: Any) -> None:
    app.connect('builder-inited', write_pages)
