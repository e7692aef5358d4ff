import io
import zipfile
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.importers import Notes, ReadOptions, hftbacktest
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

DEPTH, TRADE, CLEAR, SNAPSHOT = EventKind.DEPTH, EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT
EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
BOTH = EXCH | LOCAL
T = 1_723_161_255_000_000_000
EVENT = np.dtype(
    [("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"), ("order_id", "<u8"),
     ("ival", "<i8"), ("fval", "<f8")],
    align=True,
)  # fmt: skip


def events(*rows):
    """Return (flags, local time after T, price, quantity) as an array of events that happened 10 ns before."""
    return np.array([(ev, T + t - 10, T + t, px, qty, 0, 0, 0.0) for ev, t, px, qty in rows], EVENT)


def write(tmp_path, array, name="btcusdt_20240808.npz", **others):
    path = tmp_path / name
    np.savez_compressed(path, data=array, **others)
    return path


def read(path, venue="binance-usdm", **options):
    notes = Notes()
    batches = list(hftbacktest.read(Source(path), ReadOptions(venue=venue, **options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS[batch.stream.table]
        assert (batch.stream.venue, batch.stream.symbol) == (venue, options.get("symbol", "BTCUSDT"))
    return batches, notes


def rows_of(batches, table):
    """Return times after T, and prices and quantities as decimals."""
    frames = []
    for batch in batches:
        if batch.stream.table == table:
            columns = [name for name in batch.frame.columns if name.endswith(("price", "qty"))]
            units = {name: batch.price_unit if name.endswith("price") else batch.qty_unit for name in columns}
            frames.append(batch.frame.with_columns(
                pl.Series(name, [value * unit for value in batch.frame[name].to_list()], pl.Decimal(38, 18))
                for name, unit in units.items()
            ))  # fmt: skip
    return pl.concat(frames).with_columns(pl.col("exch_ts", "local_ts") - T)


GOOD = events(
    (2 | BOTH | BUY, 0, 60000.5, 1.0),
    (3 | BOTH | BUY, 10, 59000.0, 0.0),
    (4 | BOTH | BUY, 10, 60000.1, 0.25),
    (3 | BOTH | SELL, 10, 61000.0, 0.0),
    (4 | BOTH | SELL, 10, 60000.2, 3.0),
    (1 | LOCAL | BUY, 20, 60000.1, 0.0),
    (1 | BOTH | BUY, 20, 60000.0, 0.001),
    (1 | EXCH | BUY, 15, 60000.1, 0.0),  # the first of the two again, for the other clock
    (2 | BOTH | SELL, 30, 60000.0, 0.001),
    (2 | BOTH, 30, 60000.0, 0.002),  # nobody knows whose
)
GOOD_ROWS = [
    (-10, 0, TRADE, 1, Decimal("60000.5"), 1, True, 1),
    (0, 10, CLEAR, 1, 0, 0, False, 2),
    (0, 10, SNAPSHOT, 1, Decimal("60000.1"), Decimal("0.25"), False, 3),
    (0, 10, CLEAR, -1, 0, 0, False, 4),
    (0, 10, SNAPSHOT, -1, Decimal("60000.2"), 3, True, 5),
    (10, 20, DEPTH, 1, Decimal("60000.1"), 0, False, 6),
    (10, 20, DEPTH, 1, 60000, Decimal("0.001"), True, 7),
    (20, 30, TRADE, -1, 60000, Decimal("0.001"), False, 9),
    (20, 30, TRADE, 0, 60000, Decimal("0.002"), True, 10),
]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_of_the_local_clock_become_a_book_with_its_trades(tmp_path, monkeypatch, size):
    monkeypatch.setattr(hftbacktest, "BLOCK_BYTES", size * EVENT.itemsize)
    path = write(tmp_path, GOOD)
    assert hftbacktest.recognises(Source(path))
    batches, notes = read(path)
    rows = rows_of(batches, "book")
    assert {batch.stream.table for batch in batches} == {"book"}
    assert rows["sequence"].to_list() == [0] * 9
    assert rows.drop("sequence").rows() == GOOD_ROWS
    assert notes.counts == {"BTCUSDT": {
        "depth": 2, "trades": 3, "clears": 2, "snapshot_levels": 2, "skipped_rows_of_the_exchange_clock": 1,
    }}  # fmt: skip
    assert notes.warnings == []


def test_a_plain_array_and_one_with_metadata_beside_it(tmp_path):
    path = tmp_path / "BTCUSDT-2024-08-08.npy"
    np.save(path, GOOD)
    assert hftbacktest.recognises(Source(path))
    assert rows_of(read(path)[0], "book").drop("sequence").rows() == GOOD_ROWS
    path = write(tmp_path, GOOD, "mine.npz", note=np.array([1, 2]))
    assert hftbacktest.recognises(Source(path))
    assert len(read(path, symbol="X")[0]) == 1


@pytest.mark.parametrize("held", [2, 1000])
def test_trades_alone_are_trades_and_without_times_of_the_exchange_too(tmp_path, monkeypatch, held):
    monkeypatch.setattr(hftbacktest, "BLOCK_BYTES", 2 * EVENT.itemsize)
    monkeypatch.setattr(hftbacktest, "HELD_ROWS", held)
    array = events(*((2 | BOTH | BUY, i, 10.0 + 0.01 * 0, 1.0) for i in range(5)))
    array["exch_ts"][3] = -1
    batches, _ = read(write(tmp_path, array))
    rows = rows_of(batches, "trades")
    assert rows["exch_ts"].to_list() == [-10, -9, -8, -T, -6]
    assert rows["row"].to_list() == [1, 2, 3, 4, 5]


def test_a_clear_of_no_side_clears_both(tmp_path):
    array = events((3 | BOTH, 1, np.nan, np.nan), (4 | BOTH | BUY, 1, 1.0, 1.0), (3 | BOTH | SELL, 2, 1.0, 1.0))
    rows = rows_of(read(write(tmp_path, array))[0], "book")
    assert rows.select("local_ts", "kind", "side", "last", "row").rows() == [
        (1, CLEAR, 1, False, 1), (1, CLEAR, -1, False, 1), (1, SNAPSHOT, 1, True, 2), (2, CLEAR, -1, True, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [2, 1000])
def test_best_quotes_are_put_together_from_sides(tmp_path, monkeypatch, size):
    monkeypatch.setattr(hftbacktest, "BLOCK_BYTES", size * EVENT.itemsize)
    array = events(
        (5 | BOTH | BUY, 1, 10.0, 1.5), (5 | BOTH | SELL, 2, 10.5, 2.0),
        (5 | BOTH | BUY, 3, 10.25, 1.0), (5 | BOTH | SELL, 3, 10.75, 4.0),
        (5 | EXCH | SELL, 4, 99.0, 4.0), (2 | BOTH | SELL, 4, 10.25, 1.0),
    )  # fmt: skip
    batches, notes = read(write(tmp_path, array))
    rows = rows_of(batches, "bbo").drop("exch_ts", "sequence").rows()
    a, b = Decimal("10.25"), Decimal("10.75")
    assert rows == [
        (1, 10, Decimal("1.5"), 0, 0, 1),
        (2, 10, Decimal("1.5"), Decimal("10.5"), 2, 2),
        (3, a, 1, b, 4, 4),
    ]
    assert notes.counts["BTCUSDT"]["best_quotes"] == 4
    assert rows_of(batches, "trades").height == 1


@pytest.mark.parametrize(
    ("text", "digits"), [("60000.1", 1), ("0.00002853", 8), ("0.1", 1), ("4801.25", 2), ("90071992.547409", 6), ("5", 0),
                         ("0.000000000000001", 15), ("123456789.012345", 6), ("1e15", 0)]
)  # fmt: skip
def test_floats_become_the_decimals_they_were_made_from(tmp_path, text, digits):
    array = events((2 | BOTH | BUY, 0, float(text), 1.0))
    batch = read(write(tmp_path, array))[0][0]
    assert batch.price_unit == Decimal(1).scaleb(-digits)
    assert batch.frame["price"][0] * batch.price_unit == Decimal(text)


def test_every_price_of_a_grid_is_exact_also_where_batches_need_finer_units(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(hftbacktest, "BLOCK_BYTES", 100 * EVENT.itemsize)
    whole = rng.integers(1, 10**9, 1000)
    texts = [f"{value / 10:.1f}" if i < 500 else f"{value // 1000}.{value % 1000:03}" for i, value in enumerate(whole)]
    array = events(*((2 | BOTH | BUY, i, float(text), 1.0) for i, text in enumerate(texts)))
    batches = read(write(tmp_path, array))[0]
    assert batches[0].price_unit == Decimal("0.1")
    assert batches[-1].price_unit == Decimal("0.001")
    assert rows_of(batches, "trades")["price"].to_list() == [Decimal(text) for text in texts]


def test_a_float_beside_that_of_a_decimal_is_counted_and_told(tmp_path):
    array = events((2 | BOTH, 0, 0.1 * 3, 1.0), (2 | BOTH, 0, 0.7, 1.0))  # 0.30000000000000004
    batches, notes = read(write(tmp_path, array))
    assert rows_of(batches, "trades")["price"].to_list() == [Decimal("0.3"), Decimal("0.7")]
    assert notes.counts["BTCUSDT"]["prices_beside_a_decimal"] == 1
    assert "1 prices are floats beside that of a decimal" in notes.warnings[0]
    assert "1 digits after the point" in notes.warnings[0]


BAD = {
    "calculated price": (events((2 | BOTH, 0, 1.5, 1.0), (2 | BOTH, 0, 0.2 / 3, 1.0)),
                         r"row 2, column px: 0\.06666666666666667 is the float of no decimal"),
    "calculated quantity": (events((2 | BOTH, 0, 1.5, 1 / 3)), "row 1, column qty: 0.3333333333333333 is the float of no"),
    "nan": (events((1 | BOTH | BUY, 0, 1.0, 1.0), (1 | BOTH | BUY, 0, np.nan, 1.0)), "row 2, column px: nan is no number"),
    "infinity": (events((1 | BOTH | BUY, 0, 1.0, np.inf)), "row 1, column qty: inf is no number"),
    "negative": (events((2 | BOTH | BUY, 0, -1.0, 1.0)), r"row 1, column px: -1\.0 is no number from 0 on"),
    "too large": (events((2 | BOTH | BUY, 0, 1e30, 1.0)), "row 1, column px: 1e.30 is the float of no"),
    "absurd": (events((2 | BOTH | BUY, 0, 1e308, 1.0)), "row 1, column px: 1e.308 is the float of no"),
    "large beside small": (events((2 | BOTH, 0, 1e14, 1.0), (2 | BOTH, 0, 1e-10, 1.0)), r"column px: 1.* has no room for"),
    "no side": (events((2 | BOTH, 0, 1.0, 1.0), (1 | BOTH, 0, 1.0, 1.0)), "row 2, column ev: an event of a book without a"),
    "no side of a quote": (events((5 | BOTH, 0, 1.0, 1.0)), "row 1, column ev: an event of a book without a"),
    "both sides": (events((1 | BOTH | BUY | SELL, 0, 1.0, 1.0)), "row 1, column ev: an event of both sides"),
    "orders": (events((2 | BOTH | BUY, 0, 1.0, 1.0), (10 | BOTH | BUY, 0, 1.0, 1.0)), "row 2, column ev: .* single orders"),
    "no time": (events((4 | BOTH | BUY, -T, 1.0, 1.0)), "row 1, column local_ts: .* without a time, as in a snapshot"),
    "mixed times": (events((2 | BOTH, 0, 1.0, 1.0), (2 | BOTH, T // 1000 - T, 1.0, 1.0)), "row 2, column exch_ts: .* in ns"),
    "version 1": (np.zeros((3, 6)), r"hftbacktest 1\.x .*migration2"),
    "other array": (np.zeros(3), "an array of float64 has no fields ev"),
    "text": (np.array([("a", 1, 1, 1.0, 1.0)], [("ev", "U1"), *EVENT.descr[1:5]]), "column ev: is of type <U1; <u8 is needed"),
    "float times": (np.zeros(3, [("ev", "<u8"), ("exch_ts", "<f8"), *EVENT.descr[2:5]]), "column exch_ts: is of type <f8"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_refused_with_its_place(tmp_path, case):
    array, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, array))
    assert caught.value.detail.startswith("btcusdt_20240808.npz")


def npy(count, data):
    """Return an array file that states `count` events."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": EVENT.descr, "fortran_order": False, "shape": (count,)})
    return stream.getvalue() + data


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (11, "row 11: the file is cut off here: it states 11 events"),
        (10**15, "it states 1000000000000000 events, more than a file of"),
        (9, "row 9: the file goes on after the 9 events"),
    ],
)
def test_a_header_is_not_believed(tmp_path, count, message):
    path = tmp_path / "btcusdt_20240808.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", npy(count, GOOD.tobytes()))
    with pytest.raises(DataError, match=message):
        read(path)


def test_objects_are_never_unpickled_and_damage_is_told(tmp_path):
    path = tmp_path / "btcusdt_20240808.npz"
    np.savez(path, data=np.array([object, print], dtype=object))
    assert not hftbacktest.recognises(Source(path))
    with pytest.raises(DataError, match="an array of object has no fields"):
        read(path)
    whole = write(tmp_path, np.concatenate([GOOD] * 50)).read_bytes()
    damaged = bytearray(whole)
    damaged[200] ^= 255
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"damaged|cut off|no array"):
        read(path)
    path.write_bytes(whole[:-200])
    with pytest.raises(DataError, match="archive is damaged"):
        read(path)


def test_what_the_array_does_not_say_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="events of BTCUSDT do not say their venue"):
        read(write(tmp_path, GOOD), venue=None)
    with pytest.raises(DataError, match="nothing says the symbol"):
        read(write(tmp_path, GOOD, "data.npz"))
    assert read(write(tmp_path, GOOD[:0]))[0] == []


def test_rows_of_the_exchange_alone_and_updates_without_a_snapshot_are_told(tmp_path):
    batches, notes = read(
        write(tmp_path, events((1 | EXCH | BUY, 0, 1.0, 1.0), (1 | BUY, 0, 1.0, 1.0), (99 | BOTH, 0, 1, 1)))
    )
    assert batches == []
    assert notes.counts["BTCUSDT"] == {
        "skipped_rows_of_the_exchange_clock": 1, "skipped_rows_of_no_clock": 1, "skipped_other_events": 1,
    }  # fmt: skip
    assert "valid for the exchange's clock only" in notes.warnings[0]
    _, notes = read(write(tmp_path, events((1 | BOTH | BUY, 0, 1.0, 1.0))))
    assert "no snapshot of BTCUSDT" in notes.warnings[0]


def test_other_files_are_not_recognised(tmp_path):
    for name, content in (("a.npy", b"\x93NUMPY\x01\x00"), ("b.csv", b"ev,exch_ts\n"), ("c.npz", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        assert not hftbacktest.recognises(Source(path))
    assert not hftbacktest.recognises(Source(write(tmp_path, np.zeros(4))))
    assert hftbacktest.recognises(Source(write(tmp_path, np.zeros((4, 6)))))
