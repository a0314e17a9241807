"""The names that ViT checkpoints give their weights, and ours.

Four namings are read: timm's (also MAE's and DeiT's), DINO's and
DINOv2's, Hugging Face's ``ViTModel`` and ``Dinov2Model``, and
mmpretrain's. All become mmpretrain's, because the backbone is
mmpretrain's ``VisionTransformer``. ViTs with register tokens go another
way: timm_vit_weights.py.
"""
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sohes.utils.errors import FileError

# What a wrapper adds in front of the ViT's own names is found from this
# weight, which every ViT has exactly once.
_PATCH_WEIGHT = re.compile(
    r'^(?P<prefix>(?:.*\.)?)(?:patch_embed\.proj(?:ection)?|'
    r'embeddings\.patch_embeddings(?:\.projection)?)\.weight$')

# DINOv2 trains with its blocks in chunks: blocks.<chunk>.<block>.<rest>,
# where <block> counts through all chunks.
_CHUNKED = re.compile(r'^blocks\.\d+\.(?P<rest>\d+\.)')

_BLOCK = r'(?:blocks|layers|encoder\.layer)\.(\d+)\.'
_WB = r'(weight|bias)'
# (pattern, replacement), the first that matches the whole name is taken.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r'(?:embeddings\.)?cls_token', 'cls_token'),
    (r'pos_embed|embeddings\.position_embeddings', 'pos_embed'),
    (r'patch_embed\.proj(?:ection)?\.' + _WB, r'patch_embed.projection.\1'),
    (r'embeddings\.patch_embeddings\.projection\.' + _WB,
     r'patch_embed.projection.\1'),
    (r'(?:norm_pre|pre_norm)\.' + _WB, r'pre_norm.\1'),
    (r'(?:norm|ln1|layernorm)\.' + _WB, r'ln1.\1'),
    (_BLOCK + r'(?:norm|ln)([12])\.' + _WB, r'layers.\1.ln\2.\3'),
    (_BLOCK + r'layernorm_before\.' + _WB, r'layers.\1.ln1.\2'),
    (_BLOCK + r'layernorm_after\.' + _WB, r'layers.\1.ln2.\2'),
    (_BLOCK + r'attn\.(qkv|proj)\.' + _WB, r'layers.\1.attn.\2.\3'),
    (_BLOCK + r'attention\.attention\.(query|key|value)\.' + _WB,
     r'layers.\1.attn.\2.\3'),
    (_BLOCK + r'attention\.q_proj\.' + _WB, r'layers.\1.attn.query.\2'),
    (_BLOCK + r'attention\.k_proj\.' + _WB, r'layers.\1.attn.key.\2'),
    (_BLOCK + r'attention\.v_proj\.' + _WB, r'layers.\1.attn.value.\2'),
    (_BLOCK + r'attention\.(?:output\.dense|o_proj)\.' + _WB,
     r'layers.\1.attn.proj.\2'),
    (_BLOCK + r'(?:mlp\.fc1|intermediate\.dense|ffn\.layers\.0\.0)\.' + _WB,
     r'layers.\1.ffn.layers.0.0.\2'),
    (_BLOCK + r'(?:mlp\.fc2|output\.dense|ffn\.layers\.1)\.' + _WB,
     r'layers.\1.ffn.layers.1.\2'),
    # DINOv2's giant: SwiGLU, its gate and value in one layer
    (_BLOCK + r'(?:mlp\.w12|mlp\.weights_in|ffn\.w12)\.' + _WB,
     r'layers.\1.ffn.w12.\2'),
    (_BLOCK + r'(?:mlp\.w3|mlp\.weights_out|ffn\.w3)\.' + _WB,
     r'layers.\1.ffn.w3.\2'),
    (_BLOCK + r'mlp\.gate_proj\.' + _WB, r'layers.\1.ffn.gate.\2'),
    (_BLOCK + r'mlp\.up_proj\.' + _WB, r'layers.\1.ffn.up.\2'),
    (_BLOCK + r'mlp\.down_proj\.' + _WB, r'layers.\1.ffn.w3.\2'),
    (_BLOCK + r'(?:ls1\.gamma|gamma_1|layer_scale1\.lambda1|'
     r'attn\.gamma1\.weight)', r'layers.\1.attn.gamma1.weight'),
    (_BLOCK + r'(?:ls2\.gamma|gamma_2|layer_scale2\.lambda1|'
     r'ffn\.gamma2\.weight)', r'layers.\1.ffn.gamma2.weight'),
)
_COMPILED = tuple((re.compile(old), new) for old, new in _RENAMES)

