"""A trained model beside the labels of Phase 1, with seconds for each.

    python demo/model_demo.py [--img-dir PHOTOS] [--out-dir outputs]

writes OUT_DIR/comparison.jpg: a row for each photo with what Phase 1 and what
the model found, and the wall-clock seconds of each. Without --img-dir it takes
photos that scikit-image ships. --model names another checkpoint than the one
in demo/models/. Phase 1 takes the model's own ViT where that is frozen, else
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

from sohes.utils.arguments import trust_argument, vit_argument


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--img-dir', help='your own photos')
    parser.add_argument('--photos', type=int, default=6, metavar='N',
                        help='of these at most (6)')
    parser.add_argument(
        '--out-dir', default=str(ROOT / 'outputs' / 'demo-model'))
    parser.add_argument('--model', default='sohes-vits14-demo',
                        metavar='NAME|CKPT')
    parser.add_argument(
        '--config', default=str(ROOT / 'configs' / 'sohes_phase1_fast.py'),
        help='of Phase 1')
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument('--pred-score-thr', type=float, default=0.3,
                        help="the model's masks that are less sure are left "
                        'out')
    trust_argument(parser)
    vit_argument(parser)
    args = parser.parse_args()
    if args.photos < 1:
        parser.error(f'--photos must be at least 1, got {args.photos}')
    return args


def compare(args: argparse.Namespace) -> Path:
    """Run both on each photo and draw what they found.

    Returns:
        The picture.
    """
    from mmengine.config import Config

    from sohes.apis import EntityInferencer
    from sohes.apis.photo_entities import inferencer_finder, phase1_finder
    from sohes.models.backbones import resolve_demo_weights
    from sohes.pseudo_labels.images import find_images, load_image
    from sohes.utils.photo_files import shipped_photos
    from sohes.visualization.comparison import Panel, draw_comparison
    from sohes.visualization.save import save_picture
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
    for name in find_images(photos)[:args.photos]:
        image = load_image(photos / name)
        panels = []
        for title, find in finders.items():
            if not rows:  # loading and compiling count for no photo
                find(image)
            started = time.perf_counter()
            found = find(image)
            seconds = time.perf_counter() - started
            caption = f'{len(found.rles)} masks, {seconds:.1f} s'
            panels.append(Panel(found.rles, found.forest, caption))
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
