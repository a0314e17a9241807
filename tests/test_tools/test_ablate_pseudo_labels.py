"""The tables of Phase 1's ablations, and the work that their rows share."""
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sohes.experiments.ablations import (
    CoverChange,
    PhotoLabeller,
    SharedFeatures,
    step_rows,
    theta_small_rows,
)
from sohes.experiments.tables import ablation_tables, markdown_table
from sohes.pseudo_labels.options import ExploreOptions, LocalOptions
from sohes.pseudo_labels.pipeline import explore
from sohes.structures import EntityForest
from sohes.structures.rles import encode_mask
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities


def _extract(images: list, size: int) -> np.ndarray:
    """Mean colours of 8 x 8 cells: (B, 8, 8, 3)."""
    cells = [np.array_split(image.astype(np.float32), 8) for image in images]
    return np.stack([
        np.stack([[part.mean((0, 1)) for part in np.array_split(row, 8, 1)]
                  for row in rows]) for rows in cells
    ]) - 100


OPTIONS = ExploreOptions(
    image_size=64, thresholds=(0.9, 0.5), min_patches=1,
    local=LocalOptions(max_area=1 / 8, image_size=64, min_patches=1))


def test_shared_work_gives_what_each_row_gives_alone(rng):
    image = rng.integers(0, 256, (48, 64, 3), np.uint8)
    calls = []

    def extractor(images, size):
        calls.extend(images)
        return _extract(images, size)

    labeller = PhotoLabeller(image, SharedFeatures(extractor))
    rows = [row for row in step_rows(OPTIONS) + theta_small_rows(OPTIONS)
            if not row.not_run]
    for row in rows:
        found, seconds = labeller.label(row.options)
        wanted = explore(image, _extract, row.options)
        assert found.rles == wanted.rles
        assert np.array_equal(found.scores, wanted.scores)
        assert (seconds > 0).all()
    assert len(calls) == len({each.tobytes() for each in calls})


def test_rows_that_share_proposals_keep_their_own_seconds(rng):
    image = rng.integers(0, 256, (48, 64, 3), np.uint8)
    labeller = PhotoLabeller(image, SharedFeatures(_extract))
    _, seconds = labeller.label(OPTIONS)
    before = seconds.copy()
    labeller.label(replace(OPTIONS, coverage=0.5))
    np.testing.assert_array_equal(labeller.label(OPTIONS)[1], before)


def test_a_shared_feature_is_charged_each_time(rng):
    image = rng.integers(0, 256, (8, 8, 3), np.uint8)
    features = SharedFeatures(_extract)
    features([image], 8)
    once = features.charged
    features([image, image], 8)
    np.testing.assert_allclose(features.charged, 3 * once)
    features.forget()
    features([image], 8)
    assert not np.allclose(features.charged, 4 * once)


def test_table_6b_counted_by_hand():
    masks = np.zeros((3, 10, 10), bool)
    masks[0] = True  # the whole
    masks[1, :5] = True  # its half, and 84 % of the rest of it
    masks[2, :5] = True
    masks[2, 4, 2:] = False
    masks[2, 6, :8] = True  # 42 of 50 pixels in the half
    change = CoverChange()
    change.add([encode_mask(mask) for mask in masks])
    rows = {row['theta_cover']: row for row in change.results()}
    # at 0.9 both hang from the whole; at 0.8 neither is in the other, for
    # 42 / 50 of each lies in the other
    assert rows['0.9'] == {
        'theta_cover': '0.9', 'more pairs %': 0, 'without sign %': 0,
        'other parent %': 0, 'pairs changed %': 0}
    assert list(rows['0.9'])[1:3] == ['more pairs %', 'without sign %']
    assert rows['0.8']['other parent %'] == 0
    masks[1, 5] = True  # 60 pixels: 42 / 50 of one, 42 / 60 of the other
    change = CoverChange()
    change.add([encode_mask(mask) for mask in masks])
    rows = {row['theta_cover']: row for row in change.results()}
    assert rows['0.8']['other parent %'] == pytest.approx(100 / 3)
    assert rows['0.8']['pairs changed %'] == pytest.approx(50)
    assert rows['0.8']['more pairs %'] == pytest.approx(50)
    # A photo whose three masks are disjoint at 1, and a pair at 0.9: the
    # signs of the photos cancel in one column and not in the other.
    part, whole = np.zeros((2, 10, 10), bool)
    part[0], whole[0, 1:], whole[1:3] = True, True, True
    change.add([encode_mask(mask) for mask in (part, whole)])
    assert change.pairs == 3 and change.masks == 5
    rows = {row['theta_cover']: row for row in change.results()}
    # Of the first photo both pairs hold at 1, of the second none.
    assert rows['1']['more pairs %'] == pytest.approx(-100 / 3)
    assert rows['1']['without sign %'] == pytest.approx(100 / 3)


