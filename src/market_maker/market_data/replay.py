"""Recorded days as two streams of rows for the replay kernel: the venue's time order and the receiver's.

Owns the prepared, memory-mapped form (33 bytes per event, 58 where the two orders differ), coverage and the data
hash. Knows no orders and no strategy. Best quotes (bbo) are not replayed: the book is built from depth alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.schema import EventKind
from market_maker.storage.lake import Lake, PublishedDay, day_of

LAYOUT = 1
"""Version of the prepared form; part of its cache key."""
PAGE_SHIFT = 9
"""Levels are declared to the replay by pages of 2**9 ticks."""
PAGES_MAX = 1 << 24
COVERAGE_MIN = 0.99

LEVEL_ROW, TRADE_ROW, CLEAR_ROW = 1, 2, 3
"""Codes of rows: positive for bid or buying aggressor, negative for ask or selling aggressor."""


class Rows(NamedTuple):
    """One stretch of one stream: times (never decreasing), prices, quantities and codes, all (n,), read-only."""

    ts: NDArray[np.int64]
    price_ticks: NDArray[np.int64]
    qty_lots: NDArray[np.int64]
    code: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class ReplayDay:
    """The two streams of one day; `skip` leading rows repeat what the day before has left."""

    exchange: Rows
    local: Rows
    skip: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Everything a replay reads.

    `start_ts`, `end_ts`: the range asked for; replay begins at the first row of the first day, so that the book is
    right at `start_ts`. `begin_ts`: the first instant of data in the range. `coverage`: recorded share of the range.
    """

    days: tuple[ReplayDay, ...]
    pages: tuple[int, int, int]
    start_ts: int
    end_ts: int
    first_ts: int
    last_ts: int
    events: int
    coverage: float
    missing: tuple[tuple[int, int], ...]
    data_hash: str

    def exchange(self) -> Iterator[Rows]:
        """Yield the venue's stream day by day."""
        return _continuous([_after(day.exchange, day.skip) for day in self.days])

    def local(self) -> Iterator[Rows]:
        """Yield the receiver's stream day by day."""
        return _continuous([_after(day.local, day.skip) for day in self.days])


def no_rows() -> Rows:
    """Return an empty stretch."""
    return rows_of({"ts": [], "price_ticks": [], "qty_lots": [], "code": []})


def rows_of(columns: Mapping[str, Any]) -> Rows:
    """Return a stretch from columns `ts`, `price_ticks`, `qty_lots` (int64) and `code` (int8)."""
    return Rows(
        _frozen(columns["ts"], np.int64),
        _frozen(columns["price_ticks"], np.int64),
        _frozen(columns["qty_lots"], np.int64),
        _frozen(columns["code"], np.int8),
    )


def feed_of(frame: pl.DataFrame, *, start_ts: int | None = None, end_ts: int | None = None) -> Feed:
    """Return a feed from one frame of book rows in memory: for tests, benchmarks and generated markets."""
    if frame.height == 0:
        raise DataError("the feed holds zero events; give a recording with at least one")
    columns = prepare(frame, 0)
    first, last = _span(columns)
    digest = hashlib.sha256(b"".join(columns[name].tobytes() for name in sorted(columns))).hexdigest()
    return Feed(
        days=(_replay_day(columns, 0),),
        pages=_pages([columns]),
        start_ts=first if start_ts is None else start_ts,
        end_ts=last + 1 if end_ts is None else end_ts,
        first_ts=first,
        last_ts=last,
        events=frame.height,
        coverage=1.0,
        missing=(),
        data_hash=digest,
    )


