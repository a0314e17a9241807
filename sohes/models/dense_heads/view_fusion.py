"""The entities of several views of a photo as those of the photo."""
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from sohes.models.dense_heads.expected_recall import (
    expected_recall,
    falling,
)
from sohes.models.dense_heads.mask_refinement import refined
from sohes.models.views import Box, cut_by_view, mask_areas, paste
from sohes.pseudo_labels.best_first import Refined
from sohes.structures import EntityForest, PackedMasks
from sohes.structures.mask_ops import pairwise_coverage, pairwise_iou

#: Of the side of the grid on which masks of different views are compared.
GRID = 224
#: A mask of fewer cells of its view is noise there.
MIN_CELLS = 4


def fuse_views(fusion: Any, classes: Tensor, logits: Sequence[Tensor],
               ancestors: Tensor, boxes: Sequence[Box], size: tuple[int, int],
               photo: NDArray[np.uint8] | None = None) -> InstanceData:
    """Joins what the head found in each view; ours, not the paper's.

    A mask that is cut by the side of a view, inside the photo, is left to
    another view. Of two masks with an IoU above ``nms_iou_thr`` the better
    score stays, and of all ``max_per_image``, as ``choose`` says. Relations
    between masks of one view are the head's; between views they are the
    coverage of Phase 1 (section 3.1), which also serves a head without
    ancestor prediction.

    Args:
        fusion: The :class:`EntityFusionHead` whose settings count.
        classes: (V, Q, 2) logits.
        logits: V of (Q, h, w), of the masks.
        ancestors: (V, Q, Q) logits, or (V, Q, 0).
        boxes: V of them.
        size: (H, W) of the masks wanted.
        photo: (H, W, 3) RGB, for a fusion head with a ``refiner``.

    Returns:
        As of :meth:`EntityFusionHead.predict`; chosen for recall, the scores
        are made to fall in the order of the choice.
    """
    found = [_of_view(fusion, *each, box)
             for *each, box in zip(classes, logits, boxes)]
    scores = torch.cat([each[0] for each in found])
    view = torch.cat([torch.full_like(each[1], number)
                      for number, each in enumerate(found)])
    query = torch.cat([each[1] for each in found])
    order = scores.argsort(descending=True, stable=True)
    order = order[:fusion.max_candidates]
    scores, view, query = scores[order], view[order], query[order]
    packed = _packed(logits, boxes, view, query)
    iou = pairwise_iou(packed)
    kept = _distinct(packed.areas, iou, fusion.nms_iou_thr)
    if fusion.choose == 'recall':
        kept = kept[expected_recall(iou[np.ix_(kept, kept)],
                                    scores.numpy(force=True)[kept],
                                    fusion.max_per_image)]
    kept = kept[:fusion.max_per_image]
    relations = _relations(fusion, packed, kept, ancestors, view, query)
    forest = EntityForest.from_ancestor_scores(
        relations, fusion.ancestor_thr)
    rows = torch.from_numpy(kept).to(scores.device)
    scores = scores[rows]
    if fusion.choose == 'recall':
        # In the order of the choice, so that the best k are the first k.
        scores = scores.new_tensor(falling(scores.tolist()))
    places = list(zip(view[rows].tolist(), query[rows].tolist()))
    moved: Sequence[Refined | None] = [None] * len(places)
    if fusion.refiner is not None and photo is not None:
        moved = refined(fusion, photo, logits, boxes, places)
    drawn = _drawn(logits, boxes, places, moved, size)
    masks, areas, bounds = _encoded(fusion, drawn, len(places), size,
                                    scores.device)
    large = torch.nonzero(areas >= max(fusion.min_area, 1)).squeeze(1)
    forest = forest.subset(large.tolist())
    result = InstanceData(
        scores=scores[large],
        labels=torch.zeros_like(large),
        bboxes=bounds[large],
        masks=[masks[k] for k in large.tolist()]
        if fusion.mask_format == 'rle' else masks[large],
        parents=torch.tensor(forest.parents, device=scores.device))
    if fusion.with_ancestors:
        result.ancestors = torch.tensor(
            forest.ancestors, device=scores.device)
    return result


