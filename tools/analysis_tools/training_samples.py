"""What a training configuration's augmentation gives the model to learn.

    python tools/analysis_tools/training_samples.py \
        configs/tiny/sohes_phase2_tiny.py --draws 200 \
        --cfg-options data_root=DIR/

Draws samples as a run with this configuration would, of I1 in Phase 3, and
prints how many masks they have, how many of these have no query, and how much
of the first image copy-paste hides. Exit code 2 and one sentence for bad
input.
"""
import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from sohes.apis.command import run_command
from sohes.apis.run_config import read_config
from sohes.datasets.samplers import ResumableSampler
from sohes.utils.arguments import at_least, options_argument, tool_parser
from sohes.utils.errors import said_in_a_sentence
from sohes.utils.imports import import_datasets


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', metavar='CONFIG',
                        help='Configuration of Phase 2 or 3.')
    parser.add_argument('--draws', type=at_least(1), default=200, metavar='N',
                        help='Samples to draw. Default: %(default)s.')
    parser.add_argument('--seed', type=int, default=0, metavar='SEED',
                        help='Seed of the run. Default: %(default)s.')
    options_argument(parser, 'data_root=DIR/')
    return parser.parse_args()


def build(config: Config) -> Any:
    """The dataset of labelled images; its samples say what is covered."""
    dataset = config.train_dataloader.dataset
    dataset = dataset.get('labeled', dataset)
    pack = dataset.pipeline[-1]
    pack['meta_keys'] = [*pack.get('meta_keys', ['img_id']), 'covered']
    return DATASETS.build(dataset)


def measure(args: argparse.Namespace) -> None:
    """Draw samples and print what they hold."""
    init_default_scope('mmdet')
    import_datasets()
    with said_in_a_sentence():
        config = read_config(args.config, args.cfg_options or {})
        dataset = build(config)
        dataset.full_init()
    model = config.model.get('detector', config.model)
    queries = model.get('panoptic_head', {}).get('num_queries')
    draws = iter(ResumableSampler(dataset, seed=args.seed))
    masks, covered = [], []
    started = time.perf_counter()
    for _ in range(args.draws):
        sample = dataset[next(draws)]['data_samples']
        masks.append(len(sample.gt_instances))
        covered.append(sample.metainfo.get('covered', 0.0))
    seconds = (time.perf_counter() - started) / args.draws
    masks, covered = np.array(masks), np.array(covered)
    print(f'{args.draws} samples of {len(dataset)} images, {seconds:.2f} s '
          'each')
    print(f'masks: {masks.mean():.1f} on average, {masks.max()} at most')
    if queries is not None:
        left = np.maximum(masks - queries, 0)
        print(f'more than the {queries} queries: '
              f'{100 * (left > 0).mean():.1f} % of the samples, '
              f'{100 * left.sum() / max(masks.sum(), 1):.1f} % of the masks '
              'have none')
    print(f'hidden of what the first image has labels for: '
          f'{100 * covered.mean():.1f} % on average, over 90 % in '
          f'{100 * (covered > 0.9).mean():.1f} % of the samples')


def main() -> int:
    args = parse_args()
    return run_command(lambda: measure(args), 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