def open_feed(lake: Lake, venue: str, symbol: str, start_ts: int, end_ts: int, *, allow_gaps: bool = False) -> Feed:
    """Return the recorded market of [start_ts, end_ts), ns UTC.

    Raises
    ------
    InvalidRequest
        An empty range.
    DataError
        No events in the range, recorded share below 0.99 without `allow_gaps` (the message says what is missing),
        or days whose tick or lot differ.
    """
    if end_ts <= start_ts:
        raise InvalidRequest.of("end_date", end_ts, f"an instant after the start {start_ts}")
    described = [day for day in _days_in(lake, venue, symbol, start_ts, end_ts) if day.file("book") is not None]
    events = sum(_count(lake, day, start_ts, end_ts) for day in described)
    if events == 0:
        raise DataError(
            f"no recorded events of {venue}/{symbol} from {_iso(start_ts)} to {_iso(end_ts)}; "
            f"recorded: {_recorded(lake, venue, symbol)}"
        )
    covered, missing = _coverage(described, start_ts, end_ts)
    if covered < COVERAGE_MIN and not allow_gaps:
        holes = ", ".join(f"{_iso(a)} to {_iso(b)}" for a, b in missing[:5])
        raise DataError(
            f"only {covered:.4f} of the range is recorded, {COVERAGE_MIN} is needed; missing: {holes}; "
            "choose a range inside the recording or set allow_gaps"
        )
    if len({(day.tick_size, day.lot_size) for day in described}) != 1:
        raise DataError(f"{venue}/{symbol}: tick or lot size changes inside the range; import the days with one size")
    columns = [_prepared(lake, day) for day in described]
    spans = [_span(day) for day in columns]
    return Feed(
        days=tuple(
            _replay_day(part, day.carried_rows if i > 0 and described[i - 1].day + timedelta(1) == day.day else 0)
            for i, (part, day) in enumerate(zip(columns, described, strict=True))
        ),
        pages=_pages(columns),
        start_ts=start_ts,
        end_ts=end_ts,
        first_ts=min(first for first, _ in spans),
        last_ts=max(last for _, last in spans),
        events=events,
        coverage=covered,
        missing=missing,
        data_hash=_hash(described),
    )


def prepare(frame: pl.DataFrame, carried_rows: int) -> dict[str, NDArray[Any]]:
    """Return the columns of the prepared form of one day of book rows.

    The venue's order sorts by exch_ts, stable, after each of the two sources (book, trades) was made monotone by a
    running maximum: inside one source the venue's sequence is the order, whatever the stamps say.
    """
    kind = frame["kind"].to_numpy()
    side = frame["side"].to_numpy()
    base = np.array([0, LEVEL_ROW, TRADE_ROW, CLEAR_ROW, LEVEL_ROW], dtype=np.int8)[kind]
    code = base * np.where(side >= 0, 1, -1).astype(np.int8)
    local_ts = frame["local_ts"].to_numpy()
    if not bool(np.all(local_ts[1:] >= local_ts[:-1])):
        row = int(np.argmax(local_ts[1:] < local_ts[:-1])) + 1
        raise DataError(f"row {row}: receive time {local_ts[row]} is earlier than the row before it")
    exch_ts = frame["exch_ts"].to_numpy().copy()
    if carried_rows:
        exch_ts[:carried_rows] = exch_ts.min()
    for source in (kind == EventKind.TRADE, kind != EventKind.TRADE):
        exch_ts[source] = np.maximum.accumulate(exch_ts[source])
    price, quantity = frame["price_ticks"].to_numpy(), frame["qty_lots"].to_numpy()
    columns = {"local_ts": local_ts, "price_ticks": price, "qty_lots": quantity, "code": code}
    if bool(np.all(exch_ts[1:] >= exch_ts[:-1])):
        columns["exch_ts"] = exch_ts
    else:
        order = np.argsort(exch_ts, kind="stable")
        columns |= {
            "exch_ts": exch_ts[order],
            "exch_price_ticks": price[order],
            "exch_qty_lots": quantity[order],
            "exch_code": code[order],
        }
    for name, wanted in (("bid_pages", LEVEL_ROW), ("ask_pages", -LEVEL_ROW)):
        columns[name] = np.unique(price[(code == wanted) & (quantity > 0)] >> PAGE_SHIFT)
    return columns


def _prepared(lake: Lake, day: PublishedDay) -> dict[str, NDArray[Any]]:
    return lake.prepared(day, "book", LAYOUT, lambda frame: prepare(frame, day.carried_rows))


