"""Every configuration of Phase 3 says what the paper says, and runs."""
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config

from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from sohes.utils.errors import UsageError
from tests.tiny_entities import make_entities, shrunk, step_key
from tests.toy_run import weights

ROOT = Path(__file__).resolve().parents[2]
TINY = 'tiny/sohes_phase3_tiny'
# Each configuration, and that of Phase 2 which it follows.
BEFORE = {
    'sohes_phase3': 'sohes_phase2',
    TINY: 'tiny/sohes_phase2_tiny',
    'phase3/sohes_phase3_8gpu': 'phase2/sohes_phase2_8gpu',
    'phase3/sohes_phase3_1x24gb': 'phase2/sohes_phase2_1x24gb',
    'phase3/sohes_phase3_few_images': 'phase2/sohes_phase2_few_images',
    **{f'ablations/sohes_phase3_{row}': 'sohes_phase2'
       for row in ('none', 'fixed', 'dynamic')},
    'ablations/sohes_phase3_no-ancestor': 'ablations/sohes_phase2_no-ancestor',
}
CONFIGS = list(BEFORE)


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
def phase2(data, tmp_path_factory) -> Callable[[str], str]:
    """The checkpoint of Phase 2 that a configuration starts from.

    Those that shrink to the same model are trained once.
    """
    done: dict[str, str] = {}

    def train(name: str) -> str:
        folder = tmp_path_factory.mktemp('phase2')
        config = read(BEFORE[name], data, folder, train_cfg__max_iters=1,
                      optim_wrapper__accumulative_counts=1)
        key = step_key(config)
        if key not in done:
            train_model(config)
            done[key] = str(folder / 'iter_1.pth')
        return done[key]
    return train


@pytest.fixture(scope='module')
def trained(data, phase2, tmp_path_factory
            ) -> Callable[[str], tuple[str, Path, dict]]:
    """Two steps of a configuration: before, after, and what it predicts."""
    done: dict[str, tuple[str, Path, dict]] = {}

    def train(name: str) -> tuple[str, Path, dict]:
        folder, start = tmp_path_factory.mktemp('phase3'), phase2(name)
        config = read(name, data, folder, load_from=start,
                      optim_wrapper__accumulative_counts=1)
        key = start + step_key(config)
        if key not in done:
            train_model(config)
            path = folder / 'iter_2.pth'
            done[key] = start, path, evaluate_model(config, str(path))
        return done[key]
    return train


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_trains_from_phase2_and_predicts(name, trained):
    before, after, found = trained(name)
    start, end = weights(before), weights(after)
    moved = {'student': 0, 'teacher': 0}
    for key, value in start.items():
        student, teacher = end[f'student.{key}'], end[f'teacher.{key}']
        moved['student'] += not torch.equal(student, value)
        moved['teacher'] += not torch.equal(teacher, value)
    assert moved['student'] > 100 and moved['teacher'] > 100
    assert 0 <= found['entity/AR@1000'] <= 100
    assert found['forest/pairs'] == 6 * 3


@pytest.mark.slow
def test_views_that_are_padded_train(data, phase2, tmp_path):
    # In a batch of landscapes none is as high as the size of the batch.
    config = read(TINY, data, tmp_path, load_from=phase2(TINY),
                  train_cfg__max_iters=1)
    size = (160, 160)
    for preprocessor in (config.model.data_preprocessor.data_preprocessor,
                         config.model.detector.data_preprocessor):
        preprocessor.batch_augments[0].size = size
    assert train_model(config).iter == 1


def test_the_papers_values():
    config = Config.fromfile(ROOT / 'configs/sohes_phase3.py')
    before = Config.fromfile(ROOT / 'configs/sohes_phase2.py')
    assert config.train_cfg.max_iters == 5000
    assert config.train_dataloader.batch_size * 64 == 128
    assert config.auto_scale_lr == dict(enable=False, base_batch_size=128)
    options = config.model.semi_train_cfg
    assert options.sup_weight == options.unsup_weight == 1
    assert options.score_thr == dict(gamma=200, low=0.3, high=0.7)
    assert config.custom_hooks[0] == dict(
        type='sohes.TeacherHook', momentum=pytest.approx(1 - 0.9995))
    rate = config.optim_wrapper.optimizer.pop('lr')
    assert rate == pytest.approx(before.optim_wrapper.optimizer.pop('lr') / 10)
    assert config.optim_wrapper == before.optim_wrapper
    assert config.param_scheduler == []  # constant
    kinds = [t.type for t in config.train_dataloader.dataset.labeled.pipeline]
    assert 'sohes.EntityCopyPaste' in kinds


def test_table_3_differs_in_the_threshold_alone():
    rows = {
        name: Config.fromfile(
            ROOT / f'configs/ablations/sohes_phase3_{name}.py').to_dict()
        for name in ('none', 'fixed', 'dynamic')
    }
    options = {name: row['model'].pop('semi_train_cfg')
               for name, row in rows.items()}
    assert rows['none'] == rows['fixed'] == rows['dynamic']
    assert options['none'] == dict(options['dynamic'], unsup_weight=0)
    assert options['fixed'] == dict(options['dynamic'], score_thr=0.5)


