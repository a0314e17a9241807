"""How many masks return when a photo is flipped, cropped or rescaled.

A measure of pseudo-labels that looks at no annotation. A mask that is an
entity is found again in another view of the same photo; one that is an
accident of the clustering is not. What counts is the number of masks of a
photo that return, so neither a few safe masks nor many arbitrary ones do
well.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# COCO's thresholds: returning is graded as recall is.
IOUS = np.linspace(0.5, 0.95, 10)
# Cells per side of the grid on which two views are compared.
_SIDE = 96
# A mask counts in a view that shows this share of it, as step 4's coverage.
_VISIBLE = 0.9


@dataclass(frozen=True)
class View:
    """Another picture of the same photo.

    Attributes:
        name: for people.
        box: (left, top, right, bottom) of the part shown, in [0, 1].
        flip: whether left and right change places.
        scale: of the side that the ViT sees, over the photo's own.
    """
    name: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False
    scale: float = 1.0

    def take(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The view as an image of its own, (h, w, 3) uint8."""
        height, width = image.shape[:2]
        left, top, right, bottom = self.box
        part = image[round(top * height):round(bottom * height),
                     round(left * width):round(right * width)]
        return np.ascontiguousarray(part[:, ::-1] if self.flip else part)

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The view with as many pixels as ``scale`` leaves of it."""
        part = Image.fromarray(self.take(image))
        size = [max(1, round(self.scale * side)) for side in part.size]
        return np.asarray(part.resize(size, Image.Resampling.BOX))


VIEWS = (View('flip', flip=True), View('crop', box=(0.1, 0.1, 0.8, 0.8)),
         View('rescale', scale=0.75))


@dataclass(frozen=True)
class Stability:
    """What returned, as means over views and IoU thresholds.

    Attributes:
        masks: of the photo itself.
        share: of the masks that a view shows, those that return, [0, 1].
    """
    masks: float
    share: float

    @property
    def returning(self) -> float:
        """Masks of a photo that return: the measure to compare by."""
        return self.masks * self.share


def sample(masks: NDArray[np.bool_],
           box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
           flip: bool = False, side: int = _SIDE) -> NDArray[np.bool_]:
    """Masks on a grid over a part of what they cover, by nearest cells.

    Args:
        masks: (N, h, w) over the whole image.
        box: (left, top, right, bottom) of the part, in [0, 1].
        flip: left and right change places.
        side: cells per side.

    Returns:
        (N, side, side) bool.
    """
    left, top, right, bottom = box
    centres = (np.arange(side) + 0.5) / side
    rows = ((top + centres * (bottom - top)) * masks.shape[1]).astype(int)
    columns = ((left + centres * (right - left)) * masks.shape[2]).astype(int)
    if flip:
        columns = columns[::-1]
    return masks[:, rows[:, None], columns]


def graded(ious: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of ``IOUS`` that each IoU reaches, as recall is graded."""
    return (np.asarray(ious)[..., None] >= IOUS).mean(-1)


def best_matches(masks: NDArray[np.bool_], found: NDArray[np.bool_],
                 view: View) -> tuple[NDArray, NDArray, NDArray]:
    """Of each mask of a photo the most similar one in a view.

    Args:
        masks: (N, h, w), of the photo.
        found: (M, h2, w2), of the view alone.
        view: which.

    Returns:
        (N,) bool, whether the view shows nine tenths of the mask; (N,) IoU
        of its part that is shown with the best match, 0 without one; (N,)
        int, which that is.
    """
    shown = sample(masks, view.box, view.flip).reshape(len(masks), _SIDE**2)
    # cells of the view per cell of the photo, to compare areas
    left, top, right, bottom = view.box
    whole = sample(masks).sum((1, 2)) / ((right - left) * (bottom - top))
    area = shown.sum(1)
    visible = (area > 0) & (area >= _VISIBLE * whole)
    if not len(found):
        nothing = np.zeros(len(masks))
        return visible, nothing, nothing.astype(int)
    other = sample(found).reshape(len(found), _SIDE**2).astype(np.float32)
    both = shown.astype(np.float32) @ other.T  # (N, M)
    union = area[:, None] + other.sum(1) - both
    iou = both / np.maximum(union, 1)
    return visible, iou.max(1), iou.argmax(1)


def shares_returning(masks: NDArray[np.bool_], found: NDArray[np.bool_],
                     view: View) -> float | None:
    """Share of a photo's masks that a view has as well.

    Args:
        masks: (N, h, w), of the photo.
        found: (M, h2, w2), of the view alone.
        view: which.

    Returns:
        In [0, 1], mean over ``IOUS``; None where the view shows no mask.
    """
    visible, iou, _ = best_matches(masks, found, view)
    return float(graded(iou[visible]).mean()) if visible.any() else None


def stability(masks: NDArray[np.bool_], found: Sequence[NDArray[np.bool_]],
              views: Sequence[View] = VIEWS) -> Stability:
    """How many masks of a photo return in other views of it.

    Args:
        masks: (N, h, w), of the photo.
        found: for each view the masks (M, h2, w2) that were found in what
            :meth:`View.take` makes of the photo, at ``View.scale`` times
            the size.
        views: in the same order.
    """
    if not len(masks):
        return Stability(0.0, 0.0)
    shares = [
        shares_returning(masks, others, view)
        for others, view in zip(found, views)
    ]
    known = [share for share in shares if share is not None]
    return Stability(float(len(masks)), float(np.mean(known or [0.0])))
