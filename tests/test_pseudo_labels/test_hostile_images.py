"""Images that somebody made to do harm: refused, in little time and memory.
"""
import io
import struct

import numpy as np
import pytest
from PIL import Image

from sohes.pseudo_labels import image_pixels
from sohes.pseudo_labels.images import find_images, load_image
from sohes.utils import limits
from sohes.utils.errors import ImageError


@pytest.mark.parametrize(('content', 'kind'), [
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n'
     b'%%EndComments\n{} loop\nshowpage\n', 'EPS'),
    (b'\xc5\xd0\xd3\xc6' + b'\0' * 40, 'EPS'),
    (b'8BPS\0\1' + b'\0' * 40, 'PSD'),
    (b'\xd7\xcd\xc6\x9a\0\0' + b'\0' * 40, 'WMF'),
    (b'\x89HDF\r\n\x1a\n' + b'\0' * 40, 'HDF5'),
    (b'/* XPM */\nstatic char *x[] = {', 'XPM'),
    (b'icns' + b'\0' * 40, 'ICNS'),
])
def test_formats_that_are_not_opened_are_named(tmp_path, monkeypatch,
                                               content, kind):
    import subprocess

    def run(*args, **kwargs):
        raise AssertionError(f'a program was started: {args}')

    monkeypatch.setattr(subprocess, 'Popen', run)
    (tmp_path / 'photo.jpg').write_bytes(content)
    with pytest.raises(ImageError, match=f'format {kind}, which is not op'):
        load_image(tmp_path / 'photo.jpg')


def test_folders_are_searched_for_what_is_opened(tmp_path):
    for name in ('a.jpg', 'b.eps', 'c.ps', 'd.psd', 'e.webp', 'f.icns'):
        (tmp_path / name).write_bytes(b'')
    assert find_images(tmp_path) == ['a.jpg', 'e.webp']


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32])
def test_by_strips_as_at_once(tmp_path, monkeypatch, rng, dtype):
    levels = (rng.random((37, 23)) * 70000 - (dtype != np.uint16) * 3000)
    levels = levels.clip(None, 65535 if dtype == np.uint16 else np.inf)
    Image.fromarray(levels.astype(dtype)).save(tmp_path / 'a.tif')
    whole = load_image(tmp_path / 'a.tif')
    monkeypatch.setattr(image_pixels, '_STRIP', 50)
    assert (load_image(tmp_path / 'a.tif') == whole).all()


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P', 'CMYK', '1', 'RGB'])
def test_colours_by_strips_as_at_once(tmp_path, monkeypatch, rng, mode):
    pixels = rng.integers(0, 256, (31, 17, 4), np.uint8)
    image = Image.fromarray(pixels, 'RGBA')
    image = image if mode == 'RGBA' else image.convert('RGB').convert(mode)
    image.save(tmp_path / 'a.tif')
    whole = load_image(tmp_path / 'a.tif')
    monkeypatch.setattr(image_pixels, '_STRIP', 40)
    assert (load_image(tmp_path / 'a.tif') == whole).all()


def test_the_limit_of_pixels_is_one_variable(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', Image.MAX_IMAGE_PIXELS)
    Image.new('RGB', (30, 20)).save(tmp_path / 'a.png')
    monkeypatch.setenv(limits.VARIABLE, '599')
    with pytest.raises(ImageError, match='0.0 million.*set SOHES_MAX_PIX'):
        load_image(tmp_path / 'a.png')
    from sohes.structures.segmentations import check_image_size
    from sohes.utils.errors import FileError
    with pytest.raises(FileError, match='SOHES_MAX_PIXELS'):
        check_image_size(20, 30)
    monkeypatch.setenv(limits.VARIABLE, '600')
    assert load_image(tmp_path / 'a.png').shape == (20, 30, 3)


def test_a_jpeg_painted_over_and_over(tmp_path):
    stream = io.BytesIO()
    Image.new('RGB', (64, 64), 'red').save(stream, 'JPEG', progressive=True)
    data = stream.getvalue()
    last = data.rindex(b'\xff\xda')
    scan = data[last:-2]
    path = tmp_path / 'a.jpg'
    path.write_bytes(data)
    assert load_image(path).shape == (64, 64, 3)
    path.write_bytes(data[:-2] + scan * 200 + data[-2:])
    with pytest.raises(ImageError, match='is a JPEG of 2.. scans'):
        load_image(path)


def test_a_size_in_a_header_costs_nothing(tmp_path):
    for name, data in {
        'a.bmp': b'BM' + struct.pack('<IHHIIiiHHIIiiII', 0, 0, 0, 54, 40,
                                     60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        'a.ppm': b'P6 60000 60000 255\n',
        'a.gif': b'GIF89a' + struct.pack('<HH', 65535, 65535) + b'\0\0\0',
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError):
            load_image(tmp_path / name)


def test_a_jpeg_2000_far_larger_than_its_file_is_not_decoded(tmp_path,
                                                             monkeypatch):
    pytest.importorskip('PIL.Jpeg2KImagePlugin')
    from PIL import Jpeg2KImagePlugin
    for name, side in (('small.jp2', 300), ('large.jp2', 2100)):
        Image.new('RGB', (side, side), 'teal').save(
            tmp_path / name, num_resolutions=1)
    assert load_image(tmp_path / 'small.jp2').shape == (300, 300, 3)

    def decoded(self: Image.Image) -> None:
        raise AssertionError('it was decoded')

    monkeypatch.setattr(Jpeg2KImagePlugin.Jpeg2KImageFile, 'load', decoded)
    with pytest.raises(ImageError, match='large.jp2: is a JPEG 2000 of 4.4 '
                       'million pixels in .* bytes, more than'):
        load_image(tmp_path / 'large.jp2')
