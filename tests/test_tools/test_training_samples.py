"""What the augmentation of a configuration gives the model to learn."""
import re

import pytest

from tests.tiny_entities import make_entities

TOOL = 'tools/analysis_tools/training_samples.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_entities(tmp_path_factory.mktemp('data') / 'entities')


@pytest.mark.parametrize('phase', [2, 3])
def test_masks_queries_and_what_is_hidden(run_tool, data, phase):
    queries = 'model.panoptic_head.num_queries=2' if phase == 2 else (
        'model.detector.panoptic_head.num_queries=2')
    done = run_tool(TOOL, f'configs/tiny/sohes_phase{phase}_tiny.py',
                    '--draws', 12, '--cfg-options', f'data_root={data}/',
                    queries)
    assert done.returncode == 0, done.stderr
    assert '12 samples of 6 images' in done.stdout
    # And no line about a package that mmdet looks for.
    assert 'Could not import' not in done.stdout + done.stderr
    most = int(re.search(r'average, (\d+) at most', done.stdout)[1])
    assert most > 2
    share, = re.findall(r'2 queries: (.*?) % of the samples', done.stdout)
    assert float(share) > 0
    assert 'over 90 % in 0.0 % of the samples' in done.stdout


def test_bad_input_is_one_sentence(run_tool, tmp_path):
    done = run_tool(TOOL, 'configs/tiny/sohes_phase2_tiny.py',
                    '--cfg-options', f'data_root={tmp_path}/')
    assert done.returncode == 2 and 'does not exist' in done.stderr
