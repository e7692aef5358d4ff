"""The simulation's entry point, compiled for one signature and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from market_maker.strategies.compilation import use_cache


@cache
def compiled_run() -> Callable[..., None]:
    """Return `kernel.run`, compiled; the first call in a fresh cache takes a second or two."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.synthetic.poisson import kernel

    toolkit: Any = numba
    plain: Callable[..., None] = kernel.run
    if toolkit.config.DISABLE_JIT:
        return plain
    real, whole, matrix = types.float64, types.int64, toolkit.typeof(np.zeros((1, 1), np.int64))
    signature = types.void(toolkit.typeof(np.zeros((1, 1, 1))), whole, whole, *(real,) * 6, matrix, matrix)
    compiled: Callable[..., None] = toolkit.njit(signature, cache=True, nogil=True)(plain)
    return compiled
