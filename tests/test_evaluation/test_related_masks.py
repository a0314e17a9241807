"""What the masks of a json say of each other, and of their images."""
import json
import re

import pytest
from pycocotools import mask as coco_mask

from sohes.evaluation.coco_files import (
    read_evaluation_input,
    read_ground_truth,
)
from sohes.evaluation.forest_pairs import annotated_entities
from sohes.utils.errors import FileError


@pytest.mark.parametrize('change', [
    lambda image, row: image.update(file_name=3),
    lambda image, row: row.update(parent_id=77),
    lambda image, row: row.update(score='high'),
])
def test_an_endless_id_is_cut_short(tmp_path, change) -> None:
    data = related(dict(id=1))
    image, row = data['images'][0], data['annotations'][0]
    image['id'] = row['image_id'] = 'a' * 5000
    del image['file_name']
    row['score'] = 0.5
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    change(image, row)
    (tmp_path / 'pred.json').write_text(json.dumps(data))
    with pytest.raises(FileError) as error:
        read_evaluation_input(tmp_path / 'gt.json', tmp_path / 'pred.json')
    assert "'aaaa" in str(error.value) or 'annotation' in str(error.value)
    assert len(str(error.value)) < 600


def related(*relations: dict) -> dict:
    """An image with equal masks 1, 2, ... and what they say of each other."""
    rle = dict(size=[4, 4], counts=[0, 16])
    return dict(
        images=[dict(id=7, file_name='a.jpg', height=4, width=4)],
        annotations=[
            dict(dict(id=k, image_id=7, segmentation=rle, parent_id=None),
                 **relation) for k, relation in enumerate(relations, 1)
        ])


@pytest.mark.parametrize('data, message', [
    (related(dict(ancestor_ids=[3]), dict(ancestor_ids=[1]),
             dict(ancestor_ids=[2])), 'annotation 1 is its own ancestor: a c'),
    (related(dict(parent_id=3), dict(parent_id=1), dict(parent_id=2)),
     'a cycle in parents'),
    (related(dict(ancestor_ids=[3]), dict(parent_id=1), dict(parent_id=2)),
     'a cycle of ancestor_ids and parent_id'),
    (related(dict(ancestor_ids=[1])), 'annotation 1 is its own ancestor'),
    (related(dict(ancestor_ids=[9])), 'ancestor_ids: 9 is no annotation'),
    (related(dict(ancestor_ids=[[]])), 'ancestor_ids: [] is no annotation'),
    (related(dict(ancestor_ids=5)), 'ancestor_ids must be a list, found 5'),
    (related({}, dict(parent_id=True)), 'parent_id True is no annotation'),
    (related({}, dict(parent_id=1.0)), 'parent_id 1.0 is no annotation'),
    (related(dict(id=True)), 'an annotation has the id True'),
    (related({}, dict(id=1)), 'the annotation id 1 comes twice'),
])
def test_what_masks_say_of_each_other(tmp_path, data, message) -> None:
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(data))
    with pytest.raises(FileError, match=re.escape(message)):
        annotated_entities(*read_ground_truth(path).values(), str(path))


def test_masks_that_would_take_all_memory_are_not_compared(tmp_path) -> None:
    side = 9400
    whole = coco_mask.frPyObjects(
        dict(size=[side, side], counts=[0, side * side]), side, side)
    rle = dict(size=[side, side], counts=whole['counts'].decode())
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=7, file_name='7.jpg', height=side, width=side)],
        annotations=[dict(id=k, image_id=7, category_id=1, iscrowd=0,
                          area=side * side, segmentation=rle)
                     for k in range(1, 5001)],
        categories=[dict(id=1, name='entity')])))
    row, = read_ground_truth(path).values()
    with pytest.raises(FileError, match='gt.json: image 7: its 5000 masks of '
                       '9400 x 9400 pixels take 55272000000 bytes'):
        annotated_entities(row, str(path))
