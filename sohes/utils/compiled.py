"""numba's compiler, where its cache cannot be written too."""
import functools
from collections.abc import Callable
from typing import Any

import numba


def njit(cache: bool = True, **options: Any) -> Callable:
    """``numba.njit`` that never fails because of its cache.

    numba keeps what it compiled beside the source or in the home folder. Where
    neither can be written to, as in a container, and where the disk is full,
    it raises an error; here every process then compiles for itself.

    Args:
        cache: keep what was compiled, if possible.
        **options: of ``numba.njit``.
    """
    def compile_later(function: Callable) -> Callable:
        try:
            compiled = numba.njit(cache=cache, **options)(function)
        except RuntimeError:  # cannot cache function: no locator available
            return numba.njit(**options)(function)
        kept = getattr(compiled, '_cache', None)
        if hasattr(kept, 'save_overload'):
            kept.save_overload = _may_fail(kept.save_overload)
        return compiled

    return compile_later


def _may_fail(save: Callable) -> Callable:
    @functools.wraps(save)
    def try_to_save(*args: Any) -> None:
        try:
            save(*args)
        except OSError:
            pass

    return try_to_save
