"""Adan by hand, and learning rates by depth."""
import sys
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from sohes.engine.optimizers import LayerDecayOptimWrapperConstructor
from sohes.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from tests.test_models.test_backbones.tiny_adapter import tiny_adapter

LR, DECAY = 0.1, 0.02
ADAN = dict(type='sohes.Adan', lr=LR, weight_decay=DECAY)


@pytest.mark.parametrize('foreach', (False, True))
def test_two_steps_of_adan(foreach: bool) -> None:
    """Algorithm 1 of Xie et al. 2022 with its code's bias correction.

    The paper's betas (0.02, 0.08, 0.01), gradients 0.5 and -0.2.
    """
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    adan = OPTIMIZERS.build(
        dict(
            **ADAN,
            params=[weight],
            betas=(0.98, 0.92, 0.99),
            eps=0.0,
            foreach=foreach))

    weight.grad = torch.full_like(weight, 0.5)
    adan.step()
    # m = 0.02 * 0.5, over 0.02: 0.5; v = 0; n = 0.01 * 0.25, over 0.01
    first = (1 - LR * 0.5 / 0.25**0.5) / (1 + LR * DECAY)
    assert weight.item() == pytest.approx(first, rel=1e-12)
    assert first == pytest.approx(0.8982035928)

    weight.grad = torch.full_like(weight, -0.2)
    adan.step()
    m = (0.98 * 0.01 - 0.02 * 0.2) / (1 - 0.98**2)
    v = 0.08 * (-0.2 - 0.5) / (1 - 0.92**2)
    n = (0.99 * 0.0025 + 0.01 * (-0.2 + 0.92 * -0.7)**2) / (1 - 0.99**2)
    second = (first - LR * (m + 0.92 * v) / n**0.5) / (1 + LR * DECAY)
    assert weight.item() == pytest.approx(second, rel=1e-12)
    assert second == pytest.approx(0.923563, abs=1e-5)


def test_adan_resumes_where_it_stopped() -> None:
    """The previous gradient is part of the state, too."""
    def weights(count: int) -> nn.Parameter:
        weight = nn.Parameter(torch.ones(3))
        adan = OPTIMIZERS.build(dict(**ADAN, params=[weight]))
        for step in range(4):
            if step == count:
                state = adan.state_dict()
                adan = OPTIMIZERS.build(dict(**ADAN, params=[weight]))
                adan.load_state_dict(state)
            weight.grad = torch.tensor([1.0, -2.0, 0.5]) * (step - 1.5)
            adan.step()
        return weight

    assert torch.equal(weights(2), weights(-1))


def wrapper_cfg(**kwargs: Any) -> dict[str, Any]:
    """Config of an OptimWrapper with Adan in it."""
    return dict(
        type='OptimWrapper',
        optimizer=dict(ADAN),
        clip_grad=dict(max_norm=0.01),
        **kwargs)


def test_optim_wrapper_trains_with_adan() -> None:
    model = nn.Linear(3, 1)
    wrapper = build_optim_wrapper(
        model, wrapper_cfg(paramwise_cfg=dict(bias_decay_mult=0.0)))
    assert type(wrapper.optimizer).__name__ == 'Adan'
    assert wrapper.optimizer.defaults['betas'] == (0.98, 0.92, 0.99)
    decays = [g['weight_decay'] for g in wrapper.optimizer.param_groups]
    assert decays == [DECAY, 0.0]
    before = model.weight.clone()
    wrapper.update_params(model(torch.ones(2, 3)).sum())
    assert not torch.equal(before, model.weight)


def test_adan_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm.optim', None)
    with pytest.raises(ImportError, match='needs the package timm'):
        OPTIMIZERS.build(dict(**ADAN, params=[nn.Parameter(torch.ones(1))]))


class Detector(nn.Module):
    """A backbone and a head, as detectors have them."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = tiny_adapter()
        self.head = nn.Linear(2, 2)


class Teacher(nn.Module):
    """A detector one level deeper, as semi-supervised ones have it."""

    def __init__(self) -> None:
        super().__init__()
        self.student = Detector()


def rates(model: nn.Module, **paramwise: Any) -> dict[str, float]:
    """lr of every parameter, by its name."""
    wrapper = build_optim_wrapper(
        model,
        wrapper_cfg(
            constructor='sohes.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.5, **paramwise)))
    lr = {
        id(p): group['lr']
        for group in wrapper.optimizer.param_groups for p in group['params']
    }
    return {name: lr[id(p)] for name, p in model.named_parameters()}


@pytest.mark.parametrize(('model', 'prefix'),
                         ((Detector, ''), (Teacher, 'student.')))
def test_layer_decay_in_a_detector(model: type, prefix: str) -> None:
    found = rates(model())
    for name, power in (('backbone.vit.pos_embed', 5),
                        ('backbone.vit.patch_embed.projection.weight', 5),
                        ('backbone.vit.layers.0.attn.qkv.weight', 4),
                        ('backbone.vit.layers.3.ln2.bias', 1),
                        ('backbone.injectors.0.gamma', 0),
                        ('backbone.up.weight', 0), ('head.weight', 0)):
        assert found[prefix + name] == pytest.approx(LR * 0.5**power), name


def test_layer_decay_times_lr_mult() -> None:
    found = rates(
        Detector(), custom_keys={'backbone.vit': dict(lr_mult=0.1)})
    name = 'backbone.vit.layers.1.ln1.weight'
    assert found[name] == pytest.approx(LR * 0.1 * 0.5**3)
    assert found['backbone.up.weight'] == pytest.approx(LR)


def test_layer_decay_without_a_backbone() -> None:
    with pytest.raises(ValueError, match='Linear has no backbone'):
        rates(nn.Linear(2, 2))


@pytest.mark.parametrize('rate', (None, 0, 1.5, 'a'))
def test_layer_decay_rate_out_of_range(rate: Any) -> None:
    assert OPTIM_WRAPPER_CONSTRUCTORS.get(
        'LayerDecayOptimWrapperConstructor'
    ) is LayerDecayOptimWrapperConstructor
    with pytest.raises(ValueError, match=r'in \(0, 1\], found'):
        LayerDecayOptimWrapperConstructor(
            wrapper_cfg(), dict(layer_decay_rate=rate))
