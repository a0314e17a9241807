"""The points of an image at which all of its masks are compared."""
from collections.abc import Sequence

import torch
from torch import Tensor

from sohes.structures.bit_masks import BitMasks

#: In pixels: a point is near an edge where a mask changes within this
#: distance. It is one cell of the mask features at their stride of 4.
REACH = 4.0
#: So many points are tried for each that is drawn.
_TRIES = 3


def draw_points(masks: BitMasks, size: Sequence[int], count: int,
                edge_share: float = 0.0) -> tuple[Tensor, Tensor]:
    """Draws points of an image, some of them near the edges of its masks.

    Of the pixels of a picture few are near an edge, and they decide how well
    a mask fits. Mask2Former looks for points at which a prediction is
    unsure, mask by mask; here the points serve all masks, so they come from
    the ground truth. Whatever torch's global generator gives decides.

    Args:
        masks: M ground truths.
        size: (H, W) of the padded batch, in pixels.
        count: P, points wanted.
        edge_share: In [0, 1], of the points that are drawn near edges; fewer
            where not enough of those tried are.

    Returns:
        (P, 2) float32 points (x, y) in [0, 1] and (M, P) float32, the masks
        there.
    """
    device = masks.device
    points = torch.rand((count, 2), device=device)
    wanted = round(edge_share * count)
    if wanted and len(masks):
        tried = torch.rand((_TRIES * count, 2), device=device)
        # Diagonally, to one of four sides; the frame is no edge.
        moved = (torch.rand_like(tried) - 0.5).sign() * REACH
        pixels = tried * tried.new_tensor([masks.width, masks.height])
        moved[:, 0] = (pixels[:, 0] + moved[:, 0]).clamp(0, masks.width - 1)
        moved[:, 1] = (pixels[:, 1] + moved[:, 1]).clamp(0, masks.height - 1)
        inside = masks.at(torch.cat([pixels, moved]).long())
        tried = pixels / tried.new_tensor([size[1], size[0]])
        near = (inside[:, :len(tried)] != inside[:, len(tried):]).any(0)
        near = tried[near][:wanted]
        points = torch.cat([near, points[len(near):]])
    return points, masks.sample(points, tuple(size))
