"""CPU seconds of a photo: Phase 1's configurations, and a trained model.

    python benchmarks/inference.py --weights WEIGHTS PHOTOS

One core. Each photo passes once before it is measured. The ratio is to the
first configuration.
"""
import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine import Config

from sohes.apis.photo_entities import checkpoint_finder, phase1_finder
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
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = [load_image(photo) for photo in args.photos]
    finders = {
        Path(config).stem: phase1_finder(
            Config.fromfile(config), args.weights)
        for config in args.configs
    }
    finders[args.model] = checkpoint_finder(
        None, args.model, 'cpu', min_score=0.0, vit_weights=args.weights)
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
