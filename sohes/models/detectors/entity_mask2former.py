"""The segmenter of Phases 2 and 3."""
from mmdet.models.detectors import Mask2Former
from mmdet.structures import SampleList
from torch import Tensor

from sohes.registry import MODELS


@MODELS.register_module()
class EntityMask2Former(Mask2Former):
    """Mask2Former that predicts entities and their forest (section 3.2).

    Built like ``mmdet.Mask2Former``, of an :class:`EntityMask2FormerHead`
    and an :class:`EntityFusionHead`.
    """

    def predict(self,
                batch_inputs: Tensor,
                batch_data_samples: SampleList,
                rescale: bool = True) -> SampleList:
        """Predicts entities.

        Args:
            batch_inputs: (B, 3, H, W) normalised images.
            batch_data_samples: B, with the sizes of the images.
            rescale: Masks at the size of the original image.

        Returns:
            The same samples, with ``pred_instances``; its fields are those
            of :meth:`EntityFusionHead.predict`.
        """
        outputs = self.panoptic_head.predict(
            self.extract_feat(batch_inputs), batch_data_samples)
        predictions = self.panoptic_fusion_head.predict(
            *outputs, batch_data_samples, rescale=rescale)
        for sample, instances in zip(batch_data_samples, predictions):
            sample.pred_instances = instances
        return batch_data_samples
