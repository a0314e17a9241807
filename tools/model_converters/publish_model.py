"""A checkpoint for inference alone: one model, its configuration, a hash.

    python tools/model_converters/publish_model.py CKPT sohes.pth

writes sohes-HASH.pth, which needs no configuration beside it:

    python demo/image_demo.py PHOTO sohes-HASH.pth

Of Phase 3 it takes the teacher. Exit codes: 0 done, 2 bad input.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a file that training wrote')
    parser.add_argument('out', help='its digits come before the suffix')
    parser.add_argument('--student', action='store_true',
                        help='of Phase 3, instead of the teacher')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from sohes.apis.command import run_command
    from sohes.apis.publish import publish_model

    def run() -> None:
        path = publish_model(args.checkpoint, args.out,
                             'student' if args.student else 'teacher')
        print(f'{path}, {path.stat().st_size / 2**20:.1f} MiB')

    return run_command(run, 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
