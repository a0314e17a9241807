"""A finder for the web demo's tests: some photos take for ever."""
import os
import time

import numpy as np

from sohes.apis.photo_entities import Finder, PhotoEntities
from sohes.structures import EntityForest


def build() -> Finder:
    """Finds one mask; red photos take a minute, blue ones end it all."""

    def find(image: np.ndarray) -> PhotoEntities:
        if image[0, 0].tolist() == [255, 0, 0]:
            time.sleep(600)
        if image[0, 0].tolist() == [0, 0, 255]:
            os.kill(os.getpid(), 9)
        height, width = image.shape[:2]
        rle = dict(size=[height, width], counts=_whole(height * width))
        return PhotoEntities([rle], np.ones(1), EntityForest([-1]))

    return find


def _whole(pixels: int) -> bytes:
    from pycocotools import mask as coco_mask
    return coco_mask.frPyObjects(
        dict(size=[pixels, 1], counts=[0, pixels]), pixels, 1)['counts']
