import zipfile
from bisect import bisect_left, insort
from collections import defaultdict

import numpy as np
import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.book import Book
from market_maker.market_data.importers import Notes, ReadOptions, lobster
from market_maker.market_data.importers.lobster import kernel
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

TRADE, CLEAR, SNAPSHOT, PRINT = EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.PRINT
ADD, CANCEL, MODIFY, FILL = EventKind.ADD, EventKind.CANCEL, EventKind.MODIFY, EventKind.FILL
ASK, BID = 9_999_999_999, -9_999_999_999
NS = 1_000_000_000
MIDNIGHT = 1_340_251_200 * NS  # 2012-06-21 00:00 in New York is 04:00 UTC
GOOG, AAPL = "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip", "LOBSTER_SampleFile_AAPL_2012-06-21_1.zip"


def anonymous(price, side):
    return kernel.ANONYMOUS + 2 * price + (side < 0)


def write(tmp_path, messages, book, depth=2, day="2012-06-21", name="day.zip"):
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        for what, rows in (("message", messages), ("orderbook", book)):
            text = "".join(",".join(map(str, row)) + "\n" for row in rows)
            archive.writestr(f"XYZ_{day}_34200000_57600000_{what}_{depth}.csv", text)
        archive.writestr("LOBSTER_SampleFiles_ReadMe.txt", "words")
    return path


def read(path, **options):
    notes = Notes()
    batches = list(lobster.read(Source(path), ReadOptions(**options), notes))
    return batches, notes


def frame_of(batches):
    return pl.concat([batch.frame for batch in batches])


GOOD_MESSAGES = [
    ("34200.015105074", 1, 11, 100, 10000, 1),  # a bid of 100 joins 300 at 10000
    ("34200.5", 4, 5, 50, 10000, 1),  # a seller takes 50 of an order never submitted
    ("34201", 2, 11, 30, 10000, 1),
    ("34201.000000000001", 5, 0, 7, 10050, -1),  # hidden ask: a buyer
    ("34201.1", 3, 12, 200, 10100, -1),  # the best ask goes; 10300 enters the window
    ("34201.2", 7, 0, 0, -1, -1),
    ("34201.3", 6, -1, 900, 10100, 1),
    ("34201.4", 4, 11, 70, 10000, 1),
]
GOOD_BOOK = [
    (10100, 200, 10000, 400, 10200, 5, 9900, 10),
    (10100, 200, 10000, 350, 10200, 5, 9900, 10),
    (10100, 200, 10000, 320, 10200, 5, 9900, 10),
    (10100, 200, 10000, 320, 10200, 5, 9900, 10),
    (10200, 5, 10000, 320, 10300, 8, 9900, 10),
    (10200, 5, 10000, 320, 10300, 8, 9900, 10),
    (10200, 5, 10000, 320, 10300, 8, 9900, 10),
    (10200, 5, 10000, 250, 10300, 8, 9900, 25),  # and hidden orders at 9900
]


def test_messages_become_orders_and_the_rest_is_anonymous(tmp_path):
    path = write(tmp_path, GOOD_MESSAGES, GOOD_BOOK)
    batches, notes = read(path)
    assert lobster.recognises(Source(path))
    assert {(b.stream.venue, b.stream.symbol, b.stream.table) for b in batches} == {("nasdaq", "XYZ", "orders")}
    assert {(str(b.price_unit), str(b.qty_unit)) for b in batches} == {("0.0001", "1")}
    frame = frame_of(batches)
    assert tuple(frame.columns) == RAW_COLUMNS["orders"]
    t = [MIDNIGHT + ns for ns in (34200015105074, 34200500000000, 34201000000000, 34201000000000, 34201100000000,
                                  34201200000000, 34201300000000, 34201400000000)]  # fmt: skip
    assert frame.select("local_ts", "kind", "side", "price", "qty", "order_id", "last", "row").rows() == [
        (t[0], CLEAR, 1, 0, 0, 0, False, 1),
        (t[0], CLEAR, -1, 0, 0, 0, False, 1),
        (t[0], SNAPSHOT, 1, 10000, 300, anonymous(10000, 1), False, 1),
        (t[0], SNAPSHOT, 1, 9900, 10, anonymous(9900, 1), False, 1),
        (t[0], SNAPSHOT, -1, 10100, 200, anonymous(10100, -1), False, 1),
        (t[0], SNAPSHOT, -1, 10200, 5, anonymous(10200, -1), True, 1),
        (t[0], ADD, 1, 10000, 100, 11, True, 1),
        (t[1], TRADE, -1, 10000, 50, 0, False, 2),
        (t[1], FILL, 1, 10000, 50, anonymous(10000, 1), True, 2),
        (t[2], CANCEL, 1, 10000, 30, 11, True, 3),
        (t[3], PRINT, 1, 10050, 7, 0, True, 4),
        (t[4], CANCEL, -1, 10100, 200, anonymous(10100, -1), False, 5),
        (t[4], ADD, -1, 10300, 8, anonymous(10300, -1), True, 5),
        (t[6], PRINT, 0, 10100, 900, 0, True, 7),
        (t[7], TRADE, -1, 10000, 70, 0, False, 8),
        (t[7], FILL, 1, 10000, 70, 11, False, 8),
        (t[7], MODIFY, 1, 9900, 25, anonymous(9900, 1), True, 8),
    ]
    assert frame["exch_ts"].equals(frame["local_ts"], check_names=False)
    assert dict(notes.counts["XYZ"]) == {
        "messages": 8, "unknown_references": 2, "unknown_cancels": 1, "unknown_executions": 1, "halts": 1,
        "times_rounded_to_ns": 1, "levels_set_on_entering_the_window": 1, "levels_set_inside_the_window": 1,
    }  # fmt: skip
    assert notes.warnings == ["day.zip: trading of XYZ was halted or resumed 1 times"]
    assert notes.instruments == {"XYZ": {"base": "XYZ", "quote": "USD", "contract_type": "SPOT"}}


