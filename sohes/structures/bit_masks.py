"""Masks of one image, eight pixels to the byte, as training carries them.

Not imported by ``sohes.structures``: that stays free of torch.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Index = int | slice | Sequence[int] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class BitMasks:
    """N masks of H x W pixels in N x H x ceil(W / 8) bytes.

    A training image has up to 200 masks of 1024 x 1024: 26 MB here, 210 MB
    as bool and 1.7 GB as the int64 that mmdet's head makes of them. Targets
    are points :meth:`sample`d from the bits.

    It has what mmengine's ``InstanceData`` (moving, indexing, joining) and
    mmdet's ``DetDataPreprocessor`` (:meth:`pad`) ask of masks.

    Attributes:
        bits: (N, H, ceil(W / 8)) uint8. The most significant bit is the
            leftmost pixel, as ``numpy.packbits`` has it; the bits beyond W
            are 0.
        width: W in pixels.

    Raises:
        ValueError: ``bits`` is not uint8, or its shape and ``width`` do not
            go together.

    Examples:
        >>> masks = BitMasks.from_dense(np.eye(3, dtype=bool)[None])
        >>> len(masks), masks.bits.flatten().tolist(), masks.areas().tolist()
        (1, [128, 64, 32], [3])
    """
    bits: Tensor
    width: int

    def __post_init__(self) -> None:
        bits = self.bits
        if bits.dtype != torch.uint8 or bits.ndim != 3 or (
                bits.shape[2] != (self.width + 7) // 8):
            raise ValueError(
                'bits must be uint8 of shape (N, H, ceil(width / 8)); got '
                f'{bits.dtype} of shape {tuple(bits.shape)} and width '
                f'{self.width}')

    def __len__(self) -> int:
        return len(self.bits)

    def __repr__(self) -> str:
        return (f'BitMasks({len(self)} of {self.height} x {self.width} '
                f'pixels, {self.device})')

    @property
    def height(self) -> int:
        """H in pixels."""
        return self.bits.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the bits lie."""
        return self.bits.device

    @classmethod
    def from_dense(cls, masks: np.ndarray | Tensor) -> 'BitMasks':
        """Packs full masks.

        Args:
            masks: (N, H, W), bool or numbers of which every one but 0 is
                inside.

        Returns:
            The packed masks, on the device of ``masks``.

        Raises:
            ValueError: ``masks`` is not three-dimensional.
        """
        if masks.ndim != 3:
            raise ValueError('masks must be (N, H, W), got shape '
                             f'{tuple(masks.shape)}')
        width = masks.shape[2]
        if isinstance(masks, Tensor) and masks.is_cuda:
            inside = F.pad((masks != 0).byte(), (0, -width % 8))
            # (N, H, 8 * bytes) -> (N, H, bytes, 8), a power of two for each
            weights = inside.new_tensor([128, 64, 32, 16, 8, 4, 2, 1])
            packed = (inside.unflatten(2, (-1, 8)) * weights).sum(
                3, dtype=torch.uint8)
        else:
            # Floats are compared with 0: packbits takes no floats.
            dense = np.asarray(masks) != 0
            packed = torch.from_numpy(np.packbits(dense, axis=2))
        return cls(packed, width)

    @classmethod
    def from_any(cls, masks: Any) -> 'BitMasks':
        """Packs whatever a pipeline of mmdet may hold.

        Args:
            masks: ``BitMasks`` (returned as it is), mmdet's ``BitmapMasks``
                or ``PolygonMasks``, or a (N, H, W) array or tensor.

        Raises:
            TypeError: None of these.
        """
        if isinstance(masks, cls):
            return masks
        if hasattr(masks, 'to_ndarray'):
            masks = masks.to_ndarray()
        if not isinstance(masks, (np.ndarray, Tensor)):
            raise TypeError('masks must be BitMasks, BitmapMasks, '
                            'PolygonMasks, an array or a tensor, got '
                            f'{type(masks).__name__}')
        return cls.from_dense(masks)

    def dense(self) -> Tensor:
        """The full masks, (N, H, W) bool."""
        if self.bits.is_cuda:
            shifts = torch.arange(7, -1, -1, device=self.device).byte()
            pixels = (self.bits[..., None] >> shifts) & 1
            return pixels.flatten(2)[..., :self.width].bool()
        pixels = np.unpackbits(self.bits.numpy(), axis=2, count=self.width)
        return torch.from_numpy(pixels.view(bool))

    def __getitem__(self, index: Index) -> 'BitMasks':
        """Some of the masks; one integer also gives ``BitMasks``, of one."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f'mask {index} of {len(self)}')
            index = slice(index, index + 1 or None)
        elif not isinstance(index, slice):
            if not isinstance(index, Tensor):
                index = torch.from_numpy(np.asarray(index))
            index = index.to(self.device)
            if index.dtype != torch.bool:
                index = index.long()
        return BitMasks(self.bits[index], self.width)

    @staticmethod
    def cat(masks: Sequence['BitMasks']) -> 'BitMasks':
        """Joins masks of one size.

        Raises:
            ValueError: The sizes differ, or there is nothing to join.
        """
        sizes = sorted({(each.height, each.width) for each in masks})
        if len(sizes) != 1:
            raise ValueError('masks to join must have one height and width, '
                             f'got {sizes}')
        return BitMasks(
            torch.cat([each.bits for each in masks]), masks[0].width)

    def to(self, *args: Any, **kwargs: Any) -> 'BitMasks':
        """On another device; a dtype among the arguments is ignored."""
        device, _, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
        return BitMasks(
            self.bits.to(device=device, non_blocking=non_blocking),
            self.width)

    def cpu(self) -> 'BitMasks':
        """In main memory."""
        return BitMasks(self.bits.cpu(), self.width)

    def cuda(self) -> 'BitMasks':
        """On the current GPU."""
        return BitMasks(self.bits.cuda(), self.width)

    def detach(self) -> 'BitMasks':
        """Itself: bits have no gradient."""
        return self

    def areas(self) -> Tensor:
        """(N,) int64, pixels inside each mask."""
        # Counts of 2, 4 and 8 neighbouring bits, all within their byte.
        count = self.bits - ((self.bits >> 1) & 0x55)
        count = (count & 0x33) + ((count >> 2) & 0x33)
        count = (count + (count >> 4)) & 0x0f
        return count.sum((1, 2))

    def flip(self, direction: str = 'horizontal') -> 'BitMasks':
        """Mirrors the masks.

        Args:
            direction: 'horizontal' (left becomes right) or 'vertical'.

        Raises:
            ValueError: Another direction.
        """
        if direction == 'vertical':
            return BitMasks(self.bits.flip(1), self.width)
        if direction != 'horizontal':
            raise ValueError("direction must be 'horizontal' or 'vertical', "
                             f'got {direction!r}')
        bits = self.bits.flip(2)
        for shift, low in ((4, 0x0f), (2, 0x33), (1, 0x55)):
            bits = ((bits >> shift) & low) | ((bits & low) << shift)
        spare = -self.width % 8
        if spare and len(self):
            # The unused bits are now on the left: move every row over them.
            following = F.pad(bits[..., 1:], (0, 1))
            bits = (bits << spare) | (following >> (8 - spare))
        return BitMasks(bits, self.width)

    def pad(self, shape: tuple[int, int], pad_val: int = 0) -> 'BitMasks':
        """Adds empty pixels below and on the right.

        Args:
            shape: (H', W'), at least (H, W).
            pad_val: Only 0: nothing is inside a mask beyond its image.

        Raises:
            ValueError: ``shape`` is smaller than the masks, or ``pad_val``
                is not 0.
        """
        height, width = shape
        if pad_val or height < self.height or width < self.width:
            raise ValueError(
                f'masks of {self.height} x {self.width} can be padded with 0 '
                f'to the same or a larger size; got pad_val {pad_val} and '
                f'size {height} x {width}')
        more_bytes = (width + 7) // 8 - self.bits.shape[2]
        return BitMasks(
            F.pad(self.bits, (0, more_bytes, 0, height - self.height)), width)

    def sample(self,
               points: Tensor,
               size: tuple[int, int] | None = None) -> Tensor:
        """Bilinear values of the masks at points.

        Equal to mmcv's ``point_sample`` (``align_corners=False``) on the
        masks as float, padded with 0 to ``size``.

        Args:
            points: (P, 2), the same for all masks, or (N, P, 2); float32
                (x, y) in [0, 1] of ``size``.
            size: (H', W') of the padded batch; None for that of the masks.

        Returns:
            (N, P) float32 in [0, 1].

        Raises:
            ValueError: ``points`` has another shape.
        """
        if points.shape[:-2] not in ((), (len(self), )) or (
                points.shape[-1] != 2):
            raise ValueError(f'points must be (P, 2) or ({len(self)}, P, 2), '
                             f'got {tuple(points.shape)}')
        height, width = size or (self.height, self.width)
        # As grid_sample rounds: [0, 1] -> [-1, 1] -> pixels, the last step
        # fused. A shorter way is off by 1e-4 of a pixel in a large image.
        twice = (points.float() * 2 - 1 + 1).double()
        x = (twice[..., 0] * (width / 2) - 0.5).float()
        y = (twice[..., 1] * (height / 2) - 0.5).float()
        left, top = x.floor(), y.floor()
        right_share, low_share = x - left, y - top
        left, top = left.long(), top.long()
        upper = self._between(left, top, right_share)
        lower = self._between(left, top + 1, right_share)
        return torch.lerp(upper, lower, low_share)

    def at(self, pixels: Tensor) -> Tensor:
        """Which masks hold some pixels.

        Args:
            pixels: (P, 2) int64 (x, y); of those outside no mask holds any.

        Returns:
            (N, P) bool.
        """
        return self._pixels(pixels[:, 0], pixels[:, 1]).bool()

    def _between(self, left: Tensor, row: Tensor,
                 right_share: Tensor) -> Tensor:
        """Values in a row between the columns ``left`` and ``left + 1``.

        Args:
            left: ([N,] P) int64 columns, may lie outside.
            row: ([N,] P) int64, may lie outside.
            right_share: ([N,] P), the weight of column ``left + 1``.

        Returns:
            (N, P) float32.
        """
        first = self._pixels(left, row)
        second = self._pixels(left + 1, row)
        return torch.lerp(first, second, right_share)

    def _pixels(self, column: Tensor, row: Tensor) -> Tensor:
        """(N, P) float32, 0 or 1; 0 for pixels outside."""
        inside = (column >= 0) & (column < self.width)
        inside &= (row >= 0) & (row < self.height)
        stride = self.bits.shape[2]
        index = torch.where(inside, row * stride + (column >> 3), 0)
        flat = self.bits.flatten(1)
        values = (flat.gather(1, index)
                  if index.ndim == 2 else flat[:, index])
        shift = (7 - (column & 7)).byte()
        return ((values >> shift) & inside.byte()).float()
