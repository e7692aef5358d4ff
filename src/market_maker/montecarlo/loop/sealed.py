"""The memory of a run as compiled code takes it; see `venue.market.sealed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, typeof, types
from numba.experimental import structref as _structref

from market_maker.matching.sealed import define_access
from market_maker.montecarlo.loop.state import Trader, new_trader
from market_maker.venue.market.sealed import filled

_struct_ref: Any = types.StructRef
_typeof: Any = typeof
made_of: Any = filled


class TraderType(types.StructRef):
    """Compiled type of `Trader`; its short name keeps symbols short."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        _struct_ref.__init__(self, fields)
        self.name = "Trader"


class TraderProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled memory."""


define_access(TraderType, TraderProxy)
_EXAMPLE = new_trader()
_trader_type: Any = TraderType
TRADER = _trader_type([(name, _typeof(getattr(_EXAMPLE, name))) for name in Trader._fields])


def _seal(state: Any) -> Any:
    return made_of(TRADER, state)


def compile_seal() -> Callable[[Trader], Any]:
    """Return the function that makes the compiled form; both forms share the arrays."""
    compiled: Callable[[Trader], Any] = njit(TRADER(_typeof(_EXAMPLE)), cache=True)(_seal)
    return compiled
