"""The command as a person types it, killed, resumed, and given bad input."""
import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests import processes
from tests.test_tools.tiny_vit import save_tiny_vit

TOOL = 'tools/generate_pseudo_labels.py'


def _blobs(seed: int, height: int, width: int) -> np.ndarray:
    """A few coloured rectangles on a coloured ground."""
    rng = np.random.default_rng(seed)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.integers(0, 256, 3)
    for _ in range(4):
        top, left = rng.integers(0, height), rng.integers(0, width)
        image[top:top + height // 2, left:left + width // 3] = rng.integers(
            0, 256, 3)
    return image


@pytest.fixture(scope='module')
def work(tmp_path_factory) -> Path:
    """A folder with weights, a configuration and photos of many kinds."""
    root = tmp_path_factory.mktemp('run')
    save_tiny_vit(root / 'vit.pth')
    (root / 'tiny.py').write_text(
        f'extractor = dict(weights={str(root / "vit.pth")!r}, num_heads=4,\n'
        '                 feature="key", block=-1, center=True,'
        ' device="cpu")\n'
        'pseudo_labels = dict(image_size=256, thresholds=(.6, .3, 0., -.3),\n'
        '    local=dict(max_area=1/16, image_size=128, max_crops=4),\n'
        '    refiner=dict(type="localcrf"))\n'
        'shard_size = 2\nworkers = 0\n')
    photos = root / 'photos'
    (photos / 'sub folder').mkdir(parents=True)
    for k in range(5):
        Image.fromarray(_blobs(k, 60 + 10 * k, 90)).save(
            photos / f'{k}.png')
    Image.fromarray(_blobs(7, 70, 50)).save(
        photos / 'sub folder' / 'grün 1.jpg')
    Image.fromarray(_blobs(8, 64, 64)).convert('L').save(photos / 'g.png')
    Image.fromarray(_blobs(9, 1, 1)).save(photos / 'one.png')
    return root


def _words(work: Path, out: Path, *options: str,
           photos: str = 'photos') -> list[str]:
    return [TOOL, str(work / 'tiny.py'), '--img-dir', str(work / photos),
            '--out', str(out), *options]


def _start(work: Path, out: Path, *options: str) -> processes.Started:
    """The command as a process, to be killed."""
    return processes.Started(*_words(work, out, *options))


@pytest.fixture(scope='module')
def labels(work, run_tool) -> Path:
    """The json of an undisturbed run."""
    done = run_tool(*_words(work, work / 'labels.json', '--show-dir',
                            str(work / 'show')))
    assert done.returncode == 0, done.stderr
    assert '8 images, ' in done.stderr
    *_, seconds = done.stderr.strip().splitlines()
    assert re.fullmatch(r'seconds: ViT [\d.]+, clustering [\d.]+, refinement '
                        r'and hierarchy [\d.]+, pictures [\d.]+ .*', seconds)
    return work / 'labels.json'


def test_json_is_coco_as_pycocotools_reads_it(labels, work):
    coco = COCO(str(labels))
    assert [i['file_name'] for i in coco.dataset['images']] == [
        '0.png', '1.png', '2.png', '3.png', '4.png', 'g.png', 'one.png',
        'sub folder/grün 1.jpg']
    assert coco.dataset['categories'][0]['name'] == 'entity'
    assert len(coco.anns) > 20
    for annotation in coco.anns.values():
        image = coco.imgs[annotation['image_id']]
        rle = annotation['segmentation']
        assert rle['size'] == [image['height'], image['width']]
        assert coco_mask.area(rle) == annotation['area'] > 0
        assert coco_mask.toBbox(rle).tolist() == annotation['bbox']
        assert annotation['category_id'] == 1 and not annotation['iscrowd']
        parent = annotation['parent_id']
        if parent is not None:
            assert coco.anns[parent]['image_id'] == annotation['image_id']
            assert coco.anns[parent]['area'] > annotation['area']
            assert parent in annotation['ancestor_ids']
    info = coco.dataset['info']
    assert info['counts']['images'] == 8 and info['failed'] == []
    assert len(info['weights']['sha256']) == 64
    assert info['pseudo_labels']['thresholds'] == [.6, .3, 0., -.3]
    assert not (work / 'labels.json.parts').exists()


