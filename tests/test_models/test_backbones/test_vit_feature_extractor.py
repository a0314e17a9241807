"""The same features as timm's ViT, and what the extractor adds."""
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sohes.models.backbones import ViTFeatureExtractor
from sohes.registry import MODELS
from sohes.weights import PRESETS
from tests.test_weights.vit_reference import (
    DEPTH,
    WIDTH,
    normalised,
    photo,
    random_vit,
    relative_error,
    save,
    timm_features,
)


@pytest.fixture(scope='module')
def vit_file(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A random ViT/16 of timm's at a 6x6 grid, and its file."""
    vit = random_vit()
    return vit, save(vit, tmp_path_factory.mktemp('weights') / 'vit.pth')


@pytest.mark.parametrize('patch_size', [8, 14, 16, 32])
@pytest.mark.parametrize('layer_scale', [False, True])
def test_equals_timm_at_the_native_grid(tmp_path: Path, patch_size: int,
                                        layer_scale: bool,
                                        rng: np.random.Generator) -> None:
    vit = random_vit(patch_size, layer_scale)
    file = save(vit, tmp_path / 'vit.pth')
    side = 6 * patch_size
    images = np.stack([photo(rng, side, side) for _ in range(2)])
    for feature in ('key', 'query', 'value', 'token'):
        for block in (1, 3, -1):
            extractor = ViTFeatureExtractor(
                file, feature=feature, block=block, center=False)
            found = extractor(images, side)
            expected = timm_features(vit, images, feature, block % (DEPTH + 1))
            assert found.shape == (2, 6, 6, WIDTH)
            assert found.dtype == np.float32
            assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize('variant', [
    dict(no_embed_class=True),
    dict(class_token=False, global_pool='avg'),
    dict(pre_norm=True),
    dict(qkv_bias=False),
    dict(mlp_ratio=2.5)
])
def test_equals_timm_in_its_variants(tmp_path: Path, variant: dict,
                                     rng: np.random.Generator) -> None:
    vit = random_vit(**variant)
    images = photo(rng, 96, 96)[None]
    found = ViTFeatureExtractor(
        save(vit, tmp_path / 'vit.pth'), feature='token',
        center=False)(images, 96)
    assert relative_error(found,
                          timm_features(vit, images, 'token', DEPTH)) < 1e-5


@pytest.mark.slow
def test_equals_timm_with_real_weights(shared_data: Path) -> None:
    import timm
    file = shared_data / 'weights' / (
        'dinov2_vits14_imgfocus_fp16.safetensors')
    vit = timm.create_model(
        'vit_small_patch14_dinov2', pretrained=False, num_classes=0).eval()
    vit.load_state_dict({k: v.float() for k, v in load_file(file).items()})
    image = Image.open(
        sorted((shared_data / 'bsds500/images/val').glob('*.jpg'))[0])
    images = np.asarray(image.resize((518, 518)))[None]
    for feature, block in (('key', 9), ('token', 9), ('key', 12)):
        extractor = ViTFeatureExtractor(
            file, feature=feature, block=block, center=False)
        expected = timm_features(vit, images, feature, block)
        assert relative_error(extractor(images, 518), expected) < 1e-4
    assert extractor.family == 'dinov2'
    assert extractor.patch_size == 14
    assert extractor.embed_dims == 384
    assert extractor.preset.block == 9
    assert extractor.grid(742) == 53


def test_colours_are_rgb(vit_file: tuple, rng: np.random.Generator) -> None:
    vit, file = vit_file
    image = photo(rng, 96, 96)
    extractor = ViTFeatureExtractor(file, feature='key', center=False)
    as_rgb = timm_features(vit, image[None], 'key', DEPTH)
    swapped = extractor([image[..., ::-1]], 96)
    assert relative_error(extractor([image], 96), as_rgb) < 1e-5
    assert relative_error(swapped, as_rgb) > 0.05


def test_input_is_what_imagenet_vits_take(
        vit_file: tuple, rng: np.random.Generator) -> None:
    extractor = ViTFeatureExtractor(vit_file[1])
    seen = []
    extractor.vit.patch_embed.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0]))
    image = photo(rng, 96, 96)
    extractor([image], 96)
    np.testing.assert_allclose(
        seen[0].numpy(), normalised(image[None]).numpy(), atol=1e-5)


