"""BSDS500: the regions of all annotators of a photo, pooled."""
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sohes.converters.entity_json import measures
from sohes.converters.image_by_image import check_count
from sohes.structures.rles import region_rles
from sohes.utils.errors import FileError

#: Images of each split, as published.
SPLITS = dict(train=200, val=100, test=200)


def find_bsds500(root: Path, split: str, subset: bool = False) -> list[str]:
    """The photos' names, sorted as text.

    Args:
        root (Path): the folder with ``groundTruth`` and ``images``.
        split (str): 'train', 'val' or 'test'.
        subset (bool): not all of them need be there.

    Raises:
        FileError: no or too few files.
    """
    folder = root / 'groundTruth' / split
    names = sorted(f'{path.stem}.jpg' for path in folder.glob('*.mat'))
    check_count(f'BSDS500 {split}', len(names),
                None if subset else SPLITS[split], folder)
    return names


def read_bsds500(name: str, root: Path, split: str, min_area: int = 64,
                 same: float = 0.8) -> dict[str, Any]:
    """The distinct regions of one photo, the largest first.

    Args:
        name (str): of the photo.
        root, split: see :func:`find_bsds500`.
        min_area (int): in pixels; smaller regions are left out.
        same (float): in (0, 1]; a region with this IoU or more with one that
            was taken before is the same region.

    Returns:
        dict: see :func:`~sohes.converters.image_by_image.convert_images`.

    Raises:
        FileError: the file is missing or not as published.
    """
    path = root / 'groundTruth' / split / f'{name[:-4]}.mat'
    found = []
    maps = _label_maps(path)
    for labels in maps:
        for rle in region_rles(labels).values():
            row = dict(segmentation=rle, **measures(rle))
            if row['area'] >= min_area:
                found.append(row)
    found.sort(key=lambda row: -row['area'])
    kept: list[dict[str, Any]] = []
    for row in found:
        others = [other['segmentation'] for other in kept]
        if not others or coco_mask.iou(
                [row['segmentation']], others, [0] * len(others)).max() < same:
            kept.append(row)
    return dict(file_name=name, height=maps[0].shape[0],
                width=maps[0].shape[1], annotations=kept)


def _label_maps(path: Path) -> list[np.ndarray]:
    """(H, W) integers of each annotator."""
    from scipy.io import loadmat
    try:
        truth = loadmat(path)['groundTruth']
        maps = [truth[0, k]['Segmentation'][0, 0].astype(np.int64)
                for k in range(truth.shape[1])]
        sizes = {labels.shape for labels in maps}
        if len(sizes) != 1 or len(min(sizes)) != 2 or not maps[0].size:
            raise ValueError(f'expected maps of one size, found {sizes}')
        return maps
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy raises whatever broken files cause
        raise FileError(
            f'{path} is not a groundTruth file of BSDS500, a MATLAB file '
            f'with groundTruth{{k}}.Segmentation: {error}') from error
