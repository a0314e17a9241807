"""Tables of the pages that say what the code does say it truly."""
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from sohes.weights.vit_presets import PRESETS
from sohes.weights.vit_zoo import ZOO

ROOT = Path(__file__).resolve().parents[1]
#: A block of the preset in words.
BLOCKS = {-1: 'last', 0.75: 'at 3/4 of the depth'}


def table(page: str, first: str) -> list[dict[str, str]]:
    """Rows of the table whose first column has this name."""
    lines = (ROOT / 'docs' / page).read_text().splitlines()
    start = next(i for i, line in enumerate(lines)
                 if line.startswith(f'| {first} |'))
    rows = []
    for line in lines[start:]:
        if not line.startswith('|'):
            break
        rows.append([cell.strip() for cell in line.strip('|').split('|')])
    return [dict(zip(rows[0], row)) for row in rows[2:]]


def test_presets_of_the_features_page():
    found = {row['family'].strip('`'): row
             for row in table('features.md', 'family')}
    assert found.keys() == PRESETS.keys()
    for name, preset in PRESETS.items():
        row = found[name]
        assert row['feature'] == f'{preset.feature}s', name
        assert row['block'] == BLOCKS[preset.block], name
        assert row['`center`'] == ('yes' if preset.center else 'no'), name


def test_names_of_the_features_page():
    found = {}
    for row in table('features.md', 'name'):
        for name in re.findall('`(.*?)`', row['name']):
            found[name] = (int(row['patch']), row['preset'].strip('`'))
    assert found == {
        name: (int(re.search(r'(\d+)(_reg|plus)?$', name)[1]), entry.family)
        for name, entry in ZOO.items()}


@pytest.mark.parametrize('what, key', [
    ('threshold of non-maximal suppression', 'nms_iou'),
    ('a "poor" refinement', 'refine_min_iou'),
])
def test_values_of_the_differences_page(what, key):
    row, = (row for row in table('differences.md', 'phase')
            if row['what'] == what)
    config = Config.fromfile(ROOT / 'configs/sohes_phase1.py')
    number = float(re.search(r'\d+\.\d+', row['here'])[0])
    assert number == config.pseudo_labels[key]
