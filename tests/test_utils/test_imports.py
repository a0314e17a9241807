"""Imports of other libraries leave a command's output alone."""
import subprocess
import sys
from pathlib import Path

import pytest

# What publishing, the demo and Phase 1 import, and what they make mmengine
# import; in one process, since each import prints but once.
CODE = """
import sys
# The suite has this package; whoever only uses a model has not.
sys.modules['faster_coco_eval'] = None
from mmengine import Config
from sohes.apis.checkpoint_config import check_types
check_types(Config(dict(default_scope='mmdet', model=dict(), test_dataloader=
                        dict(dataset=dict(pipeline=[])))))
import torch
from sohes.apis import EntityInferencer, publish_model
from sohes.apis.photo_entities import inferencer_finder, phase1_finder
from sohes.apis.publish import extract_backbone
from sohes.models.backbones import ViTAdapter, ViTFeatureExtractor
from tests.test_tools.tiny_vit import save_tiny_vit
adapter = ViTAdapter(
    vit=dict(arch=dict(embed_dims=64, num_layers=1, num_heads=1,
                       feedforward_channels=64), patch_size=16, img_size=32),
    num_interactions=1, norm_cfg=dict(type='LN2d'))
assert type(adapter.vit).__module__.startswith('mmpretrain.')
save_tiny_vit(sys.argv[1])
vit = ViTFeatureExtractor(sys.argv[1]).vit
assert type(vit).__module__.startswith('mmpretrain.')
"""

# As demo/image_demo.py begins: nothing else has imported mmdet before.
ENTRANCE = """
import sys
sys.modules['faster_coco_eval'] = None
from sohes.apis import EntityInferencer
"""


@pytest.mark.slow
@pytest.mark.parametrize('code', [CODE, ENTRANCE])
def test_imports_print_nothing(tmp_path: Path, repo_root: Path,
                               code: str) -> None:
    done = subprocess.run(
        [sys.executable, '-W', 'ignore::DeprecationWarning', '-c', code,
         tmp_path / 'vit.pth'],
        capture_output=True, text=True, cwd=repo_root)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ('', '')
