"""ViTs by name: where their weights are, and where they are kept."""
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from sohes.utils.errors import FileError
from sohes.weights.download import download, recorded_sha256


@dataclass(frozen=True)
class ZooEntry:
    """Official weights.

    Attributes:
        url: where their authors publish them.
        family: key of the table of presets.
        sha256: hash, where a citable source gives one. Neither DINO's nor
            DINOv2's authors publish any, so it is recorded at the first
            download instead.
        licence_form: their authors hand them out through a form, so they
            cannot be downloaded from here.
    """
    url: str
    family: str
    sha256: str | None = None
    licence_form: bool = False

    @property
    def file_name(self) -> str:
        """The file's own name, which torch.hub keeps, too."""
        return self.url.rsplit('/', 1)[1]


def _dino(name: str) -> ZooEntry:
    return ZooEntry(
        'https://dl.fbaipublicfiles.com/dino/'
        f'dino_{name}_pretrain/dino_{name}_pretrain.pth', 'dino')


def _dinov2(name: str, registers: bool = False) -> ZooEntry:
    file = f'dinov2_{name}{"_reg4" if registers else ""}_pretrain.pth'
    return ZooEntry(
        f'https://dl.fbaipublicfiles.com/dinov2/dinov2_{name}/{file}',
        'dinov2')


def _dinov3(name: str, digest: str) -> ZooEntry:
    return ZooEntry(
        'https://ai.meta.com/resources/models-and-libraries/'
        f'dinov3-downloads/dinov3_{name}_pretrain_lvd1689m-{digest}.pth',
        'dinov3',
        licence_form=True)


# URLs and file names: hubconf.py of facebookresearch/dino, README.md of
# facebookresearch/dinov2, dinov3/hub/backbones.py of facebookresearch/dinov3
# (a file's ending is the start of its SHA-256). The paper uses dino_vitb8.
ZOO: dict[str, ZooEntry] = {
    'dino_vits16': _dino('deitsmall16'),
    'dino_vits8': _dino('deitsmall8'),
    'dino_vitb16': _dino('vitbase16'),
    'dino_vitb8': _dino('vitbase8'),
    'dinov2_vits14': _dinov2('vits14'),
    'dinov2_vitb14': _dinov2('vitb14'),
    'dinov2_vitl14': _dinov2('vitl14'),
    'dinov2_vitg14': _dinov2('vitg14'),
    'dinov2_vits14_reg': _dinov2('vits14', registers=True),
    'dinov2_vitb14_reg': _dinov2('vitb14', registers=True),
    'dinov2_vitl14_reg': _dinov2('vitl14', registers=True),
    'dinov2_vitg14_reg': _dinov2('vitg14', registers=True),
    'dinov3_vits16': _dinov3('vits16', '08c60483'),
    'dinov3_vits16plus': _dinov3('vits16plus', '4057cbaa'),
    'dinov3_vitb16': _dinov3('vitb16', '73cec8be'),
    'dinov3_vitl16': _dinov3('vitl16', '8aa4cbdd'),
    'dinov3_vith16plus': _dinov3('vith16plus', '7c1da9a5'),
    'dinov3_vit7b16': _dinov3('vit7b16', 'a955f4ea'),
}


@dataclass(frozen=True)
class LocatedWeights:
    """A file of weights on this machine.

    Attributes:
        path: the file.
        family: key of the table of presets, None if only the weights can
            tell.
        sha256: the hash it must have, None if any will do.
    """
    path: Path
    family: str | None = None
    sha256: str | None = None


def weights_dir() -> Path:
    """Where downloaded weights are kept.

    ``$SOHES_HOME``, else ``$XDG_CACHE_HOME/sohes``, else
    ``~/.cache/sohes``; in it the folder ``weights``.
    """
    home = os.environ.get('SOHES_HOME')
    if home:
        return Path(home).expanduser() / 'weights'
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(cache).expanduser() / 'sohes' / 'weights'


def cached_weights(name: str) -> LocatedWeights | None:
    """Named weights if they are on this machine already.

    torch.hub's own cache counts, too: whoever used the official code has
    the same file there.

    Raises:
        FileError: no such name.
    """
    entry = _entry(name)
    kept = weights_dir() / entry.file_name
    for path in (kept, Path(torch.hub.get_dir(), 'checkpoints',
                            entry.file_name)):
        if path.is_file():
            return LocatedWeights(path, entry.family, entry.sha256
                                  or recorded_sha256(kept))
    return None


def fetch_weights(name: str,
                  timeout: float = 30.0,
                  attempts: int = 3) -> LocatedWeights:
    """Named weights, downloaded if they are not on this machine yet.

    Args:
        name: a key of ``ZOO``.
        timeout: seconds without an answer before giving up.
        attempts: how often a broken transfer is taken up again.

    Raises:
        FileError: no such name, they cannot be downloaded, or their
            authors hand them out through a form only.
    """
    cached = cached_weights(name)
    if cached is None:
        entry = _entry(name)
        target = weights_dir() / entry.file_name
        if entry.licence_form:
            page, name = entry.url.rsplit('/', 1)
            raise FileError(
                f"weights: DINOv3's authors hand them out through a form; "
                f'accept the licence on {page}/ , download {name} and put '
                f'it there: {target}')
        download(entry.url, target, entry.sha256, timeout, attempts)
        cached = LocatedWeights(target, entry.family, recorded_sha256(target))
    return cached


def locate_weights(weights: str | Path) -> LocatedWeights:
    """The file behind a name of the zoo or a path.

    Raises:
        FileError: neither a name nor a file, or a failed download.
    """
    if isinstance(weights, str) and weights in ZOO:
        return fetch_weights(weights)
    path = Path(weights).expanduser()
    if path.is_file():
        return LocatedWeights(path)
    raise FileError(
        f'weights: expected a file or one of {", ".join(ZOO)}, found '
        f'{str(weights)!r}')


def _entry(name: str) -> ZooEntry:
    if name not in ZOO:
        raise FileError(
            f'weights: expected one of {", ".join(ZOO)}, found {name!r}')
    return ZOO[name]
