"""The head that says how good a mask is."""
import pytest
import torch

from sohes.models.dense_heads.entity_targets import best_point_iou
from sohes.models.dense_heads.mask_iou_head import MaskIoUHead, MaskIoULoss
from tests.test_models.test_dense_heads.tiny_head import (
    FEW,
    NESTED,
    boxes_of,
    build_head,
    features,
    gradients,
    sample_of,
    values,
)

LOSS = dict(type='sohes.MaskIoULoss', loss_weight=2.0)


def samples():
    return [sample_of(boxes_of(*NESTED)), sample_of(boxes_of(*FEW), 1)]


def head(**kwargs):
    return build_head(shared_points=True, loss_iou=LOSS, **kwargs)


def test_best_iou_is_with_whatever_fits_best():
    logits = torch.tensor([[1., 1, -1, -1], [1, 1, 1, 1], [-1, -1, -1, -1]])
    targets = torch.tensor([[1., 0, 0, 0], [1, 1, 1, 0]])
    assert best_point_iou(logits, targets).tolist() == pytest.approx(
        [2 / 3, 3 / 4, 0])
    assert best_point_iou(logits, targets[:0]).tolist() == [0, 0, 0]


def test_memory_outside_of_a_mask_and_its_surroundings_is_not_read():
    """But for the mean of the picture, which is taken off."""
    torch.manual_seed(0)
    judge = MaskIoUHead(8)
    masks = torch.full((1, 2, 12, 12), -50.)
    masks[0, 0, :3, :3] = 50
    masks[0, 1, 9:, 9:] = 50
    queries, memory = torch.randn(1, 2, 8), torch.randn(1, 8, 12, 12)
    moved = memory.clone()
    # Two cells swapped, far from the first mask and in the second.
    moved[..., 11, 11] = memory[..., 7, 0]
    moved[..., 7, 0] = memory[..., 11, 11]
    before, after = (judge(queries, masks, each)[0, :, 0].tolist()
                     for each in (memory, moved))
    assert after[0] == pytest.approx(before[0], abs=1e-5)
    assert after[1] != pytest.approx(before[1], abs=1e-3)


def test_an_empty_mask_has_a_finite_judgement():
    judge = MaskIoUHead(8)
    masks = torch.full((1, 1, 4, 4), -1e4)
    found = judge(torch.randn(1, 1, 8), masks, torch.randn(1, 8, 4, 4))
    assert found.isfinite().all()


def test_loss_is_least_where_the_iou_is_right():
    loss = MaskIoULoss(loss_weight=3.0)
    iou = torch.tensor([[0.2, 0.9]])
    ones = torch.ones_like(iou)
    right = loss(torch.logit(iou), iou, ones)
    entropy = -(iou * iou.log() + (1 - iou) * (1 - iou).log()).mean()
    assert right.item() == pytest.approx(3 * entropy.item())
    for other in (-0.1, 0.05):
        assert loss(torch.logit(iou + other), iou, ones) > right
    # Of a query that does not count, nothing is learnt.
    one = loss(torch.logit(iou), iou, torch.tensor([[1., 0.]]))
    assert one == loss(torch.logit(iou[:, :1]), iou[:, :1], ones[:, :1])


def test_head_learns_to_judge_all_queries():
    """Also those without a ground truth, whose classes are of no use here."""
    judged = head()
    losses = judged.loss(features(), samples())
    assert 'd0.loss_iou' not in losses and losses['loss_iou'] > 0
    plain = build_head(shared_points=True)
    others = plain.loss(features(), samples())
    got = values(losses)
    got.pop('loss_iou')
    assert got == pytest.approx(values(others), rel=1e-5)
    found, expected = gradients(judged, losses), gradients(plain, others)
    for name, gradient in found.items():
        if name.startswith('iou_head'):
            assert gradient.abs().sum() > 0
        else:  # no other part learns from it
            assert torch.allclose(gradient, expected[name], atol=1e-6), name
    optimizer = torch.optim.Adam(judged.iou_head.parameters(), 0.01)
    first = losses['loss_iou'].item()
    for _ in range(30):
        judged.point_step.zero_()
        loss = judged.loss(features(), samples())['loss_iou']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.8 * first


def test_expected_iou_counts_beside_the_class():
    judged = head().eval()
    with torch.no_grad():
        classes, masks, ancestors = judged.predict(features(), samples())
        every = judged(features(), samples())
    assert classes.shape[-1] == every[0][0].shape[-1] == 2
    assert every[0][-1].shape[-1] == 3
    last = every[0][-1]
    assert torch.allclose(
        classes.softmax(-1)[..., 0],
        last[..., :2].softmax(-1)[..., 0] * last[..., 2].sigmoid())
    assert torch.equal(masks, every[1][-1])
    assert torch.equal(ancestors, every[2][-1])


def test_points_that_look_for_doubt_are_refused():
    with pytest.raises(ValueError, match='loss_iou needs shared_points'):
        build_head(loss_iou=LOSS)
