"""A finder for the web demo's tests: some photos take for ever."""
import os
import time

import numpy as np

from sohes.apis.photo_entities import Finder
from sohes.structures import Entities, EntityForest


def build() -> Finder:
    """Finds one mask; red photos take a minute, blue ones end it all."""
    from pycocotools import mask as coco_mask

    def find(image: np.ndarray) -> Entities:
        if image[0, 0].tolist() == [255, 0, 0]:
            time.sleep(600)
        if image[0, 0].tolist() == [0, 0, 255]:
            os.kill(os.getpid(), 9)
        height, width = image.shape[:2]
        rle = dict(size=[height, width], counts=coco_mask.frPyObjects(
            dict(size=[height, width], counts=[0, height * width]), height,
            width)['counts'])
        return Entities((height, width), [rle], np.ones(1),
                        EntityForest([-1]))

    return find

