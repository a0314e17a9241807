"""What ``sohes.apis`` offers, and how little it imports."""
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sohes import apis
from sohes.structures import Entities, EntityForest
from sohes.structures.rles import encode_mask
from sohes.utils.errors import ImageError, UsageError
from sohes.visualization.viewer import Photo
from tests.in_process import ROOT


def test_importing_it_imports_no_model():
    code = ('import sys, sohes.apis\n'
            'print([name for name in ("mmcv", "mmdet", "mmengine", "torch")'
            ' if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_its_names_are_what_they_say():
    for name in apis.__all__:
        assert getattr(apis, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = apis.train


def test_a_configuration_may_be_a_file(tmp_path):
    for run in (apis.train_model, lambda path: apis.test_model(path, 'x')):
        with pytest.raises(UsageError, match=r'none\.py: no such config'):
            run(tmp_path / 'none.py')
        with pytest.raises(UsageError, match=r'phase1_cpu\.py has no model'):
            run(ROOT / 'configs/sohes_phase1_cpu.py')


def test_a_mistake_is_one_sentence(tmp_path):
    with pytest.raises(ImageError, match=r'none\.jpg: does not exist'):
        apis.label_image(tmp_path / 'none.jpg')
    photo = tmp_path / 'photo.png'
    Image.new('RGB', (40, 30)).save(photo)
    with pytest.raises(UsageError, match=r'none\.py: no such configuration'):
        apis.label_image(photo, tmp_path / 'none.py')
    with pytest.raises(UsageError, match=r'none\.pth'):
        apis.label_image(photo, weights=tmp_path / 'none.pth')


def test_a_photo_keeps_what_it_is_when_masks_go():
    rles = [encode_mask(np.arange(12).reshape(3, 4) < k) for k in (9, 5, 2)]
    found = Entities((3, 4), rles, [.2, .9, .5], EntityForest([-1, 0, 1]),
                     [0, 2, 1], dict(dropped=7))
    photo = Photo.of('a.png', np.zeros((3, 4, 3), np.uint8), found, 5,
                     [11, 12, 13])
    assert photo.counts == dict(dropped=7) and photo.size == (3, 4)
    surest = photo.above(.4)
    assert isinstance(surest, Photo) and surest.image is photo.image
    assert [(row['id'], row['image_id'], row['parent_id'], row['level'])
            for row in surest.to_coco()['annotations']] == [
        (12, 5, None, 2), (13, 5, 12, 1)]
    assert photo.best(1).ids == [12]
    with pytest.raises(ValueError, match='a.png: 3 masks, but 1 ids'):
        Photo.of('a.png', photo.image, found, ids=[1])
    with pytest.raises(ValueError, match='a.png: the image is 3 x 4 pixels'):
        Photo.of('a.png', np.zeros((4, 3, 3), np.uint8), found)


@pytest.mark.parametrize('name, kind', [
    ('forest.png', 'PNG'), ('forest.PNG', 'PNG'), ('forest.jpg', 'JPEG'),
    ('forest', 'JPEG')])
def test_a_picture_is_of_the_kind_that_its_name_says(tmp_path, name, kind):
    photo = Photo('a.png', np.zeros((30, 40, 3), np.uint8), [],
                  EntityForest([]), np.zeros(0))
    photo.save_picture(tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind


def test_a_photo_without_entities(tmp_path):
    photo = Photo('a.png', np.zeros((30, 40, 3), np.uint8), [],
                  EntityForest([]), np.zeros(0))
    assert photo.masks().shape == (0, 30, 40)
    photo.save_picture(tmp_path / 'forest.jpg')
    photo.save_json(tmp_path / 'a.json')
    written = json.loads((tmp_path / 'a.json').read_text())
    assert written['annotations'] == []
    assert written['images'] == [
        dict(id=1, file_name='a.png', width=40, height=30)]
