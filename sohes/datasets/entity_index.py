"""A COCO json as files that many processes share without reading them."""
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from sohes.datasets.index_draft import DraftWriter, read_images
from sohes.datasets.index_forest import (
    forest_from_coverage,
    resolve_ancestors,
    resolve_parents,
)
from sohes.datasets.index_records import (
    ABSENT,
    ANNOTATION,
    DRAFT,
    FORMAT,
    IMAGE,
    LARGE_PAIR,
    SMALL_PAIR,
    TREES,
    UNKNOWN,
)
from sohes.structures import EntityForest
from sohes.structures.rle_kernels import rle_stats
from sohes.structures.segmentations import (
    MOST_MASKS,
    SegmentationError,
    check_image_size,
)
from sohes.utils.json_stream import EntityIndexError
from sohes.utils.names import name_fault

#: Annotations put in order at a time.
_BLOCK = 1 << 16


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

    @property
    def forest(self) -> EntityForest:
        """Who is part of whom among the N.

        Raises:
            EntityIndexError: as :meth:`rles` does.
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
            EntityIndexError: the index is not the one that was built: it
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
        self.meta = _meta(self.folder) or {}
        try:
            self.images = _map(self.folder / 'images.npy', IMAGE)
            self.annotations = _map(self.folder / 'annotations.npy',
                                    ANNOTATION)
            self._names = _map(self.folder / 'names.npy', np.dtype(np.uint8))
            self._rle = _raw(self.folder / 'rle.bin', np.uint8)
            self._pairs = _raw(self.folder / 'pairs.bin',
                               _pair_dtype(self.images)).reshape(-1, 2)
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
            EntityIndexError: one sentence on what is wrong with the json.
            OSError: there is no room or no right to write the index.
        """
        path = Path(json_path)
        if not path.is_file():
            reason = 'is a folder' if path.is_dir() else 'does not exist'
            raise EntityIndexError(f'annotation file {path} {reason}')
        key = _key(path, coverage)
        for folder in _places(path, index_dir):
            if _is_current(folder, key):
                return cls(folder)
        folder = next(iter(_places(path, index_dir, writable=True)))
        lock = Path(f'{folder}.lock')
        if lock.is_symlink():  # some versions empty what it leads to
            raise EntityIndexError(f'{lock} is a link; remove it')
        with FileLock(lock):
            if not _is_current(folder, key):
                _build(path, folder, key)
            return cls(folder)

    def file_name(self, position: int) -> str:
        """The image's name as it is in the json.

        Raises:
            EntityIndexError: the index is not the one that was built.
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
            EntityIndexError: the index is not the one that was built.
        """
        image = self.images[position]
        size = int(image['height']), int(image['width'])
        try:
            check_image_size(*size)
        except SegmentationError as error:
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


def _pair_dtype(images: np.ndarray) -> np.dtype:
    """The smallest that numbers the annotations of every image."""
    most = images['count'].max(initial=0)
    return LARGE_PAIR if most > np.iinfo(SMALL_PAIR).max else SMALL_PAIR


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


def _not_as_built(what: str, reason: Any) -> EntityIndexError:
    """Of an index that came with its json, from somebody else, or decayed."""
    reason = ' '.join(str(reason).split())
    return EntityIndexError(
        f'the index holds {what} that cannot be used ({reason:.200}): '
        'delete its folder, JSON.index, and it is built anew')


def _meta(folder: Path) -> dict[str, Any] | None:
    """What ``meta.json`` says; None: there is no such json object."""
    path = folder / 'meta.json'
    try:
        if not path.is_file():  # a pipe would block
            return None
        found = json.loads(path.read_text('utf-8'))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _key(path: Path, coverage: float) -> dict[str, Any]:
    status = path.stat()
    return dict(
        format=FORMAT,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        coverage=coverage)


def _is_current(folder: Path, key: dict[str, Any]) -> bool:
    return (_meta(folder) or {}).get('key') == key


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


def _build(path: Path, folder: Path, key: dict[str, Any]) -> None:
    """Write a whole index, then give it its name."""
    _remove_leftovers(folder)
    draft = Path(tempfile.mkdtemp(prefix=f'{folder.name}.tmp-',
                                  dir=folder.parent))
    try:
        _write(path, draft, key)
        os.chmod(draft, 0o755)
        if folder.exists():
            old = draft.with_name(f'{draft.name}-old')
            os.replace(folder, old)
            os.replace(draft, folder)
            shutil.rmtree(old)
        else:
            os.replace(draft, folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError) and _is_full(error):
            raise OSError(
                f'the index of {path} cannot be written to {folder.parent} '
                f'({error}); it is about as large as the json, and takes '
                'twice that while annotations are sorted by image: make '
                'room, or set index_dir to a folder on a larger disk'
            ) from error
        raise


def _is_full(error: OSError) -> bool:
    """Whether there was no room; numpy says so without a number."""
    return error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _remove_leftovers(folder: Path) -> None:
    """What a killed build left; whoever holds the lock is alone."""
    for left in folder.parent.glob(f'{glob.escape(folder.name)}.tmp-*'):
        shutil.rmtree(left, ignore_errors=True)


