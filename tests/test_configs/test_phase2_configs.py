"""Every configuration of Phase 2 says what the paper says, and runs."""
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from tests.test_datasets.test_entity_masks import entity_masks
from tests.tiny_entities import make_entities, shrunk, step_key
from tests.toy_run import weights

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [
    'sohes_phase2', 'phase2/sohes_phase2_8gpu', 'phase2/sohes_phase2_1x24gb',
    'phase2/sohes_phase2_few_images', 'phase2/sohes_dinov3-s16_1x24gb',
    'phase2/sohes_dinov3-l16_8x80gb', 'tiny/sohes_phase2_tiny'
]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_entities(tmp_path_factory.mktemp('data') / 'entities')


def test_the_papers_values():
    config = Config.fromfile(ROOT / 'configs/sohes_phase2.py')
    assert config.train_dataloader.batch_size * 64 == 128
    assert config.auto_scale_lr == dict(enable=False, base_batch_size=128)
    assert config.train_cfg.max_iters == 40000
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('sohes.Adan', 0.0008)
    assert config.param_scheduler.milestones == [36000]
    assert config.default_hooks.checkpoint.interval == 5000
    assert config.model.backbone.weights == 'dino_vitb8'
    head = config.model.panoptic_head
    assert head.num_queries == 300
    assert (head.loss_cls.loss_weight, head.loss_mask.loss_weight,
            head.loss_dice.loss_weight) == (2, 5, 5)
    assert head.loss_cls.class_weight == [1, 0.1]
    assert config.model.train_cfg.num_points == 12544
    assert config.model.test_cfg.max_per_image == 1000
    resize = config.train_dataloader.dataset.pipeline[3]
    assert resize.scale == (1024, 1024)
    assert resize.ratio_range == (0.1, 2.0)


@pytest.mark.parametrize('name', [*CONFIGS, 'sohes_phase3',
                                  'phase3/sohes_phase3_1x24gb',
                                  'tiny/sohes_phase3_tiny',
                                  'ablations/sohes_cascade-mask-rcnn'])
def test_images_are_pasted_on_one_canvas(name, tmp_path):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    dataset = config.train_dataloader.dataset
    pipeline = dataset.get('labeled', dataset).pipeline
    types = [step.type for step in pipeline]
    at = types.index('sohes.EntityCopyPaste')
    assert types[at - 2:at] == ['RandomCrop', 'Pad']
    assert pipeline[at - 1].size == pipeline[at - 2].crop_size
    assert pipeline[at].max_covered == 0.5
    # One image far smaller than the canvas, one far larger.
    init_default_scope('mmdet')
    pad = TRANSFORMS.build(pipeline[at - 1])
    for side in (30, 200):
        found = pad(dict(img=np.zeros((side, 20, 3), np.uint8),
                         gt_masks=entity_masks(np.ones((1, side, 20)))))
        assert found['img'].shape[:2] == pipeline[at - 1].size
        masks = found['gt_masks']
        assert (masks.height, masks.width) == pipeline[at - 1].size
        assert masks.areas.tolist() == [side * 20]
        assert found['img'][-1, -1].tolist() == [124, 116, 104]


def read(name: str, data: Path, work_dir: Path) -> Config:
    return shrunk(
        read_config(
            str(ROOT / f'configs/{name}.py'), {
                'data_root': f'{data}/',
                'train_cfg.max_iters': 2,
                'optim_wrapper.accumulative_counts': 1
            }, str(work_dir)))


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory) -> Callable[[str], tuple[Path, dict]]:
    """Two steps of a configuration: the checkpoint, and what it predicts.

    Those that shrink to the same model are trained once.
    """
    done: dict[str, tuple[Path, dict]] = {}

    def train(name: str) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp('phase2')
        config = read(name, data, folder)
        key = step_key(config)
        if key not in done:
            train_model(config)
            path = folder / 'iter_2.pth'
            done[key] = path, evaluate_model(config, str(path))
        return done[key]
    return train


