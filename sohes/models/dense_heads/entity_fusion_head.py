"""From logits to scored masks and their forest."""
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.structures import SampleList
from mmdet.structures.mask import mask2bbox
from mmdet.utils import InstanceList, OptConfigType
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torch import Tensor

from sohes.models.dense_heads.mask_refinement import checked_refiner
from sohes.models.views import mask_areas, view_boxes
from sohes.registry import MODELS
from sohes.structures import EntityForest


@MODELS.register_module()
class EntityFusionHead(MaskFormerFusionHead):
    """Inference of the entity head: masks, scores and parents.

    A mask is where its logits are above 0; its score is its class
    probability times the mean mask probability inside it. The forest is
    built from the ancestor scores by topological sorting (SOHES, section
    3.2): always a forest.

    Args:
        test_cfg: Keys, all optional:

            - max_per_image (int): At most so many masks, the surest; 1000.
            - min_area (int): Masks of fewer pixels are dropped; 1.
            - nms_iou_thr (float | None): Of two masks with a greater IoU,
              measured on the logits' own grid, the lower score goes. None,
              the default, keeps duplicates.
            - ancestor_thr (float): Ancestor scores above it are relations;
              0.5.
            - coverage (float): theta_cover, for a head without ancestor
              prediction; 0.9.
            - zooms (list[float]): :class:`EntityMask2Former` looks at the
              photo once a zoom; see :func:`view_boxes`. None, the default:
              once, as it is.
            - view_size (int): Side of each view in pixels; with ``zooms``.
            - max_candidates (int): Of all views so many masks, the surest,
              are compared; 1500.
            - choose (str): Which ``max_per_image`` masks stay. 'surest', the
              default: those of the highest scores. 'recall', with
              ``zooms``: those of :func:`expected_recall`.
            - refiner (dict): Phase 1's refiner, on the masks that stay;
              'localcrf', with ``zooms``. None, the default: as predicted.
            - refiner_cells (int): Side of the grid over a view that the
              refiner starts from; 37, as many as Phase 1's patches at 518.
            - mask_format (str): 'tensor', the default, or 'rle'.
            - with_ancestors (bool): Predict ``ancestors`` beside
              ``parents``, for Phase 3; False.
            - chunk_pixels (int): Masks are enlarged so many pixels at a
              time; 2**24, some 300 MB.
        **kwargs: Of ``mmdet.MaskFormerFusionHead``.

    Raises:
        ValueError: ``mask_format`` is another, ``zooms``, ``choose`` or
            ``refiner`` cannot be, or panoptic or semantic
            output is asked for.
    """

    def __init__(self,
                 *,
                 num_things_classes: int = 1,
                 num_stuff_classes: int = 0,
                 test_cfg: OptConfigType = None,
                 **kwargs: Any) -> None:
        super().__init__(
            num_things_classes=num_things_classes,
            num_stuff_classes=num_stuff_classes,
            test_cfg=test_cfg,
            **kwargs)
        options = test_cfg or {}
        if options.get('panoptic_on') or options.get('semantic_on'):
            raise ValueError(
                'entities overlap their parts, so there is no panoptic or '
                'semantic output: leave panoptic_on and semantic_on out of '
                'test_cfg')
        self.max_per_image = options.get('max_per_image', 1000)
        self.min_area = options.get('min_area', 1)
        self.nms_iou_thr = options.get('nms_iou_thr')
        self.ancestor_thr = options.get('ancestor_thr', 0.5)
        self.coverage = options.get('coverage', 0.9)
        self.zooms = options.get('zooms')
        self.view_size = options.get('view_size')
        self.max_candidates = options.get('max_candidates', 1500)
        self.choose = options.get('choose', 'surest')
        self.refiner = options.get('refiner')
        self.refiner_cells = options.get('refiner_cells', 37)
        self.mask_format = options.get('mask_format', 'tensor')
        self.with_ancestors = options.get('with_ancestors', False)
        self.chunk_pixels = options.get('chunk_pixels', 2**24)
        if self.zooms is not None:
            view_boxes(self.zooms)  # or a sentence
            if not self.view_size:
                raise ValueError(
                    'zooms in test_cfg needs view_size, the side of the '
                    'views in pixels')
        if self.choose not in ('surest', 'recall'):
            raise ValueError("choose in test_cfg must be 'surest' or "
                             f"'recall', got {self.choose!r}")
        if self.choose == 'recall' and self.zooms is None:
            raise ValueError("choose='recall' in test_cfg needs zooms; "
                             'zooms=[1] is the whole photo alone')
        if self.refiner is not None:
            if self.zooms is None:
                raise ValueError('refiner in test_cfg needs zooms; zooms=[1] '
                                 'is the whole photo alone')
            self.refiner = checked_refiner(self.refiner)
        if self.mask_format not in ('tensor', 'rle'):
            raise ValueError("mask_format in test_cfg must be 'tensor' or "
                             f"'rle', got {self.mask_format!r}")

    @torch.no_grad()
    def predict(self,
                mask_cls_results: Tensor,
                mask_pred_results: Tensor,
                ancestor_results: Tensor,
                batch_data_samples: SampleList,
                rescale: bool = True) -> InstanceList:
        """Predicts the entities of every image.

        Args:
            mask_cls_results: (B, Q, 2) logits.
            mask_pred_results: (B, Q, h, w) logits over the padded batch.
            ancestor_results: (B, Q, Q) logits, [i, j]: i is an ancestor of
                j. (B, Q, 0) of a head that does not say: the forest is
                then found by coverage, as in Phase 1.
            batch_data_samples: B, with ``batch_input_shape``,
                ``img_shape`` and ``ori_shape``.
            rescale: Masks at ``ori_shape``; else at ``img_shape``.

        Returns:
            For each image n entities, surest first: ``scores`` (n,) in
            [0, 1], ``labels`` (n,) zeros, ``bboxes`` (n, 4) as x1, y1, x2,
            y2 in pixels, ``masks`` (n, H, W) bool or n COCO RLEs,
            ``parents`` (n,) int64, -1 for a root. With ``with_ancestors``
            also ``ancestors`` (n, n) bool, the predicted relation without
            its cycles: whoever indexes must index both dimensions.
        """
        outputs = zip(mask_cls_results.float(), mask_pred_results,
                      ancestor_results.float())
        return [
            self._predict_single(*output, sample.metainfo, rescale)
            for output, sample in zip(outputs, batch_data_samples)
        ]

    def _predict_single(self, cls_scores: Tensor, mask_logits: Tensor,
                        ancestor_logits: Tensor, meta: dict,
                        rescale: bool) -> InstanceData:
        """The entities of one image; see :meth:`predict`."""
        probabilities = cls_scores.softmax(-1)[:, 0]
        # Not topk, which puts equal ones in any order.
        queries = probabilities.argsort(
            descending=True, stable=True)[:self.max_per_image]
        size = tuple(meta['ori_shape' if rescale else 'img_shape'][:2])
        chunk = max(1, self.chunk_pixels // (size[0] * size[1]))
        quality, areas, boxes, masks = zip(*[
            self._masks_of(mask_logits[some], meta, size)
            for some in queries.split(chunk)
        ])
        areas = torch.cat(areas)
        scores = probabilities[queries] * torch.cat(quality)
        order = scores.argsort(descending=True, stable=True)
        order = order[areas[order] >= max(self.min_area, 1)]
        if self.nms_iou_thr is not None:
            inside = self._without_padding(mask_logits[queries[order]], meta)
            order = order[_distinct(inside > 0, self.nms_iou_thr)]
        queries = queries[order]
        if self.mask_format == 'rle':
            every = [rle for some in masks for rle in some]
            kept: Any = [every[index] for index in order.tolist()]
        else:
            kept = torch.cat(masks)[order]
        if ancestor_logits.shape[-1]:
            relations = ancestor_logits[queries[:, None], queries].sigmoid()
            forest = EntityForest.from_ancestor_scores(
                relations.cpu().numpy(), self.ancestor_thr)
        else:
            forest = EntityForest.from_masks(
                kept if self.mask_format == 'rle' else kept.cpu().numpy(),
                self.coverage)
        found = InstanceData(
            scores=scores[order],
            labels=torch.zeros_like(order),
            bboxes=torch.cat(boxes)[order],
            masks=kept,
            parents=torch.tensor(forest.parents, device=order.device))
        if self.with_ancestors:
            found.ancestors = torch.tensor(
                forest.ancestors, device=order.device)
        return found

    def _masks_of(
        self, logits: Tensor, meta: dict, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Enlarges some masks.

        Args:
            logits: (n, h, w) over the padded batch.
            meta: With ``batch_input_shape`` and ``img_shape``.
            size: (H, W) of the masks wanted.

        Returns:
            (n,) mean probability inside, (n,) area in pixels, (n, 4) boxes,
            and the masks, (n, H, W) bool or n RLEs.
        """
        height, width = meta['img_shape'][:2]
        full = F.interpolate(
            logits[None].float(),
            meta['batch_input_shape'],
            mode='bilinear',
            align_corners=False)[..., :height, :width]
        if size != (height, width):
            full = F.interpolate(
                full, size, mode='bilinear', align_corners=False)
        full = full[0]
        masks = full > 0
        areas = mask_areas(masks)
        inside = full.sigmoid_().mul_(masks).sum((1, 2))
        # As bytes, whose any() is ten times as fast on a CPU.
        boxes = mask2bbox(masks.view(torch.uint8))
        quality = inside / areas.clamp(min=1)
        return (quality, areas, boxes,
                self.encoded(masks))

    def encoded(self, masks: Tensor) -> Any:
        """(n, H, W) bool masks in the format asked for."""
        return _encode(masks) if self.mask_format == 'rle' else masks

    @staticmethod
    def _without_padding(logits: Tensor, meta: dict) -> Tensor:
        """The cells of (n, h, w) logits that lie in the image."""
        shape = logits.shape[-2:]
        height, width = (
            -(-cells * side // whole) for cells, side, whole in zip(
                shape, meta['img_shape'], meta['batch_input_shape']))
        return logits[:, :height, :width]


def _encode(masks: Tensor) -> list[dict]:
    """COCO RLEs of (n, H, W) bool masks."""
    # pycocotools wants (H, W, n) with columns first in memory.
    pixels = masks.byte().transpose(1, 2).contiguous().cpu().numpy()
    return coco_mask.encode(pixels.transpose(2, 1, 0))


def _distinct(masks: Tensor, threshold: float) -> Tensor:
    """Greedy removal of duplicates.

    Args:
        masks: (n, h, w) bool, best first.
        threshold: A mask goes when its IoU with a better one that stays is
            above it.

    Returns:
        The indices that stay, rising.
    """
    flat = masks.flatten(1).float()
    shared = flat @ flat.T
    areas = shared.diagonal()
    union = areas[:, None] + areas - shared
    duplicates = (shared > threshold * union).cpu().numpy()
    keep = np.ones(len(masks), bool)
    for index in range(len(masks)):
        if keep[index]:
            keep[index + 1:] &= ~duplicates[index, index + 1:]
    return torch.from_numpy(np.flatnonzero(keep)).to(masks.device)
