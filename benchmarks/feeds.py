"""Made-up order-book feeds for benchmarks and differential tests: a book that lives, moves and is never crossed.

The same events as rows of the normal form and as the array that hftbacktest reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from market_maker.market_data.schema import BOOK_SCHEMA

DEPTH, TRADE = 1, 2
WINDOW = 40
START_TICK = 100_000
SPREAD_MAX = 4


@njit(cache=False)
def _walk(n: int, seed: int, trade_share: float) -> Any:
    """Return kind, side, price, lots of n events: changes of levels near the touch, trades at it, a mid that wanders."""
    np.random.seed(seed)
    size = 20 * START_TICK
    bids, asks = np.zeros(size, np.int64), np.zeros(size, np.int64)
    kind, side = np.zeros(n, np.int8), np.zeros(n, np.int8)
    price, lots = np.zeros(n, np.int64), np.zeros(n, np.int64)
    bid, ask = START_TICK, START_TICK + 1
    i = 0
    for k in range(WINDOW):
        for s in range(2):
            q = np.random.randint(20, 200)
            p = bid - k if s == 0 else ask + k
            (bids if s == 0 else asks)[p] = q
            kind[i], side[i], price[i], lots[i] = DEPTH, 1 if s == 0 else -1, p, q
            i += 1
    while i < n:
        s = np.random.randint(0, 2)
        own = bids if s == 0 else asks
        sign = 1 if s == 0 else -1
        best = bid if s == 0 else ask
        if np.random.random() < trade_share:
            # A trade of the other side's aggressor at this side's best price, then the level shows what is left.
            q = min(own[best], np.random.randint(1, 30))
            kind[i], side[i], price[i], lots[i] = TRADE, -sign, best, q
            i += 1
            if i == n:
                break
            own[best] -= q
            kind[i], side[i], price[i], lots[i] = DEPTH, sign, best, own[best]
            i += 1
            if own[best] == 0:
                best -= sign
                while own[best] == 0:
                    best -= sign
        else:
            distance = int(np.random.exponential(4.0))
            inside = ask - bid > 1 and np.random.random() < 0.5
            p = best + sign if inside else best - sign * min(distance, WINDOW - 1)
            q = (
                0
                if (not inside and np.random.random() < 0.15 and ask - bid < SPREAD_MAX)
                else np.random.randint(1, 200)
            )
            own[p] = q
            kind[i], side[i], price[i], lots[i] = DEPTH, sign, p, q
            i += 1
            if inside:
                best = p
            elif p == best and q == 0:
                best -= sign
                far = 0
                while own[best] == 0 and far < WINDOW:
                    best -= sign
                    far += 1
                if own[best] == 0 and i < n:
                    own[best] = 50
                    kind[i], side[i], price[i], lots[i] = DEPTH, sign, best, 50
                    i += 1
        if s == 0:
            bid = best
        else:
            ask = best
    return kind, side, price, lots


def make_feed(
    events: int,
    *,
    seed: int = 1,
    trade_share: float = 0.25,
    gap_ns: int = 1_000_000,
    feed_latency_ns: int = 500_000,
    first_ts: int = 1_700_000_000_000_000_000,
) -> pl.DataFrame:
    """Return a feed as rows of the normal form (`BOOK_SCHEMA`), ticks and lots of 1; about a fifth are trades."""
    kind, side, price, lots = _walk(events, seed, trade_share)
    chance = np.random.default_rng(seed)
    exch_ts = first_ts + np.cumsum(chance.exponential(gap_ns, events).astype(np.int64))
    local_ts = np.maximum.accumulate(exch_ts + feed_latency_ns + chance.exponential(200_000, events).astype(np.int64))
    columns = [exch_ts, local_ts, kind, side, price, lots, np.arange(1, events + 1)]
    return pl.DataFrame(dict(zip(BOOK_SCHEMA, columns, strict=True)), schema=BOOK_SCHEMA)


def as_hftbacktest(frame: pl.DataFrame, tick: float, lot: float) -> NDArray[Any]:
    """Return the same events as hftbacktest's structured array: both clocks on every row."""
    both = (1 << 31) | (1 << 30)
    buy, sell = 1 << 29, 1 << 28
    dtype = np.dtype(
        [("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"), ("ival", "i8"),
         ("fval", "f8")], align=True,
    )  # fmt: skip
    found = np.zeros(frame.height, dtype)
    kind, side = frame["kind"].to_numpy(), frame["side"].to_numpy()
    found["ev"] = kind.astype(np.uint64) | np.where(side > 0, buy, sell).astype(np.uint64) | np.uint64(both)
    found["exch_ts"], found["local_ts"] = frame["exch_ts"].to_numpy(), frame["local_ts"].to_numpy()
    found["px"], found["qty"] = frame["price_ticks"].to_numpy() * tick, frame["qty_lots"].to_numpy() * lot
    return found


def write_hftbacktest(frame: pl.DataFrame, path: Path, tick: float, lot: float) -> None:
    """Write the events as the npz file that hftbacktest loads."""
    np.savez(path, data=as_hftbacktest(frame, tick, lot))
