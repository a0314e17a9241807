"""How much of the pairwise relation of a COCO json reaches the loss.

    python tools/analysis_tools/ancestor_pairs.py labels.json

The paper tests every pair of masks for who is an ancestor (section 3.1, step
4). This tool does so anew on the masks, and counts how many of these pairs
are still there in what the model learns: of the trees alone, as a json
without ancestor_ids has them, and as sohes.EntityDataset loads this json.
With --table-6b it also prints how the pairs of these masks change with
theta_cover (table 6b of the paper). Exit code 2 and one sentence for bad
input.
"""
import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.apis.command import run_command
from sohes.datasets.entity_index import EntityIndex
from sohes.experiments.ablations import CoverChange
from sohes.experiments.tables import markdown_table
from sohes.structures import EntityForest
from sohes.utils.arguments import num_photos_argument, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('labels', metavar='JSON', help='Any COCO json.')
    parser.add_argument('--coverage', type=float, default=0.9,
                        metavar='SHARE', help='Value of theta_cover that the '
                        'labels were made with, in (0, 1]. Default: '
                        '%(default)s.')
    num_photos_argument(parser, 'The first N photos by id.', '--images')
    parser.add_argument('--table-6b', action='store_true',
                        help='Print the change with theta_cover, too.')
    args = parser.parse_args()
    if not 0 < args.coverage <= 1:
        parser.error(f'--coverage must be in (0, 1], got {args.coverage}')
    return args


def compare(args: argparse.Namespace) -> None:
    """Count pairs and print them."""
    index = EntityIndex.open(args.labels, coverage=args.coverage)
    count = min(len(index), args.num_photos or len(index))
    tested, change = 0, CoverChange(args.coverage)
    # Of the trees, of the json: pairs that are kept, pairs that are new.
    counts = np.zeros((2, 2), int)
    for position in range(count):
        entities = index.entities(position)
        kept = np.flatnonzero(~entities.records['crowd'])
        rles = entities.read().subset(kept).rles
        if args.table_6b:
            change.add(rles)
        truth = EntityForest.from_masks(rles, args.coverage).ancestors
        tested += int(truth.sum())
        for row, each in enumerate((replace(entities, pairs=None), entities)):
            found = each.forest.subset(kept).ancestors
            counts[row] += (found & truth).sum(), (found & ~truth).sum()
    print(f'{count} images, {tested} pairs by the test of section 3.1')
    for name, (same, new) in zip(('trees alone', 'as loaded'),
                                 counts.tolist()):
        print(f'{name:11}: {same} kept ({100 * same / max(tested, 1):.1f} %), '
              f'{tested - same} lost, {new} that the test does not give')
    if args.table_6b:
        print(f'\n{markdown_table(change.results())}')


def main() -> int:
    args = parse_args()
    return run_command(lambda: compare(args), 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
