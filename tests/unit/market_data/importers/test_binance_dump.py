import gzip
import zipfile
from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data import source as source_module
from market_maker.market_data.importers import Notes, ReadOptions, binance_dump
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, kind_of
from market_maker.market_data.source import Source

MS = 1_000_000
TRADE, CLEAR, SNAPSHOT, DEPTH = EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.DEPTH
T = 1723075200000
AGG = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
KLINES = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
TICKER = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
DEPTHS = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu\n"


def write(tmp_path, text, name="BTCUSDT-aggTrades-2024-08-08.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def read(path, **options):
    notes = Notes()
    batches = list(binance_dump.read(Source(path), ReadOptions(**options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[kind_of(batch.stream.table)]
    return batches, notes


def frame_of(batches):
    assert len({batch.stream for batch in batches}) == 1
    return pl.concat([batch.frame for batch in batches])


def stream_of(batches):
    stream = batches[0].stream
    return stream.venue, stream.symbol, stream.table


def test_aggregate_trades_of_futures_with_a_header(tmp_path):
    path = write(tmp_path, AGG + f"7,59999.9,0.320,1,2,{T},true\n8,60000.10,1,3,3,{T + 5},false")
    assert binance_dump.recognises(Source(path))
    batches, notes = read(path)
    assert stream_of(batches) == ("binance-usdm", "BTCUSDT", "trades")
    assert frame_of(batches).rows() == [
        (T * MS, T * MS, TRADE, -1, Decimal("59999.9"), Decimal("0.32"), 7, 2),
        ((T + 5) * MS, (T + 5) * MS, TRADE, 1, Decimal("60000.1"), Decimal(1), 8, 3),
    ]
    assert notes.counts == {"BTCUSDT": {"aggTrades": 2}}
    assert notes.instruments == {"BTCUSDT": {"base": "BTC", "quote": "USDT", "contract_type": "LINEAR"}}


MARKETS = [
    # name, rows, options -> venue, symbol, contract, first time, first trade
    ("BTCUSDT-aggTrades-2021-01-01.csv", f"7,2.5,3,1,2,{T},True,True\n", {}, "binance-spot", "SPOT", T * MS),
    # Microseconds since 2025.
    ("ETHBTC-aggTrades-2025-01.csv", f"7,2.5,3,1,2,{T}123,True,True\n", {}, "binance-spot", "SPOT", T * MS + 123_000),
    ("BTCUSDT-aggTrades-2021-01-01.csv", f"7,2.5,3,1,2,{T},true\n", {}, "binance-usdm", "LINEAR", T * MS),
    ("BTCUSD_PERP-aggTrades-2021-01-01.csv", f"7,2.5,3,1,2,{T},true\n", {}, "binance-coinm", "INVERSE", T * MS),
    ("BTCUSDT-trades-2021-01-01.csv", f"7,2.5,3,7.5,{T},True,True\n", {}, "binance-spot", "SPOT", T * MS),
    ("BTCUSDT-trades-2021-01-01.csv", f"7,2.5,3,7.5,{T},true\n", {}, "binance-usdm", "LINEAR", T * MS),
    ("BTCUSDT_240628-trades-2021-01-01.csv", f"7,2.5,3,7.5,{T},true\n", {}, "binance-usdm", "LINEAR", T * MS),
    ("BTCUSD_240628-trades-2024-01-01 (1).csv", f"id,price,qty,base_qty,time,is_buyer_maker\n7,2.5,3,1.2,{T},true\n", {},
     "binance-coinm", "INVERSE", T * MS),
    ("mine.csv", f"id,price,qty,quote_qty,time,is_buyer_maker\n7,2.5,3,7.5,{T},true\n", {"symbol": "BTCUSDT"},
     "binance-usdm", "LINEAR", T * MS),
    ("BTCUSDT-trades-2021-01-01.csv", f"7,2.5,3,7.5,{T},true\n", {"venue": "binance-spot"}, "binance-spot", "SPOT", T * MS),
    ("BTCUSDT-trades-2021-01-01.csv", f"7,2.5,3,7.5,{T},true\n", {"venue": "binance-us"}, "binance-us", None, T * MS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "options", "venue", "contract", "ts"), MARKETS)
def test_the_market_is_found_by_columns_symbol_and_precision(tmp_path, name, text, options, venue, contract, ts):
    path = write(tmp_path, text, name)
    assert binance_dump.recognises(Source(path))
    batches, notes = read(path, **options)
    symbol = options.get("symbol") or name.partition("-")[0]
    assert stream_of(batches) == (venue, symbol, "trades")
    assert frame_of(batches).drop("row").rows() == [(ts, ts, TRADE, -1, Decimal("2.5"), Decimal(3), 7)]
    assert notes.instruments[symbol].get("contract_type") == contract


def test_the_folders_of_the_archive_tell_the_market(tmp_path):
    folder = tmp_path / "data" / "futures" / "um" / "daily" / "klines" / "BTCUSDT" / "1m"
    folder.mkdir(parents=True)
    path = write(folder, KLINE, "BTCUSDT-1m-2021-11-27.csv")
    assert stream_of(read(path)[0])[0] == "binance-usdm"


def test_a_zip_and_a_gz_and_blocks_give_the_same_rows(tmp_path, monkeypatch):
    text = AGG + "".join(f"{7 + i},{60000 + i}.5,0.{i + 1:03},1,2,{T + i},true\n" for i in range(500))
    plain = frame_of(read(write(tmp_path, text))[0])
    with zipfile.ZipFile(tmp_path / "BTCUSDT-aggTrades-2024-08-08.zip", "w") as archive:
        archive.writestr("BTCUSDT-aggTrades-2024-08-08.csv", text)
    packed = tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (tmp_path / "BTCUSDT-aggTrades-2024-08-08.zip", packed):
        assert frame_of(read(path)[0]).equals(plain)
    small = source_module.Source.blocks
    monkeypatch.setattr(Source, "blocks", lambda self, member=None, size=0: small(self, member, 1000))
    batches, notes = read(packed)
    assert len(batches) > 10
    assert frame_of(batches).equals(plain)
    assert notes.counts == {"BTCUSDT": {"aggTrades": 500}}
    packed.write_bytes(gzip.compress(text.encode())[:-40])
    with pytest.raises(DataError, match="damaged or cut off"):
        read(packed)


def test_ids_that_run_backward_are_told_and_the_order_is_kept(tmp_path):
    # Two stretches, the later first, and between them 9 is missing; 8 is there twice.
    rows = [(10, 30), (11, 31), (7, 20), (8, 21), (8, 21)]
    text = AGG + "".join(f"{number},5,1,1,1,{T + t},true\n" for number, t in rows)
    batches, notes = read(write(tmp_path, text))
    assert frame_of(batches)["sequence"].to_list() == [10, 11, 7, 8, 8]
    assert notes.counts["BTCUSDT"] == {"aggTrades": 5, "id_reversals": 1, "rows_with_the_id_of_the_row_before": 1}
    assert "run backward 1 times" in notes.warnings[0]
    _, notes = read(write(tmp_path, AGG + "".join(f"{number},5,1,1,1,{T},true\n" for number in (7, 9, 12))))
    assert notes.counts["BTCUSDT"]["missing_ids"] == 3  # 8, 10, 11


def test_an_empty_trade_is_left_out_and_counted(tmp_path):
    batches, notes = read(write(tmp_path, AGG + f"7,5,0,1,1,{T},true\n8,5,1,1,1,{T},true\n"))
    assert frame_of(batches)["sequence"].to_list() == [8]
    assert notes.counts["BTCUSDT"]["skipped_empty_trades"] == 1


KLINE = (
    "1637971200000,0.2,0.4,0.1,0.3,10.5,1637971259999,1,79,1,1,0\n"
    "1637971260000,0.3,0.3,0.3,0.3,0,1637971319999,0,0,0,0,0\n"
)


def test_klines_of_spot_before_and_since_microseconds(tmp_path):
    batches, notes = read(write(tmp_path, KLINE, "ADABTC-1m-2021-11-27.csv"))
    assert stream_of(batches) == ("binance-spot", "ADABTC", "bars_60s")
    first, second = 1637971200000 * MS, 1637971260000 * MS
    numbers = [Decimal(text) for text in ("0.2", "0.4", "0.1", "0.3", "10.5")]
    assert frame_of(batches).rows() == [
        (first, *numbers, 79, 1),
        (second, *[Decimal("0.3")] * 4, Decimal(0), 0, 2),
    ]
    assert notes.counts == {"ADABTC": {"klines": 2}}
    assert notes.warnings == []
    text = "1735689600000000,1,1,1,1,5,1735689900999999,1,79,1,1,0\n".replace("900999999", "899999999")
    batches, _ = read(write(tmp_path, text, "BTCUSDT-5m-2025-01-01.csv"))
    assert stream_of(batches) == ("binance-spot", "BTCUSDT", "bars_300s")
    assert frame_of(batches)["local_ts"].to_list() == [1735689600000 * MS]


def test_klines_of_futures_and_of_both(tmp_path):
    batches, notes = read(write(tmp_path, KLINES + KLINE, "BTCUSD_PERP-1m-2021-11-27.csv"))
    assert stream_of(batches)[0] == "binance-coinm"
    assert notes.instruments["BTCUSD_PERP"]["contract_type"] == "INVERSE"
    batches, _ = read(write(tmp_path, KLINES + KLINE, "BTCUSDT-1m-2021-11-27.csv"))
    assert stream_of(batches) == ("binance-usdm", "BTCUSDT", "bars_60s")
    with pytest.raises(DataError, match="spot or of the USD-M market; give the venue"):
        read(write(tmp_path, KLINE, "BTCUSDT-1m-2021-11-27.csv"))


def test_bars_repeated_or_cut_short(tmp_path, monkeypatch):
    first, second = KLINE.splitlines(keepends=True)
    cut = "1637971320000,0.3,0.5,0.3,0.3,1,1637971350999,0,0,0,0,0\n"
    for size in (1 << 20, 40):  # also with the repetition in another block
        inner = source_module.Source.blocks
        with monkeypatch.context() as patched:
            patched.setattr(
                Source, "blocks", lambda self, member=None, size=0, n=size, inner=inner: inner(self, member, n)
            )
            batches, notes = read(write(tmp_path, first + second + second + cut, "ADABTC-1m-2021-11-27.csv"))
            assert frame_of(batches)["row"].to_list() == [1, 2, 4]
            assert notes.counts["ADABTC"] == {"klines": 3, "duplicates": 1, "bars_of_another_length": 1}
            with pytest.raises(DataError, match="row 3, column open_time: 1637971260000 begins a second bar"):
                read(write(tmp_path, first + second + second.replace("0.3,0,", "0.4,0,"), "ADABTC-1m-2021-11-27.csv"))
    _, notes = read(write(tmp_path, KLINE.replace("10.5", "0"), "ADABTC-1m-2021-11-27.csv"))
    assert "1 bars of ADABTC moved without volume" in notes.warnings[0]


def test_book_ticker(tmp_path):
    path = write(tmp_path, TICKER + f"5,10.1,2,10.2,3,{T},{T + 4}\n9,10.1,0,10.3,3,{T + 1},{T + 4}\n", "X-bookTicker-2024-01-01.csv")  # fmt: skip
    assert binance_dump.recognises(Source(path))
    batches, notes = read(path, symbol="BTCUSDT")
    assert stream_of(batches) == ("binance-usdm", "BTCUSDT", "bbo")
    a, b, c = Decimal("10.1"), Decimal("10.2"), Decimal("10.3")
    assert frame_of(batches).rows() == [
        (T * MS, T * MS, a, Decimal(2), b, Decimal(3), 5, 2),
        ((T + 1) * MS, (T + 1) * MS, a, Decimal(0), c, Decimal(3), 9, 3),
    ]
    assert notes.counts == {"BTCUSDT": {"bookTicker": 2}}


def depth(t, u, side, kind, price, qty, pu):
    return f"BTCUSDT,{T + t},{u},{u},{side},{kind},{price},{qty},{pu}\n"


MIXED = [
    depth(0, 100, "b", "snap", 9, 1, -1), depth(0, 100, "a", "snap", 10, 1, -1),
    depth(1, 99, "b", "set", 9, 5, 90),  # the snapshot contains it
    depth(2, 105, "b", "set", 9, 2, 98), depth(2, 105, "a", "set", 10, 0, 98),
    depth(3, 110, "a", "set", 11, 1, 105),
    depth(4, 120, "a", "set", 11, 2, 111),  # 106 to 111 are not there
    depth(5, 121, "a", "set", 11, 3, 120),
    depth(6, 115, "b", "snap", 8, 1, -1),  # older than what is known
    depth(7, 130, "b", "snap", 8, 2, -1),
    depth(8, 131, "b", "set", 8, 3, 130), depth(8, 131, "b", "set", 7, 3, 130),
    depth(9, 131, "b", "snap", 6, 3, -1),
]  # fmt: skip


@pytest.mark.parametrize("block", [1 << 20, 60, 150])
def test_the_order_book_follows_its_numbers(tmp_path, monkeypatch, block):
    inner = source_module.Source.blocks
    monkeypatch.setattr(Source, "blocks", lambda self, member=None, size=0: inner(self, member, block))
    path = write(tmp_path, DEPTHS + "".join(MIXED), "btcusdt_depth.csv")
    assert binance_dump.recognises(Source(path))
    batches, notes = read(path)
    assert stream_of(batches) == ("binance-usdm", "BTCUSDT", "book")
    frame = frame_of(batches)
    assert frame["exch_ts"].equals(frame["local_ts"], check_names=False)
    found = frame.select(pl.col("local_ts") // MS - T, "kind", "side", "price", "qty", "sequence", "last", "row")
    assert found.rows() == [
        (0, CLEAR, 1, 0, 0, 100, False, 2), (0, CLEAR, -1, 0, 0, 100, False, 2),
        (0, SNAPSHOT, 1, 9, 1, 100, False, 2), (0, SNAPSHOT, -1, 10, 1, 100, True, 3),
        (2, DEPTH, 1, 9, 2, 105, False, 5), (2, DEPTH, -1, 10, 0, 105, True, 6),
        (3, DEPTH, -1, 11, 1, 110, True, 7),
        (4, CLEAR, 1, 0, 0, 111, False, 8), (4, CLEAR, -1, 0, 0, 111, True, 8),
        (4, DEPTH, -1, 11, 2, 120, True, 8),
        (5, DEPTH, -1, 11, 3, 121, True, 9),
        (7, CLEAR, 1, 0, 0, 130, False, 11), (7, CLEAR, -1, 0, 0, 130, False, 11),
        (7, SNAPSHOT, 1, 8, 2, 130, True, 11),
        (8, DEPTH, 1, 8, 3, 131, False, 12), (8, DEPTH, 1, 7, 3, 131, True, 13),
        (9, CLEAR, 1, 0, 0, 131, False, 14), (9, CLEAR, -1, 0, 0, 131, False, 14),
        (9, SNAPSHOT, 1, 6, 3, 131, True, 14),
    ]  # fmt: skip
    assert notes.counts["BTCUSDT"] == {
        "snapshots": 3, "snapshots_ignored": 1, "updates": 5, "updates_before_snapshot_dropped": 1, "sequence_gaps": 1,
    }  # fmt: skip
    assert notes.continues == {}


def test_updates_alone_say_what_they_continue_and_repeats_are_left_out(tmp_path):
    rows = [depth(0, 100, "b", "set", 9, 1, 95), depth(1, 101, "b", "set", 9, 2, 100), depth(1, 101, "b", "set", 9, 2, 100),
            depth(2, 100, "b", "set", 9, 1, 95), depth(3, 102, "a", "set", 12, 2, 101)]  # fmt: skip
    batches, notes = read(write(tmp_path, DEPTHS + "".join(rows), "update.csv"))
    frame = frame_of(batches)
    assert frame["row"].to_list() == [2, 3, 4, 6]
    assert frame["last"].to_list() == [True, False, True, True]
    assert notes.continues == {"BTCUSDT": 95}
    assert notes.counts["BTCUSDT"] == {"updates": 3, "duplicates": 1}
    assert "begins without a snapshot, after update 95" in notes.warnings[0]


BAD = {
    "letters": (AGG + f"7,x,1,1,1,{T},true\n", "row 2, column price: 'x' is not a decimal"),
    "nan": (AGG + f"7,NaN,1,1,1,{T},true\n", "row 2, column price: 'NaN'"),
    "too large": (AGG + f"7,1e30,1,1,1,{T},true\n", "row 2, column price: '1e30'"),
    "too fine": (AGG + f"7,0.10000000000000000000,1,1,1,{T},true\n8,0.1234567890123456789,1,1,1,{T},true\n",
                 "row 3, column price: '0.1234567890123456789' has more than 18 decimals"),
    "negative price": (AGG + f"7,5,1,1,1,{T},true\n8,-5,1,1,1,{T},true\n", r"row 3, column price: -5\.0* is no price"),
    "zero price": (AGG + f"7,0,1,1,1,{T},true\n", "row 2, column price: 0.* is no price"),
    "negative quantity": (AGG + f"7,5,-1,1,1,{T},true\n", r"row 2, column quantity: -1\.0* is negative"),
    "fields": (AGG + f"7,5,1,1,1,{T},true,1\n", "row 2: 8 fields where 7"),
    "cut off": (AGG + f"7,5,1,1,1,{T},true\n8,5,1", "row 3: 3 fields where 7"),
    "boolean": (AGG + f"7,5,1,1,1,{T},maybe\n", "row 2, column is_buyer_maker: 'maybe' is none of true, false"),
    "empty field": (AGG + f"7,,1,1,1,{T},true\n", "row 2, column price: an empty field"),
    "units": (AGG + f"7,5,1,1,1,{T},true\n8,5,1,1,1,{T}000,true\n", "row 3, column transact_time: .* in ms, the unit"),
    "no time": (AGG + "7,5,1,1,1,12,true\n", "row 2, column transact_time: 12 is no time in s, ms, us or ns"),
    "column gone": (AGG.replace(",quantity", "") + f"7,5,1,1,{T},true\n", "row 1: .* is the first line of no aggTrades"),
    "other symbol": (DEPTHS + depth(0, 5, "b", "set", 1, 1, 4) + depth(0, 5, "b", "set", 1, 1, 4).replace("BTC", "ETH"),
                     "row 3, column symbol: ETHUSDT in a file of BTCUSDT"),
    "side": (DEPTHS + depth(0, 5, "x", "set", 1, 1, 4), "row 2, column side: 'x' is none of b, a"),
    "update type": (DEPTHS + depth(0, 5, "b", "get", 1, 1, 4), "row 2, column update_type: 'get' is none of snap, set"),
    "level": (DEPTHS + depth(0, 5, "b", "set", -1, 1, 4), r"row 2, column price: -1\.0* is no price"),
    "level quantity": (DEPTHS + depth(0, 5, "b", "set", 1, -1, 4), r"row 2, column qty: -1\.0* is negative"),
    "not a dump": ("a,b\n1,2\n", "row 1: 'a,b' is the first line of no aggTrades"),
    "empty": ("", "row 1: '' is the first line of no"),
    "bookDepth": ("timestamp,percentage,depth,notional\n2024-01-01 00:00:01,-5,1,1\n", "bookDepth is no order book"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_refused_with_its_place(tmp_path, case):
    text, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, text))
    assert caught.value.detail.startswith("BTCUSDT-aggTrades-2024-08-08.csv")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.csv", AGG + f"7,5,1,1,1,{T},true\n", "does not begin with the symbol"),
        ("BTCUSDT-1mo-2021-11.csv", KLINES + KLINE, "bars of a month"),
        ("BTCUSDT-5m-2021-11.csv", KLINES + KLINE, "row 2, column close_time: bars of 60 s in a file that is named 5m"),
        ("BTCUSDT-trades-2021-11.csv", KLINES + KLINE.replace("9999", "9899"), "bars of 59.9 s; whole seconds"),
        ("BTCUSDT-1m-2021-11.csv", KLINES + KLINE.replace("0.1,", "-0.1,"), r"row 2, column low: -0\.10* is negative"),
        ("BTCUSDT_T_DEPTH_2022-11-01.tar.gz", "btcusdt_T_DEPTH_2022-11-01_depth_snap.csv\0\0", "unpack it"),
        ("X-bookTicker-2021-11-01.csv", TICKER + f"5,-1,2,10.2,3,{T},{T}\n", "row 2, column best_bid_price: -1.* is neg"),
    ],
)  # fmt: skip
def test_names_that_contradict_or_say_too_little(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert binance_dump.recognises(Source(path))
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_header_alone_gives_no_rows(tmp_path):
    assert read(write(tmp_path, AGG))[0] == []


@pytest.mark.parametrize(
    "text", ["", "timestamp,open,high,low,close,volume\n", "34200.1,1,2,3,4,1\n", "{}\n", "a" * 70000]
)
def test_other_files_are_not_recognised(tmp_path, text):
    assert not binance_dump.recognises(Source(write(tmp_path, text)))


def test_the_real_dumps(sample_data):
    folder = sample_data / "binance_dumps"
    batches, notes = read(folder / "ADABTC-1m-2021-11-27.csv")
    frame = frame_of(batches)
    assert (stream_of(batches), frame.height) == (("binance-spot", "ADABTC", "bars_60s"), 10)
    assert frame["trades"].sum() == 566
    assert frame["close"][-1] == Decimal("0.00002865")
    assert notes.warnings == []
    batches, notes = read(folder / "btcusdt-depth-snap.csv")
    frame = frame_of(batches)
    assert frame["kind"].to_list() == [CLEAR] * 2 + [SNAPSHOT] * 100
    assert frame["last"].to_list() == [False] * 101 + [True]
    assert stream_of(batches) == ("binance-usdm", "BTCUSDT", "book")
    batches, notes = read(folder / "btcusdt-depth-update.csv")
    frame = frame_of(batches)
    assert frame["kind"].to_list() == [DEPTH] * 100
    assert frame["last"].to_list() == [False] * 99 + [True]
    assert notes.continues == {"BTCUSDT": 2098041693400}
    assert int((frame["side"] == 1).sum()) == 23
    for path in folder.iterdir():
        assert binance_dump.recognises(Source(path))
