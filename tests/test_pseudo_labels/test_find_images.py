"""The images of a folder."""
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sohes.pseudo_labels.images import ImageError, find_images, load_image
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
