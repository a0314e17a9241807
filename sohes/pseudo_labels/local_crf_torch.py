"""The mean field of `local_crf` in torch, for where the ViT is."""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sohes.pseudo_labels.local_crf_kernels import Links

# Masks times pixels that are settled together: 64 MB a copy.
_AT_ONCE = 1 << 24


@torch.inference_mode()
def mean_fields(pixels: np.ndarray, windows: Sequence, logits: Sequence,
                table: np.ndarray, links: Links,
                device: str) -> list[np.ndarray]:
    """Settle masks of a crop, many at once, on a device.

    The kernels are those of the compiled code, to the bit. Sums are made in
    another order: logits differ by less than 1e-3.

    Args:
        pixels (np.ndarray): (h, w, 3) uint8 RGB of the crop.
        windows (Sequence): N boxes (left, top, right, bottom) in its pixels.
        logits (Sequence): N (h', w') float32, the unary term of each window.
        table (np.ndarray): see `likeness_table`.
        links (Links): of the crop.
        device (str): 'cuda', 'cpu', ...

    Returns:
        list[np.ndarray]: N (h', w') float32 logits of the masks.
    """
    pad = int(max(np.abs(links.far).max(initial=0),
                  np.abs(links.near).max()))
    alike, norm = _likeness(
        torch.from_numpy(pixels).to(device).int(), links.far,
        torch.from_numpy(table).to(device), pad)
    height, width = pixels.shape[:2]
    out = []
    step = max(1, _AT_ONCE // (height * width))
    for start in range(0, len(windows), step):
        some = range(start, min(start + step, len(windows)))
        given = np.zeros((len(some), height, width), np.float32)
        inside = np.zeros(given.shape, bool)
        for row, k in enumerate(some):
            left, top, right, bottom = windows[k]
            given[row, top:bottom, left:right] = logits[k]
            inside[row, top:bottom, left:right] = True
        settled = _settle(
            torch.from_numpy(given).to(device),
            torch.from_numpy(inside).to(device), alike, norm, links,
            pad).cpu().numpy()
        for row, k in enumerate(some):
            left, top, right, bottom = windows[k]
            out.append(settled[row, top:bottom, left:right])
    return out


def _moved(padded: Tensor, offset: np.ndarray, pad: int) -> Tensor:
    """(..., h + 2 pad, w + 2 pad) -> (..., h, w), the neighbour of each."""
    top, left = pad + int(offset[0]), pad + int(offset[1])
    return padded[..., top:top + padded.shape[-2] - 2 * pad,
                  left:left + padded.shape[-1] - 2 * pad]


def _likeness(pixels: Tensor, far: np.ndarray, table: Tensor,
              pad: int) -> tuple[Tensor, Tensor]:
    """(h, w, 3) int -> (K, h, w) uint8 and (h, w) float32."""
    # So far from all colours that beyond the pixels nothing is alike.
    padded = torch.nn.functional.pad(
        pixels.permute(2, 0, 1), (pad, ) * 4, value=-10000)
    last = len(table) - 1
    alike = torch.stack([
        table[(_moved(padded, offset, pad) - pixels.permute(2, 0, 1)).square(
        ).sum(0).clamp_(max=last).long()] for offset in far
    ]) if len(far) else pixels.new_zeros((0, *pixels.shape[:2])).byte()
    return alike, 1 / (1 + alike.sum(0, dtype=torch.float32)).sqrt()


def _settle(logits: Tensor, inside: Tensor, alike: Tensor, norm: Tensor,
            links: Links, pad: int) -> Tensor:
    """(N, h, w) unary term -> (N, h, w) logits."""
    count, height, width = logits.shape
    plain = logits.new_full((count, height + 2 * pad, width + 2 * pad), -1.0)
    scaled = torch.zeros_like(plain)
    middle = (slice(None), slice(pad, pad + height), slice(pad, pad + width))
    total = logits
    for _ in range(links.iterations):
        half = total * 0.5
        square = half * half
        value = (half * (27 + square) / (27 + 9 * square)).clamp_(-1, 1)
        plain[middle] = torch.where(inside, value, -1.0)
        scaled[middle] = plain[middle] * norm
        total = torch.zeros_like(logits)
        for k, offset in enumerate(links.far):
            total.addcmul_(alike[k].float(), _moved(scaled, offset, pad))
        total = total * (norm * links.appearance) + logits
        for weight, offset in zip(links.near_weights, links.near):
            total.add_(_moved(plain, offset, pad), alpha=float(weight))
    return total