# Parts of a checkpoint that are no part of the backbone's forward pass:
# classification, DINO and iBOT heads, MAE's decoder, the token that masked
# patches get in training, the norm of a pooled classifier.
_NOT_BACKBONE = re.compile(
    r'^(head|heads|head_dist|classifier|pooler|fc_norm|ln2|pre_logits|'
    r'dino_head|ibot_head|neck|decode_head|auxiliary_head|decoder|'
    r'decoder_\w+)\.|^((embeddings\.)?mask_token|decoder_pos_embed)$')

# What neither backbone computes. Loading the rest without it would give
# features of another network, so these are refused by name. (A ViT with
# register tokens is read by timm_vit_weights.py.)
_REFUSED: tuple[tuple[str, str], ...] = (
    (r'\.(mlp|ffn)\.(w1|w2|fc1_g|fc1_x)\.',
     'separate SwiGLU layers without register tokens'),
    (r'(^|\.)(rope\w*|rotary\w*)(\.|$)|\.freqs(_cis)?$',
     'rotary position embeddings'),
    (r'relative_position_(bias_table|index)$|rel_pos',
     'relative position embeddings'),
    (r'\.attn\.(q_norm|k_norm)\.', 'normalised queries and keys'),
    (r'(^|\.)dist(illation)?_token$', 'a distillation token'),
)


def strip_wrapper(state: Mapping[str, Tensor],
                  file: str) -> dict[str, Tensor]:
    """Keep the ViT's own weights, without what wraps their names.

    ``module.backbone.blocks.0...`` becomes ``blocks.0...``. What lies
    beside the ViT (a DINO head, a detector's neck) is left out: its names
    do not start as the ViT's do.

    Args:
        state: the names and tensors of a checkpoint.
        file: the file's name, for messages.

    Returns:
        The ViT's names and tensors, DINOv2's chunks of blocks flattened.

    Raises:
        FileError: no ViT is in it, or several are.
    """
    prefixes = [m['prefix'] for m in map(_PATCH_WEIGHT.match, state) if m]
    if len(prefixes) > 1:  # a flat checkpoint with student and teacher
        prefixes = [p for p in prefixes if 'teacher' in p] or prefixes
    if not prefixes:
        refuse_unsupported(state, file)
    if len(prefixes) != 1:
        found = (f'several ViTs, under {listed(prefixes)}' if prefixes else
                 f'{len(state)} weights: {listed(state)}')
        raise FileError(
            f'{file}: expected one ViT, that is one weight named '
            f'patch_embed.proj.weight, found {found}')
    prefix = prefixes[0]
    return {
        _CHUNKED.sub(r'blocks.\g<rest>', key[len(prefix):]): value
        for key, value in state.items() if key.startswith(prefix)
    }


