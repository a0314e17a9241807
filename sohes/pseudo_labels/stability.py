"""Which segmentation of a photo to trust, without annotations.

A mask that is an entity is found again however the photo is flipped, cropped
or rescaled; one that is an accident of the clustering is not in every view.
But what is stable need not be an entity: the textures of a ViT's first blocks
return as well. So a segmentation is also judged by how many masks of *other*
segmentations it finds, each counted as far as it returns: recall against a
truth that nobody annotated.
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
        return np.array(part.resize(size, Image.Resampling.BOX))


_PHOTO = View('photo')
VIEWS = (View('flip', flip=True), View('crop', box=(0.1, 0.1, 0.8, 0.8)),
         View('rescale', scale=0.75), View('half', scale=0.5))


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


def shares_returning(masks: NDArray[np.bool_],
                     found: Sequence[NDArray[np.bool_]],
                     views: Sequence[View] = VIEWS) -> NDArray[np.float64]:
    """How far each mask of a photo is found again in every view of it.

    Args:
        masks: (N, h, w), of the photo.
        found: for each view the masks (M, h2, w2) that were found in what
            :meth:`View.take` makes of the photo, at ``View.scale`` times
            the size.
        views: in the same order.

    Returns:
        (N,) in [0, 1], mean over ``IOUS``, of the views that show the mask
        the worst; 0 where none does.
    """
    worst, shown = np.ones(len(masks)), np.zeros(len(masks), bool)
    for others, view in zip(found, views):
        visible, iou, _ = best_matches(masks, others, view)
        worst = np.where(visible, np.minimum(worst, graded(iou)), worst)
        shown |= visible
    return worst * shown


def agreement(masks: Sequence[NDArray[np.bool_]],
              weights: Sequence[NDArray[np.floating]]
              ) -> NDArray[np.float64]:
    """How far one segmentation finds the masks of another, of several.

    Args:
        masks: of each segmentation of a photo (N, h, w).
        weights: (N,) each, what the masks count; as
            :func:`shares_returning`.

    Returns:
        (K, K), ``[i, j]``: the masks of j that i finds, by weight and as
        recall is graded, in units of weight: at most j's sum of weights.
    """
    found = np.zeros((len(masks), len(masks)))
    for i, own in enumerate(masks):
        for j, (others, weight) in enumerate(zip(masks, weights)):
            _, iou, _ = best_matches(others, own, _PHOTO)
            found[i, j] = graded(iou) @ weight
    return found
