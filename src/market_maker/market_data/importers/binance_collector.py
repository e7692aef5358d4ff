"""Raw stream of a Binance collector: lines `<receive time, ns> <JSON>` of depth, bookTicker, trade and REST snapshots.

Owns the venue's sequence rules (futures: pu = previous u; spot: U = previous u + 1) and the late snapshot: updates
are buffered until one comes, those it contains are dropped, newer ones applied again. Decimals are read as text.
Source: Binance API documentation, "How to manage a local order book correctly" (spot and USD-M futures).
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import EXACT, MAX_LOTS, MAX_TICKS, Instrument
from market_maker.market_data.assembly import Assembly, Level
from market_maker.market_data.importers import FileFacts, Latency
from market_maker.market_data.importers.lines import lines_of

NAME = "binance_collector"
VERSION = "1"
MILLISECOND_NS = 1_000_000
BUFFERED_MAX = 100_000
_LINE = re.compile(rb'\d{16,19} \{"(stream|lastUpdateId)"')
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_TS_MIN, _TS_MAX = 10**18, 4 * 10**18


class Event(msgspec.Struct):
    """The fields of every message of the collector that are used; absent ones keep their default."""

    e: str = ""
    E: int = 0
    T: int = 0
    s: str = ""
    U: int = 0
    u: int = 0
    pu: int | None = None
    b: list[tuple[str, str]] | str = ""
    a: list[tuple[str, str]] | str = ""
    B: str = ""
    A: str = ""
    t: int = 0
    p: str = ""
    q: str = ""
    X: str = "MARKET"
    m: bool = False


class Line(msgspec.Struct):
    """One line: a stream message, or a REST snapshot where `stream` is empty."""

    stream: str = ""
    data: Event | None = None
    lastUpdateId: int = 0  # noqa: N815 - the venue's name
    E: int = 0
    T: int = 0
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


def recognises(head: bytes) -> bool:
    """Return whether the first line is a receive time in ns and a stream message or a snapshot."""
    return _LINE.match(head.lstrip()) is not None


def inspect(path: Path) -> FileFacts:
    """Return the facts of a file: one pass over it."""
    streams: Counter[str] = Counter()
    symbols: Counter[str] = Counter()
    prices, quantities = _Step(), _Step()
    stamps = _Stamps()
    first = last = 0
    futures = False
    for row, local_ts, line in _decoded(path):
        first, last = first or local_ts, local_ts
        event = line.data
        streams[_stream_of(line)] += 1
        levels = [*line.bids, *line.asks]
        if event is not None:
            symbols[event.s] += 1
            futures |= event.pu is not None
            stamps.add(local_ts, event.E * MILLISECOND_NS)
            if isinstance(event.b, str):
                levels += [(event.b, event.B)] if event.b else []
                levels += [(event.a, event.A)] if isinstance(event.a, str) and event.a else []
            elif not isinstance(event.a, str):
                levels += event.b + event.a
            if event.p:
                levels.append((event.p, event.q))
        try:
            for price, quantity in levels:
                prices.add(price)
                quantities.add(quantity)
        except DataError as error:
            raise DataError(f"{path.name}, row {row}: {error.detail}") from error
    if not first:
        raise DataError(f"{path.name}: zero events")
    if len(symbols) > 1:
        raise DataError(f"{path.name}: several symbols ({', '.join(sorted(symbols))}); split the file by symbol")
    symbol = next(iter(symbols), "")
    market = "usdm" if futures else "spot"
    return FileFacts(
        NAME, market, symbol, prices.size(), quantities.size(), first, last, dict(streams), stamps.latency()
    )


def read(
    path: Path,
    instrument: Instrument,
    assembly: Assembly,
    offset_ns: int,
    progress: Callable[[int, int], None] | None = None,
) -> Counter[str]:
    """Stream the file into `assembly`; see the contract in `importers`."""
    counts: Counter[str] = Counter()
    reader = _Reader(instrument, assembly, counts)
    for row, received, line in _decoded(path, progress):
        counts[_stream_of(line)] += 1
        counts["lines"] += 1
        try:
            reader.take(received + offset_ns, line)
        except DataError as error:
            raise DataError(f"{path.name}, row {row}: {error.detail}") from error
    if not reader.synced and counts["depth"]:
        why = (
            f"a sequence gap at update {reader.gap_at} was not followed by a snapshot"
            if reader.gap_at
            else "it holds no snapshot that fits its updates, so that the book is unknown; it continues an earlier "
            "recording: put the lines of the day before, with its snapshot, in front of it"
        )
        if not reader.was_synced:
            raise DataError(f"{path.name}: no valid book: {why}")
        counts["ends_without_book"] = 1
    return counts


class _Reader:
    """The state between two lines: sequence, buffered updates, whether the book is known."""

    def __init__(self, instrument: Instrument, assembly: Assembly, counts: Counter[str]) -> None:
        self.synced = self.was_synced = False
        self.gap_at = 0
        self._assembly, self._counts = assembly, counts
        self._ticks = _Steps(instrument.tick_size, MAX_TICKS, "price", "tick size")
        self._lots = _Steps(instrument.lot_size, MAX_LOTS, "quantity", "lot size")
        self._last_update = 0
        self._last_exch_ts = 0
        self._buffer: list[Event] = []

    def take(self, local_ts: int, line: Line) -> None:
        event = line.data
        if event is None:
            self._snapshot(local_ts, line)
        elif event.e == "trade":
            self._trade(local_ts, event)
        elif event.e == "depthUpdate":
            self._depth(local_ts, event)
        elif event.e in {"bookTicker", ""} and isinstance(event.b, str) and isinstance(event.a, str):
            quote = (self._ticks(event.b), self._lots(event.B), self._ticks(event.a), self._lots(event.A))
            self._assembly.bbo(event.T * MILLISECOND_NS, local_ts, *quote, event.u)
        else:
            self._counts["other_skipped"] += 1

    def _trade(self, local_ts: int, event: Event) -> None:
        if event.X != "MARKET":
            # Liquidations and insurance prints did not trade with the book.
            self._counts["off_book_trades_skipped"] += 1
            return
        side = -1 if event.m else 1
        price, quantity = self._ticks(event.p), self._lots(event.q)
        if quantity == 0 or price == 0:
            raise DataError(f"trade {event.t} has price {event.p} and quantity {event.q}; both must be positive")
        self._assembly.trade(event.T * MILLISECOND_NS, local_ts, side, price, quantity, event.t)

    def _depth(self, local_ts: int, event: Event) -> None:
        follows = event.pu == self._last_update if event.pu is not None else self._last_update + 1 == event.U
        if self._last_update and not follows:
            self._counts["sequence_gaps"] += 1
            self.gap_at = event.u
            self._buffer.clear()
            if self.synced:
                self._assembly.lose_book(_stamp(event), local_ts, event.u)
                self.synced = False
        self._last_update = event.u
        self._last_exch_ts = _stamp(event)
        if self.synced:
            self._assembly.depth(_stamp(event), local_ts, event.u, self._levels(event))
            self._assembly.end_message(_stamp(event), local_ts)
            return
        if len(self._buffer) >= BUFFERED_MAX:
            raise DataError(f"{BUFFERED_MAX} updates without a snapshot; the book is unknown")
        self._buffer.append(event)

    def _snapshot(self, local_ts: int, line: Line) -> None:
        if self.synced:
            self._counts["snapshots_ignored"] += 1
            return
        known = line.lastUpdateId
        newer = [event for event in self._buffer if event.u > known]
        older = [event for event in self._buffer if event.u <= known]
        if newer:
            first = newer[0]
            fits = first.pu <= known if first.pu is not None else known + 1 >= first.U
            if not fits:
                self._counts["snapshots_too_old"] += 1
                return
        exch_ts = (line.T or line.E) * MILLISECOND_NS
        if not exch_ts:
            # A spot snapshot has no time: it is as old as the last update that it contains.
            exch_ts = _stamp(older[-1]) if older else _stamp(newer[0]) if newer else self._last_exch_ts or local_ts
        levels = [(1, self._ticks(price), self._lots(quantity)) for price, quantity in line.bids]
        levels += [(-1, self._ticks(price), self._lots(quantity)) for price, quantity in line.asks]
        self._assembly.snapshot(exch_ts, local_ts, known, levels)
        for event in newer:
            self._assembly.depth(max(exch_ts, _stamp(event)), local_ts, event.u, self._levels(event))
        self._assembly.end_message(exch_ts, local_ts)
        self._counts["updates_before_snapshot_dropped"] += len(older)
        self._counts["updates_reapplied"] += len(newer)
        self._buffer.clear()
        self.synced = self.was_synced = True

    def _levels(self, event: Event) -> Iterator[Level]:
        if isinstance(event.b, str) or isinstance(event.a, str):
            raise DataError("a depth update without lists of levels")
        for side, levels in ((1, event.b), (-1, event.a)):
            for price, quantity in levels:
                yield side, self._ticks(price), self._lots(quantity)


class _Steps:
    """Decimal text to whole steps, exactly; remembers what it has seen."""

    def __init__(self, step: Decimal, most: int, what: str, step_name: str) -> None:
        self._step, self._most, self._what, self._step_name = step, most, what, step_name
        self._seen: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        found = self._seen.get(text)
        if found is not None:
            return found
        if not _DECIMAL.fullmatch(text):
            raise DataError(f"{self._what} {text[:40]!r} is not a plain decimal number")
        steps = EXACT.divide(Decimal(text), self._step)
        whole = int(steps)
        if whole != steps or whole > self._most:
            raise DataError(
                f"{self._what} {text} is not a multiple of the {self._step_name} {self._step}, or too large"
            )
        if len(self._seen) > 1_000_000:
            self._seen.clear()
        self._seen[text] = whole
        return whole


class _Step:
    """The coarsest decimal step that all numbers seen are multiples of."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._digits, self._divisor = 0, 0

    def add(self, text: str) -> None:
        if text in self._seen:
            return
        if not _DECIMAL.fullmatch(text):
            raise DataError(f"{text[:40]!r} is not a plain decimal number")
        if len(self._seen) > 1_000_000:
            self._seen.clear()
        self._seen.add(text)
        whole, _, fraction = text.partition(".")
        if len(fraction) > self._digits:
            self._divisor *= 10 ** (len(fraction) - self._digits)
            self._digits = len(fraction)
        self._divisor = math.gcd(self._divisor, int(whole + fraction) * 10 ** (self._digits - len(fraction)))

    def size(self) -> Decimal:
        return Decimal(self._divisor or 1).scaleb(-self._digits).normalize(EXACT)


