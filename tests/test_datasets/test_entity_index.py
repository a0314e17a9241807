"""What an index says of a json, and one sentence for each fault of it."""
import json
import os

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.datasets import index_forest
from sohes.datasets.entity_index import EntityIndex
from sohes.utils.errors import FileError
from tests.test_datasets.coco_files import (
    CORNER,
    PART,
    WHOLE,
    annotation,
    box_mask,
    dataset,
    rle,
    two_images,
    write,
)


def build(tmp_path, data) -> EntityIndex:
    return EntityIndex.open(write(tmp_path / 'x.json', data))


def test_index_says_what_the_json_says(tmp_path):
    index = build(tmp_path, two_images())
    assert index.images['id'].tolist() == [3, 5]
    assert [index.file_name(k) for k in (0, 1)] == ['a.png', 'b/ö.png']
    assert len(index.entities(0)) == 0
    entities = index.entities(1)
    assert entities.size == (9, 13)
    records = entities.records
    assert records['id'].tolist() == [11, 10, 12]
    assert records['parent'].tolist() == [-1, 0, -1]
    assert records['score'].tolist() == [0.5, 1.0, 1.0]
    assert records['area'].tolist() == [70, 16, 8]
    assert records['box'].tolist() == [[1, 1, 10, 7], [2, 2, 4, 4],
                                       [9, 0, 4, 2]]
    for found, mask in zip(entities.rles(), (WHOLE, PART, CORNER)):
        assert (coco_mask.decode(found) == mask).all()


def test_round_trip_of_random_masks_in_any_order(tmp_path, rng):
    sizes = {k: tuple(rng.integers(1, 40, 2).tolist()) for k in range(7)}
    masks = {k: rng.random(sizes[k % 7]) < rng.random() for k in range(40)}
    images = [(k, f'{k}.png', *sizes[k]) for k in sizes]
    order = rng.permutation(40).tolist()
    data = dataset(images, [annotation(k, k % 7, masks[k]) for k in order])
    # The images after the annotations, as some tools write it.
    data = dict(annotations=data['annotations'], images=data['images'])
    index = build(tmp_path, data)
    seen = []
    for k in range(7):
        entities = index.entities(k)
        for record, found in zip(entities.records, entities.rles()):
            mask = masks[record['id']]
            assert (coco_mask.decode(found) == mask).all()
            assert record['area'] == mask.sum()
            assert record['box'].tolist() == coco_mask.toBbox(found).tolist()
            seen.append(record['id'])
    assert sorted(seen) == list(range(40))


def test_polygons_plain_counts_and_crowds(tmp_path):
    data = two_images()
    data['annotations'][0].update(
        segmentation=[[1, 1, 11, 1, 11, 8, 1, 8]])
    counts = dict(size=[9, 13], counts=[0, 117])
    data['annotations'][2].update(segmentation=counts, iscrowd=1)
    index = build(tmp_path, data)
    rles = index.entities(1).rles()
    assert (coco_mask.decode(rles[0]) == WHOLE).all()
    assert coco_mask.decode(rles[2]).all()
    assert index.entities(1).records['crowd'].tolist() == [False, False, True]
    assert index.images['masks'].tolist() == [0, 2]


def test_forest_from_coverage_where_the_json_has_none(tmp_path):
    data = two_images()
    data['annotations'].append(annotation(13, 5, np.ones((9, 13)), iscrowd=1))
    data['annotations'].append(annotation(20, 3, np.ones((4, 6))))
    for row in data['annotations'][:4]:
        del row['parent_id']
    index = build(tmp_path, data)
    # The corner lies in the crowd region alone, which is nobody's parent.
    assert index.entities(1).records['parent'].tolist() == [-1, 0, -1, -1]
    assert index.entities(0).records['parent'].tolist() == [-1]


def with_ancestors() -> dict:
    """Image 5 has three generations, the eldest no ancestor of the last."""
    data = two_images(ancestor_ids=[11])
    data['annotations'][0]['ancestor_ids'] = []
    data['annotations'][2].update(parent_id=10, ancestor_ids=[10])
    return data


def test_ancestors_that_the_json_names(tmp_path):
    data = with_ancestors()
    data['annotations'].append(
        annotation(20, 3, np.ones((4, 6)), ancestor_ids=[]))
    index = build(tmp_path, data)
    assert index.entities(1).records['parent'].tolist() == [-1, 0, 1]
    assert index.entities(1).pairs.tolist() == [[0, 1], [1, 2]]
    assert index.entities(1).pairs.dtype == np.uint16
    assert index.entities(1).forest.ancestors.sum() == 2
    found = index.entities(1).read()
    assert found.rles == index.entities(1).rles() and found.scores.all()
    assert found.forest == index.entities(1).forest
    assert (found.areas() == index.entities(1).records['area']).all()
    assert index.entities(0).pairs.shape == (0, 2)
    assert index.without_pairs == 0


