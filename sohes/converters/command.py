"""What the commands in tools/dataset_converters/ share."""
import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sohes.apis.command import run_command
from sohes.converters.coco_like import CocoLike, convert_coco_like
from sohes.converters.entity_json import sample
from sohes.converters.image_by_image import convert_images
from sohes.utils.arguments import (
    num_photos_argument,
    quiet_argument,
    tool_parser,
)


def dataset_parser(doc: str,
                     split: bool = True) -> argparse.ArgumentParser:
    """A parser with the options of every converter.

    Args:
        doc (str): the script's docstring, printed as it stands.
        split (bool): the dataset's splits have a known number of images.
    """
    parser = tool_parser(doc)
    parser.add_argument('--out', required=True, type=Path, metavar='JSON',
                        help='One-class COCO json to write.')
    num_photos_argument(parser, 'Photos to take, chosen at random.',
                        '--limit')
    parser.add_argument('--seed', type=int, default=0, metavar='SEED',
                        help='Seed of the choice of --num-photos. Default: '
                        '%(default)s.')
    if split:
        parser.add_argument('--subset', action='store_true',
                            help='Do not check how many photos there are: '
                            'the input is not a whole published split.')
    parser.add_argument('--overwrite', action='store_true',
                        help='Write over an existing output.')
    quiet_argument(parser)
    return parser


def run_coco_like(kind: CocoLike, doc: str, both: bool = False) -> int:
    """The command of a dataset that comes as one COCO-like json.

    Args:
        kind (CocoLike): the dataset.
        doc (str): the script's docstring.
        both (bool): the dataset has objects and parts to choose from.

    Returns:
        int: the exit code.
    """
    parser = dataset_parser(doc)
    parser.add_argument('annotations', type=Path, metavar='JSON',
                        help='The published json.')
    if both:
        parser.add_argument('--only', choices=('objects', 'parts'),
                            help='Take only these. Default: both.')
    args = parser.parse_args()
    return run_converter(
        args.out, lambda: convert_coco_like(
            kind, args.annotations, args.out,
            only=getattr(args, 'only', None), limit=args.num_photos,
            seed=args.seed, subset=args.subset, overwrite=args.overwrite,
            quiet=args.quiet))


def run_images(args: argparse.Namespace, title: str,
               rules: Mapping[str, Any], find: Callable[[], list[str]],
               read: Callable[[str], dict[str, Any]]) -> int:
    """The command of a dataset with files for each image.

    Args:
        args (Namespace): of a :func:`dataset_parser`.
        title (str): for the output's ``info``.
        rules (Mapping): what decides the output, beside the images chosen.
        find (Callable): lists the images, see :func:`convert_images`.
        read (Callable): reads one of them.

    Returns:
        int: the exit code.
    """

    def convert() -> Counter:
        names = sample(find(), args.num_photos, args.seed)
        info = dict(description=title, **rules, limit=args.num_photos,
                    seed=args.seed)
        return convert_images(args.out, names, read, info, args.overwrite,
                              args.quiet, getattr(args, 'workers', 1))

    return run_converter(args.out, convert,
                         'the same command continues')


def run_converter(out: Path, convert: Callable[[], Counter],
                  stopped: str = 'no json was written') -> int:
    """Convert, and say what was written or what stopped it.

    Args:
        out (Path): the json that is written.
        convert (Callable): does it, and counts.
        stopped (str): what to tell who pressed Ctrl-C.

    Returns:
        int: exit code, see :func:`~sohes.apis.command.run_command`.
    """

    def run() -> None:
        counts = convert()
        print(f'{out}: ' + ', '.join(f'{number} {name.replace("_", " ")}'
                                     for name, number in counts.items()
                                     if number))

    return run_command(run, stopped)