def test_winter_time_and_names_given_by_the_user(tmp_path):
    batches, _ = read(write(tmp_path, GOOD_MESSAGES[:1], GOOD_BOOK[:1], day="2012-12-21"), venue="x", symbol="Y/Z")
    assert (batches[0].stream.venue, batches[0].stream.symbol) == ("x", "Y-Z")
    assert frame_of(batches)["local_ts"][0] == 1_356_066_000 * NS + 34200015105074  # 05:00 UTC


def test_a_level_that_returns_smaller_loses_its_anonymous_part_and_then_its_newest_orders(tmp_path):
    messages = [
        ("34200.1", 1, 1, 10, 9900, 1),
        ("34200.2", 1, 2, 20, 9900, 1),
        ("34200.3", 1, 3, 5, 10000, 1),  # 9900 leaves the window of one level
        ("34200.4", 3, 3, 5, 10000, 1),  # and is back with 12 of 7 + 10 + 20
        ("34200.5", 3, 2, 2, 9900, 1),  # order 2 had 2 left
        ("34200.6", 3, 2, 2, 9900, 1),  # and is gone
        ("34200.7", 1, 1, 4, 9800, 1),  # an id given twice
    ]
    bids = [(9900, 17), (9900, 37), (10000, 5), (9900, 12), (9900, 10), (9900, 10), (9800, 4)]
    batches, notes = read(write(tmp_path, messages, [(ASK, 0, *bid) for bid in bids], depth=1))
    rows = frame_of(batches).filter(pl.col("row") >= 4).select("kind", "price", "qty", "order_id", "last").rows()
    assert rows == [
        (CANCEL, 10000, 5, 3, False),
        (CANCEL, 9900, 7, anonymous(9900, 1), False),
        (CANCEL, 9900, 18, 2, True),
        (CANCEL, 9900, 2, 2, True),
        (CANCEL, 9900, 10, 1, False),
        (ADD, 9800, 4, 1, True),
    ]
    counts = notes.counts["XYZ"]
    assert counts["references_to_orders_taken_out"] == 1
    assert counts["duplicate_orders"] == 1
    assert counts["levels_set_on_entering_the_window"] == 1
    assert "one level of XYZ is no book by order" in notes.warnings[0]


def test_a_day_that_begins_without_any_order(tmp_path):
    batches, _ = read(write(tmp_path, [("34200.1", 1, 1, 10, 9900, 1)], [(ASK, 0, 9900, 10)], depth=1))
    assert frame_of(batches).select("kind", "side", "price", "qty", "order_id", "last").rows() == [
        (CLEAR, 1, 0, 0, 0, False), (CLEAR, -1, 0, 0, 0, False), (SNAPSHOT, 1, 0, 0, 0, True), (ADD, 1, 9900, 10, 1, True),
    ]  # fmt: skip


def test_a_row_with_free_places_shows_the_whole_side(tmp_path):
    messages = [("34200.1", 1, 1, 10, 9900, 1), ("34200.2", 3, 1, 10, 9900, 1)]
    book = [(10100, 4, 9900, 10, 10200, 6, 9800, 3), (10200, 6, BID, 0, ASK, 0, BID, 0)]
    batches, _ = read(write(tmp_path, messages, book))
    rows = frame_of(batches).filter(pl.col("row") == 2).select("side", "price", "qty").rows()
    assert rows == [(1, 9900, 10), (1, 9800, 3), (-1, 10100, 4)]


