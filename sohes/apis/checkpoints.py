"""Whether a checkpoint is of this configuration."""
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_dist_info
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from sohes.apis.checkpoint_config import checkpoint_config
from sohes.utils.errors import FileError, UsageError
from sohes.utils.json_guard import JsonGuard
from sohes.utils.made_with import check_settings
from sohes.utils.tensor_files import CodeInFileError, read_tensor_file

#: Under this key a safetensors file of ours says what its tensors are.
METADATA = 'sohes'

# What makes a run the run it is, and what may change in it all the same.
_SECTIONS = ('model', 'train_dataloader', 'optim_wrapper', 'randomness')
_MAY_CHANGE = re.compile(
    r'.*(num_workers|persistent_workers|pin_memory|prefetch_factor|with_cp|'
    r'data_root|weights)$|.*init_cfg|'
    # Its shape may be spelt out or read from its weights; the weights of
    # the checkpoint are compared with the model anyway.
    r'model\.(detector\.)?backbone\.vit(\.|$)')


def read_checkpoint(path: str | Path, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, as data.

    Args:
        path: a file written by a training run, or a published one.
        trust: run what the file carries, as torch does by itself: for a
            file of one's own that holds more than data.

    Returns:
        dict: with ``state_dict`` and ``meta``.

    Raises:
        UsageError: there is no such file, it is no checkpoint, or it holds
            code.
    """
    if not Path(path).is_file():
        raise UsageError(f'{path}: no such checkpoint')
    try:
        if is_safetensors(path):
            return _read_safetensors(path)
        checkpoint = torch.load(
            path, map_location='cpu',
            weights_only=False) if trust else read_tensor_file(path)
    except CodeInFileError as error:
        raise UsageError(
            f'{path} is not only data: {error}. Nothing of it was run. If '
            'you wrote the file yourself, --trust-checkpoint reads it '
            'all the same') from error
    except Exception as error:  # torch raises whatever a broken file causes
        reason = (str(error) if isinstance(error, FileError) else
                  type(error).__name__)
        raise UsageError(
            f'{path} is no checkpoint, or it was cut off while it was '
            f'written ({reason:.200})') from error
    if not isinstance(checkpoint, Mapping):
        raise UsageError(f'{path} is no checkpoint: it holds a '
                         f'{type(checkpoint).__name__}')
    if not isinstance(checkpoint.get('state_dict'), Mapping):
        checkpoint = dict(state_dict=checkpoint)
    for name in checkpoint['state_dict']:
        if not isinstance(name, str):
            raise UsageError(f'{path} is no checkpoint: expected names of '
                             f'weights, found {name!r:.60}')
    if not isinstance(checkpoint.get('meta', {}), Mapping):
        raise UsageError(f'{path} is no checkpoint: its "meta" is a '
                         f'{type(checkpoint["meta"]).__name__}')
    return {'meta': {}, **checkpoint}


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is one of safetensors, whatever its name says."""
    with open(path, 'rb') as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b'{' and start[:2] != b'PK'


def _read_safetensors(path: str | Path) -> dict[str, Any]:
    """A published checkpoint: tensors, and json on what they are."""
    from safetensors import safe_open
    with safe_open(str(path), 'pt') as file:
        names = file.keys()
        state = {name: file.get_tensor(name) for name in names}
        text = (file.metadata() or {}).get(METADATA, '{}')
    JsonGuard().feed(text.encode())
    meta = json.loads(text)
    if not isinstance(meta, dict):
        raise ValueError('its metadata is no object')
    return dict(meta=meta, state_dict=state)


def load_only_data(trust: bool = False) -> None:
    """Let mmengine read checkpoints as :func:`read_checkpoint` does.

    For the commands of tools/, whose process is theirs: ``load_from``,
    ``--resume`` and ``init_cfg`` of any model then read data alone.

    Args:
        trust: put mmengine's own way back.
    """
    schemes = CheckpointLoader._schemes
    for scheme, loader in list(schemes.items()):
        if not trust and loader is not load_from_data:
            _OWN_LOADERS.setdefault(scheme, loader)
            schemes[scheme] = load_from_data
        elif trust and scheme in _OWN_LOADERS:
            schemes[scheme] = _OWN_LOADERS[scheme]


#: mmengine's, by the beginning of an address.
_OWN_LOADERS: dict[str, Any] = {}


def load_from_data(filename: str, map_location: Any = None, **_: Any) -> dict:
    """What mmengine's loaders return, of a file or a web address."""
    if re.match(r'https?://', filename):
        filename = str(_downloaded(filename))
    elif '://' in filename:
        raise UsageError(f'{filename}: checkpoints are read from files and '
                         'from https; other addresses need '
                         '--trust-checkpoint')
    content = read_checkpoint(Path(filename).expanduser())
    # mmengine would run it as Python.
    content['meta'] = {key: value for key, value in content['meta'].items()
                       if key != 'config'}
    return _moved(content, map_location)


def _downloaded(url: str) -> Path:
    """The file of an address, fetched once, by the first process."""
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    path = folder / os.path.basename(urlparse(url).path)
    if get_dist_info()[0] == 0 and not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    barrier()
    return path


def _moved(value: Any, device: Any) -> Any:
    """Tensors on another device, as ``map_location`` puts them."""
    if device is None or str(device) == 'cpu':
        return value
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _moved(item, device)
    elif isinstance(value, list):
        value[:] = [_moved(item, device) for item in value]
    elif type(value) is tuple:
        return tuple(_moved(item, device) for item in value)
    return value


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
        f'{name:.100} is {_shape(found[name])}, expected {_shape(shape)}'
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    wrong += [f'{name:.100} is missing' for name in expected
              if name not in found]
    wrong += [f'{name:.100} is unknown' for name in found
              if name not in expected]
    if wrong:
        more = f', and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise UsageError(
            f'{path} is of another model than {config_name}: '
            f'{"; ".join(wrong[:3])}{more}; {advice}')


def check_same_run(path: str | Path, checkpoint: Mapping[str, Any],
                   config: Config, trust: bool = False) -> None:
    """Compare the configuration of a run with the one that resumes it.

    Args:
        path: the checkpoint, for the message.
        checkpoint: from :func:`read_checkpoint`.
        config: the present configuration.
        trust: run the checkpoint's as Python.

    Raises:
        UsageError: if they differ in what makes the run, or the checkpoint
            is of no run.
    """
    text = checkpoint['meta'].get('cfg')
    if not text or 'optimizer' not in checkpoint:
        raise UsageError(f'{path} cannot be resumed: it has weights only; '
                         'give it as --cfg-options load_from=... to start '
                         'from it')
    before = checkpoint_config(path, checkpoint['meta'], trust)
    check_settings(f'{path} is of a run with', _what_makes_a_run(before),
                   _what_makes_a_run(config),
                   'choose another --work-dir, or give the values of that run')


def _what_makes_a_run(config: Config) -> dict[str, Any]:
    """The keys that a run which is resumed must not change."""
    flat = _flat({key: config.to_dict().get(key) for key in _SECTIONS})
    return {key: value for key, value in flat.items()
            if not _MAY_CHANGE.match(key)}


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
