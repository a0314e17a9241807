"""Losses in which a ground truth counts by its score."""
import pytest
import torch

from sohes.models.dense_heads import entity_targets, point_mask2former_head
from tests.test_models.test_dense_heads.tiny_head import (
    FEW,
    Exchange,
    boxes_of,
    build_head,
    features,
    gradients,
    sample_of,
    two_samples,
    values,
)

#: Both ways to draw points.
HEADS = [dict(), dict(shared_points=True, soft_labels=True, one_to_many=2)]


def scored(*scores):
    """An image with nested entities and one with few, with their scores."""
    samples = two_samples()
    for sample, some in zip(samples, scores):
        sample.gt_instances.scores = torch.tensor(some)
    return samples


def weights(power, *scores):
    targets = [entity_targets.entity_targets(sample, torch.device('cpu'))
               for sample in scored(*scores)]
    entity_targets.add_score_weights(targets, power)
    return [each.weights.tolist() for each in targets]


@pytest.mark.parametrize(('power', 'expected'), [
    (1.0, [[0.4, 0.8, 1.2, 1.6], [0, 2.0]]),
    (2.0, [[6 / 55, 24 / 55, 54 / 55, 96 / 55], [0, 150 / 55]])])
def test_weights_of_a_batch_average_to_one(power, expected):
    found = weights(power, [0.1, 0.2, 0.3, 0.4], [0., 0.5])
    assert found[0] == pytest.approx(expected[0])
    assert found[1] == pytest.approx(expected[1])


def test_scores_that_are_no_scores():
    assert weights(0.5, [0.] * 4, [0.] * 2) == [[0] * 4, [0] * 2]
    assert weights(0.5, [-1., 1, 1, 1], [1.] * 2)[0][0] == 0
    assert weights(1.0) == [[1.] * 4, [1.] * 2]  # none are given


@pytest.mark.parametrize('options', HEADS, ids=['uncertain', 'shared'])
@pytest.mark.parametrize('scores', [(), ([0.3] * 4, [0.3] * 2)],
                         ids=['none', 'equal'])
def test_equal_scores_change_nothing(options, scores):
    expected = values(build_head(**options).loss(features(), two_samples()))
    head = build_head(score_power=1.0, **options)
    assert values(head.loss(features(), scored(*scores))) == pytest.approx(
        expected, rel=1e-5)


@pytest.mark.parametrize('options', HEADS, ids=['uncertain', 'shared'])
def test_off_reads_no_scores(options):
    losses = [values(build_head(**options).loss(features(), samples))
              for samples in (two_samples(), scored([.1, .9, 0, 1], [0, .2]))]
    assert losses[0] == losses[1]


@pytest.mark.parametrize('options', HEADS, ids=['uncertain', 'shared'])
def test_a_score_of_0_teaches_no_mask_and_no_entity(options):
    """All that the second image teaches has a score of 0."""
    head = build_head(score_power=1.0, **options)
    samples = scored([1.] * 4, [0.] * 2)
    maps = [each.requires_grad_() for each in features()]
    losses = head.loss(maps, samples)
    masks = sum(loss for name, loss in losses.items()
                if name.endswith(('loss_mask', 'loss_dice')))
    for gradient in torch.autograd.grad(masks, maps):
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() == 0
    # Without a positive score there is no mask loss at all.
    losses = values(head.loss(features(), scored([0.] * 4, [0.] * 2)))
    for name, loss in losses.items():
        if name.endswith(('loss_mask', 'loss_dice')):
            assert loss == 0
        assert loss == loss  # no NaN


def test_mask_losses_are_weighted_means():
    """Two images whose losses are known alone: 0.5 and 1.5 times each."""
    head = build_head(score_power=1.0).eval()
    few = [sample_of(boxes_of(*FEW), index) for index in range(2)]
    maps = features()
    alone = [values(head.loss([each[k:k + 1] for each in maps],
                              few[k:k + 1])) for k in range(2)]
    for sample, score in zip(few, (0.2, 0.6)):
        sample.gt_instances.scores = torch.full((2, ), score)
    both = values(head.loss(maps, few))
    for name in ('loss_mask', 'd0.loss_dice'):
        assert both[name] == pytest.approx(
            (0.5 * alone[0][name] + 1.5 * alone[1][name]) / 2, rel=1e-4)


def test_class_loss_by_hand():
    """Of six queries two are matched, the surer one with 0.5."""
    head = build_head(score_power=1.0).eval()
    truths = scored([1.] * 4, [0.1, 0.3])[1]
    targets = [entity_targets.entity_targets(truths, torch.device('cpu'))]
    logits = torch.zeros(1, 6, 2)
    logits[..., 0] = torch.tensor([3., -3, -3, -3, -3, 1])
    masks = torch.full((1, 6, 64, 96), -9.)
    for query, mask in zip((0, 5), boxes_of(*FEW)):
        masks[0, query] = torch.from_numpy(mask).float() * 18 - 9
    losses = head.loss_by_feat([logits], [masks], [torch.zeros(1, 6, 6)],
                               targets, [truths.metainfo])
    sure, less = torch.tensor([-3., -1]).exp().log1p().tolist()
    positive, negative = 0.5 * sure + 1.5 * less, 0.1 * 4 * sure
    assert losses['loss_cls'].item() == pytest.approx(
        2.0 * (positive + negative) / (2 + 0.4), rel=1e-5)


@pytest.mark.parametrize('options', HEADS, ids=['uncertain', 'shared'])
def test_two_halves_learn_what_the_whole_batch_does(monkeypatch, options):
    head = build_head(score_power=1.0, loss_ancestor=None, **options).eval()
    maps, samples = features(), scored([.1, .9, 0, .5], [.2, .3])
    losses = head.loss(maps, samples)
    whole, expected = gradients(head, losses), values(losses)
    exchange = Exchange()
    for module in (entity_targets, point_mask2former_head):
        monkeypatch.setattr(module, 'reduce_mean', exchange)
    # The weights come first; what is exchanged after them depends on them.
    for exchange.known in (0, 1, 99):
        halves, parts = [], []
        for exchange.rank in range(2):
            exchange.call = 0
            half = slice(exchange.rank, exchange.rank + 1)
            losses = head.loss([each[half] for each in maps], samples[half])
            halves.append(gradients(head, losses))
            parts.append(values(losses))
    mean = {name: (parts[0][name] + parts[1][name]) / 2 for name in expected}
    assert mean == pytest.approx(expected, rel=1e-5)
    for name, gradient in whole.items():
        both = (halves[0][name] + halves[1][name]) / 2
        assert torch.allclose(both, gradient, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize('power', [-0.5, float('nan'), float('inf')])
def test_powers_that_are_refused(power):
    with pytest.raises(ValueError, match=f'score_power .* got {power}'):
        build_head(score_power=power)
