"""Queries of training that look only inside the mask of a ground truth."""
import numpy as np
import pytest
import torch

from sohes.models.dense_heads import ancestor_head, point_mask2former_head
from sohes.models.dense_heads.entity_targets import entity_targets
from sohes.models.dense_heads.mask_piloting import (
    PilotedQueries,
    draw_pilots,
)
from sohes.structures.bit_masks import BitMasks
from tests.test_models.test_dense_heads.tiny_head import (
    FEW,
    NESTED,
    Exchange,
    boxes_of,
    build_head,
    features,
    gradients,
    sample_of,
    two_samples,
    values,
)

SIZE = (64, 96)
KINDS = ('cls', 'mask', 'dice')
NAMES = [f'{layer}mp_loss_{kind}' for layer in ('d1.', '') for kind in KINDS]


def head_of(most=4, **changes):
    return build_head(shared_points=True, mask_piloted=most, **changes)


def pilots_of(head, samples):
    """What a step of training would draw."""
    targets = [entity_targets(sample, 'cpu') for sample in samples]
    return head._draw_pilots(
        targets, [sample.metainfo for sample in samples], (16, 24))


def piloted(inside, truths=None, noise=0.0):
    """Queries of masks (B, E, h, w), drawn by hand."""
    inside = torch.as_tensor(inside, dtype=torch.bool)
    torch.manual_seed(0)
    if truths is None:
        truths = torch.arange(inside.shape[1]).expand(inside.shape[:2])
    return PilotedQueries(truths, inside, torch.rand(inside.shape), noise)


@pytest.mark.parametrize('off', [None, 0])
def test_off_is_a_head_that_knows_nothing_of_it(off):
    without = build_head(shared_points=True)
    head = head_of(off)
    assert list(head.state_dict()) == list(without.state_dict())
    assert values(head.loss(features(), two_samples())) == values(
        without.loss(features(), two_samples()))


@pytest.mark.parametrize('options', [
    dict(),
    dict(
        soft_labels=True,
        one_to_many=2,
        loss_iou=dict(type='sohes.MaskIoULoss')),
])
def test_learnt_queries_do_not_see_the_extra_ones(options):
    without = build_head(shared_points=True, **options)
    expected = values(without.loss(features(), two_samples()))
    head = head_of(**options)
    got = values(head.loss(features(), two_samples()))
    assert list(got) == list(expected) + NAMES
    assert {name: got[name] for name in expected} == pytest.approx(
        expected, rel=1e-5)
    with torch.no_grad():
        head.pilot_query_feat.weight.neg_()
    head.point_step.zero_()
    other = values(head.loss(features(), two_samples()))
    assert {name: other[name] for name in expected} == pytest.approx(
        expected, rel=1e-5)
    assert all(other[name] != got[name] for name in NAMES)


def test_inference_and_validation_have_no_extra_queries():
    without, head = build_head(shared_points=True).eval(), head_of().eval()
    assert values(head.loss(features(), two_samples())) == values(
        without.loss(features(), two_samples()))
    missing, unexpected = without.load_state_dict(
        head.state_dict(), strict=False)
    assert (missing, unexpected) == ([], ['pilot_query_feat.weight'])
    with torch.no_grad():
        for ours, others in zip(head.predict(features(), two_samples()),
                                without.predict(features(), two_samples())):
            assert torch.equal(ours, others)


def test_losses_of_a_batch_are_those_of_its_images():
    """Averages over four and two queries; padding counts nothing."""
    head = head_of()
    maps, samples = features(), two_samples()
    whole = values(head.loss(maps, samples))
    alone = []
    for index, sample in enumerate(samples):
        head.point_step.zero_()
        alone.append(values(head.loss(
            [each[index:index + 1] for each in maps], [sample])))
    assert len(samples[0].gt_instances) == 4
    assert len(samples[1].gt_instances) == 2
    for name in NAMES:
        mean = (4 * alone[0][name] + 2 * alone[1][name]) / 6
        assert whole[name] == pytest.approx(mean, rel=1e-4), name


def test_two_processes_learn_what_one_does(monkeypatch):
    head = head_of()
    maps, samples = features(), two_samples()

    def step(images):
        head.point_step.zero_()
        losses = head.loss([each[images] for each in maps], samples[images])
        losses = {name: losses[name] for name in NAMES}
        total = sum(losses.values())
        return values(losses), torch.autograd.grad(
            total, head.pilot_query_feat.weight)[0]

    expected, gradient = step(slice(0, 2))
    exchange = Exchange()
    for module in (ancestor_head, point_mask2former_head):
        monkeypatch.setattr(module, 'reduce_mean', exchange)
    for exchange.known in (0, 99):
        halves = []
        for rank in range(2):
            exchange.rank, exchange.call = rank, 0
            halves.append(step(slice(rank, rank + 1)))
    assert {name: (halves[0][0][name] + halves[1][0][name]) / 2
            for name in NAMES} == pytest.approx(expected, rel=1e-5)
    assert torch.allclose((halves[0][1] + halves[1][1]) / 2, gradient,
                          rtol=1e-4, atol=1e-6)


