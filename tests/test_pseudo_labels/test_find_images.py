"""The images of a folder."""
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sohes.pseudo_labels.images import find_images, load_image
from sohes.structures import EntityForest
from sohes.utils.errors import ImageError
from sohes.visualization.save import picture_path, save_picture
from sohes.visualization.viewer import Photo, ReportWriter
from tests.test_pseudo_labels.image_files import gradient


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def test_find_images(tmp_path):
    _touch(tmp_path, 'b.jpg', 'a.PNG', 'sub/c d.jpeg', 'sub/sub/é 猫.webp',
           'a/z.tiff', 'Z.gif', 'notes.txt', 'jpg', 'film.mpg', 'paper.pdf',
           'table.h5', '.hidden.jpg', '.cache/x.jpg', 'sub/._c d.jpeg')
    (tmp_path / 'album.jpg').mkdir()
    assert find_images(tmp_path) == [
        'Z.gif', 'a.PNG', 'a/z.tiff', 'b.jpg', 'sub/c d.jpeg',
        'sub/sub/é 猫.webp'
    ]
    assert find_images(str(tmp_path) + '/') == find_images(tmp_path)


def test_what_is_passed_over_is_counted_and_said(tmp_path, caplog):
    _touch(tmp_path, 'a.jpg', 'b.mpo', 'IMG_1.HEIC', 'IMG_2.heif', 'x.txt',
           'sub/y.txt', 'noending')
    (tmp_path / 'moved.jpg').symlink_to('/nowhere/x.jpg')
    with caplog.at_level('INFO'):
        found = find_images(tmp_path)
    text, = (record.message for record in caplog.records)
    assert caplog.records[0].levelname == 'WARNING'
    assert '1 links that lead nowhere (such as moved.jpg)' in text
    assert '2 .txt files (such as sub/y.txt)' in text
    assert '1 files without an ending' in text
    if importlib.util.find_spec('pillow_heif'):
        assert found == ['IMG_1.HEIC', 'IMG_2.heif', 'a.jpg', 'b.mpo']
    else:
        assert found == ['a.jpg', 'b.mpo'] and '2 HEIC photos' in text
        assert 'pip install pillow-heif' in text
    caplog.clear()
    with caplog.at_level('INFO'):
        (tmp_path / 'sub' / 'y.txt').rename(tmp_path / 'sub' / 'y.jpg')
        find_images(tmp_path / 'sub')
    assert not caplog.records
    (tmp_path / 'sub' / 'y.jpg').rename(tmp_path / 'sub' / 'y.heic')
    if not importlib.util.find_spec('pillow_heif'):
        with pytest.raises(ValueError, match='holds no image.*1 HEIC photos'):
            find_images(tmp_path / 'sub')


def test_pictures_that_we_drew_are_no_photos(tmp_path):
    """Else a run eats its own pictures when it is given again."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    _touch(tmp_path, 'a.png', 'sub/b.jpg', 'black.forest.jpg')
    photos = find_images(tmp_path)
    assert photos == ['a.png', 'black.forest.jpg', 'sub/b.jpg']
    for folder in ('.', 'vis', 'sub/pictures'):
        for name in photos:
            save_picture(picture_path(tmp_path / folder, name), pixels)
    save_picture(picture_path(tmp_path, f'{"x" * 250}.png'), pixels)
    with ReportWriter(tmp_path / 'report', 'Mine') as report:
        report.add(Photo('a.png', pixels, [], EntityForest([]), np.zeros(0)))
    _touch(tmp_path, 'zero/table.json', 'zero/table.md', 'zero/table.png',
           'zero/grid_coco.png')
    assert find_images(tmp_path) == photos


def test_mpo_is_read_as_its_first_picture(tmp_path):
    first = Image.fromarray(gradient(9, 7))
    first.save(tmp_path / 'a.mpo', 'MPO', save_all=True,
               append_images=[first.rotate(90)])
    assert load_image(tmp_path / 'a.mpo').shape == (9, 7, 3)


def test_hidden_folder_may_be_asked_for(tmp_path):
    _touch(tmp_path, '.photos/a.jpg')
    assert find_images(tmp_path / '.photos') == ['a.jpg']


def test_links(tmp_path):
    _touch(tmp_path, 'far/a.jpg', 'photos/b.jpg')
    photos = tmp_path / 'photos'
    (photos / 'link').symlink_to(tmp_path / 'far')
    (photos / 'circle').symlink_to(photos)
    (photos / 'c.jpg').symlink_to(tmp_path / 'far' / 'a.jpg')
    (photos / 'dangling.jpg').symlink_to(tmp_path / 'nowhere.jpg')
    assert find_images(photos) == ['b.jpg', 'c.jpg', 'link/a.jpg']


def test_links_that_multiply(tmp_path):
    """Forty folders, and 2^40 ways through them."""
    _touch(tmp_path, *(f'd{k}/a.jpg' for k in range(40)))
    for k in range(39):
        for name in ('left', 'right'):
            (tmp_path / f'd{k}' / name).symlink_to(tmp_path / f'd{k + 1}')
    with pytest.raises(ValueError, match='in more than 100 ways through li'):
        find_images(tmp_path)


@pytest.mark.parametrize('name', ['\x1b[31mred.jpg', 'a\nb.jpg', 'a\x9b.jpg',
                                  'C:a.jpg', 'a\\..\\b.jpg'])
def test_names_that_labels_cannot_hold(tmp_path, name):
    _touch(tmp_path, name, 'fine.jpg')
    with pytest.raises(ValueError, match='rename the file') as error:
        find_images(tmp_path)
    assert str(error.value).isprintable()
    with pytest.raises(ImageError) as error:
        load_image(tmp_path / name)
    assert str(error.value).isprintable()


@pytest.mark.parametrize('names, where, reason', [
    ([], '', 'holds no image'), (['a.txt'], '', 'holds no image'),
    (['.a.jpg'], '', 'holds no image'), ([], 'gone', 'does not exist'),
    (['a.jpg'], 'a.jpg', 'is not a folder'),
])
def test_no_images_to_find(tmp_path, names, where, reason):
    _touch(tmp_path, *names)
    with pytest.raises(ValueError, match=reason) as error:
        find_images(tmp_path / where)
    assert str(tmp_path / where) in str(error.value)


def test_name_that_is_not_text_is_refused_by_name(tmp_path):
    _touch(tmp_path, 'fine.jpg')
    try:
        with open(os.fsencode(tmp_path) + b'/caf\xe9.jpg', 'wb'):
            pass
    except OSError:
        pytest.skip('this file system refuses such names itself')
    with pytest.raises(ValueError, match=r'caf\\udce9.jpg.*UTF-8; rename'):
        find_images(tmp_path)


def test_image_under_a_name_that_is_not_text_is_read(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.png')
    try:
        Image.fromarray(gradient()).save(name)
    except OSError:
        pytest.skip('this file system refuses such names itself')
    np.testing.assert_array_equal(load_image(name), gradient())
    Path(name).write_bytes(b'')
    with pytest.raises(ImageError, match='caf.*is empty') as error:
        load_image(name)
    str(error.value).encode('utf-8')
