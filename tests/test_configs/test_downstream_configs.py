"""The frozen ViT under mmseg's and mmdet's own training commands."""
import importlib
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask

from sohes.apis.publish import extract_backbone
from sohes.models.backbones.timm_vit import TimmViT, arch_named
from sohes.models.backbones.vit_adapter_vit import named_vit
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities, shrunk

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs/downstream'
SEG, DET = 'mmseg/{}_vitb8_linear_ade20k', 'mmdet/{}_vitb8_retinanet_coco'
WIDTH = 64
#: ViTs with registers; the ViT-L's files differ from the ViT-S's in numbers.
NEWER = {'dinov2_vits14_reg': 'dinov2', 'dinov3_vits16': 'dinov3'}
TASKS = {'mmseg': 'linear_ade20k', 'mmdet': 'retinanet_coco'}


@HOOKS.register_module(force=True)
class FrozenWatch(Hook):
    """Keeps the weights that training began with, and who is training."""
    start: dict[str, torch.Tensor]
    modes: tuple[bool, bool]

    def before_train(self, runner: Any) -> None:
        FrozenWatch.start = {name: value.clone() for name, value in
                       runner.model.state_dict().items()}

    def after_train_iter(self, runner: Any, *args: Any,
                         **kwargs: Any) -> None:
        backbone = runner.model.backbone
        FrozenWatch.modes = backbone.vit.training, backbone.extractors.training


@pytest.fixture(scope='module')
def backbones(tmp_path_factory) -> dict[str, Path]:
    """A pre-trained ViT, and a backbone out of a checkpoint of Phase 2."""
    folder = tmp_path_factory.mktemp('weights')
    config = shrunk(
        Config.fromfile(ROOT / 'configs/tiny/sohes_phase2_tiny.py'),
        width=WIDTH)
    config.model.backbone.vit.arch.update(
        num_heads=1, num_layers=2, feedforward_channels=4 * WIDTH)
    config.model.backbone.num_interactions = 2
    init_default_scope('mmdet')
    torch.manual_seed(1)
    model = MODELS.build(config.model)
    torch.save(
        dict(state_dict=model.state_dict(),
             meta=dict(cfg=config.pretty_text)), folder / 'iter_1.pth')
    return dict(
        dino=save_tiny_vit(folder / 'vit.pth'),
        sohes=extract_backbone(folder / 'iter_1.pth', folder / 'b.pth')[0],
        vit=extract_backbone(folder / 'iter_1.pth', folder / 'v.pth',
                             vit_only=True)[0])


def _bsds(shared_data: Path, folder: Path) -> None:
    """Four photos of BSDS500 and their regions, as make_entities has it."""
    source = shared_data / 'bsds500'
    content = json.loads((source / 'entities_val.json').read_text())
    (folder / 'images').mkdir(parents=True)
    images = content['images'][:4]
    for image in images:
        name = image['file_name']
        (folder / 'images' / name).write_bytes(
            (source / 'images/val' / name).read_bytes())
    kept = {image['id'] for image in images}
    content.update(images=images, annotations=[
        row for row in content['annotations'] if row['image_id'] in kept])
    (folder / 'labels.json').write_text(json.dumps(content))


@pytest.fixture(scope='module', params=['drawn', 'photos'])
def data(request, tmp_path_factory) -> Path:
    """Pictures and masks, for both libraries."""
    folder = tmp_path_factory.mktemp('data') / 'entities'
    if request.param == 'drawn':
        make_entities(folder, images=2)
    else:
        _bsds(request.getfixturevalue('shared_data'), folder)
    return _tables(folder)


