"""The weights of a ViT and the shape that they show."""
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sohes.utils.errors import FileError
from sohes.utils.files import sha256_of
from sohes.weights.timm_vit_weights import (
    TimmViTWeights,
    convert_register_vit,
    has_registers,
)
from sohes.weights.vit_files import read_tensors
from sohes.weights.vit_keys import (
    count_blocks,
    strip_wrapper,
    to_mmpretrain_names,
)

# Every ViT of DINO, DINOv2, MAE, DeiT and augreg has heads of 64 channels;
# the weights themselves do not show how the channels are split.
HEAD_DIMS = 64
# nn.LayerNorm's own default is 1e-5; DINO, DINOv2 and timm train with this.
LAYER_NORM_EPS = 1e-6


@dataclass
class ViTWeights:
    """The weights of one ViT under mmpretrain's names, and its shape.

    Attributes:
        state_dict: float32 tensors by mmpretrain's names.
        file: the file they were read from.
        sha256: hash of that file, 64 hex digits.
        family: 'dino', 'dinov2' or 'generic', see :func:`guess_family`.
        embed_dims: channels of a token.
        depth: number of blocks.
        mlp_dims: channels inside the feed-forward layers.
        swiglu: whether these are SwiGLU, as in DINOv2's giant.
        patch_size: side of a patch in pixels.
        grid_size: patches per side that ``pos_embed`` was trained at.
        with_cls_token, layer_scale, qkv_bias, pre_norm, final_norm,
            patch_bias: whether the ViT has these.
    """
    state_dict: dict[str, Tensor]
    file: Path
    sha256: str
    family: str
    embed_dims: int
    depth: int
    mlp_dims: int
    swiglu: bool
    patch_size: int
    grid_size: int
    with_cls_token: bool
    layer_scale: bool
    qkv_bias: bool
    pre_norm: bool
    final_norm: bool
    patch_bias: bool

    def heads(self, num_heads: int | None = None) -> int:
        """How many heads a block has, by default of 64 channels each.

        Raises:
            FileError: the channels do not divide among them.
        """
        if num_heads is None and self.embed_dims % HEAD_DIMS == 0:
            return self.embed_dims // HEAD_DIMS
        if not num_heads or num_heads < 1 or self.embed_dims % num_heads:
            raise FileError(
                f'{self.file}: num_heads: expected a divisor of the '
                f'{self.embed_dims} channels, found {num_heads} (by default '
                f'{HEAD_DIMS} channels make a head)')
        return num_heads

    def backbone_cfg(self,
                     depth: int | None = None,
                     num_heads: int | None = None,
                     **overrides: Any) -> dict[str, Any]:
        """Config of mmpretrain's VisionTransformer with this shape.

        Args:
            depth: build only the first ``depth`` blocks (then without the
                final norm). None: all.
            num_heads: heads per block. None: 64 channels each.
            overrides: further arguments of the VisionTransformer.
        """
        depth = self.depth if depth is None else depth
        cfg: dict[str, Any] = dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(
                embed_dims=self.embed_dims,
                num_layers=depth,
                num_heads=self.heads(num_heads),
                feedforward_channels=(
                    self.mlp_dims if not self.swiglu else
                    # of which mmpretrain takes two thirds
                    self.mlp_dims * 3 // 2)),
            img_size=self.grid_size * self.patch_size,
            patch_size=self.patch_size,
            patch_cfg=dict(bias=self.patch_bias),
            qkv_bias=self.qkv_bias,
            norm_cfg=dict(type='LN', eps=LAYER_NORM_EPS),
            final_norm=self.final_norm and depth == self.depth,
            with_cls_token=self.with_cls_token,
            # any value > 0 makes the layers, their values are loaded
            layer_scale_init_value=1.0 if self.layer_scale else 0.0,
            pre_norm=self.pre_norm,
            out_type='raw')
        if self.swiglu:
            cfg['layer_cfgs'] = dict(ffn_type='swiglu_fused')
        cfg.update(overrides)
        return cfg


def load_vit_weights(path: str | Path,
                     family: str | None = None,
                     sha256: str | None = None
                     ) -> ViTWeights | TimmViTWeights:
    """Read a ViT's weights from a .pth, .pt, .safetensors or .onnx file.

    A ViT with register tokens (DINOv2's newer ones, DINOv3) is timm's to
    compute, every other one mmpretrain's.

    Args:
        path: the file.
        family: the family if it is known; None guesses it.
        sha256: the hash the file must have; None accepts any.

    Returns:
        The converted weights and the shape read from them; both types
        have ``state_dict``, ``sha256``, ``family``, ``embed_dims``,
        ``depth``, ``patch_size`` and ``backbone_cfg``.

    Raises:
        FileError: missing, unreadable or unsupported, with the file,
            the key, what was expected and what was found.
    """
    path = Path(path).expanduser()
    file = str(path)
    tensors = read_tensors(path)
    found = sha256_of(path)
    if sha256 is not None and found != sha256:
        raise FileError(
            f'{file}: expected the SHA-256 {sha256}, which it had when it '
            f'was downloaded, found {found}; delete it to fetch it again')
    bare = strip_wrapper(tensors, file)
    if has_registers(bare):
        return convert_register_vit(bare, path, found)
    state = to_mmpretrain_names(bare, file)
    family = family or guess_family(state, tensors)
    state = {key: value.float() for key, value in state.items()}
    shape = _read_shape(state, file)
    state['pos_embed'] = _with_cls_position(state, shape['grid_size'])
    weights = ViTWeights(
        state_dict=state,
        file=path,
        sha256=found,
        family=family,
        **shape)
    _check_complete(weights)
    return weights


def vit_in_model(state: Mapping[str, Tensor], file: str) -> dict[str, Any]:
    """Config of the ViT among a model's weights, such as a checkpoint's.

    Args:
        state: by the names of the whole model, ``backbone.vit.`` and so on;
            of a teacher and a student the teacher's counts.
        file: where they come from, for messages.

    Returns:
        Arguments of mmpretrain's VisionTransformer or of ``TimmViT``.

    Raises:
        FileError: there is no ViT, not one alone, or not all of one.
    """
    bare = strip_wrapper(state, file)
    if has_registers(bare):
        return convert_register_vit(bare, Path(file), '').backbone_cfg()
    named = to_mmpretrain_names(bare, file)
    weights = ViTWeights(state_dict=named, file=Path(file), sha256='',
                         family='generic', **_read_shape(named, file))
    _check_complete(weights)
    return weights.backbone_cfg()


def guess_family(state: Mapping[str, Tensor],
                 all_keys: Iterable[str]) -> str:
    """The family whose layout the weights have; the names tell no more.

    'dinov2': layer scale and patches of 14. 'dino': patches of 8, 16 or 32
    (table 7), no layer scale, no classifier or decoder beside it, and a
    position for the CLS token (MAE and MoCo v3 leave that one zero).
    Everything else is 'generic'. Methods with DINO's layout (iBOT) are taken
    for DINO, too.

    Args:
        state: the ViT's weights by mmpretrain's names.
        all_keys: all names in the file as it is.
    """
    patch = state['patch_embed.projection.weight'].shape[-1]
    if any('gamma' in key for key in state):
        return 'dinov2' if patch == 14 else 'generic'
    supervised = any(
        re.search(r'(^|\.)(head|heads|fc|classifier)\.weight$|'
                  r'(^|\.)decoder', key) for key in all_keys)
    position = state.get('pos_embed')
    if (patch in (8, 16, 32) and not supervised and 'cls_token' in state
            and 'pre_norm.weight' not in state and position is not None
            and position.ndim == 3 and bool(position[:, 0].any())):
        return 'dino'
    return 'generic'


def _read_shape(state: Mapping[str, Tensor], file: str) -> dict[str, Any]:
    """Width, depth, patch size and so on, from the weights' shapes."""
    patch = state['patch_embed.projection.weight']
    if patch.ndim != 4 or patch.shape[1] != 3 or (patch.shape[2]
                                                  != patch.shape[3]):
        raise FileError(
            f'{file}: patch_embed.proj.weight: expected the shape (width, 3, '
            f'patch, patch), found {tuple(patch.shape)}')
    swiglu = 'layers.0.ffn.w12.weight' in state
    first, second = (('w12', 'w3') if swiglu else
                     ('layers.0.0', 'layers.1'))
    for key in ('pos_embed', f'layers.0.ffn.{first}.weight',
                f'layers.0.ffn.{second}.weight'):
        if key not in state:
            raise FileError(f'{file}: missing key {key!r} '
                            "(in mmpretrain's naming)")
    inner = state[f'layers.0.ffn.{second}.weight'].shape[-1]
    if swiglu and inner % 8:
        raise FileError(
            f'{file}: this ViT has SwiGLU feed-forward layers of {inner} '
            'channels; mmpretrain computes multiples of 8 only')
    with_cls_token = 'cls_token' in state
    return dict(
        embed_dims=patch.shape[0],
        depth=count_blocks(state, 'layers', file),
        mlp_dims=inner,
        swiglu=swiglu,
        patch_size=patch.shape[-1],
        grid_size=_grid_size(state['pos_embed'], with_cls_token, file),
        with_cls_token=with_cls_token,
        layer_scale=any('gamma' in key for key in state),
        qkv_bias='layers.0.attn.qkv.bias' in state,
        pre_norm='pre_norm.weight' in state,
        final_norm='ln1.weight' in state,
        patch_bias='patch_embed.projection.bias' in state)


def _grid_size(position: Tensor, with_cls_token: bool, file: str) -> int:
    """Patches per side of a square position embedding (1, L, C)."""
    length = position.shape[1] if position.ndim == 3 else 0
    # with a CLS token: either it has a position of its own or not (timm's
    # no_embed_class)
    for patches in ((length - 1, length) if with_cls_token else (length, )):
        side = math.isqrt(max(patches, 0))
        if side and side * side == patches:
            return side
    raise FileError(
        f'{file}: pos_embed: expected the shape (1, n * n'
        f'{" + 1" if with_cls_token else ""}, width) of a square of patches, '
        f'found {tuple(position.shape)}')


def _with_cls_position(state: Mapping[str, Tensor], grid: int) -> Tensor:
    """The position embedding with a (zero) position for the CLS token."""
    position = state['pos_embed']
    if 'cls_token' in state and position.shape[1] == grid * grid:
        zero = position.new_zeros(1, 1, position.shape[2])
        return torch.cat((zero, position), dim=1)
    return position


def _check_complete(weights: ViTWeights) -> None:
    """Compare names and shapes with those of the ViT to be built."""
    file, state = weights.file, weights.state_dict
    expected = _expected_shapes(weights)
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    wrong = [
        f'{key!r} (expected {expected[key]}, found '
        f'{tuple(state[key].shape)})' for key in expected
        if key in state and tuple(state[key].shape) != expected[key]
    ]
    problems = [
        f'{what} {", ".join(found)}'
        for what, found in (('missing keys', [repr(key) for key in missing]),
                            ('unexpected keys',
                             [repr(key) for key in unexpected]),
                            ('wrong shapes', wrong)) if found
    ]
    if problems:
        raise FileError(f'{file}: {"; ".join(problems)} '
                        "(in mmpretrain's naming)")


def _expected_shapes(weights: ViTWeights) -> dict[str, tuple]:
    """Names and shapes of all weights of a ViT of this shape."""
    width, inner = weights.embed_dims, weights.mlp_dims
    tokens = weights.grid_size**2 + int(weights.with_cls_token)
    patch = (width, 3, weights.patch_size, weights.patch_size)
    shapes = {
        'pos_embed': (1, tokens, width),
        'patch_embed.projection.weight': patch
    }
    if weights.with_cls_token:
        shapes['cls_token'] = (1, 1, width)
    if weights.patch_bias:
        shapes['patch_embed.projection.bias'] = (width, )
    norms = [name for name, there in (('pre_norm', weights.pre_norm),
                                      ('ln1', weights.final_norm)) if there]
    for i in range(weights.depth):
        block = f'layers.{i}.'
        norms += [block + 'ln1', block + 'ln2']
        for name, rows, columns, bias in (
            ('attn.qkv', 3 * width, width, weights.qkv_bias),
            ('attn.proj', width, width, True),
            *(((
                'ffn.w12', 2 * inner, width, True),
               ('ffn.w3', width, inner, True)) if weights.swiglu else (
                   ('ffn.layers.0.0', inner, width, True),
                   ('ffn.layers.1', width, inner, True)))):
            shapes[f'{block}{name}.weight'] = (rows, columns)
            if bias:
                shapes[f'{block}{name}.bias'] = (rows, )
        if weights.layer_scale:
            shapes[block + 'attn.gamma1.weight'] = (width, )
            shapes[block + 'ffn.gamma2.weight'] = (width, )
    for norm in norms:
        shapes[norm + '.weight'] = shapes[norm + '.bias'] = (width, )
    return shapes
