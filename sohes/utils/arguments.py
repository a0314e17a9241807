"""Arguments that all commands of tools/ share."""
import argparse
import os

from mmengine.config import DictAction

from sohes.utils.completion import complete


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
        action=DictAction,
        metavar='KEY=VALUE',
        help=f'override configuration keys, such as {example}')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none')
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
    parser.add_argument('checkpoint', help='a file that training wrote')
    parser.add_argument(
        'out', help='digits of its hash come before the suffix')
    parser.add_argument(
        '--student', dest='which', action='store_const', const='student',
        default='teacher', help='of Phase 3, instead of the teacher')
    return parser


def parse_run_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line of a :func:`run_parser`."""
    complete(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args
