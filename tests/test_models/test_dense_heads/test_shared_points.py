"""Shared points, near edges too, and attention without weights."""
import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmcv.ops import point_sample
from torch import nn

from sohes.models.dense_heads import point_mask2former_head
from sohes.models.dense_heads.entity_targets import (
    entity_targets,
    point_iou,
)
from sohes.models.dense_heads.masked_attention import MaskedAttention
from sohes.models.dense_heads.shared_points import REACH, draw_points
from sohes.structures.bit_masks import BitMasks
from tests.test_models.test_dense_heads.tiny_head import (
    FEW,
    NESTED,
    boxes_of,
    build_head,
    features,
    gradients,
    sample_of,
    two_samples,
    values,
)

SIZE = (96, 128)


def two_masks():
    """The left half, and a box of 8 x 8 in it."""
    masks = np.zeros((2, *SIZE), bool)
    masks[0, :, :64] = True
    masks[1, 40:48, 20:28] = True
    return BitMasks.from_any(torch.from_numpy(masks))


def to_edges(points):
    """Distance in pixels, by the larger axis, to the nearer edge."""
    x, y = points[:, 0] * SIZE[1], points[:, 1] * SIZE[0]
    half = (x - 64).abs()
    outside = torch.maximum((x - 24).abs() - 4, (y - 44).abs() - 4)
    inside = torch.minimum(4 - (x - 24).abs(), 4 - (y - 44).abs())
    return torch.minimum(half, torch.where(outside > 0, outside, inside))


@pytest.mark.parametrize('share', [0, 0.03])
def test_share_of_the_points_is_near_edges(share):
    torch.manual_seed(0)
    masks = two_masks()
    points, targets = draw_points(masks, SIZE, 400, share)
    assert points.shape == (400, 2) and targets.shape == (2, 400)
    assert torch.equal(targets, masks.sample(points, SIZE))
    near = round(share * 400)
    assert (to_edges(points[:near]) <= REACH + 1).all()
    # The rest is everywhere: eight pixels in 128 are near the long edge.
    assert (to_edges(points[near:]) > REACH + 1).float().mean() > 0.8


def test_few_edges_give_few_points():
    """An image without edges has uniform points; its frame is no edge."""
    masks = BitMasks.from_any(torch.ones(1, *SIZE, dtype=torch.bool))
    for some in (masks, masks[:0]):
        torch.manual_seed(0)
        points, targets = draw_points(some, SIZE, 300, 1.0)
        inner = ((points - 0.5).abs() < 0.4).all(1)
        assert targets.shape == (len(some), 300)
        assert 0.5 < inner.float().mean() < 0.75  # 0.64 of the area


@pytest.mark.parametrize('masked', [False, True])
def test_attention_is_torchs(masked):
    torch.manual_seed(0)
    wrapper = MultiheadAttention(16, 4, batch_first=True)
    query, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    outside = torch.rand(2, 5, 7) < 0.5
    outside[:, :, 0] = False
    expected = wrapper(
        query, memory, memory, attn_mask=outside.repeat_interleave(4, 0)
        if masked else None)
    names = list(wrapper.state_dict())
    wrapper.attn = MaskedAttention.of(wrapper.attn)
    found = wrapper(
        query, memory, memory, attn_mask=outside if masked else None)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert list(wrapper.state_dict()) == names


def test_attention_of_another_make_is_refused():
    for options in (dict(kdim=8, vdim=8), dict(add_bias_kv=True),
                    dict(batch_first=True)):
        with pytest.raises(ValueError, match='as mmcv builds it'):
            MaskedAttention.of(nn.MultiheadAttention(16, 4, **options))


