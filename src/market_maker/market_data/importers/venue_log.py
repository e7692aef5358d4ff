"""Raw websocket log of Coinbase, BitMEX or Binance: lines `<receive time, decimal seconds>: <JSON>` and handshakes.

Owns these venues' rules of books: whose snapshot makes one known, what ends it (a new connection, an id never told), which
side a print names. Several symbols a file, a stream each. Requests (`<-`) are skipped; an answer (`->`) that is a Binance
snapshot is used. Logs of other venues are refused by name. Binance messages are read by `binance_collector`.
Source: Coinbase Exchange websocket documentation (level2, matches), BitMEX websocket documentation (orderBookL2).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import msgspec

from market_maker.domain.errors import shorten
from market_maker.market_data.binance_messages import Levels, Number, Symbol
from market_maker.market_data.columns import TS_MAX, TS_MIN
from market_maker.market_data.contracts import contract_facts
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.importers.binance_collector import Messages
from market_maker.market_data.rows import Rows, Stamps, iso_times, lake_name, plain
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

NAME = "venue_log"
VERSION = "1"
TITLE = "raw websocket log of Coinbase, BitMEX or Binance (cryptofeed)"

BATCH_ROWS = 250_000
_KNOWN = "known are Coinbase (level2, matches), BitMEX and Binance combined streams"
_FIRST = re.compile(r"((wss?|https?)://\S+ (<->|<-|->) [0-9]{9,10}(\.[0-9]+)?\b)|([0-9]{9,10}\.[0-9]+: [\[{b])")
_MESSAGE = re.compile(rb"([0-9]{9,10})(?:\.([0-9]{1,9}))?: (.*)")
_HANDSHAKE = re.compile(rb"((?:wss?|https?)://\S+) (<->|<-|->) ([0-9]{9,10})(?:\.([0-9]{1,9}))?(?:: (.*))?")
_HOSTS = {
    "ws-feed.pro.coinbase.com": "coinbase", "ws-feed.exchange.coinbase.com": "coinbase", "ws-feed.gdax.com": "coinbase",
    "ws-direct.exchange.coinbase.com": "coinbase", "www.bitmex.com": "bitmex", "ws.bitmex.com": "bitmex",
    "fstream.binance.com": "usdm", "dstream.binance.com": "coinm", "stream.binance.com": "spot",
    "fapi.binance.com": "usdm", "dapi.binance.com": "coinm", "api.binance.com": "spot",
}  # fmt: skip
_SIDES = {"buy": 1, "sell": -1, "Buy": 1, "Sell": -1}
_BITMEX_PAIR = re.compile(r"([A-Z0-9]{2,}?)(USDT|USD|_USDT)")
_Log: TypeAlias = "BinanceLog | CoinbaseLog | BitmexLog"


def recognises(source: Source) -> bool:
    """Return whether the first line is a handshake of a recorder, or decimal seconds, a colon and a message."""
    return _FIRST.match(source.first_line()) is not None


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield books with their trades as `book`, trades of symbols without a book as `trades`, quotes as `bbo`, closed bars."""
    log: _Log | None = None
    host = ""
    messages = previous = backward = 0
    for row, line in source.lines():
        found = _MESSAGE.fullmatch(line)
        handshake = None if found else _HANDSHAKE.fullmatch(line)
        if handshake is not None:
            host = (urlsplit(handshake[1].decode("utf-8", "replace")).hostname or "") or host
            log = _shaken(source, options, notes, row, handshake, log, host)
            continue
        if found is None:
            if line.startswith(b"configuration: "):
                continue
            shown = shorten(line.decode("utf-8", "replace"))
            raise source.error(row, None, f"{shown!r} is neither `<seconds>: <message>` nor a handshake of a recorder")
        local_ts = _ns(source, row, found[1], found[2])
        backward += local_ts < previous
        previous = local_ts
        messages += 1
        if log is None:
            log = _log_of(source, options, notes, row, host, found[3])
        log.take(row, local_ts, found[3])
        if log.rows_ready:
            yield from log.batches()
    if log is None:
        raise source.error(None, None, f"no message in it; {_KNOWN}")
    notes.count("messages", messages)
    notes.count("receive_time_reversals", backward)
    yield from log.batches(final=True)


