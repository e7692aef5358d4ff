"""CSV files of Tardis.dev: incremental_book_L2, book_snapshot_<n>, quotes (book_ticker), trades, derivative_ticker.

Owns the provider's rules: `local_timestamp` is the receive time and the order of a file, rows of one local_timestamp are one
message; the first row of a snapshot ends the book before it. Amounts are the venue's (contracts on many derivatives), for which the pair has a multiplier. A file
may hold many symbols, each a stream of its own.
Source: docs.tardis.dev, "Downloadable CSV files, data types".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import polars as pl

from market_maker.domain.errors import shorten
from market_maker.market_data.clears import with_clears
from market_maker.market_data.columns import DECIMAL, Dtype, TimeColumn, codes, read_csv, refuse_where
from market_maker.market_data.contracts import contract_facts
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

NAME = "tardis"
VERSION = "1"
TITLE = "Tardis.dev CSV: incremental_book_L2, book_snapshot, quotes, trades, derivative_ticker"

_COMMON: dict[str, Dtype] = {
    "exchange": pl.String, "symbol": pl.String, "timestamp": pl.Int64, "local_timestamp": pl.Int64,
}  # fmt: skip
_CHANGES: dict[str, Dtype] = {"is_snapshot": pl.String, "side": pl.String, "price": DECIMAL, "amount": DECIMAL}
_TRADES: dict[str, Dtype] = {"id": pl.String, "side": pl.String, "price": DECIMAL, "amount": DECIMAL}
_QUOTES: dict[str, Dtype] = {"ask_amount": DECIMAL, "ask_price": DECIMAL, "bid_price": DECIMAL, "bid_amount": DECIMAL}
_RATES = (
    "funding_rate", "predicted_funding_rate", "open_interest", "last_price", "index_price", "mark_price",
)  # fmt: skip
_TICKER: dict[str, Dtype] = {"funding_timestamp": pl.Int64, **dict.fromkeys(_RATES, DECIMAL)}
_LEVEL = re.compile(r"asks\[([0-9]{1,4})\]\.price")
_FIRST = ",".join(_COMMON)
_KINDS = {",".join(columns): kind for kind, columns in (
    ("incremental_book_L2", _CHANGES), ("trades", _TRADES), ("quotes", _QUOTES), ("derivative_ticker", _TICKER),
)}  # fmt: skip
_SNAPSHOT_FIRST = "asks[0].price,asks[0].amount,bids[0].price,bids[0].amount"

_VENUES = {"binance": "binance-spot", "binance-futures": "binance-usdm", "binance-delivery": "binance-coinm"}
"""Names of venues that are other ones here; the rest are taken as they are."""
_IN_CONTRACTS = re.compile("bitmex|deribit|binance-delivery|cryptofacilities|okex-(futures|swap)|huobi-dm.*")
_BOOK_SIDES = {"bid": 1, "ask": -1}
_TAKER_SIDES = {"buy": 1, "sell": -1, "unknown": 0}
_TRUE_FALSE = {"true": 1, "false": 0}


def recognises(source: Source) -> bool:
    """Return whether the first line is a header of one of these files."""
    return _kind_of(source.first_line()) is not None


def _kind_of(header: str) -> str | None:
    if not header.startswith(f"{_FIRST},"):
        return None
    rest = header.removeprefix(f"{_FIRST},")
    return "book_snapshot" if rest.startswith(_SNAPSHOT_FIRST) else _KINDS.get(rest)


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield both kinds of books as `book`, quotes as `bbo`, trades as `trades`, derivative_ticker as `ticker`."""
    header = source.first_line()
    kind = _kind_of(header)
    if kind is None:
        raise source.error(1, None, f"{shorten(header)!r} is the header of no file of Tardis that is known")
    if "liquidations" in source.path.name.lower():
        # They have the columns of trades, which have these executions too.
        raise source.error(None, None, "liquidations are no trades of their own; import the file of trades")
    columns: dict[str, tuple[str, dict[str, Dtype]]] = {
        "incremental_book_L2": ("book", _CHANGES), "book_snapshot": ("book", _levels(source, header)),
        "quotes": ("bbo", _QUOTES), "trades": ("trades", _TRADES), "derivative_ticker": ("ticker", _TICKER),
    }  # fmt: skip
    table, own = columns[kind]
    makers: dict[str, Callable[[_Symbol, _Part], pl.DataFrame]] = {
        "incremental_book_L2": _changes, "book_snapshot": _snapshots, "quotes": _quotes, "trades": _trades,
        "derivative_ticker": _ticker,
    }  # fmt: skip
    symbols: dict[tuple[str, str], _Symbol] = {}
    optional = () if kind == "incremental_book_L2" else ("id",) if kind == "trades" else tuple(own)
    stamped = _stamps(source, read_csv(source, _COMMON | own, header=True, optional=optional))
    for frame, following in pairwise(chain(stamped, (None,))):
        assert frame is not None
        for part in _parts(frame, options):
            key = (str(part["exchange"][0]), str(part["symbol"][0]))
            symbol = symbols.get(key) or _new_symbol(source, options, symbols, part, table)
            rows = makers[kind](symbol, _Part(part, _goes_on(part, following)))
            yield Batch(symbol.stream, rows.select(RAW_COLUMNS[table]))
    if symbols:
        _tell(source, notes, kind, symbols)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one symbol, and whether the message that ends them goes on in the rows to come."""

    frame: pl.DataFrame
    goes_on: bool


class _Symbol:
    """What is known of one symbol of the file up to a row."""

    def __init__(self, source: Source, stream: Stream) -> None:
        self.source, self.stream = source, stream
        self.counts: Counter[str] = Counter()
        self.last_ts = 0
        self.in_snapshot = self.knows_book = False


def _stamps(source: Source, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Add the times in ns."""
    names = {"exch_ts": "timestamp", "local_ts": "local_timestamp", "funding_ts": "funding_timestamp"}
    times = {name: TimeColumn(source, column, "us") for name, column in names.items()}
    for frame in frames:
        yield frame.with_columns(
            time.ns(frame).alias(name) for name, time in times.items() if names[name] in frame.columns
        )


