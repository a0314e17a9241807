"""A folder of photos with their forests, as pages that need no server."""
import os
import shutil
import tempfile
from html import escape
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any
from urllib.parse import quote

from sohes.utils.files import draft_prefix
from sohes.visualization.viewer.photos import (
    HERE,
    SCRIPTS,
    Photo,
    jpeg,
    photo_record,
    script_json,
)

#: Longest side of a thumbnail, in pixels.
THUMBNAIL = 160
#: Photos that share a folder: file systems and people dislike more.
FOLDER = 1000


class ReportWriter:
    """Writes a report, photo by photo; it appears whole or not at all.

    The folder holds ``index.html``, the list ``photos.js``, and of each photo
    a script with its masks, a JPEG and a thumbnail: a browser loads those of
    the photo that is looked at. Memory does not grow with the photos but for
    their names.

    Args:
        folder: what to make.
        title: of the page.
        overwrite: replace a report that is there.

    Raises:
        ValueError: something else is there, or a report without
            ``overwrite``.

    Examples:
        >>> with ReportWriter('report', 'My photos') as report:
        ...     report.add(photo)
    """

    def __init__(self, folder: str | os.PathLike, title: str,
                 overwrite: bool = False) -> None:
        self.folder = Path(folder).absolute()
        self.title = title
        self.photos: list[dict[str, Any]] = []
        if self.folder.exists():
            if not is_report(self.folder):
                raise ValueError(f'{folder} exists and is no report; choose '
                                 'another folder')
            if not overwrite:
                raise ValueError(f'{folder} exists; give --overwrite or '
                                 'choose another folder')

    def __enter__(self) -> 'ReportWriter':
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._draft = Path(tempfile.mkdtemp(
            prefix=draft_prefix(self.folder), dir=self.folder.parent))
        return self

    def add(self, photo: Photo) -> None:
        """Write the files of one photo."""
        number = len(self.photos)
        place = f'{number // FOLDER:03d}'
        paths = {
            kind: f'{kind}/{place}/{number:06d}.{suffix}'
            for kind, suffix in (('data', 'js'), ('images', 'jpg'),
                                 ('thumbs', 'jpg'))
        }
        for path in paths.values():
            (self._draft / path).parent.mkdir(parents=True, exist_ok=True)
        record = photo_record(photo, paths['images'])
        (self._draft / paths['data']).write_text(
            f'Sohes.photo({number}, {script_json(record)});\n', 'utf-8')
        (self._draft / paths['images']).write_bytes(jpeg(photo.image))
        (self._draft / paths['thumbs']).write_bytes(
            jpeg(photo.image, THUMBNAIL))
        self.photos.append(dict(
            name=photo.name,
            masks=len(photo),
            ratio=round(photo.image.shape[1] / photo.image.shape[0], 4),
            data=quote(paths['data']),
            thumb=quote(paths['thumbs'])))

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)

    def _finish(self) -> None:
        """Write what all photos share, and give the folder its name."""
        (self._draft / 'viewer').mkdir()
        for name in (*SCRIPTS, 'report.js', 'viewer.css', 'report.css'):
            shutil.copyfile(HERE / name, self._draft / 'viewer' / name)
        (self._draft / 'photos.js').write_text(
            f'Sohes.photos = {script_json(self.photos)};\n', 'utf-8')
        page = Template((HERE / 'report.html').read_text('utf-8'))
        (self._draft / 'index.html').write_text(
            page.substitute(title=escape(self.title)), 'utf-8')
        os.chmod(self._draft, 0o755)
        if self.folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f'.{self.folder.name}.old-',
                                        dir=self.folder.parent))
            os.replace(self.folder, old / 'report')
            os.replace(self._draft, self.folder)
            shutil.rmtree(old)
        else:
            os.replace(self._draft, self.folder)


def is_report(folder: Path) -> bool:
    """Whether a folder was written by :class:`ReportWriter`."""
    return (folder / 'photos.js').is_file() and (
        folder / 'viewer' / 'forest.js').is_file()
