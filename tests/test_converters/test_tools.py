"""Each command of tools/dataset_converters/, from published files to use."""
import json
from pathlib import Path

import pytest
from mmengine.config import Config
from pycocotools.coco import COCO

from sohes.datasets.entity_dataset import EntityDataset
from tests.test_converters import published

ROOT = Path(__file__).resolve().parents[2]
#: Arguments after the input, the images' folder, images and annotations.
CASES = dict(
    coco=((), 'val2017', 2, 2),
    lvis=((), '', 2, 2),
    entityseg=((), 'images_lr', 1, 2),
    partimagenet=((), 'val', 1, 2),
    paco=((), '', 1, 3),
    sa1b=(('--pack', 'sa_000020'), '', 3, 6),
    ade20k=(('--levels', 'all'), '', 1, 5),
    bsds500=((), 'images/val', 1, 4))


@pytest.mark.parametrize('name', CASES)
def test_from_published_files_to_a_dataset(name, run_tool, tmp_path):
    more, images, count, masks = CASES[name]
    source = getattr(published, name)(tmp_path / 'data')
    out = tmp_path / 'out' / 'entities.json'
    subset = () if name in ('sa1b', 'entityseg') else ('--subset', )
    done = run_tool(f'tools/dataset_converters/{name}.py', source, '--out',
                    out, *subset, *more)
    assert done.returncode == 0, done.stderr
    assert f'{count} images' in done.stdout
    assert f'{masks} annotations' in done.stdout
    assert [path.name for path in out.parent.iterdir()] == ['entities.json']
    truth = json.loads(out.read_text())
    assert truth['categories'] == [dict(id=1, name='entity')]
    assert {row['category_id'] for row in truth['annotations']} == {1}
    assert all(row['id'] > 0 for row in truth['annotations'])
    assert all(COCO(out).annToMask(row).any()
               for row in truth['annotations'])
    dataset = EntityDataset(
        str(out), dict(img=str(tmp_path / 'data' / images)), test_mode=True,
        check_images='all')
    assert len(dataset) == count
    # As a prediction of itself it is perfect.
    done = run_tool('tools/analysis_tools/evaluate_masks.py', '--gt', out,
                    '--pred', out, '--out', tmp_path / 'metrics.json')
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['AR@1000'] == 100


@pytest.mark.parametrize('name', CASES)
def test_configuration_evaluates_what_the_command_in_it_writes(name):
    path = ROOT / f'configs/datasets/{name}.py'
    text = path.read_text()
    config = Config.fromfile(path)
    assert config.model.type == 'sohes.EntityMask2Former'
    dataset = config.test_dataloader.dataset
    assert dataset.type == 'sohes.EntityDataset'
    assert dataset.pipeline[0].type == 'sohes.LoadEntityImage'
    assert f'--out {dataset.data_root}{dataset.ann_file}\n' in text
    metrics = [metric.type for metric in config.test_evaluator]
    annotated = name in ('ade20k', 'paco')
    assert metrics == ['sohes.EntityMetric', 'sohes.ForestMetric'
                       ][:1 + annotated]
    for metric in config.test_evaluator:
        assert f'--out {metric.ann_file}\n' in text
