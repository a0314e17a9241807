"""Cascade Mask R-CNN whose boxes have levels, as HASSOD's."""
import numpy as np
import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor

from sohes.registry import MODELS
from sohes.structures import EntityForest


@MODELS.register_module()
class LevelCascadeRoIHead(CascadeRoIHead):
    """mmdet's ``CascadeRoIHead`` with a ``sohes.LevelBBoxHead`` a stage.

    Predictions have ``levels``, (n,) int64: 0 whole, 1 part, 2 subpart; and
    ``parents``, (n,) int64, -1 for none, if ``test_cfg`` has a ``coverage``:
    HASSOD's model predicts no parents, so these are found from the masks as
    those of the labels are.

    Built like ``CascadeRoIHead``; each stage's sampler must be a
    ``sohes.EntitySampler``.
    """

    def _bbox_forward(self, stage: int, x: tuple[Tensor],
                      rois: Tensor) -> dict[str, Tensor]:
        """See ``CascadeRoIHead``; adds ``level_score``."""
        extractor = self.bbox_roi_extractor[stage]
        features = extractor(x[:extractor.num_inputs], rois)
        cls_score, bbox_pred, level_score = self.bbox_head[stage](features)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred,
                    level_score=level_score, bbox_feats=features)

    def bbox_loss(self, stage: int, x: tuple[Tensor],
                  sampling_results: list[SamplingResult]) -> dict:
        """See ``CascadeRoIHead``; ``loss_bbox`` has a ``loss_level``."""
        rois = bbox2roi([each.priors for each in sampling_results])
        found = self._bbox_forward(stage, x, rois)
        losses = self.bbox_head[stage].loss_and_target(
            found['cls_score'], found['bbox_pred'], found['level_score'],
            rois, sampling_results, self.train_cfg[stage])
        return dict(found, rois=rois, **losses)

    def _refine_roi(self, x: tuple[Tensor], rois: Tensor,
                    batch_img_metas: list[dict],
                    num_proposals_per_img: tuple[int, ...]) -> tuple:
        """Send boxes through the stages.

        Args:
            x: maps of the FPN.
            rois: (n, 5), the image's number and x1, y1, x2, y2.
            batch_img_metas: B.
            num_proposals_per_img: B numbers with the sum n.

        Returns:
            Of each image (m, 5) boxes; (m, 2 + 3) means over the stages of
            class logits and level probabilities; and (m, 4) last deltas.
        """
        classes, levels = [], []
        for stage, head in enumerate(self.bbox_head):
            found = self._bbox_forward(stage, x, rois)
            classes.append(found['cls_score'])
            levels.append(head.level_probabilities(found['level_score']))
            if stage < self.num_stages - 1:
                rois = torch.cat([
                    torch.cat([here[:, :1], head.regress_by_class(
                        here[:, 1:], None, deltas, meta)], 1)
                    for here, deltas, meta in zip(
                        rois.split(num_proposals_per_img),
                        found['bbox_pred'].split(num_proposals_per_img),
                        batch_img_metas)
                ])
        fused = torch.cat([torch.stack(classes).mean(0),
                           torch.stack(levels).mean(0)], 1)
        return (rois.split(num_proposals_per_img),
                fused.split(num_proposals_per_img),
                found['bbox_pred'].split(num_proposals_per_img))

    def forward(self, x: tuple[Tensor], rpn_results_list: InstanceList,
                batch_data_samples: SampleList) -> tuple:
        """Raw outputs, as precise batch norm and counting of FLOPs want.

        mmdet's takes the stages' masks for flipped views of an image.

        Args:
            x: maps of the FPN.
            rpn_results_list: B, with ``bboxes``.
            batch_data_samples: B.

        Returns:
            See :meth:`_refine_roi`: scores and deltas of each image; and
            the last stage's mask logits.
        """
        boxes = [each.bboxes for each in rpn_results_list]
        rois, scores, deltas = self._refine_roi(
            x, bbox2roi(boxes), [each.metainfo for each in
                                 batch_data_samples],
            tuple(map(len, boxes)))
        masks = self._mask_forward(self.num_stages - 1, x, torch.cat(rois))
        return scores, deltas, masks['mask_preds']

    def predict_bbox(self, x: tuple[Tensor], batch_img_metas: list[dict],
                     rpn_results_list: InstanceList,
                     rcnn_test_cfg: ConfigType,
                     rescale: bool = False) -> InstanceList:
        """See ``CascadeRoIHead``; also without a proposal with levels."""
        found = super().predict_bbox(x, batch_img_metas, rpn_results_list,
                                     rcnn_test_cfg, rescale)
        for each in found:
            if 'levels' not in each:
                each.levels = torch.zeros_like(each.labels)
        return found

    def predict(self, x: tuple[Tensor], rpn_results_list: InstanceList,
                batch_data_samples: SampleList,
                rescale: bool = False) -> InstanceList:
        """See ``CascadeRoIHead``; adds ``parents`` where asked for."""
        found = super().predict(x, rpn_results_list, batch_data_samples,
                                rescale)
        coverage = self.test_cfg.get('coverage')
        if coverage is not None and self.with_mask:
            for each in found:
                forest = EntityForest.from_masks(
                    each.masks.cpu().numpy().astype(bool), coverage)
                each.parents = torch.tensor(
                    np.array(forest.parents), device=each.labels.device)
        return found
