"""A wheel of mmcv with compiled ops that fits the installed torch."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from _bootstrap.process import SetupError, say
from _bootstrap.venv import Environment

# torch2.10.0-cp311-cpu or torch2.11.0-cp312-cu130-sm90
_FOLDER = re.compile(r'torch(?P<torch>[\d.]+)-(?P<tag>cp\d+)'
                     r'-(?P<device>cpu|cu\d+)(?:-sm(?P<arch>\d+))?$')
_PROBE = """
import json, sys, sysconfig, torch
from torch.utils.cpp_extension import CUDA_HOME
gpu = torch.cuda.is_available()
print(json.dumps(dict(
    torch=torch.__version__.split('+')[0],
    tag='cp%d%d' % sys.version_info[:2],
    platform=sysconfig.get_platform().replace('-', '_').replace('.', '_'),
    cuda='cu' + torch.version.cuda.replace('.', '') if gpu else None,
    arch='%d%d' % torch.cuda.get_device_capability() if gpu else None,
    nvcc=bool(CUDA_HOME))))
"""
# On the GPU too, for a wheel that says it can: a wheel compiled for
# another architecture fails only when a kernel starts.
_VERIFY = """
import sys, torch
from mmcv.ops import nms
boxes = torch.tensor([[0., 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
scores = torch.tensor([.9, .8, .7])
for device in sys.argv[1:]:
    kept = nms(boxes.to(device), scores.to(device), 0.5)[1]
    assert kept.tolist() == [0, 2], kept
"""


@dataclass(frozen=True)
class Target:
    """What a wheel has to fit.

    Attributes:
        torch: version without its local part, '2.10.0'.
        tag: the Python's tag, 'cp311'.
        platform: 'linux_x86_64'.
        cuda: torch's CUDA when a GPU can be used, 'cu128', else None.
        arch: that GPU's architecture, '90', else None.
        nvcc: whether CUDA's compiler is here.
    """
    torch: str
    tag: str
    platform: str
    cuda: str | None
    arch: str | None
    nvcc: bool

    @property
    def devices(self) -> list[str]:
        """Which ops serve here, best first; CPU ops serve anywhere."""
        return ['cpu'] if self.cuda is None else [self.cuda, 'cpu']


def probe_target(environment: Environment) -> Target:
    """Ask the environment's Python what it runs."""
    done = subprocess.run([str(environment.python), '-c', _PROBE],
                          check=False,
                          stdin=subprocess.DEVNULL,
                          capture_output=True)
    if done.returncode:
        raise SetupError('torch does not import: ' +
                         done.stderr.decode(errors='replace').strip()[-800:])
    return Target(**json.loads(done.stdout.decode().splitlines()[-1]))


def cache_root() -> Path:
    """Our own cache; the installers' caches do not know torch's version."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'sohes' / 'mmcv'


def _wheel_folders() -> Iterator[Path]:
    """Folders that the user named, and the folders in them."""
    given = os.environ.get('SOHES_WHEELS', '').replace(os.pathsep, ' ')
    for word in [*given.split(), *os.environ.get('PIP_FIND_LINKS',
                                                 '').split()]:
        folder = Path(word)
        if folder.is_dir():
            yield folder.resolve()
            yield from sorted(
                entry for entry in folder.iterdir() if entry.is_dir())


def fits(folder: Path, target: Target, device: str) -> bool:
    """Whether a folder's name says that its wheels are for this torch.

    Args:
        folder: named like ``torch2.10.0-cp311-cpu``.
        target: what runs here.
        device: the ops wanted, 'cpu' or 'cu128'.
    """
    found = _FOLDER.match(folder.name)
    if found is None:
        return False
    return (found['torch'] == target.torch and found['tag'] == target.tag
            and found['device'] == device
            and found['arch'] in (None, target.arch))


def find_wheels(name: str, version: str,
                target: Target) -> Iterator[tuple[Path, str]]:
    """Wheels with compiled ops for exactly this torch, best first.

    Yields:
        The wheel and what it was compiled for, 'cpu' or 'cu128'.
    """
    pattern = (f'{name.replace("-", "_")}-{version}-{target.tag}-*'
               f'{target.platform.split("_")[-1]}.whl')
    for device in target.devices:
        own = cache_root() / f'torch{target.torch}-{target.tag}-{device}'
        for folder in [own, *_wheel_folders()]:
            if fits(folder, target, device):
                for wheel in sorted(folder.glob(pattern)):
                    yield wheel, device


def works(wheel: Path, device: str, environment: Environment) -> bool:
    """Run a real op out of the wheel, before it is installed."""
    devices = ['cpu'] if device == 'cpu' else ['cpu', 'cuda']
    with tempfile.TemporaryDirectory(prefix='sohes-mmcv-') as folder:
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            environment.run([str(environment.python), '-c', _VERIFY, *devices],
                            'trying its ops', env={'PYTHONPATH': folder})
        except (SetupError, OSError, zipfile.BadZipFile):
            return False
    return True


def _jobs() -> int:
    """Compilers at once: one a core, but 2 GiB of memory for each."""
    cores = os.cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    try:
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (ValueError, OSError):
        return cores
    return max(1, min(cores, memory // 2**31))


def compile_wheel(name: str, version: str, target: Target,
                  environment: Environment) -> tuple[Path, str]:
    """Compile the wheel and keep it in our cache.

    Returns:
        The wheel and what it was compiled for.

    Raises:
        CommandError: it does not compile.
        SetupError: it compiles, but its ops do not run.
    """
    device = target.cuda if target.cuda and target.nvcc else 'cpu'
    settings = dict(
        MMCV_WITH_OPS='1',
        FORCE_CUDA='0' if device == 'cpu' else '1',
        MAX_JOBS=os.environ.get('MAX_JOBS', str(_jobs())),
        CFLAGS='-g0',
        CXXFLAGS='-g0',
        PIP_DISABLE_PIP_VERSION_CHECK='1',
        PATH=f'{environment.path / "bin"}{os.pathsep}{os.environ["PATH"]}')
    if device == 'cpu':
        # With a GPU in sight and no nvcc, mmcv's build gives up.
        settings['CUDA_VISIBLE_DEVICES'] = ''
    folder = cache_root() / f'torch{target.torch}-{target.tag}-{device}'
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='sohes-mmcv-') as work:
        environment.run([
            str(environment.python), '-m', 'pip', 'wheel', '-v',
            '--no-cache-dir', '--no-build-isolation', '--no-deps',
            '--no-binary', name, '--wheel-dir', work, f'{name}=={version}'
        ], 'compiling', "Compiling wants a C++ compiler and Python's headers "
            '(Debian and Ubuntu: apt install g++ python3-dev) and 2 GB of '
            'memory for each of MAX_JOBS compilers.', settings)
        built = next(Path(work).glob('*.whl'))
        if not works(built, device, environment):
            raise SetupError(f'{name} {version} compiled, but its ops do not '
                             f'run; see {environment.log}')
        draft = folder / f'.{built.name}.{os.getpid()}'
        shutil.copyfile(built, draft)
        os.replace(draft, folder / built.name)
    return folder / built.name, device


def get_wheel(name: str, version: str, environment: Environment) -> Path:
    """Find or compile a wheel whose ops run with the installed torch.

    Args:
        name: distribution, 'onedl-mmcv' or 'mmcv'.
        version: the exact version.
        environment: holds the torch that it must fit.

    Raises:
        SetupError: there is none and it does not compile.
    """
    target = probe_target(environment)
    for wheel, device in find_wheels(name, version, target):
        if works(wheel, device, environment):
            say(f'  a wheel compiled earlier for torch {target.torch}, '
                f'{target.tag}, {device} does: {wheel}')
            return wheel
        say(f'  {wheel} does not run here; passing over it')
        if cache_root() in wheel.parents:
            wheel.unlink()
    say(f'  no prebuilt wheel for torch {target.torch}, {target.tag}; '
        f'compiling with {_jobs()} jobs, 6 to 12 min on 2 cores (kept '
        'for the next time)')
    return compile_wheel(name, version, target, environment)[0]
