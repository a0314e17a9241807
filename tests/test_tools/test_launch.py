"""The exit code of a script that starts several processes."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# In place of torchrun, which knows 0 and 1 only.
FAKE = '#!/bin/sh\nfor c in $CODES; do : > "$SOHES_EXIT_CODES/$c"; done\nexit '


@pytest.mark.parametrize('codes, torchrun, code', [
    ('', 0, 0),
    # Some photos could not be read: nothing has crashed.
    ('001', 0, 1),
    ('002', 1, 2),
    ('001 070', 1, 70),
    ('130', 1, 130),
    # Killed, or crashed before it could say so.
    ('', 1, 70),
])
def test_scripts_end_with_the_code_of_their_processes(tmp_path, codes,
                                                      torchrun, code):
    python = tmp_path / 'python'
    python.write_text(f'{FAKE}{torchrun}\n')
    python.chmod(0o755)
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/dist_generate.sh'), 'config.py', '2'],
        env=dict(os.environ, CODES=codes, TMPDIR=str(tmp_path),
                 PATH=f'{tmp_path}:{os.environ["PATH"]}'),
        capture_output=True, text=True)
    assert done.returncode == code and not done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ['python']
