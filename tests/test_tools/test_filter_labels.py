"""Fewer masks, the same family."""
import json
import runpy
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask


def _rle(height: int, width: int, box: tuple) -> dict:
    mask = np.zeros((height, width), np.uint8, order='F')
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    rle = coco_mask.encode(mask)
    return dict(size=rle['size'], counts=rle['counts'].decode())


@pytest.fixture
def tool(repo_root, monkeypatch):
    """The tool's main, in this process."""
    path = repo_root / 'tools/analysis_tools/filter_labels.py'

    def run(*args) -> int:
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        return runpy.run_path(str(path))['main']()

    return run


@pytest.fixture
def labels(tmp_path):
    """Of image 7: a whole, its half, a quarter in it; image 9 has one."""
    boxes = [(7, (0, 0, 10, 10), None, .1), (7, (0, 0, 5, 10), 1, .2),
             (7, (0, 0, 5, 5), 2, .9), (9, (1, 1, 4, 4), None, .5)]
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=k, file_name=f'{k}.jpg', height=12, width=16)
                for k in (7, 9)],
        annotations=[
            dict(id=k, image_id=image, category_id=1, iscrowd=0,
                 area=(b[2] - b[0]) * (b[3] - b[1]), bbox=[0, 0, 1, 1],
                 score=score, parent_id=parent, segmentation=_rle(12, 16, b))
            for k, (image, b, parent, score) in enumerate(boxes, 1)],
        categories=[dict(id=1, name='entity')])))
    return path


@pytest.mark.parametrize('options, expected', [
    ((), [(7, 100, None), (7, 50, 1), (7, 25, 2), (9, 9, None)]),
    (('--largest', 2), [(7, 100, None), (7, 50, 1), (9, 9, None)]),
    # its parent goes: the quarter hangs from nothing
    (('--best', 1), [(7, 25, None), (9, 9, None)]),
    (('--num-photos', 1, '--best', 2), [(7, 50, None), (7, 25, 1)]),
])
def test_what_stays(tool, labels, tmp_path, options, expected):
    out = tmp_path / 'out.json'
    assert tool(labels, out, *options) == 0
    content = json.loads(out.read_text())
    rows = content['annotations']
    assert [(r['image_id'], r['area'], r['parent_id'])
            for r in rows] == expected
    assert [r['id'] for r in rows] == list(range(1, len(rows) + 1))
    assert all(coco_mask.area(r['segmentation']) == r['area'] for r in rows)
    assert len(content['images']) == len({r['image_id'] for r in rows})


def test_a_parent_left_out_is_passed_on(tool, labels, tmp_path):
    content = json.loads(labels.read_text())
    for row, score in zip(content['annotations'], (.9, .1, .8, .5)):
        row['score'] = score
    labels.write_text(json.dumps(content))
    out = tmp_path / 'out.json'
    tool(labels, out, '--best', 2, '--num-photos', 1)
    assert [(r['area'], r['parent_id'])
            for r in json.loads(out.read_text())['annotations']
            ] == [(100, None), (25, 1)]


def test_the_relation_stays_with_those_that_stay(tool, labels, tmp_path):
    content = json.loads(labels.read_text())
    for row, above in zip(content['annotations'], ([], [1], [2], [])):
        row['ancestor_ids'] = above
    labels.write_text(json.dumps(content))
    rows = {}
    for options in ((), ('--best', 2)):
        tool(labels, tmp_path / 'out.json', *options)
        rows[options] = [
            (r['area'], r['ancestor_ids']) for r in json.loads(
                (tmp_path / 'out.json').read_text())['annotations']]
    assert rows == {(): [(100, []), (50, [1]), (25, [2]), (9, [])],
                    ('--best', 2): [(50, []), (25, [1]), (9, [])]}


def test_bad_input_is_one_sentence(run_tool, tmp_path):
    (tmp_path / 'x.json').write_text('{"images": [')
    done = run_tool('tools/analysis_tools/filter_labels.py',
                    tmp_path / 'x.json', tmp_path / 'y.json')
    assert done.returncode == 2 and 'x.json' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'y.json').exists()