def _new_symbol(
    source: Source, options: ReadOptions, symbols: dict[tuple[str, str], _Symbol], part: pl.DataFrame, table: str
) -> _Symbol:  # fmt: skip
    exchange, name = str(part["exchange"][0]), str(part["symbol"][0])
    if options.symbol and symbols:
        raise source.error(
            int(part["row"][0]), "symbol", f"{shorten(name)!r}: a second symbol, but one name was given for the file"
        )
    venue = options.venue or _VENUES.get(exchange) or lake_name(exchange.lower())
    symbols[exchange, name] = found = _Symbol(source, Stream(venue, lake_name(options.symbol or name), table))
    return found


def _parts(frame: pl.DataFrame, options: ReadOptions) -> Iterator[pl.DataFrame]:
    """Yield the wanted rows by symbol; of a file with one symbol, as nearly all are, without a copy."""
    symbol, exchange = frame["symbol"], frame["exchange"]
    if bool((symbol == symbol[0]).all()) and bool((exchange == exchange[0]).all()):
        if options.wants(str(symbol[0])):
            yield frame
        return
    if options.symbols:
        frame = frame.filter(pl.col("symbol").is_in(options.symbols))
    yield from frame.partition_by("exchange", "symbol", maintain_order=True)


def _goes_on(part: pl.DataFrame, following: pl.DataFrame | None) -> bool:
    """Return whether the next rows of the file have rows of the message that ends these."""
    if following is None:
        return False
    us = following["local_timestamp"]
    if us[0] != part["local_timestamp"][-1]:
        return False
    first = following.head(int((us != us[0]).arg_max() or 0) or following.height)
    return bool(((first["symbol"] == part["symbol"][0]) & (first["exchange"] == part["exchange"][0])).any())


