"""Stops a run whose loss is no number any more."""
import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from sohes.registry import HOOKS


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is infinite or no number."""
    exit_code = 1


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops at the first loss or gradient that is infinite or no number.

    Such a step has spoiled the weights, and what comes after it is lost
    time. The run ends before they are saved, so the last checkpoint is whole
    and ``--resume`` continues from it. The message names the images of the
    batch, of whichever process it happened on: the others must stop as well,
    since they averaged their gradients with that one's.

    With automatic mixed precision the gradient is not looked at: there the
    loss scaler itself leaves out a step whose gradient overflowed.
    """
    # Before CheckpointHook (VERY_LOW).
    priority = 'NORMAL'

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: Mapping[str, Any] | None = None) -> None:
        """Check the losses of this step.

        Raises:
            NonFiniteLossError: if one is not finite on any process.
        """
        bad = [
            f'{name} is {float(value)}'
            for name, value in (outputs or {}).items() if _not_finite(value)
        ]
        norm = runner.message_hub.log_scalars.get('train/grad_norm')
        if (not bad and norm is not None
                and not isinstance(runner.optim_wrapper, AmpOptimWrapper)
                and _not_finite(norm.current())):
            bad = [f'the norm of the gradient is {float(norm.current())}']
        anywhere = torch.tensor(float(bool(bad)))
        all_reduce(anywhere, 'max')
        if not anywhere:
            return
        found = all_gather_object((bad, image_names(data_batch)))
        messages = [
            f'{", ".join(bad)} on {", ".join(names)}' for bad, names in found
            if bad
        ]
        last = runner.message_hub.runtime_info.get('last_ckpt')
        raise NonFiniteLossError(
            f'iteration {runner.iter + 1}: {"; ".join(messages)}; the run '
            'stops before it saves this; the last checkpoint is '
            f'{last or "none yet"}')


def image_names(data_batch: Any) -> list[str]:
    """What to call the images of a batch.

    Args:
        data_batch: as a loader gives it, with ``data_samples``, a list or
            one for each branch.

    Returns:
        list[str]: their ``img_path``, or ``img_id`` where there is none.
    """
    samples = []
    if isinstance(data_batch, Mapping):
        samples = data_batch.get('data_samples', [])
    if isinstance(samples, Mapping):  # Phase 3's branches
        samples = [one for branch in samples.values() for one in branch]
    names = []
    for sample in samples:
        path = getattr(sample, 'img_path', None)
        names.append(str(path or getattr(sample, 'img_id', 'an image')))
    # Two views of an image have one name.
    return list(dict.fromkeys(names)) or ['a batch of images without names']


def _not_finite(value: Any) -> bool:
    """Whether a logged value, a number or a 0-dim tensor, is nan or inf."""
    value = value.detach() if isinstance(value, torch.Tensor) else value
    return not math.isfinite(float(value))

