"""projects/sohes/ inside a checkout of MMDetection, with its own tools."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

from tests.tiny_entities import make_entities, shrunk

NAME = 'sohes_vit-adapter-b8_64xb2-lsj-40k_entities.py'
# Of MMDetection's head; the subclass has them as defaults.
CLASSES = dict(num_things_classes=1, num_stuff_classes=0)


@pytest.fixture(scope='module')
def checkout(tmp_path_factory: pytest.TempPathFactory,
             repo_root: Path) -> Path:
    """MMDetection's layout: its configs and tools, our project."""
    root = tmp_path_factory.mktemp('mmdetection')
    installed = Path(mmdet.__file__).parent / '.mim'
    for folder in ('configs/_base_', 'configs/mask2former', 'tools'):
        shutil.copytree(installed / folder, root / folder)
    shutil.copytree(repo_root / 'projects/sohes', root / 'projects/sohes')
    return root


def test_the_model_and_the_training_are_the_repositorys(checkout, repo_root):
    config = Config.fromfile(checkout / 'projects/sohes/configs' / NAME)
    ours = Config.fromfile(repo_root / 'configs/sohes_phase2.py')
    for key, value in CLASSES.items():
        assert config.model.panoptic_head.pop(key) == value
    assert config.model.pop('init_cfg') is None
    config.default_hooks.pop('visualization')  # MMDetection's own
    for key in ('model', 'train_dataloader', 'test_dataloader',
                'test_evaluator', 'optim_wrapper', 'param_scheduler',
                'train_cfg', 'default_hooks', 'auto_scale_lr'):
        assert config[key] == ours[key], key


@pytest.mark.slow
def test_mmdetections_own_train_py_trains_it(checkout, repo_root, tmp_path):
    data = make_entities(tmp_path / 'entities')
    config = Config.fromfile(checkout / 'projects/sohes/configs' / NAME)
    shrunk(config).merge_from_dict({
        'train_cfg.max_iters': 1,
        'train_dataloader.dataset.data_root': f'{data}/',
        'test_dataloader': None, 'test_evaluator': None, 'test_cfg': None})
    config.dump(checkout / 'projects/sohes/configs/tiny.py')
    done = subprocess.run(
        [sys.executable, 'tools/train.py', 'projects/sohes/configs/tiny.py',
         '--work-dir', str(tmp_path / 'run')],
        cwd=checkout, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=300,
        env=dict(os.environ, PYTHONPATH=str(repo_root), OMP_NUM_THREADS='1'))
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / 'run/iter_1.pth').is_file()


def test_readme_has_the_sections_of_the_example(repo_root):
    text = (repo_root / 'projects/sohes/README.md').read_text()
    lines = text.splitlines()
    for section in ('## Description', '## Usage', '### Training commands',
                    '### Testing commands', '## Results', '## Citation',
                    '## Checklist'):
        assert section in lines, section
    for number in (1, 2, 3):
        assert f'] Milestone {number}: ' in text
    assert f'projects/sohes/configs/{NAME}' in text
