"""HASSOD's box head: is it an object, where, and at which level."""
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import ConfigType
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from sohes.registry import MODELS


@MODELS.register_module()
class LevelBBoxHead(Shared2FCBBoxHead):
    """mmdet's two-layer box head, and one linear layer for the level.

    Levels are 0 whole, 1 part, 2 subpart. The level loss is taken on
    foreground boxes alone, each level a yes or no of its own.

    Args:
        num_levels (int): how many.
        loss_level (dict): config of the loss; its sum over foreground boxes
            and levels is divided by their number.
        droploss_iou (float, optional): DropLoss: a box that after regression
            overlaps no label by more than this IoU does not count in the
            classification loss, for it may be an object that the
            pseudo-labels have missed. None: all boxes count.
        level_activation (str): 'sigmoid', which the focal loss trains, or
            'softmax', which HASSOD's code uses at test all the same.
        nms_by_level (bool): boxes suppress only those of their own level.
            HASSOD's code does not ask for the level: False. That deletes
            parts whose box is nearly that of their whole.
        **kwargs: of ``Shared2FCBBoxHead``; class-agnostic boxes, one class.

    Raises:
        ValueError: an unknown activation, or boxes by class.
    """

    def __init__(self,
                 num_levels: int = 3,
                 loss_level: ConfigType | None = None,
                 droploss_iou: float | None = 0.01,
                 level_activation: str = 'sigmoid',
                 nms_by_level: bool = True,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if level_activation not in ('sigmoid', 'softmax'):
            raise ValueError("level_activation must be 'sigmoid' or "
                             f"'softmax', got {level_activation!r}")
        if self.num_classes != 1 or not self.reg_class_agnostic:
            raise ValueError('LevelBBoxHead has one class and class-agnostic '
                             'boxes: num_classes=1, reg_class_agnostic=True')
        self.num_levels = num_levels
        self.droploss_iou = droploss_iou
        self.level_activation = level_activation
        self.nms_by_level = nms_by_level
        self.loss_level = MODELS.build(
            loss_level or dict(
                type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0,
                alpha=0.25))
        self.fc_level = nn.Linear(self.cls_last_dim, num_levels)
        self.init_cfg = [*(self.init_cfg or []), dict(
            type='Normal', std=0.01, override=dict(name='fc_level'))]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of boxes.

        Args:
            x: (n, C, 7, 7) features of the boxes.

        Returns:
            (n, 2) class logits, background last; (n, 4) box deltas; (n, 3)
            level logits.
        """
        # (n, C, 7, 7) -> (n, C * 49)
        x = x.flatten(1)
        for layer in self.shared_fcs:
            x = self.relu(layer(x))
        return self.fc_cls(x), self.fc_reg(x), self.fc_level(x)

    def loss_and_target(self, cls_score: Tensor, bbox_pred: Tensor,
                        level_score: Tensor, rois: Tensor,
                        sampling_results: Sequence[SamplingResult],
                        rcnn_train_cfg: ConfigDict) -> dict:
        """The losses of one stage.

        Args:
            cls_score: (n, 2) logits.
            bbox_pred: (n, 4) deltas.
            level_score: (n, 3) logits.
            rois: (n, 5), the image's number and x1, y1, x2, y2 in pixels.
            sampling_results: of ``sohes.EntitySampler``, one an image.
            rcnn_train_cfg: of the stage.

        Returns:
            ``loss_bbox``, a dict of losses, and ``bbox_targets``.
        """
        targets = self.get_targets(sampling_results, rcnn_train_cfg)
        labels, weights, *boxes = targets
        if self.droploss_iou is not None:
            regressed = self.bbox_coder.decode(rois[:, 1:],
                                               bbox_pred.detach())
            weights = weights * near_labels(
                regressed, rois[:, 0],
                [each.gt_instances.bboxes for each in sampling_results],
                self.droploss_iou)
        losses = self.loss(cls_score, bbox_pred, rois, labels, weights,
                           *boxes)
        if 'loss_cls' in losses:
            # Still the mean over all boxes: those dropped count 0.
            losses['loss_cls'] = losses['loss_cls'] * (
                (weights > 0).sum() / max(len(weights), 1))
        losses['loss_level'] = self._level_loss(
            level_score[labels < self.num_classes],
            level_targets(sampling_results))
        return dict(loss_bbox=losses, bbox_targets=targets)

    def _level_loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Of P foreground boxes: (P, 3) logits, (P,) int64 levels."""
        if not len(levels):
            return logits.sum() * 0
        return self.loss_level(logits, levels,
                               avg_factor=len(levels) * self.num_levels)

    def level_probabilities(self, logits: Tensor) -> Tensor:
        """(n, 3) logits -> (n, 3), each in [0, 1]."""
        if self.level_activation == 'softmax':
            return logits.softmax(-1)
        return logits.sigmoid()

    def _predict_by_feat_single(self,
                                roi: Tensor,
                                cls_score: Tensor,
                                bbox_pred: Tensor,
                                img_meta: dict,
                                rescale: bool = False,
                                rcnn_test_cfg: ConfigDict | None = None
                                ) -> InstanceData:
        """Boxes of one image.

        Args:
            roi: (n, 5) boxes to regress.
            cls_score: (n, 2 + 3), class logits and level probabilities, each
                fused over the stages.
            bbox_pred: (n, 4) deltas.
            img_meta: of the image.
            rescale: to the size of the original.
            rcnn_test_cfg: score_thr, nms and max_per_img.

        Returns:
            ``bboxes``, ``scores``, ``labels``, all 0, and ``levels``, int64,
            best score first.
        """
        cls_score, level_score = cls_score.split(
            [self.num_classes + 1, self.num_levels], 1)
        # Without its own suppression, which knows classes alone.
        raw = super()._predict_by_feat_single(
            roi, cls_score, bbox_pred, img_meta, rescale, None)
        scores, levels = raw.scores[:, 0], level_score.argmax(1)
        sure = scores > rcnn_test_cfg.score_thr
        boxes, scores, levels = raw.bboxes[sure], scores[sure], levels[sure]
        groups = levels if self.nms_by_level else torch.zeros_like(levels)
        found, keep = batched_nms(boxes, scores, groups, rcnn_test_cfg.nms)
        keep = keep[:rcnn_test_cfg.max_per_img]
        return InstanceData(
            bboxes=found[:len(keep), :4],
            scores=found[:len(keep), 4],
            labels=torch.zeros_like(keep),
            levels=levels[keep])


def level_targets(sampling_results: Sequence[SamplingResult]) -> Tensor:
    """(P,) int64 levels of the foreground boxes' labels, image by image."""
    return torch.cat([
        each.gt_instances.levels[each.pos_assigned_gt_inds]
        for each in sampling_results
    ])


def near_labels(boxes: Tensor, images: Tensor, labels: Sequence[Tensor],
                max_iou: float) -> Tensor:
    """Which boxes overlap some label of their image (DropLoss).

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        images: (n,) number of each box's image.
        labels: of each image (m, 4) boxes.
        max_iou: of boxes that do not count as overlapping.

    Returns:
        (n,) bool: the IoU with a label is above ``max_iou``.
    """
    near = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for number, truth in enumerate(labels):
        here = images == number
        if len(truth) and here.any():
            ious = bbox_overlaps(boxes[here], truth)
            near[here] = ious.max(1).values > max_iou
    return near
