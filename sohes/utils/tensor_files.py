"""Torch's files read as data: nothing that they carry is run.

A pickle is a program. This reader runs it with a handful of words only: the
containers of Python, tensors, arrays of numbers and mmengine's history of the
losses. It reads the bytes of the tensors itself, since torch believes the
sizes that the pickle gives, and so is the same for every version of torch.
"""
import collections
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sohes.utils.errors import FileError
from sohes.utils.pickle_words import (
    WORDS,
    CodeInFileError,
    Filled,
    FilledArray,
    FilledHistory,
    NumpyType,
    StandIn,
    Storage,
    StorageKind,
    dtype_of,
)

#: Values in all containers; a checkpoint has some thousands.
_MOST_VALUES = 10_000_000
#: What a file in torch's older format begins with.
_MAGIC, _PROTOCOL = 0x1950a86a20f9469cfc6c, 1001


def read_tensor_file(path: str | os.PathLike, stand_in: bool = False) -> Any:
    """Read what ``torch.save`` wrote, onto the CPU.

    Args:
        path: the file, of either of torch's formats.
        stand_in: put a :class:`StandIn` where there is anything else than
            data, instead of refusing the file.

    Returns:
        Containers, numbers, text, tensors and arrays.

    Raises:
        CodeInFileError: it holds anything else.
        FileError: it is no torch file, or broken or cut short.
        OSError: it cannot be opened.
    """
    with open(path, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(4)
        file.seek(0)
        try:
            if start == b'PK\x03\x04':
                return _read_zip(file, size, stand_in)
            return _read_legacy(file, size, stand_in)
        except FileError:
            raise
        except RecursionError as error:
            raise FileError('its containers are nested too deep'
                            ) from error
        except Exception as error:  # a broken pickle raises anything
            raise FileError(
                'it is no torch file, or it was cut off while it was '
                f'written ({type(error).__name__})') from error


def _read_zip(file: BinaryIO, size: int, stand_in: bool) -> Any:
    with zipfile.ZipFile(file) as archive:
        # The folder is named after the file that was first written.
        entries = {entry.filename.partition('/')[2]: entry
                   for entry in archive.infolist()}
        if 'constants.pkl' in entries:
            raise CodeInFileError('TorchScript')
        if any(entry.compress_type != zipfile.ZIP_STORED
               for entry in entries.values()):
            raise FileError('it is compressed, as torch never writes '
                            'it')
        if sum(entry.file_size for entry in entries.values()) > size:
            raise FileError('its parts are larger than the file')
        order = entries.get('byteorder')
        if order is not None and archive.read(order).strip() != b'little':
            raise FileError('it was written on a big-endian machine')
        storages: dict[str, Storage] = {}

        def find(saved: Any) -> Storage:
            _, kind, key, _, count = saved
            if key not in storages:
                entry = entries[f'data/{key}']
                data = _empty_bytes(entry.file_size)
                with archive.open(entry) as source:
                    _fill(source, data)
                storages[key] = Storage(data)
            return storages[key].typed(kind, count)

        return _Unpickler(io.BytesIO(archive.read(entries['data.pkl'])),
                          find, stand_in).load()


def _read_legacy(file: BinaryIO, size: int, stand_in: bool) -> Any:
    def load(find: Callable[[Any], Any] = _no_storage) -> Any:
        return _Unpickler(file, find, stand_in).load()

    if load() != _MAGIC or load() != _PROTOCOL:
        raise FileError('it is no torch file')
    load()  # sizes of the machine's numbers
    storages: dict[str, Storage] = {}

    def find(saved: Any) -> Any:
        if saved[0] != 'storage':
            raise CodeInFileError('a module with its source')
        _, kind, key, _, count, *view = saved
        if view and view[0] is not None:
            raise FileError('it has a storage within a storage, which '
                            'torch has not written since 2017')
        if key not in storages:
            wanted = count * dtype_of(kind).itemsize
            total = sum(len(one.data) for one in storages.values())
            if not 0 <= wanted <= size - total:
                raise FileError('its parts are larger than the file')
            storages[key] = Storage(_empty_bytes(wanted), dtype_of(kind))
        return storages[key].typed(kind, count)

    content = load(find)
    for key in load():
        found = storages[key]
        count, = struct.unpack('<q', file.read(8))
        if count * found.dtype.itemsize != len(found.data):
            raise FileError('a tensor has another length than its file '
                            'says')
        _fill(file, found.data)
        storages.pop(key)
    if storages:
        raise FileError('it ends before its last tensor')
    return content


def _empty_bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)


