# PYTHON_ARGCOMPLETE_OK
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
from sohes.utils.arguments import parse_run_args, run_parser


def parse_args() -> argparse.Namespace:
    parser = run_parser(
        __doc__, 'pseudo_labels.local=None pseudo_labels.refiner=None')
    parser.add_argument('config', help='such as configs/sohes_phase1.py')
    parser.add_argument(
        '--img-dir', required=True, help='folder of images, subfolders too')
    parser.add_argument(
        '--out', required=True, help='the COCO json to write')
    parser.add_argument(
        '--weights', help='a name or a file; replaces extractor.weights')
    parser.add_argument(
        '--preset', metavar='FILE', help='a json of calibrate_thresholds.py: '
        'feature, block, centring and thresholds')
    parser.add_argument(
        '--show-dir', help='write a picture of every image into this folder')
    parser.add_argument(
        '--strict',
        action='store_true',
        help='stop at the first image that cannot be read')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start anew where the output or an unfinished run exists')
    parser.add_argument(
        '--quiet', action='store_true', help='print errors only')
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
