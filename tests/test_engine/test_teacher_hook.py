"""The moving average of a toy's weights, by hand."""
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from torch import nn

from sohes.engine.hooks.teacher_hook import TeacherHook
from tests.toy_run import toy_config, weights


@MODELS.register_module(force=True)
class ToyPair(BaseModel):
    """A student with batch norm, and its teacher."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.student, self.teacher = (nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 1))
            for _ in range(2))
        self.teacher.requires_grad_(False)

    def forward(self, inputs: list, data_samples: list,
                mode: str = 'tensor') -> Any:
        output = self.student(torch.stack(inputs))[:, 0]
        if mode != 'loss':
            return list(output)
        target = torch.stack([sample.target for sample in data_samples])
        return dict(loss=(output - target).square().mean())


@HOOKS.register_module(force=True)
class Watch(Hook):
    """Copies student and teacher after every iteration."""
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        self.seen = [_copied(runner)]

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        self.seen.append(_copied(runner))


def _copied(runner: Runner) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def pair_config(work_dir: Path, accumulate: int = 1, hook: dict | None = None,
                **changes: Any) -> Config:
    config = toy_config(work_dir)
    config['model'] = dict(type='ToyPair')
    config['optim_wrapper']['accumulative_counts'] = accumulate
    config['custom_hooks'] = [
        dict(type='sohes.TeacherHook', momentum=0.25, **(hook or {})),
        dict(type='sohes.RandomStateHook'), dict(type='Watch')
    ]
    return Config({**config, **changes})


def run(config: Config) -> list[dict[str, torch.Tensor]]:
    """Train; what the models were before the first and after each step."""
    runner = Runner.from_cfg(config)
    runner.train()
    return next(h for h in runner.hooks if isinstance(h, Watch)).seen


def test_average_by_hand_of_weights_and_buffers(tmp_path):
    seen = run(pair_config(tmp_path))
    names = [name.removeprefix('student.') for name in seen[0]
             if name.startswith('student.')]
    assert '1.running_mean' in names
    for name in names:
        student = [state[f'student.{name}'] for state in seen]
        teacher = [state[f'teacher.{name}'] for state in seen]
        if not student[0].is_floating_point():
            assert [int(step) for step in student] == list(range(9))
            assert [int(step) for step in teacher] == [0] * 9
            continue
        assert torch.equal(teacher[0], student[0])
        expected = student[0]
        for now, found in zip(student[1:], teacher[1:]):
            expected = 0.75 * expected + 0.25 * now
            torch.testing.assert_close(found, expected)
        assert not torch.equal(teacher[-1], student[-1])


def test_buffers_can_be_left_alone(tmp_path):
    seen = run(pair_config(tmp_path, hook=dict(skip_buffer=True)))
    name = 'teacher.1.running_mean'
    assert torch.equal(seen[0][name], seen[-1][name])
    assert not torch.equal(seen[0]['teacher.0.weight'],
                           seen[-1]['teacher.0.weight'])


@pytest.mark.parametrize(
    'amp', [False, pytest.param(True, marks=pytest.mark.cuda)])
def test_it_moves_when_the_student_was_updated(tmp_path, amp):
    config = pair_config(tmp_path, accumulate=3)
    if amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.dtype = 'bfloat16'
    seen = run(config)
    moved = {
        who: [not torch.equal(a[f'{who}.0.weight'], b[f'{who}.0.weight'])
              for a, b in zip(seen, seen[1:])]
        for who in ('student', 'teacher')
    }
    # Every third of 8, and the last, when mmengine uses up what there is.
    expected = [False, False, True, False, False, True, False, True]
    assert moved == dict(student=expected, teacher=expected)


def test_resumed_is_the_run_that_was_never_stopped(tmp_path):
    run(pair_config(tmp_path / 'whole'))
    halves = tmp_path / 'halves'
    halves.mkdir()
    shutil.copy(tmp_path / 'whole/iter_4.pth', halves)
    config = pair_config(halves, resume=True,
                         load_from=str(halves / 'iter_4.pth'))
    torch.manual_seed(99)
    assert len(run(config)) == 5
    expected = weights(tmp_path / 'whole/iter_8.pth')
    for name, value in weights(halves / 'iter_8.pth').items():
        assert torch.equal(value, expected[name]), name


def test_a_teacher_that_was_loaded_is_kept(tmp_path):
    run(pair_config(tmp_path / 'first'))
    path = tmp_path / 'first/iter_4.pth'
    start = run(pair_config(tmp_path / 'second', load_from=str(path)))[0]
    for name, value in weights(path).items():
        assert torch.equal(value, start[name]), name
    assert not torch.equal(start['teacher.0.weight'],
                           start['student.0.weight'])


@pytest.mark.parametrize('momentum', [0, 1, -0.1])
def test_momentum_out_of_range(momentum):
    with pytest.raises(ValueError, match=r'must be in \(0, 1\), got'):
        TeacherHook(momentum=momentum)
