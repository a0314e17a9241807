"""The scope is found by mmengine alone, from any default scope."""
import subprocess
import sys

import pytest


def _python(code: str, repo_root) -> str:
    # mmdet imports one name from where mmcv no longer wants it.
    moved = 'ignore:``MultiScaleDeformableAttention``:ImportWarning'
    return subprocess.run([sys.executable, '-W', 'error::ImportWarning', '-W',
                           moved, '-c', code], check=True,
                          capture_output=True, text=True,
                          cwd=repo_root).stdout.strip()


@pytest.mark.slow
def test_config_builds_our_types_without_importing_us(repo_root):
    out = _python(
        'from mmengine.registry import TRANSFORMS, init_default_scope\n'
        'init_default_scope("mmdet")\n'
        'print(TRANSFORMS.get("sohes.ClusterPseudoLabels").__name__)',
        repo_root)
    assert out.splitlines()[-1] == 'ClusterPseudoLabels'


def test_import_of_package_is_light(repo_root):
    out = _python(
        'import sys, sohes\n'
        'heavy = {"torch", "numpy", "mmengine", "mmcv", "mmdet"}\n'
        'print(sohes.__version__, sorted(heavy & set(sys.modules)))',
        repo_root)
    assert out.endswith('[]')


def test_phase_1_and_forest_import_no_mm_package(repo_root):
    out = _python(
        'import sys, sohes.pseudo_labels, sohes.structures\n'
        'print([m for m in sys.modules if m.split(".")[0] in '
        '("mmengine", "mmcv", "mmdet", "mmseg", "mmpretrain", "cv2", "PIL", '
        '"pycocotools", "torchvision")])', repo_root)
    assert out == '[]'


def test_register_all_modules_sets_the_scope():
    from mmengine.registry import TRANSFORMS, DefaultScope

    from sohes.utils import register_all_modules
    with DefaultScope.overwrite_default_scope('mmdet'):
        register_all_modules()
        assert DefaultScope.get_current_instance().scope_name == 'sohes'
        built = TRANSFORMS.build(dict(
            type='ClusterPseudoLabels', extractor=dict(weights='none yet')))
        assert type(built).__name__ == 'ClusterPseudoLabels'
