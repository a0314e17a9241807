"""Trains and tests from a configuration, on one process or many."""
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, RUNNERS
from mmengine.runner import Runner
from torch import nn

from sohes.apis.checkpoints import (
    check_same_run,
    check_weights,
    load_only_data,
    read_checkpoint,
)
from sohes.apis.command import log_traceback, sentence
from sohes.apis.feature_maps import keep_feature_maps
from sohes.apis.last_checkpoint import last_checkpoint
from sohes.apis.run_config import check_amp, read_config
from sohes.engine.console_runner import ConsoleRunner
from sohes.utils.dist import init_dist
from sohes.utils.errors import UsageError
from sohes.utils.imports import import_datasets
from sohes.utils.locks import sole_command

# What a mistake in a configuration or in the data raises where it is found.
_MISTAKES = (AssertionError, ImportError, KeyError, OSError, TypeError,
             ValueError, RuntimeError)


def train_model(config: Config | str | Path, resume: str | None = None,
                trust_checkpoint: bool = False) -> Runner:
    """Train a model (section 3.2).

    Whatever can be wrong is found before the first iteration: the model, the
    data, the optimizer and the hooks are built, and a checkpoint compared
    with the model.

    Args:
        config (Config | str | Path): a file such as
            configs/sohes_phase2.py, or what
            :func:`sohes.apis.run_config.read_config` made of one.
        resume (str, optional): a checkpoint to continue from, or 'auto' for
            the last one in the work dir; None: a new run.
        trust_checkpoint (bool): run what checkpoints carry beside data.

    Returns:
        Runner: after training.

    Raises:
        UsageError: for whatever the person can mend; what, where, and how.
        NonFiniteLossError: if training diverged.
    """
    config = _read(config)
    if not config.get('train_cfg'):
        raise UsageError(f'{config.filename} has no train_cfg: it is no '
                         'configuration to train with')
    check_amp(config)
    load_only_data(trust_checkpoint)
    with sole_command(config.work_dir):
        return _train(config, resume, trust_checkpoint)


def _train(config: Config, resume: str | None,
           trust_checkpoint: bool) -> Runner:
    """Build, compare and train; see :func:`train_model`."""
    checkpoint = None
    if resume is not None:
        path = _resumed_checkpoint(resume, config)
        # On the first start there is none: load_from counts.
        config.resume = path is not None
        if path is not None:
            checkpoint = read_checkpoint(path, trust_checkpoint)
            check_same_run(path, checkpoint, config, trust_checkpoint)
            config.load_from = path
    _keep_feature_maps(config)
    runner = _build(config, _build_training)
    if checkpoint is not None:
        check_weights(path, checkpoint, runner.model, str(config.filename))
        del checkpoint  # mmengine reads it again: two would stay in memory
    else:
        _check_start(config.get('load_from'), runner, trust_checkpoint)
    _spell_out_vit(runner)
    runner.train()
    return runner


def test_model(config: Config | str | Path,
               checkpoint: str,
               out: str | None = None,
               trust_checkpoint: bool = False) -> dict[str, float]:
    """Evaluate a checkpoint with the configuration's metrics.

    Args:
        config (Config | str | Path): as of :func:`train_model`.
        checkpoint (str): a file written by a training run.
        out (str, optional): a json to write the predictions to, as a list of
            COCO results; the configuration needs an ``EntityMetric``.
        trust_checkpoint (bool): run what the checkpoint carries beside data.

    Returns:
        dict: the metrics by name.

    Raises:
        UsageError: for whatever the person can mend; what, where, and how.
    """
    config = _read(config)
    if not config.get('test_dataloader'):
        raise UsageError(f'{config.filename} has no test_dataloader: it is '
                         'no configuration to test with')
    if out is not None:
        _write_predictions(config, out)
    load_only_data(trust_checkpoint)
    content = read_checkpoint(checkpoint, trust_checkpoint)
    config.resume, config.load_from = False, checkpoint
    runner = _build(config, lambda runner: runner.test_loop)
    # One of Phase 2 is loaded into teacher and student.
    check_weights(checkpoint, content,
                  _part_of(runner.model, content) or runner.model,
                  str(config.filename))
    return runner.test()


def _read(config: Config | str | Path) -> Config:
    """The configuration of a file, or the one that is read already."""
    return config if isinstance(config, Config) else read_config(str(config))


def _keep_feature_maps(config: Config) -> None:
    """The maps of a frozen ViT, before a loader asks for the first."""
    try:
        keep_feature_maps(config)
    except _MISTAKES as error:
        raise UsageError(f'{config.filename}: {sentence(error)}'
                         f'{log_traceback(error)}') from error


def _build_training(runner: Runner) -> None:
    """Build what mmengine would build after training has been started."""
    _ = runner.train_loop
    if runner._val_loop is not None:
        _ = runner.val_loop
    _check_optimizer(runner.optim_wrapper)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)


