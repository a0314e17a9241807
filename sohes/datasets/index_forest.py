"""Parents and ancestors in an entity index: the json's, or from coverage."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sohes.datasets.index_records import ABSENT, ROOT, UNKNOWN
from sohes.structures import EntityForest
from sohes.structures.ancestor_graph import nodes_on_cycles
from sohes.structures.mask_ops import check_packable
from sohes.utils.errors import FileError

#: Annotations whose ancestors are looked up at a time.
_BLOCK = 1 << 16


def resolve_parents(path: Path, draft: np.ndarray, first: np.ndarray,
                    ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Look up parents by their ids.

    Args:
        path: the json, for messages.
        draft: (N,) records of DRAFT, grouped by image.
        first: (M,) int64, where each image's annotations begin.
        ids: (N,) int64, the annotations' ids, rising.
        order: (N,) int64, where in ``draft`` each of these ids is.

    Returns:
        (N,) int64, the position of the parent among those of the image,
        -1 for a root and for an annotation without ``parent_id``.

    Raises:
        FileError: no such parent, one in another image, a cycle, or
            an image of whose annotations only some have a ``parent_id``.
    """
    wanted = np.array(draft['parent_id'])
    images = np.array(draft['image'])
    _refuse_mixed(path, draft, wanted == UNKNOWN, 'parent_id',
                  'null for a root')
    children = np.flatnonzero((wanted != ROOT) & (wanted != UNKNOWN))
    at = np.searchsorted(ids, wanted[children]).clip(max=len(ids) - 1)
    lost = np.flatnonzero(ids[at] != wanted[children])
    if len(lost):
        child = children[lost[0]]
        raise FileError(
            f'{path}: annotation {draft["id"][child]}: its parent_id '
            f'{wanted[child]} does not exist')
    found = order[at]
    apart = np.flatnonzero(images[found] != images[children])
    if len(apart):
        child = children[apart[0]]
        raise FileError(
            f'{path}: annotation {draft["id"][child]}: its parent '
            f'{wanted[child]} is in another image')
    parents = np.full(len(draft), -1, np.int64)
    parents[children] = found
    _refuse_cycles(path, draft, parents, children)
    parents[children] -= first[images[children]]
    return parents


def _refuse_mixed(path: Path, draft: np.ndarray, lacking: np.ndarray,
                  key: str, advice: str) -> None:
    """The key is in all annotations of an image or in none."""
    if not lacking.any() or lacking.all():
        return
    images = np.array(draft['image'])
    size = images.max() + 1
    without = np.bincount(images[lacking], minlength=size)
    mixed = (without > 0) & (without < np.bincount(images, minlength=size))
    mixed = np.flatnonzero(lacking & mixed[images])
    if len(mixed):
        raise FileError(
            f'{path}: annotation {draft["id"][mixed[0]]} has no {key}, but '
            f'others of its image have: write {advice}')


def _refuse_cycles(path: Path, draft: np.ndarray, parents: np.ndarray,
                   children: np.ndarray) -> None:
    """Who has an ancestor after more steps than there are masks has a cycle.

    Each round doubles the steps, so a chain as long as the file takes no
    longer than its length.
    """
    if not len(children):
        return
    current = np.append(parents, -1)  # -1 leads here, and stays
    for _ in range(len(draft).bit_length()):
        current = current[current]
    left = np.flatnonzero(current >= 0)
    if len(left):
        raise FileError(
            f'{path}: annotation {draft["id"][current[left[0]]]} is its own '
            'ancestor: a cycle of parent_id')


