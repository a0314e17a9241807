"""Muon: which way it steps, how far, and which weights are AdamW's."""
import sys

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from sohes.registry import OPTIMIZERS
from sohes.utils.errors import UsageError

LR = 0.01
MUON = dict(type='sohes.Muon', lr=LR)
GRADIENT = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def first_step() -> Tensor:
    """How a (6, 4) weight moves, in the gradient's singular vectors."""
    weight = nn.Parameter(torch.zeros(6, 4))
    weight.grad = GRADIENT.clone()
    OPTIMIZERS.build(dict(MUON, params=[weight])).step()
    left, _, right = torch.linalg.svd(GRADIENT, full_matrices=False)
    return left.T @ weight.detach() @ right.T


def test_all_directions_of_the_gradient_count_the_same() -> None:
    moved = first_step()
    # As far as AdamW: a root mean square of 0.2 lr, where all singular
    # values are 1. The five iterations come within 0.3 of that.
    sizes = -moved.diagonal() / (LR * 0.2 * 6**0.5)
    assert sizes.min() > 0.7
    assert sizes.max() < 1.3
    values = torch.linalg.svdvals(GRADIENT)
    assert values.max() > 3 * values.min()


@pytest.mark.parametrize('dtype, error', [('fp32', (0.0, 1e-5)),
                                          ('bf16', (1e-4, 0.1))])
def test_float32_where_bfloat16_is_slow(dtype: str,
                                        error: tuple[float, float],
                                        monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    """What is off the diagonal comes of rounding alone."""
    monkeypatch.setattr('sohes.engine.optimizers.muon.fast_dtype',
                        lambda device: dtype)
    moved = first_step()
    off = (moved - moved.diagonal().diag()).abs().max() / moved.abs().max()
    assert error[0] <= off < error[1]


class Model(nn.Module):
    """A matrix, a bias, a convolution and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 6)
        self.conv = nn.Conv2d(4, 5, 3)
        self.query_feat = nn.Embedding(7, 6)


@pytest.mark.parametrize('nesterov, first', [(False, 1.0), (True, 1.9)])
def test_norms_and_embeddings_are_adamws(nesterov: bool,
                                         first: float) -> None:
    model = Model()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(MUON, weight_decay=0.05, fallback_lr_scale=0.5,
                           nesterov=nesterov),
            paramwise_cfg=dict(
                custom_keys=dict(query_feat=dict(decay_mult=0.0)))))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    wrapper.optimizer.step()
    moved = {n: before[n] - p for n, p in model.named_parameters()}
    # The first step of AdamW is as long as its rate, for every number;
    # NAdamW's is 1.9 times as long.
    step = LR / 2 * first
    torch.testing.assert_close(
        moved['query_feat.weight'],
        torch.full_like(before['query_feat.weight'], step))
    torch.testing.assert_close(
        moved['linear.bias'], step + LR / 2 * 0.05 * before['linear.bias'])
    for name in ('linear.weight', 'conv.weight'):
        muon = moved[name] - LR * 0.05 * before[name]
        assert muon.std() < 1e-3 * muon.mean()  # of ones: of rank 1
        assert abs(muon.mean() - step) > 1e-4


def test_a_group_may_choose() -> None:
    weight = nn.Parameter(torch.zeros(6, 4))
    weight.grad = GRADIENT.clone()
    group = dict(params=[weight], weight_decay=0.0, use_muon=True)
    muon = OPTIMIZERS.build(dict(MUON, params=[group], weight_decay=0.1))
    muon.step()
    assert muon.state[weight]['use_muon'] is True


def test_resumes_where_it_stopped() -> None:
    def weights(count: int) -> list[Tensor]:
        torch.manual_seed(0)
        model = Model()
        groups = [dict(params=[model.linear.weight, model.linear.bias]),
                  dict(params=[model.query_feat.weight], weight_decay=0.0)]
        cfg = dict(MUON, params=groups, weight_decay=0.1, nesterov=True)
        muon = OPTIMIZERS.build(cfg)
        for step in range(4):
            if step == count:
                state = muon.state_dict()
                muon = OPTIMIZERS.build(cfg)
                muon.load_state_dict(state)
            for group in groups:
                for weight in group['params']:
                    weight.grad = torch.sin(weight.detach() * 9 + step)
            muon.step()
        return list(model.parameters())

    assert all(map(torch.equal, weights(2), weights(-1)))


def test_another_optimizers_state_is_refused() -> None:
    weight = nn.Parameter(torch.zeros(6, 4))
    state = torch.optim.AdamW([weight]).state_dict()
    muon = OPTIMIZERS.build(dict(MUON, params=[weight]))
    with pytest.raises(UsageError, match=r'another optimizer .*momentum.*'
                       r'load_from=CHECKPOINT'):
        muon.load_state_dict(state)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm.optim', None)
    with pytest.raises(ImportError, match='sohes.Muon needs the package timm'):
        OPTIMIZERS.build(dict(MUON, params=[nn.Parameter(torch.ones(2, 2))]))
