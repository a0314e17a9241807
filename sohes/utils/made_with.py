"""Whether an output is of this run: what it was made with, what is wanted."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sohes.utils.errors import UsageError
from sohes.utils.files import whole_file
from sohes.utils.json_guard import JsonGuard

#: Differences that a sentence names.
_NAMED = 5


def read_settings(path: Path) -> dict[str, Any] | None:
    """The settings in a file; None: there is no such json object."""
    try:
        if not path.is_file():  # a pipe would block
            return None
        text = path.read_bytes()
        JsonGuard().feed(text)
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings, whole or not at all."""
    with whole_file(path) as file:
        json.dump(settings, file, indent=1)


def check_settings(what: str, found: Any, wanted: Any, advice: str) -> None:
    """Refuse to go on with what was made with other settings.

    Args:
        what: the output and a verb, such as 'a.json was made with'.
        found: its settings, as json has them.
        wanted: those of this run.
        advice: what to do.

    Raises:
        UsageError: they differ; it names the first differences.
    """
    changed = _differences(found, wanted)
    if changed:
        more = (f', and {len(changed) - _NAMED} more'
                if len(changed) > _NAMED else '')
        raise UsageError(f'{what} other settings: '
                         f'{"; ".join(changed[:_NAMED])}{more}; {advice}')


def _differences(found: Any, wanted: Any, where: str = '') -> list[str]:
    """Where two json values differ, each as 'key: found a, now b'."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            text for key in sorted({*found, *wanted})
            for text in _differences(
                found.get(key), wanted.get(key),
                f'{where}.{key}' if where else key)
        ]
    if found == wanted:
        return []
    return [f'{where}: found {found!r:.100}, now {wanted!r:.100}']
