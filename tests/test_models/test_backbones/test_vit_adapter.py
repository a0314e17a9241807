"""ViT-Adapter: sizes, the ViT inside, gradients, precision."""
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tiny_adapter import DEPTH, WIDTH, pixels, tiny_adapter

PATCHES = pytest.mark.parametrize('patch', (8, 14, 16))


@PATCHES
@pytest.mark.parametrize('size', ((97, 131), (64, 96), (640, 480), (3, 50)))
def test_sizes_are_rounded_up(patch: int, size: tuple[int, int]) -> None:
    adapter = tiny_adapter(patch, num_interactions=2).eval()
    with torch.no_grad():
        maps = adapter(pixels(1, 3, *size))
    assert [tuple(m.shape) for m in maps] == [
        (1, WIDTH, math.ceil(size[0] / s), math.ceil(size[1] / s))
        for s in (4, 8, 16, 32)
    ]
    assert all(m.isfinite().all() for m in maps)


@PATCHES
def test_stride_of_the_vit(patch: int) -> None:
    assert tiny_adapter(patch).stride == {8: 8, 14: 16, 16: 16}[patch]


def last_tokens(adapter: nn.Module, x: Tensor) -> Tensor:
    """What the ViT's last block gives inside the adapter."""
    seen: list[Tensor] = []
    hook = adapter.vit.layers[-1].register_forward_hook(
        lambda _, __, out: seen.append(out))
    with torch.no_grad():
        adapter(x)
    hook.remove()
    return seen[0]


@PATCHES
def test_vit_is_the_bare_one_at_first(patch: int) -> None:
    adapter = tiny_adapter(patch).eval()
    h, w = 5, 3
    side = adapter.stride
    x = pixels(2, 3, h * side, w * side)
    shown = x if patch == side else F.interpolate(
        x, (h * patch, w * patch), mode='bicubic', antialias=True)
    with torch.no_grad():
        bare = adapter.vit(shown)[0]
    assert bare.shape == (2, 1 + h * w, WIDTH)  # CLS first
    assert torch.equal(last_tokens(adapter, x), bare)
    with torch.no_grad():
        adapter.injectors[0].gamma.fill_(0.5)
    assert not torch.allclose(last_tokens(adapter, x), bare, atol=1e-3)


def test_cls_token_passes_an_injector_unchanged() -> None:
    adapter = tiny_adapter().eval()
    nn.init.ones_(adapter.injectors[0].gamma)
    seen: dict[str, Tensor] = {}
    adapter.injectors[0].register_forward_hook(
        lambda _, args, out: seen.update(before=args[0], after=out))
    with torch.no_grad():
        adapter(pixels(1, 3, 48, 32))
    assert torch.equal(seen['before'][:, 0], seen['after'][:, 0])
    assert (seen['before'][:, 1:] != seen['after'][:, 1:]).all(-1).all()


def test_padding_is_for_the_vit_alone() -> None:
    """An odd image gives what it gives with the zeros written out."""
    adapter = tiny_adapter().eval()
    x = pixels(1, 3, 41, 27)
    padded = F.pad(x, (0, 32 - 27, 0, 48 - 41))
    assert torch.equal(last_tokens(adapter, x), last_tokens(adapter, padded))


@PATCHES
@pytest.mark.parametrize('norm', ('LN2d', 'BN'))
def test_every_parameter_learns(patch: int, norm: str) -> None:
    adapter = tiny_adapter(patch, norm_cfg=dict(type=norm)).train()
    optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-2)
    x = pixels(2, 3, 97, 70)
    for step in range(3):
        adapter.zero_grad()
        maps = adapter(x)
        sum((m * pixels(*m.shape)).sum() for m in maps).backward()
        still = [
            name for name, p in adapter.named_parameters()
            if p.grad is None or not p.grad.abs().max() > 1e-4
        ]
        if step == 0:  # gamma, and what reads the queries, start at zero
            assert still
            assert all('injectors' in name or 'query_norm' in name
                       for name in still)
        optimizer.step()
    assert still == []


