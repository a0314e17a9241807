"""Points near edges, and attention without weights."""
import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import nn

from sohes.models.dense_heads.masked_attention import MaskedAttention
from sohes.models.dense_heads.shared_points import REACH, draw_points
from sohes.structures.bit_masks import BitMasks

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
