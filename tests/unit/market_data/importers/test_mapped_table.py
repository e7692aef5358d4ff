import gzip
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.importers import Notes, ReadOptions, mapped_table
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, kind_of
from market_maker.market_data.source import Source

EXAMPLES = Path(__file__).resolve().parents[4] / "examples" / "mappings"
TRADE, CLEAR, SNAPSHOT, DEPTH = EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.DEPTH
D = Decimal
T = 1_700_000_000  # 2023-11-14 22:13:20 UTC
NS = 10**9


def read(path, mapping, **options):
    notes = Notes()
    batches = list(mapped_table.read(Source(path), ReadOptions(mapping=mapping, **options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[kind_of(batch.stream.table)]
        assert (batch.price_unit, batch.qty_unit) == (None, None)
    return batches, notes


def mapped(tmp_path, mapping, text, name="table.csv", **options):
    """Write a mapping and a table and read them."""
    (tmp_path / "mapping.yaml").write_text(mapping)
    path = tmp_path / name
    if isinstance(text, pl.DataFrame):
        text.write_parquet(path)
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, tmp_path / "mapping.yaml", **options)


def one(batches):
    assert len({batch.stream for batch in batches}) == 1
    return batches[0].stream, pl.concat([batch.frame for batch in batches])


TRADES = """
table: trades
venue: v
symbol: X/Y
time: {column: Time, unit: s}
columns: {price: Price, qty: Size, side: Side}
"""
TRADES_TEXT = f"Id,Time,Price,Size,Side\n7,{T}.000000001,1.50,2,buy\n8,{T + 1},1.25,0.000000000000000001,sell\n"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_trades(tmp_path, name):
    text = gzip.compress(TRADES_TEXT.encode()) if name.endswith("gz") else TRADES_TEXT
    batches, notes = mapped(tmp_path, TRADES, text, name)
    stream, frame = one(batches)
    assert (stream.venue, stream.symbol, stream.table) == ("v", "X-Y", "trades")
    assert frame.rows() == [
        (T * NS + 1, T * NS + 1, TRADE, 1, D("1.5"), D(2), 0, 2),
        ((T + 1) * NS, (T + 1) * NS, TRADE, -1, D("1.25"), D("1e-18"), 0, 3),
    ]
    assert notes.counts == {"X-Y": {"rows": 2}}


def test_columns_by_number_words_of_sides_and_two_clocks(tmp_path):
    mapping = """
table: trades
venue: v
symbol: X
csv: {header: false, separator: ";", skip_rows: 1}
time: {column: 2, unit: ms}
receive_time: {column: 1, unit: us}
columns: {price: 4, qty: 5, side: 3, sequence: 6}
sides: {1: sell, 0: buy, "?": unknown}
instrument: {tick_size: "0.5", multiplier: 10}
"""
    text = f"made by hand\n{T}000005;{T}000;1;2.5;3;41;more\n{T}000004;{T}001;?;2.5;3;42;more\n"
    batches, notes = mapped(tmp_path, mapping, text, venue="w", symbol="Z")
    stream, frame = one(batches)
    assert (stream.venue, stream.symbol) == ("w", "Z")
    assert frame.rows() == [
        (T * NS, T * NS + 5000, TRADE, -1, D("2.5"), D(3), 41, 2),
        (T * NS + 1_000_000, T * NS + 4000, TRADE, 0, D("2.5"), D(3), 42, 3),
    ]
    assert notes.counts[""] == {"receive_time_reversals": 1}
    assert notes.instruments == {"Z": {"tick_size": "0.5", "multiplier": "10"}}


DEPTH_TEXT = f"""exchange_time,received,pair,side,price,amount,full
{T}001,{T}000000001,A,b,9,1,true
{T}001,{T}000000001,A,a,11,2,true
{T}001,{T}000000001,B,b,5,5,false
{T}002,{T}000000002,A,b,9,0,false
{T}003,{T}000000003,A,a,11,0,false
{T}003,{T}000000003,A,a,12,7,false
{T}004,{T}000000004,A,a,10,1,true
"""


@pytest.mark.parametrize("block", [60, 1 << 20])
def test_changes_of_levels_by_symbol(tmp_path, monkeypatch, block):
    blocks = Source.blocks
    monkeypatch.setattr(Source, "blocks", lambda self, member=None: blocks(self, member, block))
    path = tmp_path / "depth.csv"
    path.write_text(DEPTH_TEXT)
    batches, notes = read(path, EXAMPLES / "depth_changes.yaml")
    frame = pl.concat([batch.frame for batch in batches if batch.stream.symbol == "A"])
    assert batches[0].stream.table == "book"
    assert frame.select(pl.col("local_ts") - T * NS, "kind", "side", "price", "qty", "last", "row").rows() == [
        (1, CLEAR, 1, D(0), D(0), False, 2), (1, CLEAR, -1, D(0), D(0), False, 2),
        (1, SNAPSHOT, 1, D(9), D(1), False, 2), (1, SNAPSHOT, -1, D(11), D(2), True, 3),
        (2, DEPTH, 1, D(9), D(0), True, 5),
        (3, DEPTH, -1, D(11), D(0), False, 6), (3, DEPTH, -1, D(12), D(7), True, 7),
        (4, CLEAR, 1, D(0), D(0), False, 8), (4, CLEAR, -1, D(0), D(0), False, 8),
        (4, SNAPSHOT, -1, D(10), D(1), True, 8),
    ]  # fmt: skip
    assert frame["exch_ts"][0] == T * NS + 1_000_000
    other = pl.concat([batch.frame for batch in batches if batch.stream.symbol == "B"])
    assert other.select("kind", "price", "last").rows() == [(DEPTH, D(5), True)]
    assert {label: counts["rows"] for label, counts in notes.counts.items()} == {"A": 6, "B": 1}
    batches, _ = read(path, EXAMPLES / "depth_changes.yaml", symbols=("B",))
    assert {batch.stream.symbol for batch in batches} == {"B"}
    with pytest.raises(DataError, match="no row of Q in it"):
        read(path, EXAMPLES / "depth_changes.yaml", symbols=("Q",))
    with pytest.raises(DataError, match="one name was given, but the table has several symbols"):
        read(path, EXAMPLES / "depth_changes.yaml", symbol="Z")


def test_quotes_with_an_empty_side_and_times_with_an_offset(tmp_path):
    mapping = """
table: bbo
venue: v
symbol: X
time: {column: t, format: "%Y-%m-%dT%H:%M:%S%.f%z"}
columns: {bid_price: b, bid_qty: bs, ask_price: a, ask_qty: as}
csv: {quotes: true}
"""
    text = '"t","b","bs","a","as"\n"2023-11-14T23:13:20.5+0100",1,2,,\n'
    _, frame = one(mapped(tmp_path, mapping, text)[0])
    assert frame.rows() == [(T * NS + NS // 2, T * NS + NS // 2, D(1), D(2), D(0), D(0), 0, 2)]


def test_a_wide_table_with_holes(tmp_path):
    mapping = "table: bars\ninterval_s: 86400\nwide: true\nvenue: v\ntime: {column: Date, format: '%Y-%m-%d'}\n"
    batches, notes = mapped(tmp_path, mapping, "Date,A,b.C\n2023-11-13,1.5,\n2023-11-14,,2\n2023-11-15,2.5,3\n")
    day = T * NS // (86400 * NS) * 86400 * NS
    assert {batch.stream.symbol: batch.frame.rows() for batch in batches} == {
        "A": [(day - 86400 * NS, *[D("1.5")] * 4, None, -1, 2), (day + 86400 * NS, *[D("2.5")] * 4, None, -1, 4)],
        "b.C": [(day, *[D(2)] * 4, None, -1, 3), (day + 86400 * NS, *[D(3)] * 4, None, -1, 4)],
    }
    assert notes.counts == {"A": {"empty_cells": 1, "rows": 2}, "b.C": {"empty_cells": 1, "rows": 2}}


def test_floats_of_parquet_become_the_decimals_they_were_written_as(tmp_path):
    table = pl.DataFrame(
        {"Time": [T, T + 1, T + 2], "Price": [0.1 + 0.2, 39433.62, 1e-7], "Size": [1, 2, 3], "Side": ["buy"] * 3}
    )
    batches, notes = mapped(tmp_path, TRADES, table, "t.parquet")
    _, frame = one(batches)
    assert frame["price"].to_list() == [D("0.3"), D("39433.62"), D("0.0000001")]
    assert frame["row"].to_list() == [1, 2, 3]
    assert "Price are binary floating-point" in notes.warnings[0]
    for bad, shown in ((float("nan"), "nan"), (1e30, "1e.?30"), (None, "None")):
        with pytest.raises(DataError, match=f"row 2, column Price: {shown}"):
            mapped(tmp_path, TRADES, table.with_columns(Price=pl.Series([1.0, bad, 1.0])), "t.parquet")
    with pytest.raises(DataError, match="there is no column Side"):
        mapped(tmp_path, TRADES, table.drop("Side"), "t.parquet")
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(DataError, match="the Parquet file is damaged"):
        read(path, tmp_path / "mapping.yaml")


BAD_MAPPINGS = {
    "unknown key": (TRADES + "what: 1\n", "key .top.: Object contains unknown field `what`"),
    "no table": (TRADES.replace("table: trades", ""), "key .top.: Object missing required field `table`"),
    "table": (TRADES.replace("trades", "ticker"), "key table: Invalid enum value 'ticker'"),
    "unit": (TRADES.replace("unit: s", "unit: h"), "key time.unit: Invalid enum value 'h'"),
    "both": (TRADES.replace("unit: s", "unit: s, format: x"), "key time: either unit or format"),
    "zone": (TRADES.replace("unit: s", "unit: s, zone: Nowhere/X"), "key time.zone: 'Nowhere/X' is no time zone"),
    "column": (
        TRADES.replace("qty: Size", "size: Size"),
        "key columns.size: is no column of trades; allowed: price, qty, side",
    ),
    "no quantity": (TRADES.replace("qty: Size, ", ""), "key columns.qty: is missing"),
    "no symbol": (TRADES.replace("symbol: X/Y", ""), "key symbol: is missing"),
    "a number as symbol": (TRADES.replace("X/Y", "7"), "key symbol: Expected `str | object | null`, got `int`"),
    "interval": (TRADES + "interval_s: 60\n", "key interval_s: is needed for bars"),
    "wide": (TRADES + "wide: true\n", "key wide: is for bars only"),
    "side": (TRADES + "sides: {x: up}\n", r"key sides\[...\]: Invalid enum value 'up'"),
    "separator": (TRADES + "csv: {separator: ab}\n", "key csv.separator: 'ab' is not one character"),
    "no YAML": ("a: [", "is no YAML: while parsing"),
    "an object": ("!!python/object/apply:os.system ['x']", "is no YAML: could not determine a constructor"),
    "a list": ("[1]", "key .top.: Expected `object`, got `array`"),
    "large": ("#" * 70_000, "has at most 65536 bytes"),
}


@pytest.mark.parametrize("case", BAD_MAPPINGS)
def test_a_wrong_mapping_is_refused_by_its_key(tmp_path, case):
    mapping, error = BAD_MAPPINGS[case]
    with pytest.raises(DataError, match=f"^mapping.yaml(, |: a mapping file |: ){error}"):
        mapped(tmp_path, mapping, TRADES_TEXT)


BAD_TABLES = {
    "empty": ("", "no header in it"),
    "header only": ("Time,Price,Size,Side\n", "no row in it"),
    "no column": ("Time,Price,Side\n1,1,buy\n", "row 1: the header Time,Price,Side has no column Size"),
    "NaN": (f"Time,Price,Size,Side\n{T},NaN,1,buy\n", "row 2, column price: 'NaN' is not a decimal number"),
    "large": (f"Time,Price,Size,Side\n{T},1e30,1,buy\n", "row 2, column price: '1e30' is not a decimal number below"),
    "negative": (f"Time,Price,Size,Side\n{T},1,1,buy\n{T},-0.5,1,buy\n", "row 3, column Price: -0.5 is negative"),
    "side": (f"Time,Price,Size,Side\n{T},1,1,up\n", "row 2, column Side: 'up' is none of buy, sell, bid, ask"),
    "fields": (f"Time,Price,Size,Side\n{T},1,1\n", "row 2: 3 fields where 4 are needed"),
    "units": (
        f"Time,Price,Size,Side\n{T},1,1,buy\n{T}000,1,1,buy\n",
        "row 3, column Time: .* is no time between 1979 and 2096 in s",
    ),
    "empty field": (f"Time,Price,Size,Side\n{T},,1,buy\n", "row 2, column price: an empty field"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_wrong_table_is_refused(tmp_path, case):
    text, error = BAD_TABLES[case]
    with pytest.raises(DataError, match=error):
        mapped(tmp_path, TRADES, text)


def test_times_that_do_not_fit_their_format(tmp_path):
    mapping = TRADES.replace("unit: s", 'format: "%Y-%m-%d", zone: America/New_York')
    _, frame = one(mapped(tmp_path, mapping, "Time,Price,Size,Side\n2023-11-14,1,1,buy\n")[0])
    assert frame["local_ts"][0] == 1_699_938_000 * NS  # 05:00 UTC
    with pytest.raises(
        DataError, match=r"row 3, column Time: '14\.11\.2023' is no time between 1979 and 2096 written as %Y"
    ):
        mapped(tmp_path, mapping, "Time,Price,Size,Side\n2023-11-14,1,1,buy\n14.11.2023,1,1,buy\n")
    with pytest.raises(DataError, match="neither unit nor format of the times in Time"):
        mapped(tmp_path, TRADES.replace(", unit: s", ""), TRADES_TEXT)
    with pytest.raises(DataError, match="the mapping's format '%H' is none of times"):
        mapped(tmp_path, TRADES.replace("unit: s", 'format: "%H"'), TRADES_TEXT)
    # The hour that New York leaves out.
    hours = TRADES.replace("unit: s", 'format: "%Y-%m-%d %H:%M", zone: America/New_York')
    with pytest.raises(DataError, match="'2023-03-12 02:30' is no time"):
        mapped(tmp_path, hours, "Time,Price,Size,Side\n2023-03-12 02:30,1,1,buy\n")


def test_columns_must_be_named_as_the_file_does(tmp_path):
    with pytest.raises(DataError, match="names column 2 of time; name it by name"):
        mapped(tmp_path, TRADES.replace("column: Time", "column: 2"), TRADES_TEXT)
    with pytest.raises(DataError, match="names column Time of time; name it by number"):
        mapped(tmp_path, TRADES + "csv: {header: false}\n", TRADES_TEXT)
    numbers = TRADES.replace("Time", "1").replace("Price", "2").replace("Size", "3").replace("Side", "9")
    with pytest.raises(DataError, match="there is no column 9; it has 5"):
        mapped(tmp_path, numbers + "csv: {header: false}\n", TRADES_TEXT)


def test_without_a_mapping_nothing_is_recognised_or_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TRADES_TEXT)
    assert not mapped_table.recognises(Source(path))
    with pytest.raises(InvalidRequest, match="mapping"):
        list(mapped_table.read(Source(path), ReadOptions(), Notes()))
    with pytest.raises(DataError, match=r"absent.yaml: cannot be read"):
        read(path, tmp_path / "absent.yaml")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_mapping_and_says_of_what(path):
    assert mapped_table.load_mapping(path)
    assert path.read_text().startswith("# ")


REAL = {
    "eurusd_histdata_ticks": ("fx_ticks/eurusd_histdata_ticks.csv", 9_500, "bbo"),
    "nasdaq_daily_bars": ("ohlcv/arch_nasdaq.csv.gz", 5_031, "bars_86400s"),
    "stock_closes_wide": ("ohlcv/skfolio_sp500_dataset.csv.gz", 20 * 8_313, "bars_86400s"),
    "perpetual_minute_bars": ("ohlcv/btc-perp-20211231-20220201_1m.csv.gz", 45_031, "bars_60s"),
    "binance_quotes_parquet": ("nautilus_catalog/btcusdt-quotes.parquet", 451, "bbo"),
    "binance_trades_parquet": ("nautilus_catalog/btcusdt-trades.parquet", 2_001, "trades"),
}


@pytest.mark.parametrize("name", REAL)
def test_the_tables_of_the_sample(sample_data, name):
    file, rows, table = REAL[name]
    batches, _ = read(sample_data / file, EXAMPLES / f"{name}.yaml")
    assert {batch.stream.table for batch in batches} == {table}
    assert sum(batch.frame.height for batch in batches) == rows
    first = batches[0].frame
    assert first["local_ts"].is_sorted()
    values = {
        "eurusd_histdata_ticks": (1_577_916_000_065_000_000, D("1.1212")),  # 17:00:00.065 at UTC-5
        "nasdaq_daily_bars": (915_426_000 * NS, D("2207.540039")),
        "stock_closes_wide": (631_256_400 * NS, D("0.264")),
        "perpetual_minute_bars": (1_640_991_660 * NS, D(46319)),
        "binance_quotes_parquet": (1_610_064_001_076_000_000, D("39432.99")),
        "binance_trades_parquet": (1_610_064_000_278_000_000, D("39432.48")),
    }
    price = "bid_price" if table == "bbo" else "price" if table == "trades" else "open"
    assert (first["local_ts"][0], first[price][0]) == values[name]
    if name == "stock_closes_wide":
        assert len({batch.stream.symbol for batch in batches}) == 20
    if name == "binance_trades_parquet":
        assert first.select("side", "sequence").row(0) == (-1, 553287559)