def _tables(folder: Path) -> Path:
    """To images/ and labels.json, as for COCO, annotations/ of ADE20K."""
    content = json.loads((folder / 'labels.json').read_text())
    (folder / 'annotations').mkdir()
    (folder / 'jpg').mkdir()
    for image in content['images']:
        classes = np.zeros((image['height'], image['width']), np.uint8)
        masks = sorted((row for row in content['annotations']
                        if row['image_id'] == image['id']),
                       key=lambda row: -row['area'])
        for number, row in enumerate(masks):
            inside = coco_mask.decode(row['segmentation']).astype(bool)
            classes[inside] = 1 + number % 150
        stem = Path(image['file_name']).stem
        Image.fromarray(classes).save(folder / f'annotations/{stem}.png')
        Image.open(folder / 'images' / image['file_name']).save(
            folder / f'jpg/{stem}.jpg')
    return folder


def save_small_vit(family: str, path: Path) -> Path:
    """Random weights of a ViT with registers, as the extractor keeps them."""
    arch = dict(arch_named(family, 's'), embed_dims=WIDTH, num_layers=2,
                num_heads=1, feedforward_channels=4 * WIDTH)
    torch.manual_seed(1)
    torch.save(TimmViT(arch).state_dict(), path)
    return path


def small(name: str, weights: Path, data: Path | None,
          work_dir: Path) -> Config:
    """A configuration at the size of a test."""
    config = Config.fromfile(FOLDER / f'{name}.py')
    config.model.backbone.update(
        weights=str(weights), norm_cfg=dict(type='LN2d'), prior_width=8,
        num_interactions=2, drop_path_rate=0.5)
    loaders = config.train_dataloader, config.val_dataloader
    config.test_dataloader = config.val_dataloader
    for loader in loaders:
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = f'{data}/'
    config.train_dataloader.batch_size = 2
    if 'mmseg' in name:
        config.model.decode_head.update(
            in_channels=[WIDTH] * 4, channels=4 * WIDTH)
        config.model.data_preprocessor.size = (64, 64)
        config.model.test_cfg.update(crop_size=(64, 64), stride=(64, 64))
        steps = (*loaders[0].dataset.pipeline, *loaders[1].dataset.pipeline)
        for step in steps:
            if 'scale' in step:
                step.scale = (128, 64)
            if 'crop_size' in step:
                step.crop_size = (64, 64)
        for loader in loaders:
            loader.dataset.data_prefix = dict(
                img_path='jpg', seg_map_path='annotations')
        config.train_cfg.max_iters = 1
    else:
        config.model.neck.in_channels = [WIDTH] * 4
        config.model.bbox_head.num_classes = 1
        for loader in loaders:
            loader.dataset.update(
                ann_file='labels.json', data_prefix=dict(img='images/'),
                metainfo=dict(classes=('entity', )))
            for step in loader.dataset.pipeline:
                if 'scale' in step:
                    step.scale = (64, 64)
        loaders[0].dataset.indices = 2
        config.val_evaluator.ann_file = f'{data}/labels.json'
        config.train_cfg.max_epochs = 1
    config.test_evaluator = config.val_evaluator
    config.param_scheduler = []  # it begins with a rate of nearly 0
    config.custom_hooks = [dict(type='mmengine.FrozenWatch')]
    config.work_dir = str(work_dir)
    return config


def train(config: Config, monkeypatch) -> tuple[dict, str]:
    """One step with the library's own tools/train.py.

    Returns:
        tuple: the checkpoint, and the log.
    """
    work_dir = Path(config.work_dir)
    work_dir.mkdir(parents=True)
    config.dump(work_dir / 'config.py')
    library = Path(importlib.import_module(config.default_scope).__file__)
    tool = library.parent / '.mim/tools/train.py'
    monkeypatch.setattr(
        sys, 'argv', [str(tool), str(work_dir / 'config.py')])
    monkeypatch.setenv('LOCAL_RANK', '0')
    runpy.run_path(str(tool))['main']()
    path = (work_dir / 'last_checkpoint').read_text()
    return (torch.load(path, weights_only=False),
            next(work_dir.glob('*/*.log')).read_text())


