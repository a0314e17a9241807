"""Finding a Python that runs, not one that is merely on the PATH."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from _bootstrap.process import SetupError

# venv without ensurepip is what Debian ships before python3-venv is there.
_PROBE = ('import sys, venv, ensurepip; '
          'print("%d.%d" % sys.version_info[:2], sys.executable)')


def probe(python: str) -> tuple[str, str] | None:
    """Run a Python that could make an environment.

    Args:
        python: a path or a name on the PATH.

    Returns:
        ('3.11', absolute path of the program), or None when it does not
        run (a pyenv shim without its version) or has no venv module.
    """
    try:
        done = subprocess.run([python, '-c', _PROBE],
                              check=False,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL,
                              timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.decode(errors='replace').strip().split(' ', 1)
    if done.returncode or len(words) != 2:
        return None
    return words[0], words[1]


def _candidates(versions: tuple[str, ...]) -> Iterator[str]:
    """Where a Python of these versions may be, most likely first."""
    yield sys.executable
    for version in versions:
        yield f'python{version}'
    yield 'python3'
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    for version in versions:
        folders = sorted((pyenv / 'versions').glob(f'{version}*'))
        for folder in reversed(folders):
            yield str(folder / 'bin' / 'python')
    uv = shutil.which('uv')
    for version in versions if uv else ():
        done = subprocess.run([uv, 'python', 'find', '--no-project', version],
                              check=False,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            yield done.stdout.decode().strip()


def find_python(versions: tuple[str, ...], asked: str | None) -> str:
    """A Python of one of these versions.

    Args:
        versions: for example ('3.11', '3.12', '3.10'), best first.
        asked: the user's choice, a path or a name; no other is tried.

    Returns:
        The absolute path of its program.

    Raises:
        SetupError: there is none, or the one asked for does not do.
    """
    if asked:
        found = probe(asked)
        if found is None:
            raise SetupError(
                f'{asked} does not run, or has no venv module '
                '(Debian and Ubuntu: apt install python3-venv).')
        if found[0] not in versions:
            raise SetupError(f'{asked} is Python {found[0]}; this stack '
                             f'needs {" or ".join(sorted(versions))}.')
        return found[1]
    for candidate in _candidates(versions):
        found = probe(candidate)
        if found is not None and found[0] in versions:
            return found[1]
    raise SetupError(
        f'No Python {" or ".join(sorted(versions))} with the venv module '
        'runs here. Install one (Debian and Ubuntu: apt install python3 '
        'python3-venv python3-dev; or pyenv, or uv python install '
        f'{versions[0]}) or name one: make ... PYTHON=/path/to/python')
