"""Phase 3: a teacher and a student correct the pseudo-labels."""
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors import SemiBaseDetector
from mmdet.models.utils import rename_loss_dict, reweight_loss_dict
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.mask import BitmapMasks, mask2bbox
from mmdet.utils import (
    ConfigType,
    InstanceList,
    OptConfigType,
    reduce_mean,
)
from mmengine import ConfigDict
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import Tensor

from sohes.models.detectors.teacher_masks import (
    between_views,
    count_by_size,
    cut_off,
    dynamic_threshold,
    project_masks,
)
from sohes.registry import MODELS
from sohes.structures import EntityForest
from sohes.structures.bit_masks import BitMasks

_TRAIN_KEYS = {
    'freeze_teacher', 'sup_weight', 'unsup_weight', 'score_thr', 'min_area',
    'ancestors', 'no_object_weight', 'score_weight'
}


@MODELS.register_module()
class SelfCorrection(SemiBaseDetector):
    """Teacher and student that start as one model (SOHES, section 3.3).

    The student learns from the initial pseudo-labels of images I1 (branch
    'sup') and from what the teacher sees in a weak view of images I2
    ('unsup_teacher'), on the pixels of a strong view ('unsup_student').
    ``sohes.TeacherHook`` moves the teacher after the student. Validation and
    test ask the teacher.

    A checkpoint of Phase 2 as ``load_from`` is loaded into both; one of
    Phase 3 has both.

    Logged with the losses: ``teacher_threshold``, the mean over the
    teacher's masks, and ``teacher_small``, ``teacher_medium`` and
    ``teacher_large``, its masks per image that were believed, by COCO's
    sizes in pixels of the original images.

    Args:
        detector: Config of the ``sohes.EntityMask2Former``, or of a detector
            of mmdet with boxes and masks, such as Cascade Mask R-CNN (table
            8), which predicts and learns no relation.
        semi_train_cfg: Keys, all optional:

            - sup_weight, unsup_weight (float): Of the two losses; 1. At an
              ``unsup_weight`` of 0 neither teacher nor I2 is run.
            - score_thr (dict | float): A teacher's mask stays when its
              score is above it: ``gamma``, ``low`` and ``high`` of
              :func:`dynamic_threshold`, or one number for all masks.
            - min_area (int): Fewest pixels of a mask in the student's view;
              1.
            - ancestors (str): The relation that the teacher teaches:
              'pairs', as it predicts them, or 'closure', all masks above a
              mask in its tree. As the dataset's of I1; 'pairs'.
            - no_object_weight (float): How much the student's queries
              without a mask of the teacher's count, as no-object and in the
              IoU that the head expects, in [0, 1]. The paper's 1 teaches
              that whatever the teacher is not sure of is nothing; 0 leaves
              it open. Of our own head alone.
            - score_weight (float): Weight of the student's class loss and
              IoU loss on the teacher's masks, 0 or more; the paper's is 1.
              At 0 the student learns its scores from the initial
              pseudo-labels alone, and ``no_object_weight`` changes nothing.
            - freeze_teacher (bool): As in mmdet; True.
        semi_test_cfg: ``predict_on``, 'teacher' or 'student'.
        **kwargs: ``data_preprocessor``, a ``MultiBranchDataPreprocessor``,
            and ``init_cfg``.

    Raises:
        ValueError: An unknown key, or a value out of range.
    """
    #: Without a trained model there is nothing to correct.
    needs_load_from = True

    def __init__(self,
                 detector: ConfigType,
                 semi_train_cfg: OptConfigType = None,
                 semi_test_cfg: OptConfigType = None,
                 **kwargs: Any) -> None:
        options = ConfigDict(semi_train_cfg or {})
        if unknown := sorted(options.keys() - _TRAIN_KEYS):
            raise ValueError(
                f'semi_train_cfg: expected {", ".join(sorted(_TRAIN_KEYS))}, '
                f'found {", ".join(unknown)}')
        super().__init__(
            detector,
            semi_train_cfg=options,
            semi_test_cfg=ConfigDict(semi_test_cfg or {}),
            **kwargs)
        self.score_thr = options.get('score_thr', {})
        self.min_area = options.get('min_area', 1)
        self._thresholds(torch.zeros(1))  # a mistake is found at once
        self.ancestors = options.get('ancestors', 'pairs')
        if self.ancestors not in ('pairs', 'closure'):
            raise ValueError("ancestors must be 'pairs' or 'closure', got "
                             f'{self.ancestors!r}')
        self.no_object_weight = options.get('no_object_weight', 1.0)
        if not 0 <= self.no_object_weight <= 1:
            raise ValueError('no_object_weight must be in [0, 1], got '
                             f'{self.no_object_weight}')
        self.score_weight = options.get('score_weight', 1.0)
        if not self.score_weight >= 0:
            raise ValueError('score_weight must be 0 or more, got '
                             f'{self.score_weight}')
        self.pseudo_label_head = None
        if 'panoptic_fusion_head' in detector:
            # The teacher's own may be told to give RLEs.
            test_cfg = {**(detector.get('test_cfg') or {}),
                        'mask_format': 'tensor', 'with_ancestors': True}
            self.pseudo_label_head = MODELS.build(
                {**detector['panoptic_fusion_head'], 'test_cfg': test_cfg})
        self._said: set[str] = set()

    def train(self, mode: bool = True) -> 'SelfCorrection':
        """As ever, but the teacher stays as it predicts."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, multi_batch_inputs: dict[str, Tensor],
             multi_batch_data_samples: dict[str, SampleList]) -> dict:
        """The losses of both streams (equation 2).

        Args:
            multi_batch_inputs: (B, 3, H, W) normalised images of each
                branch.
            multi_batch_data_samples: B samples of each branch; those of
                'sup' with ground truths, the others with
                ``homography_matrix``.

        Returns:
            The student's losses, once with the prefix 'sup_' and once with
            'unsup_', and what is logged of the teacher.
        """
        if not self.semi_train_cfg.get('unsup_weight', 1.):
            return self.loss_by_gt_instances(
                multi_batch_inputs['sup'], multi_batch_data_samples['sup'])
        return super().loss(multi_batch_inputs, multi_batch_data_samples)

    @torch.no_grad()
    def get_pseudo_instances(
            self, batch_inputs: Tensor,
            batch_data_samples: SampleList) -> tuple[SampleList, dict]:
        """What the teacher sees and is believed.

        Args:
            batch_inputs: (B, 3, H, W) weak views.
            batch_data_samples: B, with ``img_shape`` and ``ori_shape``.

        Returns:
            The samples, with ``gt_instances`` of ``masks`` (n, H, W) bool at
            ``img_shape`` and their ``forest``, and the numbers to log.
        """
        predictions = self._predictions(batch_inputs, batch_data_samples)
        # Sum of thresholds, masks predicted, small, medium, large ones kept.
        totals = batch_inputs.new_zeros(5, dtype=torch.float32)
        for sample, seen in zip(batch_data_samples, predictions):
            share = (seen.masks.flatten(1).float().mean(1) *
                     _share_in_view(sample))
            thresholds = self._thresholds(share)
            keep = (seen.scores > thresholds).nonzero()[:, 0]
            sample.gt_instances = _chosen(seen.masks, self._forest(seen),
                                          keep)
            height, width = sample.ori_shape[:2]
            totals[0] += thresholds.sum()
            totals[1] += len(seen)
            totals[2:] += count_by_size(share[keep] * height * width)
        totals = reduce_mean(totals)
        self._say_extremes(float(totals[1]), float(totals[2:].sum()))
        sizes = totals[2:] / len(batch_data_samples)
        return batch_data_samples, dict(
            teacher_threshold=totals[0] / totals[1].clamp(min=1),
            teacher_small=sizes[0],
            teacher_medium=sizes[1],
            teacher_large=sizes[2])

    def _predictions(self, batch_inputs: Tensor,
                     batch_data_samples: SampleList) -> InstanceList:
        """What the teacher predicts at ``img_shape``, masks as tensors."""
        teacher = self.teacher
        if self.pseudo_label_head is None:
            # mmdet takes a flipped image for one of several test-time views,
            # and would flip the masks back.
            samples = [
                DetDataSample(metainfo=dict(sample.metainfo, flip=False))
                for sample in batch_data_samples
            ]
            samples = teacher.predict(batch_inputs, samples, rescale=False)
            return [sample.pred_instances for sample in samples]
        return self.pseudo_label_head.predict(
            *teacher.raw_predictions(batch_inputs, batch_data_samples),
            batch_data_samples,
            rescale=False)

    @torch.no_grad()
    def project_pseudo_instances(self, batch_pseudo_instances: SampleList,
                                 batch_data_samples: SampleList) -> SampleList:
        """Put the teacher's masks and forest on the student's pixels.

        Masks that are not in the student's view are left out, and masks that
        the side of the teacher's view cuts where the student sees on; their
        children hang from the nearest ancestor that stays.

        Args:
            batch_pseudo_instances: B, of :meth:`get_pseudo_instances`.
            batch_data_samples: B strong views of the same images.

        Returns:
            The latter, with ``gt_instances`` as ``sohes.PackEntityInputs``
            makes them, with ``bitmaps`` for a detector of mmdet.

        Raises:
            ValueError: A view without ``homography_matrix``; the image is
                named.
        """
        for weak, strong in zip(batch_pseudo_instances, batch_data_samples):
            seen = weak.gt_instances.masks
            source, target = _homography(weak), _homography(strong)
            size = tuple(strong.img_shape[:2])
            masks = project_masks(seen, between_views(source, target), size)
            whole = ~cut_off(seen, source, target, size, weak.ori_shape[:2])
            large = masks.sum((1, 2)) >= max(self.min_area, 1)
            keep = (whole & large).nonzero()[:, 0]
            kept = _chosen(masks, weak.gt_instances.forest, keep)
            strong.gt_instances = InstanceData(
                bboxes=mask2bbox(kept.masks), labels=torch.zeros_like(keep))
            if self.pseudo_label_head is None:
                strong.gt_instances.masks = BitmapMasks(
                    kept.masks.byte().cpu().numpy(), *strong.img_shape[:2])
                # Packed without boxes, which mmdet's assigner would ask for.
                strong.pop('ignored_instances', None)
            else:
                strong.gt_instances.masks = BitMasks.from_dense(kept.masks)
                strong.gt_instances.ancestors = torch.from_numpy(
                    kept.forest.ancestors.copy()).to(masks.device)
        return batch_data_samples

    def loss_by_pseudo_instances(self,
                                 batch_inputs: Tensor,
                                 batch_data_samples: SampleList,
                                 batch_info: dict | None = None) -> dict:
        """The student's losses by the teacher's masks.

        Where the teacher is sure of nothing, on all images of all
        processes, they count 0: that it says nothing does not mean that
        nothing is there.

        Args:
            batch_inputs: (B, 3, H, W) strong views.
            batch_data_samples: B, of :meth:`project_pseudo_instances`.
            batch_info: Of :meth:`get_pseudo_instances`.

        Returns:
            The losses with the prefix 'unsup_', and ``batch_info``.
        """
        for sample in batch_data_samples:
            sample.set_metainfo(dict(no_object_weight=self.no_object_weight))
        losses = self.student.loss(batch_inputs, batch_data_samples)
        losses.update(reweight_loss_dict(
            {name: loss for name, loss in losses.items()
             if name.split('.')[-1] in ('loss_cls', 'loss_iou')},
            self.score_weight))
        believed = sum(batch_info[f'teacher_{size}']
                       for size in ('small', 'medium', 'large'))
        weight = self.semi_train_cfg.get('unsup_weight', 1.) * (believed > 0)
        losses = rename_loss_dict('unsup_',
                                  reweight_loss_dict(losses, weight))
        return {**losses, **batch_info}

    def _forest(self, seen: InstanceData) -> EntityForest:
        """Of what the teacher sees, with the relation that is learnt."""
        if self.pseudo_label_head is None:
            return EntityForest(np.full(len(seen), -1))
        pairs = None
        if self.ancestors == 'pairs':
            pairs = np.argwhere(seen.ancestors.cpu().numpy())
        return EntityForest(seen.parents.cpu().numpy(), pairs)

    def _thresholds(self, area_share: Tensor) -> Tensor:
        """(n,) scores to exceed, of masks of (n,) shares of the image."""
        if isinstance(self.score_thr, Mapping):
            return dynamic_threshold(area_share, **self.score_thr)
        if not 0 <= self.score_thr <= 1:
            raise ValueError('score_thr must be a dict or a number in '
                             f'[0, 1], got {self.score_thr}')
        return torch.full_like(area_share, self.score_thr)

    def _say_extremes(self, predicted: float, kept: float) -> None:
        """Once each: that the teacher says nothing, or that all passes."""
        if not kept:
            self._say_once(
                'the teacher is sure of no mask in this batch: the student '
                'learns from the initial pseudo-labels alone here')
        elif kept == predicted:
            self._say_once(
                'every mask that the teacher predicts in this batch is above '
                'the threshold: none is filtered')

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            MMLogger.get_current_instance().warning(
                f'{message} (said once)')


def _chosen(masks: Tensor, forest: EntityForest,
            keep: Tensor) -> InstanceData:
    """Some masks and their forest.

    Args:
        masks: (n, H, W) bool.
        forest: Of the n.
        keep: (m,) int64, which.

    Returns:
        m ``masks`` and their ``forest``, see :meth:`EntityForest.subset`.
    """
    return InstanceData(
        masks=masks[keep], forest=forest.subset(keep.cpu().numpy()))


def _share_in_view(sample: DetDataSample) -> float:
    """How much of its photo an upright view shows; more than 1 if padded."""
    matrix = _homography(sample)
    across, down = abs(matrix[0, 0]), abs(matrix[1, 1])
    return float(np.prod(sample.img_shape[:2]) /
                 (across * down * np.prod(sample.ori_shape[:2])))


def _homography(sample: DetDataSample) -> Any:
    """(3, 3), from the original image to this view."""
    matrix = sample.metainfo.get('homography_matrix')
    if matrix is None:
        raise ValueError(
            f'a view of {sample.metainfo.get("img_path", "an image")} has no '
            'homography_matrix: both views need a Resize, RandomFlip or '
            "RandomCrop, and 'homography_matrix' among the meta_keys of "
            'sohes.PackEntityInputs')
    return matrix
