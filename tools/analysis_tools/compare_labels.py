"""Labels of several configurations of Phase 1 beside each other.

    python tools/analysis_tools/compare_labels.py \
        configs/hassod/hassod_phase1_vits14.py \
        configs/tiny/sohes_phase1_tiny.py --weights WEIGHTS \
        --data bsds500 entities_val.json VAL \
        --data coco_mini instances.json IMAGES --out-dir OUT

labels the same photos with the same weights in each way, and writes
OUT/labels.md and OUT/labels.json: masks an image, AR by size, AP, F1 of the
forest, CPU seconds. Both files are written anew after every photo, so a run
that is stopped leaves the table so far. Exit codes: 0 done, 2 bad input.
"""
import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np
from mmengine.config import Config

from sohes.apis.command import run_command
from sohes.apis.generate import UsageError, build_extractor, read_config
from sohes.evaluation.forest_pairs import (
    ForestCounts,
    annotated_entities,
    compare_forests,
)
from sohes.experiments.ablations import METRICS, Row, clock, read_photos
from sohes.experiments.tables import markdown_table
from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.methods import LabelOptions, explore
from sohes.pseudo_labels.refinement import build_refiner
from sohes.utils.arguments import (
    spaced_photos_argument,
    tool_parser,
    weights_argument,
)
from sohes.utils.files import whole_file
from sohes.utils.progress import Progress
from sohes.version import __version__


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help='Configurations of Phase 1.')
    weights_argument(parser)
    parser.add_argument('--data', nargs=3, action='append', required=True,
                        metavar=('NAME', 'GT', 'IMG_DIR'),
                        help='Name for the table, ground truth as a COCO '
                        'json, whose classes count as one, and folder of its '
                        'photos. May be repeated.')
    parser.add_argument('--out-dir', required=True,
                        help='Folder to write into.')
    spaced_photos_argument(parser)
    return parser.parse_args()


@dataclass
class Method:
    """One configuration, ready to label.

    Attributes:
        name (str): of its file.
        extractor (callable): (images, size) -> (B, h, w, C) float32.
        options (LabelOptions): all values.
    """
    name: str
    extractor: Any
    options: LabelOptions

    @classmethod
    def read(cls, path: str, weights: str | None) -> 'Method':
        """Whatever can be wrong is found here."""
        options, arguments, _ = read_config(Config.fromfile(path), weights)
        build_refiner(options.refiner)
        extractor = build_extractor(arguments)
        method = cls(Path(path).stem, extractor, options)
        # Not timed: the first calls compile and allocate.
        method.label(np.random.default_rng(0).integers(
            0, 256, (64, 64, 3), np.uint8))
        return method

    def label(self, image: np.ndarray) -> tuple:
        """The labels of an (H, W, 3) uint8 image, and (2,) seconds."""
        started = clock()
        found = explore(image, self.extractor, self.options)
        return found, clock() - started


class ComparedRow(Row):
    """A row with the F1 of the forest, see docs/evaluation.md."""

    def __init__(self, head: dict[str, str], options: LabelOptions) -> None:
        super().__init__(head, options)
        self.forest = ForestCounts()

    def result(self) -> dict[str, Any]:
        """masks/image, AR by size, AP, F1 in percent, CPU seconds."""
        row = super().result()
        order = (*METRICS[1:], METRICS[0])
        pairs = self.forest.percentages()['F1']
        return {
            **self.head, 'photos': str(len(self.masks)),
            'masks/image': row['masks/image'],
            **{name: row[name] for name in order},
            # nan is no json: neither forest has a pair
            'forest F1': None if math.isnan(pairs) else pairs,
            'CPU s/image': row['CPU s/image']}


def write(rows: Sequence[ComparedRow], methods: Sequence[Method],
          out: Path) -> str:
    """The table as markdown and json."""
    results = [row.result() for row in rows if row.masks]
    text = markdown_table(results) + '\n'
    info = dict(
        version=__version__,
        methods={method.name: dict(weights=method.extractor.weights_hash,
                                   options=repr(method.options))
                 for method in methods})
    with whole_file(out / 'labels.md') as file:
        file.write(text)
    with whole_file(out / 'labels.json') as file:
        json.dump(dict(info=info, rows=results), file, indent=1)
        file.write('\n')
    return text


def run(args: argparse.Namespace) -> None:
    """Label, count and write."""
    try:
        data = {name: (gt, read_photos(gt, folder, args.num_photos,
                                       args.every))
                for name, gt, folder in args.data}
        methods = [Method.read(path, args.weights) for path in args.configs]
        out = Path(args.out_dir)
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, ImportError, SyntaxError) as error:
        raise UsageError(str(error)) from error
    rows: list[ComparedRow] = []
    with Progress(sum(len(photos) for _, photos in data.values())) as bar:
        for name, (gt, photos) in data.items():
            here = [ComparedRow(dict(data=name, labels=method.name),
                                method.options) for method in methods]
            rows += here
            for photo in photos:
                image = load_image(photo['path'])
                truth = annotated_entities(photo, gt)
                for row, method in zip(here, methods):
                    found, seconds = method.label(image)
                    row.add(photo['masks'], found, seconds)
                    row.forest += compare_forests(found, truth)
                text = write(rows, methods, out)
                bar.step()
    print(text)
    print(f'{out / "labels.md"}, {out / "labels.json"}')


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'the table of the photos so far is '
                       'in --out-dir')


if __name__ == '__main__':
    sys.exit(main())