def _ns(source: Source, row: int, seconds: bytes, fraction: bytes | None) -> int:
    local_ts = int(seconds) * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0"))
    if not TS_MIN <= local_ts <= TS_MAX:
        raise source.error(row, "receive time", f"{seconds.decode()} s is no time between 1979 and 2096")
    return local_ts


def _shaken(
    source: Source, options: ReadOptions, notes: Notes, row: int, handshake: re.Match[bytes], log: _Log | None, host: str
) -> _Log | None:  # fmt: skip
    """Take a line of the connection itself: a request, an opening, or the answer to a request."""
    address, arrow, seconds, fraction, body = handshake.groups()
    local_ts = _ns(source, row, seconds, fraction)
    if arrow == b"<->" and log is not None:
        log.connected(row, local_ts)
    elif arrow == b"->":
        asked = urlsplit(address.decode("utf-8", "replace"))
        symbol = parse_qs(asked.query).get("symbol", [""])[0]
        if _HOSTS.get(host) in {"spot", "usdm", "coinm"} and asked.path.endswith("/depth") and symbol and body:
            log = log or _log_of(source, options, notes, row, host, body)
            if isinstance(log, BinanceLog):
                log.snapshot(row, local_ts, symbol, body)
                return log
        notes.count("skipped_responses")
    return log


class _Shape(msgspec.Struct):
    """The fields that tell the venues apart where no handshake does."""

    type: str = ""
    table: str = ""
    stream: str = ""


def _log_of(source: Source, options: ReadOptions, notes: Notes, row: int, host: str, body: bytes) -> _Log:
    venue = _HOSTS.get(host, "")
    if host and not venue:
        raise source.error(row, None, f"a log of {shorten(host)}, which is not read; {_KNOWN}")
    if not venue:
        if not body.startswith(b"{"):
            raise source.error(
                row, None, f"a message that is no object, as of Kraken and Bitfinex, whose logs are not read; {_KNOWN}"
            )
        try:
            shape = msgspec.json.decode(body, type=_Shape)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise source.error(row, None, f"not a message: {shorten(str(error))}") from error
        if shape.stream:
            return BinanceLog(source, options, notes, None)
        if not (shape.table or shape.type):
            raise source.error(
                row, None, f"a message of no known venue: {shorten(body.decode('utf-8', 'replace'))}; {_KNOWN}"
            )
        venue = "bitmex" if shape.table else "coinbase"
    if venue == "coinbase":
        return CoinbaseLog(source, options, notes)
    return BitmexLog(source, options, notes) if venue == "bitmex" else BinanceLog(source, options, notes, venue)


class BinanceLog(Messages):
    """Binance: trades from `trade` or `aggTrade`; sequence numbers tell of lost updates, so a new connection says nothing."""

    def __init__(self, source: Source, options: ReadOptions, notes: Notes, market: str | None) -> None:
        super().__init__(source, options, notes, prints=("trade", "aggTrade"), single=False, market=market)

    def connected(self, row: int, local_ts: int) -> None:
        """Take a new connection."""


class _Product:
    """What is collected of one symbol, and whether its book is known."""

    def __init__(self, source: Source, stamps: Stamps) -> None:
        self.book = Rows(source, ("price", "qty"), stamps)
        self.quotes = Rows(source, ("bid_price", "bid_qty", "ask_price", "ask_qty"), stamps)
        self.synced = self.was_synced = False
        self.updates = self.last_trade = 0
        self.prices: dict[tuple[int, int], str] = {}
        self.counts: Counter[str] = Counter()

    def clear(self, stamp: str | None, local_ts: int, row: int, *, last: int) -> None:
        """Forget both sides of the book."""
        self.prices.clear()
        for side in (1, -1):
            self.book.texts.extend(("0", "0"))
            self.book.add(stamp, local_ts, row, 1, EventKind.CLEAR, side, 0, last if side < 0 else 0)

    def lose(self, stamp: str | None, local_ts: int, row: int) -> None:
        """Say that the book is unknown from here to the next snapshot."""
        if self.synced:
            self.clear(stamp, local_ts, row, last=1)
            self.synced = False

    def snapshot(self, stamp: str | None, local_ts: int, row: int, bids: Levels, asks: Levels) -> None:
        """Replace the book."""
        self.clear(stamp, local_ts, row, last=int(not (bids or asks)))
        for side, levels, last in ((1, bids, int(not asks)), (-1, asks, 1)):
            if levels:
                self.book.texts.extend(chain.from_iterable(levels))
                self.book.add(stamp, local_ts, row, len(levels), EventKind.SNAPSHOT, side, 0, last)
        self.counts["snapshots"] += 1
        self.synced = self.was_synced = True

    def knows_book(self) -> bool:
        """Return whether updates can be applied; counts one that cannot."""
        self.counts["updates"] += 1
        if not self.synced:
            name = "updates_before_snapshot_dropped" if self.was_synced else "updates_without_snapshot"
            self.counts[name] += 1
        return self.synced


