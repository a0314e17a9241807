"""Every naming and file that users have becomes the same ViT."""
import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sohes.registry import MODELS
from sohes.utils.errors import FileError
from sohes.weights import load_vit_weights

from .vit_reference import DEPTH, WIDTH, hugging_face_names, random_vit

State = dict[str, Tensor]


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def chunked(state: State) -> State:
    """DINOv2's training names: two chunks of blocks, counted through."""
    return {
        key.replace('blocks.', f'blocks.{int(key.split(".")[1]) // 2}.')
        if key.startswith('blocks.') else key: value
        for key, value in state.items()
    }


HEAD = {'head.weight': torch.ones(10, WIDTH), 'head.bias': torch.ones(10)}
DINO_HEAD = {
    'head.mlp.0.weight': torch.ones(8, WIDTH),
    'head.last_layer.weight_v': torch.ones(4, 8)
}
LAYOUTS: dict[str, Callable[[State], Any]] = {
    'timm, DINO, DINOv2': lambda s: s,
    'with a classifier': lambda s: {**s, **HEAD},
    'DINOv2 in chunks': chunked,
    'DINO full checkpoint': lambda s: {
        'student': prefixed('module.backbone.',
                            {k: v + 1 for k, v in s.items()}),
        'teacher': {**prefixed('backbone.', s), **DINO_HEAD},
        'epoch': 3, 'args': argparse.Namespace(lr=0.1)},
    'DINOv2 teacher': lambda s: {'teacher': {
        **prefixed('backbone.', chunked(s)),
        'backbone.mask_token': torch.zeros(1, WIDTH),
        'dino_head.mlp.0.weight': torch.ones(8, WIDTH)}},
    'flat student and teacher': lambda s: {
        **prefixed('student.backbone.', {k: v + 1 for k, v in s.items()}),
        **prefixed('teacher.backbone.', s)},
    'MAE': lambda s: {'model': {
        **s, 'mask_token': torch.zeros(1, 1, 8),
        'decoder_pos_embed': torch.zeros(1, 3, 8),
        'decoder_blocks.0.norm1.weight': torch.ones(8)}},
    'torch DDP': lambda s: {'state_dict': prefixed('module.', s)},
}


@pytest.fixture(scope='module')
def state() -> State:
    """timm's weights of a ViT with layer scale."""
    return random_vit(14, layer_scale=True).state_dict()


@pytest.fixture(scope='module')
def expected(state: State, tmp_path_factory: Any) -> State:
    """The same under mmpretrain's names."""
    file = tmp_path_factory.mktemp('weights') / 'plain.pth'
    torch.save(state, file)
    return load_vit_weights(file).state_dict


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize('layout', list(LAYOUTS))
def test_layouts_of_torch_files(layout: str, state: State, expected: State,
                                tmp_path: Path) -> None:
    file = tmp_path / 'vit.pth'
    torch.save(LAYOUTS[layout](state), file)
    assert_same(load_vit_weights(file).state_dict, expected)


@pytest.mark.parametrize('scaled', [False, True])
@pytest.mark.parametrize('prefix', ['', 'vit.', 'dinov2.'])
def test_hugging_face_names(scaled: bool, prefix: str,
                            tmp_path: Path) -> None:
    state = random_vit(14, layer_scale=scaled).state_dict()
    torch.save(state, tmp_path / 'timm.pth')
    save_file(
        {k: v.contiguous() for k, v in prefixed(
            prefix, hugging_face_names(state, scaled)).items()},
        tmp_path / 'model.safetensors')
    assert_same(
        load_vit_weights(tmp_path / 'model.safetensors').state_dict,
        load_vit_weights(tmp_path / 'timm.pth').state_dict)


@pytest.mark.parametrize('scaled', [False, True])
def test_mmpretrain_names(scaled: bool, tmp_path: Path) -> None:
    vit = MODELS.build(
        dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(
                embed_dims=WIDTH,
                num_layers=3,
                num_heads=2,
                feedforward_channels=200),
            img_size=64,
            patch_size=8,
            layer_scale_init_value=0.1 if scaled else 0.))
    file = tmp_path / 'mmpretrain.pth'
    torch.save(
        dict(
            meta=dict(epoch=1),
            state_dict={
                **prefixed('backbone.', vit.state_dict()),
                'head.layers.head.weight': torch.ones(10, WIDTH)
            }), file)
    weights = load_vit_weights(file)
    assert_same(weights.state_dict, vit.state_dict())
    assert (weights.depth, weights.mlp_dims, weights.patch_size,
            weights.grid_size, weights.layer_scale) == (3, 200, 8, 8, scaled)