def resolve_ancestors(path: Path, draft: np.ndarray, images: np.ndarray,
                      ids: np.ndarray, order: np.ndarray,
                      ancestors: np.ndarray,
                      parents: np.ndarray) -> Iterator[tuple]:
    """Look up ancestors by their ids, some images at a time.

    Args:
        path: the json, for messages.
        draft: (N,) records of DRAFT, grouped by image.
        images: (M,) records of IMAGE, with ``first`` and ``count``.
        ids: (N,) int64, the annotations' ids, rising.
        order: (N,) int64, where in ``draft`` each of these ids is.
        ancestors: (K,) int64, the ids that the json names.
        parents: (N,) int64, from :func:`resolve_parents`.

    Yields:
        A slice of the images, how many pairs each of them has, (m,) int64,
        and the pairs one image after the other, (P, 2) int64: ancestor and
        descendant among those of their image.

    Raises:
        FileError: no such ancestor, one in another image, a cycle of
            ancestors and parents, or an image of whose annotations only some
            have ``ancestor_ids``.
    """
    _refuse_mixed(path, draft, draft['ancestors'] == ABSENT, 'ancestor_ids',
                  '[] for a root')
    start = 0
    while start < len(images):
        first = int(images['first'][start])
        stop = int(np.searchsorted(images['first'], first + _BLOCK))
        stop = max(stop, start + 1)
        here = images[start:stop]
        rows = draft[first:int(here['first'][-1] + here['count'][-1])]
        counts = rows['ancestors'].clip(min=0).astype(np.int64)
        before = np.cumsum(counts) - counts
        where = np.repeat(rows['ancestor'] - before, counts)
        where += np.arange(counts.sum())
        below = first + np.repeat(np.arange(len(rows)), counts)
        above = _find_ancestors(path, draft, ids, order, ancestors[where],
                                below)
        _refuse_ancestor_cycles(path, draft[first:first + len(rows)],
                                images['first'] - first, above - first,
                                below - first,
                                parents[first:first + len(rows)])
        offset = images['first'][draft['image'][below]]
        sums = np.concatenate([[0], np.cumsum(counts)])
        begin = here['first'] - first
        yield (slice(start, stop), sums[begin + here['count']] - sums[begin],
               np.stack([above - offset, below - offset], axis=1))
        start = stop


def _find_ancestors(path: Path, draft: np.ndarray, ids: np.ndarray,
                    order: np.ndarray, wanted: np.ndarray,
                    below: np.ndarray) -> np.ndarray:
    """(P,) int64, where in the draft the wanted ids are, all sound."""
    at = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    above = order[at]
    faults = [
        (ids[at] != wanted, 'which does not exist'),
        (draft['image'][above] != draft['image'][below],
         'which is in another image'),
        (above == below, 'itself'),
    ]
    for fault, words in faults:
        if fault.any():
            k = int(np.argmax(fault))
            raise FileError(
                f'{path}: annotation {draft["id"][below[k]]}: its '
                f'ancestor_ids name {wanted[k]}, {words}')
    return above


def _refuse_ancestor_cycles(path: Path, draft: np.ndarray, first: np.ndarray,
                            above: np.ndarray, below: np.ndarray,
                            parents: np.ndarray) -> None:
    """Parents count as well: both are shown and both are learnt from.

    Args:
        path: the json, for messages.
        draft: (n,) records of DRAFT, whole images of them.
        first: (M,) int64, where among these each image's begin.
        above: (P,) int64, the ancestors among the n.
        below: (P,) int64, their descendants.
        parents: (n,) int64, among those of the image.
    """
    if not len(above):
        return  # resolve_parents has seen to the trees
    children = np.flatnonzero(parents >= 0)
    over = parents[children] + first[draft['image'][children]]
    found = nodes_on_cycles(np.concatenate([above, over]),
                            np.concatenate([below, children]), len(draft))
    if len(found):
        raise FileError(
            f'{path}: annotation {draft["id"][found[0]]} is its own ancestor:'
            ' a cycle of ancestor_ids and parent_id')


def forest_from_coverage(draft: np.ndarray, blob: np.ndarray,
                         size: tuple[int, int],
                         coverage: float) -> EntityForest:
    """The forest of one image, where the json has none.

    Args:
        draft: (N,) records of its annotations.
        blob: (K,) uint8, the text of all RLEs.
        size: (H, W) of the image in pixels.
        coverage: share of a part that lies in its whole.

    Returns:
        Of the N; crowd regions are alone.

    Raises:
        ValueError: the masks take too much memory to be compared.
    """
    parents = np.full(len(draft), -1, np.int64)
    kept = np.flatnonzero(~draft['crowd'])
    rles = [
        dict(size=list(size),
             counts=blob[row['rle']:row['rle'] + row['length']].tobytes())
        for row in draft[kept]
    ]
    check_packable(rles)
    found = EntityForest.from_masks(rles, coverage)
    parents[kept] = np.where(found.parents >= 0, kept[found.parents], -1)
    return EntityForest(parents, kept[found.pairs])
