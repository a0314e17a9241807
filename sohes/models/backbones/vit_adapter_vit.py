"""Which ViT a ViT-Adapter stands on: from weights or from a config."""
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from sohes.models.backbones.timm_vit import TimmViT, arch_named
from sohes.registry import MODELS
from sohes.utils.errors import FileError
from sohes.utils.imports import import_quietly
from sohes.weights.vit_files import read_tensors
from sohes.weights.vit_keys import listed
from sohes.weights.vit_weights import LAYER_NORM_EPS, load_vit_weights
from sohes.weights.vit_zoo import ZOO, locate_weights

# embed_dims, num_layers, num_heads; the feed-forward layers have 4 x width.
_ARCHS = {
    'small': (384, 12, 6),
    'base': (768, 12, 12),
    'large': (1024, 24, 16)
}
_FIXED = dict(
    type='mmpretrain.VisionTransformer',
    norm_cfg=dict(type='LN', eps=LAYER_NORM_EPS))
_NAME = re.compile(r'(?P<family>dino|dinov2|dinov3)_vit(?P<arch>[sblgh]|7b)'
                   r'(?P<patch>\d+)(?P<plus>plus)?(?P<registers>_reg)?')


def vit_config(vit: dict[str, Any] | None,
               weights: str | Path | None) -> dict[str, Any]:
    """Arguments of the ViT, complete: they build it without its weights.

    Args:
        vit: arguments of mmpretrain's VisionTransformer, of which ``arch``
            may be 'small', 'base', 'large' or mmpretrain's dict; or of
            ``type='sohes.TimmViT'``. None: what ``weights`` say.
        weights: name of the zoo (needs no file) or a file of weights.

    Raises:
        ValueError: neither is given, or weights that cannot be used.
    """
    if vit is not None:
        return _from_config(vit)
    if weights is None:
        raise ValueError(
            'ViTAdapter: expected weights (a name of the zoo or a file) or '
            "vit (such as dict(arch='small', patch_size=16)), found neither")
    if isinstance(weights, str) and weights in ZOO:
        return named_vit(weights)
    return load_vit_weights(locate_weights(weights).path).backbone_cfg()


def build_vit(cfg: dict[str, Any], drop_path_rate: float) -> nn.Module:
    """mmpretrain's VisionTransformer or TimmViT without its final norm.

    That norm lies behind all that an adapter looks at: it would be a
    parameter without a gradient.

    Args:
        cfg: from :func:`vit_config`.
        drop_path_rate: of the last block; it grows linearly up to there.
    """
    if cfg['type'] == 'sohes.TimmViT':
        return MODELS.build(dict(cfg, drop_path_rate=drop_path_rate))
    import_quietly('mmpretrain.models')
    return MODELS.build(
        dict(cfg, final_norm=False, out_type='raw',
             drop_path_rate=drop_path_rate))


def patch_size_of(vit: nn.Module) -> int:
    """Side of a patch in pixels."""
    if isinstance(vit, TimmViT):
        return vit.patch_size
    return vit.patch_embed.projection.kernel_size[0]


