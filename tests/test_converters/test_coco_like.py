"""COCO, LVIS, EntitySeg, PartImageNet and PACO: the rules of each."""
import json

import pytest

from sohes.converters import coco_kinds
from sohes.converters.coco_like import convert_coco_like
from sohes.utils.errors import FileError
from tests.test_converters import published


def convert(name, tmp_path, **options):
    """The output for the published files of a dataset, as a dict."""
    source = getattr(published, name)(tmp_path / 'data')
    out = tmp_path / 'out.json'
    convert_coco_like(
        getattr(coco_kinds, name.upper()), source, out,
        **{'subset': True, 'quiet': True, **options})
    return json.loads(out.read_text())


def test_coco_keeps_crowds_areas_and_polygons(tmp_path):
    polygons, crowd = convert('coco', tmp_path)['annotations']
    assert (polygons['id'], polygons['image_id']) == (9, 139)
    assert (polygons['area'], polygons['iscrowd']) == (100.5, 0)
    assert polygons['segmentation'] == published.SQUARE
    assert 'parent_id' not in polygons
    assert crowd['iscrowd'] == 1
    # The plain runs 100, 40, 460: two columns of 20 pixels.
    assert crowd['segmentation'] == published.rle(0, 5, 20, 7)


def test_lvis_names_come_from_the_urls(tmp_path):
    found = convert('lvis', tmp_path)
    assert [image['file_name'] for image in found['images']] == [
        'train2017/000000000001.jpg', 'val2017/000000000002.jpg']
    assert [row['iscrowd'] for row in found['annotations']] == [0, 0]


def test_entityseg_ids_do_not_begin_with_0(tmp_path):
    found = convert('entityseg', tmp_path)
    assert [row['id'] for row in found['annotations']] == [1, 2]
    assert found['annotations'][0]['segmentation'] == published.rle(
        0, 0, 10, 30)


def test_partimagenet_drops_polygons_of_two_points(tmp_path):
    found = convert('partimagenet', tmp_path)
    assert found['images'][0]['file_name'] == 'n01484850/n01484850_17.JPEG'
    assert [row['segmentation'] for row in found['annotations']] == [
        published.SQUARE, published.SQUARE]
    assert found['info']['counts']['left_out_without_area'] == 1


def test_paco_parts_hang_from_their_objects(tmp_path):
    found = convert('paco', tmp_path)
    assert {row['id']: row['parent_id'] for row in found['annotations']} == {
        11: 10, 10: None, 13: None}  # 12, a line, has no mask
    assert found['info']['counts']['parts_without_object'] == 1


@pytest.mark.parametrize('only, ids', [('objects', [10]),
                                       ('parts', [11, 13])])
def test_paco_objects_or_parts_alone(tmp_path, only, ids):
    found = convert('paco', tmp_path, only=only)['annotations']
    assert [row['id'] for row in found] == ids
    assert [row['parent_id'] for row in found] == [None] * len(ids)


def test_limit_takes_the_same_images_for_the_same_seed(tmp_path):
    first = convert('lvis', tmp_path / 'a', limit=1, seed=3)
    again = convert('lvis', tmp_path / 'b', limit=1, seed=3)
    assert first == again
    assert len(first['images']) == 1
    assert {row['image_id'] for row in first['annotations']} == {
        first['images'][0]['id']}


def test_another_version_is_refused_by_its_number_of_images(tmp_path):
    with pytest.raises(FileError, match='has 2 images, LVIS v1 has 1980'):
        convert('lvis', tmp_path, subset=False)
    assert not (tmp_path / 'out.json').exists()


def test_an_existing_output_and_the_input_are_not_written_over(tmp_path):
    convert('coco', tmp_path)
    with pytest.raises(FileError, match='--overwrite'):
        convert('coco', tmp_path)
    convert('coco', tmp_path, overwrite=True)
    source = tmp_path / 'out.json'
    with pytest.raises(FileError, match='is the file to convert'):
        convert_coco_like(coco_kinds.COCO, source, source, overwrite=True)


@pytest.mark.parametrize('change, error, words', [
    (lambda data: data['annotations'][0].update(image_id=5), FileError,
     'annotation 9 is on image 5, which the file does not list'),
    (lambda data: data['annotations'][0].update(
        segmentation=dict(size=[30, 20], counts='0')), FileError,
     r'annotation 9: its mask has the size \[30, 20\], its image \[20, 30\]'),
    (lambda data: data['annotations'][0].pop('segmentation'), FileError,
     'annotation 9 has no segmentation'),
    (lambda data: data['annotations'][1]['segmentation']['counts'].append(1),
     FileError, 'the runs do not add up'),
    (lambda data: data['annotations'][0].pop('id'), FileError,
     'an annotation needs a whole number "id"'),
    (lambda data: data['images'][0].pop('height'), FileError,
     'an image is not as COCO 2017 has it'),
    (lambda data: data['images'].clear(), FileError, 'has no images'),
    (lambda data: data.pop('annotations'), FileError,
     'no list "annotations"'),
])
def test_a_broken_file_is_named_and_nothing_written(tmp_path, change, error,
                                                    words):
    source = published.coco(tmp_path)
    data = json.loads(source.read_text())
    change(data)
    published.dump(source, data)
    out = tmp_path / 'out.json'
    with pytest.raises(error, match=words) as caught:
        convert_coco_like(coco_kinds.COCO, source, out, subset=True)
    assert str(source) in str(caught.value)
    assert not out.exists()


def test_real_photos_of_coco(tmp_path, shared_data):
    source = shared_data / 'coco_mini' / 'instances_train2017.json'
    out = tmp_path / 'out.json'
    counts = convert_coco_like(coco_kinds.COCO, source, out, subset=True)
    truth = json.loads(source.read_text())
    found = json.loads(out.read_text())
    assert (counts['images'], counts['crowds']) == (190, 18)
    assert len(found['annotations']) == len(truth['annotations']) == 1712
    for row, wanted in zip(found['annotations'], truth['annotations']):
        for key in ('id', 'image_id', 'area', 'bbox', 'iscrowd'):
            assert row[key] == wanted[key]
        if not wanted['iscrowd']:
            assert row['segmentation'] == wanted['segmentation']
