"""HASSOD's copy-paste: scaled, moved, and refused where it hides too much."""
import cv2
import numpy as np

from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.transforms.copy_paste import (
    EntityCopyPaste,
    count_pixels,
)
from sohes.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HassodCopyPaste(EntityCopyPaste):
    """Paste entities of a second image, smaller and elsewhere.

    Some entities of the second image, at least one and never all, are shrunk
    by one factor to a share of the first image's size and moved by one random
    offset. An entity that would cover ``max_covered`` of any mask of the
    first image or more is not pasted. The others erase what lies under them;
    boxes are taken anew from what is left, and a mask of which nothing is
    left disappears. Each entity comes alone, without its parts, and keeps
    its level.

    The second image is another one of the dataset; HASSOD's is the one at
    the mirrored place of the batch.

    Required and modified keys: those of :class:`EntityCopyPaste`.

    Args:
        prob (float): of pasting at all, in [0, 1].
        scale (tuple): smallest and largest share of the first image's
            height and width, in (0, 1].
        max_covered (float): share of a mask, in (0, 1].

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self,
                 prob: float = 1.0,
                 scale: tuple[float, float] = (0.3, 1.0),
                 max_covered: float = 0.5) -> None:
        super().__init__(prob=prob, min_visible=0.0, max_covered=max_covered)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError('scale must be 0 < smallest <= largest <= 1, '
                             f'got {scale}')
        if not max_covered > 0:
            raise ValueError(f'max_covered must be above 0, got {max_covered}')
        self.scale = tuple(scale)

    def transform(self, results: dict) -> dict:
        results['covered'] = 0.0
        for source in results.pop('mix_results', []):
            masks = source['gt_masks']
            if len(masks) < 2:
                continue  # 1 to n - 1 of them: none
            count = np.random.randint(1, len(masks))
            chosen = np.random.choice(len(masks), count, replace=False)
            image, masks = self._place(source['img'], masks[chosen],
                                       results['img'].shape[:2])
            # Without the source's kept map, which is not scaled and moved.
            self._paste(results, dict(img=image), masks,
                        np.eye(count, dtype=bool))
        return results

    def _place(self, image: np.ndarray, masks: EntityMasks,
               size: tuple[int, int]) -> tuple[np.ndarray, EntityMasks]:
        """Shrink and move a picture and its masks on a canvas of (H, W)."""
        share = np.random.uniform(*self.scale)
        height, width = (max(1, round(side * share)) for side in size)
        top = np.random.randint(size[0] - height + 1)
        left = np.random.randint(size[1] - width + 1)
        canvas = np.zeros((*size, 3), image.dtype)
        canvas[top:top + height, left:left + width] = cv2.resize(
            image, (width, height))
        return canvas, masks.resize((height, width)).expand(*size, top, left)

    def _bounded(self, bits: np.ndarray, groups: np.ndarray,
                 target: np.ndarray) -> tuple[np.ndarray, float]:
        """See :class:`EntityCopyPaste`; here the bound is of each mask."""
        pixels = [max(count_pixels(mask), 1) for mask in target]
        harmless = np.array([
            all(count_pixels(mask & each) < self.max_covered * area
                for mask, area in zip(target, pixels)) for each in bits
        ], bool)
        whole = np.bitwise_or.reduce(target, axis=0)
        hidden = np.bitwise_or.reduce(bits[harmless], axis=0) & whole
        return harmless, count_pixels(hidden) / max(count_pixels(whole), 1)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(prob={self.prob}, '
                f'scale={self.scale}, max_covered={self.max_covered})')
