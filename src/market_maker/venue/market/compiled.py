"""The synthetic market's entry points, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from market_maker.strategies.compilation import optimised_as_one, use_cache


class MarketKernel(NamedTuple):
    """What the face calls; arguments as in the function of `kernel`."""

    advance: Callable[..., int]
    seal: Callable[..., Any]


@cache
def compiled_market() -> MarketKernel:
    """Return the compiled entry points; the first call in a fresh cache takes some seconds."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.matching.sealed import MATCHING
    from market_maker.venue.market import kernel
    from market_maker.venue.market.sealed import FLOW, compile_seal

    toolkit: Any = numba
    if toolkit.config.DISABLE_JIT:
        # Numba's own switch: everything runs as plain Python on the same memory.
        return MarketKernel(kernel.advance, lambda state: state)
    whole = types.int64
    signature = whole(MATCHING, FLOW, whole, whole, types.int64[:, ::1])
    # The wrapper itself, past the dispatcher, which would take 1 us to find the only signature. It trusts its arguments:
    # the face checks them.
    with optimised_as_one({kernel.advance.__name__}):
        compiled = toolkit.njit(signature, cache=True, nogil=True)(kernel.advance).overloads[signature.args].entry_point
    return MarketKernel(compiled, compile_seal())
