"""Bounds of a json, looked at before anything is made of it.

A few kilobytes of brackets exhaust a recursive reader, and one that keeps the
path to each value copies that path for every value. No file of labels comes
near these bounds.
"""
from typing import IO

import numpy as np

from sohes.utils.compiled import njit
from sohes.utils.errors import FileError, renamed

__getattr__ = renamed(
    __name__, JsonBoundsError='sohes.utils.errors.FileError')

#: Brackets within brackets.
DEEPEST = 64
#: Bytes of a string, such as the RLE of a mask.
LONGEST_STRING = 1 << 24
#: Bytes of a key, and of a number.
LONGEST_KEY, LONGEST_NUMBER = 256, 64
#: Bytes of one entry of a list at the top, such as an annotation.
LONGEST_ENTRY = 1 << 27
#: Keys at the top that are told apart.
_MOST_KEYS = 64

_FAULTS = {
    1: f'its brackets are nested more than {DEEPEST} deep',
    2: f'it has a string of more than {LONGEST_STRING} bytes',
    3: f'it has a key of more than {LONGEST_KEY} bytes',
    4: f'it has a number of more than {LONGEST_NUMBER} digits',
    5: f'it has an entry of more than {LONGEST_ENTRY} bytes',
    # One reader would take the first, another the last.
    6: 'it has the same key twice at its top',
}
# What the scan remembers from block to block; hashes of keys follow.
(_DEPTH, _IN_STRING, _ESCAPED, _STRING, _NUMBER, _ENTRY, _HASH, _KEYS,
 _FIRST_KEY) = range(9)


class JsonGuard:
    """Looks at a json piece by piece.

    Examples:
        >>> JsonGuard().feed(b'{"images": []}')
        >>> JsonGuard().feed(b'[' * 100)
        Traceback (most recent call last):
        sohes.utils.json_guard.FileError: its brackets are nested ...
    """

    def __init__(self) -> None:
        self._state = np.zeros(_FIRST_KEY + _MOST_KEYS, np.int64)

    def feed(self, block: bytes) -> None:
        """Look at the next bytes.

        Raises:
            FileError: they lead out of the bounds.
        """
        fault = _scan(np.frombuffer(block, np.uint8), self._state)
        if fault:
            raise FileError(_FAULTS[fault])


class GuardedFile:
    """A file of json that is looked at while it is read.

    Args:
        file: open for reading bytes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._guard = JsonGuard()

    def read(self, size: int = -1) -> bytes:
        """The next bytes; raises FileError."""
        block = self._file.read(size)
        self._guard.feed(block)
        return block


@njit(cache=True, nogil=True)
def _scan(block: np.ndarray, state: np.ndarray) -> int:
    """Follow brackets, strings and numbers; returns a key of _FAULTS or 0.
    """
    for byte in block:
        state[_ENTRY] += 1
        if state[_IN_STRING]:
            state[_STRING] += 1
            if state[_STRING] > LONGEST_STRING:
                return 2
            if state[_ESCAPED]:
                state[_ESCAPED] = 0
            elif byte == 92:  # backslash
                state[_ESCAPED] = 1
            elif byte == 34:  # quote
                state[_IN_STRING] = 0
            if state[_DEPTH] == 1:  # FNV
                state[_HASH] = (state[_HASH] ^ np.int64(byte)) * 1099511628211
            continue
        if byte == 34:
            state[_IN_STRING], state[_STRING], state[_NUMBER] = 1, 0, 0
            state[_HASH] = 1469598103934665603
        elif byte == 91 or byte == 123:  # [ {
            state[_DEPTH] += 1
            state[_NUMBER] = 0
            if state[_DEPTH] > DEEPEST:
                return 1
        elif byte == 93 or byte == 125:  # ] }
            state[_DEPTH] -= 1
            state[_NUMBER] = 0
        elif byte == 58:  # colon
            state[_NUMBER] = 0
            if state[_STRING] > LONGEST_KEY:
                return 3
            if state[_DEPTH] == 1:
                keys = state[_FIRST_KEY:_FIRST_KEY + state[_KEYS]]
                if (keys == state[_HASH]).any():
                    return 6
                if state[_KEYS] < _MOST_KEYS:
                    state[_FIRST_KEY + state[_KEYS]] = state[_HASH]
                    state[_KEYS] += 1
        elif byte == 44 or byte <= 32:  # comma, space
            state[_NUMBER] = 0
        else:
            state[_NUMBER] += 1
            if state[_NUMBER] > LONGEST_NUMBER:
                return 4
        if state[_DEPTH] <= 2:
            state[_ENTRY] = 0
        elif state[_ENTRY] > LONGEST_ENTRY:
            return 5
    return 0
