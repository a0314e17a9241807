"""Phase 1's step 3 on predicted masks: their boundaries follow the pixels."""
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sohes.models.views import Box, pixels_of
from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.refinement import build_refiner

#: Those that take all masks of a view at once. A class by its path is never
#: one: a model's configuration may come from a stranger.
REFINERS = ('localcrf', )


def checked_refiner(config: Mapping[str, Any]) -> Any:
    """Builds the refiner of a model.

    Args:
        config: ``type`` and arguments, as Phase 1's ``refiner``.

    Raises:
        ValueError: Another type, or an unknown argument.
    """
    if config.get('type') not in REFINERS:
        raise ValueError('refiner in test_cfg: type must be one of '
                         f'{", ".join(REFINERS)}, got {config.get("type")!r}')
    return build_refiner(config)


def refined(fusion: Any, photo: NDArray[np.uint8], logits: Tensor,
            boxes: Sequence[Box], views: Sequence[int],
            queries: Sequence[int],
            drawn: Iterable[Tensor]) -> Iterator[Tensor]:
    """Refines the masks of several views of a photo, view by view.

    A mask goes to the refiner as ``refiner_cells`` x ``refiner_cells``
    probabilities over its view; the reach of the refiner's kernels is in
    these cells. A mask that nothing is left of stays as it was.

    Args:
        fusion: The :class:`EntityFusionHead`.
        photo: (H, W, 3) RGB.
        logits: (V, Q, h, w).
        boxes: V views.
        views: N, the view of each mask.
        queries: N, its query.
        drawn: N masks before, each (H, W) bool.

    Yields:
        N masks, each (H, W) bool.
    """
    after: list[Any] = [None] * len(views)
    size = photo.shape[:2]
    for view in sorted(set(views)):
        box = pixels_of(boxes[view], size)
        items, places = [], []
        for place in np.flatnonzero(np.asarray(views) == view).tolist():
            soft = _coarse(logits[view, queries[place]], fusion.refiner_cells)
            if (soft > 0.5).any():
                places.append(place)
                items.append(
                    Proposal(soft > 0.5, box, 1.0, 1,
                             np.rint(soft * 255).astype(np.uint8)))
        if items:
            found = fusion.refiner.refine_crop(photo, box, items)
            for place, each in zip(places, found):
                after[place] = each
    for before, each in zip(drawn, after):
        if each is None or not each.mask.any():
            yield before
            continue
        mask = torch.zeros_like(before)
        left, top = each.corner
        height, width = each.mask.shape
        mask[top:top + height, left:left + width] = torch.from_numpy(
            np.ascontiguousarray(each.mask)).to(mask.device)
        yield mask


def _coarse(logits: Tensor, cells: int) -> NDArray[np.float32]:
    """(cells, cells) mean probabilities of (h, w) logits."""
    soft = F.interpolate(
        logits.float().sigmoid()[None, None], (cells, cells), mode='area')
    return soft[0, 0].cpu().numpy()
