"""timm's ViT as the reference, and other layouts of its weights."""
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

DEPTH, WIDTH = 4, 128


def random_vit(patch_size: int = 16,
               layer_scale: bool = False,
               grid: int = 6,
               seed: int = 0,
               **kwargs: Any) -> VisionTransformer:
    """A small ViT of timm's, no weight of it zero or one."""
    arguments: dict[str, Any] = dict(
        img_size=grid * patch_size,
        patch_size=patch_size,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=WIDTH // 64,
        num_classes=0,
        init_values=0.1 if layer_scale else None,
        dynamic_img_size=True)
    vit = VisionTransformer(**{**arguments, **kwargs})
    return randomised(vit, seed)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """No weight zero or one, so that a lost or swapped one shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if 'norm' in name and name.endswith('weight'):
                weight.copy_(1 + 0.2 * noise)
            elif weight.ndim > 1 and name.endswith('weight'):
                weight.copy_(noise / weight[0].numel()**0.5)
            else:  # biases, layer scale, embeddings
                weight.copy_(0.5 * noise)
    return module.eval()


def save(vit: VisionTransformer, path: Path) -> Path:
    """Save a ViT's weights as timm names them."""
    torch.save(vit.state_dict(), path)
    return path


def photo(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Smooth random colours, as uint8 (*shape, 3)."""
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(shape[::-1], Image.BICUBIC)
    noise = rng.integers(-20, 20, (*shape, 3))
    return (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)


def normalised(images: np.ndarray) -> Tensor:
    """uint8 RGB (B, H, W, 3) to what ImageNet's ViTs take, written anew."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
    return ((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)).float()


def timm_features(vit: VisionTransformer, images: np.ndarray, feature: str,
                  block: int) -> np.ndarray:
    """Features (B, h, w, C) of timm's ViT, block counted from 1."""
    seen: dict[str, Tensor] = {}
    layer = vit.blocks[block - 1]
    hooks = [
        layer.attn.qkv.register_forward_hook(
            lambda _, __, out: seen.__setitem__('qkv', out)),
        layer.register_forward_hook(
            lambda _, __, out: seen.__setitem__('token', out))
    ]
    with torch.no_grad():
        vit.forward_features(normalised(images))
    for hook in hooks:
        hook.remove()
    seen.update(zip(('query', 'key', 'value'), seen['qkv'].chunk(3, dim=-1)))
    patches = seen[feature][:, vit.num_prefix_tokens:]
    side = int(patches.shape[1]**0.5)
    return patches.reshape(len(images), side, side, -1).numpy()


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float(
        np.linalg.norm(found - expected) / np.linalg.norm(expected))


def hugging_face_names(state: dict[str, Tensor],
                       scaled: bool) -> dict[str, Tensor]:
    """timm's weights as Dinov2Model (scaled) or ViTModel names them."""
    renamed = {
        'embeddings.cls_token': state['cls_token'],
        'embeddings.position_embeddings': state['pos_embed'],
        'embeddings.mask_token': torch.zeros(1, WIDTH),
    }
    inner = ({'norm1': 'norm1', 'norm2': 'norm2', 'mlp.fc1': 'mlp.fc1',
              'mlp.fc2': 'mlp.fc2'} if scaled else
             {'norm1': 'layernorm_before', 'norm2': 'layernorm_after',
              'mlp.fc1': 'intermediate.dense', 'mlp.fc2': 'output.dense'})
    inner['attn.proj'] = 'attention.output.dense'
    for kind in ('weight', 'bias'):
        renamed[f'layernorm.{kind}'] = state[f'norm.{kind}']
        renamed[f'embeddings.patch_embeddings.projection.{kind}'] = state[
            f'patch_embed.proj.{kind}']
        for i in range(DEPTH):
            ours, theirs = f'blocks.{i}.', f'encoder.layer.{i}.'
            for old, new in inner.items():
                renamed[f'{theirs}{new}.{kind}'] = state[f'{ours}{old}.{kind}']
            for part, value in zip(
                ('query', 'key', 'value'),
                    state[f'{ours}attn.qkv.{kind}'].chunk(3)):
                renamed[f'{theirs}attention.attention.{part}.{kind}'] = value
    if scaled:
        for i in range(DEPTH):
            for n in (1, 2):
                renamed[f'encoder.layer.{i}.layer_scale{n}.lambda1'] = state[
                    f'blocks.{i}.ls{n}.gamma']
    return renamed
