"""The words that a pickle of numbers may say, and what each becomes.

Containers of Python, tensors, arrays of numbers and mmengine's history of the
losses. Every number that a file gives is checked before torch or numpy sees
it.
"""
import collections
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sohes.utils.errors import FileError, renamed

__getattr__ = renamed(
    __name__, TensorFileError='sohes.utils.errors.FileError')

#: Elements of a tensor that shows the same numbers more than once.
_REPEATED = 1 << 24
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


class CodeInFileError(FileError):
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


class Storage:
    """Bytes of a file, and the type that a tensor on them has."""

    def __init__(self, data: Tensor,
                 dtype: torch.dtype = torch.uint8) -> None:
        self.data = data
        self.dtype = dtype

    def typed(self, kind: Any, count: Any) -> 'Storage':
        """The same bytes under a type, if they are so many of it."""
        dtype = dtype_of(kind)
        if type(count) is not int or len(
                self.data) != count * dtype.itemsize:
            raise FileError('a tensor has another length than its '
                            'file says')
        return Storage(self.data, dtype)


class StorageKind(str):
    """The name of one of torch's classes of storages."""


def dtype_of(kind: Any) -> torch.dtype:
    """The type of the numbers in one of torch's storages."""
    if not isinstance(kind, StorageKind):
        raise FileError('a tensor has no type')
    return _DTYPES[kind]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any,
            requires_grad: Any = False, *more: Any) -> Tensor:
    """As ``torch._utils._rebuild_tensor_v2``, with every number checked."""
    if not isinstance(storage, Storage):
        raise FileError('a tensor has no storage')
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > 32 or not all(
            type(number) is int and 0 <= number < 2**62
            for number in numbers):
        raise FileError('a tensor has no sound shape')
    elements, last = 1, offset
    for side, step in zip(size, stride):
        elements *= side
        last += (side - 1) * step
    held = len(storage.data) // storage.dtype.itemsize
    if elements and last >= held or elements > max(held, _REPEATED):
        raise FileError('a tensor is larger than its storage')
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
    if not isinstance(storage, Storage) or not isinstance(
            dtype, torch.dtype):
        raise FileError('a tensor has no type')
    return _tensor(Storage(storage.data, dtype), offset, size, stride,
                   requires_grad)


def _parameter(data: Any, requires_grad: Any, *more: Any) -> Any:
    if not isinstance(data, Tensor):
        raise FileError('a parameter has no tensor')
    return torch.nn.Parameter(data, requires_grad=requires_grad is True)


def _typed_tensor(build: Any, kind: Any, args: Any, state: Any) -> Tensor:
    """A tensor with attributes of its own, without these."""
    if build not in (_tensor, _dtyped_tensor, _parameter):
        raise CodeInFileError('torch._tensor._rebuild_from_type_v2')
    return build(*args)


class Filled:
    """What a pickle makes first and fills later."""


class NumpyType(Filled):
    """numpy's dtype, of numbers only."""

    def __init__(self, name: Any, *flags: Any) -> None:
        dtype = np.dtype(name) if isinstance(name, str) else None
        if dtype is None or dtype.kind not in _NUMBERS:
            raise CodeInFileError(f'an array of {name!r}')
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(
            state[1] if state[1] in ('<', '>') else '=')


class FilledArray(Filled):
    """What numpy's pickle fills step by step."""

    def __init__(self, *args: Any) -> None:
        self.array = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _numbers(data, dtype, shape, 'F' if fortran else 'C')


def _numbers(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, NumpyType) or not isinstance(
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


class FilledHistory(Filled):
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
            raise FileError('the history of its losses is broken')
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
    if owner is not FilledHistory:
        raise CodeInFileError('getattr')


def _size(values: Any = ()) -> torch.Size:
    return torch.Size(values)


WORDS: dict[str, Any] = {
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
    'torch.nn.parameter.Parameter': StorageKind('Parameter'),
    'torch.Tensor': StorageKind('Tensor'),
    'torch.storage.UntypedStorage': StorageKind('UntypedStorage'),
    'torch.UntypedStorage': StorageKind('UntypedStorage'),
    'numpy.dtype': NumpyType,
    'numpy.ndarray': FilledArray,
    'mmengine.logging.history_buffer.HistoryBuffer': FilledHistory,
    **{f'torch.{name}': StorageKind(name) for name in _DTYPES},
    **{f'torch.{name}': dtype for name, dtype in _NAMED_DTYPES.items()},
    **{f'{module}.{name}': word
       for module in ('numpy.core.multiarray', 'numpy._core.multiarray',
                      'numpy.core.numeric', 'numpy._core.numeric')
       for name, word in (('_reconstruct', FilledArray), ('scalar', _scalar),
                          ('_frombuffer', _array_of))},
}
