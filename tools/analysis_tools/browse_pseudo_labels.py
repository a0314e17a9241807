"""Look at labels: photos with their masks and forests.

    python tools/analysis_tools/browse_pseudo_labels.py labels.json \
        --img-dir PHOTOS --html report

writes a folder; open report/index.html, no server is needed. Without --html
each photo is drawn as one picture: in a window, and with --out-dir as a
file. The labels are any COCO json; without parent_id the forest is found from
the masks. Exit codes: 0 done, 1 some photos could not be shown, 2 the command
or the labels are wrong, 130 interrupted.
"""
import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.utils.arguments import (
    num_photos_argument,
    old_spelling,
    quiet_argument,
    tool_parser,
)

if TYPE_CHECKING:
    from sohes.visualization.viewer import Photo


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('labels', metavar='JSON', help='Any COCO json.')
    parser.add_argument('--img-dir', help='Folder of the photos. Default: '
                        'that of the json.')
    parser.add_argument('--html', metavar='DIR',
                        help='Write a report into this new folder.')
    parser.add_argument('--overwrite', action='store_true',
                        help='Replace the report that is there.')
    action = parser.add_argument(
        '--out-dir', help='Write a picture of each photo into this folder.')
    old_spelling(parser, action, '--output-dir')
    parser.add_argument('--not-show', action='store_true',
                        help='Open no window.')
    parser.add_argument('--show-interval', type=float, default=2,
                        metavar='SECONDS',
                        help='Seconds that a picture stays; with 0 it stays '
                        'until it is closed. Default: %(default)s.')
    num_photos_argument(parser, 'The first N photos.', '--images')
    quiet_argument(parser)
    args = parser.parse_args()
    if args.show_interval < 0:
        parser.error(f'--show-interval must be at least 0, got '
                     f'{args.show_interval}')
    if args.html and args.out_dir:
        parser.error('--html and --out-dir exclude each other')
    if not args.html and args.not_show and not args.out_dir:
        parser.error('nothing to do: --not-show wants --out-dir or --html')
    return args


class Photos:
    """The photos of a json with their labels, one after the other.

    Args:
        args: of the command line.

    Attributes:
        failed: how many could not be read.

    Raises:
        UsageError: the json or the folder is wrong.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        from sohes.datasets.entity_index import EntityIndex
        from sohes.utils.errors import UsageError, said_in_a_sentence
        self.folder = Path(args.img_dir or Path(args.labels).parent)
        self.quiet = args.quiet
        self.drawn = not args.html
        self.failed = 0
        with said_in_a_sentence():
            self.index = EntityIndex.open(args.labels)
        if not self.folder.is_dir():
            raise UsageError(f'{self.folder} is no folder: --img-dir must '
                             'be where the photos are')
        count = min(len(self.index), args.num_photos or len(self.index))
        names = map(self.index.file_name, range(count))
        self.names = list(names)
        if not any((self.folder / name).is_file() for name in self.names):
            raise UsageError(
                f'{self.folder} holds none of the {count} photos of '
                f'{args.labels}, such as {self.names[0]!r}: --img-dir '
                'must be the folder that was labelled'
                if count else f'{args.labels} has no images')

    def __iter__(self) -> Iterator['Photo']:
        from sohes.utils.progress import Progress
        with Progress(len(self.names), self.quiet,
                      task='drawing') as progress:
            for position in range(len(self.names)):
                try:
                    yield self._photo(position)
                except ValueError as error:
                    self.failed += 1
                    progress.step(str(error))
                else:
                    progress.step()

    def _photo(self, position: int) -> 'Photo':
        """One photo with those of its masks that are no crowd regions."""
        from sohes.pseudo_labels.images import load_image
        from sohes.structures.mask_ops import check_packable
        from sohes.visualization.viewer import Photo
        entities = self.index.entities(position)
        kept = np.flatnonzero(~entities.records['crowd'])
        name, found = self.names[position], entities.read().subset(kept)
        if self.drawn:  # a report keeps its masks as they are
            try:
                check_packable(found.rles)
            except ValueError as error:
                raise ValueError(f'{name}: {error}') from error
        return Photo.of(name, load_image(self.folder / name), found,
                        int(self.index.images[position]['id']),
                        entities.records['id'][kept])


def write_html(photos: Photos, args: argparse.Namespace) -> None:
    """The report of all photos."""
    from sohes.utils.errors import said_in_a_sentence
    from sohes.visualization.viewer import ReportWriter
    with said_in_a_sentence():
        writer = ReportWriter(args.html, Path(args.labels).name,
                              args.overwrite)
    with writer:
        for photo in photos:
            writer.add(photo)
    if not args.quiet:
        print(f'{len(writer.photos)} photos: open '
              f'{Path(args.html) / "index.html"}')


def draw(photos: Photos, args: argparse.Namespace) -> None:
    """A picture of each photo, in a window or a file."""
    from mmengine.structures import BaseDataElement, InstanceData

    from sohes.utils.errors import UsageError
    from sohes.utils.names import same_file
    from sohes.visualization import picture_path
    from sohes.visualization.forest_visualizer import ForestVisualizer
    alike = same_file(photos.names) if args.out_dir else None
    if alike:
        raise UsageError(
            f'{args.labels} has the images {alike[0]!r} and {alike[1]!r}, '
            'whose pictures are one file on systems that fold case or '
            'accents; rename one')
    visualizer = ForestVisualizer()
    for photo in photos:
        sample = BaseDataElement(pred_instances=InstanceData(
            masks=list(photo.rles), scores=photo.scores,
            parents=photo.forest.parents))
        visualizer.add_datasample(
            photo.name,
            photo.image,
            sample,
            show=not args.not_show,
            wait_time=args.show_interval,
            pred_score_thr=-np.inf,
            out_file=args.out_dir and picture_path(args.out_dir,
                                                   photo.name))
    if args.out_dir and not args.quiet:
        print(f'{len(photos.names) - photos.failed} pictures: '
              f'{args.out_dir}')


def main() -> int:
    args = parse_args()
    from sohes.apis.command import run_command
    from sohes.utils.errors import UsageError
    failed = 0

    def run() -> None:
        nonlocal failed
        if not (args.html or args.not_show or sys.platform != 'linux'
                or os.environ.get('DISPLAY')
                or os.environ.get('WAYLAND_DISPLAY')):
            raise UsageError('there is no screen to open a window on: give '
                             '--html DIR, or --not-show --out-dir DIR')
        photos = Photos(args)
        if args.html:
            write_html(photos, args)
        else:
            draw(photos, args)
        failed = photos.failed

    left = ('no report was written' if args.html else
            'the pictures drawn so far stay')
    return run_command(run, left) or (1 if failed else 0)


if __name__ == '__main__':
    sys.exit(main())
