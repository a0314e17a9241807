"""Segmentations that strangers write: refused, and never a crash."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.structures.rle_kernels import render, rle_stats
from sohes.structures.segmentations import checked_rle, compressed_counts
from sohes.utils.errors import FileError

ROOT = Path(__file__).resolve().parents[2]

#: Run in a process of its own: what goes wrong here is a signal, not an
#: exception. It draws segmentations by a seed and puts each through all that
#: reads them.
HOSTILE = r"""
import random, sys
import numpy as np
from pycocotools import mask as coco_mask
from sohes.structures.rle_kernels import render, rle_stats
from sohes.structures.segmentations import checked_rle
from sohes.utils.errors import FileError

def text(runs):
    out = []
    for i, x in enumerate(runs):
        if i > 2:
            x -= runs[i - 2]
        for _ in range(14):
            c = x & 31
            x >>= 5
            more = x != -1 if c & 16 else x != 0
            out.append((c | 32 * more) + 48)
            if not more:
                break
    return bytes(out)

rng = random.Random(int(sys.argv[1]))
BIG = [0, 1, -1, 2**31, 2**32, 2**58, 2**63, -2**63, 2**64, 10**400]
VALUES = [None, True, 'x', [], {}, float('nan'), float('inf'), 1e300, -1e9,
          1e9, 2**70, 3, 2.5]

def runs(total):
    found = []
    while total > 0 and len(found) < 40:
        found.append(min(total, rng.choice([0, 1, 7, 2**58, total])))
        total -= found[-1]
    for _ in range(rng.choice([0, 0, 1, 3])):
        found.insert(rng.randrange(len(found) + 1), rng.choice(BIG))
    return found

def segmentation(height, width):
    kind = rng.randrange(4)
    if kind == 0:
        polygon = [rng.uniform(-5, 40) for _ in range(rng.randrange(12))]
        for _ in range(rng.choice([0, 1, 2])):
            polygon.insert(rng.randrange(len(polygon) + 1),
                           rng.choice(VALUES))
        return rng.choice([[polygon], [polygon, polygon], polygon,
                           [[polygon]]])
    size = [height, width]
    if rng.random() < .3:
        size[rng.randrange(2)] = rng.choice(
            VALUES + BIG + [float(height), str(height)])
    if rng.random() < .05:
        size = rng.choice([[], [height], 3, None, [height, width, 1]])
    total = rng.choice([height * width, height * width, 0,
                        2**64 + height * width, 2**32 + height * width])
    counts = runs(total)
    if kind == 1:
        for _ in range(rng.choice([0, 0, 1])):
            counts.insert(0, rng.choice(VALUES))
        return dict(size=size, counts=counts)
    counts = text(counts)
    if rng.random() < .4:
        counts = bytes(rng.randrange(256) for _ in range(rng.randrange(30)))
    if rng.random() < .2:
        counts += bytes([rng.choice([0, 48, 80, 111, 255])])
    return dict(size=size, counts=counts if kind == 2 else
                counts.decode('latin1'))

accepted = refused = 0
for _ in range(int(sys.argv[2])):
    height, width = rng.randrange(1, 30), rng.randrange(1, 30)
    found = segmentation(height, width)
    # The kernels by themselves, with whatever text there is.
    counts = found.get('counts') if isinstance(found, dict) else None
    if isinstance(counts, bytes):
        blob = np.frombuffer(counts, np.uint8)
        spans = np.array([[0, len(blob)]])
        side = rng.choice([height, height, 0, -1, 2**32 + height, 2**62])
        rle_stats(blob, spans[0], np.array([[side, width]]))
        rows, columns = (np.sort(np.array([
            rng.randrange(-2, 12) for _ in range(n + 1)])) for n in (height,
                                                                     width))
        bits, areas, boxes = render(blob, spans, height, rows, columns, 9, 9)
        assert 0 <= areas[0] <= 81 and (boxes >= 0).all()
    try:
        rle = checked_rle(found, (height, width))
    except FileError as error:
        assert '\n' not in str(error) and len(str(error)) < 400
        refused += 1
        continue
    accepted += 1
    area = int(coco_mask.decode(rle).sum())
    assert area == coco_mask.area(rle)
    blob = np.frombuffer(rle['counts'], np.uint8)
    assert rle_stats(blob, np.array([0, len(blob)]),
                     np.array([[height, width]]))[0][0] == area
