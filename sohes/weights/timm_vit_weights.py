"""Weights of ViTs with register tokens under timm's names.

Three namings are read: the authors' (DINOv2's and DINOv3's), Hugging
Face's ``Dinov2WithRegistersModel`` and ``DINOv3ViTModel``, and timm's.
"""
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sohes.utils.errors import FileError
from sohes.weights.vit_keys import count_blocks, listed

_REGISTERS = re.compile(
    r'^(embeddings\.)?(register_tokens|reg_token|storage_tokens)$')
_BLOCK = r'(?:blocks|(?:encoder\.|model\.)?layer)\.(\d+)\.'
_WB = r'(weight|bias)'
# (pattern, replacement), the first that matches the whole name is taken.
# 'gate', 'value' and 'packed' are the parts of SwiGLU's first layer.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r'(?:embeddings\.)?cls_token', 'cls_token'),
    (_REGISTERS.pattern[1:-1].replace('(', '(?:'), 'reg_token'),
    (r'pos_embed|embeddings\.position_embeddings', 'pos_embed'),
    (r'(?:patch_embed\.proj|embeddings\.patch_embeddings(?:\.projection)?)\.'
     + _WB, r'patch_embed.proj.\1'),
    (_BLOCK + r'norm([12])\.' + _WB, r'blocks.\1.norm\2.\3'),
    (_BLOCK + r'attn\.(qkv|proj)\.' + _WB, r'blocks.\1.attn.\2.\3'),
    (_BLOCK + r'attn\.([qv])_bias', r'blocks.\1.attn.\2.bias'),
    (_BLOCK + r'attention\.attention\.([qkv])(?:uery|ey|alue)\.' + _WB,
     r'blocks.\1.attn.\2.\3'),
    (_BLOCK + r'attention\.([qkv])_proj\.' + _WB, r'blocks.\1.attn.\2.\3'),
    (_BLOCK + r'attention\.(?:output\.dense|o_proj)\.' + _WB,
     r'blocks.\1.attn.proj.\2'),
    (_BLOCK + r'(?:ls|gamma_|layer_scale)([12])(?:\.gamma|\.lambda1)?',
     r'blocks.\1.scale\2'),
    (_BLOCK + r'mlp\.(?:fc1|up_proj)\.' + _WB, r'blocks.\1.mlp.fc1.\2'),
    (_BLOCK + r'mlp\.(?:fc2|w3|weights_out|down_proj)\.' + _WB,
     r'blocks.\1.mlp.fc2.\2'),
    (_BLOCK + r'mlp\.(?:w12|weights_in)\.' + _WB,
     r'blocks.\1.mlp.packed.\2'),
    (_BLOCK + r'mlp\.(?:w1|fc1_g|gate_proj)\.' + _WB,
     r'blocks.\1.mlp.gate.\2'),
    (_BLOCK + r'mlp\.(?:w2|fc1_x)\.' + _WB, r'blocks.\1.mlp.value.\2'),
)
_COMPILED = tuple((re.compile(old), new) for old, new in _RENAMES)
# No part of the blocks' forward pass: heads, the final norms, the token of
# masked patches, the mask of the keys' bias (always zero), and the periods
# of the rotary positions, which timm and Hugging Face compute anew.
_LEFT_OUT = re.compile(
    r'^(head|heads|head_dist|classifier|pooler|fc_norm|norm|layernorm|'
    r'cls_norm|local_cls_norm|dino_head|ibot_head|rope_embed|rope)(\.|$)|'
    r'(^|\.)mask_token$|\.bias_mask$')


@dataclass
class TimmViTWeights:
    """The weights of one ``sohes.TimmViT``, and its shape.

    Attributes:
        state_dict: float32 tensors by the names of ``sohes.TimmViT``.
        file: the file they were read from.
        sha256: hash of that file, 64 hex digits.
        family: 'dinov2' or 'dinov3'.
        arch: argument of ``sohes.TimmViT``.
    """
    state_dict: dict[str, Tensor]
    file: Path
    sha256: str
    family: str
    arch: dict[str, Any]

    @property
    def embed_dims(self) -> int:
        """Channels of a token."""
        return self.arch['embed_dims']

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.arch['num_layers']

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.arch['patch_size']

    def backbone_cfg(self,
                     depth: int | None = None,
                     num_heads: int | None = None,
                     final_norm: bool = False) -> dict[str, Any]:
        """Config of a ``sohes.TimmViT`` with this shape.

        Args:
            depth: build only the first ``depth`` blocks. None: all.
            num_heads: heads per block. None: as in the authors' releases.
            final_norm: for the signature of ``ViTWeights``; there is none.

        Raises:
            FileError: the channels do not divide among the heads.
        """
        arch = dict(self.arch, num_layers=depth or self.depth)
        if num_heads is not None:
            if num_heads < 1 or self.embed_dims % num_heads:
                raise FileError(
                    f'{self.file}: num_heads: expected a divisor of the '
                    f'{self.embed_dims} channels, found {num_heads}')
            arch['num_heads'] = num_heads
        return dict(type='sohes.TimmViT', arch=arch)


