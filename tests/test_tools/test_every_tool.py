"""Every script starts from anywhere and says what it takes, in one language.

A new option takes its name from :data:`WORDS`, or adds one for a new thing.
"""
import argparse
import runpy
import sys
from pathlib import Path

import pytest

from sohes.converters.command import dataset_parser

ROOT = Path(__file__).resolve().parents[2]
# bootstrap.py runs outside the environment; it has its own tests.
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ('tools', 'demo')
    for path in (ROOT / folder).rglob('*.py')
    if '_bootstrap' not in path.parts and path.name != 'bootstrap.py')

#: Each option's name; one thing has one name in every tool.
_NAMES = """
    what comes in:
    --img-dir --gt --gt-img-dir --pred --labels --data --dataset --datasets
    --results-json --names --num-photos --num-gt-photos --split --subset --pack
    --only --levels --min-area --same --only-predicted --max-dets
    which ViT, configuration and model:
    --weights --preset --cfg-options --phase1-config --phase1-options
    --phase2-config --phase2-options --phase3-config --phase3-options
    --vit-weights --trust-checkpoint --vit --student --half
    what comes out:
    --out --out-dir --work-dir --show-dir --html --picture --overwrite --name
    --tables --table-6b --rows --no-save-vis --no-save-pred --print-result
    --show --not-show --show-interval --pred-score-thr --delete --quiet
    --strict
    how much, and on what machine:
    --seed --seeds --draws --largest --best --coverage --budget --lowest --step
    --count --image-sizes --batch-size --workers --device --gpus --partition
    --launcher --amp --resume --auto-scale-lr
    the web demo:
    --host --port --max-upload --max-pixels --max-queue --max-seconds
    the environment:
    --stage --stack --python --venv --has-python"""
WORDS = {word for word in _NAMES.split() if word.startswith('--')}
#: What numbers are counted or measured in.
UNITS = {'N', 'SEED', 'PORT', 'PIXELS', 'SECONDS', 'MIB', 'MILLIONS', 'IOU',
         'SCORE', 'SHARE', 'THRESHOLD'}


class _Found(Exception):
    """Raised in place of reading a command line; has the parser."""


def parser_of(script: str,
              monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser of a script, complete."""
    def parse_args(self, args=None, namespace=None):
        raise _Found(self)

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
    monkeypatch.setattr(sys, 'argv', [str(ROOT / script)])
    # As Python does it: bootstrap.py imports what is beside it.
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    with pytest.raises(_Found) as found:
        runpy.run_path(sys.argv[0], run_name='__main__')
    return found.value.args[0]


@pytest.mark.parametrize('script', [*SCRIPTS, 'tools/bootstrap.py'])
def test_options_are_named_and_explained_alike(script, monkeypatch):
    shown = [action for action in parser_of(script, monkeypatch)._actions
             if action.help != argparse.SUPPRESS and action.dest != 'help']
    assert shown or script == 'demo/demo_weights.py'  # it takes none
    for action in shown:
        words = action.option_strings
        assert WORDS.issuperset(words), words
        text = action.help
        assert text and text[0].isupper() and text[-1] == '.', action
        if action.option_strings and action.default not in (
                None, False, [], argparse.SUPPRESS):
            assert 'Default: ' in text, words
        value = action.default[0] if isinstance(
            action.default, list) and action.default else action.default
        if type(value) in (int, float) or action.type in (int, float):
            assert action.metavar in UNITS, words
        if '--out' in words:
            assert action.metavar == 'JSON', words
        if '--work-dir' in words:  # mmdet's own
            assert script in ('tools/train.py', 'tools/test.py')


@pytest.mark.parametrize(('script', 'words', 'expected'), [
    ('analysis_tools/ancestor_pairs.py', 'a.json --images 3',
     dict(num_photos=3)),
    ('analysis_tools/browse_pseudo_labels.py',
     'a.json --output-dir OUT --images 3', dict(out_dir='OUT', num_photos=3)),
    ('analysis_tools/calibrate_thresholds.py',
     'a.py --img-dir A --images 3 --gt-images 4 --out c.png --json c.json',
     dict(num_photos=3, num_gt_photos=4, picture='c.png', out='c.json')),
    ('analysis_tools/compare_labels.py',
     'a.py --data a b c --out-dir A --every 3', dict(every=3)),
    ('analysis_tools/evaluate_masks.py', '--gt a --pred b --json c',
     dict(out='c')),
    ('analysis_tools/filter_labels.py', 'a.json b.json --images 3',
     dict(out='b.json', num_photos=3)),
    ('run_pipeline.py', 'A --out-dir B --pictures 0', dict(num_photos=0)),
    ('eval_zero_shot.py', '--dataset a=b:c --phase1 d --grid-images 0',
     dict(phase1='d', num_photos=0)),
    ('../demo/pseudo_labels_demo.py', '--config a.py', dict(config='a.py')),
])
def test_old_spellings_still_work(script, words, expected, monkeypatch):
    path = str(ROOT / 'tools' / script)
    monkeypatch.setattr(sys, 'argv', [path, *words.split()])
    found = vars(runpy.run_path(path)['parse_args']())
    assert expected.items() <= found.items()


def test_old_spellings_of_converters_still_work():
    found = dataset_parser('').parse_args(['--out', 'b.json', '--limit', '3'])
    assert found.num_photos == 3


@pytest.mark.parametrize('script', SCRIPTS)
def test_exit_codes_are_those_of_run_command(script):
    text = (ROOT / script).read_text()
    assert 'run_command(' in text or 'sohes.converters.command' in text


def test_they_are_found():
    assert {'tools/train.py', 'tools/analysis_tools/evaluate_masks.py',
            'demo/image_demo.py'} < set(SCRIPTS)


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_from_another_folder(script, tmp_path, monkeypatch, capsys):
    # Without the checkout on the path: the script puts it there.
    monkeypatch.setattr(sys, 'path', [
        folder for folder in sys.path if Path(folder).resolve() != ROOT])
    monkeypatch.setattr(sys, 'argv', [str(ROOT / script), '--help'])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name='__main__')
    assert not end.value.code
    assert capsys.readouterr().out.startswith(f'usage: {Path(script).name} ')
    assert str(ROOT) in sys.path
