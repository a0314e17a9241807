"""HASSOD's pseudo-labels: whole partitions, refined jointly, then filtered.

HASSOD (Cao et al., NeurIPS 2023) merges patches as SOHES does and keeps the
partition at each of a few thresholds. What differs is all that comes after:
one dense CRF decides over all regions of a partition at once, simple filters
drop what cannot be an object, and there is no second look at small regions.

Built from what its paper and its released code do, in our own words; where
we leave a mistake of the code out, `HassodOptions` says how to ask for it.
"""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.options import (
    check_between,
    check_count,
    checked_refiner,
    checked_thresholds,
    with_thresholds,
)
from sohes.pseudo_labels.pipeline import FeatureExtractor
from sohes.pseudo_labels.proposals import region_score, suppress_masks
from sohes.pseudo_labels.refinement import build_refiner
from sohes.pseudo_labels.window import mask_iou
from sohes.structures import (
    Entities,
    EntityForest,
    PackedMasks,
    pairwise_iou,
)
from sohes.structures.rles import encode_mask

#: Names of the levels: depth 0, 1, and 2 or more in the forest.
LEVELS = ('whole', 'part', 'subpart')


@dataclass(frozen=True)
class HassodOptions:
    """Every value of HASSOD's labels.

    Attributes:
        type (str): 'hassod'; by it `read_options` knows the method.
        image_size (int): side that an image is squashed to, in pixels.
        thresholds (tuple, optional): merging thresholds, strictly falling;
            None takes those that come with the weights.
        refiner (dict, optional): 'joint_densecrf' and its arguments, see
            `JointDenseCRF`; None leaves the patches as they are.
        refine_min_iou (float): a region whose IoU before and after
            refinement is under this goes.
        min_area (int): smaller masks go, in pixels of the original image.
        max_corners (int): masks on more corners of the image go. HASSOD's
            code has 2, which throws every background away; with 4, none
            goes.
        fill_holes (bool): fill what a mask encloses.
        nms_iou (float): of two masks with a higher IoU one goes. HASSOD
            pools its thresholds as they are, which is 1.0: a region that
            two thresholds share is then labelled twice.
        min_patches (int): smaller regions are not labelled; HASSOD has no
            such bound, which is 1.
        max_regions (int): a partition with more regions is left out and
            counted: the CRF holds every region at every pixel.
        coverage (float): of a part by its whole.
    """
    type: str = 'hassod'
    image_size: int = 480
    thresholds: tuple[float, ...] | None = (0.4, 0.2, 0.1)
    refiner: Mapping[str, Any] | None = field(
        default_factory=lambda: dict(type='joint_densecrf'))
    refine_min_iou: float = 0.5
    min_area: int = 100
    max_corners: int = 4
    fill_holes: bool = True
    nms_iou: float = 0.9
    min_patches: int = 1
    max_regions: int = 400
    coverage: float = 0.9

    def __post_init__(self) -> None:
        for key in ('image_size', 'min_area', 'min_patches', 'max_regions'):
            check_count(key, getattr(self, key))
        for key in ('nms_iou', 'refine_min_iou', 'coverage'):
            check_between(key, getattr(self, key), 0, 1)
        check_between('max_corners', self.max_corners, 0, 4)
        object.__setattr__(self, 'refiner', checked_refiner(self.refiner))
        if self.refiner.get('type') in ('densecrf', 'cascadepsp'):
            raise ValueError(f'refiner {self.refiner["type"]!r} refines '
                             'single masks; HASSOD refines partitions: use '
                             "'joint_densecrf' or 'none'")
        object.__setattr__(
            self, 'thresholds',
            checked_thresholds('thresholds', self.thresholds))


@dataclass(frozen=True)
class Partition:
    """What stands at one threshold.

    Attributes:
        labels (np.ndarray): (h, w) int32, the region of each patch, 0 to
            K - 1.
        scores (np.ndarray): (K,) float64 in [0, 1], see `region_score`.
        patches (np.ndarray): (K,) int64, patches of each region.
    """
    labels: np.ndarray
    scores: np.ndarray
    patches: np.ndarray

    @classmethod
    def of_tree(cls, tree: MergeTree, threshold: float) -> 'Partition':
        """The partition of a tree before the first maximum below."""
        nodes = tree.nodes_at(threshold)
        labels = np.empty(tree.shape, np.int32)
        for number, node in enumerate(nodes):
            labels[tree.mask(node)] = number
        persistence = (tree.formed - tree.absorbed)[nodes]
        patches = tree.area[nodes].astype(np.int64)
        scores = [region_score(*pair)
                  for pair in zip(persistence, patches / tree.n_leaves)]
        return cls(labels, np.array(scores), patches)


