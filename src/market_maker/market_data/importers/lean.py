"""QuantConnect LEAN: zips of equity ticks (the national best quote, trades) and of bars, of equities and of crypto.

Quote rows carry one side each; the other, 0 and 0, is unchanged: a row of the result has both, carried forward. The quote
is the national best one, its exchange only says who shows it. Trades have no aggressor; those that met no displayed queue
(reported off the exchanges, auctions, late or derived prices) are PRINT. Prices of equities are scaled by 10,000 and never
adjusted for splits; those of crypto are plain. Times are milliseconds since local midnight: New York, for crypto UTC.
Source: github.com/QuantConnect/Lean, Common/Data/Auxiliary/TradeConditionFlags.cs and the readme files below Data/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl

from market_maker.domain.errors import shorten
from market_maker.market_data.columns import DECIMAL, Dtype, codes, read_csv
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, bars_table, kind_of
from market_maker.market_data.source import Source

NAME = "lean"
VERSION = "1"
TITLE = "QuantConnect LEAN (ticks and bars)"

PRICE_UNIT = Decimal("0.0001")
MS_NS, DAY_S, DAY_MS = 1_000_000, 86_400, 86_400_000
OFF_EXCHANGE = "D"
"""The trade reporting facility: trades inside brokers and dark pools."""
OFF_QUEUE = sum(1 << bit for bit in (6, 7, 8, 9, 11, 14, 18, 20, 21, 24, 25, 26))
"""Conditions of trades that met no displayed queue: opening, closing and reopening prints, derived price, sold last, out of
sequence, stock option, average price, cross, official close, prior reference price, official open."""

_NAMES = (
    re.compile(r"(?P<day>[0-9]{8})_(?P<symbol>[a-z0-9.-]+)_(?P<what>quote|trade)_(?P<resolution>tick)\.csv"),
    re.compile(r"(?P<day>[0-9]{8})_(?P<symbol>[a-z0-9.-]+)_(?P<resolution>tick)_(?P<what>quote|trade)\.csv"),
    re.compile(r"(?P<day>[0-9]{8})_(?P<symbol>[a-z0-9.-]+)_(?P<resolution>second|minute)_(?P<what>trade)\.csv"),
)
_LONG_NAME = re.compile(r"(?P<symbol>[a-z0-9.-]+)\.csv")
_DATED_BAR = re.compile(r"[0-9]{8} [0-9]{2}:[0-9]{2},")
_NUMBERS = re.compile(r"[0-9.]+(,[0-9.]+)*")
_FIELDS = {("quote", "tick"): 8, ("trade", "tick"): 6, ("trade", "second"): 6, ("trade", "minute"): 6}
_RESOLUTIONS = ("tick", "second", "minute", "hour", "daily")
_INTERVALS_S = {"second": 1, "minute": 60}
_QUOTE: dict[str, Dtype] = {
    "time": pl.Int64, "bid": pl.Int64, "bid_size": pl.Int64, "ask": pl.Int64, "ask_size": pl.Int64, "exchange": pl.String,
    "condition": pl.String, "suspicious": pl.Int64,
}  # fmt: skip
_TRADE: dict[str, Dtype] = {
    "time": pl.Int64, "price": pl.Int64, "size": pl.Int64, "exchange": pl.String, "condition": pl.String,
    "suspicious": pl.Int64,
}  # fmt: skip
_OHLC = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class _File:
    """What names and folders say: `day` is None where rows are dated, then `resolution` is of hours or days."""

    symbol: str
    what: str
    resolution: str
    day: datetime | None
    market: str | None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo("UTC") if self.market else ZoneInfo("America/New_York")


def recognises(source: Source) -> bool:
    """Return whether the name is one of LEAN's and the first row fits it."""
    line = source.first_line()
    name = source.name.lower()
    for pattern in _NAMES:
        if found := pattern.fullmatch(name):
            fields = line.split(",")
            return len(fields) == _FIELDS[found["what"], found["resolution"]] and fields[0].isdigit()
    return (
        _LONG_NAME.fullmatch(name) is not None
        and _DATED_BAR.match(line) is not None
        and line.count(",") == 5
        and _NUMBERS.fullmatch(line[15:]) is not None
    )


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield quote ticks as `bbo`, trade ticks as `trades`, bars as `bars_<n>s`."""
    file = _file(source)
    label = lake_name(options.symbol or file.symbol)
    venue = options.venue or (file.market or "us-equities")
    parts = _bars(source, file, label, notes)
    table = ""
    if file.resolution == "tick":
        if file.market:
            raise source.error(None, None, "ticks of crypto are not read; bars are, and ticks of equities")
        table, parts = (
            ("bbo", _quotes(source, file, label, notes))
            if file.what == "quote"
            else ("trades", _trades(source, file, label, notes))
        )
    rows = 0
    for frame, interval_s in parts:
        rows += frame.height
        name = table or bars_table(interval_s)
        unit = None if file.market else PRICE_UNIT
        quantity_unit = None if kind_of(name) == "bars" else Decimal(1)
        if frame.height:
            yield Batch(Stream(venue, label, name), frame.select(RAW_COLUMNS[kind_of(name)]), unit, quantity_unit)
    if not rows:
        raise source.error(None, None, "no row in it")
    if not file.market:
        notes.instruments[label] = {"base": label, "quote": "USD", "contract_type": "SPOT"}


def _file(source: Source) -> _File:
    name = source.name.lower()
    # Crypto is told by its folders alone: crypto/<market>/minute/<symbol>/<file> or crypto/<market>/daily/<file>.
    folders = [part.lower() for part in source.path.absolute().parts[-5:-1]]
    market = next(
        (found for kind, found, resolution in zip(folders, folders[1:], folders[2:], strict=False)
         if kind == "crypto" and resolution in _RESOLUTIONS), None,
    )  # fmt: skip
    for pattern in _NAMES:
        if found := pattern.fullmatch(name):
            try:
                day = datetime.strptime(found["day"], "%Y%m%d").replace(tzinfo=UTC)
            except ValueError as error:
                raise source.error(None, None, f"{found['day']} in its name {shorten(name)} is no day") from error
            return _File(found["symbol"].upper(), found["what"], found["resolution"], day, market)
    if found := _LONG_NAME.fullmatch(name):
        return _File(found["symbol"].upper(), "trade", "", None, market)
    raise source.error(
        None,
        None,
        f"{shorten(name)} is no name of LEAN's, such as 20131007_bac_Trade_Tick.csv or spy.csv; it tells the day",
    )


def _midnight_ns(file: _File) -> int:
    """Return the local midnight: twelve hours before noon, so that no change of clocks matters."""
    assert file.day is not None
    noon = file.day.replace(hour=12, tzinfo=file.zone)
    return (int(noon.timestamp()) - 43_200) * 1_000_000_000


def _ticks(source: Source, file: _File, columns: dict[str, Dtype], label: str, notes: Notes) -> Iterator[pl.DataFrame]:
    """Yield rows with `local_ts` and `exch_ts`, without those that the provider suspects."""
    midnight_ns, previous = _midnight_ns(file), 0
    for frame in read_csv(source, columns, header=False, optional=("condition",)):
        _refuse(source, frame, "time", ~pl.col("time").is_between(0, DAY_MS - 1), "is no millisecond of a day")
        _refuse(source, frame, "suspicious", ~pl.col("suspicious").is_in([0, 1]), "is neither 0 nor 1")
        time = frame["time"]
        notes.count("rows", frame.height, label)
        notes.count("receive_time_reversals", int((time.diff() < 0).sum()) + int(time[0] < previous), label)
        notes.count("suspicious", int(frame["suspicious"].sum()), label)
        previous = int(time[-1])
        ts = midnight_ns + pl.col("time") * MS_NS
        yield frame.filter(pl.col("suspicious") == 0).with_columns(ts.alias("local_ts"), ts.alias("exch_ts"))


def _quotes(source: Source, file: _File, label: str, notes: Notes) -> Iterator[tuple[pl.DataFrame, int]]:
    known = pl.DataFrame({name: [0] for name in ("bid_price", "bid_qty", "ask_price", "ask_qty")}, schema_overrides={
        "bid_price": pl.Int64, "bid_qty": pl.Int64, "ask_price": pl.Int64, "ask_qty": pl.Int64,
    })  # fmt: skip
    for frame in _ticks(source, file, _QUOTE, label, notes):
        for side in ("bid", "ask"):
            for name in (side, f"{side}_size"):
                _refuse(source, frame, name, pl.col(name) < 0, "is negative")
            _refuse(
                source, frame, f"{side}_size", (pl.col(side) > 0) != (pl.col(f"{side}_size") > 0),
                "and its price are not both above zero, or both zero",
            )  # fmt: skip
        neither = (pl.col("bid") == 0) & (pl.col("ask") == 0)
        notes.count("rows_without_quote", int(frame.select(neither.sum()).item()), label)
        told = frame.filter(~neither).select(
            "local_ts", "exch_ts", "row",
            *(
                pl.when(pl.col(side) > 0).then(pl.col(f"{side}{suffix}")).alias(f"{side}_{name}")
                for side in ("bid", "ask")
                for suffix, name in (("", "price"), ("_size", "qty"))
            ),
        )  # fmt: skip
        if told.height:
            whole = told.with_columns(
                pl.col(name).forward_fill().fill_null(known[name][0]) for name in known.columns
            ).with_columns(sequence=pl.lit(0, pl.Int64))
            known = whole.select(known.columns).tail(1)
            yield whole, 0


def _trades(source: Source, file: _File, label: str, notes: Notes) -> Iterator[tuple[pl.DataFrame, int]]:
    for frame in _ticks(source, file, _TRADE, label, notes):
        for name in ("price", "size"):
            _refuse(source, frame, name, pl.col(name) <= 0, "is not above zero")
        # There are some dozens of different conditions in a day: each is read once.
        texts = frame["condition"].fill_null("0").unique().to_list()
        flags = {text: int(text, 16) for text in texts if re.fullmatch(r"[0-9a-fA-F]{1,16}", text)}
        off_queue = {text: int(bool(value & OFF_QUEUE)) for text, value in flags.items()}
        filled = frame.with_columns(pl.col("condition").fill_null("0"))
        if len(flags) < len(texts):
            bad = filled.filter(~pl.col("condition").is_in(list(flags)))
            raise source.error(
                int(bad["row"][0]), "condition", f"{shorten(bad['condition'][0])!r} is no hexadecimal number"
            )
        is_off_queue = codes(source, filled, "condition", off_queue) == 1
        is_off_exchange = frame["exchange"] == OFF_EXCHANGE
        notes.count("off_exchange_prints", int(is_off_exchange.sum()), label)
        notes.count("prints_outside_the_queue", int((is_off_queue & ~is_off_exchange).sum()), label)
        yield frame.select(
            "local_ts", "exch_ts", "price", "row", qty="size", side=pl.lit(0, pl.Int8), sequence=pl.lit(0, pl.Int64),
            kind=pl.when(is_off_queue | is_off_exchange).then(int(EventKind.PRINT)).otherwise(int(EventKind.TRADE)).cast(pl.Int8),
        ), 0  # fmt: skip


def _bars(source: Source, file: _File, label: str, notes: Notes) -> Iterator[tuple[pl.DataFrame, int]]:
    price: Dtype = DECIMAL if file.market else pl.Int64
    columns: dict[str, Dtype] = {
        "time": pl.Int64 if file.day else pl.String,
        **dict.fromkeys(_OHLC, price),
        "volume": DECIMAL,
    }
    interval_s = _INTERVALS_S.get(file.resolution, 0)
    for frame in read_csv(source, columns, header=False):
        for name in (*_OHLC, "volume"):
            _refuse(source, frame, name, pl.col(name) < 0, "is negative")
        if file.day:
            _refuse(source, frame, "time", ~pl.col("time").is_between(0, DAY_MS - 1), "is no millisecond of a day")
            ts = frame["time"] * MS_NS + _midnight_ns(file)
        else:
            ts = _dated(source, frame, file)
            interval_s = _interval_s(source, frame, interval_s)
        notes.count("bars", frame.height, label)
        yield frame.with_columns(local_ts=ts, trades=pl.lit(-1, pl.Int64)), interval_s


def _dated(source: Source, frame: pl.DataFrame, file: _File) -> pl.Series:
    """Return the starts of bars dated such as 19980102 09:00, ns UTC."""
    local = frame["time"].str.to_datetime("%Y%m%d %H:%M", time_unit="ns", strict=False)
    zoned = local.dt.replace_time_zone(str(file.zone), ambiguous="earliest", non_existent="null")
    if zoned.null_count():
        at = int(zoned.is_null().arg_max() or 0)
        raise source.error(
            int(frame["row"][at]), "time", f"{shorten(frame['time'][at])!r} is no time such as 19980102 09:00"
        )
    return zoned.dt.timestamp("ns")


def _interval_s(source: Source, frame: pl.DataFrame, known_s: int) -> int:
    """Return whether bars are of a day (they all begin at midnight) or of an hour; the first rows of a file decide."""
    is_daily = known_s == DAY_S or (not known_s and frame["time"].str.ends_with(" 00:00").all())
    wrong = ~frame["time"].str.ends_with(" 00:00" if is_daily else ":00")
    if wrong.any():
        place = int(wrong.arg_max() or 0)
        raise source.error(
            int(frame["row"][place]),
            "time",
            f"{frame['time'][place]!r} begins no {'day' if is_daily else 'hour or day'}",
        )
    return DAY_S if is_daily else 3600


def _refuse(source: Source, frame: pl.DataFrame, column: str, rule: pl.Expr, what: str) -> None:
    if frame.select(rule.any()).item():
        bad = frame.filter(rule)
        raise source.error(int(bad["row"][0]), column, f"{bad[column][0]} {what}")
