import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.importers import Notes, ReadOptions, freqtrade
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, kind_of
from market_maker.market_data.source import Source

MS = 1_000_000
T = 1515560100000
BARS = [
    [T, 0.0984, 0.0994766, 0.09828605, 0.0994766, 1820.5],
    [T + 300_000, 0.1, 0.1, 0.1, 0.1, 0.0],
    [T + 900_000, 5.41e-05, 6e-05, 1e-06, 0.05, 3.0],  # one is missing before it
]
ROWS = [
    (T * MS, *(Decimal(t) for t in ("0.0984", "0.0994766", "0.09828605", "0.0994766", "1820.5")), -1),
    ((T + 300_000) * MS, *[Decimal("0.1")] * 4, Decimal(0), -1),
    ((T + 900_000) * MS, *(Decimal(t) for t in ("0.0000541", "0.00006", "0.000001", "0.05", "3")), -1),
]
TRADES = [
    [T, "77", None, "sell", 0.1, 2.5, 0.25],
    [T, "a-b", "limit", "buy", 0.2, 3.0, 0.6],
    [T + 1, None, None, None, 0.3, 1.0, 0.3],
    [T + 2, "78", None, "buy", 0.3, 0.0, 0.0],
]
TRADE_ROWS = [
    (T * MS, T * MS, EventKind.TRADE, -1, Decimal("0.1"), Decimal("2.5"), 77),
    (T * MS, T * MS, EventKind.TRADE, 1, Decimal("0.2"), Decimal(3), 0),
    ((T + 1) * MS, (T + 1) * MS, EventKind.TRADE, 0, Decimal("0.3"), Decimal(1), 0),
]
NAMES = ("date", "open", "high", "low", "close", "volume")
HEADER = "timestamp,open,high,low,close,volume\n"
TRADE_HEADER = "timestamp,id,type,side,price,amount,cost\n"


def write(tmp_path, content, name="ETH_BTC-5m.json"):
    path = tmp_path / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def feather_of(bars=BARS, unit="ms", **changed):
    frame = pl.DataFrame(bars, schema=NAMES, orient="row").with_columns(
        pl.col("date").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").dt.cast_time_unit(unit)
    )
    return frame.with_columns(**changed)


def write_feather(tmp_path, frame, name="ETH_BTC-5m.feather", compression="lz4"):
    path = tmp_path / name
    frame.write_ipc(path, compression=compression, compat_level=pl.CompatLevel.oldest())
    return path


def csv_of(rows):
    return "".join(",".join("" if value is None else str(value) for value in row) + "\n" for row in rows)


