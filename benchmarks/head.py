"""Our head beside mmdet's: memory and time of a training step.

    python benchmarks/head.py [--masks 20 150] [--queries 200] [--device cuda]

Both heads are built from mmdet's own Mask2Former config, with one class, and
get the same random feature maps at strides 4 to 32 and the same nested
ground truths: as ``BitmapMasks`` for mmdet's, as ``BitMasks`` for ours. A
step is forward, losses and backward, without a backbone. Each case runs in a
process of its own; memory is what its peak rises above what it holds when
the head, the features and the ground truths are there (on a GPU: peak
allocated). Seconds on a CPU are those of the process, which a busy machine
does not stretch.

To pass: at 20 masks not more than 1.1 times mmdet's, at 150 less.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import numpy as np

CONFIG = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
#: Masks of an image, and how many times mmdet's we may need at most.
BARS = {20: 1.1, 150: 1.0}


def nested_masks(count: int, size: int, seed: int) -> np.ndarray:
    """(count, size, size) bool: wholes with parts, down to four levels."""
    rng = np.random.default_rng(seed)
    boxes = [(0, 0, size, size)]
    masks = np.zeros((count, size, size), bool)
    for mask in masks:
        left, top, right, bottom = boxes[rng.integers(len(boxes))]
        x1, x2 = np.sort(rng.integers(left, right, 2))
        y1, y2 = np.sort(rng.integers(top, bottom, 2))
        x2, y2 = max(x2, x1 + 4), max(y2, y1 + 4)
        mask[y1:y2, x1:x2] = True
        if (x2 - x1) * (y2 - y1) > 4096:
            boxes.append((x1, y1, x2, y2))
    return masks


def peak_bytes(device: str) -> int:
    """The most memory so far, on the device."""
    import torch
    if device == 'cuda':
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def held_bytes(device: str) -> int:
    """Memory now, on the device."""
    import torch
    if device == 'cuda':
        return torch.cuda.memory_allocated()
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize()


def build(kind: str, queries: int):
    """mmdet's head or ours, from mmdet's config."""
    from mmengine.hub import get_config
    from mmengine.registry import init_default_scope

    from sohes.registry import MODELS
    init_default_scope('mmdet')
    model = get_config(CONFIG).model
    config = model.panoptic_head
    config.update(
        num_things_classes=1,
        num_stuff_classes=0,
        num_queries=queries,
        train_cfg=model.train_cfg)
    config.loss_cls.class_weight = [1.0, 0.1]
    config['type'] = ('sohes.EntityMask2FormerHead'
                      if kind == 'ours' else 'mmdet.Mask2FormerHead')
    return MODELS.build(config)


def ground_truths(kind: str, count: int, args: argparse.Namespace) -> list:
    """What the pipeline of either head gives."""
    import torch
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    from sohes.structures import EntityForest
    from sohes.structures.bit_masks import BitMasks
    samples = []
    for image in range(args.images):
        masks = nested_masks(count, args.size, image)
        truths = InstanceData(labels=torch.zeros(count, dtype=torch.long))
        if kind == 'ours':
            forest = EntityForest.from_masks(masks)
            truths.masks = BitMasks.from_dense(masks)
            truths.ancestors = torch.tensor(forest.ancestors)
        else:
            truths.masks = BitmapMasks(
                masks.astype(np.uint8), args.size, args.size)
        shape = (args.size, args.size)
        samples.append(
            DetDataSample(
                gt_instances=truths.to(args.device),
                metainfo=dict(
                    img_id=image, img_shape=shape, batch_input_shape=shape)))
    return samples


def child(kind: str, count: int, args: argparse.Namespace) -> None:
    """Measures one case and prints it as json."""
    import torch
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    head = build(kind, args.queries).to(args.device).train()
    head.init_weights()
    maps = [
        torch.randn(
            args.images,
            channels,
            args.size // stride,
            args.size // stride,
            device=args.device)
        for channels, stride in zip((256, 512, 1024, 2048), (4, 8, 16, 32))
    ]
    samples = ground_truths(kind, count, args)
    held = held_bytes(args.device)
    clock = (time.process_time
             if args.device == 'cpu' else time.perf_counter)
    seconds = []
    for _ in range(args.steps + 1):
        head.zero_grad()
        start = clock()
        sum(head.loss(maps, samples).values()).backward()
        if args.device == 'cuda':
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    # The first step warms up.
    print(json.dumps({
        'seconds': statistics.median(seconds[1:]),
        'bytes': peak_bytes(args.device) - held
    }))


def measure(kind: str, count: int) -> dict:
    """Runs one case in a process of its own."""
    out = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], '--child', kind, str(count)],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--masks', type=int, nargs='+', default=[20, 150])
    parser.add_argument('--queries', type=int, default=200)
    parser.add_argument('--images', type=int, default=2)
    parser.add_argument('--size', type=int, default=1024)
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--child', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.child:
        child(args.child[0], int(args.child[1]), args)
        return
    print(f'{args.images} images of {args.size} x {args.size}, '
          f'{args.queries} queries, {args.device}, median of {args.steps}')
    print('masks  head   seconds      GB')
    failed = False
    for count in args.masks:
        mmdet, ours = measure('mmdet', count), measure('ours', count)
        for name, row in (('mmdet', mmdet), ('ours', ours)):
            print(f'{count:5}  {name:5}  {row["seconds"]:7.2f}  '
                  f'{row["bytes"] / 1e9:6.2f}')
        ratios = [ours[key] / mmdet[key] for key in ('seconds', 'bytes')]
        bar = BARS.get(count)
        if bar:
            failed |= max(ratios) > bar
        print(f'{count:5}  ratio  {ratios[0]:7.2f}  {ratios[1]:6.2f}' +
              (f'   (bar {bar})' if bar else ''), flush=True)
    sys.exit(failed)


if __name__ == '__main__':
    main()
