"""Adan, the paper's optimiser, out of timm."""
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from sohes.registry import OPTIMIZERS


@OPTIMIZERS.register_module(name='Adan')
def build_adan(params: Iterable, **kwargs: Any) -> Optimizer:
    """timm's Adan (Xie et al. 2022, Algorithm 1), imported when wanted.

    Betas are what the running means keep, as Adam's are: the paper's
    betas are 1 minus these. Its (0.02, 0.08, 0.01) is (0.98, 0.92, 0.99)
    here, which is the default. Weight decay is the paper's: the weights
    are divided by 1 + lr * weight_decay after the step.

    Args:
        params: weights or groups of them.
        kwargs: of ``timm.optim.Adan``: lr, betas, eps, weight_decay, ...

    Raises:
        ImportError: timm is not installed, or has no Adan.
    """
    try:
        from timm.optim import Adan
    except ImportError as error:
        raise ImportError(
            f'sohes.Adan needs the package timm ({error}), which the extras '
            "of sohes, 'onedl' and 'openmmlab', bring") from error
    return Adan(params, **kwargs)
