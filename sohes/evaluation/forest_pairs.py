"""Compares two forests over masks that are matched one to one."""
from dataclasses import astuple, dataclass

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from sohes.structures import Entities
from sohes.structures.annotations import find_forest
from sohes.utils.errors import FileError


@dataclass(frozen=True)
class ForestCounts:
    """What is right in the forest of an image, or of many.

    Attributes:
        hits: Pairs (ancestor, descendant) in both forests.
        predicted: Predicted pairs of which both masks are matched.
        annotated: All pairs of the ground truth.
        parents_right: Masks of the ground truth whose parent is right.
        parents: Masks of the ground truth that have a parent.
    """
    hits: int = 0
    predicted: int = 0
    annotated: int = 0
    parents_right: int = 0
    parents: int = 0

    def __add__(self, other: 'ForestCounts') -> 'ForestCounts':
        return ForestCounts(
            *(a + b for a, b in zip(astuple(self), astuple(other))))

    def percentages(self) -> dict[str, float]:
        """Rates in percent, nan where there is nothing to divide by."""
        return dict(
            precision=_percent(self.hits, self.predicted),
            recall=_percent(self.hits, self.annotated),
            F1=_percent(2 * self.hits, self.predicted + self.annotated),
            parent_accuracy=_percent(self.parents_right, self.parents),
            pairs=self.annotated)


def compare_forests(found: Entities, truth: Entities,
                    iou_thr: float = 0.5) -> ForestCounts:
    """Counts what a predicted forest has right on one image.

    Args:
        found: D masks with a forest; without one it has nothing right.
        truth: G masks.
        iou_thr: In (0, 1]; masks are matched from this IoU on.

    Returns:
        The counts; docs/evaluation.md has the definition.
    """
    forest, gt_forest = found.forest, truth.forest
    annotated = dict(
        annotated=int(gt_forest.closure.sum()),
        parents=int((gt_forest.parents >= 0).sum()))
    if not (found.has_forest and len(found) and len(truth)):
        return ForestCounts(**annotated)
    ious = coco_mask.iou(found.rles, truth.rles, [0] * len(truth))
    ious = np.where(ious >= iou_thr, ious, 0)
    guessed, true = linear_sum_assignment(ious, maximize=True)
    matched = ious[guessed, true] > 0
    guessed, true = guessed[matched], true[matched]
    guess = forest.closure[np.ix_(guessed, guessed)]
    annotation = gt_forest.closure[np.ix_(true, true)]
    # The nearest matched ancestor; -1 where there is none. A true parent
    # that is not matched is no position here, so it is never equal.
    parents = forest.subset(guessed).parents
    guessed_parents = np.where(parents >= 0, true[parents], -1)
    true_parents = gt_forest.parents[true]
    right = (true_parents >= 0) & (guessed_parents == true_parents)
    return ForestCounts(
        hits=int((guess & annotation).sum()),
        predicted=int(guess.sum()),
        parents_right=int(right.sum()),
        **annotated)


def annotated_entities(row: dict, path: str,
                       coverage: float = 0.9) -> Entities:
    """An image's annotations, crowds left out; each has the score 1.

    Args:
        row: From :func:`sohes.evaluation.coco_files.read_ground_truth`.
        path: The ground truth's file, for messages.
        coverage: For :meth:`EntityForest.from_masks`, where no annotation of
            the image has a ``parent_id``.

    Raises:
        FileError: A parent is unknown, there is a cycle, or the masks take
            too much memory to be compared.
    """
    masks = row['masks']
    kept = [i for i, crowd in enumerate(masks.gt_crowd) if not crowd]
    rles = [masks.gt_rles[i] for i in kept]
    try:
        forest = find_forest([row['annotations'][i] for i in kept], rles,
                             f'image {row["id"]!r:.200}', coverage)
    except ValueError as error:
        raise FileError(f'{path}: {error}') from error
    return Entities((row['height'], row['width']), rles, np.ones(len(rles)),
                    forest)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float('nan')
