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

import numpy as np
import torch
from torch import Tensor

#: Elements of a tensor that shows the same numbers more than once.
_REPEATED = 1 << 24
#: Values in all containers; a checkpoint has some thousands.
_MOST_VALUES = 10_000_000
#: What a file in torch's older format begins with.
_MAGIC, _PROTOCOL = 0x1950a86a20f9469cfc6c, 1001
#: Kinds of numbers that an array may hold: bool, integers, floats, complex.
_NUMBERS = 'biufc'
_DTYPES = dict(
    DoubleStorage=torch.float64, FloatStorage=torch.float32,
    HalfStorage=torch.float16, BFloat16Storage=torch.bfloat16,
    LongStorage=torch.int64, IntStorage=torch.int32,
    ShortStorage=torch.int16, CharStorage=torch.int8,
    ByteStorage=torch.uint8, BoolStorage=torch.bool,
    ComplexFloatStorage=torch.complex64, ComplexDoubleStorage=torch.complex128,
    UntypedStorage=torch.uint8)
_NAMED_DTYPES = {
    str(value).split('.')[1]: value for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}


class TensorFileError(ValueError):
    """A file that is no whole torch file; the message says why."""


class CodeInFileError(TensorFileError):
    """A file with more than data in it.

    Attributes:
        name: of what it would have run or built, such as 'os.system'.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f'it would run or build {name!r:.120}, which is '
                         'code and not data')
        self.name = name


class StandIn:
    """Takes the place of any object that is no data; does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> 'StandIn':
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Pickle fills subclasses of list with this."""


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
        TensorFileError: it is no torch file, or broken or cut short.
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
        except TensorFileError:
            raise
        except RecursionError as error:
            raise TensorFileError('its containers are nested too deep'
                                  ) from error
        except Exception as error:  # a broken pickle raises anything
            raise TensorFileError(
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
            raise TensorFileError('it is compressed, as torch never writes '
                                  'it')
        if sum(entry.file_size for entry in entries.values()) > size:
            raise TensorFileError('its parts are larger than the file')
        order = entries.get('byteorder')
        if order is not None and archive.read(order).strip() != b'little':
            raise TensorFileError('it was written on a big-endian machine')
        storages: dict[str, _Storage] = {}

        def find(saved: Any) -> _Storage:
            _, kind, key, _, count = saved
            if key not in storages:
                entry = entries[f'data/{key}']
                data = _empty_bytes(entry.file_size)
                with archive.open(entry) as source:
                    _fill(source, data)
                storages[key] = _Storage(data)
            return storages[key].typed(kind, count)

        return _Unpickler(io.BytesIO(archive.read(entries['data.pkl'])),
                          find, stand_in).load()


def _read_legacy(file: BinaryIO, size: int, stand_in: bool) -> Any:
    def load(find: Callable[[Any], Any] = _no_storage) -> Any:
        return _Unpickler(file, find, stand_in).load()

    if load() != _MAGIC or load() != _PROTOCOL:
        raise TensorFileError('it is no torch file')
    load()  # sizes of the machine's numbers
    storages: dict[str, _Storage] = {}

    def find(saved: Any) -> Any:
        if saved[0] != 'storage':
            raise CodeInFileError('a module with its source')
        _, kind, key, _, count, *view = saved
        if view and view[0] is not None:
            raise TensorFileError('it has a storage within a storage, which '
                                  'torch has not written since 2017')
        if key not in storages:
            wanted = count * _dtype(kind).itemsize
            total = sum(len(one.data) for one in storages.values())
            if not 0 <= wanted <= size - total:
                raise TensorFileError('its parts are larger than the file')
            storages[key] = _Storage(_empty_bytes(wanted), _dtype(kind))
        return storages[key].typed(kind, count)

    content = load(find)
    for key in load():
        found = storages[key]
        count, = struct.unpack('<q', file.read(8))
        if count * found.dtype.itemsize != len(found.data):
            raise TensorFileError('a tensor has another length than its file '
                                  'says')
        _fill(file, found.data)
        storages.pop(key)
    if storages:
        raise TensorFileError('it ends before its last tensor')
    return content


def _empty_bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)


def _fill(source: Any, data: Tensor) -> None:
    """Read exactly the bytes of a tensor."""
    view, at = memoryview(data.numpy()), 0
    while at < len(view):
        read = source.readinto(view[at:])
        if not read:
            raise TensorFileError('it ends in the middle of a tensor')
        at += read


def _no_storage(saved: Any) -> Any:
    raise TensorFileError('it has a tensor where none belongs')


class _Storage:
    """Bytes of a file, and the type that a tensor on them has."""

    def __init__(self, data: Tensor,
                 dtype: torch.dtype = torch.uint8) -> None:
        self.data = data
        self.dtype = dtype

    def typed(self, kind: Any, count: Any) -> '_Storage':
        """The same bytes under a type, if they are so many of it."""
        dtype = _dtype(kind)
        if type(count) is not int or len(
                self.data) != count * dtype.itemsize:
            raise TensorFileError('a tensor has another length than its '
                                  'file says')
        return _Storage(self.data, dtype)


class _StorageKind(str):
    """The name of one of torch's classes of storages."""


