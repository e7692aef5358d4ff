"""The matching engine's entry points, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from market_maker.matching.state import COMMAND_DTYPE
from market_maker.strategies.compilation import optimised_as_one, use_cache


class MatchingKernel(NamedTuple):
    """What the face calls; arguments as in the functions of `kernel` and `orders.kernel`."""

    run: Callable[..., int]
    submit: Callable[..., int]
    withdraw: Callable[..., int]
    copy_depth: Callable[..., int]
    rebuild: Callable[..., None]
    seal: Callable[..., Any]


@cache
def compiled_matching() -> MatchingKernel:
    """Return the compiled entry points; the first call in a fresh cache takes some seconds."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import types

    from market_maker.matching import kernel
    from market_maker.matching.orders import kernel as orders
    from market_maker.matching.sealed import MATCHING, compile_seal

    toolkit: Any = numba
    entries = (kernel.run, kernel.submit, kernel.withdraw, kernel.copy_depth, orders.rebuild)
    if toolkit.config.DISABLE_JIT:
        # Numba's own switch: everything runs as plain Python on the same memory.
        return MatchingKernel(*entries, lambda state: state)
    commands = toolkit.typeof(np.zeros(1, COMMAND_DTYPE))
    whole = types.int64
    signatures = (
        whole(MATCHING, commands, whole),
        whole(MATCHING, *(whole,) * 7),
        whole(MATCHING, whole, whole),
        whole(MATCHING, whole, types.int64[:, ::1]),
        types.void(MATCHING),
    )
    with optimised_as_one({entry.__name__ for entry in entries}):
        compiled: list[Callable[..., Any]] = [
            # The wrapper itself, past the dispatcher, which would take 1 us to find the only signature. It trusts its
            # arguments: the face checks them.
            toolkit.njit(signature, cache=True, nogil=True)(entry).overloads[signature.args].entry_point
            for signature, entry in zip(signatures, entries, strict=True)
        ]
    run, submit, withdraw, copy_depth, rebuild = compiled
    return MatchingKernel(run, submit, withdraw, copy_depth, rebuild, compile_seal())
