"""What wheels, sdists and editable installs hold; what is pinned."""
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.clean_env import CleanEnv, build, copy_source

STACKS = ('onedl', 'openmmlab')


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind."""
    target = copy_source(tmp_path_factory.mktemp('source') / 'sohes')
    # Stand-ins, so that the test says the same on any checkout.
    (target / 'configs').mkdir(exist_ok=True)
    (target / 'configs' / 'sohes_packaging_probe.py').write_text('x = 1\n')
    (target / 'demo' / 'models').mkdir(parents=True, exist_ok=True)
    (target / 'demo' / 'models' / 'probe.safetensors').write_bytes(b'x')
    (target / 'model-index.yml').write_text('Import: []\n')
    (target / 'dataset-index.yml').write_text('{}\n')
    return target


@pytest.fixture(scope='module')
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, 'wheel', tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, 'sdist', tmp_path_factory.mktemp('sdist'))


def wheel_names(path: Path) -> set:
    """The files in a wheel."""
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


MIM_FILES = {
    'sohes/.mim/configs/sohes_packaging_probe.py',
    'sohes/.mim/tools/bootstrap.py', 'sohes/.mim/model-index.yml',
    'sohes/.mim/dataset-index.yml'
}


def test_wheel_holds_mim_and_not_the_tests(source: Path,
                                           wheel: Path) -> None:
    names = wheel_names(wheel)
    assert names >= MIM_FILES | {
        'sohes/version.py', 'sohes/structures/entity_forest.py',
        *(f'sohes/visualization/viewer/{name}' for name in (
            'forest.js', 'viewer.js', 'paint.js', 'report.js', 'viewer.css',
            'report.css', 'report.html', 'photo.html'))
    }
    tops = {name.split('/')[0] for name in names}
    assert {top for top in tops if not top.endswith('.dist-info')} == {'sohes'}
    assert not any('__pycache__' in name for name in names)
    # Models stay in the checkout.
    assert not any('safetensors' in name for name in names)
    # Where onedl-mim looks; see docs/mim.md.
    again = {name.split('.dist-info/')[1] for name in names
             if '.dist-info/.mim/' in name}
    assert again == {name[len('sohes/'):] for name in names
                     if name.startswith('sohes/.mim/')}
    assert not (source / 'sohes' / '.mim').exists()


@pytest.mark.slow
def test_removed_config_does_not_return_from_a_stale_build(
        source: Path, wheel: Path, tmp_path: Path) -> None:
    extra = source / 'configs' / 'gone.py'
    extra.write_text('x = 2\n')
    first = wheel_names(build(source, 'wheel', tmp_path / 'a'))
    extra.unlink()
    second = wheel_names(build(source, 'wheel', tmp_path / 'b'))
    gone = {name.split('/.mim/')[1] for name in first - second}
    assert gone == {'configs/gone.py'}
    assert second == wheel_names(wheel)


@pytest.mark.slow
def test_sdist_holds_mim_and_builds_the_same_wheel(
        sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path)
    tree = tmp_path / sdist.name[:-len('.tar.gz')]
    for name in MIM_FILES:
        assert (tree / name).is_file(), name
    assert not (tree / 'tests').exists()
    assert not (tree / 'projects').exists()
    assert not (tree / 'demo').exists()
    again = wheel_names(build(tree, 'wheel', tmp_path / 'again'))
    code = {name for name in wheel_names(wheel) if name.startswith('sohes/')}
    assert {name for name in again if name.startswith('sohes/')} == code


def test_editable_install_makes_no_mim(source: Path, tmp_path: Path) -> None:
    names = wheel_names(build(source, 'editable', tmp_path))
    assert not any('.mim' in name for name in names)
    assert not (source / 'sohes' / '.mim').exists()


def test_metadata(source: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist()
                    if name.endswith('.dist-info/METADATA'))
        lines = archive.read(name).decode().splitlines()
    scope: dict = {}
    exec((source / 'sohes' / 'version.py').read_text(), scope)
    assert f'Version: {scope["__version__"]}' in lines
    extras = {line[16:] for line in lines if line.startswith('Provides-Ext')}
    assert extras == {'onedl', 'openmmlab', 'refine', 'demo', 'heif',
                      'web', 'docs', 'tests'}
    required = [line[15:] for line in lines
                if line.startswith('Requires-Dist') and 'extra' not in line]
    # Two distributions own the name mmcv; requiring either would let pip
    # overwrite the other.
    assert not [line for line in required if re.match(r'(onedl-)?mm', line)]
    assert {re.split(r'[<>=! ]', line)[0] for line in required} >= {
        'numpy', 'numba', 'torch', 'pillow', 'pycocotools', 'rich',
        'safetensors'
    }


def hashes(folder: Path) -> dict[str, str]:
    """Of every file below a folder, but caches."""
    return {path.relative_to(folder).as_posix():
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


@pytest.mark.slow
def test_a_wheel_beside_mmdet_leaves_its_files_alone(
        wheel: Path, tmp_path: Path) -> None:
    mmdet = Path(pytest.importorskip('mmdet').__file__).parent
    assert wheel.stat().st_size < 1_000_000  # bytes
    env = CleanEnv(tmp_path / 'env')
    shutil.copytree(mmdet, env.site / 'mmdet')
    infos = [*mmdet.parent.glob('mmdet-*.dist-info'),
             *mmdet.parent.glob('onedl_mmdetection-*.dist-info')]
    for info in infos:
        shutil.copytree(info, env.site / info.name)
    before = hashes(env.site)
    done = env.run('-m', 'pip', 'install', '--no-deps', '--no-index', wheel,
                   cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = hashes(env.site)
    assert before.items() <= after.items()
    assert len(before) > 1000
    tops = {name.split('/')[0].split('-')[0] for name in after.keys() - before}
    assert tops == {'sohes'}
    done = env.run('-m', 'pip', 'check', cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    found = env.run('-c', 'import sohes; print(sohes.__file__)', cwd=tmp_path)
    assert found.stdout.startswith(str(env.site))


@pytest.mark.slow
def test_twine_has_nothing_to_say(wheel: Path, sdist: Path) -> None:
    pytest.importorskip('twine')
    done = subprocess.run(
        [sys.executable, '-m', 'twine', 'check', '--strict', wheel, sdist],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_direct_dependency_has_a_reason(repo_root: Path) -> None:
    text = (repo_root / 'docs/packaging.md').read_text()
    rows = re.findall(r'^\| `([\w-]+)` \| (.+?) \|$', text, re.MULTILINE)
    table = dict(rows)
    assert table.keys() == set(names_in(repo_root, 'runtime'))
    assert f'{len(table)} direct dependencies' in text


def pins(root: Path, stack: str) -> dict:
    """Distribution -> its pins in the constraints of a stack."""
    path = root / 'requirements' / f'constraints-{stack}.txt'
    found: dict = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith('#'):
            name, rest = line.split('==', 1)
            found.setdefault(name, []).append(rest)
    return found


def names_in(root: Path, name: str) -> list:
    """Distributions that a requirements file asks for."""
    lines = (root / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [re.split(r'[<>=!~ ]', line)[0] for line in lines
            if line and not line.startswith('#')]


@pytest.mark.parametrize('stack', STACKS)
def test_everything_required_is_pinned(repo_root: Path, stack: str) -> None:
    pinned = pins(repo_root, stack)
    for name in ('runtime', 'refine', 'demo', 'web', 'tests', 'build',
                     stack):
        missing = set(names_in(repo_root, name)) - set(pinned)
        assert not missing, f'{name}.txt: {missing}'


def test_pins_fit_the_extras_they_belong_to(repo_root: Path) -> None:
    requirements = pytest.importorskip('packaging.requirements')
    for stack in STACKS:
        pinned = pins(repo_root, stack)
        for name in ('runtime', 'refine', 'demo', 'web', 'tests', 'build',
                     stack):
            text = (repo_root / 'requirements' / f'{name}.txt').read_text()
            for line in text.splitlines():
                if not line or line.startswith('#'):
                    continue
                wanted = requirements.Requirement(line)
                for pin in pinned[wanted.name]:
                    version = pin.split(';')[0].strip()
                    assert wanted.specifier.contains(version), (line, pin)


@pytest.mark.parametrize('stack', STACKS)
def test_both_opencvs_are_of_one_version(repo_root: Path, stack: str) -> None:
    """They own the same folder, so two versions would mix."""
    pinned = pins(repo_root, stack)
    assert pinned['opencv-python'] == pinned['opencv-python-headless']