def _changes(symbol: _Symbol, part: _Part) -> pl.DataFrame:
    frame = part.frame
    source, n = symbol.source, frame.height
    side = codes(source, frame, "side", _BOOK_SIDES)
    snap = codes(source, frame, "is_snapshot", _TRUE_FALSE).to_numpy() == 1
    refuse_where(source, frame, "amount", frame["amount"] < 0, "is negative")
    local = frame["local_ts"].to_numpy()
    begins = np.ones(n, np.bool_)
    begins[1:] = local[1:] != local[:-1]
    begins[0] = int(local[0]) != symbol.last_ts
    first = snap & begins
    first[1:] |= snap[1:] & ~snap[:-1]
    first[0] |= bool(snap[0]) and not symbol.in_snapshot
    last = np.append(begins[1:], not part.goes_on)
    symbol.last_ts, symbol.in_snapshot = int(local[-1]), bool(snap[-1])
    at = np.flatnonzero(first)
    symbol.counts["snapshots"] += len(at)
    if not symbol.knows_book:
        symbol.counts["levels_before_the_first_snapshot"] += int(at[0]) if len(at) else n
        symbol.knows_book = len(at) > 0
    rows = frame.select(
        "exch_ts", "local_ts", kind=pl.Series(np.where(snap, EventKind.SNAPSHOT, EventKind.DEPTH).astype(np.int8)),
        side=side, price="price", qty="amount", sequence=pl.lit(0, pl.Int64), last=pl.Series(last), row="row",
    )  # fmt: skip
    return with_clears(rows, at, np.zeros(len(at), np.bool_))


def _levels(source: Source, header: str) -> dict[str, Dtype]:
    """Return the columns of the levels in a header, which must be complete."""
    if not header.startswith(f"{_FIRST},{_SNAPSHOT_FIRST}"):
        return {}
    names = header.split(",")[len(_COMMON) :]
    depth = len(names) // 4
    wanted = [f"{side}[{i}].{what}" for i in range(depth) for side in ("asks", "bids") for what in ("price", "amount")]
    if names != wanted:
        at = next((i for i, (name, other) in enumerate(zip(names, wanted, strict=False)) if name != other), len(wanted))
        raise source.error(1, shorten(names[at]), "is no level of a book that goes on from the one before")
    return dict.fromkeys(wanted, DECIMAL)


def _snapshots(symbol: _Symbol, part: _Part) -> pl.DataFrame:
    """Turn each row into two clears and its levels, bids first."""
    frame = part.frame
    n = frame.height
    depth = sum(_LEVEL.fullmatch(name) is not None for name in frame.columns)
    names = [f"{side}[{i}]" for side in ("bids", "asks") for i in range(depth)]
    for name in names:
        price, amount = frame[f"{name}.price"], frame[f"{name}.amount"]
        refuse_where(symbol.source, frame, f"{name}.price", (price < 0).fill_null(value=False), "is negative")
        refuse_where(symbol.source, frame, f"{name}.amount", (amount < 0).fill_null(value=False), "is negative")
        refuse_where(
            symbol.source,
            frame,
            f"{name}.amount",
            price.is_null() != amount.is_null(),
            "beside its price: one is missing",
        )
    # The numbers lie column behind column, the two clears first; `order` picks them row by row.
    width = 2 + len(names)
    order = (np.arange(width)[None, :] * n + np.arange(n)[:, None]).ravel()
    zeros = pl.zeros(2 * n, DECIMAL, eager=True)
    price = pl.concat([zeros, *(frame[f"{name}.price"] for name in names)]).gather(order)
    qty = pl.concat([zeros, *(frame[f"{name}.amount"] for name in names)]).gather(order)
    kinds = np.array([EventKind.CLEAR] * 2 + [EventKind.SNAPSHOT] * len(names), np.int8)
    sides = np.array([1, -1] + [1] * depth + [-1] * depth, np.int8)
    at = np.repeat(np.arange(n), width)
    there = price.is_not_null().to_numpy()
    place, rows = np.tile(np.arange(width), n)[there], at[there]
    symbol.counts["snapshots"] += n
    return pl.DataFrame({
        "exch_ts": frame["exch_ts"].to_numpy()[rows], "local_ts": frame["local_ts"].to_numpy()[rows], "kind": kinds[place],
        "side": sides[place], "price": price.drop_nulls(), "qty": qty.drop_nulls(), "sequence": np.zeros(len(rows), np.int64),
        "last": np.append(rows[1:] != rows[:-1], True), "row": frame["row"].to_numpy()[rows],
    })  # fmt: skip


