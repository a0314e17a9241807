"""The configurations for CPUs: a frozen ViT whose maps are kept."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from sohes.utils.errors import UsageError
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import _set_sizes, make_entities

ROOT = Path(__file__).resolve().parents[2]


def small(phase: int, data: Path, work_dir: Path, **more) -> Config:
    """A phase for CPUs at sizes for a test."""
    root = 'model.' if phase == 2 else 'model.detector.'
    head = f'{root}panoptic_head.'
    return read_config(
        str(ROOT / f'configs/phase{phase}/sohes_phase{phase}_cpu.py'), {
            'data_root': f'{data}/',
            f'{root}backbone.weights': str(data / 'vit.pth'),
            f'{root}backbone.vit_size': 48,
            f'{root}backbone.test_vit_size': 32,
            f'{root}backbone.dtype': 'fp32',
            f'{root}backbone.block': 1,
            f'{head}in_channels': [64, 64],
            f'{head}num_queries': 8,
            f'{head}transformer_decoder.layer_cfg.ffn_cfg.'
            'feedforward_channels': 32,
            f'{root}train_cfg.num_points': 64,
            f'{root}test_cfg.view_size': 112,
            'train_cfg.max_iters': 2,
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            **more,
        }, str(work_dir))


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = make_entities(tmp_path_factory.mktemp('data') / 'entities')
    save_tiny_vit(folder / 'vit.pth')
    return folder


@pytest.fixture
def data_of_eight(tmp_path) -> Path:
    folder = make_entities(tmp_path / 'entities', 8)
    save_tiny_vit(folder / 'vit.pth')
    return folder


@pytest.mark.slow
def test_trains_on_kept_maps_and_predicts_without(data, tmp_path):
    config = small(2, data, tmp_path)
    runner = train_model(config)
    assert runner.iter == 2
    maps = sorted((data / 'feature_maps').glob('*.map.npy'))
    assert len(maps) == 6
    times = [path.stat().st_mtime_ns for path in maps]
    kept = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert not any('vit' in name for name in kept['state_dict'])
    # No map is written twice, and inference needs none.
    train_model(small(2, data, tmp_path / 'again'))
    assert [path.stat().st_mtime_ns for path in maps] == times
    found = evaluate_model(config, str(tmp_path / 'iter_2.pth'))
    assert 0 <= found['entity/AR@1000'] <= 100
    phase3 = small(3, data, tmp_path / 'phase3',
                   load_from=str(tmp_path / 'iter_2.pth'))
    runner = train_model(phase3)
    model = runner.model
    assert [path.stat().st_mtime_ns for path in maps] == times
    assert model.teacher.autocast == 'bf16'
    # The ViT looks at what the teacher sees, and at enlarged views of the
    # student; of a whole photo the student has what was kept.
    photos = runner.train_dataloader.dataset
    drawn = [photos[0]['data_samples'] for _ in range(20)]
    assert {branch: {'feature_map' in views[branch] for views in drawn}
            for branch in drawn[0]} == {
                'sup': {True, False}, 'unsup_teacher': {False},
                'unsup_student': {True, False}}
    found = evaluate_model(phase3, str(tmp_path / 'phase3/iter_2.pth'))
    assert 0 <= found['entity/AR@1000'] <= 100


@pytest.mark.slow
def test_eight_photos_by_heart(data_of_eight, tmp_path):
    """100 steps, and the loss falls from 33 to 5, over all layers.

    The bound is one that AdamW at 0.0003 misses, with 7 or 8, and so does
    configs/tiny/sohes_phase2_tiny.py on these photos, with as many queries
    and 112 pixels as well.
    """
    config = small(2, data_of_eight, tmp_path, **{
        'model.backbone.vit_size': 112,
        'model.backbone.test_vit_size': 112,
        'model.backbone.cells': 8,
        'model.panoptic_head.num_queries': 20,
        'model.panoptic_head.transformer_decoder.layer_cfg.ffn_cfg.'
        'feedforward_channels': 1024,
        'model.train_cfg.num_points': 512,
        'train_cfg.max_iters': 100,
        'train_dataloader.batch_size': 4,
        'log_processor.window_size': 10,
    })
    _set_sizes(config._cfg_dict, (112, 112))
    *_, load_map, paste, pack = config.train_dataloader.dataset.pipeline
    # By heart: the eight photos as they are.
    load_map.cells, paste.prob, pack.min_area = 8, 0.0, 12
    runner = train_model(config)
    loss, loss_iou = (runner.message_hub.get_scalar(f'train/{name}').mean(10)
                      for name in ('loss', 'loss_iou'))
    # The head that judges the masks does not change them.
    assert loss - loss_iou < 6.5


def test_kept_maps_want_a_frozen_vit(data, tmp_path):
    config = small(2, data, tmp_path)
    config.model.backbone = dict(
        type='sohes.ViTAdapter',
        weights=config.model.backbone.weights,
        num_interactions=2)
    with pytest.raises(UsageError, match='feature_maps=None') as error:
        train_model(config)
    assert 'the backbone is sohes.ViTAdapter' in str(error.value)


@pytest.mark.parametrize(('key', 'value', 'said'), [
    ('feature_maps.max_bg', 2.0, 'max_bg'), ('feature_maps', 5, 'mapping')])
def test_a_mistake_in_the_keys_of_kept_maps(data, tmp_path, key, value, said):
    with pytest.raises(UsageError, match=said):
        train_model(small(2, data, tmp_path, **{key: value}))
