"""The page on the code's layout says what the code is."""
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'docs/architecture.md').read_text()
FILES = sorted(set(re.findall(
    r'`((?:sohes|tools|configs|tests)/[\w/-]+\.py)`', TEXT)))
ROWS = dict(re.findall(r'^\| (\w+) \|[^|]*\| ([a-z_, ]+) \|$', TEXT,
                       re.MULTILINE))
_IMPORT = re.compile(r'^\s*(?:from|import) sohes\.(\w+)', re.MULTILINE)


@pytest.mark.parametrize('name', FILES)
def test_every_file_exists(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_table_has_every_package() -> None:
    assert set(ROWS) == {
        path.parent.name for path in ROOT.glob('sohes/*/__init__.py')}


def test_no_packages_import_each_other_in_a_circle() -> None:
    TopologicalSorter({name: set(row.split(', '))
                       for name, row in ROWS.items()}).prepare()


@pytest.mark.parametrize('package', sorted(ROWS))
def test_imports_of_a_package(package: str) -> None:
    found = {name for path in (ROOT / 'sohes' / package).rglob('*.py')
             for name in _IMPORT.findall(path.read_text())}
    listed = set(ROWS[package].split(', ')) - {'nothing'}
    assert found - {package, 'version'} == listed
