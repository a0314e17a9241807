"""The one-class COCO json that every converter writes."""
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from sohes.structures.segmentations import (
    SegmentationError,
    check_image_size,
)
from sohes.utils.files import whole_file
from sohes.utils.names import name_fault
from sohes.version import __version__

T = TypeVar('T')


class ConverterError(ValueError):
    """Files that are not what a converter expects; says which, in a sentence.
    """


def write_entities(out: Path, images: Iterable[Mapping[str, Any]],
                   annotations: Iterable[Mapping[str, Any]],
                   info: Mapping[str, Any]) -> int:
    """Write a COCO json with the category 'entity', a line at a time.

    It appears whole or not at all. It holds neither time nor folder, so the
    same input gives the same bytes.

    Args:
        out (Path): where it will stand.
        images (Iterable): rows for ``images``.
        annotations (Iterable): rows for ``annotations``; ``category_id`` is
            added.
        info (Mapping): for ``info``, read after the last annotation.

    Returns:
        int: annotations written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with whole_file(out) as file:
        file.write('{"images": [')
        for number, row in enumerate(images):
            _item(file, number, row)
        file.write('\n],\n"annotations": [')
        number = 0
        for number, row in enumerate(annotations, 1):
            _item(file, number - 1, {**row, 'category_id': 1})
        file.write('\n],\n"categories": [{"id": 1, "name": "entity"}],\n'
                   '"info": ')
        json.dump({**info, 'version': __version__}, file, indent=1)
        file.write('}\n')
    return number


def _item(file: TextIO, number: int, row: Mapping[str, Any]) -> None:
    file.write(',\n' if number else '\n')
    json.dump(row, file, allow_nan=False)


def check_image(name: str, size: Sequence[int], where: str) -> None:
    """Refuse an image that no dataset can have.

    Args:
        name (str): of its file.
        size (Sequence[int]): height and width.
        where (str): the file and the image, for messages.

    Raises:
        ConverterError: the name leads out of the folder of images, or the
            size is no size.
    """
    fault = name_fault(name)
    if fault:
        raise ConverterError(f'{where} has the name {name!r:.200}: {fault}')
    try:
        check_image_size(*size)
    except SegmentationError as error:
        raise ConverterError(f'{where}: {error}') from error


def check_out(out: Path, sources: Iterable[Path], overwrite: bool) -> None:
    """Refuse to write over an input, or over anything unasked.

    Args:
        out (Path): the json to write.
        sources (Iterable[Path]): what is read.
        overwrite (bool): ``--overwrite``.

    Raises:
        ConverterError: ``out`` is an input, a folder, or exists.
    """
    for source in sources:
        if out.resolve() == source.resolve():
            raise ConverterError(f'--out {out} is the file to convert')
    if out.is_dir():
        raise ConverterError(f'--out {out} is a folder; give a file')
    if out.exists() and not overwrite:
        raise ConverterError(f'{out} exists; --overwrite writes it anew')


def sample(keys: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """Choose some at random, in their order.

    Args:
        keys (Sequence): in an order that is the same on every machine.
        limit (int, optional): how many; None: all.
        seed (int): of the choice.

    Returns:
        list: at most ``limit`` of them.
    """
    if limit is None or limit >= len(keys):
        return list(keys)
    chosen = random.Random(seed).sample(range(len(keys)), limit)
    return [keys[k] for k in sorted(chosen)]
