"""The memory of one pair's matching engine: record layouts and the constructor. Arrays only.

Everything is plain arrays in a named tuple made in Python: the interpreted kernel runs on the same memory, a snapshot is
a copy of the arrays, and two engines with equal arrays go on alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

PAGE_SHIFT = 10
PAGE_TICKS = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_TICKS - 1
WORD_SHIFT = 5
WORDS = PAGE_TICKS >> WORD_SHIFT
"""A page's occupied ticks are a bitmap of so many words of 32 bits, and a summary word over them."""
NO_RANK = 1 << 60
"""Best rank of an empty side."""
FOREVER = 1 << 62
PRICE_TICKS_MAX = 1 << 40
MISS_SCALE = 10**9
EVENTS_MARGIN = 8
"""Events that one step of the engine writes at most."""
SIDES = 4
"""Bids, asks, buy stops, sell stops."""
CACHE_LINE = 64


def _with_words(fields: np.dtype[Any], words: dict[str, str]) -> np.dtype[Any]:
    """Return a layout in which 8 bytes that begin with a field can also be read and written as one word."""
    placed = fields.fields
    assert placed is not None and fields.names is not None
    names = [*fields.names, *words]
    formats = [placed[name][0] for name in fields.names] + [np.dtype(np.int64)] * len(words)
    offsets = [placed[name][1] for name in (*fields.names, *words.values())]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": fields.itemsize})


COMMAND_DTYPE = _with_words(
    np.dtype(
        [
            ("kind", np.int8), ("side", np.int8), ("order_type", np.int8), ("time_in_force", np.int8), ("owner", np.int32),
            ("order_id", np.int64), ("price_ticks", np.int64), ("qty_lots", np.int64),
            ("stop_ticks", np.int64), ("display_lots", np.int64), ("ts", np.int64),
            ("miss_e9", np.int32), ("impact_e9", np.int32),
            ("post_only", np.int8), ("self_trade", np.int8), ("unused", np.int16), ("unused_too", np.int32),
        ]
    ),
    {"codes": "kind", "chances": "miss_e9", "handling": "post_only"},
)  # fmt: skip
"""One command, 72 bytes. `side` +1 buy, -1 sell. `order_id` is the caller's, positive and unique among open orders; 0
lets the engine number the order (-1, -2, ...). `ts` is the end of a GTD order, or the time of CLOCK. `miss_e9` is 1e9
times (1 - execution probability), `impact_e9` 1e9 times the price impact. Zero means: none."""

EVENT_DTYPE = np.dtype(
    [
        ("sequence", np.int64), ("ts", np.int64),
        ("kind", np.int8), ("cause", np.int8), ("side", np.int8), ("liquidity", np.int8), ("owner", np.int32),
        ("order_id", np.int64), ("price_ticks", np.int64), ("qty_lots", np.int64), ("leaves_lots", np.int64),
        ("match_id", np.int64),
    ]
)  # fmt: skip
"""One event, 64 bytes. `price_ticks` is the order's price (of a fill: the trade's), `qty_lots` the quantity concerned,
`leaves_lots` what stays open. The two FILLED events of a trade share a `match_id`. PHASE_CHANGED tells the phase in
`liquidity`, the auction's price and quantity (0 without one)."""

ORDER_DTYPE = _with_words(
    np.dtype(
        [
            ("order_id", np.int64), ("rank", np.int64), ("qty_lots", np.int64), ("leaves_lots", np.int64),
            ("shown_lots", np.int64), ("next", np.int32), ("before", np.int32), ("level", np.int32), ("owner", np.int32),
            ("book", np.int8), ("order_type", np.int8), ("time_in_force", np.int8), ("detailed", np.int8),
            ("self_trade", np.int8), ("post_only", np.int8), ("unused", np.int16),
        ]
    ),
    {"codes": "book"},
)  # fmt: skip
"""What every order has, 64 bytes: one cache line. `rank` is the price such that less is better, see `levels.kernel`;
`before` and `next` its neighbours in the queue of its level; `book` the side's number."""

DETAIL_DTYPE = np.dtype(
    [
        ("limit_ticks", np.int64), ("display_lots", np.int64), ("expire_ts", np.int64), ("number", np.int64),
        ("owner_next", np.int32), ("owner_before", np.int32), ("heap_place", np.int32), ("miss_e9", np.int32),
        ("impact_e9", np.int64),
    ]
)  # fmt: skip
"""What an order has only if `detailed`: with an owner, a stop, a display quantity, an end, or a chance."""

LEVEL_DTYPE = np.dtype(
    [("first", np.int32), ("last", np.int32), ("shown_lots", np.int64), ("hidden_lots", np.int64), ("orders", np.int64)]
)
ID_SHIFT = 6
ID_PAGE = 1 << ID_SHIFT
"""Ids are looked up in pages of so many: ids that come in a row stand in a row."""


def _int64_record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


