"""A step of Phase 3 beside one of Phase 2.

    python benchmarks/self_correction.py [--images 2] [--device cuda]

Both on the tiny configurations' models, with random weights, images and
nested masks: forward, losses and backward of B images, and of B of I1 and B
of I2 with the teacher. The teacher is told to believe its 40 surest masks of
an image, as many as I1 has. Seconds on a CPU are those of the process, which
a busy machine does not stretch. Each phase has a process of its own; memory
is what its peak rises above what it holds before there is a model.

To pass: at most 2.6 times.
"""
import argparse
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sohes.environment import check_environment

check_environment()

import numpy as np

from benchmarks.head import held_bytes, nested_masks, peak_bytes

BAR = 2.6
SIZE, MASKS = 320, 40


def view(image: int, labeled: bool) -> tuple[Any, Any]:
    """A packed image: pixels and a data sample."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    from sohes.structures import EntityForest
    from sohes.structures.bit_masks import BitMasks
    rng = np.random.default_rng(image)
    pixels = rng.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    sample = DetDataSample(
        metainfo=dict(
            img_id=image, img_path=f'{image}.jpg', ori_shape=(SIZE, SIZE),
            img_shape=(SIZE, SIZE), homography_matrix=np.eye(3)))
    truths = InstanceData()
    if labeled:
        masks = nested_masks(MASKS, SIZE, image)
        truths.labels = torch.zeros(MASKS, dtype=torch.long)
        truths.masks = BitMasks.from_dense(masks)
        truths.ancestors = torch.tensor(
            EntityForest.from_masks(masks).ancestors)
    sample.gt_instances = truths
    return torch.from_numpy(pixels), sample


def batch(images: range, labeled: bool) -> dict[str, list]:
    """What a loader gives."""
    inputs, samples = zip(*(view(image, labeled) for image in images))
    return dict(inputs=list(inputs), data_samples=list(samples))


def build(phase: int, device: str) -> Any:
    """The model of a tiny configuration, without a file of weights."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / f'configs/tiny/sohes_phase{phase}_tiny.py')
    if phase == 3:
        config.model.semi_train_cfg.score_thr = 0.0
        config.model.detector.test_cfg.max_per_image = MASKS
    return MODELS.build(config.model).to(device).train()


def measure(phase: int, args: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of a step, and GB."""
    import torch
    from mmengine.utils import import_modules_from_strings
    # What importing takes is not to be measured.
    import_modules_from_strings(['mmdet.models'])
    held = held_bytes(args.device)
    model = build(phase, args.device)
    clock = time.process_time if args.device == 'cpu' else time.perf_counter
    seconds = []
    for step in range(args.steps + 1):
        data = batch(range(args.images), True)
        if phase == 3:
            other = range(args.images, 2 * args.images)
            branches = dict(sup=data, unsup_teacher=batch(other, False),
                            unsup_student=batch(other, False))
            data = {
                key: {name: one[key] for name, one in branches.items()}
                for key in ('inputs', 'data_samples')
            }
        model.zero_grad()
        started = clock()
        data = model.data_preprocessor(data, training=True)
        losses = model(**data, mode='loss')
        sum(loss for name, loss in losses.items()
            if 'loss' in name).backward()
        if args.device == 'cuda':
            torch.cuda.synchronize()
        seconds.append(clock() - started)
        if phase == 3 and step == 0:
            kept = sum(float(losses[f'teacher_{size}'])
                       for size in ('small', 'medium', 'large'))
            print(f'masks of the teacher an image: {kept:.0f}', flush=True)
    # The first step warms up.
    return (statistics.median(seconds[1:]),
            (peak_bytes(args.device) - held) / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=2)
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    args = parser.parse_args()
    found = []
    for phase in (2, 3):
        with ProcessPoolExecutor(1, get_context('spawn')) as process:
            found.append(process.submit(measure, phase, args).result())
    (two, memory), (three, memory3) = found
    print(f'a step of Phase 2 {two:.2f} s, of Phase 3 {three:.2f} s: '
          f'{three / two:.2f} times (bar {BAR})\n'
          f'memory {memory:.2f} GB and {memory3:.2f} GB: '
          f'{memory3 / memory:.2f} times')
    sys.exit(three / two > BAR)


if __name__ == '__main__':
    main()
