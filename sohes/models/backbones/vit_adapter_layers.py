"""The parts that ViT-Adapter puts beside a plain ViT.

After Chen et al. 2022, "Vision Transformer Adapter for Dense Predictions",
section 3; P, C, h and w below are tokens, channels and a map's size.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.drop import build_dropout
from torch import Tensor, nn

from sohes.utils.imports import import_quietly

# nn.LayerNorm's own default is 1e-5; the authors train with this.
_EPS = 1e-6
# Channels inside an extractor's feed-forward layers, as a share of C.
_FFN_RATIO = 0.25
# (h, w, stride): a map and the pixels of the image that a cell spans.
Level = tuple[int, int, int]


def build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    """A norm layer for maps (B, C, h, w): BN, SyncBN, GN or LN2d.

    LN2d, a LayerNorm over the channels, is mmpretrain's.
    """
    if norm_cfg['type'] == 'LN2d':
        import_quietly('mmpretrain.models')
        norm_cfg = dict(norm_cfg, type='mmpretrain.LN2d')
    return build_norm_layer(norm_cfg, channels)[1]


class SpatialPrior(nn.Module):
    """A small convolutional pyramid over the image itself.

    Every convolution of stride 2 rounds up, so the maps have the sizes of
    a ResNet's: ceil(H / 4), ceil(H / 8), ceil(H / 16), ceil(H / 32).

    Args:
        channels: C, channels of each map that comes out.
        norm_cfg: see :func:`build_norm`.
        width: channels after the first convolution (the authors' 64).
    """

    def __init__(self, channels: int, norm_cfg: dict, width: int) -> None:
        super().__init__()

        def conv(inside: int, outside: int, stride: int) -> list[nn.Module]:
            return [
                nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
                build_norm(norm_cfg, outside),
                nn.ReLU(inplace=True)
            ]

        widths = (width, 2 * width, 4 * width, 4 * width)
        self.stem = nn.Sequential(*conv(3, width, 2), *conv(width, width, 1),
                                  *conv(width, width, 1),
                                  nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList(
            nn.Sequential(*conv(inside, outside, 2))
            for inside, outside in zip(widths, widths[1:]))
        # No bias: the level embedding is one already, and what is under
        # the stride-4 map's norm layer would never get a gradient.
        self.projections = nn.ModuleList(
            nn.Conv2d(inside, channels, 1, bias=False) for inside in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps (B, C, h, w) at strides 4, 8, 16, 32."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [project(m) for project, m in zip(self.projections, maps)]


@dataclass(frozen=True)
class Geometry:
    """Where one set of tokens lies on the maps of another.

    Attributes:
        points: (1, P, L, 2), the middles of the P querying cells as xy on
            each of the L maps, [0, 1] being that map's extent.
        shapes: (L, 2) long, h and w of the maps.
        starts: (L,) long, the first token of each.
    """
    points: Tensor
    shapes: Tensor
    starts: Tensor

    @classmethod
    def between(cls, queries: Sequence[Level], values: Sequence[Level],
                device: torch.device) -> 'Geometry':
        """Cells of ``queries`` that look at the maps ``values``.

        Sizes are rounded up, so maps of one odd image extend over
        different numbers of pixels: points are reckoned in pixels and
        divided by each map's own extent.
        """
        middles = []
        for h, w, stride in queries:
            y, x = torch.meshgrid(
                torch.arange(h, device=device),
                torch.arange(w, device=device),
                indexing='ij')
            xy = torch.stack((x, y), dim=-1).reshape(-1, 2)  # (h * w, 2)
            middles.append((xy + 0.5) * stride)
        extents = torch.tensor([(w * s, h * s) for h, w, s in values],
                               device=device)
        shapes = torch.tensor([(h, w) for h, w, _ in values], device=device)
        areas = shapes.prod(dim=1)
        # (P, 1, 2) / (L, 2) -> (1, P, L, 2)
        points = (torch.cat(middles)[:, None] / extents)[None]
        return cls(points, shapes, areas.cumsum(0) - areas)


class _CrossAttention(nn.Module):
    """Norms and mmcv's multi-scale deformable attention, in float32.

    mmcv's CUDA op has no bfloat16, and where to sample wants the
    precision; so this part leaves autocast.
    """

    def __init__(self, channels: int, num_heads: int, num_levels: int,
                 num_points: int, ratio: float) -> None:
        super().__init__()
        # Imported late: Phase 1 runs without mmcv's compiled operators.
        from mmcv.ops import MultiScaleDeformableAttention
        self.query_norm = nn.LayerNorm(channels, eps=_EPS)
        self.value_norm = nn.LayerNorm(channels, eps=_EPS)
        self.attn = MultiScaleDeformableAttention(
            channels,
            num_heads,
            num_levels,
            num_points,
            dropout=0.0,
            batch_first=True,
            value_proj_ratio=ratio)

    def forward(self, query: Tensor, value: Tensor,
                geometry: Geometry) -> Tensor:
        """(B, P, C), (B, V, C) -> (B, P, C) in float32, nothing added."""
        with torch.autocast(query.device.type, enabled=False):
            return self.attn(
                self.query_norm(query.float()),
                value=self.value_norm(value.float()),
                identity=query.new_zeros((), dtype=torch.float32),
                reference_points=geometry.points,
                spatial_shapes=geometry.shapes,
                level_start_index=geometry.starts)


class Injector(nn.Module):
    """Lets the ViT's tokens look at the pyramid.

    What they see is multiplied by ``gamma``, zero at first: training
    starts from the ViT as it was.
    """

    def __init__(self, channels: int, **attention: float) -> None:
        super().__init__()
        self.attention = _CrossAttention(channels, num_levels=3, **attention)
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, tokens: Tensor, pyramid: Tensor, geometry: Geometry,
                num_extra: int) -> Tensor:
        """Tokens (B, E + P, C), pyramid (B, V, C) -> tokens.

        The first ``num_extra`` tokens (CLS) have no place in the image:
        they pass unchanged.
        """
        extra, patches = tokens[:, :num_extra], tokens[:, num_extra:]
        seen = self.attention(patches, pyramid, geometry)
        return torch.cat((extra, patches + self.gamma * seen), dim=1)


class Extractor(nn.Module):
    """Lets the pyramid look at the ViT's tokens, then mixes neighbours.

    Args:
        channels: C.
        drop_path: probability of leaving out the feed-forward layers.
        attention: of the deformable attention.
    """

    def __init__(self, channels: int, drop_path: float,
                 **attention: float) -> None:
        super().__init__()
        inner = int(channels * _FFN_RATIO)
        self.attention = _CrossAttention(channels, num_levels=1, **attention)
        self.ffn_norm = nn.LayerNorm(channels, eps=_EPS)
        self.fc1 = nn.Linear(channels, inner)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.fc2 = nn.Linear(inner, channels)
        self.drop_path = build_dropout(
            dict(type='DropPath', drop_prob=drop_path))

    def forward(self, pyramid: Tensor, tokens: Tensor, geometry: Geometry,
                num_extra: int, levels: Sequence[Level]) -> Tensor:
        """Pyramid (B, V, C), tokens (B, E + P, C) -> pyramid."""
        patches = tokens[:, num_extra:]
        pyramid = pyramid + self.attention(pyramid, patches, geometry)
        x = self.fc1(self.ffn_norm(pyramid))
        maps = [self.conv(m) for m in to_maps(x, levels)]
        return pyramid + self.drop_path(self.fc2(F.gelu(to_tokens(maps))))


def to_maps(tokens: Tensor, levels: Sequence[Level]) -> list[Tensor]:
    """(B, sum of h * w, C) -> one map (B, C, h, w) a level."""
    parts = tokens.split([h * w for h, w, _ in levels], dim=1)
    return [
        part.transpose(1, 2).unflatten(2, (h, w))
        for part, (h, w, _) in zip(parts, levels)
    ]


def to_tokens(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, h, w) -> (B, sum of h * w, C)."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)


def resample(x: Tensor, stride: int, level: Level) -> Tensor:
    """A map (B, C, h, w) of one stride at the size of another level.

    Upwards bilinearly, downwards by means (of what there is, in the last
    row and column): cells stay over the pixels that they span, which an
    ``interpolate`` to odd sizes would not keep.
    """
    h, w, wanted = level
    if wanted > stride:
        return F.avg_pool2d(x, wanted // stride, ceil_mode=True)
    if wanted < stride:
        x = F.interpolate(
            x,
            scale_factor=float(stride // wanted),
            mode='bilinear',
            align_corners=False)
    return x[:, :, :h, :w]
