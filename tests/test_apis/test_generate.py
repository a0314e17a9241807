"""Whose labels: of which folder and which photos, finished or not."""
import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sohes.apis.command import run_command
from sohes.apis.generate import (
    UsageError,
    generate,
    phase1_config,
    read_config,
)
from sohes.pseudo_labels.shards import ShardFolder
from sohes.utils.locks import sole_run
from tests import processes
from tests.test_tools.tiny_vit import save_tiny_vit


def save_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(small).resize((64, 64), 0).save(path)


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> dict:
    path = save_tiny_vit(tmp_path_factory.mktemp('vit') / 'vit.pth')
    return dict(
        extractor=dict(weights=str(path), num_heads=4, feature='key',
                       block=-1, center=True, device='cpu'),
        pseudo_labels=dict(image_size=64, thresholds=(.6, .3, 0.),
                           local=None),
        shard_size=1, workers=0)


@pytest.mark.parametrize('options, refiner', [
    ({}, dict(type='localcrf', neighbours=128)),
    ({'pseudo_labels.refiner.type': 'localcrf',
      'pseudo_labels.refiner.margin': .1},
     dict(type='localcrf', neighbours=128, margin=.1)),
    ({'pseudo_labels.refiner.max_side': 64,
      'pseudo_labels.refiner.type': 'densecrf'},
     dict(type='densecrf', max_side=64)),
    ({'pseudo_labels.refiner.type': 'none'}, dict(type='none')),
])
def test_another_refiner_does_not_get_the_arguments_of_the_one_before(
        options, refiner) -> None:
    path = Path(__file__).parents[2] / 'configs/sohes_phase1_cpu.py'
    found = phase1_config(path, options)
    assert dict(found.pseudo_labels.refiner) == refiner


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(2):
        save_photo(tmp_path / 'photos' / f'{number}.png', number)
    return tmp_path / 'photos'


def test_labels_are_of_the_photos_and_not_of_their_names(config, photos,
                                                         tmp_path):
    out = str(tmp_path / 'labels.json')
    assert generate(config, str(photos), out, quiet=True) == 0
    before = Path(out).read_bytes()
    images = json.loads(before)['images']
    assert all(len(image['sha256']) == 64 for image in images)
    # A folder that was moved or copied is the same.
    shutil.copytree(photos, tmp_path / 'copy')
    assert generate(config, str(tmp_path / 'copy'), out, quiet=True) == 0
    save_photo(tmp_path / 'copy' / '1.png', 9)
    with pytest.raises(UsageError, match=r'1\.png is not the file.*--overw'):
        generate(config, str(tmp_path / 'copy'), out, quiet=True)
    assert Path(out).read_bytes() == before
    assert generate(config, str(tmp_path / 'copy'), out, quiet=True,
                    overwrite=True) == 0
    assert Path(out).read_bytes() != before


def test_an_unfinished_run_is_of_its_photos_too(config, photos, tmp_path,
                                                monkeypatch):
    out = str(tmp_path / 'labels.json')
    write = ShardFolder.write

    def stop_after_the_first(self, shard, records):
        write(self, shard, records)
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardFolder, 'write', stop_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        generate(config, str(photos), out, quiet=True)
    monkeypatch.undo()
    save_photo(photos / '0.png', 9)
    with pytest.raises(UsageError, match='unfinished run of other photos'):
        generate(config, str(photos), out, quiet=True)
    save_photo(photos / '0.png', 0)
    save_photo(photos / '1.png', 9)  # not labelled yet
    assert generate(config, str(photos), out, quiet=True) == 0
    assert not Path(f'{out}.parts').exists()


@pytest.fixture(scope='module')
def cascadepsp_weights(tmp_path_factory) -> Path:
    """Random weights of CascadePSP's network."""
    pytest.importorskip('segmentation_refinement')
    from segmentation_refinement.models.psp.pspnet import RefinementModule
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('cascadepsp') / 'model.pth'
    torch.save(RefinementModule().state_dict(), path)
    yield path
    path.unlink()  # 270 MB that pytest would keep


