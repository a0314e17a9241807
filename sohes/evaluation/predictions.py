"""What a segmenter predicted on one image, as the metrics take it."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from sohes.structures import EntityForest
from sohes.structures.mask_ops import text_rle


@dataclass(frozen=True)
class ImagePrediction:
    """The masks of one image.

    Attributes:
        image_id: The image's id in the ground truth's json.
        rles: D compressed COCO RLEs of the original image's size.
        scores: (D,) float, any finite scale; higher is better.
        parents: (D,) int64, -1 for a root; None: no forest was predicted.
        levels: (D,) int64, 0 whole, 1 part, 2 subpart; None: as most
            models, this one predicts none (HASSOD's does).
    """
    image_id: Any
    rles: list[dict]
    scores: np.ndarray
    parents: np.ndarray | None
    levels: np.ndarray | None = None

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> 'ImagePrediction':
        """Takes a data sample as mmengine's evaluator hands it on.

        Args:
            sample: ``img_id`` and ``pred_instances`` with ``scores`` and
                ``masks``: (D, H, W) bool, a tensor or an array, or a list of
                RLEs; ``parents`` where there is a forest; and ``levels``
                where there are some.

        Returns:
            The prediction, on the CPU.
        """
        return cls.of_instances(sample['img_id'], sample['pred_instances'])

    @classmethod
    def of_instances(cls, image_id: Any,
                     found: Mapping[str, Any]) -> 'ImagePrediction':
        """Takes the ``pred_instances`` of :meth:`from_sample` alone."""
        masks, parents = found['masks'], found.get('parents')
        levels = found.get('levels')
        if not isinstance(masks, (list, tuple)):
            masks = [
                coco_mask.encode(np.asfortranarray(mask, np.uint8))
                for mask in _array(masks)
            ]
        return cls(image_id, list(masks),
                   _array(found['scores']).astype(np.float64),
                   None if parents is None else _array(parents),
                   None if levels is None else _array(levels))

    @property
    def forest(self) -> EntityForest:
        """Of the D masks; roots alone where no forest was predicted."""
        if self.parents is None:
            return EntityForest(np.full(len(self.rles), -1))
        return EntityForest(self.parents)

    def above(self, threshold: float) -> 'ImagePrediction':
        """The masks of at least this score, and their forest."""
        kept = np.flatnonzero(self.scores >= threshold)
        return ImagePrediction(self.image_id, [self.rles[i] for i in kept],
                               self.scores[kept],
                               self.forest.subset(kept).parents,
                               None if self.levels is None else
                               self.levels[kept])

    def json_rles(self) -> list[dict]:
        """The RLEs with text for ``counts``, as a json holds them."""
        return [text_rle(rle) for rle in self.rles]


def row_of(rows: Mapping[Any, dict], prediction: ImagePrediction,
           path: str) -> dict:
    """The image of the ground truth that a prediction is for.

    Args:
        rows: From :func:`sohes.evaluation.coco_files.read_ground_truth`.
        prediction: One image's.
        path: The ground truth's file, for the message.

    Raises:
        ValueError: The id is unknown, the masks have another size, or a
            score is not finite.
    """
    row = rows.get(prediction.image_id)
    if row is None:
        raise ValueError(f'{path} has no image with the id '
                         f'{prediction.image_id!r}: the test dataset reads '
                         'another file')
    size = row['height'], row['width']
    if prediction.rles and tuple(prediction.rles[0]['size']) != size:
        height, width = prediction.rles[0]['size']
        raise ValueError(
            f'{path}: image {prediction.image_id!r} is {size[1]} x {size[0]} '
            f'pixels, its predicted masks are {width} x {height}')
    wrong = np.flatnonzero(~np.isfinite(prediction.scores))
    if len(wrong):
        raise ValueError(
            f'image {prediction.image_id!r}: the score of prediction '
            f'{wrong[0]} must be a finite number, got '
            f'{prediction.scores[wrong[0]]}')
    return row


def _array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        # numpy has no bfloat16.
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        return values.numpy()
    return np.asarray(values)
