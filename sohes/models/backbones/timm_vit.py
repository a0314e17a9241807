"""ViTs that mmpretrain does not compute, through timm."""
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn

from sohes.registry import MODELS
from sohes.utils.errors import FileError

# The shapes of the authors' releases: channels, blocks, heads, inner
# channels of the feed-forward layers, and whether these are SwiGLU.
_SHAPES = {
    'dinov2': {
        's': (384, 12, 6, 1536, False),
        'b': (768, 12, 12, 3072, False),
        'l': (1024, 24, 16, 4096, False),
        'g': (1536, 40, 24, 4096, True)
    },
    'dinov3': {
        's': (384, 12, 6, 1536, False),
        'splus': (384, 12, 6, 1536, True),
        'b': (768, 12, 12, 3072, False),
        'l': (1024, 24, 16, 4096, False),
        'hplus': (1280, 32, 20, 5120, True),
        '7b': (4096, 40, 32, 8192, True)
    }
}
_FAMILIES = tuple(_SHAPES)
# DINOv3's blocks normalise with torch's own epsilon, DINOv2's with this one.
_EPS = {'dinov2': 1e-6, 'dinov3': 1e-5}
# The first release of timm with DINOv3, and how to get the one we test with.
_DINOV3 = '1.0.20'
_INSTALL = 'pip install "timm>=1.0.31"'
_ARCH_KEYS = ('family', 'embed_dims', 'num_layers', 'num_heads',
              'feedforward_channels', 'swiglu', 'registers', 'patch_size',
              'img_size', 'qkv_bias')


def arch_named(family: str, size: str) -> dict[str, Any]:
    """The complete ``arch`` of a release.

    Args:
        family: 'dinov2' (with registers) or 'dinov3'.
        size: 's', 'b', 'l', and 'g' or 'splus', 'hplus', '7b'.
    """
    width, depth, heads, inner, swiglu = _SHAPES[family][size]
    patch, grid = (14, 37) if family == 'dinov2' else (16, 14)
    return dict(
        family=family,
        embed_dims=width,
        num_layers=depth,
        num_heads=heads,
        feedforward_channels=inner,
        swiglu=swiglu,
        registers=4,
        patch_size=patch,
        img_size=grid * patch,
        qkv_bias=(family, size) != ('dinov3', '7b'))


@MODELS.register_module()
class TimmViT(nn.Module):
    """A ViT of DINOv2 with registers or of DINOv3, computed by timm.

    It has the part of mmpretrain's ``VisionTransformer`` that Phase 1 and
    :class:`ViTAdapter` use. timm is imported when the first one is built.
    Away from the size of training, DINOv2's position embedding is resized
    bicubically with antialiasing, as its authors do for the ViTs with
    registers; DINOv3's rotary positions are those of the new grid.

    Args:
        arch: a dict of ``family`` ('dinov2' or 'dinov3'), ``embed_dims``,
            ``num_layers``, ``num_heads``, ``feedforward_channels``,
            ``swiglu``, ``registers``, ``patch_size`` and ``img_size`` (in
            pixels) and ``qkv_bias``; see :func:`arch_named`.
        drop_path_rate: of the last block; it grows linearly up to there.
        out_type: 'raw', all tokens, or 'featmap', the patches' as a map.

    Attributes:
        embed_dims: C, channels of a token.
        patch_size: side of a patch in pixels.
        num_extra_tokens: the CLS token and the registers.
        layers: the blocks, to be called as ``layer(tokens, *context)``.
        arch_settings: ``arch``.

    Raises:
        ValueError: an ``arch`` with other keys than these, another
            ``out_type``.
        FileError: timm is missing, or too old for DINOv3.
    """

    def __init__(self,
                 arch: Mapping[str, Any],
                 drop_path_rate: float = 0.0,
                 out_type: str = 'raw') -> None:
        super().__init__()
        if out_type not in ('raw', 'featmap'):
            raise ValueError("TimmViT: out_type: expected 'raw' or "
                             f"'featmap', found {out_type!r}")
        if set(arch) != set(_ARCH_KEYS) or arch['family'] not in _FAMILIES:
            raise ValueError(
                f'TimmViT: arch: expected a dict of {", ".join(_ARCH_KEYS)} '
                f'with a family of {" or ".join(_FAMILIES)}, found {arch!r}')
        self.out_type = out_type
        self.arch_settings = dict(arch)
        self.embed_dims = arch['embed_dims']
        self.patch_size = arch['patch_size']
        self.num_extra_tokens = 1 + arch['registers']
        build = _build_dinov2 if arch['family'] == 'dinov2' else _build_dinov3
        self.timm = build(arch, drop_path_rate)
        # The final norm lies behind all that we look at: it would be a
        # parameter without a gradient.
        self.timm.norm = nn.Identity()

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks, the first one first."""
        return self.timm.blocks

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Images to the tokens that enter the first block.

        Args:
            x: (B, 3, H, W), normalised RGB; patches divide both sides.

        Returns:
            Tokens (B, E + h * w, C), the E extra ones first, and what the
            blocks take beside them: nothing, or the rotary positions.
        """
        embedded = self.timm._pos_embed(self.timm.patch_embed(x))
        if isinstance(embedded, tuple):
            return embedded[0], embedded[1:]
        return embedded, ()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Images (B, 3, H, W) to the tokens after the last block.

        Returns:
            One tensor: (B, E + h * w, C), the E extra tokens first, or
            (B, C, h, w) where ``out_type`` is 'featmap'.
        """
        tokens, context = self.embed(x)
        for layer in self.layers:
            tokens = layer(tokens, *context)
        if self.out_type == 'raw':
            return (tokens, )
        h, w = (side // self.patch_size for side in x.shape[2:])
        patches = tokens[:, self.num_extra_tokens:]
        # (B, h * w, C) -> (B, C, h, w)
        return (patches.transpose(1, 2).reshape(len(x), -1, h, w), )

    def get_layer_depth(self,
                        param_name: str,
                        prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay.

        Args:
            param_name: the parameter's name in the whole model.
            prefix: where this ViT lies in it, such as ``backbone.vit.``.

        Returns:
            The depth and the number of depths: 0 for the embeddings and
            extra tokens, i for block i of n, n + 1 (of n + 2) for the rest.
        """
        depths = len(self.layers) + 2
        if not param_name.startswith(prefix + 'timm.'):
            return depths - 1, depths
        name = param_name[len(prefix + 'timm.'):]
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1, depths
        return 0, depths