print(accepted, refused)
"""


def test_random_segmentations_are_refused_or_right():
    done = subprocess.run(
        [sys.executable, '-c', HOSTILE, '0', '6000'], capture_output=True,
        text=True, timeout=300, cwd=ROOT, stdin=subprocess.DEVNULL,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'))
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    accepted, refused = map(int, done.stdout.split())
    assert accepted > 300 and refused > 300


def test_runs_that_pass_the_end_of_an_integer():
    # 2^63 + 10^10 pixels, and as many as bring the sum to 2^64 + 6.
    runs = [2**58, 0] * 32 + [10**10, 5, 2**58, 0] + [2**58, 0] * 31
    assert sum(runs) > 2**63
    runs[-2] += 2**64 + 6 - sum(runs)
    text = bytearray()
    for k, value in enumerate(runs):
        value -= runs[k - 2] if k > 2 else 0
        while True:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text.append((digit | 32 * more) + 48)
            if not more:
                break
    blob = np.frombuffer(bytes(text), np.uint8)
    areas, _ = rle_stats(blob, np.array([0, len(blob)]), np.array([[2, 3]]))
    assert areas.tolist() == [-1]
    bits, areas, _ = render(blob, np.array([[0, len(blob)]]), 2,
                            np.arange(3), np.arange(4), 2, 3)
    assert not bits.any() and areas.tolist() == [0]


@pytest.mark.parametrize('size', [
    (2**32 + 107, 3), (2**62, 4), (0, 3), (-1, -1), (True, 2), (2.0, 3),
    ('2', 3), (None, 3), (2**16, 2**16)])
def test_sizes_that_no_image_has(size):
    with pytest.raises(FileError, match='pixels'):
        compressed_counts(dict(size=list(size), counts=[6]), size)


@pytest.mark.parametrize(('polygon', 'words'), [
    ([0, 0, 1e9, 1e9, 0, 1e9], '1000000000.0, which is no place'),
    ([0, 0, float('nan'), 1, 0, 1], 'nan'),
    ([0, 0, float('inf'), 1, 0, 1], 'inf'),
    ([0, 0, None, 1, 0, 1], 'None'),
    ([0, 0, True, 1, 0, 1], 'True'),
    ([0, 0, '3', 1, 0, 1], "'3'"),
    ([0, 0, 10**400, 1, 0, 1], '1000'),
    ([0, 0, [1], 1, 0, 1], r'\[1\]'),
    ([0, 0, 5, 1, 0, 1, 2], 'at least three'),
    ([0, 0, 5, 1], 'at least three'),
    ([0, 0, 1000, 1000] * 200, 'pixels long'),
])
def test_polygons_that_are_none(polygon, words):
    with pytest.raises(FileError, match=words):
        compressed_counts([polygon], (20, 20))


def test_many_polygons_are_one_mask():
    squares = [[x, y, x + 2, y, x + 2, y + 2, x, y + 2]
               for x in range(0, 40, 3) for y in range(0, 40, 3)]
    found = checked_rle(squares, (50, 60))
    wanted = coco_mask.merge(coco_mask.frPyObjects(squares, 50, 60))
    assert found == dict(size=[50, 60], counts=wanted['counts'])


def test_an_index_that_came_with_the_json_is_not_believed(tmp_path):
    from sohes.datasets.entity_index import EntityIndex
    from sohes.utils.errors import FileError
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', height=4, width=6),
                dict(id=2, file_name='b.jpg', height=4, width=6)],
        annotations=[dict(id=1, image_id=1, segmentation=dict(
            size=[4, 6], counts=[3, 5, 16]))], categories=[])))
    assert len(EntityIndex.open(path).entities(0).rles()) == 1
    assert EntityIndex.open(path).entities(1).rles() == []
    folder = tmp_path / 'x.json.index'
    (folder / 'meta.json').write_text('[' * 100000)  # built anew
    assert len(EntityIndex.open(path).entities(0).rles()) == 1
    for name, change in {
            'images.npy': lambda data: data[:-40],
            'annotations.npy': lambda data: data.replace(b'<i8', b'<f8'),
            'names.npy': lambda data: data.replace(b'a.jpg', b'../..'),
    }.items():
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(change(data))
        with pytest.raises(FileError, match='delete its folder'):
            EntityIndex.open(path).file_name(0)
        (folder / name).write_bytes(data)
    rle = tmp_path / 'x.json.index' / 'rle.bin'
    rle.write_bytes(b'o' * len(rle.read_bytes()))
    with pytest.raises(FileError, match='delete its folder'):
        EntityIndex.open(path).entities(0).rles()
