"""Every difference to the paper names a key that exists."""
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from mmengine.config import Config

from sohes.pseudo_labels.cascadepsp import CascadePSPRefiner
from sohes.pseudo_labels.options import ExploreOptions, LocalOptions
from sohes.registry import DATASETS, MODELS, TRANSFORMS

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r'^\| ([123]) \| (.*?) \|.*\| (`.*`) \|$', re.MULTILINE)
ROWS = [(phase, what, key)
        for phase, what, keys in ROW.findall(
            (ROOT / 'docs/differences.md').read_text())
        for key in re.findall('`(.*?)`', keys)]


def arguments(path: str, node: Config) -> set[str]:
    """Names that a part of a configuration could have as well."""
    if path == 'pseudo_labels':
        return {field.name for field in fields(ExploreOptions)}
    if path == 'pseudo_labels.local':
        return {field.name for field in fields(LocalOptions)}
    if path == 'pseudo_labels.refiner':
        return set(inspect.signature(CascadePSPRefiner).parameters)
    if path == 'model.semi_train_cfg':
        from sohes.models.detectors.self_correction import _TRAIN_KEYS
        return _TRAIN_KEYS
    found: set[str] = set()
    for registry in (MODELS, DATASETS, TRANSFORMS):
        built = registry.get(str(node.get('type', '')))
        if built is not None:
            found |= set(inspect.signature(built).parameters)
    return found


def test_the_table_is_there():
    assert len({what for _, what, _ in ROWS}) > 30
    rows = (ROOT / 'docs/differences.md').read_text().count('\n| 1 |')
    assert rows == len({w for p, w, _ in ROWS if p == '1'})


@pytest.mark.parametrize(('phase', 'what', 'key'), ROWS)
def test_the_key_exists(phase, what, key):
    node = Config.fromfile(ROOT / f'configs/sohes_phase{phase}.py')
    *parts, last = key.split('.')
    for part in parts:
        node = node[int(part)] if part.isdigit() else node[part]
    assert last in node or last in arguments('.'.join(parts), node), what


def test_a_key_that_is_not_there_is_found():
    node = Config.fromfile(ROOT / 'configs/sohes_phase2.py')
    assert 'typo' not in arguments('train_dataloader.dataset',
                                   node.train_dataloader.dataset)
