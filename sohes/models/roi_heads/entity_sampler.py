"""Samples of boxes that know the labels they were sampled for."""
from typing import Any

from mmdet.models.task_modules import AssignResult, RandomSampler
from mmdet.models.task_modules.samplers import SamplingResult
from mmengine.structures import InstanceData

from sohes.registry import TASK_UTILS


@TASK_UTILS.register_module()
class EntitySampler(RandomSampler):
    """mmdet's ``RandomSampler``; its results carry ``gt_instances``.

    A box head sees the boxes and classes of the labels that were sampled.
    HASSOD's head also asks for their levels, and for all labels of the
    image, sampled or not.
    """

    def sample(self, assign_result: AssignResult,
               pred_instances: InstanceData, gt_instances: InstanceData,
               **kwargs: Any) -> SamplingResult:
        """See ``RandomSampler``; adds ``gt_instances`` to the result."""
        result = super().sample(assign_result, pred_instances, gt_instances,
                                **kwargs)
        result.gt_instances = gt_instances
        return result
