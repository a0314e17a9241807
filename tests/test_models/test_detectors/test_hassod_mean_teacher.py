"""HASSOD's adaptive targets: the schedule, the weights, the levels."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from sohes.models.detectors.hassod_mean_teacher import (
    HassodMeanTeacher,
    adaptive_weights,
    believed,
)


@pytest.mark.parametrize('progress, labelled, unlabelled', [
    (0.0, 1.0, 2.0), (0.5, 0.5, 2.5), (1.0, 0.0, 3.0),
    (0.25, 0.85355339, 2.14644661)])
def test_the_schedule_at_both_ends_and_in_the_middle(progress, labelled,
                                                     unlabelled):
    assert adaptive_weights(progress) == pytest.approx(
        (labelled, unlabelled))


@pytest.fixture
def hub():
    """The message hub that a runner would fill."""
    hub = MessageHub.get_current_instance()
    before = dict(hub.runtime_info)
    yield hub
    hub.runtime_info.clear()
    hub.runtime_info.update(before)


def test_losses_are_weighted_by_the_iteration_and_masks_of_it_are_off(hub):
    hub.update_info('iter', 1000)
    hub.update_info('max_iters', 2000)
    seen = []

    def loss(inputs, samples):
        seen.append(samples)
        return {'s0.loss_cls': torch.tensor(1.), 's0.acc': torch.tensor(7.),
                's0.loss_mask': torch.tensor(1.), 'loss_rpn': [
                    torch.tensor(1.), torch.tensor(3.)]}

    labels = InstanceData(bboxes=torch.zeros(1, 4))
    weak, strong = SimpleNamespace(gt_instances=labels), SimpleNamespace()
    teacher = SimpleNamespace(
        student=SimpleNamespace(loss=loss),
        get_pseudo_instances=lambda inputs, samples: (
            samples, dict(teacher_boxes=torch.tensor(1.))))
    branches = ('sup', 'sup_weak', 'unsup_teacher', 'unsup_student')
    found = HassodMeanTeacher.loss(
        teacher, {name: torch.zeros(1, 3, 8, 8) for name in branches},
        dict(sup=['a'], sup_weak=['b'], unsup_teacher=[weak],
             unsup_student=[strong]))
    assert seen == [['a'], ['b'], [strong]]
    assert strong.gt_instances is labels  # on the student's pixels as it is
    for name in ('sup_', 'sup_weak_'):  # 0.5, half of it each
        assert found[f'{name}s0.loss_cls'] == 0.25
        assert found[f'{name}s0.loss_mask'] == 0.25
        assert found[f'{name}s0.acc'] == 7
    assert found['unsup_s0.loss_cls'] == 2.5
    assert [float(value) for value in found['unsup_loss_rpn']] == [2.5, 7.5]
    assert found['unsup_s0.loss_mask'] == 0
    assert (found['labelled_weight'], found['unlabelled_weight']) == (0.5,
                                                                      2.5)


def test_levels_are_found_anew_among_the_masks_that_are_believed():
    masks = torch.zeros(4, 20, 20, dtype=torch.bool)
    masks[0, :, :16] = True  # the whole
    masks[1, :8, :10] = True  # its part
    masks[2, :4, 2:12] = True  # 32 of its 40 pixels in the part: 0.8
    masks[3] = True  # all, but the teacher is not sure
    seen = InstanceData(
        bboxes=torch.arange(16.).reshape(4, 4), masks=masks,
        scores=torch.tensor([0.9, 0.8, 0.71, 0.7]),
        labels=torch.zeros(4, dtype=torch.int64))
    found = believed(seen, 0.7, 0.75)
    assert found.levels.tolist() == [0, 1, 2]
    assert found.bboxes.tolist() == seen.bboxes[:3].tolist()
    assert (found.masks.masks == masks[:3].numpy()).all()
    assert believed(seen, 0.7, 0.9).levels.tolist() == [0, 1, 1]
    none = believed(seen, 0.95, 0.75)
    assert len(none) == 0 and none.masks.masks.shape == (0, 20, 20)


@pytest.mark.parametrize('options, message', [
    (dict(unsup_weight=1), 'expected coverage'),
])
def test_unknown_keys_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HassodMeanTeacher(dict(), semi_train_cfg=options)
