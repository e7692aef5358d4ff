"""The entry points of `kernel`, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from market_maker.strategies.compilation import use_cache


class RiskKernel(NamedTuple):
    """What the faces call; arguments as in the functions of `kernel`."""

    batch: Callable[..., int]
    book_after: Callable[..., int]


@cache
def compiled_risk() -> RiskKernel:
    """Return the compiled entry points; the first call in a fresh cache takes some seconds."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.risk.batch import kernel

    toolkit: Any = numba
    if toolkit.config.DISABLE_JIT:
        # Numba's own switch: everything runs as plain Python on the same memory.
        return RiskKernel(kernel.batch, kernel.book_after)
    row, table = (toolkit.typeof(np.zeros(shape)) for shape in (1, (1, 1)))
    whole, number = types.int64, types.float64
    # What is only read is read-only: one type, whoever lends it.
    given_row, given = (toolkit.typeof(_read_only(np.zeros(shape))) for shape in (1, (1, 1)))
    signatures = (
        whole(given, given, whole, number, row, table),
        whole(row, given_row, number, given, whole, number, row, row),
    )
    compiled: list[Callable[..., int]] = [
        # The wrapper itself, past the dispatcher, which takes 1 us to find the only signature. It trusts its arguments:
        # the faces check them.
        toolkit.njit(signature, cache=True, nogil=True)(entry).overloads[signature.args].entry_point
        for signature, entry in zip(signatures, (kernel.batch, kernel.book_after), strict=True)
    ]
    return RiskKernel(*compiled)


def _read_only(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values.flags.writeable = False
    return values
