"""Table 3 by one command, on a tiny model."""
import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from sohes.apis.run_config import read_config
from sohes.apis.training import train_model
from tests.in_process import stages_in_process
from tests.tiny_entities import make_entities, shrunk

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools/analysis_tools/ablate_self_correction.py'
_SPEC = importlib.util.spec_from_file_location('ablate', TOOL)
ablate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(ablate)


def cell(row: str, seed: int, ar: float, small: float) -> dict:
    metrics = dict.fromkeys(ablate.METRICS, ar)
    counts = dict(teacher_small=small, teacher_medium=1., teacher_large=2.)
    return dict(row=row, seed=seed, metrics=metrics, counts=counts)


def test_table_by_hand():
    text = ablate.table([
        cell('none', 0, 10., 0.), cell('none', 1, 12., 0.),
        cell('dynamic', 0, 11., 3.), cell('dynamic', 1, 15., 4.)
    ])
    lines = text.splitlines()
    assert lines[2] == '| none |' + ' 11.00 ± 1.41 |' * 5 + (
        ' 0.00 | 1.00 | 2.00 |')
    assert lines[3].endswith(' 13.00 ± 2.83 | 3.50 | 1.00 | 2.00 |')
    assert lines[4] == '| dynamic - none |' + ' +2.00 ± 1.41 |' * 5 + (
        '  |  |  |')


def test_the_papers_first_row_is_the_checkpoint_itself():
    text = ablate.table([
        cell('phase2', 0, 9., 0.) | dict(counts={}),
        cell('none', 0, 10., 0.), cell('dynamic', 0, 11., 3.),
        cell('none', 1, 12., 0.), cell('dynamic', 1, 15., 4.)
    ])
    lines = text.splitlines()
    assert lines[2] == '| phase2 |' + ' 9.00 |' * 5 + ' - | - | - |'
    assert lines[3].startswith('| none | 11.00')
    assert lines[5] == '| dynamic - phase2 |' + ' +4.00 ± 2.83 |' * 5 + (
        '  |  |  |')
    assert list(ablate.ROWS)[0] == 'phase2'


def test_counts_of_a_run_that_was_killed(tmp_path):
    for folder, steps in (('1', {1: 2, 2: 9}), ('2', {2: 4})):
        path = tmp_path / folder / 'vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(
            json.dumps(dict.fromkeys(ablate.COUNTS, count)
                       | dict(step=step)) + '\n'
            for step, count in steps.items())
            # A line of no count, and one that a kill cut off.
            + '{"lr": 1, "step": 3}\n{"lr": 1, "st')
    assert ablate.read_counts(tmp_path) == dict.fromkeys(ablate.COUNTS, 3.)


@pytest.fixture(scope='module')
def work(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('table3')
    data = make_entities(root / 'data', images=2)
    for phase in (2, 3):
        config = shrunk(read_config(
            str(ROOT / f'configs/tiny/sohes_phase{phase}_tiny.py'),
            {'data_root': f'{data}/', 'train_cfg.max_iters': phase - 1},
            str(root / f'phase{phase}')))
        if phase == 2:
            train_model(config)
        else:
            config.default_hooks.logger.interval = 1
            config.pop('work_dir')
            config.dump(root / 'phase3.py')
    return root


@pytest.fixture
def run(work, run_tool):
    """The command in this process, and so are the tools that it starts."""
    def command(*options: str) -> subprocess.CompletedProcess:
        with stages_in_process():
            return run_tool(
                TOOL.relative_to(ROOT), work / 'phase3.py',
                work / 'phase2/iter_1.pth', '--out-dir', work / 'out',
                '--seeds', 0, '--rows', 'fixed', *options)
    return command


@pytest.mark.slow
def test_phase2_is_tested_and_not_trained(work, run):
    done = run('--seeds', '0', '1', '--rows', 'phase2', '--out-dir',
               str(work / 'first'))
    assert done.returncode == 0, done.stderr
    assert not (work / 'first/phase2_seed0/last_checkpoint').exists()
    found, = json.loads((work / 'first/table3.json').read_text())
    assert 0 <= found['metrics']['AR@1000'] <= 100
    assert found['counts'] == {}


@pytest.mark.slow
def test_one_cell_then_from_its_file(work, run):
    first, second = run(), run()
    assert first.returncode == 0, first.stderr
    assert '== fixed, seed 0' in first.stdout
    assert second.returncode == 0, second.stderr
    assert '== fixed' not in second.stdout
    found, = json.loads((work / 'out/table3.json').read_text())
    assert 0 <= found['metrics']['AR@1000'] <= 100
    assert set(found['counts']) == set(ablate.COUNTS)
    assert (work / 'out/table3.md').read_text().startswith('| row | AR@1000')
    other = run('--cfg-options', 'train_cfg.max_iters=5')
    assert other.returncode == 2
    assert 'choose another --out-dir' in other.stderr
