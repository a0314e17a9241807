"""A trained model beside the labels of Phase 1, with seconds for each.

    python demo/model_demo.py [CKPT] [--img-dir PHOTOS] [--out-dir outputs]

writes OUT_DIR/comparison.jpg: a row for each photo with what Phase 1 and what
the model found, and the wall-clock seconds of each. Of both the 60 surest
masks are drawn, small ones over large ones. Without --img-dir it takes photos
that scikit-image ships. CKPT is another checkpoint than the one in
demo/models/. Phase 1 takes the model's own ViT where that is frozen, else
the weights of `make demo`. Exit codes: 0 done, 2 an input or the model is
missing or wrong, 130 interrupted.
"""
import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import (
    device_argument,
    num_photos_argument,
    old_spelling,
    score_argument,
    tool_parser,
    trust_argument,
    vit_argument,
)

#: Masks drawn on a photo; more of them over each other show borders only.
DRAWN = 60


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('model', nargs='?', metavar='CKPT',
                        default='sohes-vits14-demo',
                        help='Checkpoint of Phase 2 or 3, or the name of a '
                        'model in demo/models/. Default: %(default)s.')
    parser.add_argument('--model', dest='named', help=argparse.SUPPRESS)
    parser.add_argument('--img-dir', help='Folder of your own photos. '
                        'Default: four photos of scikit-image.')
    num_photos_argument(parser, 'The first N photos.', '--photos', default=6)
    parser.add_argument(
        '--out-dir', default=str(ROOT / 'outputs' / 'demo-model'),
        help='Folder to write into. Default: %(default)s.')
    action = parser.add_argument(
        '--phase1-config', metavar='CONFIG', dest='config',
        default=str(ROOT / 'configs' / 'sohes_phase1_fast.py'),
        help='Configuration of Phase 1. Default: %(default)s.')
    old_spelling(parser, action, '--config')
    device_argument(parser)
    score_argument(parser, 'The model leaves out')
    trust_argument(parser)
    vit_argument(parser)
    args = parser.parse_args()
    args.model = args.named or args.model
    return args


def compare(args: argparse.Namespace) -> Path:
    """Run both on each photo and draw what they found.

    Returns:
        The picture.
    """
    from demo_weights import offer_stand_in, resolve_demo_weights
    from mmengine.config import Config

    from sohes.apis import EntityInferencer
    from sohes.apis.photo_entities import inferencer_finder, phase1_finder
    from sohes.pseudo_labels.images import find_images, load_image
    from sohes.utils.photo_files import shipped_photos
    from sohes.visualization.comparison import draw_comparison
    from sohes.visualization.save import save_picture
    offer_stand_in()
    out = Path(args.out_dir)
    inferencer = EntityInferencer(
        None, args.model, args.device, show_progress=False,
        trust_checkpoint=args.trust_checkpoint, vit_weights=args.vit_weights)
    backbone = getattr(inferencer.model, 'backbone', None)
    vit = getattr(backbone, 'weights', None) or resolve_demo_weights()
    config = Config.fromfile(args.config)
    if args.device:
        config.merge_from_dict({'extractor.device': args.device})
    finders = {
        'labels of Phase 1': phase1_finder(config, str(vit)),
        'model': inferencer_finder(inferencer, args.pred_score_thr)
    }
    photos = Path(args.img_dir or shipped_photos(out / 'photos'))
    rows = []
    for name in find_images(photos)[:args.num_photos]:
        image = load_image(photos / name)
        panels = []
        for title, find in finders.items():
            if not rows:  # loading and compiling count for no photo
                find(image)
            started = time.perf_counter()
            found = find(image)
            seconds = time.perf_counter() - started
            caption = f'{len(found)} masks, {seconds:.1f} s'
            panels.append((found.best(DRAWN), caption))
            print(f'{name}: {title}: {caption}', flush=True)
        rows.append((name, image, panels))
    path = out / 'comparison.jpg'
    save_picture(path, draw_comparison(list(finders), rows))
    return path


def main() -> int:
    args = parse_args()
    from sohes.apis.command import run_command
    from sohes.utils.errors import said_in_a_sentence

    def run() -> None:
        with said_in_a_sentence():
            print(f'look at {compare(args)}')

    return run_command(run, 'the same command starts anew')


if __name__ == '__main__':
    sys.exit(main())
