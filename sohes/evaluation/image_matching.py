"""Finds the images of a predictions' file in the ground truth."""
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sohes.utils.errors import FileError, renamed

__getattr__ = renamed(
    __name__, InputError='sohes.utils.errors.FileError')


def match_results(path: str | Path, results: list[dict],
                  rows: dict[Any, dict]) -> dict[Any, dict]:
    """Images of a list of COCO results, by id.

    Args:
        path: The file, for messages.
        results: Its rows.
        rows: Images of the ground truth by id.

    Returns:
        ``rows``.

    Raises:
        FileError: An id is unknown: without names a list cannot say which
            image it means.
    """
    unknown = {}
    for number, result in enumerate(results):
        found = result.get('image_id')
        if not isinstance(found, (int, str)) or found not in rows:
            unknown.setdefault(repr(found), number)
    if unknown:
        raise FileError(
            f'{path}: image ids that the ground truth does not have: '
            f'{some(unknown)}, first in result {min(unknown.values())} '
            f'(from 0); the ground truth has {some(map(repr, rows))}')
    return rows


def match_images(path: str | Path, images: list[dict],
                 rows: dict[Any, dict]) -> dict[Any, dict | None]:
    """Images of a COCO dataset, by name where all have one, else by id.

    Args:
        path: The file, for messages.
        images: Its images, with distinct ids.
        rows: Images of the ground truth by id.

    Returns:
        For each id in ``images`` the image of the ground truth, None where
        it has none.

    Raises:
        FileError: Two images are the same, a name could be several, a size
            differs, or no image at all is in the ground truth.
    """
    named = all(i.get('file_name') for i in (*images, *rows.values()))
    finder = _NameFinder(rows.values()) if named else None
    targets: dict[Any, dict | None] = {}
    taken: dict[Any, dict] = {}
    for image in images:
        row = finder.find(image) if finder else rows.get(image['id'])
        targets[image['id']] = row
        if row is None:
            continue
        if row['id'] in taken:
            raise FileError(
                f'{path}: {image_name(image)} and '
                f'{image_name(taken[row["id"]])} are both image '
                f'{image_name(row)} of the ground truth')
        taken[row['id']] = image
        size = tuple(image.get(key, row[key]) for key in ('height', 'width'))
        if size != (row['height'], row['width']):
            raise FileError(other_size(f'{path}: image {image_name(image)}',
                                       size, row))
    if images and not taken:
        raise FileError(
            f'{path}: no image is in the ground truth: it has '
            f'{some(map(image_name, images))}, the ground truth '
            f'{some(map(image_name, rows.values()))}')
    return targets


class _NameFinder:
    """Images of the ground truth by file name."""

    def __init__(self, rows: Iterable[dict]) -> None:
        self.by_path: dict[tuple[str, ...], dict] = {}
        self.by_base: dict[str, list[dict]] = {}
        for row in rows:
            parts = _parts(row['file_name'])
            if parts in self.by_path:
                raise FileError('the ground truth has two images named '
                                f'{image_name(row)}')
            self.by_path[parts] = row
            self.by_base.setdefault(parts[-1], []).append(row)

    def find(self, image: dict) -> dict | None:
        """The image of that path, or the only one whose path ends alike."""
        parts = _parts(image['file_name'])
        if parts in self.by_path:
            return self.by_path[parts]
        found = []
        for row in self.by_base.get(parts[-1], []):
            others = _parts(row['file_name'])
            shared = min(len(parts), len(others))
            if parts[-shared:] == others[-shared:]:
                found.append(row)
        if len(found) > 1:
            raise FileError(
                f'{image_name(image)} could be any of '
                f'{some(map(image_name, found))} in the ground truth')
        return found[0] if found else None


def _parts(name: str) -> tuple[str, ...]:
    """A file name's folders and base, alike on every system."""
    name = unicodedata.normalize('NFC', name).replace('\\', '/')
    return PurePosixPath(name).parts or (name, )


def other_size(where: str, size: Sequence[int], row: dict) -> str:
    """The message for a (height, width) that is not the ground truth's."""
    height, width = size
    # What the file has there may be of any type and length.
    found, wanted = (
        ' x '.join(f'{side!s:.50}' for side in sides)
        for sides in ((width, height), (row['width'], row['height'])))
    return f'{where} is {found} pixels, in the ground truth {wanted}'


def image_name(image: dict) -> str:
    """What to call an image in a message."""
    return f'{image.get("file_name") or image.get("id")!r:.200}'


def some(names: Iterable[Any], most: int = 5) -> str:
    """A few names, and how many more."""
    names = sorted(f'{name!s:.200}' for name in names)
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
