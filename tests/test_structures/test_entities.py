"""Entities of hand-drawn masks: parts of them, and their json."""
import json
import pickle

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.structures import Entities, EntityForest
from sohes.structures.annotations import number_rows, write_coco

#: A whole of 3 x 4 pixels, its left half, one pixel of that, and another
#: whole beside them; the image is 3 x 5.
PICTURES = ('####./####./####.', '##.../##.../##...', '#..../...../.....',
            '....#/....#/.....')
MASKS = np.array([[[pixel == '#' for pixel in row]
                   for row in picture.split('/')] for picture in PICTURES])
SCORES = [.7, .9, .25, .9]


def rle(mask: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def drawn(**more) -> Entities:
    return Entities((3, 5), [rle(mask) for mask in MASKS], SCORES,
                    EntityForest([-1, 0, 1, -1], [(0, 1), (1, 2)]), **more)


def relations(found: Entities) -> list:
    """Parents, and the pairwise relation."""
    return [found.forest.parents.tolist(),
            np.argwhere(found.forest.ancestors).tolist()]


def test_masks_areas_boxes_and_levels():
    found = drawn()
    assert (found.masks() == MASKS).all() and found.masks().dtype == bool
    assert found.areas().tolist() == [12, 6, 1, 2]
    assert found.boxes().tolist() == [[0, 0, 4, 3], [0, 0, 2, 3],
                                      [0, 0, 1, 1], [4, 0, 1, 2]]
    assert found.levels().tolist() == [0, 1, 2, 0]
    assert drawn(given_levels=[0, 2, 1, 0]).levels().tolist() == [0, 2, 1, 0]
    assert len(found) == 4


def test_no_masks():
    found = Entities((3, 5), [], [], EntityForest([]))
    assert found.masks().shape == (0, 3, 5)
    assert found.boxes().shape == (0, 4)
    assert found.areas().shape == found.levels().shape == (0, )
    assert len(found.above(0.)) == len(found.best(3)) == 0
    coco = found.to_coco('a.jpg')
    assert coco == dict(
        images=[dict(id=1, file_name='a.jpg', width=5, height=3)],
        annotations=[], categories=[dict(id=1, name='entity')])
    assert Entities.from_coco(coco).size == (3, 5)


def test_a_part_whose_whole_goes_hangs_from_the_next():
    found = drawn(given_levels=[0, 1, 2, 0]).subset([2, 0])
    assert (found.masks() == MASKS[[2, 0]]).all()
    assert found.scores.tolist() == [.25, .7]
    # The pair (0, 2) is not in the relation, though 0 is above 2.
    assert relations(found) == [[1, -1], []]
    assert found.given_levels.tolist() == [2, 0]
    kept = drawn().subset(np.array([True, True, False, False]))
    assert relations(kept) == [[-1, 0], [[0, 1]]]


@pytest.mark.parametrize('indices, words', [
    ([0, 4], 'must be 0 to 3'), ([-1], 'must be 0 to 3'), ([1, 1], 'twice')])
def test_a_subset_of_what_is_not_there(indices, words):
    with pytest.raises(ValueError, match=words):
        drawn().subset(indices)


def test_above_and_best():
    assert drawn().above(.7).areas().tolist() == [12, 6, 2]
    assert relations(drawn().above(.8)) == [[-1, -1], []]
    # Equal scores keep their order.
    assert drawn().best(3).areas().tolist() == [6, 2, 12]
    assert relations(drawn().best(3)) == [[2, -1, -1], [[2, 0]]]
    assert drawn().best(9).areas().tolist() == [6, 2, 12, 1]


def test_who_is_part_of_whom_may_be_unknown():
    found = Entities((3, 5), [rle(mask) for mask in MASKS], SCORES)
    assert not found.has_forest and drawn().has_forest
    assert found.forest.parents.tolist() == [-1] * 4
    assert not found.above(.5).has_forest
    row = found.to_coco()['annotations'][0]
    assert 'parent_id' not in row and 'ancestor_ids' not in row


@pytest.mark.parametrize('change, words', [
    (dict(scores=[1.]), r'4 masks, but scores of shape \(1,\)'),
    (dict(forest=EntityForest([-1])), '4 masks, but a forest of 1'),
    (dict(given_levels=[0]), r'4 masks, but given_levels of shape \(1,\)'),
    (dict(size=(5, 3)), 'the image is 3 x 5 pixels, its masks are 5 x 3'),
])
def test_what_does_not_belong_together(change, words):
    values = dict(size=(3, 5), rles=[rle(mask) for mask in MASKS],
                  scores=SCORES)
    with pytest.raises(ValueError, match=words):
        Entities(**{**values, **change})


def test_its_json_is_written_out():
    rows = drawn().to_coco('a.jpg', 7, [11, 12, 13, 14])['annotations']
    assert list(rows[1]) == [
        'id', 'image_id', 'category_id', 'iscrowd', 'parent_id',
        'ancestor_ids', 'segmentation', 'bbox', 'area', 'score']
    assert [(row['id'], row['parent_id'], row['ancestor_ids'])
            for row in rows] == [(11, None, []), (12, 11, [11]),
                                 (13, 12, [12]), (14, None, [])]
    assert rows[1]['bbox'] == [0, 0, 2, 3] and rows[1]['area'] == 6
    assert rows[1]['image_id'] == 7 and rows[1]['score'] == .9
    assert isinstance(rows[1]['segmentation']['counts'], str)


@pytest.mark.parametrize('levels', [None, [0, 2, 1, 0]])
def test_there_and_back(levels):
    found = drawn(given_levels=levels)
    text = json.dumps(found.to_coco('a.jpg'))
    back = Entities.from_coco(json.loads(text))
    assert json.dumps(back.to_coco('a.jpg')) == text
    assert (back.masks() == MASKS).all()
    assert relations(back) == relations(found)
    assert pickle.loads(pickle.dumps(back)).scores.tolist() == SCORES


def test_a_json_without_parents_has_the_forest_of_its_masks():
    coco = Entities((3, 5), [rle(mask) for mask in MASKS], SCORES).to_coco()
    coco['annotations'][0]['segmentation'] = [[0, 0, 4, 0, 4, 3, 0, 3]]
    coco['annotations'][3]['iscrowd'] = 1
    back = Entities.from_coco(coco)
    assert relations(back) == [[-1, 0, 1], [[0, 1], [0, 2], [1, 2]]]


def test_one_image_of_many():
    coco = drawn().to_coco('a.jpg', 7)
    coco['images'].append(dict(id=8, file_name='b.jpg', height=2, width=2))
    with pytest.raises(ValueError, match='has 2 images, not one'):
        Entities.from_coco(coco)
    with pytest.raises(ValueError, match='0 images with the id 9'):
        Entities.from_coco(coco, 9)
    assert len(Entities.from_coco(coco, 7)) == 4
    assert len(Entities.from_coco(coco, 8)) == 0


@pytest.mark.parametrize('change, words', [
    (dict(parent_id=9), 'annotation 2: its parent_id 9 is no annotation of '
     'the same image'),
    (dict(parent_id=3), 'image 1: a cycle in parents'),
    (dict(ancestor_ids=[2]), 'annotation 2 is its own ancestor'),
    (dict(ancestor_ids=1), 'ancestor_ids must be a list'),
    (dict(id=1), 'the annotation id 1 comes twice'),
    (dict(score=float('nan')), 'annotation 2: its score must be a finite'),
    (dict(segmentation=None), 'annotation 2: it has no segmentation'),
    (dict(segmentation=dict(size=[3, 5], counts='~~~')),
     'annotation 2: the RLE is broken'),
    (dict(segmentation=dict(size=[5, 3], counts='0')),
     r'annotation 2: its mask has the size \[5, 3\]'),
])
def test_a_broken_json_is_one_sentence(change, words):
    coco = drawn().to_coco()
    coco['annotations'][1].update(change)
    with pytest.raises(ValueError, match=words):
        Entities.from_coco(coco)


def test_masks_that_would_take_all_memory_are_not_compared():
    side = 9400
    whole = coco_mask.frPyObjects(
        dict(size=[side, side], counts=[0, side * side]), side, side)
    coco = dict(
        images=[dict(id=7, height=side, width=side)],
        annotations=[dict(id=k, image_id=7, segmentation=whole)
                     for k in range(5000)])
    with pytest.raises(ValueError, match='image 7: its 5000 masks of'):
        Entities.from_coco(coco)
    coco['annotations'] *= 2
    with pytest.raises(ValueError, match='image 7 has 10000 masks, more'):
        Entities.from_coco(coco)


def test_what_is_no_json_of_coco():
    with pytest.raises(ValueError, match='no list "annotations"'):
        Entities.from_coco(dict(images=[]))
    coco = drawn().to_coco()
    coco['images'][0]['height'] = 0
    with pytest.raises(ValueError, match='height must be a whole number'):
        Entities.from_coco(coco)


def test_positions_become_ids():
    rows = [dict(parent=None, ancestors=[], score=1),
            dict(parent=0, ancestors=[0], score=2), dict(score=3)]
    assert list(number_rows(rows, [5, 6, 9], 'x', iscrowd=0)) == [
        dict(id=5, image_id='x', category_id=1, iscrowd=0, parent_id=None,
             ancestor_ids=[], score=1),
        dict(id=6, image_id='x', category_id=1, iscrowd=0, parent_id=5,
             ancestor_ids=[5], score=2),
        dict(id=9, image_id='x', category_id=1, iscrowd=0, score=3)]
    assert rows[1]['parent'] == 0  # as it was


def test_a_written_json_has_a_line_a_row(tmp_path):
    path = tmp_path / 'a.json'
    count = write_coco(path, iter([dict(id=1)]), iter([dict(id=2)] * 2),
                       lambda number: dict(masks=number), licenses=[])
    assert count == 2
    assert path.read_text() == (
        '{"images": [\n{"id": 1}\n],\n"annotations": [\n{"id": 2},\n'
        '{"id": 2}\n],\n"categories": [{"id": 1, "name": "entity"}],\n'
        '"licenses": [],\n"info": {\n "masks": 2\n}}\n')
    with pytest.raises(ValueError, match='JSON compliant'):
        write_coco(path, [], [dict(score=float('inf'))], dict)
    assert json.loads(path.read_text())['info'] == dict(masks=2)
