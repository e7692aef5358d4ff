import datetime as dt
import gzip
from types import SimpleNamespace

import databento_dbn as dbn
import numpy as np
import polars as pl
import pytest
import zstandard

from market_maker.domain.errors import DataError
from market_maker.market_data.book import Book, kernel
from market_maker.market_data.importers import Notes, ReadOptions, databento
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

TRADE, CLEAR, SNAPSHOT, PRINT = EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.PRINT
ADD, CANCEL, MODIFY, DEPTH = EventKind.ADD, EventKind.CANCEL, EventKind.MODIFY, EventKind.DEPTH
T = 1_703_462_400_000_000_000  # 2023-12-25 00:00 UTC
DAY = dt.date(2023, 12, 25)
LAST, SNAP = 128, 32
ACTIONS = dict(zip("ACMRTFN", (dbn.Action.ADD, dbn.Action.CANCEL, dbn.Action.MODIFY, dbn.Action.CLEAR, dbn.Action.TRADE,
                               dbn.Action.FILL, dbn.Action.NONE), strict=True))  # fmt: skip
SIDES = {"B": dbn.Side.BID, "A": dbn.Side.ASK, "N": dbn.Side.NONE}
UNDEFINED = 2**63 - 1


def mapping(symbol, number, since=DAY, days=1):
    interval = SimpleNamespace(start_date=since, end_date=since + dt.timedelta(days), symbol=str(number))
    return SimpleNamespace(raw_symbol=symbol, intervals=[interval])


def metadata(schema, version=3, mappings=None, ts_out=False):
    return dbn.Metadata(
        "GLBX.MDP3", T, dbn.SType.RAW_SYMBOL, dbn.SType.INSTRUMENT_ID, schema and dbn.Schema.from_str(schema), [], [], [],
        [mapping("ESH4", 7)] if mappings is None else mappings, ts_out=ts_out, version=version,
    ).encode()  # fmt: skip


def order(at, action, side, price=100, size=1, order_id=1, flags=LAST, instrument=7, publisher=1, recv=None):
    """Return an mbo record as the library writes it: sent at T + `at`, received 10 ns later; price in whole units."""
    px = price if price == UNDEFINED else price * 10**9
    return dbn.MBOMsg(publisher, instrument, T + at, order_id, px, size, ACTIONS[action], SIDES[side],
                      T + at + 10 if recv is None else recv, flags=flags, sequence=max(at, 0) % 2**32)  # fmt: skip


def quote(at, action, side, levels, price=100, size=1, flags=LAST, kind=dbn.MBP1Msg):
    pairs = [
        dbn.BidAskPair(bid * 10**9 if n else UNDEFINED, ask * 10**9 if m else UNDEFINED, n, m)
        for bid, n, ask, m in levels
    ]
    return kind(1, 7, T + at, price * 10**9, size, ACTIONS[action], SIDES[side], 0, T + at + 10, flags=flags, sequence=at,
                levels=pairs[0] if kind is dbn.MBP1Msg else pairs)  # fmt: skip


def write(tmp_path, schema, records, name="f.dbn", compress=lambda data: data, **more):
    path = tmp_path / name
    path.write_bytes(compress(metadata(schema, **more) + b"".join(map(bytes, records))))
    return path


def read(path, **options):
    notes = Notes()
    batches = list(databento.read(Source(path), ReadOptions(**options), notes))
    return batches, notes


def table(batches, name, symbol="ESH4"):
    return pl.concat([b.frame for b in batches if (b.stream.table, b.stream.symbol) == (name, symbol)])


