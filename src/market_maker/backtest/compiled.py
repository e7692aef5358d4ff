"""The kernel's entry points, compiled for one signature each and read from the cache when nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from market_maker.strategies.compilation import use_cache


class Kernel(NamedTuple):
    """What the faces call; arguments as in `kernel.advance`, `submit`, `request_cancel`, `release`, `ladder.kernel.follow`."""

    advance: Callable[..., int]
    submit: Callable[..., int]
    request_cancel: Callable[..., int]
    release: Callable[..., None]
    follow: Callable[..., None]
    idle: Callable[..., None]
    seal: Callable[..., Any]
    seal_ladder: Callable[..., Any]


def _entry_points(kernel: ModuleType, ladder: ModuleType) -> tuple[Callable[..., Any], ...]:
    return (
        kernel.advance,
        kernel.submit_from_outside,
        kernel.request_cancel_from_outside,
        kernel.release_from_outside,
        ladder.follow,
    )


def _idle(view: Any, params: Any, memory: Any, actions: Any) -> None:
    """Do nothing: the strategy of a session that is driven from outside."""


@cache
def compiled_kernel() -> Kernel:
    """Return the compiled entry points; the first call in a fresh cache takes some seconds."""
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
        advance, submit, request_cancel, release, follow = _entry_points(kernel, ladder)
        return Kernel(advance, submit, request_cancel, release, follow, _idle, *(lambda arrays: arrays,) * 2)
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
        whole(state, *(whole,) * 6),
        whole(state, whole),
        types.void(state, whole),
        types.void(LADDER, rows, typeof(np.zeros((0, 2), np.int64)), typeof(np.zeros(0, np.int32))),
    )
    advance, submit, request_cancel, release, follow = map(compile_for, signatures, _entry_points(kernel, ladder))
    seal, seal_ladder = compile_seals()
    return Kernel(
        advance,
        submit,
        request_cancel,
        release,
        follow,
        idle=njit(SIGNATURE, cache=True, nogil=True)(_idle),
        seal=seal,
        seal_ladder=seal_ladder,
    )
