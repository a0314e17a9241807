"""Every script starts from anywhere and says what it takes."""
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# bootstrap.py runs outside the environment; it has its own tests.
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ('tools', 'demo')
    for path in (ROOT / folder).rglob('*.py')
    if '_bootstrap' not in path.parts and path.name != 'bootstrap.py')


def test_they_are_found():
    assert {'tools/train.py', 'tools/analysis_tools/evaluate_masks.py',
            'demo/image_demo.py'} < set(SCRIPTS)


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_from_another_folder(script, tmp_path, monkeypatch, capsys):
    # Without the checkout on the path: the script puts it there.
    monkeypatch.setattr(sys, 'path', [
        folder for folder in sys.path if Path(folder).resolve() != ROOT])
    monkeypatch.setattr(sys, 'argv', [str(ROOT / script), '--help'])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name='__main__')
    assert not end.value.code
    assert capsys.readouterr().out.startswith(f'usage: {Path(script).name} ')
    assert str(ROOT) in sys.path