@pytest.mark.slow
@pytest.mark.parametrize('arm', ['dino', 'sohes'])
@pytest.mark.parametrize('name, head', [
    (SEG, 'decode_head.conv_seg.weight'),
    (DET, 'bbox_head.retina_cls.weight'),
])
def test_a_step_moves_all_but_the_vit(name, head, arm, backbones, data,
                                      tmp_path, monkeypatch):
    config = small(name.format(arm), backbones[arm], data, tmp_path / 'run')
    checkpoint, log = train(config, monkeypatch)
    start, end = FrozenWatch.start, checkpoint['state_dict']
    vit = {key for key in end if key.startswith('backbone.vit.')}
    given = torch.load(backbones['vit'])['state_dict']
    for key in vit:
        assert torch.equal(end[key], start[key]), key
        if arm == 'sohes':
            wanted = given[key.removeprefix('backbone.vit.')]
            assert torch.equal(end[key], wanted), key
    for key in ('backbone.level_embed', 'backbone.norms.1.weight', head):
        assert not torch.equal(end[key], start[key]), key
    assert FrozenWatch.modes == (False, True)
    # Frozen weights have no place in the optimizer, so no decay either.
    groups = checkpoint['optimizer']['param_groups']
    numbers = [number for group in groups for number in group['params']]
    assert len(numbers) == len(end) - len(vit)
    assert checkpoint['optimizer']['state'].keys() <= set(numbers)
    assert (f'loaded all {len(vit)} weights of the ViT, 0 missing, 0 '
            'unexpected') in log
    assert 'of the adapter' not in log


@pytest.mark.slow
@pytest.mark.parametrize('vit', NEWER)
@pytest.mark.parametrize('library', TASKS)
def test_a_step_on_a_vit_with_registers(vit, library, tmp_path, monkeypatch):
    """Adapter and head move, blocks, CLS token and registers do not."""
    weights = save_small_vit(NEWER[vit], tmp_path / 'vit.pth')
    drawn = _tables(make_entities(tmp_path / 'data', images=2))
    name = f'{library}/{vit}_{TASKS[library]}'
    config = small(name, weights, drawn, tmp_path / 'run')
    checkpoint, log = train(config, monkeypatch)
    start, end = FrozenWatch.start, checkpoint['state_dict']
    given = torch.load(weights)
    assert 'timm.reg_token' in given
    for key, value in given.items():
        assert torch.equal(end[f'backbone.vit.{key}'], value), key
    for key in ('backbone.level_embed', 'backbone.norms.1.weight'):
        assert not torch.equal(end[key], start[key]), key
    assert FrozenWatch.modes == (False, True)
    assert (f'loaded all {len(given)} weights of the ViT, 0 missing, 0 '
            'unexpected') in log


@pytest.mark.parametrize('library', TASKS)
@pytest.mark.parametrize('vit', [*NEWER, 'dinov3_vitl16'])
def test_the_width_is_that_of_the_named_vit(library, vit):
    config = Config.fromfile(FOLDER / library / f'{vit}_{TASKS[library]}.py')
    width = named_vit(vit)['arch']['embed_dims']
    assert config.model.backbone.weights == vit
    assert config.model.backbone.frozen_vit
    reader = config.model.get('neck') or config.model.decode_head
    assert reader.in_channels == [width] * 4
    if library == 'mmseg':
        assert reader.channels == 4 * width


