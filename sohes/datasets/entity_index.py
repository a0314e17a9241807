"""A COCO json as files that many processes share without reading them."""
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from sohes.datasets.index_building import build_index
from sohes.datasets.index_records import (
    ANNOTATION,
    FORMAT,
    IMAGE,
    TREES,
    map_raw,
    pair_dtype,
)
from sohes.structures import Entities, EntityForest
from sohes.structures.rle_kernels import rle_stats
from sohes.structures.segmentations import check_image_size
from sohes.utils.errors import FileError
from sohes.utils.made_with import read_settings
from sohes.utils.names import name_fault


@dataclass(frozen=True, eq=False)
class ImageEntities:
    """The annotations of one image, as they are in the index.

    Attributes:
        records: (N,) records of ANNOTATION.
        blob: (K,) uint8, the text of their RLEs.
        size: (H, W) of the image in pixels.
        pairs: (P, 2) unsigned, positions of an ancestor and its descendant;
            None: the relation is that of the trees.
    """
    records: np.ndarray
    blob: np.ndarray
    size: tuple[int, int]
    pairs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.records)

    def read(self) -> Entities:
        """The N masks with their scores and forest, crowds among them.

        Raises:
            FileError: as :meth:`rles` does.
        """
        return Entities(self.size, self.rles(), self.records['score'],
                        self.forest)

    @property
    def forest(self) -> EntityForest:
        """Who is part of whom among the N.

        Raises:
            FileError: as :meth:`rles` does.
        """
        try:
            return EntityForest(self.records['parent'], self.pairs)
        except ValueError as error:
            raise _not_as_built('relations', error) from error

    @property
    def spans(self) -> np.ndarray:
        """(N, 2) int64, where in the blob each RLE starts and ends."""
        stops = np.cumsum(self.records['length'], dtype=np.int64)
        return np.stack([stops - self.records['length'], stops], 1)

    def rles(self) -> list[dict[str, Any]]:
        """The masks as pycocotools takes them.

        Raises:
            FileError: the index is not the one that was built: it
                may have come with the json, from somebody else.
        """
        if not len(self):
            return []
        spans = self.spans
        offsets = np.append(spans[:, 0], spans[-1:, 1])
        areas, _ = rle_stats(self.blob, offsets,
                             np.tile(np.int64(self.size), (len(self), 1)))
        if (areas < 0).any() or (self.records['length'] < 0).any():
            raise _not_as_built('masks', 'no RLE of their image')
        return [
            dict(size=list(self.size),
                 counts=self.blob[start:stop].tobytes())
            for start, stop in spans
        ]


