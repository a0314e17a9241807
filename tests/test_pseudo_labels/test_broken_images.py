"""Files that are no images, or too much of one: one sentence each."""
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sohes.pseudo_labels.images import load_image
from sohes.utils.errors import ImageError
from tests.test_pseudo_labels.image_files import (
    gradient,
    read_back,
    write_png,
)


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.gif', 'a.tif',
                                  'a.webp', 'a.bmp'])
@pytest.mark.parametrize('keep', [0.1, 0.5, 0.9])
def test_truncated(tmp_path, rng, name, keep):
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:int(len(data) * keep)])
    with pytest.raises(ImageError) as error:
        load_image(tmp_path / name)
    _is_one_sentence(error, tmp_path / name)


def _is_one_sentence(error: pytest.ExceptionInfo, path: Path) -> None:
    text = str(error.value)
    assert text.startswith(f'{path}: ') and len(text) > len(f'{path}: ')
    assert '\n' not in text and text.count(path.name) == 1
    assert isinstance(error.value, ValueError)
    assert str(pickle.loads(pickle.dumps(error.value))) == text


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_flipped_bytes_never_raise_anything_else(tmp_path, rng):
    failed = 0
    for name in ('a.png', 'a.gif', 'a.jpg', 'a.tif', 'a.webp', 'a.ppm'):
        Image.fromarray(gradient()).save(tmp_path / name)
        data = np.fromfile(tmp_path / name, np.uint8)
        for _ in range(20):
            broken = data.copy()
            where = rng.integers(0, len(data), 12)
            broken[where] = rng.integers(0, 256, 12)
            broken.tofile(tmp_path / name)
            try:
                assert load_image(tmp_path / name).shape[2] == 3
            except ImageError:
                failed += 1
    assert failed > 0


@pytest.mark.parametrize('content, reason', [
    (b'', 'is empty'), (b'Dear diary,\n', 'not an image that Pillow'),
    (b'\xff\xd8\xff', 'not an image|cannot be read'),
    (b'GIF89a', 'not an image|cannot be read'),
])
def test_no_image_inside(tmp_path, content, reason):
    (tmp_path / 'diary.jpg').write_bytes(content)
    with pytest.raises(ImageError, match=reason) as error:
        load_image(tmp_path / 'diary.jpg')
    _is_one_sentence(error, tmp_path / 'diary.jpg')


def test_what_is_no_file(tmp_path):
    (tmp_path / 'folder.jpg').mkdir()
    os.mkfifo(tmp_path / 'pipe.jpg')
    for name, reason in [('folder.jpg', 'is a folder'),
                         ('pipe.jpg', 'not a regular file'),
                         ('missing.jpg', 'does not exist')]:
        with pytest.raises(ImageError, match=reason) as error:
            load_image(tmp_path / name)
        _is_one_sentence(error, tmp_path / name)


def test_missing_right_to_read(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / 'a.png')
    (tmp_path / 'a.png').chmod(0)
    if os.access(tmp_path / 'a.png', os.R_OK):
        pytest.skip('this user may read everything')
    with pytest.raises(ImageError, match='Permission denied'):
        load_image(tmp_path / 'a.png')


@pytest.mark.parametrize('limit', [599, 150])
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_too_many_pixels(tmp_path, monkeypatch, limit):
    # 600 pixels: over the limit Pillow warns, over twice of it it raises
    Image.fromarray(gradient()).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
    with pytest.raises(ImageError, match='0.0 million pixels.*shrink') as e:
        load_image(tmp_path / 'a.png')
    _is_one_sentence(e, tmp_path / 'a.png')


def test_size_is_named_and_nothing_is_decoded(tmp_path):
    path = write_png(tmp_path / 'a.png', 8, 2, b'', 40000, 30000)
    with pytest.raises(ImageError, match=r'1200.0 million pixels.* 89.5 m'):
        load_image(path)


@pytest.mark.filterwarnings('error::PIL.Image.DecompressionBombWarning')
def test_warning_turned_into_an_error_is_named_too(tmp_path, monkeypatch):
    Image.fromarray(gradient()).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 599)
    with pytest.raises(ImageError, match='shrink it'):
        load_image(tmp_path / 'a.png')


def test_limit_may_be_lifted(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    found = read_back(tmp_path / 'a.png', Image.fromarray(gradient()))
    assert np.array_equal(found, gradient())
