"""Two configurations of Phase 1 on the same photos, in one table."""
import json

import pytest

from sohes.evaluation.coco_files import read_ground_truth
from sohes.evaluation.forest_pairs import (
    annotated_entities,
    compare_forests,
)
from tests.in_process import run_tool
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities

TOOL = 'tools/analysis_tools/compare_labels.py'
CONFIGS = {
    'ours': 'image_size=128, thresholds=(.6, .3), local=None, refiner=None',
    'theirs': 'type="hassod", image_size=128, thresholds=(.6, .3, 0.), '
              'refiner=None, min_area=1',
}


@pytest.fixture
def work(tmp_path):
    """Weights, a configuration of each kind, drawn photos with a forest."""
    save_tiny_vit(tmp_path / 'vit.pth')
    for name, values in CONFIGS.items():
        (tmp_path / f'{name}.py').write_text(
            'extractor = dict(weights="none.pth", feature="key", block=-1,\n'
            '    center=True, device="cpu")\n'
            f'pseudo_labels = dict({values})\nworkers = 0\n')
    make_entities(tmp_path / 'data', images=3)
    return tmp_path


def test_a_row_for_each_configuration_and_dataset(work):
    data = work / 'data'
    done = run_tool(
        TOOL, work / 'ours.py', work / 'theirs.py', '--weights',
        work / 'vit.pth', '--data', 'drawn', data / 'val.json',
        data / 'images', '--data', 'again', data / 'val.json',
        data / 'images', '--num-photos', '2', '--out-dir', work / 'out')
    assert done.returncode == 0, done.stderr
    rows = json.loads((work / 'out/labels.json').read_text())['rows']
    assert [(row['data'], row['labels'], row['photos']) for row in rows] == [
        ('drawn', 'ours', '2'), ('drawn', 'theirs', '2'),
        ('again', 'ours', '2'), ('again', 'theirs', '2')]
    assert list(rows[0]) == ['data', 'labels', 'photos', 'masks/image',
                             'AR_S', 'AR_M', 'AR_L', 'AR@1000', 'AP',
                             'forest F1', 'CPU s/image']
    for row in rows:
        assert row['masks/image'] > 1 and row['CPU s/image'] > 0
    # The same photos: all but the seconds is the same.
    for one, other in zip(rows[:2], rows[2:]):
        assert list(one.values())[3:-1] == list(other.values())[3:-1]
    assert '| drawn | ours | 2 |' in (work / 'out/labels.md').read_text()


def test_the_figures_are_those_of_the_json_that_the_tools_write(work):
    """Labels by generate_pseudo_labels.py, counted apart: the same."""
    data = work / 'data'
    done = run_tool(
        TOOL, work / 'theirs.py', '--weights', work / 'vit.pth', '--data',
        'drawn', data / 'val.json', data / 'images', '--out-dir',
        work / 'out')
    assert done.returncode == 0, done.stderr
    row, = json.loads((work / 'out/labels.json').read_text())['rows']
    truth = read_ground_truth(data / 'val.json')
    done = run_tool('tools/generate_pseudo_labels.py', work / 'theirs.py',
                    '--weights', work / 'vit.pth', '--img-dir',
                    data / 'images', '--out', work / 'labels.json')
    assert done.returncode == 0, done.stderr
    found = {each['file_name']: each for each in read_ground_truth(
        work / 'labels.json').values()}
    counts, masks = None, 0
    for photo in truth.values():
        labels = annotated_entities(found[photo['file_name']], 'labels.json')
        each = compare_forests(labels, annotated_entities(photo, 'val.json'))
        counts = each if counts is None else counts + each
        masks += len(labels)
    assert row['masks/image'] == pytest.approx(masks / len(truth))
    assert row['forest F1'] == pytest.approx(counts.percentages()['F1'],
                                             nan_ok=True)


def test_bad_input_is_one_sentence(work):
    data = work / 'data'
    done = run_tool(TOOL, work / 'ours.py', '--weights', 'gone.pth',
                    '--data', 'drawn', data / 'val.json', data / 'images',
                    '--out-dir', work / 'out')
    assert done.returncode == 2
    assert done.stderr.startswith('error: ') and 'gone.pth' in done.stderr
    assert not (work / 'out').exists()
