"""Which wheel of mmcv's ops is taken, and what happens without one."""
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """tools/ is no package; its modules are found as a script finds them."""
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in ('SOHES_WHEELS', 'PIP_FIND_LINKS'):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture
def environment(tmp_path: Path):
    """An environment whose Python is the one that runs the tests."""
    from _bootstrap.venv import Environment
    made = Environment(tmp_path / 'venv', 'onedl')
    made.python.parent.mkdir(parents=True)
    made.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    made.python.chmod(0o755)
    return made


def target(**changes):
    """A machine without a GPU, or one that differs in some points."""
    from _bootstrap.mmcv_wheel import Target
    plain = dict(torch='2.10.0', tag='cp311', platform='linux_x86_64',
                 cuda=None, arch=None, nvcc=False)
    return Target(**{**plain, **changes})


@pytest.mark.parametrize(('name', 'changes', 'device', 'expected'), [
    ('torch2.10.0-cp311-cpu', {}, 'cpu', True),
    ('torch2.10.1-cp311-cpu', {}, 'cpu', False),
    ('torch2.10.0-cp312-cpu', {}, 'cpu', False),
    ('torch2.10.0-cp311-cu128', {}, 'cpu', False),
    ('torch2.10.0-cp311-cu128-sm90', dict(arch='90'), 'cu128', True),
    ('torch2.10.0-cp311-cu128-sm90', dict(arch='80'), 'cu128', False),
    ('torch2.10.0-cp311-cu130-sm90', dict(arch='90'), 'cu128', False),
    ('wheels', {}, 'cpu', False),
])
def test_only_wheels_for_exactly_this_torch(name: str, changes: dict,
                                            device: str,
                                            expected: bool) -> None:
    from _bootstrap.mmcv_wheel import fits
    assert fits(Path('/any') / name, target(**changes), device) is expected


# Importing the real one takes seconds, three times.
FAKE_TORCH = """
class tensor(list):
    def to(self, device):
        return self
    def tolist(self):
        return list(self)
"""
GOOD_OPS = """
import torch
def nms(boxes, scores, threshold):
    return None, torch.tensor([0, 2])
"""


def fake_wheel(folder: Path, body: str) -> Path:
    """A wheel whose ``mmcv.ops`` is the given code."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('mmcv/__init__.py', '')
        archive.writestr('mmcv/ops.py', body)
        archive.writestr('torch.py', FAKE_TORCH)
    return path


def test_wheel_that_fails_is_dropped_and_the_next_tried(
        environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
    from _bootstrap import mmcv_wheel
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    name = 'torch2.10.0-cp311-cpu'
    own = fake_wheel(tmp_path / 'cache' / 'sohes' / 'mmcv' / name,
                     'raise ImportError("undefined symbol")')
    wrong = fake_wheel(tmp_path / 'a' / name, GOOD_OPS.replace('0, 2', '0'))
    good = fake_wheel(tmp_path / 'b' / name, GOOD_OPS)
    fake_wheel(tmp_path / 'b' / 'torch2.9.0-cp311-cpu', GOOD_OPS)
    # A folder of wheels by name, and one that holds such folders.
    monkeypatch.setenv('SOHES_WHEELS', f'{wrong.parent} {tmp_path / "b"}')
    monkeypatch.setattr(mmcv_wheel, 'probe_target', lambda _: target())

    def compile_wheel(*_: object) -> None:
        raise AssertionError('compiled although a wheel fits')

    monkeypatch.setattr(mmcv_wheel, 'compile_wheel', compile_wheel)
    found = mmcv_wheel.get_wheel('onedl-mmcv', '2.3.6', environment)
    assert found == good
    assert not own.exists()
    assert wrong.exists()
    assert capsys.readouterr().out.count('does not run here') == 2


def test_compiles_when_no_wheel_fits(environment, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from _bootstrap import mmcv_wheel
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(mmcv_wheel, 'probe_target', lambda _: target())
    calls = []

    def run(command: list, what: str, advice: str = '',
            env: object = None) -> None:
        calls.append((what, env))
        if what == 'compiling':
            folder = command[command.index('--wheel-dir') + 1]
            fake_wheel(Path(folder), GOOD_OPS)

    monkeypatch.setattr(environment, 'run', run)
    built = mmcv_wheel.get_wheel('onedl-mmcv', '2.3.6', environment)
    assert built.parent == (tmp_path / 'cache' / 'sohes' / 'mmcv' /
                            'torch2.10.0-cp311-cpu')
    assert [what for what, _ in calls] == ['compiling', 'trying its ops']
    assert calls[0][1]['MMCV_WITH_OPS'] == '1'
    assert calls[0][1]['CUDA_VISIBLE_DEVICES'] == ''
    # And the next environment takes it from there.
    again = mmcv_wheel.get_wheel('onedl-mmcv', '2.3.6', environment)
    assert again == built
    assert len(calls) == 3
