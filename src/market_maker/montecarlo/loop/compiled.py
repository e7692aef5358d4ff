"""The entry points of a simulated run, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from market_maker.strategies.compilation import optimised_as_one, use_cache


class LoopKernel(NamedTuple):
    """What the face calls; arguments as in the functions of `kernel`."""

    run: Callable[..., int]
    look: Callable[..., None]
    begin: Callable[..., bool]
    seal: Callable[..., Any]


_lock = threading.Lock()


def compiled_loop() -> LoopKernel:
    """Return the compiled entry points; the first call in a fresh cache takes about a minute."""
    with _lock:
        return _compiled()


@cache
def _compiled() -> LoopKernel:
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.backtest.sealed import STATE
    from market_maker.backtest.state import no_stretch
    from market_maker.matching.sealed import MATCHING
    from market_maker.montecarlo.loop import kernel
    from market_maker.montecarlo.loop.sealed import TRADER, compile_seal
    from market_maker.strategies.actions import SIGNATURE
    from market_maker.venue.market.sealed import FLOW

    toolkit: Any = numba
    if toolkit.config.DISABLE_JIT:
        # Numba's own switch: everything runs as plain Python on the same memory.
        return LoopKernel(kernel.run, kernel.look, kernel.begin, lambda state: state)
    whole, matrix = types.int64, toolkit.typeof(np.zeros((1, 1)))
    stretch, strategy = toolkit.typeof(no_stretch()), types.FunctionType(SIGNATURE)
    entries = (
        (kernel.run, whole(STATE, MATCHING, FLOW, TRADER, stretch, strategy, matrix, matrix, whole)),
        (kernel.look, types.void(STATE, MATCHING, TRADER, types.int64[::1])),
        (kernel.begin, types.boolean(STATE, MATCHING, TRADER)),
    )
    with optimised_as_one({entry.__name__ for entry, _ in entries}):
        made: list[Callable[..., Any]] = [
            toolkit.njit(signature, cache=True, nogil=True)(entry) for entry, signature in entries
        ]
    run, look, begin = made
    return LoopKernel(run, look, begin, compile_seal())
