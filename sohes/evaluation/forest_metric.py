"""Whether the predicted forest is the annotated one."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from sohes.evaluation.coco_files import read_ground_truth
from sohes.evaluation.forest_pairs import (
    ForestCounts,
    annotated_entities,
    compare_forests,
)
from sohes.evaluation.predictions import predicted_entities, row_of
from sohes.registry import METRICS


@METRICS.register_module()
class ForestMetric(BaseMetric):
    """Ancestor pairs and parents, in percent; see docs/evaluation.md.

    Predicted masks are matched to the annotated ones, one to one and so
    that the sum of IoUs is greatest, where the IoU is at least ``iou_thr``.
    A pair (ancestor, descendant) of the ground truth counts as found when
    both its masks are matched and the prediction relates the two matches in
    that way. So a mask that is not found loses its pairs: recall is over all
    pairs of the ground truth. Precision is over the predicted pairs of which
    both masks are matched: about masks that nobody annotated the ground
    truth says nothing. The parent of an annotated mask is right when the
    nearest matched ancestor of its match is the match of that parent; the
    accuracy is over all annotated masks that have a parent.

    Args:
        ann_file (str): The ground truth, a COCO json; without ``parent_id``
            an image's forest is computed from coverage (section 3.1).
        iou_thr (float): In (0, 1].
        coverage (float): For :meth:`EntityForest.from_masks`.
        collect_device (str): 'cpu' or 'gpu', how processes bring results
            together.
        prefix (str, optional): Of the metrics' names; 'forest'.

    Raises:
        FileError: ``ann_file`` is missing or broken, a parent is unknown
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
            image_id: annotated_entities(row, self.ann_file, coverage)
            for image_id, row in self._rows.items()
        }

    def process(self, data_batch: Any,
                data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Count the pairs of a batch.

        Args:
            data_batch: Not needed.
            data_samples: Each with ``img_id`` and the ``pred_instances`` of
                :func:`predicted_entities`.

        Raises:
            ValueError: There is no forest, or masks do not fit.
        """
        for sample in data_samples:
            image_id = sample['img_id']
            found = predicted_entities(sample['pred_instances'])
            if not found.has_forest:
                raise ValueError('ForestMetric: the model predicts no '
                                 'parents; its masks have no forest')
            row_of(self._rows, image_id, found, self.ann_file)
            self.results.append((image_id, compare_forests(
                found, self._truth[image_id], self.iou_thr)))

    def compute_metrics(
            self, results: list[tuple[Any, ForestCounts]]
    ) -> dict[str, float]:
        """Sum over all images.

        Args:
            results: Of all processes; an image may come twice.

        Returns:
            ``precision``, ``recall``, ``F1`` and ``parent_accuracy`` in
            percent, nan where there is nothing to divide by, and the number
            of annotated ``pairs``.
        """
        return sum(dict(results).values(), ForestCounts()).percentages()
