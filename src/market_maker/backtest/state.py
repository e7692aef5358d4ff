"""The memory of replays that share one market: record layouts, codes and the constructor. Arrays only.

A state holds K sets: runs that differ in parameters, latencies or funds and replay the same rows. What belongs to a set
has a leading dimension K, and no set reads another's; the recorded book and the clock exist once. K = 1 is an ordinary
run. Everything is plain arrays in named tuples made in Python: nothing is compiled to make it, the interpreted kernel
runs on the same memory, and a caller may look at it between two calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.fee_models import FEE_DTYPE
from market_maker.backtest.ladder.kernel import Ladder, new_book
from market_maker.backtest.latency_models import LatencyState, constant
from market_maker.strategies.actions import (
    INSTRUMENT_DTYPE,
    LEVEL_DTYPE,
    MAX_ACTIONS,
    ORDER_DTYPE,
    Records,
    new_actions,
)

FOREVER = 2**62
ORDERS_MAX = 1024
"""Own orders of a set that may be open or in flight at one time."""
IN_FLIGHT_MAX = 1 << 14
"""Messages of a set that may be under way in each direction."""
WALK_LEVELS_MAX = 1000
"""Levels that one order may take from."""
ROOM = WALK_LEVELS_MAX + ORDERS_MAX + 1
"""Fills that one event may need at most with one set; less stops the loop so that its caller can empty the buffers."""
FILLS_BUFFER = 1 << 16
FILLS_BUFFER_OF_SET = 1 << 13
SAMPLES_BUFFER = 1 << 17
INSTANTS_BUFFER = 1 << 12
"""Fills and samples that are kept before they are moved out: of all sets, of one set (more than `ROOM`), and of all instants."""
BUCKETS = 1 << 12
"""Ticks are hashed to so many lists of own orders; a power of two."""
CHANCE_SCALE = 10**9
"""`chance_e9` of an order whose counterparty is always there."""
IMPACT_SCALE = 10**9
MESSAGES_MAX = 1 << 12
"""Messages of a set that its limits remember: more than any limit may allow in a second."""
MARKS_MAX = 1 << 16
"""Levels from which own orders of a set have taken something that the feed has not refreshed."""


class Code(IntEnum):
    """What one call of the kernel came back with."""

    REACHED = 0
    NEEDS_EXCHANGE_ROWS = 1
    NEEDS_LOCAL_ROWS = 2
    BUFFERS_FULL = 3
    TOO_MANY_ORDERS = 4
    TOO_MANY_IN_FLIGHT = 5
    INVALID_ORDER = 6
    TOO_MANY_MARKS = 7
    AWAKE = 8
    """Sets are to be woken by the caller: see `reasons`."""
    ENDLESS = 9


class Reason(IntEnum):
    """Why the venue ended or refused an order; the face translates these into `RejectReason`."""

    NONE = 0
    INSUFFICIENT_BALANCE = 1
    NO_LIQUIDITY = 2
    POST_ONLY_WOULD_TAKE = 3
    TIME_IN_FORCE = 4
    CANNOT_FILL_COMPLETELY = 5
    NOT_THERE = 6
    LOST_ON_THE_WAY = 7
    # Refused by its owner's limits before it left: the limit's kind, or what an earlier breach holds back.
    MAX_ORDER_SIZE = 8
    MAX_ORDER_NOTIONAL = 9
    PRICE_COLLAR = 10
    MAX_MESSAGE_RATE = 11
    MAX_REPEATED_ORDERS = 12
    MAX_WORST_CASE_POSITION = 13
    MAX_POSITION = 14
    MAX_NOTIONAL = 15
    REDUCING = 16
    HALTED = 17


class LimitPlace(IntEnum):
    """Where the limit of a kind stands in `limits`; an order is held against the first eight, in this order."""

    MAX_ORDER_SIZE = 0
    MAX_ORDER_NOTIONAL = 1
    PRICE_COLLAR = 2
    MAX_MESSAGE_RATE = 3
    MAX_REPEATED_ORDERS = 4
    MAX_WORST_CASE_POSITION = 5
    MAX_POSITION = 6
    MAX_NOTIONAL = 7
    MAX_LOSS = 8
    MAX_DRAWDOWN = 9


class HoldCode(IntEnum):
    """What a breach holds back; in the order of `risk.limits.Hold`."""

    ACTIVE = 0
    REDUCING = 1
    HALTED = 2


class FillCause(IntEnum):
    """What filled an order: it took, a trade went through its price or at its price, a level or the whole book reached it."""

    TAKEN = 0
    TRADE_THROUGH = 1
    TRADE_AT = 2
    CROSSED = 3
    DISPLACED = 4


class Note(IntEnum):
    """What an entry of the log says; the first three are decisions of the owner, stamped with his clock.

    QUEUE_TRADE to QUEUE_CLEARED are kept of an explained order alone: a trade at its price, a level that changed, a book
    that moved, a side that was cleared.
    """

    NEW_SENT = 0
    CANCEL_SENT = 1
    AMEND_SENT = 2
    RESTED = 3
    AMENDED = 4
    FILLED = 5
    CANCELED = 6
    EXPIRED = 7
    REJECTED = 8
    REFUSED = 9
    LOST = 10
    MISSED = 11
    QUEUE_TRADE = 12
    QUEUE_LEVEL = 13
    QUEUE_MOVED = 14
    QUEUE_CLEARED = 15


def _int64_record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


CLOCK_DTYPE = _int64_record(
    "clock_ts", "next_sample_ts", "sample_interval_ns", "sample_end_ts", "exchange_row", "local_row", "events",
    # places in the lists of a stretch
    "exchange_special", "local_special", "local_trade", "local_event",
    # counts: fills, instants and log entries in the buffers, sets that wait for a request to arrive, clocks that wake
    "fill_count", "sample_count", "log_count", "agenda_count", "wake_count",
    # what own orders have taken: marks in use, the first free one and how many were ever made
    "marks", "free_mark", "marks_made",
    # public trades since the beginning, as the strategy sees them
    "last_trade_ticks", "bought_lots", "sold_lots", "trades",
    # what wakes besides clocks (WAKE_*), whether the caller wakes, the first answer to a set that wakes on its own orders
    "wakes_on", "hands_over", "next_answer_ts",
    # why rows seen by now wake, and when; the instant of the last wake-up and how many there were at it
    "market_reasons", "market_ts", "last_wake_ts", "wakes_at_once",
    # the next end of an order good till a date, the next funding instant and its place in the list
    "next_expiry_ts", "next_funding_ts", "funding_row",
    # 1 once the rows have ended and only what is in flight still arrives: no order expires any more
    "ended",
    # events in the window before the present instant, for latency under load
    "load_events",
    # own orders have pushed the book and it has not moved yet; when the push was last valued
    "pushed", "impact_ts",
    # 0: no log, 1: all orders, 2: the explained one, and its id
    "logs", "explained_id",
    # a Code that stops the loop
    "refusal",
)  # fmt: skip

HEAD_DTYPE = _int64_record(
    # what every wake-up reads: the ledger as its owner knows it, public trades up to the last one, counts and rings
    "known_position_lots", "known_cash_tick_lots", "known_fees_tick_lots", "bought_lots", "sold_lots", "trades",
    "balance_tick_lots", "open_count", "free_count", "last_order_id", "request_first", "request_count", "response_first",
    "response_count", "chance_e9", "impact_e9",
    # what every request reads: configuration, the venue's ledger, counts
    "queue_model", "partial_fill", "leverage", "cash_account", "position_lots", "cost_tick_lots", "realised_tick_lots",
    "cash_tick_lots", "fees_tick_lots", "funding_tick_lots", "open_buys_tick_lots", "open_sells_tick_lots",
    "open_sell_lots", "orders_rejected", "orders_canceled", "orders_expired",
    # what is rare
    "keeps_ended", "seed", "impact_half_life_ns",
)  # fmt: skip
"""What belongs together stands together: with many sets, fetching memory is much of the work. Records below are narrow
for the same reason; codes and slots need no 64 bits."""

NODE_DTYPE = np.dtype(
    [
        ("tick", np.int64), ("lots", np.int64),
        ("set", np.int32), ("next", np.int32), ("before", np.int32), ("side", np.int16), ("modelled", np.int16),
    ]
)  # fmt: skip
"""An own resting order (`lots`: the queue ahead) or, after all of them, a mark (`lots`: what was taken of a level), in the
list of its tick; `next` and `before` are -1 at the ends, `modelled` is 1 where a queue needs more than that quantity."""

QUEUE_DTYPE = np.dtype([("front", np.float64), ("cum", np.float64), ("shown_lots", np.int64), ("joined_ts", np.int64)])
"""What a queue model remembers of an own resting order besides its node: see `queue_models.kernel`; what its level last
displayed, and when the order took its place."""

WAKE_DTYPE = _int64_record("interval_ns", "first_set", "end_set")
"""A clock that wakes the sets first_set .. end_set - 1."""

SLOT_DTYPE = np.dtype(
    [
        # as its owner knows it
        ("order_id", np.int64), ("known_price_ticks", np.int64), ("known_qty_lots", np.int64),
        ("known_leaves_lots", np.int64), ("known_front_lots", np.int64), ("known_filled_lots", np.int64),
        ("submitted_ts", np.int64), ("side", np.int8), ("known_status", np.int8), ("cancel_pending", np.int8),
        ("amend_pending", np.int8), ("known_reason", np.int16), ("order_type", np.int8), ("time_in_force", np.int8),
        # at the venue
        ("price_ticks", np.int64), ("qty_lots", np.int64), ("leaves_lots", np.int64), ("joined_front_lots", np.int64),
        ("expire_ts", np.int64), ("chance_e9", np.int32), ("chances", np.int32), ("impact_e9", np.int32),
        ("status", np.int8), ("post_only", np.int8), ("unused", np.int16), ("unused_too", np.int64),
    ]
)  # fmt: skip
"""One own order, 128 bytes."""

REQUEST_DTYPE = np.dtype(
    [
        ("arrival_ts", np.int64), ("order_id", np.int64), ("price_ticks", np.int64), ("qty_lots", np.int64),
        ("slot", np.int32), ("kind", np.int32),
    ]
)  # fmt: skip
RESPONSE_DTYPE = np.dtype(
    [
        ("arrival_ts", np.int64), ("order_id", np.int64), ("slot", np.int32), ("kind", np.int8), ("status", np.int8),
        ("reason", np.int16), ("leaves_lots", np.int64), ("front_lots", np.int64), ("position_lots", np.int64),
        ("cash_tick_lots", np.int64), ("fee_tick_lots", np.int64), ("price_ticks", np.int64), ("qty_lots", np.int64),
    ]
)  # fmt: skip
"""`kind`: 0 the state of an order; otherwise a request of this kind was refused and its order is as it was."""
FILL_DTYPE = _int64_record(
    "exch_ts", "order_id", "side", "liquidity", "price_ticks", "qty_lots", "fee_tick_lots", "position_lots",
    "cash_tick_lots", "fees_tick_lots", "mid_half_ticks", "cause", "joined_front_lots",
)  # fmt: skip
SAMPLE_DTYPE = _int64_record(
    "ts", "position_lots", "cash_tick_lots", "fees_tick_lots", "funding_tick_lots", "mid_half_ticks"
)
LOG_DTYPE = _int64_record(
    "ts", "order_id", "note", "side", "price_ticks", "qty_lots", "leaves_lots", "queue_ahead_lots", "reason",
    "best_bid_ticks", "best_ask_ticks",
)  # fmt: skip

LIMIT_DTYPE = _int64_record(
    # configuration: whether there is such a limit, its bounds in whole units (see `risk.rules.state_of`), a HoldCode
    "is_set", "bound", "held_above", "warn_from", "warned_from", "on_breach",
    # the last and the largest value, and how often it was evaluated
    "state", "evaluated", "value", "ts", "most",
    # how often it came to warn and to be breached, the first time and value of each, and the orders that it refused
    "warnings", "warned_ts", "warned_value", "breaches", "breached_ts", "breached_value", "refused",
)  # fmt: skip
GUARD_DTYPE = _int64_record(
    # what is held back, since when, by the limit in which place; whether open orders are still to be cancelled
    "hold", "hold_ts", "hold_place", "cancels",
    # the most that has been earned, in half tick-lots; messages so far; orders refused by a hold
    "peak", "messages", "refused",
)  # fmt: skip
MESSAGE_DTYPE = _int64_record("ts", "side", "price_ticks", "qty_lots")


_ENDS = np.array([FOREVER], np.int64)
_NOTHING = np.zeros(0, np.int64)
_NOTHING.flags.writeable = False  # As the rows of a feed.


class Stretch(NamedTuple):
    """Rows of one stream with what is known of them beforehand.

    ts, price_ticks, qty_lots, code : as `market_data.replay.Rows`
    quotes : (n, 2) int64, best bid and ask after each row in ticks; see `ladder.kernel.EMPTY_SIDE`
    slots : (n,) int32, where the book keeps the quantity of the row's level; the last place for other rows
    specials : int64, the rows that concern the whole book (clears, shifts), then FOREVER
    trades : int64, the rows that are trades, then FOREVER
    joined_ts : (n,) int64, see `market_data.stretch.Rows`; empty for feeds that are not made of orders
    wakes : int64, the rows that wake strategies which ask for it, then FOREVER
    """

    ts: Any
    price_ticks: Any
    qty_lots: Any
    code: Any
    quotes: Any
    slots: Any
    specials: Any
    trades: Any
    joined_ts: Any = _NOTHING
    wakes: Any = _ENDS


class ReplayState(NamedTuple):
    """All memory of K replays; fields are arrays so that compiled code can write to them.

    clock (1,), head (K,), orders (K, n), resting (K, 2, n) with resting_count (K, 2), open_slots and free_slots (K, n), requests and responses
    (K, m) rings; nodes (K * n + marks,) of the lists that begin at heads (2, BUCKETS); own_best (2, K), the best own
    prices resting, and bound (2,), those of all sets; agenda_ts and agenda_set, a heap of the sets with a request under
    way; wake_ts and wake_clock, a heap of the clocks in wakes, reasons (K,) of the present wake-up; fills with fill_sets;
    samples (instants, K); log with log_sets. queues (K, n) with queue_n (K,); latency (K,) with requests and answers that
    were recorded, and the load with the times carried over; fees (K,), fee_tiers (K, tiers, 3), fee_volumes (K, days);
    funding_ts and funding_e8 as in `fee_models.funding`; impact (1,), by how many ticks own orders push the book (K = 1).
    limits (K, places), guard (K,) and messages (K, MESSAGES_MAX), all without elements where no set has limits.
    """

    clock: Records
    head: Records
    orders: Records
    resting: Any
    resting_count: Any
    open_slots: Any
    free_slots: Any
    requests: Records
    responses: Records
    nodes: Records
    heads: Any
    own_best: Any
    bound: Any
    agenda_ts: Any
    agenda_set: Any
    wake_ts: Any
    wake_clock: Any
    wakes: Records
    reasons: Any
    fills: Records
    fill_sets: Any
    samples: Records
    log: Records
    log_sets: Any
    queues: Records
    queue_n: Any
    latency: Records
    recorded_requests: Any
    recorded_answers: Any
    load: Records
    carried: Any
    fees: Records
    fee_tiers: Any
    fee_volumes: Any
    funding_ts: Any
    funding_e8: Any
    impact: Any
    limits: Records
    guard: Records
    messages: Records
    exchange: Ladder
    local: Ladder
    view_bids: Records
    view_asks: Records
    view_orders: Records
    view_instruments: Records
    actions: Records


def no_stretch() -> Stretch:
    """Return an empty stretch."""
    codes = np.zeros(0, np.int8)
    codes.flags.writeable = False
    quotes, slots = np.zeros((0, 2), np.int64), np.zeros(0, np.int32)
    return Stretch(_NOTHING, _NOTHING, _NOTHING, codes, quotes, slots, _ENDS, _ENDS)


def new_state(
    *,
    exchange: Ladder,
    local: Ladder,
    depth_levels: int = 0,
    sets: int = 1,
    orders: int | None = None,
    in_flight: int | None = None,
    marks: int | None = None,
    latency: LatencyState | None = None,
    fee_shape: tuple[int, int] = (1, 1),
    funding: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    logs: int = 0,
    limited: bool = False,
) -> ReplayState:
    """Return the state of replays that have not begun; times and money are set by the face.

    exchange, local : the ladders that follow the streams (`quotes`)
    sets, orders, in_flight, marks : K, n, m, and marks of each set; None: what one run may need
    latency : recorded requests and answers, window of load; None: neither
    fee_shape : tiers and days of the tables of fees
    funding : instants and payments
    logs : what is logged, see CLOCK_DTYPE
    limited : whether a set has limits
    """
    n = ORDERS_MAX if orders is None else orders
    m = IN_FLIGHT_MAX if in_flight is None else in_flight
    kept = MARKS_MAX if marks is None else marks
    head = np.zeros(sets, HEAD_DTYPE)
    head["free_count"] = n
    head["leverage"] = 1
    head["chance_e9"] = CHANCE_SCALE
    clock = np.zeros(1, CLOCK_DTYPE)
    for name in ("next_sample_ts", "next_answer_ts", "next_expiry_ts", "next_funding_ts"):
        clock[name] = FOREVER
    clock["free_mark"] = -1
    clock["logs"] = logs
    fills = min(FILLS_BUFFER, FILLS_BUFFER_OF_SET * sets) + max(0, sets * n - ORDERS_MAX)
    entries = 2 * fills + 2 * MAX_ACTIONS * sets if logs else 1
    model = constant(0, 0) if latency is None else latency
    instants, payments = funding or (np.zeros(0, np.int64), np.zeros(0, np.int64))
    if len(instants):
        clock["next_funding_ts"] = instants[0]
    return ReplayState(
        clock=clock,
        head=head,
        orders=np.zeros((sets, n), SLOT_DTYPE),
        resting=np.zeros((sets, 2, n), np.int32),
        resting_count=np.zeros((sets, 2), np.int64),
        open_slots=np.zeros((sets, n), np.int32),
        free_slots=np.tile(np.arange(n - 1, -1, -1, dtype=np.int32), (sets, 1)),
        requests=np.zeros((sets, m), REQUEST_DTYPE),
        responses=np.zeros((sets, m), RESPONSE_DTYPE),
        nodes=np.zeros(sets * (n + kept), NODE_DTYPE),
        heads=np.full((2, BUCKETS), -1, np.int64),
        own_best=np.array([[-FOREVER] * sets, [FOREVER] * sets], np.int64),
        bound=np.array([-FOREVER, FOREVER], np.int64),
        agenda_ts=np.zeros(sets, np.int64),
        agenda_set=np.zeros(sets, np.int64),
        wake_ts=np.zeros(sets, np.int64),
        wake_clock=np.zeros(sets, np.int64),
        wakes=np.zeros(sets, WAKE_DTYPE),
        reasons=np.zeros(sets, np.int64),
        fills=np.zeros(fills, FILL_DTYPE),
        fill_sets=np.zeros(fills, np.int64),
        samples=np.zeros((max(2, min(INSTANTS_BUFFER, SAMPLES_BUFFER // sets)), sets), SAMPLE_DTYPE),
        log=np.zeros(entries, LOG_DTYPE),
        log_sets=np.zeros(entries, np.int64),
        queues=np.zeros((sets, n), QUEUE_DTYPE),
        queue_n=np.zeros(sets),
        latency=np.repeat(model.head, sets),
        recorded_requests=np.ascontiguousarray(model.requests),
        recorded_answers=np.ascontiguousarray(model.answers),
        load=model.load.copy(),
        carried=model.carried.copy(),
        fees=np.zeros(sets, FEE_DTYPE),
        fee_tiers=np.zeros((sets, fee_shape[0], 3), np.int64),
        fee_volumes=np.zeros((sets, fee_shape[1]), np.int64),
        funding_ts=instants,
        funding_e8=payments,
        impact=np.zeros(1),
        limits=np.zeros((sets * limited, len(LimitPlace)), LIMIT_DTYPE),
        guard=np.zeros(sets * limited, GUARD_DTYPE),
        messages=np.zeros((sets * limited, MESSAGES_MAX), MESSAGE_DTYPE),
        exchange=new_book(exchange),
        local=new_book(local),
        view_bids=np.zeros(depth_levels, LEVEL_DTYPE),
        view_asks=np.zeros(depth_levels, LEVEL_DTYPE),
        view_orders=np.zeros(n, ORDER_DTYPE),
        view_instruments=np.zeros(0, INSTRUMENT_DTYPE),
        actions=new_actions(),
    )


def wake_sets_every(state: ReplayState, intervals_ns: Sequence[int] | NDArray[np.int64], *, after_ts: int) -> None:
    """Wake set k at after_ts + j x intervals_ns[k], j >= 1; sets of one interval stand next to each other."""
    intervals = np.asarray(intervals_ns, np.int64)
    firsts = np.flatnonzero(np.concatenate([[True], intervals[1:] != intervals[:-1]]))
    clocks = len(firsts)
    state.wakes["interval_ns"][:clocks] = intervals[firsts]
    state.wakes["first_set"][:clocks] = firsts
    state.wakes["end_set"][:clocks] = [*firsts[1:], len(intervals)]
    order = np.argsort(intervals[firsts], kind="stable")
    # Sorted, hence a heap.
    state.wake_ts[:clocks] = after_ts + intervals[firsts][order]
    state.wake_clock[:clocks] = order
    state.clock["wake_count"] = clocks
