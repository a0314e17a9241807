"""The files of an index: when they are built, by whom, and what is left."""
import json
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import time

import pytest

from sohes.datasets.entity_index import EntityIndex
from tests.test_datasets.coco_files import (
    WHOLE,
    annotation,
    dataset,
    two_images,
    write,
)


def test_built_once_and_again_when_the_json_changes(tmp_path):
    path = write(tmp_path / 'x.json', two_images())
    EntityIndex.open(path)
    meta = tmp_path / 'x.json.index' / 'meta.json'
    built = meta.stat().st_ino
    EntityIndex.open(path)
    assert meta.stat().st_ino == built
    data = two_images()
    data['annotations'].pop()
    write(path, data)
    assert len(EntityIndex.open(path).annotations) == 2
    assert sorted(os.listdir(tmp_path)) == [
        'x.json', 'x.json.index', 'x.json.index.lock']


def test_beside_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    path = write(tmp_path / 'x.json', two_images())
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(os, 'access', lambda *_: False)
    index = EntityIndex.open(path)
    assert index.folder.is_relative_to(tmp_path / 'cache' / 'sohes')
    assert not (tmp_path / 'x.json.index').exists()


@pytest.mark.parametrize('room', [1000, 9000])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, room):
    rows = [annotation(k, 5, WHOLE) for k in range(1, 200)]
    path = write(tmp_path / 'x.json', dataset([(5, 'a.png', 9, 13)], rows))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OSError, match='the index of .*x.json cannot be '
                           'written.* make room, or set index_dir'):
            EntityIndex.open(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.json.index.lock']
    assert len(EntityIndex.open(path).annotations) == 199


def test_pickled_as_its_folder(tmp_path):
    index = EntityIndex.open(write(tmp_path / 'x.json', two_images()))
    text = pickle.dumps(index)
    assert len(text) < 1000
    assert (pickle.loads(text).annotations == index.annotations).all()


def _open(path, barrier, queue):
    barrier.wait()
    index = EntityIndex.open(path)
    queue.put(index.annotations['id'].tolist())


def test_two_processes_at_once(tmp_path):
    path = write(tmp_path / 'x.json', two_images())
    fork = multiprocessing.get_context('fork')
    barrier, queue = fork.Barrier(2), fork.Queue()
    workers = [fork.Process(target=_open, args=(path, barrier, queue))
               for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=120) for _ in workers] == [[11, 10, 12]] * 2
    for worker in workers:
        worker.join()
    assert len(list(tmp_path.iterdir())) == 3


KILLED = """
import os, sys, time
from sohes.datasets import index_draft
from sohes.datasets.entity_index import EntityIndex
def stop(*_):
    print('writing', flush=True)
    time.sleep(600)
index_draft.rle_stats = stop
EntityIndex.open(sys.argv[1])
"""


@pytest.mark.slow
def test_killed_while_building(tmp_path):
    path = write(tmp_path / 'x.json', two_images())
    process = subprocess.Popen([sys.executable, '-c', KILLED, str(path)],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert 'writing\n' in iter(process.stdout.readline, '')
    finally:
        process.kill()
        process.wait()
    assert list(tmp_path.glob('x.json.index.tmp-*'))
    assert not (tmp_path / 'x.json.index').exists()
    assert len(EntityIndex.open(path).annotations) == 3
    assert not list(tmp_path.glob('x.json.index.tmp-*'))


def test_same_bytes_other_time_is_another_file(tmp_path):
    path = write(tmp_path / 'x.json', two_images())
    before = json.loads(
        (EntityIndex.open(path).folder / 'meta.json').read_text())
    os.utime(path, (time.time(), path.stat().st_mtime + 10))
    after = json.loads(
        (EntityIndex.open(path).folder / 'meta.json').read_text())
    assert before['key'] != after['key']


def test_labels_are_read_where_mmdet_is_not_installed(repo_root):
    """As after `make demo`, when its labels are browsed."""
    code = ("import sys; sys.modules['mmdet'] = None\n"
            'from sohes.datasets.entity_index import EntityIndex\n'
            "assert 'sohes.datasets.registered' not in sys.modules\n"
            'import sohes.datasets\n'
            'try:\n'
            '    sohes.datasets.EntityDataset\n'
            'except ImportError:\n'
            "    print('refused')\n")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True,
                          text=True, cwd=repo_root)
    assert done.stdout == 'refused\n', done.stderr
