"""What a strategy sees and says at a wake-up, in the types shared by compiled and interpreted code.

Owns the record layouts, the one signature of strategies, and the helpers `place` and `cancel`. Knows nothing of
who wakes the strategy: the backtest kernel, the live loop or a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numba import from_dtype, types
from numba import njit as _njit
from numpy.typing import NDArray

from market_maker.domain.order import OrderType, TimeInForce

Records: TypeAlias = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., None])


def njit(function: Function) -> Function:
    """Compile as part of a strategy; typed as what it is called like.

    Without counting references: whoever wakes a strategy holds the arrays, and the counting costs more than most
    strategies. It may therefore make no arrays.
    """
    toolkit: Any = _njit
    compiled: Function = toolkit(_nrt=False)(function)
    return compiled


LEVEL_DTYPE = np.dtype([("price_ticks", np.int64), ("qty_lots", np.int64)])
"""One level of the book, best first."""

ORDER_DTYPE = np.dtype(
    [
        ("order_id", np.int64),
        ("side", np.int64),
        ("price_ticks", np.int64),
        ("qty_lots", np.int64),
        ("leaves_lots", np.int64),
        ("status", np.int64),
        ("cancel_pending", np.int64),
        ("queue_ahead_lots", np.int64),
        ("submitted_ts", np.int64),
        ("amend_pending", np.int64),
        ("instrument", np.int64),
    ]
)
"""One own order as its owner knows it: `status` is an OrderStatus, PENDING_NEW until the venue's answer came;
`queue_ahead_lots` is the quantity ahead when the venue last answered; `instrument` is 0 with one instrument."""

INSTRUMENT_DTYPE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "best_bid_ticks", "best_bid_lots", "best_ask_ticks", "best_ask_lots", "position_lots", "cash_tick_lots",
            "fees_tick_lots", "last_trade_ticks", "bought_lots", "sold_lots", "trades",
        )
    ]
)  # fmt: skip
"""One of several instruments as `View` shows the first one, each in ticks and lots of its own."""

ACTION_DTYPE = np.dtype(
    [
        ("kind", np.int64),
        ("order_id", np.int64),
        ("side", np.int64),
        ("order_type", np.int64),
        ("time_in_force", np.int64),
        ("post_only", np.int64),
        ("price_ticks", np.int64),
        ("qty_lots", np.int64),
        ("expire_ts", np.int64),
        ("instrument", np.int64),
    ]
)
"""One request; element 0 of the array of actions holds their number in `kind`."""

PLACE = 1
CANCEL = 2
AMEND = 3
MAX_ACTIONS = 256
"""Requests that one wake-up may make."""

WAKE_TIMER = 1
WAKE_BOOK = 2
WAKE_TRADE = 4
WAKE_ORDER = 8
"""Why a strategy is awake; `View.wake_reason` is the sum of all that hold at the instant."""


class View(NamedTuple):
    """The world as the strategy knows it at a wake-up: local time, after feed and response latency.

    Prices in ticks, quantities in lots, cash in tick-lots; a best price of 0 says that the side is empty.
    `bids` and `asks` hold the levels the strategy declared (possibly none), `orders` its open orders.
    Traded quantities and the number of trades count public prints since the last wake-up. `instruments` is empty
    with one instrument; with several it has all of them, and the fields above are those of number 0.
    """

    now_ts: int
    wake_reason: int
    best_bid_ticks: int
    best_bid_lots: int
    best_ask_ticks: int
    best_ask_lots: int
    position_lots: int
    cash_tick_lots: int
    fees_tick_lots: int
    balance_tick_lots: int
    last_trade_ticks: int
    bought_lots: int
    sold_lots: int
    trades: int
    bids: Records
    asks: Records
    orders: Records
    instruments: Records


_LIMIT, _GTD = int(OrderType.LIMIT), int(TimeInForce.GTD)
_LEVELS = from_dtype(LEVEL_DTYPE)[::1]
_ORDERS = from_dtype(ORDER_DTYPE)[::1]
_ACTIONS = from_dtype(ACTION_DTYPE)[::1]
_INSTRUMENTS = from_dtype(INSTRUMENT_DTYPE)[::1]
VIEW_TYPE = types.NamedTuple((types.int64,) * 14 + (_LEVELS, _LEVELS, _ORDERS, _INSTRUMENTS), View)
SIGNATURE = types.void(VIEW_TYPE, types.float64[::1], types.float64[::1], _ACTIONS)
"""The one signature: on_wake(view, params, memory, actions)."""


@njit
def _add(
    actions: Records,
    kind: int,
    order_id: int,
    side: int,
    order_type: int,
    time_in_force: int,
    post_only: int,
    price_ticks: int,
    qty_lots: int,
    expire_ts: int,
    instrument: int,
) -> None:
    count = actions[0]["kind"] + 1
    if count >= len(actions):
        raise IndexError("a strategy made more requests in one wake-up than are allowed")
    action = actions[count]
    action["kind"] = kind
    action["order_id"] = order_id
    action["side"] = side
    action["order_type"] = order_type
    action["time_in_force"] = time_in_force
    action["post_only"] = post_only
    action["price_ticks"] = price_ticks
    action["qty_lots"] = qty_lots
    action["expire_ts"] = expire_ts
    action["instrument"] = instrument
    actions[0]["kind"] = count


@njit
def place(
    actions: Records, side: int, order_type: int, time_in_force: int, post_only: int, price_ticks: int, qty_lots: int
) -> None:
    """Ask for a new order; more than MAX_ACTIONS requests in one wake-up raise IndexError."""
    _add(actions, PLACE, 0, side, order_type, time_in_force, post_only, price_ticks, qty_lots, 0, 0)


@njit
def place_until(actions: Records, side: int, post_only: int, price_ticks: int, qty_lots: int, expire_ts: int) -> None:
    """Ask for a new limit order that the venue ends at `expire_ts` (GTD)."""
    _add(actions, PLACE, 0, side, _LIMIT, _GTD, post_only, price_ticks, qty_lots, expire_ts, 0)


@njit
def place_on(
    actions: Records,
    instrument: int,
    side: int,
    order_type: int,
    time_in_force: int,
    post_only: int,
    price_ticks: int,
    qty_lots: int,
) -> None:
    """Ask for a new order of one of several instruments."""
    _add(actions, PLACE, 0, side, order_type, time_in_force, post_only, price_ticks, qty_lots, 0, instrument)


@njit
def cancel(actions: Records, order_id: int) -> None:
    """Ask to cancel an own order."""
    _add(actions, CANCEL, order_id, 0, 0, 0, 0, 0, 0, 0, 0)


@njit
def amend(actions: Records, order_id: int, price_ticks: int, qty_lots: int) -> None:
    """Ask to change an own limit order in place; it keeps its place in the queue when it only shrinks.

    `qty_lots` is the whole quantity, what has been filled included; one not above that ends the order. A change that
    the venue refuses (post-only would take, no funds) leaves the order as it was.
    """
    _add(actions, AMEND, order_id, 0, 0, 0, 0, price_ticks, qty_lots, 0, 0)


class Place(NamedTuple):
    """A decoded request for a new order."""

    side: int
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    price_ticks: int
    qty_lots: int
    expire_ts: int = 0
    instrument: int = 0


class Cancel(NamedTuple):
    """A decoded request to cancel."""

    order_id: int


class Amend(NamedTuple):
    """A decoded request to change an order."""

    order_id: int
    price_ticks: int
    qty_lots: int


class OwnOrder(NamedTuple):
    """One own order for `make_view`, fields as in ORDER_DTYPE."""

    order_id: int
    side: int
    price_ticks: int
    qty_lots: int
    leaves_lots: int
    status: int = 1
    cancel_pending: int = 0
    queue_ahead_lots: int = 0
    submitted_ts: int = 0
    amend_pending: int = 0
    instrument: int = 0


def make_view(
    *,
    now_ts: int,
    bids: Sequence[tuple[int, int]] = (),
    asks: Sequence[tuple[int, int]] = (),
    position_lots: int = 0,
    cash_tick_lots: int = 0,
    fees_tick_lots: int = 0,
    balance_tick_lots: int = 0,
    last_trade_ticks: int = 0,
    bought_lots: int = 0,
    sold_lots: int = 0,
    trades: int = 0,
    orders: Sequence[OwnOrder] = (),
    instruments: Sequence[tuple[int, ...]] = (),
    wake_reason: int = WAKE_TIMER,
) -> View:
    """Return a view from plain values, for the live loop and for tests of a strategy alone.

    `bids` and `asks` are (price_ticks, qty_lots), best first; the best prices are taken from them. `instruments` are
    records of INSTRUMENT_DTYPE.
    """
    best_bid, best_ask = (bids[0] if bids else (0, 0)), (asks[0] if asks else (0, 0))
    return View(
        now_ts=now_ts,
        wake_reason=wake_reason,
        best_bid_ticks=best_bid[0],
        best_bid_lots=best_bid[1],
        best_ask_ticks=best_ask[0],
        best_ask_lots=best_ask[1],
        position_lots=position_lots,
        cash_tick_lots=cash_tick_lots,
        fees_tick_lots=fees_tick_lots,
        balance_tick_lots=balance_tick_lots,
        last_trade_ticks=last_trade_ticks,
        bought_lots=bought_lots,
        sold_lots=sold_lots,
        trades=trades,
        bids=np.array([tuple(level) for level in bids], dtype=LEVEL_DTYPE),
        asks=np.array([tuple(level) for level in asks], dtype=LEVEL_DTYPE),
        orders=np.array([tuple(order) for order in orders], dtype=ORDER_DTYPE),
        instruments=np.array([tuple(instrument) for instrument in instruments], dtype=INSTRUMENT_DTYPE),
    )


def new_actions() -> Records:
    """Return an empty array of actions."""
    return np.zeros(MAX_ACTIONS + 1, dtype=ACTION_DTYPE)


def decode(actions: Records) -> list[Place | Cancel | Amend]:
    """Return the requests in `actions`, in the order in which they were made.

    ValueError for an order type, a time in force or a `post_only` that there is none of.
    """
    decoded: list[Place | Cancel | Amend] = []
    for action in actions[1 : 1 + int(actions[0]["kind"])]:
        if action["kind"] == CANCEL:
            decoded.append(Cancel(int(action["order_id"])))
        elif action["kind"] == AMEND:
            decoded.append(Amend(int(action["order_id"]), int(action["price_ticks"]), int(action["qty_lots"])))
        elif action["post_only"] not in (0, 1):
            raise ValueError(f"post_only of {action['post_only']}; it is 0 or 1")
        else:
            decoded.append(
                Place(
                    side=int(action["side"]),
                    order_type=OrderType(int(action["order_type"])),
                    time_in_force=TimeInForce(int(action["time_in_force"])),
                    post_only=bool(action["post_only"]),
                    price_ticks=int(action["price_ticks"]),
                    qty_lots=int(action["qty_lots"]),
                    expire_ts=int(action["expire_ts"]),
                    instrument=int(action["instrument"]),
                )
            )
    return decoded
