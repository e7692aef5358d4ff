"""Raw stream of a Binance collector: lines `<receive time, ns> <JSON>` of depth, bookTicker, trade and REST snapshots.

Owns the venue's sequence rules (futures: pu = previous u; spot: U = previous u + 1) and the late snapshot: updates are
buffered until one comes, those it contains are dropped, newer ones applied again. A file that begins without one is read as
the continuation of an earlier file until then. Numbers stay text until a whole batch of them becomes exact decimals at once. `Messages` also serves logs of the same messages in another wrapper.
Source: Binance API documentation, "How to manage a local order book correctly" (spot and USD-M futures).
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.binance_messages import (
    AggregateTrade,
    Candle,
    Depth,
    Kline,
    Levels,
    Quote,
    Snapshot,
    Trade,
)
from market_maker.market_data.columns import TS_MAX, TS_MIN, TimeColumn
from market_maker.market_data.contracts import coin_margined_multiplier
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.rows import Rows, Stamps, lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, bars_table, kind_of
from market_maker.market_data.source import Source

NAME = "binance_collector"
VERSION = "3"
TITLE = "Binance stream of a collector (receive time and JSON a line)"

BATCH_ROWS = 250_000
HELD_ROWS = 1_000_000
"""Prints before the first update of a book wait for it up to this many; then they are told as trades without a book."""
BUFFERED_MAX = 100_000
"""Updates kept for a snapshot to come; older ones are forgotten, a snapshot that needs them is too old."""

_LINE = re.compile(r'\d{16,19} \{\s*"(stream|lastUpdateId)"')
_STREAM = re.compile(rb'\{\s*"stream"\s*:\s*"[^"@\\]*@(\w+)')
_COIN_MARGINED = re.compile(r"[A-Z0-9]+USD_(PERP|[0-9]{6})")
_PAIR = re.compile(r"([A-Z0-9]+?)(USDT|USDC|FDUSD|BUSD|TUSD|USD|BTC|ETH|BNB|EUR|TRY)(_(?:PERP|[0-9]{6}))?")
_INTERVALS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class _Envelope(msgspec.Struct):
    """What tells the kinds of lines apart."""

    stream: str = ""
    lastUpdateId: int | None = None  # noqa: N815 - the venue's name
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def recognises(source: Source) -> bool:
    """Return whether the first line is a receive time in ns and a stream message or a snapshot."""
    return _LINE.match(source.first_line()) is not None


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield the depth and trades of a file as `book` (without any depth: `trades`), bookTicker as `bbo`."""
    messages = Messages(source, options, notes, prints=("trade",), single=True)
    lines = previous = backward = 0
    for row, line in source.lines():
        stamp, _, body = line.partition(b" ")
        if not (stamp.isdigit() and len(stamp) <= 19 and TS_MIN <= (local_ts := int(stamp)) <= TS_MAX):
            raise source.error(
                row, "receive time", f"{shorten(stamp.decode('utf-8', 'replace'))!r} is no time in nanoseconds"
            )
        backward += local_ts < previous
        previous = local_ts
        lines += 1
        messages.take(row, local_ts, body)
        if messages.rows_ready:
            yield from messages.batches()
    if not messages.feeds:
        wanted = f" of {', '.join(options.symbols)}" if options.symbols else ""
        raise source.error(None, None, f"no depth, bookTicker or trade message{wanted} in it; a recording has some")
    notes.count("lines", lines)
    notes.count("receive_time_reversals", backward)
    yield from messages.batches(final=True)


