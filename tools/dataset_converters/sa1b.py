"""SA-1B: the masks of one or several packs as one class.

    python tools/dataset_converters/sa1b.py data/sa1b --pack sa_000020 \
        --num-photos 1000 --out data/sa1b/entities_sa_000020.json

Stopped, it continues when the same command is given again. docs/datasets.md
says where the files come from.
"""
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.command import dataset_parser, run_images
from sohes.converters.sa1b import find_sa1b, read_sa1b


def main() -> int:
    parser = dataset_parser(__doc__, split=False)
    parser.add_argument('root', type=Path, metavar='DIR',
                        help='Folder of the packs.')
    parser.add_argument('--pack', action='append', metavar='FOLDER',
                        help='Pack to convert, such as sa_000020. May be '
                        'repeated. Default: all that is there.')
    args = parser.parse_args()
    return run_images(
        args, 'SA-1B as entities', dict(packs=args.pack),
        lambda: find_sa1b(args.root, args.pack),
        functools.partial(read_sa1b, root=args.root))


if __name__ == '__main__':
    sys.exit(main())
