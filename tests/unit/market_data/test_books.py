"""The recorded book at an instant: by level, by order, from best quotes, and why it is not known."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from collector_lines import DAY_MS, depth, quote, snapshot, trade, ts, write
from market_data_builders import import_files
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import Assembly
from market_maker.market_data.books import book_at
from market_maker.market_data.schema import EventKind, frame_of
from market_maker.storage.lake import Lake

PAIR = Instrument(UUID(int=1), "binance-usdm", "X", "A", "B", Decimal("0.1"), Decimal("0.001"))


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def levels(levels):
    return [(str(level.price), str(level.quantity)) for level in levels]


@pytest.fixture
def recorded(lake, tmp_path):
    """A book from 1 s, without messages from 3 s to 6 s, over midnight; trades to the end."""
    lines = [
        quote(0, "9.9", "10.1"), depth(900, 10, 10, 9), snapshot(1000, 10),
        depth(2000, 11, 11, 10, bids=[("9.8", "2.000"), ("9.7", "3.000")], asks=[("10.1", "0.500")]),
        depth(3000, 12, 12, 11, bids=[("9.9", "0.000")]),
        depth(5000, 20, 20, 19, bids=[("9.9", "9.000")]), snapshot(6000, 20, asks=[("10.3", "1.000")]),
        depth(7000, 21, 21, 20, bids=[("9.8", "4.000")]), trade(8000, 1),
        depth(DAY_MS + 1000, 22, 22, 21, asks=[("10.3", "0.000"), ("10.4", "1.000")]),
    ]  # fmt: skip
    import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    return lake


def test_the_book_after_every_message(recorded):
    first = book_at(recorded, PAIR, ts(1000), 10)
    assert (levels(first.bids), levels(first.asks), first.sequence) == ([("9.9", "1.000")], [("10.1", "1.000")], 10)
    assert (first.ts, first.pair_id) == (ts(1000), PAIR.pair_id)
    assert book_at(recorded, PAIR, ts(2000) - 1, 10).bids == first.bids
    later = book_at(recorded, PAIR, ts(2000), 10)
    assert levels(later.bids) == [("9.9", "1.000"), ("9.8", "2.000"), ("9.7", "3.000")]
    assert levels(later.asks) == [("10.1", "0.500")]
    assert levels(book_at(recorded, PAIR, ts(3000), 1).bids) == [("9.8", "2.000")]
    assert levels(book_at(recorded, PAIR, ts(6000), 10).asks) == [("10.3", "1.000")]
    assert book_at(recorded, PAIR, ts(8000), 10).sequence == 21, "a trade is no change of the book"


def test_the_next_day_begins_with_the_book_of_the_day_before(recorded):
    book = book_at(recorded, PAIR, ts(DAY_MS + 1000), 10)
    assert (levels(book.bids), levels(book.asks)) == ([("9.9", "1.000"), ("9.8", "4.000")], [("10.4", "1.000")])


@pytest.mark.parametrize(
    ("at", "latency_ms", "why"),
    [
        # Quotes were there, the book not yet.
        (500, 5, r"not known at 2023-12-09T00:00:00\.505.*: from 2023-12-09T00:00:00\.005.* to 2023-12-09T00:00:01\.005.*no snapshot"),
        # Messages are missing since the last good one, at 3 s; it is known at 5 s; the snapshot comes at 6 s.
        (4000, 5, r"not known at 2023-12-09T00:00:04\.005.*: from 2023-12-09T00:00:03\.005.* to 2023-12-09T00:00:06\.005"),
        (5500, 5, r"not known at 2023-12-09T00:00:05\.505"),
        (-1, 5, r"no book of binance-usdm X is recorded at 2023-12-09T00:00:00\.004.*; recorded: 2023-12-09 to 2023-12-10"),
        (9000, 5, r"is recorded at 2023-12-09T00:00:09\.005"),
        (DAY_MS, 5, r"is recorded at 2023-12-10T00:00:00\.005"),
        (DAY_MS + 2000, 5, r"is recorded at 2023-12-10T00:00:02\.005"),
        (9 * DAY_MS, 5, "is recorded at 2023-12-18"),
    ],
)  # fmt: skip
def test_why_there_is_none(recorded, at, latency_ms, why):
    with pytest.raises(DataError, match=why):
        book_at(recorded, PAIR, ts(at, latency_ms), 10)


def test_without_a_book_the_best_quotes_serve(lake, tmp_path):
    import_files([write(tmp_path / "a.gz", [quote(0, "9.9", "10.1"), quote(1000, "9.8", "0")])], lake, PAIR)
    book = book_at(lake, PAIR, ts(999), 10)
    assert (levels(book.bids), levels(book.asks), book.sequence) == ([("9.9", "1.000")], [("10.1", "1.000")], 1)
    assert book_at(lake, PAIR, ts(1000), 10).asks == ()
    with pytest.raises(DataError, match="nothing"):
        book_at(Lake(tmp_path / "empty"), PAIR, ts(0), 10)


def test_orders_come_before_levels(lake, tmp_path):
    import_files([write(tmp_path / "a.gz", [depth(900, 10, 10, 9), snapshot(1000, 10)])], lake, PAIR)
    rows = [
        (ts(1000), ts(1000), EventKind.ADD, 1, 98, 5, 1, 7),
        (ts(1001), ts(1001), EventKind.ADD, 1, 98, 6, 2, 8),
        (ts(1002), ts(1002), EventKind.FILL, 1, 98, 4, 3, 7),
    ]
    assembly = Assembly(lake, PAIR, "orders")
    assembly.add(frame_of("orders", [tuple(map(int, row)) for row in rows]).with_columns(last=pl.lit(value=True)))
    lake.publish(assembly.finish()[0].day)
    assert levels(book_at(lake, PAIR, ts(1002), 10).bids) == [("9.8", "0.007")]


def test_a_damaged_file_is_no_book(recorded):
    path = next(recorded.root.rglob("day=2023-12-09/book-*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="sha256"):
        book_at(recorded, PAIR, ts(1000), 10)