@pytest.mark.slow
@pytest.mark.parametrize('name', [SEG, DET])
def test_mim_trains_it(name, backbones, tmp_path, monkeypatch):
    pytest.importorskip(
        'mim', reason='no mim: pip install openmim or onedl-mim')
    from mim.commands.train import train as mim_train
    from mim.utils import PKG2PROJECT
    # As docs/downstream.md has it: to onedl-mim 'mmdet' is not one library.
    library = ('mmsegmentation' if name == SEG else
               'mmdet' if 'mmdet' in PKG2PROJECT else 'mmdetection')
    drawn = _tables(make_entities(tmp_path / 'data', images=2))
    config = small(name.format('sohes'), backbones['sohes'], drawn,
                   tmp_path / 'run')
    config.custom_hooks = []
    config.dump(tmp_path / 'config.py')
    answer = subprocess.check_output

    def start(command: list[str], env: dict[str, str]) -> int:
        """What mim starts, in this process."""
        monkeypatch.setattr(sys, 'argv', command[1:])
        for key, value in {**env, 'LOCAL_RANK': '0'}.items():
            monkeypatch.setenv(key, value)
        runpy.run_path(command[1], run_name='__main__')
        return 0

    def ask(command: list[str], **options: Any) -> Any:
        """mim looks for --gpus in the script's help."""
        if command[-1] != '-h':
            return answer(command, **options)
        return Path(command[1]).read_bytes()

    monkeypatch.setattr(subprocess, 'check_call', start)
    monkeypatch.setattr(subprocess, 'check_output', ask)
    monkeypatch.chdir(tmp_path)
    done, message = mim_train(library, str(tmp_path / 'config.py'), gpus=0)
    assert done, message
    path = (tmp_path / 'run/last_checkpoint').read_text()
    end = torch.load(path, weights_only=False)['state_dict']
    for key, value in torch.load(backbones['vit'])['state_dict'].items():
        assert torch.equal(end[f'backbone.vit.{key}'], value), key


def backbone(name: str, weights: Path, **options: Any) -> torch.nn.Module:
    """The backbone of a configuration, loaded, its adapter from seed 0."""
    config = small(name, weights, None, Path('nowhere')).model.backbone
    init_default_scope(name.split('/')[0])
    torch.manual_seed(0)
    found = MODELS.build(dict(config, **options))
    found.init_weights()
    return found


def test_both_arms_start_from_the_same_adapter(backbones):
    for name in (SEG, DET):
        first, second = (
            backbone(name.format(arm), backbones[arm]).state_dict()
            for arm in ('dino', 'sohes'))
        assert first.keys() == second.keys()
        differ = [key for key in first
                  if not torch.equal(first[key], second[key])]
        assert differ and all(key.startswith('vit.') for key in differ)


def test_with_adapter_takes_it_along(backbones):
    name = SEG.format('sohes')
    found = backbone(name, backbones['sohes'], with_adapter=True)
    wanted = torch.load(backbones['sohes'])['state_dict']
    assert found.state_dict().keys() == wanted.keys()
    for key, value in found.state_dict().items():
        assert torch.equal(value, wanted[key]), key


def test_what_does_not_fit_is_named(backbones, tmp_path):
    name = SEG.format('sohes')
    with pytest.raises(ValueError, match='found no level_embed in it'):
        backbone(name, backbones['vit'], with_adapter=True)
    with pytest.raises(ValueError, match='unexpected: .injectors.1'):
        backbone(name, backbones['sohes'], with_adapter=True,
                 num_interactions=1)
    state = torch.load(backbones['vit'])['state_dict']
    del state['layers.1.ln2.bias']
    torch.save(state, tmp_path / 'cut.pth')
    with pytest.raises(ValueError, match=r'missing.*layers\.1\.ln2\.bias'):
        backbone(name, tmp_path / 'cut.pth')
    state = torch.load(backbones['vit'])['state_dict']
    torch.save(state, tmp_path / 'two.pth')
    arch = dict(embed_dims=WIDTH, num_layers=3, num_heads=1,
                feedforward_channels=4 * WIDTH)
    with pytest.raises(ValueError, match=r'missing: .layers\.2\.'):
        backbone(name, tmp_path / 'two.pth',
                 vit=dict(arch=arch, patch_size=16, img_size=64))


@pytest.mark.parametrize('name', [SEG, DET])
def test_the_arms_differ_in_the_weights_alone(name):
    first, second = (Config.fromfile(FOLDER / f'{name.format(arm)}.py')
                     for arm in ('dino', 'sohes'))
    options = first.model.backbone
    assert options.type == 'sohes.ViTAdapter'
    assert (options.frozen_vit, options.with_adapter) == (True, False)
    assert options.pop('weights') != second.model.backbone.pop('weights')
    first.pop('weights'), second.pop('weights')
    assert first.to_dict() == second.to_dict()
