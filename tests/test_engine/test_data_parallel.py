"""Two processes on CPUs train the real model as one does."""
from pathlib import Path

import pytest
import torch

from sohes.apis.run_config import read_config
from sohes.apis.training import train_model
from tests.processes import run_ranks
from tests.tiny_entities import make_entities, shrunk

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/tiny'
PHASE_2, PHASE_3 = 'sohes_phase2_tiny', 'sohes_phase3_tiny'


def _read(phase: str, root: Path, out: str, **options: str):
    config = shrunk(
        read_config(
            str(CONFIGS / f'{phase}.py'), {
                'data_root': f'{root / "entities"}/',
                'train_cfg.max_iters': 1,
                **options
            }, out))
    if phase == PHASE_3:
        # An untrained teacher is sure of nothing.
        config.model.semi_train_cfg.score_thr = 0.0
    return config


def _config(root: Path, phase: str, name: str, batch_size: int,
            workers: int = 0, **options: str):
    out = str(root / name)
    config = _read(phase, root, out, **options)
    config.custom_imports = dict(
        imports=['tests.first_step'], allow_failed_imports=False)
    config.custom_hooks.append(dict(type='LossSaver', out=f'{out}.loss.pth'))
    config.optim_wrapper.optimizer = dict(
        type='GradientSaver', lr=1., out=f'{out}.grad.pth')
    config.optim_wrapper.pop('clip_grad')
    config.optim_wrapper.pop('paramwise_cfg')
    config.train_dataloader.batch_size = batch_size
    config.train_dataloader.num_workers = workers
    return config


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(),
                    reason='with a GPU each process wants one')
@pytest.mark.parametrize('phase', [PHASE_2, PHASE_3])
def test_first_step_of_two_processes_equals_that_of_one(phase, tmp_path):
    from mmengine.utils import import_modules_from_strings
    import_modules_from_strings(['tests.first_step'])
    make_entities(tmp_path / 'entities')
    options = {}
    if phase == PHASE_3:
        train_model(_read(PHASE_2, tmp_path, str(tmp_path / 'before')))
        options['load_from'] = str(tmp_path / 'before/iter_1.pth')
    train_model(_config(tmp_path, phase, 'one', batch_size=4, **options))
    path = tmp_path / 'two.py'
    _config(tmp_path, phase, 'two', batch_size=2, workers=1,
            **options).dump(path)
    for done in run_ranks(2, 'tools/train.py', path):
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f'{name}.loss.pth')
                for name in ('one', 'two'))
    assert one.keys() == two.keys()
    for name in one:
        assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-4)
    one, two = (torch.load(tmp_path / f'{name}.grad.pth')
                for name in ('one', 'two'))
    # A teacher gets no gradient.
    one, two = ([each for each in grads if each is not None]
                for grads in (one, two))
    assert len(one) == len(two) > 100
    for ours, theirs in zip(two, one):
        error = (ours - theirs).norm()
        assert error <= 1e-4 * theirs.norm() + 1e-8
