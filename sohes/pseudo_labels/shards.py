"""Labels on disk while a run goes on: shards, written whole or not at all.

A run over a folder is cut into shards of consecutive images. Each is a file of
its own, renamed into place when it is complete, so a run that was killed at
any moment continues where it stopped, with any number of workers. A shard's
first line holds its images and counts, then comes one line of annotations an
image.
"""
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sohes.structures import Entities, EntityForest
from sohes.structures.segmentations import (
    MOST_MASKS,
    check_image_size,
    checked_rle,
    is_number,
    is_whole,
)
from sohes.utils.files import whole_file
from sohes.utils.json_guard import LONGEST_ENTRY, JsonGuard
from sohes.utils.made_with import (
    check_settings,
    read_settings,
    write_settings,
)

_LOG = logging.getLogger('sohes')
#: Raise it when the shards' lines change.
_FORMAT = 2
# What is kept of an image, of one that could not be read, and of a mask.
_IMAGE = {'file_name', 'height', 'width', 'sha256', 'counts'}
_FAILED = {'file_name', 'reason', 'sha256'}
_MASK = {'segmentation', 'bbox', 'area', 'parent', 'ancestors', 'score'}


def to_record(name: str, labels: Entities,
              sha256: str | None = None) -> dict[str, Any]:
    """One image's labels as plain data.

    Its ``annotations`` are :meth:`Entities.rows`.

    Args:
        name (str): relative to the folder.
        labels (Entities): of the image.
        sha256 (str, optional): of its file, see
            :mod:`sohes.utils.photo_files`.
    """
    height, width = labels.size
    return dict(
        file_name=name,
        height=height,
        width=width,
        sha256=sha256,
        counts=dict(labels.counts),
        annotations=labels.rows())


def failed_record(name: str, reason: str,
                  sha256: str | None = None) -> dict[str, Any]:
    """What stays of an image that could not be read."""
    return dict(file_name=name, reason=reason, sha256=sha256)


