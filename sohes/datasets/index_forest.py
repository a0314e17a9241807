"""Parents in an entity index: those of the json, or from coverage."""
from pathlib import Path

import numpy as np

from sohes.datasets.index_records import ROOT, UNKNOWN
from sohes.structures import EntityForest
from sohes.utils.json_stream import EntityIndexError


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
        EntityIndexError: no such parent, one in another image, a cycle, or
            an image of whose annotations only some have a ``parent_id``.
    """
    wanted = np.array(draft['parent_id'])
    images = np.array(draft['image'])
    _refuse_mixed(path, draft, wanted, images)
    children = np.flatnonzero((wanted != ROOT) & (wanted != UNKNOWN))
    at = np.searchsorted(ids, wanted[children]).clip(max=len(ids) - 1)
    lost = np.flatnonzero(ids[at] != wanted[children])
    if len(lost):
        child = children[lost[0]]
        raise EntityIndexError(
            f'{path}: annotation {draft["id"][child]}: its parent_id '
            f'{wanted[child]} does not exist')
    found = order[at]
    apart = np.flatnonzero(images[found] != images[children])
    if len(apart):
        child = children[apart[0]]
        raise EntityIndexError(
            f'{path}: annotation {draft["id"][child]}: its parent '
            f'{wanted[child]} is in another image')
    parents = np.full(len(draft), -1, np.int64)
    parents[children] = found
    _refuse_cycles(path, draft, parents, children)
    parents[children] -= first[images[children]]
    return parents


def _refuse_mixed(path: Path, draft: np.ndarray, wanted: np.ndarray,
                  images: np.ndarray) -> None:
    """parent_id is in all annotations of an image or in none."""
    unknown = np.flatnonzero(wanted == UNKNOWN)
    if not len(unknown) or len(unknown) == len(wanted):
        return
    size = images.max() + 1
    without = np.bincount(images[unknown], minlength=size)
    mixed = (without > 0) & (without < np.bincount(images, minlength=size))
    mixed = unknown[mixed[images[unknown]]]
    if len(mixed):
        raise EntityIndexError(
            f'{path}: annotation {draft["id"][mixed[0]]} has no parent_id, '
            'but others of its image have: write null for a root')


def _refuse_cycles(path: Path, draft: np.ndarray, parents: np.ndarray,
                   children: np.ndarray) -> None:
    """Climb from all children at once; who never arrives is on a cycle."""
    current = parents[children]
    climbed = 0
    deepest = np.bincount(draft['image']).max() if len(draft) else 0
    while len(current):
        if climbed > deepest:
            raise EntityIndexError(
                f'{path}: annotation {draft["id"][current[0]]} is its own '
                'ancestor: a cycle of parent_id')
        current = parents[current]
        current = current[current >= 0]
        climbed += 1


def forest_from_coverage(draft: np.ndarray, blob: np.ndarray,
                         size: tuple[int, int],
                         coverage: float) -> np.ndarray:
    """Parents in one image, where the json has none.

    Args:
        draft: (N,) records of its annotations.
        blob: (K,) uint8, the text of all RLEs.
        size: (H, W) of the image in pixels.
        coverage: share of a part that lies in its whole.

    Returns:
        (N,) int64, positions among the N; crowd regions are alone.
    """
    parents = np.full(len(draft), -1, np.int64)
    kept = np.flatnonzero(~draft['crowd'])
    rles = [
        dict(size=list(size),
             counts=blob[row['rle']:row['rle'] + row['length']].tobytes())
        for row in draft[kept]
    ]
    found = EntityForest.from_masks(rles, coverage).parents
    parents[kept] = np.where(found >= 0, kept[found], -1)
    return parents
