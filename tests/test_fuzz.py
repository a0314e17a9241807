"""A minute of broken and hostile files, the same ones each time."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_minute_of_hostile_files():
    # A machine that is busy is no hang: the benchmark takes 5 seconds. A
    # faster one does not come to cases that nobody has seen.
    done = subprocess.run(
        [sys.executable, str(ROOT / 'benchmarks' / 'fuzz.py'), '--minutes',
         '1', '--cases', '8000', '--hang', '60'], capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=900)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' 0 crash, 0 traceback, 0 hang, 0 memory' in last
    assert int(last.split()[0]) > 20