class Messages:
    """Decodes Binance messages and keeps one `Feed` a symbol.

    Parameters
    ----------
    prints : the streams that may become trades; of several, the first one seen of a symbol does
    single : whether a second symbol is an error, because snapshots name none
    market : "spot", "usdm" or "coinm"; None: by the fields of the messages
    """

    def __init__(
        self, source: Source, options: ReadOptions, notes: Notes, *, prints: Sequence[str], single: bool,
        market: str | None = None,
    ) -> None:  # fmt: skip
        self.feeds: dict[str, Feed] = {}
        self.rows_ready = False
        self._source, self._options, self._notes = source, options, notes
        self._single, self._market, self._prints = single, market, tuple(prints)
        self._time = TimeColumn(source, "exchange time")
        self._early: list[tuple[int, int, Snapshot]] = []
        self._snapshot = msgspec.json.Decoder(Snapshot)
        self._envelope = msgspec.json.Decoder(_Envelope)
        kinds = {"depth": Depth, "bookTicker": Quote, "trade": Trade, "aggTrade": AggregateTrade, "kline": Kline}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            kind: msgspec.json.Decoder(msgspec.defstruct(f"_{kind}Line", [("data", data)]))
            for kind, data in kinds.items()
        }

    def take(self, row: int, local_ts: int, body: bytes) -> None:
        """Take one message of a combined stream, or a snapshot of a single symbol."""
        try:
            found = _STREAM.match(body)
            if found is not None:
                kind = found[1].decode("utf-8", "replace")
            else:
                envelope = self._envelope.decode(body)
                if envelope.lastUpdateId is not None:
                    self._take_snapshot(row, local_ts, self._snapshot.decode(body))
                    return
                if not envelope.stream:
                    if envelope.result is msgspec.UNSET:
                        raise self._source.error(row, None, "neither a stream message nor a snapshot")
                    self._notes.count("skipped_responses")
                    return
                kind = envelope.stream.partition("@")[2].partition("@")[0] or envelope.stream.lstrip("!")
            decoder = self._decoders.get("kline" if kind.startswith("kline_") else kind)
            if decoder is None:
                # Also depth5, depth10 and depth20: the best levels again and again, which are no updates.
                msgspec.json.decode(body)
                self._notes.count(f"skipped_{shorten(kind, 40)}")
                return
            event = decoder.decode(body).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._source.error(row, None, f"not a message of Binance: {shorten(str(error))}") from error
        if not self._options.wants(event.s):
            return
        feed = self.feeds.get(event.s) or self._feed(row, event.s)
        self.rows_ready |= feed.take(row, local_ts, event)

    def snapshot(self, row: int, local_ts: int, symbol: str, body: bytes) -> None:
        """Take a snapshot of a named symbol."""
        try:
            snapshot = self._snapshot.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._source.error(row, None, f"not a snapshot of Binance: {shorten(str(error))}") from error
        if self._options.wants(symbol):
            (self.feeds.get(symbol) or self._feed(row, symbol)).snapshot(row, local_ts, snapshot)

    def batches(self, *, final: bool = False) -> Iterator[Batch]:
        """Yield what has been collected; `final` adds what waits for a snapshot, and the notes."""
        self.rows_ready = False
        for symbol, feed in self.feeds.items():
            market = self._market or feed.market
            venue = self._options.venue or f"binance-{market}"
            label = lake_name(self._options.symbol or symbol)
            for table, frame in feed.tables(final=final):
                yield Batch(Stream(venue, label, table), frame)
            if final:
                feed.close(label, self._notes)
                if pair := _PAIR.fullmatch(symbol):
                    contract = {"spot": "SPOT", "usdm": "LINEAR", "coinm": "INVERSE"}[market]
                    facts = {"base": pair[1], "quote": pair[2], "contract_type": contract}
                    if contract == "INVERSE":
                        facts["multiplier"] = coin_margined_multiplier(pair[1])
                    self._notes.instruments[label] = facts

    def _take_snapshot(self, row: int, local_ts: int, snapshot: Snapshot) -> None:
        if not self._single:
            raise self._source.error(row, None, "a snapshot that does not say its symbol")
        if not self.feeds:
            self._early.append((row, local_ts, snapshot))
            if len(self._early) > 100:
                raise self._source.error(row, None, "more than 100 snapshots before any message names a symbol")
        for feed in self.feeds.values():
            feed.snapshot(row, local_ts, snapshot)

    def _feed(self, row: int, symbol: str) -> Feed:
        if self._single and self.feeds:
            known = next(iter(self.feeds))
            raise self._source.error(
                row, "s", f"{shorten(symbol)!r} in a recording of {shorten(known)}; split the file by symbol"
            )
        if self._options.symbol and self.feeds:
            raise self._source.error(
                row, "s", f"{shorten(symbol)!r}: a second symbol, but one name was given for the file"
            )
        feed = self.feeds[symbol] = Feed(self._source, symbol, self._ns, self._prints)
        for early in self._early:
            feed.snapshot(*early)
        self._early.clear()
        return feed

    def _ns(self, stamps: list[int | str | None], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        frame = pl.DataFrame({"exchange time": pl.Series(stamps, dtype=pl.Int64), "row": rows})
        return self._time.ns(frame).fill_null(0).to_numpy()


class Feed:
    """The state of one symbol between two messages: sequence, buffered updates, whether the book is known."""

    def __init__(self, source: Source, symbol: str, stamps: Stamps, prints: tuple[str, ...]) -> None:
        self._source, self._symbol, self._stamps = source, symbol, stamps
        self._prints, self._print_kind = prints, ""
        self._counts: Counter[str] = Counter()
        self._futures = False
        self._synced = self._was_synced = self._assumed = False
        self._continues = 0
        self._last_update = self._last_stamp = self._known = self._last_print = 0
        self._updates = 0
        self._buffer: deque[tuple[int, Depth]] = deque(maxlen=BUFFERED_MAX)
        self._book = Rows(source, ("price", "qty"), stamps)
        self._quotes = Rows(source, ("bid_price", "bid_qty", "ask_price", "ask_qty"), stamps)
        self._bars: dict[int, tuple[Rows, int]] = {}

    @property
    def market(self) -> str:
        """The market by the fields seen: spot, usdm or coinm."""
        return ("coinm" if _COIN_MARGINED.fullmatch(self._symbol) else "usdm") if self._futures else "spot"

    def take(self, row: int, local_ts: int, event: Depth | Quote | Trade | AggregateTrade | Kline) -> bool:
        """Take an event; return whether enough for a batch is there."""
        if isinstance(event, Quote):
            self._counts["bookTicker"] += 1
            self._futures |= event.e != ""
            self._quotes.texts.extend((event.b, event.B, event.a, event.A))
            self._quotes.add(event.T or event.E or None, local_ts, row, 1, 0, 0, event.u)
            return self._quotes.height >= BATCH_ROWS
        if isinstance(event, Depth):
            self._depth(row, local_ts, event)
        elif isinstance(event, Kline):
            self._kline(row, local_ts, event.k)
        else:
            self._trade(row, local_ts, event)
        return self._book.height >= (BATCH_ROWS if self._has_book else HELD_ROWS)

    @property
    def _has_book(self) -> bool:
        return self._was_synced or self._updates > 0

    def tables(self, *, final: bool) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield what has been collected by table; prints that may still get a book wait."""
        if self._book.height and (final or self._has_book or self._book.height >= HELD_ROWS):
            table = "book" if self._has_book else "trades"
            yield table, self._book.take().select(RAW_COLUMNS[table])
        if self._quotes.height:
            yield "bbo", self._quotes.take().select(RAW_COLUMNS["bbo"])
        for interval_s, (rows, _) in self._bars.items():
            if rows.height:
                table = bars_table(interval_s)
                frame = rows.take().with_columns(local_ts="exch_ts", trades="sequence")
                yield table, frame.select(RAW_COLUMNS[kind_of(table)])

    def close(self, label: str, notes: Notes) -> None:
        """Write the counts and what there is to say at the end of the file."""
        if self._continues:
            notes.continues[label] = self._continues
        if self._updates and not self._was_synced:
            self._counts["updates_without_snapshot"] = self._updates
            notes.warnings.append(
                f"{self._source.path.name}: the book of {label} begins without a snapshot, after update {self._continues}: it is"
                " known only if the file before, which ends with that update, is imported first (or is there already)"
            )
        elif self._was_synced and not self._synced:
            self._counts["ends_without_book"] = 1
            notes.warnings.append(
                f"{self._source.path.name}: the book of {label} is unknown from its last sequence gap to the end, because no"
                " snapshot follows"
            )
        for name, number in self._counts.items():
            notes.count(name, number, label)

    def snapshot(self, row: int, local_ts: int, snapshot: Snapshot) -> None:
        """Take a snapshot: it makes the book known when it fits the updates around it."""
        self._counts["snapshot"] += 1
        if self._synced:
            self._counts["snapshots_ignored"] += 1
            return
        known = snapshot.lastUpdateId
        newer = [(origin, event) for origin, event in self._buffer if event.u > known]
        older = [event for _, event in self._buffer if event.u <= known]
        if newer and not _fits(newer[0][1], known):
            self._counts["snapshots_too_old"] += 1
            return
        # A spot snapshot has no time: it is as old as the last update that it contains.
        stamp = snapshot.T or snapshot.E or (
            _stamp(older[-1]) if older else _stamp(newer[0][1]) if newer else self._last_stamp
        )  # fmt: skip
        runs = [(row, stamp, known, EventKind.SNAPSHOT, snapshot.bids, snapshot.asks)]
        # What is applied again happened before now, but not before the snapshot: it is one message with it.
        runs += [
            (origin, max(stamp, _stamp(event)), event.u, EventKind.DEPTH, event.b, event.a) for origin, event in newer
        ]
        filled = [i for i, run in enumerate(runs) if run[4] or run[5]]
        self._clear(stamp, local_ts, row, known, last=int(not filled))
        last = filled[-1] if filled else -1
        for i, (origin, at, sequence, kind, bids, asks) in enumerate(runs):
            self._levels(at, local_ts, row, sequence, kind, bids, asks, last=int(i == last), origin=origin)
        self._counts["updates_before_snapshot_dropped"] += len(older)
        self._counts["updates_reapplied"] += len(newer)
        self._buffer.clear()
        self._synced = self._was_synced = True
        self._assumed = False
        self._known = known

    def _depth(self, row: int, local_ts: int, event: Depth) -> None:
        self._counts["depth"] += 1
        self._updates += 1
        self._futures |= event.pu is not None
        stamp = _stamp(event)
        if not stamp:
            raise self._source.error(row, "E", "a depth update without a time")
        if self._last_update:
            if event.u <= self._last_update:
                self._counts["duplicates"] += 1
                return
            follows = event.pu == self._last_update if event.pu is not None else self._last_update + 1 == event.U
        else:
            # The first update after a snapshot that came before any: it must continue the snapshot itself.
            follows = not self._synced or event.u <= self._known or _fits(event, self._known)
            if not self._synced:
                self._continues = event.pu if event.pu is not None else event.U - 1
                self._assumed = self._continues > 0
        if not follows:
            self._counts["sequence_gaps"] += 1
            self._buffer.clear()
            if self._synced or self._assumed:
                self._clear(stamp, local_ts, row, event.u, last=1)
                self._synced = self._assumed = False
        self._last_update, self._last_stamp = event.u, stamp
        if not self._synced:
            self._buffer.append((row, event))
        if self._assumed:
            self._levels(stamp, local_ts, row, event.u, EventKind.DEPTH, event.b, event.a, last=1, origin=row)
        elif not self._synced:
            return
        elif event.u <= self._known:
            self._counts["updates_before_snapshot_dropped"] += 1
        else:
            self._levels(stamp, local_ts, row, event.u, EventKind.DEPTH, event.b, event.a, last=1, origin=row)

    def _trade(self, row: int, local_ts: int, event: Trade | AggregateTrade) -> None:
        name, number, kind = "aggTrade", 0, int(EventKind.TRADE)
        if isinstance(event, Trade):
            name, number = "trade", event.t
            self._futures |= event.X != ""
            if event.X not in {"", "MARKET"}:
                kind = int(EventKind.PRINT)
        else:
            number = event.a
        self._print_kind = self._print_kind or (name if name in self._prints else "")
        if name != self._print_kind:
            self._counts[f"skipped_{name}"] += 1
            return
        self._counts[name] += 1
        stamp = event.T or event.E
        if not stamp:
            raise self._source.error(row, "T", "a trade without a time")
        if self._last_print and number != self._last_print + 1:
            if number <= self._last_print:
                self._counts["duplicates"] += 1
                return
            self._counts["trade_id_gaps"] += 1
        self._last_print = number
        if kind == EventKind.PRINT:
            if not event.q.strip("0."):
                # Seen with X = NA: a number that was given away and nothing traded.
                self._counts["skipped_empty_prints"] += 1
                return
            self._counts["off_book_prints"] += 1
        for column, text in (("p", event.p), ("q", event.q)):
            if not text.strip("0."):
                raise self._source.error(row, column, f"a trade of {shorten(text)!r}")
        self._book.texts.extend((event.p, event.q))
        self._book.add(stamp, local_ts, row, 1, kind, -1 if event.m else 1, number)

    def _kline(self, row: int, local_ts: int, candle: Candle) -> None:
        digits, unit = candle.i[:-1], candle.i[-1:]
        if not candle.x:
            self._counts["skipped_unfinished_bars"] += 1
            return
        if unit not in _INTERVALS_S or not (digits.isascii() and digits.isdigit() and len(digits) < 4):
            self._counts["skipped_bars_of_other_intervals"] += 1
            return
        interval_s = int(digits) * _INTERVALS_S[unit]
        rows, previous = self._bars.get(interval_s) or (
            Rows(self._source, ("open", "high", "low", "close", "volume"), self._stamps), 0,
        )  # fmt: skip
        if candle.t <= previous:
            self._counts["duplicates"] += 1
            return
        self._counts["kline"] += 1
        self._bars[interval_s] = rows, candle.t
        rows.texts.extend((candle.o, candle.h, candle.l, candle.c, candle.v))
        rows.add(candle.t, local_ts, row, 1, 0, 0, candle.n)

    def _clear(self, stamp: int, local_ts: int, row: int, sequence: int, *, last: int) -> None:
        for side in (1, -1):
            self._book.texts.extend(("0", "0"))
            self._book.add(stamp or None, local_ts, row, 1, EventKind.CLEAR, side, sequence, last if side < 0 else 0)

    def _levels(
        self, stamp: int, local_ts: int, row: int, sequence: int, kind: int, bids: Levels, asks: Levels, *, last: int,
        origin: int,
    ) -> None:  # fmt: skip
        book = self._book
        if bids:
            book.texts.extend(chain.from_iterable(bids))
            book.add(stamp or None, local_ts, row, len(bids), kind, 1, sequence, 0 if asks else last, origin)
        if asks:
            book.texts.extend(chain.from_iterable(asks))
            book.add(stamp or None, local_ts, row, len(asks), kind, -1, sequence, last, origin)


def _fits(event: Depth, known: int) -> bool:
    """Return whether an update newer than a snapshot continues it without a hole."""
    return event.pu <= known if event.pu is not None else known + 1 >= event.U


def _stamp(event: Depth) -> int:
    return event.T or event.E


__all__ = ["NAME", "TITLE", "VERSION", "Messages", "read", "recognises"]
