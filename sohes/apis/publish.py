"""What others need of a checkpoint, and nothing of the run."""
import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from sohes.apis.checkpoints import read_checkpoint
from sohes.apis.generate import UsageError
from sohes.models.backbones.vit_adapter_vit import vit_config
from sohes.utils.files import whole_file
from sohes.version import __version__

#: Prefixes of the two models in a checkpoint of Phase 3.
MODELS = ('teacher', 'student')


def publish_model(checkpoint: str | Path,
                  out: str | Path,
                  which: str = 'teacher') -> Path:
    """Write a checkpoint for inference alone.

    It holds the weights of one model and a configuration of that model and
    its test pipeline: no optimizer, no random state, no path of the machine
    that trained it. ``EntityInferencer(weights=FILE)`` needs nothing else.
    The same checkpoint gives the same bytes.

    Args:
        checkpoint: of Phase 2 or 3.
        out: a name; the first 8 digits of the file's SHA-256 are put before
            its suffix, as OpenMMLab's model zoos do.
        which: of Phase 3, 'teacher' or 'student'.

    Returns:
        The file.

    Raises:
        UsageError: if it is no checkpoint of a training run.
    """
    content = read_checkpoint(checkpoint)
    state = one_model(content['state_dict'], which)
    meta = dict(
        cfg=_slim_config(checkpoint, content['meta']).pretty_text,
        dataset_meta=dict(classes=('entity', )),
        sohes_version=__version__)
    return _save_hashed(dict(meta=meta, state_dict=state), Path(out))


def extract_backbone(checkpoint: str | Path,
                     out: str | Path,
                     vit_only: bool = False,
                     which: str = 'teacher') -> tuple[Path, dict[str, Any]]:
    """Write the backbone of a checkpoint for use in other models.

    Args:
        checkpoint: of Phase 2 or 3.
        out: a name; digits of the SHA-256 are put before its suffix.
        vit_only: the plain ViT without its adapter, under mmpretrain's
            names.
        which: of Phase 3, 'teacher' or 'student'.

    Returns:
        The file, and the ``backbone`` of a configuration that uses it.

    Raises:
        UsageError: if it is no checkpoint of a training run, or has no
            ViTAdapter.
    """
    content = read_checkpoint(checkpoint)
    config = _slim_config(checkpoint, content['meta'])
    backbone = config.model.get('backbone') or {}
    prefix = 'backbone.vit.' if vit_only else 'backbone.'
    state = {
        name.removeprefix(prefix): value
        for name, value in one_model(content['state_dict'], which).items()
        if name.startswith(prefix)
    }
    if not state or not backbone.get('vit'):
        raise UsageError(f'{checkpoint}: expected a ViTAdapter as backbone, '
                         f'found {backbone.get("type")}')
    path = _save_hashed(
        dict(meta=dict(sohes_version=__version__), state_dict=state),
        Path(out))
    if vit_only:
        backbone = dict(backbone.vit, out_type='featmap')
        if backbone['type'] != 'sohes.TimmViT':  # which has no final norm
            backbone['final_norm'] = False
    else:
        backbone = dict(backbone)
    backbone['init_cfg'] = dict(type='Pretrained', checkpoint=str(path))
    return path, Config(backbone).to_dict()


def one_model(state: dict[str, torch.Tensor],
              which: str = 'teacher') -> dict[str, torch.Tensor]:
    """The weights of one model, of a checkpoint of either phase.

    Args:
        state: a state dict, with or without 'teacher.' and 'student.'.
        which: one of these two; of Phase 2 there is but one model.

    Returns:
        dict: under the names of the model alone, on the CPU.
    """
    names = {name: name.removeprefix('module.') for name in state}
    if any(name.startswith(f'{which}.') for name in names.values()):
        names = {
            name: short.removeprefix(f'{which}.')
            for name, short in names.items() if short.startswith(f'{which}.')
        }
    return {short: state[name].cpu() for name, short in names.items()}


def _slim_config(checkpoint: str | Path, meta: dict[str, Any]) -> Config:
    """The model and its test pipeline, without paths."""
    text = meta.get('cfg')
    if not text:
        raise UsageError(f'{checkpoint} has no configuration in it: expected '
                         'a checkpoint that tools/train.py wrote')
    config = Config.fromstring(text, '.py')
    model = config.model.get('detector', config.model)
    backbone = model.get('backbone') or {}
    if str(backbone.get('type')).endswith('ViTAdapter'):
        # The shape, in place of the weights that training began with.
        try:
            backbone.vit = vit_config(backbone.get('vit'),
                                      backbone.pop('weights', None))
        except ValueError as error:
            raise UsageError(f'{checkpoint}: {error}') from error
    return Config(
        dict(
            default_scope=config.get('default_scope', 'mmdet'),
            model=model.to_dict(),
            test_dataloader=dict(
                dataset=dict(pipeline=config.to_dict()['test_dataloader']
                             ['dataset']['pipeline']))))


def _save_hashed(content: dict[str, Any], out: Path) -> Path:
    """Write a file whose name ends in digits of its hash, whole."""
    # Into memory first: torch writes a file's own name into it.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    digits = hashlib.sha256(buffer.getbuffer()).hexdigest()[:8]
    suffix = out.suffix or '.pth'
    path = out.with_name(f'{out.name.removesuffix(suffix)}-{digits}{suffix}')
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, binary=True) as file:
        file.write(buffer.getbuffer())
    return path
