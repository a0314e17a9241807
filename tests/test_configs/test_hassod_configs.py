"""HASSOD's stages on real photos: labels, two steps, a prediction."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

from sohes.apis.generate import generate
from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from tests.test_tools.tiny_vit import save_tiny_vit

FOLDER = Path(__file__).resolve().parents[2] / 'configs/hassod'


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Two photos, labelled with the features of a small random ViT."""
    from skimage import data as photos
    root = tmp_path_factory.mktemp('hassod')
    save_tiny_vit(root / 'vit.pth')
    (root / 'images').mkdir()
    for name in ('astronaut', 'chelsea'):
        Image.fromarray(getattr(photos, name)()).resize((96, 80)).save(
            root / f'images/{name}.png')
    config = Config.fromfile(FOLDER / 'hassod_phase1.py')
    config.merge_from_dict(dict(
        extractor=dict(weights=str(root / 'vit.pth'), num_heads=4,
                       feature='key', block=-1, center=True, device='cpu'),
        pseudo_labels=dict(image_size=128, thresholds=(0.5, 0.0, -0.3),
                           min_area=20, refine_min_iou=0.2),
        workers=0))
    generate(config, str(root / 'images'), str(root / 'labels.json'),
             quiet=True)
    labels = json.loads((root / 'labels.json').read_text())
    assert {row['level'] for row in labels['annotations']} >= {0, 1}
    (root / 'val.json').symlink_to('labels.json')
    (root / 'val').symlink_to('images')
    return root


def small(config: Config, detector: str = 'model') -> Config:
    """Batch, size and proposals cut; the types stay as they are."""
    config.merge_from_dict({
        f'{detector}.backbone.init_cfg': None,  # no download
        f'{detector}.train_cfg.rpn_proposal.nms_pre': 60,
        f'{detector}.train_cfg.rpn_proposal.max_per_img': 60,
        f'{detector}.test_cfg.rpn.max_per_img': 40,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_dataloader.batch_size': 2,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'default_hooks.logger.interval': 1,
        'optim_wrapper.type': 'OptimWrapper',
    })
    for key in ('dtype', 'loss_scale'):
        config.optim_wrapper.pop(key, None)
    model = config.model.get('detector', config.model)
    for head in model.roi_head.bbox_head:
        head.fc_out_channels = 32
    if 'weights' in model.backbone:  # a ViT: a small one with random weights
        model.backbone.update(
            weights=None, prior_width=8, drop_path_rate=0.0, with_cp=False,
            vit=dict(
                arch=dict(embed_dims=16, num_layers=4, num_heads=2,
                          feedforward_channels=32),
                patch_size=14, img_size=56))
        model.neck.in_channels = [16] * 4
    model.roi_head.mask_head.update(num_convs=1, conv_out_channels=8)
    for stage in model.train_cfg.rcnn:
        stage.sampler.num = 12
    _resize(config._cfg_dict)
    return config


def _resize(node: Any) -> None:
    """Every Resize of a pipeline to the size of the photos, in place."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict) and value.get(
                'type') == 'sohes.EntityResize':
            value.scale = (96, 80)
        elif isinstance(value, dict) and value.get('type') == 'RandomResize':
            value.scale = [(96, 64), (96, 80)]
        if isinstance(value, (dict, list)):
            _resize(value)


DETECTORS = ['hassod_cascade-mask-rcnn_r50',
             'hassod_cascade-mask-rcnn_vits14']
TEACHERS = ['hassod_mean-teacher', 'hassod_mean-teacher_vits14']


def read(name: str, data: Path, work_dir: Path, **options: Any) -> Config:
    return read_config(str(FOLDER / f'{name}.py'), {
        'data_root': f'{data}/', 'train_cfg.max_iters': 2, **options},
        str(work_dir))


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_two_steps_of_the_detector_and_a_prediction(name, data, tmp_path):
    config = small(read(name, data, tmp_path, **{
        'custom_hooks.0.interval': 2, 'custom_hooks.0.num_samples': 4}))
    runner = train_model(config)
    losses = runner.message_hub.log_scalars
    for stage in range(3):
        for part in ('cls', 'bbox', 'level', 'mask'):
            loss = losses[f'train/s{stage}.loss_{part}'].current()
            assert np.isfinite(loss) and loss >= 0
    assert losses['train/s0.loss_level'].current() > 0
    assert all(weight.requires_grad for weight in runner.model.parameters())
    out = tmp_path / 'found.json'
    found = evaluate_model(config, str(tmp_path / 'iter_2.pth'), str(out))
    assert 0 <= found['entity/AR@1000'] <= 100
    assert found['forest/pairs'] > 0
    rows = json.loads(out.read_text())
    assert rows and all(row['level'] in (0, 1, 2) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize('name', TEACHERS)
def test_two_steps_of_the_mean_teacher_and_a_prediction(name, data,
                                                        tmp_path):
    start = tmp_path / 'detector.pth'
    config = small(read(name, data, tmp_path, **{
        'load_from': str(start), 'model.semi_train_cfg.score_thr': 0.3}),
        'model.detector')
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(config.model.detector)
    torch.save(dict(state_dict=detector.state_dict(), meta={}), start)
    runner = train_model(config)
    model, losses = runner.model, runner.message_hub.log_scalars
    assert not model.teacher.training and model.student.training
    values = {name: buffer.current() for name, buffer in losses.items()}
    assert values['train/teacher_boxes'] > 0
    assert values['train/labelled_weight'] == pytest.approx(0.5)
    for branch in ('sup', 'sup_weak'):
        assert values[f'train/{branch}_s0.loss_mask'] > 0
    assert values['train/unsup_s0.loss_mask'] == 0
    assert values['train/unsup_s0.loss_level'] >= 0
    assert values['train/unsup_s0.loss_cls'] > 0
    moved = [(a - b).abs().max() for a, b in zip(
        model.teacher.state_dict().values(),
        model.student.state_dict().values())]
    assert max(moved) > 0
    found = evaluate_model(config, str(tmp_path / 'iter_2.pth'))
    assert 0 <= found['entity/AR@1000'] <= 100
