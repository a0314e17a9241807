"""Rows of the paper's tables on Phase 1, labelled with shared work.

What two rows have in common is computed once a photo: features of the same
crop, proposals of the same clustering. The seconds of a row are those that it
would take alone: shared work is charged to every row that used it.
"""
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sohes.evaluation.coco_files import read_ground_truth
from sohes.evaluation.mask_metrics import ImageMasks, evaluate_masks
from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.options import ExploreOptions, LocalOptions
from sohes.pseudo_labels.pipeline import (
    FeatureExtractor,
    Proposals,
    finish,
    propose,
)
from sohes.pseudo_labels.refinement import build_refiner
from sohes.structures import Entities, EntityForest
from sohes.utils.errors import UsageError
from sohes.utils.photo_files import spaced

#: theta_small as a share of the image; 0 leaves step 2 out (table 6a).
THETA_SMALL = (0.0, 1 / 2048, 1 / 1024, 1 / 512)
#: theta_cover (table 6b).
THETA_COVER = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
#: The paper's order of columns.
METRICS = ('AP', 'AR_S', 'AR_M', 'AR_L', 'AR@1000')
_UNREFINED = dict(type='none')


@dataclass
class Row:
    """A row of a table: what is labelled, and what it gave.

    Attributes:
        head (dict): the first columns, such as ``step`` and ``choice``.
        options (ExploreOptions): with its thresholds.
        not_run (str): why it cannot be labelled; empty: it can.
        masks (list[ImageMasks]): one a photo.
        seconds (np.ndarray): (2,) of all photos, as if the row were labelled
            alone; see :func:`clock`.
    """
    head: dict[str, str]
    options: ExploreOptions
    not_run: str = ''
    masks: list[ImageMasks] = field(default_factory=list)
    seconds: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, truth: ImageMasks, labels: Entities,
            seconds: np.ndarray) -> None:
        """Take in the labels of a photo."""
        self.masks.append(truth.with_predictions(labels))
        self.seconds = self.seconds + seconds

    def result(self) -> dict[str, Any]:
        """The whole row: its head, then the columns of table 2."""
        if self.not_run:
            return dict(self.head, not_run=self.not_run)
        found = evaluate_masks(self.masks).percentages()
        wall, cpu = (self.seconds / len(self.masks)).tolist()
        columns = {'masks/image': found['masks/image'], 's/image': wall,
                   'CPU s/image': cpu}
        return {**self.head, **columns,
                **{name: found['AP@1000' if name == 'AP' else name]
                   for name in METRICS}}


def read_photos(gt: str, img_dir: str, most: int | None = None,
                every: int = 1) -> list[dict[str, Any]]:
    """Rows of a ground truth, their photos looked at.

    Args:
        gt (str): a COCO json.
        img_dir (str): the photos.
        most (int, optional): so many of them, evenly spaced from the first
            on; None: all.
        every (int): every Nth of them.

    Returns:
        list[dict]: see `read_ground_truth`, with ``path``.

    Raises:
        UsageError: no masks to compare with, or a photo of another size.
        ImageError: a photo that cannot be read.
    """
    photos = list(read_ground_truth(gt).values())[::every]
    if most is not None:
        photos = spaced(photos, most)
    if not any(photo['masks'].gt_rles for photo in photos):
        raise UsageError(f'{gt}: none of the {len(photos)} images has a mask '
                         'to compare with')
    for photo in photos:
        name = photo.get('file_name')
        if not name:
            raise UsageError(f'{gt}: image {photo["id"]} has no file_name')
        photo['path'] = Path(img_dir) / name
        size = load_image(photo['path']).shape[:2]
        if size != (photo['height'], photo['width']):
            raise UsageError(
                f'{photo["path"]} is {size[1]} x {size[0]} pixels, in {gt} '
                f'{photo["width"]} x {photo["height"]}')
    return photos


def clock() -> np.ndarray:
    """(2,) seconds: on the wall, and of this process on all its cores.

    The second says more where other work shares the machine.
    """
    return np.array([time.perf_counter(), time.process_time()])


