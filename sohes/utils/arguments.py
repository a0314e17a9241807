"""Arguments that all commands of tools/ share."""
import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import DictAction

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


def tool_parser(description: str) -> argparse.ArgumentParser:
    """A parser without options.

    Args:
        description (str): the script's docstring, printed as it stands.
    """
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)


def old_spelling(parser: argparse.ArgumentParser, action: argparse.Action,
                 *names: str) -> None:
    """Let an option be given by an earlier name, which --help leaves out.

    Args:
        parser: of the option.
        action: the option, as ``add_argument`` returned it.
        *names: such as '--images'.
    """
    parser.add_argument(*names, dest=action.dest, type=action.type,
                        default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def at_least(least: int) -> Callable[[str], int]:
    """A whole number from ``least`` on, as argparse's ``type``."""
    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(
                f'must be at least {least}, got {number}')
        return number

    return whole_number


def num_photos_argument(parser: argparse.ArgumentParser, help: str,
                        *old: str, default: int | None = None,
                        least: int = 1) -> None:
    """Add ``--num-photos N``, for every command that takes some photos.

    Args:
        parser: gets it.
        help: which photos, and what for.
        *old: earlier names of the option, which still work.
        default: how many; None: all.
        least: the smallest N.
    """
    action = parser.add_argument(
        '--num-photos', type=at_least(least), default=default, metavar='N',
        help=f'{help} Default: {"all" if default is None else default}.')
    if old:
        old_spelling(parser, action, *old)


def spaced_photos_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--num-photos`` for photos spread over a ground truth.

    Hidden beside it is ``--every N``, every Nth of them, as it once was.
    """
    num_photos_argument(parser, 'Photos of each ground truth, evenly spaced.')
    parser.add_argument('--every', type=at_least(1), default=1,
                        help=argparse.SUPPRESS)


def run_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser with what OpenMMLab's commands have in common.

    Args:
        description (str): the script's docstring, printed as it stands.
        example (str): of ``--cfg-options``.
    """
    parser = tool_parser(description)
    options_argument(parser, example)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='What started the processes. The scripts tools/dist_*.sh and '
        'tools/slurm_*.sh set it. Default: %(default)s.')
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
    parser = tool_parser(description)
    trust_argument(parser)
    checkpoint_argument(parser)
    parser.add_argument(
        'out', help='File to write. The first 8 digits of its SHA-256 are '
        'put before the suffix.')
    parser.add_argument(
        '--student', dest='which', action='store_const', const='student',
        default='teacher', help='Take the student of a checkpoint of Phase 3. '
        'Default: the teacher.')
    return parser


def options_argument(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--cfg-options``, with an example for its help."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
        help=f'Override keys of the configuration, such as "{example}".')


def checkpoint_argument(parser: argparse.ArgumentParser,
                        **options: Any) -> None:
    """Add the checkpoint of a trained model, called CKPT everywhere."""
    parser.add_argument('checkpoint', metavar='CKPT',
                        help='Checkpoint of Phase 2 or 3.', **options)


def weights_argument(parser: argparse.ArgumentParser,
                     **options: Any) -> None:
    """Add ``--weights``, which is the ViT's in every command."""
    parser.add_argument(
        '--weights', help='Weights of the ViT: a name such as dinov2_vits14, '
        'see docs/features.md, or a file.' + (
            '' if options.get('required') else
            ' Default: those of the configuration.'), **options)


def device_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument('--device', help='Device to compute on, such as '
                        'cuda:0. Default: a GPU if there is one.')


def score_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--pred-score-thr``, whose help begins with ``what``."""
    parser.add_argument(
        '--pred-score-thr', type=float, default=0.3, metavar='SCORE',
        help=f'{what} masks of lower scores, in [0, 1]. Default: '
        '%(default)s.')


def quiet_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument('--quiet', action='store_true',
                        help='Print errors only, and no progress bar.')


def trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument(
        '--trust-checkpoint', action='store_true',
        help='Run the code that a checkpoint carries. This is for your own '
        'old files, see docs/safety.md.')


def vit_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--vit-weights``."""
    parser.add_argument(
        '--vit-weights', metavar='NAME|FILE',
        help='Weights of the ViT of a model that was published without '
        'it. Default: those that it was published with.')


def parse_run_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line of a :func:`run_parser`."""
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args
