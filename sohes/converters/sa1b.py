"""SA-1B: a json beside each photo."""
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sohes.converters.entity_json import (
    check_image,
    measures,
    plain_segmentation,
)
from sohes.converters.image_by_image import read_json
from sohes.structures.segmentations import is_whole
from sohes.utils.errors import FileError

_NAME = re.compile(r'sa_(\d+)\.json')


def find_sa1b(root: Path, packs: Sequence[str] | None = None) -> list[str]:
    """The jsons of some packs, by pack and number.

    Args:
        root (Path): the folder of the packs, or one pack.
        packs (Sequence[str], optional): names of folders in it; None: all
            that is in ``root``.

    Returns:
        list[str]: paths below ``root``.

    Raises:
        FileError: a pack is missing or empty.
    """
    found = []
    for pack in dict.fromkeys(packs or ['']):
        names = []
        for folder, _, files in os.walk(root / pack):
            below = Path(folder).relative_to(root)
            names += [(below.as_posix(), int(match[1]), match[0])
                      for match in map(_NAME.fullmatch, files) if match]
        if not names:
            raise FileError(
                f'{root / pack} has no files like sa_1.json: unpack the '
                f'pack, such as sa_000000.tar, into it')
        found += [os.path.normpath(f'{folder}/{name}')
                  for folder, _, name in sorted(names)]
    return found


def read_sa1b(name: str, root: Path) -> dict[str, Any]:
    """The masks of one photo, nested ones among them.

    SA-1B has no crowd regions, and does not say who is part of whom.

    Args:
        name (str): of the json, below ``root``.
        root (Path): see :func:`find_sa1b`.

    Returns:
        dict: see :func:`~sohes.converters.image_by_image.convert_images`.

    Raises:
        FileError: not a json of SA-1B, or its photo is missing.
    """
    path = root / name
    data = read_json(path)
    try:
        image, rows = data['image'], data['annotations']
        file_name = image['file_name']
        size = image['height'], image['width']
        image_id = image['image_id']
        masks = [row['segmentation'] for row in rows]
    except (KeyError, TypeError) as error:
        raise FileError(
            f'{path} is not a json of SA-1B, with "image" and "annotations": '
            f'{type(error).__name__}: {error}') from error
    if not isinstance(file_name, str) or not is_whole(image_id):
        raise FileError(
            f'{path}: "file_name" must be a text and "image_id" a whole '
            f'number, found {file_name!r:.60} and {image_id!r:.60}')
    check_image(file_name, size, str(path))
    photo = Path(name).parent / file_name
    if not (root / photo).is_file():
        raise FileError(f'{path}: its photo {root / photo} is missing')
    annotations = []
    for row, found in zip(rows, masks):
        rle = plain_segmentation(found, size, f'{path}: {row.get("id")}')
        if rle is None:
            continue
        annotations.append(dict(segmentation=rle, **measures(rle)))
    return dict(id=image_id, file_name=photo.as_posix(), height=size[0],
                width=size[1], annotations=annotations)
