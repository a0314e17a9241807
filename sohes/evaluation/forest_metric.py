"""Whether the predicted forest is the annotated one."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from sohes.evaluation.coco_files import InputError, read_ground_truth
from sohes.evaluation.predictions import ImagePrediction, row_of
from sohes.registry import METRICS
from sohes.structures import EntityForest


@METRICS.register_module()
class ForestMetric(BaseMetric):
    """Precision, recall and F1 of ancestor pairs, in percent.

    Predicted masks are matched to the annotated ones, one to one and so
    that the sum of IoUs is greatest, where the IoU is at least ``iou_thr``.
    A pair (ancestor, descendant) of the ground truth counts as found when
    both its masks are matched and the prediction relates the two matches in
    that way. So a mask that is not found loses its pairs: recall is over all
    pairs of the ground truth. Precision is over the predicted pairs of which
    both masks are matched: about masks that nobody annotated the ground
    truth says nothing.

    Args:
        ann_file (str): The ground truth, a COCO json; without ``parent_id``
            an image's forest is computed from coverage (section 3.1).
        iou_thr (float): In (0, 1].
        coverage (float): For :meth:`EntityForest.from_masks`.
        collect_device (str): 'cpu' or 'gpu', how processes bring results
            together.
        prefix (str, optional): Of the metrics' names; 'forest'.

    Raises:
        InputError: ``ann_file`` is missing or broken, a parent is unknown
            or there is a cycle.
        ValueError: ``iou_thr`` is out of range.
    """
    default_prefix = 'forest'

    def __init__(self,
                 ann_file: str,
                 iou_thr: float = 0.5,
                 coverage: float = 0.9,
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < iou_thr <= 1:
            raise ValueError('ForestMetric: iou_thr must be in (0, 1], found '
                             f'{iou_thr}')
        self.ann_file = str(ann_file)
        self.iou_thr = iou_thr
        self._rows = read_ground_truth(ann_file)
        self._truth = {
            image_id: _annotated_forest(row, self.ann_file, coverage)
            for image_id, row in self._rows.items()
        }

    def process(self, data_batch: Any,
                data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Count the pairs of a batch.

        Args:
            data_batch: Not needed.
            data_samples: See :meth:`ImagePrediction.from_sample`.

        Raises:
            ValueError: There is no forest, or masks do not fit.
        """
        for sample in data_samples:
            found = ImagePrediction.from_sample(sample)
            if found.parents is None:
                raise ValueError('ForestMetric: the model predicts no '
                                 'parents; its masks have no forest')
            self.results.append((found.image_id, self._count(found)))

    def _count(self, found: ImagePrediction) -> tuple[int, int, int]:
        """Pairs of one image: found, predicted and annotated."""
        row_of(self._rows, found, self.ann_file)
        rles, forest = self._truth[found.image_id]
        annotated = int(forest.ancestors.sum())
        if not rles or not found.rles:
            return 0, 0, annotated
        ious = coco_mask.iou(found.rles, rles, [0] * len(rles))
        ious = np.where(ious >= self.iou_thr, ious, 0)
        predicted, true = linear_sum_assignment(ious, maximize=True)
        matched = ious[predicted, true] > 0
        predicted, true = predicted[matched], true[matched]
        guess = EntityForest(found.parents).ancestors[np.ix_(
            predicted, predicted)]
        truth = forest.ancestors[np.ix_(true, true)]
        return int((guess & truth).sum()), int(guess.sum()), annotated

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum over all images.

        Args:
            results: (image id, pairs) of all processes.

        Returns:
            ``precision``, ``recall`` and ``F1`` in percent, nan where there
            is nothing to divide by, and the number of annotated ``pairs``.
        """
        # By id: a loader's last batch may hold an image twice.
        counts = np.array(list(dict(results).values()), np.int64)
        hits, predicted, annotated = counts.sum(0).tolist()
        return dict(
            precision=_percent(hits, predicted),
            recall=_percent(hits, annotated),
            F1=_percent(2 * hits, predicted + annotated),
            pairs=annotated)


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3) if whole else float('nan')


def _annotated_forest(row: dict, path: str,
                      coverage: float) -> tuple[list[dict], EntityForest]:
    """RLEs and forest of an image's annotations, crowds left out."""
    masks = row['masks']
    kept = [i for i, crowd in enumerate(masks.gt_crowd) if not crowd]
    rles = [masks.gt_rles[i] for i in kept]
    annotations = [row['annotations'][i] for i in kept]
    if not any('parent_id' in annotation for annotation in annotations):
        return rles, EntityForest.from_masks(rles, coverage)
    index = {a.get('id'): i for i, a in enumerate(annotations)}
    parents = []
    for annotation in annotations:
        parent = annotation.get('parent_id')
        if parent is not None and parent not in index:
            raise InputError(
                f'{path}: annotation {annotation.get("id")}: its parent_id '
                f'{parent!r} is no annotation of the same image')
        parents.append(-1 if parent is None else index[parent])
    try:
        return rles, EntityForest(parents)
    except ValueError as error:
        raise InputError(
            f'{path}: image {row["id"]!r}: {error}') from error