class _Stamps:
    """Latencies and backward exchange times in the order of the file."""

    def __init__(self) -> None:
        self._latencies = array("q")
        self._previous = self._backward = 0

    def add(self, local_ts: int, exch_ts: int) -> None:
        if exch_ts:
            self._latencies.append(local_ts - exch_ts)
            self._backward += exch_ts < self._previous
            self._previous = exch_ts

    def latency(self) -> Latency:
        values = np.frombuffer(self._latencies, dtype=np.int64) if self._latencies else np.zeros(1, np.int64)
        return Latency(
            messages=len(self._latencies),
            negative=int((values < 0).sum()),
            minimum_ns=int(values.min()),
            median_ns=int(np.median(values)),
            maximum_ns=int(values.max()),
            backward_exchange_times=self._backward,
        )


def _decoded(path: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[int, int, Line]]:
    """Yield (row, receive time, decoded line); DataError names file and row."""
    decoder = msgspec.json.Decoder(Line)
    previous = 0
    for row, line in lines_of(path, progress):
        stamp, _, body = line.partition(b" ")
        if not (stamp.isdigit() and len(stamp) <= 19 and _TS_MIN <= int(stamp) <= _TS_MAX):
            raise DataError(f"{path.name}, row {row}: {stamp[:30]!r} is not a receive time in nanoseconds")
        local_ts = int(stamp)
        if local_ts < previous:
            raise DataError(f"{path.name}, row {row}: receive time {local_ts} is earlier than the row before it")
        previous = local_ts
        try:
            decoded = decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{path.name}, row {row}: not a message of the collector: {error}") from error
        event = decoded.data
        if event is None and not decoded.lastUpdateId:
            raise DataError(f"{path.name}, row {row}: neither a stream message nor a snapshot")
        if event is not None and event.e in {"trade", "depthUpdate"} and not 0 < _stamp(event) < _TS_MAX:
            raise DataError(f"{path.name}, row {row}: exchange time {event.T or event.E} is not in milliseconds")
        yield row, local_ts, decoded


def _stamp(event: Event) -> int:
    return (event.T or event.E) * MILLISECOND_NS


def _stream_of(line: Line) -> str:
    if line.data is None:
        return "snapshot"
    return line.stream.partition("@")[2].partition("@")[0] or "unknown"
