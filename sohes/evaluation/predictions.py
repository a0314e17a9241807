"""What a segmenter predicted on one image, as the metrics take it."""
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sohes.structures import Entities, EntityForest
from sohes.structures.rles import encode_mask, text_rle


def predicted_entities(found: Mapping[str, Any],
                       size: tuple[int, int] | None = None) -> Entities:
    """The ``pred_instances`` of a data sample, on the CPU.

    Args:
        found: ``scores`` and ``masks``: (D, H, W) bool, a tensor or an
            array, or a list of RLEs; ``parents`` where there is a forest;
            and ``levels`` where there are some.
        size: (H, W) of the image in pixels. None: that of the masks, which
            is (0, 0) of an empty list.
    """
    masks, parents = found['masks'], found.get('parents')
    if isinstance(masks, (list, tuple)):
        rles, own = masks, masks[0]['size'] if masks else (0, 0)
    else:
        masks = _array(masks)
        rles, own = [encode_mask(mask) for mask in masks], masks.shape[1:]
    return Entities(
        size or own, rles, _array(found['scores']),
        None if parents is None else EntityForest(_array(parents)),
        None if found.get('levels') is None else _array(found['levels']))


def plain_prediction(sample: Any) -> dict[str, Any]:
    """A data sample with ``pred_instances`` as what a json can hold."""
    found = sample.pred_instances
    entities = predicted_entities(found)
    plain = dict(
        img_path=sample.img_path,
        scores=entities.scores.tolist(),
        labels=found.labels.tolist(),
        bboxes=found.bboxes.tolist(),
        masks=[text_rle(rle) for rle in entities.rles],
        parents=entities.forest.parents.tolist())
    if entities.given_levels is not None:
        plain['levels'] = entities.given_levels.tolist()
    return plain


def row_of(rows: Mapping[Any, dict], image_id: Any, found: Entities,
           path: str) -> dict:
    """The image of the ground truth that a prediction is for.

    Args:
        rows: From :func:`sohes.evaluation.coco_files.read_ground_truth`.
        image_id: The image's.
        found: Its masks.
        path: The ground truth's file, for the message.

    Raises:
        ValueError: The id is unknown, the masks have another size, or a
            score is not finite.
    """
    row = rows.get(image_id)
    if row is None:
        raise ValueError(f'{path} has no image with the id '
                         f'{image_id!r}: the test dataset reads '
                         'another file')
    size = row['height'], row['width']
    if len(found) and found.size != size:
        height, width = found.size
        raise ValueError(
            f'{path}: image {image_id!r:.200} is {size[1]} x {size[0]} '
            f'pixels, its predicted masks are {width} x {height}')
    wrong = np.flatnonzero(~np.isfinite(found.scores))
    if len(wrong):
        raise ValueError(
            f'image {image_id!r:.200}: the score of prediction '
            f'{wrong[0]} must be a finite number, got '
            f'{found.scores[wrong[0]]}')
    return row


def _array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        # numpy has no bfloat16.
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        return values.numpy()
    return np.asarray(values)
