"""What returns in other pictures: of labels, of a model, of neither."""
from collections.abc import Callable

import numpy as np
import pytest

from sohes.apis.label_free import Comparison, Seen, compare, set_aside
from sohes.structures import Entities, EntityForest
from sohes.structures.rles import encode_mask


def photos(count: int = 4) -> list[np.ndarray]:
    """A bright rectangle with a brighter one inside, elsewhere in each."""
    found = []
    for k in range(count):
        photo = np.zeros((120, 160, 3), np.uint8)
        top, left = 16 + 9 * k, 20 + 11 * k
        photo[top:top + 50, left:left + 60] = 100
        photo[top + 10:top + 34, left + 10:left + 40] = 200
        found.append(photo)
    return found


def entities(size: tuple[int, int], masks: list[np.ndarray],
             forest: bool = True) -> Entities:
    rles = [encode_mask(mask) for mask in masks]
    return Entities(size, rles, np.arange(len(rles), 0., -1),
                    EntityForest.from_masks(rles) if forest else None)


def sees(image: np.ndarray) -> Entities:
    """The two rectangles, whatever the view."""
    grey = image[..., 0]
    return entities(grey.shape, [grey > 50, grey > 150])


def guesses(image: np.ndarray) -> Entities:
    """Other random boxes for every picture."""
    rng = np.random.default_rng(int(image.sum()) + image.shape[1])
    masks = []
    for _ in range(20):
        top, left = rng.uniform(0, 0.7, 2) * image.shape[:2]
        mask = np.zeros(image.shape[:2], bool)
        mask[int(top):int(top) + 20, int(left):int(left) + 25] = True
        masks.append(mask)
    return entities(image.shape[:2], masks)


def always_halves(image: np.ndarray) -> Entities:
    """The same whatever the photo shows: the left and the right half."""
    left = np.zeros(image.shape[:2], bool)
    left[:, :image.shape[1] // 2] = True
    return entities(image.shape[:2], [left, ~left, left | True])


def nothing(image: np.ndarray) -> Entities:
    return entities(image.shape[:2], [])


@pytest.mark.parametrize('other', [guesses, always_halves])
def test_what_is_really_there_wins_on_either_side(
        other: Callable[[np.ndarray], Entities]) -> None:
    won = compare(photos(), other, sees)
    assert won.low > 0
    assert won.sentence().startswith('The model is better than its labels: ')
    lost = compare(photos(), sees, other)
    assert lost.high < 0
    assert lost.sentence().startswith('The model is not as good as its ')
    assert (lost.gain, lost.low) == pytest.approx((-won.gain, -won.high))


def test_the_same_cannot_be_told_apart() -> None:
    same = compare(photos(), sees, sees)
    assert (same.gain, same.low, same.high) == (0.0, 0.0, 0.0)
    assert 'cannot be told apart' in same.sentence()


def test_masks_and_pairs_are_counted() -> None:
    """Two masks and their pair return; of the guesses the two best count."""
    found = compare(photos(), guesses, sees)
    labels, model = found.scores['equal']
    assert (labels.masks, model.masks, model.pairs) == (2, 2, 1)
    assert model.share > 0.8 and model.pairs_returning > 0.6
    assert model.returning == pytest.approx(2 * model.share)
    labels, model = found.scores['all']
    assert (labels.masks, model.masks) == (20, 2)


def test_masks_that_do_not_depend_on_the_photo_earn_nothing() -> None:
    halves = compare(photos(), always_halves, always_halves).scores['all'][0]
    assert halves.masks == 3
    assert (halves.share, halves.pairs_returning) == (0.0, 0.0)


def test_one_entity_many_times_is_one_entity() -> None:
    def again(image: np.ndarray) -> Entities:
        outer = image[..., 0] > 50
        return entities(outer.shape, [outer] * 8)

    once = compare(photos(), sees, again).scores['all']
    assert once[1].masks == 8
    assert once[1].returning == pytest.approx(8 * once[1].share)
    assert once[1].returning < 1 < once[0].returning
    assert compare(photos(), sees, again).high < 0


def test_a_forest_that_changes_does_not_return() -> None:
    def flat(image: np.ndarray) -> Entities:
        grey = image[..., 0]
        masks = [grey > 50, grey > 150]
        # Crops and smaller pictures have none.
        return entities(grey.shape, masks, grey.shape[1] == 160)

    whole = compare(photos(), sees, sees).scores['all'][0]
    broken = compare(photos(), flat, sees).scores['all'][0]
    assert broken.share == whole.share
    assert 0 < broken.pairs_returning < whole.pairs_returning / 2


def test_nothing_found_is_no_mistake() -> None:
    found = compare(photos(), nothing, sees)
    assert found.scores['equal'][1].masks == 0
    assert found.scores['all'][1].share > 0.8
    assert 'cannot be told apart' in found.sentence()


def test_one_photo_tells_nothing_of_chance() -> None:
    found = compare(photos(1), always_halves, sees)
    assert found.scores['all'][0].share > 0.5
    with pytest.raises(ValueError, match='no photo'):
        compare([], sees, sees)


@pytest.mark.parametrize('count, aside', [
    (39, 0), (40, 4), (100, 5), (1000, 12)])
def test_a_twentieth_is_set_aside(count: int, aside: int) -> None:
    names = [f'{k:04d}.jpg' for k in range(count)]
    found = set_aside(names)
    assert len(set(found)) == aside and set(found) <= set(names)
    # Not the first few: a folder's order often means something.
    assert not aside or found[-1] > names[count // 2]


def test_the_best_come_first() -> None:
    masks = [np.eye(8, dtype=bool), np.ones((8, 8), bool)]
    found = Seen.of(entities((8, 8), masks).subset([1, 0]))
    assert len(found) == 2 and found.masks[1].all()
    assert not found.masks[0].all() and found.ancestors[1, 0]
    assert found.best(1).ancestors.shape == (1, 1)


def test_the_table_has_a_row_for_each() -> None:
    found: Comparison = compare(photos(), guesses, sees)
    head, *rows = found.table()
    assert [row[0].split(',')[0] for row in rows] == 2 * ['labels', 'model']
    assert {len(row) for row in rows} == {len(head)}