@pytest.mark.parametrize('name', CONFIGS)
def test_the_model_is_phase_2s(name):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    before = Config.fromfile(ROOT / f'configs/{BEFORE[name]}.py')
    assert config.model.detector == before.model
    assert (config.model.data_preprocessor.data_preprocessor ==
            before.model.data_preprocessor)
    assert (config.test_dataloader.dataset.pipeline ==
            before.test_dataloader.dataset.pipeline)
    interval = config.default_hooks.checkpoint.interval
    accumulated = config.optim_wrapper.get('accumulative_counts', 1)
    assert config.max_iters == config.train_cfg.max_iters
    assert config.max_iters % interval == 0
    assert interval % accumulated == 0
    # The teacher ends as far from its start as the paper's.
    updates = config.max_iters / accumulated
    assert updates * config.custom_hooks[0].momentum == pytest.approx(
        5000 * (1 - 0.9995))
    assert config.auto_scale_lr == before.auto_scale_lr
    rates = [c.optim_wrapper.optimizer.lr for c in (config, before)]
    assert rates[0] == pytest.approx(rates[1] / 10)


@pytest.mark.parametrize('name', CONFIGS)
def test_both_streams_are_of_the_models_size(name):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    augments = config.model.detector.data_preprocessor.batch_augments
    size = augments[0].size
    sizes = set()

    def visit(node):
        if isinstance(node, dict):
            sizes.update(node[key] for key in ('scale', 'crop_size', 'size')
                         if key in node)
            node = node.values()
        if not isinstance(node, (str, tuple)) and hasattr(node, '__iter__'):
            for child in node:
                visit(child)

    visit(config.train_dataloader)
    visit(config.test_dataloader)
    assert sizes == {size}


def test_the_metafile_lists_them():
    text = (ROOT / 'configs/metafile.yml').read_text()
    listed = {model['Config'] for model in yaml.safe_load(text)['Models']}
    assert listed >= {f'configs/{name}.py' for name in CONFIGS}


def test_only_the_student_learns_and_its_vit_slower(data, tmp_path):
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmdet')
    config = read(TINY, data, tmp_path)
    rate = config.optim_wrapper.optimizer.lr
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    rates = {id(group['params'][0]): group['lr']
             for group in wrapper.optimizer.param_groups}
    learn = 0
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == name.startswith('student.')
        if parameter.requires_grad:
            slow = '.backbone.vit.' in name
            assert rates[id(parameter)] == pytest.approx(
                rate / 10 if slow else rate), name
            learn += 1
    assert learn > 100


@pytest.mark.slow
def test_resumed_is_the_run_that_was_never_stopped(data, phase2, tmp_path):
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'

    def config(folder: Path, **options) -> Config:
        return read(
            TINY, data, folder, train_cfg__max_iters=4,
            default_hooks__checkpoint__interval=2,
            custom_hooks__0__momentum=0.1,
            # An untrained teacher is sure of nothing.
            model__semi_train_cfg__score_thr=0.0, **options)

    runner = train_model(config(whole, load_from=phase2(TINY)))
    scalars = runner.message_hub.log_scalars
    assert sum(scalars[f'train/teacher_{size}'].data[0].sum()
               for size in ('small', 'medium', 'large')) > 0
    assert scalars['train/unsup_loss_mask'].current() > 0
    halves.mkdir()
    shutil.copy(whole / 'iter_2.pth', halves)
    torch.manual_seed(99)
    runner = train_model(config(halves), str(halves / 'iter_2.pth'))
    assert runner.iter == 4
    expected = weights(whole / 'iter_4.pth')
    middle = weights(whole / 'iter_2.pth')
    found = weights(halves / 'iter_4.pth')
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name
    for who in ('student', 'teacher'):
        name = f'{who}.panoptic_head.query_feat.weight'
        assert not torch.equal(found[name], middle[name])


@pytest.mark.slow
def test_the_first_start_of_a_run_that_resumes(data, phase2, tmp_path):
    config = read(TINY, data, tmp_path, load_from=phase2(TINY),
                  train_cfg__max_iters=1)
    runner = train_model(config, 'auto')
    assert runner.iter == 1
    start, end = weights(phase2(TINY)), weights(tmp_path / 'iter_1.pth')
    name = 'panoptic_head.query_feat.weight'
    torch.testing.assert_close(end[f'teacher.{name}'], start[name],
                               rtol=0, atol=1e-4)
    # And the second finds the checkpoint of the first.
    config.train_cfg.max_iters = 2
    assert train_model(config, 'auto').iter == 2


@pytest.mark.slow
def test_what_it_starts_from_is_looked_at(data, phase2, tmp_path):
    config = read(TINY, data, tmp_path)
    with pytest.raises(UsageError, match='give its checkpoint, of Phase 2'):
        train_model(config)
    state = weights(phase2(TINY))
    name = 'panoptic_head.query_feat.weight'
    for change, message in (
            (state[name][1:], f'{name} is 7x16, expected 8x16'),
            (None, f'{name} is missing')):
        other = {**state, name: change}
        if change is None:
            del other[name]
        torch.save(dict(state_dict=other), tmp_path / 'other.pth')
        config.load_from = str(tmp_path / 'other.pth')
        with pytest.raises(UsageError, match=message):
            train_model(config)
