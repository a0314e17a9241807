"""ADE20K, SA-1B and BSDS500: the rules of each, and going on after a stop."""
import functools
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from sohes.converters.ade20k import find_ade20k, read_ade20k
from sohes.converters.bsds500 import find_bsds500, read_bsds500
from sohes.converters.image_by_image import SHARD, convert_images
from sohes.converters.sa1b import find_sa1b, read_sa1b
from sohes.utils.errors import FileError
from tests.test_converters import published

CAR = 'images/ADE/validation/urban/street/ADE_val_00000001'


def boxes(record):
    """Of each mask, left, top, width and height."""
    return [[int(side) for side in row['bbox']]
            for row in record['annotations']]


def test_ade20k_whole_entities(tmp_path):
    root = published.ade20k(tmp_path)
    [name] = find_ade20k(root, 'validation', subset=True)
    assert name == f'{CAR}.json'
    record = read_ade20k(name, root)
    assert record['file_name'] == f'{CAR}.jpg'
    assert (record['height'], record['width']) == (20, 30)
    assert sorted(boxes(record)) == [[0, 0, 30, 4], [2, 10, 10, 8],
                                     [16, 10, 12, 8]]
    assert record['counts'] == dict(objects_without_pixels=1,
                                    regions_without_object=1)
    assert {row['parent'] for row in record['annotations']} == {None}


@pytest.mark.parametrize('levels, wanted', [
    (None, {(18, 11, 6, 6): (16, 10, 12, 8), (20, 13, 2, 2): (18, 11, 6, 6)}),
    ((0, 2), {(20, 13, 2, 2): (16, 10, 12, 8)}),
    ((2, ), {}),
])
def test_ade20k_parts_hang_from_the_nearest_whole(tmp_path, levels, wanted):
    record = read_ade20k(f'{CAR}.json', published.ade20k(tmp_path), levels)
    found = [tuple(box) for box in boxes(record)]
    assert {
        box: found[row['parent']]
        for box, row in zip(found, record['annotations'])
        if row['parent'] is not None
    } == wanted


@pytest.mark.parametrize('end', ['_seg.png', '_parts_1.png'])
def test_ade20k_names_a_missing_file(tmp_path, end):
    root = published.ade20k(tmp_path)
    (root / f'{CAR}{end}').unlink()
    with pytest.raises(FileError, match=f'{end} is missing'):
        read_ade20k(f'{CAR}.json', root, None)


def test_ade20k_another_version(tmp_path):
    root = published.ade20k(tmp_path)
    with pytest.raises(FileError, match='of 1 images, .* has 2000'):
        find_ade20k(root, 'validation')
    with pytest.raises(FileError, match='no annotations of ADE20K train'):
        find_ade20k(root, 'training')
    (root / f'{CAR}.json').write_text('{"objects": []}')
    with pytest.raises(FileError, match='is not a json of ADE20K'):
        read_ade20k(f'{CAR}.json', root)


def test_real_photos_of_ade20k(shared_data):
    """Regions go to the objects that the authors' own mask files say."""
    root = shared_data / 'ade20k_samples'
    names = find_ade20k(root, 'training', subset=True)
    record = read_ade20k(names[0], root, None)
    rows = record['annotations']
    data = json.loads((root / names[0]).read_text())['annotation']
    assert len(rows) == len(data['object']) == 70
    masks, wholes = [], {}
    for row in data['object']:
        with Image.open(root / row['instance_mask']) as file:
            visible = np.asfortranarray((np.asarray(file) == 255), np.uint8)
        masks.append(coco_mask.encode(visible))
        whole = row['parts']['ispartof']
        wholes[row['id']] = None if whole == [] else whole
    ids = [row['id'] for row in data['object']]
    ious = coco_mask.iou([row['segmentation'] for row in rows], masks,
                         [0] * len(masks))
    assert ious.max(1).min() > 0.95
    owner = [ids[k] for k in ious.argmax(1)]
    assert sorted(owner) == sorted(ids)
    for row, key in zip(rows, owner):
        parent = row['parent']
        assert wholes[key] == (None if parent is None else owner[parent])


