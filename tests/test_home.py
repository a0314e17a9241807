"""Each process of the suite has a home folder of its own."""
import os
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

CODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tests.conftest
print(Path.home())
"""


def test_two_processes_have_two_homes(repo_root: Path) -> None:
    homes = {Path(subprocess.run(
        [sys.executable, '-c', CODE, str(repo_root)], check=True,
        capture_output=True, text=True).stdout.strip()) for _ in range(2)}
    assert len(homes) == 2
    assert Path.home() not in homes
    for home in homes:
        home.rmdir()  # there and empty, or this fails


def test_caches_of_the_user_are_left_alone() -> None:
    assert Path.home().name.startswith('sohes-home-')
    assert not {'XDG_CACHE_HOME', 'MPLCONFIGDIR'} & os.environ.keys()


def test_what_is_compiled_is_kept(tmp_path: Path) -> None:
    (tmp_path / 'found.py').touch()
    subprocess.run([sys.executable, '-c', 'import found'], check=True,
                   cwd=tmp_path)
    assert not sys.dont_write_bytecode
    # Beside the source, or where PYTHONPYCACHEPREFIX says.
    assert Path(cache_from_source(str(tmp_path / 'found.py'))).is_file()


def test_mim_writes_there() -> None:
    default = pytest.importorskip(
        'mim.utils.default', reason='no mim: pip install openmim or onedl-mim')
    assert Path(default.DEFAULT_CACHE_DIR).is_relative_to(Path.home())
