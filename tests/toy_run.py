"""A model and data so small that a run takes seconds, but with everything
random that a real one has."""
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn

_RUNS = itertools.count()


class ToySample:
    """What a loss hook asks of a data sample."""

    def __init__(self, img_path: str, target: torch.Tensor) -> None:
        self.img_path = img_path
        self.target = target


@DATASETS.register_module(force=True)
class ToyData(torch.utils.data.Dataset):
    """Ten points, moved by noise that depends on the draw."""
    metainfo = dict(classes=('entity', ))

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = np.random.default_rng(getattr(index, 'entropy', 0)).random(
            4, np.float32)
        point = torch.arange(4) / 4 + index / 10 + torch.from_numpy(noise)
        return dict(inputs=point,
                    data_samples=ToySample(f'{int(index)}.jpg', point.sum()))


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """Two linear layers with dropout between them; can be told to diverge.

    Where ``TOY_KILL_AT`` is set, the process kills itself in that step.

    Args:
        width: of the hidden layer.
        dropout: probability.
        nan_at: the step, from 1, whose loss is nan; 0: none.
    """

    def __init__(self, width: int = 8, dropout: float = 0.5,
                 nan_at: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, width), nn.LayerNorm(width), nn.Dropout(dropout),
            nn.Linear(width, 1))
        self.nan_at = nan_at
        self.step = 0

    def forward(self, inputs: list, data_samples: list | None = None,
                mode: str = 'tensor') -> Any:
        output = self.layers(torch.stack(inputs))[:, 0]
        if mode != 'loss':
            return list(output)
        self.step += 1
        if self.step == int(os.environ.get('TOY_KILL_AT', 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        target = torch.stack([sample.target for sample in data_samples])
        loss = (output - target).square().mean()
        return dict(loss=loss * float('nan') if self.step == self.nan_at
                    else loss)


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """Draws from every generator, as a careless metric may."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(float(torch.rand(1) + np.random.rand()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(mean=float(np.mean(results)))


def toy_config(work_dir: Path, iters: int = 8, interval: int = 4,
               workers: int = 0, **model: Any) -> dict[str, Any]:
    """A configuration for Config(), of the plainest types.

    Args:
        work_dir: of the run.
        iters: steps.
        interval: steps from one checkpoint and validation to the next.
        workers: processes of the loader.
        **model: arguments of :class:`ToyModel`.
    """
    loader = dict(
        dataset=dict(type='ToyData'), batch_size=2, num_workers=workers)
    return dict(
        custom_imports=dict(imports=['tests.toy_run']),
        default_scope='mmengine',
        experiment_name=f'toy{next(_RUNS)}',
        work_dir=str(work_dir),
        model=dict(type='ToyModel', **model),
        train_dataloader=dict(
            loader, sampler=dict(type='sohes.ResumableSampler')),
        val_dataloader=dict(
            loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='ToyMetric'),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.01),
            clip_grad=dict(max_norm=1.)),
        param_scheduler=dict(
            type='MultiStepLR', by_epoch=False, milestones=[6]),
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=iters,
            val_interval=interval),
        val_cfg=dict(),
        test_dataloader=dict(
            loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        test_evaluator=dict(type='ToyMetric'),
        test_cfg=dict(),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=interval),
            logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[
            dict(type='sohes.RandomStateHook'),
            dict(type='sohes.NonFiniteLossHook')
        ],
        auto_scale_lr=dict(enable=False, base_batch_size=2),
        log_processor=dict(type='LogProcessor', by_epoch=False),
        randomness=dict(seed=0))


def write_config(path: Path, config: dict[str, Any]) -> Path:
    """A configuration as a file."""
    path.write_text(''.join(f'{k} = {v!r}\n' for k, v in config.items()))
    return path


def weights(path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's weights."""
    return torch.load(path, weights_only=False)['state_dict']