class SharedFeatures:
    """A feature extractor that computes each picture once.

    Args:
        extractor (callable): (images, size) -> (B, h, w, C) float32.

    Attributes:
        waited (np.ndarray): (2,) seconds that calls took.
        charged (np.ndarray): (2,) seconds that they would have taken alone.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor = extractor
        self.waited = self.charged = np.zeros(2)
        self._known: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, images: Sequence[np.ndarray],
                 size: int) -> np.ndarray:
        started = clock()
        keys = [(size, image.shape, image.tobytes()) for image in images]
        new = {key: image for key, image in zip(keys, images)
               if key not in self._known}
        if new:
            features = self.extractor(list(new.values()), size)
            cost = (clock() - started) / len(new)
            for key, each in zip(new, features):
                self._known[key] = each, cost
        found = [self._known[key] for key in keys]
        self.charged = self.charged + sum(cost for _, cost in found)
        stacked = np.stack([each for each, _ in found])
        self.waited = self.waited + clock() - started
        return stacked

    def forget(self) -> None:
        """Free the features of a photo that is done."""
        self._known.clear()


class PhotoLabeller:
    """Labels one photo again and again, with other options.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        features (SharedFeatures): of one ViT.
    """

    def __init__(self, image: np.ndarray, features: SharedFeatures) -> None:
        self.image = image
        self.features = features
        self._proposed: dict[str, tuple[Proposals, np.ndarray]] = {}
        self._labelled: dict[str, tuple[Entities, np.ndarray]] = {}

    def label(self,
              options: ExploreOptions) -> tuple[Entities, np.ndarray]:
        """All four steps.

        Returns:
            tuple: the labels, and the seconds that they take alone.
        """
        key = repr(options)
        if key not in self._labelled:
            proposals, seconds = self._propose(options)
            started = clock()
            labels = finish(self.image, proposals, options)
            # A new array: the other is that of the proposals, kept for others.
            seconds = seconds + (clock() - started)
            self._labelled[key] = labels, seconds
        return self._labelled[key]

    def _propose(self,
                 options: ExploreOptions) -> tuple[Proposals, np.ndarray]:
        """Steps 1 and 2, which do not ask what comes after them."""
        # But for the membership, which DenseCRF starts from.
        key = repr((replace(options, refiner=_UNREFINED, coverage=0.9),
                    options.membership))
        if key not in self._proposed:
            features = self.features
            shared = features.charged - features.waited
            started = clock()
            proposals = propose(self.image, features, options)
            seconds = clock() - started
            seconds += features.charged - features.waited - shared
            self._proposed[key] = proposals, seconds
        return self._proposed[key]


@dataclass
class CoverChange:
    """How the forest of fixed masks changes with theta_cover (table 6b).

    Attributes:
        base (float): theta_cover that the others are compared with.
        masks (int): masks so far.
        pairs (int): pairs of ancestor and descendant at ``base``, by the
            pairwise test of section 3.1.
        more (dict): by theta_cover, how many more pairs there are.
        moved (dict): the same without sign, photo by photo.
        parents (dict): by theta_cover, masks whose parent is another.
        changed (dict): by theta_cover, pairs that come or go.
    """
    base: float = 0.9
    masks: int = 0
    pairs: int = 0
    more: Counter = field(default_factory=Counter)
    moved: Counter = field(default_factory=Counter)
    parents: Counter = field(default_factory=Counter)
    changed: Counter = field(default_factory=Counter)

    def add(self, rles: Sequence[Mapping[str, Any]]) -> None:
        """Take in the masks of a photo."""
        rles = list(rles)
        base = EntityForest.from_masks(rles, self.base)
        self.masks += len(base)
        self.pairs += len(base.pairs)
        for cover in THETA_COVER:
            other = EntityForest.from_masks(rles, cover)
            more = len(other.pairs) - len(base.pairs)
            self.more[cover] += more
            self.moved[cover] += abs(more)
            self.parents[cover] += int((other.parents != base.parents).sum())
            self.changed[cover] += int(
                (other.ancestors != base.ancestors).sum())

    def results(self) -> list[dict[str, Any]]:
        """A row for every theta_cover, in percent."""
        masks, pairs = max(self.masks, 1), max(self.pairs, 1)
        return [{
            'theta_cover': f'{cover:g}',
            'more pairs %': 100 * self.more[cover] / pairs,
            'without sign %': 100 * self.moved[cover] / pairs,
            'other parent %': 100 * self.parents[cover] / masks,
            'pairs changed %': 100 * self.changed[cover] / pairs,
        } for cover in THETA_COVER]


def step_rows(base: ExploreOptions) -> list[Row]:
    """Table 2: each threshold alone, their mix, steps 2 and 3."""
    plain = replace(base, local=None, refiner=_UNREFINED)
    rows = [
        Row(dict(step='1', choice=f'theta_merge = {threshold:g}'),
            replace(plain, thresholds=(threshold, )))
        for threshold in reversed(base.thresholds)
    ]
    zoomed = replace(base, local=base.local or LocalOptions(),
                     refiner=_UNREFINED)
    rows += [Row(dict(step='1', choice='mix with NMS'), plain),
             Row(dict(step='2', choice='local re-clustering'), zoomed)]
    for kind, name in (('densecrf', 'DenseCRF'),
                       ('cascadepsp', 'CascadePSP')):
        refiner = base.refiner if base.refiner['type'] == kind else dict(
            type=kind)
        row = Row(dict(step='3', choice=name),
                  replace(zoomed, refiner=refiner))
        try:
            build_refiner(refiner)
        except (ImportError, ValueError, OSError) as error:
            row.not_run = str(error)
        rows.append(row)
    return rows


def theta_small_rows(base: ExploreOptions) -> list[Row]:
    """Table 6a: from what size on regions are looked at again.

    The paper's four values, and the configuration's own where it is another.
    Step 3 is left out, as in the paper, whose figures are those of step 2.
    """
    local = base.local or LocalOptions()
    values = [*THETA_SMALL]
    if local.max_area not in values:
        values.append(local.max_area)
    return [
        Row(dict(theta_small=_area(value)),
            replace(base, refiner=_UNREFINED,
                    local=replace(local, max_area=value) if value else None))
        for value in values
    ]


def _area(value: float) -> str:
    """theta_small as a person writes it."""
    if value == 0:
        return '0 (no step 2)'
    return f'1/{1 / value:,.0f}' if value < 1 else f'{value:g} pixels'


def weights_rows(base: ExploreOptions, name: str, patch_size: int,
                 trained_at: int) -> list[Row]:
    """Table 7: the three steps with one ViT.

    Args:
        base (ExploreOptions): its refiner is that of step 3.
        name (str): of the weights.
        patch_size (int): pixels.
        trained_at (int): side in pixels that its position embedding is for.
    """
    head = {'weights': name, 'trained at': str(trained_at),
            'patch': str(patch_size), 'image size': str(base.image_size)}
    steps = [replace(base, local=None, refiner=_UNREFINED),
             replace(base, refiner=_UNREFINED), base]
    return [Row(dict(head, step=str(step)), options)
            for step, options in enumerate(steps, 1)]
