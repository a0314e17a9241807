"""The weights inside an ONNX graph, by the names they had in torch.

ONNX is a protocol buffer; of its messages only the nodes' names and the
initializers are needed, which a hundred lines read without the ``onnx``
package (27 MB, and protobuf) becoming a requirement.
"""
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sohes.models.backbones.vit_keys import WeightsError

# Field numbers of onnx.proto (stable by its own promise).
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP = 1, 2, 3, 4
(_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW,
 _TENSOR_EXTERNAL) = 1, 2, 4, 8, 9, 13
# TensorProto.DataType of the kinds that weights have.
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_NUMPY_TYPES = {_FLOAT: '<f4', _FLOAT16: '<f2', _DOUBLE: '<f8'}


class _Node(NamedTuple):
    op: str
    name: str
    inputs: list[str]
    outputs: list[str]


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
        WeightsError: not an ONNX file, cut off, or with external data.
    """
    try:
        nodes, tensors = _read_graph(memoryview(path.read_bytes()))
    except (ValueError, TypeError, IndexError) as error:
        raise WeightsError(f'{path}: expected a whole ONNX file with its '
                           f'weights inside, found: {error}') from error
    if not tensors:
        raise WeightsError(
            f'{path}: expected an ONNX graph with weights, found none')
    for node in nodes:  # weights with equal values are stored once
        if node.op == 'Identity' and node.inputs[0] in tensors:
            tensors[node.outputs[0]] = tensors[node.inputs[0]]
    named = {
        name: value
        for name, value in tensors.items() if '::' not in name
    }
    named.update(_linear_weights(nodes, tensors))
    position = _folded_position(nodes, tensors)
    if position is not None:
        named.setdefault(*position)
    return named


def _linear_weights(nodes: list[_Node],
                    tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of linear layers, named after the MatMul or Gemm of each."""
    found = {}
    for node in nodes:
        if node.op == 'MatMul' and node.inputs[-1] in tensors:
            found[_module_of(node.name) + '.weight'] = tensors[
                node.inputs[-1]].T.contiguous()
    return found


def _module_of(node_name: str) -> str:
    """'/blocks/blocks.0/attn/qkv/MatMul' -> 'blocks.0.attn.qkv'."""
    parts = node_name.strip('/').split('/')[:-1]
    return '.'.join(
        part for part, after in zip(parts, parts[1:] + [''])
        if not re.match(re.escape(part) + r'\.\d', after))


def _folded_position(
        nodes: list[_Node],
        tensors: dict[str, Tensor]) -> tuple[str, Tensor] | None:
    """A position embedding that the graph resizes, and its torch name.

    Hugging Face's models split it into the CLS token's (1, 1, C), which a
    Concat puts in front again, and the patches' (1, N, C), which a Reshape
    turns into a grid.
    """
    patches = front = None
    for node in nodes:
        if '/embeddings/' not in node.name or not node.inputs:
            continue
        constant = tensors.get(node.inputs[0])
        if constant is None or constant.ndim != 3:
            continue
        if node.op == 'Reshape':
            patches = (node.name, constant)
        elif node.op == 'Concat' and constant.shape[:2] == (1, 1):
            front = constant
    if patches is None or front is None:
        return None
    name = _module_of(patches[0]) + '.position_embeddings'
    return name, torch.cat((front, patches[1]), dim=1)


def _read_graph(
        data: memoryview) -> tuple[list[_Node], dict[str, Tensor]]:
    """Nodes, and floating-point initializers by name."""
    nodes: list[_Node] = []
    tensors: dict[str, Tensor] = {}
    for field, graph in _fields(data):
        if field != _MODEL_GRAPH:
            continue
        for kind, message in _fields(graph):
            if kind == _GRAPH_NODE:
                nodes.append(_read_node(message))
            elif kind == _GRAPH_INITIALIZER:
                name, tensor = _read_tensor(message)
                if tensor is not None:
                    tensors[name] = tensor
    return nodes, tensors


def _read_node(message: memoryview) -> _Node:
    text: dict[int, list[str]] = {
        field: []
        for field in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP)
    }
    for field, value in _fields(message):
        if field in text:
            text[field].append(_text(value))
    return _Node(''.join(text[_NODE_OP]), ''.join(text[_NODE_NAME]),
                 text[_NODE_INPUT], text[_NODE_OUTPUT])


def _read_tensor(message: memoryview) -> tuple[str, Tensor | None]:
    """Name and float32 tensor, None for other than floating-point ones."""
    dims: list[int] = []
    name, kind, raw = '', 0, b''
    for field, value in _fields(message):
        if field == _TENSOR_DIMS:  # packed in one field, or a field each
            dims += [value] if isinstance(value, int) else _varints(value)
        elif field == _TENSOR_TYPE:
            kind = value
        elif field == _TENSOR_NAME:
            name = _text(value)
        elif field in (_TENSOR_RAW, _TENSOR_FLOATS):
            raw = value
        elif field == _TENSOR_EXTERNAL:
            raise ValueError(f'{name!r} has its values in another file')
    if kind == _BFLOAT16:
        halves = np.frombuffer(raw, '<u2').astype('<u4') << 16
        values = halves.view('<f4')
    elif kind in _NUMPY_TYPES:
        values = np.frombuffer(raw, _NUMPY_TYPES[kind]).astype(np.float32)
    else:
        return name, None
    return name, torch.from_numpy(values.reshape(dims).copy())


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a message: an int or its bytes.

    Raises:
        ValueError: the message is no protocol buffer or is cut off.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f'unknown wire type {wire}')
        if at + size > len(message):
            raise ValueError('a field reaches beyond the end')
        yield tag >> 3, message[at:at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError('an integer of more than 64 bits')


def _text(value: Any) -> str:
    if isinstance(value, int):  # bytes(n) would be n zeros
        raise ValueError('a number where a name should be')
    return bytes(value).decode()


def _varints(message: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(message):
        value, at = _varint(message, at)
        values.append(value)
    return values
