"""Entities of a photo, a folder or a video, with a trained checkpoint.

    python demo/image_demo.py PHOTO CONFIG CKPT --out-dir outputs
    python demo/image_demo.py PHOTO CKPT

PHOTO may be a folder or a video. Without CONFIG the one inside the checkpoint
is taken; CKPT may be sohes-vits14-demo, the model in demo/models/. Pictures go
to OUT_DIR/vis, predictions to OUT_DIR/preds. Exit codes: 0 done, 2 an input,
the configuration or the checkpoint is wrong, 130 interrupted.
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
    at_least,
    device_argument,
    quiet_argument,
    score_argument,
    tool_parser,
    trust_argument,
    vit_argument,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('inputs', metavar='PHOTO',
                        help='Photo, folder of photos or video.')
    parser.add_argument('model', nargs='?', metavar='CONFIG',
                        help='Configuration. Default: the one inside the '
                        'checkpoint.')
    parser.add_argument('weights', metavar='CKPT',
                        help='Checkpoint of Phase 2 or 3.')
    parser.add_argument('--out-dir', default='outputs',
                        help='Folder to write into. Default: %(default)s.')
    device_argument(parser)
    score_argument(parser, 'Pictures leave out')
    parser.add_argument('--batch-size', type=at_least(1), default=1,
                        metavar='N', help='Photos in a forward pass. Default: '
                        '%(default)s.')
    parser.add_argument('--show', action='store_true',
                        help='Open a window for each picture.')
    parser.add_argument('--no-save-vis', action='store_true',
                        help='Write no pictures.')
    parser.add_argument('--no-save-pred', action='store_true',
                        help='Write no predictions.')
    parser.add_argument('--print-result', action='store_true',
                        help='Print the predictions.')
    quiet_argument(parser)
    trust_argument(parser)
    vit_argument(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from demo_weights import offer_stand_in

    from sohes.apis import EntityInferencer
    from sohes.apis.command import run_command

    offer_stand_in()

    def run() -> None:
        inferencer = EntityInferencer(args.model, args.weights, args.device,
                                      show_progress=not args.quiet,
                                      trust_checkpoint=args.trust_checkpoint,
                                      vit_weights=args.vit_weights)
        result = inferencer(
            args.inputs,
            batch_size=args.batch_size,
            out_dir=args.out_dir,
            pred_score_thr=args.pred_score_thr,
            no_save_vis=args.no_save_vis,
            no_save_pred=args.no_save_pred,
            show=args.show,
            print_result=args.print_result)
        found = result['predictions']
        masks = sum(len(image['masks']) for image in found)
        if not args.quiet:
            print(f'{len(found)} images, {masks} masks: {args.out_dir}')

    return run_command(run, 'what was finished stays in --out-dir')


if __name__ == '__main__':
    sys.exit(main())
