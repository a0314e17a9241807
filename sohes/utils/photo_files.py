"""Which photo a file is: by what is in it, not by its name.

A name alone cannot tell: people replace a photo, and every camera's folder
has an IMG_0001.jpg. All that asks "is this of the same photos?" asks here.
"""
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sohes.utils.errors import FileError

_BLOCK = 1 << 20
#: Files that are read at the same time.
_THREADS = 4


def photo_hash(path: str | os.PathLike) -> str | None:
    """SHA-256 of a photo's bytes in hex; None: it cannot be read."""
    found = hashlib.sha256()
    try:
        # A pipe would block for ever.
        if not os.path.isfile(path):
            return None
        with open(path, 'rb') as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError:
        return None
    return found.hexdigest()


def photo_hashes(folder: str | os.PathLike,
                 names: Iterable[str]) -> Iterator[str | None]:
    """The hash of each photo of a folder, in the order of the names."""
    paths = [os.path.join(folder, name) for name in names]
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(photo_hash, paths)


def photos_digest(folder: str | os.PathLike, names: Iterable[str]) -> str:
    """One hash of the names and contents of photos."""
    names = list(names)
    found = hashlib.sha256()
    for name, each in zip(names, photo_hashes(folder, names)):
        found.update(f'{name}\0{each}\n'.encode('utf-8', 'surrogateescape'))
    return found.hexdigest()


def changed_photo(folder: str | os.PathLike,
                  known: Iterable[tuple[str, str | None]]) -> str | None:
    """The first photo that is not what it was.

    Args:
        folder: of the photos.
        known: names in it, and :func:`photo_hash` of each then.

    Returns:
        A name; None: all are what they were.
    """
    known = list(known)
    now = photo_hashes(folder, (name for name, _ in known))
    for (name, before), each in zip(known, now):
        if each != before:
            return name
    return None


def read_names(path: str | os.PathLike, what: str) -> list[str]:
    """Names of photos from a json list.

    Args:
        path: the json.
        what: the key or the option that says it, for the refusal.

    Raises:
        FileError: it cannot be read, or is no list of names.
    """
    try:
        names = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f'{what}: {path}: {error}') from error
    if not isinstance(names, list) or not all(
            isinstance(name, str) for name in names):
        raise FileError(f'{what}: {path}: expected a json list of names of '
                        f'photos, found {names!r:.60}')
    return names


def spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many, spread over all: their order often means something.
    """
    count = min(len(items), most)
    return [items[k * len(items) // count] for k in range(count)]


def shipped_photos(folder: Path) -> Path:
    """Write four photos that scikit-image ships, without a download.

    Args:
        folder: made if missing; photos that are there stay.

    Returns:
        The folder.
    """
    import skimage.data
    from PIL import Image
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(skimage.data.__file__).parent
    for name in ('astronaut.png', 'coffee.png', 'chelsea.png', 'rocket.jpg'):
        target = folder / name
        if not target.exists():
            Image.open(source / name).convert('RGB').save(target)
    return folder
