"""Phase 1 over a folder: from a configuration to a COCO json."""
import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sohes.apis.label_writer import LabelWriter
from sohes.pseudo_labels.coco_json import merge_shards, read_info
from sohes.pseudo_labels.images import find_images
from sohes.pseudo_labels.methods import LabelOptions, read_options
from sohes.pseudo_labels.options import ExploreOptions, with_thresholds
from sohes.pseudo_labels.refinement import build_refiner
from sohes.pseudo_labels.runner import LabelRunner
from sohes.pseudo_labels.shards import ShardFolder
from sohes.utils.config_keys import hint
from sohes.utils.dist import init_dist
from sohes.utils.errors import ImageError, UsageError, said_in_a_sentence
from sohes.utils.json_stream import stream_images
from sohes.utils.locks import sole_run
from sohes.utils.made_with import check_settings
from sohes.utils.photo_files import changed_photo
from sohes.utils.progress import Progress
from sohes.utils.workers import worker_pool
from sohes.version import __version__

_LOG = logging.getLogger('sohes')
_KEYS = {'default_scope', 'extractor', 'pseudo_labels', 'shard_size',
         'workers'}


def generate(config: Mapping[str, Any],
             img_dir: str,
             out: str,
             *,
             weights: str | None = None,
             show_dir: str | None = None,
             strict: bool = False,
             overwrite: bool = False,
             quiet: bool = False,
             launcher: str = 'none',
             names: Sequence[str] | None = None) -> int:
    """Label a folder of images (section 3.1).

    Args:
        config (Mapping): ``extractor``, ``pseudo_labels`` and optionally
            ``shard_size`` and ``workers``; see configs/sohes_phase1.py.
        img_dir (str): the images, with subfolders.
        out (str): the COCO json; beside it ``<out>.parts`` while it runs.
        weights (str, optional): replaces the extractor's.
        show_dir (str, optional): a picture of every image goes there.
        strict (bool): stop at the first broken image.
        overwrite (bool): start anew where an output exists.
        quiet (bool): no progress bar.
        launcher (str): 'none', 'pytorch', 'slurm' or 'mpi'.
        names (Sequence[str], optional): of the images to label, relative to
            the folder; default: all that are there.

    Returns:
        int: number of images that could not be read.

    Raises:
        UsageError: for whatever the person can mend; what, where, and how.
    """
    from mmengine.dist import is_main_process
    with said_in_a_sentence():
        options, extractor_args, runtime = read_config(config, weights)
        init_dist(launcher)
        names = find_images(img_dir) if names is None else list(names)
        # Whatever can be wrong is found before the first image.
        build_refiner(options.refiner)
        if is_main_process():
            _LOG.info('%d images in %s; the first takes longest', len(names),
                      img_dir)
        extractor = build_extractor(extractor_args)
    options = with_thresholds(options, extractor)
    info = _info(extractor, extractor_args, options)
    shards = ShardFolder(out, info, names, runtime['shard_size'])
    runner = LabelRunner(img_dir, extractor, options, runtime['workers'],
                         strict)
    return _run(shards, runner, show_dir, overwrite, quiet)


def merge_options(config: Any, options: Mapping[str, Any] | None) -> None:
    """Change keys of a configuration of Phase 1.

    Another refiner does not get the arguments of the one before.

    Args:
        config: mmengine's Config, changed in place.
        options: ``--cfg-options``, by dotted keys.
    """
    options, key = dict(options or {}), 'pseudo_labels.refiner'
    refiner = config.get('pseudo_labels', {}).get('refiner') or {}
    if options.get(f'{key}.type', refiner.get('type')) != refiner.get('type'):
        options.setdefault(f'{key}._delete_', True)
    config.merge_from_dict(options)


def phase1_config(path: str | Path,
                  options: Mapping[str, Any] | None = None) -> Any:
    """Read a configuration of Phase 1 and what is changed in it.

    Args:
        path: such as configs/sohes_phase1.py.
        options: ``--cfg-options``, by dotted keys.

    Returns:
        mmengine's Config.

    Raises:
        UsageError: it cannot be read, or changed so.
    """
    from mmengine.config import Config
    try:
        config = Config.fromfile(path)
        merge_options(config, options)
    except FileNotFoundError as error:
        raise UsageError(f'{path}: no such configuration file') from error
    except Exception as error:  # a configuration is a program
        raise UsageError(f'{path}: {error}') from error
    return config


