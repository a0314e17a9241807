"""A virtual environment that survives being interrupted at any moment."""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _bootstrap.process import SetupError, run, say

_ROOT = Path(__file__).resolve().parents[2]


class Environment:
    """The environment, and a record of the steps finished in it.

    A step is recorded by a stamp, written when it has succeeded, that holds
    a hash of what it installs. While packages change, a file ``changing``
    lies beside the stamps: an installer killed in its work leaves packages
    that look installed and are not, so an environment found with that file
    is emptied and made again (downloads stay in the installer's cache).

    Args:
        path: the environment's folder.
        stack: 'onedl' or 'openmmlab', part of what a stamp means.
    """

    def __init__(self, path: Path, stack: str) -> None:
        self.path = path
        self.stack = stack
        self.python = path / 'bin' / 'python'
        self.records = path / '.sohes'
        self.log = self.records / 'setup.log'
        self.lock: int | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the environment, waiting for whoever has it.

        Raises:
            SetupError: the folder is somebody else's environment.
        """
        if self.path.is_dir() and not self.records.is_dir() and any(
                self.path.iterdir()):
            raise SetupError(
                f'{self.path} was not made by this program and is left '
                'alone. Move it away, or name another: make ... VENV=DIR')
        self.records.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(self.records / 'lock', os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say('Waiting for another set-up of this environment to end')
                fcntl.flock(self.lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(self.lock)
            self.lock = None

    def key(self, *texts: str) -> str:
        """A hash of what a step installs, and where."""
        # An environment that was moved or copied has dead paths in it.
        parts = (str(_ROOT), str(self.path), self.stack, *texts)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def recorded(self, step: str) -> str | None:
        """The hash that a finished step left, None if it did not finish."""
        try:
            return (self.records / f'{step}.stamp').read_text()
        except OSError:
            return None

    def record(self, step: str, key: str) -> None:
        """Note that a step has finished; whole or not at all."""
        draft = self.records / f'{step}.stamp.part'
        with open(draft, 'w') as stream:
            stream.write(key)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, self.records / f'{step}.stamp')

    def is_broken(self) -> bool:
        """Whether an installer was killed here, or its Python is gone."""
        if (self.records / 'changing').exists():
            return True
        if self.recorded('venv') is None:
            return False
        try:
            return subprocess.run([str(self.python), '-c', ''],
                                  check=False,
                                  stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode != 0
        except OSError:
            return True

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Packages are being changed; see the class."""
        flag = self.records / 'changing'
        flag.touch()
        yield
        flag.unlink()

    def empty(self) -> None:
        """Remove all but the log and the lock."""
        kept = (self.log.name, 'lock')
        # Stamps first: a kill in the middle must not leave them.
        for entry in self.records.iterdir():
            if entry.name not in (*kept, 'changing'):
                entry.unlink()
        for entry in self.path.iterdir():
            if entry == self.records:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        (self.records / 'changing').unlink(missing_ok=True)

    def create(self, python: str, constraints: Path) -> None:
        """Make it with this Python, and put uv into it.

        Raises:
            CommandError: the venv module failed, or uv cannot be had.
        """
        self.empty()
        self.run([python, '-m', 'venv', str(self.path)], 'making it')
        self.run([
            str(self.python), '-m', 'pip', 'install',
            '--disable-pip-version-check', '-c',
            str(constraints), 'uv'
        ], 'installing uv')

    def run(self, command: list[str], what: str, advice: str = '',
            env: dict[str, str] | None = None) -> None:
        """Run with this environment's log and lock; see `process.run`."""
        run(command, self.log, what, advice, env, self.lock)

    def install(self, arguments: list[str], what: str, advice: str = '',
                env: dict[str, str] | None = None) -> None:
        """Install packages.

        Args:
            arguments: of ``uv pip install``.
            what: see `process.run`.
            advice: see `process.run`.
            env: see `process.run`.

        Raises:
            CommandError: the installer failed.
        """
        self._uv('install', arguments, what, advice, {
            **_install_settings(),
            **(env or {})
        })

    def uninstall(self, distribution: str) -> None:
        """Remove a distribution if it is there."""
        self._uv('uninstall', [distribution], f'removing {distribution}')

    def _uv(self, action: str, arguments: list[str], *settings: Any) -> None:
        """Change packages; the settings are those of `run`."""
        with self.changing():
            self.run([
                str(self.path / 'bin' / 'uv'), 'pip', action, '--python',
                str(self.python), *arguments
            ], *settings)


def _install_settings() -> dict[str, str]:
    """No debug symbols; and what the user told pip, told to uv too.

    uv reads no setting of pip's.
    """
    settings = {
        'UV_HTTP_TIMEOUT': os.environ.get('UV_HTTP_TIMEOUT', '180'),
        'CFLAGS': os.environ.get('CFLAGS', '-g0'),
    }
    for ours, theirs in (('UV_DEFAULT_INDEX', 'PIP_INDEX_URL'),
                         ('UV_INDEX', 'PIP_EXTRA_INDEX_URL')):
        if os.environ.get(theirs) and not os.environ.get(ours):
            settings[ours] = os.environ[theirs]
    links = os.environ.get('PIP_FIND_LINKS', '').split()
    if links and not os.environ.get('UV_FIND_LINKS'):
        settings['UV_FIND_LINKS'] = ','.join(links)
    return settings
