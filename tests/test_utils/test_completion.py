"""The shell completes the options of the commands."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ('demo/image_demo.py', 'demo/web_demo.py',
            'tools/analysis_tools/browse_pseudo_labels.py',
            'tools/generate_pseudo_labels.py', 'tools/run_pipeline.py',
            'tools/test.py', 'tools/train.py')


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_are_marked_for_argcomplete(repo_root: Path,
                                             command: str) -> None:
    first = (repo_root / command).read_text().splitlines()[0]
    assert first == '# PYTHON_ARGCOMPLETE_OK'


def test_an_option_is_completed(repo_root: Path, tmp_path: Path) -> None:
    pytest.importorskip('argcomplete')
    line = 'browse_pseudo_labels.py labels.json --show-i'
    found = tmp_path / 'found'
    done = subprocess.run(
        [sys.executable,
         'tools/analysis_tools/browse_pseudo_labels.py'],
        cwd=repo_root, capture_output=True, text=True, timeout=120,
        env=dict(os.environ, _ARGCOMPLETE='1', COMP_LINE=line,
                 COMP_POINT=str(len(line)), _ARGCOMPLETE_IFS='\n',
                 _ARGCOMPLETE_STDOUT_FILENAME=str(found)))
    assert done.returncode == 0, done.stderr
    assert found.read_text().split() == ['--show-interval']
