"""The four steps of Phase 1 for one image (paper, section 3.1, figure 3).

``propose`` needs the ViT: it clusters the image (step 1), chooses crops and
clusters those (step 2). ``finish`` needs only the CPU: it draws the masks,
refines them (step 3) and finds who is part of whom (step 4). Apart, they run
in different processes; ``explore`` runs both.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sohes.pseudo_labels.best_first import refine_best
from sohes.pseudo_labels.local import (
    cluster_crop,
    cut_crops,
    join_windows,
    plan_crops,
    plan_windows,
)
from sohes.pseudo_labels.membership import add_membership
from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.options import (
    ExploreOptions,
    LocalOptions,
    with_thresholds,
)
from sohes.pseudo_labels.proposals import (
    Proposal,
    pool_nodes,
    propose_nodes,
    suppress_masks,
    suppress_nodes,
)
from sohes.structures import (
    Entities,
    EntityForest,
    PackedMasks,
    pairwise_iou,
)

# (images, size) -> (B, h, w, C) float32; see sohes.models.backbones
FeatureExtractor = Callable[[Sequence[np.ndarray], int], np.ndarray]

# Duplicates are looked for at this size at most: the IoU of two masks needs
# no more pixels, and a camera's photo has twelve times as many.
_DUPLICATE_SIDE = 1024


@dataclass
class Proposals:
    """What steps 1 and 2 found in an image.

    Attributes:
        size (tuple): (H, W) of the original image in pixels.
        items (list[Proposal]): best score first.
        counts (dict): how many masks, crops and drops at each point.
    """
    size: tuple[int, int]
    items: list[Proposal]
    counts: dict[str, int] = field(default_factory=dict)


def _local_proposals(image: np.ndarray, tree: MergeTree, nodes: np.ndarray,
                     extractor: FeatureExtractor, options: ExploreOptions,
                     counts: dict[str, int]) -> list[Proposal]:
    """Zoom into small nodes of the global tree and cluster again."""
    local: LocalOptions = options.local
    size = image.shape[:2]
    whole = (0, 0, size[1], size[0])
    bounds = [
        item.bounds() for item in propose_nodes(tree, nodes, whole, size, 1)
    ]
    crops, left_out = plan_crops(bounds, size, local.crop_scale,
                                 local.min_crop, local.max_zoom_out,
                                 local.max_crops)
    counts['small_regions'] = len(nodes)
    counts['small_regions_without_crop'] = left_out
    counts['crops'] = len(crops)
    proposals = []
    for k in range(0, len(crops), local.batch_size):
        batch = crops[k:k + local.batch_size]
        features = extractor(cut_crops(image, batch), local.image_size)
        for crop, crop_features in zip(batch, features):
            found = cluster_crop(crop_features, crop, size,
                                 local.thresholds or options.thresholds,
                                 options.nms_iou, local.min_patches,
                                 local.keep_image_edges)
            proposals += add_membership(found, crop_features,
                                        options.membership)
    return proposals


def _window_proposals(image: np.ndarray, extractor: FeatureExtractor,
                      options: ExploreOptions,
                      counts: dict[str, int]) -> list[Proposal]:
    """Look at the whole image again, in windows, and cluster these as one."""
    local: LocalOptions = options.local
    size = image.shape[:2]
    windows, shape = plan_windows(size, local.windows)
    counts['windows'] = len(windows)
    # Each window's own mean would part a wall from itself at their border.
    center = bool(getattr(extractor, 'center', False))
    uncentred = dict(center=False) if center else {}
    features = join_windows(
        np.concatenate([
            extractor(
                cut_crops(image, windows[k:k + local.batch_size]),
                local.image_size, **uncentred)
            for k in range(0, len(windows), local.batch_size)
        ]), shape, center)
    found = cluster_crop(features, (0, 0, size[1], size[0]), size,
                         local.thresholds or options.thresholds,
                         options.nms_iou, local.min_patches)
    return add_membership(found, features, options.membership)


def propose(image: np.ndarray, extractor: FeatureExtractor,
            options: ExploreOptions) -> Proposals:
    """Steps 1 and 2: cluster the image, zoom into small regions.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB, the original.
        extractor (callable): (images, size) -> (B, h, w, C) float32.
        options (ExploreOptions): all values; see `with_thresholds`.

    Returns:
        Proposals: without duplicates, at most ``options.max_candidates``.
    """
    options = with_thresholds(options, extractor)
    size = image.shape[:2]
    features = extractor([image], options.image_size)[0]
    tree = MergeTree.from_features(features)
    nodes = suppress_nodes(tree, pool_nodes(tree, options.thresholds),
                           options.nms_iou)
    counts = {}
    small = np.zeros(len(nodes), bool)
    if options.local is not None:
        share = options.local.bound(size) / (size[0] * size[1])
        small = tree.area[nodes] < share * tree.n_leaves
    large = nodes[~small & (tree.area[nodes] >= options.min_patches)]
    whole = (0, 0, size[1], size[0])
    items = add_membership(propose_nodes(tree, large, whole, size, step=1),
                           features, options.membership)
    counts['global'] = len(items)
    if small.any():
        if options.local.windows is None:
            found = _local_proposals(image, tree, nodes[small], extractor,
                                     options, counts)
        else:
            found = _window_proposals(image, extractor, options, counts)
        counts['local'] = len(found)
        items = _drop_duplicates(items + found, size, options.nms_iou)
        counts['duplicates_of_crops'] = (counts['global'] + len(found) -
                                         len(items))
    items.sort(key=lambda item: -item.score)
    counts['over_max_candidates'] = max(0,
                                        len(items) - options.max_candidates)
    return Proposals(size, items[:options.max_candidates], counts)


def _drop_duplicates(items: list[Proposal], size: tuple[int, int],
                     max_iou: float) -> list[Proposal]:
    """Non-maximal suppression across the trees of image and crops."""
    shrink = min(1.0, _DUPLICATE_SIDE / max(size))
    small = tuple(max(1, round(side * shrink)) for side in size)

    def draw(item: Proposal) -> np.ndarray:
        left, top, right, bottom = (round(v * shrink) for v in item.box)
        box = (left, top, max(right, left + 1), max(bottom, top + 1))
        return Proposal(item.grid, box, item.score, item.step).render(small)

    # One mask at a time: a picture of gravel has thousands.
    iou = pairwise_iou(
        PackedMasks.pack(map(draw, items), len(items), small))
    kept = suppress_masks(iou, np.array([p.score for p in items]), max_iou)
    return [items[k] for k in kept]


def finish(image: np.ndarray, proposals: Proposals,
           options: ExploreOptions) -> Entities:
    """Steps 3 and 4: refine the masks, find their hierarchy.

    A mask's score is its region's (`region_score`) times its IoU with itself
    before refinement: what neither merging nor refinement disturbs is likely
    to be an entity. The best ``options.max_masks`` stay; candidates that
    cannot be among them are not refined (`refine_best`).

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB, the original.
        proposals (Proposals): of `propose`.
        options (ExploreOptions): all values.

    Returns:
        Entities: masks at the size of the original.
    """
    rles, scores, counts = refine_best(image, proposals.items, options)
    return Entities(
        size=proposals.size,
        rles=rles,
        scores=scores,
        forest=EntityForest.from_masks(rles, coverage=options.coverage),
        counts={**proposals.counts, **counts})


def explore(image: np.ndarray, extractor: FeatureExtractor,
            options: ExploreOptions | None = None) -> Entities:
    """All four steps for one image, in this process.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        extractor (callable): (images, size) -> (B, h, w, C) float32.
        options (ExploreOptions, optional): all values. Where they name no
            thresholds, those of ``extractor.preset`` count.

    Returns:
        Entities: masks with scores and their forest.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, or neither options nor
            extractor have thresholds.
    """
    options = options or ExploreOptions()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError('the image must be (H, W, 3) uint8 RGB, found '
                         f'{image.shape} {image.dtype}')
    return finish(image, propose(image, extractor, options), options)
