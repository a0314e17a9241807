"""Step 3 with a conditional random field that takes a crop's masks at once.

DenseCRF (Kraehenbuehl & Koltun, 2011) filters all pixels of a window, for one
mask after the other. What its kernels weigh are the pixels alone, and these
are the same for all masks of a crop: here each pixel listens to some hundred
pixels around it, whose weights are computed once a crop, and the mean field
is a sum over these.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sohes.pseudo_labels.best_first import Box, Refined
from sohes.pseudo_labels.local_crf_kernels import (
    Links,
    likeness,
    likeness_table,
    mean_field,
    unary,
)
from sohes.pseudo_labels.proposals import Proposal, patch_samples
from sohes.pseudo_labels.window import mask_iou


def sample_offsets(extent: float, count: int) -> np.ndarray:
    """Pixels around one, as dense as a Gaussian is high.

    Points of a sunflower, whose radii are the Gaussian's quantiles; each with
    the one opposite, so that two pixels listen to each other or not at all.

    Args:
        extent (float): standard deviation in pixels.
        count (int): at most this many.

    Returns:
        np.ndarray: (K, 2) int64, without (0, 0), in a fixed order.
    """
    rank = (np.arange(count // 2) + 0.5) / (count // 2)
    radius = extent * np.sqrt(-2 * np.log(1 - 0.95 * rank))
    angle = math.pi * (3 - math.sqrt(5)) * np.arange(count // 2)
    half = np.rint(
        np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1))
    found = np.unique(np.concatenate([half, -half]).astype(np.int64), axis=0)
    return found[(found != 0).any(1)]


@dataclass(frozen=True)
class _Level:
    """A crop at one resolution.

    Attributes:
        box (tuple): (left, top, right, bottom) in pixels of the image.
        pixels (np.ndarray): (h, w, 3) uint8 RGB.
        far (np.ndarray): (F, 2) int64, see `sample_offsets`.
        near (np.ndarray): (N, 2) int64, see `small_disk`.
        near_weights (np.ndarray): (N,) float32, likewise.
    """
    box: Box
    pixels: np.ndarray
    far: np.ndarray
    near: np.ndarray
    near_weights: np.ndarray

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of this level over those of the image, down and across."""
        left, top, right, bottom = self.box
        height, width = self.pixels.shape[:2]
        return height / (bottom - top), width / (right - left)

    def window(self, item: Proposal, margin: float,
               min_margin: float) -> Box:
        """Where a mask is looked at, in pixels of the level."""
        bounds = np.array(item.bounds())
        margin = max(
            margin * max(bounds[2] - bounds[0], bounds[3] - bounds[1]),
            min_margin)
        down, across = self.scale
        left, top = bounds[:2] - margin - self.box[:2]
        right, bottom = bounds[2:] + margin - self.box[:2]
        height, width = self.pixels.shape[:2]
        return (max(0, math.floor(left * across)),
                max(0, math.floor(top * down)),
                min(width, math.ceil(right * across)),
                min(height, math.ceil(bottom * down)))

    def samples(self, item: Proposal, window: Box) -> tuple:
        """Where the window's pixels fall between patches: rows, columns."""
        down, across = self.scale
        left, top, right, bottom = window
        return (patch_samples(self.box[1] + top / down,
                              self.box[1] + bottom / down, bottom - top,
                              item.box[1], item.box[3], item.grid.shape[0]),
                patch_samples(self.box[0] + left / across,
                              self.box[0] + right / across, right - left,
                              item.box[0], item.box[2], item.grid.shape[1]))


