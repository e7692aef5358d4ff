from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.importers import Notes, ReadOptions, nautilus
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, kind_of
from market_maker.market_data.source import Source

TRADE, CLEAR, SNAPSHOT, DEPTH = EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.DEPTH
T = 1_700_000_000_000_000_000


def wide(*texts):
    """Return numbers as the catalog of high precision keeps them: 16 bytes, units of 10^-16."""
    return pl.Series(
        [int(Decimal(text).scaleb(16)).to_bytes(16, "little", signed=True) for text in texts], dtype=pl.Binary
    )


def narrow(*texts):
    return pl.Series(
        [int(Decimal(text).scaleb(9)).to_bytes(8, "little", signed=True) for text in texts], dtype=pl.Binary
    )


def plain(*texts):
    return pl.Series([int(Decimal(text).scaleb(9)) for text in texts], dtype=pl.Int64)


def unsigned(*texts):
    return plain(*texts).cast(pl.UInt64)


def times(*offsets):
    return {
        name: pl.Series([T + at + more for at in offsets], dtype=pl.UInt64)
        for name, more in (("ts_event", 0), ("ts_init", 5))
    }


def write(tmp_path, columns, folder="BTCUSDT.BINANCE"):
    path = tmp_path / "data" / folder / "part-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)
    return path


def read(path, **options):
    notes = Notes()
    batches = list(nautilus.read(Source(path), ReadOptions(**options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[kind_of(batch.stream.table)]
    return batches, notes


QUOTES = {"bid_price": ("1.5", "1.25"), "ask_price": ("1.75", "2"), "bid_size": ("10", "0.001"), "ask_size": ("7", "3")}


@pytest.mark.parametrize("number", [wide, narrow, plain, unsigned])
def test_quotes_of_every_width(tmp_path, number):
    path = write(tmp_path, {name: number(*texts) for name, texts in QUOTES.items()} | times(1, 2))
    assert nautilus.recognises(Source(path))
    (batch,), notes = read(path)
    assert (batch.stream.venue, batch.stream.symbol, batch.stream.table) == ("binance", "BTCUSDT", "bbo")
    assert (batch.price_unit, batch.qty_unit) == (Decimal("0.01"), Decimal("0.001"))
    assert batch.frame.rows() == [
        (T + 1, T + 6, 150, 10_000, 175, 7_000, 0, 1),
        (T + 2, T + 7, 125, 1, 200, 3_000, 0, 2),
    ]
    assert notes.counts == {"BTCUSDT": {"rows": 2}}


def test_trades(tmp_path):
    columns = {
        "price": wide("1.5", "2", "3"), "size": wide("1", "1", "1"), "aggressor_side": pl.Series([0, 1, 2], dtype=pl.UInt8),
        "trade_id": ["11", "x-2", "13"], **times(3, 1, 2),
    }  # fmt: skip
    (batch,), notes = read(write(tmp_path, columns), venue="v", symbol="s/t")
    assert (batch.stream.venue, batch.stream.symbol, batch.stream.table) == ("v", "s-t", "trades")
    assert batch.frame.select("kind", "side", "price", "sequence").rows() == [
        (TRADE, 0, 15, 11), (TRADE, 1, 20, 0), (TRADE, -1, 30, 13),
    ]  # fmt: skip
    assert notes.counts["s-t"] == {"rows": 3, "receive_time_reversals": 1}
    columns["aggressor_side"] = pl.Series([0, 1, 3], dtype=pl.UInt8)
    with pytest.raises(DataError, match="row 3, column aggressor_side: 3 is none of 0, 1, 2"):
        read(write(tmp_path, columns))


def deltas(*rows, flags=True):
    """Return deltas of (at, action, side, price, size, flags)."""
    columns = list(zip(*rows, strict=True))
    return {
        "action": pl.Series(columns[1], dtype=pl.UInt8), "side": pl.Series(columns[2], dtype=pl.UInt8),
        "price": wide(*columns[3]), "size": wide(*columns[4]),
        "order_id": pl.Series([max(int(Decimal(price) * 10), 0) for price in columns[3]], dtype=pl.UInt64),
        "flags": pl.Series(columns[5] if flags else [0] * len(rows), dtype=pl.UInt8),
        "sequence": pl.Series(range(len(rows)), dtype=pl.UInt64), **times(*columns[0]),
    }  # fmt: skip


DELTAS = [
    (1, 4, 0, "-1", "0", 32), (1, 1, 1, "9", "5", 32), (1, 1, 2, "11", "6", 160),
    (2, 2, 1, "9", "4", 0), (2, 3, 2, "11", "6", 128),
    (3, 1, 2, "12", "1", 128), (4, 4, 0, "0", "0", 128),
]  # fmt: skip


@pytest.mark.parametrize("flags", [True, False])
@pytest.mark.parametrize("rows", [2, 1000])
def test_deltas_become_changes_of_levels(tmp_path, monkeypatch, flags, rows):
    monkeypatch.setattr("market_maker.market_data.parquet.ROWS", rows)
    path = write(tmp_path, deltas(*DELTAS, flags=flags))
    assert nautilus.recognises(Source(path))
    batches, _ = read(path)
    assert {batch.stream.table for batch in batches} == {"book"}
    assert {(batch.price_unit, batch.qty_unit) for batch in batches} == {(1, 1)}
    frame = pl.concat([batch.frame for batch in batches])
    assert frame.select(pl.col("exch_ts") - T, "kind", "side", "price", "qty", "last", "row").rows() == [
        (1, CLEAR, 1, 0, 0, False, 1), (1, CLEAR, -1, 0, 0, False, 1),
        (1, SNAPSHOT, 1, 9, 5, False, 2), (1, SNAPSHOT, -1, 11, 6, True, 3),
        (2, DEPTH, 1, 9, 4, False, 4), (2, DEPTH, -1, 11, 0, True, 5),
        (3, DEPTH, -1, 12, 1, True, 6),
        (4, CLEAR, 1, 0, 0, False, 7), (4, CLEAR, -1, 0, 0, False, 7), (4, SNAPSHOT, 1, 0, 0, True, 7),
    ]  # fmt: skip


def test_a_book_by_order_and_a_level_without_side_are_refused(tmp_path):
    columns = deltas(*DELTAS)
    columns["order_id"] = pl.Series([0, 1, 2, 9, 2, 3, 0], dtype=pl.UInt64)
    with pytest.raises(DataError, match=r"row 2, column order_id: .*a book by order"):
        read(write(tmp_path, columns))
    with pytest.raises(DataError, match="row 1, column side: 0 is no side of a book"):
        read(write(tmp_path, deltas((1, 1, 0, "9", "5", 128))))
    with pytest.raises(DataError, match="row 1, column action: 5 is none of 1, 2, 3, 4"):
        read(write(tmp_path, deltas((1, 5, 1, "9", "5", 128))))


def test_a_message_without_end_never_makes_the_book_whole(tmp_path):
    (first, second), _ = read(write(tmp_path, deltas((1, 1, 1, "9", "5", 128), (2, 1, 1, "8", "5", 1))))
    assert (first.frame["last"].to_list(), second.frame["last"].to_list()) == ([True], [False])


def test_bars(tmp_path):
    columns = {name: wide("1.5", "2") for name in ("open", "high", "low", "close")}
    columns |= {"volume": wide("12345678901.25", "0")} | times(1, 2)
    path = write(tmp_path, columns, "X.BINANCE-5-MINUTE-LAST-EXTERNAL")
    assert nautilus.recognises(Source(path))
    (batch,), notes = read(path, venue="v", symbol="X")
    assert (batch.stream.table, batch.price_unit, batch.qty_unit) == ("bars_300s", Decimal("0.1"), None)
    assert batch.frame.rows() == [
        (T + 6, 15, 15, 15, 15, Decimal("12345678901.25"), -1, 1), (T + 7, 20, 20, 20, 20, Decimal(0), -1, 2),
    ]  # fmt: skip
    assert "taken as the start" in notes.warnings[0]
    for folder in ("X.BINANCE-5-TICK-LAST-EXTERNAL", "X.BINANCE", "X.BINANCE-0-MINUTE-LAST-EXTERNAL"):
        with pytest.raises(DataError, match=f"the bar type '{folder}' is none of time"):
            read(write(tmp_path, columns, folder), venue="v", symbol="X")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("bid_price", "-1", "row 2, column bid_price: -1.0000000000000000 is negative"),
        (
            "bid_size",
            "1e21",
            "row 2, column bid_size: 1000000000000000000000.0000000000000000 is negative, undefined or too large",
        ),
        ("ts_init", 5, "row 2, column ts_init: 5 is no time"),
        ("bid_price", None, "row 2, column bid_price: is missing"),
        ("bid_price", b"abc", "row 1, column bid_price: Binary is no number of 8 or 16 bytes"),
    ],
)
def test_wrong_values_are_refused(tmp_path, name, value, error):
    columns = {key: wide(*texts) for key, texts in QUOTES.items()} | times(1, 2)
    first = columns[name][0]
    columns[name] = pl.Series([first, wide(value)[0] if isinstance(value, str) else value], dtype=columns[name].dtype)
    with pytest.raises(DataError, match=error):
        read(write(tmp_path, columns))


def test_files_that_are_no_catalog(tmp_path):
    columns = {key: wide(*texts) for key, texts in QUOTES.items()} | times(1, 2)
    with pytest.raises(DataError, match="it does not name its instrument, nor does its folder"):
        read(write(tmp_path, columns, "quotes"))
    with pytest.raises(DataError, match="no row in it"):
        read(write(tmp_path, {key: column.head(0) for key, column in columns.items()}))
    path = write(tmp_path, {"price": [1.0], "ts_event": [1]})
    assert not nautilus.recognises(Source(path))
    with pytest.raises(DataError, match="its columns are none of Nautilus data"):
        read(path)
    path.write_text("bid_price,ask_price\n")
    assert not nautilus.recognises(Source(path))
    whole = write(tmp_path, columns).read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="the Parquet file is damaged"):
        read(path)


