"""ViT-Adapter: four maps at strides 4 to 32 out of a plain ViT."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, PretrainedInit
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sohes.models.backbones.vit_adapter_layers import (
    Extractor,
    Geometry,
    Injector,
    Level,
    SpatialPrior,
    build_norm,
    resample,
    to_maps,
    to_tokens,
)
from sohes.models.backbones.vit_adapter_vit import (
    build_vit,
    embed_images,
    load_adapter_into,
    load_into,
    patch_size_of,
    vit_config,
)
from sohes.registry import MODELS

_STRIDES = (8, 16, 32)


@MODELS.register_module()
class ViTAdapter(BaseModule):
    """A plain ViT with a convolutional pyramid beside it.

    Chen et al. 2022, "Vision Transformer Adapter for Dense Predictions".
    The ViT is mmpretrain's ``VisionTransformer``, or :class:`TimmViT` where
    it has register tokens. Its blocks are cut into ``num_interactions``
    groups; before each its patch tokens look at the pyramid (injector),
    after each the pyramid looks at them (extractor). CLS and register
    tokens stay in the ViT's path.

    Any patch size will do: the ViT's grid is the level of the pyramid
    whose stride is nearest to it (8 for patches of 8, 16 for 14 and 16).
    Images are padded with zeros to a multiple of that stride on the right
    and at the bottom, for the ViT alone, and where patch and stride
    differ resized by their ratio. Attention runs through torch's
    ``scaled_dot_product_attention``, flash attention where there is one.

    Args:
        weights: a name of the zoo (``dino_vitb8``) or a file of weights,
            loaded into the ViT by ``init_weights``.
        vit: arguments of the VisionTransformer, such as
            ``dict(arch='small', patch_size=16, img_size=224)``; ``arch`` is
            'small', 'base', 'large' or mmpretrain's dict. None: what the
            weights say, which for a file means reading it at once.
        num_interactions: groups of blocks, at most as many as blocks.
        extra_extractors: extractors that follow the last group.
        prior_width: channels after the first convolution of the pyramid.
        num_points: samples a head takes of a map, in deformable attention.
        deform_ratio: width of its values, as a share of C. None: the
            authors' 1.0 up to 384 channels and 0.5 above.
        drop_path_rate: of the ViT's last block and of every extractor.
        norm_cfg: norm layers of the pyramid: SyncBN, BN, GN (with
            num_groups) or LN2d. None: SyncBN, which trains on GPUs alone.
        with_cp: gradient checkpointing of blocks and interactions.
        frozen_vit: the ViT's weights get no gradient, its drop path is off.
        with_adapter: ``weights`` are a file of extract_backbone.py, and its
            adapter is loaded as well. False: the adapter starts anew,
            whatever the file has beside the ViT.
        init_cfg: mmengine's; ``Pretrained`` (a checkpoint of the whole
            adapter) replaces ``weights``, which then give the shape only.

    Attributes:
        embed_dims: C, channels of each map.
        stride: pixels that a cell of the ViT's grid spans.
        vit_cfg: as ``vit``, complete, whatever ``weights`` were.

    Raises:
        ValueError: for arguments out of range and weights that cannot be
            used; the message says which.
    """

    def __init__(self,
                 weights: str | Path | None = None,
                 *,
                 vit: dict[str, Any] | None = None,
                 num_interactions: int = 4,
                 extra_extractors: int = 2,
                 prior_width: int = 64,
                 num_points: int = 4,
                 deform_ratio: float | None = None,
                 drop_path_rate: float = 0.0,
                 norm_cfg: dict | None = None,
                 with_cp: bool = False,
                 frozen_vit: bool = False,
                 with_adapter: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        if with_adapter and weights is None:
            raise ValueError('with_adapter: expected weights to take the '
                             'adapter from, found none')
        self.weights = weights
        self.with_adapter = with_adapter
        self.with_cp = with_cp
        self.frozen_vit = frozen_vit
        norm_cfg = norm_cfg or dict(type='SyncBN')
        self.vit_cfg = vit_config(vit, weights)
        self.vit = build_vit(self.vit_cfg, drop_path_rate)
        self.embed_dims = width = self.vit.embed_dims
        self.patch_size = patch_size_of(self.vit)
        self.stride = min(
            _STRIDES, key=lambda stride: abs(np.log(stride / self.patch_size)))
        depth = len(self.vit.layers)
        if not 1 <= num_interactions <= depth:
            raise ValueError(f'num_interactions: expected 1 to {depth}, the '
                             f"ViT's blocks, found {num_interactions}")
        self.groups = [
            group.tolist()
            for group in np.array_split(range(depth), num_interactions)
        ]
        if deform_ratio is None:
            deform_ratio = 1.0 if width <= 384 else 0.5
        attention: dict[str, Any] = dict(
            num_heads=self.vit.arch_settings['num_heads'],
            num_points=num_points,
            ratio=deform_ratio)
        self.prior = SpatialPrior(width, norm_cfg, prior_width)
        self.level_embed = nn.Parameter(torch.empty(len(_STRIDES), width))
        self.injectors = nn.ModuleList(
            Injector(width, **attention) for _ in self.groups)
        self.extractors = nn.ModuleList(
            Extractor(width, drop_path_rate, **attention)
            for _ in range(num_interactions + extra_extractors))
        # No bias: a norm layer follows, which has one.
        self.up = nn.ConvTranspose2d(width, width, 2, 2, bias=False)
        self.norms = nn.ModuleList(
            build_norm(norm_cfg, width) for _ in range(4))
        self._init_adapter()
        if frozen_vit:
            self.vit.requires_grad_(False)

    def _init_adapter(self) -> None:
        """Random weights of what lies beside the ViT, as the authors'."""
        nn.init.normal_(self.level_embed)
        for module in (*self.prior.modules(), *self.extractors.modules(),
                       self.up):
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                fan_out = (
                    module.out_channels * module.weight[0, 0].numel() /
                    module.groups)
                nn.init.normal_(module.weight, std=(2 / fan_out)**0.5)
        for extractor in self.extractors:
            for linear in (extractor.fc1, extractor.fc2):
                nn.init.trunc_normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def init_weights(self) -> None:
        """Load ``weights``, or what a ``Pretrained`` init_cfg names.

        Raises:
            ValueError: weights that cannot be had, or another ViT's.
        """
        again = self.is_init
        super().init_weights()
        cfgs = self.init_cfg or []
        cfgs = cfgs if isinstance(cfgs, list) else [cfgs]
        pretrained = any(
            cfg['type'] in ('Pretrained', PretrainedInit) for cfg in cfgs)
        if self.weights is not None and not again and not pretrained:
            load_into(self.vit, self.weights)
            if self.with_adapter:
                load_adapter_into(self, self.weights)

    def train(self, mode: bool = True) -> 'ViTAdapter':
        """Switch to training, a frozen ViT excepted."""
        super().train(mode)
        if self.frozen_vit:
            self.vit.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images to maps.

        Args:
            x: (B, 3, H, W), normalised RGB, of any size.

        Returns:
            Four maps (B, C, ceil(H / s), ceil(W / s)), s = 4, 8, 16, 32.

        Raises:
            ValueError: not a batch of RGB images.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError('ViTAdapter: expected images (B, 3, H, W), '
                             f'found {tuple(x.shape)}')
        finest, *maps = self.prior(x)
        levels: list[Level] = [(*m.shape[2:], stride)
                               for m, stride in zip(maps, _STRIDES)]
        grid = levels[_STRIDES.index(self.stride)]
        pyramid = to_tokens(
            [m + e[:, None, None] for m, e in zip(maps, self.level_embed)])
        tokens, context = self._embed(x, grid)
        extra = self.vit.num_extra_tokens
        into_vit = Geometry.between([grid], levels, x.device)
        into_pyramid = Geometry.between(levels, [grid], x.device)
        for i, group in enumerate(self.groups):
            tokens = self._run(self.injectors[i], tokens, pyramid, into_vit,
                               extra)
            for j in group:
                tokens = self._run(self.vit.layers[j], tokens, *context)
            last = i == len(self.groups) - 1
            for extractor in self.extractors[i:None if last else i + 1]:
                pyramid = self._run(extractor, pyramid, tokens, into_pyramid,
                                    extra, levels)
        patches = to_maps(tokens[:, extra:], [grid])[0]
        return self._fuse(finest, to_maps(pyramid, levels), patches, levels)

    def _embed(self, x: Tensor,
               grid: Level) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Images (B, 3, H, W) -> the ViT's first tokens (B, E + P, C).

        Beside them, what its blocks take with them (rotary positions).
        """
        h, w, stride = grid
        x = F.pad(x, (0, w * stride - x.shape[3], 0, h * stride - x.shape[2]))
        if self.patch_size != stride:
            x = F.interpolate(
                x, (h * self.patch_size, w * self.patch_size),
                mode='bicubic',
                align_corners=False,
                antialias=True)
        return embed_images(self.vit, x)

    def _run(self, module: Callable[..., Tensor], *args: Any) -> Tensor:
        """Call a module, keeping only its inputs where memory is scarce."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(module, *args, use_reentrant=False)
        return module(*args)

    def _fuse(self, finest: Tensor, maps: list[Tensor], patches: Tensor,
              levels: list[Level]) -> tuple[Tensor, ...]:
        """Add the ViT's last map to the pyramid's and normalise."""
        h, w = finest.shape[2:]
        finest = finest + self.up(maps[0])[:, :, :h, :w]
        return tuple(
            norm(m + resample(patches, self.stride, level))
            for norm, m, level in zip(self.norms, (finest, *maps), [(
                h, w, 4), *levels]))

    def get_layer_depth(self,
                        param_name: str,
                        prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay.

        Args:
            param_name: the parameter's name in the whole model.
            prefix: where this backbone lies in it, such as ``backbone.``.

        Returns:
            The depth and the number of depths: 0 for the ViT's embeddings,
            i for its block i of n, n + 1 (of n + 2) for everything else.
        """
        return self.vit.get_layer_depth(param_name, f'{prefix}vit.')
