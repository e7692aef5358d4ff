"""What a wanted quote is: a whole tick behind the book it sees, and whole lots.

Owns the rounding from the floating point of a formula to ticks and lots, in this one place. What becomes of wanted
quotes is `requoting`'s. Plain functions in the Numba subset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from market_maker.domain.order import Side
from market_maker.strategies.actions import View

Function = TypeVar("Function", bound=Callable[..., Any])
Quotes: TypeAlias = NDArray[np.float64]
"""Wanted quotes, (3 n,): side, price in ticks, lots of each; 0 lots is no quote, and each side stands best first.

A stretch of the strategy's memory, so that a wake-up makes no array; the numbers are whole, and exact up to 2**53.
"""

BUY, SELL = int(Side.BUY), int(Side.SELL)
SIDE, PRICE, LOTS, PER_QUOTE = 0, 1, 2, 3
MOST = 2**40
"""No order may have a price or a quantity above this."""


def jitable(function: Function) -> Function:
    """Let compiled strategies call `function`, which for Python stays the plain function that it is."""
    registered: Function = register_jitable(forceinline=True)(function)
    return registered


@jitable
def is_two_sided(view: View) -> bool:
    """Return whether the book has a bid and an ask: without both there is no mid to quote around."""
    return view.best_bid_ticks > 0 and view.best_ask_ticks > 0


@jitable
def mid_ticks(view: View) -> float:
    """Return the mean of best bid and best ask of a book with two sides."""
    return 0.5 * (view.best_bid_ticks + view.best_ask_ticks)


@jitable
def bid_at(price: float, view: View) -> int:
    """Return the whole tick at or below `price` and below the best ask; 0 (no quote) where there is none, or for NaN."""
    if math.isnan(price):
        return 0
    most = view.best_ask_ticks - 1 if view.best_ask_ticks > 0 else MOST
    return int(math.floor(min(max(price, 0.0), float(most))))


@jitable
def ask_at(price: float, view: View) -> int:
    """Return the whole tick at or above `price` and above the best bid; 0 (no quote) beyond MOST, or for NaN."""
    if math.isnan(price) or price > MOST:
        return 0
    return int(math.ceil(max(price, float(view.best_bid_ticks + 1))))


@jitable
def want_nothing(quotes: Quotes) -> None:
    """Forget what was wanted at the last wake-up."""
    for i in range(len(quotes)):
        quotes[i] = 0


@jitable
def want(quotes: Quotes, i: int, side: int, price_ticks: int, lots: int) -> None:
    """Write wanted quote `i`; without a price that an order may have it is none, a quantity is cut to the largest one."""
    at = PER_QUOTE * i
    quotes[at + SIDE] = side
    quotes[at + PRICE] = price_ticks
    quotes[at + LOTS] = min(max(lots, 0), MOST) if 0 < price_ticks <= MOST else 0
