"""Phases 2 and 3: train a segmenter on pseudo-labels.

    python tools/train.py configs/sohes_phase2.py
    tools/dist_train.sh configs/sohes_phase2.py 8

A run that was stopped continues exactly where it was with --resume. Exit
codes: 0 done, 1 training failed, 2 the command, its configuration or its data
is wrong.
"""
import argparse
import os
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='such as configs/sohes_phase2.py')
    parser.add_argument(
        '--work-dir',
        help='logs and checkpoints; default work_dirs/CONFIG')
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision, in bf16')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='continue this checkpoint, or the last one in the work dir')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from auto_scale_lr.base_batch_size to '
        'the batch of all processes')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override configuration keys, such as '
        'train_dataloader.batch_size=1')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none')
    # torchrun passes either spelling; the value comes from LOCAL_RANK.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0,
        help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


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
        train_model(config, args.resume)

    return run_command(run, 'the same command with --resume continues')


if __name__ == '__main__':
    sys.exit(main())
