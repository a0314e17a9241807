"""Is a model better than its labels? Asked of photos without ground truth.

    python tools/analysis_tools/compare_views.py configs/sohes_phase1_cpu.py \
        CKPT --img-dir PHOTOS

Phase 1 and the model look at the photos and at three other pictures of each:
mirrored, cropped, made smaller. What is really there is found again; which of
the two finds more again, docs/evaluation.md says how, is the answer. CKPT may
be sohes-vits14-demo. Take photos that the model was not trained on. Photos
that cannot be read are left out. Exit codes: 0 done, 2 the command, its
configuration, the checkpoint or the photos are wrong, 130 interrupted.
"""
import argparse
import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.apis.command import run_command
from sohes.apis.generate import phase1_config
from sohes.apis.label_free import PICTURES, compare
from sohes.apis.photo_entities import (
    Finder,
    checkpoint_finder,
    phase1_finder,
)
from sohes.pseudo_labels.images import find_images, load_image
from sohes.structures import Entities
from sohes.utils.arguments import (
    checkpoint_argument,
    device_argument,
    num_photos_argument,
    options_argument,
    quiet_argument,
    tool_parser,
    trust_argument,
    vit_argument,
    weights_argument,
)
from sohes.utils.errors import ImageError, said_in_a_sentence
from sohes.utils.files import whole_file
from sohes.utils.photo_files import read_names, spaced
from sohes.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', metavar='CONFIG',
                        help='Configuration of Phase 1.')
    checkpoint_argument(parser)
    parser.add_argument('--img-dir', required=True,
                        help='Folder of photos; its subfolders are read, '
                        'too.')
    parser.add_argument('--names', metavar='JSON',
                        help='Json list of photos of the folder. Default: '
                        'all that are there.')
    num_photos_argument(parser, 'Photos, evenly spaced.', default=12, least=2)
    parser.add_argument('--out', metavar='JSON',
                        help='Json to write what is printed into.')
    weights_argument(parser)
    vit_argument(parser)
    device_argument(parser)
    trust_argument(parser)
    quiet_argument(parser)
    options_argument(parser, 'pseudo_labels.max_masks=100')
    return parser.parse_args()


def counted(finder: Finder, progress: Progress) -> Finder:
    """The same finder; each picture that it has looked at is a step."""
    def find(picture: np.ndarray) -> Entities:
        found = finder(picture)
        progress.step()
        return found
    return find


def run(args: argparse.Namespace) -> None:
    """Look, compare, print."""
    with said_in_a_sentence():
        names = (read_names(args.names, '--names') if args.names else
                 find_images(args.img_dir))
        photos = {}
        for name in spaced(names, args.num_photos):
            try:
                photos[name] = load_image(Path(args.img_dir) / name)
            except ImageError as error:
                print(f'not read: {error}', file=sys.stderr)
        labels = phase1_finder(
            phase1_config(args.config, args.cfg_options), args.weights)
        model = checkpoint_finder(
            None, args.checkpoint, args.device, min_score=0.0,
            trust_checkpoint=args.trust_checkpoint,
            vit_weights=args.vit_weights)
        with Progress(2 * PICTURES * len(photos), args.quiet,
                      task='looking', unit='pictures') as progress:
            found = compare(list(photos.values()), counted(labels, progress),
                            counted(model, progress))
    if args.out:
        with whole_file(Path(args.out)) as file:
            file.write(json.dumps(dict(
                sentence=found.sentence(), table=found.table(),
                names=list(photos), **dataclasses.asdict(found)), indent=1)
                + '\n')
    if not args.quiet:
        print(f'{found.sentence()}\n')
        for row in found.table():
            print(f'{row[0]:32}' + ''.join(f'{cell:>19}' for cell in row[1:]))


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
