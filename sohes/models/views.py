"""Views of a photo at inference: the whole, and enlarged parts of it."""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: Left, top, right, bottom, as fractions of the photo's width and height.
Box = tuple[float, float, float, float]


def view_boxes(zooms: Sequence[float]) -> list[Box]:
    """Which parts of a photo the views show.

    Args:
        zooms: 1 is the whole photo; at z the views are 1 / z of its sides
            and overlap by half, so that what is smaller than half a view is
            whole in one of them.

    Returns:
        For each zoom its views, row by row.

    Raises:
        ValueError: No zoom, or one under 1.
    """
    if not zooms or min(zooms) < 1:
        raise ValueError(
            f'zooms must be numbers of at least 1, got {list(zooms)}')
    boxes = []
    for zoom in zooms:
        side = 1 / zoom
        steps = 1 if zoom == 1 else int(np.ceil(2 * zoom)) - 1
        starts = np.linspace(0, 1 - side, steps).tolist()
        boxes += [(left, top, left + side, top + side)
                  for top in starts for left in starts]
    return boxes


def pixels_of(box: Box, size: Sequence[int]) -> tuple[int, int, int, int]:
    """A box in pixels: left, top, right, bottom; never empty.

    Args:
        box: As fractions.
        size: (H, W).
    """
    height, width = size
    left, top = int(round(box[0] * width)), int(round(box[1] * height))
    return (left, top, max(int(round(box[2] * width)), left + 1),
            max(int(round(box[3] * height)), top + 1))


def crop_views(image: Tensor, boxes: Sequence[Box], side: int) -> Tensor:
    """What the views show of a photo.

    Args:
        image: (3, H, W).
        boxes: V of them.
        side: Of the views, in pixels.

    Returns:
        (V, 3, side, side).
    """
    views = []
    for box in boxes:
        left, top, right, bottom = pixels_of(box, image.shape[1:])
        part = image[None, :, top:bottom, left:right]
        if part.shape[2:] != (side, side):
            part = F.interpolate(
                part, (side, side), mode='bilinear', align_corners=False,
                antialias=True)
        views.append(part)
    return torch.cat(views)


def cut_by_view(masks: Tensor, box: Box) -> Tensor:
    """Which masks reach a side of the view that is inside the photo.

    Args:
        masks: (n, h, w) bool, over the view.
        box: Of the view.

    Returns:
        (n,) bool.
    """
    cut = masks.new_zeros(len(masks))
    for inside, edge in ((box[0] > 0, masks[:, :, 0]),
                         (box[1] > 0, masks[:, 0]),
                         (box[2] < 1 - 1e-6, masks[:, :, -1]),
                         (box[3] < 1 - 1e-6, masks[:, -1])):
        if inside:
            cut |= edge.any(1)
    return cut


def mask_areas(masks: Tensor) -> Tensor:
    """(n,) int32 pixels of (n, h, w) bool masks, under 2**31 each."""
    if masks.device.type == 'cpu':
        # torch's sum would first write every pixel as an int32.
        return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()],
                            dtype=torch.int32)
    return masks.flatten(1).sum(1, dtype=torch.int32)


def paste(logits: Tensor, box: Box, size: Sequence[int]) -> Tensor:
    """Masks of a view as masks of the photo.

    Args:
        logits: (n, h, w) over the view.
        box: Of the view.
        size: (H, W) of the photo's masks.

    Returns:
        (n, H, W) bool.
    """
    left, top, right, bottom = pixels_of(box, size)
    masks = torch.zeros(
        (len(logits), *size), dtype=torch.bool, device=logits.device)
    masks[:, top:bottom, left:right] = F.interpolate(
        logits[None].float(), (bottom - top, right - left), mode='bilinear',
        align_corners=False)[0] > 0
    return masks
