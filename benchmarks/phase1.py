"""Phase 1 by step: CPU and wall seconds, and pydensecrf beside localcrf.

    python benchmarks/phase1.py --weights WEIGHTS PHOTO [PHOTO ...]
        [--config configs/sohes_phase1_fast.py] [--sizes 1024x1024]
        [--random vit_base --patch 8] [--device cuda] [--no-densecrf]
        [--no-early] [--gt entities_val.json] [--neighbours 96 192]

Each photo is resized to every size asked for (its own without one). The same
candidates are refined by localcrf and by DenseCRF, each with and without
stopping early; with --gt, a COCO json that has the photos, both are compared
by AR, too. One thread; the process's own CPU seconds, so that ratios hold on a
busy machine; memory is the process's peak until then.
"""
import argparse
import dataclasses
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[_name] = '1'

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.apis.generate import build_extractor, read_config
from sohes.evaluation.coco_files import read_ground_truth
from sohes.experiments.ablations import Row
from sohes.pseudo_labels import best_first
from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.options import ExploreOptions, with_thresholds
from sohes.pseudo_labels.pipeline import finish, propose
from sohes.pseudo_labels.refinement import build_refiner
from sohes.pseudo_labels.warm_up import warm_up
from sohes.structures import Entities

# What configs/sohes_phase1_cpu.py refined with before localcrf.
BEFORE = dict(type='densecrf', max_side=256, smooth=(1, 0.33),
              appearance=(4, 1.7, 6))


class Clock:
    """Adds up calls, CPU and wall seconds under names."""

    def __init__(self) -> None:
        self.spent: dict[str, np.ndarray] = {}

    def time(self, name: str, function: Callable, *args: Any,
             **kwargs: Any) -> Any:
        """Call and return what the call returns."""
        started = time.process_time(), time.perf_counter()
        result = function(*args, **kwargs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.spent.setdefault(name, np.zeros(3))
        self.spent[name] += (1, time.process_time() - started[0],
                             time.perf_counter() - started[1])
        return result

    def take(self, whole: str, part: str) -> None:
        """Leave of a step what is not another's."""
        self.spent[whole][1:] -= self.spent[part][1:]


def random_weights(arch: str, patch: int, folder: Path) -> str:
    """A file of random weights in timm's names: the ViT's time, not its use.

    Args:
        arch: 'vit_small' or 'vit_base'.
        patch: side of a patch in pixels.
    """
    import timm
    torch.manual_seed(0)
    model = timm.create_model(f'{arch}_patch{patch}_224', num_classes=0)
    path = folder / 'random.pth'
    torch.save(model.state_dict(), path)
    return str(path)


def refine(clock: Clock, name: str, image: np.ndarray, found: Any,
           options: ExploreOptions, everything: bool) -> Entities:
    """Steps 3 and 4 under a name; all candidates if asked for."""
    settled = mock.patch.object(best_first, '_settled', lambda *args: False)
    if not everything:
        return clock.time(name, finish, image, found, options)
    with settled:
        return clock.time(name, finish, image, found, options)


def measure(image: np.ndarray, extractor: Any, options: ExploreOptions,
            densecrf: bool, early: bool,
            neighbours: list[int]) -> tuple[dict, Clock]:
    """Print the table of one photo.

    Returns:
        tuple: labels by the step's name, and the seconds.
    """
    clock = Clock()
    results = {}

    def features(images: list, size: int, **kwargs: Any) -> np.ndarray:
        step = f'ViT, {extractor.grid(size)}^2 patches'
        for _ in images[1:]:
            clock.spent.setdefault(step, np.zeros(3))[0] += 1
        return clock.time(step, extractor, images, size, **kwargs)
    features.center = getattr(extractor, 'center', False)
    found = clock.time('1 and 2 clustering', propose, image, features,
                       options)
    for step in list(clock.spent):
        if step.startswith('ViT'):
            clock.take('1 and 2 clustering', step)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for everything in (False, True) if early else (True, ):
        what = 'all candidates' if everything else 'stops early'
        refiners = [options.refiner, *([BEFORE] if densecrf else [])]
        if neighbours:
            refiners[:1] = [dict(options.refiner, neighbours=count)
                            for count in neighbours]
        for refiner in refiners:
            name = f'3 and 4 {_named(refiner)}, {what}'
            results[name] = refine(
                clock, name, image, found,
                dataclasses.replace(options, refiner=refiner), everything)
    labels = next(iter(results.values()))
    height, width = image.shape[:2]
    print(f'\n{width} x {height}, {len(found.items)} candidates, '
          f'{len(labels.rles)} masks, {memory:.1f} GB after step 2, '
          f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} '
          f'GB after step 4')
    print(f'{"step":<36}{"calls":>6}{"CPU s":>10}{"wall s":>10}')
    for name, (calls, cpu, wall) in clock.spent.items():
        print(f'{name:<36}{calls:>6.0f}{cpu:>10.2f}{wall:>10.2f}')
    return results, clock