def test_each_is_compared_with_its_own_ground_truth(monkeypatch):
    head = head_of(loss_ancestor=None)
    seen = []
    original = head._query_losses

    def note(*args):
        seen.append(args)
        return original(*args)

    monkeypatch.setattr(head, '_query_losses', note)
    samples = two_samples()
    drawn = pilots_of(head, samples).truths
    assert sorted(drawn[0].tolist()) == [0, 1, 2, 3]
    assert sorted(drawn[1].tolist()) == [-1, -1, 0, 1]
    targets = [entity_targets(sample, 'cpu') for sample in samples]
    head._draw_points(targets, [sample.metainfo for sample in samples])
    expected = torch.cat([targets[0].point_targets[drawn[0]],
                          targets[1].point_targets[drawn[1, :2]]])
    head.loss(features(), samples)
    for _, masks, matched, at_points, count, counts, _ in seen[3:]:
        assert masks.shape == (2, 4, 64)
        assert torch.equal(matched, drawn)
        assert torch.equal(at_points[0], masks[drawn >= 0])
        assert torch.equal(at_points[1], expected)
        assert count == 6
        assert torch.equal(counts, (drawn >= 0).float())
    assert len(seen) == 5  # three layers of learnt queries, two of extra ones


def test_extra_queries_look_inside_their_mask_in_every_layer():
    """Of memories of 2 x 3 and 4 x 6 cells."""
    head = head_of(2, pilot_noise=0.0)
    masks = boxes_of((0, 0, 32, 64), (32, 16, 96, 48))
    looked = []
    for layer in head.transformer_decoder.layers:
        layer.cross_attn.register_forward_pre_hook(
            lambda _, __, kwargs: looked.append(kwargs['attn_mask']),
            with_kwargs=True)
    sample = sample_of(masks)
    order = pilots_of(head, [sample]).truths[0]
    head.loss(features(1), [sample])
    expected = [
        [[[1, 0, 0],
          [1, 0, 0]],
         [[0, 1, 1],
          [0, 1, 1]]],
        [[[1, 1, 0, 0, 0, 0]] * 4,
         [[0, 0, 0, 0, 0, 0],
          [0, 0, 1, 1, 1, 1],
          [0, 0, 1, 1, 1, 1],
          [0, 0, 0, 0, 0, 0]]],
    ]
    assert len(looked) == 2
    for found, inside in zip(looked, expected):
        inside = torch.tensor(inside).bool()[order]
        assert torch.equal(~found[0, 6:], inside.flatten(1))


def test_a_mask_smaller_than_a_cell_is_looked_at_where_it_is():
    inside = np.zeros((1, 3, 4, 4), bool)
    inside[0, 0, 2, 3] = True  # a quarter of the last of 2 x 2 cells
    inside[0, 1, :2, :3] = True  # the first cell and half of the second
    outside = piloted(inside).outside(torch.Size((2, 2)))
    assert outside.int().tolist() == [[
        [1, 1, 1, 0],
        [0, 0, 1, 1],
        [0, 0, 0, 0],  # nothing of an empty one: then everywhere
    ]]


def test_noise_flips_as_many_cells_as_a_share_of_the_mask():
    inside = torch.zeros(1, 60, 20, 20, dtype=torch.bool)
    inside[:, :, :10] = True
    pilots = piloted(inside, noise=0.2)
    outside = pilots.outside(torch.Size((20, 20))).unflatten(2, (20, 20))
    assert outside[:, :, :10].float().mean() == pytest.approx(0.1, abs=0.01)
    assert outside[:, :, 10:].float().mean() == pytest.approx(0.9, abs=0.01)
    again = pilots.outside(torch.Size((20, 20))).unflatten(2, (20, 20))
    assert torch.equal(again, outside)
    # A mask of one cell in four hundred is all but left alone.
    inside[:] = False
    inside[:, :, 3, 5] = True
    outside = piloted(inside, noise=0.2).outside(torch.Size((20, 20)))
    assert (outside.view(60, -1) == inside.view(60, -1)).sum() < 60


def test_who_sees_whom():
    """Two learnt queries; two extra ones, of which an image has one."""
    inside = torch.ones(2, 2, 1, 1)
    found = piloted(inside, torch.tensor([[1, 0], [0, -1]])).unseen(2)
    assert found.int().tolist() == [
        [[0, 0, 1, 1],
         [0, 0, 1, 1],
         [0, 0, 0, 0],
         [0, 0, 0, 0]],
        [[0, 0, 1, 1],
         [0, 0, 1, 1],
         [0, 0, 0, 1],
         [0, 0, 0, 1]],
    ]


