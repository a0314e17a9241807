"""Labels as a report and as pictures."""
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from sohes.utils.names import name_fault


def _rle(left: int, right: int) -> dict:
    mask = np.zeros((12, 16), np.uint8, order='F')
    mask[2:10, left:right] = 1
    rle = coco_mask.encode(mask)
    return dict(size=rle['size'], counts=rle['counts'].decode())


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Of two photos: the first has a whole, its half and a crowd region."""
    photos = tmp_path / 'photos'
    (photos / 'sub').mkdir(parents=True)
    names = ['sub/a.png', 'b.png']
    for name in names:
        Image.new('RGB', (16, 12), 'teal').save(photos / name)
    rows = [(0, 10, None, 0), (0, 5, 1, 0), (0, 16, None, 1)]
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=k, file_name=name, height=12, width=16)
                for k, name in enumerate(names, 1)],
        annotations=[
            dict(id=k, image_id=1, category_id=1, iscrowd=crowd, area=1,
                 bbox=[0, 0, 1, 1], score=.5, parent_id=parent,
                 segmentation=_rle(left, right))
            for k, (left, right, parent, crowd) in enumerate(rows, 1)],
        categories=[dict(id=1, name='entity')])))
    return path


@pytest.fixture
def browse(repo_root: Path, labels: Path,
           monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The tool's main, in this process, on the labels."""
    path = repo_root / 'tools' / 'analysis_tools' / 'browse_pseudo_labels.py'

    def run(*args: object) -> int:
        monkeypatch.setattr(sys, 'argv', [
            str(path), str(labels), '--img-dir', str(labels.parent / 'photos'),
            *map(str, args)])
        return runpy.run_path(str(path))['main']()

    return run


def records(report: Path) -> list[dict]:
    """What the photos' scripts hand to ``Sohes.photo``."""
    found = []
    for number, path in enumerate(sorted((report / 'data').rglob('*.js'))):
        text = path.read_text()
        start = f'Sohes.photo({number}, '
        assert text.startswith(start) and text.endswith(');\n')
        found.append(json.loads(text[len(start):-3]))
    return found


def test_report_of_a_folder(browse, tmp_path, capsys):
    report = tmp_path / 'report'
    assert browse('--html', report) == 0
    assert str(report / 'index.html') in capsys.readouterr().out
    first, second = records(report)
    assert (first['name'], first['width'], first['height']) == (
        'sub/a.png', 16, 12)
    assert (first['ids'], first['parents']) == ([1, 2], [-1, 0])
    assert first['counts'] == [_rle(0, 10)['counts'], _rle(0, 5)['counts']]
    assert second['counts'] == []
    assert Image.open(report / first['image']).size == (16, 12)
    page = (report / 'index.html').read_text()
    assert '://' not in page
    for line in page.splitlines():
        if 'src=' in line:
            assert (report / line.split('"')[1]).is_file(), line


def test_a_report_is_replaced_only_when_told(browse, tmp_path, capsys):
    report = tmp_path / 'report'
    assert browse('--html', report, '--num-photos', 1, '--quiet') == 0
    assert capsys.readouterr() == ('', '')
    assert browse('--html', report) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert len(records(report)) == 1
    assert browse('--html', report, '--overwrite') == 0
    assert len(records(report)) == 2
    # What is no report is never replaced.
    assert browse('--html', tmp_path / 'photos', '--overwrite') == 2
    assert (tmp_path / 'photos' / 'b.png').is_file()


def test_a_missing_photo_is_named_and_the_rest_shown(browse, tmp_path,
                                                     capsys):
    (tmp_path / 'photos' / 'b.png').unlink()
    assert browse('--html', tmp_path / 'report') == 1
    assert 'b.png' in capsys.readouterr().err
    assert len(records(tmp_path / 'report')) == 1


def test_photos_of_another_size_are_named(browse, tmp_path, capsys):
    Image.new('RGB', (12, 16)).save(tmp_path / 'photos' / 'sub' / 'a.png')
    assert browse('--html', tmp_path / 'report') == 1
    assert '12 x 16 pixels, its masks are 16 x 12' in capsys.readouterr().err


def test_the_wrong_folder_is_one_sentence(browse, tmp_path, capsys):
    assert browse('--html', tmp_path / 'report', '--img-dir', tmp_path) == 2
    error = capsys.readouterr().err
    assert 'sub/a.png' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'report').exists()


def test_an_interrupted_report_leaves_nothing(browse, tmp_path, monkeypatch,
                                              capsys):
    from sohes.visualization.viewer import ReportWriter
    before = set(tmp_path.iterdir())

    def interrupt(writer: ReportWriter, photo: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReportWriter, 'add', interrupt)
    assert browse('--html', tmp_path / 'report', '--quiet') == 130
    assert capsys.readouterr().err == 'stopped; no report was written\n'
    left = {path.name for path in set(tmp_path.iterdir()) - before}
    assert left <= {'labels.json.index', 'labels.json.index.lock'}


