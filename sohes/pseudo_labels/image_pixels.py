"""Pixels of an opened image, in any of Pillow's modes, as upright RGB."""
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pixels that are converted at a time.
_STRIP = 1 << 22
_ORIENTATION = 0x0112  # EXIF tag
_16_BIT = 65535


def to_rgb(image: 'Image') -> np.ndarray:
    """(H, W, 3) uint8 of an image in any of Pillow's modes.

    By some rows at a time: a whole copy in another type would be several
    times as large as the photo.
    """
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    grey = image.mode.startswith(('I', 'F'))
    strips = [(top, min(top + rows, height))
              for rows in [max(1, _STRIP // width)]
              for top in range(0, height, rows)]
    parts = ((rows, image if len(strips) == 1 else image.crop(
        (0, rows[0], width, rows[1]))) for rows in strips)
    if not grey:
        for (top, stop), part in parts:
            rgb[top:stop] = _color(part)
        return rgb
    # Twice through: the range of all comes first.
    parts = [(rows, np.asarray(part)) for rows, part in parts]
    low, high = _grey_range([levels for _, levels in parts])
    for (top, stop), levels in parts:
        rgb[top:stop] = _to_8_bit(levels, low, high)[:, :, None]
    return rgb


def _color(image: 'Image') -> np.ndarray:
    """(H, W, 3) uint8 of an image that is not only grey levels."""
    if image.mode == 'LAB':
        return np.asarray(_lab_to_rgb(image))
    if image.mode == 'La':
        image = image.convert('LA')
    if (image.mode in ('LA', 'PA', 'RGBA', 'RGBa')
            or 'transparency' in image.info):
        from PIL import Image
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert('RGB'))


def _grey_range(parts: list[np.ndarray]) -> tuple[float, float]:
    """The levels that become black and white."""
    low, high = np.inf, -np.inf
    for levels in parts:
        finite = levels
        if levels.dtype.kind == 'f':
            finite = levels[np.isfinite(levels)]
        if finite.size:
            low = min(low, float(finite.min()))
            high = max(high, float(finite.max()))
    if low > high:
        return 0.0, 0.0
    whole = parts[0].dtype.kind != 'f'
    if whole and low >= 0 and high <= _16_BIT:
        return 0.0, float(_16_BIT)
    return low, high


def _to_8_bit(levels: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W) uint8 of grey levels in integers or floats."""
    if levels.dtype == np.uint16 and levels.size > _16_BIT:
        return _to_8_bit(np.arange(_16_BIT + 1), low, high)[levels]
    grey = levels.astype(np.float64)
    grey = np.clip(np.nan_to_num(grey, nan=low), low, high)
    return np.rint((grey - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def _lab_to_rgb(image: 'Image') -> 'Image':
    """Pillow converts L*a*b* through colour profiles only."""
    from PIL import ImageCms
    return ImageCms.applyTransform(
        image,
        ImageCms.buildTransform(
            ImageCms.createProfile('LAB'), ImageCms.createProfile('sRGB'),
            'LAB', 'RGB'))


def orientation_of(image: 'Image') -> int:
    """The EXIF orientation in 1 ... 8; 1 where there is no sound one."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not spoil the pixels
        return 1
    return found if found in range(1, 9) else 1


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: (H, W, 3) -> (H, W, 3) or (W, H, 3)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
