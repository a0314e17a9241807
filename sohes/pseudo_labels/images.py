"""Photos from disk, in the formats of cameras and the web, as upright RGB."""
import functools
import logging
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from sohes.pseudo_labels.image_pixels import (
    orientation_of,
    to_rgb,
    turn_upright,
)
from sohes.utils.errors import ImageError
from sohes.utils.limits import MOST_PIXELS, pixel_limit, too_large
from sohes.utils.names import name_fault

if TYPE_CHECKING:
    from PIL.Image import Image

_LOG = logging.getLogger('sohes')
# Ours, named after the photos; see sohes.visualization.picture_path.
_PICTURE = re.compile(r'.*(\.\w+|~[0-9a-f]{8})\.forest\.jpg', re.IGNORECASE)
_HEIF = frozenset(('.heic', '.heif', '.hif', '.heics', '.heifs'))
#: What is opened; whatever else Pillow knows is refused by name. PostScript
#: would start another program, and few people have ever looked at the
#: readers of rare formats.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'GIF', 'BMP', 'PPM', 'JPEG2000',
           'MPO', 'AVIF', 'HEIF')
#: Ways to one folder: a few links in each of thirty folders are a billion.
_MOST_WAYS = 100
#: Scans of a progressive JPEG; programs write about ten.
_MOST_SCANS = 100
#: Pixels of a JPEG 2000 for each of its bytes, beyond so many that do no
#: harm. Its decoder is slow, also where a picture of one colour is a kilobyte
#: long.
_MOST_PER_BYTE, _HARMLESS = 200, 1 << 22
#: What moves the cursor, sets colours or turns the direction of text.
_CONTROLS = re.compile('[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')


def load_image(path: str | os.PathLike,
               max_pixels: int | None = None) -> np.ndarray:
    """Read an image, upright after its EXIF tag.

    Grey levels of 16 bits are scaled from [0, 65535]; floats, and integers
    outside that range, from their own smallest to their largest finite
    value. Transparent pixels are laid over white. Of an animation the first
    frame counts. Embedded colour profiles are not applied.

    Args:
        path (str or PathLike): the file.
        max_pixels (int, optional): a bound below that of every tool, see
            :func:`~sohes.utils.limits.pixel_limit`.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB, its own memory.

    Raises:
        ImageError: one sentence with the path and the reason.
    """
    from PIL import Image, UnidentifiedImageError
    _register_heif()
    try:
        _check_file(path)
        limit = min(pixel_limit(), max_pixels or MOST_PIXELS)
        with Image.open(path, formats=find_formats()) as image:
            pixels = image.width * image.height
            if pixels > limit:
                raise ImageError(too_large(pixels, limit))
            _check_scans(path, image)
            _check_density(path, image)
            image.load()
            # After loading: Pillow turns a TIFF upright while it loads.
            pixels = turn_upright(to_rgb(image), orientation_of(image))
    except ImageError as error:
        raise ImageError(f'{_printable(path)}: {error}') from error
    except (Image.DecompressionBombError,
            Image.DecompressionBombWarning) as error:
        found = re.search(r'\d+', str(error))
        raise ImageError(f'{_printable(path)}: ' + too_large(
            int(found[0]) if found else 0)) from error
    except UnidentifiedImageError as error:
        kind = _refused_kind(path)
        raise ImageError(
            f'{_printable(path)}: not an image that Pillow can read'
            if kind is None else
            f'{_printable(path)}: is a file of the format {kind}, which is '
            f'not opened; convert it to one of {", ".join(FORMATS)}'
        ) from error
    except MemoryError:
        raise  # the machine's fault, not the file's
    except Exception as error:  # Pillow's decoders raise nearly anything
        reason = ' '.join((getattr(error, 'strerror', None) or str(error)
                           or type(error).__name__).split())
        raise ImageError(f'{_printable(path)}: cannot be read as an image: '
                         f'{reason}') from error
    return np.require(pixels, requirements=['C', 'O', 'W'])


