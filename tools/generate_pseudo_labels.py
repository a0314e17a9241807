"""Phase 1: label a folder of photos, without annotation or training.

    python tools/generate_pseudo_labels.py configs/sohes_phase1.py \
        --img-dir PHOTOS --out labels.json

A run that was stopped continues when the same command is given again. Exit
codes: 0 all images labelled, 1 some could not be read (they are listed in the
json's info.failed), 2 the command, its configuration or the machine needs a
hand, 130 interrupted, 70 a fault of the program.
"""
import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.apis.command import run_command
from sohes.apis.generate import generate, phase1_config
from sohes.apis.preset_search import apply_preset
from sohes.utils.arguments import (
    parse_run_args,
    quiet_argument,
    run_parser,
    weights_argument,
)


def parse_args() -> argparse.Namespace:
    parser = run_parser(
        __doc__, 'pseudo_labels.local=None pseudo_labels.refiner=None')
    parser.add_argument('config', help='Configuration of Phase 1, such '
                        'as configs/sohes_phase1.py.')
    parser.add_argument(
        '--img-dir', required=True, help='Folder of photos; its subfolders '
        'are read, too.')
    parser.add_argument(
        '--out', required=True, metavar='JSON',
        help='COCO json to write.')
    weights_argument(parser)
    parser.add_argument(
        '--preset', metavar='FILE', help='Json of calibrate_thresholds.py '
        '--preset, with feature, block, centring and thresholds. Default: '
        'those of the configuration.')
    parser.add_argument(
        '--show-dir', help='Folder for a picture of every photo. Default: '
        'no pictures.')
    parser.add_argument(
        '--strict',
        action='store_true',
        help='Stop at the first photo that cannot be read.')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='Start anew where the output or an unfinished run exists.')
    quiet_argument(parser)
    return parse_run_args(parser)


def main() -> int:
    args = parse_args()
    logging.basicConfig(
        level=logging.ERROR if args.quiet else logging.INFO,
        format='%(message)s')

    def run() -> int:
        config = phase1_config(args.config, args.cfg_options)
        if args.preset:
            apply_preset(config, args.preset)
        failed = generate(
            config,
            args.img_dir,
            args.out,
            weights=args.weights,
            show_dir=args.show_dir,
            strict=args.strict,
            overwrite=args.overwrite,
            quiet=args.quiet,
            launcher=args.launcher)
        return 1 if failed else 0

    return run_command(run, 'the same command continues from here')


if __name__ == '__main__':
    sys.exit(main())
