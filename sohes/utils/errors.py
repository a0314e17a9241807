"""What ends a command with one sentence instead of a traceback."""
import errno
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any


class SohesError(ValueError):
    """What a person can mend: what, where and what to do, in one sentence."""
    exit_code = 2


class UsageError(SohesError):
    """A mistake in the command or its configuration."""


class FileError(SohesError):
    """A file whose contents cannot be used: which, where in it, and why."""


class ImageError(SohesError):
    """A file that cannot be used as an image: its path and the reason."""


def renamed(module: str, **names: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``: names of before, which warn.

    Args:
        module: Its ``__name__``.
        **names: Where each old name is now, such as 'sohes.weights.ZOO'.
    """
    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute '
                                 f'{name!r}')
        warnings.warn(f'{module}.{name} is {names[name]} now',
                      DeprecationWarning, stacklevel=2)
        return pkgutil.resolve_name(names[name])

    return find


_NO_MEMORY = ('the memory of this machine is not enough; take smaller images, '
              'a smaller batch or fewer workers')
_ADVICE = {
    errno.ENOSPC: 'the disk is full; make room and give the same command '
                  'again',
    errno.EDQUOT: 'your quota of disk space is used up; make room and give '
                  'the same command again',
    errno.EACCES: 'there is no permission to do that; choose another place, '
                  'or change its permissions',
    errno.EPERM: 'there is no permission to do that; choose another place, '
                 'or change its permissions',
    errno.EROFS: 'the file system can only be read; choose another place',
    errno.ENOTDIR: 'a part of this path is a file and no folder; choose '
                   'another place',
    errno.EISDIR: 'is a folder, where a file was expected; choose another '
                  'name',
    errno.EEXIST: 'exists already and is something else; remove it or choose '
                  'another place',
    errno.ENOENT: 'no such file',
    errno.ENAMETOOLONG: 'the name is too long for this file system; shorten '
                        'it',
    errno.EMFILE: 'too many files are open; raise the limit (ulimit -n) or '
                  'take fewer workers',
    errno.ENFILE: 'too many files are open on this machine; close some',
    errno.EIO: 'the disk cannot be read or written to (I/O error); look '
               'after the device',
    errno.EFBIG: 'the file is larger than this file system or the limit '
                 '(ulimit -f) allows',
    errno.ELOOP: 'this is a link, or links lead in a circle; remove it',
    errno.ENOMEM: _NO_MEMORY,
    errno.ESTALE: 'the network folder went away; mount it again',
}


def os_error_sentence(error: OSError) -> str:
    """An error of the system in plain words: where, what, what to do.

    Args:
        error: with an errno; without one its own text is returned.
    """
    if error.errno is None:
        return str(error) or type(error).__name__
    reason = _ADVICE.get(error.errno) or error.strerror or os.strerror(
        error.errno)
    names = [os.fsdecode(name) for name in (error.filename, error.filename2)
             if isinstance(name, (str, bytes, os.PathLike))]
    return ': '.join([' -> '.join(names), reason] if names else [reason])


def machine_sentence(error: BaseException) -> str | None:
    """What the machine, and no mistake in the program, has stopped.

    Returns:
        One sentence; None: it is something else.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return os_error_sentence(cause)
        if isinstance(cause, MemoryError):
            return _NO_MEMORY
        if type(cause).__name__ == 'OutOfMemoryError':  # torch.cuda's
            return ('the memory of the GPU is not enough; take smaller '
                    'images or a smaller batch')
        text = str(cause)
        if isinstance(cause, BrokenProcessPool) or (
                'DataLoader worker' in text and 'exited' in text
                or 'killed by signal' in text):
            return ('a worker process was killed, most often by the system '
                    'when memory runs out; take fewer workers and give the '
                    'same command again')
        # torch hides the errno of a write that failed.
        if isinstance(cause, RuntimeError) and 'Reader' not in text and (
                'inline_container' in text or 'iostream error' in text):
            return ('a file could not be written, most often because the '
                    'disk is full; make room and give the same command again')
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__)


@contextmanager
def said_in_a_sentence() -> Iterator[None]:
    """Turn what a person can mend into a UsageError.

    Raises:
        UsageError: for a ValueError, an OSError or an ImportError within.
    """
    try:
        yield
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(os_error_sentence(error)) from error
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error


def print_any_name() -> None:
    """Let names that the terminal cannot show be printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