def test_a_broken_shard_is_labelled_again(config, photos, tmp_path,
                                          monkeypatch, caplog):
    whole, stopped = (str(tmp_path / name) for name in ('a.json', 'b.json'))
    assert generate(config, str(photos), whole, quiet=True) == 0
    write = ShardFolder.write

    def stop_after_a_half(self, shard, records):
        write(self, shard, records)
        path = self.path(shard)
        path.write_bytes(path.read_bytes()[:-20])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ShardFolder, 'write', stop_after_a_half)
        generate(config, str(photos), stopped, quiet=True)
    assert generate(config, str(photos), stopped, quiet=True) == 0
    assert 'its 1 images are labelled again' in caplog.text
    assert Path(stopped).read_bytes() == Path(whole).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['none', 'localcrf', 'densecrf',
                                  'cascadepsp'])
def test_the_same_bytes_after_a_stop_and_on_any_number_of_workers(
        config, tmp_path, monkeypatch, request, kind):
    photos = tmp_path / 'photos'
    for number in range(3):
        save_photo(photos / f'{number}.png', number)
    refiner = dict(type=kind)
    if kind == 'cascadepsp':
        weights = request.getfixturevalue('cascadepsp_weights')
        refiner.update(weights=str(weights), device='cpu', fast=True,
                       max_side=128, batch_size=3)
    # Random weights change every mask beyond recognition. The network takes
    # a second a mask.
    settings = dict(config, pseudo_labels=dict(
        config['pseudo_labels'], refiner=refiner, refine_min_iou=0.0,
        max_masks=2 if kind == 'cascadepsp' else 100))
    paths = [tmp_path / f'{name}.json' for name in ('whole', 'stopped')]
    assert generate(settings, str(photos), str(paths[0]), quiet=True) == 0
    write = ShardFolder.write

    def stop_after_the_first(self, shard, records):
        write(self, shard, records)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ShardFolder, 'write', stop_after_the_first)
        generate(settings, str(photos), str(paths[1]), quiet=True)
    monkeypatch.setenv('PYTHONPATH', str(Path(__file__).parents[2]))
    # That a worker imports what it needs is seen once.
    workers = nullcontext() if kind == 'none' else processes.forked_workers()
    with workers:
        assert generate(dict(settings, workers=2), str(photos),
                        str(paths[1]), quiet=True,
                        show_dir=str(tmp_path / 'show')) == 0
    whole, stopped = (path.read_bytes() for path in paths)
    assert whole == stopped
    assert len(json.loads(whole)['annotations']) > 3
    # The one before the stop was not labelled again.
    assert sorted(p.name[0] for p in (tmp_path / 'show').iterdir()) == [
        '1', '2']


def test_a_shard_is_written_after_its_pictures(config, photos, tmp_path,
                                               monkeypatch):
    from sohes.visualization import save
    drawn = []
    draw, write = save.save_picture, ShardFolder.write

    def slow(path, picture):
        draw(path, picture)
        drawn.append(path.name)

    def check(self, shard, records):
        assert len(drawn) > shard
        write(self, shard, records)

    monkeypatch.setattr(save, 'save_picture', slow)
    monkeypatch.setattr(ShardFolder, 'write', check)
    assert generate(config, str(photos), str(tmp_path / 'a.json'),
                    quiet=True, show_dir=str(tmp_path / 'show')) == 0
    assert len(drawn) == 2


def test_a_picture_that_cannot_be_drawn_names_its_photo(config, photos,
                                                        tmp_path,
                                                        monkeypatch):
    from sohes import visualization

    def fail(*args):
        raise ValueError('no ink')

    monkeypatch.setattr(visualization, 'save_forest_picture', fail)
    with pytest.raises(RuntimeError, match=r"0\.png: the picture failed: "
                       r"ValueError\('no ink'\)"):
        generate(config, str(photos), str(tmp_path / 'a.json'), quiet=True,
                 show_dir=str(tmp_path / 'show'))