def _of_view(fusion: Any, classes: Tensor, logits: Tensor,
             box: Box) -> tuple[Tensor, Tensor]:
    """Scores and queries of the masks of a view that may stay."""
    probabilities = classes.float().softmax(-1)[:, 0]
    masks = logits > 0
    areas = mask_areas(masks)
    inside = (logits.float().sigmoid() * masks).flatten(1).sum(1)
    scores = probabilities * inside / areas.clamp(min=1)
    good = (areas >= MIN_CELLS) & ~cut_by_view(masks, box)
    queries = torch.nonzero(good).squeeze(1)
    return scores[queries], queries


def _packed(logits: Sequence[Tensor], boxes: Sequence[Box], view: Tensor,
            query: Tensor) -> PackedMasks:
    """The masks on one grid over the photo, one bit a cell."""
    grid = (GRID, GRID)
    return PackedMasks.pack(
        (paste(logits[v][q][None], boxes[v], grid)[0].cpu().numpy()
         for v, q in zip(view.tolist(), query.tolist())), len(view), grid)


def _distinct(areas: np.ndarray, iou: np.ndarray,
              threshold: float | None) -> np.ndarray:
    """Rising indices without duplicates of better ones, of the best first."""
    keep = areas > 0
    if threshold is not None and len(keep):
        duplicates = iou > threshold
        for index in range(len(keep)):
            if keep[index]:
                keep[index + 1:] &= ~duplicates[index, index + 1:]
    return np.flatnonzero(keep)


def _relations(fusion: Any, packed: PackedMasks, kept: np.ndarray,
               ancestors: Tensor, view: Tensor, query: Tensor) -> np.ndarray:
    """(n, n) ancestor scores: of the head in a view, by coverage between."""
    rows = torch.from_numpy(kept).to(view.device)
    view, query = view[rows], query[rows]
    covered = pairwise_coverage(
        PackedMasks.pack((packed.mask(k) for k in kept), len(kept),
                         packed.size))
    areas = packed.areas[kept]
    # [i, j]: i holds most of j, and more than j.
    scores = ((fusion.coverage <= covered.T)
              & (areas[:, None] > areas)).astype(np.float64)
    if ancestors.shape[-1] and len(kept):
        same = (view[:, None] == view).cpu().numpy()
        predicted = ancestors[view[:, None], query[:, None],
                              query].float().sigmoid()
        scores = np.where(same, predicted.cpu().numpy(), scores)
    return scores


def _drawn(logits: Sequence[Tensor], boxes: Sequence[Box],
           places: Sequence[tuple[int, int]],
           moved: Sequence[Refined | None],
           size: tuple[int, int]) -> Iterator[Tensor]:
    """Masks at the photo's size, each (H, W) bool, refined where they are."""
    for (view, query), one in zip(places, moved):
        if one is None:
            yield paste(logits[view][query][None], boxes[view], size)[0]
            continue
        mask = np.zeros(size, bool)
        left, top = one.corner
        height, width = one.mask.shape
        mask[top:top + height, left:left + width] = one.mask
        yield torch.from_numpy(mask).to(logits[view].device)


def _encoded(fusion: Any, drawn: Iterator[Tensor], count: int,
             size: tuple[int, int],
             device: torch.device) -> tuple[Any, Tensor, Tensor]:
    """Masks in the format asked for, their areas and boxes."""
    masks: list[Any] = []
    areas = [torch.zeros(0, dtype=torch.int32, device=device)]
    bounds = [torch.zeros(0, 4, device=device)]
    chunk = max(1, fusion.chunk_pixels // (size[0] * size[1]))
    for _ in range(0, count, chunk):
        some = torch.stack(list(itertools.islice(drawn, chunk)))
        areas.append(mask_areas(some))
        # As bytes, whose any() is ten times as fast on a CPU.
        bounds.append(mask2bbox(some.view(torch.uint8)))
        masks += fusion.encoded(some)
    if fusion.mask_format != 'rle':
        masks = torch.stack(masks) if masks else torch.zeros(
            (0, *size), dtype=torch.bool, device=device)
    return masks, torch.cat(areas), torch.cat(bounds)
