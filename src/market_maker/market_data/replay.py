"""Recorded days as two streams of rows for the replay kernel: the venue's time order and the receiver's.

Owns the feed of a range: its memory-mapped days (33 bytes per row, 58 where the two orders differ, 8 more of a book by order),
coverage of the range's sessions and the data hash. Knows no orders and no strategy; what a table becomes in a replay is `feed`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.reading import finest_steps, in_steps_of
from market_maker.market_data.sessions import session_stretches
from market_maker.market_data.sources import PAGE_SHIFT, source_of
from market_maker.market_data.stretch import Rows, continuous, frozen, rows_of
from market_maker.storage.lake import Lake, PublishedDay, PublishedFile, day_of
from market_maker.storage.prepared import Columns, derived_columns, has_columns, release

if TYPE_CHECKING:
    import polars as pl

LAYOUT = 3
"""Version of the prepared form; part of its cache key."""
OPEN_ROWS_MAX = 1 << 21
"""Rows of a feed whose files stay open as long as it lives, so that the next run need not open them again; each day is one stretch."""
PAGES_MAX = 1 << 24
PAGES = ("bid_pages", "ask_pages")
COLUMNS = (
    "local_ts", "price_ticks", "qty_lots", "code", "exch_ts", "exch_price_ticks", "exch_qty_lots", "exch_code", "joined_ts",
)  # fmt: skip
"""The prepared form of rows; those of the venue's order are there where it is another one, `joined_ts` of a book by order."""
COVERAGE_MIN = 0.99

LEVEL_ROW, TRADE_ROW, CLEAR_ROW = 1, 2, 3
"""Codes of rows: positive for bid or buying aggressor, negative for ask or selling aggressor."""
SHIFT_ROW = 4
"""Made by `conditions`, never recorded: positive displaces the whole book by `price_ticks` from now on; negative
ends the instant in which it did, when the moved book reaches own orders."""


@dataclass(frozen=True, slots=True)
class ReplayDay:
    """The two streams of one day; `skip` leading rows repeat what the day before has left."""

    exchange: Rows
    local: Rows
    skip: int


