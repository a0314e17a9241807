"""Which versions of other packages fit, checked without importing them."""
import sys
from importlib import metadata
from importlib.util import find_spec

from packaging.specifiers import SpecifierSet
from packaging.version import Version

# import name: {distribution that owns it: (lowest, first that is too new)},
# as in requirements/*.txt. OpenMMLab's last releases and OneDL's forks count.
SUPPORTED: dict[str, dict[str, tuple[str, str | None]]] = dict(
    torch={'torch': ('2.1', None)},
    mmengine={
        'mmengine': ('0.10.7', '1'),
        'mmengine-lite': ('0.10.7', '1'),
        'onedl-mmengine': ('0.10.12', '1'),
    },
    mmcv={
        'mmcv': ('2.1.0', '2.2.0'),  # mmdet 3.3.0 refuses 2.2.0
        'mmcv-lite': ('2.1.0', '2.2.0'),
        'onedl-mmcv': ('2.3.6', '3'),
    },
    mmpretrain={
        'mmpretrain': ('1.2.0', '2'),
        'onedl-mmpretrain': ('1.3.6', '2'),
    },
    mmdet={
        'mmdet': ('3.3.0', '4'),
        'onedl-mmdetection': ('3.5.1', '4'),
    },
    mmseg={
        'mmsegmentation': ('1.2.2', '2'),
        'onedl-mmsegmentation': ('1.4.2', '2'),
    },
)

# The first torch built for NumPy 2, and who was built for NumPy 1 for good.
_TORCH_FOR_NUMPY_2 = '2.3'
_FOR_NUMPY_1 = ('mmcv', 'mmcv-lite')


def _fits(version: str, wanted: str) -> bool:
    """Whether a version is in a range.

    A release candidate, or a build for one CUDA, counts as its release.
    """
    return Version(version).base_version in SpecifierSet(wanted)


def _found(distribution: str) -> str | None:
    """The installed version of a distribution, None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_versions(*names: str) -> None:
    """Refuse packages that are missing or of a version that does not fit.

    Args:
        *names (str): import names of what the caller is about to import;
            each a key of :data:`SUPPORTED`. NumPy is looked at always.

    Raises:
        ImportError: with what was found, the range, and the command that
            installs a version that fits.
    """
    for name in names:
        owners = [(owner, version) for owner in SUPPORTED[name]
                  if (version := _found(owner)) is not None]
        # Without metadata, but there: somebody's checkout on the path.
        if not owners and name not in sys.modules and not find_spec(name):
            raise ImportError(
                f'this part of sohes needs {name}, which is not installed; '
                'pip install "sohes[onedl]" or, on Python 3.10, '
                '"sohes[openmmlab]" installs versions that work together')
        for owner, version in owners:
            _check_range(name, owner, version)
    _check_numpy()


def _check_range(name: str, owner: str, version: str) -> None:
    """Refuse a version outside the range."""
    low, high = SUPPORTED[name][owner]
    wanted = f'>={low}' + ('' if high is None else f',<{high}')
    if _fits(version, wanted):
        return
    raise ImportError(
        f'sohes needs {name} {wanted}, but {owner} {version} is installed; '
        f'pip install "{owner}{wanted}" installs one that fits')


def _check_numpy() -> None:
    """Refuse NumPy 2 beside what was built for NumPy 1."""
    numpy = _found('numpy')
    if numpy is None or _fits(numpy, '<2'):
        return
    built = [f'{owner} {version}' for owner in ('torch', *_FOR_NUMPY_1)
             if (version := _found(owner)) is not None
             and (owner != 'torch'
                  or _fits(version, f'<{_TORCH_FOR_NUMPY_2}'))]
    if built:
        raise ImportError(
            f'numpy {numpy} is installed, but {" and ".join(built)} was '
            'built for numpy <2; pip install "numpy<2" installs one that fits')
