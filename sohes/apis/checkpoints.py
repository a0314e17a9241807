"""Whether a checkpoint is of this configuration."""
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from sohes.apis.generate import UsageError

# What makes a run the run it is, and what may change in it all the same.
_SECTIONS = ('model', 'train_dataloader', 'optim_wrapper', 'randomness')
_MAY_CHANGE = re.compile(
    r'.*(num_workers|persistent_workers|pin_memory|prefetch_factor|with_cp|'
    r'data_root|weights)$|.*init_cfg|'
    # Its shape may be spelt out or read from its weights; the weights of
    # the checkpoint are compared with the model anyway.
    r'model\.(detector\.)?backbone\.vit(\.|$)')


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Args:
        path: a file written by a training run.

    Returns:
        dict: with ``state_dict`` and ``meta``.

    Raises:
        UsageError: if there is no such file or it is no checkpoint.
    """
    if not Path(path).is_file():
        raise UsageError(f'{path}: no such checkpoint')
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=False)
    except Exception as error:  # torch raises whatever a broken file causes
        raise UsageError(
            f'{path} is no checkpoint, or it was cut off while it was '
            f'written ({type(error).__name__})') from error
    if not isinstance(checkpoint, Mapping):
        raise UsageError(f'{path} is no checkpoint: it holds a '
                         f'{type(checkpoint).__name__}')
    if not isinstance(checkpoint.get('state_dict'), Mapping):
        checkpoint = dict(state_dict=checkpoint)
    return {'meta': {}, **checkpoint}


def check_weights(path: str | Path, checkpoint: Mapping[str, Any],
                  model: nn.Module, config_name: str,
                  advice: str = 'take the configuration that it was trained '
                  'with') -> None:
    """Compare a checkpoint's weights with the model's, by name and shape.

    Args:
        path: the checkpoint, for the message.
        checkpoint: from :func:`read_checkpoint`.
        model: with or without its data-parallel wrapper.
        config_name: the model's configuration, for the message.
        advice: what to do, for the message.

    Raises:
        UsageError: naming the first differences.
    """
    expected = _shapes(model.state_dict())
    found = _shapes(checkpoint['state_dict'])
    wrong = [
        f'{name} is {_shape(found[name])}, expected {_shape(shape)}'
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    wrong += [f'{name} is missing' for name in expected if name not in found]
    wrong += [f'{name} is unknown' for name in found if name not in expected]
    if wrong:
        more = f', and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise UsageError(
            f'{path} is of another model than {config_name}: '
            f'{"; ".join(wrong[:3])}{more}; {advice}')


def check_same_run(path: str | Path, checkpoint: Mapping[str, Any],
                   config: Config) -> None:
    """Compare the configuration of a run with the one that resumes it.

    Args:
        path: the checkpoint, for the message.
        checkpoint: from :func:`read_checkpoint`.
        config: the present configuration.

    Raises:
        UsageError: if they differ in what makes the run, or the checkpoint
            is of no run.
    """
    text = checkpoint['meta'].get('cfg')
    if not text or 'optimizer' not in checkpoint:
        raise UsageError(f'{path} cannot be resumed: it has weights only; '
                         'give it as --cfg-options load_from=... to start '
                         'from it')
    before, now = (
        _flat({key: c.get(key) for key in _SECTIONS})
        for c in (Config.fromstring(text, '.py').to_dict(), config.to_dict()))
    changed = [
        f'{key} was {before.get(key, "not there")!r:.60}, is '
        f'{now.get(key, "not there")!r:.60}'
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key) and not _MAY_CHANGE.match(key)
    ]
    if changed:
        more = f', and {len(changed) - 3} more' if len(changed) > 3 else ''
        raise UsageError(
            f'{path} is of a run with another configuration: '
            f'{"; ".join(changed[:3])}{more}; choose another --work-dir, or '
            'give the values of that run')


def _flat(value: Any, prefix: str = '') -> dict[str, Any]:
    """Nested dicts and lists as one dict by dotted keys."""
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {prefix: value}
    flat = {}
    for key, item in items:
        flat.update(_flat(item, f'{prefix}.{key}' if prefix else str(key)))
    return flat


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors, without a wrapper's prefix."""
    return {
        re.sub(r'^module\.', '', name): tuple(value.shape)
        for name, value in state.items() if isinstance(value, torch.Tensor)
    }


def _shape(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'a number'
