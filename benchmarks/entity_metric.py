"""AR and AP of 100 images with 1000 masks each: beside pycocotools.

    python benchmarks/entity_metric.py [--images 100] [--masks 1000]

Ground truth and predictions are blobs with ragged edges, from 1/30 to half
of the image's side: two thirds of the predictions are a mask of the ground
truth, moved and drawn anew, better or worse; the others lie anywhere. All
three count the same: recall at 1, 10, 100 and 1000 predictions, by four
sizes, and precision. What the others need to be told (``loadRes``) is not
timed. CPU seconds, which a busy machine stretches little, as the ratio of
medians; the figures must be equal to the last bit.

To pass: at least 5 times faster than pycocotools.
"""
import argparse
import contextlib
import io
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.evaluation import ImageMasks, evaluate_masks
from sohes.evaluation.mask_matching import detection_limits, match_image

SIZE = (480, 640)
BAR = 5


def blob(rng: np.random.Generator, x: float, y: float, radius: float) -> dict:
    """A ragged disc as RLE, cut at the image's border."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    away = radius * (1 + sum(
        rng.normal(0, 0.15 / k) * np.cos(k * angle + rng.uniform(0, 6))
        for k in range(1, 9)))
    points = np.stack([x + away * np.cos(angle), y + away * np.sin(angle)], 1)
    points = np.clip(points, 0, (SIZE[1], SIZE[0]))
    return coco_mask.frPyObjects([points.ravel().tolist()], *SIZE)[0]


def draw(rng: np.random.Generator, count: int) -> ImageMasks:
    """An image with 20 to 100 masks and ``count`` predictions."""
    def place() -> tuple[float, float, float]:
        return (rng.uniform(0, SIZE[1]), rng.uniform(0, SIZE[0]),
                np.exp(rng.uniform(np.log(8), np.log(120))))

    image = ImageMasks()
    places = [place() for _ in range(rng.integers(20, 100))]
    image.gt_rles = [blob(rng, *p) for p in places]
    image.gt_crowd = [False] * len(places)
    for number in range(count):
        x, y, radius = place()
        if number % 3:
            x, y, radius = places[rng.integers(len(places))]
            shift = rng.exponential(0.15) * radius
            x, y = rng.normal((x, y), shift + 1e-6)
            radius *= np.exp(rng.normal(0, 0.1))
        image.rles.append(blob(rng, x, y, radius))
        image.scores.append(float(np.float32(rng.random())))
    for rles, areas in ((image.gt_rles, image.gt_areas),
                        (image.rles, image.areas)):
        areas.extend(float(coco_mask.area(rle)) for rle in rles)
    return image


def as_coco(images: list[ImageMasks], kind: type) -> tuple:
    """The same as the ground truth and results of a COCO class."""
    rows = [dict(id=i + 1, height=SIZE[0], width=SIZE[1])
            for i in range(len(images))]
    truth, found = [], []
    for i, image in enumerate(images):
        for rle, area in zip(image.gt_rles, image.gt_areas):
            truth.append(dict(
                id=len(truth) + 1, image_id=i + 1, category_id=1,
                segmentation=rle, area=area, iscrowd=0,
                bbox=coco_mask.toBbox(rle).tolist()))
        for rle, score in zip(image.rles, image.scores):
            found.append(dict(image_id=i + 1, category_id=1,
                              segmentation=rle, score=score))
    with contextlib.redirect_stdout(io.StringIO()):
        gt = kind()
        gt.dataset = dict(images=rows, annotations=truth, info={},
                          categories=[dict(id=1, name='entity')])
        gt.createIndex()
        return gt, gt.loadRes(found)


def by_coco(evaluator: type, gt: object, found: object,
            limits: list[int]) -> tuple:
    """Runs pycocotools, or what has its interface."""
    with contextlib.redirect_stdout(io.StringIO()):
        run = evaluator(gt, found, 'segm')
        run.params.maxDets = limits
        run.evaluate()
        run.accumulate()
    recall, precision = run.eval['recall'], run.eval['precision']
    at = precision[:, :, 0, 0]
    return tuple(float(v.mean()) for v in (
        *recall[:, 0, 0].T, *recall[:, 0, 1:, -1].T, at[:, :, -2],
        at[:, :, -1], at[0, :, -1], at[5, :, -1]))


def by_us(images: list[ImageMasks]) -> tuple:
    """The same figures."""
    found = evaluate_masks(images)
    return (*found.ar_at.values(), found.ar_small, found.ar_medium,
            found.ar_large, found.ap_at[100], found.ap, found.ap50,
            found.ap75)


def timed(function: Callable, *args: object) -> tuple[float, tuple]:
    """CPU seconds of all threads, and what came out."""
    started = time.process_time()
    result = function(*args)
    return time.process_time() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=100)
    parser.add_argument('--masks', type=int, default=1000)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = [draw(rng, args.masks) for _ in range(args.images)]
    limits = list(detection_limits(1000))
    runs = {
        'ours': (by_us, images),
        'pycocotools': (by_coco, COCOeval, *as_coco(images, COCO), limits),
    }
    with contextlib.suppress(ImportError):
        from faster_coco_eval import COCO as FasterCOCO
        from faster_coco_eval import COCOeval_faster
        runs['faster-coco-eval'] = (by_coco, COCOeval_faster,
                                    *as_coco(images, FasterCOCO), limits)
    evaluate_masks(images[:1])  # compile
    seconds = {name: [] for name in runs}
    figures = {}
    for _ in range(args.rounds):
        for name, (function, *rest) in runs.items():
            took, figures[name] = timed(function, *rest)
            seconds[name].append(took)
    medians = {name: statistics.median(t) for name, t in seconds.items()}
    print(f'{args.images} images of {SIZE[1]} x {SIZE[0]}, {args.masks} '
          f'predictions each, {sum(len(i.gt_rles) for i in images)} masks to '
          f'find; median of {args.rounds}')
    print(f'{"":<18}{"CPU s":>8}{"ratio":>9}{"AR@1000":>9}  equal')
    for name, median in medians.items():
        same = figures[name] == figures['pycocotools']
        print(f'{name:<18}{median:>8.2f}{median / medians["ours"]:>7.1f} x'
              f'{100 * figures[name][3]:>9.2f}  {"yes" if same else "no"}')
    kept = len(pickle.dumps(match_image(images[0], limits)))
    masks = sum(len(rle['counts']) for rle in images[0].rles)
    print(f'kept of an image: {kept / 1e3:.1f} kB; its RLEs are '
          f'{masks / 1e3:.1f} kB')
    ratio = medians['pycocotools'] / medians['ours']
    sys.exit(figures['ours'] != figures['pycocotools'] or ratio < BAR)


if __name__ == '__main__':
    main()
