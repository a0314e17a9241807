"""Small COCO files and photos for the tests of the datasets."""
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask


def rle(mask: np.ndarray) -> dict[str, Any]:
    """A mask as json holds it."""
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=list(found['size']), counts=found['counts'].decode())


def box_mask(height: int, width: int, left: int, top: int, right: int,
             bottom: int) -> np.ndarray:
    """(H, W) bool, a rectangle; right and bottom exclusive."""
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def annotation(number: int, image: int, mask: np.ndarray,
               **more: Any) -> dict[str, Any]:
    """One entry of the json; ``parent_id`` is null unless given."""
    return dict(dict(id=number, image_id=image, category_id=1,
                     segmentation=rle(mask), parent_id=None), **more)


def dataset(images: list[tuple[int, str, int, int]],
            annotations: list[dict]) -> dict[str, Any]:
    """The whole json; an image is its id, name, height and width."""
    keys = ('id', 'file_name', 'height', 'width')
    return dict(
        images=[dict(zip(keys, image)) for image in images],
        annotations=annotations,
        categories=[dict(id=1, name='entity'), dict(id=7, name='dog')])


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def write_photo(path: Path, height: int, width: int, seed: int = 0) -> None:
    """Noise, without loss."""
    pixels = np.random.default_rng(seed).integers(
        0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


WHOLE = box_mask(9, 13, 1, 1, 11, 8)
PART = box_mask(9, 13, 2, 2, 6, 6)
CORNER = box_mask(9, 13, 9, 0, 13, 2)


def two_images(**more) -> dict:
    """Image 5 has a whole with a part and a corner, image 3 has none."""
    return dataset([(5, 'b/ö.png', 9, 13), (3, 'a.png', 4, 6)], [
        annotation(11, 5, WHOLE, score=0.5),
        annotation(10, 5, PART, parent_id=11, **more),
        annotation(12, 5, CORNER),
    ])
