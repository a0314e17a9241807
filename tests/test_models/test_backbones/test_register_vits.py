"""DINOv2 with registers and DINOv3: equal to timm and to Hugging Face."""
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sohes.models.backbones import TimmViT, ViTFeatureExtractor
from sohes.models.backbones.vit_adapter_vit import named_vit
from sohes.registry import MODELS
from sohes.utils.errors import FileError
from sohes.weights import load_vit_weights
from sohes.weights.vit_zoo import ZOO
from tests.conftest import ROOT
from tests.test_models.test_backbones.register_vits import (
    DEPTH,
    INNER,
    KINDS,
    SIDES,
    WIDTH,
    saved,
    small_arch,
    timm_model,
)
from tests.test_weights.vit_reference import (
    normalised,
    photo,
    random_vit,
    randomised,
    relative_error,
    timm_features,
)

NAMED = [name for name in ZOO if 'reg' in name or 'dinov3' in name]


def hugging_face_answers(family: str, swiglu: bool, images: list[np.ndarray],
                         folder: Path) -> dict[str, Any]:
    """The weights and tokens of Hugging Face's own model."""
    packages = Path(
        os.environ.get('SOHES_REFERENCE', Path(sys.prefix, 'reference')))
    if not packages.is_dir():
        pytest.skip("transformers is not in the environment's folder "
                    'reference/ (its DINOv3 needs torch 2.2 or newer)')
    np.savez(folder / 'images.npz', **{
        str(i): normalised(image).numpy() for i, image in enumerate(images)
    })
    path = os.pathsep.join((str(packages), str(ROOT)))
    subprocess.run([
        sys.executable, '-m',
        'tests.test_models.test_backbones.hugging_face_reference', family,
        'swiglu' if swiglu else 'mlp', folder / 'images.npz',
        folder / 'answers.pth'
    ], check=True, env=dict(os.environ, PYTHONPATH=path), cwd=ROOT)
    return torch.load(folder / 'answers.pth')


def timm_tokens(vit: nn.Module, images: np.ndarray, block: int) -> np.ndarray:
    """Patch tokens (B, h, w, C) after a block, counted from 1."""
    with torch.no_grad():
        maps = vit.forward_intermediates(
            normalised(images), indices=[block - 1], norm=False,
            intermediates_only=True)[0]
    return maps.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize('family, swiglu', KINDS)
def test_features_equal_timms(family: str, swiglu: bool, tmp_path: Path,
                              rng: np.random.Generator) -> None:
    vit = timm_model(family, swiglu)
    file = saved(vit.state_dict(), tmp_path)
    for block in (1, DEPTH):
        extract = ViTFeatureExtractor(
            file, feature='token', block=block, center=False)
        assert extract.family == family
        for side in SIDES:
            size = side * extract.patch_size
            images = photo(rng, size, size)[None]
            found = extract(images, size)
            assert found.shape == (1, side, side, WIDTH)
            expected = timm_tokens(vit, images, block)
            assert relative_error(found, expected) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize('family, swiglu', KINDS)
def test_features_equal_hugging_faces(family: str, swiglu: bool,
                                      tmp_path: Path,
                                      rng: np.random.Generator) -> None:
    patch = 14 if family == 'dinov2' else 16
    images = [photo(rng, side * patch, side * patch)[None] for side in SIDES]
    answers = hugging_face_answers(family, swiglu, images, tmp_path)
    file = saved(answers['state'], tmp_path)
    extract = ViTFeatureExtractor(file, feature='token', block=2,
                                  center=False)
    for side, image, expected in zip(SIDES, images, answers['tokens']):
        expected = expected.reshape(1, side, side, WIDTH).numpy()
        found = extract(image, side * patch)
        assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize('family, swiglu', KINDS)
@pytest.mark.parametrize('feature', ['query', 'key', 'value'])
def test_projections_are_those_of_the_block(family: str, swiglu: bool,
                                            feature: str, tmp_path: Path,
                                            rng: np.random.Generator) -> None:
    vit = timm_model(family, swiglu)
    file = saved(vit.state_dict(), tmp_path)
    extract = ViTFeatureExtractor(
        file, feature=feature, block=DEPTH, center=False)
    size = SIDES[1] * extract.patch_size
    images = photo(rng, size, size)[None]
    block = vit.blocks[DEPTH - 1]
    seen = {}
    block.norm1.register_forward_hook(
        lambda _, __, out: seen.__setitem__('normed', out))
    with torch.no_grad():
        vit.forward_features(normalised(images))
        part = ('query', 'key', 'value').index(feature)
        expected = seen['normed'] @ block.attn.qkv.weight.chunk(3)[part].T
        if family == 'dinov2':
            expected = expected + block.attn.qkv.bias.chunk(3)[part]
        elif feature != 'key':
            expected = expected + getattr(block.attn, f'{feature[0]}_bias')
    expected = expected[:, 5:].reshape(1, SIDES[1], SIDES[1], WIDTH)
    assert relative_error(extract(images, size), expected.numpy()) < 1e-4


