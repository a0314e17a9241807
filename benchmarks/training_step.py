"""A training step of a configuration, as it is and with one change.

    python benchmarks/training_step.py configs/phase2/sohes_phase2_cpu.py \
        --cfg-options data_root=DIR/ model.backbone.weights=WEIGHTS \
        --change model.train_cfg.num_points=1536

Forward and backward of one batch of DIR's labels. The two models take turns,
on one thread; printed are the median CPU seconds of each and the median of the
ratios of a round.
"""
import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from sohes.apis.feature_maps import keep_feature_maps
from sohes.apis.run_config import read_config
from sohes.utils.imports import import_datasets


def first_batch(config: Config) -> dict:
    """The first samples of the training data, with a seed of its own."""
    keep_feature_maps(config)  # of a frozen ViT, which is not timed
    np.random.seed(0)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    return pseudo_collate(
        [dataset[k] for k in range(config.train_dataloader.batch_size)])


def seconds(model: nn.Module, batch: dict) -> float:
    """CPU seconds of a step without the optimizer's."""
    started = time.process_time()
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    taken = time.process_time() - started
    model.zero_grad()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG',
                        help='Configuration of Phase 2.')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction,
                        default={}, metavar='KEY=VALUE', help='Of both.')
    parser.add_argument('--change', nargs='+', action=DictAction,
                        required=True, metavar='KEY=VALUE',
                        help='Of the second.')
    parser.add_argument('--rounds', type=int, default=7,
                        help='Turns of each. Default: %(default)s.')
    args = parser.parse_args()
    torch.set_num_threads(1)
    init_default_scope('mmdet')
    import_datasets()
    taken = {}
    for name, change in (('as it is', {}), ('changed', args.change)):
        config = read_config(args.config, {**args.cfg_options, **change})
        model = MODELS.build(config.model).train()
        batch = first_batch(config)
        seconds(model, batch)  # what is made once
        taken[name] = (model, batch, [])
    for _ in range(args.rounds):
        for model, batch, times in taken.values():
            times.append(seconds(model, batch))
    for name, (*_, times) in taken.items():
        print(f'{name}: {statistics.median(times):.2f} s')
    (*_, first), (*_, second) = taken.values()
    ratio = statistics.median(a / b for a, b in zip(first, second))
    print(f'as it is / changed: {ratio:.2f}')


if __name__ == '__main__':
    main()
