"""Packaging: the package itself, and `.mim`, where mim looks for configs."""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
MIM_ITEMS = ('configs', 'tools', 'model-index.yml', 'dataset-index.yml')
EXTRAS = ('onedl', 'openmmlab', 'refine', 'demo', 'heif', 'web', 'docs',
          'tests')


def requirements(name: str) -> list:
    """The lines of requirements/<name>.txt without comments."""
    text = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8')
    lines = [line.split('#')[0].strip() for line in text.splitlines()]
    return [line for line in lines if line]


def version() -> str:
    """The version, without importing the package."""
    scope: dict = {}
    code = (ROOT / 'sohes' / 'version.py').read_text(encoding='utf-8')
    exec(compile(code, 'version.py', 'exec'), scope)
    return scope['__version__']


def readme() -> str:
    """The README, which a bare checkout may not have yet."""
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.is_file() else ''


def copy_mim(package: Path) -> None:
    """Put configs, tools and the indexes into ``package/.mim``.

    Never into the checkout: with an editable install mim finds the
    repository itself, and a second copy would list every config twice.
    """
    target = package / '.mim'
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
    for item in MIM_ITEMS:
        source = ROOT / item
        if source.is_dir():
            shutil.copytree(source, target / item, ignore=ignore)
        elif source.is_file():
            shutil.copy2(source, target / item)


class BuildPy(build_py):
    """Adds `.mim` to what a wheel holds."""

    def run(self) -> None:
        """Build, then add `.mim`, unless the install is editable."""
        super().run()
        if not getattr(self, 'editable_mode', False):
            copy_mim(Path(self.build_lib) / 'sohes')


class BdistWheel(bdist_wheel):
    """Adds `.mim` to the wheel's metadata too.

    onedl-mim takes the first file in pip's sorted list of a distribution
    for one of its package. `sohes-0.1.0.dist-info` sorts before `sohes/`,
    so that is where it looks; see docs/mim.md.
    """

    def write_wheelfile(self, wheelfile_base: str, *args, **kwargs) -> None:
        """Write WHEEL, and what mim looks for beside it."""
        super().write_wheelfile(wheelfile_base, *args, **kwargs)
        metadata = Path(wheelfile_base)
        built = metadata.parent / 'sohes' / '.mim'
        if built.is_dir():  # not of an editable install
            shutil.copytree(built, metadata / '.mim', dirs_exist_ok=True)


class Sdist(sdist):
    """Adds `.mim` to the source distribution."""

    def make_release_tree(self, base_dir: str, files: list) -> None:
        """Lay out the files, then add `.mim`."""
        super().make_release_tree(base_dir, files)
        copy_mim(Path(base_dir) / 'sohes')


setup(
    name='sohes',
    version=version(),
    description='Self-supervised open-world hierarchical entity segmentation '
    'as an OpenMMLab plugin',
    long_description=readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='computer vision, segmentation, self-supervised, openmmlab',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=('sohes', 'sohes.*')),
    package_data={
        'sohes': ['py.typed', 'experiments/paper_results.json'],
        'sohes.visualization.viewer': ['*.js', '*.css', '*.html'],
    },
    python_requires='>=3.10',
    # mmengine, mmcv and mmdet are left to the extras: OpenMMLab's and
    # OneDL's distributions own the same import names.
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name)
                    for name in EXTRAS},
    cmdclass={
        'bdist_wheel': BdistWheel,
        'build_py': BuildPy,
        'sdist': Sdist
    },
    zip_safe=False)