def test_mmpretrain_builds_every_shape(tmp_path: Path) -> None:
    """Names and shapes that are checked are those that are built."""
    for arguments in (dict(), dict(qkv_bias=False), dict(pre_norm=True),
                      dict(fc_norm=True, global_pool='avg'),
                      dict(class_token=False, global_pool='avg'),
                      dict(no_embed_class=True), dict(mlp_ratio=2.5)):
        vit = random_vit(16, **arguments)
        file = tmp_path / 'vit.pth'
        torch.save(vit.state_dict(), file)
        weights = load_vit_weights(file)
        built = MODELS.build(weights.backbone_cfg())
        wrong = built.load_state_dict(weights.state_dict, strict=False)
        assert wrong.missing_keys == wrong.unexpected_keys == []


def test_shape_and_hash_are_read(state: State, tmp_path: Path) -> None:
    file = tmp_path / 'vit.safetensors'
    save_file(state, file)
    weights = load_vit_weights(str(file))
    assert (weights.embed_dims, weights.depth, weights.mlp_dims,
            weights.patch_size, weights.grid_size,
            weights.heads()) == (WIDTH, DEPTH, 4 * WIDTH, 14, 6, 2)
    assert weights.layer_scale and weights.qkv_bias and weights.final_norm
    import hashlib
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert weights.sha256 == digest
    assert load_vit_weights(file, sha256=digest).depth == DEPTH
    with pytest.raises(FileError, match=f'{"0" * 64}.*found {digest}'):
        load_vit_weights(file, sha256='0' * 64)


def test_half_precision_files_become_float32(state: State,
                                             tmp_path: Path) -> None:
    file = tmp_path / 'vit.safetensors'
    for dtype in (torch.float16, torch.bfloat16):
        save_file({k: v.to(dtype) for k, v in state.items()}, file)
        for key, value in load_vit_weights(file).state_dict.items():
            assert value.dtype == torch.float32, key


@pytest.mark.parametrize(
    ('arguments', 'extra', 'family'),
    [(dict(patch_size=14, layer_scale=True), {}, 'dinov2'),
     (dict(patch_size=16, layer_scale=True), {}, 'generic'),
     (dict(patch_size=8), {}, 'dino'), (dict(patch_size=16), {}, 'dino'),
     (dict(patch_size=32), {}, 'dino'),
     (dict(patch_size=14), {}, 'generic'),
     (dict(patch_size=16), HEAD, 'generic'),
     (dict(patch_size=16), DINO_HEAD, 'dino'),
     (dict(patch_size=16), {'decoder_embed.weight': HEAD['head.weight']},
      'generic'), (dict(patch_size=16, pre_norm=True), {}, 'generic'),
     (dict(class_token=False, global_pool='avg'), {}, 'generic')])
def test_families(arguments: dict, extra: State, family: str,
                  tmp_path: Path) -> None:
    file = tmp_path / 'vit.pth'
    torch.save({**random_vit(**arguments).state_dict(), **extra}, file)
    assert load_vit_weights(file).family == family
    assert load_vit_weights(file, 'dinov2').family == 'dinov2'


def test_mae_is_not_taken_for_dino(tmp_path: Path) -> None:
    state = random_vit(16).state_dict()
    state['pos_embed'][:, 0] = 0  # sines and cosines, none for the CLS token
    torch.save(state, tmp_path / 'vit.pth')
    assert load_vit_weights(tmp_path / 'vit.pth').family == 'generic'


class Bomb:
    """Pickled as a call of os.mkdir, which must not happen on loading."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path, )


def test_other_objects_in_a_checkpoint_are_not_run(
        state: State, expected: State, tmp_path: Path) -> None:
    file, bomb = tmp_path / 'vit.pth', tmp_path / 'bomb'
    layers = nn.Sequential(nn.Linear(2, 2))
    torch.save(
        dict(
            state_dict=state,
            message_hub=[Bomb(str(bomb)), layers, argparse.Namespace(a=1)]),
        file)
    assert_same(load_vit_weights(file).state_dict, expected)
    assert not bomb.exists()
    torch.save(Bomb(str(bomb)), file)
    with pytest.raises(FileError, match='expected a dict of weights'):
        load_vit_weights(file)
    assert not bomb.exists()
