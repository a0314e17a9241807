"""docs/mim.md's table: what works with this environment's mim."""
import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch

from tests.clean_env import ROOT, CleanEnv, build, copy_source
from tests.toy_run import toy_config, write_config

pytest.importorskip('mim', reason='no mim: pip install openmim or onedl-mim')
pytestmark = pytest.mark.slow

# Row of the table -> command line, in a folder with toy.py.
COMMANDS = {
    'mim list': ['list'],
    'mim search sohes': ['search', 'sohes'],
    'mim run sohes TOOL': ['run', 'sohes', 'generate_pseudo_labels'],
    'mim run sohes TOOL -h': ['run', 'sohes', 'generate_pseudo_labels', '-h'],
    'mim train sohes NAME.py': ['train', 'sohes', 'sohes_phase2_tiny.py',
                                '--gpus', '0'],
    'mim train sohes PATH': ['train', 'sohes', 'toy.py', '--gpus', '0'],
    'mim train sohes PATH --launcher pytorch --gpus 2': [
        'train', 'sohes', 'toy.py', '--gpus', '2', '--launcher', 'pytorch'],
    'mim test sohes PATH': ['test', 'sohes', 'toy.py', '--checkpoint',
                            'toy.pth', '--gpus', '0'],
    'mim gridsearch sohes PATH': [
        'gridsearch', 'sohes', 'toy.py', '--gpus', '0', '--work-dir', 'grid',
        '--search-args', '--optim_wrapper.optimizer.lr 0.01 0.02'],
}


def mim_name() -> str:
    """'openmim 0.3.9' or 'onedl-mim 0.5.1', as installed here."""
    for name in ('onedl-mim', 'openmim'):
        try:
            return f'{name} {metadata.version(name)}'
        except metadata.PackageNotFoundError:
            continue
    raise AssertionError('mim belongs to no known distribution')


def table() -> dict[str, dict[str, bool]]:
    """docs/mim.md: column -> row -> works."""
    lines = [
        [cell.strip(' `') for cell in line.strip().strip('|').split('|')]
        for line in (ROOT / 'docs/mim.md').read_text().splitlines()
        if line.startswith('|')]
    head, _, *rows = lines
    return {column: {row[0]: row[i] == 'yes' for row in rows}
            for i, column in enumerate(head) if i}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source, a wheel of it, and a configuration."""
    root = tmp_path_factory.mktemp('mim')
    copy_source(root / 'source')
    build(root / 'source', 'wheel', root)
    # It has a second copy of every configuration; see docs/mim.md.
    shutil.rmtree(root / 'source/build')
    (root / 'lib').mkdir()
    (root / 'lib/tests').symlink_to(ROOT / 'tests')
    write_config(root / 'toy.py', toy_config(root / 'run', iters=2,
                                             interval=2))
    return root


def installed(folder: Path, kind: str) -> CleanEnv:
    """A clean environment where mim has installed sohes."""
    env = CleanEnv(folder / f'env-{kind}')
    what = (['-e', folder / 'source'] if kind == 'editable' else
            [next(folder.glob('sohes-*.whl'))])
    done = env.run('-m', 'mim', 'install', '--no-deps', '--no-index',
                   '--no-build-isolation', *what, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return env


@pytest.fixture(scope='module')
def wheel_env(folder: Path) -> CleanEnv:
    return installed(folder, 'wheel')


@pytest.mark.parametrize('kind', ['wheel', 'editable'])
def test_the_table_is_true(kind: str, folder: Path, request) -> None:
    env = (request.getfixturevalue('wheel_env') if kind == 'wheel' else
           installed(folder, kind))
    (folder / 'commands.json').write_text(json.dumps(COMMANDS))
    done = env.run(ROOT / 'tests/mim_driver.py', folder / 'commands.json',
                   cwd=folder, PYTHONSAFEPATH='1',
                   PYTHONPATH=str(folder / 'lib'))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # mim list prints what there is, and ends well without sohes.
    found['mim list']['worked'] &= bool(
        re.search(r'^sohes\s', found['mim list']['printed'], re.MULTILINE))
    works = {name: answer['worked'] for name, answer in found.items()}
    documented = dict(table()[f'{mim_name()}, {kind}'])
    assert documented.pop('mim install') is True  # the fixture did
    assert works == documented, json.dumps(found, indent=1)
    if works['mim search sohes']:
        assert 'sohes_phase2' in found['mim search sohes']['printed']
        script = found['mim train sohes NAME.py']['started'][-1]
        assert script[1].endswith('tools/train.py')
        assert script[2].endswith('configs/tiny/sohes_phase2_tiny.py')


def test_two_processes_really_train_and_the_checkpoint_is_tested(
        folder: Path, wheel_env: CleanEnv) -> None:
    if torch.cuda.is_available():
        pytest.skip('with a GPU each process wants one')
    lib = str(folder / 'lib')
    done = wheel_env.run(
        '-m', 'mim', 'train', 'sohes', 'toy.py', '--launcher', 'pytorch',
        '--gpus', '2', cwd=folder, PYTHONPATH=lib)
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = torch.load(folder / 'run/iter_2.pth', weights_only=False)
    assert len(checkpoint['random_state']['ranks']) == 2
    done = wheel_env.run(
        '-m', 'mim', 'test', 'sohes', 'toy.py', '--checkpoint',
        'run/iter_2.pth', '--gpus', '0', cwd=folder, PYTHONPATH=lib)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'mean: ' in done.stdout