def to_mmpretrain_names(state: Mapping[str, Tensor],
                        file: str) -> dict[str, Tensor]:
    """Rename a ViT's weights to those of mmpretrain's VisionTransformer.

    Args:
        state: names without a wrapper, see :func:`strip_wrapper`.
        file: the file's name, for messages.

    Returns:
        mmpretrain's names, heads and training-only tokens left out.

    Raises:
        FileError: the ViT has parts that this backbone does not
            compute (relative positions, a distillation token ...), or
            names of no known naming; these are listed.
    """
    refuse_unsupported(state, file)
    renamed: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for key, value in state.items():
        if _NOT_BACKBONE.match(key):
            continue
        for old, new in _COMPILED:
            match = old.fullmatch(key)
            if match:
                renamed[match.expand(new)] = value
                break
        else:
            unexpected.append(key)
    if unexpected:
        raise FileError(
            f'{file}: unexpected keys {listed(unexpected, len(unexpected))}; '
            "expected the names of timm's, DINO's, DINOv2's, Hugging Face's "
            "or mmpretrain's VisionTransformer")
    renamed = _join(renamed, 'attn', ('query', 'key', 'value'), 'qkv', file)
    renamed = _join(renamed, 'ffn', ('gate', 'up'), 'w12', file)
    return _name_packed_swiglu(renamed)


def refuse_unsupported(keys: Iterable[str], file: str) -> None:
    """Refuse by name what the backbone would silently leave out.

    Raises:
        FileError: with the part's name and the keys that show it.
    """
    keys = list(keys)
    for pattern, part in _REFUSED:
        found = [key for key in keys if re.search(pattern, key)]
        if found:
            raise FileError(
                f'{file}: this ViT has {part} (found {listed(found, 3)}), '
                "which mmpretrain's VisionTransformer does not compute; "
                'expected a plain ViT')


def count_blocks(keys: Iterable[str], name: str, file: str) -> int:
    """How many blocks there are, numbered from 0.

    Args:
        keys: names of weights, such as ``layers.0.ln1.weight``.
        name: what comes before a block's number.
        file: the file's name, for messages.

    Raises:
        FileError: a number is left out. So the last one cannot make a
            few weights a ViT of any size.
    """
    found = {
        key.split('.')[1] for key in keys if key.startswith(f'{name}.')
    }
    missing = next((number for number in range(len(found))
                    if str(number) not in found), None)
    if missing is not None:
        raise FileError(
            f'{file}: expected blocks with the numbers 0 to '
            f'{len(found) - 1}, found no weights of block {missing}, and a '
            f'block {max(found, key=len):.20}')
    return len(found)


def listed(keys: Iterable[str], most: int = 8) -> str:
    """Names in quotes, at most so many of them, the rest counted."""
    keys = list(keys)
    more = f' and {len(keys) - most} more' if len(keys) > most else ''
    return ', '.join(repr(key) for key in keys[:most]) + more


def _join(state: dict[str, Tensor], module: str, names: tuple[str, ...],
          whole: str, file: str) -> dict[str, Tensor]:
    """Hugging Face's separate layers as one, in the order of ``names``."""
    joined = dict(state)
    first = re.compile(rf'(layers\.\d+\.{module}\.){names[0]}\.(weight|bias)')
    for match in filter(None, map(first.fullmatch, state)):
        parts = [f'{match[1]}{name}.{match[2]}' for name in names]
        missing = [part for part in parts if part not in state]
        if missing:
            raise FileError(f'{file}: missing keys {listed(missing)}, '
                            f'expected beside {match[0]!r}')
        joined[f'{match[1]}{whole}.{match[2]}'] = torch.cat(
            [joined.pop(part) for part in parts])
    return joined


def _name_packed_swiglu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's names for DINOv2's giant, which are those of a plain layer.

    What comes out of the first layer is twice as wide as what goes into the
    second: it is a gate and a value.
    """
    first, second = (f'ffn.layers.{i}.' for i in ('0.0', '1'))
    inner = state.get(f'layers.0.{second}weight')
    outer = state.get(f'layers.0.{first}weight')
    if inner is None or outer is None or len(outer) != 2 * inner.shape[-1]:
        return state
    return {
        key.replace(first, 'ffn.w12.').replace(second, 'ffn.w3.'): value
        for key, value in state.items()
    }
