"""Mask2Former's head that also predicts who is part of whom."""
import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmcv.ops import point_sample
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.structures import SampleList
from mmdet.utils import (
    ConfigType,
    InstanceList,
    OptConfigType,
    reduce_mean,
)
from mmengine import ConfigDict
from torch import Tensor

from sohes.models.dense_heads.ancestor_head import (
    AncestorHead,
    ancestor_targets,
)
from sohes.models.dense_heads.entity_targets import (
    entity_targets,
    point_iou,
)
from sohes.models.dense_heads.float32_pixel_decoder import (
    in_float32,
    with_levels,
)
from sohes.models.dense_heads.mask_iou_head import (
    MaskIoUHead,
    best_point_iou,
)
from sohes.models.dense_heads.masked_attention import (
    MaskedAttention,
    outside_masks,
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
        **kwargs: Of ``mmdet.Mask2FormerHead``.

    Raises:
        TypeError: An unknown keyword.
        ValueError: More or other classes than one thing class are asked
            for, or ``soft_labels`` or ``loss_iou`` without
            ``shared_points``.
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
        # (B, P, 2) while a loss is computed at shared points
        self._points: Tensor | None = None
        self.register_buffer('point_step', torch.tensor(0))

    def forward(
        self,
        x: list[Tensor],
        batch_data_samples: SampleList | None = None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Runs pixel decoder and transformer decoder.

        As mmdet's, but what only says where the next layer may look is
        computed on the small grid that it is needed on: interpolation is
        linear, so the mask features shrink in place of each mask.

        Args:
            x: Feature maps, largest first, each (B, C, h, w).
            batch_data_samples: Not needed.

        Returns:
            Class logits (B, Q, 2), mask logits (B, Q, h, w) ((B, Q, P)
            while a loss is computed at shared points) and ancestor
            logits (B, Q, Q), of the learnt queries and of each decoder
            layer. Without an ancestor head the last are (B, Q, 0). With
            ``loss_iou`` the last layer's class logits are (B, Q, 3), the
            third that of the IoU.
        """
        layers = list(self._decoded(x, every_layer=True))
        return tuple(map(list, zip(*layers)))

    def _decoded(
            self, x: Sequence[Tensor],
            every_layer: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Class, mask and ancestor logits; of the last layer or of all."""
        features, memories = self.pixel_decoder(x)
        levels = [
            self._level(number, memories[number])
            for number in range(self.num_transformer_feat_level)
        ]
        at_points = None if self._points is None else point_sample(
            features.float(), self._points)

        @functools.cache
        def on_grid(size: torch.Size) -> Tensor:
            """What the mask features show on the grid of a level."""
            return F.interpolate(
                features.detach(), size, mode='bilinear', align_corners=False)

        queries, positions = (
            embedding.weight.expand(len(features), -1, -1)
            for embedding in (self.query_feat, self.query_embed))
        last = self.num_transformer_decoder_layers
        for number in range(last + 1):
            decoded = self.transformer_decoder.post_norm(queries)
            embed = self.mask_embed(decoded)
            level = number % self.num_transformer_feat_level
            memory = memories[level]
            # The masks as the next layer and the IoU head see them.
            coarse = torch.einsum('bqc,bchw->bqhw', embed.detach(),
                                  on_grid(memory.shape[-2:]))
            if every_layer or number == last:
                masks = torch.einsum(
                    'bqc,bchw->bqhw', embed, features
                ) if at_points is None else torch.einsum(
                    'bqc,bcp->bqp', embed, at_points)
                classes = self.cls_embed(decoded)
                if number == last and self.loss_iou is not None:
                    classes = torch.cat([
                        classes, self.iou_head(decoded.detach(), coarse,
                                               memory.detach())
                    ], -1)
                yield (classes, masks,
                       decoded.new_zeros(*decoded.shape[:2], 0)
                       if self.loss_ancestor is None else
                       self.ancestor_head(decoded))
            if number == last:
                return
            memory, places = levels[level]
            queries = self.transformer_decoder.layers[number](
                query=queries,
                key=memory,
                value=memory,
                query_pos=positions,
                key_pos=places,
                cross_attn_mask=outside_masks(coarse),
                query_key_padding_mask=None,
                key_padding_mask=None)

    def _level(self, number: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads of one map, and where: (B, h * w, C)."""
        mask = memory.new_zeros(
            (len(memory), *memory.shape[-2:]), dtype=torch.bool)
        projected = self.decoder_input_projs[number](memory)
        return (projected.flatten(2).transpose(1, 2) +
                self.level_embed.weight[number],
                self.decoder_positional_encoding(mask).flatten(2).transpose(
                    1, 2))

    def loss(self, x: tuple[Tensor, ...],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of every decoder layer.

        Args:
            x: Feature maps, largest first, each (B, C, h, w).
            batch_data_samples: With ``gt_instances`` of ``labels`` (all 0),
                ``masks`` (:class:`BitMasks`, or what mmdet has instead) and
                ``ancestors`` ((N, N) bool; found by coverage where absent).

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice``, ``loss_ancestor``
            and ``loss_iou`` of the last layer, ``d0.loss_cls`` and so on of
            those before.

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
            predictions = self(x, batch_data_samples)
            losses = self.loss_by_feat(*predictions, instances, metas)
        finally:
            self._points = None
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
            batch_img_metas: With ``batch_input_shape`` and ``img_id``.

        Returns:
            See :meth:`loss`.
        """
        losses = {}
        last = len(all_cls_scores) - 1
        step = int(self.point_step)
        predictions = zip(all_cls_scores, all_mask_preds, all_ancestor_preds)
        with torch.autocast(all_cls_scores[0].device.type, enabled=False):
            for layer, layer_predictions in enumerate(predictions):
                metas = [
                    dict(meta, points=(self.point_seed, step, layer))
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
        class_weight = cls_scores.new_tensor(self.class_weight)
        # (B, Q, 2): how much of each query is entity and how much no-object
        labels = F.one_hot((matched < 0).long(), len(class_weight)).float()
        if self.soft_labels:
            iou = point_iou(*at_points)
            labels[matched >= 0] = torch.stack([iou, 1 - iou], dim=1)
        # One exchange between the processes for both normalisers.
        weight_sum, num_masks = reduce_mean(
            torch.stack([
                (labels * class_weight).sum(),
                cls_scores.new_tensor(float(num_masks))
            ]))
        if len(at_points[0]):
            loss_mask, loss_dice = self._mask_losses(*at_points, num_masks)
        else:  # 0, but with a gradient
            loss_mask = loss_dice = mask_preds[matched >= 0].float().sum()
        losses = dict(
            loss_cls=self.loss_cls(
                cls_scores.flatten(0, 1),
                labels.flatten(0, 1),
                avg_factor=weight_sum),
            loss_mask=loss_mask,
            loss_dice=loss_dice)
        if iou_logits.shape[-1]:
            losses['loss_iou'] = self.loss_iou(
                iou_logits[..., 0],
                torch.stack([
                    best_point_iou(masks, truths.point_targets)
                    for masks, truths in zip(mask_preds, batch_gt_instances)
                ]))
        if self.loss_ancestor is not None:
            targets = torch.stack([
                ancestor_targets(each, truths.ancestors)
                for each, truths in zip(matched, batch_gt_instances)
            ])
            losses['loss_ancestor'] = self.loss_ancestor(
                ancestor_preds, targets, matched >= 0)
        return losses

    def predict(
            self, x: tuple[Tensor, ...], batch_data_samples: SampleList
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the last decoder layer says.

        The masks stay as small as they are: the fusion head enlarges those
        that it keeps, a few at a time.

        Args:
            x: Feature maps, largest first, each (B, C, h, w).
            batch_data_samples: Not needed.

        Returns:
            Class logits (B, Q, 2), mask logits (B, Q, h, w) and ancestor
            logits (B, Q, Q). With ``loss_iou`` the softmax of the former is
            the class probability times the expected IoU.
        """
        classes, masks, ancestors = next(self._decoded(x, every_layer=False))
        if self.loss_iou is not None:
            entity = classes[..., :2].float().softmax(-1)[..., 0]
            score = entity * classes[..., 2].float().sigmoid()
            classes = torch.stack([score, 1 - score], -1).log()
        return classes, masks, ancestors