def test_without_ancestor_ids_the_trees_say_it(tmp_path):
    data = with_ancestors()
    for row in data['annotations']:
        del row['ancestor_ids']
    index = build(tmp_path, data)
    assert index.entities(1).pairs is None
    assert index.entities(1).forest.ancestors.sum() == 3
    assert index.without_pairs == 1  # the other has no mask


def test_pairs_from_coverage(tmp_path):
    # Of two wholes that overlap one is the part's parent, both ancestors.
    rows = [annotation(k, 5, box_mask(1, 60, *box)) for k, box in enumerate(
        [(0, 0, 30, 1), (5, 0, 40, 1), (10, 0, 20, 1)], 1)]
    crowd = annotation(9, 5, np.ones((1, 60)), iscrowd=1)
    for row in [crowd, *rows]:
        del row['parent_id']
    named = [annotation(k, 3, np.ones((1, 60)), ancestor_ids=above,
                        parent_id=parent)
             for k, parent, above in ((20, 21, [21]), (21, None, []))]
    index = build(tmp_path, dataset(
        [(5, 'a.png', 1, 60), (3, 'b.png', 1, 60)], [crowd, *rows, *named]))
    assert index.entities(1).records['parent'].tolist() == [-1, -1, -1, 1]
    assert index.entities(1).pairs.tolist() == [[1, 3], [2, 3]]
    assert index.entities(0).pairs.tolist() == [[1, 0]]