@dataclass
class Partitions:
    """What clustering found in an image.

    Attributes:
        size (tuple): (H, W) of the original image in pixels.
        items (list[Partition]): one a threshold, falling.
        counts (dict): regions so far.
    """
    size: tuple[int, int]
    items: list[Partition]
    counts: dict[str, int]


def squash(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (side, side, 3) uint8 by Lanczos resampling."""
    from PIL import Image
    return np.array(
        Image.fromarray(image).resize((side, side), Image.LANCZOS))


def propose(image: np.ndarray, extractor: FeatureExtractor,
            options: HassodOptions) -> Partitions:
    """Cluster an image; the only step that needs the ViT.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB, the original.
        extractor (callable): (images, size) -> (B, h, w, C) float32.
        options (HassodOptions): all values; see `with_thresholds`.

    Returns:
        Partitions: one a threshold, without those of too many regions.
    """
    side = options.image_size
    tree = MergeTree.from_features(
        extractor([squash(image, side)], side)[0])
    counts = dict(regions=0, partitions_too_fine=0)
    items = []
    for threshold in with_thresholds(options, extractor).thresholds:
        found = len(tree.nodes_at(threshold))
        counts['regions'] += found
        if found > options.max_regions:
            counts['partitions_too_fine'] += 1
        else:
            items.append(Partition.of_tree(tree, threshold))
    return Partitions(image.shape[:2], items, counts)


def finish(image: np.ndarray, partitions: Partitions,
           options: HassodOptions) -> Entities:
    """Refine each partition, filter its regions, pool, find the levels.

    The filters in HASSOD's order: IoU with the region before refinement,
    area, corners; then holes are filled.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB, the original.
        partitions (Partitions): of `propose`.
        options (HassodOptions): all values.

    Returns:
        Entities: with levels. A score is SOHES's, of region and IoU:
        HASSOD's own labels have none.
    """
    counts = dict(partitions.counts, changed_too_much=0, too_small=0,
                  on_corners=0)
    pixels = squash(image, options.image_size)
    rles, scores = [], []
    for partition in partitions.items:
        before = enlarge(partition.labels, len(partition.scores),
                         options.image_size)
        refiner = build_refiner(options.refiner)
        after = refiner.probabilities(pixels, before)
        old, new = before.argmax(0), after.argmax(0)
        for k, score in enumerate(partition.scores):
            if partition.patches[k] < options.min_patches:
                continue
            iou = mask_iou(old == k, new == k)
            if iou < options.refine_min_iou:
                counts['changed_too_much'] += 1
                continue
            mask = full_size(after[k], partitions.size)
            reason = why_dropped(mask, options)
            if reason:
                counts[reason] += 1
                continue
            rles.append(encode_mask(
                filled(mask) if options.fill_holes else mask))
            scores.append(score * iou)
    kept = suppress_masks(
        pairwise_iou(PackedMasks.from_any(rles)), np.array(scores),
        options.nms_iou)
    counts['duplicates'] = len(rles) - len(kept)
    rles = [rles[k] for k in kept]
    forest = EntityForest.from_masks(rles, coverage=options.coverage)
    return Entities(
        size=partitions.size,
        rles=rles,
        scores=np.array([scores[k] for k in kept]),
        forest=forest,
        given_levels=forest.levels(),
        counts=counts)


def enlarge(labels: np.ndarray, count: int, side: int) -> np.ndarray:
    """Every region as probabilities at the size that the CRF works on.

    Args:
        labels (np.ndarray): (h, w) int, 0 to K - 1.
        count (int): K.
        side (int): pixels.

    Returns:
        np.ndarray: (K, side, side) float32, each one-hot map enlarged
        bilinearly; they add up to 1 at every pixel.
    """
    import cv2
    out = np.empty((count, side, side), np.float32)
    for k in range(count):
        cv2.resize((labels == k).astype(np.float32), (side, side), out[k],
                   interpolation=cv2.INTER_LINEAR)
    return out


def full_size(probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 -> (H, W) bool: enlarged bilinearly, cut at 0.5."""
    import cv2
    return cv2.resize(probability, size[::-1],
                      interpolation=cv2.INTER_LINEAR) > 0.5


def why_dropped(mask: np.ndarray, options: HassodOptions) -> str | None:
    """Which filter an (H, W) bool mask does not pass; None: all passed."""
    if np.count_nonzero(mask) < options.min_area:
        return 'too_small'
    if corners(mask) > options.max_corners:
        return 'on_corners'
    return None


def corners(mask: np.ndarray) -> int:
    """How many of the image's four corners an (H, W) bool mask holds."""
    return int(np.count_nonzero(mask[[0, 0, -1, -1], [0, -1, 0, -1]]))


def filled(mask: np.ndarray) -> np.ndarray:
    """An (H, W) bool mask with the holes that it encloses."""
    from scipy.ndimage import binary_fill_holes
    return binary_fill_holes(mask)