def test_pairs_are_those_of_the_test_not_of_the_trees():
    # Three generations of which the eldest holds eight tenths of the last.
    masks = np.zeros((3, 1, 40), bool)
    masks[0, 0, :30] = True
    masks[1, 0, 1:20] = masks[1, 0, 31] = True
    masks[2, 0, 12:20] = masks[2, 0, [31, 35]] = True
    change = CoverChange()
    change.add([encode_mask(mask) for mask in masks])
    forest = EntityForest.from_masks(masks)
    assert forest.parents.tolist() == [-1, 0, 1]
    assert change.pairs == 2


def test_rows_are_not_cut_by_score(run, tmp_path):
    # One mask is what the configuration would keep.
    assert run('--tables', 'theta_small', '--cfg-options',
               'pseudo_labels.max_masks=1') == 0
    rows = json.loads((tmp_path / 'out/ablations.json').read_text())
    assert all(row['masks/image'] > 1 for row in rows['theta_small'])


def test_a_row_that_was_not_run_says_why():
    text = markdown_table([dict(step='1', x=0.25),
                           dict(step='3', not_run='no file. Get one')])
    assert text.splitlines()[2:] == ['| 1 | 0.2 |', '| 3 | not run: no file |']


@pytest.fixture
def run(repo_root, monkeypatch, tmp_path):
    """The tool's main in this process, on two drawn photos."""
    data = make_entities(tmp_path / 'data', images=2)
    save_tiny_vit(tmp_path / 'vit.pth')
    (tmp_path / 'tiny.py').write_text(
        f'extractor = dict(weights={str(tmp_path / "vit.pth")!r},\n'
        '    feature="key", block=-1, center=True, device="cpu")\n'
        'pseudo_labels = dict(image_size=128, thresholds=(.6, .3),\n'
        '    local=dict(max_area=1/16, image_size=64, max_crops=2),\n'
        '    refiner=None)\n')
    path = repo_root / 'tools/analysis_tools/ablate_pseudo_labels.py'

    def main(*options: str, gt: Path = data / 'val.json') -> int:
        monkeypatch.setattr(sys, 'argv', [
            str(path), str(tmp_path / 'tiny.py'), '--img-dir',
            str(data / 'images'), '--gt', str(gt), '--out-dir',
            str(tmp_path / 'out'), *options])
        return runpy.run_path(str(path))['main']()

    return main


def test_the_command(run, tmp_path):
    assert run('--tables', 'theta_small', 'theta_cover', 'weights',
               '--image-sizes', '64', '128') == 0
    found = json.loads((tmp_path / 'out/ablations.json').read_text())
    assert [row['theta_small'] for row in found['theta_small']] == [
        '0 (no step 2)', '1/2,048', '1/1,024', '1/512', '1/16']
    assert [(row['image size'], row['patch'], row['trained at'], row['step'])
            for row in found['weights']] == [
        (size, '16', '64', step) for size in ('64', '128')
        for step in '123']
    assert len(found['theta_cover']) == 7
    assert '2 photos of val.json' in found['info']['tables']['weights']
    text = (tmp_path / 'out/ablations.md').read_text()
    assert text.count('Quoted from the paper') == 3
    assert all(f'## {ablation_tables()[name][0]}' in text
               for name in found['info']['tables'])


def test_bad_input_is_one_sentence(run, tmp_path, capsys):
    content = json.loads((tmp_path / 'data/val.json').read_text())
    content['images'][1]['height'] += 1
    content['annotations'] = [
        row for row in content['annotations']
        if row['image_id'] != content['images'][1]['id']]
    (tmp_path / 'other.json').write_text(json.dumps(content))
    assert run(gt=tmp_path / 'other.json') == 2
    error = capsys.readouterr().err
    assert '1.png is 80 x 64 pixels, in' in error and '80 x 65' in error
    assert run('--weights', 'no.pth') == 2
    assert 'no.pth' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