def test_masks_are_drawn_on_the_padded_image():
    """Of 6 x 10 pixels, padded to 8 x 12; cells of 2 x 2."""
    mask = torch.zeros(1, 6, 10, dtype=torch.bool)
    mask[0, 2:, 4:] = True
    chosen, inside, draws = draw_pilots(
        BitMasks.from_any(mask), (8, 12), (4, 6), 5)
    assert chosen.tolist() == [0] and draws.shape == (1, 4, 6)
    assert inside.int().tolist() == [[
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]]


def test_draws_depend_on_image_and_step_alone():
    head, resumed = head_of(2), head_of(2)
    samples = two_samples()
    first = pilots_of(head, samples)
    torch.rand(7)
    turned = pilots_of(head, samples[::-1])
    assert torch.equal(turned.truths, first.truths.flip(0))
    assert torch.equal(turned.draws, first.draws.flip(0))
    head.loss(features(), samples)
    resumed.load_state_dict(head.state_dict())
    second = pilots_of(head, samples)
    assert not torch.equal(second.draws, first.draws)
    assert torch.equal(pilots_of(resumed, samples).draws, second.draws)
    assert values(resumed.loss(features(), samples)) == values(
        head.loss(features(), samples))
    # In time every ground truth has its turn.
    drawn = set()
    for _ in range(20):
        head.point_step += 1
        drawn.update(pilots_of(head, samples).truths[0].tolist())
    assert drawn == {0, 1, 2, 3}


@pytest.mark.parametrize('second', [FEW, []])
@pytest.mark.parametrize('first', [NESTED, []])
def test_the_embedding_learns(first, second):
    samples = [sample_of(boxes_of(*first)), sample_of(boxes_of(*second), 1)]
    head = head_of(soft_labels=True)
    losses = head.loss(features(), samples)
    gradient = gradients(head, losses)['pilot_query_feat.weight']
    assert np.isfinite(list(values(losses).values())).all()
    assert gradient.isfinite().all()
    assert bool(gradient.abs().max() > 0) == bool(first or second)
    if not (first or second):
        assert all(losses[name] == 0 for name in NAMES)
    assert head._pilots is None


def test_masks_of_a_painted_picture_are_learnt():
    """Each box has a colour of its own, which its query finds inside."""
    torch.manual_seed(0)
    masks = boxes_of(*FEW)
    maps = [each * 0.1 for each in features(1)]
    for number, mask in enumerate(masks):
        for each in maps:
            stride = SIZE[0] // each.shape[2]
            half = stride // 2
            each[0, number] += 3 * torch.from_numpy(
                mask[half::stride, half::stride].astype(np.float32))
    head = head_of(pilot_noise=0.0)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    seen = []
    for _ in range(30):
        losses = head.loss(maps, [sample_of(masks)])
        seen.append(losses['mp_loss_mask'].item())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert np.mean(seen[-5:]) < 0.5 * np.mean(seen[:5])


@pytest.mark.parametrize('value', [-1, 2.5, True, '100'])
def test_another_number_is_refused(value):
    with pytest.raises(ValueError, match=f'mask_piloted .* got {value!r}'):
        head_of(value)


def test_needs_shared_points():
    with pytest.raises(ValueError, match='None without shared_points, got 4'):
        build_head(mask_piloted=4)


@pytest.mark.parametrize('noise', [-0.1, 1.5])
def test_noise_is_a_share(noise):
    with pytest.raises(ValueError, match=f'pilot_noise .* got {noise}'):
        head_of(pilot_noise=noise)


def test_a_label_counts_by_its_score_for_its_extra_query_too():
    head = head_of(score_power=1.0)
    samples = two_samples()
    for sample, scores in zip(samples, ([0., 0, 0, 0], [1., 1])):
        sample.gt_instances.scores = torch.tensor(scores)
    maps = [each.requires_grad_() for each in features()]
    losses = head.loss(maps, samples)
    gradient = torch.autograd.grad(losses['mp_loss_mask'], maps[0])[0]
    assert not gradient[0].any() and gradient[1].any()


def test_beside_queries_that_start_from_the_photo():
    head = head_of(query_grids=(2, 1), queries=5)
    losses = head.loss(features(), two_samples())
    assert all(torch.isfinite(losses[name]) for name in NAMES)
    sum(losses.values()).backward()
    assert head.pilot_query_feat.weight.grad.any()
    assert head.grid_queries.query_feat.weight.grad.any()


def test_in_bfloat16_the_losses_are_float32():
    head = head_of()
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss(features(), two_samples())
    assert {losses[name].dtype for name in NAMES} == {torch.float32}


def test_a_mask_between_the_cells_gets_no_query():
    masks = np.zeros((2, *SIZE), np.uint8)
    masks[0, 20, :] = 1  # one row of pixels, beside the centres of 4 x 4
    masks[1, :32, :32] = 1
    chosen, inside, draws = draw_pilots(
        BitMasks.from_dense(masks), SIZE, (16, 24), 4)
    assert chosen.tolist() == [1]
    assert inside.shape == draws.shape == (1, 16, 24)
