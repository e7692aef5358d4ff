import gzip
import zipfile
from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.importers import Notes, ReadOptions, lean
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

TRADE, PRINT = EventKind.TRADE, EventKind.PRINT
MS = 1_000_000
MIDNIGHT = 1_381_118_400_000 * MS  # 2013-10-07 00:00 in New York is 04:00 UTC
QUOTE, TICK = "20131007_xyz_Quote_Tick.csv", "20131007_xyz_Trade_Tick.csv"


def write(tmp_path, member, text, folder="."):
    path = tmp_path / folder / "file.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text)
    return path


def read(path, **options):
    notes = Notes()
    batches = list(lean.read(Source(path), ReadOptions(**options), notes))
    assert len({batch.stream for batch in batches}) <= 1
    return batches, notes


def frame_of(batches):
    return pl.concat([batch.frame for batch in batches])


QUOTES = """14400151,0,0,140200,500,Q,1,0
14400554,138400,700,0,0,P,1,0
14400554,0,0,139500,20000,P,1,0
14400600,0,0,1,1,P,1,1
14400700,0,0,0,0,P,1,0
14400800,138500,100,139400,200,P,1,0"""


def test_one_sided_quotes_become_both_sides(tmp_path):
    path = write(tmp_path, QUOTE, QUOTES)
    assert lean.recognises(Source(path))
    batches, notes = read(path)
    assert (batches[0].stream.venue, batches[0].stream.symbol, batches[0].stream.table) == ("us-equities", "XYZ", "bbo")
    assert (batches[0].price_unit, batches[0].qty_unit) == (Decimal("0.0001"), 1)
    frame = frame_of(batches)
    assert tuple(frame.columns) == RAW_COLUMNS["bbo"]
    assert frame.select(pl.exclude("exch_ts")).rows() == [
        (MIDNIGHT + 14400151 * MS, 0, 0, 140200, 500, 0, 1),
        (MIDNIGHT + 14400554 * MS, 138400, 700, 140200, 500, 0, 2),
        (MIDNIGHT + 14400554 * MS, 138400, 700, 139500, 20000, 0, 3),
        (MIDNIGHT + 14400800 * MS, 138500, 100, 139400, 200, 0, 6),
    ]
    assert frame["exch_ts"].equals(frame["local_ts"], check_names=False)
    assert notes.counts == {"XYZ": {"rows": 6, "suspicious": 1, "rows_without_quote": 1}}
    assert notes.instruments == {"XYZ": {"base": "XYZ", "quote": "USD", "contract_type": "SPOT"}}


def test_quotes_are_carried_from_block_to_block(tmp_path, monkeypatch):
    whole, _ = read(write(tmp_path, QUOTE, QUOTES))
    blocks = Source.blocks
    monkeypatch.setattr(Source, "blocks", lambda self, member=None: blocks(self, member, 40))
    pieces, _ = read(write(tmp_path, QUOTE, QUOTES))
    assert len(pieces) > 2
    assert frame_of(pieces).equals(frame_of(whole))


def test_trades_and_prints(tmp_path):
    text = """14400614,139400,500,P,20002020,0
14404499,139500,300,D,1,0
34203313,139000,1201174,N,40,0
57604718,138100,2000995,N,80,0
57604719,138100,5,N,1,1
57604720,138100,5,N,,0
57604721,138100,7,M,20040200,0
"""
    path = write(tmp_path, TICK, text)
    batches, notes = read(path, venue="v", symbol="s")
    assert (batches[0].stream.venue, batches[0].stream.symbol, batches[0].stream.table) == ("v", "s", "trades")
    frame = frame_of(batches)
    assert tuple(frame.columns) == RAW_COLUMNS["trades"]
    assert frame.select("kind", "side", "price", "qty", "row").rows() == [
        (TRADE, 0, 139400, 500, 1), (PRINT, 0, 139500, 300, 2), (PRINT, 0, 139000, 1201174, 3),
        (PRINT, 0, 138100, 2000995, 4), (TRADE, 0, 138100, 5, 6), (PRINT, 0, 138100, 7, 7),
    ]  # fmt: skip
    assert notes.counts["s"] == {"rows": 7, "suspicious": 1, "off_exchange_prints": 1, "prints_outside_the_queue": 3}


