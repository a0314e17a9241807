"""The backbone of a checkpoint, for configs of mmdet, mmseg or mmpretrain.

    python tools/model_converters/extract_backbone.py CKPT backbone.pth

writes backbone-HASH.pth and prints the lines of a configuration that use it.
With --vit the plain ViT alone, for mmpretrain, or for Phase 1's --weights.
Of Phase 3 it takes the teacher. Exit codes: 0 done, 2 bad input.
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
    parser.add_argument('--vit', action='store_true',
                        help='Take the ViT without its adapter.')
    args = parser.parse_args()
    from mmengine.config import Config

    from sohes.apis.command import run_command
    from sohes.apis.publish import extract_backbone

    def run() -> None:
        path, backbone = extract_backbone(
            args.checkpoint, args.out, args.vit, args.which,
            args.trust_checkpoint)
        print(f'{path}, {path.stat().st_size / 2**20:.1f} MiB\n')
        print(Config(dict(backbone=backbone)).pretty_text)

    return run_command(run, 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
