"""A ViT-Adapter small enough for tests."""
from typing import Any

import torch
from torch import Tensor

from sohes.models.backbones import ViTAdapter
from sohes.registry import MODELS

WIDTH, DEPTH = 32, 4


def tiny_adapter(patch_size: int = 16, grid: int = 4,
                 **kwargs: Any) -> ViTAdapter:
    """A seeded random one, its norm layers fit for a CPU."""
    torch.manual_seed(0)
    cfg: dict[str, Any] = dict(
        type='sohes.ViTAdapter',
        vit=dict(
            arch=dict(
                embed_dims=WIDTH,
                num_layers=DEPTH,
                num_heads=2,
                feedforward_channels=2 * WIDTH),
            patch_size=patch_size,
            img_size=grid * patch_size),
        prior_width=8,
        norm_cfg=dict(type='LN2d'))
    adapter = MODELS.build({**cfg, **kwargs})
    adapter.init_weights()
    with torch.no_grad():  # zero at first, and so without meaning
        adapter.vit.cls_token.normal_()
    return adapter


def pixels(*shape: int) -> Tensor:
    """Seeded normal noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
