"""Every configuration of Phase 3 says what the paper says, and runs."""
import logging
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config

from sohes.apis.generate import UsageError
from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from tests.tiny_entities import make_entities, shrunk
from tests.toy_run import weights

ROOT = Path(__file__).resolve().parents[2]
TINY = 'tiny/sohes_phase3_tiny'
CONFIGS = [
    'sohes_phase3', TINY, 'ablations/sohes_phase3_none',
    'ablations/sohes_phase3_fixed', 'ablations/sohes_phase3_dynamic'
]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_entities(tmp_path_factory.mktemp('data') / 'entities')


def read(name: str, data: Path, work_dir: Path, **options) -> Config:
    options = {key.replace('__', '.'): value
               for key, value in options.items()}
    return shrunk(
        read_config(
            str(ROOT / f'configs/{name}.py'), {
                'data_root': f'{data}/',
                'train_cfg.max_iters': 2,
                **options
            }, str(work_dir)))


@pytest.fixture(scope='module')
def phase2(data, tmp_path_factory) -> dict[str, str]:
    """A checkpoint of Phase 2 for each model: the paper's and the tiny."""
    found = {}
    for name in ('sohes_phase2', 'tiny/sohes_phase2_tiny'):
        folder = tmp_path_factory.mktemp('phase2')
        train_model(read(name, data, folder, train_cfg__max_iters=1))
        found['tiny' in name] = str(folder / 'iter_1.pth')
    return {name: found['tiny' in name] for name in CONFIGS}


@pytest.mark.parametrize('name', CONFIGS)
def test_trains_from_phase2_and_predicts(name, data, phase2, tmp_path):
    config = read(name, data, tmp_path, load_from=phase2[name])
    runner = train_model(config)
    assert runner.iter == 2
    start, end = weights(phase2[name]), weights(tmp_path / 'iter_2.pth')
    moved = {'student': 0, 'teacher': 0}
    for key, value in start.items():
        student, teacher = end[f'student.{key}'], end[f'teacher.{key}']
        moved['student'] += not torch.equal(student, value)
        moved['teacher'] += not torch.equal(teacher, value)
    assert moved['student'] > 100 and moved['teacher'] > 100
    found = evaluate_model(config, str(tmp_path / 'iter_2.pth'))
    assert 0 <= found['entity/AR@1000'] <= 100
    assert found['forest/pairs'] == 6 * 3