def test_pairs_in_any_order_and_in_blocks(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(index_forest, '_BLOCK', 5)
    images = [(k, f'{k}.png', 2, 3) for k in range(9)]
    forests = {k: random_pairs(rng, int(rng.integers(0, 8))) for k in range(9)}
    rows = []
    for image, pairs in forests.items():
        count = pairs.max(initial=-1) + 1
        rows += [annotation(
            100 * image + k, image, np.ones((2, 3)),
            ancestor_ids=(100 * image + pairs[pairs[:, 1] == k, 0]).tolist())
            for k in range(count)]
    rows = [rows[k] for k in rng.permutation(len(rows))]
    index = build(tmp_path, dataset(images, rows))
    for image, pairs in forests.items():
        entities = index.entities(image)
        ids = entities.records['id'] - 100 * image
        found = ids[entities.pairs.astype(int)].reshape(-1, 2).tolist()
        assert sorted(found) == sorted(pairs.tolist())


def random_pairs(rng, count: int) -> np.ndarray:
    """(P, 2), ancestors before their descendants."""
    return np.argwhere(np.triu(rng.random((count, count)) < 0.5, 1))


def test_an_index_of_the_format_before_is_built_anew(tmp_path):
    path = write(tmp_path / 'x.json', with_ancestors())
    folder = EntityIndex.open(path).folder
    meta = json.loads((folder / 'meta.json').read_text())
    meta['key']['format'] = 2
    (folder / 'meta.json').write_text(json.dumps(meta))
    (folder / 'pairs.bin').unlink()
    assert len(EntityIndex.open(path).entities(1).pairs) == 2


@pytest.mark.parametrize(('change', 'words'), [
    (lambda a: a[1].update(ancestor_ids=[99]), '10: .*99, which does not ex'),
    (lambda a: a[1].update(ancestor_ids=[20]), '20, which is in another im'),
    (lambda a: a[1].update(ancestor_ids=[10]), '10: .* name 10, itself'),
    (lambda a: a[0].update(ancestor_ids=[10]), '11 is its own ancestor'),
    # Of three, by ancestor_ids alone.
    (lambda a: [a[k].update(parent_id=None, ancestor_ids=[above])
                for k, above in enumerate((12, 11, 10))],
     'annotation 11 is its own ancestor: a cycle'),
    # Neither alone is one: 11 over 10 over 12 by parent_id.
    (lambda a: [a[0].update(ancestor_ids=[12]),
                a[1].update(ancestor_ids=[]), a[2].update(ancestor_ids=[])],
     'a cycle of ancestor_ids and parent_id'),
    (lambda a: a[1].update(ancestor_ids=[11, True]), '10: .*must be a list'),
    (lambda a: a[1].update(ancestor_ids=11), '10: .*must be a list.* 11'),
    (lambda a: a[1].update(ancestor_ids=None), '10: .*found None'),
    (lambda a: a[1].pop('ancestor_ids'), '10 has no ancestor_ids, but othe'),
    (lambda a: a[1].pop('parent_id'), '10: it has ancestor_ids but no par'),
])
def test_one_sentence_for_each_fault_of_ancestors(tmp_path, change, words):
    data = with_ancestors()
    data['annotations'].append(
        annotation(20, 3, np.ones((4, 6)), ancestor_ids=[]))
    change(data['annotations'])
    with pytest.raises(FileError, match=words) as caught:
        build(tmp_path, data)
    assert '\n' not in str(caught.value)


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else []


def copies(row: dict, count: int) -> list[dict]:
    return [dict(row, id=1000 + k) for k in range(count)]


def broken(change) -> dict:
    data = two_images()
    data['annotations'].append(annotation(20, 3, np.ones((4, 6))))
    change(data, data['annotations'])
    return data


@pytest.mark.parametrize(('change', 'words'), [
    (lambda d, a: d.pop('images'), 'no list "images"'),
    (lambda d, a: d.pop('annotations'), 'no list "annotations"'),
    (lambda d, a: d.update(images=[]), 'has no images'),
    (lambda d, a: d.update(images=[3]), 'image must be an object'),
    (lambda d, a: d.update(annotations=[[]]), 'must be an object'),
    (lambda d, a: d['images'][0].pop('height'), "ö.png' needs.*height"),
    (lambda d, a: d['images'][0].pop('file_name'), '5 needs a "file_name"'),
    (lambda d, a: d['images'][0].update(id=3), 'image id 3 comes twice'),
    (lambda d, a: a[1].update(image_id=4), '10: is on image 4'),
    (lambda d, a: a[1].update(id=11), 'annotation id 11 comes twice'),
    (lambda d, a: a[1].pop('id'), '"id" must be a whole number'),
    (lambda d, a: a[1].update(parent_id=99), '10: its parent_id 99 does not'),
    (lambda d, a: a[1].update(parent_id=20), '10: its parent 20 is in ano'),
    (lambda d, a: a[1].update(parent_id='x'), "10: .*found 'x'"),
    (lambda d, a: a[0].update(parent_id=10), 'is its own ancestor'),
    (lambda d, a: a[0].update(parent_id=11), '11 is its own ancestor'),
    (lambda d, a: a[1].pop('parent_id'), '10 has no parent_id, but others'),
    (lambda d, a: a[1].update(segmentation=rle(PART.T)), '10: its mask has'),
    (lambda d, a: a[1]['segmentation'].update(counts='0'), 'not fill the'),
    (lambda d, a: a[1]['segmentation'].update(counts='\t~'), 'is broken'),
    (lambda d, a: a[1].update(segmentation=[]), '10: it has no segmen'),
    (lambda d, a: a[1].update(segmentation=[[1, 2]]), '10: a polygon must'),
    (lambda d, a: a[1].update(segmentation=[[1, 2, None, 4, 5, 6]]),
     '10: a polygon has the coordinate None'),
    (lambda d, a: a[1]['segmentation'].update(size=[9.0, 13.0]),
     '10: its mask has the size'),
    (lambda d, a: a[1]['segmentation'].update(counts=[0, 2**64 + 117]),
     'integer overflow|10: the runs must be'),
    (lambda d, a: a[1].update(id=2**70), 'overflow|must be a whole'),
    (lambda d, a: a[1].update(id=2**60), '"id" must be a whole number'),
    (lambda d, a: a[1].update(parent_id=-2**62), '10: "parent_id" must be'),
    (lambda d, a: a[1].update(parent_id={}), '10: "parent_id" must be'),
    (lambda d, a: a[1].update(score=10**400), 'a number of more than'),
    (lambda d, a: a[1].update(score=1e300), '10: "score" must be'),
    (lambda d, a: d['images'][0].update(height=2**32 + 9),
     'million pixels, more than'),
    (lambda d, a: d['images'][0].update(file_name='../a.png'),
     'leads out of the folder'),
    (lambda d, a: d['images'][0].update(file_name='/etc/passwd'),
     'is an absolute path'),
    (lambda d, a: d['images'][0].update(file_name='c:\\a.png'),
     'is an absolute path'),
    (lambda d, a: d['images'][0].update(file_name='a\0.png'),
     'cannot be printed'),
    (lambda d, a: d.update(deep=nested(70)), 'nested more than 64 deep'),
    (lambda d, a: d.update({'k' * 300: 1}), 'a key of more than'),
    (lambda d, a: d.update(number=10**80), 'a number of more than'),
    (lambda d, a: a.extend(copies(a[-1], 5001)), '5001 annotations|5002 ann'),
    (lambda d, a: a[1].update(score='high'), "10: \"score\".*'high'"),
    (lambda d, a: d.update(categories=[{}]), 'category needs'),
])
def test_one_sentence_for_each_fault(tmp_path, change, words):
    with pytest.raises(FileError, match=words) as caught:
        build(tmp_path, broken(change))
    assert str(tmp_path / 'x.json') in str(caught.value)
    assert '\n' not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.json.index.lock']


@pytest.mark.parametrize('text', ['', 'hello', '[1, 2]', '{"images" [}'])
def test_not_json(tmp_path, text):
    path = tmp_path / 'x.json'
    path.write_text(text)
    with pytest.raises(FileError, match='not json|cut short|no list'):
        EntityIndex.open(path)


@pytest.mark.parametrize('share', [0.2, 0.5, 0.9, 0.999])
def test_cut_short(tmp_path, share):
    path = write(tmp_path / 'x.json', two_images())
    text = path.read_bytes()
    path.write_bytes(text[:int(len(text) * share)])
    with pytest.raises(FileError, match='x.json is cut short'):
        EntityIndex.open(path)


def test_no_such_file(tmp_path):
    with pytest.raises(FileError, match='y.json does not exist'):
        EntityIndex.open(tmp_path / 'y.json')