def test_sa1b_packs_and_ids(tmp_path):
    root = published.sa1b(tmp_path)
    assert find_sa1b(root, ['sa_000020']) == [
        f'sa_000020/sa_{k}.json' for k in (9, 10, 11)]
    assert len(find_sa1b(root)) == 4
    assert find_sa1b(root / 'sa_000000') == ['sa_1.json']
    record = read_sa1b('sa_000020/sa_10.json', root)
    assert record['id'] == 10
    assert record['file_name'] == 'sa_000020/sa_10.jpg'
    assert boxes(record) == [[0, 0, 10, 10], [2, 2, 12, 2]]
    assert 'parent' not in record['annotations'][0]


def test_sa1b_names_what_is_missing(tmp_path):
    root = published.sa1b(tmp_path)
    with pytest.raises(FileError, match='sa_000001 has no files like'):
        find_sa1b(root, ['sa_000001'])
    (root / 'sa_000000/sa_1.jpg').unlink()
    with pytest.raises(FileError, match=r'photo .*sa_1\.jpg is missing'):
        read_sa1b('sa_000000/sa_1.json', root)
    (root / 'sa_000000/sa_1.json').write_text('{"annotations": []}')
    with pytest.raises(FileError, match='not a json of SA-1B'):
        read_sa1b('sa_000000/sa_1.json', root)


def test_bsds500_pools_annotators(tmp_path):
    root = published.bsds500(tmp_path)
    assert find_bsds500(root, 'val', subset=True) == ['42.jpg']
    record = read_bsds500('42.jpg', root, 'val')
    # Both drew the left half; the right one, and its two quarters.
    assert boxes(record) == [[0, 0, 15, 20], [15, 0, 15, 20],
                             [15, 10, 15, 10], [15, 0, 15, 10]]
    assert [row['area'] for row in record['annotations']] == [
        300, 300, 150, 150]


def test_bsds500_names_a_broken_file(tmp_path):
    root = published.bsds500(tmp_path)
    (root / 'groundTruth/val/42.mat').write_bytes(b'x' * 200)
    with pytest.raises(FileError, match=r'42\.mat is not a groundTruth'):
        read_bsds500('42.jpg', root, 'val')
    with pytest.raises(FileError, match='has no annotations of BSDS500'):
        find_bsds500(root, 'test')


@pytest.mark.slow
def test_real_photos_of_bsds500(tmp_path, shared_data):
    """All that the pooled regions of val were made with, reproduced."""
    root = shared_data / 'bsds500'
    out = tmp_path / 'out.json'
    counts = convert_images(
        out, find_bsds500(root, 'val'),
        functools.partial(read_bsds500, root=root, split='val'), {},
        quiet=True)
    assert (counts['images'], counts['annotations']) == (100, 5631)
    found = json.loads(out.read_text())
    wanted = json.loads((root / 'entities_val.json').read_text())
    assert found['images'] == wanted['images']
    assert found['annotations'] == wanted['annotations']


def numbered(name):
    """A record with one mask as wide as its name's number says."""
    rle = published.rle(0, 0, 20, 1 + int(name) % 29)
    return dict(file_name=name, height=20, width=30, annotations=[
        dict(segmentation=rle, area=20, bbox=[0, 0, 1, 20], parent=None)])


@pytest.mark.parametrize('cut', [False, True])
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(tmp_path, cut):
    names = [str(k) for k in range(2 * SHARD + 3)]
    whole = tmp_path / 'whole.json'
    convert_images(whole, names, numbered, {}, quiet=True)
    done = []

    def stops(name):
        if name == str(SHARD + 5) and len(done) < 2 * SHARD:
            raise KeyboardInterrupt
        done.append(name)
        return numbered(name)

    out = tmp_path / 'out.json'
    with pytest.raises(KeyboardInterrupt):
        convert_images(out, names, stops, {}, quiet=True)
    assert not out.exists()
    with pytest.raises(FileError, match='other settings: info.levels'):
        convert_images(out, names, numbered, dict(levels=[0]), quiet=True)
    again = []

    def notes(name):
        again.append(name)
        return numbered(name)

    if cut:  # a shard that is not whole is made again
        shard, = out.with_name('out.json.parts').glob('shard-*')
        shard.write_bytes(shard.read_bytes()[:-10])
    convert_images(out, names, notes, {}, quiet=True)
    first = 0 if cut else SHARD
    assert sorted(map(int, again)) == list(range(first, len(names)))
    assert out.read_bytes() == whole.read_bytes()
    assert not out.with_name('out.json.parts').exists()
    with pytest.raises(FileError, match='--overwrite'):
        convert_images(out, names, numbered, {}, quiet=True)