def embed_images(vit: nn.Module,
                 x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Images to the tokens that enter a ViT's first block.

    Args:
        vit: from :func:`build_vit`.
        x: (B, 3, H, W), normalised RGB; patches divide both sides.

    Returns:
        Tokens (B, E + P, C), the E extra ones first, and what the blocks
        take beside them: rotary positions, or nothing.
    """
    if isinstance(vit, TimmViT):
        return vit.embed(x)
    tokens, size = vit.patch_embed(x)
    if vit.cls_token is not None:
        cls_token = vit.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat((cls_token, tokens), dim=1)
    tokens = tokens + vit.resize_pos_embed(
        vit.pos_embed,
        vit.patch_resolution,
        size,
        mode=vit.interpolate_mode,
        num_extra_tokens=vit.num_extra_tokens)
    return vit.pre_norm(vit.drop_after_pos(tokens)), ()


def named_vit(name: str) -> dict[str, Any]:
    """Config of one of the zoo's ViTs, without looking at its weights.

    So a model whose checkpoint has everything in it builds on a machine
    that never saw the zoo's file.
    """
    match = _NAME.fullmatch(name)
    family, size = match['family'], match['arch'] + (match['plus'] or '')
    if family == 'dinov3' or match['registers']:
        return dict(type='sohes.TimmViT', arch=arch_named(family, size))
    newer = family == 'dinov2'
    patch = int(match['patch'])
    cfg: dict[str, Any] = dict(
        arch=next((key for key in _ARCHS if key[0] == size), None),
        patch_size=patch,
        # trained at 224, DINOv2 at last at 518
        img_size=37 * patch if newer else 224,
        layer_scale_init_value=1.0 if newer else 0.0)
    if size == 'g':
        cfg.update(
            arch='dinov2-giant', layer_cfgs=dict(ffn_type='swiglu_fused'))
        return dict(_FIXED, **cfg)
    return _from_config(cfg)


def _from_config(vit: dict[str, Any]) -> dict[str, Any]:
    """The user's arguments over the ones that DINO's ViTs have."""
    cfg: dict[str, Any] = dict(_FIXED, arch='base')
    cfg.update(vit)
    if cfg['type'] == 'sohes.TimmViT':
        return dict(vit)
    if isinstance(cfg['arch'], str):
        if cfg['arch'] not in _ARCHS:
            raise ValueError(
                f'ViTAdapter: vit: arch: expected one of {list(_ARCHS)} or a '
                f'dict, found {cfg["arch"]!r}')
        # mmpretrain's own 'small' is another one: 8 blocks of 768
        width, depth, heads = _ARCHS[cfg['arch']]
        cfg['arch'] = dict(
            embed_dims=width,
            num_layers=depth,
            num_heads=heads,
            feedforward_channels=4 * width)
    return cfg


def load_into(vit: nn.Module, weights: str | Path) -> None:
    """Load weights, the position embedding resized where it has to be.

    Raises:
        FileError: they cannot be had, or are another ViT's.
    """
    located = locate_weights(weights)
    loaded = load_vit_weights(located.path, located.family, located.sha256)
    unused = ('ln1.weight', 'ln1.bias')  # the final norm
    state = {
        key: value
        for key, value in loaded.state_dict.items() if key not in unused
    }
    # mmpretrain resizes it while it loads; timm does so in every pass.
    _check_names(vit.state_dict(), state, located.path, 'ViT', ('pos_embed', ))
    vit.load_state_dict(state)
    print_log(
        f'{located.path}: loaded all {len(state)} weights of the ViT, 0 '
        'missing, 0 unexpected', logger='current')


def load_adapter_into(adapter: nn.Module, weights: str | Path) -> None:
    """Load what lies beside the ViT, from a file of extract_backbone.py.

    Args:
        adapter: a ViTAdapter; its ViT is left as it is.
        weights: a file, written without ``--vit``.

    Raises:
        FileError: it has no adapter, or one of another shape.
    """
    path = locate_weights(weights).path
    state, own = (
        {key: value for key, value in tensors.items()
         if not key.startswith('vit.')}
        for tensors in (read_tensors(path), adapter.state_dict()))
    if 'level_embed' not in state:
        raise FileError(
            f'{path}: with_adapter: expected a backbone with its adapter, as '
            'tools/model_converters/extract_backbone.py writes it without '
            '--vit, found no level_embed in it')
    _check_names(own, state, path, 'adapter')
    adapter.load_state_dict(state, strict=False)
    print_log(
        f'{path}: loaded all {len(state)} weights of the adapter, 0 missing, '
        '0 unexpected', logger='current')


def _check_names(expected: Mapping[str, Tensor], found: Mapping[str, Tensor],
                 path: Path, what: str, resized: tuple[str, ...] = ()
                 ) -> None:
    """Refuse weights that do not fit one to one, naming the first few."""
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    wrong = [
        f'{key} ({tuple(found[key].shape)}, expected '
        f'{tuple(expected[key].shape)})' for key in expected
        if key in found and key not in resized
        and found[key].shape != expected[key].shape
    ]
    problems = [
        f'{len(keys)} {kind}: {listed(keys)}'
        for kind, keys in (('missing', missing), ('unexpected', unexpected),
                           ('of another shape', wrong)) if keys
    ]
    if problems:
        raise FileError(
            f'{path}: expected the weights of the {what} in the config, found '
            f'others: {"; ".join(problems)}')
