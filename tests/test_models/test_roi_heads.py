"""HASSOD's box head by hand: level targets and loss, DropLoss, fusion."""
from types import SimpleNamespace

import pytest
import torch
from mmdet.models.task_modules import AssignResult
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch.nn import functional as F

from sohes.models.roi_heads import (
    EntitySampler,
    LevelBBoxHead,
    LevelCascadeRoIHead,
)
from sohes.models.roi_heads.level_bbox_head import level_targets, near_labels

CODER = dict(type='mmdet.DeltaXYWHBBoxCoder', target_means=[0.] * 4,
             target_stds=[0.1, 0.1, 0.2, 0.2])


def head(**options) -> LevelBBoxHead:
    torch.manual_seed(0)
    return LevelBBoxHead(
        **{**dict(
            in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=1,
            reg_class_agnostic=True, bbox_coder=CODER,
            loss_cls=dict(type='mmdet.CrossEntropyLoss'),
            loss_bbox=dict(type='mmdet.SmoothL1Loss')), **options})


def labels() -> InstanceData:
    """A whole, its part, and the part's part, drawn as boxes."""
    return InstanceData(
        bboxes=torch.tensor([[0., 0, 40, 40], [0, 0, 20, 20], [0, 0, 9, 9]]),
        labels=torch.zeros(3, dtype=torch.int64),
        levels=torch.tensor([0, 1, 2]))


def sampled(truth: InstanceData, assigned: list[int],
            boxes: list[list[float]]) -> object:
    """What the sampler makes of boxes with known labels; 0: background."""
    assign = AssignResult(len(truth), torch.tensor(assigned),
                          torch.zeros(len(boxes)),
                          labels=torch.zeros(len(boxes), dtype=torch.int64))
    sampler = EntitySampler(num=len(boxes), pos_fraction=1.0, context=None,
                            add_gt_as_proposals=False)
    return sampler.sample(
        assign, InstanceData(priors=torch.tensor(boxes)), truth)


BOXES = [[0., 0, 8, 8], [50, 50, 60, 60], [0, 0, 38, 38], [1, 1, 20, 20]]
ASSIGNED = [3, 0, 1, 2]


def test_level_targets_are_those_of_the_labels_that_boxes_are_given():
    result = sampled(labels(), ASSIGNED, BOXES)
    # By the position of the foreground boxes in the sample.
    by_box = {tuple(box): level for box, level in zip(
        result.pos_priors.tolist(), level_targets([result]).tolist())}
    assert by_box == {(0, 0, 8, 8): 2, (0, 0, 38, 38): 0, (1, 1, 20, 20): 1}
    assert len(level_targets([result, result])) == 6


def run(model: LevelBBoxHead, cls: torch.Tensor, level: torch.Tensor) -> dict:
    """The losses on the drawn boxes; deltas of 0 leave them in place."""
    result = sampled(labels(), ASSIGNED, BOXES)
    rois = torch.cat([torch.zeros(4, 1), result.priors], 1)
    out = model.loss_and_target(cls, torch.zeros(4, 4), level, rois, [result],
                                ConfigDict(pos_weight=-1))
    return out['loss_bbox'], result


def test_level_loss_by_hand():
    logits = torch.tensor([[2., -1, 0], [0, 1, -2], [-1, 0, 3], [9, 9, 9]])
    losses, result = run(head(), torch.zeros(4, 2), logits)
    total = 0.0
    for row, level in zip(logits[:3], level_targets([result])):
        for k, logit in enumerate(row.tolist()):
            p = 1 / (1 + 2.718281828459045**-logit)
            right = k == level
            sure = p if right else 1 - p
            total += (0.25 if right else 0.75) * (1 - sure)**2 * -torch.log(
                torch.tensor(sure)).item()
    # Foreground boxes x 3; the background's row counts nothing.
    assert losses['loss_level'].item() == pytest.approx(total / 9, rel=1e-5)


def test_no_foreground_box_gives_a_loss_of_zero_with_a_gradient():
    model = head()
    result = sampled(labels(), [0, 0], BOXES[:2])
    rois = torch.cat([torch.zeros(2, 1), result.priors], 1)
    level = torch.zeros(2, 3, requires_grad=True)
    out = model.loss_and_target(
        torch.zeros(2, 2), torch.zeros(2, 4), level, rois, [result],
        ConfigDict(pos_weight=-1))['loss_bbox']
    assert out['loss_level'] == 0
    out['loss_level'].backward()
    assert (level.grad == 0).all()