def _write(path: Path, folder: Path, key: dict[str, Any]) -> None:
    """Write the files of an index into an empty folder."""
    images, names = read_images(path)
    writer = DraftWriter(path, images, folder)
    writer.write()
    draft = _raw(folder / 'draft.bin', DRAFT)
    blob = _raw(folder / 'rle.bin', np.uint8)
    order = np.argsort(draft['image'], kind='stable')
    if (np.diff(order) != 1).any():
        draft, blob = _reorder(folder, draft, blob, order)
    images['count'] = np.bincount(draft['image'], minlength=len(images))
    most = images[images['count'].argmax()]
    if most['count'] > MOST_MASKS:
        raise EntityIndexError(
            f'{path}: image {most["id"]} has {most["count"]} annotations, '
            f'more than the {MOST_MASKS} that one image may have')
    images['masks'] = np.bincount(
        draft['image'][~draft['crowd']], minlength=len(images))
    images['first'] = np.cumsum(images['count']) - images['count']
    order = np.argsort(draft['id'], kind='stable')
    ids = draft['id'][order]
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    if len(twice):
        raise EntityIndexError(
            f'{path}: the annotation id {ids[twice[0]]} comes twice')
    parents = resolve_parents(path, draft, images['first'], ids, order)
    with open(folder / 'pairs.bin', 'wb') as file:
        _write_pairs(path, file, images, draft, ids, order, parents)
        _add_coverage(path, file, images, draft, blob, parents,
                      key['coverage'])
    _save(folder, draft, parents)
    np.save(folder / 'images.npy', images)
    np.save(folder / 'names.npy', np.frombuffer(names, np.uint8))
    del draft, blob
    for scratch in folder.glob('draft*.bin'):
        scratch.unlink()
    meta = dict(key=key, source=path.name, categories=writer.categories)
    with open(folder / 'meta.json', 'w', encoding='utf-8') as file:
        json.dump(meta, file)


def _write_pairs(path: Path, file: BinaryIO, images: np.ndarray,
                 draft: np.ndarray, ids: np.ndarray, order: np.ndarray,
                 parents: np.ndarray) -> None:
    """Write the pairs that the json names; images learn where theirs are."""
    ancestors = _raw(Path(file.name).with_name('draft_ancestors.bin'),
                     np.int64)
    images['pairs'] = TREES
    dtype, at = _pair_dtype(images), 0
    for here, counts, pairs in resolve_ancestors(path, draft, images, ids,
                                                 order, ancestors, parents):
        images['pair'][here] = at + np.cumsum(counts) - counts
        images['pairs'][here] = counts
        at += len(pairs)
        pairs.astype(dtype).tofile(file)
    images['pairs'][draft['image'][draft['ancestors'] == ABSENT]] = TREES


def _add_coverage(path: Path, file: BinaryIO, images: np.ndarray,
                  draft: np.ndarray, blob: np.ndarray, parents: np.ndarray,
                  coverage: float) -> None:
    """Find the forests of images without parent_id; append their pairs."""
    dtype = _pair_dtype(images)
    at = file.tell() // (2 * dtype.itemsize)
    for image in np.unique(draft['image'][draft['parent_id'] == UNKNOWN]):
        row = images[image]
        here = slice(row['first'], row['first'] + row['count'])
        try:
            forest = forest_from_coverage(
                draft[here], blob, (row['height'], row['width']), coverage)
        except ValueError as error:
            raise EntityIndexError(
                f'{path}: image {row["id"]} has no parent_id that says who '
                f'is part of whom, and {error}, or give each mask a '
                'parent_id') from error
        parents[here] = forest.parents
        images['pair'][image], images['pairs'][image] = at, len(forest.pairs)
        at += len(forest.pairs)
        forest.pairs.astype(dtype).tofile(file)


def _raw(path: Path, dtype: Any) -> np.ndarray:
    """A file without a header as an array."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype)
    # Not the subclass: its slices are slow to make.
    return np.asarray(np.memmap(path, dtype, mode='r'))


def _reorder(folder: Path, draft: np.ndarray, blob: np.ndarray,
             order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring annotations together that are on the same image."""
    at = 0
    with open(folder / 'draft_sorted.bin', 'wb') as records, open(
            folder / 'rle_sorted.bin', 'wb') as texts:
        for start in range(0, len(order), _BLOCK):
            block = draft[order[start:start + _BLOCK]]
            for row, length in zip(block['rle'].tolist(),
                                   block['length'].tolist()):
                texts.write(blob[row:row + length])
            block['rle'] = at + np.cumsum(
                block['length'], dtype=np.int64) - block['length']
            at += int(block['length'].sum(dtype=np.int64))
            block.tofile(records)
    os.replace(folder / 'rle_sorted.bin', folder / 'rle.bin')
    return (_raw(folder / 'draft_sorted.bin', DRAFT),
            _raw(folder / 'rle.bin', np.uint8))


def _save(folder: Path, draft: np.ndarray, parents: np.ndarray) -> None:
    """Write the annotations without what only the building needed."""
    # Not a mapped file: a full disk would end the process without a word.
    with open(folder / 'annotations.npy', 'wb') as file:
        np.lib.format.write_array_header_1_0(file, dict(
            descr=np.lib.format.dtype_to_descr(ANNOTATION),
            fortran_order=False, shape=(len(draft), )))
        for start in range(0, len(draft), _BLOCK):
            here = slice(start, start + _BLOCK)
            block = np.zeros(len(draft[here]), ANNOTATION)
            for name in ANNOTATION.names:
                block[name] = draft[name][here]
            block['parent'] = parents[here]
            file.write(block.tobytes())
