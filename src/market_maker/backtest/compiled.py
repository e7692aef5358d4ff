"""The kernel's entry points, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from market_maker.strategies.compilation import let_go_of_compiler, load_compiler, optimised_as_one, use_cache


class Kernel:
    """What the faces call; arguments as in the functions of `kernel` and `ladder.kernel.follow`.

    Each entry point is compiled, or read from the cache, when it is first asked for: a run needs no order from outside.
    """

    def __init__(self, make: Callable[[str], Callable[..., Any]]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in ENTRY_POINTS:
            raise AttributeError(name)
        with _lock:
            made = self.__dict__.get(name) or self._make(name)
            self.__dict__[name] = made
        return made


ENTRY_POINTS = (
    "advance", "look", "obey", "submit", "request_cancel", "request_amend", "release", "follow", "sort_fills", "idle", "seal", "seal_ladder",
)  # fmt: skip

PAST_DISPATCHER = frozenset({"advance", "look", "obey"})
"""What sessions and runs over several instruments call for every step: without the dispatcher, which takes longer than most
steps to find the only signature. They trust their arguments, which are a drive's own."""


def _idle(view: Any, params: Any, memory: Any, actions: Any) -> None:
    """Do nothing: the strategy of a session that is driven from outside."""


_lock = threading.RLock()


def compiled_kernel() -> Kernel:
    """Return the compiled entry points; the first use of one in a fresh cache takes some seconds."""
    with _lock:
        return _compiled()


def compile_all() -> None:
    """Compile every entry point, or read it from the cache."""
    for name in ENTRY_POINTS:
        getattr(compiled_kernel(), name)


@cache
def _compiled() -> Kernel:
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    load_compiler()
    import numba
    from numba import njit, types

    from market_maker.backtest import kernel
    from market_maker.backtest.ladder import kernel as ladder
    from market_maker.backtest.log import kernel as log
    from market_maker.backtest.sealed import LADDER, STATE, compile_seals
    from market_maker.backtest.state import no_stretch
    from market_maker.market_data.stretch import no_rows
    from market_maker.strategies.actions import SIGNATURE

    toolkit: Any = numba
    typeof = toolkit.typeof
    state, whole, matrix = STATE, types.int64, typeof(np.zeros((1, 1)))
    rows, stretch = typeof(no_rows()), typeof(no_stretch())
    strategy = types.FunctionType(SIGNATURE)
    quotes, slots = typeof(np.zeros((0, 2), np.int64)), typeof(np.zeros(0, np.int32))
    entries: dict[str, tuple[Callable[..., Any], Any]] = {
        "advance": (
            kernel.advance,
            whole(state, stretch, types.boolean, stretch, types.boolean, strategy, matrix, matrix, whole),
        ),
        "look": (kernel.look, types.void(state, whole, types.int64[::1])),
        "obey": (kernel.obey_from_outside, whole(state, whole)),
        "submit": (kernel.submit_from_outside, whole(state, *(whole,) * 9)),
        "request_cancel": (kernel.request_cancel_from_outside, whole(state, whole)),
        "request_amend": (kernel.request_amend_from_outside, whole(state, whole, whole, whole)),
        "release": (kernel.release_from_outside, types.void(state, whole)),
        "follow": (ladder.follow, types.void(LADDER, rows, quotes, slots)),
        "sort_fills": (
            log.sort_fills,
            types.void(types.int64[:, ::1], types.int64[::1], types.int64[::1], types.int64[:, ::1]),
        ),
    }

    def make(name: str) -> Callable[..., Any]:
        made: Callable[..., Any]
        if toolkit.config.DISABLE_JIT:
            # Numba's own switch: everything runs as plain Python on the same memory.
            made = entries[name][0] if name in entries else _idle if name == "idle" else lambda arrays: arrays
        elif name == "idle":
            # As a C function it is handed over in a quarter of the time: a session driven from outside calls often.
            made = toolkit.cfunc(SIGNATURE, cache=True)(_idle)
        elif name in entries:
            function, signature = entries[name]
            with optimised_as_one({function.__name__}):
                dispatcher: Any = njit(signature, cache=True, nogil=True)(function)
            made = dispatcher.overloads[signature.args].entry_point if name in PAST_DISPATCHER else dispatcher
        else:
            made = compile_seals()[0 if name == "seal" else 1]
        let_go_of_compiler()
        return made

    return Kernel(make)
