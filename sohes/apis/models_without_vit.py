"""Models whose frozen ViT is not in their file, and the one that ships.

With ``sohes.FrozenViT`` a checkpoint holds what was trained. Which ViT that
was trained on is in the file as a name of the zoo or as a digest of its
weights; the weights themselves are found here.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sohes.utils.errors import FileError, UsageError
from sohes.weights.vit_digests import digest_of, weights_of_digest
from sohes.weights.vit_weights import load_vit_weights
from sohes.weights.vit_zoo import ZOO, locate_weights

#: Names of models that a checkout has, in this folder of it.
SHIPPED = ('sohes-vits14-demo', )
FOLDER = Path(__file__).resolve().parents[2] / 'demo' / 'models'
#: Of the metadata of a published file: the digest of its ViT's weights.
DIGEST = 'vit_digest'
_GIVE = 'give its weights as vit_weights (--vit-weights FILE)'


def shipped_model(name: str) -> Path:
    """The file of a model that a checkout has.

    Args:
        name: one of ``SHIPPED``.

    Raises:
        UsageError: it is not there; says where it is to be had.
    """
    path = FOLDER / f'{name}.safetensors'
    if not path.is_file():
        raise UsageError(
            f'{name}: expected {path}, found no such file; the model is in '
            "a checkout of SOHES's repository, not in the package that pip "
            'installs: clone the repository and start from there, or give '
            f'the path of its demo/models/{path.name}')
    return path


def has_frozen_vit(model: Mapping[str, Any]) -> bool:
    """Whether a model's ViT is not in its checkpoint.

    Args:
        model: ``model`` of a configuration of Phase 2 or 3.
    """
    kind = _backbone(model).get('type')
    return isinstance(kind, str) and kind.split('.')[-1] == 'FrozenViT'


def digest_of_vit(path: str | Path, model: Mapping[str, Any],
                  meta: Mapping[str, Any]) -> str | None:
    """The digest that a published file keeps of its frozen ViT.

    Args:
        path: the checkpoint, for messages.
        model: ``model`` of its configuration.
        meta: of the checkpoint, which may be a published one.

    Returns:
        None: the ViT has a name in the zoo.

    Raises:
        UsageError: the file of the ViT's weights is not there.
    """
    weights = _backbone(model).get('weights')
    if weights in ZOO:
        return None
    if weights is None:
        return meta.get(DIGEST)
    try:
        return _digest(weights)
    except FileError as error:
        raise UsageError(
            f'{path} was trained on the ViT in {weights}, which is needed to '
            f'say which ViT that is: {error}') from error


def place_vit(path: str | Path, model: Mapping[str, Any],
              meta: Mapping[str, Any],
              vit_weights: str | Path | None = None) -> None:
    """Write into a configuration where the weights of its ViT are.

    Args:
        path: the checkpoint, for messages.
        model: ``model`` of the configuration; changed in place if its ViT
            is not in the checkpoint.
        meta: of the checkpoint.
        vit_weights: a name of the zoo or a file. None: those of the
            configuration, else those with the digest in ``meta``.

    Raises:
        UsageError: there are none, they are of another ViT, or the model
            has its ViT in it.
    """
    if not has_frozen_vit(model):
        if vit_weights is not None:
            raise UsageError(f'{path} has its ViT in it: leave out '
                             'vit_weights (--vit-weights)')
        return
    backbone, digest = _backbone(model), meta.get(DIGEST)
    weights = vit_weights or backbone.get('weights')
    try:
        if weights is not None:
            if digest is not None and _digest(weights) != digest:
                raise UsageError(f'{path} was trained on another ViT than '
                                 f'{weights}: {_GIVE}')
            locate_weights(weights)
        elif isinstance(digest, str):
            weights = weights_of_digest(digest)
        else:
            raise UsageError(f'{path} was trained on a ViT that is not in '
                             f'it: {_GIVE}')
    except FileError as error:
        raise UsageError(f'{path} was trained on a ViT that is not in it: '
                         f'{error}; {_GIVE}') from error
    backbone['weights'] = str(weights)


def _backbone(model: Mapping[str, Any]) -> Any:
    """The backbone of a model, or of Phase 3's detector; {}: none."""
    one = model.get('detector', model)
    found = one.get('backbone') if isinstance(one, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _digest(weights: str | Path) -> str:
    located = locate_weights(weights)
    return digest_of(
        load_vit_weights(located.path, located.family).state_dict)
