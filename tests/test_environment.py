"""A program started outside its environment says how to get in."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ('tools', 'demo')
    for path in (ROOT / folder).rglob('*.py')
    if 'bootstrap' not in path.as_posix())


@pytest.mark.parametrize('program', PROGRAMS)
def test_without_mmengine(program):
    # -S: without site-packages, as a system's own Python
    done = subprocess.run(
        [sys.executable, '-S', '-E', program, 'x', '--help'], cwd=ROOT,
        capture_output=True, text=True, check=False)
    if done.returncode == 0:  # its --help needs nothing
        done = subprocess.run(
            [sys.executable, '-S', '-E', program], cwd=ROOT,
            capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count('\n') == 1
    assert 'source .venv/bin/activate' in done.stderr
    assert not done.stdout