def has_registers(names: Iterable[str]) -> bool:
    """Whether a ViT's own names (without a wrapper) show registers."""
    return any(map(_REGISTERS.match, names))


def convert_register_vit(state: Mapping[str, Tensor],
                         file: Path, sha256: str) -> TimmViTWeights:
    """A ViT with registers, from any of the namings.

    Args:
        state: names without a wrapper, see ``strip_wrapper``.
        file: the file they were read from.
        sha256: its hash.

    Raises:
        FileError: names of no known naming, missing weights or wrong
            shapes, with the file and the keys.
    """
    tensors = _renamed(state, str(file))
    _join(tensors, 'attn.{}', ('q', 'k', 'v'), 'qkv', str(file))
    family = 'dinov2' if 'pos_embed' in tensors else 'dinov3'
    _name_swiglu(tensors, family, str(file))
    if family == 'dinov2':
        _fold_cls_position(tensors, str(file))
    arch = _read_arch(tensors, family, str(file))
    named = _in_timms_names(tensors, family)
    _check_complete(named, arch, str(file))
    return TimmViTWeights(named, file, sha256, family, arch)


def _renamed(state: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    """Float tensors by the names on the right of ``_RENAMES``."""
    renamed: dict[str, Tensor] = {}
    unexpected = []
    for key, value in state.items():
        if _LEFT_OUT.search(key):
            continue
        for old, new in _COMPILED:
            match = old.fullmatch(key)
            if match:
                renamed[match.expand(new)] = value.float()
                break
        else:
            unexpected.append(key)
    if unexpected:
        raise FileError(
            f'{file}: unexpected keys {listed(unexpected)}; expected a ViT '
            "with registers in DINOv2's, DINOv3's, Hugging Face's or timm's "
            'names')
    return renamed


def _join(tensors: dict[str, Tensor], where: str, parts: tuple[str, ...],
          whole: str, file: str) -> None:
    """Separate layers as one, in place; a missing bias counts as zero."""
    first = re.compile(
        r'(blocks\.\d+\.)' + re.escape(where.format(parts[0])) + r'\.weight')
    for match in filter(None, map(first.fullmatch, list(tensors))):
        names = [match[1] + where.format(part) for part in parts]
        missing = [
            f'{name}.weight' for name in names
            if f'{name}.weight' not in tensors
        ]
        if missing:
            raise FileError(f'{file}: missing keys {listed(missing)}, '
                            f'expected beside {match[0]!r} (in our naming)')
        weights = [tensors.pop(f'{name}.weight') for name in names]
        biases = [tensors.pop(f'{name}.bias', None) for name in names]
        target = match[1] + where.format(whole)
        tensors[f'{target}.weight'] = torch.cat(weights)
        if any(bias is not None for bias in biases):
            tensors[f'{target}.bias'] = torch.cat([
                weight.new_zeros(len(weight)) if bias is None else bias
                for weight, bias in zip(weights, biases)
            ])


def _name_swiglu(tensors: dict[str, Tensor], family: str, file: str) -> None:
    """SwiGLU's first layer as the family has it, in place.

    DINOv2's is packed (the gate first), DINOv3's are two layers. timm calls
    DINOv2's packed one fc1: its rows are twice fc2's columns.
    """
    for key in list(tensors):
        if key.endswith('mlp.fc1.weight'):
            block = key[:-len('fc1.weight')]
            gated = f'{block}gate.weight' in tensors
            outer = tensors.get(f'{block}fc2.weight')
            packed = outer is not None and (
                len(tensors[key]) == 2 * outer.shape[1])
            if gated or packed:
                name = 'value' if gated else 'packed'
                for kind in ('weight', 'bias'):
                    if f'{block}fc1.{kind}' in tensors:
                        tensors[f'{block}{name}.{kind}'] = tensors.pop(
                            f'{block}fc1.{kind}')
    if family == 'dinov2':
        _join(tensors, 'mlp.{}', ('gate', 'value'), 'packed', file)
        return
    for key in list(tensors):
        if '.mlp.packed.' in key:
            gate, value = tensors.pop(key).chunk(2)
            tensors[key.replace('packed', 'gate')] = gate
            tensors[key.replace('packed', 'value')] = value


def _fold_cls_position(tensors: dict[str, Tensor], file: str) -> None:
    """The CLS token with its own position added, in place.

    timm keeps positions for the patches alone; the sum is the same.
    """
    position = tensors['pos_embed']
    length = position.shape[1] if position.ndim == 3 else 0
    if math.isqrt(length)**2 == length > 0:
        return
    if math.isqrt(max(length - 1, 0))**2 != length - 1:
        raise FileError(
            f'{file}: pos_embed: expected the shape (1, n * n + 1, width) of '
            f'a square of patches, found {tuple(position.shape)}')
    if 'cls_token' in tensors:
        tensors['cls_token'] = tensors['cls_token'] + position[:, :1]
    tensors['pos_embed'] = position[:, 1:]


def _read_arch(tensors: Mapping[str, Tensor], family: str,
               file: str) -> dict[str, Any]:
    """The shape that the weights show."""
    needed = ('patch_embed.proj.weight', 'reg_token',
              'blocks.0.attn.qkv.weight', 'blocks.0.mlp.fc2.weight')
    missing = [key for key in needed if key not in tensors]
    if missing:
        raise FileError(f'{file}: missing keys {listed(missing)} (in '
                        "timm's naming)")
    patch = tensors[needed[0]]
    if patch.ndim != 4 or patch.shape[1] != 3 or (patch.shape[2]
                                                  != patch.shape[3]):
        raise FileError(
            f'{file}: patch_embed.proj.weight: expected the shape (width, 3, '
            f'patch, patch), found {tuple(patch.shape)}')
    width = len(patch)
    head = 128 if (family, width) == ('dinov3', 4096) else 64
    if width % head:
        raise FileError(f'{file}: expected a width that heads of {head} '
                        f'channels divide, found {width}')
    grid = (
        math.isqrt(tensors['pos_embed'].shape[1]) if family == 'dinov2' else
        14)
    first = 'blocks.0.mlp.'
    return dict(
        family=family,
        embed_dims=width,
        num_layers=count_blocks(tensors, 'blocks', file),
        num_heads=width // head,
        feedforward_channels=tensors[f'{first}fc2.weight'].shape[-1],
        swiglu=f'{first}packed.weight' in tensors
        or f'{first}gate.weight' in tensors,
        registers=tensors['reg_token'].shape[-2],
        patch_size=patch.shape[-1],
        img_size=grid * patch.shape[-1],
        qkv_bias='blocks.0.attn.qkv.bias' in tensors
        or 'blocks.0.attn.q.bias' in tensors)


def _in_timms_names(tensors: Mapping[str, Tensor],
                    family: str) -> dict[str, Tensor]:
    """The names of ``sohes.TimmViT``'s state."""
    named: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if family == 'dinov2':
            key = re.sub(r'\.scale([12])$', r'.ls\1.gamma', key)
            key = key.replace('.mlp.packed.', '.mlp.fc1.')
        else:
            key = re.sub(r'\.scale([12])$', r'.gamma_\1', key)
            key = key.replace('.mlp.gate.', '.mlp.fc1_g.')
            key = key.replace('.mlp.value.', '.mlp.fc1_x.')
            key = re.sub(r'\.attn\.([qv])\.bias$', r'.attn.\1_bias', key)
            if key.endswith('.attn.qkv.bias'):  # the keys' is always zero
                query, _, value = value.chunk(3)
                block = key[:-len('qkv.bias')]
                named[f'timm.{block}q_bias'] = query.contiguous()
                key = f'{block}v_bias'
        named[f'timm.{key}'] = value.contiguous()
    return named


def _check_complete(named: Mapping[str, Tensor], arch: Mapping[str, Any],
                    file: str) -> None:
    """Compare names and shapes with those of the ViT to be built."""
    from sohes.registry import MODELS
    build = MODELS.get('sohes.TimmViT')
    with torch.device('meta'):  # shapes without memory
        expected = build(arch).state_dict()
    problems = [
        f'{what} {listed(keys)}' for what, keys in (
            ('missing keys', [k for k in expected if k not in named]),
            ('unexpected keys', [k for k in named if k not in expected]),
            ('wrong shapes at',
             [k for k in expected
              if k in named and named[k].shape != expected[k].shape]))
        if keys
    ]
    if problems:
        raise FileError(f'{file}: {"; ".join(problems)} (in the naming of '
                        'TimmViT)')
