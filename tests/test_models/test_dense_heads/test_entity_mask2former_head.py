
import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import Mask2FormerHead, mask2former_head
from mmdet.structures.mask import BitmapMasks

from sohes.models.dense_heads import (
    ancestor_head,
    point_mask2former_head,
)
from sohes.structures.bit_masks import BitMasks
from sohes.utils.random_state import seeded_random
from tests.test_models.test_dense_heads.tiny_head import (
    FEW,
    NESTED,
    Exchange,
    boxes_of,
    build_head,
    features,
    fill,
    gradients,
    head_config,
    sample_of,
    two_samples,
    values,
)

SIZE = (64, 96)


def test_forward_shapes():
    classes, masks, ancestors = build_head()(features())
    assert [each.shape for each in classes] == [(2, 6, 2)] * 3
    assert [each.shape for each in masks] == [(2, 6, 16, 24)] * 3
    assert [each.shape for each in ancestors] == [(2, 6, 6)] * 3


@pytest.mark.parametrize('xavier', [True, False])
def test_the_decoder_starts_by_xaviers_rule_or_as_torch_makes_it(xavier):
    head = build_head(xavier_init=xavier)
    decoder = head.transformer_decoder
    before = [each.clone() for each in decoder.parameters()]
    memory = [each.clone() for each in head.pixel_decoder.parameters()]
    head.init_weights()
    kept = [torch.equal(*pair) for pair in zip(before, decoder.parameters())]
    assert all(kept) is not xavier
    assert not all(torch.equal(*pair) for pair in zip(
        memory, head.pixel_decoder.parameters()))


def test_golden_losses():
    # Weights, features and masks are numpy's; only the points are torch's,
    # whose CPU generator is the same in every release.
    losses = values(build_head().loss(features(), two_samples()))
    assert losses == pytest.approx(
        {
            'd0.loss_cls': 1.641143,
            'd0.loss_mask': 3.280157,
            'd0.loss_dice': 3.568809,
            'd0.loss_ancestor': 0.763781,
            'd1.loss_cls': 2.006554,
            'd1.loss_mask': 4.154027,
            'd1.loss_dice': 3.419410,
            'd1.loss_ancestor': 1.805942,
            'loss_cls': 0.820516,
            'loss_mask': 3.410558,
            'loss_dice': 3.543824,
            'loss_ancestor': 1.410104,
        },
        rel=1e-4)


def test_losses_are_named_as_mmdets():
    kinds = ('cls', 'mask', 'dice', 'ancestor')
    losses = build_head().loss(features(), two_samples())
    assert list(losses) == [
        f'{layer}loss_{kind}' for layer in ('d0.', 'd1.', '')
        for kind in kinds
    ]


