"""A pixel decoder of a few convolutions, for CPUs."""
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from sohes.registry import MODELS
from sohes.utils.precision import conv_memory_format


@MODELS.register_module()
class LightPixelDecoder(BaseModule):
    """Mask features from fine and coarse maps; memory from the coarse one.

    In place of mmdet's deformable attention over three levels, which has
    nothing to gain where the coarse map comes of a ViT that has attended
    over the whole picture already.

    Args:
        in_channels: Of the fine map (stride 4) and of the ViT's map.
        feat_channels: C, of the memory.
        out_channels: Of the mask features.
        num_groups: Of the group norms.
        encoder: mmdet's head asks for it; not used.
        init_cfg: As ever.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 feat_channels: int = 256,
                 out_channels: int = 128,
                 num_groups: int = 32,
                 encoder: Any = None,
                 init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        fine, coarse = in_channels
        self.project = nn.Sequential(
            nn.Conv2d(coarse, feat_channels, 1),
            nn.GroupNorm(num_groups, feat_channels))
        self.mix = nn.Sequential(
            nn.Conv2d(feat_channels, feat_channels, 3, padding=1),
            nn.GroupNorm(num_groups, feat_channels), nn.ReLU(inplace=True))
        self.coarse = nn.Conv2d(feat_channels, out_channels, 1)
        self.fine = nn.Conv2d(fine, out_channels, 1)
        self.merge = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.GroupNorm(num_groups, out_channels), nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 1))
        self.memory_format = conv_memory_format()
        self.to(memory_format=self.memory_format)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuses the two maps.

        Args:
            feats: The fine (B, C', h', w') and the coarse (B, C'', h, w).

        Returns:
            Mask features (B, out_channels, h', w') and the memory, one map
            (B, feat_channels, h, w).
        """
        fine, coarse = (
            each.to(memory_format=self.memory_format) for each in feats)
        memory = self.project(coarse)
        memory = memory + self.mix(memory)
        enlarged = F.interpolate(
            self.coarse(memory), fine.shape[2:], mode='bilinear',
            align_corners=False)
        return self.merge(enlarged + self.fine(fine)), [memory]