def test_near_labels_on_hand_made_boxes():
    truth = [torch.tensor([[0., 0, 10, 10]]), torch.zeros(0, 4),
             torch.tensor([[0., 0, 10, 10], [90, 90, 100, 100]])]
    boxes = torch.tensor([[0., 0, 10, 10],  # IoU 1
                          [9, 9, 19, 19],  # 1 / 199, under 0.01
                          [8, 8, 18, 18],  # 4 / 196, above it
                          [0, 0, 10, 10],  # no label in its image
                          [95, 95, 105, 105],  # 25 / 175
                          [40, 40, 50, 50]])  # 0
    images = torch.tensor([0, 0, 0, 1, 2, 2])
    assert near_labels(boxes, images, truth, 0.01).tolist() == [
        True, False, True, False, True, False]


def test_droploss_leaves_out_the_boxes_far_from_every_label():
    cls = torch.tensor([[3., -1], [0, 1], [1, 1], [2, -2]])
    with_drop, result = run(head(), cls, torch.zeros(4, 3))
    without, _ = run(head(droploss_iou=None), cls, torch.zeros(4, 3))
    each = F.cross_entropy(cls, torch.tensor([0, 0, 0, 1]), reduction='none')
    assert result.neg_priors.tolist() == [BOXES[1]]  # far from all labels
    assert without['loss_cls'] == pytest.approx(each.mean().item())
    assert with_drop['loss_cls'] == pytest.approx(each[:3].sum().item() / 4)
    assert with_drop['loss_bbox'] == without['loss_bbox']


def test_droploss_looks_at_the_box_after_regression():
    result = sampled(labels(), [0, 0], [[50., 50, 60, 60]] * 2)
    rois = torch.cat([torch.zeros(2, 1), result.priors], 1)
    # The second is moved 45 pixels up and left, onto the labels.
    deltas = torch.tensor([[0., 0, 0, 0], [-45., -45, 0, 0]])
    cls = torch.tensor([[0., 5], [1., 0]])
    out = head().loss_and_target(cls, deltas, torch.zeros(2, 3), rois,
                                 [result], ConfigDict(pos_weight=-1))
    wanted = F.cross_entropy(cls[1:], torch.tensor([1])) / 2
    assert out['loss_bbox']['loss_cls'] == pytest.approx(wanted.item())


TEST_CFG = ConfigDict(score_thr=0.0, max_per_img=10,
                      nms=dict(type='nms', iou_threshold=0.5))
META = dict(img_shape=(100, 100), scale_factor=(1.0, 1.0))


def predicted(model: LevelBBoxHead, rois: torch.Tensor,
              scores: torch.Tensor) -> InstanceData:
    return model._predict_by_feat_single(
        rois, scores, torch.zeros(len(rois), 4), META, False, TEST_CFG)


@pytest.mark.parametrize('by_level, levels', [(True, [0, 1, 2]),
                                              (False, [0, 2])])
def test_nested_boxes_of_other_levels_stay(by_level, levels):
    # A whole, a part that nearly fills it, the whole again, one apart.
    rois = torch.tensor([[0, 0., 0, 40, 40], [0, 0, 0, 40, 36],
                         [0, 1, 1, 40, 40], [0, 60, 60, 80, 80]])
    scores = torch.tensor([[4., 0, .9, .1, .1], [3, 0, .1, .8, .3],
                           [2, 0, .7, .2, .1], [1, 0, .1, .2, .6]])
    found = predicted(head(nms_by_level=by_level), rois, scores)
    assert found.levels.tolist() == levels
    assert found.scores.tolist() == sorted(found.scores.tolist(),
                                           reverse=True)
    assert found.labels.tolist() == [0] * len(levels)
    assert found.bboxes[0].tolist() == [0, 0, 40, 40]


def test_levels_are_fused_as_probabilities_over_the_stages():
    """The first stage is sure of level 0, the others are for level 1."""
    logits = torch.tensor([[2., 0, 0], [0., 4, 0], [3., 4, 0]])
    stages = [head(level_activation='softmax') for _ in range(3)]

    def forward(stage, x, rois):
        n = len(rois)
        return dict(cls_score=torch.full((n, 2), float(stage)),
                    bbox_pred=torch.zeros(n, 4),
                    level_score=logits[stage].expand(n, 3))

    roi_head = SimpleNamespace(bbox_head=stages, num_stages=3,
                               _bbox_forward=forward)
    rois = torch.tensor([[0, 0., 0, 9, 9], [1, 0, 0, 20, 20]])
    boxes, scores, _ = LevelCascadeRoIHead._refine_roi(
        roi_head, (), rois, [META, META], (1, 1))
    assert torch.cat(boxes).tolist() == rois.tolist()
    for each in scores:
        torch.testing.assert_close(each[0, 2:], logits.softmax(1).mean(0))
        assert each[0, :2].tolist() == [1, 1]  # the mean of the logits


def test_the_head_says_what_it_cannot_do():
    with pytest.raises(ValueError, match='level_activation'):
        head(level_activation='relu')
    with pytest.raises(ValueError, match='one class'):
        head(num_classes=2)
