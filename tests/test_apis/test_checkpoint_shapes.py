"""How large a checkpoint's model is: its weights say so, not its numbers."""
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from sohes.apis import EntityInferencer, UsageError
from sohes.apis.checkpoint_bounds import empty_model
from sohes.apis.checkpoint_config import inference_config
from sohes.apis.checkpoints import check_weights
from sohes.apis.publish import extract_backbone, publish_model
from sohes.models.backbones.timm_vit import arch_named
from tests import processes
from tests.tiny_entities import shrunk

ROOT = Path(__file__).resolve().parents[2]


def _plain(width: int, depth: int, patch: int, **more: Any) -> dict[str, Any]:
    arch = dict(embed_dims=width, num_layers=depth, num_heads=width // 64,
                feedforward_channels=2 * width)
    return dict(arch=arch, patch_size=patch, img_size=4 * patch, **more)


def _registers(family: str) -> dict[str, Any]:
    arch = dict(arch_named(family, 's'), embed_dims=64, num_layers=4,
                num_heads=1, feedforward_channels=96)
    return dict(type='sohes.TimmViT', arch=arch)


VITS = {
    'patches of 8': _plain(128, 4, 8),
    'five blocks of 64, patches of 14': _plain(
        64, 5, 14, layer_scale_init_value=1.0),
    'no bias of the keys': _plain(64, 4, 16, qkv_bias=False),
    'registers': _registers('dinov2'),
    'rotary positions': _registers('dinov3'),
}


def checkpoint_of(vit: dict[str, Any], path: Path,
                  phase: int = 2) -> dict[str, Any]:
    """What a run leaves that took its ViT from a file which is gone."""
    config = shrunk(
        Config.fromfile(ROOT / f'configs/tiny/sohes_phase{phase}_tiny.py'))
    init_default_scope('mmdet')
    torch.manual_seed(0)
    backbone = config.model.get('detector', config.model).backbone
    backbone.vit = vit
    detector = config.model.get('detector', config.model)
    width = vit['arch']['embed_dims']
    detector.panoptic_head.in_channels = [width] * 4
    model = MODELS.build(config.model)
    del backbone.vit
    backbone.weights = '/gone/vit.pth'
    content = dict(state_dict=model.state_dict(),
                   meta=dict(cfg=config.pretty_text))
    torch.save(content, path)
    return content


@pytest.mark.parametrize('name', VITS)
def test_the_weights_show_the_shape_of_the_vit(tmp_path, name):
    if name in ('registers', 'rotary positions'):
        pytest.importorskip('timm', '1.0.20')
    path, photo = tmp_path / 'x.pth', tmp_path / 'photo.png'
    content = checkpoint_of(VITS[name], path)
    Image.new('RGB', (90, 60), 'red').save(photo)
    found = EntityInferencer(weights=path, device='cpu', show_progress=False)
    assert found(str(photo))['predictions'][0]['img_path'] == str(photo)
    for key, value in found.model.state_dict().items():
        assert torch.equal(value, content['state_dict'][key]), key
    # Nobody has that file: what is published does without it as well.
    published = publish_model(path, tmp_path / 'published')
    again = EntityInferencer(weights=published, device='cpu',
                             show_progress=False)
    assert again.model.backbone.vit_cfg == found.model.backbone.vit_cfg


def test_of_a_teacher_and_a_student(tmp_path):
    checkpoint_of(VITS['patches of 8'], tmp_path / 'x.pth', phase=3)
    _, backbone = extract_backbone(tmp_path / 'x.pth', tmp_path / 'b.pth')
    assert backbone['vit']['patch_size'] == 8
    assert backbone['vit']['arch']['embed_dims'] == 128


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> dict[str, Any]:
    """A checkpoint of such a run, with a ViT of four blocks."""
    path = tmp_path_factory.mktemp('small') / 'x.pth'
    return checkpoint_of(VITS['no bias of the keys'], path)


def _without(state: dict, part: str) -> dict:
    return {key: value for key, value in state.items() if part not in key}


@pytest.mark.parametrize(('change', 'said'), [
    (lambda state: _without(state, 'backbone.vit'), 'expected one ViT'),
    (lambda state: _without(state, 'vit.layers.1'), 'block 1'),
    (lambda state: _without(state, 'layers.2.attn.proj'), 'missing keys'),
    (lambda state: {**state, 'backbone.vit.layers.99999999999.ln1.weight':
                    torch.ones(1)}, 'block 4'),
    (lambda state: {**state, f'backbone.vit.layers.{"9" * 9999}.ln1.weight':
                    torch.ones(1)}, 'block 4'),
    (lambda state: {**state, 'backbone.vit.patch_embed.projection.weight':
                    torch.ones(7)}, 'patch_embed'),
    (lambda state: {**state, 3: torch.ones(1)}, 'names of weights'),
])
def test_weights_that_do_not_show_it(small, tmp_path, change, said):
    path = tmp_path / 'x.pth'
    torch.save(dict(small, state_dict=change(small['state_dict'])), path)
    for use in (lambda: EntityInferencer(weights=path, device='cpu'),
                lambda: publish_model(path, tmp_path / 'out')):
        text = str(pytest.raises(UsageError, use).value)
        assert said in text and str(path) in text
        assert '\n' not in text and len(text) < 1200, text


