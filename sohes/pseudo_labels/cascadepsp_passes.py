"""CascadePSP's passes over several windows at once.

The package refines one mask a call, and decides by the mean over its batch
which tiles to leave out: several masks would decide for each other. Here each
decides for itself, and those of one shape share a forward pass. What a mask
comes out as is what the package makes of it alone.
"""
from collections.abc import Sequence
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of a tile, in pixels: this much of its border is not used.
_BORDER = 16
# A tile of which the mask covers less or more than this is left as it is.
_SHARE = (0.1, 0.9)
# The network's stride.
_STRIDE = 8


def pass_shape(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """What a window of (h, w) pixels is resized and padded to."""
    ratio = side / max(shape)
    return _padded([floor(length * ratio) for length in shape])


def _padded(shape: Sequence[int]) -> tuple[int, int]:
    """Both sides multiples of the stride; by the package's rule both grow
    where one of them has to.
    """
    if all(length % _STRIDE == 0 for length in shape):
        return tuple(shape)
    return tuple((length // _STRIDE + 1) * _STRIDE for length in shape)


def refine_windows(model: nn.Module, images: Sequence[Tensor],
                   masks: Sequence[Tensor], side: int, batch_size: int,
                   fast: bool) -> list[Tensor]:
    """Refine masks, each in its window.

    Args:
        model (nn.Module): the package's network.
        images (Sequence[Tensor]): N of (3, h, w) float32, normalised; their
            `pass_shape` is the same.
        masks (Sequence[Tensor]): N of (1, h, w) float32 in {-1, 1}.
        side (int): longer side of a pass, in pixels.
        batch_size (int): windows, or tiles of them, in a pass.
        fast (bool): the pass over the whole windows alone.

    Returns:
        list[Tensor]: N of (1, h, w) float32 in [0, 1].
    """
    whole = _forward(model, [_resized(image, side, 'bicubic')
                             for image in images],
                     [_resized(mask, side, 'bilinear') for mask in masks])
    if fast:
        return [_back(one['pred_224'], mask.shape[1:])
                for one, mask in zip(whole, masks)]
    # As the package does: signs of the last output, values of the one before.
    starts = [_enlarged(one['pred_224'], mask.shape[1:]).gt(0.5).float()
              for one, mask in zip(whole, masks)]
    fine = [_enlarged(one['pred_56_2'], mask.shape[1:]) * 2 - 1
            for one, mask in zip(whole, masks)]
    totals = [torch.zeros_like(start) for start in starts]
    counts = [torch.zeros_like(start) for start in starts]
    tiles: dict[tuple[int, int], list] = {}
    for k, start in enumerate(starts):
        for rows, columns in _tiles(start.shape[1:], side):
            part = start[:, rows, columns]
            if _SHARE[0] <= part.mean() <= _SHARE[1]:
                shape = _padded(part.shape[1:])
                tiles.setdefault(shape, []).append((k, rows, columns))
    for group in tiles.values():
        for first in range(0, len(group), batch_size):
            some = group[first:first + batch_size]
            found = _forward(
                model, [images[k][:, y, x] for k, y, x in some],
                [starts[k][:, y, x] * 2 - 1 for k, y, x in some],
                [fine[k][:, y, x] for k, y, x in some])
            for (k, *place), one in zip(some, found):
                inner, cut = _without_border(place, starts[k].shape[1:])
                totals[k][:, inner[0], inner[1]] += (
                    one['pred_224'][:, cut[0], cut[1]])
                counts[k][:, inner[0], inner[1]] += 1
    return [torch.where(count == 0, start, total / count)
            for start, total, count in zip(starts, totals, counts)]


def _forward(model: nn.Module, images: Sequence[Tensor],
             masks: Sequence[Tensor],
             fine: Sequence[Tensor] | None = None) -> list[dict]:
    """One forward pass; each window's outputs by the package's names."""
    shape = _padded(images[0].shape[1:])

    def batch(tensors: Sequence[Tensor], value: float) -> Tensor:
        return torch.stack([
            F.pad(one, (0, shape[1] - one.shape[2], 0,
                        shape[0] - one.shape[1]), value=value)
            for one in tensors
        ])

    given = batch(masks, -1)
    # The package gives its values of stride 4 as those of stride 8.
    found = model(batch(images, 0), given,
                  None if fine is None else batch(fine, -1), None)
    return [{
        name: found[name][k, :, :one.shape[1], :one.shape[2]].float()
        for name in ('pred_224', 'pred_56_2')
    } for k, one in enumerate(images)]


def _resized(tensor: Tensor, side: int, enlarge: str) -> Tensor:
    """(C, h, w) with this longer side, as the package resizes."""
    longest = max(tensor.shape[1:])
    if longest == side:
        return tensor
    return F.interpolate(
        tensor[None], scale_factor=side / longest,
        **(dict(mode='area') if longest > side else dict(
            mode=enlarge, align_corners=False)))[0]


def _enlarged(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return F.interpolate(tensor[None], size=tuple(shape), mode='bilinear',
                         align_corners=False)[0]


def _back(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """(1, h, w) of the whole pass at the window's own size."""
    if max(tensor.shape) == max(shape):
        return tensor
    return F.interpolate(
        tensor[None], size=tuple(shape),
        **(dict(mode='area') if max(tensor.shape) > max(shape) else dict(
            mode='bilinear', align_corners=True)))[0]


def _tiles(shape: Sequence[int], side: int) -> list[tuple[slice, slice]]:
    """Overlapping tiles that cover (h, w) pixels, at most `side` long."""
    rows, columns = (_starts(length, side) for length in shape)
    return [(slice(y, min(y + side, shape[0])),
             slice(x, min(x + side, shape[1])))
            for x in columns for y in rows]


def _starts(length: int, side: int) -> list[int]:
    step = side // 2 - 2 * _BORDER
    last = max(0, length - side)
    return sorted({min(k * step, last) for k in range(length // step + 1)})


def _without_border(place: Sequence[slice],
                    shape: Sequence[int]) -> tuple[list, list]:
    """What of a tile is used: in the window's pixels and in the tile's."""
    inner, cut = [], []
    for part, length in zip(place, shape):
        start = part.start + (_BORDER if part.start > 0 else 0)
        stop = part.stop - (_BORDER if part.stop < length else 0)
        inner.append(slice(start, stop))
        cut.append(slice(start - part.start, stop - part.start))
    return inner, cut
