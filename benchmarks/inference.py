"""CPU seconds of a photo: Phase 1's configurations, and a trained model.

    python benchmarks/inference.py --weights WEIGHTS PHOTOS \
        --change model.test_cfg.zooms=[1,1.5] \
        --change model.test_cfg.zooms=[1] model.backbone.test_vit_size=518

One core. Each photo passes once before it is measured. The ratio is to the
first configuration. Each --change is one more row: the model with these keys
changed.
"""
import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine import Config, DictAction

from sohes.apis import EntityInferencer
from sohes.apis.photo_entities import inferencer_finder, phase1_finder
from sohes.pseudo_labels.images import load_image

ROOT = Path(__file__).resolve().parents[1]


def seconds(find: Callable[[np.ndarray], object],
            photos: list[np.ndarray]) -> list[float]:
    """CPU seconds of each photo, the second time that it is seen."""
    taken = []
    for photo in photos:
        find(photo)
        start = time.process_time()
        find(photo)
        taken.append(time.process_time() - start)
    return taken


def model_finder(model: str, weights: str, changes: list[str]
                 ) -> Callable[[np.ndarray], object]:
    """All that the model finds, with keys of its configuration changed."""
    inferencer = EntityInferencer(None, model, 'cpu', vit_weights=weights)
    if changes:
        parser = argparse.ArgumentParser()
        parser.add_argument('changes', nargs='+', action=DictAction)
        config = Config(inferencer.model.cfg)
        config.merge_from_dict(parser.parse_args(changes).changes)
        inferencer = EntityInferencer(
            config, model, 'cpu', vit_weights=weights)
    return inferencer_finder(inferencer, min_score=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+')
    parser.add_argument('--weights', required=True, help='Of the ViT.')
    parser.add_argument('--configs', nargs='+', metavar='CONFIG', default=[
        str(ROOT / f'configs/sohes_phase1_{name}.py')
        for name in ('cpu', 'fast')])
    parser.add_argument('--model', default='sohes-vits14-demo')
    parser.add_argument('--change', nargs='+', action='append', default=[],
                        metavar='KEY=VALUE', help='Of the model.')
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = [load_image(photo) for photo in args.photos]
    finders = {
        Path(config).stem: phase1_finder(
            Config.fromfile(config), args.weights)
        for config in args.configs
    }
    for changes in [[], *args.change]:
        finders[', '.join([args.model, *changes])] = model_finder(
            args.model, args.weights, changes)
    first = None
    print('| | CPU seconds a photo, median | smallest | largest | ratio |\n'
          '|---|---|---|---|---|')
    for name, find in finders.items():
        taken = seconds(find, photos)
        median = statistics.median(taken)
        first = first or median
        print(f'| {name} | {median:.2f} | {min(taken):.2f} | '
              f'{max(taken):.2f} | {median / first:.2f} |', flush=True)


if __name__ == '__main__':
    main()
