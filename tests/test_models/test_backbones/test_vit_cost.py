"""What using a ViT costs: imports, and memory at many patches."""
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_weights.vit_reference import random_vit, save

# 64x64 patches: one attention matrix in fp32, 6 heads, is 403 MB.
PATCHES, HEADS = 64 * 64 + 1, 6
MATRIX = PATCHES**2 * HEADS * 4


def run(code: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code,
                           *arguments], check=True, text=True,
                          capture_output=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='no resource module')
def test_attention_is_never_a_matrix(tmp_path: Path) -> None:
    """At 1024x1024 and patch 8 one such matrix would be 6 GB."""
    file = save(
        random_vit(8, embed_dim=384, num_heads=HEADS, depth=2),
        tmp_path / 'vit.pth')
    printed = run(
        'import resource, sys\n'
        'import numpy as np\n'
        'from sohes.models.backbones import ViTFeatureExtractor\n'
        'def peak():\n'
        '    unit = 1 if sys.platform == "darwin" else 1024\n'
        '    usage = resource.getrusage(resource.RUSAGE_SELF)\n'
        '    return usage.ru_maxrss * unit\n'
        'image = np.zeros((512, 512, 3), np.uint8)\n'
        'extractors = [\n'
        '    ViTFeatureExtractor(sys.argv[1], feature="token", dtype=dtype)\n'
        '    for dtype in ("fp32", "bf16")]\n'
        'for extract in extractors:\n'
        '    extract([image], 64)\n'
        'before = peak()\n'
        'for extract in extractors:\n'
        '    extract([image], 512)\n'
        'print(peak() - before)\n', str(file))
    # a matrix of bf16 would be half of one of fp32
    assert int(printed.splitlines()[-1]) < MATRIX / 2


@pytest.mark.slow
def test_importing_loads_neither_mmdet_nor_mmpretrain() -> None:
    """Nor timm or onnx, beside what torch itself imports (2.1: onnx)."""
    printed = run('import sys, torch.onnx\n'
                  'before = set(sys.modules)\n'
                  'import sohes.models.backbones\n'
                  'print([m for m in ("mmdet", "mmpretrain", "mmseg",\n'
                  '                   "timm", "onnx")\n'
                  '       if m in sys.modules and m not in before])')
    assert printed.splitlines()[-1] == '[]'


@pytest.mark.slow
def test_the_scope_alone_finds_it(tmp_path: Path) -> None:
    """Nothing of ours is imported: mmengine goes by the scope."""
    file = save(random_vit(), tmp_path / 'vit.pth')
    printed = run(
        'import sys\n'
        'from mmengine.registry import MODELS\n'
        'built = MODELS.build(dict(type="sohes.ViTFeatureExtractor",\n'
        '                          weights=sys.argv[1]))\n'
        'print(type(built).__name__, built.grid(96))\n', str(file))
    assert printed.splitlines()[-1] == 'ViTFeatureExtractor 6'


# The authors' own: README.md of facebookresearch/dinov3 has the parameters in
# millions, figure 16a of the DINOv3 paper (arXiv 2508.10104) the GFLOPs at
# 512x512.
@pytest.mark.parametrize('name, millions, gflops', [
    ('dinov3_vits16', 21, 63), ('dinov3_vits16plus', 29, 79),
    ('dinov3_vitb16', 86, 216), ('dinov3_vitl16', 300, 721),
    ('dinov3_vith16plus', 840, 1903), ('dinov3_vit7b16', 6716, 14515)
])
def test_the_table_counts_as_the_authors_do(name: str, millions: int,
                                            gflops: int) -> None:
    import torch

    from benchmarks import vit_families
    with torch.device('meta'):
        vit = vit_families.build_vit(vit_families.named_vit(name), 0.0)
    assert vit_families.parameters(vit) / 1e6 == pytest.approx(
        millions, rel=0.04)
    assert vit_families.gflops(vit, 512 // 16) == pytest.approx(
        gflops, rel=0.02)


def test_the_table_is_printed(run_tool: Any) -> None:
    done = run_tool('benchmarks/vit_families.py', 'dinov3_vits16',
                    'dinov2_vitg14', '--size', '64', '--cpu-size', '32')
    assert done.returncode == 0, done.stderr
    small, giant = ([cell.strip() for cell in line.strip('|').split('|')]
                    for line in done.stdout.splitlines()[-2:])
    assert small[:3] == ['`dinov3_vits16`', 'DINOv3', '21.6']
    assert float(small[4]) >= 0
    assert giant[0] == '`dinov2_vitg14`' and not giant[4]  # never run
