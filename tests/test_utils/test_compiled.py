"""Compiled functions where numba's cache cannot be written."""
import errno

from numba.core import caching

from sohes.utils.compiled import njit


def test_nothing_is_compiled_in_another_way(repo_root):
    direct = [str(path) for path in (repo_root / 'sohes').rglob('*.py')
              if 'from numba import njit' in path.read_text('utf-8')]
    assert not direct


def plus_one(x):
    return x + 1


def test_without_a_place_for_the_cache(monkeypatch):
    """A read-only install and no writable HOME."""
    monkeypatch.setattr(caching.CacheImpl, '_locator_classes', [])
    assert njit(cache=True, nogil=True)(plus_one)(1) == 2


def test_on_a_full_disk(monkeypatch):
    def full(self, *args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(caching.FunctionCache, 'save_overload', full)
    monkeypatch.setattr(caching.FunctionCache, 'load_overload',
                        lambda *args: None)
    assert njit(cache=True)(plus_one)(1) == 2