class _Products:
    """The symbols of one log: their batches and notes."""

    venue = ""
    column = ""

    def __init__(self, source: Source, options: ReadOptions, notes: Notes) -> None:
        self.rows_ready = False
        self._source, self._options, self._notes = source, options, notes
        self._products: dict[str, _Product] = {}
        self._stamps = iso_times(source, self.column)

    def connected(self, row: int, local_ts: int) -> None:
        """Take a new connection: updates may have been missed, and snapshots come again."""
        for product in self._products.values():
            product.counts["reconnects"] += 1
            product.lose(None, local_ts, row)

    def batches(self, *, final: bool = False) -> Iterator[Batch]:
        """Yield what has been collected; prints that may still get a book wait for it."""
        self.rows_ready = False
        for symbol, product in self._products.items():
            label = lake_name(self._options.symbol or symbol)
            venue = self._options.venue or self.venue
            if product.book.height and (final or product.was_synced or product.book.height >= BATCH_ROWS):
                table = "book" if product.was_synced else "trades"
                yield Batch(Stream(venue, label, table), product.book.take().select(RAW_COLUMNS[table]))
            if product.quotes.height:
                yield Batch(Stream(venue, label, "bbo"), product.quotes.take().select(RAW_COLUMNS["bbo"]))
            if final:
                self._close(symbol, label, product)

    def _product(self, row: int, symbol: str) -> _Product:
        product = self._products.get(symbol)
        if product is None:
            if self._options.symbol and self._products:
                raise self._source.error(
                    row, None, f"{shorten(symbol)!r}: a second symbol, but one name was given for the file"
                )
            product = self._products[symbol] = _Product(self._source, self._stamps)
        return product

    def _side(self, row: int, side: str | None) -> int:
        if side not in _SIDES:
            raise self._source.error(row, "side", f"{shorten(side)!r} is none of {', '.join(_SIDES)}")
        return _SIDES[side]

    def _close(self, symbol: str, label: str, product: _Product) -> None:
        if product.counts["updates_without_snapshot"] and not product.was_synced:
            self._notes.warnings.append(
                f"{self._source.path.name}: no snapshot of {label} for its {product.counts['updates']} updates: the book is"
                " unknown and only what needs no book is taken; import the file together with the one that it continues"
            )
        elif product.was_synced and not product.synced:
            product.counts["ends_without_book"] = 1
            self._notes.warnings.append(
                f"{self._source.path.name}: the book of {label} is unknown at the end: updates were missed, no snapshot follows"
            )
        for name, number in product.counts.items():
            self._notes.count(name, number, label)
        if facts := _facts(self.venue, symbol):
            self._notes.instruments[label] = facts


def _facts(venue: str, symbol: str) -> dict[str, str]:
    """Return what a symbol itself says; BitMEX's contracts on USD but XBTUSD are quanto, which nothing here values: they are left untold."""
    if venue == "coinbase":
        base, _, quote = symbol.partition("-")
        return {"base": base, "quote": quote, "contract_type": "SPOT"} if quote else {}
    if facts := contract_facts("bitmex", symbol):
        return facts if "multiplier" in facts else facts | {"quantity": "contracts"}
    pair = _BITMEX_PAIR.fullmatch(symbol)
    return {"base": pair[1], "quote": pair[2].lstrip("_")} if pair else {}


class _Coinbase(msgspec.Struct, gc=False):
    """The fields of every message of Coinbase that are used."""

    type: str
    product_id: str = ""
    time: str | None = None
    bids: Levels = []
    asks: Levels = []
    changes: list[tuple[str, str, str]] = []
    side: str = ""
    price: str = ""
    size: str = ""
    trade_id: Number = 0
    best_bid: str = ""
    best_ask: str = ""
    best_bid_size: str = ""
    best_ask_size: str = ""


