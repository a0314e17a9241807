"""Where the tokens of ViT-Adapter lie, by hand."""
import pytest
import torch

from sohes.models.backbones.vit_adapter_layers import (
    Geometry,
    resample,
    to_maps,
    to_tokens,
)


def test_points_are_middles_of_cells_on_each_maps_own_extent() -> None:
    """Two cells of 16 px, on maps of 24 x 32 px and of 32 x 32 px."""
    found = Geometry.between([(2, 1, 16)], [(4, 3, 8), (1, 1, 32)],
                             torch.device('cpu'))
    expected = [[[8 / 24, 8 / 32], [8 / 32, 8 / 32]],
                [[8 / 24, 24 / 32], [8 / 32, 24 / 32]]]
    assert torch.allclose(found.points, torch.tensor([expected]))
    assert found.shapes.tolist() == [[4, 3], [1, 1]]
    assert found.starts.tolist() == [0, 12]


def test_attention_looks_where_its_query_lies() -> None:
    """mmcv samples a map at our points: each query finds its own cell."""
    ops = pytest.importorskip('mmcv.ops.multi_scale_deform_attn')
    levels = [(3, 5, 8)]
    geometry = Geometry.between(levels, levels, torch.device('cpu'))
    value = torch.arange(15.).reshape(1, 15, 1, 1)  # B, V, heads, channels
    # B, P, heads, levels, points, xy
    points = geometry.points.reshape(1, 15, 1, 1, 1, 2)
    found = ops.multi_scale_deformable_attn_pytorch(
        value, geometry.shapes, points, torch.ones(1, 15, 1, 1, 1))
    assert torch.allclose(found.flatten(), torch.arange(15.), atol=1e-5)


def test_tokens_and_maps_are_the_same_in_another_order() -> None:
    levels = [(2, 3, 8), (1, 2, 16)]
    maps = [torch.rand(2, 4, h, w) for h, w, _ in levels]
    tokens = to_tokens(maps)
    assert tokens.shape == (2, 8, 4)
    assert torch.equal(tokens[:, 4], maps[0][:, :, 1, 1])
    for a, b in zip(to_maps(tokens, levels), maps):
        assert torch.equal(a, b)


def test_resample_down_takes_means_of_what_is_there() -> None:
    x = torch.tensor([[[[1., 3., 10.], [5., 7., 20.], [2., 4., 9.]]]])
    found = resample(x, 8, (2, 2, 16))
    assert found.tolist() == [[[[4., 15.], [3., 9.]]]]


def test_resample_up_keeps_cells_over_their_pixels() -> None:
    """Cells of 16 px to 8 px; the last column is beyond the image."""
    x = torch.tensor([[[[0., 4.]]]])
    found = resample(x, 16, (2, 3, 8))
    assert found.tolist() == [[[[0., 1., 3.], [0., 1., 3.]]]]


def test_resample_to_the_same_level() -> None:
    x = torch.rand(1, 2, 3, 5)
    assert torch.equal(resample(x, 16, (3, 5, 16)), x)
