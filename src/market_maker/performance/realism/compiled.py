"""The entry points of `kernel`, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from market_maker.market_data.stretch import frozen
from market_maker.strategies.compilation import use_cache


class RealismKernel(NamedTuple):
    """What the faces call; arguments as in the functions of `kernel`."""

    walk: Callable[..., None]
    respond: Callable[..., None]
    live: Callable[..., int]


@cache
def compiled_realism() -> RealismKernel:
    """Return the compiled entry points; the first call in a fresh cache takes some seconds."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.performance.realism import kernel

    toolkit: Any = numba
    if toolkit.config.DISABLE_JIT:
        return RealismKernel(kernel.walk, kernel.respond, kernel.live)
    row, table = (toolkit.typeof(np.zeros(shape, np.int64)) for shape in (1, (1, 1)))
    # What is only read is read-only: one type, whoever lends it.
    given, given_table = (toolkit.typeof(frozen(np.zeros(shape), np.int64)) for shape in (1, (1, 1)))
    small, whole = toolkit.typeof(frozen(np.zeros(1), np.int8)), types.int64
    signatures = (
        types.void(
            given, given, given, small, given, given, given_table, table, table, whole, whole, whole, table, table, row, row,
            table, row,
        ),
        types.void(given, small, small, given, table, table),
        whole(given, small, small, given, given, given, table, table),
    )  # fmt: skip
    walk, respond, live = (
        toolkit.njit(signature, cache=True, nogil=True)(function)
        for signature, function in zip(signatures, (kernel.walk, kernel.respond, kernel.live), strict=True)
    )
    return RealismKernel(walk, respond, live)
