"""What keeps configs/ short, and what a change of a base must not move.

A configuration inherits at most two others beyond ``_base_/``. What every run
has stands in a base alone. A pipeline is changed in a variable, and the loader
is given that variable anew: the loader's copy in the base would stay as it
was.
"""
import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
FILES = sorted(path.relative_to(CONFIGS).as_posix()
               for path in CONFIGS.rglob('*.py'))
WHOLE = [name for name in FILES if '_base_' not in name]
DATASETS = [name for name in WHOLE if name.startswith('datasets/')]
ALWAYS = {'sohes.RandomStateHook', 'sohes.NonFiniteLossHook'}

#: What a run of each configuration is. A row changes with the configuration
#: that it names, and with no other.
RUNS = """
configuration                        ViT            pixels   jitter steps  batch rate    EMA
sohes_phase2                         dino_vitb8     1024     0.1-2  40000  2     0.0008  -
sohes_phase3                         dino_vitb8     1024     0.1-2  5000   2     8e-05   0.0005
phase2/sohes_phase2_8gpu             dino_vitb8     1024     0.1-2  80000  2     0.0001  -
phase3/sohes_phase3_8gpu             dino_vitb8     1024     0.1-2  10000  2     1e-05   0.00025
phase2/sohes_dinov3-l16_8x80gb       dinov3_vitl16  1024     0.1-2  80000  2     0.0001  -
phase2/sohes_phase2_1x24gb           dino_vitb16    640      0.1-2  80000  2     0.0001  -
phase3/sohes_phase3_1x24gb           dino_vitb16    640      0.1-2  10000  2     1e-05   0.002
phase2/sohes_phase2_few_images       dino_vits16    640      0.1-2  20000  2     0.0001  -
phase3/sohes_phase3_few_images       dino_vits16    640      0.1-2  4000   2     1e-05   0.005
phase2/sohes_dinov3-s16_1x24gb       dinov3_vits16  640      0.1-2  20000  2     0.0001  -
tiny/sohes_phase2_tiny               dinov2_vits14  224      0.5-2  1000   2     0.001   -
tiny/sohes_phase3_tiny               dinov2_vits14  224      0.5-2  250    2     0.0001  0.01
tiny/sohes_phase2_overfit            dinov2_vits14  224      -      900    2     0.001   -
phase2/sohes_phase2_cpu              dinov2_vits14  448,896  1-3    6000   4     0.001   -
phase3/sohes_phase3_cpu              dinov2_vits14  448,896  1-1.5,1-3,1.5-2 1500   2     0.001   0.01
ablations/sohes_cascade-mask-rcnn    dino_vitb8     1024     0.1-2  40000  2     0.0008  -
ablations/sohes_phase3_cascade-mask-rcnn dino_vitb8 1024     0.1-2  5000   2     8e-05   0.0005
ablations/sohes_phase2_closure       dino_vitb8     1024     0.1-2  40000  2     0.0008  -
ablations/sohes_phase2_no-ancestor   dino_vitb8     1024     0.1-2  40000  2     0.0008  -
ablations/sohes_phase3_no-ancestor   dino_vitb8     1024     0.1-2  5000   2     8e-05   0.0005
ablations/sohes_phase3_none          dino_vitb8     1024     0.1-2  5000   2     8e-05   0.0005
ablations/sohes_phase3_fixed         dino_vitb8     1024     0.1-2  5000   2     8e-05   0.0005
ablations/sohes_phase3_dynamic       dino_vitb8     1024     0.1-2  5000   2     8e-05   0.0005
hassod/hassod_cascade-mask-rcnn_vits14 dinov2_vits14 240,800,1024,1333 - 40000 4 0.01    -
hassod/hassod_mean-teacher_vits14    dinov2_vits14  240,800,1024,1333 -  2000   2     0.01    0.0004
"""  # noqa: E501
HEADER, *ROWS = (line.split() for line in RUNS.strip().splitlines())


@cache
def read(name: str) -> dict[str, Any]:
    return Config.fromfile(CONFIGS / name).to_dict()


