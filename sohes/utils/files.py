"""Files that appear whole or not at all."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete.

    Args:
        path (Path): where it will stand. Its folder must exist.
        binary (bool): for bytes instead of UTF-8 text.

    Yields:
        IO: to write to.
    """
    handle, draft = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
    try:
        text = {} if binary else dict(encoding='utf-8', newline='\n')
        with open(handle, 'wb' if binary else 'w', **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o666 & ~_umask())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
