"""The kernel's entry points, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from market_maker.strategies.compilation import use_cache


class Kernel(NamedTuple):
    """What the faces call; arguments as in the functions of `kernel` and `ladder.kernel.follow`."""

    advance: Callable[..., int]
    look: Callable[..., None]
    obey: Callable[..., int]
    submit: Callable[..., int]
    request_cancel: Callable[..., int]
    request_amend: Callable[..., int]
    release: Callable[..., None]
    follow: Callable[..., None]
    idle: Callable[..., None]
    seal: Callable[..., Any]
    seal_ladder: Callable[..., Any]


def _entry_points(kernel: ModuleType, ladder: ModuleType) -> tuple[Callable[..., Any], ...]:
    return (
        kernel.advance,
        kernel.look,
        kernel.obey_from_outside,
        kernel.submit_from_outside,
        kernel.request_cancel_from_outside,
        kernel.request_amend_from_outside,
        kernel.release_from_outside,
        ladder.follow,
    )


def _idle(view: Any, params: Any, memory: Any, actions: Any) -> None:
    """Do nothing: the strategy of a session that is driven from outside."""


_lock = threading.Lock()


def compiled_kernel() -> Kernel:
    """Return the compiled entry points; the first call in a fresh cache takes some seconds."""
    with _lock:
        return _compiled()


@contextmanager
def _optimised_once(names: Collection[str]) -> Iterator[None]:
    """Optimise what this thread compiles only in the functions of these names.

    Numba optimises every function together with all that it calls, at each level of calls anew: with some forty kernel
    functions below another a third of the time goes into code that nobody runs (measured: 35 s, 22 s without).
    """
    from numba.core import codegen

    library: Any = codegen.CPUCodeLibrary
    optimise, thread = library._optimize_final_module, threading.get_ident()  # noqa: SLF001

    def optimise_entries(self: Any) -> None:
        if threading.get_ident() != thread or self.name in names:
            optimise(self)

    library._optimize_final_module = optimise_entries  # noqa: SLF001
    try:
        yield
    finally:
        library._optimize_final_module = optimise  # noqa: SLF001


@cache
def _compiled() -> Kernel:
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    import numba
    from numba import njit, types

    from market_maker.backtest import kernel
    from market_maker.backtest.ladder import kernel as ladder
    from market_maker.backtest.sealed import LADDER, STATE, compile_seals
    from market_maker.backtest.state import no_stretch
    from market_maker.market_data.stretch import no_rows
    from market_maker.strategies.actions import SIGNATURE

    toolkit: Any = numba
    typeof = toolkit.typeof
    if toolkit.config.DISABLE_JIT:
        # Numba's own switch: everything runs as plain Python on the same memory.
        return Kernel._make([*_entry_points(kernel, ladder), _idle, *(lambda arrays: arrays,) * 2])
    state = STATE
    rows = typeof(no_rows())
    whole, matrix = types.int64, typeof(np.zeros((1, 1)))
    stretch = typeof(no_stretch())
    strategy = types.FunctionType(SIGNATURE)

    def compile_for(signature: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = njit(signature, cache=True, nogil=True)(function)
        return compiled

    signatures = (
        whole(state, stretch, types.boolean, stretch, types.boolean, strategy, matrix, matrix, whole),
        types.void(state, whole, types.int64[::1]),
        whole(state, whole),
        whole(state, *(whole,) * 9),
        whole(state, whole),
        whole(state, whole, whole, whole),
        types.void(state, whole),
        types.void(LADDER, rows, typeof(np.zeros((0, 2), np.int64)), typeof(np.zeros(0, np.int32))),
    )
    functions = _entry_points(kernel, ladder)
    with _optimised_once({function.__name__ for function in functions}):
        entries = list(map(compile_for, signatures, functions))
    idle: Callable[..., None] = toolkit.njit(SIGNATURE, cache=True, nogil=True, _nrt=False)(_idle)
    return Kernel._make([*entries, idle, *compile_seals()])
