"""The files of an index, written from a COCO json."""
import errno
import glob
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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
    TREES,
    UNKNOWN,
    map_raw,
    pair_dtype,
)
from sohes.structures.segmentations import MOST_MASKS
from sohes.utils.errors import FileError

#: Annotations put in order at a time.
_BLOCK = 1 << 16


def build_index(path: Path, folder: Path, key: dict[str, Any]) -> None:
    """Write a whole index, then give it its name.

    Whoever calls it holds the index's lock.

    Args:
        path: the json.
        folder: the index; what is there is replaced.
        key: what the index is of; ``meta.json`` keeps it.

    Raises:
        FileError: one sentence on what is wrong with the json.
        OSError: there is no room or no right to write the index.
    """
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
    draft = map_raw(folder / 'draft.bin', DRAFT)
    blob = map_raw(folder / 'rle.bin', np.uint8)
    order = np.argsort(draft['image'], kind='stable')
    if (np.diff(order) != 1).any():
        draft, blob = _reorder(folder, draft, blob, order)
    images['count'] = np.bincount(draft['image'], minlength=len(images))
    most = images[images['count'].argmax()]
    if most['count'] > MOST_MASKS:
        raise FileError(
            f'{path}: image {most["id"]} has {most["count"]} annotations, '
            f'more than the {MOST_MASKS} that one image may have')
    images['masks'] = np.bincount(
        draft['image'][~draft['crowd']], minlength=len(images))
    images['first'] = np.cumsum(images['count']) - images['count']
    order = np.argsort(draft['id'], kind='stable')
    ids = draft['id'][order]
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    if len(twice):
        raise FileError(
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
    ancestors = map_raw(Path(file.name).with_name('draft_ancestors.bin'),
                     np.int64)
    images['pairs'] = TREES
    dtype, at = pair_dtype(images), 0
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
    dtype = pair_dtype(images)
    at = file.tell() // (2 * dtype.itemsize)
    for image in np.unique(draft['image'][draft['parent_id'] == UNKNOWN]):
        row = images[image]
        here = slice(row['first'], row['first'] + row['count'])
        try:
            forest = forest_from_coverage(
                draft[here], blob, (row['height'], row['width']), coverage)
        except ValueError as error:
            raise FileError(
                f'{path}: image {row["id"]} has no parent_id that says who '
                f'is part of whom, and {error}, or give each mask a '
                'parent_id') from error
        parents[here] = forest.parents
        images['pair'][image], images['pairs'][image] = at, len(forest.pairs)
        at += len(forest.pairs)
        forest.pairs.astype(dtype).tofile(file)


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
    return (map_raw(folder / 'draft_sorted.bin', DRAFT),
            map_raw(folder / 'rle.bin', np.uint8))


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
