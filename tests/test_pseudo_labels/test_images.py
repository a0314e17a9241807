"""Every kind of image that PIL opens, and files that are none."""
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from sohes.pseudo_labels.images import load_image
from tests.test_pseudo_labels.image_files import (
    gradient,
    read_back,
    write_png,
)

# One row: black, white, red, green, blue.
ROW = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0],
                [0, 0, 255]], np.uint8)


def test_rgb_stays_as_it_is(tmp_path):
    photo = gradient()
    np.testing.assert_array_equal(
        read_back(tmp_path / 'a.png', Image.fromarray(photo)), photo)


def test_path_may_be_a_string(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(
        load_image(str(tmp_path / 'a.png')), gradient())


@pytest.mark.parametrize('pixels, expected', [
    (np.array([[0, 100, 255]], np.uint8), [0, 100, 255]),
    (np.array([[False, True, True]]), [0, 255, 255]),
])
def test_grey_and_1_bit(tmp_path, pixels, expected):
    image = Image.fromarray(pixels)
    assert image.mode == ('1' if pixels.dtype == bool else 'L')
    out = read_back(tmp_path / 'a.png', image)
    np.testing.assert_array_equal(out[0], np.stack([expected] * 3, -1))


@pytest.mark.parametrize('alpha, expected', [
    (255, [10, 20, 30]), (0, [255, 255, 255]),
    # 10 * 0.2 + 255 * 0.8 and so on
    (51, [206, 208, 210]),
])
def test_transparent_pixels_lie_over_white(tmp_path, alpha, expected):
    image = Image.new('RGBA', (3, 2), (10, 20, 30, alpha))
    out = read_back(tmp_path / 'a.png', image)
    assert out.shape == (2, 3, 3)
    np.testing.assert_array_equal(out[1, 2], expected)


def test_grey_with_alpha_lies_over_white(tmp_path):
    image = Image.new('LA', (2, 1), (40, 255))
    image.putpixel((1, 0), (40, 0))
    out = read_back(tmp_path / 'a.png', image)
    np.testing.assert_array_equal(out[0], [[40] * 3, [255] * 3])


def _palette_image() -> Image.Image:
    image = Image.new('P', (5, 1))
    image.putpalette(ROW.ravel().tolist())
    for x in range(5):
        image.putpixel((x, 0), x)
    return image


def test_palette(tmp_path):
    out = read_back(tmp_path / 'a.png', _palette_image())
    np.testing.assert_array_equal(out[0], ROW)


@pytest.mark.parametrize('name', ['a.png', 'a.gif'])
def test_transparent_palette_entry_becomes_white(tmp_path, name):
    out = read_back(tmp_path / name, _palette_image(), transparency=2)
    expected = ROW.copy()
    expected[2] = 255
    np.testing.assert_array_equal(out[0], expected)


def test_palette_with_alpha_per_entry(tmp_path):
    out = read_back(tmp_path / 'a.png', _palette_image(),
                 transparency=bytes([0, 255, 51, 255, 255]))
    np.testing.assert_array_equal(
        out[0], [[255] * 3, [255] * 3, [255, 204, 204], ROW[3], ROW[4]])


@pytest.mark.parametrize('mode, color', [('L', 7), ('RGB', (1, 2, 3))])
def test_transparent_color_key_becomes_white(tmp_path, mode, color):
    image = Image.new(mode, (2, 1), color)
    image.putpixel((1, 0), 90 if mode == 'L' else (90, 90, 90))
    out = read_back(tmp_path / 'a.png', image, transparency=color)
    np.testing.assert_array_equal(out[0], [[255] * 3, [90] * 3])


# 65535 / 257 = 255: a level of 257 k is the 8-bit level k.
LEVELS = np.array([[0, 257, 128 * 257, 40000, 65535]])
LEVELS_8 = np.array([0, 1, 128, 156, 255])


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.pgm', 'big.tif'])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, name):
    if name == 'a.png':
        write_png(tmp_path / name, 16, 0,
                  b'\0' + LEVELS.astype('>u2').tobytes(), 5, 1)
    elif name == 'a.pgm':
        (tmp_path / name).write_bytes(b'P5 5 1 65535\n'
                                      + LEVELS.astype('>u2').tobytes())
    elif name == 'a.tif':
        Image.fromarray(LEVELS.astype(np.uint16)).save(tmp_path / name)
    else:
        image = Image.frombytes('I;16B', (5, 1),
                                LEVELS.astype('>u2').tobytes())
        image.save(tmp_path / name)
    out = load_image(tmp_path / name)
    np.testing.assert_array_equal(out, LEVELS_8[None, :, None].repeat(3, 2))


def test_16_bit_rgb_png(tmp_path):
    wide = (ROW.astype(np.uint16) * 257).astype('>u2')
    path = write_png(tmp_path / 'a.png', 16, 2, b'\0' + wide.tobytes(), 5, 1)
    np.testing.assert_array_equal(load_image(path)[0], ROW)


@pytest.mark.parametrize('values, expected', [
    ([[0, 257, 65535]], [0, 1, 255]),           # read as 16 bits
    ([[0, 100000, 200000]], [0, 128, 255]),     # read from low to high
    ([[-10, 0, 10]], [0, 128, 255]),
    ([[-5, -5, -5]], [0, 0, 0]),
])
def test_32_bit_integers(tmp_path, values, expected):
    image = Image.fromarray(np.array(values, np.int32))
    assert image.mode == 'I'
    out = read_back(tmp_path / 'a.tif', image)
    np.testing.assert_array_equal(out[0, :, 1], expected)


@pytest.mark.parametrize('values, expected', [
    ([[-1.0, 0.0, 1.0]], [0, 128, 255]),
    ([[0.25, 0.25, 0.25]], [0, 0, 0]),
    ([[np.nan, 2.0, 4.0]], [0, 0, 255]),
    ([[-np.inf, 2.0, np.inf]], [0, 0, 0]),
    ([[-np.inf, 2.0, 3.0, np.inf]], [0, 0, 255, 255]),
    ([[np.nan, np.nan]], [0, 0]),
])
def test_floats_from_low_to_high(tmp_path, values, expected):
    image = Image.fromarray(np.array(values, np.float32))
    out = read_back(tmp_path / 'a.tif', image)
    np.testing.assert_array_equal(out[0, :, 2], expected)


@pytest.mark.parametrize('name', ['a.tif', 'a.jpg'])
def test_cmyk(tmp_path, name):
    # no ink is white; full yellow and magenta is red
    image = Image.new('CMYK', (64, 32), (0, 0, 0, 0))
    image.paste((0, 255, 255, 0), (32, 0, 64, 32))
    kwargs = dict(quality=95) if name == 'a.jpg' else {}
    out = read_back(tmp_path / name, image, **kwargs)
    np.testing.assert_allclose(out[16, 8], 255, atol=2)
    np.testing.assert_allclose(out[16, 56], [255, 0, 0], atol=2)


def test_jpeg_of_cmyk_is_stored_inverted_as_adobe_does(tmp_path):
    # What the test above reads: the file says Adobe, and its raw samples
    # are 255 - ink. Without that, the test would pass for either reading.
    Image.new('CMYK', (16, 16), (0, 0, 0, 0)).save(tmp_path / 'a.jpg')
    with Image.open(tmp_path / 'a.jpg') as image:
        assert image.mode == 'CMYK' and 'adobe' in image.info
        assert image.tile[0][3][0] == 'CMYK;I'


def test_lab(tmp_path):
    rgb = Image.new('RGB', (8, 8), (200, 60, 30))
    lab = ImageCms.applyTransform(
        rgb, ImageCms.buildTransform(
            ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'),
            'RGB', 'LAB'))
    assert lab.mode == 'LAB'
    out = read_back(tmp_path / 'a.tif', lab)
    np.testing.assert_allclose(out[4, 4], [200, 60, 30], atol=3)


@pytest.mark.parametrize('mode, color, expected', [
    ('HSV', (0, 255, 255), [255, 0, 0]),
    ('YCbCr', (76, 85, 255), [254, 0, 0]),
    ('RGBX', (1, 2, 3, 0), [1, 2, 3]),
    ('RGBa', (0, 51, 0, 51), [204, 255, 204]),  # colour times alpha
    ('La', (0, 51), [204, 204, 204]),
    ('PA', (0, 51), [204, 204, 204]),
])
def test_rare_modes(monkeypatch, tmp_path, mode, color, expected):
    # Few formats store these and not every Pillow writes them.
    image = Image.new(mode, (2, 2), color)
    (tmp_path / 'a.png').write_bytes(b'x')
    monkeypatch.setattr(Image, 'open', lambda path, formats: image)
    np.testing.assert_array_equal(
        load_image(tmp_path / 'a.png'), np.full((2, 2, 3), expected))


@pytest.mark.parametrize('name', ['a.gif', 'a.png', 'a.webp', 'a.tif'])
def test_first_frame_of_an_animation(tmp_path, name):
    first = Image.new('RGB', (8, 6), (0, 255, 0))
    second = Image.new('RGB', (8, 6), (255, 0, 0))
    kwargs = dict(lossless=True) if name == 'a.webp' else {}
    out = read_back(tmp_path / name, first, save_all=True,
                 append_images=[second], **kwargs)
    assert out.shape == (6, 8, 3)
    np.testing.assert_array_equal(out[3, 3], [0, 255, 0])


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.jpg'])
def test_orientation(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    kwargs = dict(quality=100, subsampling=0) if name == 'a.jpg' else {}
    out = read_back(tmp_path / name, Image.fromarray(gradient()), exif=exif,
                 **kwargs)
    # Pillow's own, independent code for the same tag
    stored = Image.fromarray(gradient())
    stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    assert expected.shape[:2] == ((20, 30) if orientation < 5 else (30, 20))
    np.testing.assert_allclose(out.astype(int), expected, atol=6)


def test_corner_of_orientation_6(tmp_path):
    # 6: the camera was held upright, the stored left column is the top row
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[1, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    out = read_back(tmp_path / 'a.png', Image.fromarray(pixels), exif=exif)
    assert out.shape == (3, 2, 3)
    np.testing.assert_array_equal(
        out[:, :, 0], [[255, 0], [0, 0], [0, 0]])


def test_16_bit_with_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    out = read_back(tmp_path / 'a.png', Image.fromarray(
        LEVELS.astype(np.uint16)), exif=exif)
    np.testing.assert_array_equal(out[:, 0, 0], LEVELS_8[::-1])


@pytest.mark.parametrize('exif', [b'Exif\0\0', b'Exif\0\0II*\0\xff\xff\xff',
                                  b'Exif\0\0' + b'\xff' * 40])
def test_broken_exif_is_no_reason_to_fail(tmp_path, exif):
    Image.fromarray(gradient()).save(tmp_path / 'a.jpg')
    data = (tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'a.jpg').write_bytes(
        data[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif
        + data[2:])
    assert load_image(tmp_path / 'a.jpg').shape == (20, 30, 3)


@pytest.mark.parametrize('orientation', [0, 9, 65535])
def test_orientation_out_of_range_is_none(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = read_back(tmp_path / 'a.png', Image.fromarray(gradient()), exif=exif)
    np.testing.assert_array_equal(out, gradient())


@pytest.mark.parametrize('size', [(1, 1), (12000, 400), (1, 3000)])
def test_extreme_sizes(tmp_path, size):
    out = read_back(tmp_path / 'a.png', Image.new('RGB', size, (9, 8, 7)))
    assert out.shape == (size[1], size[0], 3)
    assert (out == [9, 8, 7]).all()
