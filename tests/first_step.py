"""Types that keep the loss and the gradients of a run's first step."""
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, OPTIMIZERS


@OPTIMIZERS.register_module(force=True)
class GradientSaver(torch.optim.SGD):
    """Writes all gradients in place of a step, in the parameters' order."""

    def __init__(self, params: Any, lr: float, out: str) -> None:
        super().__init__(params, lr)
        self.out = out

    def step(self, closure: Any = None) -> None:
        if get_rank() == 0:
            torch.save([p.grad for g in self.param_groups
                        for p in g['params']], self.out)


@HOOKS.register_module(force=True)
class LossSaver(Hook):
    """Writes the losses, averaged over the processes."""

    def __init__(self, out: str) -> None:
        self.out = Path(out)

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        losses = {k: v.detach().clone() for k, v in outputs.items()}
        for value in losses.values():
            all_reduce(value, 'mean')
        if runner.rank == 0:
            torch.save(losses, self.out)
