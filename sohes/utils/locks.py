"""One run at a time on an output."""
import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from sohes.utils.errors import UsageError, said_in_a_sentence
from sohes.utils.files import fitting_name

_LOG = logging.getLogger('sohes')
#: Held by this process, to which its own lock would be no obstacle.
_HELD: set[str] = set()


@contextmanager
def sole_run(output: str | os.PathLike,
             inside: bool = False) -> Iterator[None]:
    """Let one process at a time write an output.

    The lock is a hidden file beside or in the output. The system lets go of
    it when its owner ends, however that ends; children do not inherit it, so
    a loader that outlives a killed run for a moment does not hold it.

    Args:
        output: a file or a folder; the folder above it must exist.
        inside: it is a folder, which exists, and the lock is in it.

    Raises:
        UsageError: another process holds the lock.
        OSError: the folder cannot be written to.
    """
    output = Path(output).absolute()
    path = output / '.lock' if inside else output.with_name(
        fitting_name(f'.{output.name}', '.lock'))
    if fcntl is None:
        yield
        return
    key = str(path.parent.resolve() / path.name)
    if key in _HELD:
        raise _busy(output, 'this process')
    handle = _acquire(path, output)
    _HELD.add(key)
    try:
        yield
    finally:
        _HELD.discard(key)
        # While it is held: who waits for this file sees that it is gone.
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def sole_command(folder: str | os.PathLike) -> Iterator[None]:
    """:func:`sole_run` of a folder that is made, for all of its processes.

    The first process holds the lock. The others are started by the same
    launcher, which ends them if it does not get it.

    Raises:
        UsageError: another command writes there, or nothing can be written.
    """
    if any(os.environ.get(name, '0') != '0' for name in
           ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')):
        yield
        return
    lock = ExitStack()
    with said_in_a_sentence():
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock.enter_context(sole_run(folder, inside=True))
    with lock:
        yield


def _acquire(path: Path, output: Path) -> int:
    """An open file that is locked, and stands under its name."""
    while True:
        # A lock that is a link came with somebody else's folder; what it
        # leads to would be emptied.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(handle, 200, 0).decode('utf-8', 'replace')
            os.close(handle)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                # Some network file systems have no locks.
                _LOG.warning('%s: no lock (%s); do not start the same '
                             'command twice', output, error.strerror)
                return os.open(os.devnull, os.O_RDONLY)
            raise _busy(output, owner.strip() or 'another process') from None
        try:
            same = os.path.samestat(os.fstat(handle), os.stat(path))
        except FileNotFoundError:
            same = False
        if same:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f'process {os.getpid()} on '
                      f'{socket.gethostname()}\n'.encode(), 0)
            return handle
        os.close(handle)


def _busy(output: Path, owner: str) -> UsageError:
    return UsageError(f'{output} is being written by another run ({owner}); '
                      'wait for it, or choose another output')
