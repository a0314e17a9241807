"""A virtual environment with the stack of this one, and without sohes.

Its own site-packages come first; a .pth file adds this environment's. So
nothing is downloaded, and what is installed there is seen there alone.
"""
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ('setup.py', 'MANIFEST.in', 'README.md', 'LICENSE', 'requirements',
          'sohes', 'configs', 'tools', 'tests', 'projects',
          'model-index.yml', 'dataset-index.yml')


def copy_source(target: Path) -> Path:
    """A copy of the checkout, so that building leaves nothing behind."""
    ignore = shutil.ignore_patterns('__pycache__', '*.egg-info', '.mim')
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=ignore)
        elif (ROOT / name).is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


class CleanEnv:
    """A new environment in a folder.

    Args:
        folder: made here.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.python = folder / 'bin' / 'python'
        self.site = next(folder.glob('lib/python3*/site-packages'))
        stack = sysconfig.get_path('purelib')
        (self.site / 'stack.pth').write_text(f'{stack}\n')

    def run(self, *args: object, cwd: Path,
            **variables: str) -> subprocess.CompletedProcess:
        """Run its Python, which sees no other checkout of sohes."""
        env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH='',
                   PIP_DISABLE_PIP_VERSION_CHECK='1') | variables
        return subprocess.run(
            [str(self.python), *map(str, args)], cwd=cwd, text=True, env=env,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
            timeout=300)


def build(source: Path, kind: str, out: Path) -> Path:
    """Build a 'wheel', 'sdist' or 'editable' as pip would, offline.

    Args:
        source: the tree to build.
        kind: which of PEP 517's hooks.
        out: folder for the result.
    """
    code = ('import sys; from setuptools import build_meta; '
            f'print(build_meta.build_{kind}(sys.argv[1]))')
    done = subprocess.run([sys.executable, '-c', code, str(out)],
                          cwd=source,
                          capture_output=True,
                          text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]
