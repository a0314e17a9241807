"""Which keys of a configuration count: what to say about those that do not."""
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_MOST = 12  # keys in a sentence


def dotted_keys(node: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Every key below a node, as ``--cfg-options`` takes it, and its value.

    Args:
        node: a configuration or a part of it.
        prefix: of the node itself, with a dot at the end.
    """
    if isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    else:
        return
    for key, value in items:
        yield f'{prefix}{key}', value
        yield from dotted_keys(value, f'{prefix}{key}.')


def keys_of_variable(config: Mapping[str, Any], text: str, name: str,
                     read: Iterable[str]) -> list[str]:
    """Where a variable of a configuration's file has gone.

    A file is a program: ``max_iters = 9`` followed by
    ``train_cfg=dict(max_iters=max_iters)``. Its text says under which names
    the variable is used, its result where these are.

    Args:
        config: the result.
        text: of the file and those that it inherits.
        name: of the variable.
        read: keys of the first level that somebody reads.

    Returns:
        Dotted keys with the variable's value.
    """
    used = re.findall(
        rf'(\w+)\s*=\s*(?:_base_\.)?{re.escape(name)}\b(?!\s*[.\[(=])', text)
    return [
        key for key, value in dotted_keys(
            {top: config[top] for top in read if top in config})
        if key.split('.')[-1] in used and value == config[name]
    ]


def refusal(key: str, config: Mapping[str, Any], text: str,
            read: Iterable[str]) -> str:
    """The sentence about an override that nobody would read.

    Args:
        key: dotted; its first part is not in ``read``.
        config: the configuration, without the override.
        text: see :func:`keys_of_variable`.
        read: keys of the first level that somebody reads.
    """
    top, _, rest = key.partition('.')
    if top in config:
        found = keys_of_variable(config, text, top, read)
        advice = (f'; give {_listed(found, rest)} instead' if found else
                  ', and nothing that is read has its value')
        return (f'{top!r} is a variable of the configuration file, read only '
                f'while that is parsed{advice}')
    return f'the configuration has no key {top!r}{hint(top, config, read)}'


def hint(name: str, config: Mapping[str, Any], read: Iterable[str]) -> str:
    """'; is it ...?' for an unknown key of the first level, or nothing."""
    read = set(read)
    found = [
        key for key, _ in dotted_keys(
            {top: config[top] for top in config if top in read})
        if key.split('.')[-1] == name
    ] or difflib.get_close_matches(name, read, n=3)
    return f'; is it {_listed(found, "", "or")}?' if found else ''


def _listed(keys: list[str], rest: str, word: str = 'and') -> str:
    """'a, b and c', each with what follows the variable."""
    keys = [f'{key}.{rest}' if rest else key for key in keys]
    if len(keys) > _MOST:
        keys = [*keys[:_MOST], 'others']
    if len(keys) == 1:
        return keys[0]
    return f'{", ".join(keys[:-1])} {word} {keys[-1]}'