class ShardFolder:
    """The shards of one run, beside its output file.

    Args:
        out (str | Path): the json that the run will make.
        info (Mapping): all that decides the labels: configuration, weights'
            hash, version. Goes into the json as it is.
        names (Sequence[str]): the images, in order.
        shard_size (int): images in a shard.
        labels (bool): the records are Phase 1's, with all that
            :func:`to_record` puts there; False: those of a converter.

    Raises:
        ValueError: if the folder holds another run; the sentence says which
            keys differ.
    """

    def __init__(self, out: str | Path, info: Mapping[str, Any],
                 names: Sequence[str], shard_size: int,
                 labels: bool = True) -> None:
        self.out = Path(out)
        self.folder = self.out.with_name(self.out.name + '.parts')
        self.info = json.loads(json.dumps(info))
        self.names = list(names)
        self.shard_size = shard_size
        self.labels = labels

    def __len__(self) -> int:
        """Number of shards."""
        return -(-len(self.names) // self.shard_size)

    def images_of(self, shard: int) -> list[str]:
        """The images of a shard, in order."""
        first = shard * self.shard_size
        return self.names[first:first + self.shard_size]

    def path(self, shard: int) -> Path:
        """Where a shard stands once it is whole."""
        return self.folder / f'shard-{shard:07d}.jsonl'

    def is_done(self, shard: int) -> bool:
        """Whether a shard is whole."""
        return self.path(shard).exists()

    def _run(self) -> dict[str, Any]:
        digest = hashlib.sha256('\0'.join(self.names).encode(
            'utf-8', 'surrogateescape')).hexdigest()
        return dict(
            format=_FORMAT,
            info=self.info,
            shard_size=self.shard_size,
            images=len(self.names),
            names_sha256=digest)

    def _refuse_link(self) -> None:
        """Shards are written and deleted in this folder, not elsewhere."""
        if self.folder.is_symlink():
            raise ValueError(f'{self.folder} is a link; remove it, or choose '
                             'another --out')

    def open(self) -> None:
        """Make the folder, or make sure that it is this run's.

        A file that is not the whole shard that its name says is removed,
        with a warning: its images are labelled again.

        Raises:
            ValueError: the folder holds another run, or is a link.
        """
        self._refuse_link()
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / 'run.json'
        if not manifest.exists():
            write_settings(manifest, self._run())
        found = read_settings(manifest)
        if found is None:
            raise ValueError(f'{manifest} does not say which run was begun '
                             'here; start anew with --overwrite')
        check_settings(
            f'{self.folder} holds an unfinished run with', found, self._run(),
            'continue it with the same, choose another --out, or start anew '
            'with --overwrite')

        for shard in filter(self.is_done, range(len(self))):
            path = self.path(shard)
            fault = self._fault(shard)
            if fault is not None:
                path.unlink()
                _LOG.warning('%s was removed: %s; its %d images are labelled '
                             'again', path, fault, len(self.images_of(shard)))

    def _fault(self, shard: int) -> str | None:
        """Why a file is not the whole shard of this run; None: it is."""
        path = self.path(shard)
        if path.is_symlink() or not path.is_file():
            return 'it is no file'
        try:
            with open(path, 'rb') as file:
                images = _checked_header(_parsed(file.readline),
                                         self.images_of(shard))
                for image in images:
                    masks = _parsed(file.readline)
                    if self.labels:
                        _check_label(image)
                        _check_masks(masks, (image['height'], image['width']))
                    elif not all(isinstance(mask, dict) for mask in masks):
                        raise ValueError('it has a mask that is none of ours')
                if file.read(1):
                    return 'it has more lines than images'
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return ' '.join(str(error).split())[:200] or 'it is broken'
        return None

    def photos(self) -> Iterator[tuple[str, str | None]]:
        """Name and hash of every image in a shard that is whole."""
        for shard in filter(self.is_done, range(len(self))):
            with open(self.path(shard), encoding='utf-8') as file:
                header = json.loads(file.readline())
            for record in header['images'] + header['failed']:
                yield record['file_name'], record.get('sha256')

    def write(self, shard: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Write a shard, whole or not at all."""
        good = [r for r in records if 'annotations' in r]
        header = dict(
            images=[{
                key: value
                for key, value in record.items() if key != 'annotations'
            } for record in good],
            failed=[r for r in records if 'annotations' not in r])
        with whole_file(self.path(shard)) as file:
            file.write(_line(header))
            for record in good:
                file.write(_line(record['annotations']))

    def remove(self) -> None:
        """Delete the shards and their folder."""
        self._refuse_link()
        for path in self.folder.glob('*'):
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()


def _parsed(readline: Callable[[int], bytes]) -> Any:
    """The json of the next line.

    Raises:
        ValueError: it is cut off, no json, or beyond any bounds.
    """
    line = readline(LONGEST_ENTRY)
    if not line.endswith(b'\n'):
        raise ValueError('it is cut off' if len(line) < LONGEST_ENTRY else
                         'it has a line without an end')
    JsonGuard().feed(line)
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f'it is no json ({error})') from error


def _checked_header(header: Any, names: Sequence[str]) -> list[dict]:
    """The images of a shard's first line.

    Args:
        header: of the file.
        names: that the shard is of.

    Raises:
        ValueError: it is of others, or an entry is not as ours are.
    """
    images, failed = header['images'], header['failed']
    found = [image['file_name'] for image in images]
    left_out = [image['file_name'] for image in failed]
    if (found != [name for name in names if name in set(found)]
            or left_out != [name for name in names if name not in set(found)]):
        other = next((name for name in (*found, *left_out)
                      if name not in names), None)
        raise ValueError('it is not of the images of this run' if other is
                         None else f'it is of the image {other!r:.100}')
    for image in images:
        check_image_size(image['height'], image['width'])
    for image in failed:
        if set(image) != _FAILED or not isinstance(image['reason'], str):
            raise ValueError('it has a failure that is none of ours')
    return images


def _check_label(image: dict) -> None:
    """Refuse an image that is not as :func:`to_record` makes it."""
    if set(image) != _IMAGE or not all(
            is_whole(count, 0) for count in image['counts'].values()):
        raise ValueError('it has an image with other counts than ours')


def _check_masks(masks: Any, size: tuple[int, int]) -> None:
    """Refuse masks that are not as :func:`to_record` makes them.

    Args:
        masks: a line of a shard.
        size: (H, W) of their image in pixels.

    Raises:
        ValueError: one is not.
    """
    count = len(masks)
    if count > MOST_MASKS:
        raise ValueError(f'it has {count} masks of an image')
    for mask in masks:
        checked_rle(mask['segmentation'], size)
        parent, score = mask['parent'], mask['score']
        if (mask.keys() - {'level'} != _MASK
                or not is_whole(mask['area'], 0)
                or not is_number(score) or len(mask['bbox']) != 4
                or not all(map(is_number, mask['bbox']))
                or not (parent is None or is_whole(parent, 0, count - 1))
                or not all(is_whole(above, 0, count - 1)
                           for above in mask['ancestors'])
                or not is_whole(mask.get('level', 0), 0, 2)):
            raise ValueError('it has a mask that is none of ours')
    EntityForest([-1 if mask['parent'] is None else mask['parent']
                  for mask in masks])


def _line(value: Any) -> str:
    return json.dumps(value, separators=(',', ':')) + '\n'
