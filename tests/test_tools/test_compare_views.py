"""Labels and model on photos without ground truth, as a command."""
import json
from pathlib import Path

import pytest

from sohes.apis import photo_entities
from tests.test_apis.test_label_free import guesses, sees
from tests.tiny_entities import make_entities

TOOL = 'tools/analysis_tools/compare_views.py'
CONFIG = 'configs/tiny/sohes_phase1_tiny.py'


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Photos that Phase 1 guesses at, and a model sees."""
    monkeypatch.setattr(photo_entities, 'phase1_finder',
                        lambda config, weights: guesses)
    monkeypatch.setattr(photo_entities, 'checkpoint_finder',
                        lambda *args, **options: sees)
    return make_entities(tmp_path) / 'images'


def test_sentence_table_and_json(photos, run_tool, tmp_path):
    (photos / '0.png').write_bytes(b'no photo')
    out = tmp_path / 'out.json'
    done = run_tool(TOOL, CONFIG, 'model.pth', '--img-dir', photos,
                    '--num-photos', 4, '--out', out)
    assert done.returncode == 0, done.stderr
    assert 'not read: ' in done.stderr and '0.png' in done.stderr
    found = json.loads(out.read_text())
    assert found['names'] == ['1.png', '3.png', '4.png']
    assert done.stdout.startswith(found['sentence'])
    assert found['photos'] == 3 and len(found['table']) == 5
    assert found['low'] <= found['gain'] <= found['high']
    assert 'labels, all' in done.stdout


def test_photos_by_name(photos, run_tool, tmp_path):
    names, out = tmp_path / 'names.json', tmp_path / 'out.json'
    names.write_text('["2.png", "5.png"]')
    done = run_tool(TOOL, CONFIG, 'model.pth', '--img-dir', photos, '--names',
                    names, '--out', out, '--quiet')
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    assert json.loads(out.read_text())['names'] == ['2.png', '5.png']


@pytest.mark.parametrize('names, message', [
    ('[', 'Expecting value'), ('["no.png"]', 'no photo to compare on')])
def test_no_photo_is_a_mistake(names, message, photos, run_tool, tmp_path):
    (tmp_path / 'names.json').write_text(names)
    done = run_tool(TOOL, CONFIG, 'model.pth', '--img-dir', photos, '--names',
                    tmp_path / 'names.json')
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
