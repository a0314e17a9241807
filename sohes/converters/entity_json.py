"""What every converter checks of images, masks and its output."""
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sohes.structures.rles import rle_areas, rle_boxes, text_rle
from sohes.structures.segmentations import check_image_size, compressed_counts
from sohes.utils.errors import FileError, renamed
from sohes.utils.names import name_fault

__getattr__ = renamed(
    __name__, ConverterError='sohes.utils.errors.FileError')

T = TypeVar('T')


def measures(rle: dict[str, Any]) -> dict[str, Any]:
    """Area in pixels and box, x, y, width and height, of an RLE."""
    return dict(area=int(rle_areas([rle])[0]),
                bbox=rle_boxes([rle])[0].tolist())


def plain_segmentation(found: Any, size: tuple[int, int],
                       where: str) -> Any:
    """A segmentation that pycocotools reads, or nothing.

    Args:
        found (Any): polygons, compressed or plain RLE.
        size (tuple): (H, W) of the image in pixels.
        where (str): names the annotation in messages.

    Returns:
        Polygons of three points and more as they are, or a compressed RLE
        with its counts as text. None: polygons without any area. With four
        numbers pycocotools would take a polygon for a box.

    Raises:
        FileError: neither polygons nor an RLE of the image's size.
    """
    if isinstance(found, list):
        found = [p for p in found if isinstance(p, list) and len(p) >= 6]
        if not found:
            return None
    elif not isinstance(found, dict) or 'counts' not in found:
        raise FileError(f'{where}: its segmentation is neither polygons '
                        f'nor RLE: {found!r:.60}')
    try:
        counts = compressed_counts(found, size)
    except FileError as error:
        raise FileError(f'{where}: {error}') from error
    if isinstance(found, list):
        return found
    return text_rle(dict(size=size, counts=counts))


def check_image(name: str, size: Sequence[int], where: str) -> None:
    """Refuse an image that no dataset can have.

    Args:
        name (str): of its file.
        size (Sequence[int]): height and width.
        where (str): the file and the image, for messages.

    Raises:
        FileError: the name leads out of the folder of images, or the
            size is no size.
    """
    fault = name_fault(name)
    if fault:
        raise FileError(f'{where} has the name {name!r:.200}: {fault}')
    try:
        check_image_size(*size)
    except FileError as error:
        raise FileError(f'{where}: {error}') from error


def check_out(out: Path, sources: Iterable[Path], overwrite: bool) -> None:
    """Refuse to write over an input, or over anything unasked.

    Args:
        out (Path): the json to write.
        sources (Iterable[Path]): what is read.
        overwrite (bool): ``--overwrite``.

    Raises:
        FileError: ``out`` is an input, a folder, or exists.
    """
    for source in sources:
        if out.resolve() == source.resolve():
            raise FileError(f'--out {out} is the file to convert')
    if out.is_dir():
        raise FileError(f'--out {out} is a folder; give a file')
    if out.exists() and not overwrite:
        raise FileError(f'{out} exists; --overwrite writes it anew')


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