def _fill(source: Any, data: Tensor) -> None:
    """Read exactly the bytes of a tensor."""
    view, at = memoryview(data.numpy()), 0
    while at < len(view):
        read = source.readinto(view[at:])
        if not read:
            raise FileError('it ends in the middle of a tensor')
        at += read


def _no_storage(saved: Any) -> Any:
    raise FileError('it has a tensor where none belongs')


class _Unpickler(pickle._Unpickler):  # type: ignore[misc, name-defined]
    """Python's own unpickler with these words and no others.

    Not the one in C: an index that is too large makes that one take all
    memory.
    """

    def __init__(self, file: Any, find: Callable[[Any], Any],
                 stand_in: bool) -> None:
        super().__init__(file, encoding='utf-8')
        self._find = find
        self._stand_in = stand_in

    def find_class(self, module: str, name: str) -> Any:
        word = WORDS.get(f'{module}.{name}')
        if word is not None:
            return word
        if not self._stand_in:
            raise CodeInFileError(f'{module}.{name}')
        return StandIn

    def persistent_load(self, saved: Any) -> Any:
        if not isinstance(saved, tuple) or len(saved) < 3:
            raise FileError('a tensor has no storage')
        return self._find(saved)

    def get_extension(self, code: int) -> None:
        raise CodeInFileError(f'the extension {code}')

    def load_build(self) -> None:
        """Give what stands on the stack its state."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, (Filled, StandIn)):
            target.__setstate__(state)
        elif type(target) is collections.OrderedDict:
            # The versions of a state dict's modules.
            metadata = state.get('_metadata')
            if isinstance(metadata, dict):
                target._metadata = metadata
        elif not self._stand_in:
            raise CodeInFileError(f'the state of a {type(target).__name__}')

    def load_bytearray8(self) -> None:
        """Its length is believed before its bytes are there."""
        raise CodeInFileError('a bytearray')

    dispatch = dict(pickle._Unpickler.dispatch)
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def load(self) -> Any:
        """The whole object, of plain types."""
        return _arrived(super().load(), {})[0]


def _arrived(value: Any, seen: dict[int, Any]) -> tuple[Any, int]:
    """Put arrays and histories in place of what was filled for them.

    Args:
        value: as the pickle left it.
        seen: of the containers by ``id`` what became of them, None while
            they are looked at.

    Returns:
        The value, and how many values there are in it. A kilobyte of lists
        that hold each other ten times over has more than any memory.
    """
    if isinstance(value, FilledArray):
        return value.array, 1
    if isinstance(value, FilledHistory):
        return value.buffer(), 1
    if isinstance(value, (NumpyType, Storage, StorageKind)) or callable(
            value) and not isinstance(value, StandIn):
        raise FileError('it has a type where a value belongs')
    if not isinstance(value, (dict, list, tuple)):
        return value, 1
    if id(value) in seen:
        if seen[id(value)] is None:
            raise FileError('a container holds itself')
        return seen[id(value)][:2]
    seen[id(value)] = None
    count = 1
    plain = value
    if isinstance(value, dict):
        for key, item in list(value.items()):
            value[key], more = _arrived(item, seen)
            count += more
    elif not isinstance(value, torch.Size):
        items = [_arrived(item, seen) for item in value]
        count += sum(more for _, more in items)
        if isinstance(value, list):
            value[:] = [item for item, _ in items]
        else:
            plain = tuple(item for item, _ in items)
    if count > _MOST_VALUES:
        raise FileError(f'it has more than {_MOST_VALUES} values')
    # The container is kept, so that its id stays its own.
    seen[id(value)] = plain, count, value
    return plain, count