class LocalCRFRefiner:
    """Fully connected CRF of two labels, its kernels sampled.

    Two labels, the mask and the rest. Each mask is decided in its box and a
    margin around it, and what lies beyond is outside. The unary term is the
    bilinearly resized membership of patches (`patch_membership`), or the
    patch mask where there is none.

    Args:
        iterations (int): mean-field iterations.
        margin (float): of the window, over the box's longer side.
        min_margin (int): of the window, in pixels.
        max_side (int): in pixels; a mask whose window is longer is looked
            at with the crop at half its size, a quarter, ..., and so are
            all masks of a crop that is twice as long.
        certainty (float): probability of the mask inside it, in (0.5, 1).
        smooth (tuple): weight, and extent in patches, of the kernel that
            asks neighbours to agree.
        appearance (tuple): weight, extent in patches, and extent in RGB
            levels of the kernel that asks like-coloured pixels to agree.
        neighbours (int): pixels that the kernel of appearance is sampled
            at; more are slower and nearer to DenseCRF.
        device (str, optional): 'cuda', 'cuda:1', ...: torch computes there;
            None: compiled code for the CPU.
    """

    def __init__(self,
                 *,
                 iterations: int = 5,
                 margin: float = 0.2,
                 min_margin: int = 10,
                 max_side: int = 256,
                 certainty: float = 0.9,
                 smooth: tuple[float, float] = (1, 0.33),
                 appearance: tuple[float, float, float] = (4.5, 1.7, 6.5),
                 neighbours: int = 96,
                 device: str | None = None) -> None:
        self.iterations = iterations
        self.margin = margin
        self.min_margin = min_margin
        self.max_side = max_side
        self.certainty = certainty
        self.smooth = smooth
        self.appearance = appearance
        self.neighbours = neighbours
        self.device = device

    def refine_crop(self, image: np.ndarray, box: Box,
                    items: Sequence[Proposal]) -> list[Refined]:
        """See :class:`sohes.pseudo_labels.best_first.CropRefiner`."""
        halvings: dict[int, list[int]] = {}
        for k, item in enumerate(items):
            halvings.setdefault(self._halvings(item), []).append(k)
        out: list = [None] * len(items)
        for times, members in halvings.items():
            level = self._level(image, box, items[0].patch_size, 0.5**times)
            for k, one in zip(members,
                              self._refine(level, [items[k]
                                                   for k in members])):
                out[k] = one
        return out

    def _halvings(self, item: Proposal) -> int:
        """How often a mask's window is halved to fit `max_side`."""
        left, top, right, bottom = item.bounds()
        side = max(right - left, bottom - top)
        side += 2 * max(self.margin * side, self.min_margin)
        whole = max(item.box[2] - item.box[0], item.box[3] - item.box[1])
        side = max(min(side, whole), whole / 2)
        return max(0, math.ceil(math.log2(side / self.max_side)))

    def _level(self, image: np.ndarray, box: Box, patch: float,
               shrink: float) -> _Level:
        """Prepare a crop at one resolution."""
        left, top, right, bottom = box
        pixels = image[top:bottom, left:right]
        if shrink < 1:
            import cv2
            pixels = cv2.resize(
                pixels, (max(1, round(shrink * (right - left))),
                         max(1, round(shrink * (bottom - top)))),
                interpolation=cv2.INTER_AREA)
        pixels = np.ascontiguousarray(pixels)
        _, extent, _ = self.appearance
        return _Level(
            box, pixels,
            sample_offsets(extent * patch * shrink, self.neighbours),
            *small_disk(self.smooth[1] * patch * shrink))

    def _refine(self, level: _Level,
                items: Sequence[Proposal]) -> list[Refined]:
        """Refine masks at a level."""
        windows = [
            level.window(item, self.margin, self.min_margin) for item in items
        ]
        before, start = [], []
        for item, window in zip(items, windows):
            rows, columns = level.samples(item, window)
            before.append(
                unary(item.grid.astype(np.float32), rows, columns,
                      self.certainty))
            start.append(before[-1] if item.membership is None else unary(
                item.membership.astype(np.float32) / 255, rows, columns,
                self.certainty))
        settled = self._settle(level, windows, start)
        return [
            _enlarge(level, window, after, was > 0)
            for window, after, was in zip(windows, settled, before)
        ]

    def _settle(self, level: _Level, windows: Sequence[Box],
                logits: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The mean field of each window, (h, w) float32 logits."""
        weight, _, levels = self.appearance
        table = likeness_table(levels)
        links = Links(
            level.far, weight, level.near,
            np.float32(self.smooth[0]) * level.near_weights, self.iterations)
        if self.device is not None:
            from sohes.pseudo_labels.local_crf_torch import mean_fields
            return mean_fields(level.pixels, windows, logits, table, links,
                               self.device)
        alike, norm = likeness(level.pixels, level.far, table)
        return [
            mean_field(one, window[1::-1], alike, norm, links)
            for one, window in zip(logits, windows)
        ]


def _enlarge(level: _Level, window: Box, settled: np.ndarray,
             before: np.ndarray) -> Refined:
    """A window of a level as a mask in the image's pixels."""
    after = settled > 0
    iou = mask_iou(before, after)
    left, top, right, bottom = window
    down, across = level.scale
    if down == across == 1:
        return Refined(after, (level.box[0] + left, level.box[1] + top), iou)
    import cv2
    full = (round(level.box[0] + left / across),
            round(level.box[1] + top / down),
            round(level.box[0] + right / across),
            round(level.box[1] + bottom / down))
    mask = cv2.resize(
        np.ascontiguousarray(settled),
        (max(1, full[2] - full[0]), max(1, full[3] - full[1])),
        interpolation=cv2.INTER_LINEAR) > 0
    return Refined(mask, full[:2], iou)


def small_disk(extent: float) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian whose standard deviation is a pixel or two.

    Args:
        extent (float): standard deviation in pixels.

    Returns:
        tuple: (K, 2) int64 offsets without (0, 0), and (K,) float32 weights
        whose sum is 1.
    """
    reach = max(1, min(3, round(1.5 * extent)))
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1]
    inside = (y**2 + x**2 <= reach**2 + 1) & ((y != 0) | (x != 0))
    offsets = np.stack([y[inside], x[inside]], 1).astype(np.int64)
    weights = np.exp(-(offsets**2).sum(1) / (2 * max(extent, 0.3)**2))
    return offsets, (weights / weights.sum()).astype(np.float32)
