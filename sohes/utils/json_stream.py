"""A COCO json read piece by piece, whatever its size."""
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ijson

from sohes.utils.errors import FileError, renamed
from sohes.utils.json_guard import GuardedFile
from sohes.utils.json_rows import skip_bom

__getattr__ = renamed(
    __name__, EntityIndexError='sohes.utils.errors.FileError')

#: Bytes read at a time.
BLOCK = 1 << 18
#: What goes wrong while a json is read.
_FAULTS = (ijson.JSONError, UnicodeDecodeError, FileError)


def stream_images(path: Path,
                  more: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Read the images of a COCO json.

    Where they come first, as they do in most, the rest is not read.

    Args:
        path: the json.
        more: other keys of an image to read.

    Yields:
        For each image those of ``id``, ``file_name``, ``height``, ``width``
        and ``more`` that it has.

    Raises:
        FileError: not json, cut short, or no list of images.
    """
    keys = ('id', 'file_name', 'height', 'width', *more)
    wanted = {f'images.item.{key}': key for key in keys}
    image: dict[str, Any] | None = None
    with open(path, 'rb') as file:
        skip_bom(file)
        events = ijson.parse(GuardedFile(file), use_float=True,
                             buf_size=BLOCK)
        for prefix, event, value in _guard(events, path):
            if prefix in wanted and image is not None:
                image[wanted[prefix]] = value
            elif prefix == 'images.item' and event == 'start_map':
                image = {}
            elif prefix == 'images.item' and event == 'end_map':
                yield image or {}
                image = None
            elif prefix == 'images.item' and event != 'map_key':
                raise FileError(
                    f'{path}: an image must be an object, found '
                    f'{value if value is not None else event!r:.80}')
            elif prefix == 'images' and event == 'end_array':
                return
    raise _no_list(path, 'images')


def stream_annotations(
    path: Path,
    on_block: Callable[[], None] | None = None
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Read the annotations and, beside them, the categories.

    Args:
        path: the json.
        on_block: called after every ``BLOCK`` bytes, to show progress.

    Yields:
        A block of annotations, and of categories, in the file's order;
        either may be empty.

    Raises:
        FileError: not json, cut short, or no list of annotations.
    """
    found = ijson.sendable_list(), ijson.sendable_list()
    parsers = [
        ijson.items_coro(target, prefix, use_float=True)
        for target, prefix in zip(found, ('annotations.item',
                                          'categories.item'))
    ]
    count = 0
    with open(path, 'rb') as opened:
        skip_bom(opened)
        file = GuardedFile(opened)
        while True:
            try:
                block = file.read(BLOCK)
                for parser in parsers:
                    if block:
                        parser.send(block)
                    else:
                        parser.close()
            except _FAULTS as error:
                raise _broken(path, error) from error
            if block and on_block is not None:
                on_block()
            count += len(found[0])
            if found[0] or found[1]:
                yield list(found[0]), list(found[1])
                for target in found:
                    target.clear()
            if not block:
                break
    if count == 0:
        _require_list(path, 'annotations')


def _require_list(path: Path, key: str) -> None:
    """Tell an empty list from one that is not there."""
    with open(path, 'rb') as file:
        skip_bom(file)
        for prefix, event, _ in ijson.parse(GuardedFile(file)):
            if (prefix, event) == (key, 'start_array'):
                return
    raise _no_list(path, key)


def _no_list(path: Path, key: str) -> FileError:
    return FileError(
        f'{path} is no COCO dataset: it has no list "{key}"')


def _guard(events: Iterator, path: Path) -> Iterator:
    try:
        yield from events
    except _FAULTS as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> FileError:
    if isinstance(error, FileError):
        return FileError(f'{path} cannot be read: {error}')
    # ijson has one type for all faults; its C and Python parts name this so.
    if 'premature EOF' in str(error) or 'Incomplete JSON' in str(error):
        return FileError(
            f'{path} is cut short: the json ends after '
            f'{path.stat().st_size} bytes, before its last bracket')
    reason = ' '.join(str(error).split())
    return FileError(f'{path} is not json: {reason:.200}')
