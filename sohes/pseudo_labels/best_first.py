"""Step 3 over an image's candidates: best first, and no more than needed."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.proposals import Proposal, suppress_masks
from sohes.pseudo_labels.refinement import build_refiner
from sohes.structures import PackedMasks, pairwise_iou
from sohes.structures.rles import encode_window

Box = tuple[int, int, int, int]

# Candidates between two looks at whether the rest can still matter. It moves
# the time a run takes and nothing else: more, and too many are refined; fewer,
# and a crop's pixels are prepared again and again.
_BLOCK = 128


@dataclass(frozen=True)
class Refined:
    """A mask after step 3, cut out of its image.

    Attributes:
        mask (np.ndarray): (h, w) bool; nothing lies outside of it.
        corner (tuple): (left, top) of the cut in pixels of the image.
        iou (float): of the mask with itself before refinement, in [0, 1].
    """
    mask: np.ndarray
    corner: tuple[int, int]
    iou: float


@runtime_checkable
class CropRefiner(Protocol):
    """A refiner that takes all masks of a crop at once."""

    def refine_crop(self, image: np.ndarray, box: Box,
                    items: Sequence[Proposal]) -> list[Refined]:
        """Refine proposals that share a box.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
            box (tuple): (left, top, right, bottom) in pixels of the image.
            items (Sequence[Proposal]): N, each with this box.

        Returns:
            list[Refined]: N, in the order of the items; each is what it
            would be if it came alone.
        """


@runtime_checkable
class ImageRefiner(Protocol):
    """A refiner that takes masks of an image at once, whatever their crops."""

    def refine_all(self, image: np.ndarray,
                   items: Sequence[Proposal]) -> list[Refined]:
        """Refine proposals.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
            items (Sequence[Proposal]): N.

        Returns:
            list[Refined]: N, in the order of the items.
        """


def refine_masks(refiner: Any, image: np.ndarray,
                 items: Sequence[Proposal]) -> Iterator[tuple[dict, float]]:
    """Refine proposals, all or those of a crop together if the refiner can.

    Args:
        refiner (CropRefiner, ImageRefiner or callable): see `build_refiner`.
        image (np.ndarray): (H, W, 3) uint8 RGB.
        items (Sequence[Proposal]): N.

    Yields:
        tuple: COCO RLE of the mask and its IoU with the one before, in the
        order of the items; (None, IoU) where nothing is left of a mask.
    """
    size = image.shape[:2]
    if isinstance(refiner, ImageRefiner):
        for one in refiner.refine_all(image, items):
            yield _encode(one.mask, one.corner, one.iou, size)
        return
    if isinstance(refiner, CropRefiner):
        refined: list = [None] * len(items)
        boxes: dict[Box, list[int]] = {}
        for k, item in enumerate(items):
            boxes.setdefault(item.box, []).append(k)
        for box, members in boxes.items():
            found = refiner.refine_crop(image, box,
                                        [items[k] for k in members])
            for k, one in zip(members, found):
                refined[k] = _encode(one.mask, one.corner, one.iou, size)
        yield from refined
        return
    for item in items:
        mask, iou = refiner(image, item)
        yield _encode(mask, (0, 0), iou, size)


def _encode(mask: np.ndarray, corner: tuple[int, int], iou: float,
            size: tuple[int, int]) -> tuple[dict | None, float]:
    if not mask.any():
        return None, iou
    return encode_window(mask, corner, size), iou


def refine_best(image: np.ndarray, items: Sequence[Proposal],
                options: ExploreOptions) -> tuple[list, np.ndarray, Mapping]:
    """Refine candidates until the rest cannot change the result.

    A mask's final score is its score before times its IoU with itself before
    refinement, so never more than before. Candidates come best first: once
    ``options.max_masks`` masks that survive suppression score at least what
    the best candidate to come scores, none of the rest can enter, nor push
    one of them out.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        items (Sequence[Proposal]): the candidates.
        options (ExploreOptions): all values of steps 3 and 4.

    Returns:
        tuple: at most ``options.max_masks`` RLEs, best first; their scores,
        (N,) float64; and how many candidates went where.
    """
    refiner = build_refiner(options.refiner)
    items = sorted(items, key=lambda item: -item.score)
    rles, scores = [], []
    done = 0
    while done < len(items):
        if done and _settled(rles, scores, items[done].score, options):
            break
        # Before max_masks are done nothing can be settled.
        block = items[done:max(done + _BLOCK, options.max_masks)]
        for item, (rle, iou) in zip(block,
                                    refine_masks(refiner, image, block)):
            if rle is not None and iou >= options.refine_min_iou:
                rles.append(rle)
                scores.append(item.score * iou)
        done += len(block)
    kept = _survivors(rles, np.array(scores), options.nms_iou)
    counts = dict(
        not_refined=len(items) - done,
        changed_too_much=done - len(rles),
        duplicates_after_refinement=len(rles) - len(kept),
        over_max_masks=max(0, len(kept) - options.max_masks))
    kept = kept[:options.max_masks]
    return ([rles[k] for k in kept], np.array([scores[k] for k in kept]),
            counts)


def _settled(rles: Sequence[dict], scores: Sequence[float], to_come: float,
             options: ExploreOptions) -> bool:
    """Whether the masks that no later one can outdo are enough."""
    safe = [k for k, score in enumerate(scores) if score >= to_come]
    if len(safe) < options.max_masks:
        return False
    kept = _survivors([rles[k] for k in safe],
                      np.array([scores[k] for k in safe]), options.nms_iou)
    return len(kept) >= options.max_masks


def _survivors(rles: Sequence[dict], scores: np.ndarray,
               max_iou: float) -> np.ndarray:
    """Indices of the masks that are no duplicates, best score first."""
    return suppress_masks(
        pairwise_iou(PackedMasks.from_any(rles)), scores, max_iou)
