"""From a COCO json to checked records, in the json's own order."""
from pathlib import Path
from typing import Any

import numpy as np

from sohes.datasets.index_records import (
    ABSENT,
    DRAFT,
    IMAGE,
    ROOT,
    UNKNOWN,
)
from sohes.structures.rle_kernels import rle_stats
from sohes.structures.segmentations import (
    check_image_size,
    check_rle_size,
    compressed_counts,
    is_number,
    is_whole,
)
from sohes.utils.errors import FileError
from sohes.utils.json_rows import is_crowd
from sohes.utils.json_stream import stream_annotations, stream_images
from sohes.utils.names import name_fault

#: Characters of a category's name that are kept.
_LONGEST_NAME = 200


def read_images(path: Path) -> tuple[np.ndarray, bytes]:
    """Read and check the images of a json.

    Args:
        path: the json.

    Returns:
        (N,) records of IMAGE by rising id, without annotations yet, and
        the names of their files, one after the other, in UTF-8.

    Raises:
        FileError: an image without a whole id, a name or a size,
            or whose id comes twice.
    """
    rows, names = [], []
    for number, image in enumerate(stream_images(path)):
        name = image.get('file_name')
        for key in ('id', 'height', 'width'):
            value = image.get(key)
            if not is_whole(value) or (key != 'id' and value < 1):
                raise FileError(
                    f'{path}: image {name or number!r:.200} needs a whole '
                    f'number "{key}", found {value!r:.60}')
        if not isinstance(name, str) or not name:
            raise FileError(
                f'{path}: image {image["id"]} needs a "file_name", found '
                f'{name!r:.60}')
        fault = name_fault(name)
        if fault:
            raise FileError(
                f'{path}: image {image["id"]} has the name {name!r:.200}: '
                f'{fault}')
        try:
            check_image_size(image['height'], image['width'])
        except FileError as error:
            raise FileError(
                f'{path}: image {name!r:.200}: {error}') from error
        rows.append((image['id'], image['height'], image['width']))
        names.append(name.encode('utf-8', 'surrogatepass'))
    if not rows:
        raise FileError(f'{path} has no images')
    table = np.array(rows, np.int64)
    order = np.argsort(table[:, 0], kind='stable')
    images = np.zeros(len(rows), IMAGE)
    images['id'], images['height'], images['width'] = table[order].T
    twice = np.flatnonzero(np.diff(images['id']) == 0)
    if len(twice):
        raise FileError(
            f'{path}: the image id {images["id"][twice[0]]} comes twice')
    names = [names[k] for k in order]
    images['name'] = np.cumsum([len(name) for name in names])
    return images, b''.join(names)