#: Where a number of a checkpoint's configuration stands, what is put there,
#: and what is said of it.
ABSURD = [
    ('model.panoptic_head.num_queries', 10**9, 'num_queries'),
    ('model.panoptic_head.num_queries', 10.0**9, 'num_queries'),
    ('model.panoptic_head.num_queries', 4999, 'of another model'),
    ('model.panoptic_head.num_queries', -5, 'egative'),
    ('model.panoptic_head.feat_channels', -1, 'RuntimeError'),
    ('model.panoptic_head.feat_channels', 65536, 'file of'),
    ('model.panoptic_head.out_channels', 2**40, 'out_channels'),
    ('model.panoptic_head.transformer_decoder.num_layers', 65536, 'parts'),
    ('model.panoptic_head.num_transformer_feat_level', 65536, 'Error'),
    ('model.backbone.extra_extractors', 65536, 'parts'),
    ('model.backbone.vit.arch.num_layers', 65536, 'parts'),
    ('model.backbone.vit.img_size', 10**6, 'img_size'),
    ('model.data_preprocessor.pad_size_divisor', 10**6, 'pad_size_divisor'),
    ('model.data_preprocessor.batch_augments.0.size', (10**6, 1), 'size'),
    ('model.test_cfg.zooms', [10**4], 'zooms'),
    ('model.test_cfg.max_per_image', 10**9, 'max_per_image'),
    ('model.test_cfg.mask_thr', [[]] * 10, None),
    ('test_dataloader.dataset.pipeline.1.scale', (10**6, 10**6), 'scale'),
    ('test_dataloader.dataset.pipeline.1.scale', float('1e300'), 'scale'),
    ('test_dataloader.dataset.pipeline.1.type', 'Expand', 'Expand'),
]
_CHILD = """
import json, resource, sys, time
import torch
from sohes.apis import EntityInferencer, UsageError
for path in sys.argv[1:]:
    start = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    try:
        EntityInferencer(weights=path, device='cpu')
        text = 'accepted'
    except UsageError as error:
        text = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps([text, peak - before, time.monotonic() - start]),
          flush=True)
"""


@pytest.mark.slow
def test_absurd_numbers_are_refused_before_anything_is_allocated(
        small, tmp_path):
    config = Config.fromstring(small['meta']['cfg'], '.py')
    config.model.backbone.vit = VITS['no bias of the keys']
    text = config.pretty_text
    paths = [tmp_path / 'whole.pth']
    torch.save(dict(small, meta=dict(cfg=text)), paths[0])
    for number, (key, value, _) in enumerate(ABSURD):
        changed = Config.fromstring(text, '.py')
        changed.merge_from_dict({key: value})
        paths.append(tmp_path / f'{number}.pth')
        torch.save(dict(small, meta=dict(cfg=changed.pretty_text)), paths[-1])
    nested = '[' * 10000 + ']' * 10000
    for number, cfg in enumerate(
            (f'{text}\nx = {nested}', '{"model": ' + nested + '}')):
        paths.append(tmp_path / f'nested{number}.pth')
        torch.save(dict(small, meta=dict(cfg=cfg)), paths[-1])
    (tmp_path / 'child.py').write_text(_CHILD)
    done = processes.run_tool(tmp_path / 'child.py', *paths)
    found = [json.loads(line) for line in done.stdout.splitlines()
             if line.startswith('[')]
    assert len(found) == len(paths), done.stderr[-2000:]
    assert found[0][0] == 'accepted'
    wanted = [said for _, _, said in ABSURD] + ['nested', 'nested']
    for path, said, (text, grown, seconds) in zip(paths[1:], wanted,
                                                  found[1:]):
        if said is not None:
            assert said in text and str(path) in text, text
        assert '\n' not in text and len(text) < 1200, text
        assert grown < 300, (text, grown)
        assert seconds < 30, (text, seconds)


@pytest.mark.parametrize(('name', 'head'), [
    ('sohes_phase2.py', {}), ('sohes_phase3.py', {}),
    ('phase2/sohes_phase2_cpu.py', {}),
    ('phase2/sohes_phase2_cpu.py', dict(query_grids=(14, 7))),
    ('phase2/sohes_phase2_cpu.py', dict(mask_piloted=100)),
    ('hassod/hassod_cascade-mask-rcnn_r50.py', {}),
    ('hassod/hassod_cascade-mask-rcnn_vits14.py', {}),
    ('hassod/hassod_mean-teacher.py', {})])
def test_our_own_models_are_within_the_bounds(tmp_path, name, head):
    init_default_scope('mmdet')
    config = Config.fromfile(ROOT / 'configs' / name)
    if head:
        config.model.panoptic_head.update(head)
    with torch.device('meta'):
        state = MODELS.build(config.model).state_dict()
    with open(tmp_path / 'x.pth', 'wb') as file:  # takes no place
        file.truncate(2 * sum(value.numel() for value in state.values()))
    content = dict(state_dict=state, meta=dict(cfg=config.pretty_text))
    found = inference_config('x.pth', content)
    model = empty_model(found.model, state, tmp_path / 'x.pth')
    check_weights('x.pth', content, model, name)
