"""Heads that predict masks and who is part of whom."""
from sohes.utils.versions import check_versions

check_versions('mmcv', 'mmdet')

from sohes.models.dense_heads.ancestor_head import AncestorHead, AncestorLoss
from sohes.models.dense_heads.entity_fusion_head import EntityFusionHead
from sohes.models.dense_heads.entity_mask2former_head import (
    EntityMask2FormerHead,
)
from sohes.models.dense_heads.float32_pixel_decoder import Float32PixelDecoder
from sohes.models.dense_heads.light_pixel_decoder import LightPixelDecoder
from sohes.models.dense_heads.mask_iou_head import MaskIoUHead, MaskIoULoss

__all__ = [
    'AncestorHead', 'AncestorLoss', 'EntityFusionHead',
    'EntityMask2FormerHead', 'Float32PixelDecoder', 'LightPixelDecoder',
    'MaskIoUHead', 'MaskIoULoss'
]
