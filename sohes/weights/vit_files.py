"""Reading the tensors of a checkpoint, whatever kind of file it is."""
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sohes.utils.errors import FileError
from sohes.utils.tensor_files import read_tensor_file
from sohes.weights.vit_keys import listed

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

# Where training scripts put the model, the one to prefer first.
_NESTINGS = ('teacher', 'model_ema', 'state_dict_ema', 'ema', 'state_dict',
             'model', 'module', 'student')
_TORCH_ENDINGS = ('.pth', '.pt', '.bin', '.ckpt')


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by the names that the file gives them.

    Args:
        path: a file ending in .pth, .pt, .bin, .ckpt (torch's),
            .safetensors or .onnx.

    Raises:
        FileError: missing, of another kind, or unreadable.
    """
    if not path.is_file():
        raise FileError(f'{path}: expected a file of weights, found none')
    suffix = path.suffix.lower()
    if suffix in _TORCH_ENDINGS:
        return _unnest(_torch_load(path), path)
    if suffix == '.onnx':
        return read_onnx_tensors(path)
    if suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        try:
            return load_file(str(path))
        except SafetensorError as error:
            raise FileError(f'{path}: expected a whole safetensors file, '
                            f'found one that ends in: {error}') from error
    raise FileError(
        f'{path}: expected an ending of {", ".join(_TORCH_ENDINGS)}, '
        f'.safetensors or .onnx, found {suffix or "none"}')


def _torch_load(path: Path) -> Any:
    """Read a torch file, without running code that it carries.

    Training checkpoints carry more than tensors (DINO's its arguments),
    which leave an empty stand-in.
    """
    try:
        return read_tensor_file(path, stand_in=True)
    except FileError as error:
        raise FileError(
            f'{path}: expected a whole torch file of tensors, found one '
            f'that cannot be read: {error}') from error


def _unnest(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Find the dict of tensors in what a training script saved."""
    while isinstance(loaded, Mapping):
        tensors = {
            str(key): value
            for key, value in loaded.items() if isinstance(value, Tensor)
        }
        if any('patch_embed' in key for key in tensors):
            return tensors
        inner = next((loaded[name] for name in _NESTINGS
                      if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            raise FileError(
                f'{path}: expected the weights of a ViT at the top or under '
                f'one of {", ".join(_NESTINGS)}, found '
                f'{listed(map(str, loaded)) or "nothing"}')
        loaded = inner
    raise FileError(f'{path}: expected a dict of weights, found '
                    f'{type(loaded).__name__}')


def read_onnx_tensors(path: Path) -> dict[str, Tensor]:
    """Floating-point weights of an ONNX graph that torch exported.

    The exporter keeps the names of most parameters, but folds others into
    constants: the weights of linear layers, which it transposes, are
    renamed after the MatMul that uses them, and a position embedding that
    is resized in the graph after the Reshape and Concat that do so.

    Args:
        path: the .onnx file, its weights inside (no external data).

    Returns:
        Tensors by torch's names; anonymous constants are left out.

    Raises:
        FileError: not an ONNX file, cut off, or with external data; or
            the package onnx is not there.
    """
    graph = _read_graph(path)
    nodes, tensors = graph.node, _weights(path, graph)
    if not tensors:
        raise FileError(
            f'{path}: expected an ONNX graph with weights, found none')
    for node in nodes:  # weights with equal values are stored once
        if node.op_type == 'Identity' and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    named = {
        name: value
        for name, value in tensors.items() if '::' not in name
    }
    named.update(_linear_weights(nodes, tensors))
    position = _folded_position(nodes, tensors)
    if position is not None:
        named.setdefault(*position)
    return named


def _linear_weights(nodes: 'Sequence[NodeProto]',
                    tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of linear layers, named after the MatMul or Gemm of each."""
    found = {}
    for node in nodes:
        if node.op_type == 'MatMul' and node.input[-1] in tensors:
            found[_module_of(node.name) + '.weight'] = tensors[
                node.input[-1]].T.contiguous()
    return found


def _module_of(node_name: str) -> str:
    """'/blocks/blocks.0/attn/qkv/MatMul' -> 'blocks.0.attn.qkv'."""
    parts = node_name.strip('/').split('/')[:-1]
    return '.'.join(
        part for part, after in zip(parts, parts[1:] + [''])
        if not re.match(re.escape(part) + r'\.\d', after))


def _folded_position(
        nodes: 'Sequence[NodeProto]',
        tensors: dict[str, Tensor]) -> tuple[str, Tensor] | None:
    """A position embedding that the graph resizes, and its torch name.

    Hugging Face's models split it into the CLS token's (1, 1, C), which a
    Concat puts in front again, and the patches' (1, N, C), which a Reshape
    turns into a grid.
    """
    patches = front = None
    for node in nodes:
        if '/embeddings/' not in node.name or not node.input:
            continue
        constant = tensors.get(node.input[0])
        if constant is None or constant.ndim != 3:
            continue
        if node.op_type == 'Reshape':
            patches = (node.name, constant)
        elif node.op_type == 'Concat' and constant.shape[:2] == (1, 1):
            front = constant
    if patches is None or front is None:
        return None
    name = _module_of(patches[0]) + '.position_embeddings'
    return name, torch.cat((front, patches[1]), dim=1)


def _read_graph(path: Path) -> 'GraphProto':
    """Parse a file.

    Raises:
        FileError: it is no ONNX file, or the package onnx is not there.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise FileError(f'{path}: reading it needs the package onnx; '
                        'pip install onnx') from error
    try:
        return onnx.load_model_from_string(path.read_bytes()).graph
    except DecodeError as error:
        raise FileError(f'{path}: expected a whole ONNX file, found one '
                        f'that does not parse: {error}') from error


def _weights(path: Path, graph: 'GraphProto') -> dict[str, Tensor]:
    """Floating-point initializers as float32, by name.

    Raises:
        FileError: their values are in another file, or cut off.
    """
    from onnx import TensorProto, numpy_helper
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE,
             TensorProto.BFLOAT16)
    tensors = {}
    for item in graph.initializer:
        if item.data_location == TensorProto.EXTERNAL:
            raise FileError(f'{path}: expected the weights inside, but '
                            f'{item.name!r} has its values in another '
                            'file')
        if item.data_type not in kinds:
            continue
        try:
            values = numpy_helper.to_array(item).astype(np.float32)
        except ValueError as error:
            raise FileError(f'{path}: {item.name!r} is broken: {error}'
                            ) from error
        tensors[item.name] = torch.from_numpy(values.copy())
    return tensors
