"""Which versions of OpenMMLab's packages fit, checked without import."""
from importlib import metadata

# import name: (distributions that own it, lowest, first that is too new).
# OpenMMLab's last releases and OneDL's maintained forks both count.
SUPPORTED = dict(
    mmengine=(('mmengine', 'onedl-mmengine', 'mmengine-lite'), '0.10.4',
              '1.0.0'),
    mmcv=(('mmcv', 'onedl-mmcv', 'mmcv-lite'), '2.1.0', '3.0.0'),
    mmpretrain=(('mmpretrain', 'onedl-mmpretrain'), '1.2.0', '2.0.0'),
    mmdet=(('mmdet', 'onedl-mmdetection'), '3.3.0', '4.0.0'),
    mmseg=(('mmsegmentation', 'onedl-mmsegmentation'), '1.2.2', '2.0.0'),
)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: '2.1.0rc1' -> (2, 1, 0)."""
    out = []
    for part in version.split('+')[0].split('.'):
        digits = ''
        for character in part:
            if not character.isdigit():
                break
            digits += character
        if not digits:
            break
        out.append(int(digits))
    return tuple(out)


def check_versions() -> None:
    """Refuse installed OpenMMLab packages that do not fit.

    Raises:
        ImportError: with what was found, the range, and the command that
            installs versions that work together.
    """
    for name, (distributions, low, high) in SUPPORTED.items():
        for distribution in distributions:
            try:
                found = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
            if not _numbers(low) <= _numbers(found) < _numbers(high):
                raise ImportError(
                    f'sohes needs {name} >= {low}, < {high}, but '
                    f'{distribution} {found} is installed; '
                    'pip install "sohes[onedl]" or "sohes[openmmlab]" '
                    'installs versions that work together')