def _dtype(kind: Any) -> torch.dtype:
    if not isinstance(kind, _StorageKind):
        raise TensorFileError('a tensor has no type')
    return _DTYPES[kind]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any,
            requires_grad: Any = False, *more: Any) -> Tensor:
    """As ``torch._utils._rebuild_tensor_v2``, with every number checked."""
    if not isinstance(storage, _Storage):
        raise TensorFileError('a tensor has no storage')
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > 32 or not all(
            type(number) is int and 0 <= number < 2**62
            for number in numbers):
        raise TensorFileError('a tensor has no sound shape')
    elements, last = 1, offset
    for side, step in zip(size, stride):
        elements *= side
        last += (side - 1) * step
    held = len(storage.data) // storage.dtype.itemsize
    if elements and last >= held or elements > max(held, _REPEATED):
        raise TensorFileError('a tensor is larger than its storage')
    tensor = torch.empty(0, dtype=storage.dtype)
    tensor.set_(storage.data.untyped_storage(), offset, size, stride)
    tensor.requires_grad_(requires_grad is True)
    return tensor


def _old_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    return _tensor(storage, offset, size, stride)


def _dtyped_tensor(storage: Any, offset: Any, size: Any, stride: Any,
                   requires_grad: Any, hooks: Any, dtype: Any,
                   *more: Any) -> Tensor:
    """As ``_rebuild_tensor_v3``, of types that have no storage of theirs."""
    if not isinstance(storage, _Storage) or not isinstance(
            dtype, torch.dtype):
        raise TensorFileError('a tensor has no type')
    return _tensor(_Storage(storage.data, dtype), offset, size, stride,
                   requires_grad)


def _parameter(data: Any, requires_grad: Any, *more: Any) -> Any:
    if not isinstance(data, Tensor):
        raise TensorFileError('a parameter has no tensor')
    return torch.nn.Parameter(data, requires_grad=requires_grad is True)


def _typed_tensor(build: Any, kind: Any, args: Any, state: Any) -> Tensor:
    """A tensor with attributes of its own, without these."""
    if build not in (_tensor, _dtyped_tensor, _parameter):
        raise CodeInFileError('torch._tensor._rebuild_from_type_v2')
    return build(*args)


class _Filled:
    """What a pickle makes first and fills later."""


class _NumpyType(_Filled):
    """numpy's dtype, of numbers only."""

    def __init__(self, name: Any, *flags: Any) -> None:
        dtype = np.dtype(name) if isinstance(name, str) else None
        if dtype is None or dtype.kind not in _NUMBERS:
            raise CodeInFileError(f'an array of {name!r}')
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(
            state[1] if state[1] in ('<', '>') else '=')


class _Array(_Filled):
    """What numpy's pickle fills step by step."""

    def __init__(self, *args: Any) -> None:
        self.array = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _numbers(data, dtype, shape, 'F' if fortran else 'C')


def _numbers(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _NumpyType) or not isinstance(
            data, (bytes, bytearray)):
        raise CodeInFileError('an array of objects')
    found = np.frombuffer(data, dtype.dtype).reshape(shape, order=order)
    # Its own memory, and the machine's order of bytes.
    return np.array(found, found.dtype.newbyteorder('='), order='K')


