"""Arguments that all commands of tools/ share."""
import argparse
import os
import re
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from sohes.utils.completion import complete

# Keys whose value is a path, whatever characters it has.
_PATH_KEY = re.compile(
    r'(.*[._])?(root|dir|file|outfile|path|folder|load_from|resume_from|'
    r'checkpoint)|(.*\.)?(weights|data_prefix\.\w+)')


class ConfigOptions(DictAction):
    """``KEY=VALUE ...`` as mmengine reads it, but paths stay what they are.

    mmengine takes the blanks out of every value and splits it at commas. Here
    the value of a key that is a path (``data_root``, ``load_from``,
    ``weights``, ``..._file``, ...) is taken as it stands, and so is any value
    in quotation marks of its own: ``'name="a, b"'``.
    """

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Sequence[str],
                 option_string: str | None = None) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for text in values:
            key, equals, value = text.partition('=')
            if not (key and equals):
                parser.error(f'{option_string} {text}: it must be KEY=VALUE')
            try:
                options[key] = parse_value(key, value)
            except AssertionError as error:
                parser.error(f'{option_string} {text}: {error}')
        setattr(namespace, self.dest, options)


def parse_value(key: str, text: str) -> Any:
    """The value of an option of a configuration.

    Args:
        key: dotted.
        text: as on the command line.

    Raises:
        AssertionError: the brackets of a list are not balanced.
    """
    quoted = len(text) > 1 and text[0] in '\'"' and text[-1] == text[0]
    inner = text[1:-1] if quoted else text
    if _PATH_KEY.fullmatch(key):
        return None if inner == 'None' else inner
    if quoted and not inner.startswith(('[', '(')):
        return inner
    if ',' not in inner and not inner.startswith(('[', '(')):
        return DictAction._parse_int_float_bool(inner.strip())
    return DictAction._parse_iterable(inner)


def run_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser with what OpenMMLab's commands have in common.

    Args:
        description (str): the script's docstring, printed as it stands.
        example (str): of ``--cfg-options``.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help=f'override configuration keys, such as {example}')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none')
    trust_argument(parser)
    # torchrun passes either spelling; what counts is LOCAL_RANK.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0,
        help=argparse.SUPPRESS)
    return parser


def converter_parser(description: str) -> argparse.ArgumentParser:
    """A parser of a command that takes a part of a checkpoint.

    Args:
        description (str): the script's docstring, printed as it stands.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    trust_argument(parser)
    parser.add_argument('checkpoint', help='a file that training wrote')
    parser.add_argument(
        'out', help='digits of its hash come before the suffix')
    parser.add_argument(
        '--student', dest='which', action='store_const', const='student',
        default='teacher', help='of Phase 3, instead of the teacher')
    return parser


def trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument(
        '--trust-checkpoint', action='store_true',
        help='run the code that a checkpoint carries; for your own old '
        'files, see docs/safety.md')


def vit_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--vit-weights``."""
    parser.add_argument(
        '--vit-weights', metavar='NAME|FILE',
        help='of a model whose ViT is not in its file; default: those that '
        'it was published with')


def parse_run_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line of a :func:`run_parser`."""
    complete(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args