BAD = {
    "type": (0, (GOOD_MESSAGES[0][0], 8, 1, 1, 1, 1), "row 1, column type: 8 is none of the types 1 to 7"),
    "no number": (1, ("34200.1", 1, 1, "x", 1, 1), "row 2, column size: 'x' is not a whole number"),
    "NaN": (1, ("NaN", 1, 1, 1, 1, 1), "row 2, column time: 'NaN' is not a decimal number"),
    "1e30": (1, ("1e30", 1, 1, 1, 1, 1), "row 2, column time: '1e30' is not a decimal number"),
    "tomorrow": (1, ("86400.0", 1, 1, 1, 1, 1), "row 2, column time: 86400.0+ is no second of a day"),
    "negative": (1, ("34200.1", 1, 1, -1, 1, 1), "row 2, column size: -1 is no number of shares"),
    "no price": (1, ("34200.1", 1, 1, 1, 0, 1), "row 2, column price: 0 is no price"),
    "no side": (1, ("34200.1", 1, 1, 1, 1, 0), "row 2, column direction: 0 is neither 1 nor -1"),
    "no order": (1, ("34200.1", 1, 0, 1, 1, 1), "row 2, column order_id: 0 is no id of an order"),
    "reserved id": (
        1,
        ("34200.1", 1, kernel.ANONYMOUS, 1, 1, 1),
        "row 2, column order_id: 4611686018427387904 is no id",
    ),
    "short row": (1, ("34200.1", 1), "row 2: 2 fields where 6 are needed"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_message_is_refused_with_row_and_column(tmp_path, case):
    at, message, error = BAD[case]
    messages = [*GOOD_MESSAGES[:at], message, *GOOD_MESSAGES[at + 1 :]]
    with pytest.raises(DataError, match=f"^day.zip, {error}"):
        read(write(tmp_path, messages, GOOD_BOOK))


def test_a_wrong_order_book_is_refused(tmp_path):
    for bad in [
        (10200, 1, 9, 1, 10100, 1, 8, 1),
        (ASK, 0, 9, 1, 10, 1, 8, 1),
        (10, 1, 8, 1, 11, 1, 9, 1),
        (10, -1, 9, 1, 11, 1, 8, 1),
    ]:
        with pytest.raises(DataError, match=r"^day.zip, row 3: this row of XYZ.*orderbook_2.csv is no ladder"):
            read(write(tmp_path, GOOD_MESSAGES[:3], [*GOOD_BOOK[:2], bad]))
    with pytest.raises(DataError, match="row 2: 7 fields where 8 are needed"):
        read(write(tmp_path, GOOD_MESSAGES[:2], [GOOD_BOOK[0], GOOD_BOOK[1][:7]]))


def test_files_of_different_length_or_alone_are_refused(tmp_path):
    with pytest.raises(DataError, match="row 3: the message file goes on after the 2 rows of the orderbook file"):
        read(write(tmp_path, GOOD_MESSAGES, GOOD_BOOK[:2]))
    with pytest.raises(DataError, match="row 3: the orderbook file goes on after the 2 rows of the message file"):
        read(write(tmp_path, GOOD_MESSAGES[:2], GOOD_BOOK))
    with pytest.raises(DataError, match=r"message_2\.csv is empty"):
        read(write(tmp_path, [], []))
    alone = tmp_path / "XYZ_2012-06-21_34200000_57600000_message_2.csv"
    alone.write_text("34200.1,1,1,1,1,1\n")
    assert lobster.recognises(Source(alone))
    with pytest.raises(DataError, match="put both of the day into one zip"):
        read(alone)
    with pytest.raises(DataError, match=r"2012-02-31 in the name of XYZ.* is no day"):
        read(write(tmp_path, GOOD_MESSAGES, GOOD_BOOK, day="2012-02-31"))


def test_a_cut_archive_is_refused(tmp_path, sample_data):
    whole = (sample_data / "lobster" / AAPL).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        Source(cut)


@pytest.mark.parametrize("name", ["a.csv", "XYZ_2012-06-21_34200000_57600000_message_2.csv"])
def test_other_files_are_not_recognised(tmp_path, name):
    path = tmp_path / name
    path.write_text("time,price\n1,2\n")
    assert not lobster.recognises(Source(path))


def test_room_is_made_for_more_orders_and_levels_than_there_was(tmp_path, monkeypatch):
    """A hundred thousand orders, and rows in small pieces, against the plain count of what was added."""
    n = 100_000
    messages = [(f"34200.{i:09d}", 1, i + 1, 1, 20_000 + i % 3000, -1) for i in range(n)]
    book = [(20_000, i // 3000 + 1, BID, 0) for i in range(n)]
    monkeypatch.setattr(lobster, "ROWS_ROOM", 10_000)
    batches, _ = read(write(tmp_path, messages, book, depth=1))
    assert len(batches) > 1
    frame = frame_of(batches)
    adds = frame.filter(pl.col("kind") == ADD)
    assert (adds.height, adds["order_id"].n_unique(), frame.filter(pl.col("kind") == CANCEL).height) == (n, n, 0)


class PlainBook:
    """A book by order in plain Python: the oracle."""

    def __init__(self):
        self.orders, self.sizes, self.prices = {}, defaultdict(int), {1: [], -1: []}

    def change(self, side, price, quantity):
        size = self.sizes[side, price] = self.sizes[side, price] + quantity
        assert size >= 0
        prices, key = self.prices[side], -side * price
        if size == quantity:
            insort(prices, key)
        elif size == 0:
            del prices[bisect_left(prices, key)]

    def apply(self, kind, side, price, quantity, order_id):
        if kind in (ADD, SNAPSHOT):
            assert order_id not in self.orders
            self.orders[order_id] = [side, price, quantity]
            self.change(side, price, quantity)
        elif kind in (CANCEL, FILL):
            order = self.orders[order_id]
            assert order[:2] == [side, price]
            order[2] -= quantity
            if order[2] == 0:
                del self.orders[order_id]
            self.change(side, price, -quantity)
        elif kind == MODIFY:
            order = self.orders[order_id]
            self.change(side, price, quantity - order[2])
            order[2] = quantity

    def top(self, depth):
        row = []
        for i in range(depth):
            for side, free in ((-1, ASK), (1, BID)):
                prices = self.prices[side]
                price = -side * prices[i] if i < len(prices) else free
                row += [price, self.sizes[side, price] if i < len(prices) else 0]
        return row


def provider_book(path, depth):
    source = Source(path)
    member = next(name for name in source.members if "orderbook" in name)
    with source.open(member) as stream:
        return pl.read_csv(stream.read(), has_header=False, schema={f"c{i}": pl.Int64 for i in range(4 * depth)})


def test_the_whole_google_day_is_the_providers_book_after_every_message(sample_data):
    path = sample_data / "lobster" / GOOG
    assert lobster.recognises(Source(path))
    batches, notes = read(path)
    frame = frame_of(batches)
    counts = notes.counts["GOOG"]
    assert (counts["messages"], counts["unknown_cancels"], counts["unknown_executions"]) == (147_916, 2_831, 532)
    kinds = dict(frame["kind"].value_counts().rows())
    assert (kinds[TRADE], kinds[PRINT]) == (7_765, 3_913)
    assert int(frame.filter(pl.col("kind").is_in([TRADE, PRINT]))["qty"].sum()) == 706_125
    assert frame["local_ts"].is_sorted()
    assert int((frame.filter(pl.col("kind") == PRINT)["price"] % 100 != 0).sum()) == 50

    book, provider = PlainBook(), provider_book(path, 10).rows()
    compared = 0
    rows = frame.select("kind", "side", "price", "qty", "order_id", "last", "row").iter_rows()
    for kind, side, price, quantity, order_id, last, row in rows:
        book.apply(kind, side, price, quantity, order_id)
        if last and row > compared:
            if row == 1 and kind == SNAPSHOT:
                continue
            assert row == compared + 1
            assert tuple(book.top(10)) == provider[row - 1], row
            compared = row
    assert compared == 147_916


def test_the_whole_apple_day_at_level_one(sample_data):
    path = sample_data / "lobster" / AAPL
    batches, notes = read(path)
    counts = notes.counts["AAPL"]
    assert (counts["messages"], counts["unknown_references"]) == (118_497, 14_980)
    frame = frame_of(batches)
    kinds = dict(frame["kind"].value_counts().rows())
    assert (kinds[TRADE], kinds[PRINT]) == (23_658, 11_332)
    book = Book(by_order=True)
    applied = book.apply(frame.rename({"price": "price_ticks", "qty": "qty_lots"}))
    assert (book.unknown_orders, book.duplicate_adds) == (0, 0)
    changes = np.zeros(frame.height, np.int64)
    changes[applied.quote_rows] = 1
    # The quotes after the last row of each message.
    ends = np.flatnonzero(np.append(np.diff(frame["row"].to_numpy()) != 0, [True]))
    quotes = applied.quotes[np.cumsum(changes)[ends] - 1]
    provider = provider_book(path, 1).select("c2", "c3", "c0", "c1").to_numpy()
    assert np.array_equal(frame["row"].to_numpy()[ends], np.arange(1, 118_498))
    assert np.array_equal(quotes, provider)