HEAD_DTYPE = _int64_record(
    # filters; 0: none
    "price_step_ticks", "lot_step", "qty_lots_max", "notional_min", "collar_ticks", "static_band_ticks",
    "dynamic_band_ticks", "volatility_auction_ns",
    # where the engine stands
    "phase", "clock_ts", "auction_end_ts", "reference_ticks", "last_ticks", "sequence", "match_id", "numbered",
    "placed", "seed", "draws",
    # counts
    "free_orders", "free_id_pages", "free_pages", "stops", "expiring", "event_count", "traded_lots",
    # a command in hand: its stage and the one that follows, the order that takes, where it has got to, how far it may go,
    # the last price before it; what an auction found; which orders are canceled; where time goes
    "code", "stage", "after", "slot", "cursor", "limit_rank", "base_ticks", "auction_ticks", "auction_lots", "next_phase",
    "cancel_owner", "cancel_side", "target_ts",
    # relative displacement by own executions, 1e-12, since it was last taken; see `price_impact`
    "impact_e12",
)  # fmt: skip


class MatchingState(NamedTuple):
    """All memory of one engine.

    head (1,); orders, details (n + 1,), of which the last is a sink for links that lead nowhere, with free_orders (n,) a
    stack; id_directory (power of two,) of id_pages (n * ID_PAGE,) slots by order id, with id_keys, id_next, id_counts and
    the stack free_ids (n,); owners (m, 2) first and last slot of each owner's orders, suspended (m,); expiry (n,) a heap of slots.
    best (4,) ranks; pages (4, p) positions of the pages in use, worst first, and page_counts (4,); page_keys,
    page_next, page_places (p,); directory (power of two,); summaries (p,), words (p * WORDS,), levels (p * PAGE_TICKS + 1,), the last one a sink, too;
    free_pages (p,) a stack; events (e,); inbox (1,), where a single command is put together.
    """

    head: Any
    orders: Any
    details: Any
    free_orders: Any
    id_directory: Any
    id_pages: Any
    id_keys: Any
    id_next: Any
    id_counts: Any
    free_ids: Any
    owners: Any
    suspended: Any
    expiry: Any
    best: Any
    pages: Any
    page_counts: Any
    page_keys: Any
    page_next: Any
    directory: Any
    summaries: Any
    words: Any
    levels: Any
    free_pages: Any
    events: Any
    inbox: Any


def _power_of_two(least: int) -> int:
    return 1 << max(3, (least - 1).bit_length())


def in_cache_lines(count: int, record: np.dtype[Any]) -> Any:
    """Return records of zeros that begin where a line of the processor's cache does: those of 64 bytes fill a line each."""
    memory = np.zeros(count * record.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + count * record.itemsize].view(record)


def empty_ids(orders: int) -> dict[str, Any]:
    """Return the arrays that find orders by their id, empty."""
    id_pages = in_cache_lines(orders * ID_PAGE, np.dtype(np.int32))
    id_pages[:] = -1
    return {
        "id_directory": np.full(_power_of_two(2 * orders), -1, np.int32),
        "id_pages": id_pages,
        "id_keys": np.zeros(orders, np.int64),
        "id_next": np.full(orders, -1, np.int32),
        "id_counts": np.zeros(orders, np.int32),
        "free_ids": np.arange(orders - 1, -1, -1, dtype=np.int32),
    }


def empty_levels(pages: int) -> dict[str, Any]:
    """Return the arrays of the price levels with room for `pages` pages, all of them free."""
    levels = in_cache_lines(pages * PAGE_TICKS + 1, LEVEL_DTYPE)
    levels["first"] = levels["last"] = -1
    return {
        "pages": np.zeros((SIDES, pages), np.int32),
        "page_keys": np.zeros(pages, np.int64),
        "page_next": np.full(pages, -1, np.int32),
        "directory": np.full(_power_of_two(2 * pages), -1, np.int32),
        "summaries": np.zeros(pages, np.int64),
        "words": np.zeros(pages * WORDS, np.int64),
        "levels": levels,
        "free_pages": np.arange(pages - 1, -1, -1, dtype=np.int32),
    }


def new_state(*, orders: int, owners: int, pages: int, events: int) -> MatchingState:
    """Return an empty engine in phase PRE_OPEN with room for so many open orders, owners, pages and events."""
    head = np.zeros(1, HEAD_DTYPE)
    head["free_orders"] = head["free_id_pages"] = orders
    head["free_pages"] = pages
    head["slot"] = head["cursor"] = -1
    return MatchingState(
        head=head,
        orders=in_cache_lines(orders + 1, ORDER_DTYPE),
        details=np.zeros(orders + 1, DETAIL_DTYPE),
        free_orders=np.arange(orders - 1, -1, -1, dtype=np.int32),
        **empty_ids(orders),
        owners=np.full((owners, 2), -1, np.int32),
        suspended=np.zeros(owners, np.int8),
        expiry=np.zeros(orders, np.int32),
        best=np.full(SIDES, NO_RANK, np.int64),
        page_counts=np.zeros(SIDES, np.int64),
        events=in_cache_lines(events, EVENT_DTYPE),
        inbox=np.zeros(1, COMMAND_DTYPE),
        **empty_levels(pages),
    )
