"""Make the environment that a command needs, then run the command.

    python tools/bootstrap.py --stage demo -- demo/pseudo_labels_demo.py

Every step says what it does and how long it takes, and is done once;
interrupting it anywhere and running it again is safe. Needs nothing but
Python's standard library. Exit codes: 0 done, 2 the machine needs a hand, 130
interrupted; else that of the command.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _bootstrap.mmcv_wheel import get_wheel
from _bootstrap.process import CommandError, SetupError, say
from _bootstrap.pythons import find_python, probe
from _bootstrap.stacks import MMCV_NEEDS, STACKS, STAGES
from _bootstrap.venv import Environment

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
BROKEN = ('If the line broke, run the same command again: what was downloaded '
          'is kept. If pydensecrf2 did not compile: it wants a C++ compiler '
          "and Python's headers (Debian and Ubuntu: apt install g++ "
          'python3-dev).')


class Setup:
    """The steps, each a method; see :data:`STAGES` for their order.

    Args:
        environment: where to install.
        python: the user's choice of Python, or None.
    """

    def __init__(self, environment: Environment, python: str | None) -> None:
        self.env = environment
        self.asked = python
        self.stack = STACKS[environment.stack]
        self.constraints = (
            REQUIREMENTS / f'constraints-{environment.stack}.txt')

    def key(self, step: str) -> str:
        """What the step would install now, as a hash."""
        texts = [step, *map(str, (self.stack, MMCV_NEEDS))]
        if step == 'sohes':
            texts.append((ROOT / 'setup.py').read_text(encoding='utf-8'))
        files = dict(
            packages=('runtime', 'demo', 'refine', 'build'),
            tests=('tests', 'web', 'reference'),
            docs=('docs', ),
            sohes=('runtime', )).get(step, ())
        for path in (self.constraints,
                     *(REQUIREMENTS / f'{name}.txt' for name in files)):
            texts.append(path.read_text(encoding='utf-8'))
        return self.env.key(*texts)

    def missing(self, stage: str) -> list[str]:
        """The steps of a stage that are not done, or no longer current."""
        if self.env.is_broken() or self._other_python():
            return list(STAGES[stage])
        return [
            step for step in STAGES[stage]
            if self.env.recorded(step) != self.key(step)
        ]

    def _other_python(self) -> bool:
        """Whether the user asks for another version than is installed."""
        if not self.asked or self.env.recorded('venv') is None:
            return False
        here, there = probe(str(self.env.python)), probe(self.asked)
        return None not in (here, there) and here[0] != there[0]

    def run(self, stage: str) -> None:
        """Do what is missing of a stage.

        Raises:
            SetupError: a step failed; says which and what to do.
        """
        if not self.missing(stage):
            return
        with self.env.locked():
            steps = self.missing(stage)
            if steps and set(steps) - {'sohes'} and self._stale(steps):
                say(f'{self.env.path.name} is unfinished, moved or out of '
                    'date; making it anew (downloads are kept)')
                steps = list(STAGES[stage])
                self.env.empty()
            for step in steps:
                action: Callable[[], None] = getattr(self, f'step_{step}')
                action()
                self.env.record(step, self.key(step))
        say(f'{self.env.path.name} is ready')

    def _stale(self, steps: list[str]) -> bool:
        """Whether a finished step was of other versions, or cut short."""
        return self.env.is_broken() or self._other_python() or any(
            self.env.recorded(step) is not None for step in steps
            if step != 'sohes')

    def _pinned(self, *arguments: str) -> list[str]:
        """Arguments of an install at the known-good versions."""
        return ['-c', str(self.constraints), *arguments]

    def _version(self, distribution: str) -> str:
        """The known-good version of a distribution."""
        pins = self.constraints.read_text(encoding='utf-8')
        found = re.search(rf'^{distribution}==(\S+)', pins, re.MULTILINE)
        if found is None:
            raise SetupError(f'{self.constraints} does not pin '
                             f'{distribution}')
        return found[1]

    def step_venv(self) -> None:
        """An empty environment."""
        python = find_python(self.stack.pythons, self.asked)
        say(f'Making {self.env.path.name} with {python} (about 10 s)')
        self.env.create(python, self.constraints)

    def step_lint(self) -> None:
        """The linter alone, so that linting waits for nothing else."""
        say('Installing ruff (a few seconds)')
        self.env.install(self._pinned('ruff'), 'installing')

    def step_packages(self) -> None:
        """torch and everything that needs no compiled ops."""
        arguments = ['torchvision', *self.stack.light, *MMCV_NEEDS]
        for name in ('runtime', 'demo', 'refine', 'build'):
            arguments += ['-r', str(REQUIREMENTS / f'{name}.txt')]
        what = (f'Installing torch {self._version("torch")}, mmengine, '
                'mmpretrain and the rest')
        if self._may_take_cpu_torch():
            say(f'{what}. No GPU here, so torch without CUDA: 1 to 3 min '
                f'(to use a GPU elsewhere: UV_TORCH_BACKEND={self.stack.cuda}'
                ' and a new environment)')
            try:
                self.env.install(self._pinned(*arguments), 'installing',
                                 env={'UV_TORCH_BACKEND': 'cpu'})
                self._settle_opencv()
                return
            except CommandError:
                say('  did not work; torch from PyPI instead')
        say(f'{what} (a download of {self.stack.download}: 1 to 3 min on a '
            'fast line, 6 at 100 Mbit/s)')
        self.env.install(self._pinned(*arguments), 'installing',
                         'If the line broke, run the same command again: '
                         'what was downloaded is kept.')
        self._settle_opencv()

    def _may_take_cpu_torch(self) -> bool:
        """Whether torch without CUDA would do, and can be had.

        It is a tenth of the download, but PyPI has none for Linux, and
        where packages come from PyPI or a mirror alone there is none.
        """
        told = ('UV_TORCH_BACKEND', 'UV_INDEX', 'UV_DEFAULT_INDEX',
                'UV_INDEX_URL', 'UV_OFFLINE', 'PIP_INDEX_URL')
        gpu = ('/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg')
        if (not sys.platform.startswith('linux')
                or any(os.environ.get(name) for name in told)
                or any(map(os.path.exists, gpu))
                or shutil.which('nvidia-smi')):
            return False
        try:
            self.env.install([
                '--dry-run', '--reinstall', '--no-deps', '--torch-backend',
                'cpu', f'torch=={self._version("torch")}'
            ], 'looking', env={'UV_HTTP_TIMEOUT': '10',
                               'UV_HTTP_RETRIES': '0'})
        except CommandError:
            return False
        return True

    def step_lite(self) -> None:
        """mmcv without compiled ops: Phase 1 needs none of them."""
        say('Installing mmcv without compiled ops (a few seconds)')
        self.env.install(
            self._pinned('--no-deps', *self.stack.lite), 'installing')

    def step_sohes(self) -> None:
        """This package, editable."""
        say('Installing sohes from this folder (a few seconds)')
        self.env.install(
            ['--no-deps', '--no-build-isolation', '-e',
             str(ROOT)], 'installing')
        self.env.run([str(self.env.python), '-m',
                      'sohes.pseudo_labels.warm_up'], 'compiling')

    def step_ops(self) -> None:
        """mmcv's compiled ops, and the packages that import them."""
        name, version = self.stack.mmcv, self._version(self.stack.mmcv)
        say('This command needs the compiled ops of mmcv; getting them once')
        wheel = get_wheel(name, version, self.env)
        say('Installing mmcv with ops, mmdet and mmsegmentation (about 1 min)')
        lite = self.stack.lite[-1]
        if lite != name:
            # Two distributions, the same files: the old one goes first.
            self.env.uninstall(lite)
        self.env.install(['--no-deps', '--reinstall', str(wheel)],
                         'installing')
        self.env.install(self._pinned(*self.stack.heavy), 'installing')
        self._settle_opencv()

    def step_tests(self) -> None:
        """What only the tests use."""
        say('Installing pytest and what else the tests use (about 20 s)')
        self.env.install(
            self._pinned('-r', str(REQUIREMENTS / 'tests.txt'), '-r',
                         str(REQUIREMENTS / 'web.txt'), self.stack.mim),
            'installing', BROKEN)
        if self.env.stack == 'onedl':  # its torch is new enough for them
            self.env.install([
                '--target', str(self.env.path / 'reference'), '--no-deps',
                '-r', str(REQUIREMENTS / 'reference.txt')
            ], 'installing')

    def step_docs(self) -> None:
        """What builds the documentation."""
        if self.env.stack != 'onedl':
            raise SetupError('the documentation is built with STACK=onedl, '
                             'for which its packages are pinned')
        say('Installing Sphinx (about 10 s)')
        self.env.install(
            self._pinned('-r', str(REQUIREMENTS / 'docs.txt')), 'installing')

    def _settle_opencv(self) -> None:
        """Make ``import cv2`` work, and work the same on every machine.

        mmcv requires opencv-python, whose library wants libGL, which a
        server seldom has; some packages require opencv-python-headless as
        well, and both own the folder cv2. Whoever is written last wins, so
        where both are there, or the first does not import, the headless
        one is written last.
        """
        both = any(
            self.env.path.glob('lib/python3*/site-packages/'
                               'opencv_python_headless-*.dist-info'))
        if both or not self._imports('cv2'):
            name = 'opencv-python-headless'
            self.env.install([
                '--no-deps', '--reinstall', f'{name}=={self._version(name)}'
            ], 'installing OpenCV without windows')

    def _imports(self, module: str) -> bool:
        """Whether a module imports in the environment."""
        return subprocess.run(
            [str(self.env.python), '-c', f'import {module}'],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stage', choices=tuple(STAGES), default='demo',
                        help='What to set up for. Default: %(default)s.')
    parser.add_argument('--stack', choices=tuple(STACKS), default='onedl',
                        help="OneDL's maintained forks, or OpenMMLab's own "
                        'last releases. Default: %(default)s.')
    parser.add_argument('--python', default=os.environ.get('PYTHON') or None,
                        help='Python to make the environment with. Default: '
                        '$PYTHON, or one that is found.')
    parser.add_argument('--venv', help='Folder of the environment. Default: '
                        '.venv, or .venv-openmmlab, in the checkout.')
    parser.add_argument('--has-python', action='store_true',
                        help='Only say which Python it would take.')
    parser.add_argument('command', nargs=argparse.REMAINDER,
                        help='After --: what to run with its Python.')
    return parser.parse_args()


def main() -> int:
    """Set up, then become the command.

    Returns:
        Exit code, if there is no command.
    """
    args = parse_args()
    name = '.venv' if args.stack == 'onedl' else f'.venv-{args.stack}'
    path = Path(args.venv).absolute() if args.venv else ROOT / name
    environment = Environment(path, args.stack)
    try:
        if args.has_python:
            print(find_python(STACKS[args.stack].pythons, args.python))
            return 0
        Setup(environment, args.python).run(args.stage)
    except SetupError as error:
        print(f'[setup] {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('[setup] Interrupted; the same command continues from here.',
              file=sys.stderr)
        return 130
    command = [word for word in args.command if word != '--']
    if command:
        python = str(environment.python)
        os.execv(python, [python, *command])
    return 0


if __name__ == '__main__':
    sys.exit(main())
