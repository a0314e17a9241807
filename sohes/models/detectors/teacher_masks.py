"""Which of a teacher's masks to believe, and where they are in a view."""
import numpy as np
import torch
from torch import Tensor

#: COCO's bounds of small and medium, in pixels of the original image.
COCO_AREAS = (32**2, 96**2)

#: Pixels; more than what float32 homographies are off by.
_SLACK = 1e-3


def dynamic_threshold(area_share: Tensor,
                      gamma: float = 200.,
                      low: float = 0.3,
                      high: float = 0.7) -> Tensor:
    """The score that a teacher's mask must exceed (SOHES, equation 3).

    ``(1 - (1 - a) ** gamma) * (high - low) + low``: a teacher is less sure
    of small entities, so these need less. With the defaults a mask of 0.35 %
    of the image is half way between the two.

    Args:
        area_share: a, (...) float in [0, 1], area of a mask by the area of
            its image, padding left out.
        gamma: 1 or more: how soon the threshold rises with the area; at 1
            it is a straight line, at infinity ``high`` everywhere but at 0.
        low: Threshold of the smallest mask.
        high: Threshold of a mask of the whole image, at least ``low``.

    Returns:
        (...) thresholds in [low, high], rising with ``area_share``.

    Raises:
        ValueError: ``gamma`` is under 1, or not 0 <= low <= high <= 1.

    Examples:
        >>> dynamic_threshold(torch.tensor([0., 0.5, 1.]), gamma=1.)
        tensor([0.3000, 0.5000, 0.7000])
    """
    if not gamma >= 1:
        raise ValueError(f'gamma must be 1 or more, got {gamma}')
    if not 0 <= low <= high <= 1:
        raise ValueError('thresholds must be 0 <= low <= high <= 1, got low '
                         f'{low} and high {high}')
    # log1p and expm1: 1 - a loses the digits of an a of a few pixels.
    rise = -torch.expm1(gamma * torch.log1p(-area_share))
    # Exact at both ends, where float32 would miss ``high``.
    return torch.lerp(
        torch.full_like(rise, low), torch.full_like(rise, high), rise)


def count_by_size(areas: Tensor) -> Tensor:
    """(3,) float: small, medium and large ones, as COCO has it.

    Args:
        areas: (n,) in pixels of the original image.
    """
    small, medium = COCO_AREAS
    return torch.stack([
        areas < small, (areas >= small) & (areas < medium), areas >= medium
    ]).sum(1).float()


def between_views(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The homography from one view of an image to another.

    Args:
        source: (3, 3), from the original image to the one view, as mmdet's
            transforms record it.
        target: (3, 3), to the other view.

    Returns:
        (3, 3) float64.
    """
    return np.asarray(target, np.float64) @ np.linalg.inv(
        np.asarray(source, np.float64))


def project_masks(masks: Tensor, homography: np.ndarray,
                  size: tuple[int, int]) -> Tensor:
    """Masks as another view of their image shows them.

    A pixel is inside a mask when the pixel of the source under its centre
    is. Coordinates are those of mmdet's transforms: pixel i covers
    [i, i + 1], its centre is i + 0.5.

    Args:
        masks: (n, H, W) bool.
        homography: (3, 3), from pixels (x, y, 1) of the masks to pixels of
            the view.
        size: (H', W') of the view.

    Returns:
        (n, H', W') bool; what lies outside of H x W is False.
    """
    height, width = masks.shape[1:]
    inverse = torch.from_numpy(np.linalg.inv(homography)).to(masks.device)
    rows, columns = (
        torch.arange(side, device=masks.device, dtype=torch.float64) + 0.5
        for side in size)
    # (3, H', W')
    x, y, w = (
        row[0] * columns + row[1] * rows[:, None] + row[2] for row in inverse)
    # A centre that falls on the line between two pixels, as when halving,
    # must not take one here and the other there.
    x = (x / w + _SLACK).floor().long()
    y = (y / w + _SLACK).floor().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = torch.where(inside, y * width + x, 0)
    return masks.flatten(1)[:, index] & inside


def cut_off(masks: Tensor, source: np.ndarray, target: np.ndarray,
            size: tuple[int, int], photo: tuple[int, int]) -> Tensor:
    """Masks that end with the view they are in, where another goes on.

    Only the other view shows whole what such a mask is a part of. A side of
    the view that is a side of the photo cuts nothing.

    Args:
        masks: (n, H, W) bool, in the view ``source``.
        source: (3, 3), from the original image to this view, as mmdet's
            transforms record it.
        target: (3, 3), to the other view.
        size: (H', W') of the other view.
        photo: (height, width) of the original image.

    Returns:
        (n,) bool.
    """
    height, width = masks.shape[1:]
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    inverse = np.linalg.inv(np.asarray(source, np.float64))
    cut = masks.new_zeros(len(masks))
    # Centres of the pixels that would come next.
    for x, y, side in ((-0.5, rows, masks[:, :, 0]),
                       (width + 0.5, rows, masks[:, :, -1]),
                       (columns, -0.5, masks[:, 0]),
                       (columns, height + 0.5, masks[:, -1])):
        points = inverse @ np.stack(np.broadcast_arrays(x, y, 1.0))
        seen = _inside(points, photo) & _inside(
            np.asarray(target, np.float64) @ points, size)
        cut |= (side & torch.from_numpy(seen).to(masks.device)).any(1)
    return cut


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which of (3, n) points (x, y, w) are in an image of (H, W)."""
    x, y = points[:2] / points[2]
    return (x > 0) & (x < size[1]) & (y > 0) & (y < size[0])
