"""COCO's run lengths and packed bits, compiled.

A COCO RLE counts pixels down the columns, first outside, then inside, then
outside again; compressed, a count is a few characters and, from the third
on, a difference to the count two before it.
"""
import numpy as np

from sohes.utils.compiled import njit

#: COCO's areas and runs have 32 bits.
_MOST_PIXELS = 2**31 - 1
#: Bits set in each value of a byte.
_ONES = np.array([bin(value).count('1') for value in range(256)], np.int64)


@njit(cache=True, nogil=True)
def _read_runs(text: np.ndarray, runs: np.ndarray, pixels: int) -> int:
    """Decode a compressed RLE.

    Args:
        text: (K,) uint8, its characters.
        runs: (K,) int64, receives the counts.
        pixels: what they must add up to. No partial sum is larger, so none
            can pass the end of an int64 and come back as a small one.

    Returns:
        How many counts there are, -1 if the text is not an RLE of so many
        pixels.
    """
    count = 0
    at = 0
    total = np.int64(0)
    while at < len(text):
        value = np.int64(0)
        shift = np.int64(0)
        while True:
            if at == len(text) or shift > 55:
                return -1
            digit = np.int64(text[at]) - 48
            if digit < 0 or digit > 63:
                return -1
            at += 1
            value |= (digit & 31) << shift
            shift += 5
            if digit & 32 == 0:
                if digit & 16:
                    value |= np.int64(-1) << shift
                break
        if count > 2:
            value += runs[count - 2]
        # Bounded first: their sum then fits.
        if value < 0 or value > pixels - total:
            return -1
        total += value
        runs[count] = value
        count += 1
    return count if total == pixels else -1


