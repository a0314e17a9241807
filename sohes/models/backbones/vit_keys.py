"""The names that ViT checkpoints give their weights, and ours.

Three namings are read: timm's (also MAE's and DeiT's), DINO's and
DINOv2's, and mmpretrain's. All become mmpretrain's, because the backbone
is mmpretrain's ``VisionTransformer``.
"""
import re
from typing import Dict, Iterable, List, Mapping, Tuple, TypeVar

Tensor = TypeVar('Tensor')


class WeightsError(ValueError):
    """A file of weights that cannot be used; the message says why."""


# What a wrapper adds in front of the ViT's own names is found from this
# weight, which every ViT has exactly once.
_PATCH_WEIGHT = re.compile(
    r'^(?P<prefix>(?:.*\.)?)patch_embed\.proj(?:ection)?\.weight$')

# DINOv2 trains with its blocks in chunks: blocks.<chunk>.<block>.<rest>,
# where <block> counts through all chunks.
_CHUNKED = re.compile(r'^blocks\.\d+\.(?P<rest>\d+\.)')

# (pattern, replacement), the first that matches is taken. Already
# mmpretrain's names pass through the last ones unchanged.
_RENAMES: Tuple[Tuple[str, str], ...] = (
    (r'(cls_token|pos_embed)', r'\1'),
    (r'patch_embed\.proj(?:ection)?\.(weight|bias)',
     r'patch_embed.projection.\1'),
    (r'(?:norm_pre|pre_norm)\.(weight|bias)', r'pre_norm.\1'),
    (r'(?:norm|ln1)\.(weight|bias)', r'ln1.\1'),
    (r'(?:blocks|layers)\.(\d+)\.(?:norm|ln)([12])\.(weight|bias)',
     r'layers.\1.ln\2.\3'),
    (r'(?:blocks|layers)\.(\d+)\.attn\.(qkv|proj)\.(weight|bias)',
     r'layers.\1.attn.\2.\3'),
    (r'blocks\.(\d+)\.mlp\.fc1\.(weight|bias)',
     r'layers.\1.ffn.layers.0.0.\2'),
    (r'blocks\.(\d+)\.mlp\.fc2\.(weight|bias)',
     r'layers.\1.ffn.layers.1.\2'),
    (r'blocks\.(\d+)\.(?:ls1\.gamma|gamma_1)', r'layers.\1.attn.gamma1.weight'),
    (r'blocks\.(\d+)\.(?:ls2\.gamma|gamma_2)', r'layers.\1.ffn.gamma2.weight'),
    (r'(layers\.\d+\.ffn\.layers\.(?:0\.0|1)\.(?:weight|bias))', r'\1'),
    (r'(layers\.\d+\.(?:attn\.gamma1|ffn\.gamma2)\.weight)', r'\1'),
)
_COMPILED = tuple((re.compile(old), new) for old, new in _RENAMES)

# Parts of a checkpoint that are no part of the backbone's forward pass:
# classification, DINO and iBOT heads, MAE's decoder, the token that masked
# patches get in training, the norm of a pooled classifier.
_NOT_BACKBONE = re.compile(
    r'^(head|heads|head_dist|fc_norm|ln2|pre_logits|dino_head|ibot_head|'
    r'neck|decode_head|auxiliary_head|decoder|decoder_\w+)\.|'
    r'^(mask_token|decoder_pos_embed)$')

# What this backbone does not compute. Loading the rest without it would
# give features of another network, so these are refused by name.
_REFUSED: Tuple[Tuple[str, str], ...] = (
    (r'(^|\.)(register_tokens?|reg_token|storage_tokens)$',
     'register tokens'),
    (r'\.(mlp|ffn)\.(w12|w3|w1|w2|fc1_g|fc1_x)\.', 'SwiGLU feed-forward '
     'layers'),
    (r'(^|\.)(rope|rope_embed|rotary\w*)(\.|$)|\.freqs(_cis)?$',
     'rotary position embeddings'),
    (r'relative_position_(bias_table|index)$|rel_pos', 'relative position '
     'embeddings'),
    (r'\.attn\.(q_norm|k_norm)\.', 'normalised queries and keys'),
    (r'(^|\.)dist_token$', 'a distillation token'),
)


def strip_wrapper(state: Mapping[str, Tensor],
                  file: str) -> Dict[str, Tensor]:
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
        WeightsError: no ViT is in it, or several are.
    """
    prefixes = [m['prefix'] for m in map(_PATCH_WEIGHT.match, state) if m]
    if len(prefixes) > 1:  # a flat checkpoint with student and teacher
        prefixes = [p for p in prefixes if 'teacher' in p] or prefixes
    if len(prefixes) != 1:
        found = 'several ViTs, under ' + ', '.join(
            repr(p) for p in prefixes) if prefixes else (
                f'{len(state)} other weights, the first ones '
                f'{_listed(list(state)[:5])}')
        raise WeightsError(
            f'{file}: expected one ViT, that is one weight named '
            f'patch_embed.proj.weight (or patch_embed.projection.weight), '
            f'found {found}')
    prefix = prefixes[0]
    return {
        _CHUNKED.sub(r'blocks.\g<rest>', key[len(prefix):]): value
        for key, value in state.items() if key.startswith(prefix)
    }


def to_mmpretrain_names(state: Mapping[str, Tensor],
                        file: str) -> Dict[str, Tensor]:
    """Rename a ViT's weights to those of mmpretrain's VisionTransformer.

    Args:
        state: names without a wrapper, see :func:`strip_wrapper`.
        file: the file's name, for messages.

    Returns:
        mmpretrain's names, heads and training-only tokens left out.

    Raises:
        WeightsError: the ViT has parts that this backbone does not
            compute (register tokens, SwiGLU, rotary embeddings ...), or
            names of no known naming; all of them are listed.
    """
    refuse_unsupported(state, file)
    renamed: Dict[str, Tensor] = {}
    unexpected: List[str] = []
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
        raise WeightsError(
            f'{file}: unexpected keys {_listed(unexpected)}; expected the '
            "names of timm's, DINO's, DINOv2's or mmpretrain's "
            'VisionTransformer')
    return renamed


def refuse_unsupported(keys: Iterable[str], file: str) -> None:
    """Refuse by name what the backbone would silently leave out.

    Raises:
        WeightsError: with the part's name and the keys that show it.
    """
    keys = list(keys)
    for pattern, part in _REFUSED:
        found = [key for key in keys if re.search(pattern, key)]
        if found:
            raise WeightsError(
                f'{file}: this ViT has {part} (key {_listed(found[:3])}), '
                f'which mmpretrain\'s VisionTransformer does not compute; '
                f'expected a plain ViT')


def _listed(keys: Iterable[str]) -> str:
    """Names in quotes, separated by commas."""
    return ', '.join(repr(key) for key in keys)
