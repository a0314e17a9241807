"""What make demo tells a person to do next."""
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def demo() -> dict:
    return runpy.run_path(str(ROOT / 'demo/pseudo_labels_demo.py'))


def next_commands(demo: dict, out: Path) -> list[list[str]]:
    return [shlex.split(line) for line in demo['next_commands'](
        out, out / 'my photos', out / 'vit.safetensors')]


def test_next_commands_name_what_is_there(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'prefix', '/elsewhere')  # whose operators are in
    monkeypatch.chdir(ROOT)
    label, browse, train = next_commands(demo, tmp_path)
    for command, script in ((label, 'generate_pseudo_labels.py'),
                            (browse, 'browse_pseudo_labels.py'),
                            (train, 'run_pipeline.py')):
        assert Path(command[0]).samefile(sys.executable)
        assert Path(command[1]).name == script
        assert Path(command[1]).is_file()
        assert str(tmp_path / 'my photos') in command
    assert label[1].startswith('tools/')
    assert Path(label[2]).is_file()
    assert browse[2] == f'{tmp_path}/labels.json'
    # From elsewhere, too.
    monkeypatch.chdir(tmp_path)
    label = next_commands(demo, tmp_path)[0]
    assert Path(label[1]).is_file() and Path(label[2]).is_file()
    assert 'my photos' in label


@pytest.mark.parametrize('folder, prefix', [
    ('.venv', ['make', 'ops', '&&']),
    ('.venv-openmmlab', ['make', 'ops', 'STACK=openmmlab', '&&']),
    ('elsewhere', []),
])
def test_training_first_gets_the_operators(demo, tmp_path, monkeypatch,
                                           folder, prefix):
    monkeypatch.setattr(sys, 'prefix', str(ROOT / folder))
    train = next_commands(demo, tmp_path)[2]
    assert train[:len(prefix)] == prefix
    assert train[len(prefix)].endswith(Path(sys.executable).name)