def _array_of(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _numbers(data, dtype, shape, 'F' if order == 'F' else 'C')


def _scalar(dtype: Any, data: Any) -> Any:
    return _numbers(data, dtype, (), 'C')[()]


def _encoded(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``, which old pickles write bytes with."""
    if not isinstance(text, str) or encoding != 'latin1':
        raise CodeInFileError('_codecs.encode')
    return text.encode('latin1')


class _History(_Filled):
    """mmengine's HistoryBuffer, until all of it is read."""

    def __init__(self, *args: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}

    def buffer(self) -> Any:
        """The buffer itself."""
        from mmengine.logging import HistoryBuffer
        log, count = (
            value if isinstance(value, np.ndarray) else np.zeros(0)
            for value in (getattr(self.state.get(key), 'array', None)
                          for key in ('_log_history', '_count_history')))
        found = HistoryBuffer(
            max_length=int(self.state.get('max_length', 1000000)))
        if log.shape != count.shape or log.ndim != 1:
            raise TensorFileError('the history of its losses is broken')
        found._log_history, found._count_history = log, count
        return found


def _default_dict(factory: Any = None, *items: Any) -> dict:
    if factory not in (None, list, dict, set):
        raise CodeInFileError('collections.defaultdict')
    return collections.defaultdict(factory, *items)


def _no_bytes(*args: Any) -> bytes:
    """Old pickles write bytes without any as a call of their type."""
    if args:
        raise CodeInFileError('bytes')
    return b''


def _attribute(owner: Any, name: Any) -> None:
    """A history names its own methods, which it has anyway."""
    if owner is not _History:
        raise CodeInFileError('getattr')


def _size(values: Any = ()) -> torch.Size:
    return torch.Size(values)


_WORDS: dict[str, Any] = {
    'collections.OrderedDict': collections.OrderedDict,
    'collections.defaultdict': _default_dict,
    'collections.Counter': collections.Counter,
    'builtins.set': set, '__builtin__.set': set,
    'builtins.frozenset': frozenset, '__builtin__.frozenset': frozenset,
    'builtins.list': list, '__builtin__.list': list,
    'builtins.dict': dict, '__builtin__.dict': dict,
    'builtins.complex': complex, '__builtin__.complex': complex,
    'builtins.bytes': _no_bytes, '__builtin__.bytes': _no_bytes,
    'builtins.getattr': _attribute, '__builtin__.getattr': _attribute,
    '_codecs.encode': _encoded,
    'torch.Size': _size,
    'torch.device': torch.device,
    'torch._utils._rebuild_tensor': _old_tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _dtyped_tensor,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch._tensor._rebuild_from_type_v2': _typed_tensor,
    'torch.nn.parameter.Parameter': _StorageKind('Parameter'),
    'torch.Tensor': _StorageKind('Tensor'),
    'torch.storage.UntypedStorage': _StorageKind('UntypedStorage'),
    'torch.UntypedStorage': _StorageKind('UntypedStorage'),
    'numpy.dtype': _NumpyType,
    'numpy.ndarray': _Array,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    **{f'torch.{name}': _StorageKind(name) for name in _DTYPES},
    **{f'torch.{name}': dtype for name, dtype in _NAMED_DTYPES.items()},
    **{f'{module}.{name}': word
       for module in ('numpy.core.multiarray', 'numpy._core.multiarray',
                      'numpy.core.numeric', 'numpy._core.numeric')
       for name, word in (('_reconstruct', _Array), ('scalar', _scalar),
                          ('_frombuffer', _array_of))},
}


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
        word = _WORDS.get(f'{module}.{name}')
        if word is not None:
            return word
        if not self._stand_in:
            raise CodeInFileError(f'{module}.{name}')
        return StandIn

    def persistent_load(self, saved: Any) -> Any:
        if not isinstance(saved, tuple) or len(saved) < 3:
            raise TensorFileError('a tensor has no storage')
        return self._find(saved)

    def get_extension(self, code: int) -> None:
        raise CodeInFileError(f'the extension {code}')

    def load_build(self) -> None:
        """Give what stands on the stack its state."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, (_Filled, StandIn)):
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
    if isinstance(value, _Array):
        return value.array, 1
    if isinstance(value, _History):
        return value.buffer(), 1
    if isinstance(value, (_NumpyType, _Storage, _StorageKind)) or callable(
            value) and not isinstance(value, StandIn):
        raise TensorFileError('it has a type where a value belongs')
    if not isinstance(value, (dict, list, tuple)):
        return value, 1
    if id(value) in seen:
        if seen[id(value)] is None:
            raise TensorFileError('a container holds itself')
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
        raise TensorFileError(f'it has more than {_MOST_VALUES} values')
    # The container is kept, so that its id stays its own.
    seen[id(value)] = plain, count, value
    return plain, count