def read(path, venue="x", **options):
    notes = Notes()
    batches = list(freqtrade.read(Source(path), ReadOptions(venue=venue, **options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[kind_of(batch.stream.table)]
    return batches, notes


def frame_of(batches):
    assert len({batch.stream for batch in batches}) == 1
    return pl.concat([batch.frame for batch in batches])


BAR_FILES = {
    "ETH_BTC-5m.json": json.dumps(BARS),
    "ETH_BTC-5m.json.gz": json.dumps(BARS, indent=1),
    "ETH_BTC-5m.csv": csv_of(BARS),
    "ETH_BTC-5m-spot.csv": HEADER + csv_of(BARS),
    "ETH_BTC-5m-futures.csv": "Date,Open,High,Low,Close,Volume\n"
    + csv_of([[f"{datetime.fromtimestamp(bar[0] / 1000, UTC):%Y-%m-%d %H:%M:%S}+00:00", *bar[1:]] for bar in BARS]),
}


@pytest.mark.parametrize("name", BAR_FILES)
def test_bars_of_json_and_csv(tmp_path, name):
    path = write(tmp_path, BAR_FILES[name], name)
    assert freqtrade.recognises(Source(path))
    batches, notes = read(path)
    stream = batches[0].stream
    assert (stream.venue, stream.symbol, stream.table) == ("x", "ETH_BTC", "bars_300s")
    frame = frame_of(batches)
    assert frame.drop("row").rows() == ROWS
    first = 2 if name.startswith("ETH_BTC-5m-") else 1
    assert frame["row"].to_list() == [first, first + 1, first + 2]
    assert notes.counts == {"ETH_BTC": {"bars": 3}}
    assert notes.instruments == {"ETH_BTC": {"base": "ETH", "quote": "BTC", "contract_type": "SPOT"}}
    assert notes.warnings == []


@pytest.mark.parametrize("rows", [1, 2, 1000])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("compression", ["lz4", "uncompressed"])
def test_bars_of_feather(tmp_path, monkeypatch, rows, unit, compression):
    monkeypatch.setattr(freqtrade, "FEATHER_ROWS", rows)
    path = write_feather(tmp_path, feather_of(unit=unit), compression=compression)
    assert freqtrade.recognises(Source(path))
    batches, notes = read(path)
    frame = frame_of(batches)
    assert frame.drop("row").rows() == ROWS
    assert frame["row"].to_list() == [1, 2, 3]
    assert notes.counts == {"ETH_BTC": {"bars": 3}}


def test_a_feather_inside_a_gz_and_with_whole_numbers(tmp_path):
    frame = feather_of(date=pl.Series([bar[0] for bar in BARS]), volume=pl.Series([1, 2, 3]))
    plain = write_feather(tmp_path, frame)
    packed = write(tmp_path, plain.read_bytes(), "ETH_BTC-5m.feather.gz")
    for path in (plain, packed):
        assert freqtrade.recognises(Source(path))
        found = frame_of(read(path)[0])
        assert found["local_ts"].to_list() == [row[0] for row in ROWS]
        assert found["volume"].to_list() == [1, 2, 3]


def test_floats_beside_a_decimal_are_taken_as_it_and_told(tmp_path):
    opens = pl.Series([0.09451499000000001, 0.1, 0.00005410000000000001])
    batches, notes = read(write_feather(tmp_path, feather_of(open=opens, volume=pl.Series([0.1 + 0.2, 1 / 3, 1.0]))))
    frame = frame_of(batches)
    assert frame["open"].to_list() == [Decimal("0.09451499"), Decimal("0.1"), Decimal("0.0000541")]
    assert frame["volume"].to_list() == [Decimal("0.3"), Decimal("0.333333333333333"), Decimal(1)]
    assert notes.counts["ETH_BTC"] == {"bars": 3, "prices_beside_a_decimal": 2, "volumes_rounded_to_15_digits": 2}
    assert "2 prices are floats beside that of a decimal" in notes.warnings[0]
    assert "8 digits after the point" in notes.warnings[0]


@pytest.mark.parametrize("size", [30, 64, 1 << 20])
def test_json_in_small_blocks(tmp_path, monkeypatch, size):
    inner = freqtrade._JsonRows.blocks
    monkeypatch.setattr(freqtrade._JsonRows, "blocks", lambda self, member=None, block=0: inner(self, member, size))
    bars = [[T + 60_000 * i, 1.5, 2.5, 0.5, 1.0 + i, None if i == 7 else 1.0] for i in range(50)]
    frame = frame_of(read(write(tmp_path, json.dumps(bars), "A_B-1m.json"))[0])
    assert frame["close"].to_list() == list(range(1, 51))
    assert frame["row"].to_list() == list(range(1, 51))
    assert frame["volume"].null_count() == 1
    assert frame["volume"][7] is None


TRADE_FILES = {
    "ETH_BTC-trades.json.gz": json.dumps(TRADES),
    "ETH_BTC-trades.csv": TRADE_HEADER + csv_of(TRADES),
    "ETH_BTC-trades.feather": None,
}


@pytest.mark.parametrize("name", TRADE_FILES)
def test_trades(tmp_path, name):
    if TRADE_FILES[name] is None:
        path = write_feather(tmp_path, pl.DataFrame(TRADES, TRADE_HEADER.strip().split(","), orient="row"), name)
    else:
        path = write(tmp_path, TRADE_FILES[name], name)
    assert freqtrade.recognises(Source(path))
    batches, notes = read(path)
    assert batches[0].stream.table == "trades"
    assert frame_of(batches).drop("row").rows() == TRADE_ROWS
    assert notes.counts["ETH_BTC"] == {"trades": 4, "trades_without_a_number": 2, "skipped_empty_trades": 1}


NAMED = [
    ("x/ETH_BTC-5m.json", {"venue": "kraken"}, ("kraken", "ETH_BTC"), "SPOT"),
    ("data/binance/ETH_BTC-5m.json", {"venue": None}, ("binance-spot", "ETH_BTC"), "SPOT"),
    (
        "data/binance/futures/BTC_USDT_USDT-5m-futures.json",
        {"venue": None},
        ("binance-usdm", "BTC_USDT_USDT"),
        "LINEAR",
    ),
    ("data/binance/futures/BTC_USD_BTC-5m-futures.json", {"venue": None}, ("binance-coinm", "BTC_USD_BTC"), "INVERSE"),
    ("data/kraken/ETH_BTC-5m.json", {"venue": None}, ("kraken", "ETH_BTC"), "SPOT"),
    ("x/whatever.json", {"venue": "v", "symbol": "A/B"}, ("v", "A-B"), None),
    ("x/btc-perp-20211231-20220201_5m.json", {"venue": "v"}, ("v", "btc-perp"), None),
]


@pytest.mark.parametrize(("name", "options", "found", "contract"), NAMED)
def test_venue_and_symbol(tmp_path, name, options, found, contract):
    (tmp_path / name).parent.mkdir(parents=True)
    batches, notes = read(write(tmp_path, json.dumps(BARS), name), **options)
    stream = batches[0].stream
    assert (stream.venue, stream.symbol, stream.table) == (*found, "bars_300s")
    assert notes.instruments.get(found[1], {}).get("contract_type") == contract


def test_bars_told_twice_or_between_the_intervals(tmp_path):
    bars = [
        BARS[0],
        BARS[1],
        BARS[1],
        [T + 600_000, 1, 1, 1, 1, 1],
        [T + 700_000, 1, 1, 1, 1, 1],
        [T + 900_000, 1, 1, 1, 1, 1],
    ]
    batches, notes = read(write(tmp_path, json.dumps(bars)))
    assert frame_of(batches)["row"].to_list() == [1, 2, 4, 5, 6]
    assert notes.counts["ETH_BTC"] == {"bars": 5, "duplicates": 1, "bars_between_the_intervals": 1}
    bars[2] = [T + 300_000, 2, 2, 2, 2, 2]
    with pytest.raises(DataError, match=r"row 3, column ts: .* begins a second bar"):
        read(write(tmp_path, json.dumps(bars)))


def bars_text(*rows):
    return "[" + ",".join(f"[{row}]" for row in rows) + "]"


GOOD = f"{T},1,1,1,1,1"
BAD = {
    "interval": (bars_text(GOOD, f"{T + 60000},1,1,1,1,1"), "ETH_BTC-5m.json", "most steps are of 60 s in a file that is named 5m"),
    "one bar": (bars_text(GOOD), "x.json", "one bar does not say how long it is"),
    "month": (bars_text(GOOD), "A_B-1M.json", "bars of 1M have no one length"),
    "backward": (bars_text(GOOD, f"{T - 60000},1,1,1,1,1"), "A_B-1m.json", "steps of -60 s; whole seconds forward"),
    "null": (bars_text(GOOD, f"{T + 300000},1,null,1,1,1"), "A_B-5m.json", "row 2, column high: an empty field"),
    "nan": (bars_text(GOOD, f"{T + 300000},1,1,NaN,1,1"), "A_B-5m.json", "row 2, column low: 'NaN' is not a decimal"),
    "too large": (bars_text(GOOD, f"{T + 300000},1,1,1,1e30,1"), "A_B-5m.json", "row 2, column close: '1e30'"),
    "negative": (bars_text(GOOD, f"{T + 300000},1,1,1,1,-1"), "A_B-5m.json", "row 2, column volume: -1.* is negative"),
    "five": (bars_text(GOOD, f"{T + 300000},1,1,1,1"), "A_B-5m.json", "row 2: 5 fields where 6"),
    "nested": (bars_text(GOOD, f"[{T}],1,1,1,1,1"), "A_B-5m.json", "row 2, column timestamp"),
    "cut off": (bars_text(GOOD, GOOD)[:-1], "A_B-5m.json", "row 2: the list is cut off after it"),
    "seconds": (bars_text(GOOD, f"{T // 1000},1,1,1,1,1"), "A_B-5m.json", "row 2, column timestamp: .* in ms, the unit of"),
    "mark": (bars_text(GOOD), "A_USDT_USDT-5m-mark.json", "candles of mark are no bars of trades"),
    "csv": (HEADER + "2021-12-31 23:01:00,1,1,1,1,1\n31.12.2021,1,1,1,1,1\n", "A_B-1m.csv",
            "row 3, column timestamp: 31.12.2021 is no time in UTC"),
    "zone": (HEADER + "2021-12-31 23:01:00,1,1,1,1,1\n2021-12-31 23:02:00+01:00,1,1,1,1,1\n", "A_B-1m.csv",
             "row 3, column timestamp: .* is no time in UTC"),
    "no such day": (HEADER + "2021-12-31 23:01:00,1,1,1,1,1\n2021-02-31 23:02:00,1,1,1,1,1\n", "A_B-1m.csv",
                    "row 3, column timestamp: 2021-02-31 .* is no time in UTC"),
    "side": (json.dumps([TRADES[0], [T, "1", None, "bid", 1, 1, 1]]), "A_B-trades.json", "row 2, column side: 'bid' is none of"),
    "price": (json.dumps([TRADES[0], [T, "1", None, "buy", 0, 1, 1]]), "A_B-trades.json", "row 2, column price: 0.* is no price"),
    "amount": (json.dumps([TRADES[0], [T, "1", None, "buy", 1, -1, 1]]), "A_B-trades.json", "row 2, column amount: -1.* is neg"),
    "objects": ('[{"timestamp": 1}]', "A_B-trades.json", "neither bars .* nor trades"),
    "empty": ("", "A_B-5m.json", "neither bars .* nor trades"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_refused_with_its_place(tmp_path, case):
    text, name, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, text, name), symbol="S" if name == "x.json" else None)
    assert caught.value.detail.startswith(name)


BAD_FEATHERS = {
    "calculated": (feather_of(high=pl.Series([0.1, 1 / 30, 0.2])), "row 2, column open, high, low, close: 0.03333333333333333 is"),
    "nan": (feather_of(high=pl.Series([0.1, float("nan"), 0.2])), "row 2, column open, high, low, close: nan is no number"),
    "negative": (feather_of(low=pl.Series([0.1, 0.2, -1.0])), "row 3, column open, high, low, close: -1.0 is no number"),
    "null": (feather_of(close=pl.Series([0.1, None, 0.2])), "row 2, column close: None where a number is needed"),
    "text": (feather_of(open=pl.Series(["0.1", "0.2", "x"])), "column open: is of type String; numbers are needed"),
    "no time": (feather_of(date=pl.Series([None, T, T])), "row 1, column date: None where a time is needed"),
    "zone": (feather_of(date=pl.col("date").dt.convert_time_zone("Europe/Berlin")), "column date: its times are of Europe/Berlin"),
    "text time": (feather_of(date=pl.Series(["a", "b", "c"])), "column date: is of type String; times are needed"),
    "column": (feather_of().rename({"volume": "volume_"}), "there is no column volume"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FEATHERS)
def test_bad_feathers_are_refused_with_their_place(tmp_path, case):
    frame, message = BAD_FEATHERS[case]
    with pytest.raises(DataError, match=message):
        read(write_feather(tmp_path, frame))


def test_a_damaged_feather_is_told(tmp_path):
    path = write_feather(tmp_path, feather_of())
    path.write_bytes(path.read_bytes()[:-100])
    assert freqtrade.recognises(Source(path))
    with pytest.raises(DataError, match="the Feather file is damaged"):
        read(path)


def test_the_venue_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="nothing says the venue of ETH_BTC; give the venue"):
        read(write(tmp_path, json.dumps(BARS)), venue=None)
    with pytest.raises(DataError, match="does not say the symbol"):
        read(write(tmp_path, json.dumps(BARS), "x.json"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"topic":1}',
        "date,open,high,low,close,volume\n2020-01-01,1,1,1,1,1\n",
        "1,2,3,4,5,6\n",
        "[[1,2]]",
    ],
)
def test_other_files_are_not_recognised(tmp_path, text):
    assert not freqtrade.recognises(Source(write(tmp_path, text, "A_B-1d.csv")))


@pytest.mark.parametrize(("symbol", "moved"), [("ETH", 4710), ("LTC", 4030), ("XLM", 12702)])
def test_the_real_feathers(sample_data, symbol, moved):
    path = sample_data / "ohlcv" / f"{symbol}_BTC-5m.feather"
    assert freqtrade.recognises(Source(path))
    batches, notes = read(path)
    frame = frame_of(batches)
    assert (batches[0].stream.symbol, batches[0].stream.table, frame.height) == (f"{symbol}_BTC", "bars_300s", 5760)
    assert frame["local_ts"][0] == int(datetime(2018, 1, 10, 4, 55, tzinfo=UTC).timestamp()) * 10**9
    assert frame["local_ts"].diff().drop_nulls().unique().to_list() == [300 * 10**9]
    # Every price of the exchange has at most eight decimals; its floats do not.
    assert frame["close"].cast(pl.Decimal(38, 8)).cast(pl.Decimal(38, 18)).equals(frame["close"])
    assert notes.counts[f"{symbol}_BTC"]["prices_beside_a_decimal"] == moved


def test_the_real_minutes_of_a_perpetual(sample_data):
    path = sample_data / "ohlcv" / "btc-perp-20211231-20220201_1m.csv.gz"
    assert freqtrade.recognises(Source(path))
    batches, notes = read(path)
    frame = frame_of(batches)
    assert (batches[0].stream.symbol, batches[0].stream.table, frame.height) == ("btc-perp", "bars_60s", 45_031)
    assert frame.row(0)[1:6] == tuple(Decimal(t) for t in ("46319", "46385", "46319", "46377", "2300413.7295"))
    assert frame["local_ts"].diff().drop_nulls().unique().to_list() == [60 * 10**9]
    assert notes.counts == {"btc-perp": {"bars": 45_031}}
    for name in ("arch_nasdaq.csv.gz", "skfolio_sp500_dataset.csv.gz", "spy.zip"):
        assert not freqtrade.recognises(Source(sample_data / "ohlcv" / name))
