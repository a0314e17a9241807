"""Queries that start from what the image shows at points of grids."""
import pytest
import torch

from tests.test_models.test_dense_heads.tiny_head import (
    build_head,
    features,
    gradients,
    two_samples,
    values,
)

#: 9 + 4 queries.
GRIDS = (3, 2)


def grid_head(**changes):
    return build_head(queries=13, query_grids=GRIDS, **changes)


def test_off_has_mmdets_queries():
    head = build_head()
    assert not [name for name in head.state_dict() if 'grid' in name]
    content, position = head._first_queries(torch.zeros(2, 16, 4, 5))
    for got, embedding in ((content, head.query_feat),
                           (position, head.query_embed)):
        assert torch.equal(got, embedding.weight.expand(2, -1, -1))


def test_a_query_starts_from_what_is_painted_at_its_point():
    """A memory of 6 x 12: cells of 2 x 4 and of 3 x 6, one is painted."""
    queries = grid_head().grid_queries
    memory = torch.zeros(2, 16, 6, 12)
    color = torch.linspace(-1, 1, 16)
    memory[1, :, 2:4, 8:12] = color[:, None, None]  # second row, third cell
    content, _ = queries(memory)
    bias, grids = queries.project.bias, queries.query_feat.weight
    blank = torch.cat([(bias + grids[0]).expand(9, -1),
                       (bias + grids[1]).expand(4, -1)])
    assert torch.allclose(content[0], blank)
    painted = (content[1] - blank).abs().amax(1) > 1e-6
    # Of the second grid the right centres are at row 1 and 4 and between
    # the columns 8 and 9, where nothing is painted.
    assert painted.nonzero().flatten().tolist() == [5]
    assert torch.allclose(content[1, 5], queries.project(color) + grids[0])


def test_points_between_cells_and_beyond_the_last_centre():
    queries = grid_head().grid_queries
    ramp = torch.arange(4.).expand(1, 16, 2, 4)  # four columns
    content, _ = queries(ramp)
    expected = [1 / 6 * 4 - 0.5, 1.5, 5 / 6 * 4 - 0.5]
    for column, value in enumerate(expected):
        wanted = queries.project(torch.full((16, ), value))
        for row in range(3):
            assert torch.allclose(content[0, 3 * row + column],
                                  wanted + queries.query_feat.weight[0],
                                  atol=1e-5)
    # In one cell all points show the same, also those outside its centre.
    content, _ = queries(torch.ones(1, 16, 1, 1))
    assert torch.allclose(content[0, :9], content[0, :1].expand(9, -1))


@pytest.mark.parametrize('offset', [0., -0.5])
def test_positions_are_those_of_the_memory(offset):
    """Where a point is the centre of a place, both have one encoding."""
    encoding = dict(num_feats=8, normalize=True, offset=offset)
    head = grid_head(positional_encoding=encoding)
    memory = torch.zeros(2, 16, 9, 15)
    _, places = head._level(0, memory)
    _, positions = head.grid_queries(memory)
    # Centres of cells of 3 x 5 places.
    rows, columns = torch.meshgrid(torch.tensor([1, 4, 7]),
                                   torch.tensor([2, 7, 12]), indexing='ij')
    expected = places[0, (rows * 15 + columns).flatten()]
    assert torch.allclose(positions[0, :9], expected, atol=1e-4)
    # The second grid's lie between rows and columns of this memory.
    _, places = head._level(0, torch.zeros(1, 16, 6, 2))
    _, positions = head.grid_queries(torch.zeros(1, 16, 6, 2))
    expected = places[0, [2, 3, 8, 9]]
    assert torch.allclose(positions[0, 9:], expected, atol=1e-4)


@pytest.mark.parametrize('shared_points', [False, True])
def test_every_parameter_learns(shared_points):
    head = grid_head(shared_points=shared_points)
    assert not {'query_feat.weight', 'query_embed.weight'} & {
        *head.state_dict()}
    losses = head.loss(features(), two_samples())
    assert all(torch.isfinite(loss) for loss in losses.values())
    for name, gradient in gradients(head, losses).items():
        assert torch.isfinite(gradient).all(), name
        if name.startswith('grid_queries'):
            assert (gradient.abs().amax(-1) > 0).all(), name


def test_prediction_is_the_last_layers():
    head = grid_head().eval()
    with torch.no_grad():
        layers = head(features())
        last = head.predict(features(), two_samples())
        alone = head.predict([each[1:] for each in features()],
                             two_samples()[1:])
    assert [each.shape for each in last] == [(2, 13, 2), (2, 13, 16, 24),
                                             (2, 13, 13)]
    for every, one, single in zip(layers, last, alone):
        assert torch.equal(every[-1], one)
        assert torch.allclose(one[1:], single, atol=1e-4)


def test_bfloat16():
    head = grid_head(shared_points=True).eval()
    expected = values(head.loss(features(), two_samples()))
    with torch.autocast('cpu', torch.bfloat16):
        losses = values(head.loss(features(), two_samples()))
    assert losses['d0.loss_cls'] == pytest.approx(expected['d0.loss_cls'],
                                                  rel=0.02)


@pytest.mark.parametrize('grids', [(14, 7), (3, ), [], 13, (3, 2.0), '32',
                                   (3, 2, 0)], ids=str)
def test_grids_that_do_not_give_the_queries(grids):
    with pytest.raises(ValueError, match='add up to num_queries, 13, got'):
        build_head(queries=13, query_grids=grids)


def test_positions_without_a_size_are_refused():
    with pytest.raises(ValueError, match='query_grids needs .*normalize'):
        grid_head(positional_encoding=dict(num_feats=8))
