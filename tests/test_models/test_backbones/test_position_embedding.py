"""How the position embedding is resized, beside the rules of others.

``pytest -s`` prints what the rules differ by with real weights; the table
in docs/features.md is that.
"""
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from sohes.models.backbones import ViTFeatureExtractor
from tests.test_weights.vit_reference import (
    photo,
    random_vit,
    relative_error,
    save,
    timm_features,
)


def plain(grid: Tensor, side: int) -> Tensor:
    """mmpretrain's rule, and so ours: bicubic to the size wanted."""
    return F.interpolate(
        grid, (side, side), mode='bicubic', align_corners=False)


def antialiased(grid: Tensor, side: int) -> Tensor:
    """timm's rule; the cubic is another one, too (-0.5 for -0.75)."""
    return F.interpolate(
        grid, (side, side),
        mode='bicubic',
        align_corners=False,
        antialias=True)


def offset(grid: Tensor, side: int) -> Tensor:
    """DINO's and DINOv2's rule: by a scale factor, a tenth too large."""
    scale = (side + 0.1) / grid.shape[-1]
    return F.interpolate(
        grid, scale_factor=(scale, scale), mode='bicubic')


RULES = dict(plain=plain, antialiased=antialiased, offset=offset)


def resized(position: Tensor, rule: str, side: int) -> Tensor:
    """A position embedding (1, 1 + n * n, C) for another grid."""
    n = round((position.shape[1] - 1)**0.5)
    grid = position[:, 1:].reshape(1, n, n, -1).permute(0, 3, 1, 2)
    patches = RULES[rule](grid, side).flatten(2).transpose(1, 2)
    assert patches.shape[1] == side * side
    return torch.cat((position[:, :1], patches), dim=1)


@pytest.mark.parametrize('side', [4, 9, 11])
def test_it_is_bicubic_without_antialiasing(
        side: int, tmp_path: Path, rng: np.random.Generator) -> None:
    vit = random_vit()
    file = save(vit, tmp_path / 'vit.pth')
    images = photo(rng, 16 * side, 16 * side)[None]
    found = ViTFeatureExtractor(
        file, feature='key', block=3, center=False)(images, 16 * side)
    errors = {}
    for rule in RULES:
        state = vit.state_dict()
        state['pos_embed'] = resized(state['pos_embed'], rule, side)
        reference = random_vit(grid=side)
        reference.load_state_dict(state)
        errors[rule] = relative_error(
            found, timm_features(reference, images, 'key', 3))
    assert errors['plain'] < 1e-5
    assert errors['antialiased'] > 0.01 and errors['offset'] > 0.01


@pytest.fixture(scope='module')
def real(shared_data: Path) -> tuple[Path, dict[str, Tensor], Image.Image]:
    """A file of real weights, what is in it, and a photo."""
    file = shared_data / 'weights/dinov2_vits14_imgfocus_fp16.safetensors'
    photos = sorted((shared_data / 'bsds500/images/val').glob('*.jpg'))
    state = {key: value.float() for key, value in load_file(file).items()}
    return file, state, Image.open(photos[0])


@pytest.mark.slow
@pytest.mark.parametrize(('side', 'most'), [(18, 0.06), (53, 0.015)])
def test_other_rules_differ_little_on_real_weights(
        side: int, most: float, real: tuple) -> None:
    file, state, image = real
    size = 14 * side
    images = np.asarray(image.resize((size, size), Image.BICUBIC))[None]
    found = ViTFeatureExtractor(
        file, feature='key', center=False)(images, size)
    for rule in RULES:
        vit = timm.create_model(
            'vit_small_patch14_dinov2',
            pretrained=False,
            num_classes=0,
            img_size=size).eval()
        position = resized(state['pos_embed'], rule, side)
        vit.load_state_dict({**state, 'pos_embed': position})
        error = relative_error(found, timm_features(vit, images, 'key', 9))
        print(f'{size}x{size}, {rule}: keys differ by {100 * error:.2f} %')
        assert error < (1e-4 if rule == 'plain' else most)
        assert rule == 'plain' or error > 1e-3
