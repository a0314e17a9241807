"""What becomes of masks after refinement, on rows that can be read."""
import json

import numpy as np

from sohes.pseudo_labels import best_first
from sohes.pseudo_labels.coco_json import merge_shards
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.pipeline import Proposals, finish
from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.shards import ShardFolder, to_record
from sohes.structures import Entities


class _Scripted:
    """A refiner that gives back what it is told of each item."""

    def __init__(self, items: list, results: tuple) -> None:
        self.results = {id(i): r for i, r in zip(items, results)}

    def __call__(self, image: np.ndarray, item: Proposal) -> tuple:
        return self.results[id(item)]


def _finish(monkeypatch, *results: tuple, scores: tuple | None = None,
            **options) -> Entities:
    items = [Proposal(np.ones((1, 1), bool), (0, 0, 8, 1), score, 1)
             for score in scores or [0.5] * len(results)]
    monkeypatch.setattr(best_first, 'build_refiner',
                        lambda config: _Scripted(items, results))
    return finish(np.zeros((1, 8, 3), np.uint8),
                  Proposals((1, 8), items, dict(found=7)),
                  ExploreOptions(**options))


def _row(text: str) -> np.ndarray:
    return np.array([[c == '#' for c in text]])


def test_masks_that_changed_too_much_go(monkeypatch):
    labels = _finish(monkeypatch, (_row('##......'), 0.49),
                     (_row('..##....'), 0.5), (_row('....##..'), 0.9),
                     (_row('........'), 0.9))
    assert [m[0].argmax() for m in labels.masks()] == [4, 2]
    assert labels.counts == dict(
        found=7, not_refined=0, changed_too_much=2,
        duplicates_after_refinement=0, over_max_masks=0)
    np.testing.assert_allclose(labels.scores, [0.45, 0.25])


def test_masks_that_became_the_same_are_kept_once(monkeypatch):
    labels = _finish(monkeypatch, (_row('####....'), 0.8),
                     (_row('####....'), 1.0), (_row('####...#'), 1.0),
                     scores=(0.9, 0.8, 0.7), nms_iou=0.79)
    # 0.8 before 0.72, and 0.8 of overlap is too much for 0.7
    np.testing.assert_allclose(labels.scores, [0.8])
    assert labels.counts['duplicates_after_refinement'] == 2


def test_the_best_masks_stay_and_the_rest_is_counted(monkeypatch):
    labels = _finish(monkeypatch, *[(_row('.' * k + '#' + '.' * (7 - k)), 1.0)
                                    for k in range(5)],
                     scores=(0.1, 0.5, 0.3, 0.4, 0.2), max_masks=2)
    assert [m[0].argmax() for m in labels.masks()] == [1, 3]
    assert labels.counts['over_max_masks'] == 3


def test_hierarchy_is_that_of_the_masks_as_stored(monkeypatch):
    results = [(_row('#######.'), 1.0), (_row('##......'), 1.0),
               (_row('#.......'), 1.0), (_row('.......#'), 1.0)]
    scores = (0.4, 0.3, 0.2, 0.1)
    labels = _finish(monkeypatch, *results, scores=scores)
    assert labels.forest.parents.tolist() == [-1, 0, 1, -1]
    # half of '##' lies in '.#####..': at 0.5 that is enough, but then '##'
    # lies in '#', too, and neither is the other's ancestor
    results[0] = (_row('.#####..'), 1.0)
    for coverage, parents in ((0.9, [-1, -1, 1, -1]), (0.5, [-1, 0, -1, -1])):
        labels = _finish(monkeypatch, *results, scores=scores,
                         coverage=coverage)
        assert labels.forest.parents.tolist() == parents


def test_the_json_carries_the_pairs_that_the_parents_do_not(
        monkeypatch, tmp_path):
    # '##' lies half in '.#####..' and half in '#.....##', which are no
    # part of each other: at 0.5 it has two ancestors.
    results = [(_row('.#####..'), 1.0), (_row('#.....##'), 1.0),
               (_row('##......'), 1.0)]
    labels = _finish(monkeypatch, *results, scores=(0.4, 0.3, 0.2),
                     coverage=0.5)
    shards = ShardFolder(tmp_path / 'x.json', {}, ['a.png', 'b.png'], 2)
    shards.open()
    shards.write(0, [to_record('a.png', labels), to_record('b.png', labels)])
    merge_shards(shards)
    rows = json.loads((tmp_path / 'x.json').read_text())['annotations']
    assert [row['parent_id'] for row in rows] == [None, None, 2] + [
        None, None, 5]
    assert [row['ancestor_ids'] for row in rows] == [[], [], [1, 2],
                                                     [], [], [4, 5]]
