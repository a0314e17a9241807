"""Maps of a frozen ViT: computed, kept, cut to a view."""
import runpy
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sohes.apis.feature_maps import photo_map
from sohes.datasets.transforms import LoadFeatureMap
from sohes.models.backbones import FrozenViT
from sohes.models.backbones.feature_maps import FeatureMapStore, view_of_map
from tests.test_weights.vit_reference import (
    photo,
    random_vit,
    save,
)

SIZE = 96  # of the ViT's input: 6 x 6 patches


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return save(random_vit(), tmp_path_factory.mktemp('vit') / 'vit.pth')


def backbone(weights, **changes) -> FrozenViT:
    options = dict(block=2, vit_size=SIZE, cells=4, dtype='fp32')
    return FrozenViT(weights, **{**options, **changes})


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(photo(np.random.default_rng(0), 20, 30)).save(path)
    return path


def test_a_kept_map_is_what_the_backbone_computes(weights):
    vit = backbone(weights)
    image = photo(np.random.default_rng(0), SIZE, SIZE)
    kept = torch.from_numpy(photo_map(vit, image)).permute(2, 0, 1)
    assert kept.shape == (128, 6, 6)
    given = view_of_map(kept, np.eye(3), (SIZE, SIZE), (SIZE, SIZE), 4)
    pixels = torch.from_numpy(image).permute(2, 0, 1).float()
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    images = ((pixels - mean) / std)[None]
    computed = vit(images)[1]
    assert computed.shape == (1, 128, 4, 4)
    assert torch.allclose(vit(images, [given])[1], computed, atol=1e-4)
    assert computed.mean((2, 3)).abs().max() < 1e-5


def test_a_smaller_square_is_for_evaluation_alone(weights):
    vit = backbone(weights, test_vit_size=64)
    small = backbone(weights, vit_size=64)
    images = torch.randn(1, 3, SIZE, SIZE)
    box = (0.25, 0.25, 0.75, 0.75)

    def maps() -> list:
        return [vit(images)[1], vit.maps_of_views(images[0], [box])[0]]

    trained = maps()
    assert torch.equal(trained[0], backbone(weights)(images)[1])
    vit.eval()
    assert torch.equal(maps()[0], small(images)[1])
    assert torch.equal(maps()[1], small.maps_of_views(images[0], [box])[0])
    assert not torch.allclose(maps()[1], trained[1], atol=1e-3)
    # What is kept is the same in either mode.
    image = photo(np.random.default_rng(0), 20, 30)
    assert photo_map(vit, image).shape == (6, 6, 128)
    assert vit.settings() == backbone(weights).settings()


@pytest.mark.parametrize('training', [True, False])
def test_an_image_of_fewer_pixels_is_not_enlarged(weights, training):
    vit = backbone(weights, test_vit_size=SIZE).train(training)
    images = torch.randn(1, 3, 72, 72)  # 4 patches of 16 fit
    small = backbone(weights, vit_size=64)
    assert torch.equal(vit(images)[1], small(images)[1])
    assert vit(torch.randn(1, 3, 8, 8))[1].shape == (1, 128, 4, 4)


