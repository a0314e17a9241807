"""A script of tools/ as a person types it, without a new process.

Most of a script's seconds go into importing torch and mmdet. Here they are
imported once for all tests; what the script leaves behind in this process
(variables, working directory, loggers, warnings) is put back.
"""
import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What Python shows of itself, by default, is not shown of libraries.
_HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning,
           ResourceWarning)


def run_tool(name: str, *args: object, cwd: Path | None = None,
             env: Mapping[str, str] | None = None
             ) -> subprocess.CompletedProcess[str]:
    """Run a script in this process.

    Args:
        name: of the script, relative to the root of the checkout.
        *args: its command line.
        cwd: working directory while it runs; default: as it is.
        env: variables that it finds beside those of this process.

    Returns:
        CompletedProcess: as of a process: exit code, stdout and stderr. A
        traceback, which ends a process with 1, is in stderr.
    """
    path = str(ROOT / name)
    command = [path, *map(str, args)]
    out, err = io.StringIO(), io.StringIO()
    with _as_it_was(), _warnings_to(err), contextlib.redirect_stdout(
            out), contextlib.redirect_stderr(err):
        sys.argv = command
        sys.path.insert(0, os.path.dirname(path))
        os.environ.update(env or {})
        os.chdir(cwd or os.getcwd())
        try:
            runpy.run_path(path, run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code
        except Exception:
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(command, code or 0, out.getvalue(),
                                       err.getvalue())


@contextlib.contextmanager
def stages_in_process(
        is_killed: Callable[[list[str]], bool] = lambda command: False
) -> Iterator[None]:
    """Let a script that starts other scripts of ours run them here, too.

    Their workers are forked; see tests/processes.py.

    Args:
        is_killed: whether a command will be killed; it is a process.
    """
    from tests import processes  # Windows cannot fork
    start = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if command[0] != sys.executable or not str(
                command[1]).startswith(f'{ROOT}/tools/'):
            return start(command, **options)
        run_script = processes.run_tool if is_killed(command) else run_tool
        done = run_script(os.path.relpath(command[1], ROOT), *command[2:])
        if options.get('stdout') is None:
            print(done.stdout)
        print(done.stderr, file=sys.stderr)
        return done

    subprocess.run = run
    try:
        with processes.forked_workers():
            yield
    finally:
        subprocess.run = start


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Put back what a script may change for its own process."""
    root = logging.getLogger()
    sohes = logging.getLogger('sohes')
    before = (sys.argv, sys.path[:], dict(os.environ), os.getcwd(),
              root.handlers, root.level, sohes.level)
    # logging.basicConfig does nothing beside other handlers.
    root.handlers = []
    try:
        with mmengine_as_it_was():
            yield
    finally:
        sys.argv, sys.path[:] = before[:2]
        os.environ.clear()
        os.environ.update(before[2])
        os.chdir(before[3])
        root.handlers = before[4]
        root.setLevel(before[5])
        sohes.setLevel(before[6])


@contextlib.contextmanager
def mmengine_as_it_was() -> Iterator[None]:
    """Put back what mmengine keeps one of for a whole process."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer
    kinds = DefaultScope, MessageHub, MMLogger, Visualizer
    before = [kind._instance_dict.copy() for kind in kinds]
    try:
        yield
    finally:
        for kind, content in zip(kinds, before):
            kind._instance_dict = content


@contextlib.contextmanager
def _warnings_to(stream: io.StringIO) -> Iterator[None]:
    """Write warnings as a process does; pytest would keep them."""
    def show(message: Warning | str, category: type[Warning], filename: str,
             lineno: int, file: object = None, line: str | None = None
             ) -> None:
        stream.write(warnings.formatwarning(message, category, filename,
                                            lineno, line))

    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in _HIDDEN:
            warnings.simplefilter('ignore', category)
        warnings.showwarning = show
        yield
