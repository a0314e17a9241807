"""A training step of the CPU recipe's convolutions, in two orders in memory.

    python benchmarks/conv_order.py [--rounds 7] [--views 4]

The stem and the light pixel decoder of configs/phase2/sohes_phase2_cpu.py,
forward and backward, on random views of 448 x 448 in float32: channels last,
and in torch's usual order. The two take turns, on one thread; printed are the
median CPU seconds of each and the median of the ratios of a round. What
`conv_memory_format` takes here is marked.
"""
import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import torch

from sohes.models.backbones import FrozenViT
from sohes.models.dense_heads import LightPixelDecoder
from sohes.utils.precision import conv_memory_format

ORDERS = {'channels last': torch.channels_last,
          'usual order': torch.contiguous_format}


def seconds(order: torch.memory_format, views: int) -> float:
    """CPU seconds of a step; the layers are made anew, and warmed up."""
    torch.manual_seed(0)
    stem = FrozenViT('none', stem_blocks=1).stem.to(memory_format=order)
    decoder = LightPixelDecoder((64, 384))
    decoder.memory_format = order
    decoder.to(memory_format=order)
    images = torch.randn(views, 3, 448, 448).to(memory_format=order)
    maps = torch.randn(views, 384, 32, 32)
    for _ in range(2):
        started = time.process_time()
        features, memory = decoder([stem(images), maps])
        (features.mean() + memory[0].mean()).backward()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7,
                        help='Turns of each order. Default: %(default)s.')
    parser.add_argument('--views', type=int, default=4,
                        help='Views of a step. Default: %(default)s.')
    args = parser.parse_args()
    torch.set_num_threads(1)
    taken: dict[str, list[float]] = {name: [] for name in ORDERS}
    for _ in range(args.rounds):
        for name, order in ORDERS.items():
            taken[name].append(seconds(order, args.views))
    for name, order in ORDERS.items():
        mark = ', taken here' if order == conv_memory_format() else ''
        print(f'{name}: {statistics.median(taken[name]):.2f} s{mark}')
    ratio = statistics.median(
        a / b for a, b in zip(*(taken[name] for name in ORDERS)))
    print(f'channels last / usual order: {ratio:.2f}')


if __name__ == '__main__':
    main()
