"""BSDS500: the regions of all annotators of a photo, pooled, as one class.

    python tools/dataset_converters/bsds500.py data/BSDS500/data \
        --out data/BSDS500/data/entities_val.json

docs/datasets.md says where the files come from.
"""
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.bsds500 import SPLITS, find_bsds500, read_bsds500
from sohes.converters.command import dataset_parser, run_images


def main() -> int:
    parser = dataset_parser(__doc__)
    parser.add_argument('root', type=Path, metavar='DIR',
                        help='Folder with groundTruth and images.')
    parser.add_argument('--split', choices=tuple(SPLITS), default='val',
                        help='Split to convert. Default: %(default)s.')
    parser.add_argument('--min-area', type=int, default=64, metavar='PIXELS',
                        help='Smallest region in pixels. Default: '
                        '%(default)s.')
    parser.add_argument('--same', type=float, default=0.8, metavar='IOU',
                        help='IoU from which on two annotators drew the '
                        'same region. Default: %(default)s.')
    args = parser.parse_args()
    rules = dict(split=args.split, min_area=args.min_area, same=args.same)
    return run_images(
        args, f'BSDS500 {args.split} as entities', rules,
        lambda: find_bsds500(args.root, args.split, args.subset),
        functools.partial(read_bsds500, root=args.root, **rules))


if __name__ == '__main__':
    sys.exit(main())
