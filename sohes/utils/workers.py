"""Processes that do work beside this one."""
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any


class _Here(Executor):
    """Does at once what it is given, in this process."""

    def submit(self, work: Callable, /, *args: Any) -> Future:
        future = Future()
        try:
            future.set_result(work(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def worker_pool(count: int, niceness: int = 0) -> Iterator[Executor]:
    """Processes of one thread each; after an error they begin nothing more.

    They are spawned, not forked: a fork of one that runs OpenMP hangs.

    Args:
        count: of processes; with 0 this one does the work.
        niceness: how much they stand back behind other processes, 0 to 19.
    """
    if count == 0:
        yield _Here()
        return
    with ProcessPoolExecutor(count, multiprocessing.get_context('spawn'),
                             _quiet_worker, (niceness, )) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def says_which(name: str, what: str) -> Iterator[None]:
    """Name the photo in an error that comes without it.

    Args:
        name: of the photo.
        what: was done with it.
    """
    try:
        yield
    except (OSError, MemoryError, BrokenProcessPool):
        raise  # the machine's fault, not the photo's
    except Exception as error:
        raise RuntimeError(f'{name}: {what} failed: {error!r}') from error


def _quiet_worker(niceness: int) -> None:
    """One thread a worker, Ctrl-C left to the parent, and no life without it.

    A pool's workers hold both ends of the pipe they wait at, so nothing tells
    them that their parent was killed.
    """
    import signal
    import sys
    import threading

    import cv2
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, 'nice'):
        os.nice(niceness)
    cv2.setNumThreads(1)
    # For CascadePSP's torch, whether it is here already or comes later.
    os.environ['OMP_NUM_THREADS'] = '1'
    if 'torch' in sys.modules:
        sys.modules['torch'].set_num_threads(1)


def _end_with_the_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
