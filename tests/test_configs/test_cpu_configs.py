"""The configurations for CPUs: a frozen ViT whose maps are kept."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities

ROOT = Path(__file__).resolve().parents[2]


def small(data: Path, work_dir: Path) -> Config:
    """Phase 2 for CPUs at sizes for a test."""
    head, decoder = 'model.panoptic_head.', 'transformer_decoder.layer_cfg.'
    return read_config(
        str(ROOT / 'configs/phase2/sohes_phase2_cpu.py'), {
            'data_root': f'{data}/',
            'model.backbone.weights': str(data / 'vit.pth'),
            'model.backbone.vit_size': 48,
            'model.backbone.dtype': 'fp32',
            'model.backbone.block': 1,
            f'{head}in_channels': [64, 64],
            f'{head}num_queries': 8,
            f'{head}{decoder}ffn_cfg.feedforward_channels': 32,
            'model.train_cfg.num_points': 64,
            'train_cfg.max_iters': 2,
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
        }, str(work_dir))


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = make_entities(tmp_path_factory.mktemp('data') / 'entities')
    save_tiny_vit(folder / 'vit.pth')
    return folder


def test_trains_on_kept_maps_and_predicts_without(data, tmp_path):
    config = small(data, tmp_path)
    runner = train_model(config)
    assert runner.iter == 2
    maps = sorted((data / 'feature_maps').glob('*.map.npy'))
    assert len(maps) == 6
    times = [path.stat().st_mtime_ns for path in maps]
    kept = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert not any('vit' in name for name in kept['state_dict'])
    # No map is written twice, and inference needs none.
    train_model(small(data, tmp_path / 'again'))
    assert [path.stat().st_mtime_ns for path in maps] == times
    found = evaluate_model(config, str(tmp_path / 'iter_2.pth'))
    assert 0 <= found['entity/AR@1000'] <= 100