def test_pictures_are_drawn(labels, work):
    pictures = sorted(p.relative_to(work / 'show').as_posix()
                      for p in (work / 'show').rglob('*.jpg'))
    assert 'sub folder/grün 1.jpg.forest.jpg' in pictures
    assert len(pictures) == 8


def test_complete_output_is_left_alone(labels, work, run_tool):
    before = labels.stat().st_mtime_ns
    done = run_tool(*_words(work, labels))
    assert done.returncode == 0 and 'complete already' in done.stderr
    assert labels.stat().st_mtime_ns == before


def test_other_settings_do_not_overwrite(labels, work, run_tool):
    done = run_tool(*_words(work, labels, '--cfg-options',
                         'pseudo_labels.coverage=0.8'))
    assert done.returncode == 2
    assert 'pseudo_labels.coverage: found 0.9, now 0.8' in done.stderr
    assert 'Traceback' not in done.stderr


def test_other_photos_do_not_count_as_labelled(labels, work, run_tool,
                                               tmp_path):
    before = labels.read_bytes()
    Image.new('RGB', (64, 64)).save(tmp_path / 'new.png')
    done = run_tool(*_words(work, labels, '--img-dir', str(tmp_path)))
    assert done.returncode == 2
    assert 'exists and was made of other images, such as' in done.stderr
    assert labels.read_bytes() == before


def _wait(parts: Path, shards: int, started: processes.Started) -> None:
    """Until the folder has so many shards."""
    deadline = time.monotonic() + 240
    while len(list(parts.glob('shard-*'))) < shards or not parts.exists():
        assert started.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_before_the_first_shard_it_starts_anew(
        labels, work, run_tool, tmp_path):
    out = tmp_path / 'labels.json'
    started = _start(work, out)
    _wait(tmp_path / 'labels.json.parts', 0, started)
    assert started.kill().returncode == -signal.SIGKILL
    assert not out.exists()
    done = run_tool(*_words(work, out))
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == labels.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(),
                    reason='looks for child processes under /proc')
def test_killed_alone_it_leaves_no_worker_and_continues_to_the_same_bytes(
        labels, work, run_tool, tmp_path):
    out = tmp_path / 'labels.json'
    started = _start(work, out, '--cfg-options', 'workers=1')
    _wait(tmp_path / 'labels.json.parts', 2, started)
    pid = started.process.pid
    listed = Path(f'/proc/{pid}/task/{pid}/children')
    children = [Path('/proc', pid) for pid in listed.read_text().split()]
    assert children
    assert started.kill().returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while any(child.exists() for child in children):
        assert time.monotonic() < deadline, children
        time.sleep(0.01)
    assert not out.exists()
    done = run_tool(*_words(work, out))
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == labels.read_bytes()


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(labels, work, tmp_path):
    out = tmp_path / 'labels.json'
    ranks = processes.run_ranks(
        2, *_words(work, out, '--cfg-options', 'workers=1'))
    for done in ranks:
        assert done.returncode == 0, done.stderr
    assert out.read_bytes() == labels.read_bytes()
    # One of them talks, of its own share.
    assert '4 of 4 images (this process, 1 of 2)' in ranks[0].stderr
    assert ' images' not in ranks[1].stderr


