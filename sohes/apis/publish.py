"""What others need of a checkpoint, and nothing of the run."""
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from safetensors.torch import save

from sohes.apis.checkpoint_config import (
    checkpoint_config,
    config_json,
    inference_config,
    spell_out_vit,
)
from sohes.apis.checkpoints import METADATA, read_checkpoint
from sohes.apis.models_without_vit import (
    DIGEST,
    digest_of_vit,
    has_frozen_vit,
)
from sohes.models.backbones.vit_adapter_vit import vit_config
from sohes.utils.errors import UsageError
from sohes.utils.files import whole_file
from sohes.version import __version__

#: Prefixes of the two models in a checkpoint of Phase 3.
MODELS = ('teacher', 'student')


def publish_model(checkpoint: str | Path,
                  out: str | Path,
                  which: str = 'teacher',
                  trust_checkpoint: bool = False,
                  half: bool = False) -> Path:
    """Write a checkpoint for inference alone.

    It holds the weights of one model and, as json, a configuration of that
    model and its test pipeline: no optimizer, no random state, no path of
    the machine that trained it. ``EntityInferencer(weights=FILE)`` needs
    nothing else, but for a frozen ViT, which is not in a checkpoint: the
    file says which one it is. The same checkpoint gives the same bytes.

    Args:
        checkpoint: of Phase 2 or 3.
        out: a name; the first 8 digits of the file's SHA-256 are put before
            its suffix, as OpenMMLab's model zoos do. Ending in .pth it
            becomes a torch file, else one of safetensors, which has no room
            for code.
        which: of Phase 3, 'teacher' or 'student'.
        trust_checkpoint: run what the checkpoint carries beside data.
        half: round the weights to half precision, for half the size;
            they are computed with in float32 all the same.

    Returns:
        The file.

    Raises:
        UsageError: if it is no checkpoint of a training run, a weight has
            no value in half precision, or the weights of its frozen ViT are
            not there.
    """
    content = read_checkpoint(checkpoint, trust_checkpoint)
    state = one_model(content['state_dict'], which)
    if half:
        state = {name: _half(checkpoint, name, value)
                 for name, value in state.items()}
    config, vit = _slim_config(checkpoint, content, trust_checkpoint)
    meta = dict(
        cfg=config_json(config),
        dataset_meta=dict(classes=['entity']),
        sohes_version=__version__,
        **vit)
    return _save_hashed(dict(meta=meta, state_dict=state), Path(out),
                        '.safetensors')


def extract_backbone(checkpoint: str | Path,
                     out: str | Path,
                     vit_only: bool = False,
                     which: str = 'teacher',
                     trust_checkpoint: bool = False
                     ) -> tuple[Path, dict[str, Any]]:
    """Write the backbone of a checkpoint for use in other models.

    Args:
        checkpoint: of Phase 2 or 3.
        out: a name; digits of the SHA-256 are put before its suffix.
        vit_only: the plain ViT without its adapter, under mmpretrain's
            names.
        which: of Phase 3, 'teacher' or 'student'.
        trust_checkpoint: run what the checkpoint carries beside data.

    Returns:
        The file, and the ``backbone`` of a configuration that uses it.

    Raises:
        UsageError: if it is no checkpoint of a training run, or has no
            ViTAdapter.
    """
    content = read_checkpoint(checkpoint, trust_checkpoint)
    config, _ = _slim_config(checkpoint, content, trust_checkpoint)
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
        Path(out), '.pth')
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


def _half(checkpoint: str | Path, name: str,
          value: torch.Tensor) -> torch.Tensor:
    """A weight in half precision; whole numbers stay what they are."""
    if not value.is_floating_point():
        return value
    half = value.half()
    if not torch.isfinite(half).all():
        raise UsageError(f'{checkpoint}: {name} has values that half '
                         'precision does not: publish it without --half')
    return half


def _slim_config(checkpoint: str | Path, content: dict[str, Any],
                 trust: bool) -> tuple[Config, dict[str, str]]:
    """The model and its test pipeline, without paths.

    Returns:
        The configuration, and what a file's metadata says of a frozen ViT.
    """
    config = checkpoint_config(checkpoint, content['meta'], trust)
    vit: dict[str, str] = {}
    try:
        spell_out_vit(config.model, content['state_dict'], checkpoint)
        model = config.model.get('detector', config.model)
        backbone = model.get('backbone') or {}
        if str(backbone.get('type')).endswith('ViTAdapter'):
            # The shape, in place of the weights that training began with.
            backbone.vit = vit_config(backbone.get('vit'),
                                      backbone.pop('weights', None))
        elif has_frozen_vit(model):
            digest = digest_of_vit(checkpoint, model, content['meta'])
            if digest is not None:
                vit[DIGEST], backbone.weights = digest, None
        slim = dict(
            default_scope=config.get('default_scope', 'mmdet'),
            model=model,
            test_dataloader=config.test_dataloader)
    except UsageError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f'{checkpoint}: the configuration inside: {error}'
                         ) from error
    meta = dict(cfg=config_json(Config(slim)))
    return inference_config(
        checkpoint, dict(meta=meta, state_dict=content['state_dict']),
        trust), vit


def _save_hashed(content: dict[str, Any], out: Path, suffix: str) -> Path:
    """Write a file whose name ends in digits of its hash, whole.

    Args:
        content: ``meta`` and ``state_dict``.
        out: its name without the digits.
        suffix: the kind of file, where the name has none of .pth and
            .safetensors.
    """
    if out.suffix in ('.pth', '.safetensors'):
        suffix = out.suffix
    if suffix == '.safetensors':
        # Tensors that share their memory are written one by one.
        state = {name: value.detach().clone().contiguous()
                 for name, value in content['state_dict'].items()}
        data = save(state, {METADATA: json.dumps(content['meta'])})
    else:
        # Into memory first: torch writes a file's own name into it.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue()
    digits = hashlib.sha256(data).hexdigest()[:8]
    path = out.with_name(f'{out.name.removesuffix(suffix)}-{digits}{suffix}')
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, binary=True) as file:
        file.write(data)
    return path
