"""Training, evaluation and converters read the same things the same way."""
import codecs
import json

import pytest

from sohes.converters.coco_kinds import COCO
from sohes.converters.coco_like import convert_coco_like
from sohes.datasets import EntityIndex
from sohes.evaluation.coco_files import read_ground_truth

SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]


def by_index(path):
    index = EntityIndex.open(path)
    return [bool(crowd) for crowd in index.entities(0).records['crowd']]


def by_evaluation(path):
    row, = read_ground_truth(path).values()
    return row['masks'].gt_crowd


def by_converter(path):
    out = path.with_name('out.json')
    convert_coco_like(COCO, path, out, subset=True, overwrite=True,
                      quiet=True)
    return [bool(row['iscrowd'])
            for row in json.loads(out.read_text())['annotations']]


READERS = pytest.mark.parametrize('read', [by_index, by_evaluation,
                                           by_converter])


def write(folder, mark=b'', **changes):
    row = dict(id=1, image_id=1, category_id=1, segmentation=SQUARE,
               area=16, bbox=[1, 1, 4, 4], iscrowd=0)
    row.update(changes)
    row = {key: value for key, value in row.items() if value != 'missing'}
    path = folder / 'a.json'
    path.write_bytes(mark + json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', height=8, width=8)],
        categories=[dict(id=1, name='x')], annotations=[row])).encode())
    return path


@READERS
@pytest.mark.parametrize('crowd, expected', [
    (0, False), (1, True), (False, False), (True, True), (None, False),
    ('missing', False)])
def test_crowds(tmp_path, read, crowd, expected):
    assert read(write(tmp_path, iscrowd=crowd)) == [expected]


@READERS
@pytest.mark.parametrize('crowd', ['0', '', 2, -1, 0.5, [], {}])
def test_what_is_no_crowd_flag_is_refused(tmp_path, read, crowd):
    with pytest.raises(ValueError, match='annotation 1: "iscrowd" must be 0'):
        read(write(tmp_path, iscrowd=crowd))


@READERS
@pytest.mark.parametrize('empty', [[], None, {}, 'missing'])
def test_without_a_segmentation(tmp_path, read, empty):
    with pytest.raises(ValueError, match='annotation 1.* has no segm'):
        read(write(tmp_path, segmentation=empty))


@READERS
def test_a_byte_order_mark_is_passed_over(tmp_path, read):
    assert read(write(tmp_path, codecs.BOM_UTF8)) == [False]


@READERS
@pytest.mark.parametrize('key', ['images', 'annotations'])
def test_a_list_that_comes_twice_is_refused(tmp_path, read, key):
    # One reader would take the first and another the last.
    path = write(tmp_path)
    path.write_text(f'{path.read_text()[:-1]}, "{key}": []}}')
    with pytest.raises(ValueError, match='has the same key twice at its top'):
        read(path)
