"""DINOv2 with registers and DINOv3 in Phase 1, in an adapter, in mmseg."""
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from sohes.apis.publish import extract_backbone
from sohes.models.backbones import ViTAdapter
from sohes.registry import MODELS
from tests.conftest import ROOT
from tests.test_models.test_backbones.register_vits import (
    DEPTH,
    KINDS,
    WIDTH,
    saved,
    small_arch,
    timm_model,
)
from tests.test_weights.vit_reference import randomised


@pytest.mark.parametrize('family, swiglu', KINDS)
def test_phase_1_on_a_real_photo(family: str, swiglu: bool, tmp_path: Path,
                                 shared_data: Path, run_tool: Any) -> None:
    source = min((shared_data / 'bsds500/images/train').glob('*.jpg'))
    (tmp_path / 'photos').mkdir()
    shutil.copy(source, tmp_path / 'photos')
    weights = saved(timm_model(family, swiglu).state_dict(), tmp_path)
    out = tmp_path / 'labels.json'
    done = run_tool('tools/generate_pseudo_labels.py',
                    ROOT / 'configs/tiny/sohes_phase1_tiny.py', '--img-dir',
                    tmp_path / 'photos', '--out', out, '--weights', weights,
                    '--cfg-options', 'pseudo_labels.refiner=None',
                    'pseudo_labels.image_size=224', 'workers=0')
    assert done.returncode == 0, done.stderr
    labels = json.loads(out.read_text())
    assert labels['annotations']
    assert all(mask['area'] > 0 for mask in labels['annotations'])


def test_extracted_vit_is_a_backbone_of_mmseg(tmp_path: Path) -> None:
    """What extract_backbone.py --vit prints builds, loads and gives a map."""
    vit = dict(type='sohes.TimmViT', arch=small_arch('dinov3', False))
    backbone = dict(type='sohes.ViTAdapter', vit=vit)
    state = {
        f'backbone.vit.{key}': value
        for key, value in randomised(MODELS.build(vit)).state_dict().items()
    }
    text = Config(
        dict(
            model=dict(backbone=backbone),
            test_dataloader=dict(dataset=dict(pipeline=[])))).pretty_text
    torch.save(
        dict(state_dict=state, meta=dict(cfg=text)), tmp_path / 'iter_1.pth')
    path, cfg = extract_backbone(
        tmp_path / 'iter_1.pth', tmp_path / 'vit.pth', vit_only=True)
    built = MODELS.build({k: v for k, v in cfg.items() if k != 'init_cfg'})
    built.load_state_dict(torch.load(path)['state_dict'])
    assert built(torch.ones(1, 3, 64, 96))[0].shape == (1, WIDTH, 4, 6)


@pytest.mark.parametrize('family, swiglu', KINDS)
@pytest.mark.parametrize('with_cp', [False, True])
def test_an_adapter_around_it(family: str, swiglu: bool,
                              with_cp: bool) -> None:
    """With gamma 0 the ViT's path is timm's; every weight gets a gradient."""
    torch.manual_seed(0)
    adapter = ViTAdapter(
        vit=dict(type='sohes.TimmViT', arch=small_arch(family, swiglu)),
        num_interactions=3,
        extra_extractors=1,
        prior_width=8,
        norm_cfg=dict(type='GN', num_groups=4),
        with_cp=with_cp)
    randomised(adapter.vit)
    seen = {}
    adapter.vit.layers[-1].register_forward_hook(
        lambda _, __, out: seen.__setitem__('tokens', out))
    x = torch.randn(1, 3, 96, 64)
    maps = adapter(x)
    assert [tuple(m.shape[2:]) for m in maps] == [(24, 16), (12, 8), (6, 4),
                                                  (3, 2)]
    side = adapter.patch_size
    scaled = nn.functional.interpolate(
        x, (6 * side, 4 * side), mode='bicubic', align_corners=False,
        antialias=True) if side != 16 else x
    with torch.no_grad():
        expected = adapter.vit.timm.forward_features(scaled)
    torch.testing.assert_close(seen['tokens'], expected, rtol=1e-4, atol=1e-4)
    sum(m.square().mean() for m in maps).backward()
    without = [
        name for name, weight in adapter.named_parameters()
        if weight.grad is None
    ]
    assert not without


def test_depths_for_layer_decay() -> None:
    adapter = ViTAdapter(
        vit=dict(type='sohes.TimmViT', arch=small_arch('dinov3', True)),
        num_interactions=1,
        prior_width=8,
        norm_cfg=dict(type='GN', num_groups=4))
    depths = {
        name: adapter.get_layer_depth(f'backbone.{name}', 'backbone.')
        for name, _ in adapter.named_parameters()
    }
    assert {total for _, total in depths.values()} == {DEPTH + 2}
    assert depths['vit.timm.cls_token'][0] == 0
    assert depths['vit.timm.reg_token'][0] == 0
    assert depths['vit.timm.blocks.1.gamma_1'][0] == 2
    assert depths['level_embed'][0] == DEPTH + 1
