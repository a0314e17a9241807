"""A checkpoint for inference alone: one model, its configuration, a hash.

    python tools/model_converters/publish_model.py CKPT sohes

writes sohes-HASH.safetensors, which has no room for code and needs no
configuration beside it:

    python demo/image_demo.py PHOTO sohes-HASH.safetensors

With sohes.pth as the name it writes a torch file with the same content, with
--half either in half precision. Of Phase 3 it takes the teacher. A frozen ViT
is not in the file, which says by a digest which one it was; --vit-weights of
the demos names it. Exit codes: 0 done, 2 bad input.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import converter_parser


def main() -> int:
    parser = converter_parser(__doc__)
    parser.add_argument('--half', action='store_true',
                        help='Write weights in half precision: half the size.')
    args = parser.parse_args()
    from sohes.apis.command import run_command
    from sohes.apis.publish import publish_model

    def run() -> None:
        path = publish_model(args.checkpoint, args.out, args.which,
                             args.trust_checkpoint, args.half)
        print(f'{path}, {path.stat().st_size / 2**20:.1f} MiB')

    return run_command(run, 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
