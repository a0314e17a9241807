"""Evaluate a checkpoint with the metrics of its configuration.

    python tools/test.py configs/sohes_phase2.py CKPT
    tools/dist_test.sh configs/sohes_phase2.py CKPT 8

Exit codes: 0 done, 2 the command, its configuration or its data is wrong.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import (
    checkpoint_argument,
    parse_run_args,
    run_parser,
)


def parse_args() -> argparse.Namespace:
    parser = run_parser(__doc__, 'test_evaluator.0.ann_file=val.json')
    parser.add_argument('config', help='Configuration, such as '
                        'configs/sohes_phase2.py.')
    checkpoint_argument(parser)
    parser.add_argument(
        '--work-dir', help='Folder of logs. Default: work_dirs/CONFIG.')
    parser.add_argument(
        '--out', metavar='JSON',
        help='Json to write the predictions into, as a list of COCO '
        'results. Default: they are not written.')
    return parse_run_args(parser)


def main() -> int:
    args = parse_args()
    from sohes.apis.command import run_command
    from sohes.apis.run_config import read_config
    from sohes.apis.training import test_model

    def run() -> None:
        config = read_config(args.config, args.cfg_options, args.work_dir,
                             args.launcher)
        test_model(config, args.checkpoint, args.out, args.trust_checkpoint)

    return run_command(run, 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