def _quotes(symbol: _Symbol, part: _Part) -> pl.DataFrame:
    frame = part.frame
    for side in ("bid", "ask"):
        price, amount = frame[f"{side}_price"], frame[f"{side}_amount"]
        name = f"{side}_amount"
        refuse_where(
            symbol.source, frame, name, price.is_null() != amount.is_null(), "beside its price: one is missing"
        )
        refuse_where(symbol.source, frame, name, (amount < 0).fill_null(value=False), "is negative")
        refuse_where(symbol.source, frame, f"{side}_price", (price < 0).fill_null(value=False), "is negative")
        symbol.counts[f"quotes_without_{side}"] += price.null_count()
    symbol.counts["quotes"] += frame.height
    return frame.select(
        "exch_ts", "local_ts", pl.col("bid_price", "ask_price").fill_null(0), bid_qty=pl.col("bid_amount").fill_null(0),
        ask_qty=pl.col("ask_amount").fill_null(0), sequence=pl.lit(0, pl.Int64), row="row",
    )  # fmt: skip


def _trades(symbol: _Symbol, part: _Part) -> pl.DataFrame:
    frame = part.frame
    refuse_where(symbol.source, frame, "price", frame["price"] <= 0, "is no price of a trade")
    refuse_where(symbol.source, frame, "amount", frame["amount"] < 0, "is negative")
    side = codes(symbol.source, frame, "side", _TAKER_SIDES)
    # Many venues have ids that are no numbers; only those that are one order the trades of a moment.
    number = frame["id"].str.extract("^([0-9]{1,18})$").cast(pl.Int64)
    symbol.counts["trades"] += frame.height
    symbol.counts["trades_without_a_number"] += number.null_count()
    rows = frame.select(
        "exch_ts", "local_ts", kind=pl.lit(int(EventKind.TRADE), pl.Int8), side=side, price="price", qty="amount",
        sequence=number.fill_null(0), row="row",
    )  # fmt: skip
    traded = rows["qty"] > 0
    if not traded.all():
        symbol.counts["skipped_empty_trades"] += rows.height - int(traded.sum())
        rows = rows.filter(traded)
    return rows


def _ticker(symbol: _Symbol, part: _Part) -> pl.DataFrame:
    symbol.counts["tickers"] += part.frame.height
    return part.frame


def _tell(source: Source, notes: Notes, kind: str, symbols: dict[tuple[str, str], _Symbol]) -> None:
    for (exchange, name), symbol in symbols.items():
        label = symbol.stream.symbol
        for counted, number in symbol.counts.items():
            notes.count(counted, number, label)
        facts = contract_facts(exchange, name)
        if "multiplier" not in facts and _IN_CONTRACTS.fullmatch(exchange):
            facts["quantity"] = "contracts"
        if facts:
            notes.instruments[label] = facts
        if kind == "incremental_book_L2" and not symbol.knows_book:
            notes.warnings.append(
                f"{source.path.name}: no snapshot of {label}: its book is unknown unless the file before is imported with it"
            )


__all__ = ["NAME", "TITLE", "VERSION", "read", "recognises"]
