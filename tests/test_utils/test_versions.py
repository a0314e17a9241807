"""A version that does not fit is refused where it is needed, in a sentence."""
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sohes.utils import versions
from sohes.utils.versions import SUPPORTED, check_versions

# Where the refusal comes from: what is imported, and what it needs.
ROOMS = [
    ('sohes.pseudo_labels', 'torch'),
    ('sohes.registry', 'mmengine'),
    ('sohes.models.backbones', 'mmcv'),
    ('sohes.models.backbones', 'mmpretrain'),
    ('sohes.models.dense_heads', 'mmdet'),
    ('sohes.models.detectors', 'mmdet'),
    ('sohes.datasets.registered', 'mmdet'),
]


def pretend(folder: Path, name: str, version: str) -> None:
    """The metadata of a distribution that is not installed."""
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


@pytest.fixture
def only(tmp_path, monkeypatch) -> Path:
    """A folder with the only distributions there are."""
    monkeypatch.setattr(
        versions.metadata, 'version', lambda name: next(
            iter(versions.metadata.distributions(
                name=name, path=[str(tmp_path)])),
            _Missing(name)).version)
    return tmp_path


class _Missing:
    """A distribution that is not there."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def version(self) -> str:
        raise versions.metadata.PackageNotFoundError(self.name)


def test_this_environment_fits():
    check_versions('torch', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain',
                   'mmseg')


@pytest.mark.parametrize('room, name', ROOMS)
def test_refused_at_the_import_of_what_needs_it(room, name, monkeypatch,
                                                repo_root):
    owner, there = next(iter(SUPPORTED[name])), versions.metadata.version
    monkeypatch.setattr(
        versions.metadata, 'version',
        lambda found: '0.0.1' if found == owner else there(found))
    path = repo_root / room.replace('.', '/')
    # What is imported already is run once more.
    with pytest.raises(ImportError) as error:
        runpy.run_path(str(path / '__init__.py' if path.is_dir() else
                           path.with_suffix('.py')))
    low, high = SUPPORTED[name][owner]
    wanted = f'>={low},<{high}' if high else f'>={low}'
    assert str(error.value) == (
        f'sohes needs {name} {wanted}, but {owner} 0.0.1 is installed; '
        f'pip install "{owner}{wanted}" installs one that fits')


def test_a_process_ends_with_the_sentence(tmp_path, repo_root):
    pretend(tmp_path, 'torch', '0.0.1')
    done = subprocess.run(
        [sys.executable, '-c', 'import sohes.pseudo_labels'],
        capture_output=True, text=True, cwd=repo_root,
        env=dict(os.environ, PYTHONPATH=f'{tmp_path}:{repo_root}'))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'ImportError: sohes needs torch >=2.1, but torch 0.0.1 is installed; '
        'pip install "torch>=2.1" installs one that fits')


@pytest.mark.parametrize('owner, version, message', [
    ('mmcv', '2.2.0', r'mmcv >=2\.1\.0,<2\.2\.0, but mmcv 2\.2\.0 is'),
    ('onedl-mmcv', '3.0', r'pip install "onedl-mmcv>=2\.3\.6,<3"'),
    ('mmcv', '2.1.0', None),
    ('onedl-mmcv', '2.3.6+cu1', None),
])
def test_each_family_has_its_range(only, owner, version, message):
    pretend(only, owner, version)
    if message is None:
        check_versions('mmcv')
        return
    with pytest.raises(ImportError, match=message):
        check_versions('mmcv')


@pytest.mark.parametrize('numpy, owner, version, refused', [
    ('2.0.1', 'torch', '2.1.2', True),
    ('2.0.1', 'torch', '2.3.0', False),
    ('1.26.4', 'torch', '2.1.2', False),
    ('2.0.1', 'mmcv', '2.1.0', True),
    ('2.0.1', 'onedl-mmcv', '2.3.6', False),
])
def test_numpy_2_beside_what_was_built_for_1(only, numpy, owner, version,
                                             refused):
    pretend(only, 'numpy', numpy)
    pretend(only, owner, version)
    if not refused:
        check_versions()
        return
    with pytest.raises(ImportError, match=f'numpy {numpy} is installed, but '
                       f'{owner} {version} .* pip install "numpy<2"'):
        check_versions()


def test_what_is_missing_is_named(only, monkeypatch):
    monkeypatch.setitem(SUPPORTED, 'nothing_here', {'nothing': ('1', '2')})
    with pytest.raises(ImportError, match='needs nothing_here, which is not '
                       r'installed; pip install "sohes\[onedl\]"'):
        check_versions('nothing_here')
    # A checkout on the path has no metadata, but is there.
    check_versions('mmengine')


def test_the_ranges_are_those_of_the_requirements(repo_root):
    known = {owner: bounds for owners in SUPPORTED.values()
             for owner, bounds in owners.items()}
    seen = set()
    for name in ('runtime', 'onedl', 'openmmlab'):
        text = (repo_root / f'requirements/{name}.txt').read_text()
        for owner, low, high in re.findall(
                r'^([\w-]+)>=([\d.]+)(?:,<([\d.]+))?$', text, re.MULTILINE):
            if owner in known:
                assert known[owner] == (low, high or None), owner
                seen.add(owner)
    assert set(known) - seen == {'mmengine-lite', 'mmcv-lite'}


@pytest.mark.parametrize('version, wanted, fits', [
    ('2.1.0', '>=2.1.0,<2.2.0', True),
    ('2.1.0rc1', '>=2.1.0', True),
    ('0.10.12+cu1', '>=0.10.12', True),
    ('1.2.dev3', '<1.2', False),
    ('2.2.0a0+git1', '<2.2.0', False),
    ('2.10', '>=2.3', True),
])
def test_versions_and_ranges(version, wanted, fits):
    assert versions._fits(version, wanted) == fits
