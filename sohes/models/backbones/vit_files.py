"""Reading the tensors of a checkpoint, whatever kind of file it is."""
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sohes.models.backbones.onnx_weights import read_onnx_tensors
from sohes.models.backbones.vit_keys import listed
from sohes.utils.errors import FileError
from sohes.utils.tensor_files import read_tensor_file

# Where training scripts put the model, the one to prefer first.
_NESTINGS = ('teacher', 'model_ema', 'state_dict_ema', 'ema', 'state_dict',
             'model', 'module', 'student')
_TORCH_ENDINGS = ('.pth', '.pt', '.bin', '.ckpt')


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by the names that the file gives them.

    Args:
        path: a file ending in .pth, .pt, .bin, .ckpt (torch's),
            .safetensors or .onnx.

    Raises:
        FileError: missing, of another kind, or unreadable.
    """
    if not path.is_file():
        raise FileError(f'{path}: expected a file of weights, found none')
    suffix = path.suffix.lower()
    if suffix in _TORCH_ENDINGS:
        return _unnest(_torch_load(path), path)
    if suffix == '.onnx':
        return read_onnx_tensors(path)
    if suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        try:
            return load_file(str(path))
        except SafetensorError as error:
            raise FileError(f'{path}: expected a whole safetensors file, '
                            f'found one that ends in: {error}') from error
    raise FileError(
        f'{path}: expected an ending of {", ".join(_TORCH_ENDINGS)}, '
        f'.safetensors or .onnx, found {suffix or "none"}')


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


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


def _torch_load(path: Path) -> Any:
    """Read a torch file, without running code that it carries.

    Training checkpoints carry more than tensors (DINO's its arguments),
    which leave an empty stand-in.
    """
    try:
        return read_tensor_file(path, stand_in=True)
    except FileError as error:
        raise FileError(
            f'{path}: expected a whole torch file of tensors, found one '
            f'that cannot be read: {error}') from error


def _unnest(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Find the dict of tensors in what a training script saved."""
    while isinstance(loaded, Mapping):
        tensors = {
            str(key): value
            for key, value in loaded.items() if isinstance(value, Tensor)
        }
        if any('patch_embed' in key for key in tensors):
            return tensors
        inner = next((loaded[name] for name in _NESTINGS
                      if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            raise FileError(
                f'{path}: expected the weights of a ViT at the top or under '
                f'one of {", ".join(_NESTINGS)}, found '
                f'{listed(map(str, loaded)) or "nothing"}')
        loaded = inner
    raise FileError(f'{path}: expected a dict of weights, found '
                    f'{type(loaded).__name__}')