@njit(cache=True, nogil=True)
def rle_stats(
        blob: np.ndarray, offsets: np.ndarray,
        sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check compressed RLEs and measure them.

    Args:
        blob: (K,) uint8, all of them, one after the other.
        offsets: (N + 1,) int64, mask ``i`` is
            ``blob[offsets[i]:offsets[i + 1]]``.
        sizes: (N, 2) int64, height and width that each must have.

    Returns:
        areas, (N,) int64 in pixels, -1 for what is no RLE of that size;
        boxes, (N, 4) int32 as x, y, width, height in pixels, 0 if empty.
    """
    count = len(offsets) - 1
    areas = np.zeros(count, np.int64)
    boxes = np.zeros((count, 4), np.int32)
    for index in range(count):
        text = blob[offsets[index]:offsets[index + 1]]
        runs = np.empty(len(text), np.int64)
        height, width = sizes[index]
        if height < 1 or width < 1 or height > _MOST_PIXELS // width:
            areas[index] = -1
            continue
        length = _read_runs(text, runs, height * width)
        left, right, top, bottom = width, np.int64(-1), height, np.int64(-1)
        start = np.int64(0)
        for k in range(length):
            end = start + runs[k]
            if k % 2 and end > start:
                areas[index] += end - start
                first, last = start // height, (end - 1) // height
                left, right = min(left, first), max(right, last)
                if first == last:
                    top = min(top, start % height)
                    bottom = max(bottom, (end - 1) % height)
                else:
                    top, bottom = np.int64(0), height - 1
            start = end
        if length < 0:
            areas[index] = -1
        elif right >= 0:
            boxes[index, 0], boxes[index, 1] = left, top
            boxes[index, 2] = right - left + 1
            boxes[index, 3] = bottom - top + 1
    return areas, boxes


@njit(cache=True, nogil=True)
def render(blob: np.ndarray, spans: np.ndarray, source_height: int,
           rows: np.ndarray, columns: np.ndarray, height: int,
           width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw RLEs as packed bits, resampled on the way.

    Every run of a column becomes a rectangle of the result. Only where a
    rectangle starts and ends below is marked; the exclusive or of each row
    with the one above then fills them all.

    Args:
        blob: (K,) uint8, compressed RLEs.
        spans: (N, 2) int64, where in the blob each starts and ends.
        source_height: of the RLEs, in pixels.
        rows: (source_height + 1,) int64, the row of the result at which
            each row of the source begins; rising or falling.
        columns: (source width + 1,) int64, the same across.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        bits, (N, height, ceil(width / 8)) uint8, leftmost pixel highest;
        areas, (N,) int64 in pixels; boxes, (N, 4) int64 as left, top,
        right, bottom, the last two exclusive, 0 if empty.
    """
    count = len(spans)
    bits = np.zeros((count, height, (width + 7) // 8), np.uint8)
    areas = np.zeros(count, np.int64)
    boxes = np.zeros((count, 4), np.int64)
    for index in range(count):
        text = blob[spans[index, 0]:spans[index, 1]]
        runs = np.empty(len(text), np.int64)
        # What is no RLE of this size stays empty.
        length = _read_runs(text, runs, source_height * (len(columns) - 1))
        box = np.array([width, height, 0, 0])
        start = np.int64(0)
        for k in range(length):
            end = start + runs[k]
            if k % 2:
                areas[index] += _mark(bits[index], width, start, end, rows,
                                      columns, box)
            start = end
        if box[2] > box[0]:
            boxes[index] = box
            _fill(bits[index], box)
    return bits, areas, boxes


@njit(cache=True, nogil=True)
def _mark(bits: np.ndarray, width: int, start: int, end: int,
          rows: np.ndarray, columns: np.ndarray, box: np.ndarray) -> int:
    """Mark a run's rectangles, widen the box; returns pixels covered."""
    area = 0
    source_height = len(rows) - 1
    end = min(end, (len(columns) - 1) * source_height)
    while start < end:
        column = start // source_height
        stop = min(end, (column + 1) * source_height)
        left = max(min(columns[column], columns[column + 1]), 0)
        right = min(max(columns[column], columns[column + 1]), width)
        if left < right:
            first = rows[start - column * source_height]
            last = rows[stop - column * source_height]
            top = max(min(first, last), 0)
            bottom = min(max(first, last), len(bits))
            if top < bottom:
                for x in range(left, right):
                    bit = np.uint8(128 >> (x & 7))
                    bits[top, x >> 3] ^= bit
                    if bottom < len(bits):
                        bits[bottom, x >> 3] ^= bit
                area += (bottom - top) * (right - left)
                box[0], box[1] = min(box[0], left), min(box[1], top)
                box[2], box[3] = max(box[2], right), max(box[3], bottom)
        start = stop
    return area


@njit(cache=True, nogil=True)
def _fill(bits: np.ndarray, box: np.ndarray) -> None:
    """Turn marks into pixels, from the top of the box to its bottom."""
    left, right = box[0] >> 3, (box[2] + 7) >> 3
    # One row on: the marks below the box cancel out with its last row.
    for y in range(box[1] + 1, min(box[3] + 1, len(bits))):
        above = bits[y - 1, left:right]
        here = bits[y, left:right]
        for k in range(right - left):
            here[k] ^= above[k]


@njit(cache=True, nogil=True)
def subtract(bits: np.ndarray, boxes: np.ndarray,
             cover: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take from masks what something covers, and measure the rest.

    Args:
        bits: (N, H, ceil(W / 8)) uint8.
        boxes: (N, 4) int64, left, top, right, bottom of each mask.
        cover: (H, ceil(W / 8)) uint8.

    Returns:
        The rest as new bits, and its areas and boxes, as `render` does.
    """
    rest = bits.copy()
    areas = np.zeros(len(bits), np.int64)
    found = np.zeros((len(bits), 4), np.int64)
    for index in range(len(bits)):
        first, last = boxes[index, 0] >> 3, (boxes[index, 2] + 7) >> 3
        columns = np.zeros(last - first, np.uint8)
        top, bottom = np.int64(-1), np.int64(0)
        for y in range(boxes[index, 1], boxes[index, 3]):
            area = 0
            for k in range(first, last):
                value = rest[index, y, k] & ~cover[y, k]
                rest[index, y, k] = value
                columns[k - first] |= value
                area += _ONES[value]
            if area:
                areas[index] += area
                bottom = y + 1
                if top < 0:
                    top = y
        if top >= 0:
            found[index, 1], found[index, 3] = top, bottom
            found[index, 0] = _edge(columns, first, False)
            found[index, 2] = _edge(columns, first, True) + 1
    return rest, areas, found


@njit(cache=True, nogil=True)
def _edge(columns: np.ndarray, first: int, last: bool) -> int:
    """The first, or the last, pixel set in bytes from byte ``first`` on."""
    found = -1
    for x in range(len(columns) * 8):
        if columns[x >> 3] & (128 >> (x & 7)):
            found = first * 8 + x
            if not last:
                break
    return found
