"""Mask2Former's head that also predicts who is part of whom."""
import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.structures import SampleList
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine import ConfigDict
from torch import Tensor, nn

from sohes.models.dense_heads.ancestor_head import (
    AncestorHead,
    ancestor_targets,
)
from sohes.models.dense_heads.entity_targets import (
    add_score_weights,
    best_point_iou,
    entity_targets,
)
from sohes.models.dense_heads.float32_pixel_decoder import (
    in_float32,
    with_levels,
)
from sohes.models.dense_heads.grid_queries import GridQueries
from sohes.models.dense_heads.mask_iou_head import MaskIoUHead
from sohes.models.dense_heads.mask_piloting import PilotedQueries
from sohes.models.dense_heads.masked_attention import (
    MaskedAttention,
)
from sohes.models.dense_heads.point_mask2former_head import (
    PointMask2FormerHead,
)
from sohes.registry import MODELS


@MODELS.register_module()
class EntityMask2FormerHead(PointMask2FormerHead):
    """mmdet's head for one class, 'entity', with ancestor prediction.

    Beside the class and the mask head there is an :class:`AncestorHead`, at
    every decoder layer (SOHES, section 3.2). With 100 to 200 ground truths
    an image, targets are points sampled from :class:`BitMasks`: full masks
    of any other type never come into being.

    The loss of a global batch does not depend on how many processes share
    it: its normalisers are averages over all, and the points of an image
    depend on the image, the layer and the step alone.

    Args:
        in_channels: Channels of the feature maps, largest map first.
        feat_channels: C, of the queries.
        out_channels: Channels of the mask features.
        pixel_decoder: As mmdet's; its deformable attention runs in float32
            under AMP too.
        loss_cls: As mmdet's; ``class_weight`` for entity and no-object.
        loss_ancestor: Config of :class:`AncestorLoss`. None: no ancestor
            head (appendix D); the forest is then found by coverage.
        loss_iou: Config of :class:`MaskIoULoss`: a :class:`MaskIoUHead`
            learns how good every mask is, and changes none; also those of
            the queries without a ground truth. At inference the class
            probability is multiplied by what it says. Ours; wants
            ``shared_points``. None: no such head.
        seed_points: Draw the points of matching and losses by image, layer
            and step, the latter counted in the state dict: a resumed run
            draws as one that was never stopped. False: from torch's global
            generator, as mmdet does.
        point_seed: Another number, other points.
        shared_points: In training one draw of uniform points serves
            matching and losses of all masks and layers of an image. Then no
            mask is ever drawn: bilinear sampling is linear, so the mask
            features are sampled instead. Ours, for CPUs; False:
            Mask2Former's own uncertain points.
        edge_share: Of the shared points, those drawn near the edges of the
            ground truths, where masks are won and lost, see
            :func:`draw_points`. Ours; wants ``shared_points``.
        soft_labels: The class target of a matched query is not 1 but the
            IoU of its mask with the ground truth, at the shared points, so
            that the score says how good the mask is (as Li et al. 2020,
            generalized focal loss). Ours; wants ``shared_points``.
        one_to_many: Queries that each ground truth is matched with in all
            decoder layers but the last, as far as the queries suffice: more
            queries learn masks in each step (as Jia et al. 2023, H-DETR).
            The last layer, which predicts, keeps one. Ours; wants
            ``shared_points``.
        mask_piloted: Extra queries of an image in training, at most. Each
            looks only inside the mask of one ground truth and learns to
            decode it, without matching (Zhang et al. 2023, MP-Former), see
            :class:`PilotedQueries`. Wants ``shared_points``. None or 0: no
            such queries.
        pilot_noise: How many cells of such a mask are flipped, as a share
            of its area, in [0, 1] (the paper's point noise, 0.2 there).
        query_grids: Cells a side of regular grids, such as (14, 7) for 245
            queries: each starts from what the memory shows at its cell, see
            :class:`GridQueries`, and no query has weights of its own. Ours,
            for training from few photos. None: learnt queries.
        score_power: A label counts by its score to this power, divided by
            the batch's mean, in the losses of its mask and in the part of
            the class loss that says entity; see :func:`add_score_weights`
            for what it does to Phase 1's scores. Labels without a score
            have 1. Ours. 0: all labels count the same.
        xavier_init: The matrices of the transformer decoder start as in
            mmdet, by Xavier's rule. False: as torch makes them; what a layer
            adds to a query is then about half as large, so that the queries
            start less alike. Ours, for short trainings.
        **kwargs: Of ``mmdet.Mask2FormerHead``.

    Raises:
        TypeError: An unknown keyword.
        ValueError: More or other classes than one thing class are asked
            for, a number is out of its range, or ``edge_share``,
            ``soft_labels``, ``loss_iou``, ``one_to_many`` or
            ``mask_piloted`` is there without ``shared_points``; or
            ``query_grids`` do not give ``num_queries``.
    """

    def __init__(self,
                 in_channels: list[int],
                 feat_channels: int,
                 out_channels: int,
                 *,
                 pixel_decoder: ConfigType,
                 num_things_classes: int = 1,
                 num_stuff_classes: int = 0,
                 loss_cls: ConfigType = dict(  # noqa: B006
                     type='CrossEntropyLoss',
                     use_sigmoid=False,
                     loss_weight=2.0,
                     reduction='mean',
                     class_weight=[1.0, 0.1]),
                 loss_ancestor: OptConfigType = dict(  # noqa: B006
                     type='sohes.AncestorLoss'),
                 loss_iou: OptConfigType = None,
                 seed_points: bool = True,
                 point_seed: int = 0,
                 shared_points: bool = False,
                 edge_share: float = 0.0,
                 soft_labels: bool = False,
                 one_to_many: int = 1,
                 mask_piloted: int | None = None,
                 pilot_noise: float = 0.2,
                 query_grids: Sequence[int] | None = None,
                 score_power: float = 0.0,
                 xavier_init: bool = True,
                 **kwargs: Any) -> None:
        if (num_things_classes, num_stuff_classes) != (1, 0):
            raise ValueError(
                'EntityMask2FormerHead has one class, entity: '
                'num_things_classes must be 1 and num_stuff_classes 0, got '
                f'{num_things_classes} and {num_stuff_classes}')
        if not 0 <= edge_share <= 1 or (edge_share and not shared_points):
            raise ValueError(
                'edge_share must be in [0, 1], and 0 without shared_points, '
                f'got {edge_share}')
        for name, value in dict(soft_labels=soft_labels,
                                loss_iou=loss_iou).items():
            if value and not shared_points:
                raise ValueError(f'{name} needs shared_points: uncertain '
                                 'points say little about the IoU of a mask')
        if one_to_many < 1 or (one_to_many > 1 and not shared_points):
            raise ValueError('one_to_many must be at least 1, and 1 without '
                             f'shared_points, got {one_to_many}')
        if mask_piloted is not None and (
                type(mask_piloted) is not int or mask_piloted < 0
                or (mask_piloted and not shared_points)):
            raise ValueError(
                'mask_piloted must be a whole number of queries, and 0 or '
                f'None without shared_points, got {mask_piloted!r}')
        if not 0 <= pilot_noise <= 1:
            raise ValueError(
                f'pilot_noise must be in [0, 1], got {pilot_noise}')
        if not 0 <= score_power < math.inf:
            raise ValueError('score_power must be 0 or more, and finite, got '
                             f'{score_power}')
        # mmdet's head takes any keyword, and would train on with a misspelt
        # one.
        known = inspect.signature(Mask2FormerHead.__init__).parameters
        # strides stands in mmdet's own configs, and nothing reads it.
        if unknown := sorted(kwargs.keys() - known.keys() - {'strides'}):
            raise TypeError('EntityMask2FormerHead got unexpected keyword '
                            f'arguments: {", ".join(unknown)}')
        super().__init__(
            in_channels,
            feat_channels,
            out_channels,
            num_things_classes=1,
            num_stuff_classes=0,
            pixel_decoder=with_levels(
                in_float32(pixel_decoder),
                kwargs.get('num_transformer_feat_level', 3)),
            loss_cls=ConfigDict(loss_cls),
            **kwargs)
        for module in self.transformer_decoder.modules():
            if isinstance(module, MultiheadAttention):
                module.attn = MaskedAttention.of(module.attn)
        self.grid_queries = None
        if query_grids is not None:
            self.grid_queries = GridQueries(
                query_grids, self.num_queries, feat_channels,
                self.decoder_positional_encoding)
            # Weights that nothing reads would stop a distributed run.
            del self.query_feat, self.query_embed
        self.loss_ancestor = None
        if loss_ancestor is not None:
            self.ancestor_head = AncestorHead(self.decoder_embed_dims)
            self.loss_ancestor = MODELS.build(loss_ancestor)
        self.loss_iou = None
        if loss_iou is not None:
            self.iou_head = MaskIoUHead(self.decoder_embed_dims)
            self.loss_iou = MODELS.build(loss_iou)
        self.seed_points = seed_points
        self.point_seed = point_seed
        self.shared_points = shared_points
        self.edge_share = edge_share
        self.soft_labels = soft_labels
        self.one_to_many = one_to_many
        self.mask_piloted = mask_piloted
        self.pilot_noise = pilot_noise
        if mask_piloted:
            self.pilot_query_feat = nn.Embedding(1, feat_channels)
        self.score_power = score_power
        self.xavier_init = xavier_init
        # (B, P, 2) while a loss is computed at shared points
        self._points: Tensor | None = None
        # While the loss of a training step is computed
        self._pilots: PilotedQueries | None = None
        self.register_buffer('point_step', torch.tensor(0))

    def init_weights(self) -> None:
        """As mmdet's, but for the decoder without ``xavier_init``."""
        start = None if self.xavier_init else copy.deepcopy(
            self.transformer_decoder.state_dict())
        super().init_weights()
        if start is not None:
            self.transformer_decoder.load_state_dict(start)

    def loss(self, x: tuple[Tensor, ...],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of every decoder layer.

        Args:
            x: Feature maps, largest first, each (B, C, h, w).
            batch_data_samples: With ``gt_instances`` of ``labels`` (all 0),
                ``masks`` (:class:`BitMasks`, or what mmdet has instead) and
                ``ancestors`` ((N, N) bool; found by coverage where absent);
                ``scores`` (N,) for ``score_power``, 1 where absent.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice``, ``loss_ancestor``
            and ``loss_iou`` of the last layer, ``d0.loss_cls`` and so on of
            those before. With ``mask_piloted`` also ``mp_loss_cls``,
            ``mp_loss_mask`` and ``mp_loss_dice`` of the extra queries, and
            ``d1.mp_loss_cls`` and so on.

        Raises:
            ValueError: Ground truths that do not fit, see
                :func:`entity_targets`.
        """
        instances = [
            entity_targets(sample, x[0].device)
            for sample in batch_data_samples
        ]
        metas = [sample.metainfo for sample in batch_data_samples]
        try:
            if self.shared_points:
                self._points = self._draw_points(instances, metas)
            if self.mask_piloted and self.training:
                self._pilots = self._draw_pilots(instances, metas,
                                                 x[0].shape[-2:])
            predictions = self(x, batch_data_samples)
            losses = self.loss_by_feat(*predictions, instances, metas)
            if self._pilots is not None:
                losses.update(self._pilot_losses(self._pilots, instances))
        finally:
            self._points = self._pilots = None
        if self.training:
            self.point_step += 1
        return losses

    def loss_by_feat(self, all_cls_scores: list[Tensor],
                     all_mask_preds: list[Tensor],
                     all_ancestor_preds: list[Tensor],
                     batch_gt_instances: InstanceList,
                     batch_img_metas: list[dict]) -> dict[str, Tensor]:
        """Losses from what :meth:`forward` gave, in float32 under AMP too.

        Args:
            all_cls_scores: (B, Q, 2) of each layer.
            all_mask_preds: (B, Q, h, w) of each layer.
            all_ancestor_preds: (B, Q, Q) of each layer.
            batch_gt_instances: As :func:`entity_targets` gives them.
            batch_img_metas: With ``batch_input_shape``, ``img_id`` and
                perhaps ``no_object_weight``: how much the queries without a
                ground truth count, as no-object and in the IoU; 1.

        Returns:
            See :meth:`loss`.
        """
        if self.score_power:
            add_score_weights(batch_gt_instances, self.score_power)
        losses = {}
        last = len(all_cls_scores) - 1
        step = int(self.point_step)
        predictions = zip(all_cls_scores, all_mask_preds, all_ancestor_preds)
        with torch.autocast(all_cls_scores[0].device.type, enabled=False):
            for layer, layer_predictions in enumerate(predictions):
                metas = [
                    dict(meta, points=(self.point_seed, step, layer),
                         one_to_many=self.one_to_many if layer < last else 1)
                    for meta in batch_img_metas
                ]
                prefix = '' if layer == last else f'd{layer}.'
                layer_losses = self._loss_by_feat_single(
                    *layer_predictions, batch_gt_instances, metas)
                losses.update({
                    prefix + name: loss
                    for name, loss in layer_losses.items()
                })
        return losses

    def _loss_by_feat_single(
            self, cls_scores: Tensor, mask_preds: Tensor,
            ancestor_preds: Tensor, batch_gt_instances: InstanceList,
            batch_img_metas: list[dict]) -> dict[str, Tensor]:
        """Losses of one decoder layer; see :meth:`loss_by_feat`."""
        cls_scores, iou_logits = cls_scores.float().tensor_split([2], dim=-1)
        matched, at_points, num_masks = self._matched(
            cls_scores, mask_preds, batch_gt_instances, batch_img_metas)
        counts = torch.where(matched >= 0, 1.0, cls_scores.new_tensor(
            [[meta.get('no_object_weight', 1.0)] for meta in
             batch_img_metas]))
        losses = self._query_losses(
            cls_scores, mask_preds, matched, at_points, num_masks, counts,
            self._label_weights(matched, batch_gt_instances))
        if iou_logits.shape[-1]:
            losses['loss_iou'] = self.loss_iou(
                iou_logits[..., 0],
                torch.stack([
                    best_point_iou(masks, truths.point_targets)
                    for masks, truths in zip(mask_preds, batch_gt_instances)
                ]), counts)
        if self.loss_ancestor is not None:
            targets = torch.stack([
                ancestor_targets(each, truths.ancestors)
                for each, truths in zip(matched, batch_gt_instances)
            ])
            losses['loss_ancestor'] = self.loss_ancestor(
                ancestor_preds, targets, matched >= 0)
        return losses

    def _pilot_losses(
            self, pilots: PilotedQueries,
            batch_gt_instances: InstanceList) -> dict[str, Tensor]:
        """Losses of the extra queries, each with its own ground truth."""
        losses = {}
        real = pilots.truths >= 0
        targets = torch.cat([
            truths.point_targets[chosen[chosen >= 0]]
            for chosen, truths in zip(pilots.truths, batch_gt_instances)
        ])
        num_masks = real.sum(1).clamp(min=1).sum()
        weights = self._label_weights(pilots.truths, batch_gt_instances)
        last = len(pilots.predicted)
        with torch.autocast(real.device.type, enabled=False):
            for layer, (classes, masks) in enumerate(pilots.predicted, 1):
                prefix = 'mp_' if layer == last else f'd{layer}.mp_'
                layer_losses = self._query_losses(
                    classes.float(), masks, pilots.truths,
                    (masks[real].float(), targets), num_masks, real.float(),
                    weights)
                losses.update({
                    prefix + name: loss
                    for name, loss in layer_losses.items()
                })
        return losses
