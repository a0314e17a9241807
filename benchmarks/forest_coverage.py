"""Who covers whom among many masks: beside pycocotools and dense arrays.

    python benchmarks/forest_coverage.py [--masks 200] [--size 1024]

The forest of N nested masks from their RLEs (section 3.1, step 4); the share
of each mask in each other by pycocotools (``iou`` with crowd, the same
figure); and by a product of dense float arrays. Medians of one run on one
thread, as ratios.
"""
import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import numpy as np

from benchmarks.head import nested_masks
from sohes.structures import EntityForest
from sohes.structures.mask_ops import PackedMasks, pairwise_intersections


def noisy_masks(count: int, size: int) -> np.ndarray:
    """(count, size, size) bool: every pixel by chance, the worst of RLEs."""
    return np.random.default_rng(0).random((count, size, size)) < 0.5


def by_pycocotools(rles: list[dict]) -> np.ndarray:
    """(N, N) share of mask j that lies in mask i."""
    return coco_mask.iou(rles, rles, [1] * len(rles)).T


def by_arrays(masks: np.ndarray) -> np.ndarray:
    """(N, N) pixels that two masks share."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    return flat @ flat.T


def seconds(function: Callable, argument: object, repeats: int) -> float:
    """Median wall seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--masks', type=int, default=200)
    parser.add_argument('--size', type=int, default=1024)
    args = parser.parse_args()
    print(f'{args.masks} masks of {args.size} x {args.size}')
    print(f'{"":<10}{"forest":>10}{"pycocotools":>14}{"arrays":>10}')
    for name, make in (('nested',
                        lambda n, s: nested_masks(n, s, 0)),
                       ('noise', noisy_masks)):
        masks = make(args.masks, args.size)
        rles = coco_mask.encode(
            np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))
        EntityForest.from_masks(rles[:2])  # compile
        shared = pairwise_intersections(PackedMasks.from_any(rles))
        assert np.array_equal(shared, by_arrays(masks))
        ours = seconds(EntityForest.from_masks, rles, 5)
        theirs = seconds(by_pycocotools, rles, 1)
        dense = seconds(by_arrays, masks, 1)
        print(f'{name:<10}{ours:>8.3f} s{theirs / ours:>12.1f} x'
              f'{dense / ours:>8.1f} x', flush=True)


if __name__ == '__main__':
    main()
