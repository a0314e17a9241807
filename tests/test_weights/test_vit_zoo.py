"""Names, the cache and where it is."""
import re
from pathlib import Path

import pytest
import torch

from sohes.models.backbones import ViTFeatureExtractor
from sohes.utils.errors import FileError
from sohes.weights import PRESETS, ZOO, Preset, vit_zoo, weights_dir
from sohes.weights.vit_zoo import (
    ZooEntry,
    fetch_weights,
    locate_weights,
)

from .conftest import FileServer
from .vit_reference import DEPTH, random_vit


@pytest.fixture
def zoo(server: FileServer, home: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A server with a real (small) ViT, under the name 'dino_vitb8'."""
    torch.save(random_vit(8).state_dict(), tmp_path / 'vit.pth')
    server.content = (tmp_path / 'vit.pth').read_bytes()
    monkeypatch.setitem(vit_zoo.ZOO, 'dino_vitb8',
                        ZooEntry(server.url, 'dino'))
    return server


def test_names_and_official_urls() -> None:
    assert set(ZOO) == {
        'dino_vits16', 'dino_vits8', 'dino_vitb16', 'dino_vitb8',
        'dinov2_vits14', 'dinov2_vitb14', 'dinov2_vitl14', 'dinov2_vitg14',
        'dinov2_vits14_reg', 'dinov2_vitb14_reg', 'dinov2_vitl14_reg',
        'dinov2_vitg14_reg', 'dinov3_vits16', 'dinov3_vits16plus',
        'dinov3_vitb16', 'dinov3_vitl16', 'dinov3_vith16plus',
        'dinov3_vit7b16'
    }
    # as in the authors' hubconf.py and dinov2/hub/backbones.py
    base = 'https://dl.fbaipublicfiles.com/'
    assert ZOO['dino_vits8'].url == (
        base + 'dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth')
    assert ZOO['dino_vitb16'].url == (
        base + 'dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth')
    assert ZOO['dinov2_vitl14'].url == (
        base + 'dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth')
    assert ZOO['dinov2_vits14_reg'].url == (
        base + 'dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth')
    assert ZOO['dinov3_vitl16'].file_name == (
        'dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth')
    for entry in ZOO.values():
        assert entry.family in PRESETS
        assert re.fullmatch(r'[0-9a-f]{64}', entry.sha256 or '0' * 64)


def test_a_name_is_fetched_once(zoo: FileServer, home: Path) -> None:
    for _ in range(2):
        extractor = ViTFeatureExtractor('dino_vitb8')
        assert extractor.patch_size == 8
    assert len(zoo.requests) == 1
    assert (home / 'vit_pretrain.pth').read_bytes() == zoo.content
    assert (home / 'vit_pretrain.pth.sha256').read_text().startswith(
        extractor.weights_hash)


def test_a_changed_file_in_the_cache_is_refused(zoo: FileServer,
                                                home: Path) -> None:
    file = fetch_weights('dino_vitb8').path
    torch.save(random_vit(8, seed=1).state_dict(), file)
    with pytest.raises(FileError, match=f'{file}: expected the SHA-256'):
        ViTFeatureExtractor('dino_vitb8')


def test_a_file_put_there_by_hand_is_taken(zoo: FileServer,
                                           home: Path) -> None:
    zoo.status = 404
    with pytest.raises(FileError) as caught:
        ViTFeatureExtractor('dino_vitb8')
    place = Path(str(caught.value).rsplit(' ', 1)[1])
    assert place == home / 'vit_pretrain.pth'
    place.write_bytes(zoo.content)
    assert ViTFeatureExtractor('dino_vitb8').family == 'dino'


def test_the_cache_of_torch_hub_counts(zoo: FileServer,
                                       tmp_path: Path) -> None:
    folder = tmp_path / 'torch' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    (folder / 'vit_pretrain.pth').write_bytes(zoo.content)
    assert fetch_weights('dino_vitb8').path.parent == folder
    assert zoo.requests == []


def test_the_family_of_a_name_is_known(zoo: FileServer,
                                       monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    """Not guessed: the same layout may belong to another family."""
    monkeypatch.setitem(vit_zoo.ZOO, 'dino_vitb8',
                        ZooEntry(zoo.url, 'generic'))
    extractor = ViTFeatureExtractor('dino_vitb8')
    assert extractor.family == 'generic'
    assert extractor.preset == PRESETS['generic'].at_depth(DEPTH)
    file = fetch_weights('dino_vitb8').path
    assert locate_weights(file).family is None
    assert ViTFeatureExtractor(file).family == 'dino'


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [(dict(SOHES_HOME='/a', XDG_CACHE_HOME='/b'), '/a/weights'),
     (dict(XDG_CACHE_HOME='/b'), '/b/sohes/weights'),
     (dict(SOHES_HOME='', XDG_CACHE_HOME=''), '/h/.cache/sohes/weights'),
     (dict(SOHES_HOME='~/x'), '/h/x/weights')])
def test_where_the_cache_is(environment: dict, expected: str,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', '/h')
    for name in ('SOHES_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert weights_dir() == Path(expected)


def test_unknown_names_are_refused(home: Path) -> None:
    for call in (fetch_weights, locate_weights, ViTFeatureExtractor):
        with pytest.raises(FileError, match="dino_vits16.*'dino_vitx'"):
            call('dino_vitx')


def test_presets() -> None:
    assert PRESETS['dino'] == Preset('key', -1, False,
                                     (0.6, 0.5, 0.4, 0.3, 0.2, 0.1))
    for preset in PRESETS.values():
        falling = sorted(set(preset.thresholds), reverse=True)
        assert list(preset.thresholds) == falling
        assert falling[-1] >= -1 and falling[0] <= 1
    share = Preset('key', 0.75, True, (0.5, ))
    assert [share.at_depth(n).block for n in (1, 2, 4, 12, 24)] == [
        1, 2, 3, 9, 18]
    assert Preset('key', -1, True, (0.5, )).at_depth(12).block == -1
