"""HASSOD's parts of a Cascade Mask R-CNN, see docs/hassod.md."""
from sohes.utils.versions import check_versions

check_versions('mmdet')

from sohes.models.roi_heads.entity_sampler import EntitySampler
from sohes.models.roi_heads.level_bbox_head import LevelBBoxHead
from sohes.models.roi_heads.level_cascade_roi_head import LevelCascadeRoIHead

__all__ = ['EntitySampler', 'LevelBBoxHead', 'LevelCascadeRoIHead']