def test_a_broken_photo_that_was_mended_does_not_count_as_seen(
        config, photos, tmp_path):
    out = str(tmp_path / 'labels.json')
    (photos / '2.png').write_bytes(b'no image')
    assert generate(config, str(photos), out, quiet=True) == 1
    assert generate(config, str(photos), out, quiet=True) == 1
    save_photo(photos / '2.png', 2)
    with pytest.raises(UsageError, match=r'2\.png is not the file'):
        generate(config, str(photos), out, quiet=True)


@pytest.mark.parametrize('overwrite', [False, True])
def test_two_runs_on_one_output(config, photos, tmp_path, overwrite):
    out = tmp_path / 'labels.json'
    out.write_text('{}')
    with sole_run(out), pytest.raises(UsageError, match='by another run'):
        generate(config, str(photos), str(out), quiet=True,
                 overwrite=overwrite)
    assert out.read_text() == '{}'


@pytest.mark.slow
def test_a_worker_that_was_killed(config, photos, tmp_path, monkeypatch,
                                  capsys):
    """As the system does when memory runs out."""
    monkeypatch.setenv('KILLED_ONCE', str(tmp_path / 'killed'))
    options = dict(config['pseudo_labels'], refiner=dict(
        type='tests.test_apis.killing_refiner.KillingRefiner'))
    settings = dict(config, workers=1, pseudo_labels=options)

    def run() -> int:
        return generate(settings, str(photos), str(tmp_path / 'a.json'),
                        quiet=True)

    with processes.forked_workers():
        assert run_command(run, '') == 2
        assert 'error: a worker process was killed' in capsys.readouterr().err
        assert run_command(run, '') == 0
    assert not list(tmp_path.glob('*a.json.*'))


@pytest.mark.parametrize('workers', [-1, 1.5, 'two', True])
def test_workers_are_a_number_from_0_on(config, photos, tmp_path, workers):
    with pytest.raises(UsageError, match='workers must be 0'):
        generate(dict(config, workers=workers), str(photos),
                 str(tmp_path / 'a.json'), quiet=True)


def test_weights_that_are_no_numbers(config, photos, tmp_path):
    state = torch.load(config['extractor']['weights'])
    state['blocks.0.attn.qkv.weight'][0] = float('nan')
    torch.save(state, tmp_path / 'nan.pth')
    with pytest.raises(UsageError, match='no finite numbers'):
        generate(config, str(photos), str(tmp_path / 'a.json'), quiet=True,
                 weights=str(tmp_path / 'nan.pth'))


@pytest.mark.parametrize('spoil', [
    lambda raw: raw[:len(raw) // 2],
    lambda raw: b'<!DOCTYPE html><html>Not found</html>', lambda raw: b''])
def test_weights_that_are_no_file_of_weights(config, photos, tmp_path,
                                             spoil):
    raw = Path(config['extractor']['weights']).read_bytes()
    (tmp_path / 'cut.pth').write_bytes(spoil(raw))
    with pytest.raises(UsageError) as caught:
        generate(config, str(photos), str(tmp_path / 'a.json'), quiet=True,
                 weights=str(tmp_path / 'cut.pth'))
    text = str(caught.value)
    assert 'cut.pth' in text and 'weights_only' not in text
    assert len(text.splitlines()) == 1 and len(text) < 400


def test_a_system_that_does_not_say_its_cores(monkeypatch):
    """macOS."""
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    options = read_config(dict(extractor={}, pseudo_labels={}), 'x')
    assert options[2]['workers'] >= 1


def test_an_output_that_cannot_be_written(config, photos, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UsageError, match='a part of this path is a file|exis'):
        generate(config, str(photos), str(tmp_path / 'file' / 'a.json'),
                 quiet=True)