def _replay_day(columns: Mapping[str, NDArray[Any]], skip: int) -> ReplayDay:
    local = {"ts": columns["local_ts"], **{name: columns[name] for name in ("price_ticks", "qty_lots", "code")}}
    prefix = "exch_" if "exch_code" in columns else ""
    exchange = {"ts": columns["exch_ts"]} | {
        name: columns[prefix + name] for name in ("price_ticks", "qty_lots", "code")
    }
    return ReplayDay(rows_of(exchange), rows_of(local), skip)


def _pages(days: list[dict[str, NDArray[Any]]]) -> tuple[int, int, int]:
    """Return the first page, the number of pages between first and last, and how many are used by side and page."""
    sides = [np.unique(np.concatenate([day[name] for day in days])) for name in ("bid_pages", "ask_pages")]
    used = np.concatenate(sides)
    if used.size == 0:
        raise DataError("the recording holds no level of any book, only trades; a replay needs depth")
    first, last = int(used.min()), int(used.max())
    if last - first >= PAGES_MAX:
        raise DataError(
            f"prices from {first << PAGE_SHIFT} to {last << PAGE_SHIFT} ticks span too much; check the tick size"
        )
    return first, last - first + 1, int(used.size)


def _days_in(lake: Lake, venue: str, symbol: str, start_ts: int, end_ts: int) -> list[PublishedDay]:
    days = [day for day in lake.days(venue, symbol) if day_of(start_ts) <= day <= day_of(end_ts - 1)]
    return [lake.describe(venue, symbol, day) for day in days]


def _count(lake: Lake, day: PublishedDay, start_ts: int, end_ts: int) -> int:
    times = _prepared(lake, day)["local_ts"]
    return int(np.searchsorted(times, end_ts) - np.searchsorted(times, start_ts))


def _coverage(days: list[PublishedDay], start_ts: int, end_ts: int) -> tuple[float, tuple[tuple[int, int], ...]]:
    missing: list[tuple[int, int]] = []

    def miss(begin: int, end: int) -> None:
        begin, end = max(start_ts, begin), min(end_ts, end)
        if begin < end:
            joined = missing.pop()[0] if missing and missing[-1][1] == begin else begin
            missing.append((joined, end))

    reached = start_ts
    for day in days:
        miss(reached, day.first_ts)
        for gap in day.gaps:
            miss(*gap)
        reached = max(reached, day.last_ts + 1)
    miss(reached, end_ts)
    return 1 - sum(b - a for a, b in missing) / (end_ts - start_ts), tuple(missing)


def _hash(days: list[PublishedDay]) -> str:
    digest = hashlib.sha256()
    for day in days:
        file = day.file("book")
        assert file is not None
        digest.update(f"{day.venue}/{day.symbol}/{day.day}/{day.tick_size}/{day.lot_size}/{file.sha256};".encode())
    return digest.hexdigest()


def _continuous(parts: list[Rows]) -> Iterator[Rows]:
    reached = -(2**63)
    for rows in parts:
        part = rows
        if len(part.ts) and part.ts[0] < reached:
            # Days are cut by receive time; stamps of the venue may reach back over midnight.
            part = part._replace(ts=_frozen(np.maximum(part.ts, reached), np.int64))
        reached = int(part.ts[-1]) if len(part.ts) else reached
        yield part


def _after(rows: Rows, skip: int) -> Rows:
    return Rows(rows.ts[skip:], rows.price_ticks[skip:], rows.qty_lots[skip:], rows.code[skip:])


def _span(columns: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    ends = [columns[name][i] for name in ("local_ts", "exch_ts") for i in (0, -1)]
    return int(min(ends)), int(max(ends))


def _frozen(values: Any, dtype: type) -> NDArray[Any]:
    array = np.ascontiguousarray(np.asarray(values), dtype=dtype).view(np.ndarray)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _recorded(lake: Lake, venue: str, symbol: str) -> str:
    days = [lake.describe(venue, symbol, day) for day in lake.days(venue, symbol)]
    return ", ".join(f"{_iso(day.first_ts)} to {_iso(day.last_ts)}" for day in days[-5:]) or "nothing"


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