def test_pictures_into_a_folder(browse, tmp_path):
    out = tmp_path / 'pictures'
    assert browse('--out-dir', out, '--not-show') == 0
    assert {path.relative_to(out).as_posix() for path in out.rglob('*.jpg')
            } == {'sub/a.png.forest.jpg', 'b.png.forest.jpg'}


@pytest.mark.parametrize('other', ['B.PNG', './b.png', 'b.png', 'sub//A.png'])
def test_two_photos_that_are_one_file(browse, labels, tmp_path, capsys,
                                      other):
    data = json.loads(labels.read_text())
    data['images'].append(dict(data['images'][1], id=3, file_name=other))
    labels.write_text(json.dumps(data))
    out = tmp_path / 'pictures'
    assert browse('--out-dir', out, '--not-show') == 2
    error = capsys.readouterr().err
    assert 'are one file on systems that fold case or accents' in error
    assert repr(other) in error and not out.exists()


def test_windows_need_a_screen(browse, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    assert browse() == 2
    assert 'no screen' in capsys.readouterr().err


def test_windows_stay_as_long_as_told(browse, monkeypatch):
    from sohes.visualization.forest_visualizer import ForestVisualizer
    shown = []
    monkeypatch.setenv('DISPLAY', ':0')
    monkeypatch.setattr(
        ForestVisualizer, 'show', lambda *args, **kwargs: shown.append(
            SimpleNamespace(**kwargs)))
    assert browse('--show-interval', 3, '--quiet') == 0
    assert [(item.win_name, item.wait_time) for item in shown] == [
        ('sub/a.png', 3), ('b.png', 3)]


@pytest.mark.parametrize('old', [b'"b.png"', b'"sub/a.png"'])
@pytest.mark.parametrize('new', [
    b'"\\udcff.png"', b'"\\ude00\\ud83d.png"',
    b'"\xff\xfe.png"', b'"\xed\xa0\x80.png"', b'"\xc3"'])
def test_names_that_are_no_text_are_refused(browse, labels, tmp_path, capsys,
                                            old, new):
    labels.write_bytes(labels.read_bytes().replace(old, new))
    for args in (('--html', tmp_path / 'report'),
                 ('--not-show', '--output-dir', tmp_path / 'pictures')):
        assert browse(*args) == 2
        said = capsys.readouterr().err
        assert str(labels) in said and said.count('\n') == 1, said
    assert not (tmp_path / 'report').exists()


def test_half_of_a_pair_of_surrogates_ends_in_a_sentence(
        browse, labels, tmp_path, capsys):
    # Some readers of json put a question mark in its place.
    labels.write_bytes(labels.read_bytes().replace(
        b'"b.png"', b'"\\ud800.png"'))
    code = browse('--html', tmp_path / 'report')
    said = capsys.readouterr().err
    assert code in (1, 2) and '.png' in said and 'Traceback' not in said
    # Python's own reader keeps it.
    assert 'half of a character' in name_fault('\ud800.png')


def test_a_name_of_a_pair_of_surrogates_is_a_name(browse, labels, tmp_path):
    (tmp_path / 'photos/b.png').rename(tmp_path / 'photos/\U0001f600.png')
    labels.write_bytes(labels.read_bytes().replace(
        b'"b.png"', b'"\\ud83d\\ude00.png"'))
    assert browse('--html', tmp_path / 'report') == 0
    assert records(tmp_path / 'report')[1]['name'] == '\U0001f600.png'


def test_masks_that_would_take_all_memory_are_not_drawn(browse, labels,
                                                        tmp_path, capsys):
    content = json.loads(labels.read_text())
    side = 9400
    whole = coco_mask.frPyObjects(
        dict(size=[side, side], counts=[0, side * side]), side, side)
    content['images'][0].update(height=side, width=side)
    content['annotations'] = [
        dict(id=k, image_id=1, category_id=1, iscrowd=0, area=side * side,
             bbox=[0, 0, side, side], parent_id=None,
             segmentation=dict(size=[side, side],
                               counts=whole['counts'].decode()))
        for k in range(1, 5001)]
    labels.write_text(json.dumps(content))
    assert browse('--not-show', '--output-dir', tmp_path / 'pictures') == 1
    said = capsys.readouterr().err
    assert 'sub/a.png: its 5000 masks of 9400 x 9400 pixels take' in said
    assert (tmp_path / 'pictures/b.png.forest.jpg').is_file()
    # Without parents they would be compared before anything is drawn.
    for row in content['annotations']:
        del row['parent_id']
    labels.write_text(json.dumps(content))
    for args in (('--html', tmp_path / 'report'),
                 ('--not-show', '--output-dir', tmp_path / 'pictures')):
        assert browse(*args) == 2
        said = capsys.readouterr().err
        assert f'{labels}: image 1 has no parent_id' in said
        assert 'its 5000 masks of 9400 x 9400 pixels take 55272000000 b' in (
            said)
