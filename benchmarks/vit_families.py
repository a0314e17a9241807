"""Size and cost of the ViTs that docs/features.md names, random weights.

    python benchmarks/vit_families.py [NAME ...] [--size 1024]
        [--cpu-size 512] [--max-params 100]

Prints a table. Parameters are those of all blocks, without the final norm
and the token of masked patches. GFLOPs are counted from the shapes (on
torch's meta device, so the 7B needs no memory): two a multiplication,
attention's two products included, norms and activations not; the input is a
square of --size, or of the nearest multiple of the patch. CPU seconds are the
process's own, one thread, float32, of the blocks that the family's preset
needs, for a square of --cpu-size: the mean of two passes after one that does
not count. ViTs of more than --max-params million parameters are not run.
"""
import argparse
import os
import sys
import time
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[_name] = '1'

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.models.backbones.vit_adapter_vit import (
    build_vit,
    named_vit,
    patch_size_of,
)
from sohes.weights import PRESETS, ZOO

LICENCES = dict(dino='Apache-2.0', dinov2='Apache-2.0', dinov3='DINOv3')


def parameters(vit: nn.Module) -> int:
    """All numbers that are learnt."""
    return sum(weight.numel() for weight in vit.parameters())


def gflops(vit: nn.Module, side: int) -> float:
    """Of one square image in 1e9, from the weights' shapes.

    Args:
        vit: on any device.
        side: of the image in patches.
    """
    tokens = side**2 + vit.num_extra_tokens
    count = 0
    for layer in vit.modules():
        if isinstance(layer, nn.Conv2d):
            count += side**2 * layer.weight.numel()
        elif isinstance(layer, nn.Linear):
            count += tokens * layer.weight.numel()
    # Queries times keys, and their softmax times the values.
    count += len(vit.layers) * 2 * tokens**2 * vit.embed_dims
    return 2 * count / 1e9


def cpu_seconds(vit: nn.Module, side: int) -> float:
    """Of one square image, one pass."""
    pixels = side * patch_size_of(vit)
    image = torch.randn(1, 3, pixels, pixels)
    spent = []
    with torch.inference_mode():
        for _ in range(3):
            started = time.process_time()
            vit(image)
            spent.append(time.process_time() - started)
    return sum(spent[1:]) / 2


def cut(name: str, whole: nn.Module) -> nn.Module:
    """A ViT of random weights with the blocks that its preset needs."""
    depth = len(whole.layers)
    block = PRESETS[ZOO[name].family].at_depth(depth).block
    arch = dict(whole.arch_settings,
                num_layers=block if block > 0 else depth + 1 + block)
    vit = build_vit(dict(named_vit(name), arch=arch), 0.0)
    vit.eval()  # mmpretrain's eval() returns None
    return vit


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help='of the zoo; default: all')
    parser.add_argument('--size', type=int, default=1024)
    parser.add_argument('--cpu-size', type=int, default=512)
    parser.add_argument('--max-params', type=float, default=100)
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in ZOO]
    if unknown:
        parser.error(f'NAME: expected some of {", ".join(ZOO)}, found '
                     f'{", ".join(unknown)}')
    return args


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    print(f'| name | licence | million parameters | GFLOPs at {args.size} | '
          f'CPU s at {args.cpu_size} |\n|---|---|---|---|---|')
    for name in args.names or ZOO:
        with torch.device('meta'):
            whole = build_vit(named_vit(name), 0.0)
        patch = patch_size_of(whole)
        sides = [max(1, int(size / patch + 0.5))
                 for size in (args.size, args.cpu_size)]
        millions = parameters(whole) / 1e6
        seconds = ''
        if millions <= args.max_params:
            seconds = f'{cpu_seconds(cut(name, whole), sides[1]):.1f}'
        print(f'| `{name}` | {LICENCES[ZOO[name].family]} | {millions:.1f} | '
              f'{gflops(whole, sides[0]):.0f} | {seconds} |', flush=True)


if __name__ == '__main__':
    main()
