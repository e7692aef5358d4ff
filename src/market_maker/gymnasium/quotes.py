"""The strategy behind an environment: one bid and one ask at the distances that the agent chose, in the Numba subset."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import SIGNATURE, Records, View
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import Parameter, PreparedStrategy, StrategyKind
from market_maker.strategies.quoting import is_two_sided, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

BID_DISTANCE, ASK_DISTANCE, ORDER_LOTS, MAX_INVENTORY, TOLERANCE = range(5)
NO_QUOTE = 1e15
DEPTH_LEVELS = 5


class Address(types.WrapperAddressProtocol):
    """The agent's strategy as a bare address, which costs a fifth of a dispatcher at each call of the engine.

    What a strategy raises would be lost on this way: this one raises nothing, as two quotes never make too many requests.
    """

    def __init__(self, strategy: PreparedStrategy) -> None:
        function: Any = compiled(strategy)
        # Holds the machine code for as long as its address is known.
        self._code = function.get_compile_result(SIGNATURE)
        self._address = self._code.library.get_pointer_to_function(self._code.fndesc.llvm_cfunc_wrapper_name)

    def __wrapper_address__(self) -> int:
        """Return the address."""
        address: int = self._address
        return address

    def signature(self) -> Any:
        """Return the one signature of strategies."""
        return SIGNATURE


@cache
def address() -> Address:
    """Return the strategy as an address; all parameters but the vector are the same for all episodes."""
    return Address(KIND.prepare({}))


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Quote mid - bid distance and mid + ask distance, in ticks; a distance beyond every price is no quote."""
    if not is_two_sided(view):
        withdraw(view, actions)
        return
    mid = mid_ticks(view)
    quote_both_sides(
        view,
        actions,
        memory[:TWO_QUOTES],
        mid - params[BID_DISTANCE],
        mid + params[ASK_DISTANCE],
        int(params[ORDER_LOTS]),
        int(params[TOLERANCE]),
        int(params[MAX_INVENTORY]),
    )


KIND = StrategyKind(
    kind="agent",
    summary="Quotes at the distances that an agent chose at the last step.",
    parameters=(
        Parameter("bid_distance_ticks", "number", NO_QUOTE, 0, NO_QUOTE, "ticks", "of the bid from the mid"),
        Parameter("ask_distance_ticks", "number", NO_QUOTE, 0, NO_QUOTE, "ticks", "of the ask from the mid"),
        *parameters.QUOTE,
        parameters.INTERVAL,
    ),
    source="market_maker.gymnasium.quotes:on_wake",
    memory_size=TWO_QUOTES,
    depth_levels=DEPTH_LEVELS,
)