def test_shared_points_are_points_of_the_whole_masks():
    """Sampling the mask features is sampling the masks."""
    head = build_head(shared_points=True)
    feats = features()
    classes, masks, ancestors = head(feats)
    samples = two_samples()
    head._points = head._draw_points(
        [entity_targets(sample, feats[0].device) for sample in samples],
        [sample.metainfo for sample in samples])
    at_points = head(feats)
    for whole, some in zip(masks, at_points[1]):
        expected = point_sample(whole, head._points)
        assert some.shape == (2, 6, 64)
        assert torch.allclose(some, expected, rtol=1e-3, atol=1e-3)
    for whole, some in zip(classes + ancestors, at_points[0] + at_points[2]):
        assert torch.allclose(whole, some, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('second', [FEW, []])
def test_losses_at_shared_points(second):
    """As mmdet's with uniform points, when it takes the same ones."""
    samples = [sample_of(boxes_of(*NESTED)), sample_of(boxes_of(*second), 1)]
    shared = build_head(shared_points=True, points=4096)
    usual = build_head(points=4096)
    usual.importance_sample_ratio = 0
    got, expected = (values(head.loss(features(), samples))
                     for head in (shared, usual))
    assert got == pytest.approx(expected, rel=0.05)
    again = values(shared.loss(features(), samples))
    assert shared._points is None
    assert again != got  # the next step has other points
    losses = shared.loss(features(), samples)
    assert all(each.abs().sum() > 0
               for name, each in gradients(shared, losses).items()
               if name.startswith('mask_embed'))


def test_soft_labels_say_how_good_a_mask_is(monkeypatch):
    """An IoU of 1 is Mask2Former's target; one of 0 is that of no mask."""
    samples = [sample_of(boxes_of(*NESTED)), sample_of(boxes_of(*FEW), 1)]
    hard, soft = (build_head(shared_points=True, soft_labels=some)
                  for some in (False, True))
    usual = values(hard.loss(features(), samples))
    empty = values(hard.loss(
        features(), [sample_of(boxes_of()), sample_of(boxes_of(), 1)]))

    def losses(iou):
        monkeypatch.setattr(
            point_mask2former_head, 'point_iou',
            lambda logits, targets: torch.full((len(logits), ), iou))
        soft.point_step.zero_()
        return values(soft.loss(features(), samples))

    assert losses(1.) == pytest.approx(usual, rel=1e-5)
    assert losses(0.)['loss_cls'] == pytest.approx(empty['loss_cls'],
                                                   rel=1e-5)
    assert losses(0.)['loss_mask'] == pytest.approx(usual['loss_mask'])
    monkeypatch.undo()
    soft.point_step.zero_()
    measured = values(soft.loss(features(), samples))['loss_cls']
    assert measured not in (usual['loss_cls'], empty['loss_cls'])
    with pytest.raises(ValueError, match='soft_labels needs shared_points'):
        build_head(soft_labels=True)


def test_iou_at_points():
    logits = torch.tensor([[1., 1, -1, -1], [-1, -1, -1, -1]])
    targets = torch.tensor([[1., 0, 1, 0], [0, 0, 0, 0]])
    assert point_iou(logits, targets).tolist() == pytest.approx([1 / 3, 0])


@pytest.mark.parametrize('share', [-0.1, 1.5])
def test_edge_share_is_a_share(share):
    with pytest.raises(ValueError, match=f'edge_share .* got {share}'):
        build_head(shared_points=True, edge_share=share)


def test_edge_share_needs_shared_points():
    with pytest.raises(ValueError, match='0 without shared_points'):
        build_head(edge_share=0.5)


@pytest.mark.parametrize('times', [1, 3, 20])
def test_each_ground_truth_has_several_queries_but_in_the_last_layer(
        times, monkeypatch):
    head = build_head(shared_points=True, one_to_many=times)
    seen = []
    original = head._match_at_shared_points

    def match(*args):
        found = original(*args)
        seen.append(found[0])
        return found

    monkeypatch.setattr(head, '_match_at_shared_points', match)
    sample = sample_of(boxes_of(*NESTED[:2]), 1)
    losses = head.loss([each[:1] for each in features()], [sample])
    assert all(torch.isfinite(value) for value in losses.values())
    layers = head.num_transformer_decoder_layers
    counts = [[int((layer == k).sum()) for k in (0, 1)] for layer in seen]
    # There are queries for half of their number each.
    assert counts == [[min(times, head.num_queries // 2)] * 2] * layers + [
        [1, 1]]


@pytest.mark.parametrize('options', [dict(one_to_many=0, shared_points=True),
                                     dict(one_to_many=2)])
def test_one_to_many_needs_shared_points(options):
    with pytest.raises(ValueError, match='one_to_many must be at least 1'):
        build_head(**options)
