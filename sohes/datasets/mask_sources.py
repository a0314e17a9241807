"""Where the pixels of masks come from, before they are resampled."""
from dataclasses import dataclass

import numpy as np

from sohes.structures.rle_kernels import render, subtract

#: bits (N, H, ceil(W / 8)) uint8, areas (N,) int64, boxes (N, 4) int64 as
#: left, top, right, bottom in pixels.
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class RleSource:
    """N masks as compressed COCO RLEs.

    Attributes:
        blob: (K,) uint8, the text of these RLEs, and maybe of others.
        spans: (N, 2) int64, where in the blob each starts and ends.
        height: in pixels.
        width: in pixels.
    """
    blob: np.ndarray
    spans: np.ndarray
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.spans)

    def subset(self, index: np.ndarray) -> 'RleSource':
        return RleSource(self.blob, self.spans[index], self.height,
                         self.width)

    def draw(self, rows: np.ndarray, columns: np.ndarray) -> Drawn:
        """Resample the masks.

        Args:
            rows: (H,) int64, the row of the source that each row of the
                result shows, -1 for none; rising or falling between.
            columns: (W,) int64, the same across.

        Returns:
            Bits, areas and boxes at (H, W).
        """
        return render(self.blob, self.spans, self.height,
                      _starts(rows, self.height),
                      _starts(columns, self.width), len(rows), len(columns))


@dataclass(frozen=True, eq=False)
class BitSource:
    """N masks as packed bits.

    Attributes:
        bits: (N, H, ceil(W / 8)) uint8, as numpy.packbits makes them.
        width: W in pixels.
    """
    bits: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def height(self) -> int:
        """H in pixels."""
        return self.bits.shape[1]

    def subset(self, index: np.ndarray) -> 'BitSource':
        return BitSource(self.bits[index], self.width)

    def draw(self, rows: np.ndarray, columns: np.ndarray) -> Drawn:
        """Resample the masks, see `RleSource.draw`."""
        shape = (len(self), len(rows), len(columns))
        bits = np.zeros((*shape[:2], (shape[2] + 7) // 8), np.uint8)
        inside_rows, inside_columns = rows >= 0, columns >= 0
        for mask, target in zip(self.bits, bits):
            pixels = np.unpackbits(mask, axis=1, count=self.width)
            full = np.zeros(shape[1:], np.uint8)
            full[np.ix_(inside_rows, inside_columns)] = pixels[np.ix_(
                rows[inside_rows], columns[inside_columns])]
            target[:] = np.packbits(full, axis=1)
        return measure(bits, shape[2])


def measure(bits: np.ndarray, width: int) -> Drawn:
    """Areas and boxes of packed masks.

    Args:
        bits: (N, H, ceil(W / 8)) uint8, 0 beyond W.
        width: W in pixels.
    """
    boxes = np.tile(np.array([0, 0, width, bits.shape[1]]), (len(bits), 1))
    return subtract(bits, boxes, np.zeros(bits.shape[1:], np.uint8))


def _starts(index_map: np.ndarray, size: int) -> np.ndarray:
    """Where in the result each pixel of the source begins, (size + 1,).

    Falling where the map falls: a pixel then ends where it begins here.
    """
    inside = np.flatnonzero(index_map >= 0)
    wanted = np.arange(size + 1)
    if len(inside) == 0:
        return np.zeros(size + 1, np.int64)
    first, last = inside[0], inside[-1] + 1
    shown = index_map[first:last]
    if shown[0] <= shown[-1]:
        return first + np.searchsorted(shown, wanted)
    return last - np.searchsorted(shown[::-1], wanted)
