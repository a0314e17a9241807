"""Names of images in files that somebody else may have written."""
import re
import unicodedata
from collections.abc import Iterable

#: Characters of a name, and of one folder in it, as file systems have them.
_LONGEST, _LONGEST_PART = 4096, 255
_UNPAIRED = re.compile('[\ud800-\udfff]')
_DRIVE = re.compile(r'[A-Za-z]:')


def name_fault(name: str) -> str | None:
    """Why a name must not be joined to the folder of images.

    Args:
        name: of an image, with the folders it lies in.

    Returns:
        A sentence's end, such as 'it leads out of the folder of images';
        None: it stays below any folder that it is joined to.
    """
    parts = name.replace('\\', '/').split('/')
    if not name.strip():
        return 'it is empty'
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name):
        return 'it has characters that cannot be printed'
    if not name.isascii() and _UNPAIRED.search(name):
        return 'it is no text: it has half of a character (a surrogate)'
    if parts[0] == '' or _DRIVE.match(name):
        return 'it is an absolute path; names are relative to the folder of ' \
            'images'
    if '..' in parts:
        return 'it leads out of the folder of images'
    if len(name) > _LONGEST or any(len(part) > _LONGEST_PART
                                   for part in parts):
        return 'it is longer than file systems allow'
    return None


def same_file(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that are one file where case or accents are folded.

    macOS and Windows keep ``A.jpg`` and ``a.jpg`` in one file, and macOS an
    accent that is part of its letter and one that follows it. Windows takes
    a backslash for a slash and leaves out a dot or space at the end; every
    system takes ``a//b.jpg`` and ``./a/b.jpg`` for ``a/b.jpg``.

    Args:
        names: of files below one folder.

    Returns:
        The first two of them; None: all are different everywhere.
    """
    seen: dict[str, str] = {}
    for name in names:
        folded = _folded(name)
        if folded in seen:
            return seen[folded], name
        seen[folded] = name
    return None


def _folded(name: str) -> str:
    name = unicodedata.normalize('NFC', name).casefold()
    parts = (part.rstrip('. ')
             for part in name.replace('\\', '/').split('/'))
    return unicodedata.normalize('NFC', '/'.join(filter(None, parts)))
