"""The segmenter of Phases 2 and 3."""
import itertools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.detectors import Mask2Former
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from sohes.models.dense_heads.view_fusion import fuse_views
from sohes.models.views import crop_views, view_boxes
from sohes.registry import MODELS
from sohes.utils.precision import fast_dtype


@MODELS.register_module()
class EntityMask2Former(Mask2Former):
    """Mask2Former that predicts entities and their forest (section 3.2).

    Built like ``mmdet.Mask2Former``, of an :class:`EntityMask2FormerHead`
    and an :class:`EntityFusionHead`.

    Args:
        autocast: 'bf16': Layers that can compute in bfloat16, in training
            and at inference, where the device is fast in it
            (:func:`fast_dtype`). Such a CPU takes less than half the time;
            others compute in float32. On a GPU use ``--amp`` instead. None:
            float32.
        train_only: Parameters with this in their names are trained and no
            others, as 'iou_head' of a model that was trained without. None:
            all.
        **kwargs: Of ``mmdet.Mask2Former``.

    Raises:
        ValueError: Another ``autocast``, or no parameter has ``train_only``
            in its name.
    """

    def __init__(self, *, autocast: str | None = None,
                 train_only: str | None = None, **kwargs: Any) -> None:
        if autocast not in (None, 'bf16'):
            raise ValueError(
                f"autocast must be 'bf16' or None, got {autocast!r}")
        super().__init__(**kwargs)
        self.autocast = autocast
        if train_only is not None:
            trained = [name for name, parameter in self.named_parameters()
                       if parameter.requires_grad_(train_only in name)
                       .requires_grad]
            if not trained:
                raise ValueError('no parameter of the model has train_only='
                                 f'{train_only!r} in its name')

    def precision(self) -> AbstractContextManager:
        """Inside, layers compute in the precision that was asked for."""
        device = next(self.parameters()).device
        if self.autocast is None or fast_dtype(device) != self.autocast:
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def extract_feat(
            self,
            batch_inputs: Tensor,
            batch_data_samples: SampleList | None = None
    ) -> tuple[Tensor, ...]:
        """Feature maps of the backbone.

        Args:
            batch_inputs: (B, 3, H, W) normalised images.
            batch_data_samples: B; where they have a ``feature_map``, the
                backbone (:class:`FrozenViT`) is spared its ViT.

        Returns:
            Largest map first, each (B, C, h, w).
        """
        maps = [getattr(sample, 'feature_map', None)
                for sample in batch_data_samples or []]
        if all(each is None for each in maps):
            return super().extract_feat(batch_inputs)
        return self.backbone(batch_inputs, maps)

    def loss(self, batch_inputs: Tensor,
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """The head's losses, and how many masks it has no query for.

        Each query learns one mask, so an image with more masks than queries,
        as copy-paste can make it, has some that nothing learns: those that
        fit the queries worst.

        Args:
            batch_inputs: (B, 3, H, W) normalised images.
            batch_data_samples: B, with ``gt_instances``.

        Returns:
            Those of :meth:`EntityMask2FormerHead.loss`, and
            ``masks_without_query``, the mean over the images of this
            process, which is logged and not learnt.
        """
        with self.precision():
            losses = self.panoptic_head.loss(
                self.extract_feat(batch_inputs, batch_data_samples),
                batch_data_samples)
        queries = self.panoptic_head.num_queries
        left = sum(
            max(len(sample.gt_instances) - queries, 0)
            for sample in batch_data_samples)
        losses['masks_without_query'] = batch_inputs.new_tensor(
            left / len(batch_data_samples), dtype=torch.float32)
        return losses

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
        fusion = self.panoptic_fusion_head
        if fusion.zooms is None:
            predictions = fusion.predict(
                *self.raw_predictions(batch_inputs, batch_data_samples),
                batch_data_samples, rescale=rescale)
        else:
            predictions = [
                self._predict_in_views(image, sample, rescale)
                for image, sample in zip(batch_inputs, batch_data_samples)
            ]
        for sample, instances in zip(batch_data_samples, predictions):
            sample.pred_instances = instances
        return batch_data_samples

    @torch.no_grad()
    def _predict_in_views(self, image: Tensor, sample: DetDataSample,
                          rescale: bool) -> InstanceData:
        """The entities of one photo, found in the views of ``zooms``."""
        fusion = self.panoptic_fusion_head
        height, width = sample.img_shape[:2]
        image = image[:, :height, :width]  # without the batch's padding
        boxes = view_boxes(fusion.zooms)
        views = crop_views(image, boxes, fusion.view_size)
        samples = [DetDataSample() for _ in boxes]
        if hasattr(self.backbone, 'maps_of_views'):
            for each, features in zip(
                    samples, self.backbone.maps_of_views(image, boxes)):
                each.feature_map = features
        outputs = [
            self.raw_predictions(views[k:k + 4], samples[k:k + 4])
            for k in range(0, len(boxes), 4)
        ]
        size = sample.ori_shape if rescale else sample.img_shape
        photo = (None if fusion.refiner is None else
                 self._photo(image, tuple(size[:2])))
        classes, masks, ancestors = zip(*outputs)
        # The masks are large: a list, so that they are not copied together.
        return fuse_views(
            fusion, torch.cat(classes), list(itertools.chain(*masks)),
            torch.cat(ancestors), boxes, tuple(size[:2]), photo)

    def _photo(self, image: Tensor,
               size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of a normalised (3, h, w) image."""
        normal = self.data_preprocessor
        pixels = image.float() * normal.std + normal.mean
        pixels = F.interpolate(
            pixels[None], size, mode='bilinear', align_corners=False,
            antialias=True)[0]
        return pixels.round().clamp(0, 255).byte().permute(
            1, 2, 0).contiguous().cpu().numpy()

    def raw_predictions(
            self, batch_inputs: Tensor,
            batch_data_samples: SampleList) -> tuple[Tensor, Tensor, Tensor]:
        """What the fusion head makes entities of; arguments as above.

        Returns:
            See :meth:`EntityMask2FormerHead.predict`.
        """
        with self.precision():
            return self.panoptic_head.predict(
                self.extract_feat(batch_inputs, batch_data_samples),
                batch_data_samples)