def outputs_and_gradients(
        adapter: nn.Module,
        x: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """One seeded forward and backward pass."""
    torch.manual_seed(3)
    maps = adapter(x)
    sum((m * pixels(*m.shape).to(m)).sum() for m in maps).backward()
    return maps, {n: p.grad for n, p in adapter.named_parameters()}


def test_checkpointing_changes_nothing() -> None:
    x = pixels(2, 3, 50, 70)
    maps, gradients = zip(*(
        outputs_and_gradients(
            tiny_adapter(with_cp=with_cp, drop_path_rate=0.3).train(), x)
        for with_cp in (False, True)))
    for a, b in zip(*maps):
        assert torch.equal(a, b)
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


def test_drop_path_is_drawn_in_training_only() -> None:
    adapter = tiny_adapter(drop_path_rate=0.5)
    x = pixels(2, 3, 32, 32)
    with torch.no_grad():
        adapter.train()
        assert not torch.equal(adapter(x)[0], adapter(x)[0])
        adapter.eval()
        assert torch.equal(adapter(x)[0], adapter(x)[0])


def test_bf16_keeps_deformable_attention_in_fp32() -> None:
    adapter = tiny_adapter().train()
    x = pixels(2, 3, 61, 40)
    expected, _ = outputs_and_gradients(adapter, x)
    dtypes: dict[str, set] = {'deformable': set(), 'block': set()}
    for module in (*adapter.injectors, *adapter.extractors):
        for layer in (module.attention.attn.value_proj,
                      module.attention.attn.sampling_offsets):
            layer.register_forward_hook(
                lambda _, __, out: dtypes['deformable'].add(out.dtype))
    adapter.vit.layers[0].attn.qkv.register_forward_hook(
        lambda _, __, out: dtypes['block'].add(out.dtype))
    adapter.zero_grad()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        maps, gradients = outputs_and_gradients(adapter, x)
    assert dtypes == dict(
        deformable={torch.float32}, block={torch.bfloat16})
    assert all(g.isfinite().all() for g in gradients.values())
    for found, wanted in zip(maps, expected):
        assert (found - wanted).norm() < 0.05 * wanted.norm()


def test_attention_is_torchs() -> None:
    """So flash attention runs where torch has it."""
    for layer in tiny_adapter().vit.layers:
        found = layer.attn.scaled_dot_product_attention
        assert found is F.scaled_dot_product_attention


@pytest.mark.parametrize(
    ('norm_cfg', 'kind'),
    ((dict(type='LN2d'), nn.LayerNorm), (dict(type='BN'), nn.BatchNorm2d),
     (dict(type='GN', num_groups=4), nn.GroupNorm),
     (None, nn.SyncBatchNorm)))
def test_norm_layers(norm_cfg: dict | None, kind: type) -> None:
    adapter = tiny_adapter(norm_cfg=norm_cfg).eval()
    assert len(adapter.norms) == 4
    assert all(isinstance(norm, kind) for norm in adapter.norms)
    assert any(isinstance(m, kind) for m in adapter.prior.modules())
    with torch.no_grad():
        assert adapter(pixels(1, 3, 32, 40))[3].shape == (1, WIDTH, 1, 2)


def test_frozen_vit() -> None:
    adapter = tiny_adapter(frozen_vit=True, drop_path_rate=0.5).train()
    assert adapter.training
    assert not any(m.training for m in adapter.vit.modules())
    _, gradients = outputs_and_gradients(adapter, pixels(2, 3, 32, 32))
    frozen = {name for name, g in gradients.items() if g is None}
    assert frozen == {
        name for name in gradients if name.startswith('vit.')
    }
    # through the frozen blocks down to the first injector
    assert gradients['injectors.0.gamma'].abs().min() > 0


@pytest.mark.parametrize(('name', 'depth'), (
    ('vit.cls_token', 0), ('vit.pos_embed', 0),
    ('vit.patch_embed.projection.weight', 0),
    ('vit.layers.0.ln1.weight', 1), ('vit.layers.3.ffn.layers.1.bias', 4),
    ('prior.stem.0.weight', 5), ('injectors.0.gamma', 5)))
def test_layer_depth(name: str, depth: int) -> None:
    adapter = tiny_adapter()
    assert name in dict(adapter.named_parameters())
    assert adapter.get_layer_depth(name) == (depth, DEPTH + 2)
    found = adapter.get_layer_depth(f'backbone.{name}', 'backbone.')
    assert found == (depth, DEPTH + 2)
    assert adapter.get_layer_depth('head.w', 'backbone.') == (5, DEPTH + 2)


@pytest.mark.parametrize('count', (0, DEPTH + 1))
def test_interactions_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match=f'expected 1 to {DEPTH}.*{count}'):
        tiny_adapter(num_interactions=count)


def test_blocks_that_do_not_divide() -> None:
    assert tiny_adapter(num_interactions=3).groups == [[0, 1], [2], [3]]


def test_not_images() -> None:
    with pytest.raises(ValueError, match=r'found \(1, 4, 8, 8\)'):
        tiny_adapter()(torch.zeros(1, 4, 8, 8))


@pytest.mark.slow
def test_runs_without_mmdet(repo_root: Path) -> None:
    """For users of mmseg, who may not have it."""
    code = (
        'import sys; sys.modules["mmdet"] = None\n'  # as if not installed
        'from tests.test_models.test_backbones.tiny_adapter import *\n'
        'tiny_adapter()(pixels(1, 3, 32, 32)); print("done")')
    done = subprocess.run([sys.executable, '-c', code],
                          cwd=repo_root,
                          capture_output=True,
                          text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'done'
