"""Processes that begin where the imports end.

A Python takes seconds to import torch and mmdet. A test that needs a process,
because it kills one or has two of them, is about what comes after that. So
its processes are forked from one that has imported everything, and done
nothing else; it starts when it is first needed.
"""
import contextlib
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.context import (
    BaseContext,
    ForkServerContext,
    ForkServerProcess,
)
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class _Process(ForkServerProcess):
    """One that finds the variables of who starts it, not of the server."""

    def start(self) -> None:
        self._variables = dict(os.environ)
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._variables)
        super().run()


class _Context(ForkServerContext):
    """What multiprocessing.get_context() answers with."""
    Process = _Process


CONTEXT = _Context()
CONTEXT.set_forkserver_preload([
    'torch.distributed', 'mmdet.apis', 'mmengine.runner', 'runpy',
    'sohes.apis.training', 'sohes.experiments.zero_shot',
    'sohes.apis.generate', 'tests.toy_run'])


class Started:
    """A script that runs as a process of its own.

    Args:
        name: of the script, relative to the root of the checkout or whole.
        *args: its command line.
        **variables: of its environment, beside those of this process.
    """

    def __init__(self, name: str | Path, *args: object,
                 **variables: str) -> None:
        self.words = [str(ROOT / name), *map(str, args)]
        self._folder = tempfile.TemporaryDirectory()
        path = [str(ROOT), os.environ.get('PYTHONPATH', '')]
        variables['PYTHONPATH'] = os.pathsep.join(filter(None, path))
        self.process = CONTEXT.Process(
            target=_main, args=(self.words, self._folder.name, variables))
        self.process.start()

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and kill it when that takes too long.

        Args:
            timeout: seconds.

        Returns:
            CompletedProcess: exit code, stdout and stderr.
        """
        self.process.join(timeout)
        return self.kill()

    def kill(self) -> subprocess.CompletedProcess[str]:
        """End it by SIGKILL, where it has not ended."""
        self.process.kill()
        self.process.join()
        out, err = (Path(self._folder.name, name).read_text()
                    for name in ('out', 'err'))
        return subprocess.CompletedProcess(
            self.words, self.process.exitcode, out, err)


def run_tool(name: str | Path, *args: object, **variables: str
             ) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own; see :class:`Started`."""
    return Started(name, *args, **variables).wait()


def run_ranks(count: int, name: str, *args: object
              ) -> list[subprocess.CompletedProcess[str]]:
    """Run a script in several processes that find each other.

    They get the variables that torchrun gives its own. One that fails ends
    the others.

    Args:
        count: of processes.
        name: of the script, relative to the root of the checkout.
        *args: its command line, without ``--launcher``.

    Returns:
        list: of each rank.
    """
    port = free_port()
    ranks = [Started(name, *args, '--launcher', 'pytorch', RANK=str(rank),
                     LOCAL_RANK=str(rank), WORLD_SIZE=str(count),
                     LOCAL_WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1',
                     MASTER_PORT=port) for rank in range(count)]
    running = {rank.process.sentinel: rank.process for rank in ranks}
    while running:
        for sentinel in wait(list(running), 300) or list(running):
            process = running.pop(sentinel)
            process.join(0)
            if process.exitcode != 0:
                for other in running.values():
                    other.kill()
    return [rank.wait() for rank in ranks]


@contextlib.contextmanager
def forked_workers() -> Iterator[None]:
    """What asks for spawned processes gets forked ones, of the server."""
    ask = multiprocessing.get_context

    def answer(method: str | None = None) -> BaseContext:
        return CONTEXT if method == 'spawn' else ask(method)

    multiprocessing.get_context = answer
    try:
        yield
    finally:
        multiprocessing.get_context = ask


def free_port() -> str:
    """Of this machine, for processes that meet."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return str(found.getsockname()[1])


def _main(words: list[str], folder: str, variables: dict[str, str]) -> None:
    """In the process: what an interpreter sets before a script runs."""
    for number, name in ((1, 'out'), (2, 'err')):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT),
                number)
    os.environ.update(variables)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name='__main__')