@pytest.mark.parametrize('second', [FEW, []])
def test_other_losses_are_mmdets(monkeypatch, second):
    """Same weights, same points: the class and mask losses are stock's."""
    ours = build_head(seed_points=False)
    config = head_config()
    config.pop('type')
    stock = Mask2FormerHead(num_things_classes=1, num_stuff_classes=0,
                            **config)
    fill(stock)
    random = torch.from_numpy(
        np.random.default_rng(5).random((64, 2), np.float32))
    monkeypatch.setattr(torch, 'rand', lambda *_, **__: random[None])
    for module in (mask2former_head, point_mask2former_head):
        monkeypatch.setattr(
            module, 'get_uncertain_point_coords_with_randomness',
            lambda preds, *_: random.expand(len(preds), -1, -1))
    masks = [boxes_of(*NESTED), boxes_of(*second)]
    samples = [sample_of(each, index) for index, each in enumerate(masks)]
    got = ours.loss(features(), samples)
    for sample, each in zip(samples, masks):
        sample.gt_instances.masks = BitmapMasks(each.astype(np.uint8), *SIZE)
    expected = stock.loss(features(), samples)
    assert values(got) == pytest.approx(
        {
            **values(got),
            **values(expected)
        }, rel=1e-5, abs=1e-6)
    both = gradients(stock, expected)
    got = {name: loss for name, loss in got.items() if name in expected}
    ours.zero_grad()
    sum(got.values()).backward()
    for name, gradient in both.items():
        assert torch.allclose(
            ours.get_parameter(name).grad, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('boxes', [
    [],
    [(8, 8, 60, 60)],
    [(2 * i, 2 * i, 90 - 2 * i, 62 - 2 * i) for i in range(5)],
    [(8, 8, 60, 60)] * 4,
    [(8 * i, 0, 8 * i + 8, 30) for i in range(11)],
], ids=['none', 'one', 'nested', 'duplicates', 'more than queries'])
@pytest.mark.parametrize('matched_only', [False, True])
def test_every_parameter_learns(boxes, matched_only):
    head = build_head(
        loss_ancestor=dict(
            type='sohes.AncestorLoss', matched_only=matched_only))
    masks = boxes_of(*boxes)
    losses = head.loss(features(),
                       [sample_of(masks), sample_of(masks[:0], 1)])
    for name, gradient in gradients(head, losses).items():
        assert torch.isfinite(gradient).all(), name
        if name.startswith('ancestor_head') and not matched_only:
            assert gradient.abs().max() > 0
    assert np.isfinite(list(values(losses).values())).all()
    if not boxes:
        assert losses['loss_mask'] == losses['loss_dice'] == 0


def test_each_layer_teaches_ancestors():
    head = build_head()
    losses = head.loss(features(), two_samples())
    for prefix in ('d0.', 'd1.', ''):
        gradient, = torch.autograd.grad(
            losses[f'{prefix}loss_ancestor'],
            head.ancestor_head.ancestor.weight,
            retain_graph=True)
        assert gradient.abs().max() > 0


def test_targets_are_those_of_the_match():
    """Queries that are sure of one mask each: P in the order of queries."""
    head = build_head(queries=5)
    masks = boxes_of(*NESTED)
    sample = sample_of(masks)
    logits = torch.full((5, *SIZE), -9.)
    queries = [3, 1, 4, 0]  # of the whole, its part, the part's, the other
    logits[queries] = torch.from_numpy(masks).float() * 18 - 9
    meta = dict(sample.metainfo, points=(0, 0, 0))
    *_, matched = head._get_targets_single(
        torch.zeros(5, 2), logits, sample.gt_instances, meta)
    assert matched.tolist() == [3, 1, -1, 0, 2]
    targets = ancestor_head.ancestor_targets(
        matched, sample.gt_instances.ancestors)
    assert targets.nonzero().tolist() == [[1, 4], [3, 1], [3, 4]]


@pytest.mark.parametrize('pos_weight', [1.0, 'balanced'])
def test_two_halves_learn_what_the_whole_batch_does(monkeypatch, pos_weight):
    ancestor = dict(type='sohes.AncestorLoss', pos_weight=pos_weight,
                    matched_only=True)
    head = build_head(loss_ancestor=ancestor).eval()
    maps, samples = features(), two_samples()
    losses = head.loss(maps, samples)
    whole, expected = gradients(head, losses), values(losses)
    exchange = Exchange()
    for module in (ancestor_head, point_mask2former_head):
        monkeypatch.setattr(module, 'reduce_mean', exchange)
    halves, parts = [], []
    for exchange.known in (0, 99):
        for rank in range(2):
            exchange.rank, exchange.call = rank, 0
            losses = head.loss([each[rank:rank + 1] for each in maps],
                               samples[rank:rank + 1])
            if exchange.known:
                halves.append(gradients(head, losses))
                parts.append(values(losses))
    mean = {name: (parts[0][name] + parts[1][name]) / 2 for name in expected}
    assert mean == pytest.approx(expected, rel=1e-5)
    for name, gradient in whole.items():
        both = (halves[0][name] + halves[1][name]) / 2
        assert torch.allclose(both, gradient, rtol=1e-4, atol=1e-6), name


def test_points_depend_on_image_and_step_not_on_order():
    head = build_head().eval()
    maps, samples = features(), two_samples()
    first = values(head.loss(maps, samples))
    turned = values(head.loss([each.flip(0) for each in maps], samples[::-1]))
    assert turned == pytest.approx(first, rel=1e-5)
    head.point_step += 1
    assert head.loss(maps, samples)['loss_mask'] != first['loss_mask']
    other = build_head(point_seed=1).eval()
    assert other.loss(maps, samples)['loss_mask'] != first['loss_mask']


def test_a_resumed_head_draws_what_it_would_have_drawn():
    head, resumed = build_head(), build_head()
    maps, samples = features(), two_samples()
    head.loss(maps, samples)
    resumed.load_state_dict(head.state_dict())
    torch.rand(7)
    assert values(resumed.loss(maps, samples)) == values(
        head.loss(maps, samples))
    assert int(head.point_step) == 2
    head.eval().loss(maps, samples)
    assert int(head.point_step) == 2


def test_unseeded_points_are_torchs():
    head = build_head(seed_points=False)
    losses = []
    for _ in range(2):
        with seeded_random('once'):
            losses.append(values(head.loss(features(), two_samples())))
    assert losses[0] == losses[1]


@pytest.mark.parametrize('kind', ['bitmaps', 'tensor', 'padded'])
def test_masks_of_stock_pipelines(kind):
    size = (60, 91)
    masks = boxes_of(*NESTED, size=size)
    head = build_head().eval()
    maps = features(1)
    expected = values(head.loss(maps, [sample_of(masks, padded=SIZE)]))
    sample = sample_of(masks, padded=SIZE)
    truths = sample.gt_instances
    if kind == 'bitmaps':
        truths.masks = BitmapMasks(masks.astype(np.uint8), *size)
        del truths.ancestors  # then they come from coverage
    elif kind == 'tensor':
        truths.masks = torch.from_numpy(masks)
    else:
        truths.masks = truths.masks.pad(SIZE)
    assert values(head.loss(maps, [sample])) == pytest.approx(expected)


def test_no_full_masks_come_into_being(monkeypatch):
    def refuse(*_):
        raise AssertionError('a full mask')

    samples = two_samples()
    monkeypatch.setattr(BitMasks, 'dense', refuse)
    losses = build_head().loss(features(), samples)
    assert all(torch.isfinite(value).all() for value in losses.values())


def test_bfloat16_leaves_attention_over_points_and_losses_in_float32():
    head = build_head().eval()
    expected = values(head.loss(features(), two_samples()))
    seen = {}

    def note(name):
        def hook(module, _, output):
            seen[name] = output.dtype

        return hook

    head.pixel_decoder.encoder.layers[0].self_attn.register_forward_hook(
        note('points'))
    head.cls_embed.register_forward_hook(note('logits'))
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss(features(), two_samples())
    assert seen['points'] == torch.float32
    assert seen['logits'] == torch.bfloat16
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    # Queries before the first layer: no mask has turned attention yet.
    for name in ('d0.loss_cls', 'd0.loss_ancestor'):
        assert losses[name].item() == pytest.approx(expected[name], rel=0.02)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_nan_reaches_the_loss():
    """A hook reports it with the images' names: the matcher must not stop."""
    maps = features()
    maps[0][:] = float('nan')
    losses = build_head().loss(maps, two_samples())
    assert torch.isnan(losses['loss_mask'])


def test_wrong_ground_truths_are_named():
    head = build_head()
    sample = sample_of(boxes_of(*NESTED), img_id=7)
    sample.gt_instances.labels[2] = 17
    with pytest.raises(ValueError, match=r'labels of 7.jpg .*\[0, 17\]'):
        head.loss(features(1), [sample])
    sample = sample_of(boxes_of(*NESTED), img_id=7)
    sample.gt_instances = sample.gt_instances[:3]
    with pytest.raises(ValueError, match='7.jpg must be 3 x 3'):
        head.loss(features(1), [sample])
    sample = sample_of(boxes_of(*NESTED))
    sample.set_metainfo(dict(img_id=None))
    meta = {k: v for k, v in sample.metainfo.items() if k != 'img_id'}
    sample = type(sample)(gt_instances=sample.gt_instances, metainfo=meta)
    with pytest.raises(ValueError, match='no img_id'):
        head.loss(features(1), [sample])


def test_more_classes_are_refused():
    with pytest.raises(ValueError, match='got 80 and 53'):
        build_head(num_things_classes=80, num_stuff_classes=53)


def test_prediction_is_the_last_layers():
    """Of the layers before it no mask is drawn, which changes nothing."""
    head = build_head()
    with torch.no_grad():
        layers = head(features())
        last = head.predict(features(), two_samples())
    for every, one in zip(layers, last):
        assert len(every) == 3
        assert torch.equal(every[-1], one)