def test_winter_and_a_plain_or_gzipped_file(tmp_path):
    text = "14400614,139400,500,P,1,0\n"
    for name, data in (
        ("20131202_xyz_tick_trade.csv", text.encode()),
        ("20131202_xyz_tick_trade.csv.gz", gzip.compress(text.encode())),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert lean.recognises(Source(path))
        batches, _ = read(path)
        assert frame_of(batches)["local_ts"][0] == 1_385_960_400_000 * MS + 14400614 * MS  # 05:00 UTC


def test_bars_of_equities(tmp_path):
    text = "34200000,10000,10100,9900,10050,1234\n34260000,10050,10050,10050,10050,0\n"
    batches, notes = read(write(tmp_path, "20131007_xyz_minute_trade.csv", text))
    assert (batches[0].stream.table, batches[0].price_unit, batches[0].qty_unit) == (
        "bars_60s",
        Decimal("0.0001"),
        None,
    )
    assert tuple(batches[0].frame.columns) == RAW_COLUMNS["bars"]
    assert batches[0].frame.rows() == [
        (MIDNIGHT + 34200000 * MS, 10000, 10100, 9900, 10050, Decimal(1234), -1, 1),
        (MIDNIGHT + 34260000 * MS, 10050, 10050, 10050, 10050, Decimal(0), -1, 2),
    ]
    assert notes.counts["XYZ"] == {"bars": 2}
    batches, _ = read(write(tmp_path, "20131007_xyz_second_trade.csv", text))
    assert batches[0].stream.table == "bars_1s"
    batches, _ = read(write(tmp_path, "xyz.csv", "20131004 00:00,1,1,1,1,5\n20131007 00:00,1,1,1,1,5\n"))
    assert (batches[0].stream.table, batches[0].frame["local_ts"][1]) == ("bars_86400s", MIDNIGHT)
    batches, _ = read(write(tmp_path, "xyz.csv", "20131007 09:00,1,1,1,1,5\n20131007 10:00,1,1,1,1,5\n"))
    assert (batches[0].stream.table, batches[0].frame["local_ts"][1]) == ("bars_3600s", MIDNIGHT + 36_000_000 * MS)


def test_bars_of_crypto_are_told_by_their_folder(tmp_path):
    text = "0,412.5,412.65,412.5,412.6,0.123456789\n"
    path = write(tmp_path, "20131007_btcusd_minute_trade.csv", text, folder="crypto/gdax/minute/btcusd")
    batches, notes = read(path)
    assert (batches[0].stream.venue, batches[0].stream.symbol, batches[0].price_unit) == ("gdax", "BTCUSD", None)
    utc_midnight = MIDNIGHT - 4 * 3_600_000 * MS
    assert batches[0].frame.rows() == [
        (
            utc_midnight,
            Decimal("412.5"),
            Decimal("412.65"),
            Decimal("412.5"),
            Decimal("412.6"),
            Decimal("0.123456789"),
            -1,
            1,
        )
    ]
    assert notes.instruments == {}
    path = write(tmp_path, "btcusd.csv", "20131007 00:00,1,2.5,1,2,3\n", folder="crypto/gdax/daily")
    assert read(path)[0][0].frame["local_ts"][0] == utc_midnight
    with pytest.raises(DataError, match="ticks of crypto are not read"):
        read(write(tmp_path, TICK, "1,1,1,P,1,0\n", folder="crypto/gdax/tick/btcusd"))
    # Someone's own folder of that name says nothing.
    assert (
        read(write(tmp_path, "btcusd.csv", "20131007 00:00,1,2,1,2,3\n", folder="crypto/mine"))[0][0].price_unit
        is not None
    )


BAD = {
    "no day": ("20131307_xyz_Trade_Tick.csv", "1,1,1,P,1,0", "20131307 in its name .* is no day"),
    "another name": ("what.txt", "1,1,1,P,1,0", "'?what.txt'? is no name of LEAN's"),
    "empty": (TICK, "", "no row in it"),
    "too few fields": (TICK, "1,1,1,P,1,0\n1,1,1\n", "row 2: 3 fields where 6 are needed"),
    "NaN": (TICK, "1,NaN,1,P,1,0", "row 1, column price: 'NaN' is not a whole number"),
    "decimals": (TICK, "1,1.5,1,P,1,0", "row 1, column price: '1.5' is not a whole number"),
    "large": (TICK, "1,1e30,1,P,1,0", "row 1, column price: '1e30' is not a whole number"),
    "negative": (TICK, "1,-5,1,P,1,0", "row 1, column price: -5 is not above zero"),
    "another day": (TICK, "1,1,1,P,1,0\n86400000,1,1,P,1,0", "row 2, column time: 86400000 is no millisecond of a day"),
    "condition": (TICK, "1,1,1,P,xyz,0", "row 1, column condition: 'xyz' is no hexadecimal number"),
    "suspicious": (TICK, "1,1,1,P,1,2", "row 1, column suspicious: 2 is neither 0 nor 1"),
    "half a side": (QUOTE, "1,5,0,0,0,P,1,0", "row 1, column bid_size: 0 and its price are not both above zero"),
    "negative size": (QUOTE, "1,0,0,5,-1,P,1,0", "row 1, column ask_size: -1 is negative"),
    "no date": ("xyz.csv", "20131307 00:00,1,1,1,1,1", "row 1, column time: '20131307 00:00' is no time"),
    "half an hour": ("xyz.csv", "20131007 09:30,1,1,1,1,1", "row 1, column time: '20131007 09:30' begins no hour"),
    "negative bar": ("xyz.csv", "20131007 00:00,1,1,-1,1,1", "row 1, column low: -1 is negative"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_content_is_refused(tmp_path, case):
    member, text, error = BAD[case]
    with pytest.raises(DataError, match=error):
        read(write(tmp_path, member, text))


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("ticks.csv", "20200101 170000065,1.121200,1.121720,0\n"),  # HistData
        ("x.csv", "20131007 00:00,1,1,1,1\n"),
        ("x.csv", "1/4/1999,1,1,1,1,1\n"),
        (QUOTE, "1,1,1,P,1,0\n"),
        (TICK, "time,price,size,exchange,condition,suspicious\n"),
        ("20131007_xyz_minute_quote.csv", "34200000,1,1,1,1,1,1,1,1,1,1\n"),
    ],
)
def test_other_files_are_not_recognised(tmp_path, member, text):
    assert not lean.recognises(Source(write(tmp_path, member, text)))


@pytest.mark.parametrize(
    ("folder", "day", "quotes", "trades", "prints", "suspicious"),
    [
        ("bac", "20131007", 476_855, 88_172, 37_212, 0),
        ("bac", "20131008", 576_096, 125_872, 50_798, 0),
        ("ibm", "20131007", 109_067, 24_293, 7_466, 1),
        ("ibm", "20131008", 125_750, 33_381, 10_785, 1),
    ],
)
def test_the_ticks_of_the_sample(sample_data, folder, day, quotes, trades, prints, suspicious):
    path = sample_data / "equity_nbbo_ticks" / folder
    assert lean.recognises(Source(path / f"{day}_quote.zip"))
    batches, notes = read(path / f"{day}_quote.zip")
    frame = frame_of(batches)
    label = folder.upper()
    assert notes.counts[label]["rows"] == quotes
    assert notes.counts[label].get("suspicious", 0) == suspicious
    assert frame.height == quotes - suspicious
    assert frame["local_ts"].is_sorted()
    # The states at the ends of milliseconds of regular hours, 13:30 to 20:00 UTC.
    minutes = pl.col("local_ts") % (86_400_000 * MS) // (60_000 * MS)
    ends = frame.filter(minutes.is_between(13 * 60 + 30, 20 * 60 - 1)).group_by("local_ts", maintain_order=True).last()
    assert int((ends["bid_price"] > ends["ask_price"]).sum()) <= 20
    if (folder, day) == ("bac", "20131007"):
        assert ends.height == 116_374
    assert lean.recognises(Source(path / f"{day}_trade.zip"))
    batches, notes = read(path / f"{day}_trade.zip")
    frame = frame_of(batches)
    assert frame.height == trades
    assert (frame["kind"] == PRINT).sum() == prints


def test_the_bars_of_the_sample(sample_data):
    folder = sample_data / "ohlcv"
    for name, rows in {"spy": 5849, "ibm": 5849, "aig": 5849, "bac": 5849, "iwm": 5244, "aapl": 5849}.items():
        assert lean.recognises(Source(folder / f"{name}.zip"))
        batches, _ = read(folder / f"{name}.zip")
        assert (batches[0].stream.table, batches[0].stream.symbol) == ("bars_86400s", name.upper())
        frame = frame_of(batches)
        assert (frame.height, frame["local_ts"].is_sorted()) == (rows, True)
        assert frame.filter(pl.max_horizontal("open", "close", "low") > pl.col("high")).height == 0
    batches, _ = read(folder / "hour" / "spy.zip")
    assert (batches[0].stream.table, frame_of(batches).height) == ("bars_3600s", 40_832)
