"""The counting pass, compiled for one signature and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from market_maker.market_data.stretch import frozen
from market_maker.strategies.compilation import use_cache


@cache
def compiled_count() -> Callable[..., None]:
    """Return `kernel.count_rows`; the first call in a fresh cache takes some seconds."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.synthetic.queue_reactive import kernel

    toolkit: Any = numba
    plain: Callable[..., None] = kernel.count_rows
    if toolkit.config.DISABLE_JIT:
        return plain
    given, small = toolkit.typeof(frozen([], np.int64)), toolkit.typeof(frozen([], np.int8))
    whole, row, table = types.int64, types.int64[::1], types.int64[:, ::1]
    cube, real = types.float64[:, :, ::1], types.float64[::1]
    signature = types.void(
        given,
        given,
        given,
        small,
        types.boolean,
        whole,
        whole,
        whole,
        table,
        table,
        row,
        table,
        cube,
        cube,
        real,
        cube,
        cube,
        real,
        real,
    )
    compiled: Callable[..., None] = toolkit.njit(signature, cache=True, nogil=True)(plain)
    return compiled