@pytest.mark.parametrize('name', CONFIGS)
def test_trains_a_step_and_predicts(name, data, trained, tmp_path):
    config = read(name, data, tmp_path)
    assert config.test_evaluator[0].ann_file == f'{data}/val.json'
    _, found = trained(name)
    assert 0 <= found['entity/AR@1000'] <= 100
    assert found['forest/pairs'] == 6 * 3


def _depth(parameter: str) -> int:
    """Where a parameter of four blocks lies: 0, its block, or 5."""
    block = re.search(r'vit\.timm\.blocks\.(\d)', parameter)
    if block:
        return int(block[1]) + 1
    return 0 if '.vit.' in parameter else 5


@pytest.mark.parametrize('name', CONFIGS)
def test_learning_rates(name, tmp_path):
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS
    config = read_config(str(ROOT / f'configs/{name}.py'))
    rate = config.optim_wrapper.optimizer.lr
    init_default_scope('mmdet')
    config = shrunk(config)
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    names = {id(p): n for n, p in model.named_parameters()}
    seen = set()
    for group in wrapper.optimizer.param_groups:
        parameter = names[id(group['params'][0])]
        in_vit = parameter.startswith('backbone.vit.')
        seen.add(in_vit)
        if 'l16' in name:  # layer decay, of 4 blocks here
            assert group['lr'] == pytest.approx(
                rate * 0.8**(5 - _depth(parameter)))
            continue
        assert group['lr'] == pytest.approx(rate / 10 if in_vit else rate)
        undecayed = any(part in parameter for part in (
            'query', 'level_embed', 'norm', '.gn.', '.ln', 'pos_embed',
            'cls_token', 'reg_token'))
        if undecayed:
            assert group['weight_decay'] == 0, parameter
        elif in_vit:
            assert group['weight_decay'] == 0.02, parameter
    assert seen == {True, False}


@pytest.mark.parametrize('name', CONFIGS)
def test_the_steps_fit_together(name):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    iters = config.train_cfg.max_iters
    assert config.param_scheduler.end == iters
    assert config.param_scheduler.milestones == [iters * 9 // 10]
    counts = config.optim_wrapper.get('accumulative_counts', 1)
    assert config.default_hooks.checkpoint.interval % counts == 0
    assert iters % config.default_hooks.checkpoint.interval == 0
    head = config.model.panoptic_head
    weights = config.model.backbone.weights
    width = dict(s=384, b=768, l=1024)[re.search(r'vit(\w)', weights)[1]]
    assert head.in_channels == [width] * 4


def test_the_metafile_lists_them():
    text = (ROOT / 'configs/metafile.yml').read_text()
    listed = {model['Config'] for model in yaml.safe_load(text)['Models']}
    assert listed >= {f'configs/{name}.py' for name in CONFIGS}
    assert all((ROOT / config).is_file() for config in listed)


def test_bad_data_is_said_before_training(data, tmp_path):
    from sohes.utils.errors import UsageError

    def refuse(message: str, **options) -> None:
        config = read_config(
            str(ROOT / 'configs/tiny/sohes_phase2_tiny.py'),
            {'data_root': f'{data}/', 'train_cfg.max_iters': 1, **options},
            str(tmp_path / 'run'))
        with pytest.raises(UsageError, match=message):
            train_model(shrunk(config))

    key = 'train_dataloader.dataset.'
    refuse('no.json does not exist', **{f'{key}ann_file': 'no.json'})
    (data / 'cut.json').write_text((data / 'labels.json').read_text()[:-99])
    refuse('cut.json', **{f'{key}ann_file': 'cut.json'})
    refuse('none/0.png of .* does not exist',
           **{f'{key}data_prefix': dict(img='none/')})
    refuse("no category 'cat'", **{f'{key}categories': ['cat']})
    refuse('num_querys', **{'model.panoptic_head.num_querys': 3})


def test_a_seeded_run_repeats(data, trained, tmp_path):
    name = 'tiny/sohes_phase2_tiny'
    first = weights(trained(name)[0])
    runner = train_model(read(name, data, tmp_path))
    assert runner.iter == 2
    second = runner.model.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
