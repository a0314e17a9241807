"""Values of --cfg-options: paths of any name, and what mmengine reads."""
import argparse

import pytest

from sohes.utils.arguments import ConfigOptions, run_parser


def parse(*options: str) -> dict:
    return run_parser('', '').parse_args(
        ['--cfg-options', *options]).cfg_options


@pytest.mark.parametrize('path', [
    'my out/', 'a,b/', "it's", '[x]/(y', '(a, b)', 'a=b', '12', ' lead ',
    'ünï/猫', '{x}/$HOME', 'true'])
@pytest.mark.parametrize('key', [
    'data_root', 'load_from', 'model.backbone.weights', 'work_dir',
    'test_evaluator.0.ann_file', 'model.init_cfg.checkpoint',
    'train_dataloader.dataset.data_prefix.img'])
def test_a_path_stays_what_it_is(key, path):
    assert parse(f'{key}={path}') == {key: path}
    assert parse(f'{key}="{path}"') == {key: path}


@pytest.mark.parametrize('text, value', [
    ('a=1', 1), ('a=1e-3', 1e-3), ('a=True', True), ('a=None', None),
    ('a=1,2', [1, 2]), ('a=(0.3,)', (0.3, )), ('a=[(1, 2), b]', [(1, 2), 'b']),
    ('a="[1, 2]"', [1, 2]), ('a=two words', 'two words'),
    ("a='x, y'", 'x, y'), ('weights=None', None)])
def test_other_values_are_read_as_mmengine_reads_them(text, value):
    assert list(parse(text).values()) == [value]


@pytest.mark.parametrize('text', ['a', '=1', 'a=[1,(2]'])
def test_mistakes_are_one_sentence(text, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(['--cfg-options', text])
    assert caught.value.code == 2 and text in capsys.readouterr().err
