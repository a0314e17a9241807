"""Images as files, for the tests that read them."""
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from sohes.pseudo_labels.images import load_image


def gradient(height: int = 20, width: int = 30) -> np.ndarray:
    """A smooth picture without symmetry, kind to lossy formats."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 8, y * 12, 255 - x * 4 - y * 6], -1).astype(np.uint8)


def read_back(path: Path, image: Image.Image, **kwargs) -> np.ndarray:
    """Save an image; what load_image makes of the file."""
    image.save(path, **kwargs)
    out = load_image(path)
    assert out.dtype == np.uint8 and out.ndim == 3 and out.shape[2] == 3
    assert out.flags.c_contiguous and out.flags.writeable
    return out


def write_png(path: Path, depth: int, kind: int, rows: bytes, width: int,
              height: int, *extra: tuple[bytes, bytes]) -> Path:
    """A PNG of exactly these bytes, for what Pillow does not write."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return (struct.pack('>I', len(data)) + name + data
                + struct.pack('>I', zlib.crc32(name + data)))
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, kind,
                                     0, 0, 0))
        + b''.join(chunk(*e) for e in extra)
        + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
    return path
