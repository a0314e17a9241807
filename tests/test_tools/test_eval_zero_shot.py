"""tools/eval_zero_shot.py, in this process: its imports take longest."""
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from sohes.apis import UsageError
from sohes.apis.run_config import read_config
from sohes.experiments import zero_shot
from sohes.experiments.tables import markdown, quoted_scores
from tests.processes import forked_workers, run_ranks
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities, shrunk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Three photos, their truth, and two of the four masks as results."""
    folder = make_entities(tmp_path_factory.mktemp('data') / 'entities', 3)
    rows = json.loads((folder / 'val.json').read_text())['annotations']
    (folder / 'some.json').write_text(json.dumps([
        {key: row[key] for key in ('image_id', 'segmentation', 'score')}
        for row in rows if row['id'] % 4 in (1, 0)]))
    return folder


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """The command; gives its exit code. --out-dir is tmp_path / 'out'."""
    spec = importlib.util.spec_from_file_location(
        'eval_zero_shot', ROOT / 'tools' / 'eval_zero_shot.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run_tool(*args: str) -> int:
        monkeypatch.setattr(sys, 'argv', [
            'eval_zero_shot.py', *map(str, args), '--out-dir',
            str(tmp_path / 'out')])
        return tool.main()
    return run_tool


def dataset(data: Path, name: str = 'coco') -> str:
    return f'--dataset={name}={data}/val.json:{data}/val'


def test_labels_and_another_method_beside_the_paper(run, data, tmp_path,
                                                    capsys):
    assert run(dataset(data), '--labels', data / 'labels.json',
               '--results-json', f'Half={data}/some.json',
               '--num-photos', '2') == 0
    found = json.loads((tmp_path / 'out' / 'table.json').read_text())
    rows = {row['method']: row for row in found['methods']}
    assert [row['quoted'] for row in rows.values()] == [True] * 5 + [False] * 2
    assert rows['SOHES']['masks'] == {'coco': {
        'AP': 2.1, 'AR_S': 19.8, 'AR_M': 31.0, 'AR_L': 48.8, 'AR@1000': 30.5}}
    perfect, half = rows['Phase 1 labels'], rows['Half']
    assert perfect['masks']['coco']['AR@1000'] == 100
    assert perfect['forests']['coco'] == dict(
        precision=100, recall=100, F1=100, parent_accuracy=100, pairs=9)
    # Two of four are perfect; nobody says who is part of whom.
    assert half['masks']['coco']['AR@1000'] == 50 and half['forests'] == {}
    text = (tmp_path / 'out' / 'table.md').read_text()
    assert text in capsys.readouterr().out
    assert '| SOHES (quoted)    |    30.5 |' in text
    assert '| Phase 1 labels    |   100.0 |' in text
    text = ' '.join(text.split())  # without the padding
    assert '| SOHES (quoted) | 2.1 | 19.8 | 31.0 | 48.8 | 30.5 | - |' in text
    assert '| Phase 1 labels | 100.0 | 100.0 |' in text
    picture = np.asarray(Image.open(tmp_path / 'out' / 'table.png'))
    assert picture.std() > 1
    grid = Image.open(tmp_path / 'out' / 'grid_coco.png')
    assert grid.width == 2 * 20 + 4 * 340 + 3 * 10  # four columns


def test_a_truth_of_its_own_for_the_forest(run, data, tmp_path):
    truth = json.loads((data / 'val.json').read_text())
    for row in truth['annotations'][:4]:  # nobody is part of another
        row['parent_id'] = None
    (tmp_path / 'forest.json').write_text(json.dumps(truth))
    assert run(f'{dataset(data)}:{tmp_path / "forest.json"}', '--labels',
               data / 'labels.json', '--num-photos', '0') == 0
    rows = json.loads((tmp_path / 'out' / 'table.json').read_text())
    assert rows['methods'][-1]['forests']['coco']['pairs'] == 6


def test_the_papers_table_1():
    names = ['coco', 'lvis', 'ade20k', 'entityseg', 'sa1b', 'partimagenet',
             'paco']
    rows = {row.method: [row.masks[name]['AR@1000'] for name in names]
            for row in quoted_scores(names)}
    assert rows == dict(
        SAM=[49.6, 46.1, 45.8, 45.9, 60.8, 28.3, 18.1],
        FreeSOLO=[11.6, 5.9, 7.3, 8.0, 2.2, 13.8, 2.4],
        CutLER=[28.1, 20.2, 26.3, 23.1, 17.0, 28.7, 8.9],
        HASSOD=[28.3, 22.5, 27.8, 26.2, 26.0, 32.6, 11.4],
        SOHES=[30.5, 29.1, 31.1, 33.5, 33.3, 36.0, 17.1])
    assert quoted_scores(['bsds500']) == []
    assert 'quoted' not in markdown([], ['bsds500'])


def test_a_dataset_of_configs_datasets(tmp_path):
    loader = dict(dataset=dict(data_root='data/x/', ann_file='val.json',
                               data_prefix=dict(img='val/')))
    metrics = [dict(type='sohes.EntityMetric', ann_file='data/x/val.json'),
               dict(type='sohes.ForestMetric', ann_file='data/x/all.json')]
    path = tmp_path / 'x.py'
    path.write_text(f'test_dataloader = {loader}\n'
                    f'test_evaluator = {metrics}\n')
    assert zero_shot.EvalDataset.from_config(path) == zero_shot.EvalDataset(
        'x', 'data/x/val.json', 'data/x/val/', True, 'data/x/all.json')
    path.write_text('model = dict()')
    with pytest.raises(UsageError, match='x.py: its test_dataloader'):
        zero_shot.EvalDataset.from_config(path)


def test_draws_of_the_images(run, data, tmp_path, monkeypatch):
    command = (dataset(data), '--results-json', f'Half={data}/some.json',
               '--labels', data / 'labels.json', '--num-photos', '0')
    assert run(*command) == 0
    path = tmp_path / 'out' / 'table.md'
    assert 'other draws' not in path.read_text()  # of three images
    monkeypatch.setattr(zero_shot, 'FEWEST_IMAGES', 3)
    assert run(*command) == 0
    text = ' '.join(path.read_text().split())
    assert '| minus Phase 1 labels |' in text
    assert '| 50.0 | 50.0 to 50.0 | -50.0 | -50.0 to -50.0 |' in text


def test_as_many_masks_as_the_first(run, data, tmp_path):
    """The best by score of the method that has more."""
    rows = json.loads((data / 'val.json').read_text())['annotations']
    results = [{key: row[key] for key in ('image_id', 'segmentation')}
               for row in rows]
    # A duplicate with the best score takes the place of a right mask.
    (data / 'all.json').write_text(json.dumps([
        dict(results[0], score=2), *(dict(row, score=1 - number / 100)
                                     for number, row in enumerate(results))]))
    assert run(dataset(data), '--results-json', f'Half={data}/some.json',
               '--results-json', f'All={data}/all.json',
               '--grid-images', '0') == 0
    table = json.loads((tmp_path / 'out' / 'table.json').read_text())
    masks = {row['method']: row['masks']['coco'] for row in table['methods']
             if not row['quoted']}
    assert list(masks) == ['Half', 'All', 'All, as many masks']
    half, whole, as_many = masks.values()
    assert as_many['masks/image'] == half['masks/image']
    assert as_many['AR@1000'] < half['AR@1000'] < whole['AR@1000'] == 100
    assert any(note.startswith('as many masks: ') for note in table['notes'])


def test_files_by_dataset(run, data, tmp_path, capsys):
    (tmp_path / 'x_a.json').write_text((data / 'some.json').read_text())
    datasets = dataset(data, 'a'), dataset(data, 'b')
    assert run(*datasets, '--num-photos', '0', '--results-json',
               f'X={tmp_path}/x_{{dataset}}.json') == 0
    text = (tmp_path / 'out' / 'table.md').read_text()
    assert '| X      | 50.0 | - |' in text.replace('|    - |', '| - |')
    capsys.readouterr()
    assert run(*datasets, '--labels', data / 'labels.json') == 2
    assert 'there are 2 datasets; write {dataset}' in capsys.readouterr().err


@pytest.mark.parametrize('args, message', [
    (['--datasets', 'nowhere'], '--datasets nowhere: there is no'),
    (['--dataset', 'a=b'], 'it must be NAME=GT_JSON:IMG_DIR'),
    (['--dataset', 'a=b:c:d:e'], 'it must be NAME=GT_JSON:IMG_DIR'),
    (['--dataset', 'a=b:c::'], 'it must be NAME=GT_JSON:IMG_DIR'),
    (['--dataset', 'a=DATA_FILE:.:c.json'], 'a: no ground truth c.json'),
    (['--dataset', 'a=b.json:c'], 'a: no ground truth b.json'),
    (['DATA', '--results-json', 'X'], 'X: it must be METHOD=FILE'),
    (['DATA', '--results-json', 'X=y.json'], 'X=y.json: no such file'),
    (['DATA', '--results-json', 'X=BROKEN'],
     "result 1 on image '0.png': the score must be a finite number"),
    (['DATA', 'DATA', '--labels', 'BROKEN'], 'two datasets are named coco'),
])
def test_a_mistake_is_one_sentence(run, data, tmp_path, capsys, args,
                                   message):
    rows = json.loads((data / 'some.json').read_text())
    rows[1]['score'] = float('nan')
    broken = tmp_path / 'broken.json'
    broken.write_text(json.dumps(rows))
    args = [dataset(data) if arg == 'DATA' else
            arg.replace('BROKEN', str(broken)).replace(
                'DATA_FILE', f'{data}/val.json') for arg in args]
    if '--labels' not in args and '--results-json' not in args:
        args += ['--labels', str(data / 'labels.json')]
    assert run(*args) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / 'out' / 'table.md').exists()


def test_phase_1_labels_the_photos_of_the_truth_alone(run, data, tmp_path,
                                                      capsys):
    photos = tmp_path / 'photos'
    photos.mkdir()
    for name in ('0.png', '1.png', '2.png'):
        (photos / name).symlink_to(data / 'val' / name)
    (photos / 'another.png').symlink_to(data / 'val' / '0.png')
    (tmp_path / 'phase1.py').write_text(
        'extractor = dict(weights="an option says", num_heads=4,\n'
        '                 feature="key", block=-1, center=True,'
        ' device="cpu")\n'
        'pseudo_labels = dict(image_size=256, thresholds=(.6, .3, 0., -.3),\n'
        '    local=None)\nworkers = 1\n')
    command = (f'--dataset=x={data}/val.json:{photos}', '--num-photos', '0',
               '--phase1', tmp_path / 'phase1.py', '--weights',
               save_tiny_vit(tmp_path / 'vit.pth'))
    with forked_workers():
        assert run(*command) == 0
    labels = json.loads((tmp_path / 'out/phase1/x.json').read_text())
    assert [row['file_name'] for row in labels['images']] == [
        '0.png', '1.png', '2.png']
    found, = json.loads((tmp_path / 'out/table.json').read_text())['methods']
    assert found['method'] == 'Phase 1'
    assert found['masks']['x']['masks/image'] > 0
    assert 'not in the ground truth' not in capsys.readouterr().out
    (photos / '1.png').unlink()
    assert run(*command) == 2
    assert 'x: no photo 1.png in ' in capsys.readouterr().err


@pytest.fixture
def model(data, tmp_path) -> tuple[Path, Path]:
    """A configuration and a checkpoint, never trained."""
    config = shrunk(read_config(
        str(ROOT / 'configs/tiny/sohes_phase2_tiny.py'),
        {'data_root': f'{data}/'}, str(tmp_path / 'work')))
    config.dump(tmp_path / 'tiny.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    # Made so sure of itself that it predicts something.
    model.panoptic_head.cls_embed.bias.data[:] = torch.tensor([3., 0.])
    torch.save(dict(state_dict=model.state_dict(), meta={}),
               tmp_path / 'tiny.pth')
    return tmp_path / 'tiny.py', tmp_path / 'tiny.pth'


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(),
                    reason='with a GPU each process wants one')
def test_two_processes_give_the_table_of_one(run, model, data, tmp_path):
    # Three photos: one process has two of them, the other one twice.
    command = [*map(str, model), dataset(data, 'a'), dataset(data, 'b'),
               '--num-photos', '0']
    assert run(*command) == 0
    ranks = run_ranks(2, 'tools/eval_zero_shot.py', *command, '--out-dir',
                      tmp_path / 'two')
    for done in ranks:
        assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name / 'table.json').read_text())
                for name in ('out', 'two'))
    assert one == two
    assert one['methods'][0]['masks']['b']['masks/image'] > 0
    printed = ''.join(done.stdout for done in ranks)
    assert printed.count('table.md, table.json') == 1


def test_a_checkpoint_is_run_once(run, model, data, tmp_path, monkeypatch):
    command = (*model, dataset(data, 'val'), '--num-photos', '0')
    checkpoint = model[1]
    assert run(*command) == 0
    out = tmp_path / 'out'
    first = json.loads((out / 'table.json').read_text())['methods'][0]
    assert first['method'] == 'ours'
    assert first['masks']['val']['masks/image'] > 0
    assert first['forests']['val']['pairs'] == 9
    rows = json.loads((out / 'predictions' / 'val.json').read_text())
    assert rows[0]['id'] == 1 and 'parent_id' in rows[0]

    def refuse(*args, **options):
        raise UsageError('run again')
    monkeypatch.setattr(zero_shot, 'test_model', refuse)
    assert run(*command) == 0
    assert json.loads((out / 'table.json').read_text())['methods'][0] == first
    # Another checkpoint is run, and so are predictions that went.
    before = checkpoint.read_bytes()
    other = dict(torch.load(checkpoint), meta=dict(other=1))
    torch.save(other, checkpoint)
    assert run(*command) == 2
    checkpoint.write_bytes(before)
    assert run(*command) == 0
    (out / 'predictions' / 'val.json').unlink()
    assert run(*command) == 2