def test_an_enlarged_part_can_have_a_map_of_its_own(weights):
    """It is that of the part alone; that of the whole photo stays."""
    vit = backbone(weights, view_vit_size=64).eval()
    image = torch.randn(3, SIZE, SIZE)
    whole, part = (0., 0., 1., 1.), (0.5, 0., 1., 0.5)
    maps = vit.maps_of_views(image, [whole, part])
    cut = backbone(weights).eval().maps_of_views(image, [whole, part])
    assert torch.equal(maps[0], cut[0])
    assert maps[1].shape == cut[1].shape
    assert not torch.allclose(maps[1], cut[1], atol=1e-3)
    corner = F.interpolate(
        image[None, :, :SIZE // 2, SIZE // 2:], (64, 64), mode='bilinear',
        align_corners=False)
    alone = backbone(weights, vit_size=64).eval()
    assert torch.allclose(
        maps[1], alone.maps_of_views(corner[0], [whole])[0], atol=1e-5)
    # Parts alone need no map of the whole.
    assert torch.equal(vit.maps_of_views(image, [part])[0], maps[1])
    assert vit.settings() == backbone(weights).settings()


def test_with_maps_no_vit_is_built_and_none_is_saved(weights, monkeypatch):
    vit = backbone(weights)
    monkeypatch.setattr(vit, '_built', None)  # calling it would fail
    fine, coarse = vit(torch.zeros(2, 3, 64, 64),
                       [torch.ones(128, 4, 4), torch.zeros(128, 4, 4)])
    assert fine.shape == (2, 64, 16, 16)
    assert coarse.shape == (2, 128, 4, 4)
    assert all(name.startswith('stem.') for name in vit.state_dict())


def test_a_block_of_the_stem_adds_to_what_was_there():
    """The stem alone while its last norm is 0; else something more."""
    torch.manual_seed(0)
    plain = FrozenViT('none', stem_channels=(8, 16)).stem
    more = FrozenViT('none', stem_channels=(8, 16), stem_blocks=1).stem
    more.load_state_dict(plain.state_dict(), strict=False)
    images, last = torch.randn(2, 3, 32, 32), more[-1].layers[-1]
    with torch.no_grad():
        expected = plain(images)
        assert expected.shape == (2, 16, 8, 8)
        assert not torch.allclose(more(images), expected)
        last.weight.zero_()
        last.bias.zero_()
        assert torch.allclose(more(images), expected)


def test_settings_follow_weights_and_size(weights, tmp_path):
    other = save(random_vit(seed=1), tmp_path / 'other.pth')
    settings = [
        each.settings() for each in (backbone(weights), backbone(other),
                                     backbone(weights, vit_size=112),
                                     backbone(weights, block=3))
    ]
    assert backbone(weights).settings() == settings[0]
    assert len({str(each) for each in settings}) == 4


def test_a_map_is_found_for_its_photo_and_settings_only(tmp_path, picture):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    store = FeatureMapStore(tmp_path / 'maps', dict(a=1))
    assert store.read(picture) is None
    store.write(picture, values)
    # Who reads takes the settings that are kept there.
    kept = FeatureMapStore(tmp_path / 'maps').read(picture)
    assert kept.dtype == np.float16
    assert (kept == values).all()
    assert FeatureMapStore(tmp_path / 'maps', dict(a=2)).read(picture) is None
    store = FeatureMapStore(tmp_path / 'maps', dict(a=1))
    Image.fromarray(photo(np.random.default_rng(1), 20, 30)).save(picture)
    assert store.read(picture) is None


def test_the_folder_is_bounded(tmp_path, picture):
    store = FeatureMapStore(tmp_path / 'maps', {}, max_gb=1e-6)
    with pytest.raises(OSError, match='max_gb=1e-06.*--delete'):
        store.write(picture, np.zeros((8, 8, 10)))
    assert not store.files()


def test_the_tool_deletes_maps_alone(tmp_path, picture, repo_root,
                                     monkeypatch, capsys):
    folder = tmp_path / 'maps'
    FeatureMapStore(folder, {}).write(picture, np.zeros((2, 2, 4)))
    (folder / 'mine.npy').write_bytes(b'')
    tool = repo_root / 'tools/misc/feature_maps.py'

    def run(*args: str) -> int:
        monkeypatch.setattr(sys, 'argv', [str(tool), *args])
        return runpy.run_path(str(tool))['main']()

    assert run(str(folder)) == 0
    assert '1 maps' in capsys.readouterr().out
    assert run(str(folder), '--delete') == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        'mine.npy', 'settings.json'
    ]
    assert run(str(tmp_path / 'none')) == 2


@pytest.mark.parametrize('max_zoom, matrix, kept', [
    (1, None, True),
    (1, np.diag([2, 4, 1]), True),  # the whole, squashed
    (1, [[-2, 0, 80], [0, 4, 0], [0, 0, 1]], True),  # flipped
    (1, [[4, 0, -80], [0, 8, 0], [0, 0, 1]], False),  # a quarter, twice
    (2, [[4, 0, -80], [0, 8, 0], [0, 0, 1]], True),
    (None, [[4, 0, -80], [0, 8, 0], [0, 0, 1]], True),
])
def test_an_enlarged_view_gets_no_kept_map(tmp_path, picture, max_zoom,
                                           matrix, kept):
    """The photo has 20 x 40 pixels, its view 80 x 80."""
    FeatureMapStore(tmp_path / 'maps', {}).write(picture, np.ones((8, 8, 1)))
    results = dict(
        img_path=str(picture), ori_shape=(20, 40), img_shape=(80, 80))
    if matrix is not None:
        results['homography_matrix'] = np.array(matrix, np.float32)
    transform = LoadFeatureMap(str(tmp_path / 'maps'), 4, max_zoom)
    assert ('feature_map' in transform(results)) == kept


RAMP = torch.arange(8.).expand(1, 8, 8) + 0.5  # a value says its column


@pytest.mark.parametrize('matrix, expected', [
    (np.diag([2, 4, 1]), [1, 3, 5, 7]),  # the whole, squashed
    ([[-2, 0, 80], [0, 4, 0], [0, 0, 1]], [7, 5, 3, 1]),  # flipped
    ([[4, 0, -80], [0, 8, 0], [0, 0, 1]], [4.5, 5.5, 6.5, 7.375]),
], ids=['whole', 'flip', 'right half'])
def test_views_of_a_map(matrix, expected):
    """A photo of 20 x 40 pixels, a view of 80 x 80, eight columns."""
    view = view_of_map(RAMP, matrix, (20, 40), (80, 80), 4)
    assert view.shape == (1, 4, 4)
    assert view[0, 0].tolist() == pytest.approx(expected)
    assert (view[0] == view[0, :1]).all()
