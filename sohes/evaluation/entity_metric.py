"""AR and AP of masks during training and in tools/test.py."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from pycocotools import mask as coco_mask

from sohes.evaluation.coco_files import read_ground_truth
from sohes.evaluation.mask_metrics import ImageMasks, evaluate_masks
from sohes.evaluation.predictions import ImagePrediction, row_of
from sohes.registry import METRICS
from sohes.utils.files import whole_file


@METRICS.register_module()
class EntityMetric(BaseMetric):
    """Class-agnostic AR@1000, AR by COCO's sizes, and AP (section 4).

    All classes of the ground truth count as one. Rates are in percent, as
    the paper's tables have them; nan where there is no mask of that size.
    The count is :func:`sohes.evaluation.evaluate_masks`.

    Args:
        ann_file (str): The ground truth, a COCO json with the ids that the
            test dataset gives its images: most often the same file.
        max_dets (int): Predictions an image that count, the best first.
        outfile (str, optional): A json to write the predictions to, as a
            list of COCO results.
        collect_device (str): 'cpu' or 'gpu', how processes bring results
            together.
        prefix (str, optional): Of the metrics' names; 'entity'.

    Raises:
        InputError: ``ann_file`` is missing or broken.
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
        if max_dets < 1:
            raise ValueError('EntityMetric: max_dets must be at least 1, '
                             f'found {max_dets}')
        self.ann_file = str(ann_file)
        self.max_dets = max_dets
        self.outfile = outfile
        self._rows = read_ground_truth(ann_file)

    def process(self, data_batch: Any,
                data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep the predictions of a batch, as RLEs.

        Args:
            data_batch: Not needed.
            data_samples: See :meth:`ImagePrediction.from_sample`.
        """
        self.results.extend(
            ImagePrediction.from_sample(sample) for sample in data_samples)

    def compute_metrics(
            self, results: list[ImagePrediction]) -> dict[str, float]:
        """Count over all images.

        Args:
            results: Of all processes.

        Returns:
            ``AR@1000``, ``AR_S``, ``AR_M``, ``AR_L``, ``AP`` in percent, and
            ``masks/image``.

        Raises:
            ValueError: A prediction does not fit the ground truth.
        """
        by_id = {result.image_id: result for result in results}
        if len(by_id) < len(self._rows):
            print_log(
                f'{len(self._rows) - len(by_id)} of the {len(self._rows)} '
                f'images of {self.ann_file} were not tested; the metrics are '
                'those of the others', 'current', 30)
        images = []
        for image_id in (*self._rows, *by_id):
            if image_id not in by_id:
                continue
            found = by_id.pop(image_id)
            truth = row_of(self._rows, found, self.ann_file)['masks']
            images.append(
                ImageMasks(truth.gt_rles, truth.gt_areas, truth.gt_crowd,
                           found.rles, found.scores.tolist(),
                           [float(coco_mask.area(r)) for r in found.rles]))
        if self.outfile is not None:
            self._write(results)
        metrics = evaluate_masks(images, self.max_dets).percentages()
        return {
            name: float('nan') if value is None else round(value, 3)
            for name, value in metrics.items()
        }

    def _write(self, results: list[ImagePrediction]) -> None:
        """Write a list of COCO results, as evaluate_masks.py reads it."""
        rows = [
            dict(
                image_id=result.image_id,
                category_id=1,
                segmentation=rle,
                score=float(score)) for result in results
            for rle, score in zip(result.json_rles(), result.scores)
        ]
        path = Path(self.outfile)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            json.dump(rows, file)
