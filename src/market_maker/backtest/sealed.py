"""The replay's memory as compiled code takes it: one structure reference to the same arrays.

A named tuple of arrays would be copied, and its arrays counted, at every call inside the kernel (measured: ten times
slower to run and to compile). The structure is made inside a compiled function, since its Python proxy would compile
again in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, typeof, types
from numba.experimental import structref as _structref

from market_maker.backtest.ladder.kernel import Ladder
from market_maker.backtest.state import ReplayState, new_state

structref: Any = _structref
_struct_ref: Any = types.StructRef


# Numba names such a type by all of its fields, and every function by the types of its arguments: with thousands of
# letters in each symbol a fifth of the time of compilation goes into names. There is one type of each kind.


@structref.register
class LadderType(types.StructRef):
    """Compiled type of `Ladder`."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        _struct_ref.__init__(self, fields)
        self.name = "Ladder"


@structref.register
class StateType(types.StructRef):
    """Compiled type of `ReplayState`."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        _struct_ref.__init__(self, fields)
        self.name = "ReplayState"


class LadderProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled ladder."""


class StateProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled state."""


structref.define_boxing(LadderType, LadderProxy)
structref.define_boxing(StateType, StateProxy)
structref.define_attributes(LadderType)
structref.define_attributes(StateType)

_new: Any = structref.new
_typeof: Any = typeof
_EXAMPLE = new_state(first_page=0, pages=1, pool=1, depth_levels=1, partial_fill=True)
_ladder_type: Any = LadderType
_state_type: Any = StateType
LADDER = _ladder_type([(name, _typeof(getattr(_EXAMPLE.exchange, name))) for name in Ladder._fields])
STATE = _state_type(
    [
        (name, LADDER if isinstance(getattr(_EXAMPLE, name), Ladder) else _typeof(getattr(_EXAMPLE, name)))
        for name in ReplayState._fields
    ]
)
_LADDER_TUPLE = _typeof(_EXAMPLE.exchange)
_STATE_TUPLE = _typeof(_EXAMPLE)


@njit
def _seal_ladder(ladder: Any) -> Any:
    sealed: Any = _new(LADDER)
    sealed.best = ladder.best
    sealed.table = ladder.table
    sealed.quantity = ladder.quantity
    sealed.taken = ladder.taken
    sealed.occupied = ladder.occupied
    sealed.extent = ladder.extent
    return sealed


def _seal(state: Any) -> Any:
    sealed: Any = _new(STATE)
    sealed.head = state.head
    sealed.orders = state.orders
    sealed.resting = state.resting
    sealed.resting_count = state.resting_count
    sealed.open_slots = state.open_slots
    sealed.free_slots = state.free_slots
    sealed.requests = state.requests
    sealed.responses = state.responses
    sealed.fills = state.fills
    sealed.samples = state.samples
    sealed.exchange = _seal_ladder(state.exchange)
    sealed.local = _seal_ladder(state.local)
    sealed.view_bids = state.view_bids
    sealed.view_asks = state.view_asks
    sealed.view_orders = state.view_orders
    sealed.actions = state.actions
    return sealed


def compile_seal() -> Callable[[ReplayState], Any]:
    """Return the function that makes the compiled form of a state; both share the arrays."""
    compiled: Callable[[ReplayState], Any] = njit(STATE(_STATE_TUPLE), cache=True)(_seal)
    return compiled