class EntityIndex:
    """Images and masks of a COCO json, mapped into memory.

    The index is a folder beside the json, ``<json>.index``, built when it
    is first asked for and again when the json's size or time changes. Its
    pages are shared by all processes of a machine: a process's own memory
    does not grow with the number of masks.

    Args:
        folder: where a whole index is.

    Attributes:
        images: (M,) records of IMAGE by rising id.
        annotations: (N,) records of ANNOTATION, grouped by image.
        meta: what ``meta.json`` says: ``categories`` is a list of dicts of
            ``id`` and ``name``.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.meta = _meta(self.folder)
        try:
            self.images = _map(self.folder / 'images.npy', IMAGE)
            self.annotations = _map(self.folder / 'annotations.npy',
                                    ANNOTATION)
            self._names = _map(self.folder / 'names.npy', np.dtype(np.uint8))
            self._rle = map_raw(self.folder / 'rle.bin', np.uint8)
            self._pairs = map_raw(self.folder / 'pairs.bin',
                                  pair_dtype(self.images)).reshape(-1, 2)
        except OSError:
            raise
        except Exception as error:  # numpy's reader raises nearly anything
            raise _not_as_built('a file', error) from error

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple:
        # A mapped array would travel to a worker as a copy.
        return EntityIndex, (self.folder, )

    @classmethod
    def open(cls, json_path: str | os.PathLike,
             index_dir: str | os.PathLike | None = None,
             coverage: float = 0.9) -> 'EntityIndex':
        """Open the index of a json, and build it if need be.

        Processes that want the same index wait for the one that builds it.
        It appears whole or not at all.

        Args:
            json_path: a COCO json.
            index_dir: the folder to keep it in. None: beside the json, and
                if nothing can be written there, ``sohes/index`` in
                ``XDG_CACHE_HOME``, by default ``~/.cache``.
            coverage: for images without ``parent_id``, see
                :meth:`EntityForest.from_masks`.

        Returns:
            The index.

        Raises:
            FileError: one sentence on what is wrong with the json.
            OSError: there is no room or no right to write the index.
        """
        path = Path(json_path)
        if not path.is_file():
            reason = 'is a folder' if path.is_dir() else 'does not exist'
            raise FileError(f'annotation file {path} {reason}')
        key = _key(path, coverage)
        for folder in _places(path, index_dir):
            if _is_current(folder, key):
                return cls(folder)
        folder = next(iter(_places(path, index_dir, writable=True)))
        lock = Path(f'{folder}.lock')
        if lock.is_symlink():  # some versions empty what it leads to
            raise FileError(f'{lock} is a link; remove it')
        with FileLock(lock):
            if not _is_current(folder, key):
                build_index(path, folder, key)
            return cls(folder)

    def file_name(self, position: int) -> str:
        """The image's name as it is in the json.

        Raises:
            FileError: the index is not the one that was built.
        """
        start = self.images['name'][position - 1] if position else 0
        stop = self.images['name'][position]
        try:
            name = self._names[start:stop].tobytes().decode(
                'utf-8', 'surrogatepass')
        except UnicodeDecodeError as error:
            raise _not_as_built('names', error) from error
        fault = name_fault(name)
        if fault:
            raise _not_as_built(f'the name {name!r:.200}', fault)
        return name

    def entities(self, position: int) -> ImageEntities:
        """The annotations of one image.

        Args:
            position: of the image, 0 to M - 1.

        Returns:
            Views of the mapped files, not copies.

        Raises:
            FileError: the index is not the one that was built.
        """
        image = self.images[position]
        size = int(image['height']), int(image['width'])
        try:
            check_image_size(*size)
        except FileError as error:
            raise _not_as_built(f'image {image["id"]}', error) from error
        records = _part(self.annotations, image['first'], image['count'])
        start = int(records['rle'][0]) if len(records) else 0
        if (records['length'] < 0).any():
            raise _not_as_built('masks', 'of negative length')
        blob = _part(self._rle, start,
                     records['length'].sum(dtype=np.int64))
        pairs = None
        if image['pairs'] != TREES:
            pairs = _part(self._pairs, image['pair'], image['pairs'])
        return ImageEntities(records, blob, size, pairs)

    @property
    def without_pairs(self) -> int:
        """Images with masks of which the json names parents only."""
        return int(((self.images['pairs'] == TREES) &
                    (self.images['masks'] > 0)).sum())


def _map(path: Path, dtype: np.dtype) -> np.ndarray:
    """A file as an array; what is empty cannot be mapped."""
    found = np.asarray(np.load(path, mmap_mode='r'))
    if found.ndim != 1 or found.dtype != dtype:
        raise ValueError(f'{path.name} is {found.ndim}-dimensional, of '
                         f'{found.dtype}')
    return found


def _part(array: np.ndarray, start: Any, count: Any) -> np.ndarray:
    """So many entries of an array, all of which it has."""
    start, count = int(start), int(count)
    if not 0 <= start <= start + count <= len(array):
        raise _not_as_built('places', f'beyond the end, such as {start}')
    return array[start:start + count]


def _not_as_built(what: str, reason: Any) -> FileError:
    """Of an index that came with its json, from somebody else, or decayed."""
    reason = ' '.join(str(reason).split())
    return FileError(
        f'the index holds {what} that cannot be used ({reason:.200}): '
        'delete its folder, JSON.index, and it is built anew')


def _meta(folder: Path) -> dict[str, Any]:
    """What ``meta.json`` says; nothing where there is no such json object."""
    return read_settings(folder / 'meta.json') or {}


def _key(path: Path, coverage: float) -> dict[str, Any]:
    status = path.stat()
    return dict(
        format=FORMAT,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        coverage=coverage)


def _is_current(folder: Path, key: dict[str, Any]) -> bool:
    return _meta(folder).get('key') == key


def _places(path: Path, index_dir: str | os.PathLike | None,
            writable: bool = False) -> list[Path]:
    """Where the index may be, the best place first."""
    if index_dir is not None:
        if writable:
            Path(index_dir).mkdir(parents=True, exist_ok=True)
        return [Path(index_dir) / f'{path.name}.index']
    beside = path.with_name(f'{path.name}.index')
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    cached = cache / 'sohes' / 'index' / f'{path.name}-{digest}.index'
    if not writable:
        return [beside, cached]
    if os.access(path.parent, os.W_OK):
        return [beside]
    cached.parent.mkdir(parents=True, exist_ok=True)
    return [cached]
