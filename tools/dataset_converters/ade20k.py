"""ADE20K, the full dataset, as one class, with or without parts.

    A="python tools/dataset_converters/ade20k.py data/ADE20K_2021_17_01"
    $A --out data/ADE20K_2021_17_01/entities_val.json
    $A --out data/ADE20K_2021_17_01/forest_val.json --levels all

The first is for the recall of whole entities, the second has the parts and
their parents too, for the forest; both number the images alike. Stopped, it
continues when the same command is given again. docs/datasets.md says where
the files come from.
"""
import argparse
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.ade20k import SPLITS, find_ade20k, read_ade20k
from sohes.converters.command import dataset_parser, run_images
from sohes.utils.arguments import at_least


def levels(text: str) -> tuple[int, ...] | None:
    """'all', or part levels separated by commas."""
    if text == 'all':
        return None
    found = tuple(sorted({int(part) for part in text.split(',')}))
    if found[0] < 0:
        raise argparse.ArgumentTypeError('levels begin with 0')
    return found


def main() -> int:
    parser = dataset_parser(__doc__)
    parser.add_argument('root', type=Path, metavar='DIR',
                        help='Folder of the dataset, or any folder in it.')
    parser.add_argument('--split', choices=tuple(SPLITS),
                        default='validation',
                        help='Split to convert. Default: %(default)s.')
    parser.add_argument('--levels', type=levels, default=(0, ),
                        help='Levels of parts: 0 for whole entities, 0,1 '
                        'with their parts, or all. Default: 0.')
    parser.add_argument('--workers', type=at_least(1), default=1,
                        metavar='N', help='Threads. Default: %(default)s.')
    args = parser.parse_args()
    return run_images(
        args, f'ADE20K {args.split} as entities',
        dict(split=args.split, levels=args.levels),
        lambda: find_ade20k(args.root, args.split, args.subset),
        functools.partial(read_ade20k, root=args.root, levels=args.levels))


if __name__ == '__main__':
    sys.exit(main())
