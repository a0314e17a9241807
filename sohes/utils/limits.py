"""How large an image may be: one bound for every tool."""
import os

#: The variable of the environment that sets the bound.
VARIABLE = 'SOHES_MAX_PIXELS'
#: Runs and areas of masks are 32-bit numbers in COCO.
MOST_PIXELS = 2**31 - 1


def pixel_limit() -> int:
    """Pixels that an image, or a mask of one, may have.

    Returns:
        The number in ``SOHES_MAX_PIXELS``; without it that of Pillow,
        ``PIL.Image.MAX_IMAGE_PIXELS``, 89 478 485 unless a program changes
        it.
    """
    from PIL import Image
    text = os.environ.get(VARIABLE, '')
    if text.isdecimal() and int(text) > 0:
        # Pillow looks at its own number before anything else can.
        Image.MAX_IMAGE_PIXELS = min(int(text), MOST_PIXELS)
    return min(Image.MAX_IMAGE_PIXELS or MOST_PIXELS, MOST_PIXELS)


def too_large(pixels: int, limit: int | None = None) -> str:
    """What to say of an image with too many pixels, after its name.

    Args:
        pixels: that it has.
        limit: that it may have; None: :func:`pixel_limit`.
    """
    limit = limit or pixel_limit()
    return (f'has {pixels / 1e6:.1f} million pixels, more than the '
            f'{limit / 1e6:.1f} million that one image may have; '
            f'shrink it, or set {VARIABLE}')
