"""Muon, out of timm."""
import functools
from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

import torch
from torch.optim import Optimizer

from sohes.registry import OPTIMIZERS
from sohes.utils.errors import UsageError
from sohes.utils.precision import fast_dtype


@OPTIMIZERS.register_module(name='Muon')
def build_muon(params: Iterable, **kwargs: Any) -> Optimizer:
    """timm's Muon (Jordan et al. 2024), imported when wanted.

    A weight matrix takes a step in the direction of the orthogonal matrix
    nearest to its running mean gradient, so that the few directions in which
    the gradient is large do not outweigh all others. The weights of a
    convolution count as a matrix of out rows. By timm's default
    ``adjust_lr_fn`` the step is as long as AdamW's usually is, so ``lr`` and
    ``weight_decay`` may be AdamW's.

    AdamW, with ``nesterov`` NAdamW, trains the other weights: those of one
    dimension, matrices that are too thin (fewer than 4 rows or columns, or
    one side over 128 times the other), and those of a group without weight
    decay where ``weight_decay`` is not 0, which are the norms and embeddings
    in mmdet's configurations. A group's own ``use_fallback`` or ``use_muon``
    counts before that.

    Args:
        params: Weights, or groups of them.
        kwargs: Of ``timm.optim.Muon``: lr, weight_decay, momentum, nesterov,
            ``fallback_lr_scale`` (AdamW's rate over Muon's), ...

    Raises:
        ImportError: timm is not installed, or has no Muon.
    """
    try:
        made = _muon_class()
    except ImportError as error:
        raise ImportError(
            f'sohes.Muon needs the package timm ({error}), which the extras '
            "of sohes, 'onedl' and 'openmmlab', bring") from error
    groups = [
        dict(each) if isinstance(each, dict) else each for each in params
    ]
    decay = kwargs.get('weight_decay', 0.0)
    for group in groups:
        if (isinstance(group, dict) and decay
                and not group.get('weight_decay', decay)
                and not group.keys() & {'use_fallback', 'use_muon'}):
            group['use_fallback'] = True
    return made(groups, **kwargs)


def _muon_class() -> type[Optimizer]:
    """timm's class, with float32 where bfloat16 is computed in software."""
    from timm.optim import Muon, muon

    class FastMuon(Muon):
        """As timm's: it orthogonalises in bfloat16 and has no key for that.

        A processor without instructions for it takes some forty times as
        long as in float32, more than for all the rest of a training step.
        """

        @torch.no_grad()
        def step(self, closure: Callable | None = None) -> Any:
            devices = {weight.device.type for group in self.param_groups
                       for weight in group['params']}
            if all(fast_dtype(device) == 'bf16' for device in devices):
                return super().step(closure)
            in_float32 = functools.partial(
                muon.zeropower_via_newtonschulz, dtype=torch.float32)
            with mock.patch.object(muon, 'zeropower_via_newtonschulz',
                                   in_float32):
                return super().step(closure)

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            """Load the state of a run with Muon.

            Raises:
                UsageError: The state is another optimizer's.
            """
            saved = state_dict['param_groups']
            if saved and (missing := sorted(
                    self.param_groups[0].keys() - saved[0].keys())):
                raise UsageError(
                    'the checkpoint was trained by another optimizer than '
                    f'sohes.Muon (its state lacks {", ".join(missing)}): '
                    'leave out --resume and start from its weights in a new '
                    'work_dir with --cfg-options load_from=CHECKPOINT')
            super().load_state_dict(state_dict)

    return FastMuon
