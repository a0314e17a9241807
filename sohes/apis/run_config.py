"""The configuration of a run: read, overridden and checked."""
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from sohes.utils.config_keys import refusal
from sohes.utils.errors import UsageError

# What mmengine's runner reads from a configuration beside its arguments.
_RUNNER_KEYS = {
    'activation_checkpointing', 'compile', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy',
    'sync_bn'
}


def read_config(path: str,
                options: Mapping[str, Any] | None = None,
                work_dir: str | None = None,
                launcher: str = 'none') -> Config:
    """Read a configuration and what the command line changes in it.

    Args:
        path (str): a configuration such as configs/sohes_phase2.py.
        options (Mapping, optional): ``--cfg-options``, by dotted keys.
        work_dir (str, optional): where logs and checkpoints go; None: the
            configuration's, or work_dirs/ and the configuration's name.
        launcher (str): 'none', 'pytorch', 'slurm' or 'mpi'.

    Returns:
        Config: for :func:`~sohes.apis.training.train_model` and
        :func:`~sohes.apis.training.test_model`.

    Raises:
        UsageError: if it cannot be read, or a key is not known.
    """
    if not Path(path).is_file():
        raise UsageError(f'{path}: no such configuration file')
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a configuration is a program
        raise UsageError(
            f'{path}: {type(error).__name__}: {error}') from error
    if not isinstance(config.get('model'), Mapping):
        raise UsageError(f'{path} has no model: it is no configuration to '
                         'train or test with')
    for key in options or {}:
        _check_key(key, config)
    try:
        data_root = config.get('data_root')
        maps = _folder_of_maps(config)
        config.merge_from_dict(dict(options or {}))
        if maps and (moved := _folder_of_maps(config)):
            _move_data(config._cfg_dict, maps, moved)
        if data_root and 'data_root' in (options or {}):
            _move_data(config._cfg_dict, data_root, config.data_root)
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise UsageError(f'--cfg-options: {_first_line(error)}') from error
    config.launcher = launcher
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get('work_dir') is None:
        config.work_dir = os.path.join('work_dirs', Path(path).stem)
    return config


def runner_keys(config: Config) -> set[str]:
    """The keys of the first level that somebody reads.

    Other names of a configuration are variables of its file.
    """
    keys = {*_RUNNER_KEYS, *inspect.signature(Runner.__init__).parameters}
    keys |= {'data_root', 'feature_maps'} & config.keys()  # see read_config
    return keys - {'self', 'cfg'}


def _check_key(key: str, config: Config) -> None:
    """Refuse an override of what nobody would read.

    Below the first level a new key is an argument for whatever is built
    there, and that will say whether it knows it.
    """
    read = runner_keys(config)
    if key.split('.')[0] not in read:
        raise UsageError(f'--cfg-options {key}: '
                         f'{refusal(key, config, config.text, read)}')


def _folder_of_maps(config: Config) -> str | None:
    """Where the maps of a frozen ViT are kept; None: nowhere."""
    maps = config.get('feature_maps')
    return maps.get('folder') if isinstance(maps, Mapping) else None


def _move_data(node: Any, old: str, new: str) -> None:
    """Let every path under an old folder follow it to a new one, in place.

    A configuration is evaluated before its overrides are known, so its
    ``data_root + 'val.json'`` has the old ``data_root`` in it.
    """
    items = enumerate(node) if isinstance(node, list) else node.items()
    for key, value in list(items):
        if isinstance(value, str) and value.startswith(old):
            node[key] = new + value[len(old):]
        elif isinstance(value, (dict, list)):
            _move_data(value, old, new)


def use_amp(config: Config) -> None:
    """``--amp``: automatic mixed precision, in bf16.

    Raises:
        UsageError: if there is no GPU.
    """
    if config.optim_wrapper.get('type') != 'AmpOptimWrapper':
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.dtype = 'bfloat16'
        # bf16 has fp32's range: there is nothing to scale.
        config.optim_wrapper.loss_scale = 1.0
    check_amp(config)


def check_amp(config: Config) -> None:
    """Raise a UsageError for mixed precision without a GPU."""
    wrapper = config.get('optim_wrapper') or {}
    if (wrapper.get('type') == 'AmpOptimWrapper'
            and not torch.cuda.is_available()):
        raise UsageError(
            'mixed precision (optim_wrapper.type=AmpOptimWrapper) needs a '
            'GPU, and there is none here; take configs/tiny/'
            'sohes_phase2_tiny.py on a CPU')


def use_auto_scale_lr(config: Config) -> None:
    """``--auto-scale-lr``: learning rate by the actual batch size.

    Raises:
        UsageError: if the configuration does not say for which batch its
            learning rate is.
    """
    if 'base_batch_size' not in (config.get('auto_scale_lr') or {}):
        raise UsageError('--auto-scale-lr: the configuration has no '
                         'auto_scale_lr.base_batch_size')
    config.auto_scale_lr.enable = True


def _first_line(error: BaseException) -> str:
    return str(error.args[0] if error.args else error).splitlines()[0]
