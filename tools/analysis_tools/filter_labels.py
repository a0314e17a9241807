"""Keep some of the images and masks of a COCO json, and their forest.

    python tools/analysis_tools/filter_labels.py labels.json \
        --out few.json --num-photos 8 --largest 40

keeps the first 8 images by id and of each the 40 largest masks (or with
--best those with the highest scores). A mask whose parent goes hangs from its
nearest mask above it that stays; ancestor_ids keep the ancestors that stay.
Exit codes: 0 done, 2 one sentence on bad input, 130 interrupted.
"""
import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.apis.command import run_command
from sohes.datasets.entity_index import EntityIndex, ImageEntities
from sohes.structures.annotations import number_rows, write_coco
from sohes.utils.arguments import (
    at_least,
    num_photos_argument,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('labels', metavar='JSON', help='Any COCO json.')
    # Where --out once was.
    parser.add_argument('few', nargs='?', help=argparse.SUPPRESS)
    parser.add_argument('--out', metavar='JSON', help='COCO json to write.')
    num_photos_argument(parser, 'The first N photos by id.', '--images')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--largest', type=at_least(1), metavar='N',
                       help='Keep the N largest masks of each photo. Default: '
                       'all.')
    which.add_argument('--best', type=at_least(1), metavar='N',
                       help='Keep the N masks of highest score of each photo. '
                       'Default: all.')
    args = parser.parse_args()
    if (args.out is None) == (args.few is None):
        parser.error('give --out, the json to write')
    args.out = args.out or args.few
    return args


def chosen(entities: ImageEntities, args: argparse.Namespace) -> np.ndarray:
    """Rising positions of the masks that stay; crowd regions never do."""
    positions = np.flatnonzero(~entities.records['crowd'])
    if args.largest or args.best:
        key = 'area' if args.largest else 'score'
        order = np.argsort(-entities.records[key][positions], kind='stable')
        positions = np.sort(positions[order[:args.largest or args.best]])
    return positions


def annotations(index: EntityIndex, count: int,
                args: argparse.Namespace) -> Iterator[dict]:
    """What stays of the first images, numbered from 1."""
    number = 1
    for position in range(count):
        entities = index.entities(position)
        found = entities.read().subset(chosen(entities, args))
        rows = found.rows()
        if found.forest.pairs is None:
            for row in rows:
                del row['ancestors']
        yield from number_rows(rows, range(number, number + len(rows)),
                               int(index.images[position]['id']), iscrowd=0)
        number += len(rows)


def write(args: argparse.Namespace) -> None:
    """Write the json that is asked for."""
    index = EntityIndex.open(args.labels)
    count = min(len(index), args.num_photos or len(index))
    images = [
        dict(id=int(index.images[k]['id']), file_name=index.file_name(k),
             height=int(index.images[k]['height']),
             width=int(index.images[k]['width'])) for k in range(count)
    ]
    number = write_coco(Path(args.out), images,
                        annotations(index, count, args),
                        lambda _: dict(description='Some of the masks of '
                                       f'{Path(args.labels).name}'))
    print(f'{number} masks on {count} images: {args.out}')


def main() -> int:
    args = parse_args()
    return run_command(lambda: write(args), 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
