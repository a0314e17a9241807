"""From files and the index to an image with its masks."""
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.mask_sources import RleSource
from sohes.pseudo_labels.images import load_image
from sohes.registry import TRANSFORMS
from sohes.structures import EntityForest
from sohes.utils.errors import ImageError


def ground_truth(source: RleSource, boxes: np.ndarray, forest: EntityForest,
                 scores: np.ndarray) -> dict[str, Any]:
    """N masks under the names that mmdet's transforms know.

    Args:
        source: the masks.
        boxes: (N, 4) of any number type, x, y, width and height in pixels.
        forest: who is part of whom.
        scores: (N,) of any float type, how sure each mask is.
    """
    boxes = boxes.astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]  # x, y, w, h -> x1, y1, x2, y2
    return dict(
        gt_masks=EntityMasks(source, np.arange(len(source)), forest,
                             node_scores=scores),
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.zeros(len(source), np.int64),
        gt_ignore_flags=np.zeros(len(source), bool))


@TRANSFORMS.register_module()
class LoadEntityImage(BaseTransform):
    """Load an image as Phase 1 did: RGB, upright, any kind of file.

    Required keys:

    - img_path
    - height, width: that the annotations say, if there are any (optional).

    Added keys:

    - img: (H, W, 3) uint8 RGB. Normalise with ``bgr_to_rgb=False``.
    - img_shape, ori_shape: (H, W).

    Raises:
        ImageError: the file cannot be read, or the image has another size
            than its masks; names it.
    """

    def transform(self, results: dict) -> dict:
        image = load_image(results['img_path'])
        shape = image.shape[:2]
        wanted = (results.get('height', shape[0]),
                  results.get('width', shape[1]))
        if shape != wanted:
            raise ImageError(
                f'{results["img_path"]} is {shape[0]} x {shape[1]} pixels '
                f'(height x width, upright), its annotations are for '
                f'{wanted[0]} x {wanted[1]}: is this the right folder of '
                'images?')
        results['img'] = image
        results['img_shape'] = shape
        results['ori_shape'] = shape
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class LoadEntities(BaseTransform):
    """Put an image's masks and their forest where mmdet's transforms look.

    Required keys:

    - entities (ImageEntities): as `sohes.EntityDataset` gives them, with
      the parents among them.

    Added keys, N masks:

    - gt_masks (EntityMasks): still RLEs, with ids, forest and scores.
    - gt_bboxes (HorizontalBoxes): (N, 4) float32 in pixels.
    - gt_bboxes_labels (np.ndarray): (N,) int64, all 0, 'entity'.
    - gt_ignore_flags (np.ndarray): (N,) bool, all False.
    """

    def transform(self, results: dict) -> dict:
        entities = results.pop('entities')
        records = entities.records
        source = RleSource(entities.blob, entities.spans, *entities.size)
        results.update(
            ground_truth(source, records['box'], entities.forest,
                         records['score']))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