class DraftWriter:
    """Turns annotations into records, a block of them at a time.

    Args:
        path: the json, for messages.
        images: records of IMAGE by rising id.
        folder: where ``draft.bin``, records of DRAFT, ``rle.bin``, the text
            of all RLEs, and ``draft_ancestors.bin``, all ``ancestor_ids``
            as int64, are written.
    """

    def __init__(self, path: Path, images: np.ndarray, folder: Path) -> None:
        self.path = path
        self.images = images
        self.folder = folder
        self.categories: list[dict[str, Any]] = []
        self._bytes = 0
        self._ancestors = 0

    def write(self) -> None:
        """Read all annotations and write the files.

        Raises:
            FileError: json or an annotation is broken.
        """
        with open(self.folder / 'draft.bin', 'wb') as draft, open(
                self.folder / 'rle.bin', 'wb') as rle, open(
                    self.folder / 'draft_ancestors.bin', 'wb') as ancestors:
            for annotations, categories in stream_annotations(self.path):
                self.categories += self._check_categories(categories)
                if annotations:
                    records, blob, ids = self._block(annotations)
                    records.tofile(draft)
                    rle.write(blob)
                    ids.tofile(ancestors)

    def _check_categories(self, categories: list[Any]) -> list[dict]:
        for row in categories:
            if not isinstance(row, dict) or not is_whole(row.get('id')):
                raise FileError(
                    f'{self.path}: a category needs a whole number "id", '
                    f'found {row!r:.80}')
        return [
            dict(id=row['id'],
                 name=str(row.get('name', row['id']))[:_LONGEST_NAME])
            for row in categories
        ]

    def _block(self,
               rows: list[Any]) -> tuple[np.ndarray, bytes, np.ndarray]:
        """(N,) records of DRAFT, their RLEs' text, their ancestors' ids."""
        for row in rows:
            if not isinstance(row, dict):
                raise FileError(
                    f'{self.path}: an annotation must be an object, found '
                    f'{row!r:.80}')
        block = np.zeros(len(rows), DRAFT)
        block['id'] = self._integers(rows, 'id')
        block['image'] = self._positions(rows)
        block['category'] = self._integers(rows, 'category_id', 0)
        block['crowd'] = [self._is_crowd(row) for row in rows]
        block['score'] = self._scores(rows)
        block['parent_id'] = self._parents(rows)
        block['ancestors'], ids = self._ancestor_ids(rows)
        counts = block['ancestors'].clip(min=0)
        block['ancestor'] = self._ancestors + np.cumsum(counts) - counts
        self._ancestors += len(ids)
        of = self.images[block['image']]
        sizes = np.stack([of['height'], of['width']], 1).astype(np.int64)
        texts = self._texts(rows, sizes)
        block['length'] = [len(text) for text in texts]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(block['length'], out=offsets[1:])
        blob = b''.join(texts)
        areas, boxes = rle_stats(
            np.frombuffer(blob, np.uint8), offsets, sizes)
        wrong = np.flatnonzero(areas < 0)
        if len(wrong):
            height, width = sizes[wrong[0]]
            raise self._error(
                rows[wrong[0]], 'the RLE is broken or does not fill the '
                f'{height} x {width} pixels (height x width) of its image')
        block['area'], block['box'] = areas, boxes
        block['rle'] = self._bytes + offsets[:-1]
        self._bytes += len(blob)
        return block, blob, ids

    def _integers(self, rows: list[dict], key: str,
                  default: int | None = None) -> list[int]:
        values = [row.get(key, default) for row in rows]
        for row, value in zip(rows, values):
            if not is_whole(value):
                raise self._error(
                    row,
                    f'"{key}" must be a whole number, found {value!r:.60}')
        return values

    def _is_crowd(self, row: dict) -> bool:
        try:
            return is_crowd(row)
        except ValueError as error:
            raise self._error(row, str(error)) from error

    def _positions(self, rows: list[dict]) -> np.ndarray:
        """Which image each annotation is on."""
        wanted = np.array(self._integers(rows, 'image_id'), np.int64)
        ids = self.images['id']
        found = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
        unknown = np.flatnonzero(ids[found] != wanted)
        if len(unknown):
            raise self._error(
                rows[unknown[0]], f'is on image {wanted[unknown[0]]}, which '
                'the file does not list')
        return found

    def _scores(self, rows: list[dict]) -> list[float]:
        scores = [row.get('score', 1.0) for row in rows]
        for row, score in zip(rows, scores):
            if not is_number(score):
                raise self._error(
                    row,
                    f'"score" must be a finite number, found {score!r:.60}')
        return scores

    def _parents(self, rows: list[dict]) -> list[int]:
        parents = [row.get('parent_id', UNKNOWN) for row in rows]
        for row, parent in zip(rows, parents):
            if not (parent is None or is_whole(parent)
                    or parent == UNKNOWN and 'parent_id' not in row):
                raise self._error(
                    row, '"parent_id" must be the id of an annotation or '
                    f'null, found {parent!r:.60}')
        return [ROOT if parent is None else parent for parent in parents]

    def _ancestor_ids(self,
                      rows: list[dict]) -> tuple[list[int], np.ndarray]:
        """How many each annotation has, and (K,) int64, all of them."""
        counts, ids = [], []
        for row in rows:
            found = row.get('ancestor_ids', ())
            if not isinstance(found, (list, tuple)) or not all(
                    map(is_whole, found)):
                raise self._error(
                    row, '"ancestor_ids" must be a list of ids of '
                    f'annotations, found {found!r:.80}')
            if 'ancestor_ids' in row and 'parent_id' not in row:
                raise self._error(
                    row, 'it has ancestor_ids but no parent_id: write null '
                    'for a root')
            counts.append(len(found) if 'ancestor_ids' in row else ABSENT)
            ids += found
        return counts, np.array(ids, np.int64)

    def _texts(self, rows: list[dict], sizes: np.ndarray) -> list[bytes]:
        """The compressed RLE of each annotation."""
        texts = []
        for row, size in zip(rows, sizes.tolist()):
            found = row.get('segmentation')
            try:
                if isinstance(found, dict) and isinstance(
                        found.get('counts'), str):
                    # All texts of a block are checked at once, later.
                    check_rle_size(found.get('size'), size)
                    texts.append(found['counts'].encode('ascii', 'replace'))
                else:
                    texts.append(compressed_counts(found, size))
            except FileError as error:
                raise self._error(row, str(error)) from error
        return texts

    def _error(self, row: dict, reason: str) -> FileError:
        return FileError(
            f'{self.path}: annotation {row.get("id")!r:.60}: {reason}')