def test_images_are_resized_as_pil_does(vit_file: tuple,
                                        rng: np.random.Generator) -> None:
    extractor = ViTFeatureExtractor(vit_file[1])
    seen = []
    extractor.vit.patch_embed.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0]))
    image = rng.integers(0, 256, (311, 433, 3), dtype=np.uint8)
    extractor([image], 96)
    resized = Image.fromarray(image).resize((96, 96), Image.BICUBIC)
    expected = normalised(np.asarray(resized)[None])
    # one level of 255 apart, by rounding
    assert float((seen[0] - expected).abs().max()) < 1.01 / (255 * 0.224)


def test_a_batch_gives_what_its_images_give_alone(
        vit_file: tuple, rng: np.random.Generator) -> None:
    extractor = ViTFeatureExtractor(vit_file[1])
    images = [
        photo(rng, 33, 121), photo(rng, 96, 96), photo(rng, 1, 1),
        photo(rng, 401, 7)
    ]
    batch = extractor(images, 96)
    assert batch.shape == (4, 6, 6, WIDTH)
    for image, features in zip(images, batch):
        assert relative_error(features, extractor([image], 96)[0]) < 1e-5
    array = np.stack([images[1], images[1][::-1]])
    np.testing.assert_array_equal(
        extractor(array, 96), extractor(list(array), 96))


@pytest.mark.parametrize(('size', 'patches'), [(1, 1), (16, 1), (23, 1),
                                               (24, 2), (100, 6), (104, 7)])
def test_size_becomes_the_nearest_multiple_of_the_patch(
        vit_file: tuple, size: int, patches: int,
        rng: np.random.Generator) -> None:
    extractor = ViTFeatureExtractor(vit_file[1], center=False)
    assert extractor.grid(size) == patches
    image = photo(rng, 50, 60)
    found = extractor([image], size)
    assert found.shape == (1, patches, patches, WIDTH)
    np.testing.assert_array_equal(found, extractor([image], 16 * patches))


def test_center_subtracts_the_mean(vit_file: tuple,
                                   rng: np.random.Generator) -> None:
    extractor = ViTFeatureExtractor(vit_file[1], center=False)
    images = [photo(rng, 96, 96), photo(rng, 40, 50)]
    plain = extractor(images, 96)
    means = plain.mean(axis=(1, 2), dtype=np.float64)
    assert np.abs(means).max() > 0.1
    centred = extractor(images, 96, center=True)
    np.testing.assert_allclose(
        centred, plain - means[:, None, None], atol=1e-5)
    np.testing.assert_array_equal(
        ViTFeatureExtractor(vit_file[1], center=True)(images, 96), centred)
    # a crop is centred with the mean of the image it comes from
    np.testing.assert_allclose(
        extractor(images, 96, mean=means[0]), plain - means[0], atol=1e-5)
    np.testing.assert_allclose(
        extractor(images, 96, mean=means), centred, atol=1e-5)


def test_a_wrong_mean_is_refused(vit_file: tuple,
                                 rng: np.random.Generator) -> None:
    extractor = ViTFeatureExtractor(vit_file[1])
    images = [photo(rng, 96, 96)] * 2
    with pytest.raises(ValueError, match=r'mean: .*\(128,\).*\(3, 128\)'):
        extractor(images, 96, mean=np.zeros((3, WIDTH)))
    with pytest.raises(ValueError, match='mean: not together'):
        extractor(images, 96, center=False, mean=np.zeros(WIDTH))


@pytest.mark.parametrize('flags, name', [({'amx_bf16'}, 'bf16'),
                                         (set(), 'fp32')])
