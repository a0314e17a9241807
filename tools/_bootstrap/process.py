"""Running installers: output to a log, a sign of life on the terminal."""
from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

TAIL_LINES = 15
_PROGRESS = re.compile(rb'\[(\d+)/(\d+)\]')


class SetupError(Exception):
    """Set-up cannot go on; the text says what to do about it."""


class CommandError(SetupError):
    """A command failed; its last lines are in the text."""


def say(text: str) -> None:
    """One line about what happens now, on the terminal at once."""
    print(f'[setup] {text}', flush=True)


def minutes(seconds: float) -> str:
    """A duration as people say it: '40 s', '3 min 20 s'."""
    whole = int(round(seconds))
    if whole < 60:
        return f'{whole} s'
    return f'{whole // 60} min {whole % 60} s'


def _die_with_parent() -> None:
    """In the child: be killed when the parent is, where Linux offers it.

    An installer that outlives a killed set-up would still be writing into
    the environment while the next set-up looks at it.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _progress(log: Path) -> str:
    """The last '[12/140]' that ninja wrote, as ', 12 of 140 files'."""
    with open(log, 'rb') as stream:
        stream.seek(max(0, log.stat().st_size - 20000))
        found = _PROGRESS.findall(stream.read())
    if not found:
        return ''
    return f', {int(found[-1][0])} of {int(found[-1][1])} files'


def _wait(process: subprocess.Popen, log: Path, what: str,
          heartbeat: float) -> int:
    """Wait for the process with a line every ``heartbeat`` seconds."""
    start = time.monotonic()
    while True:
        try:
            return process.wait(timeout=heartbeat)
        except subprocess.TimeoutExpired:
            spent = minutes(time.monotonic() - start)
            say(f'  still {what}, {spent} so far{_progress(log)}')
        except BaseException:
            process.kill()
            process.wait()
            raise


def run(command: list[str],
        log: Path,
        what: str,
        advice: str = '',
        env: dict[str, str] | None = None,
        lock: int | None = None,
        heartbeat: float = 60.0) -> None:
    """Run a command with its output in the log.

    Args:
        command: program and arguments.
        log: file that the output is appended to.
        what: what it is doing, as in 'still downloading'.
        advice: a sentence for the user in case it fails.
        env: variables on top of the present ones.
        lock: descriptor of the set-up's lock; the child holds it too, so
            that nobody else starts while an orphan still writes.
        heartbeat: seconds between signs of life.

    Raises:
        CommandError: it failed; with the end of its output and the advice.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'ab') as stream:
        stream.write(f'\n$ {" ".join(command)}\n'.encode())
        stream.flush()
        start = stream.tell()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **(env or {})
                },
                pass_fds=() if lock is None else (lock, ),
                preexec_fn=(_die_with_parent
                            if sys.platform.startswith('linux') else None))
        except OSError as error:
            raise CommandError(f'{command[0]} does not start: {error}. '
                               f'{advice}') from error
        code = _wait(process, log, what, heartbeat)
    if code:
        raise CommandError(_failure(log, start, what, code, advice))


def _failure(log: Path, start: int, what: str, code: int, advice: str) -> str:
    """What the user reads when a command failed."""
    with open(log, 'rb') as stream:
        stream.seek(start)
        text = stream.read().decode(errors='replace')
    tail = [f'    {line}' for line in text.splitlines()[-TAIL_LINES:]]
    return '\n'.join([
        f'{what} failed (exit code {code}); its last lines:', *tail,
        f'All of it is in {log}.', advice or
        'Running the same command again continues where this stopped.'
    ])
