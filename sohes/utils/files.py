"""Files that appear whole or not at all."""
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

#: Bytes that file systems allow a name.
NAME_BYTES = 255


def fitting_name(name: str, ending: str = '', room: int = 0) -> str:
    """``name + ending``, shortened where a file could not be named so.

    What is cut off goes into a few digits of a hash, so two long names stay
    two.

    Args:
        name: without folders.
        ending: stays whole.
        room: bytes to leave free.
    """
    most = NAME_BYTES - room - len(os.fsencode(ending))
    raw = os.fsencode(name)
    if len(raw) <= most:
        return name + ending
    mark = f'~{hashlib.sha256(raw).hexdigest()[:8]}'
    # Not surrogateescape: a character cut in two would be no text.
    start = raw[:most - len(mark)].decode('utf-8', 'ignore')
    return start + mark + ending


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete.

    Drafts of this file that killed processes of this machine left behind are
    removed.

    Args:
        path (Path): where it will stand. Its folder must exist.
        binary (bool): for bytes instead of UTF-8 text.

    Yields:
        IO: to write to.

    Raises:
        OSError: with the path, where the folder cannot be written to or the
            disk is full.
    """
    path = Path(path)
    draft = None
    try:
        if path.is_dir():  # else the error came after all the work
            raise IsADirectoryError(21, 'Is a directory', str(path))
        handle, draft = tempfile.mkstemp(
            prefix=draft_prefix(path), dir=path.parent)
        text = {} if binary else dict(encoding='utf-8', newline='\n')
        with open(handle, 'wb' if binary else 'w', **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o666 & ~_umask())
        os.replace(draft, path)
    except BaseException as error:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)
        # Writing to an open file names none.
        if isinstance(error, OSError) and error.filename in (None, draft):
            error.filename = str(path)
        raise


def draft_prefix(path: Path) -> str:
    """How the name of a draft of a file or folder begins.

    Drafts of it that killed processes of this machine left are removed.
    """
    start = f'.{fitting_name(path.name, room=60)}.{_machine()}-'
    _remove_drafts(path.parent, start)
    return f'{start}{os.getpid()}-'


def _machine() -> str:
    """Tells machines that share a folder apart."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _remove_drafts(folder: Path, start: str) -> None:
    """Remove drafts whose process has ended."""
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.startswith(start)]
    for entry in found:
        pid = entry.name.removeprefix(start).split('-')[0]
        if not pid.isdigit() or _is_alive(int(pid)):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another's
        pass
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
