"""Is a model better than its labels? Asked of photos without ground truth.

Phase 1 and the model look at a photo and at three other pictures of it:
mirrored, cropped, made smaller. What is really there is found again in all of
them. A mask returns as far as its best IoU with the masks of the other picture
passes 0.5, 0.55, ..., 0.95; an ancestor pair returns as far as both its masks
do, if the two that they return as are such a pair again. What would return in
the pictures of another photo, too, is taken off: masks that are the same
whatever the photo shows earn nothing, nor does one entity found many times.
See docs/evaluation.md.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sohes.apis.photo_entities import Finder
from sohes.evaluation.resampling import SAMPLES, interval
from sohes.pseudo_labels.stability import (
    VIEWS,
    View,
    best_matches,
    graded,
    sample,
)
from sohes.structures import Entities
from sohes.structures.rles import decode_rles
from sohes.utils.photo_files import spaced

# Flip, crop, rescale; at half the size a model for small photos is lost.
_VIEWS = VIEWS[:3]
#: Pictures of a photo that each method looks at, the photo itself among them.
PICTURES = 1 + len(_VIEWS)
# A mask with a higher IoU with a better one is that one again.
_SAME = 0.8


@dataclass(frozen=True, eq=False)
class Seen:
    """What one method finds in one picture, best score first.

    Attributes:
        masks: (N, side, side) bool, on the grid of :func:`sample`.
        ancestors: (N, N) bool, ``[i, j]``: i is an ancestor of j.
    """
    masks: NDArray[np.bool_]
    ancestors: NDArray[np.bool_]

    @classmethod
    def of(cls, found: Entities) -> 'Seen':
        """The masks of a picture, all of them."""
        found = found.best(len(found))
        # One at a time: a camera's photo has millions of pixels a mask.
        masks = [sample(decode_rles([rle], found.size))[0]
                 for rle in found.rles]
        return cls(np.array(masks, bool).reshape(len(masks), *sample(
            np.zeros((1, 1, 1), bool)).shape[1:]), found.forest.ancestors)

    def __len__(self) -> int:
        return len(self.masks)

    def first_of_their_kind(self) -> NDArray[np.bool_]:
        """(N,), whether no better mask is nearly the same."""
        cells = self.masks.reshape(len(self), -1).astype(np.float32)
        both, area = cells @ cells.T, cells.sum(1)
        union = area[:, None] + area - both
        return ~np.tril(both > _SAME * union, -1).any(1)

    def best(self, count: int) -> 'Seen':
        """The first so many."""
        return Seen(self.masks[:count], self.ancestors[:count, :count])


@dataclass(frozen=True)
class Score:
    """How stable a method is, as means over photos.

    Attributes:
        masks: of a photo.
        share: of them that return, less what returns by chance, at most 1.
        returning: masks of a photo that return, likewise.
        pairs: ancestor pairs of a photo.
        pairs_returning: those that return, likewise.
    """
    masks: float
    share: float
    returning: float
    pairs: float
    pairs_returning: float


@dataclass(frozen=True)
class Comparison:
    """Labels and model on the same photos.

    Attributes:
        photos: how many.
        scores: by 'all' and 'equal', as they are and at equal numbers of
            masks a photo; the labels' and the model's.
        gain: the model's share less the labels', at equal numbers.
        low: where 95 % of draws of as many photos have that gain: from
        high: here to here.
    """
    photos: int
    scores: dict[str, tuple[Score, Score]]
    gain: float
    low: float
    high: float

    def sentence(self) -> str:
        """Whether the model is better, for people."""
        labels, model = self.scores['equal']
        if self.low > 0:
            verdict = 'The model is better than its labels'
        elif self.high < 0:
            verdict = 'The model is not as good as its labels'
        else:
            verdict = ('The model and its labels cannot be told apart on so '
                       'few photos')
        return (
            f'{verdict}: of equally many masks, {100 * model.share:.1f} % of '
            f'its own return in other pictures of the same photo and '
            f"{100 * labels.share:.1f} % of the labels' (difference "
            f'{100 * self.gain:+.1f}, 95 % interval {100 * self.low:+.1f} to '
            f'{100 * self.high:+.1f}, {self.photos} photos).')

    def table(self) -> list[list[str]]:
        """A head and four rows, for :func:`write_report` or a terminal."""
        rows = [['', 'masks a photo', '% that return', 'masks that return',
                 'ancestor pairs', 'pairs that return']]
        for key, text in (('equal', 'the best, equally many'),
                          ('all', 'all')):
            for name, score in zip(('labels', 'model'), self.scores[key]):
                rows.append([f'{name}, {text}', f'{score.masks:.1f}',
                             f'{100 * score.share:.1f}',
                             f'{score.returning:.1f}', f'{score.pairs:.1f}',
                             f'{score.pairs_returning:.1f}'])
        return rows


def set_aside(names: Sequence[str]) -> list[str]:
    """Photos of a folder that no training sees, to compare on.

    A twentieth, 4 to 12; of a folder of fewer than 40 photos none.
    """
    if len(names) < 40:
        return []
    return spaced(names, min(12, max(4, len(names) // 20)))


def compare(photos: Sequence[NDArray[np.uint8]], labels: Finder,
            model: Finder) -> Comparison:
    """Look at photos with both, and count what returns.

    Args:
        photos: (H, W, 3) uint8 RGB, of any sizes, best none that the model
            was trained on. Of a single one nothing is known of chance, and
            nothing is taken off.
        labels: Phase 1 with the settings of the labels.
        model: all that it finds, whatever the score.

    Raises:
        ValueError: no photo.
    """
    if not len(photos):
        raise ValueError('no photo to compare on')
    seen = [[_look(finder, photo) for photo in photos]
            for finder in (labels, model)]
    counts = [[len(own[0]) for own in method] for method in seen]
    fewest = [min(pair) for pair in zip(*counts)]
    equal = [_measure(method, fewest) for method in seen]
    every = [_measure(method, count) for method, count in zip(seen, counts)]
    gain = equal[1][:, 1] - equal[0][:, 1]
    draws = np.random.default_rng(0).integers(
        len(gain), size=(SAMPLES, len(gain)))
    low, high = interval(gain[draws].mean(1))
    return Comparison(
        len(photos),
        {key: tuple(Score(*method.mean(0).tolist()) for method in both)
         for key, both in (('equal', equal), ('all', every))},
        float(gain.mean()), low, high)


def _look(finder: Finder, photo: NDArray[np.uint8]) -> list[Seen]:
    """What is found in a photo, and in its views, in their order."""
    return [Seen.of(finder(photo))] + [
        Seen.of(finder(view.picture(photo))) for view in _VIEWS
    ]


def _measure(method: Sequence[list[Seen]],
             counts: Sequence[int]) -> NDArray[np.float64]:
    """The numbers of :class:`Score` of each photo, (photos, 5).

    Args:
        method: what it found in each photo and in the views.
        counts: of masks to take of each.
    """
    rows = []
    for k, count in enumerate(counts):
        best = partial(Seen.best, count=count)
        own, *views = map(best, method[k])
        # Another photo's views: what returns there returns by chance.
        others = map(best, method[(k + 1) % len(method)][1:])
        shares = np.mean([_shares(own, *pair) for pair in zip(views, _VIEWS)],
                         0)
        if len(method) > 1:
            shares -= np.mean([_shares(own, *pair)
                               for pair in zip(others, _VIEWS)], 0)
        pairs = own.ancestors.sum()
        rows.append([len(own), shares[0], len(own) * shares[0], pairs,
                     pairs * shares[1]])
    return np.array(rows, float)


def _shares(own: Seen, found: Seen, view: View) -> tuple[float, float]:
    """Share of masks, and of ancestor pairs, that return in a view.

    Of those that the view shows; 0 where it shows none.
    """
    shown, iou, match = best_matches(own.masks, found.masks, view)
    if not shown.any() or not len(found):
        return 0.0, 0.0
    iou = iou * own.first_of_their_kind()
    above, below = np.nonzero(own.ancestors & shown[:, None] & shown)
    again = found.ancestors[match[above], match[below]]
    pairs = graded(np.minimum(iou[above], iou[below])) * again
    return (float(graded(iou[shown]).mean()),
            float(pairs.mean()) if len(pairs) else 0.0)