def below(node: Any) -> Iterator[dict]:
    """Every dictionary in a part of a configuration."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    if isinstance(node, (list, tuple, type({}.values()))):
        for child in node:
            yield from below(child)


def bases(name: str) -> list[str]:
    """What a file inherits, of configs/ and not of mmdet."""
    for line in ast.parse((CONFIGS / name).read_text()).body:
        if isinstance(line, ast.Assign) and ast.unparse(
                line.targets[0]) == '_base_':
            value = ast.literal_eval(line.value)
            return [
                (CONFIGS / name).parent.joinpath(base).resolve().relative_to(
                    CONFIGS).as_posix()
                for base in ([value] if isinstance(value, str) else value)
                if '::' not in base
            ]
    return []


def levels(name: str) -> int:
    """How many configurations lie between a file and ``_base_/``."""
    return max((1 + levels(base) for base in bases(name)
                if not base.startswith('_base_')), default=0)


@pytest.mark.parametrize('name', FILES)
def test_two_levels_are_enough(name):
    assert levels(name) <= 2, bases(name)


def test_no_two_files_repeat_a_list_of_steps_or_hooks():
    found = defaultdict(set)
    for name in FILES:
        for node in ast.walk(ast.parse((CONFIGS / name).read_text())):
            if isinstance(node, ast.List) and len(node.elts) > 2 and any(
                    ast.unparse(item).startswith('dict(type=')
                    for item in node.elts):
                found[ast.dump(node)].add(name)
    assert len(found) > 5
    repeated = [files for files in found.values() if len(files) > 1]
    assert not repeated, 'one inherits it from the other, or from _base_/'


@pytest.mark.parametrize('name', WHOLE)
def test_custom_hooks_are_those_that_not_every_run_has(name):
    config = read(name)
    default = [hook['type'] for hook in
               config.get('default_hooks', {}).values()]
    custom = [hook['type'] for hook in config.get('custom_hooks') or []]
    assert len({*default, *custom}) == len(default) + len(custom)
    assert not ALWAYS & set(custom)
    if 'model' in config and not name.startswith('downstream/'):
        assert set(default) > ALWAYS


@pytest.mark.parametrize('name', [
    name for name in WHOLE
    if not name.startswith('downstream/mmdet/')  # mmdetection's own data
])
def test_the_loaders_hold_the_pipelines_that_are_shown(name):
    config = read(name)
    if 'train_dataloader' not in config:
        assert not [key for key in config if key.endswith('_pipeline')]
        return
    data = config['train_dataloader']['dataset']
    held = dict(
        train_pipeline=data.get('labeled', data)['pipeline'],
        test_pipeline=config['test_dataloader']['dataset']['pipeline'])
    if 'unlabeled' in data:
        held['unsup_pipeline'] = data['unlabeled']['pipeline']
    shown = {key for key in config if key.endswith('_pipeline')}
    assert shown == held.keys()
    for key, pipeline in held.items():
        assert config[key] == pipeline, f'{key} was changed, its loader not'


@pytest.mark.parametrize('name', DATASETS)
def test_a_data_set_says_where_its_files_are_and_no_more(name):
    assert bases(name) == ['sohes_phase2.py']
    config, base = dict(read(name)), dict(read('sohes_phase2.py'))
    root, file = config.pop('data_root'), config.pop('ann_file')
    metric, *forest = config.pop('test_evaluator')
    loader = config['test_dataloader']['dataset']
    assert (loader['data_root'], loader['ann_file']) == (root, file)
    assert metric == dict(type='sohes.EntityMetric', ann_file=root + file)
    assert [one['type'] for one in forest] in ([], ['sohes.ForestMetric'])
    del base['data_root'], base['test_evaluator']
    config['test_dataloader'] = dict(
        config['test_dataloader'], dataset=dict(loader, **{
            key: base['test_dataloader']['dataset'][key]
            for key in ('data_root', 'ann_file', 'data_prefix')}))
    assert config == base


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row[0])
def test_what_a_run_is_has_not_moved(row):
    config = read(f'{row[0]}.py')
    model = config['model'].get('detector', config['model'])
    optimizer = config['optim_wrapper']['optimizer']
    parts = [config['train_dataloader'], config['test_dataloader'],
             model['data_preprocessor']]
    sizes = {side for node in below(parts)
             for key in ('scale', 'crop_size', 'size') if key in node
             for size in (node[key] if isinstance(node[key], list) else
                          [node[key]])
             for side in size if isinstance(side, int)}
    jitters = {'{:g}-{:g}'.format(*node['ratio_range'])
               for node in below(parts) if 'ratio_range' in node}
    momenta = [str(hook['momentum']) for hook in config['custom_hooks']
               if hook['type'] == 'sohes.TeacherHook']
    found = [
        row[0], model['backbone']['weights'],
        ','.join(map(str, sorted(sizes))), ','.join(sorted(jitters)) or '-',
        str(config['train_cfg']['max_iters']),
        str(config['train_dataloader']['batch_size']), str(optimizer['lr']),
        ','.join(momenta) or '-'
    ]
    assert dict(zip(HEADER, found, strict=True)) == dict(
        zip(HEADER, row, strict=True))


def test_every_run_has_its_row():
    trained = {
        name.removesuffix('.py') for name in WHOLE
        if 'train_cfg' in read(name) and name not in DATASETS
        and not name.startswith('downstream/')
    }
    # The ResNet has no name of the zoo.
    trained -= {'hassod/hassod_cascade-mask-rcnn_r50',
                'hassod/hassod_mean-teacher'}
    assert trained == {row[0] for row in ROWS}
