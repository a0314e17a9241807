"""A preset from unlabelled photos, and Phase 1 with it."""
import json
from pathlib import Path

import pytest
import torch

from tests.test_weights.vit_reference import random_vit
from tests.tiny_entities import make_entities

CONFIG = 'configs/tiny/sohes_phase1_tiny.py'


@pytest.fixture(scope='module')
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('calibrate')
    make_entities(folder, images=2)
    torch.save(random_vit(grid=8).state_dict(), folder / 'vit.pth')
    return folder


@pytest.fixture(scope='module')
def preset(work, run_tool) -> Path:
    out = work / 'preset.json'
    done = run_tool(
        'tools/analysis_tools/calibrate_thresholds.py', CONFIG, '--img-dir',
        work / 'images', '--weights', work / 'vit.pth', '--preset', out,
        '--gt', work / 'labels.json', '--gt-img-dir', work / 'images',
        '--step', '0.2', '--cfg-options', 'pseudo_labels.image_size=128')
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines()
            if line.startswith(('key', 'token'))]
    assert len(rows) == 12
    assert 'rank correlation' in done.stdout
    return out


def test_the_preset_is_the_setting_whose_masks_return(preset):
    found = json.loads(preset.read_text())
    assert set(found) >= {'feature', 'block', 'center', 'thresholds'}
    assert found['feature'] in ('key', 'token')
    assert found['thresholds'] == sorted(found['thresholds'], reverse=True)


@pytest.mark.slow
def test_phase_1_takes_it(preset, work, run_tool, tmp_path):
    done = run_tool(
        'tools/generate_pseudo_labels.py', CONFIG, '--img-dir',
        work / 'images', '--out', tmp_path / 'labels.json', '--weights',
        work / 'vit.pth', '--preset', preset, '--cfg-options',
        'pseudo_labels.image_size=128', 'pseudo_labels.refiner=None')
    assert done.returncode == 0, done.stderr
    info = json.loads((tmp_path / 'labels.json').read_text())['info']
    wanted = json.loads(preset.read_text())
    assert info['pseudo_labels']['thresholds'] == wanted['thresholds']
    assert info['extractor']['feature'] == wanted['feature']
    assert info['extractor']['block'] == wanted['block']


@pytest.mark.parametrize('text, message', [
    (None, 'does not exist'), ('{', 'Expecting'), ('[]', 'expected a json')])
def test_what_is_no_preset_is_refused(text, message, work, run_tool,
                                      tmp_path):
    if text is not None:
        (tmp_path / 'preset.json').write_text(text)
    done = run_tool(
        'tools/generate_pseudo_labels.py', CONFIG, '--img-dir',
        work / 'images', '--out', tmp_path / 'labels.json', '--preset',
        tmp_path / 'preset.json')
    assert done.returncode == 2
    assert message in done.stderr and 'Traceback' not in done.stderr


def test_no_threshold_within_the_budget_is_a_mistake(work, run_tool):
    done = run_tool(
        'tools/analysis_tools/calibrate_thresholds.py', CONFIG, '--img-dir',
        work / 'images', '--weights', work / 'vit.pth', '--budget', '0.1',
        '--cfg-options', 'pseudo_labels.image_size=128')
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: even threshold ')
