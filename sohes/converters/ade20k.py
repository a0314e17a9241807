"""ADE20K, the full dataset: entities, their parts and parts of parts."""
import os
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from sohes.converters.entity_json import measures
from sohes.converters.image_by_image import check_count, read_json
from sohes.structures.rles import region_rles
from sohes.utils.errors import FileError
from sohes.utils.limits import pixel_limit, too_large

#: How the names of a split's files begin, and how many images it has.
SPLITS = dict(training=('ADE_train_', 25574), validation=('ADE_val_', 2000))


def find_ade20k(root: Path, split: str, subset: bool = False) -> list[str]:
    """The jsons of a split, sorted by their files' names.

    Args:
        root (Path): the dataset, or any folder in it.
        split (str): 'training' or 'validation'.
        subset (bool): not all of them need be there.

    Returns:
        list[str]: paths below ``root``.

    Raises:
        FileError: no or too few files.
    """
    begin, wanted = SPLITS[split]
    pattern = re.compile(f'{begin}\\d+\\.json')
    found = []
    for folder, below, files in os.walk(root):
        # Beside its json an image has a folder of masks of its objects.
        below[:] = [name for name in below if not name.startswith('ADE_')]
        at = Path(folder).relative_to(root)
        found += [(name, (at / name).as_posix())
                  for name in files if pattern.fullmatch(name)]
    check_count(f'ADE20K {split}', len(found), None if subset else wanted,
                root)
    return [path for _, path in sorted(found)]


def read_ade20k(name: str, root: Path,
                levels: Collection[int] | None = (0, )) -> dict[str, Any]:
    """The visible masks of one image.

    They are the regions of ``_seg.png`` (level 0) and ``_parts_N.png``. The
    red and green channels of these give the class and the blue one tells
    instances apart, but not which object of the json one is: that is found
    by its class and polygon. An object that others hide wholly has no mask.

    Args:
        name (str): of the json, below ``root``.
        root (Path): see :func:`find_ade20k`.
        levels (Collection[int], optional): part levels to take; None: all.
            The parent is the nearest whole on a level that is taken.

    Returns:
        dict: see :func:`~sohes.converters.image_by_image.convert_images`.

    Raises:
        FileError: a file is missing or not as published.
    """
    path = root / name
    stem = name[:-len('.json')]
    objects = _read_objects(path)
    wanted = sorted({row['level'] for row in objects.values()} | {0})
    wanted = [k for k in wanted if levels is None or k in levels]
    counts: Counter = Counter()
    rows, of_object, size = [], {}, None
    for level in wanted:
        end = f'_parts_{level}.png' if level else '_seg.png'
        codes = _read_codes(root / f'{stem}{end}')
        if size not in (None, codes.shape):
            raise FileError(
                f'{root / stem}{end} is {codes.shape} pixels (height, '
                f'width), the level before it {size}')
        size = codes.shape
        rles = region_rles(codes)
        rles.pop(0, None)
        here = {key: row for key, row in objects.items()
                if row['level'] == level}
        found = _match(codes, list(rles), here)
        if len(here) > len(found):
            counts['objects_without_pixels'] += len(here) - len(found)
        for code, rle in rles.items():
            if code not in found:
                counts['regions_without_object'] += 1
            else:
                of_object[found[code]] = len(rows)
            rows.append(dict(segmentation=rle, **measures(rle),
                             object=found.get(code)))
    if size is None:
        size = _read_codes(root / f'{stem}_seg.png').shape
    for row in rows:
        row['parent'] = _parent(objects, of_object, row.pop('object'))
    return dict(file_name=f'{stem}.jpg', height=size[0], width=size[1],
                counts=dict(counts), annotations=rows)


def _read_objects(path: Path) -> dict[int, dict[str, Any]]:
    """By id, each object's class, part level, whole and polygon."""
    data = read_json(path)
    try:
        found = data['annotation']['object']
        # MATLAB wrote them: a list of one is not a list.
        objects = {
            int(row['id']): dict(
                kind=int(row['name_ndx']),
                level=int(row['parts']['part_level']),
                whole=next(iter(_list(row['parts']['ispartof'])), None),
                polygon=np.stack([
                    np.asarray(_list(row['polygon'][axis]), np.float64)
                    for axis in 'xy'
                ], 1))
            for row in ([found] if isinstance(found, dict) else found)
        }
        for key, row in objects.items():
            if row['polygon'].ndim != 2 or not np.isfinite(
                    row['polygon']).all():
                raise ValueError(f'the polygon of object {key} is not a '
                                 'list of finite x and one of finite y')
        return objects
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileError(
            f'{path} is not a json of ADE20K 2021_17_01, with '
            f'annotation.object: {type(error).__name__}: {error}') from error


def _list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _read_codes(path: Path) -> np.ndarray:
    """(H, W) int32, 0 where nothing is, else class * 256 + instance."""
    try:
        with Image.open(path, formats=['PNG']) as file:
            pixels = file.width * file.height
            if pixels > pixel_limit():
                raise FileError(f'{path} {too_large(pixels)}')
            rgb = np.asarray(file.convert('RGB')).astype(np.int32)
    except FileNotFoundError as error:
        raise FileError(f'{path} is missing') from error
    except FileError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise FileError(f'{path} cannot be read: {error}') from error
    kind = rgb[..., 0] // 10 * 256 + rgb[..., 1]
    return np.where(rgb[..., 2] > 0, kind * 256 + rgb[..., 2], 0)


def _match(codes: np.ndarray, regions: list[int],
           objects: dict[int, dict[str, Any]]) -> dict[int, int]:
    """Which object each region is, by class and IoU with its polygon.

    Args:
        codes (np.ndarray): (H, W) of :func:`_read_codes`.
        regions (list[int]): the codes of the regions.
        objects (dict): of this level.

    Returns:
        dict: from a region's code to the object's id; at most one each.
    """
    area = np.bincount(codes.ravel())
    column = {code: k for k, code in enumerate(regions)}
    scores = np.zeros((len(objects), len(regions)))
    for number, row in enumerate(objects.values()):
        inside = _inside(codes, row['polygon'])
        for code, shared in zip(*np.unique(inside, return_counts=True)):
            if code // 256 == row['kind'] and code in column:
                total = len(inside) + area[code] - shared
                scores[number, column[code]] = shared / total
    keys = list(objects)
    return {
        regions[k]: keys[number]
        for number, k in zip(*linear_sum_assignment(scores, maximize=True))
        if scores[number, k] > 0
    }


def _inside(codes: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(P,) codes of the pixels in a polygon of (N, 2) x and y."""
    if not len(polygon):
        return codes[:0, 0]
    height, width = codes.shape
    points = np.round(polygon).clip(
        0, [width - 1, height - 1]).astype(np.int32)
    low, high = points.min(0), points.max(0) + 1
    mask = np.zeros((high - low)[::-1], np.uint8)
    cv2.fillPoly(mask, [points - low], 1)
    return codes[low[1]:high[1], low[0]:high[0]][mask > 0]


def _parent(objects: dict[int, dict[str, Any]], of_object: dict[int, int],
            key: int | None) -> int | None:
    """The row of the nearest whole that has one."""
    seen = {key}
    while key is not None:
        key = objects[key]['whole'] if key in objects else None
        if key in of_object or key in seen:
            return of_object.get(key) if key not in seen else None
        seen.add(key)
    return None
