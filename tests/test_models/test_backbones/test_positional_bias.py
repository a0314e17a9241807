"""What depends on a patch's place alone leaves the features."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sohes.models.backbones import ViTFeatureExtractor
from sohes.models.backbones.positional_bias import SHARE, PositionalBias
from sohes.pseudo_labels.images import load_image
from tests.conftest import ROOT
from tests.test_weights.vit_reference import (
    WIDTH,
    photo,
    random_vit,
    relative_error,
    save,
)
from tests.tiny_entities import make_entities

CHANNELS, SIDE = 32, 6
WEIGHTS = 'weights/dinov2_vits14_imgfocus_fp16.safetensors'


def vectors(generator: torch.Generator, channels: range) -> Tensor:
    """Random (C, h, w) features in some of the channels."""
    found = torch.zeros(CHANNELS, SIDE, SIDE)
    found[list(channels)] = torch.randn(
        len(channels), SIDE, SIDE, generator=generator)
    return found


def test_a_bias_goes_and_the_content_stays() -> None:
    """Place in 8 channels, a common direction in one, content elsewhere."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.linalg.qr(
        torch.randn(CHANNELS, CHANNELS, generator=generator))[0]
    place, content = (
        torch.einsum('cd,dhw->chw', mixed, vectors(generator, channels))
        for channels in (range(8), range(9, CHANNELS)))
    common = mixed[:, 8, None, None]
    seen = []

    def features_of(black: Tensor) -> Tensor:
        seen.append(tuple(black.shape))
        return (place + common)[None]

    bias = PositionalBias(features_of)
    black = torch.zeros(3, 96, 96)
    for scale in (1.0, -3.0):
        found = bias.remove((content + scale * place)[None], black)
        torch.testing.assert_close(found[0], content, rtol=0, atol=1e-5)
    assert seen == [(1, 3, 96, 96)]  # once a size


def test_at_most_half_of_the_channels_go() -> None:
    generator = torch.Generator().manual_seed(0)
    place = vectors(generator, range(CHANNELS))
    bias = PositionalBias(lambda black: place[None])
    left = bias.remove(
        torch.eye(CHANNELS).reshape(1, CHANNELS, 4, 8), torch.zeros(3, 9, 9))
    rank = torch.linalg.matrix_rank(left[0].flatten(1), tol=1e-4)
    assert rank == CHANNELS - SHARE * CHANNELS


def test_without_a_bias_nothing_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    content = vectors(generator, range(CHANNELS))[None]
    same = torch.randn(1, CHANNELS, 1, 1, generator=generator)
    bias = PositionalBias(lambda black: same.expand(-1, -1, SIDE, SIDE))
    assert torch.equal(bias.remove(content, torch.zeros(3, 9, 9)), content)


@pytest.fixture(scope='module')
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT whose tokens are its patches plus their place in 4 directions."""
    vit = random_vit()
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(36, 4, generator=generator)
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.proj.weight.zero_()
            block.attn.proj.bias.zero_()
            block.mlp.fc2.weight.zero_()
            block.mlp.fc2.bias.zero_()
        vit.pos_embed[0, 1:] = 5 * rows @ torch.randn(
            4, WIDTH, generator=generator)
    return save(vit, tmp_path_factory.mktemp('weights') / 'biased.pth')


def test_two_equal_patches_are_alike_wherever_they_are(
        biased: Path, rng: np.random.Generator) -> None:
    """A tiled photo: nothing but the place tells its patches apart."""
    image = np.tile(photo(rng, 16, 16), (6, 6, 1))

    def spread(**options: Any) -> float:
        extract = ViTFeatureExtractor(
            biased, feature='token', center=False, **options)
        found = extract([image], 96)[0].reshape(36, -1)
        found = found / np.linalg.norm(found, axis=1, keepdims=True)
        return float((1 - found @ found.T).max())

    assert spread() > 0.5
    assert spread(debias=True) < 1e-3


def test_it_is_off_by_default_and_goes_before_centring(
        biased: Path, rng: np.random.Generator) -> None:
    image = photo(rng, 96, 96)

    def features(**options: Any) -> np.ndarray:
        return ViTFeatureExtractor(
            biased, feature='token', **options)([image], 96)[0]

    plain, off = features(center=False), features(center=False, debias=False)
    assert np.array_equal(plain, off)
    debiased = features(center=False, debias=True)
    assert relative_error(debiased, plain) > 0.1
    np.testing.assert_allclose(
        features(center=True, debias=True), debiased - debiased.mean((0, 1)),
        atol=1e-4)
    with pytest.raises(ValueError, match="debias: .*found 'project'"):
        features(debias='project')


@pytest.mark.slow
def test_real_photos_say_less_of_the_place(shared_data: Path) -> None:
    """Share of the variance that the mean of many photos at a place has."""
    shares = []
    photos = sorted((shared_data / 'bsds500/images/train').glob('*.jpg'))[::10]
    for debias in (False, True):
        extract = ViTFeatureExtractor(
            shared_data / WEIGHTS, feature='token', block=9, center=True,
            debias=debias)
        found = np.concatenate(
            [extract([load_image(path)], 252) for path in photos])
        odd, even = found[::2].mean(0), found[1::2].mean(0)
        # Two halves of the photos have nothing but the place in common.
        shares.append(float((odd * even).mean() / np.square(found).mean()))
    print(f'{len(photos)} photos of BSDS500 train at 252: {shares[0]:.1%} of '
          f'the variance goes by the place, {shares[1]:.1%} with debias')
    assert shares[1] < 0.8 * shares[0]


def test_phase_1_takes_it_and_says_so(biased: Path, tmp_path: Path,
                                      run_tool: Any) -> None:
    make_entities(tmp_path, images=1)
    for name, options in (('off', ()), ('on', ('extractor.debias=True', ))):
        done = run_tool(
            'tools/generate_pseudo_labels.py',
            ROOT / 'configs/tiny/sohes_phase1_tiny.py', '--img-dir',
            tmp_path / 'images', '--out', tmp_path / f'{name}.json',
            '--weights', biased, '--cfg-options',
            'pseudo_labels.refiner=None', 'pseudo_labels.image_size=128',
            'workers=0', *options)
        assert done.returncode == 0, done.stderr
    on, off = (json.loads((tmp_path / f'{name}.json').read_text())
               for name in ('on', 'off'))
    assert on['info']['extractor']['debias'] is True
    assert 'debias' not in off['info']['extractor']
    assert on['annotations'] != off['annotations']
