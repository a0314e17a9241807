"""What the commands in tools/dataset_converters/ share."""
import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sohes.converters.coco_like import CocoLike, convert_coco_like
from sohes.converters.entity_json import ConverterError
from sohes.utils.json_stream import EntityIndexError


def converter_parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the options of every converter.

    Args:
        doc (str): the script's docstring, printed as it stands.
    """
    parser = argparse.ArgumentParser(
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, type=Path, metavar='JSON',
                        help='the one-class COCO json to write')
    parser.add_argument('--limit', type=_positive, metavar='N',
                        help='only N images, chosen at random')
    parser.add_argument('--seed', type=int, default=0,
                        help='of --limit; default %(default)s')
    parser.add_argument('--subset', action='store_true',
                        help='the input is not a whole published split: do '
                        'not check how many images it has')
    parser.add_argument('--overwrite', action='store_true',
                        help='write over an existing output')
    parser.add_argument('--quiet', action='store_true', help='no progress')
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
    parser = converter_parser(doc)
    parser.add_argument('annotations', type=Path, help='the published json')
    if both:
        parser.add_argument('--only', choices=('objects', 'parts'),
                            help='default: objects and parts')
    args = parser.parse_args()
    return run_converter(
        args.out, lambda: convert_coco_like(
            kind, args.annotations, args.out, getattr(args, 'only', None),
            args.limit, args.seed, args.subset, args.overwrite, args.quiet))


def run_converter(out: Path, convert: Callable[[], Counter]) -> int:
    """Convert, and say what was written or what stopped it.

    Args:
        out (Path): the json that is written.
        convert (Callable): does it, and counts.

    Returns:
        int: exit code, 0 done, 2 a mistake in the command or the files, 130
        interrupted.
    """
    try:
        counts = convert()
    except (ConverterError, EntityIndexError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: {error.filename}: {error.strerror}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped; no json was written', file=sys.stderr)
        return 130
    print(f'{out}: ' + ', '.join(f'{number} {name.replace("_", " ")}'
                                 for name, number in counts.items()
                                 if number))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number
