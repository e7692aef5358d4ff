import gzip
from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.importers import Notes, ReadOptions, tardis
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

CLEAR, SNAPSHOT, DEPTH, TRADE = EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.DEPTH, EventKind.TRADE
T = 1598918403000000
FIRST = "exchange,symbol,timestamp,local_timestamp,"
CHANGES = FIRST + "is_snapshot,side,price,amount\n"
SNAPSHOTS = (
    FIRST + ",".join(f"{s}[{i}].{w}" for i in range(2) for s in ("asks", "bids") for w in ("price", "amount")) + "\n"
)
QUOTES = FIRST + "ask_amount,ask_price,bid_price,bid_amount\n"
TRADES = FIRST + "id,side,price,amount\n"
TICKER = FIRST + (
    "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,index_price,mark_price\n"
)


def line(t, rest, symbol="BTCUSDT", exchange="binance-futures", exch=0):
    return f"{exchange},{symbol},{T + exch},{T + t},{rest}\n"


def write(tmp_path, text, name="file.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def read(path, **options):
    notes = Notes()
    batches = list(tardis.read(Source(path), ReadOptions(**options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[batch.stream.table]
    return batches, notes


def frames_of(batches):
    found = {}
    for batch in batches:
        stream = batch.stream
        found.setdefault((stream.venue, stream.symbol, stream.table), []).append(batch.frame)
    return {stream: pl.concat(frames) for stream, frames in found.items()}


@pytest.fixture(params=[0, 70, 200, 500])
def any_block(request, monkeypatch):
    """Read in blocks of so many bytes: 0 means as usual."""
    if request.param:
        inner = Source.blocks
        monkeypatch.setattr(Source, "blocks", lambda self, member=None, size=0: inner(self, member, request.param))


BOOK = CHANGES + "".join([
    line(1, "false,bid,9,1"),  # before any snapshot
    line(2, "true,bid,9.5,1"), line(2, "true,ask,10,2"), line(2, "true,ask,10.5,0"),
    line(3, "false,bid,9.5,0"), line(3, "false,bid,9,4"),
    line(4, "false,ask,10,1"),
    line(5, "true,bid,8,1"), line(5, "true,ask,11,1"),  # a reconnect
    line(6, "true,bid,8.5,1"),  # and only snapshots
    line(6, "false,bid,8,2"),
])  # fmt: skip


@pytest.mark.usefixtures("any_block")
def test_messages_and_snapshots_of_a_book(tmp_path):
    path = write(tmp_path, BOOK)
    assert tardis.recognises(Source(path))
    batches, notes = read(path)
    frame = frames_of(batches)[("binance-usdm", "BTCUSDT", "book")]
    assert frame["exch_ts"].unique().to_list() == [T * 1000]
    found = frame.select(pl.col("local_ts") // 1000 - T, "kind", "side", "price", "qty", "last", "row").rows()
    half = Decimal("0.5")
    assert found == [
        (1, DEPTH, 1, 9, 1, True, 2),
        (2, CLEAR, 1, 0, 0, False, 3), (2, CLEAR, -1, 0, 0, False, 3),
        (2, SNAPSHOT, 1, 9 + half, 1, False, 3), (2, SNAPSHOT, -1, 10, 2, False, 4), (2, SNAPSHOT, -1, 10 + half, 0, True, 5),
        (3, DEPTH, 1, 9 + half, 0, False, 6), (3, DEPTH, 1, 9, 4, True, 7),
        (4, DEPTH, -1, 10, 1, True, 8),
        (5, CLEAR, 1, 0, 0, False, 9), (5, CLEAR, -1, 0, 0, False, 9),
        (5, SNAPSHOT, 1, 8, 1, False, 9), (5, SNAPSHOT, -1, 11, 1, True, 10),
        (6, CLEAR, 1, 0, 0, False, 11), (6, CLEAR, -1, 0, 0, False, 11),
        (6, SNAPSHOT, 1, 8 + half, 1, False, 11), (6, DEPTH, 1, 8, 2, True, 12),
    ]  # fmt: skip
    assert notes.counts == {"BTCUSDT": {"snapshots": 3, "levels_before_the_first_snapshot": 1}}
    assert notes.instruments == {
        "BTCUSDT": {"contract_type": "LINEAR", "base": "BTC", "quote": "USDT", "multiplier": "1"}
    }
    assert notes.warnings == []


@pytest.mark.parametrize("any_block", [0, 200, 300], indirect=True)
@pytest.mark.usefixtures("any_block")
def test_several_symbols_are_streams_of_their_own(tmp_path):
    text = CHANGES + "".join([
        line(1, "true,bid,9,1", "A/USD", "deribit"), line(1, "true,bid,5,1", "B", "deribit"),
        line(1, "true,ask,10,1", "A/USD", "deribit"), line(1, "true,ask,6,1", "B", "deribit"),
        line(2, "false,ask,6,2", "B", "deribit"), line(2, "false,ask,10,2", "A/USD", "deribit"),
    ])  # fmt: skip
    batches, notes = read(write(tmp_path, text))
    frames = frames_of(batches)
    assert set(frames) == {("deribit", "A-USD", "book"), ("deribit", "B", "book")}
    a, b = frames[("deribit", "A-USD", "book")], frames[("deribit", "B", "book")]
    assert a["row"].to_list() == [2, 2, 2, 4, 7]
    assert b["row"].to_list() == [3, 3, 3, 5, 6]
    for frame in (a, b):
        assert frame["kind"].to_list() == [CLEAR, CLEAR, SNAPSHOT, SNAPSHOT, DEPTH]
        assert frame["last"].to_list() == [False, False, False, True, True]
    assert notes.counts["A-USD"]["snapshots"] == notes.counts["B"]["snapshots"] == 1
    assert notes.instruments == {"A-USD": {"quantity": "contracts"}, "B": {"quantity": "contracts"}}
    assert set(frames_of(read(tmp_path / "file.csv", symbols=("B",))[0])) == {("deribit", "B", "book")}
    with pytest.raises(DataError, match=r"file\.csv, row [34], column symbol: 'B': a second symbol"):
        read(tmp_path / "file.csv", symbol="X")


def test_a_book_without_any_snapshot_is_told(tmp_path):
    _, notes = read(write(tmp_path, CHANGES + line(1, "false,bid,9,1")))
    assert notes.counts["BTCUSDT"]["levels_before_the_first_snapshot"] == 1
    assert "no snapshot of BTCUSDT" in notes.warnings[0]


@pytest.mark.usefixtures("any_block")
def test_each_row_of_book_snapshots_is_a_whole_book(tmp_path):
    path = write(tmp_path, SNAPSHOTS + line(1, "10,1,9,2,11,3,8,4") + line(2, "10,1,,,,,,") + line(3, ",,,,,,,"))
    assert tardis.recognises(Source(path))
    batches, notes = read(path, venue="mine")
    frame = frames_of(batches)[("mine", "BTCUSDT", "book")]
    assert frame.select(pl.col("local_ts") // 1000 - T, "kind", "side", "price", "qty", "last", "row").rows() == [
        (1, CLEAR, 1, 0, 0, False, 2), (1, CLEAR, -1, 0, 0, False, 2),
        (1, SNAPSHOT, 1, 9, 2, False, 2), (1, SNAPSHOT, 1, 8, 4, False, 2),
        (1, SNAPSHOT, -1, 10, 1, False, 2), (1, SNAPSHOT, -1, 11, 3, True, 2),
        (2, CLEAR, 1, 0, 0, False, 3), (2, CLEAR, -1, 0, 0, False, 3), (2, SNAPSHOT, -1, 10, 1, True, 3),
        (3, CLEAR, 1, 0, 0, False, 4), (3, CLEAR, -1, 0, 0, True, 4),
    ]  # fmt: skip
    assert notes.counts == {"BTCUSDT": {"snapshots": 3}}


def test_quotes_may_lack_a_side(tmp_path):
    text = QUOTES + line(1, "5,10.1,10,6", exch=-2) + line(2, ",,10,6") + line(3, "5,10.1,,")
    batches, notes = read(write(tmp_path, text))
    a = Decimal("10.1")
    assert frames_of(batches)[("binance-usdm", "BTCUSDT", "bbo")].rows() == [
        ((T - 2) * 1000, (T + 1) * 1000, 10, 6, a, 5, 0, 2),
        (T * 1000, (T + 2) * 1000, 10, 6, 0, 0, 0, 3),
        (T * 1000, (T + 3) * 1000, 0, 0, a, 5, 0, 4),
    ]
    assert notes.counts == {"BTCUSDT": {"quotes": 3, "quotes_without_bid": 1, "quotes_without_ask": 1}}


def test_trades_have_ids_of_all_kinds(tmp_path):
    text = TRADES + "".join([
        line(1, "77,buy,10.5,1"), line(2, "ccc3c1fa-212c-e8b0-1706-9b9c4f3d5ecf,sell,10,2"), line(3, ",unknown,10,3"),
        line(4, "78,buy,10,0"), line(5, "99999999999999999999,buy,10,1"),
    ])  # fmt: skip
    batches, notes = read(write(tmp_path, text), symbol="X")
    frame = frames_of(batches)[("binance-usdm", "X", "trades")]
    assert frame.drop("exch_ts").rows() == [
        ((T + 1) * 1000, TRADE, 1, Decimal("10.5"), 1, 77, 2),
        ((T + 2) * 1000, TRADE, -1, 10, 2, 0, 3),
        ((T + 3) * 1000, TRADE, 0, 10, 3, 0, 4),
        ((T + 5) * 1000, TRADE, 1, 10, 1, 0, 6),
    ]
    assert notes.counts == {"X": {"trades": 5, "trades_without_a_number": 3, "skipped_empty_trades": 1}}


def test_ticker(tmp_path):
    text = TICKER + line(1, f"{T},0.0001,-1e-7,100,9,9.1,9.2") + line(2, ",,,,9,,")
    batches, notes = read(write(tmp_path, text))
    frame = frames_of(batches)[("binance-usdm", "BTCUSDT", "ticker")]
    assert frame.rows(named=True)[0] == {
        "exch_ts": T * 1000, "local_ts": (T + 1) * 1000, "mark_price": Decimal("9.2"), "index_price": Decimal("9.1"),
        "last_price": Decimal(9), "open_interest": Decimal(100), "funding_rate": Decimal("0.0001"),
        "predicted_funding_rate": Decimal("-0.0000001"), "funding_ts": T * 1000, "row": 2,
    }  # fmt: skip
    assert {name for name, value in frame.rows(named=True)[1].items() if value is None} == {
        "mark_price", "index_price", "open_interest", "funding_rate", "predicted_funding_rate", "funding_ts",
    }  # fmt: skip
    assert notes.counts == {"BTCUSDT": {"tickers": 2}}


def test_a_gz_as_the_provider_gives_it(tmp_path):
    path = tmp_path / "binance-futures_incremental_book_L2_2020-09-01_BTCUSDT.csv.gz"
    path.write_bytes(gzip.compress(BOOK.encode()))
    assert tardis.recognises(Source(path))
    plain = frames_of(read(write(tmp_path, BOOK))[0])
    found = frames_of(read(path)[0])
    stream = ("binance-usdm", "BTCUSDT", "book")
    assert found[stream].equals(plain[stream])


BAD = {
    "letters": (CHANGES + line(1, "true,bid,x,1"), "row 2, column price: 'x' is not a decimal"),
    "nan": (CHANGES + line(1, "true,bid,1,NaN"), "row 2, column amount: 'NaN'"),
    "too large": (CHANGES + line(1, "true,bid,1e30,1"), "row 2, column price: '1e30'"),
    "negative": (CHANGES + line(1, "true,bid,1,1") + line(1, "true,bid,1,-1"), "row 3, column amount: -1.* is negative"),
    "side": (CHANGES + line(1, "true,buy,1,1"), "row 2, column side: 'buy' is none of bid, ask"),
    "boolean": (CHANGES + line(1, "1,bid,1,1"), "row 2, column is_snapshot: '1' is none of true, false"),
    "taker": (TRADES + line(1, "1,bid,1,1"), "row 2, column side: 'bid' is none of buy, sell, unknown"),
    "price of a trade": (TRADES + line(1, "1,buy,0,1"), "row 2, column price: 0.* is no price"),
    "amount of a trade": (TRADES + line(1, "1,buy,1,-1"), "row 2, column amount: -1.* is negative"),
    "trade without price": (TRADES + line(1, "1,buy,,1"), "row 2, column price: an empty field"),
    "milliseconds": (CHANGES + line(1, "true,bid,1,1").replace(str(T), str(T // 1000)), "row 2, column timestamp: .* in us"),
    "cut off": (CHANGES + line(1, "true,bid,1,1") + "binance-futures,BTC", "row 3: 2 fields where 8"),
    "cut off snapshot": (SNAPSHOTS + line(1, "10,1,9"), "row 2: 7 fields where 12"),
    "too many": (QUOTES + line(1, "1,2,3,4,5"), "row 2: 9 fields where 8"),
    "half a quote": (QUOTES + line(1, "1,2,3,"), "row 2, column bid_amount: .*beside its price: one is missing"),
    "negative quote": (QUOTES + line(1, "1,-2,3,4"), "row 2, column ask_price: -2.* is negative"),
    "negative amount": (QUOTES + line(1, "-1,2,3,4"), "row 2, column ask_amount: -1.* is negative"),
    "half a level": (SNAPSHOTS + line(1, "10,1,9,2,11,,8,4"), r"row 2, column asks\[1\].amount: .*one is missing"),
    "negative level": (SNAPSHOTS + line(1, "10,1,9,2,11,3,8,-4"), r"row 2, column bids\[1\].amount: -4.* is negative"),
    "levels": (SNAPSHOTS.replace("asks[1].amount", "asks[2].amount"), r"row 1, column asks\[2\].amount: is no level"),
    "no header": (line(1, "true,bid,1,1"), "row 1: .* is the header of no file of Tardis"),
    "options": (FIRST + "type,strike_price\n", "row 1: .* is the header of no file of Tardis"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_refused_with_its_place(tmp_path, case):
    text, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, text))
    assert caught.value.detail.startswith("file.csv")


def test_liquidations_are_refused(tmp_path):
    path = write(tmp_path, TRADES + line(1, "1,buy,1,1"), "binance_liquidations_2021-09-01_BTCUSDT.csv")
    with pytest.raises(DataError, match="import the file of trades"):
        read(path)


def test_a_header_alone_gives_no_rows_and_other_files_are_not_recognised(tmp_path):
    assert read(write(tmp_path, TRADES)) == ([], Notes())
    for text in ("", "exchange,symbol,timestamp\n", "symbol,timestamp,local_timestamp,id,side,price,amount\n"):
        assert not tardis.recognises(Source(write(tmp_path, text)))


REAL = {
    "binance-futures_book_snapshot_5_BTCUSDT.csv": (("binance-usdm", "BTCUSDT", "book"), 10 * 12, 10),
    "bitmex_trades_XBTUSD.csv": (("bitmex", "XBTUSD", "trades"), 10, 10),
    "deribit_incremental_book_L2_BTC-PERPETUAL.csv": (("deribit", "BTC-PERPETUAL", "book"), 2 + 15, 1),
    "huobi-dm-swap_quotes_BTC-USD.csv": (("huobi-dm-swap", "BTC-USD", "bbo"), 10, 10),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_samples(sample_data, name):
    path = sample_data / "tardis_csv" / name
    stream, rows, messages = REAL[name]
    assert tardis.recognises(Source(path))
    batches, _ = read(path)
    frames = frames_of(batches)
    assert list(frames) == [stream]
    frame = frames[stream]
    assert frame.height == rows
    assert (int(frame["last"].sum()) if "last" in frame.columns else frame.height) == messages
    assert (frame["local_ts"] >= frame["exch_ts"]).all()


def test_the_numbers_of_the_real_samples(sample_data):
    folder = sample_data / "tardis_csv"
    book = read(folder / "binance-futures_book_snapshot_5_BTCUSDT.csv")[0][0].frame
    levels = book.filter(pl.col("row") == 2).select("side", "price", "qty").rows()
    assert levels[2:4] == [(1, Decimal("11657.07"), Decimal("10.896")), (1, Decimal("11656.97"), Decimal("0.2"))]
    assert levels[-1] == (-1, Decimal("11657.92"), Decimal("0.918"))
    trade = read(folder / "bitmex_trades_XBTUSD.csv")[0][0].frame.row(0)
    assert trade == (1583020803145000000, 1583020803307160000, TRADE, -1, Decimal("8531.5"), 2152, 0, 2)
    quote = read(folder / "huobi-dm-swap_quotes_BTC-USD.csv")[0][0].frame.row(0, named=True)
    assert (quote["bid_price"], quote["bid_qty"]) == (Decimal("8629.2"), 806)
    assert (quote["ask_price"], quote["ask_qty"]) == (Decimal("8629.3"), 5494)