def authors_names(state: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    """timm's weights as DINOv2's and DINOv3's authors name them."""
    renamed = {}
    for key, value in state.items():
        key = key.replace('reg_token', 'register_tokens' if family == 'dinov2'
                          else 'storage_tokens')
        key = re.sub(r'\.gamma_([12])$', r'.ls\1.gamma', key)
        key = key.replace('mlp.fc1_g.', 'mlp.w1.').replace(
            'mlp.fc1_x.', 'mlp.w2.')
        if 'blocks.0.mlp.fc1_g.weight' in state:
            key = key.replace('mlp.fc2.', 'mlp.w3.')
        elif len(state['blocks.0.mlp.fc1.weight']) == 2 * INNER:
            key = key.replace('mlp.fc1.', 'mlp.w12.').replace(
                'mlp.fc2.', 'mlp.w3.')
        if key.endswith('.v_bias'):
            continue
        if key.endswith('.q_bias'):
            other = state[key.replace('q_bias', 'v_bias')]
            key = key.replace('q_bias', 'qkv.bias')
            # their file keeps a bias for the keys that a mask sets to zero
            value = torch.cat((value, torch.full_like(value, 7.0), other))
            renamed[key + '_mask'] = torch.ones_like(value)
        renamed[key] = value
    renamed['mask_token'] = torch.zeros(1, WIDTH)
    if family == 'dinov2':
        # positions for the CLS token, too, which theirs adds to it
        first = torch.full((1, 1, WIDTH), 0.25)
        renamed['cls_token'] = renamed['cls_token'] - first
        renamed['pos_embed'] = torch.cat((first, renamed['pos_embed']), 1)
    else:
        renamed['rope_embed.periods'] = torch.ones(16)
        renamed['local_cls_norm.weight'] = torch.ones(WIDTH)
    return renamed


@pytest.mark.parametrize('family, swiglu', KINDS)
def test_authors_names_and_a_wrapper(family: str, swiglu: bool,
                                     tmp_path: Path) -> None:
    state = timm_model(family, swiglu).state_dict()
    expected = load_vit_weights(saved(state, tmp_path))
    file = saved(
        dict(teacher={
            f'backbone.{key}': value
            for key, value in authors_names(state, family).items()
        }), tmp_path)
    found = load_vit_weights(file)
    assert found.arch == expected.arch == small_arch(family, swiglu)\
        | dict(img_size=found.arch['img_size'])
    assert set(found.state_dict) == set(expected.state_dict)
    for key, value in found.state_dict.items():
        torch.testing.assert_close(value, expected.state_dict[key])


@pytest.mark.parametrize('family, swiglu', KINDS)
def test_our_own_file_is_read_back(family: str, swiglu: bool,
                                   tmp_path: Path) -> None:
    """What extract_backbone.py --vit writes: names with our prefix."""
    vit = randomised(TimmViT(small_arch(family, swiglu)))
    found = load_vit_weights(saved(vit.state_dict(), tmp_path))
    built = MODELS.build(found.backbone_cfg())
    built.load_state_dict(found.state_dict)
    for key, value in vit.state_dict().items():
        assert torch.equal(built.state_dict()[key], value), key


def test_what_is_missing_or_strange_is_named(tmp_path: Path) -> None:
    state = timm_model('dinov3', False).state_dict()
    for change, words in (
        (lambda s: s.pop('blocks.1.norm2.bias'), 'blocks.1.norm2.bias'),
        (lambda s: s.update({'blocks.1.moe.gate': torch.ones(3)}),
         'unexpected keys .*moe'),
        (lambda s: s.update(
            {'blocks.2.attn.proj.weight': torch.ones(4, 4)}),
         'wrong shapes .*blocks.2.attn.proj.weight')):
        broken = dict(state)
        change(broken)
        with pytest.raises(FileError, match=words):
            load_vit_weights(saved(broken, tmp_path))


@pytest.mark.parametrize('name', NAMED)
def test_named_vits_at_full_width(name: str, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of each release, built by name, on the meta device."""
    import timm
    cfg = named_vit(name)
    cfg['arch'] = dict(cfg['arch'], num_layers=2)
    with torch.device('meta'):
        ours = TimmViT(cfg['arch'])
        family, size = re.fullmatch(
            r'(dinov[23])_vit(7b|[a-z])\d+((?:plus)?)(?:_reg)?',
            name).group(1, 2)
        word = {'s': 'small', 'b': 'base', 'l': 'large', 'g': 'giant',
                'h': 'huge', '7b': '7b'}[size]
        word += '_plus' if 'plus' in name else ''
        theirs = timm.create_model(
            f'vit_{word}_patch14_reg4_dinov2' if family == 'dinov2' else
            f'vit_{word}_patch16_dinov3{"_qkvb" if size != "7b" else ""}',
            depth=2, num_classes=0)
    assert {
        key: value.shape for key, value in ours.timm.state_dict().items()
    } == {
        key: value.shape for key, value in theirs.state_dict().items()
        if not key.startswith('norm.')
    }
    assert ours.timm.blocks[0].attn.num_heads == (
        theirs.blocks[0].attn.num_heads)


@pytest.mark.slow
@pytest.mark.parametrize('name, heads', [
    ('vit_giant_patch14_reg4_dinov2', None),
    ('vit_huge_plus_patch16_dinov3_qkvb', None),
    ('vit_7b_patch16_dinov3', 32),  # of 128 channels, which no file says
])
def test_features_of_the_largest_equal_timms(
        name: str, heads: int | None, tmp_path: Path,
        rng: np.random.Generator) -> None:
    """Two blocks of the full width, away from the native grid."""
    import timm
    vit = randomised(timm.create_model(
        name, depth=2, num_classes=0, dynamic_img_size=True))
    file = saved(vit.state_dict(), tmp_path)
    extract = ViTFeatureExtractor(
        file, feature='token', block=2, center=False, num_heads=heads)
    size = 5 * extract.patch_size
    images = photo(rng, size, size)[None]
    found = extract(images, size)
    assert found.shape == (1, 5, 5, vit.embed_dim)
    assert relative_error(found, timm_tokens(vit, images, 2)) < 1e-4


def test_dinov3_says_where_its_weights_are(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SOHES_HOME', str(tmp_path))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    file = 'dinov3_vits16_pretrain_lvd1689m-08c60483.pth'
    with pytest.raises(FileError, match='licence') as refusal:
        ViTFeatureExtractor('dinov3_vits16')
    assert str(tmp_path / 'weights' / file) in str(refusal.value)
    state = timm_model('dinov3', False).state_dict()
    (tmp_path / 'weights').mkdir()
    torch.save(state, tmp_path / 'weights' / file)
    assert ViTFeatureExtractor('dinov3_vits16').embed_dims == WIDTH


def test_the_giant_without_registers_is_mmpretrains(
        tmp_path: Path, rng: np.random.Generator) -> None:
    """DINOv2's g has SwiGLU layers, which mmpretrain computes."""
    import timm
    vit = random_vit(
        14,
        layer_scale=True,
        mlp_layer=timm.layers.SwiGLUPacked,
        act_layer=nn.SiLU,
        mlp_ratio=(2 * INNER + 0.5) / WIDTH)
    state = vit.state_dict()
    authors = {
        key.replace('mlp.fc1', 'mlp.w12').replace('mlp.fc2', 'mlp.w3'): value
        for key, value in state.items()
    }
    images = photo(rng, 84, 84)[None]
    expected = timm_features(vit, images, 'token', 2)
    for named in (state, authors):
        extract = ViTFeatureExtractor(
            saved(named, tmp_path), feature='token', block=2, center=False)
        assert not isinstance(extract.vit, TimmViT)
        assert extract.family == 'dinov2'
        assert relative_error(extract(images, 84), expected) < 1e-5
    with torch.device('meta'):
        giant = MODELS.build(named_vit('dinov2_vitg14')
                             | dict(arch=dict(
                                 embed_dims=1536, num_layers=1, num_heads=24,
                                 feedforward_channels=6144)))
    assert giant.layers[0].ffn.w12.weight.shape == (8192, 1536)


def test_a_strange_arch_is_refused() -> None:
    with pytest.raises(ValueError, match='registers'):
        TimmViT(dict(family='dinov3', embed_dims=64))


def test_a_timm_without_dinov3_is_named(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm 1.0.20 is the first that has it; DINOv2 needs no such one."""
    import timm
    file = saved(timm_model('dinov3', False).state_dict(), tmp_path)
    monkeypatch.setattr(timm, '__version__', '1.0.19')
    with pytest.raises(FileError, match='timm 1.0.19 is installed; run '
                       'pip install "timm>=1.0.31"$'):
        ViTFeatureExtractor(file)
    TimmViT(small_arch('dinov2', True))
    monkeypatch.setattr(timm, '__version__', '1.0.20.dev0')
    with pytest.raises(FileError, match='1.0.20 or newer'):
        TimmViT(small_arch('dinov3', True))
    for version in ('1.0.20', '1.0.100', '1.1.0+local'):
        monkeypatch.setattr(timm, '__version__', version)
        TimmViT(small_arch('dinov3', True))


def test_without_timm_the_sentence_says_how_to_get_it(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    for family in ('dinov2', 'dinov3'):
        with pytest.raises(FileError, match='timm, which is not '
                           'installed; run pip install "timm>=1.0.31"$'):
            TimmViT(small_arch(family, False))
