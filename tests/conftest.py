"""Fixtures shared by the whole suite, and a home for each of its processes."""
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import in_process

ROOT = Path(__file__).resolve().parents[1]
# mim, matplotlib, yapf and others write into the home folder when they are
# imported; two processes that do so at once get in each other's way, and
# nobody's own home is the place for it. So each process of the suite, and
# the programs that it starts, get a home of their own, set before any of
# these is imported.
HOME = Path(tempfile.mkdtemp(prefix='sohes-home-'))
os.environ['HOME'] = str(HOME)
for _name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME',
              'MPLCONFIGDIR', 'NUMBA_CACHE_DIR', 'TORCH_HOME',
              'MMENGINE_HOME', 'SOHES_HOME'):
    os.environ.pop(_name, None)


# A process that may not keep what it compiles of torch and mmdet compiles
# five thousand modules, which takes longer than all that it imports them for.
sys.dont_write_bytecode = False
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)


def pytest_configure() -> None:
    """Configurations stay unformatted: long lines of the same Python.

    mmengine formats each one that it logs, writes or saves by yapf, nine
    times a training, which took two thirds of the seconds of a tiny one. It
    takes the function when it is imported, so this comes before.
    """
    from yapf.yapflib import yapf_api
    yapf_api.FormatCode = lambda text, **_: (text, False)


def pytest_unconfigure() -> None:
    """Remove the home of this process."""
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow files; skip what needs a GPU where there is none.

    Each file goes to one worker as a whole. One that takes minutes and comes
    last would leave the other workers idle.
    """
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)
    marked = [item for item in items if item.get_closest_marker('cuda')]
    if not marked:
        return
    import torch
    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA GPU'))


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """The root of the checkout, where tools/ and configs/ live."""
    return ROOT


@pytest.fixture(scope='session')
def run_tool() -> Callable[..., subprocess.CompletedProcess]:
    """Runs a script of tools/ in this process; see its docstring."""
    return in_process.run_tool


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of real photos, masks and weights, or a skip.

    ``SOHES_SHARED_DATA`` names it; CI keeps it beside the clone.
    """
    path = Path(
        os.environ.get('SOHES_SHARED_DATA', ROOT.parent / 'shared' / 'data'))
    if not path.is_dir():
        pytest.skip(f'no real data: {path} is missing '
                    '(set SOHES_SHARED_DATA to the folder)')
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of weights, and an empty one of torch.hub's."""
    monkeypatch.setenv('SOHES_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.delenv('SOHES_WEIGHTS', raising=False)
    return tmp_path / 'home' / 'weights'


@pytest.fixture(scope='module', autouse=True)
def mmengine_of_the_file() -> Iterator[None]:
    """Each file leaves mmengine's scope and loggers as it found them.

    A run of mmengine sets them for the whole process, where the next file
    would find them, or not, by the order of the files.
    """
    with in_process.mmengine_as_it_was():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, new for every test."""
    return np.random.default_rng(0)
