"""HASSOD's second stage: a mean teacher whose targets take over."""
import math
from typing import Any

import torch
from mmdet.models.detectors import SemiBaseDetector
from mmdet.models.utils import rename_loss_dict, reweight_loss_dict
from mmdet.structures import SampleList
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import ConfigType, OptConfigType
from mmengine import ConfigDict
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor

from sohes.registry import MODELS
from sohes.structures import EntityForest

_TRAIN_KEYS = {'freeze_teacher', 'score_thr', 'coverage'}


def adaptive_weights(progress: float) -> tuple[float, float]:
    """How much the pseudo-labels and the teacher count (HASSOD).

    Args:
        progress: share of the iterations that are done, in [0, 1].

    Returns:
        The weight of labelled images, from 1 down to 0 on a half cosine,
        and that of unlabelled ones, from 2 up to 3.
    """
    labelled = (1 + math.cos(math.pi * progress)) / 2
    return labelled, 3 - labelled


@MODELS.register_module()
class HassodMeanTeacher(SemiBaseDetector):
    """Teacher and student of HASSOD, with adaptive targets.

    The student learns from the labels of Phase 1, on a strong ('sup') and a
    weak ('sup_weak') view, and from the teacher's boxes on unlabelled
    images ('unsup_teacher', weak), which it sees in a strong view
    ('unsup_student'). A strong view has other colours than the weak one and
    the same pixels' places, so nothing has to be projected. The weights of
    the two change by :func:`adaptive_weights`. Masks are learnt from labels
    alone. Validation and test ask the student, unless told otherwise.

    ``sohes.TeacherHook`` moves the teacher. It predicts as it does at test:
    in HASSOD's code it is in training mode by mistake.

    Logged with the losses: ``labelled_weight``, ``unlabelled_weight``, and
    ``teacher_boxes``, those believed per image.

    Args:
        detector: Config of a detector with a ``sohes.LevelCascadeRoIHead``.
        semi_train_cfg: Keys, all optional:

            - score_thr (float): The teacher's boxes above it count; 0.7.
            - coverage (float): Of a part by its whole, when levels are
              found anew among the teacher's masks; 0.75.
            - freeze_teacher (bool): As in mmdet; True.
        semi_test_cfg: ``predict_on``, 'teacher' or 'student'.
        **kwargs: ``data_preprocessor``, a ``MultiBranchDataPreprocessor``,
            and ``init_cfg``.

    Raises:
        ValueError: An unknown key, or a value out of range.
    """
    #: Without a trained model the teacher has nothing to say.
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
            semi_test_cfg=ConfigDict(semi_test_cfg
                                     or dict(predict_on='student')),
            **kwargs)
        self.score_thr = options.get('score_thr', 0.7)
        self.coverage = options.get('coverage', 0.75)
        for name in ('score_thr', 'coverage'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must be in [0, 1], got '
                                 f'{getattr(self, name)}')

    def train(self, mode: bool = True) -> 'HassodMeanTeacher':
        """As ever, but the teacher stays as it predicts."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, multi_batch_inputs: dict[str, Tensor],
             multi_batch_data_samples: dict[str, SampleList]) -> dict:
        """The losses of both kinds of images.

        Args:
            multi_batch_inputs: (B, 3, H, W) normalised images of each
                branch.
            multi_batch_data_samples: B samples of each branch; 'sup' and
                'sup_weak' with labels.

        Returns:
            The student's losses, with the prefixes 'sup_', 'sup_weak_' and
            'unsup_', and what is logged.
        """
        labelled, unlabelled = adaptive_weights(_progress())
        losses = {}
        # Half each: HASSOD takes the two views for one batch.
        for branch in ('sup', 'sup_weak'):
            found = self.student.loss(multi_batch_inputs[branch],
                                      multi_batch_data_samples[branch])
            losses.update(rename_loss_dict(
                f'{branch}_', reweight_loss_dict(found, labelled / 2)))
        samples, info = self.get_pseudo_instances(
            multi_batch_inputs['unsup_teacher'],
            multi_batch_data_samples['unsup_teacher'])
        for weak, strong in zip(samples,
                                multi_batch_data_samples['unsup_student']):
            strong.gt_instances = weak.gt_instances
            # mmdet asks for the boxes of ignored labels, too.
            strong.ignored_instances = InstanceData(
                bboxes=weak.gt_instances.bboxes[:0])
        found = self.student.loss(multi_batch_inputs['unsup_student'],
                                  multi_batch_data_samples['unsup_student'])
        losses.update(rename_loss_dict('unsup_', {
            name: reweight_loss_dict(
                {name: value},
                0. if 'loss_mask' in name else unlabelled)[name]
            for name, value in found.items()
        }))
        device = multi_batch_inputs['sup'].device
        return {
            **losses, **info,
            'labelled_weight': torch.tensor(labelled, device=device),
            'unlabelled_weight': torch.tensor(unlabelled, device=device)
        }

    @torch.no_grad()
    def get_pseudo_instances(
            self, batch_inputs: Tensor,
            batch_data_samples: SampleList) -> tuple[SampleList, dict]:
        """What the teacher sees and is believed.

        Args:
            batch_inputs: (B, 3, H, W) weak views.
            batch_data_samples: B, of these.

        Returns:
            The samples, with ``gt_instances`` of ``bboxes`` (n, 4),
            ``labels`` (n,), ``levels`` (n,) found among the masks, and
            ``masks`` at ``img_shape``; and ``teacher_boxes``, to log.
        """
        samples = self.teacher.predict(batch_inputs, batch_data_samples,
                                       rescale=False)
        count = 0
        for sample in samples:
            seen = sample.pred_instances
            sample.gt_instances = believed(
                InstanceData(bboxes=seen.bboxes, scores=seen.scores,
                             labels=seen.labels, masks=seen.masks),
                self.score_thr, self.coverage)
            count += len(sample.gt_instances)
        return samples, dict(teacher_boxes=batch_inputs.new_tensor(
            count / len(samples)))


def believed(seen: InstanceData, score_thr: float,
             coverage: float) -> InstanceData:
    """A teacher's sure predictions as labels of a view.

    Args:
        seen: ``bboxes`` (n, 4), ``scores`` (n,), ``labels`` (n,) and
            ``masks`` (n, H, W) bool.
        score_thr: Scores strictly above it count.
        coverage: See :meth:`EntityForest.from_masks`.

    Returns:
        Of those that count ``bboxes``, ``labels``, ``levels`` and ``masks``.
    """
    sure = seen[seen.scores > score_thr]
    masks = sure.masks.cpu().numpy().astype(bool)
    levels = EntityForest.from_masks(masks, coverage).levels()
    return InstanceData(
        bboxes=sure.bboxes,
        labels=sure.labels,
        levels=torch.as_tensor(levels, device=sure.labels.device),
        masks=BitmapMasks(masks.astype('uint8'), *masks.shape[1:]))


def _progress() -> float:
    """Share of the run's iterations that are done, in [0, 1]."""
    hub = MessageHub.get_current_instance()
    return hub.get_info('iter', 0) / max(hub.get_info('max_iters', 1), 1)
