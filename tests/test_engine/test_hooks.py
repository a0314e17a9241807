"""Hooks on a run that really trains."""
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from sohes.engine.hooks import NonFiniteLossError
from sohes.utils.random_state import get_random_state, set_random_state
from tests.toy_run import toy_config, weights


def _train(config: dict, **changes) -> Runner:
    runner = Runner.from_cfg(Config({**config, **changes}))
    runner.train()
    return runner


def _scrambled() -> None:
    """What another program start does to the generators."""
    random.seed(99)
    np.random.seed(98)
    torch.manual_seed(97)


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('persistent', [False, True])
def test_resumed_run_equals_the_uninterrupted_bit_by_bit(
        tmp_path, workers, persistent):
    if persistent and not workers:
        pytest.skip('persistent workers need workers')
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    config = toy_config(whole, workers=workers)
    config['train_dataloader']['persistent_workers'] = persistent
    _train(config)
    halves.mkdir()
    shutil.copy(whole / 'iter_4.pth', halves)
    (halves / 'last_checkpoint').write_text(str(halves / 'iter_4.pth'))
    # A seed that is not the run's: the checkpoint's must win.
    config = toy_config(halves, workers=workers)
    config['train_dataloader']['persistent_workers'] = persistent
    _scrambled()
    _train(config, resume=True, randomness=dict(seed=None))
    expected = weights(whole / 'iter_8.pth')
    found = weights(halves / 'iter_8.pth')
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_without_the_hook_the_resumed_run_differs(tmp_path):
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    _train(toy_config(whole))
    halves.mkdir()
    shutil.copy(whole / 'iter_4.pth', halves)
    (halves / 'last_checkpoint').write_text(str(halves / 'iter_4.pth'))
    _train(toy_config(halves), resume=True, custom_hooks=[])
    assert not torch.equal(
        weights(whole / 'iter_8.pth')['layers.0.weight'],
        weights(halves / 'iter_8.pth')['layers.0.weight'])


def test_validation_leaves_training_alone(tmp_path):
    _train(toy_config(tmp_path / 'with'))
    config = toy_config(tmp_path / 'without')
    config['train_cfg']['val_interval'] = 100
    _train(config)
    assert torch.equal(
        weights(tmp_path / 'with/iter_8.pth')['layers.0.weight'],
        weights(tmp_path / 'without/iter_8.pth')['layers.0.weight'])


def test_loading_weights_starts_a_new_run(tmp_path):
    _train(toy_config(tmp_path / 'first'))
    runner = _train(
        toy_config(tmp_path / 'second'),
        load_from=str(tmp_path / 'first/iter_4.pth'))
    assert runner.iter == 8
    assert runner.train_dataloader.sampler.start == 0


def test_another_number_of_processes_is_said(tmp_path):
    _train(toy_config(tmp_path))
    path = tmp_path / 'iter_4.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['random_state']['ranks'] *= 3
    torch.save(checkpoint, path)
    (tmp_path / 'last_checkpoint').write_text(str(path))
    runner = _train(toy_config(tmp_path), resume=True)
    log = Path(runner.logger.log_file).read_text()
    assert 'the checkpoint is of 3 processes, this run has 1' in log


def test_nan_loss_stops_the_run_and_names_the_images(tmp_path):
    config = toy_config(tmp_path, interval=2, nan_at=4)
    seen = []
    with pytest.raises(NonFiniteLossError) as error:
        runner = Runner.from_cfg(Config(config))
        sampler = iter(runner.train_dataloader.sampler)
        seen = [int(next(sampler)) for _ in range(8)]
        runner.train()
    assert str(error.value) == (
        f'iteration 4: loss is nan on {seen[6]}.jpg, {seen[7]}.jpg; the run '
        'stops before it saves this; the last checkpoint is '
        f'{tmp_path / "iter_2.pth"}')
    assert not (tmp_path / 'iter_4.pth').exists()
    assert all(t.isfinite().all()
               for t in weights(tmp_path / 'iter_2.pth').values())


def test_infinite_gradient_of_a_finite_loss_stops_the_run(tmp_path):
    runner = Runner.from_cfg(Config(toy_config(tmp_path)))
    weight = runner.model.layers[0].weight
    weight.register_hook(lambda grad: grad * float('inf'))
    with pytest.raises(NonFiniteLossError, match='iteration 1: the norm of '
                       'the gradient is (inf|nan) on .*; the last checkpoint '
                       'is none yet'):
        runner.train()


def test_every_generator_is_put_back():
    _scrambled()
    before = get_random_state()
    first = random.random(), np.random.rand(), torch.rand(1).item()
    set_random_state(before)
    assert first == (random.random(), np.random.rand(), torch.rand(1).item())