def test_auto_is_what_the_processor_is_fast_in(
        flags: set, name: str, vit_file: tuple,
        rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sohes.utils.precision._cpu_flags', lambda: flags)
    images = [rng.integers(0, 256, (32, 32, 3), np.uint8)]
    auto = ViTFeatureExtractor(vit_file[1], dtype='auto')
    assert auto.dtype_name == name
    named = ViTFeatureExtractor(vit_file[1], dtype=name)
    assert np.array_equal(auto(images, 32), named(images, 32))


def test_bf16_is_close_to_fp32(vit_file: tuple,
                               rng: np.random.Generator) -> None:
    images = [photo(rng, 96, 96)]
    exact = ViTFeatureExtractor(vit_file[1])(images, 96)
    found = ViTFeatureExtractor(vit_file[1], dtype='bf16')(images, 96)
    assert found.dtype == np.float32
    assert 0 < relative_error(found, exact) < 0.03


def test_fp16_is_close_to_fp32_or_refused(vit_file: tuple,
                                          rng: np.random.Generator) -> None:
    images = [photo(rng, 96, 96)]
    if torch.__version__.startswith('2.1.'):
        with pytest.raises(ValueError, match="dtype: .*cpu.*'fp16'"):
            ViTFeatureExtractor(vit_file[1], dtype='fp16')
        return
    exact = ViTFeatureExtractor(vit_file[1])(images, 96)
    found = ViTFeatureExtractor(vit_file[1], dtype='fp16')(images, 96)
    assert found.dtype == np.float32
    assert 0 < relative_error(found, exact) < 0.005


@pytest.mark.cuda
@pytest.mark.parametrize(('dtype', 'most'), [('fp32', 1e-3), ('fp16', 0.005),
                                             ('bf16', 0.03)])
def test_cuda_gives_what_the_cpu_gives(vit_file: tuple, dtype: str,
                                       most: float,
                                       rng: np.random.Generator) -> None:
    images = [photo(rng, 70, 96)]
    exact = ViTFeatureExtractor(vit_file[1])(images, 96)
    found = ViTFeatureExtractor(
        vit_file[1], dtype=dtype, device='cuda')(images, 96)
    assert relative_error(found, exact) < most


@pytest.mark.parametrize('feature', ['key', 'token'])
def test_later_blocks_are_not_computed(tmp_path: Path, feature: str,
                                       rng: np.random.Generator) -> None:
    vit = random_vit()
    whole = save(vit, tmp_path / 'whole.pth')
    with torch.no_grad():
        for weight in vit.blocks[2:].parameters():
            weight.fill_(0.01)
    other = save(vit, tmp_path / 'other.pth')
    images = [photo(rng, 96, 96)]
    for block, same in ((2, True), (-3, True), (4, False)):
        found, expected = (
            ViTFeatureExtractor(file, feature=feature, block=block)
            for file in (other, whole))
        assert len(found.vit.layers) == (2 if same else 4)
        assert np.array_equal(found(images, 96), expected(images, 96)) == same


def test_attributes_and_registry(vit_file: tuple) -> None:
    extractor = MODELS.build(
        dict(type='sohes.ViTFeatureExtractor', weights=str(vit_file[1])))
    assert isinstance(extractor, ViTFeatureExtractor)
    assert type(extractor.vit).__module__.startswith('mmpretrain.')
    assert extractor.family == 'dino'
    assert (extractor.feature, extractor.block, extractor.center) == (
        'key', DEPTH, False)
    assert extractor.preset == PRESETS['dino'].at_depth(DEPTH)
    assert extractor.patch_size == 16
    assert extractor.embed_dims == WIDTH
    assert not any(p.requires_grad for p in extractor.vit.parameters())
    assert not extractor.vit.training


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(dict(feature='keys'), r"feature: .*'key', .*found 'keys'"),
     (dict(block=0), 'block: expected 1 to 4 or -4 to -1, found 0'),
     (dict(block=5), 'block: .*found 5'), (dict(block=-5), 'found -5'),
     (dict(dtype='float32'), "dtype: .*'fp32'.*found 'float32'"),
     (dict(interpolate='cubic'), "interpolate: .*found 'cubic'"),
     (dict(num_heads=3), 'num_heads: .*128.*found 3')])
def test_wrong_arguments_are_refused(vit_file: tuple, arguments: dict,
                                     message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViTFeatureExtractor(vit_file[1], **arguments)


@pytest.mark.parametrize(
    ('images', 'message'),
    [([], 'images: expected at least one'),
     ([np.zeros((9, 9, 3), np.float32)], r'images\[0\]: .*float32 \(9, 9, 3'),
     ([np.zeros((9, 9), np.uint8)], r'images\[0\]: .*\(9, 9\)'),
     ([np.zeros((9, 9, 4), np.uint8)], r'images\[0\]: .*\(9, 9, 4\)'),
     ([np.zeros((0, 9, 3), np.uint8)], r'images\[0\]: .*\(0, 9, 3\)'),
     ([np.zeros((9, 9, 3), np.uint8), 'a.jpg'], r'images\[1\]: .*found str')])
def test_wrong_images_are_refused(vit_file: tuple, images: list,
                                  message: str) -> None:
    extractor = ViTFeatureExtractor(vit_file[1])
    with pytest.raises(ValueError, match=message):
        extractor(images, 96)
    with pytest.raises(ValueError, match='size: .*found 0'):
        extractor([np.zeros((9, 9, 3), np.uint8)], 0)