def _check_optimizer(wrapper: Any) -> None:
    """Name an unknown optimizer; mmengine looks for its signature first."""
    optimizer = wrapper.get('optimizer') if isinstance(wrapper, dict) else {}
    kind = (optimizer or {}).get('type')
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise ValueError(f'optim_wrapper.optimizer: {kind} is not in the '
                         'registry of optimizers')


def _build(config: Config, complete: Callable[[Runner], Any]) -> Runner:
    """Start the processes' group and build the runner and its parts."""
    try:
        _start_group(config)
        import_datasets()
        if 'runner_type' in config:
            runner = RUNNERS.build(config)
        else:
            runner = ConsoleRunner.from_cfg(config)
        runner.logger.info(f'The whole log: {runner.logger.log_file}')
        complete(runner)
        return runner
    except UsageError:
        raise
    except _MISTAKES as error:
        raise UsageError(f'{config.filename}: {sentence(error)}'
                         f'{log_traceback(error)}') from error


def _start_group(config: Config) -> None:
    """Start torch.distributed where mmengine's own start-up cannot.

    mmengine selects a CUDA device first and wraps the model for one; on a
    machine without any the processes talk through gloo.

    Raises:
        UsageError: if there are more processes than GPUs.
        ValueError: if the launcher did not set its variables.
    """
    launcher = config.get('launcher', 'none')
    if launcher == 'none':
        return
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    gpus = torch.cuda.device_count()
    if gpus and local_rank >= gpus:
        raise UsageError(f'process {local_rank + 1} of this machine has no '
                         f'GPU: it has {gpus}, start as many processes')
    if gpus:
        return
    init_dist(launcher)
    wrapper = dict(config.get('model_wrapper_cfg') or {})
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    wrapper.setdefault('broadcast_buffers', False)
    wrapper.setdefault('find_unused_parameters',
                       config.get('find_unused_parameters', False))
    # DDP refuses the device ids that mmengine gives by default.
    wrapper['device_ids'] = None
    config.model_wrapper_cfg = wrapper


def _resumed_checkpoint(resume: str, config: Config) -> str | None:
    """The checkpoint that ``--resume`` means; None: there is none yet."""
    if resume != 'auto':
        return resume
    found = last_checkpoint(config.work_dir)
    return None if found is None else str(found)


def _spell_out_vit(runner: Runner) -> None:
    """Keep the ViT's shape in the configuration that checkpoints carry.

    So a checkpoint can be used where the file of weights, which showed that
    shape, is not.
    """
    model, config = _bare_model(runner), runner.cfg.model
    if hasattr(model, 'student'):
        model, config = model.student, config.detector
    vit = getattr(getattr(model, 'backbone', None), 'vit_cfg', None)
    if vit is not None:
        config.backbone.vit = vit


def _bare_model(runner: Runner) -> Any:
    """The model without its data-parallel wrapper."""
    return getattr(runner.model, 'module', runner.model)


def _part_of(model: nn.Module,
             checkpoint: Mapping[str, Any]) -> nn.Module | None:
    """The student, where a model of Phase 3 meets weights of Phase 2."""
    model = getattr(model, 'module', model)
    single = not any(
        key.removeprefix('module.').startswith(('student.', 'teacher.'))
        for key in checkpoint['state_dict'])
    return getattr(model, 'student', None) if single else None


def _check_start(path: str | None, runner: Runner,
                 trust: bool = False) -> None:
    """Refuse to start from a local checkpoint of which nothing would load.

    A teacher and a student start as exact copies: of a checkpoint of one
    model every weight must fit. Without any there is nothing to correct.
    """
    model, name = _bare_model(runner), str(runner.cfg.filename)
    if not path and getattr(model, 'needs_load_from', False):
        raise UsageError(
            f'{name} starts from a trained model: give its checkpoint, of '
            'Phase 2, as --cfg-options load_from=CHECKPOINT')
    if not path or '://' in path:
        return
    checkpoint = read_checkpoint(path, trust)
    found = {key.removeprefix('module.') for key in checkpoint['state_dict']}
    expected = model.state_dict()
    student = _part_of(model, checkpoint)
    if student is not None:
        check_weights(path, checkpoint, student, name,
                      'give one of the same model as load_from')
    elif not found & expected.keys():
        raise UsageError(
            f'load_from={path}: none of its {len(found)} weights is in the '
            f'model; it has {min(found, default="none")}, expected such as '
            f'{next(iter(expected))}')


def _write_predictions(config: Config, out: str) -> None:
    """Tell the configuration's EntityMetric where to write."""
    metrics = config.test_evaluator
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        if str(metric.get('type')).endswith('EntityMetric'):
            metric.outfile = out
            return
    raise UsageError(f'--out: the test_evaluator of {config.filename} has no '
                     'sohes.EntityMetric, which writes it')