ORDERS = [
    order(-900, "A", "B", 99, 5, 1, flags=SNAP | 8, recv=T),
    order(-800, "A", "A", 101, 4, 2, flags=SNAP | 8, recv=T),
    order(1, "A", "B", 98, 3, 3),
    order(2, "T", "B", 101, 2, 0, flags=0),
    order(2, "F", "A", 101, 2, 2, flags=0),
    order(2, "M", "A", 101, 2, 2),
    order(3, "T", "N", 100, 44, 0, flags=0),
    order(3, "C", "B", 99, 5, 1, flags=0),
    order(3, "F", "N", 100, 44, 0),  # the end of a message is in a row that becomes none
    order(4, "R", "N", UNDEFINED, 0, 0),
    order(5, "A", "B", 97, 1, 9),
]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "compress", [lambda data: data, zstandard.ZstdCompressor().compress, gzip.compress], ids=["plain", "zst", "gz"]
)
def test_orders(tmp_path, version, compress):
    path = write(tmp_path, "mbo", ORDERS, version=version, compress=compress)
    assert databento.recognises(Source(path))
    batches, notes = read(path)
    assert {(b.stream.venue, b.stream.symbol, b.stream.table) for b in batches} == {("glbx-mdp3", "ESH4", "orders")}
    assert {(b.price_unit * 10**9, b.qty_unit) for b in batches} == {(1, 1)}
    frame = table(batches, "orders")
    assert tuple(frame.columns) == RAW_COLUMNS["orders"]
    found = frame.with_columns(pl.col("price") // 10**9, pl.col("local_ts") - T, exch=pl.col("exch_ts") - T)
    found = found.select("exch", "local_ts", "kind", "side", "price", "qty", "order_id", "last", "row")
    assert found.rows() == [
        (-T, 0, CLEAR, 1, 0, 0, 0, False, 1),
        (-T, 0, CLEAR, -1, 0, 0, 0, False, 1),
        (-T, 0, SNAPSHOT, 1, 99, 5, 1, False, 1),
        (-T, 0, SNAPSHOT, -1, 101, 4, 2, True, 2),
        (1, 11, ADD, 1, 98, 3, 3, True, 3),
        (2, 12, TRADE, 1, 101, 2, 0, False, 4),
        (2, 12, MODIFY, -1, 101, 2, 2, True, 6),
        (3, 13, PRINT, 0, 100, 44, 0, False, 7),
        (3, 13, CANCEL, 1, 99, 5, 1, True, 8),
        (4, 14, CLEAR, 1, 0, 0, 0, False, 10),
        (4, 14, CLEAR, -1, 0, 0, 0, False, 10),
        (4, 14, SNAPSHOT, 1, 0, 0, 0, True, 10),
        (5, 15, ADD, 1, 97, 1, 9, True, 11),
    ]
    assert notes.counts == {
        "ESH4": {
            "records": 11, "snapshot_records": 2, "trades": 1, "prints_without_aggressor": 1, "clears": 2,
            "fills_told_by_their_cancels": 2,
        }
    }  # fmt: skip
    assert notes.warnings == []


def test_ten_levels_that_begin_without_any(tmp_path):
    records = [
        quote(1, "R", "N", [(0, 0, 0, 0)] * 10, kind=dbn.MBP10Msg),
        quote(2, "A", "B", [(9, 1, 0, 0)] * 1 + [(0, 0, 0, 0)] * 9, kind=dbn.MBP10Msg),
    ]
    frame = table(read(write(tmp_path, "mbp-10", records))[0], "book")
    assert frame.select("kind", "side", "price", "qty", "last").rows() == [
        (CLEAR, 1, 0, 0, False), (CLEAR, -1, 0, 0, False), (SNAPSHOT, 1, 0, 0, True), (DEPTH, 1, 9 * 10**9, 1, True),
    ]  # fmt: skip


def test_a_snapshot_that_begins_with_a_clear_is_cleared_once(tmp_path):
    records = [
        order(0, "R", "N", UNDEFINED, 0, 0, flags=SNAP),
        order(0, "A", "B", flags=SNAP),
        order(1, "A", "A", 101, 1, 2),
    ]
    batches, _ = read(write(tmp_path, "mbo", records))
    frame = table(batches, "orders")
    assert frame["kind"].to_list() == [CLEAR, CLEAR, SNAPSHOT, ADD]
    assert frame["last"].to_list() == [False, False, True, True]


def test_messages_over_the_edge_of_a_block_are_one(tmp_path, monkeypatch):
    whole, _ = read(write(tmp_path, "mbo", ORDERS))
    monkeypatch.setattr(databento, "BLOCK_BYTES", 100)
    pieces, notes = read(write(tmp_path, "mbo", ORDERS))
    assert len(pieces) > 3
    assert table(pieces, "orders").equals(table(whole, "orders"))
    assert notes.counts["ESH4"]["records"] == 11


def test_a_message_without_end_never_makes_the_book_whole(tmp_path):
    batches, notes = read(write(tmp_path, "mbo", [order(1, "A", "B"), order(2, "A", "A", 101, flags=0)]))
    assert table(batches, "orders")["last"].to_list() == [True, False]
    assert notes.counts["ESH4"]["unfinished_messages"] == 1


def test_instruments_publishers_and_names_that_change_by_day(tmp_path):
    names = [mapping("A", 7), mapping("B", 7, DAY + dt.timedelta(1)), mapping("C D", 8)]
    day = 86_400 * 10**9
    records = [
        order(1, "A", "B", order_id=1), order(2, "A", "B", order_id=2, instrument=8),
        order(3, "A", "B", order_id=3, publisher=2), order(4, "A", "B", order_id=4, instrument=9),
        order(day, "A", "B", order_id=5),
    ]  # fmt: skip
    path = write(tmp_path, "mbo", records, mappings=names)
    batches, notes = read(path)
    found = {b.stream.symbol: b.frame["order_id"].to_list() for b in batches}
    assert found == {"A": [1], "C-D": [2], "A.p2": [3], "9": [4], "B": [5]}
    assert notes.warnings == [
        "f.dbn: A comes from several publishers; that of number 2 is A.p2",
        "f.dbn: it names no symbol for 1 instruments (9), which keep their numbers as names",
    ]
    batches, _ = read(path, symbols=("B", "C D"), venue="x")
    assert {(b.stream.venue, b.stream.symbol) for b in batches} == {("x", "B"), ("x", "C-D")}
    with pytest.raises(DataError, match="a second symbol, 'B', but one name was given"):
        read(path, symbol="X")
    with pytest.raises(DataError, match=r"no record of mbo, .* of Q in it"):
        read(path, symbols=("Q",))


def test_symbols_told_by_records_and_records_of_other_types(tmp_path):
    told = dbn.SymbolMappingMsg(1, 7, T, dbn.SType.RAW_SYMBOL, "ESH4", dbn.SType.RAW_SYMBOL, "ESH4", T, T)
    records = [told, order(1, "A", "B"), dbn.SystemMsg(T, "heartbeat"), order(2, "A", "A", 101, 1, 2)]
    for version in (2, 3):
        batches, notes = read(write(tmp_path, None, records, mappings=[], version=version))
        assert table(batches, "orders")["row"].to_list() == [2, 4]
        assert notes.counts[""] == {"skipped_records_of_type_22": 1, "skipped_records_of_type_23": 1}


def test_records_with_a_sending_time(tmp_path):
    records = [bytes(order(at, "A", "B", order_id=at)) for at in (1, 2, 3)]
    records = [bytes([record[0] + 2]) + record[1:] + (T + 50).to_bytes(8, "little") for record in records]
    batches, _ = read(write(tmp_path, "mbo", records, ts_out=True))
    assert table(batches, "orders")["order_id"].to_list() == [1, 2, 3]


def test_level_one_becomes_quotes_and_trades(tmp_path):
    records = [
        quote(1, "A", "B", [(99, 5, 101, 6)]),
        quote(2, "T", "A", [(99, 5, 101, 6)], price=99, size=2, flags=0),
        quote(2, "M", "B", [(99, 4, 101, 6)], flags=0),  # inside a message
        quote(2, "C", "B", [(99, 3, 101, 6)]),
        quote(3, "C", "A", [(99, 3, 0, 0)]),
    ]
    path = write(tmp_path, "mbp-1", records)
    batches, notes = read(path)
    quotes = table(batches, "bbo")
    assert tuple(quotes.columns) == RAW_COLUMNS["bbo"]
    assert quotes.select(pl.exclude("exch_ts", "local_ts")).rows() == [
        (99 * 10**9, 5, 101 * 10**9, 6, 1, 1),
        (99 * 10**9, 3, 101 * 10**9, 6, 2, 4),
        (99 * 10**9, 3, 0, 0, 3, 5),
    ]
    trades = table(batches, "trades")
    assert tuple(trades.columns) == RAW_COLUMNS["trades"]
    assert trades.rows() == [(T + 2, T + 12, TRADE, -1, 99 * 10**9, 2, 2, 2)]
    assert notes.counts["ESH4"]["states_inside_messages"] == 1
    batches, _ = read(write(tmp_path, "tbbo", [records[1]]))
    assert (table(batches, "bbo").height, table(batches, "trades").height) == (1, 1)


def test_trades(tmp_path):
    records = [
        dbn.TradeMsg(1, 7, T + i, 10**9, 5 + i, dbn.Action.TRADE, side, 0, T + i + 1, sequence=i)
        for i, side in enumerate((dbn.Side.BID, dbn.Side.ASK, dbn.Side.NONE))
    ]
    batches, notes = read(write(tmp_path, "trades", records))
    assert table(batches, "trades").select("kind", "side", "qty", "sequence").rows() == [
        (TRADE, 1, 5, 0), (TRADE, -1, 6, 1), (PRINT, 0, 7, 2),
    ]  # fmt: skip
    assert notes.counts["ESH4"] == {"records": 3, "trades": 2, "prints_without_aggressor": 1}


@pytest.mark.parametrize(("rtype", "interval"), [(0x20, 1), (0x21, 60), (0x22, 3600), (0x23, 86400)])
def test_bars(tmp_path, rtype, interval):
    record = dbn.OHLCVMsg(dbn.RType.from_int(rtype), 1, 7, T, 10**9, 3 * 10**9, 10**8, 2 * 10**9, 2**40)
    batches, _ = read(write(tmp_path, None, [record]))
    frame = table(batches, f"bars_{interval}s")
    assert tuple(frame.columns) == RAW_COLUMNS["bars"]
    assert frame.rows() == [(T, 10**9, 3 * 10**9, 10**8, 2 * 10**9, 2**40, -1, 1)]
    assert batches[0].qty_unit is None


def test_ten_levels_become_a_book(tmp_path, rng, monkeypatch):
    """Random ladders: the book built from the changes shows each record's levels, and nothing else."""
    ladders, records = [], []
    for i in range(300):
        bids = sorted(rng.choice(30, int(rng.integers(0, 11)), replace=False) + 50, reverse=True)
        asks = sorted(rng.choice(30, int(rng.integers(0, 11)), replace=False) + 90)
        ladder = [[(int(price), int(rng.integers(1, 4))) for price in side] for side in (bids, asks)]
        ladders.append(ladder)
        padded = [[*side, *[(0, 0)] * (10 - len(side))] for side in ladder]
        levels = [(*bid, *ask) for bid, ask in zip(*padded, strict=True)]
        records.append(
            quote(i + 1, "T" if i % 5 == 4 else "A", "B", levels, kind=dbn.MBP10Msg, flags=LAST * (i % 3 != 1))
        )
    monkeypatch.setattr(databento, "BLOCK_BYTES", 10_000)
    batches, notes = read(write(tmp_path, "mbp-10", records))
    frame = table(batches, "book")
    assert tuple(frame.columns) == RAW_COLUMNS["book"]
    assert frame["kind"].to_list()[:2] == [CLEAR, CLEAR]
    assert set(frame.filter(pl.col("row") > 1)["kind"].unique()) == {DEPTH, TRADE}
    assert frame.filter(pl.col("kind") == TRADE).height == notes.counts["ESH4"]["trades"] == 60
    book = Book(by_order=False)
    for (row,), part in frame.group_by("row", maintain_order=True):
        book.apply(part.rename({"price": "price_ticks", "qty": "qty_lots"}))
        found = [[(price // 10**9, size) for price, size in book.levels(side)] for side in (1, -1)]
        assert found == ladders[row - 1], row
        assert part["last"].to_list()[-1] == (row % 3 != 2)


BAD = {
    "undefined price": (
        order(1, "A", "B", UNDEFINED),
        "row 2, column price: 9223372036854775807 is the undefined price",
    ),
    "undefined size": (order(1, "C", "B", size=2**32 - 1), "row 2, column size: 4294967295 is the undefined size"),
    "no side": (order(1, "M", "N"), "row 2, column side: 'N' is no side of the book"),
    "no receive time": (order(1, "A", "B", recv=2**64 - 1), "row 2, column ts_recv: 18446744073709551615 is no time"),
    "large id": (order(1, "A", "B", order_id=2**63), "row 2, column order_id: 9223372036854775808 does not fit"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_record_is_refused(tmp_path, case):
    record, error = BAD[case]
    with pytest.raises(DataError, match=f"^f.dbn, {error}"):
        read(write(tmp_path, "mbo", [order(0, "A", "B"), record]))


def test_wrong_letters_and_lengths_are_refused(tmp_path):
    good = bytes(order(0, "A", "B"))
    for at, value, error in (
        (38, b"Q", "column action: 'Q' is none of A, C, M, R, T, F, N"), (39, b"?", r"column side: '\?' is none of A, B, N"),
        (0, b"\x0f", "a record of type 160 and 60 bytes"), (0, b"\x00", "a record of type 160 and 0 bytes"),
    ):  # fmt: skip
        bad = good[:at] + value + good[at + 1 :]
        with pytest.raises(DataError, match=f"row 3.*{error}"):
            read(write(tmp_path, "mbo", [good, good, bad]))


def test_files_that_are_cut_or_of_another_version_are_refused(tmp_path):
    good = [order(0, "A", "B")] * 2
    path = write(tmp_path, "mbo", good)
    data = path.read_bytes()
    for cut, error in ((data[:-3], "row 2: the file ends inside this record, 53 bytes after"),
                       (data[:60], "its metadata cannot be decoded"), (data[:8], "its metadata cannot be decoded"),
                       (data[: -2 * 56], "no record of mbo, .*its schema: mbo"),
                       (b"DBN\x04" + data[4:], "DBN version 4 is not known; versions 1 to 3 are"),
                       (data[:4] + b"\xff\xff\xff\x7f" + data[8:], "its metadata would have 2147483647 bytes")):  # fmt: skip
        path.write_bytes(cut)
        assert databento.recognises(Source(path))
        with pytest.raises(DataError, match=error):
            read(path)
    compressed = zstandard.ZstdCompressor().compress(bytes(range(256)) * 100)
    path.write_bytes(compressed)
    assert not databento.recognises(Source(path))
    path.write_bytes(b"DBN")
    assert not databento.recognises(Source(path))


def test_a_schema_without_market_events_is_refused(tmp_path):
    record = dbn.StatMsg(1, 7, T, T, T, 1, 1, dbn.StatType.OPENING_PRICE)
    with pytest.raises(DataError, match=r"no record of mbo, .* in it \(its schema: statistics\)"):
        read(write(tmp_path, "statistics", [record]))


def test_the_futures_orders_of_the_sample(sample_data):
    path = sample_data / "databento" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst"
    batches, notes = read(path)
    frame = table(batches, "orders")
    counts = notes.counts["ESH4"]
    assert (counts["records"], counts["snapshot_records"], counts["fills_told_by_their_cancels"]) == (
        68_792,
        8_725,
        6_371,
    )
    assert (counts["trades"], counts["prints_without_aggressor"], counts["receive_time_reversals"]) == (2_972, 1, 0)
    prints = frame.filter(pl.col("kind").is_in([TRADE, PRINT]))
    assert (prints.height, prints["qty"].sum()) == (2_973, 9_892)
    auction = prints.filter(pl.col("side") == 0)
    assert auction.select("price", "qty").rows() == [(4_800_250_000_000, 44)]
    assert int((frame["price"] % 250_000_000 != 0).sum()) == 0
    assert frame["local_ts"].is_sorted()
    assert (frame["exch_ts"] == 0).sum() == 8_725 + 2
    assert frame["last"].sum() == 47_022 + 1  # the snapshot's end has no flag

    ticks = frame.with_columns(price_ticks=pl.col("price") // 250_000_000, qty_lots="qty")
    book = Book(by_order=True)
    applied = book.apply(ticks)
    assert (book.unknown_orders, book.duplicate_adds) == (0, 0)
    crossed = frame["exch_ts"].to_numpy()[applied.states == kernel.CROSSED]
    assert len(crossed) == 891
    minutes = (crossed - T) / 60e9
    assert minutes.min() > 22 * 60 + 39 and minutes.max() < 23 * 60


def test_the_records_of_the_sample_are_those_of_the_library(sample_data):
    """Every field used, of every file, against the objects that the library decodes."""
    for path in sorted((sample_data / "databento").glob("*.dbn.zst")):
        data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
        decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.AS_IS)
        decoder.write(data)
        objects = [item for item in decoder.decode() if not isinstance(item, dbn.Metadata)][:3000]
        dtype = databento.DTYPES[data[9 + int.from_bytes(data[4:8], "little")]]
        start = 8 + int.from_bytes(data[4:8], "little")
        records = np.frombuffer(data, dtype, len(objects), start)
        for name in dtype.names:
            if name in {"length", "rtype", "levels"}:
                continue
            expected = [getattr(item, name) for item in objects]
            if name in {"action", "side"}:
                expected = [ord(str(letter)) for letter in expected]
            assert records[name].tolist() == [int(value) for value in expected], (path.name, name)
        if "levels" in dtype.names:
            best = [
                (item.levels[0].bid_px, item.levels[0].ask_px, item.levels[0].bid_sz, item.levels[0].ask_sz)
                for item in objects
            ]
            assert [row.tolist()[0][:4] for row in records["levels"]] == best


def test_the_other_files_of_the_sample(sample_data):
    folder = sample_data / "databento"
    batches, _ = read(next(folder.glob("futures_mbp-1*")))
    quotes = table(batches, "bbo", "ESU4")
    spread = (quotes["ask_price"] - quotes["bid_price"]) // 250_000_000
    assert (quotes.height, table(batches, "trades", "ESU4").height) == (2_168, 120)
    assert sorted(spread.unique()) == [1, 2]
    batches, _ = read(next(folder.glob("futures_trades*")))
    assert table(batches, "trades", "ESU4").height == 120
    batches, _ = read(next(folder.glob("futures_ohlcv*")))
    assert {b.stream.symbol: b.frame.height for b in batches} == {"ESU4": 30, "NQU4": 30}
    batches, _ = read(folder / "esh4-glbx-mdp3-20231224.mbo.dbn.zst")
    frame = table(batches, "orders")
    assert (frame.height, frame["last"].sum(), frame["last"][-1]) == (8_727, 1, True)
