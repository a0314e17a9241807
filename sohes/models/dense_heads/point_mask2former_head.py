"""Masks that are matched and compared at points: which, and how."""
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from mmcv.ops import point_sample
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.utils import get_uncertain_point_coords_with_randomness
from mmdet.utils import InstanceList, reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from sohes.models.dense_heads.decoding_mask2former_head import (
    DecodingMask2FormerHead,
)
from sohes.models.dense_heads.entity_targets import point_iou
from sohes.models.dense_heads.mask_piloting import (
    PilotedQueries,
    draw_pilots,
)
from sohes.models.dense_heads.shared_points import draw_points
from sohes.utils.random_state import seeded_random

#: Logits beyond this are as sure as any, and keep the matcher's sums finite.
_SURE = 1e4


class PointMask2FormerHead(DecodingMask2FormerHead):
    """mmdet's head whose points depend on image, layer and step alone.

    What :class:`EntityMask2FormerHead` stands on; it sets the attributes,
    which are its arguments of the same names. Targets are points sampled
    from :class:`BitMasks`: full masks of any other type never come into
    being.
    """

    seed_points: bool
    point_seed: int
    point_step: Tensor
    shared_points: bool
    edge_share: float
    soft_labels: bool
    score_power: float
    mask_piloted: int | None
    pilot_noise: float

    @torch.no_grad()
    def _get_targets_single(self, cls_score: Tensor, mask_pred: Tensor,
                            gt_instances: InstanceData,
                            img_meta: dict) -> tuple:
        """Matches the queries of one image with its ground truths.

        Args:
            cls_score: (Q, 2) logits.
            mask_pred: (Q, h, w) logits.
            gt_instances: M labels, masks, ancestors.
            img_meta: With ``batch_input_shape`` and ``points``.

        Returns:
            What mmdet's ``get_targets`` collects (labels and their weights
            (Q,), masks in the order of the matched queries, mask weights
            (Q,), matched and other queries, the sampler's result), and at
            the end (Q,) the ground truth of each query, -1 for none.
        """
        with self._points_of(img_meta, cls_score.device, 'matching'):
            points = torch.rand((1, self.num_points, 2),
                                device=cls_score.device)
        # All queries share the points, so they can be channels of one map:
        # (1, Q, h, w) at (1, P, 2) -> (Q, P)
        sampled = point_sample(mask_pred[None].float(), points)[0]
        predictions = InstanceData(scores=cls_score, masks=sampled)
        truths = InstanceData(
            labels=gt_instances.labels,
            masks=gt_instances.masks.sample(points[0],
                                            img_meta['batch_input_shape']))
        assigned = self._assigned(cls_score, sampled, truths.labels,
                                  truths.masks, img_meta)
        result = self.sampler.sample(
            assign_result=assigned,
            pred_instances=predictions,
            gt_instances=truths)
        positive = result.pos_inds
        labels = torch.full_like(assigned.gt_inds, self.num_classes)
        labels[positive] = gt_instances.labels[result.pos_assigned_gt_inds]
        weights = torch.zeros_like(cls_score[:, 0])
        weights[positive] = 1.0
        return (labels, torch.ones_like(weights),
                gt_instances.masks[result.pos_assigned_gt_inds], weights,
                positive, result.neg_inds, result, assigned.gt_inds - 1)

    def _points_of(self, img_meta: dict, device: torch.device,
                   purpose: str) -> AbstractContextManager:
        """Inside, ``torch.rand`` draws the points of one image and layer."""
        if not self.seed_points:
            return nullcontext()
        if 'img_id' not in img_meta:
            raise ValueError(
                f'no img_id among {sorted(img_meta)} to seed the points of '
                'an image with: pack it as metainfo, or set '
                'seed_points=False')
        return seeded_random(*img_meta['points'], str(img_meta['img_id']),
                             purpose, device=device)

    def _matched(
            self, cls_scores: Tensor, mask_preds: Tensor,
            batch_gt_instances: InstanceList, batch_img_metas: list[dict]
    ) -> tuple[Tensor, Sequence[Tensor], Tensor | int]:
        """Matches one decoder layer, and takes its masks at points.

        Args:
            cls_scores: (B, Q, 2) logits.
            mask_preds: (B, Q, h, w) logits, or (B, Q, P).
            batch_gt_instances: M labels, masks, ancestors of each image.
            batch_img_metas: One an image.

        Returns:
            (B, Q) int64, the ground truth of each query, -1 for none; (N, P)
            logits and targets of the N matched queries; and N as mmdet
            counts it, an image without any as one.
        """
        if self.shared_points:
            matched, *at_points = self._match_at_shared_points(
                cls_scores, mask_preds, batch_gt_instances, batch_img_metas)
            return (matched, at_points,
                    (matched >= 0).sum(1).clamp(min=1).sum())
        _, _, masks, _, num_masks, matched = self.get_targets(
            list(cls_scores), list(mask_preds), batch_gt_instances,
            batch_img_metas)
        matched = torch.stack(matched)
        return (matched, self._uncertain_points(
            mask_preds, masks, matched >= 0, batch_img_metas), num_masks)

    def _match_at_shared_points(
            self, cls_scores: Tensor, mask_preds: Tensor,
            batch_gt_instances: InstanceList,
            batch_img_metas: list[dict]) -> tuple[Tensor, Tensor, Tensor]:
        """Matches with what is at the points that the masks were taken at.

        Args:
            cls_scores: (B, Q, 2) logits.
            mask_preds: (B, Q, P) logits.
            batch_gt_instances: Also with ``point_targets`` (M, P).
            batch_img_metas: One an image; ``one_to_many``, if there, is how
                many queries a ground truth is matched with.

        Returns:
            (B, Q) int64, the ground truth of each query, -1 for none; and
            (N, P) logits and targets of the N matched queries.
        """
        matched, predicted, wanted = [], [], []
        for scores, logits, truths, meta in zip(
                cls_scores, mask_preds.float(), batch_gt_instances,
                batch_img_metas):
            targets = truths.point_targets
            # As often as there are queries enough for all of them.
            times = max(1, min(meta.get('one_to_many', 1),
                               len(scores) // max(len(targets), 1)))
            chosen = self._assigned(
                scores, logits, truths.labels.repeat(times),
                targets.repeat(times, 1), meta).gt_inds - 1
            chosen = torch.where(chosen >= 0, chosen % max(len(targets), 1),
                                 chosen)
            matched.append(chosen)
            predicted.append(logits[chosen >= 0])
            wanted.append(targets[chosen[chosen >= 0]])
        return torch.stack(matched), torch.cat(predicted), torch.cat(wanted)

    def _draw_points(self, batch_gt_instances: InstanceList,
                     metas: list[dict]) -> Tensor:
        """(B, P, 2) float32 in [0, 1], for every layer of this step.

        The ground truths get what is there, ``point_targets`` (M, P).
        """
        drawn = []
        for truths, meta in zip(batch_gt_instances, metas):
            step = dict(meta, points=(self.point_seed, int(self.point_step)))
            with self._points_of(step, truths.masks.device, 'shared'):
                points, truths.point_targets = draw_points(
                    truths.masks, meta['batch_input_shape'], self.num_points,
                    self.edge_share)
            drawn.append(points)
        return torch.stack(drawn)

    def _draw_pilots(self, batch_gt_instances: InstanceList,
                     metas: list[dict],
                     grid: tuple[int, int]) -> PilotedQueries:
        """The extra queries of this step; their grid is (h, w)."""
        drawn = []
        for truths, meta in zip(batch_gt_instances, metas):
            step = dict(meta, points=(self.point_seed, int(self.point_step)))
            with self._points_of(step, truths.masks.device, 'piloted'):
                drawn.append(
                    draw_pilots(truths.masks, meta['batch_input_shape'],
                                grid, self.mask_piloted))
        return PilotedQueries.of(drawn, self.pilot_noise)

    @torch.no_grad()
    def _assigned(self, scores: Tensor, logits: Tensor, labels: Tensor,
                  targets: Tensor, img_meta: dict) -> AssignResult:
        """Hungarian matching of (Q, P) logits with (M, P) targets."""
        # The matcher stops at NaN; the losses carry it on to who reports it.
        predictions = InstanceData(
            scores=torch.nan_to_num(scores, 0., _SURE, -_SURE),
            masks=torch.nan_to_num(logits, 0., _SURE, -_SURE))
        return self.assigner.assign(
            pred_instances=predictions,
            gt_instances=InstanceData(labels=labels, masks=targets),
            img_meta=img_meta)

    def _uncertain_points(
            self, mask_preds: Tensor, masks: list, matched: Tensor,
            batch_img_metas: list[dict]) -> tuple[Tensor, Tensor]:
        """Mask2Former's points: three quarters where a mask is unsure.

        Args:
            mask_preds: (B, Q, h, w) logits.
            masks: For each image the targets of its matched queries.
            matched: (B, Q) bool.
            batch_img_metas: With ``batch_input_shape`` and ``points``.

        Returns:
            (N, P) logits and targets of the N matched queries.
        """
        predicted, wanted = [mask_preds.new_zeros(0, self.num_points)], []
        for preds, targets, rows, meta in zip(mask_preds, masks, matched,
                                              batch_img_metas):
            # (n, 1, h, w)
            preds = preds[rows].float().unsqueeze(1)
            if not len(preds):
                continue
            with torch.no_grad():
                with self._points_of(meta, preds.device, 'loss'):
                    points = get_uncertain_point_coords_with_randomness(
                        preds, None, self.num_points, self.oversample_ratio,
                        self.importance_sample_ratio)
                wanted.append(
                    targets.sample(points, meta['batch_input_shape']))
            predicted.append(point_sample(preds, points).squeeze(1))
        return (torch.cat(predicted).float(),
                torch.cat([*wanted, predicted[0].float()]))

    def _label_weights(self, matched: Tensor,
                       batch_gt_instances: InstanceList) -> Tensor | None:
        """(N,), how much the label of each of the N matched queries counts."""
        if not self.score_power:
            return None
        return torch.cat([
            truths.weights[each[each >= 0]]
            for each, truths in zip(matched, batch_gt_instances)
        ])

    def _query_losses(self, cls_scores: Tensor, mask_preds: Tensor,
                      matched: Tensor, at_points: Sequence[Tensor],
                      num_masks: Tensor | int,
                      counts: Tensor,
                      weights: Tensor | None) -> dict[str, Tensor]:
        """Class and mask losses of queries whose ground truths are known.

        Args:
            cls_scores: (B, Q, 2) float32 logits.
            mask_preds: (B, Q, h, w) logits, or (B, Q, P).
            matched: (B, Q) int64, the ground truth of each, -1 for none.
            at_points: (N, P) logits and targets of those that have one.
            num_masks: N as mmdet counts it.
            counts: (B, Q), how much the class of each query counts.
            weights: (N,), how much the label of each counts. None: 1.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice``.
        """
        class_weight = cls_scores.new_tensor(self.class_weight)
        # (B, Q, 2): how much of each query is entity and how much no-object
        labels = F.one_hot((matched < 0).long(), len(class_weight)).float()
        if self.soft_labels:
            iou = point_iou(*at_points)
            labels[matched >= 0] = torch.stack([iou, 1 - iou], dim=1)
        if weights is not None:
            labels[..., 0][matched >= 0] *= weights
        # One exchange between the processes for both normalisers.
        weight_sum, num_masks = reduce_mean(
            torch.stack([
                (labels * class_weight * counts[..., None]).sum(),
                cls_scores.new_tensor(float(num_masks))
            ]))
        if len(at_points[0]):
            loss_mask, loss_dice = self._mask_losses(*at_points, num_masks,
                                                     weights)
        else:  # 0, but with a gradient
            loss_mask = loss_dice = mask_preds[matched >= 0].float().sum()
        return dict(
            loss_cls=self.loss_cls(
                cls_scores.flatten(0, 1),
                labels.flatten(0, 1),
                weight=counts.flatten(),
                avg_factor=weight_sum),
            loss_mask=loss_mask,
            loss_dice=loss_dice)

    def _mask_losses(
            self, point_preds: Tensor, point_targets: Tensor,
            num_masks: Tensor,
            weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Point-wise cross-entropy and dice of the matched queries.

        Args:
            point_preds: (N, P) logits.
            point_targets: (N, P) in [0, 1].
            num_masks: Matched queries, averaged over the processes.
            weights: (N,), how much each mask counts. None: 1.

        Returns:
            The two losses.
        """
        loss_dice = self.loss_dice(
            point_preds, point_targets, weights, avg_factor=num_masks)
        if weights is not None:
            weights = weights.repeat_interleave(self.num_points)
        loss_mask = self.loss_mask(
            point_preds.flatten(),
            point_targets.flatten(),
            weights,
            avg_factor=num_masks * self.num_points)
        return loss_mask, loss_dice