def find_images(folder: str | os.PathLike) -> list[str]:
    """List the images of a folder and the folders in it.

    What counts is the ending of the name, in any case, among those of
    ``FORMATS``. Hidden files and folders are passed over, and so are pictures
    and reports that this project wrote; links to folders are followed. What
    else is passed over is counted and logged.

    Args:
        folder (str or PathLike): where to look.

    Returns:
        list[str]: paths relative to the folder, with forward slashes,
        sorted by code points.

    Raises:
        ValueError: if the folder is missing, holds no image, an image
            has a name that labels cannot hold, such as one that is not
            text, or links lead to one folder over and over.
        OSError: if a folder must not be read.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        reason = ('is not a folder' if os.path.exists(folder) else
                  'does not exist')
        raise ValueError(f'folder of images {_printable(folder)} {reason}')
    passed: dict[str, list[str]] = {}
    names = sorted(_walk(folder, '', _endings(), frozenset(), passed,
                         Counter()))
    said = _say_passed(passed)
    for name in names:
        if _text(name) != name:
            advice = 'not valid UTF-8; rename the file or its folder'
            if sys.getfilesystemencoding() != 'utf-8':
                advice = ('not plain ASCII, and this terminal knows nothing '
                          'else; set PYTHONUTF8=1')
            raise ValueError(f'{_printable(folder)}: the name '
                             f'{_printable(name)} is {advice}')
        fault = name_fault(name)
        if fault:  # a json with it would be refused
            raise ValueError(f'{_printable(folder)}: {name!r:.200} cannot be '
                             f'a name in labels: {fault}; rename the file or '
                             'its folder')
    if not names:
        raise ValueError(f'folder of images {_printable(folder)} holds no '
                         'image that Pillow can read' +
                         (f'; passed over: {said}' if said else ''))
    if said:
        # What may be a photo of somebody who misses it.
        missed = any(key in passed for key in (_DANGLING, _NEEDS_HEIF))
        _LOG.log(logging.WARNING if missed else logging.INFO,
                 'passed over in %s: %s', _printable(folder), said)
    return names


_DANGLING = 'links that lead nowhere'
_NEEDS_HEIF = 'HEIC photos, which pip install pillow-heif lets us read'
_OURS = 'pictures that were drawn by an earlier run'


def _say_passed(passed: dict[str, list[str]]) -> str:
    """What a folder holds beside its images: counts, and a name of each."""
    return ', '.join(
        f'{len(names)} {kind} (such as {_printable(min(names))})'
        for kind, names in sorted(passed.items()))


def _passed_over(name: str, entry: os.DirEntry) -> str:
    """Why a file or link does not count as an image."""
    ending = os.path.splitext(name)[1].lower()
    if entry.is_symlink() and not os.path.exists(entry.path):
        return _DANGLING
    if ending in _HEIF:
        return _NEEDS_HEIF
    if not entry.is_file():
        return 'pipes, sockets or devices'
    return f'{ending} files' if ending else 'files without an ending'


def _holds_output(names: Collection[str]) -> bool:
    """Whether a folder is a report, or tables of an evaluation, of ours."""
    return {'photos.js', 'viewer', 'index.html'}.issubset(names) or {
        'table.json', 'table.md', 'table.png'}.issubset(names)


@functools.cache
def _register_heif() -> bool:
    """Let Pillow read HEIC where the package for it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _walk(folder: str, prefix: str, endings: frozenset[str],
          above: frozenset[tuple[int, int]], passed: dict[str, list[str]],
          visits: Counter) -> Iterator[str]:
    """Names of images below a folder; `above` ends circles of links.

    What does not count is added to ``passed``, by the reason.
    """
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    visits[here] += 1
    if visits[here] > _MOST_WAYS:
        raise ValueError(
            f'{_printable(folder)} is reached in more than {_MOST_WAYS} ways '
            'through links to folders; remove some of the links')
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name[0] != '.']
    if above and _holds_output({entry.name for entry in found}):
        passed.setdefault(_OURS, []).append(prefix.rstrip('/'))
        return
    for entry in found:
        name = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry.path, f'{name}/', endings, above | {here},
                             passed, visits)
        elif _PICTURE.fullmatch(entry.name):
            passed.setdefault(_OURS, []).append(name)
        elif (os.path.splitext(entry.name)[1].lower() in endings
              and entry.is_file()):
            yield name
        else:
            passed.setdefault(_passed_over(entry.name, entry), []).append(name)


def _endings() -> frozenset[str]:
    """Endings of the formats that are opened."""
    from PIL import Image
    _register_heif()
    # Two JPEGs in one, which Pillow's JPEG reader opens.
    return frozenset(('.mpo', *(
        ending for ending, kind in Image.registered_extensions().items()
        if kind in find_formats())))


def find_formats() -> list[str]:
    """Those of FORMATS that this Pillow can open."""
    from PIL import Image
    Image.init()
    return [kind for kind in FORMATS if kind in Image.OPEN]


def _check_file(path: str | os.PathLike) -> None:
    """Refuse what is no file with bytes in it; a pipe would block."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise ImageError('does not exist') from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError('is a folder, not an image')
    if not stat.S_ISREG(status.st_mode):
        raise ImageError('is not a regular file')
    if status.st_size == 0:
        raise ImageError('is empty (0 bytes)')


def _check_scans(path: str | os.PathLike, image: 'Image') -> None:
    """Refuse a JPEG that is painted over and over.

    Each scan of a progressive JPEG costs the time of the whole photo and
    can be a few bytes long.
    """
    if not image.info.get('progressive'):
        return
    with open(path, 'rb') as file:
        scans = file.read().count(b'\xff\xda')
    if scans > _MOST_SCANS:
        raise ImageError(f'is a JPEG of {scans} scans, more than the '
                         f'{_MOST_SCANS} of any camera')


def _check_density(path: str | os.PathLike, image: 'Image') -> None:
    """Refuse a JPEG 2000 that is much larger than its file."""
    pixels, size = image.width * image.height, os.path.getsize(path)
    if (image.format == 'JPEG2000' and pixels > _HARMLESS
            and pixels > _MOST_PER_BYTE * size):
        raise ImageError(
            f'is a JPEG 2000 of {pixels / 1e6:.1f} million pixels in {size} '
            f'bytes, more than the {_MOST_PER_BYTE} pixels a byte of any '
            'photo; shrink or convert it')


def _refused_kind(path: str | os.PathLike) -> str | None:
    """The format of a file that Pillow knows and this program does not open.
    """
    from PIL import Image
    with open(path, 'rb') as file:
        start = file.read(16)
    for kind, (_, accepts) in Image.OPEN.items():
        try:
            found = kind not in FORMATS and accepts and accepts(start)
        except Exception:  # a plugin that wants more bytes
            continue
        if found and not isinstance(found, str):
            return kind
    return None


def _text(path: str | os.PathLike) -> str:
    """The path as text, whatever its bytes."""
    return str(path).encode('utf-8', 'backslashreplace').decode('utf-8')


def _printable(path: str | os.PathLike) -> str:
    """The path as text that does nothing to a terminal but show itself."""
    return _CONTROLS.sub(
        lambda found: found[0].encode('unicode_escape').decode(), _text(path))
