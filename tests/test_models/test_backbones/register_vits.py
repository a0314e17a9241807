"""Tiny ViTs with registers, of DINOv2's and DINOv3's kinds, and timm's own."""
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sohes.models.backbones.timm_vit import arch_named
from tests.test_weights.vit_reference import randomised

# family, SwiGLU
KINDS = [('dinov2', False), ('dinov2', True), ('dinov3', False),
         ('dinov3', True)]
SIDES = (6, 4, 9)  # patches; the first is where positions were trained
WIDTH, DEPTH, INNER = 128, 3, 168


def small_arch(family: str, swiglu: bool, **changes: Any) -> dict[str, Any]:
    """A tiny ViT of the family's kind."""
    patch = 14 if family == 'dinov2' else 16
    return dict(
        arch_named(family, 's'),
        embed_dims=WIDTH,
        num_layers=DEPTH,
        num_heads=WIDTH // 64,
        feedforward_channels=INNER,
        swiglu=swiglu,
        img_size=SIDES[0] * patch,
        **changes)


def timm_model(family: str, swiglu: bool) -> nn.Module:
    """timm's own model, built as timm's own entry point does."""
    import timm
    name = ('vit_small_patch14_reg4_dinov2'
            if family == 'dinov2' else 'vit_small_patch16_dinov3_qkvb')
    arguments: dict[str, Any] = dict(
        img_size=SIDES[0] * (14 if family == 'dinov2' else 16),
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=WIDTH // 64,
        num_classes=0,
        dynamic_img_size=True,
        mlp_ratio=(INNER + 0.5) / WIDTH)
    if swiglu and family == 'dinov2':
        arguments.update(
            mlp_layer=timm.layers.SwiGLUPacked,
            act_layer=nn.SiLU,
            mlp_ratio=(2 * INNER + 0.5) / WIDTH)
    elif swiglu:
        arguments.update(swiglu_mlp=True, swiglu_align_to=8)
    return randomised(timm.create_model(name, **arguments))


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / 'vit.pth')
    return folder / 'vit.pth'
