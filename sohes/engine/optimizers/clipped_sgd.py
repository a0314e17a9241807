"""SGD whose gradients are clipped one parameter at a time."""
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD

from sohes.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class ClippedSGD(SGD):
    """torch's ``SGD`` with the clipping that HASSOD trains with.

    ``clip_grad`` of mmengine's optimizer wrappers bounds the norm over all
    parameters together: one layer that explodes makes the step of all others
    small. Here every parameter's gradient has a bound of its own. In mixed
    precision the gradients are already unscaled when a step is made.

    Args:
        params: weights or groups of them.
        max_norm (float): of each parameter's gradient, above 0.
        **kwargs: of ``torch.optim.SGD``: lr, momentum, weight_decay, ...

    Raises:
        ValueError: if ``max_norm`` is not above 0.
    """

    def __init__(self, params: Any, max_norm: float = 1.0,
                 **kwargs: Any) -> None:
        if not max_norm > 0:
            raise ValueError(f'max_norm must be above 0, got {max_norm}')
        super().__init__(params, **kwargs)
        self.max_norm = max_norm

    def step(self, closure: Callable | None = None) -> Any:
        """Clip, then step as ``SGD`` does."""
        for group in self.param_groups:
            for weight in group['params']:
                if weight.grad is not None:
                    torch.nn.utils.clip_grad_norm_([weight], self.max_norm)
        return super().step(closure)
