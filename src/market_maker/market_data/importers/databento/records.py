"""Layouts and codes of DBN's records, which are the same in versions 1 to 3, and what a run of them says by itself.

Source: the structures of github.com/databento/dbn (record.rs, enums.rs).
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.market_data.schema import DAY_NS, EventKind

UNDEFINED_PRICE, UNDEFINED_SIZE = 2**63 - 1, 2**32 - 1
LAST, SNAPSHOT, BAD_TS_RECV, MAYBE_BAD_BOOK = 128, 32, 8, 4

Records = NDArray[Any]
Fields = list[tuple[str, str]]
_HEADER: Fields = [
    ("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"), ("ts_event", "<u8"),
]  # fmt: skip
_TRADE: Fields = [
    *_HEADER, ("price", "<i8"), ("size", "<u4"), ("action", "u1"), ("side", "u1"), ("flags", "u1"), ("depth", "u1"),
    ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
]  # fmt: skip
_LEVEL: Fields = [
    ("bid_px", "<i8"), ("ask_px", "<i8"), ("bid_sz", "<u4"), ("ask_sz", "<u4"), ("bid_ct", "<u4"), ("ask_ct", "<u4"),
]  # fmt: skip
_ORDER: Fields = [
    *_HEADER, ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("flags", "u1"), ("channel_id", "u1"),
    ("action", "u1"), ("side", "u1"), ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
]  # fmt: skip
_BAR: Fields = [*_HEADER, ("open", "<i8"), ("high", "<i8"), ("low", "<i8"), ("close", "<i8"), ("volume", "<u8")]

MBO, TRADES, MBP_1, MBP_10, SYMBOL_MAPPING = 160, 0, 1, 10, 22
DTYPES = {
    MBO: np.dtype(_ORDER),
    TRADES: np.dtype(_TRADE),
    MBP_1: np.dtype([*_TRADE, ("levels", _LEVEL, 1)]),
    MBP_10: np.dtype([*_TRADE, ("levels", _LEVEL, 10)]),
} | dict.fromkeys((32, 33, 34, 35), np.dtype(_BAR))
INTERVALS_S = {32: 1, 33: 60, 34: 3600, 35: 86_400}
SUPPORTED = "mbo, mbp-1, mbp-10, tbbo, trades, ohlcv-1s, ohlcv-1m, ohlcv-1h, ohlcv-1d"


def _codes(meaning: dict[str, int], other: int) -> NDArray[np.int8]:
    table = np.full(256, other, np.int8)
    for letter, code in meaning.items():
        table[ord(letter)] = code
    return table


NO_ROW, WRONG = 0, 127
ACTIONS = _codes(
    {
        "A": EventKind.ADD, "C": EventKind.CANCEL, "M": EventKind.MODIFY, "R": EventKind.CLEAR, "T": EventKind.TRADE,
        "F": NO_ROW, "N": NO_ROW,
    },
    WRONG,
)  # fmt: skip
SIDES = _codes({"B": 1, "A": -1, "N": 0}, WRONG)


def side_of(levels: Records, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return prices and sizes of a side; both 0 where it is empty."""
    price, size = levels[f"{name}_px"].astype(np.int64), levels[f"{name}_sz"].astype(np.int64)
    empty = (price == UNDEFINED_PRICE) | (size == 0) | (size == UNDEFINED_SIZE)
    return np.where(empty, 0, price), np.where(empty, 0, size)


def ends_of(records: Records) -> NDArray[np.bool_]:
    """Return after which records the book is whole: those flagged so, and the last one of a snapshot."""
    flags = records["flags"]
    ends: NDArray[np.bool_] = (flags & LAST) != 0
    snapshot = (flags & SNAPSHOT) != 0
    ends[:-1] |= snapshot[:-1] & ~snapshot[1:]
    return ends


def run_of(data: bytes, at: int, size: int) -> int:
    """Return how many whole records from `at` on are of the size and type of the first."""
    n = (len(data) - at) // size
    heads = np.frombuffer(data, np.uint8, n * size, at).reshape(n, size)[:, :2]
    other = (heads != heads[0]).any(axis=1)
    return int(np.argmax(other)) if other.any() else n


def symbols_of(metadata: Any) -> dict[int, list[tuple[int, int, str]]]:
    """Return for each instrument id the times, ns, and the symbols it has in them."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    by_id = str(metadata.stype_in) == "instrument_id"
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            number, symbol = (name, interval["symbol"]) if by_id else (interval["symbol"], name)
            if str(number).isdigit() and symbol:
                since, until = _ns(interval["start_date"]), _ns(interval["end_date"])
                found.setdefault(int(number), []).append((since, until, symbol))
    return found


def _ns(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_NS


def print_kinds(side: NDArray[np.int8]) -> NDArray[np.int8]:
    """Without an aggressor it is an auction or another trade outside the queue."""
    return np.where(side == 0, np.int8(EventKind.PRINT), np.int8(EventKind.TRADE))