def test_unfinished_run_of_other_settings_is_refused(
        work, run_tool, tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    (photos / 'broken.jpg').write_bytes(b'no image at all')
    out = tmp_path / 'labels.json'
    stopped = run_tool(*_words(work, out, '--strict', photos=str(photos)))
    assert stopped.returncode == 2
    assert (tmp_path / 'labels.json.parts/run.json').exists()
    done = run_tool(*_words(work, out, '--cfg-options',
                            'pseudo_labels.nms_iou=0.8', photos=str(photos)))
    assert done.returncode == 2
    assert 'pseudo_labels.nms_iou: found 0.9, now 0.8' in done.stderr


def test_broken_image_is_reported_and_the_run_goes_on(work, run_tool,
                                                      tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    Image.fromarray(_blobs(1, 64, 64)).save(photos / 'good.png')
    (photos / 'broken.jpg').write_bytes(b'no image at all')
    out = tmp_path / 'labels.json'
    done = run_tool(*_words(work, out, photos=str(photos)))
    assert done.returncode == 1
    assert 'broken.jpg' in done.stderr and 'Traceback' not in done.stderr
    data = json.loads(out.read_text())
    assert [i['file_name'] for i in data['images']] == ['good.png']
    assert data['info']['failed'][0]['file_name'] == 'broken.jpg'
    strict = run_tool(*_words(work, tmp_path / 'b.json', '--strict',
                           photos=str(photos)))
    assert strict.returncode == 2 and 'broken.jpg' in strict.stderr
    assert not (tmp_path / 'b.json').exists()


@pytest.mark.parametrize('options, text', [
    (['--cfg-options', 'pseudo_labels.tresholds=1'], "'tresholds'"),
    (['--cfg-options', 'pseudo_labels.coverage=2'], r'[0, 1], found 2'),
    (['--cfg-options', 'extractor.weigths=1'], 'weigths'),
    (['--weights', 'no/such/file.pth'], 'no/such/file.pth'),
    (['--launcher', 'slurm'], 'SLURM_PROCID'),
])
def test_mistakes_get_one_sentence(work, run_tool, tmp_path, options, text):
    done = run_tool(*_words(work, tmp_path / 'labels.json', *options))
    assert done.returncode == 2
    assert text in done.stderr and 'Traceback' not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_missing_folder_gets_one_sentence(work, run_tool, tmp_path):
    done = run_tool(*_words(work, tmp_path / 'labels.json', photos='nowhere'))
    assert done.returncode == 2 and 'nowhere' in done.stderr
    assert 'Traceback' not in done.stderr


def test_each_row_of_table_2_is_one_command(work, run_tool, tmp_path):
    """Steps on and off: fewer steps, other masks, the same images."""
    counts = []
    for k, options in enumerate((
            ['pseudo_labels.local=None', 'pseudo_labels.thresholds=(0.3,)'],
            ['pseudo_labels.local=None'],
            ['pseudo_labels.refiner.type=densecrf'])):
        out = tmp_path / f'{k}.json'
        done = run_tool(*_words(work, out, '--cfg-options', *options))
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(out.read_text())['info']['counts'])
    assert counts[0]['annotations'] < counts[1]['annotations']
    assert 'crops' not in counts[1] and counts[2]['crops'] > 0


def test_calibrate_prints_thresholds_within_the_budget(work, run_tool,
                                                       tmp_path):
    done = run_tool(
        'tools/analysis_tools/calibrate_thresholds.py', work / 'tiny.py',
        '--img-dir', work / 'photos', '--num-photos', 3, '--budget', 20,
        '--lowest', -0.4, '--step', 0.1, '--picture', tmp_path / 'curve.png',
        '--out', tmp_path / 'curve.json')
    assert done.returncode == 0, done.stderr
    curve = json.loads((tmp_path / 'curve.json').read_text())
    chosen = curve['chosen']
    assert chosen == sorted(chosen, reverse=True)
    place = curve['thresholds'].index(chosen[0])
    assert curve['mixed'][place] <= 20
    assert all(count > 20 for count in curve['mixed'][place + 1:])
    assert f'thresholds={tuple(chosen)}' in done.stdout
    assert Image.open(tmp_path / 'curve.png').size[0] > 500
