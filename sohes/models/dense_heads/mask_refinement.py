"""Phase 1's step 3 on predicted masks: their boundaries follow the pixels."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sohes.models.views import Box, pixels_of
from sohes.pseudo_labels.best_first import Refined
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


def refined(fusion: Any, photo: NDArray[np.uint8], logits: Sequence[Tensor],
            boxes: Sequence[Box],
            places: Sequence[tuple[int, int]]) -> list[Refined | None]:
    """Refines the masks of several views of a photo, view by view.

    A mask goes to the refiner as ``refiner_cells`` x ``refiner_cells``
    probabilities over its view; the reach of the refiner's kernels is in
    these cells.

    Args:
        fusion: The :class:`EntityFusionHead`.
        photo: (H, W, 3) RGB.
        logits: V of (Q, h, w).
        boxes: V views.
        places: N, the view and the query of each mask.

    Returns:
        N refined masks, cut out of the photo; None where nothing is left of
        a mask, which then stays as it was.
    """
    out: list[Refined | None] = [None] * len(places)
    for view in sorted({view for view, _ in places}):
        box = pixels_of(boxes[view], photo.shape[:2])
        items, members = [], []
        for k, (other, query) in enumerate(places):
            if other != view:
                continue
            soft = _coarse(logits[view][query], fusion.refiner_cells)
            if (soft > 0.5).any():
                members.append(k)
                items.append(
                    Proposal(soft > 0.5, box, 1.0, 1,
                             np.rint(soft * 255).astype(np.uint8)))
        if items:
            found = fusion.refiner.refine_crop(photo, box, items)
            for k, one in zip(members, found):
                out[k] = one if one.mask.any() else None
    return out


def _coarse(logits: Tensor, cells: int) -> NDArray[np.float32]:
    """(cells, cells) mean probabilities of (h, w) logits."""
    soft = F.interpolate(
        logits.float().sigmoid()[None, None], (cells, cells), mode='area')
    return soft[0, 0].cpu().numpy()