def read_config(config: Mapping[str, Any], weights: str | None) -> tuple:
    """Check the configuration before anything slow is done."""
    for key in config:
        if key not in _KEYS:
            known = ', '.join(sorted(_KEYS))
            raise ValueError(f'configuration: unknown key {key!r}; known are '
                             f'{known}{hint(key, config, _KEYS)}')
    for key in ('extractor', 'pseudo_labels'):
        if not isinstance(config.get(key), Mapping):
            raise ValueError(f'configuration: {key} must be a dict, found '
                             f'{config.get(key)!r}')
    extractor = _plain(config['extractor'])
    if weights is not None:
        extractor['weights'] = weights
    options = read_options(_plain(config['pseudo_labels']))
    shard_size = config.get('shard_size', 8)
    if not isinstance(shard_size, int) or shard_size < 1:
        raise ValueError('configuration: shard_size must be a positive '
                         f'integer, found {shard_size!r}')
    workers = config.get('workers')
    if workers is None:
        workers = usable_cores()
    if isinstance(workers, bool) or not isinstance(
            workers, int) or workers < 0:
        raise ValueError('configuration: workers must be 0 (all in one '
                         f'process) or more, found {workers!r}')
    return options, extractor, dict(shard_size=shard_size, workers=workers)


def usable_cores() -> int:
    """Cores that this process may use; macOS does not say which."""
    if hasattr(os, 'sched_getaffinity'):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _plain(value: Any) -> Any:
    """Config nodes as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def build_extractor(arguments: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        # mmcv says so when it has no compiled ops; Phase 1 needs none.
        warnings.filterwarnings('ignore', message='Fail to import')
        from sohes.models.backbones import ViTFeatureExtractor
        try:
            return ViTFeatureExtractor(**arguments)
        except TypeError as error:
            raise ValueError(f'extractor: {error}') from error


def _info(extractor: Any, arguments: Mapping[str, Any],
          options: LabelOptions) -> dict[str, Any]:
    """All that decides the labels, for the json."""
    import dataclasses
    preset = extractor.preset
    resolved = {
        key: arguments[key] if arguments.get(key) is not None else getattr(
            preset, key)
        for key in ('feature', 'block', 'center')
    }
    # Only where it is on: labels made before there was one stay the same.
    if arguments.get('debias'):
        resolved['debias'] = True
    method = ('SOHES, phase 1 (self-exploration)' if isinstance(
        options, ExploreOptions) else 'HASSOD')
    return dict(
        description=f'Pseudo-labels of {method}',
        version=__version__,
        weights=dict(
            name=Path(str(arguments['weights'])).name,
            sha256=extractor.weights_hash,
            family=extractor.family),
        extractor=dict(
            resolved,
            patch_size=extractor.patch_size,
            dtype=extractor.dtype_name),
        pseudo_labels=dict(
            dataclasses.asdict(options),
            thresholds=list(options.thresholds)))


def _finished_before(shards: ShardFolder, img_dir: str) -> bool:
    """Whether the output stands already, made by this very run.

    Raises:
        ValueError: if something else stands there.
    """
    if not shards.out.exists():
        return False
    found = read_info(shards.out)
    if found is None:
        raise ValueError(f'{shards.out} exists and was not written by this '
                         'tool; choose another --out')
    failed = found.get('failed') or []
    advice = 'choose another --out, remove it or give --overwrite'
    check_settings(f'{shards.out} exists and was made with',
                   {key: found.get(key) for key in shards.info}, shards.info,
                   advice)
    before = {
        image['file_name']: image.get('sha256')
        for image in [*stream_images(shards.out, ['sha256']), *failed]
    }
    if before.keys() != set(shards.names):
        other = sorted(before.keys() ^ set(shards.names))
        raise ValueError(
            f'{shards.out} exists and was made of other images, such as '
            f'{other[0]}; {advice}')
    changed = changed_photo(img_dir, before.items())
    if changed is not None:
        raise ValueError(
            f'{shards.out} exists, and {os.path.join(img_dir, changed)} is '
            f'not the file that it was made of; {advice}')
    return True


def _prepare(shards: ShardFolder, img_dir: str, overwrite: bool,
             lock: ExitStack) -> bool:
    """Prepare the output, which is ours alone from now on.

    Returns:
        bool: whether there is nothing left to do.

    Raises:
        ValueError: something else stands there.
        OSError: nothing can be written there.
    """
    shards.out.parent.mkdir(parents=True, exist_ok=True)
    lock.enter_context(sole_run(shards.out))
    if overwrite:
        shards.remove()
        shards.out.unlink(missing_ok=True)
    if _finished_before(shards, img_dir):
        shards.remove()  # of a run that was killed just then
        return True
    shards.open()
    changed = changed_photo(img_dir, shards.photos())
    if changed is not None:
        raise ValueError(
            f'{shards.folder} holds an unfinished run of other photos: '
            f'{os.path.join(img_dir, changed)} is not the file that was '
            'labelled; choose another --out, or start anew with --overwrite')
    return False


def _open(shards: ShardFolder, img_dir: str, overwrite: bool, rank: int,
          lock: ExitStack) -> bool:
    """What rank 0 finds at the output, on all processes.

    Raises:
        UsageError: on all of them; none waits for one that has given up.
    """
    from mmengine.dist import broadcast_object_list
    answer: list[Any] = ['', False]
    if rank == 0:
        try:
            with said_in_a_sentence():
                answer[1] = _prepare(shards, img_dir, overwrite, lock)
        except UsageError as error:
            answer[0] = str(error)
    broadcast_object_list(answer)
    if answer[0]:
        raise UsageError(answer[0])
    return answer[1]


def _run(shards: ShardFolder, runner: LabelRunner, show_dir: str | None,
         overwrite: bool, quiet: bool) -> int:
    """Label what is not labelled yet; rank 0 merges the shards."""
    from mmengine.dist import broadcast_object_list, get_dist_info
    rank = get_dist_info()[0]
    started = time.monotonic()
    with ExitStack() as lock:
        if _open(shards, runner.root, overwrite, rank, lock):
            _LOG.info('%s is complete already (--overwrite starts anew)',
                      shards.out)
            return len(read_info(shards.out)['failed'])
        by_step = _label(shards, runner, show_dir, quiet)
        info = [None]
        if rank == 0:
            info = [merge_shards(shards)]
            shards.remove()
            _report(shards, info[0], time.monotonic() - started, by_step,
                    show_dir)
    # One exit code for all processes, or torchrun takes one for a crash.
    broadcast_object_list(info)
    return len(info[0]['failed'])


def _label(shards: ShardFolder, runner: LabelRunner, show_dir: str | None,
           quiet: bool) -> dict[str, float]:
    """Label this process's share; all leave when all are done.

    Returns:
        dict: seconds by step.
    """
    from mmengine.dist import barrier, get_dist_info
    rank, world_size = get_dist_info()
    share = {k: len(shards.images_of(k))
             for k in range(rank, len(shards), world_size)}
    mine = [k for k in share if not shards.is_done(k)]
    drawers = 0 if show_dir is None else -(-runner.workers // 4)
    # A process counts what it does itself: its share of the images.
    with Progress(sum(share.values()), quiet=quiet or rank > 0,
                  unit='images' if world_size == 1 else
                  f'images (this process, 1 of {world_size})') as progress, \
            worker_pool(drawers, niceness=10) as pool:
        progress.skip(sum(share.values()) - sum(share[k] for k in mine))
        writer = LabelWriter(
            shards, mine, lambda record: progress.step(record.get('reason')),
            show_dir, pool, ahead=2 * drawers)
        try:
            runner.run([name for k in mine for name in shards.images_of(k)],
                       writer.take)
            writer.finish()
        except ImageError as error:
            raise UsageError(f'{error} (--strict)') from error
    barrier()
    return {**runner.seconds, 'pictures': writer.seconds}


def _report(shards: ShardFolder, info: Mapping[str, Any], seconds: float,
            by_step: Mapping[str, float], show_dir: str | None) -> None:
    """The summary a person reads last."""
    counts = info['counts']
    images, masks = counts.get('images', 0), counts['annotations']
    _LOG.info('%d images, %d masks (%.0f an image), %.0f s: %s', images,
              masks, masks / max(images, 1), seconds, shards.out)
    if show_dir is not None:
        _LOG.info('a picture of each: %s', show_dir)
    for record in info['failed'][:10]:
        _LOG.warning('not read: %s', record['reason'])
    if len(info['failed']) > 10:
        _LOG.warning('... and %d more; all are in info.failed',
                     len(info['failed']) - 10)
    _LOG.info('seconds: %s (the first two here, the others in the workers)',
              ', '.join(f'{k} {v:.1f}' for k, v in by_step.items()))