class Projection(nn.Module):
    """A block of timm's cut down to its keys, queries or values.

    DINOv3's keys and queries are taken before their rotation, which depends
    on the place of a patch and not on what it shows.
    """

    def __init__(self, block: nn.Module, feature: str) -> None:
        super().__init__()
        qkv = block.attn.qkv
        width = qkv.in_features
        part = ('query', 'key', 'value').index(feature)
        bias = qkv.bias
        if bias is None and getattr(block.attn, 'q_bias', None) is not None:
            attn = block.attn  # DINOv3's keys have no bias
            bias = torch.cat(
                (attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias))
        rows = slice(part * width, (part + 1) * width)
        self.norm = block.norm1
        self.projection = nn.Linear(width, width, bias=bias is not None)
        self.projection.weight.data = qkv.weight.data[rows]
        if bias is not None:
            self.projection.bias.data = bias.data[rows]

    def forward(self, tokens: Tensor, *context: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C), the heads side by side."""
        return self.projection(self.norm(tokens))


def _timm(family: str) -> Any:
    """timm, or one sentence on how to get one that has the family."""
    try:
        import timm
        import timm.models
    except ImportError as error:
        raise FileError(
            'A ViT with register tokens or rotary embeddings is computed by '
            f'timm, which is not installed; run {_INSTALL}') from error
    if family == 'dinov3' and Version(timm.__version__) < Version(_DINOV3):
        raise FileError(
            f'DINOv3 is computed by timm {_DINOV3} or newer, but timm '
            f'{timm.__version__} is installed; run {_INSTALL}')
    return timm


def _common(arch: Mapping[str, Any], drop_path_rate: float) -> dict[str, Any]:
    """Arguments that timm's two classes share."""
    return dict(
        img_size=arch['img_size'],
        patch_size=arch['patch_size'],
        num_classes=0,
        global_pool='',
        embed_dim=arch['embed_dims'],
        depth=arch['num_layers'],
        num_heads=arch['num_heads'],
        qkv_bias=arch['qkv_bias'],
        init_values=1e-5,
        drop_path_rate=drop_path_rate,
        dynamic_img_size=True,
        norm_layer=partial(nn.LayerNorm, eps=_EPS[arch['family']]))


def _mlp_ratio(arch: Mapping[str, Any], factor: int = 1) -> float:
    """The ratio of which timm takes the whole part of a product."""
    return (factor * arch['feedforward_channels'] + 0.5) / arch['embed_dims']


def _build_dinov2(arch: Mapping[str, Any], drop_path_rate: float) -> nn.Module:
    """DINOv2 with registers: positions for the patches alone."""
    timm = _timm('dinov2')
    packed: dict[str, Any] = {}
    if arch['swiglu']:
        packed = dict(
            mlp_layer=timm.layers.SwiGLUPacked, act_layer=nn.SiLU)
    return timm.models.vision_transformer.VisionTransformer(
        reg_tokens=arch['registers'],
        no_embed_class=True,
        mlp_ratio=_mlp_ratio(arch, 2 if arch['swiglu'] else 1),
        **packed,
        **_common(arch, drop_path_rate))


def _build_dinov3(arch: Mapping[str, Any], drop_path_rate: float) -> nn.Module:
    """DINOv3: no position embedding, rotary positions in every block."""
    return _timm('dinov3').models.eva.Eva(
        num_reg_tokens=arch['registers'],
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type='dinov3',
        rope_temperature=100.0,
        rope_rotate_half=True,
        swiglu_mlp=arch['swiglu'],
        swiglu_align_to=1,  # separate gate and value, no rounding
        mlp_ratio=_mlp_ratio(arch),
        use_fc_norm=False,
        **_common(arch, drop_path_rate))
