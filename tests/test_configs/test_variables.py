"""--cfg-options of a configuration's variables: refused, by the key to use."""
import re
from pathlib import Path

import pytest

from sohes.apis.generate import read_config as read_phase1
from sohes.apis.run_config import read_config, runner_keys
from sohes.utils.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
TRAINED = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ('.', 'phase2', 'phase3', 'tiny', 'ablations')
    for path in (ROOT / 'configs' / folder).glob('*.py')
    if 'phase1' not in path.name)
NEW = dict(max_iters=9, batch_size=1, base_lr=1.0, num_workers=0,
           image_size=(96, 96))


def refused(path: str, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        read_config(str(ROOT / path), options)
    return str(caught.value)


def at(node: object, key: str) -> object:
    for part in key.split('.'):
        node = node[int(part) if isinstance(node, list) else part]
    return node


@pytest.mark.parametrize('path', TRAINED)
def test_every_variable_is_refused_with_the_keys_that_work(path):
    config = read_config(str(ROOT / path))
    variables = set(config.keys()) - runner_keys(config)
    named = set()
    for name in sorted(variables & NEW.keys()):
        message = refused(path, **{name: NEW[name]})
        assert message.startswith(f'--cfg-options {name}: ')
        keys = re.findall(r'[a-z]\w*(?:\.\w+)+', message)
        named |= set(keys) and {name}
        changed = read_config(str(ROOT / path),
                              dict.fromkeys(keys, NEW[name]))
        for key in keys:
            assert at(config, key) == config[name] != NEW[name], key
            assert at(changed, key) == NEW[name], key
    assert named >= {'max_iters', 'batch_size', 'base_lr'} & variables
    assert 'max_iters' in named


def test_an_image_size_is_named_wherever_it_counts():
    message = refused('configs/phase2/sohes_phase2_1x24gb.py',
                      image_size=(9, 9))
    for key in ('train_dataloader.dataset.pipeline.3.scale',
                'train_dataloader.dataset.pipeline.4.crop_size',
                'test_dataloader.dataset.pipeline.1.scale',
                'model.data_preprocessor.batch_augments.0.size'):
        assert key in message


def test_the_table_of_the_training_page_says_the_same():
    text = (ROOT / 'docs/training.md').read_text()
    rows = re.findall(r'^\| `(\w+)` \| (`\w+\..*) \|$', text, re.MULTILINE)
    assert len(rows) == 4
    for name, cell in rows:
        message = refused('configs/sohes_phase2.py', **{name: NEW[name]})
        for key in re.findall('`(.*?)`', cell):
            assert key in message


def test_a_pipeline_is_changed_where_it_is_used():
    message = refused('configs/sohes_phase2.py',
                      **{'train_pipeline.3.scale': (9, 9)})
    assert 'give train_dataloader.dataset.pipeline.3.scale' in message


@pytest.mark.parametrize('options, keys', [
    (dict(lr=1), 'optim_wrapper.optimizer.lr'),
    (dict(image_size=9), 'pseudo_labels.image_size'),
    (dict(batch_size=9), 'pseudo_labels.local.batch_size'),
    (dict(pseudo_label=9), 'pseudo_labels'),
    (dict(train_confg=9), 'train_cfg'),
])
def test_a_key_of_no_level_is_looked_for_below(options, keys):
    if 'pseudo_labels' in keys:
        from mmengine.config import Config
        config = Config.fromfile(ROOT / 'configs/sohes_phase1.py')
        config.merge_from_dict(options)
        with pytest.raises(ValueError, match=rf'is it .*{re.escape(keys)}'):
            read_phase1(config, None)
        return
    assert re.search(rf'is it .*{re.escape(keys)}',
                     refused('configs/sohes_phase2.py', **options))


def test_what_moves_the_data_is_no_variable():
    config = read_config(str(ROOT / 'configs/sohes_phase2.py'),
                         dict(data_root='elsewhere/'))
    assert config.test_evaluator[0].ann_file == 'elsewhere/val.json'


def test_a_folder_of_maps_moves_with_the_transforms_that_read_it():
    path = str(ROOT / 'configs/phase3/sohes_phase3_cpu.py')
    config = read_config(path, {
        'feature_maps.folder': '/maps', 'feature_maps.max_gb': 2.0,
        'data_root': '/photos/'})
    assert config.feature_maps == dict(folder='/maps', max_gb=2.0)
    text = config.dump()
    assert text.count("folder='/maps'") >= 4  # I1, teacher and student
    assert 'data/entities' not in text
    assert read_config(path, {'feature_maps': None}).feature_maps is None
