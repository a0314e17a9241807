"""Weights that cannot be used are refused in words that help."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sohes.models.backbones import ViTFeatureExtractor
from sohes.utils.errors import FileError
from sohes.weights import load_vit_weights

from .vit_reference import WIDTH, random_vit

State = dict[str, Tensor]


@pytest.fixture(scope='module')
def state() -> State:
    """timm's weights of a plain ViT."""
    return random_vit().state_dict()


def without(*keys: str) -> Callable[[State], State]:
    return lambda state: {
        key: value for key, value in state.items() if key not in keys
    }


def replaced(key: str, *shape: int) -> Callable[[State], State]:
    return lambda state: {**state, key: torch.ones(shape)}


@pytest.mark.parametrize(
    ('change', 'message'),
    [(without('blocks.2.attn.qkv.weight', 'blocks.3.norm1.bias'),
      r"missing keys 'layers.2.attn.qkv.weight', 'layers.3.ln1.bias'"),
     (without('pos_embed'), "missing key 'pos_embed'"),
     (without('blocks.0.mlp.fc1.weight'), 'missing key .*0.ffn.layers.0.0'),
     (without('patch_embed.proj.weight'),
      'expected one ViT.*patch_embed.proj.weight.*found'),
     (replaced('blocks.1.extra.weight', 3),
      "unexpected keys 'blocks.1.extra.weight'"),
     (replaced('blocks.1.ls1.gamma', WIDTH), "missing keys '.*gamma"),
     (replaced('blocks.1.mlp.fc2.bias', 7),
      r"layers.1.ffn.layers.1.bias' \(expected \(128,\), found \(7,\)\)"),
     (replaced('pos_embed', 1, 40, WIDTH),
      r'pos_embed: expected .*found \(1, 40, 128\)'),
     (replaced('patch_embed.proj.weight', WIDTH, 1, 16, 16),
      r'patch_embed.proj.weight: expected .*found \(128, 1, 16, 16\)'),
     # no layer scale, which every ViT with registers has
     (replaced('register_tokens', 1, 4, WIDTH), "missing keys .*ls1.gamma'"),
     (replaced('storage_tokens', 1, 4, WIDTH), "missing keys .*ls1.gamma'"),
     (replaced('blocks.0.mlp.w12.weight', 3, 3), 'missing key .*ffn.w3'),
     (replaced('blocks.0.mlp.fc1_g.weight', 3, 3), 'SwiGLU'),
     (replaced('rope_embed.periods', 16), 'rotary'),
     (replaced('rope.freqs', 16), 'rotary'),
     (replaced('blocks.0.attn.q_norm.weight', 64), 'normalised queries'),
     (replaced('blocks.0.attn.relative_position_bias_table', 9, 2),
      'relative position'),
     (replaced('dist_token', 1, 1, WIDTH), 'distillation'),
     (lambda state: {**state, **{f'a.{k}': v for k, v in state.items()}},
      "several ViTs, under '', 'a.'"),
     (lambda state: {'weights': state}, "found 'weights'"),
     (lambda state: {}, 'found nothing'),
     (lambda state: list(state.values()), 'dict of weights, found list')])
def test_unusable_weights(change: Callable, message: str, state: State,
                          tmp_path: Path) -> None:
    file = tmp_path / 'vit.pth'
    torch.save(change(state), file)
    with pytest.raises(FileError, match=message) as caught:
        load_vit_weights(file)
    assert str(file) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_half_a_dinov3_is_named(tmp_path: Path) -> None:
    """Hugging Face's DINOv3 calls the patch weight otherwise."""
    file = tmp_path / 'vit.pth'
    torch.save({
        'embeddings.patch_embeddings.weight': torch.ones(8, 3, 4, 4),
        'embeddings.register_tokens': torch.ones(1, 4, 8)
    }, file)
    with pytest.raises(FileError, match='missing keys .*attn.qkv.weight'):
        load_vit_weights(file)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors', '.onnx'])
def test_broken_files(ending: str, state: State, tmp_path: Path) -> None:
    file = tmp_path / f'vit{ending}'
    for content in (b'', b'no weights at all', b'\x80\x02' + bytes(200),
                    b'\xff' * 300):
        file.write_bytes(content)
        with pytest.raises(FileError, match='expected .*found') as caught:
            load_vit_weights(file)
        assert str(file) in str(caught.value)


def test_cut_off_torch_file(state: State, tmp_path: Path) -> None:
    file = tmp_path / 'vit.pth'
    torch.save(state, file)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(FileError, match='expected a whole torch file'):
        load_vit_weights(file)


def test_unknown_endings_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / 'vit.npz').write_bytes(b'x')
    with pytest.raises(FileError, match=r'\.safetensors.*found \.npz'):
        load_vit_weights(tmp_path / 'vit.npz')
    with pytest.raises(FileError, match='gone.pth: .*found none'):
        load_vit_weights(tmp_path / 'gone.pth')
    with pytest.raises(FileError, match="dino_vitb8, .*found 'dino_vitb'"):
        ViTFeatureExtractor('dino_vitb')


def test_heads_of_another_width(tmp_path: Path) -> None:
    file = tmp_path / 'vit.pth'
    torch.save(random_vit(embed_dim=96, num_heads=3).state_dict(), file)
    with pytest.raises(FileError, match='num_heads: .*96 channels'):
        ViTFeatureExtractor(file)
    assert ViTFeatureExtractor(file, num_heads=3).embed_dims == 96
