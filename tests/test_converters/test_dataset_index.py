"""dataset-index.yml has what mim reads, and its scripts run as mim does."""
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.test_converters import published

ROOT = Path(__file__).resolve().parents[2]
INDEX = yaml.safe_load((ROOT / 'dataset-index.yml').read_text())


@pytest.mark.parametrize('name', [key for key in INDEX if key != 'openxlab'])
def test_keys_that_mim_reads(name):
    row = INDEX[name]
    assert {'dataset', 'download_root', 'data_root', 'script'} == set(row)
    assert os.access(ROOT / row['script'], os.X_OK)


@pytest.mark.slow
def test_mim_downloads_unpacks_and_converts(tmp_path, monkeypatch):
    """With a stand-in for OpenDataLab's program, which needs an account."""
    download = pytest.importorskip('mim.commands.download')
    source = published.coco(tmp_path / 'published')
    ready = tmp_path / 'ready'
    for part, folder in (('Images/val2017', source.parents[1] / 'val2017'),
                         ('Annotations/annotations_trainval2017',
                          source.parent)):
        path = ready / 'OpenDataLab___COCO_2017/raw' / f'{part}.zip'
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, 'w') as archive:
            for file in folder.iterdir():
                archive.write(file, f'{folder.name}/{file.name}')
    programs = tmp_path / 'bin'
    programs.mkdir()
    for name in ('openxlab', 'odl'):  # openmim knows the older one only
        (programs / name).write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nshift $(($# - 1))\n'
            f'cp -r {ready}/. "$1"\n')
        (programs / name).chmod(0o755)
    # The script has no argument of its own; the toy is no whole split.
    installed = tmp_path / 'site-packages/sohes'
    (installed / '.mim/tools/dataset_converters/scripts').mkdir(parents=True)
    (installed / '.mim/dataset-index.yml').write_text(
        (ROOT / 'dataset-index.yml').read_text())
    script = INDEX['coco2017']['script']
    (installed / '.mim' / script).write_text(
        f'#!/bin/sh\nexec {ROOT / script} "$1" "$2" --subset --quiet\n')
    monkeypatch.setenv('PYTHON', sys.executable)
    monkeypatch.setenv('PATH', f'{programs}:{os.environ["PATH"]}')
    monkeypatch.setattr(download, 'is_installed', lambda name: True)
    monkeypatch.setattr(download, 'get_installed_path',
                        lambda name: str(installed))
    monkeypatch.setattr(download, 'module_full_name', lambda name: name)
    monkeypatch.chdir(tmp_path)
    with open('log', 'w+') as log:  # pytest's have no file descriptor
        monkeypatch.setattr(sys, 'stdin', log)
        monkeypatch.setattr(sys, 'stdout', log)
        download.download('sohes', dataset='coco2017')
    asked = (tmp_path / 'asked').read_text()
    assert asked.endswith('get OpenDataLab/COCO_2017 -d data\n')
    found = json.loads((tmp_path / 'data/coco/entities_val2017.json')
                       .read_text())
    assert len(found['annotations']) == 2
    for image in found['images']:
        assert (tmp_path / 'data/coco/val2017' / image['file_name']).exists()


def test_script_names_the_archive_that_is_missing(tmp_path):
    done = subprocess.run(
        [ROOT / INDEX['coco2017']['script'], tmp_path, tmp_path / 'out'],
        capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'Images/val2017.zip is missing' in done.stderr
