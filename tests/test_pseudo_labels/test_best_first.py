"""Stopping early changes nothing but the time."""
import dataclasses

import numpy as np
import pytest

from sohes.pseudo_labels import best_first
from sohes.pseudo_labels.best_first import Refined, refine_best
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.pipeline import Proposals, finish, propose
from sohes.pseudo_labels.proposals import Proposal

SIZE = (24, 40)


class _RandomIoU:
    """Draws masks as they are; an IoU of its own for each."""

    def __init__(self, rng: np.random.Generator, lowest: float) -> None:
        self.rng, self.lowest = rng, lowest
        self.iou: dict[int, float] = {}

    def _iou(self, item: Proposal) -> float:
        return self.iou.setdefault(id(item), self.rng.uniform(self.lowest, 1))

    def __call__(self, image: np.ndarray,
                 item: Proposal) -> tuple[np.ndarray, float]:
        return item.render(image.shape[:2]), self._iou(item)


class _ByCrop(_RandomIoU):
    """The same, all masks of a crop at once; remembers who came when."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.calls: list[tuple[tuple, int]] = []

    def refine_crop(self, image: np.ndarray, box: tuple,
                    items: list) -> list[Refined]:
        assert all(item.box == box for item in items)
        self.calls.append((box, len(items)))
        return [
            Refined(
                item.render(image.shape[:2])[box[1]:box[3], box[0]:box[2]],
                box[:2], self._iou(item)) for item in items
        ]


def _candidates(rng: np.random.Generator, count: int) -> list[Proposal]:
    """Rectangles in three boxes, with scores of which many are equal."""
    boxes = ((0, 0, 40, 24), (0, 0, 20, 12), (16, 8, 36, 24))
    items = []
    for _ in range(count):
        grid = np.zeros((6, 8), bool)
        top, left = rng.integers(0, 5), rng.integers(0, 7)
        grid[top:top + rng.integers(1, 3), left:left + rng.integers(1, 4)] = 1
        items.append(Proposal(grid, boxes[rng.integers(3)],
                              round(rng.uniform(0.2, 1), 2), 1))
    return items


def _refine_all(monkeypatch, *args) -> tuple:
    with monkeypatch.context() as patch:
        patch.setattr(best_first, '_settled', lambda *args: False)
        return refine_best(*args)


@pytest.mark.parametrize('seed', range(12))
def test_early_stop_on_random_scores(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    image, items = np.zeros((*SIZE, 3), np.uint8), _candidates(rng, 150)
    options = ExploreOptions(max_masks=int(rng.integers(3, 20)),
                             nms_iou=rng.uniform(0.3, 0.9))
    refiner = _RandomIoU(rng, lowest=0.3)
    monkeypatch.setattr(best_first, 'build_refiner', lambda config: refiner)
    monkeypatch.setattr(best_first, '_BLOCK', int(rng.integers(1, 9)))
    rles, scores, counts = refine_best(image, items, options)
    every, every_score, every_count = _refine_all(monkeypatch, image, items,
                                                  options)
    assert rles == every and scores.tolist() == every_score.tolist()
    assert counts['not_refined'] > 0 == every_count['not_refined']


def test_nothing_is_left_out_that_could_still_enter(monkeypatch, rng):
    # every mask halves its score but the last, which is then the best
    items = _candidates(rng, 30)
    items.sort(key=lambda item: -item.score)
    refiner = _RandomIoU(rng, 0.0)
    refiner.iou = {id(item): 0.5 for item in items[:-1]}
    refiner.iou[id(items[-1])] = 1.0
    items[-1] = dataclasses.replace(items[-1], score=items[0].score * 0.51)
    refiner.iou[id(items[-1])] = 1.0
    monkeypatch.setattr(best_first, 'build_refiner', lambda config: refiner)
    monkeypatch.setattr(best_first, '_BLOCK', 4)
    _, scores, _ = refine_best(np.zeros((*SIZE, 3), np.uint8), items,
                               ExploreOptions(max_masks=1))
    assert scores.tolist() == [items[-1].score]


@pytest.mark.parametrize('block', [7, 1000])
def test_all_masks_of_a_crop_at_once_give_the_same(monkeypatch, rng, block):
    image, items = np.zeros((*SIZE, 3), np.uint8), _candidates(rng, 60)
    options = ExploreOptions(max_masks=9)
    single = _RandomIoU(rng, 0.3)
    crops = _ByCrop(rng, 0.3)
    crops.iou = single.iou
    results = []
    for refiner in (single, crops):
        monkeypatch.setattr(best_first, 'build_refiner',
                            lambda config, refiner=refiner: refiner)
        monkeypatch.setattr(best_first, '_BLOCK', block)
        results.append(refine_best(image, items, options))
    assert results[0][0] == results[1][0]
    assert results[0][1].tolist() == results[1][1].tolist()
    if block > len(items):  # each crop came once
        assert len(crops.calls) == 3
        assert sum(count for _, count in crops.calls) == len(items)


@pytest.mark.slow
def test_early_stop_on_a_real_photo(monkeypatch, shared_data, real_features):
    from sohes.pseudo_labels.images import load_image
    photo = sorted((shared_data / 'bsds500/images/val').glob('*.jpg'))[0]
    image = load_image(photo)
    options = ExploreOptions(max_masks=30, local=None,
                             refiner=dict(type='densecrf', max_side=128),
                             thresholds=[k / 20 for k in range(18, 0, -1)])
    found = propose(image, lambda images, size: [real_features], options)
    monkeypatch.setattr(best_first, '_BLOCK', 16)
    some = finish(image, found, options)
    monkeypatch.setattr(best_first, '_settled', lambda *args: False)
    every = finish(image, Proposals(found.size, found.items), options)
    assert some.counts['not_refined'] > 0
    assert every.counts['not_refined'] == 0
    assert some.rles == every.rles and some.forest == every.forest
    assert some.scores.tolist() == every.scores.tolist()
