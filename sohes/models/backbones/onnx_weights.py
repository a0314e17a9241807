"""The weights inside an ONNX graph, by the names they had in torch."""
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sohes.utils.errors import FileError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


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
