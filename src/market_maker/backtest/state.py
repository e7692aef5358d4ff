"""The memory of one replay: record layouts, codes and the constructor. Arrays only; the rules are in `kernel`.

Everything is plain arrays in named tuples made in Python: nothing is compiled to make it, the interpreted kernel
runs on the same memory, and a caller may look at it between two calls.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from market_maker.backtest.ladder.kernel import Ladder, new_ladder
from market_maker.strategies.actions import LEVEL_DTYPE, ORDER_DTYPE, Records, new_actions

FOREVER = 2**62
ORDERS_MAX = 1024
"""Own orders that may be open or in flight at one time."""
IN_FLIGHT_MAX = 1 << 14
WALK_LEVELS_MAX = 1000
"""Levels that one order may take from."""
ROOM = WALK_LEVELS_MAX + ORDERS_MAX + 1
"""Free records that one event may need at most; less stops the loop so that its caller can empty the buffers."""
FILLS_BUFFER = 1 << 15
SAMPLES_BUFFER = 1 << 15


class Code(IntEnum):
    """What one call of the kernel came back with."""

    REACHED = 0
    NEEDS_EXCHANGE_ROWS = 1
    NEEDS_LOCAL_ROWS = 2
    BUFFERS_FULL = 3
    TOO_MANY_ORDERS = 4
    TOO_MANY_IN_FLIGHT = 5
    INVALID_ORDER = 6


class Reason(IntEnum):
    """Why the venue ended an order without filling it; the face translates these into `RejectReason`."""

    NONE = 0
    INSUFFICIENT_BALANCE = 1
    NO_LIQUIDITY = 2
    POST_ONLY_WOULD_TAKE = 3
    TIME_IN_FORCE = 4


def _int64_record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


HEAD_DTYPE = _int64_record(
    # configuration
    "entry_latency_ns", "response_latency_ns", "maker_fee_e8", "taker_fee_e8", "balance_tick_lots", "partial_fill",
    "wake_interval_ns", "sample_interval_ns", "sample_end_ts", "keeps_ended",
    # time
    "clock_ts", "next_wake_ts", "next_sample_ts", "exchange_row", "local_row", "events",
    # the venue's ledger
    "position_lots", "cost_tick_lots", "realised_tick_lots", "cash_tick_lots", "fees_tick_lots",
    "open_buys_tick_lots", "open_sells_tick_lots",
    # the ledger as its owner knows it
    "known_position_lots", "known_cash_tick_lots", "known_fees_tick_lots",
    "last_trade_ticks", "bought_lots", "sold_lots", "trades",
    # counts
    "open_count", "free_count", "last_order_id", "orders_rejected", "orders_canceled",
    "orders_expired", "fill_count", "sample_count", "request_first", "request_count", "response_first", "response_count",
)  # fmt: skip

SLOT_DTYPE = _int64_record(
    "order_id", "side", "order_type", "time_in_force", "post_only", "price_ticks", "qty_lots", "submitted_ts",
    # at the venue
    "leaves_lots", "status", "front_lots",
    # as its owner knows it
    "known_leaves_lots", "known_status", "known_reason", "known_front_lots", "known_filled_lots", "cancel_pending",
)  # fmt: skip

REQUEST_DTYPE = _int64_record("arrival_ts", "cancels", "slot", "order_id")
RESPONSE_DTYPE = _int64_record(
    "arrival_ts", "slot", "order_id", "status", "reason", "leaves_lots", "front_lots",
    "position_lots", "cash_tick_lots", "fee_tick_lots",
)  # fmt: skip
FILL_DTYPE = _int64_record(
    "exch_ts", "order_id", "side", "liquidity", "price_ticks", "qty_lots", "fee_tick_lots", "position_lots",
    "cash_tick_lots", "fees_tick_lots", "mid_half_ticks",
)  # fmt: skip
SAMPLE_DTYPE = _int64_record("ts", "position_lots", "cash_tick_lots", "fees_tick_lots", "mid_half_ticks")


class ReplayState(NamedTuple):
    """All memory of one replay; fields are arrays so that compiled code can write to them."""

    head: Records
    orders: Records
    resting: Any
    resting_count: Any
    open_slots: Any
    free_slots: Any
    requests: Records
    responses: Records
    fills: Records
    samples: Records
    exchange: Ladder
    local: Ladder
    view_bids: Records
    view_asks: Records
    view_orders: Records
    actions: Records


def new_state(*, first_page: int, pages: int, pool: int, depth_levels: int, partial_fill: bool) -> ReplayState:
    """Return the state of a replay that has not begun; times and money are set by the face."""
    head = np.zeros(1, HEAD_DTYPE)
    head["partial_fill"] = int(partial_fill)
    head["free_count"] = ORDERS_MAX
    head["next_wake_ts"] = FOREVER
    head["next_sample_ts"] = FOREVER
    return ReplayState(
        head=head,
        orders=np.zeros(ORDERS_MAX, SLOT_DTYPE),
        resting=np.zeros((2, ORDERS_MAX), np.int64),
        resting_count=np.zeros(2, np.int64),
        open_slots=np.zeros(ORDERS_MAX, np.int64),
        free_slots=np.arange(ORDERS_MAX - 1, -1, -1, dtype=np.int64),
        requests=np.zeros(IN_FLIGHT_MAX, REQUEST_DTYPE),
        responses=np.zeros(IN_FLIGHT_MAX, RESPONSE_DTYPE),
        fills=np.zeros(FILLS_BUFFER, FILL_DTYPE),
        samples=np.zeros(SAMPLES_BUFFER, SAMPLE_DTYPE),
        exchange=new_ladder(first_page, pages, pool, keeps_taken=True),
        local=new_ladder(first_page, pages, pool, keeps_taken=False),
        view_bids=np.zeros(depth_levels, LEVEL_DTYPE),
        view_asks=np.zeros(depth_levels, LEVEL_DTYPE),
        view_orders=np.zeros(ORDERS_MAX, ORDER_DTYPE),
        actions=new_actions(),
    )
