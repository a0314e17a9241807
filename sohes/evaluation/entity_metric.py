"""AR and AP of masks during training and in tools/test.py."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from sohes.evaluation.coco_files import read_ground_truth
from sohes.evaluation.mask_matching import (
    ImageMatches,
    detection_limits,
    match_image,
)
from sohes.evaluation.mask_metrics import summarize
from sohes.evaluation.prediction_file import PredictionFile
from sohes.evaluation.predictions import predicted_entities, row_of
from sohes.registry import METRICS


@METRICS.register_module()
class EntityMetric(BaseMetric):
    """Class-agnostic AR@1000, AR by COCO's sizes, and AP (section 4).

    All classes of the ground truth count as one. Rates are in percent, as
    the paper's tables have them; nan where there is no mask of that size.
    The count is :func:`sohes.evaluation.evaluate_masks`, equal to
    pycocotools to the last bit. An image is matched when it comes, and of
    its masks only the outcome is kept, at most 13 kB; so memory is bounded
    by the number of images, and little travels between processes.

    Args:
        ann_file (str): The ground truth, a COCO json with the ids that the
            test dataset gives its images: most often the same file.
        max_dets (int): Predictions an image that count, the best first.
        outfile (str, optional): A json to write the predictions to, see
            :class:`PredictionFile`.
        collect_device (str): 'cpu' or 'gpu', how processes bring results
            together.
        prefix (str, optional): Of the metrics' names; 'entity'.

    Raises:
        FileError: ``ann_file`` is missing or broken.
        ValueError: ``max_dets`` is under 1.
    """
    default_prefix = 'entity'

    def __init__(self,
                 ann_file: str,
                 max_dets: int = 1000,
                 outfile: str | None = None,
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ann_file = str(ann_file)
        self.max_dets = max_dets
        self.outfile = outfile
        self._limits = detection_limits(max_dets)
        self._file = None if outfile is None else PredictionFile(outfile)
        self._rows = read_ground_truth(ann_file)
        for row in self._rows.values():
            del row['annotations']  # the masks are there as RLEs

    def process(self, data_batch: Any,
                data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Match a batch.

        Args:
            data_batch: Not needed.
            data_samples: Each with ``img_id`` and the ``pred_instances`` of
                :func:`predicted_entities`.

        Raises:
            ValueError: A prediction does not fit the ground truth.
        """
        for sample in data_samples:
            image_id = sample['img_id']
            found = predicted_entities(sample['pred_instances'])
            row = row_of(self._rows, image_id, found, self.ann_file)
            self.results.append((image_id, match_image(
                row['masks'].with_predictions(found), self._limits)))
            if self._file is not None:
                self._file.add(image_id, found)

    def evaluate(self, size: int) -> dict[str, float]:
        """Bring the processes' results together and sum them up.

        Args:
            size: Images of the dataset.

        Returns:
            See :meth:`compute_metrics`.
        """
        if self._file is None:
            return super().evaluate(size)
        self._file.close()
        try:
            return super().evaluate(size)
        finally:
            self._file.remove_part()

    def compute_metrics(
            self, results: list[tuple[Any, ImageMatches]]
    ) -> dict[str, float]:
        """Sum up all images.

        Args:
            results: Of all processes; an image may come twice.

        Returns:
            In percent ``AR@1``, ``AR@10``, ``AR@100``, ``AR@1000``;
            ``AR_S``, ``AR_M``, ``AR_L``, ``AP@1000``, ``AP50``, ``AP75``
            and recall by IoU, ``R@0.50`` to ``R@0.95``, with 1000
            predictions an image; ``AP@100``; and ``masks/image``.
        """
        by_id = dict(results)
        if len(by_id) < len(self._rows):
            print_log(
                f'{len(self._rows) - len(by_id)} of the {len(self._rows)} '
                f'images of {self.ann_file} were not tested; the metrics are '
                'those of the others', 'current', 30)
        # pycocotools goes through images by rising id, as these rows are.
        images = [by_id[i] for i in self._rows if i in by_id]
        if self._file is not None:
            self._file.merge(self._rows)
        metrics = summarize(images, self.max_dets).percentages()
        return {
            name: float('nan') if value is None else value
            for name, value in metrics.items()
        }
