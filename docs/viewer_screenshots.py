"""The pictures of docs/visualization.md, taken in a headless Chromium.

    python docs/viewer_screenshots.py 'report/index.html#5' OUT.jpg \
        --at 0.5 0.5
    python docs/viewer_screenshots.py http://127.0.0.1:7860 OUT.jpg \
        --photo PHOTO --at 0.5 0.5

opens a report at its fifth photo, or the web demo and drops a photo there,
clicks where --at says (shares of the photo's width and height), and saves what
is on the screen.
Needs playwright and a Chromium; see tests/browser.py.
"""
import argparse
import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.utils.files import whole_file
from tests.browser import chromium

#: Milliseconds: Phase 1 takes its time on a photo.
PATIENCE = 300_000


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('page', help='a file or an address')
    parser.add_argument('out', help='the JPEG to write')
    parser.add_argument('--photo', help='what to drop into the web demo')
    parser.add_argument('--at', type=float, nargs=2, metavar=('X', 'Y'))
    parser.add_argument('--size', type=int, nargs=2, default=(1280, 800),
                        metavar=('W', 'H'))
    parser.add_argument('--dark', action='store_true')
    parser.add_argument('--width', type=int, default=1000,
                        help='of the picture, in pixels')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    path, _, photo = args.page.partition('#')
    page_url = (args.page if '://' in args.page else
                f'{Path(path).absolute().as_uri()}#{photo}')
    with chromium() as browser:
        page = browser.new_page(
            viewport=dict(width=args.size[0], height=args.size[1]),
            color_scheme='dark' if args.dark else 'light',
            device_scale_factor=2)
        page.set_default_timeout(PATIENCE)
        page.goto(page_url)
        viewer = page
        if args.photo:
            page.set_input_files('input[type=file]', args.photo)
            viewer = page.frame_locator('iframe.sohes-viewer')
        viewer.locator('[data-ready=yes]').wait_for()
        canvas = viewer.locator('canvas')
        canvas.scroll_into_view_if_needed()
        if args.at:
            box = canvas.bounding_box()
            page.mouse.click(box['x'] + args.at[0] * box['width'],
                             box['y'] + args.at[1] * box['height'])
        page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.screenshot())).convert('RGB')
    picture.thumbnail((args.width, 10 * args.width))
    with whole_file(Path(args.out), binary=True) as file:
        picture.save(file, 'JPEG', quality=80, optimize=True)


if __name__ == '__main__':
    main()
