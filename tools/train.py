"""Phases 2 and 3: train a segmenter on pseudo-labels.

    python tools/train.py configs/sohes_phase2.py
    tools/dist_train.sh configs/sohes_phase2.py 8

A run that was stopped continues exactly where it was with --resume. Exit
codes: 0 done, 1 training diverged, 2 the command, its configuration, its data
or the machine needs a hand, 130 interrupted, 70 a fault of the program.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import parse_run_args, run_parser


def parse_args() -> argparse.Namespace:
    parser = run_parser(__doc__, 'train_dataloader.batch_size=1')
    parser.add_argument('config', help='Configuration, such as '
                        'configs/sohes_phase2.py.')
    parser.add_argument(
        '--work-dir',
        help='Folder of logs and checkpoints. Default: work_dirs/CONFIG.')
    parser.add_argument(
        '--amp', action='store_true',
        help='Train in mixed precision, in bfloat16.')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='Continue from this checkpoint; without CKPT, from the last one '
        'in --work-dir. Default: a new run.')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='Scale the learning rate by the batch of all processes over '
        'auto_scale_lr.base_batch_size.')
    return parse_run_args(parser)


def main() -> int:
    args = parse_args()
    # Imported late: --help should not take seconds.
    from sohes.apis.command import run_command
    from sohes.apis.run_config import (
        read_config,
        use_amp,
        use_auto_scale_lr,
    )
    from sohes.apis.training import train_model

    def run() -> None:
        config = read_config(args.config, args.cfg_options, args.work_dir,
                             args.launcher)
        if args.amp:
            use_amp(config)
        if args.auto_scale_lr:
            use_auto_scale_lr(config)
        train_model(config, args.resume, args.trust_checkpoint)

    return run_command(run, 'the same command with --resume continues')


if __name__ == '__main__':
    sys.exit(main())