class StoredDay:
    """A `ReplayDay` whose rows lie in memory-mapped files.

    Parameters
    ----------
    paths : of its verified columns, by name
    skip : as of a `ReplayDay`
    carried : leading rows that repeat what the time before has left, skipped or not
    rows : how many there are
    pages : of levels, by `PAGES`
    stays_open : False: its files are closed while no one holds its rows
    carried_joined : when the orders that the day before has left took their places, by the row in which they are carried;
        None: it is not known
    """

    def __init__(
        self,
        paths: Mapping[str, str],
        skip: int,
        *,
        carried: int,
        rows: int,
        pages: Mapping[str, NDArray[np.int64]],
        stays_open: bool = False,
        carried_joined: NDArray[np.int64] | None = None,
    ) -> None:
        self.skip, self.carried, self.rows, self.pages, self.stays_open = skip, carried, rows, pages, stays_open
        self._paths, self._folder, self._carried_joined = paths, Path(paths["code"]).parent, carried_joined
        self._open: WeakValueDictionary[str, NDArray[Any]] = WeakValueDictionary()
        self._kept: dict[str, dict[str, NDArray[Any]]] = {}

    @property
    def exchange(self) -> Rows:
        """The venue's stream."""
        return self._resolved(self._day().exchange)

    @property
    def local(self) -> Rows:
        """The receiver's stream."""
        return self._day().local

    @property
    def has_one_order(self) -> bool:
        """True when both streams are the same rows but for the times."""
        return "exch_code" not in self._paths

    def parts(self, stream: str, edges: Iterable[int]) -> Iterator[Rows]:
        """Yield a stream (`exchange` or `local`) cut at rows, from the first edge to the last; memory is that of a part."""
        rows = getattr(self._day(), stream)
        for start, stop in pairwise(edges):
            yield self._resolved(rows.part(start, stop))

    def derived(self, name: str, build: Callable[[], Iterable[Columns]]) -> dict[str, NDArray[Any]]:
        """Return columns that `build` makes of the day's, stored beside them; see `derived_columns`."""
        if name in self._kept:
            return self._kept[name]
        # Mapped once, as the day's own: the same memory seen twice would count twice.
        columns = {
            key: self._open.setdefault(f"{name}/{key}", column)
            for key, column in derived_columns(self._folder, name, build).items()
        }
        if self.stays_open:
            self._kept[name] = columns
        return columns

    def has_derived(self, name: str) -> bool:
        """Return whether columns of that name are stored."""
        return has_columns(self._folder / name)

    def release(self, start: int, stop: int) -> None:
        """Let go of the memory in which rows of both streams, and what is derived of them, were seen; see `release`."""
        # A list at once: other threads open columns meanwhile.
        for reference in self._open.valuerefs():
            column = reference()
            if column is not None and self.rows:
                # Of a list of some rows, such as the trades, about the part that belongs to them.
                first, last = (at * len(column) // self.rows for at in (start, stop))
                release(column, first, last)

    def _day(self) -> ReplayDay:
        columns = {name: self._column(name) for name in COLUMNS if name in self._paths}
        if self.stays_open:
            self._kept[""] = columns
        return _replay_day(columns, self.skip)

    def _column(self, name: str) -> NDArray[Any]:
        # Both streams share what is open.
        column = self._open.get(name)
        if column is None:
            column = self._open[name] = np.load(self._paths[name], mmap_mode="r", allow_pickle=False)
        return column

    def _resolved(self, rows: Rows) -> Rows:
        """Return rows with the places that carried orders took on the days before."""
        if self._carried_joined is None or not len(rows.joined_ts):
            return rows
        return rows._replace(joined_ts=frozen(_places_of(rows.joined_ts, self._carried_joined), np.int64))


@dataclass(frozen=True, slots=True)
class Feed:
    """Everything a replay reads.

    `start_ts`, `end_ts`: the range asked for; replay begins at the first row of the first day, so that the book is
    right at `start_ts`. `coverage`: recorded share of the range's sessions, `missing` what of them is not recorded.
    `tables`: what it was made of, each with `day`, `table` and `sha256`.
    """

    days: tuple[ReplayDay | StoredDay, ...]
    pages: tuple[int, int, int]
    start_ts: int
    end_ts: int
    first_ts: int
    last_ts: int
    events: int
    coverage: float
    missing: tuple[tuple[int, int], ...]
    data_hash: str
    tables: tuple[Mapping[str, str], ...] = ()

    def exchange(self) -> Iterator[Rows]:
        """Yield the venue's stream day by day."""
        return continuous(day.exchange.part(day.skip) for day in self.days)

    def local(self) -> Iterator[Rows]:
        """Yield the receiver's stream day by day."""
        return continuous(day.local.part(day.skip) for day in self.days)


def feed_of(
    frame: pl.DataFrame,
    *,
    trades: pl.DataFrame | None = None,
    venue: str = "",
    start_ts: int | None = None,
    end_ts: int | None = None,
) -> Feed:
    """Return a feed from frames in memory: for tests, benchmarks and generated markets.

    Parameters
    ----------
    frame : rows of a table `book`, `orders` or `bbo`, told by their columns
    trades : rows of a table `trades`; None: those in `frame`

    Raises
    ------
    DataError
        A frame without rows, or with one that no replay may have, which is named.
    """
    from market_maker.market_data.feed import prepare

    if frame.height == 0:
        raise DataError("the feed holds zero events; give a recording with at least one")
    table = "orders" if "order_id" in frame.columns else "bbo" if "bid_price_ticks" in frame.columns else "book"
    columns = prepare({table: frame} | ({} if trades is None else {"trades": trades}), venue=venue)
    first, last = _span(columns)
    digest = hashlib.sha256(b"".join(columns[name].tobytes() for name in sorted(columns))).hexdigest()
    return Feed(
        days=(_replay_day(columns, 0),),
        pages=_pages([columns]),
        start_ts=first if start_ts is None else start_ts,
        end_ts=last + 1 if end_ts is None else end_ts,
        first_ts=first,
        last_ts=last,
        events=len(columns["code"]),
        coverage=1.0,
        missing=(),
        data_hash=digest,
    )


def open_feed(
    lake: Lake,
    venue: str,
    symbol: str,
    start_ts: int,
    end_ts: int,
    *,
    allow_gaps: bool = False,
    steps: tuple[Decimal, Decimal] | None = None,
) -> Feed:
    """Return the recorded market of [start_ts, end_ts), ns UTC.

    Each day is replayed from its orders, else its book, else its best quotes; memory is bounded by one day.
    `steps`: tick and lot of the feed; None: the finest ones that the days are kept in.

    Raises
    ------
    InvalidRequest
        An empty range.
    DataError
        No events in the range, recorded share of its sessions below 0.99 without `allow_gaps` (the message says what is
        missing), rows that no replay may have, or days whose tick or lot are no multiples of `steps`.
    """
    if end_ts <= start_ts:
        raise InvalidRequest.of("end_date", end_ts, f"an instant after the start {start_ts}")
    described = [day for day in _days_in(lake, venue, symbol, start_ts, end_ts) if _book_of(day) is not None]
    files = [file for day in described for file in _files_of(day)]
    chosen = steps or (finest_steps(files) if files else (Decimal(1), Decimal(1)))
    days = [_describe(lake, day, chosen, start_ts, end_ts) for day in described]
    events = sum(day.events for day in days)
    if events == 0:
        raise DataError(
            f"no recorded events of {venue}/{symbol} from {_iso(start_ts)} to {_iso(end_ts)}; "
            f"recorded: {_recorded(lake, venue, symbol)}"
        )
    covered, missing = _coverage(days, venue, start_ts, end_ts)
    if covered < COVERAGE_MIN and not allow_gaps:
        holes = ", ".join(f"{_iso(a)} to {_iso(b)}" for a, b in missing[:5])
        raise DataError(
            f"only {covered:.4f} of the range is recorded, {COVERAGE_MIN} is needed; missing: {holes}; "
            "choose a range inside the recording or set allow_gaps"
        )
    return Feed(
        days=tuple(_stored(days)),
        pages=_pages([day.pages for day in days]),
        start_ts=start_ts,
        end_ts=end_ts,
        first_ts=min(day.span[0] for day in days),
        last_ts=max(day.span[1] for day in days),
        events=events,
        coverage=covered,
        missing=missing,
        data_hash=_hash(days),
        tables=tuple(
            {"day": day.published.day.isoformat(), "table": file.kind, "sha256": file.sha256}
            for day in days
            for file in day.used
        ),
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of a feed, closed again: what is held of it is small."""

    published: PublishedDay
    book: PublishedFile
    used: tuple[PublishedFile, ...]
    paths: Mapping[str, str]
    pages: Mapping[str, NDArray[np.int64]]
    rows: int
    events: int
    carried: int
    span: tuple[int, int]


def _book_of(day: PublishedDay) -> PublishedFile | None:
    table = source_of(file.kind for file in day.files)
    return None if table is None else day.file(table)


def _files_of(day: PublishedDay) -> list[PublishedFile]:
    return [file for file in (_book_of(day), day.file("trades")) if file is not None]


def _describe(lake: Lake, day: PublishedDay, steps: tuple[Decimal, Decimal], start_ts: int, end_ts: int) -> _Day:
    """Return a day, which is prepared when it was not yet."""
    book, *others = _files_of(day)
    layout = "-".join([str(LAYOUT), day.venue, *map(str, steps), *(file.sha256[:16] for file in others)])

    def build(frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
        # Data frames and what becomes of them are loaded to prepare a day, not to replay it.
        from market_maker.market_data.feed import prepare

        tables = {book.kind: in_steps_of(frame, book, *steps)}
        for file in others:
            tables[file.kind] = in_steps_of(lake.read_verified(day, file.kind), file, *steps)
        try:
            return prepare(tables, carried_rows=book.carried_rows, venue=day.venue)
        except DataError as error:
            raise DataError(f"{day.venue}/{day.symbol} {day.day}: {error.detail}") from error

    columns = lake.prepared(day, book.kind, layout, build)
    merges_trades, carried = (int(mark) for mark in columns["marks"])
    return _Day(
        published=day,
        book=book,
        used=(book, *others) if merges_trades else (book,),
        paths={name: str(values.filename) for name, values in columns.items() if isinstance(values, np.memmap)},
        pages={name: np.array(columns[name]) for name in PAGES},
        rows=len(columns["code"]),
        events=_count(columns, start_ts, end_ts),
        carried=carried,
        span=_span(columns),
    )


def _follows(before: _Day, day: _Day) -> bool:
    """Return whether the book that a day begins with is the one that the day before has left in the replay."""
    return before.book.kind == day.book.kind and before.published.day + timedelta(1) == day.published.day


def _stored(days: Sequence[_Day]) -> Iterator[StoredDay]:
    """Yield the days of a feed: one that follows another begins after what it repeats, with the places of that one's orders."""
    stays_open = sum(day.rows for day in days) <= OPEN_ROWS_MAX
    left = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for i, day in enumerate(days):
        follows = i > 0 and _follows(days[i - 1], day)
        by_order = "left_ids" in day.paths
        joined = _found(_loaded(day, "carried_ids"), *left) if follows and by_order else None
        if by_order and i + 1 < len(days):
            places = _loaded(day, "left_joined")
            left = _loaded(day, "left_ids"), places if joined is None else _places_of(places, joined)
        yield StoredDay(
            day.paths, day.carried if follows else 0, carried=day.carried, rows=day.rows, pages=day.pages,
            stays_open=stays_open, carried_joined=joined,
        )  # fmt: skip


def _loaded(day: _Day, name: str) -> NDArray[np.int64]:
    column: NDArray[np.int64] = np.load(day.paths[name], allow_pickle=False)
    return column


def _found(wanted: NDArray[np.int64], ids: NDArray[np.int64], joined: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `joined` of orders by their ids, which are sorted; 0 of those that are not among them."""
    if not len(ids):
        return np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, joined[at], 0)


def _places_of(joined: NDArray[np.int64], carried_joined: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when orders took their places: those of carried ones, -1 less their row, are found in `carried_joined`."""
    if not len(carried_joined):
        return joined
    return np.where(joined < 0, carried_joined[np.maximum(-1 - joined, 0)], joined)


def _replay_day(columns: Mapping[str, NDArray[Any]], skip: int) -> ReplayDay:
    local = {"ts": columns["local_ts"], **{name: columns[name] for name in ("price_ticks", "qty_lots", "code")}}
    prefix = "exch_" if "exch_code" in columns else ""
    exchange = {"ts": columns["exch_ts"]} | {
        name: columns[prefix + name] for name in ("price_ticks", "qty_lots", "code")
    }
    if "joined_ts" in columns:
        exchange["joined_ts"] = columns["joined_ts"]
    return ReplayDay(rows_of(exchange), rows_of(local), skip)


def _pages(days: Sequence[Mapping[str, NDArray[Any]]]) -> tuple[int, int, int]:
    """Return the first page, the number of pages between first and last, and how many are used by side and page."""
    sides = [np.unique(np.concatenate([day[name] for day in days])) for name in PAGES]
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


def _count(columns: Mapping[str, NDArray[Any]], start_ts: int, end_ts: int) -> int:
    times = columns["local_ts"]
    return int(np.searchsorted(times, end_ts) - np.searchsorted(times, start_ts))


def _coverage(days: list[_Day], venue: str, start_ts: int, end_ts: int) -> tuple[float, tuple[tuple[int, int], ...]]:
    """Return the recorded share of the sessions in the range, and what of them is missing.

    A range that no session falls into counts by the clock.
    """
    sessions = session_stretches(venue, start_ts, end_ts)
    if not len(sessions):
        sessions = np.array([[start_ts, end_ts]], np.int64)
    missing: list[tuple[int, int]] = []

    def miss(begin: int, end: int) -> None:
        for opened, closed in sessions[np.searchsorted(sessions[:, 1], begin, side="right") :].tolist():
            if opened >= end:
                break
            a, b = max(opened, begin), min(closed, end)
            if a < b:
                missing.append((missing.pop()[0] if missing and missing[-1][1] == a else a, b))

    reached = start_ts
    for day in days:
        miss(reached, day.book.first_ts)
        for gap in day.book.gaps:
            miss(*gap)
        reached = max(reached, day.book.last_ts + 1)
    miss(reached, end_ts)
    open_ns = int((sessions[:, 1] - sessions[:, 0]).sum())
    return 1 - sum(b - a for a, b in missing) / open_ns, tuple(missing)


def _hash(days: list[_Day]) -> str:
    digest = hashlib.sha256()
    for day in days:
        for file in day.used:
            published = day.published
            digest.update(
                f"{published.venue}/{published.symbol}/{published.day}/{file.kind}/{file.tick_size}/{file.lot_size}"
                f"/{file.sha256};".encode()
            )
    return digest.hexdigest()


def _span(columns: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    ends = [columns[name][i] for name in ("local_ts", "exch_ts") for i in (0, -1)]
    return int(min(ends)), int(max(ends))


def _recorded(lake: Lake, venue: str, symbol: str) -> str:
    days = [lake.describe(venue, symbol, day) for day in lake.days(venue, symbol)]
    return ", ".join(f"{_iso(day.first_ts)} to {_iso(day.last_ts)}" for day in days[-5:]) or "nothing"


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