def test_the_catalog_of_the_sample(sample_data):
    folder = sample_data / "nautilus_catalog"
    assert nautilus.recognises(Source(folder / "quotes.parquet"))
    batches, notes = read(folder / "quotes.parquet")
    frame = pl.concat([batch.frame for batch in batches])
    assert (batches[0].stream.venue, batches[0].stream.symbol, batches[0].stream.table) == ("sim", "EUR-USD", "bbo")
    assert (frame.height, batches[0].price_unit) == (9_500, Decimal("0.00001"))
    assert notes.counts["EUR-USD"]["rows"] == 9_500
    # This file holds a hundred times the true values, and so does the result: 112.12 where HistData has 1.1212.
    assert frame.row(0)[2:] == (11_212_000, 10_000_000, 11_217_200, 10_000_000, 0, 1)
    batches, _ = read(folder / "bars.parquet")
    assert (batches[0].stream.venue, batches[0].stream.table) == ("binance", "bars_60s")
    frame = pl.concat([batch.frame for batch in batches])
    assert (frame.height, frame["local_ts"][0]) == (10, 1_637_971_200_000_000_000)
    assert not nautilus.recognises(Source(folder / "btcusdt-quotes.parquet"))
    assert not nautilus.recognises(Source(folder / "btcusdt-trades.parquet"))
