"""Compares two forests over masks that are matched one to one."""
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from sohes.evaluation.image_matching import InputError
from sohes.structures import EntityForest
from sohes.structures.ancestor_graph import nodes_on_cycles
from sohes.structures.mask_ops import check_packable
from sohes.structures.segmentations import is_whole


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


def compare_forests(rles: list[dict], forest: EntityForest | None,
                    gt_rles: list[dict], gt_forest: EntityForest,
                    iou_thr: float = 0.5) -> ForestCounts:
    """Counts what a predicted forest has right on one image.

    Args:
        rles: D compressed COCO RLEs.
        forest: Of them; None where there is no mask.
        gt_rles: G RLEs of the same size.
        gt_forest: Of them.
        iou_thr: In (0, 1]; masks are matched from this IoU on.

    Returns:
        The counts; docs/evaluation.md has the definition.
    """
    annotated = dict(
        annotated=int(gt_forest.closure.sum()),
        parents=int((gt_forest.parents >= 0).sum()))
    if not rles or not gt_rles:
        return ForestCounts(**annotated)
    ious = coco_mask.iou(rles, gt_rles, [0] * len(gt_rles))
    ious = np.where(ious >= iou_thr, ious, 0)
    guessed, true = linear_sum_assignment(ious, maximize=True)
    matched = ious[guessed, true] > 0
    guessed, true = guessed[matched], true[matched]
    guess = forest.closure[np.ix_(guessed, guessed)]
    truth = gt_forest.closure[np.ix_(true, true)]
    # The nearest matched ancestor; -1 where there is none. A true parent
    # that is not matched is no position here, so it is never equal.
    parents = forest.subset(guessed).parents
    guessed_parents = np.where(parents >= 0, true[parents], -1)
    true_parents = gt_forest.parents[true]
    right = (true_parents >= 0) & (guessed_parents == true_parents)
    return ForestCounts(
        hits=int((guess & truth).sum()),
        predicted=int(guess.sum()),
        parents_right=int(right.sum()),
        **annotated)


def annotated_forest(row: dict, path: str,
                     coverage: float = 0.9) -> tuple[list[dict],
                                                     EntityForest]:
    """RLEs and forest of an image's annotations, crowds left out.

    Args:
        row: From :func:`sohes.evaluation.coco_files.read_ground_truth`.
        path: The ground truth's file, for messages.
        coverage: For :meth:`EntityForest.from_masks`, where no annotation of
            the image has a ``parent_id``.

    Raises:
        InputError: A parent is unknown, there is a cycle, or the masks take
            too much memory to be compared.
    """
    masks = row['masks']
    kept = [i for i, crowd in enumerate(masks.gt_crowd) if not crowd]
    rles = [masks.gt_rles[i] for i in kept]
    annotations = [row['annotations'][i] for i in kept]
    forest = forest_of(annotations, path, f'image {row["id"]!r}')
    if forest is not None:
        return rles, forest
    try:
        check_packable(rles)
    except ValueError as error:
        raise InputError(f'{path}: image {row["id"]!r}: {error}') from error
    return rles, EntityForest.from_masks(rles, coverage)


def forest_of(annotations: list[dict], path: str,
              image: str) -> EntityForest | None:
    """The forest that an image's annotations name by ``parent_id``.

    Their ``ancestor_ids`` are not compared, but a file in which they are
    wrong is refused as training refuses it.

    Args:
        annotations: Of one image, each with its ``id``.
        path: Their file, for messages.
        image: For messages.

    Returns:
        The forest, None where no annotation has a ``parent_id``.

    Raises:
        InputError: A parent or ancestor is unknown, an id comes twice or
            there is a cycle.
    """
    if not any('parent_id' in annotation for annotation in annotations):
        return None
    index = _positions(annotations, f'{path}: {image}')

    def position(annotation: dict, key: str, wanted: Any) -> int:
        if not (_is_id(wanted) and wanted in index):
            raise InputError(
                f'{path}: annotation {annotation.get("id")!s:.60}: its {key} '
                f'{wanted!r:.60} is no annotation of the same image')
        return index[wanted]

    parents = [
        -1 if row.get('parent_id') is None else position(
            row, 'parent_id', row['parent_id']) for row in annotations
    ]
    try:
        forest = EntityForest(parents)
    except ValueError as error:
        raise InputError(f'{path}: {image}: {error}') from error
    edges = [(parent, child) for child, parent in enumerate(parents)
             if parent >= 0]
    for child, row in enumerate(annotations):
        above = row.get('ancestor_ids', [])
        if not isinstance(above, list):
            raise InputError(
                f'{path}: annotation {row.get("id")!s:.60}: its ancestor_ids '
                f'must be a list, found {above!r:.60}')
        edges += [(position(row, 'ancestor_ids:', one), child)
                  for one in above]
    _refuse_cycle(edges, annotations, f'{path}: {image}')
    return forest


def _positions(annotations: list[dict], where: str) -> dict[Any, int]:
    """Where each id is; an annotation without one cannot be named."""
    index: dict[Any, int] = {}
    for number, annotation in enumerate(annotations):
        key = annotation.get('id')
        if key is None:
            continue
        if not _is_id(key):
            raise InputError(f'{where}: an annotation has the id {key!r:.60},'
                             ' which is no whole number and no text')
        if key in index:
            raise InputError(f'{where}: the annotation id {key!r:.60} comes '
                             'twice')
        index[key] = number
    return index


def _is_id(value: Any) -> bool:
    return is_whole(value) or isinstance(value, str)


def _refuse_cycle(edges: list[tuple[int, int]], annotations: list[dict],
                  where: str) -> None:
    """Of what parent_id and ancestor_ids say together."""
    table = np.array(edges, np.int64).reshape(-1, 2)
    own = table[table[:, 0] == table[:, 1], 0]
    found = own if len(own) else nodes_on_cycles(*table.T, len(annotations))
    if len(found):
        name = annotations[found[0]].get('id')
        raise InputError(f'{where}: annotation {name!r:.60} is its own '
                         'ancestor: a cycle of ancestor_ids and parent_id')


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float('nan')