class CoinbaseLog(_Products):
    """Coinbase: snapshot and l2update (absolute sizes), match (`side` is the maker's), ticker where it has sizes."""

    venue = "coinbase"
    column = "time"

    def __init__(self, source: Source, options: ReadOptions, notes: Notes) -> None:
        super().__init__(source, options, notes)
        self._decoder = msgspec.json.Decoder(_Coinbase)

    def take(self, row: int, local_ts: int, body: bytes) -> None:
        """Take a message."""
        try:
            message = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._source.error(row, None, f"not a message of Coinbase: {shorten(str(error))}") from error
        if message.type not in {"snapshot", "l2update", "match", "ticker"}:
            # last_match repeats what was traded before the subscription; orders (L3) need the full channel from its start.
            self._notes.count(f"skipped_{shorten(message.type, 40)}")
            return
        if not message.product_id:
            raise self._source.error(row, "product_id", f"a {message.type} message without it")
        if not self._options.wants(message.product_id):
            return
        product = self._product(row, message.product_id)
        if message.type == "l2update":
            self._update(row, local_ts, message, product)
        elif message.type == "match":
            self._match(row, local_ts, message, product)
        elif message.type == "snapshot":
            product.snapshot(message.time, local_ts, row, message.bids, message.asks)
        elif message.best_bid_size and message.best_ask_size:
            product.counts["tickers"] += 1
            product.quotes.texts.extend(
                (message.best_bid, message.best_bid_size, message.best_ask, message.best_ask_size)
            )
            product.quotes.add(message.time, local_ts, row, sequence=message.trade_id)
        else:
            product.counts["skipped_ticker_without_sizes"] += 1
        self.rows_ready |= max(product.book.height, product.quotes.height) >= BATCH_ROWS

    def _update(self, row: int, local_ts: int, message: _Coinbase, product: _Product) -> None:
        if not product.knows_book():
            return
        final = len(message.changes) - 1
        for i, (side, price, size) in enumerate(message.changes):
            product.book.texts.extend((price, size))
            product.book.add(message.time, local_ts, row, 1, EventKind.DEPTH, self._side(row, side), 0, int(i == final))

    def _match(self, row: int, local_ts: int, message: _Coinbase, product: _Product) -> None:
        number, last = message.trade_id, product.last_trade
        if last and number and number != last + 1:
            if number <= last:
                product.counts["duplicates"] += 1
                return
            product.counts["trade_id_gaps"] += 1
        product.last_trade = number
        product.counts["trades"] += 1
        product.book.texts.extend((message.price, message.size))
        product.book.add(message.time, local_ts, row, 1, EventKind.TRADE, -self._side(row, message.side), number)


class _Row(msgspec.Struct, gc=False):
    """The fields of a row of any table of BitMEX that are used."""

    symbol: Symbol
    id: Number | None = None
    side: str | None = None
    size: Number | None = None
    price: Decimal | None = None
    timestamp: str | None = None
    bidPrice: Decimal | None = None  # noqa: N815 - the venue's names
    bidSize: Number | None = None  # noqa: N815
    askPrice: Decimal | None = None  # noqa: N815
    askSize: Number | None = None  # noqa: N815
    trdType: str = "Regular"  # noqa: N815


class _Filter(msgspec.Struct):
    symbol: str = ""


class _Bitmex(msgspec.Struct):
    """A change of a table."""

    table: str
    action: str
    data: list[_Row] = []
    filter: _Filter | None = None


