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


@pytest.mark.parametrize('script, args, tool, given', [
    ('train', ['a b.py', '3', '--amp'], 'train.py', ['a b.py', '--amp']),
    ('test', ['a.py', 'x.pth', '3', '--out', 'y'], 'test.py',
     ['a.py', 'x.pth', '--out', 'y']),
    ('generate', ['a.py', '3', '--img-dir', 'my photos'],
     'generate_pseudo_labels.py', ['a.py', '--img-dir', 'my photos']),
])
def test_scripts_give_torchrun_what_was_asked_for(tmp_path, script, args,
                                                  tool, given):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    python.chmod(0o755)
    done = subprocess.run(
        ['bash', str(ROOT / f'tools/dist_{script}.sh'), *args],
        env=dict(os.environ, PORT='29587', NNODES='2', NODE_RANK='1',
                 MASTER_ADDR='10.0.0.1',
                 PATH=f'{tmp_path}:{os.environ["PATH"]}'),
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        '-m', 'torch.distributed.run', '--nnodes=2', '--node_rank=1',
        '--master_addr=10.0.0.1', '--master_port=29587',
        '--nproc_per_node=3', str(ROOT / 'tools' / tool), *given,
        '--launcher', 'pytorch']
