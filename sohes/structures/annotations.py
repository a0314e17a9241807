"""A COCO json's annotations: from positions to ids, from ids to positions."""
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sohes.structures.ancestor_graph import nodes_on_cycles
from sohes.structures.entity_forest import EntityForest
from sohes.structures.mask_ops import check_packable
from sohes.structures.segmentations import is_whole
from sohes.utils.files import whole_file

#: The one class that all entities have.
ENTITY = dict(id=1, name='entity')


def number_rows(rows: Iterable[Mapping[str, Any]], ids: Sequence[int],
                image_id: Any, **more: Any) -> Iterator[dict[str, Any]]:
    """Annotations of one image from rows that name each other by position.

    Args:
        rows: N rows. ``parent``, a position or None, becomes ``parent_id``,
            and ``ancestors``, positions, become ``ancestor_ids``.
        ids: N ids of the annotations.
        image_id: of the image.
        **more: What every row gets.
    """
    for number, row in zip(ids, rows):
        row, relations = dict(row), {}
        if 'parent' in row:
            parent = row.pop('parent')
            relations['parent_id'] = None if parent is None else ids[parent]
        if 'ancestors' in row:
            relations['ancestor_ids'] = [ids[k] for k in row.pop('ancestors')]
        yield dict(id=number, image_id=image_id, category_id=ENTITY['id'],
                   **more, **relations, **row)


def write_coco(path: Path, images: Iterable[Mapping[str, Any]],
               annotations: Iterable[Mapping[str, Any]],
               info: Callable[[int], Mapping[str, Any]],
               categories: Sequence[Mapping[str, Any]] = (ENTITY, ),
               **more: Any) -> int:
    """Writes a COCO json a line at a time; it appears whole or not at all.

    Args:
        path: Where it will stand.
        images: Rows.
        annotations: Rows, read after the last image.
        info: From the number of annotations to ``info``; called at the end.
        categories: Rows.
        **more: Further keys.

    Returns:
        The number of annotations.
    """
    with whole_file(path) as file:
        file.write('{"images": [')
        write_rows(file, images)
        file.write('\n],\n"annotations": [')
        number = write_rows(file, annotations)
        file.write('\n],\n')
        for key, value in dict(categories=list(categories), **more).items():
            file.write(f'"{key}": {json.dumps(value)},\n')
        file.write('"info": ')
        # Python would write Infinity, which is not json.
        json.dump(info(number), file, indent=1, allow_nan=False)
        file.write('}\n')
    return number


def write_rows(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes what stands between the brackets of a list; returns how many."""
    number = 0
    for number, row in enumerate(rows, 1):
        file.write(',\n' if number > 1 else '\n')
        json.dump(row, file, allow_nan=False)
    return number


def find_forest(rows: Sequence[Mapping[str, Any]],
                rles: Sequence[Mapping[str, Any]], image: str,
                coverage: float = 0.9) -> EntityForest:
    """The forest that annotations name, else that of their masks.

    Args:
        rows, image: See :func:`forest_of_rows`.
        rles: N checked RLEs.
        coverage: For :meth:`EntityForest.from_masks`.

    Raises:
        ValueError: As :func:`forest_of_rows` does, or the masks take too
            much memory to be compared.
    """
    forest = forest_of_rows(rows, image)
    if forest is not None:
        return forest
    try:
        check_packable(rles)
    except ValueError as error:
        raise ValueError(f'{image}: {error}') from error
    return EntityForest.from_masks(rles, coverage)


def forest_of_rows(rows: Sequence[Mapping[str, Any]],
                   image: str) -> EntityForest | None:
    """The forest that an image's annotations name.

    Args:
        rows: N annotations of one image, with ``id`` where they name each
            other by ``parent_id`` and ``ancestor_ids``.
        image: Its name, for messages.

    Returns:
        The forest; its ``pairs`` are the ``ancestor_ids`` where every row
        has them. None: no row has a ``parent_id``.

    Raises:
        ValueError: A parent or ancestor is unknown, an id comes twice or
            there is a cycle.
    """
    if not any('parent_id' in row for row in rows):
        return None
    index = _positions(rows, image)

    def position(row: Mapping[str, Any], key: str, wanted: Any) -> int:
        if not (_is_id(wanted) and wanted in index):
            raise ValueError(
                f'annotation {row.get("id")!s:.60}: its {key} '
                f'{wanted!r:.60} is no annotation of the same image')
        return index[wanted]

    parents = [
        -1 if row.get('parent_id') is None else position(
            row, 'parent_id', row['parent_id']) for row in rows
    ]
    try:
        forest = EntityForest(parents)
    except ValueError as error:
        raise ValueError(f'{image}: {error}') from error
    pairs = []
    for child, row in enumerate(rows):
        above = row.get('ancestor_ids', [])
        if not isinstance(above, list):
            raise ValueError(
                f'annotation {row.get("id")!s:.60}: its ancestor_ids must be '
                f'a list, found {above!r:.60}')
        pairs += [(position(row, 'ancestor_ids:', one), child)
                  for one in above]
    edges = [(parent, child) for child, parent in enumerate(parents)
             if parent >= 0]
    _refuse_cycle(edges + pairs, rows, image)
    if not all('ancestor_ids' in row for row in rows):
        return forest
    return EntityForest(parents, np.array(pairs, np.int64).reshape(-1, 2))


def _positions(rows: Sequence[Mapping[str, Any]],
               image: str) -> dict[Any, int]:
    """Where each id is; an annotation without one cannot be named."""
    index: dict[Any, int] = {}
    for number, row in enumerate(rows):
        key = row.get('id')
        if key is None:
            continue
        if not _is_id(key):
            raise ValueError(f'{image}: an annotation has the id {key!r:.60},'
                             ' which is no whole number and no text')
        if key in index:
            raise ValueError(f'{image}: the annotation id {key!r:.60} comes '
                             'twice')
        index[key] = number
    return index


def _is_id(value: Any) -> bool:
    return is_whole(value) or isinstance(value, str)


def _refuse_cycle(edges: list[tuple[int, int]],
                  rows: Sequence[Mapping[str, Any]], image: str) -> None:
    """Of what parent_id and ancestor_ids say together."""
    table = np.array(edges, np.int64).reshape(-1, 2)
    own = table[table[:, 0] == table[:, 1], 0]
    found = own if len(own) else nodes_on_cycles(*table.T, len(rows))
    if len(found):
        name = rows[found[0]].get('id')
        raise ValueError(f'{image}: annotation {name!r:.60} is its own '
                         'ancestor: a cycle of ancestor_ids and parent_id')
