import gzip
import json
import zipfile
from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.importers import Notes, ReadOptions, bybit
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

CLEAR, SNAPSHOT, DEPTH, TRADE = EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.DEPTH, EventKind.TRADE
T, MS = 1674000000000, 1_000_000
NAME = "2023-01-18_BTCUSDT_ob500.data"
TRADES = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"
SPOT = "id,timestamp,price,volume,side\n"


def message(t, kind, u, bids=(), asks=(), symbol="BTCUSDT", depth=500, cts=True):
    found = {"topic": f"orderbook.{depth}.{symbol}", "type": kind, "ts": T + t + 3,
             "data": {"s": symbol, "b": [list(level) for level in bids], "a": [list(level) for level in asks], "u": u, "seq": 9}}  # fmt: skip
    if cts:
        found["cts"] = T + t
    return json.dumps(found, separators=(",", ":")) + "\n"


def write(tmp_path, text, name=NAME):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(path, **options):
    notes = Notes()
    batches = list(bybit.read(Source(path), ReadOptions(**options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[batch.stream.table]
    return batches, notes


def frame_of(batches):
    assert len({batch.stream for batch in batches}) == 1
    return pl.concat([batch.frame for batch in batches])


def stream_of(batches):
    stream = batches[0].stream
    return stream.venue, stream.symbol, stream.table


BOOK = "".join([
    message(0, "snapshot", 10, [("9", "1"), ("8", "2")], [("10", "3")]),
    message(1, "delta", 11, [("9", "0")]),
    message(2, "delta", 12),
    message(3, "delta", 13, [("8.5", "1")], [("10", "4"), ("11", "0.001")]),
    message(4, "delta", 13, [("8.5", "9")]),  # again
    message(5, "delta", 15, [("7", "1")]),  # 14 is not there
    message(6, "delta", 16, [("7", "2")]),
    message(7, "delta", 1, [("6", "1")], [("12", "1")]),  # the service began anew
    message(8, "delta", 2, (), [("12", "2")]),
    message(9, "snapshot", 3),
])  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_book_of_snapshots_and_deltas(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(bybit, "BATCH_ROWS", rows)
    path = write(tmp_path, BOOK)
    assert bybit.recognises(Source(path))
    batches, notes = read(path)
    assert stream_of(batches) == ("bybit", "BTCUSDT", "book")
    frame = frame_of(batches)
    assert frame["exch_ts"].equals(frame["local_ts"], check_names=False)
    found = frame.select(pl.col("local_ts") // MS - T, "kind", "side", "price", "qty", "sequence", "last", "row").rows()
    assert found == [
        (0, CLEAR, 1, 0, 0, 10, False, 1), (0, CLEAR, -1, 0, 0, 10, False, 1), (0, SNAPSHOT, 1, 9, 1, 10, False, 1),
        (0, SNAPSHOT, 1, 8, 2, 10, False, 1), (0, SNAPSHOT, -1, 10, 3, 10, True, 1),
        (1, DEPTH, 1, 9, 0, 11, True, 2),
        (3, DEPTH, 1, Decimal("8.5"), 1, 13, False, 4), (3, DEPTH, -1, 10, 4, 13, False, 4),
        (3, DEPTH, -1, 11, Decimal("0.001"), 13, True, 4),
        (5, CLEAR, 1, 0, 0, 14, False, 6), (5, CLEAR, -1, 0, 0, 14, True, 6),
        (5, DEPTH, 1, 7, 1, 15, True, 6), (6, DEPTH, 1, 7, 2, 16, True, 7),
        (7, CLEAR, 1, 0, 0, 1, False, 8), (7, CLEAR, -1, 0, 0, 1, False, 8),
        (7, SNAPSHOT, 1, 6, 1, 1, False, 8), (7, SNAPSHOT, -1, 12, 1, 1, True, 8),
        (8, DEPTH, -1, 12, 2, 2, True, 9),
        (9, CLEAR, 1, 0, 0, 3, False, 10), (9, CLEAR, -1, 0, 0, 3, True, 10),
    ]  # fmt: skip
    assert notes.counts == {"BTCUSDT": {"snapshots": 3, "deltas": 6, "duplicates": 1, "sequence_gaps": 1}}
    assert notes.instruments == {"BTCUSDT": {"base": "BTC", "quote": "USDT", "contract_type": "LINEAR"}}
    assert notes.continues == {}
    assert notes.warnings == []


def test_a_book_that_begins_without_a_snapshot_or_ends_in_a_gap(tmp_path):
    text = message(0, "delta", 11, [("9", "1")]) + message(1, "delta", 12, [("9", "2")])
    batches, notes = read(write(tmp_path, text))
    assert frame_of(batches)["kind"].to_list() == [DEPTH, DEPTH]
    assert notes.continues == {"BTCUSDT": 10}
    assert "begins without a snapshot, after update 10" in notes.warnings[0]
    _, notes = read(write(tmp_path, message(0, "snapshot", 5, [("9", "1")]) + message(1, "delta", 7, [("9", "1")])))
    assert notes.counts["BTCUSDT"]["ends_without_book"] == 1
    assert "unknown from its last sequence gap to the end" in notes.warnings[0]


def test_a_zip_as_the_venue_gives_it_and_files_without_times_of_matching(tmp_path):
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, BOOK)
    assert bybit.recognises(Source(path))
    assert frame_of(read(path)[0]).equals(frame_of(read(write(tmp_path, BOOK))[0]))
    frame = frame_of(read(write(tmp_path, message(0, "snapshot", 5, [("9", "1")], cts=False)))[0])
    assert frame["local_ts"].unique().to_list() == [(T + 3) * MS]


MARKETS = [
    (200, "BTCUSDT", {"venue": "bybit-spot"}, "", "bybit-spot", "SPOT"),
    (200, "BTCUSDT", {"venue": "bybit"}, "", "bybit", "LINEAR"),
    (200, "BTCUSDT", {}, "spot/BTCUSDT", "bybit-spot", "SPOT"),
    (200, "BTCUSDT", {}, "linear/BTCUSDT", "bybit", "LINEAR"),
    (500, "BTCUSD", {}, "", "bybit", "INVERSE"),
    (500, "BTCUSDM24", {}, "", "bybit", "INVERSE"),
    (500, "BTCPERP", {}, "", "bybit", "LINEAR"),
]


@pytest.mark.parametrize(("depth", "symbol", "options", "folder", "venue", "contract"), MARKETS)
def test_the_market_of_a_book(tmp_path, depth, symbol, options, folder, venue, contract):
    text = message(0, "snapshot", 5, [("9", "1")], symbol=symbol, depth=depth)
    batches, notes = read(write(tmp_path, text, f"{folder}/{NAME}" if folder else NAME), **options)
    assert stream_of(batches) == (venue, symbol, "book")
    assert notes.instruments[symbol]["contract_type"] == contract


def test_trades_of_derivatives_have_seconds_as_decimal_text(tmp_path):
    text = TRADES + (
        "1585180700.0647,BTCUSDT,Buy,0.042,6698.5,PlusTick,x,1,1,1\n"
        "1585180700.647100123,BTCUSDT,Sell,1,6698,ZeroMinusTick,y,1,1,1\n"
        "1.5851807008E9,BTCUSDT,Sell,0,6698,ZeroMinusTick,y,1,1,1\n"
        "1585180701.1234567891,BTCUSDT,Sell,2,6697.5,MinusTick,z,1,1,1\n"
    )
    path = tmp_path / "BTCUSDT2020-03-25.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert bybit.recognises(Source(path))
    batches, notes = read(path)
    assert stream_of(batches) == ("bybit", "BTCUSDT", "trades")
    assert frame_of(batches).drop("exch_ts").rows() == [
        (1585180700064700000, TRADE, 1, Decimal("6698.5"), Decimal("0.042"), 0, 2),
        (1585180700647100123, TRADE, -1, 6698, 1, 0, 3),
        (1585180701123456789, TRADE, -1, Decimal("6697.5"), 2, 0, 5),
    ]
    assert notes.counts == {"BTCUSDT": {"trades": 4, "skipped_empty_trades": 1, "times_cut_to_ns": 1}}
    assert notes.instruments["BTCUSDT"]["contract_type"] == "LINEAR"


def test_trades_of_spot(tmp_path):
    text = SPOT + f"1,{T},20000.5,0.25,buy\n2,{T + 1},20000,1,sell\n"
    path = write(tmp_path, text, "BTCUSDT_2022-11-10.csv")
    assert bybit.recognises(Source(path))
    batches, notes = read(path)
    assert stream_of(batches) == ("bybit-spot", "BTCUSDT", "trades")
    assert frame_of(batches).drop("exch_ts").rows() == [
        (T * MS, TRADE, 1, Decimal("20000.5"), Decimal("0.25"), 1, 2),
        ((T + 1) * MS, TRADE, -1, 20000, 1, 2, 3),
    ]
    assert notes.instruments["BTCUSDT"] == {"base": "BTC", "quote": "USDT", "contract_type": "SPOT"}


GOOD = message(0, "snapshot", 5, [("9", "1")])
LINE = "1585180700.5,BTCUSDT,Buy,1,5,PlusTick,x,1,1,1\n"
BAD = {
    "cut off": (GOOD + message(1, "delta", 6, [("9", "1")])[:60], "row 2: not a message of an order book"),
    "type": (GOOD + message(1, "other", 6), "row 2: not a message of an order book: .*type"),
    "symbol": (GOOD + message(1, "delta", 6, symbol="ETHUSDT"), "row 2, column s: 'ETHUSDT' in a book of BTCUSDT"),
    "nan": (GOOD + message(1, "delta", 6, [("NaN", "1")]), "row 2, column price: 'NaN' is not a plain decimal"),
    "too large": (GOOD + message(1, "delta", 6, [("9", "1e30")]), "row 2, column qty: '1e30' is not a plain decimal"),
    "negative": (GOOD + message(1, "delta", 6, [("9", "-1")]), "row 2, column qty: '-1' is not a plain decimal"),
    "float": (GOOD.replace('"9"', "9.5"), "row 1: not a message of an order book"),
    "level": (GOOD + message(1, "delta", 6, [("9", "1", "1")]), "row 2: not a message of an order book"),
    "seconds": (GOOD.replace(str(T), str(T // 1000)), "row 1, column cts: 1674000000 is no time in milliseconds"),
    "some times": (GOOD + message(1, "delta", 6, cts=False), "row 2, column cts: a time of matching in some messages"),
    "negative number": (GOOD + message(1, "delta", -6), "row 2: not a message of an order book"),
    "ambiguous": (message(0, "snapshot", 5, depth=200), "may be of the spot or of the derivatives market; give the venue"),
    "letters": (TRADES + LINE.replace(",1,5,", ",1,x,"), "row 2, column price: 'x' is not a decimal"),
    "price": (TRADES + LINE + LINE.replace(",1,5,", ",1,0,"), "row 3, column price: 0.* is no price of a trade"),
    "size": (TRADES + LINE.replace(",1,5,", ",-1,5,"), "row 2, column size: -1.* is negative"),
    "ms": (TRADES + LINE + LINE.replace("1585180700.5", "1585180700500"), "row 3, column timestamp: .* in seconds"),
    "side": (TRADES + LINE.replace("Buy", "Up"), "row 2, column side: 'Up' is none of Buy, Sell"),
    "two symbols": (TRADES + LINE + LINE.replace("BTC", "ETH"), "row 3, column symbol: ETHUSDT in a file of BTCUSDT"),
    "fields": (TRADES + LINE + "1585180700.5,BTCUSDT\n", "row 3: 2 fields where 10"),
    "spot name": (SPOT + f"1,{T},1,1,buy\n", "does not begin with the symbol"),
    "mixed times": (SPOT + f"1,{T},1,1,buy\n2,{T}000,1,1,buy\n", "row 3, column timestamp: .* in ms, the unit"),
    "else": ("a,b\n1,2\n", "row 1: 'a,b' is neither a message"),
    "empty": ("", "row 1: '' is neither a message"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_refused_with_its_place(tmp_path, case):
    text, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, text), symbol="BTCUSDT" if case == "mixed times" else None)
    assert caught.value.detail.startswith(NAME)


def test_a_header_alone_gives_no_rows_and_other_files_are_not_recognised(tmp_path):
    assert read(write(tmp_path, TRADES))[0] == []
    for text in (
        "",
        '{"topic":"trade.BTCUSDT"}\n',
        "timestamp,symbol,side\n",
        "id,price,qty,quote_qty,time,is_buyer_maker\n",
    ):
        assert not bybit.recognises(Source(write(tmp_path, text)))
