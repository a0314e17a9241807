"""The window around a mask in which it is refined."""
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sohes.pseudo_labels.proposals import Proposal


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two bool arrays; 0 where both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0


@dataclass(frozen=True)
class Window:
    """A box of an image, cut out and perhaps shrunk, and the way back.

    Attributes:
        size (tuple): (H, W) of the image in pixels.
        box (tuple): (left, top, right, bottom) in pixels, inside the image.
        shape (tuple): (h, w) in pixels that the box is worked on at.
    """
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    shape: tuple[int, int]

    @classmethod
    def around(cls,
               item: Proposal,
               size: tuple[int, int],
               margin: float,
               min_margin: int,
               max_side: float = float('inf')) -> 'Window':
        """The window of a proposal.

        Args:
            item (Proposal): the mask.
            size (tuple): (H, W) of the image in pixels.
            margin (float): added on each side, over the longer side of the
                mask's box.
            min_margin (int): added at least, in pixels.
            max_side (float): the window is shrunk to this longer side, in
                pixels.
        """
        left, top, right, bottom = item.bounds()
        margin = max(margin * max(right - left, bottom - top), min_margin)
        left, top, right, bottom = box = item.window(size, margin)
        width, height = right - left, bottom - top
        shrink = min(1.0, max_side / max(width, height))
        return cls(
            size, box,
            (max(1, round(height * shrink)), max(1, round(width * shrink))))

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (h, w, 3) uint8, its own memory."""
        left, top, right, bottom = self.box
        pixels = image[top:bottom, left:right]
        if pixels.shape[:2] != self.shape:
            import cv2
            pixels = cv2.resize(pixels, self.shape[::-1],
                                interpolation=cv2.INTER_AREA)
        return np.array(pixels, order='C')

    def soft(self, item: Proposal) -> np.ndarray:
        """(h, w) float32 in [0, 1], the proposal bilinearly resized."""
        return item.soft(self.box, self.shape)

    def likely(self, item: Proposal) -> np.ndarray:
        """(h, w) float32 in [0, 1], the proposal's membership resized."""
        return item.likely(self.box, self.shape)

    def paste(self, mask: np.ndarray) -> np.ndarray:
        """(h, w) bool -> (H, W) bool, nothing outside the window."""
        left, top, right, bottom = self.box
        if mask.shape != (bottom - top, right - left):
            import cv2
            mask = cv2.resize(
                mask.astype(np.float32), (right - left, bottom - top)) > 0.5
        out = np.zeros(self.size, bool)
        out[top:bottom, left:right] = mask
        return out


class WindowRefiner(ABC):
    """A refiner that looks at a mask's window alone.

    Attributes:
        margin (float): of the window, over the box's longer side.
        min_margin (int): of the window, in pixels.
        shrink_to (float): the window's longer side at most, in pixels.
    """
    margin: float
    min_margin: int
    shrink_to: float = float('inf')

    def __call__(self, image: np.ndarray,
                 item: Proposal) -> tuple[np.ndarray, float]:
        """Refine a proposal.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
            item (Proposal): the mask to refine.

        Returns:
            tuple: (H, W) bool mask, and its IoU with the mask before.
        """
        window = Window.around(item, image.shape[:2], self.margin,
                               self.min_margin, self.shrink_to)
        before = window.soft(item) > 0.5
        after = self.refine(window, window.cut(image), item, before)
        return window.paste(after), mask_iou(before, after)

    @abstractmethod
    def refine(self, window: Window, pixels: np.ndarray, item: Proposal,
               before: np.ndarray) -> np.ndarray:
        """Refine inside the window.

        Args:
            window (Window): of (h, w) pixels.
            pixels (np.ndarray): (h, w, 3) uint8 RGB.
            item (Proposal): the mask to refine.
            before (np.ndarray): (h, w) bool, as it is.

        Returns:
            np.ndarray: (h, w) bool.
        """
