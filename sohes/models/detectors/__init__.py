"""Segmenters."""
from sohes.utils.versions import check_versions

check_versions('mmdet')

from sohes.models.detectors.entity_mask2former import EntityMask2Former
from sohes.models.detectors.hassod_mean_teacher import HassodMeanTeacher
from sohes.models.detectors.self_correction import SelfCorrection

__all__ = ['EntityMask2Former', 'HassodMeanTeacher', 'SelfCorrection']
