"""What is installed: two families of packages, five stages."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stack:
    """One family of OpenMMLab's packages.

    Attributes:
        pythons: versions it runs on, best first.
        mmcv: its distribution with compiled ops.
        lite: arguments that install mmcv without compiled ops.
        light: its packages that need no compiled ops, and timm, which
            computes some ViTs and has training's optimiser.
        heavy: those that import mmcv's ops, or make mmpretrain do so.
        mim: its package manager, which the tests drive.
        cuda: uv's name for the CUDA of this torch on PyPI.
        download: what its demo stage fetches with that torch.
    """
    pythons: tuple[str, ...]
    mmcv: str
    lite: tuple[str, ...]
    light: tuple[str, ...]
    heavy: tuple[str, ...]
    mim: str
    cuda: str
    download: str


STACKS = dict(
    onedl=Stack(
        pythons=('3.11', '3.12', '3.10'),
        mmcv='onedl-mmcv',
        # There is no onedl-mmcv-lite, but in a build environment without
        # torch the source builds without ops, in seconds. Not cached: it
        # would pass for the real one in every other environment.
        lite=('--no-cache', '--no-binary', 'onedl-mmcv', 'onedl-mmcv'),
        light=('onedl-mmengine', 'onedl-mmpretrain', 'timm'),
        heavy=('onedl-mmdetection', 'onedl-mmsegmentation'),
        mim='onedl-mim',
        cuda='cu128',
        download='4.4 GB'),
    openmmlab=Stack(
        pythons=('3.10', ),
        mmcv='mmcv',
        lite=('mmcv-lite', ),
        light=('mmengine', 'mmpretrain', 'timm'),
        # mmsegmentation imports the last two without asking for them.
        heavy=('mmdet', 'mmsegmentation', 'ftfy', 'regex'),
        mim='openmim',
        cuda='cu121',
        download='3 GB'))

# What mmcv requires; it is installed without its dependencies.
MMCV_NEEDS = ('addict', 'numpy', 'opencv-python', 'packaging', 'pyyaml',
              'yapf')

# Steps in their order; each is a method of bootstrap.py's Setup.
STAGES = dict(
    lint=('venv', 'lint'),
    demo=('venv', 'packages', 'lite', 'sohes'),
    ops=('venv', 'packages', 'lite', 'sohes', 'ops'),
    test=('venv', 'packages', 'lite', 'sohes', 'ops', 'tests'),
    docs=('venv', 'packages', 'lite', 'sohes', 'ops', 'docs'))
