"""Masks and forest of an image on its way through a pipeline."""
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import mmcv
import numpy as np
import torch
from mmdet.structures.bbox import HorizontalBoxes, get_box_type
from mmdet.structures.mask import BaseInstanceMasks, BitmapMasks

from sohes.datasets.mask_sources import BitSource, Drawn, RleSource
from sohes.structures import EntityForest


class EntityMasks(BaseInstanceMasks):
    """N masks, drawn once, when all resizing and cropping is done.

    mmdet's transforms take it for a ``BitmapMasks``: those that flip,
    resize, crop, pad, translate and filter. Each only composes which row
    and column of the source every pixel of the result shows (nearest
    neighbour as OpenCV rounds it), so the masks are those that
    ``BitmapMasks`` would give, to the pixel. 100 masks stay a few kilobytes
    of RLE until :meth:`draw` is called.

    Every mask has an id and every id a parent and a score, also while its
    parent is filtered out: whatever indexes the masks keeps the forest right.

    Never changed in place, so a deep copy is the object itself.

    Args:
        source (RleSource | BitSource): N masks.
        ids (np.ndarray): (N,) int64, which node of ``nodes`` each is.
        nodes (EntityForest): M entities, N of which are still here.
        rows (np.ndarray, optional): (H,) int64, the source's row that each
            row shows, -1 for none; rising or falling. None: as it is.
        columns (np.ndarray, optional): (W,) int64, the same across.
        node_scores (np.ndarray, optional): (M,) float32, how sure each of
            the ``nodes`` is. None: 1, as of ground truth.
    """

    def __init__(self,
                 source: RleSource | BitSource,
                 ids: np.ndarray,
                 nodes: EntityForest,
                 rows: np.ndarray | None = None,
                 columns: np.ndarray | None = None,
                 node_scores: np.ndarray | None = None) -> None:
        self.source = source
        self.ids = np.asarray(ids, np.int64)
        self.nodes = nodes
        self.rows = np.arange(source.height) if rows is None else rows
        self.columns = np.arange(source.width) if columns is None else columns
        if node_scores is None:
            node_scores = np.ones(len(nodes))
        self.node_scores = np.asarray(node_scores, np.float32)

    @classmethod
    def from_bits(cls, drawn: Drawn, width: int, ids: np.ndarray,
                  nodes: EntityForest,
                  node_scores: np.ndarray | None = None) -> 'EntityMasks':
        """Masks that have been drawn already, with areas and boxes."""
        masks = cls(BitSource(drawn[0], width), ids, nodes,
                    node_scores=node_scores)
        masks.__dict__['_drawn'] = drawn
        return masks

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f'EntityMasks({len(self)} of {self.height} x {self.width})'

    def __deepcopy__(self, memo: dict) -> 'EntityMasks':
        return self

    def __getitem__(self, index: Any) -> 'EntityMasks':
        """Some of the masks; one integer also gives masks, of one."""
        if isinstance(index, torch.Tensor):
            index = index.numpy()
        picked = np.atleast_1d(np.arange(len(self))[index])
        masks = EntityMasks(self.source.subset(picked), self.ids[picked],
                            self.nodes, self.rows, self.columns,
                            self.node_scores)
        if '_drawn' in self.__dict__:
            masks.__dict__['_drawn'] = tuple(
                part[picked] for part in self._drawn)
        return masks

    @property
    def height(self) -> int:
        """H in pixels."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """W in pixels."""
        return len(self.columns)

    @property
    def forest(self) -> EntityForest:
        """Of the N masks; who lost a parent hangs from its grandparent."""
        return self.nodes.subset(self.ids)

    @property
    def levels(self) -> np.ndarray:
        """(N,) int64: 0 whole, 1 part, 2 subpart, by the depth among all M
        nodes: a part stays one where its whole is cropped away.
        """
        return self.nodes.levels()[self.ids]

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32, those that the json gives, 1 without."""
        return self.node_scores[self.ids]

    @cached_property
    def _drawn(self) -> Drawn:
        return self.source.draw(self.rows, self.columns)

    def draw(self) -> Drawn:
        """The masks as pixels.

        Returns:
            bits, (N, H, ceil(W / 8)) uint8 in the order of numpy.packbits;
            areas, (N,) int64 in pixels; boxes, (N, 4) int64 as left, top,
            right, bottom in pixels, the last two exclusive, 0 if empty.
        """
        return self._drawn

    def _mapped(self, rows: np.ndarray, columns: np.ndarray) -> 'EntityMasks':
        return EntityMasks(self.source, self.ids, self.nodes, rows, columns,
                           self.node_scores)

    def rescale(self, scale: float | tuple[int, int],
                interpolation: str = 'nearest') -> 'EntityMasks':
        """See ``BitmapMasks.rescale``."""
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width), interpolation)

    def resize(self, out_shape: Sequence[int],
               interpolation: str = 'nearest') -> 'EntityMasks':
        """See ``BitmapMasks.resize``; nearest neighbour only."""
        if interpolation != 'nearest':
            _refuse(f'interpolation {interpolation!r}')
        return self._mapped(_resized(self.rows, out_shape[0]),
                            _resized(self.columns, out_shape[1]))

    def flip(self, flip_direction: str = 'horizontal') -> 'EntityMasks':
        """See ``BitmapMasks.flip``."""
        if flip_direction not in ('horizontal', 'vertical', 'diagonal'):
            raise ValueError(f'no such direction: {flip_direction!r}')
        rows, columns = self.rows, self.columns
        if flip_direction != 'horizontal':
            rows = rows[::-1]
        if flip_direction != 'vertical':
            columns = columns[::-1]
        return self._mapped(rows, columns)

    def pad(self, out_shape: Sequence[int],
            pad_val: int = 0) -> 'EntityMasks':
        """See ``BitmapMasks.pad``; the padding is outside every mask."""
        if pad_val:
            _refuse(f'pad_val {pad_val}')
        return self.expand(*out_shape[:2], 0, 0)

    def expand(self, expanded_h: int, expanded_w: int, top: int,
               left: int) -> 'EntityMasks':
        """See ``BitmapMasks.expand``."""
        return self._mapped(_placed(self.rows, top, expanded_h),
                            _placed(self.columns, left, expanded_w))

    def crop(self, bbox: np.ndarray) -> 'EntityMasks':
        """See ``BitmapMasks.crop``."""
        left, top, right, bottom = np.asarray(bbox).astype(int).tolist()
        left, top = max(left, 0), max(top, 0)
        return self._mapped(self.rows[top:max(bottom, top + 1)],
                            self.columns[left:max(right, left + 1)])

    def translate(self,
                  out_shape: Sequence[int],
                  offset: float,
                  direction: str = 'horizontal',
                  border_value: int = 0,
                  interpolation: str = 'bilinear') -> 'EntityMasks':
        """See ``BitmapMasks.translate``, by whole pixels."""
        if border_value:
            _refuse(f'border_value {border_value}')
        left = int(offset) if direction == 'horizontal' else 0
        top = int(offset) if direction == 'vertical' else 0
        return self.expand(*out_shape[:2], top, left)

    @property
    def areas(self) -> np.ndarray:
        """(N,) int64 in pixels."""
        return self._drawn[1]

    def get_bboxes(self, dst_type: Any = 'hbox') -> Any:
        """Boxes around the pixels, of one of mmdet's box types."""
        boxes = HorizontalBoxes(self._drawn[2].astype(np.float32))
        return boxes.convert_to(get_box_type(dst_type)[0])

    def to_ndarray(self) -> np.ndarray:
        """(N, H, W) uint8."""
        return np.unpackbits(self._drawn[0], axis=2, count=self.width)

    def to_tensor(self, dtype: torch.dtype,
                  device: torch.device | str) -> torch.Tensor:
        """(N, H, W)."""
        return torch.tensor(self.to_ndarray(), dtype=dtype, device=device)

    def to_bitmap(self) -> BitmapMasks:
        """What mmdet has for masks, N x H x W bytes."""
        return BitmapMasks(self.to_ndarray(), self.height, self.width)

    @classmethod
    def cat(cls, masks: Sequence['EntityMasks']) -> 'EntityMasks':
        """Masks of several images of one size; the forests stay apart."""
        parts = [part.draw() for part in masks]
        shift = np.cumsum([0] + [len(part.nodes) for part in masks])
        drawn = tuple(np.concatenate(field) for field in zip(*parts))
        ids = np.concatenate([part.ids + by for part, by in zip(masks, shift)])
        nodes = EntityForest.cat([part.nodes for part in masks])
        scores = np.concatenate([part.node_scores for part in masks])
        return cls.from_bits(drawn, masks[0].width, ids, nodes, scores)

    def crop_and_resize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Of two-stage detectors; convert with :meth:`to_bitmap`."""
        _refuse('crop_and_resize')

    def shear(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not along rows and columns; convert with :meth:`to_bitmap`."""
        _refuse('shear')

    def rotate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not along rows and columns; convert with :meth:`to_bitmap`."""
        _refuse('rotate')


def _resized(index_map: np.ndarray, size: int) -> np.ndarray:
    """Nearest neighbours as cv2.INTER_NEAREST takes them."""
    ratio = 1 / (size / len(index_map))
    at = np.floor(np.arange(size) * ratio).astype(np.int64)
    return index_map[np.minimum(at, len(index_map) - 1)]


def _placed(index_map: np.ndarray, start: int, size: int) -> np.ndarray:
    """The map at an offset, in a longer or shorter one."""
    placed = np.full(size, -1, np.int64)
    first, last = max(start, 0), min(start + len(index_map), size)
    if first < last:
        placed[first:last] = index_map[first - start:last - start]
    return placed


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(
        f'EntityMasks cannot do {what}: they flip, resize, crop, pad and '
        'move by whole pixels. Use transforms that do these, or convert '
        'gt_masks with to_bitmap() and lose the forest')
