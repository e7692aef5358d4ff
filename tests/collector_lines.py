"""Files of the Binance collector made by hand: the smallest source of books, prints, quotes and bars for tests.

Times are ms after `START_MS`, a midnight UTC; symbol X of binance-usdm.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

START_MS = 19_700 * 86_400_000
DAY_MS = 86_400_000
NS = 1_000_000
Line = tuple[int, dict[str, Any]]
Levels = Sequence[Sequence[str]]


def ts(at: int, latency_ms: int = 5) -> int:
    """Return the receive time, ns, of a line at `at` ms."""
    return (START_MS + at + latency_ms) * NS


def depth(at: int, first: int, last: int, before: int, *, bids: Levels = (), asks: Levels = ()) -> Line:
    """Return an update of levels with the venue's numbers U, u and pu."""
    now = START_MS + at
    data = {"e": "depthUpdate", "E": now, "T": now, "s": "X", "U": first, "u": last, "pu": before, "b": bids, "a": asks}
    return at, {"stream": "x@depth@0ms", "data": data}


def trade(at: int, number: int, price: str = "10.0", quantity: str = "0.001", **more: Any) -> Line:
    """Return a trade of a seller."""
    now = START_MS + at
    data = {"e": "trade", "E": now, "T": now, "s": "X", "t": number, "p": price, "q": quantity, "m": True} | more
    return at, {"stream": "x@trade", "data": data}


def quote(at: int, bid: str, ask: str) -> Line:
    """Return a best bid and offer of 1 each."""
    now = START_MS + at
    data = {"e": "bookTicker", "E": now, "T": now, "s": "X", "u": 1, "b": bid, "B": "1.000", "a": ask, "A": "1.000"}
    return at, {"stream": "x@bookTicker", "data": data}


def snapshot(at: int, last: int, bids: Levels = (("9.9", "1.000"),), asks: Levels = (("10.1", "1.000"),)) -> Line:
    """Return the answer of the REST interface."""
    return at, {"lastUpdateId": last, "E": START_MS + at, "T": START_MS + at, "bids": bids, "asks": asks}


def bar(at: int, start_ms: int, close: str, *, interval: str = "1d", low: str = "1", high: str = "99") -> Line:
    """Return a finished bar that opened at 10, of volume 5."""
    k = {"t": start_ms, "i": interval, "o": "10", "h": high, "l": low, "c": close, "v": "5", "n": 3, "x": True}
    return at, {"stream": f"x@kline_{interval}", "data": {"e": "kline", "E": START_MS + at, "s": "X", "k": k}}


def write(path: Path, lines: Iterable[Line], latency_ms: int = 5) -> Path:
    """Write lines, each received `latency_ms` after its time."""
    text = "".join(f"{ts(at, latency_ms)} {json.dumps(body)}\n" for at, body in lines)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path
