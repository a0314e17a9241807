"""Which ViT an adapter is built on, and what is loaded into it."""
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sohes.models.backbones import ViTAdapter
from sohes.models.backbones.vit_adapter_vit import named_vit
from sohes.registry import MODELS
from sohes.weights import load_vit_weights
from tests.test_weights.vit_reference import DEPTH, WIDTH, random_vit, save

from .test_vit_adapter import last_tokens
from .tiny_adapter import pixels, tiny_adapter

REAL = 'weights/dinov2_vits14_imgfocus_fp16.safetensors'


def built(**kwargs: Any) -> ViTAdapter:
    """An adapter with a slight pyramid, not yet initialised."""
    return MODELS.build(
        dict(
            type='sohes.ViTAdapter',
            prior_width=4,
            num_interactions=1,
            extra_extractors=0,
            norm_cfg=dict(type='BN'),
            **kwargs))


def test_weights_are_loaded_by_init_weights(tmp_path: Path) -> None:
    path = save(random_vit(patch_size=8, layer_scale=True), tmp_path / 'a.pth')
    adapter = built(weights=path)
    assert (adapter.embed_dims, adapter.patch_size) == (WIDTH, 8)
    expected = load_vit_weights(path).state_dict
    assert not torch.equal(adapter.vit.pos_embed, expected['pos_embed'])
    adapter.init_weights()
    found = adapter.vit.state_dict()
    assert set(expected) - set(found) == {'ln1.weight', 'ln1.bias'}
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_second_init_weights_keeps_what_was_learnt(tmp_path: Path) -> None:
    adapter = built(weights=save(random_vit(), tmp_path / 'a.pth'))
    adapter.init_weights()
    torch.nn.init.zeros_(adapter.vit.pos_embed)
    adapter.init_weights()
    assert not adapter.vit.pos_embed.any()


def test_position_embedding_of_another_size(tmp_path: Path) -> None:
    path = save(random_vit(grid=6), tmp_path / 'a.pth')
    arch = dict(
        embed_dims=WIDTH,
        num_layers=DEPTH,
        num_heads=2,
        feedforward_channels=4 * WIDTH)
    adapter = built(
        weights=path, vit=dict(arch=arch, patch_size=16, img_size=9 * 16))
    adapter.init_weights()
    kept = load_vit_weights(path).state_dict['pos_embed']
    patches = kept[:, 1:].unflatten(1, (6, 6)).permute(0, 3, 1, 2)
    wanted = F.interpolate(patches, (9, 9), mode='bicubic').flatten(2)
    assert torch.equal(adapter.vit.pos_embed[:, :1], kept[:, :1])
    assert torch.allclose(adapter.vit.pos_embed[:, 1:], wanted.mT, atol=1e-6)


def test_state_dict_round_trip_and_another_grid() -> None:
    source = tiny_adapter(grid=4).eval()
    for injector in source.injectors:
        torch.nn.init.normal_(injector.gamma)
    same, other = (tiny_adapter(grid=grid).eval() for grid in (4, 7))
    for adapter in (same, other):
        adapter.load_state_dict(source.state_dict())
    assert other.vit.pos_embed.shape[1] == 1 + 7 * 7
    x = pixels(1, 3, 50, 40)
    with torch.no_grad():
        for a, b in zip(source(x), same(x)):
            assert torch.equal(a, b)
        other(x)


def test_pretrained_init_cfg_has_the_last_word(tmp_path: Path) -> None:
    weights = save(random_vit(), tmp_path / 'vit.pth')
    source = built(weights=weights)
    source.init_weights()
    torch.nn.init.constant_(source.vit.pos_embed, 3.0)
    path = tmp_path / 'adapter.pth'
    torch.save(source.state_dict(), path)
    adapter = built(
        weights=weights,
        init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    adapter.init_weights()
    for key, value in adapter.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


def test_weights_of_another_vit(tmp_path: Path) -> None:
    path = save(random_vit(), tmp_path / 'a.pth')
    adapter = built(weights=path, vit=dict(arch='small', patch_size=16))
    with pytest.raises(ValueError, match='expected the weights of the ViT'):
        adapter.init_weights()


def test_neither_weights_nor_a_shape() -> None:
    with pytest.raises(ValueError, match='found neither'):
        built()


def test_unknown_arch() -> None:
    with pytest.raises(ValueError, match="'small', 'base', 'large'.*'tiny'"):
        built(vit=dict(arch='tiny'))


def test_named_vit_builds_without_its_file(
        home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = built(weights='dino_vits8')
    assert (adapter.embed_dims, adapter.stride) == (384, 8)
    assert len(adapter.vit.layers) == 12
    assert not home.exists()


def test_named_vit_has_the_shape_of_the_file(shared_data: Path) -> None:
    cfg = load_vit_weights(shared_data / REAL).backbone_cfg()
    named = named_vit('dinov2_vits14')
    assert all(cfg[key] == named[key] for key in named)


@pytest.mark.slow
def test_real_vit_is_the_bare_one_at_first(shared_data: Path) -> None:
    """At the grid it was trained at, 37 x 37: no embedding is resized."""
    adapter = built(weights=shared_data / REAL)
    adapter.init_weights()
    adapter.eval()
    loaded = load_vit_weights(shared_data / REAL)
    bare = MODELS.build(loaded.backbone_cfg(final_norm=False))
    bare.load_state_dict({
        key: value for key, value in loaded.state_dict.items()
        if not key.startswith('ln1.')
    })
    bare.eval()
    x = pixels(1, 3, 37 * 16, 37 * 16)
    with torch.no_grad():
        expected = bare(
            F.interpolate(x, (518, 518), mode='bicubic', antialias=True))[0]
    found = last_tokens(adapter, x)
    assert found.shape == (1, 1 + 37 * 37, 384)
    assert torch.allclose(found, expected, atol=1e-6 * expected.abs().max())
