"""A head small enough for a test, features and ground truths for it."""
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine import ConfigDict
from mmengine.structures import InstanceData

from sohes.registry import MODELS
from sohes.structures import EntityForest
from sohes.structures.bit_masks import BitMasks

CHANNELS = 16


def head_config(queries: int = 6,
                layers: int = 2,
                channels: int = CHANNELS,
                points: int = 64,
                **changes: Any) -> ConfigDict:
    """The paper's head, with every size made small."""
    attention = dict(
        embed_dims=channels, num_heads=2, dropout=0.0, batch_first=True)
    feed_forward = dict(
        embed_dims=channels,
        feedforward_channels=2 * channels,
        num_fcs=2,
        ffn_drop=0.0,
        act_cfg=dict(type='ReLU', inplace=True))
    position = dict(num_feats=channels // 2, normalize=True)
    config = dict(
        type='sohes.EntityMask2FormerHead',
        in_channels=[channels] * 4,
        feat_channels=channels,
        out_channels=channels,
        num_queries=queries,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=4),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(
                    self_attn_cfg=dict(
                        embed_dims=channels,
                        num_heads=2,
                        num_levels=3,
                        num_points=2,
                        dropout=0.0,
                        batch_first=True),
                    ffn_cfg=feed_forward)),
            positional_encoding=position),
        positional_encoding=position,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=layers,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=feed_forward),
            init_cfg=None),
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            reduction='mean',
            class_weight=[1.0, 0.1]),
        loss_mask=dict(
            type='mmdet.CrossEntropyLoss',
            use_sigmoid=True,
            reduction='mean',
            loss_weight=5.0),
        loss_dice=dict(
            type='mmdet.DiceLoss',
            use_sigmoid=True,
            activate=True,
            reduction='mean',
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0),
        train_cfg=train_config(points))
    return ConfigDict({**config, **changes})


def train_config(points: int = 64) -> ConfigDict:
    """Matching and sampling as in mmdet's own config."""
    return ConfigDict(
        num_points=points,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type='mmdet.HungarianAssigner',
            match_costs=[
                dict(type='mmdet.ClassificationCost', weight=2.0),
                dict(
                    type='mmdet.CrossEntropyLossCost',
                    weight=5.0,
                    use_sigmoid=True),
                dict(
                    type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0)
            ]),
        sampler=dict(type='mmdet.MaskPseudoSampler'))


def build_head(seed: int = 0, **changes: Any) -> torch.nn.Module:
    """Weights from numpy: the same numbers with every release of torch."""
    head = MODELS.build(head_config(**changes))
    fill(head, seed)
    return head


def fill(module: torch.nn.Module, seed: int = 0) -> None:
    """Every parameter from numpy's generator, by name."""
    for name, parameter in sorted(module.named_parameters()):
        rng = np.random.default_rng([seed, *name.encode()])
        values = rng.normal(size=parameter.shape) * 0.3
        if 'norm' in name and name.endswith('weight'):
            values += 1
        parameter.data.copy_(torch.from_numpy(values))


def features(batch: int = 2,
             size: tuple[int, int] = (64, 96),
             channels: int = CHANNELS,
             seed: int = 0) -> list[torch.Tensor]:
    """Maps at strides 4, 8, 16 and 32, image by image from numpy."""
    return [
        torch.stack([
            torch.from_numpy(
                np.random.default_rng([seed, image, stride]).normal(
                    size=(channels, -(-size[0] // stride),
                          -(-size[1] // stride)))).float()
            for image in range(batch)
        ]) for stride in (4, 8, 16, 32)
    ]


def boxes_of(*boxes: tuple[int, int, int, int],
             size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """(N, H, W) bool masks, filled from (x1, y1) up to (x2, y2)."""
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    return masks


def sample_of(masks: np.ndarray,
              img_id: int = 0,
              padded: tuple[int, int] | None = None) -> DetDataSample:
    """An image's ground truth, as the pipeline packs it."""
    size = masks.shape[1:]
    forest = EntityForest.from_masks(masks)
    return DetDataSample(
        gt_instances=InstanceData(
            labels=torch.zeros(len(masks), dtype=torch.long),
            masks=BitMasks.from_dense(masks),
            ancestors=torch.tensor(forest.ancestors)),
        metainfo=dict(
            img_id=img_id,
            img_path=f'{img_id}.jpg',
            img_shape=size,
            ori_shape=size,
            batch_input_shape=padded or size))


#: A whole with a part and its part, another whole.
NESTED = ((8, 8, 60, 60), (16, 16, 50, 50), (20, 24, 32, 40),
          (64, 4, 92, 40))


#: Boxes of an image with few entities.
FEW = [(0, 0, 30, 64), (40, 8, 90, 50)]


def two_samples() -> list[DetDataSample]:
    """An image of nested entities, and one of few."""
    return [sample_of(boxes_of(*NESTED)), sample_of(boxes_of(*FEW), 1)]


def values(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    """Losses as numbers."""
    return {name: loss.item() for name, loss in losses.items()}


def gradients(head: torch.nn.Module, losses: dict) -> dict[str, Any]:
    """The gradient of each parameter, of the sum of some losses."""
    head.zero_grad()
    sum(losses.values()).backward()
    return {name: p.grad.clone() for name, p in head.named_parameters()}


class Exchange:
    """Lets parts of a batch, one after the other, reduce as processes do.

    Stands in for ``reduce_mean``: the first ``known`` calls answer with the
    average of what was noted in the round before, all others only note.
    """

    def __init__(self) -> None:
        self.noted: dict[tuple[int, int], torch.Tensor] = {}
        self.rank, self.call, self.known = 0, 0, 0

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        self.call += 1
        if self.call > self.known:
            self.noted[self.rank, self.call] = tensor.detach().clone()
            return tensor
        return (self.noted[0, self.call] + self.noted[1, self.call]) / 2