def _named(refiner: Mapping[str, Any]) -> str:
    """Such as 'localcrf of 128', with its neighbours."""
    if refiner['type'] != 'localcrf':
        return refiner['type']
    return f'localcrf of {build_refiner(refiner).neighbours}'


class Comparison:
    """CPU seconds and AR of each way to refine, over all photos.

    Args:
        gt: a COCO json with the photos, by the names of their files.
    """

    def __init__(self, gt: str) -> None:
        self.truth = {
            row['file_name']: row['masks']
            for row in read_ground_truth(gt).values()
        }
        self.rows: dict[str, Row] = {}

    def add(self, photo: str, results: dict[str, Entities],
            clock: Clock) -> None:
        """Take in what `measure` returns.

        Raises:
            ValueError: the ground truth does not have the photo.
        """
        name = Path(photo).name
        if name not in self.truth:
            raise ValueError(f'--gt has no photo {name}')
        for step, labels in results.items():
            row = self.rows.setdefault(step, Row({}, ExploreOptions()))
            row.add(self.truth[name], labels, clock.spent[step][2:0:-1])

    def show(self) -> None:
        """Print a line a way."""
        print(f'\n{"all photos, a photo":<36}{"CPU s":>8}{"masks":>8}'
              f'{"AR":>8}{"AR_S":>8}{"AR_M":>8}{"AR_L":>8}')
        for step, row in self.rows.items():
            found = row.result()
            values = [found[key] for key in (
                'CPU s/image', 'masks/image', 'AR@1000', 'AR_S', 'AR_M',
                'AR_L')]
            print(f'{step:<36}' + ''.join(
                f'{"-" if value is None else format(value, ".2f"):>8}'
                for value in values))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+')
    parser.add_argument('--config', default=str(
        Path(__file__).parents[1] / 'configs/sohes_phase1_cpu.py'))
    parser.add_argument('--weights', help='a name or a file')
    parser.add_argument('--random', choices=('vit_small', 'vit_base'),
                        help='random weights of this size in their place')
    parser.add_argument('--patch', type=int, default=8,
                        help='of random weights, in pixels')
    parser.add_argument('--sizes', nargs='*', default=[],
                        help='WIDTHxHEIGHT in pixels')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', choices=('auto', 'fp32', 'bf16', 'fp16'))
    parser.add_argument('--refiner', choices=('localcrf', 'densecrf', 'none'),
                        help="in place of the configuration's")
    parser.add_argument('--neighbours', type=int, nargs='*', default=[],
                        help="of localcrf, a row each; default: the "
                        "configuration's")
    parser.add_argument('--max-crops', type=int)
    parser.add_argument('--no-densecrf', action='store_true')
    parser.add_argument('--no-early', action='store_true',
                        help='all candidates alone')
    parser.add_argument('--gt', help='a COCO json with the photos')
    args = parser.parse_args()
    if args.gt and args.sizes:
        parser.error('--gt is for photos of their own size, without --sizes')
    return args


def main() -> None:
    args = parse_args()
    from mmengine.config import Config
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights
        if args.random:
            weights = random_weights(args.random, args.patch, Path(folder))
        options, arguments, _ = read_config(
            Config.fromfile(args.config), weights)
        arguments.update(device=args.device)
        if args.dtype:
            arguments.update(dtype=args.dtype)
        extractor = build_extractor(arguments)
    refiner = dict(options.refiner)
    if args.refiner is not None and args.refiner != refiner['type']:
        refiner = dict(type=args.refiner)
    if refiner['type'] == 'localcrf' and args.device != 'cpu':
        refiner.update(device=args.device)
    options = dataclasses.replace(options, refiner=refiner)
    if args.max_crops and options.local is not None:
        options = dataclasses.replace(
            options, local=dataclasses.replace(options.local,
                                               max_crops=args.max_crops))
    warm_up()
    extractor([np.zeros((64, 64, 3), np.uint8)], 64)
    comparison = Comparison(args.gt) if args.gt else None
    from PIL import Image
    for photo in args.photos:
        image = load_image(photo)
        for size in args.sizes or [None]:
            if size is not None:
                width, height = map(int, size.split('x'))
                image = np.array(Image.fromarray(image).resize(
                    (width, height), Image.Resampling.LANCZOS))
            found = measure(image, extractor,
                            with_thresholds(options, extractor),
                            not args.no_densecrf, not args.no_early,
                            args.neighbours)
            if comparison is not None:
                comparison.add(photo, *found)
    if comparison is not None:
        comparison.show()


if __name__ == '__main__':
    main()