class BitmexLog(_Products):
    """BitMEX: levels keyed by id, whose price only partial and insert tell; sizes are contracts.

    An update or delete of an id that was never told means that messages are missing: the book ends until the next partial.
    """

    venue = "bitmex"
    column = "timestamp"

    def __init__(self, source: Source, options: ReadOptions, notes: Notes) -> None:
        super().__init__(source, options, notes)
        self._decoder = msgspec.json.Decoder(_Bitmex)
        self._shape = msgspec.json.Decoder(_Shape)
        self._book_table = ""

    def take(self, row: int, local_ts: int, body: bytes) -> None:
        """Take a message."""
        try:
            table = self._shape.decode(body).table
            if table in {"orderBookL2", "orderBookL2_25"}:
                self._book_table = self._book_table or table
            if table not in {self._book_table or "orderBookL2", "trade", "quote"}:
                self._notes.count(f"skipped_{shorten(table, 40) or 'responses'}")
                return
            message = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._source.error(row, None, f"not a message of BitMEX: {shorten(str(error))}") from error
        by_symbol: dict[str, list[_Row]] = {}
        if message.action == "partial" and message.filter is not None and message.filter.symbol:
            by_symbol[message.filter.symbol] = []
        for item in message.data:
            by_symbol.setdefault(item.symbol, []).append(item)
        for symbol, items in by_symbol.items():
            if not self._options.wants(symbol):
                continue
            product = self._product(row, symbol)
            if table == "trade":
                self._trades(row, local_ts, message.action, items, product)
            elif table == "quote":
                self._quotes(row, local_ts, items, product)
            elif message.action == "partial":
                self._partial(row, local_ts, items, product)
            else:
                self._changes(row, local_ts, message.action, items, product)
            self.rows_ready |= max(product.book.height, product.quotes.height) >= BATCH_ROWS

    def _partial(self, row: int, local_ts: int, items: list[_Row], product: _Product) -> None:
        levels: dict[int, list[tuple[str, str]]] = {1: [], -1: []}
        prices: dict[tuple[int, int], str] = {}
        for item in items:
            side, price, key = self._side(row, item.side), self._price(row, item), self._number(row, "id", item.id)
            prices[side, key] = price
            levels[side].append((price, str(self._number(row, "size", item.size))))
        product.snapshot(items[0].timestamp if items else None, local_ts, row, levels[1], levels[-1])
        product.prices = prices

    def _changes(self, row: int, local_ts: int, action: str, items: list[_Row], product: _Product) -> None:
        if action not in {"insert", "update", "delete"}:
            raise self._source.error(row, "action", f"{shorten(action)!r} is none of partial, insert, update, delete")
        if not product.knows_book():
            return
        rows: list[tuple[str | None, int, str, str]] = []
        for item in items:
            side, level = self._side(row, item.side), self._number(row, "id", item.id)
            price = (
                self._price(row, item)
                if item.price is not None or action == "insert"
                else product.prices.get((side, level))
            )
            if price is None:
                product.counts["unknown_ids"] += 1
                product.counts["sequence_gaps"] += 1
                product.lose(item.timestamp, local_ts, row)
                return
            if action == "delete":
                product.prices.pop((side, level), None)
            else:
                product.prices[side, level] = price
            rows.append(
                (item.timestamp, side, price, "0" if action == "delete" else str(self._number(row, "size", item.size)))
            )
        for i, (stamp, side, price, size) in enumerate(rows, 1):
            product.book.texts.extend((price, size))
            product.book.add(stamp, local_ts, row, 1, EventKind.DEPTH, side, 0, int(i == len(rows)))

    def _trades(self, row: int, local_ts: int, action: str, items: list[_Row], product: _Product) -> None:
        if action != "insert":
            # A partial repeats what was traded before the subscription.
            product.counts["skipped_earlier_trades"] += len(items)
            return
        for item in items:
            kind = EventKind.TRADE if item.trdType == "Regular" else EventKind.PRINT
            product.counts["trades" if kind == EventKind.TRADE else "off_book_prints"] += 1
            side = self._side(row, item.side) if item.side else 0
            product.book.texts.extend((self._price(row, item), str(self._number(row, "size", item.size))))
            product.book.add(item.timestamp, local_ts, row, 1, kind, side)

    def _quotes(self, row: int, local_ts: int, items: list[_Row], product: _Product) -> None:
        for item in items:
            product.counts["quotes"] += 1
            for price, size in ((item.bidPrice, item.bidSize), (item.askPrice, item.askSize)):
                product.quotes.texts.extend((plain(price), str(size)) if price is not None and size else ("0", "0"))
            product.quotes.add(item.timestamp, local_ts, row)

    def _number(self, row: int, name: str, value: int | None) -> int:
        if value is None:
            raise self._source.error(row, name, "is missing")
        return value

    def _price(self, row: int, item: _Row) -> str:
        if item.price is None:
            raise self._source.error(row, "price", "is missing")
        return plain(item.price)
