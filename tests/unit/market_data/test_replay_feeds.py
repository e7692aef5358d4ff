"""What a replay is made of: orders, books, best quotes and trades of their own, as rows in two orders of time."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feed_builders import (
    ADD,
    BUY,
    CANCEL,
    CLEAR,
    CLEAR_ASKS,
    CLEAR_BIDS,
    DEPTH,
    LEVEL_ASK,
    LEVEL_BID,
    ONE,
    PRINT,
    SELL,
    SNAPSHOT,
    T0,
    TRADE,
    book,
    orders,
    publish,
    quotes,
    shown,
)
from market_data_builders import import_files
from market_maker.domain.errors import DataError
from market_maker.domain.units import parse_instant
from market_maker.market_data.feed import prepare
from market_maker.market_data.replay import StoredDay, feed_of, open_feed
from market_maker.market_data.schema import BBO_SCHEMA, BOOK_SCHEMA, DAY_NS, ORDERS_SCHEMA, frame_of
from market_maker.storage.lake import Lake, Table, day_of

S = 1_000_000_000


# --- books, quotes, and trades of their own ---------------------------------------------------------------------------


def test_a_book_is_replayed_as_it_stands_without_prints_and_trades_of_no_side() -> None:
    feed = feed_of(book(
        (0, 10, CLEAR, 1, 0, 0), (0, 10, CLEAR, -1, 0, 0), (0, 10, SNAPSHOT, 1, 99, 5), (0, 10, SNAPSHOT, -1, 101, 5),
        (8, 12, PRINT, 1, 100, 9), (9, 13, TRADE, 0, 100, 9), (11, 14, DEPTH, 1, 99, 3), (10, 15, TRADE, -1, 99, 2),
    ))  # fmt: skip
    # Without a time of the venue the snapshot has that of its receipt; the trade happened before the level was told.
    assert shown(feed) == [
        (10, CLEAR_BIDS, 0, 0), (10, CLEAR_ASKS, 0, 0), (10, LEVEL_BID, 99, 5), (10, LEVEL_ASK, 101, 5),
        (10, SELL, 99, 2), (11, LEVEL_BID, 99, 3),
    ]  # fmt: skip
    assert shown(feed, "local")[-2:] == [(14, LEVEL_BID, 99, 3), (15, SELL, 99, 2)]


def test_best_quotes_are_a_book_of_one_level() -> None:
    feed = feed_of(quotes(
        (1, 99, 5, 101, 6), (2, 99, 4, 101, 6), (3, 100, 2, 101, 6), (4, 0, 0, 101, 6), (5, 100, 1, 102, 3),
        # Both rise in one row: what is gone goes first, so that the book is never crossed in between.
        (6, 102, 1, 104, 2),
        # Two rows of an instant: the last one counts.
        (7, 50, 1, 104, 2), (7, 103, 1, 104, 2),
    ))  # fmt: skip
    assert shown(feed) == [
        (1, CLEAR_BIDS, 0, 0), (1, CLEAR_ASKS, 0, 0), (1, LEVEL_BID, 99, 5), (1, LEVEL_ASK, 101, 6),
        (2, LEVEL_BID, 99, 4),
        (3, LEVEL_BID, 99, 0), (3, LEVEL_BID, 100, 2),
        (4, LEVEL_BID, 100, 0),
        (5, LEVEL_ASK, 101, 0), (5, LEVEL_BID, 100, 1), (5, LEVEL_ASK, 102, 3),
        (6, LEVEL_BID, 100, 0), (6, LEVEL_ASK, 102, 0), (6, LEVEL_BID, 102, 1), (6, LEVEL_ASK, 104, 2),
        (7, LEVEL_BID, 102, 0), (7, LEVEL_BID, 103, 1),
    ]  # fmt: skip


def test_trades_of_a_table_of_their_own_come_first_within_an_instant_and_have_the_side_of_the_quotes_before_them() -> (
    None
):
    trades = book(
        (1, 1, TRADE, 0, 101, 1),  # nothing was known before it
        (2, 2, TRADE, 0, 101, 2), (2, 2, TRADE, 0, 99, 3), (2, 2, TRADE, 0, 100, 4), (3, 3, TRADE, 0, 102, 5),
        (4, 4, PRINT, 0, 99, 6), (4, 4, TRADE, -1, 101, 7),
    )  # fmt: skip
    feed = feed_of(quotes((1, 99, 5, 101, 6), (2, 99, 5, 102, 6), (4, 99, 2, 102, 6)), trades=trades)
    assert shown(feed)[4:] == [
        # At the ask before it, 101: a buyer's, of what the quote of its own instant does not show any more.
        (2, BUY, 101, 2), (2, SELL, 99, 3), (2, LEVEL_ASK, 101, 0), (2, LEVEL_ASK, 102, 6), (3, BUY, 102, 5),
        # A side that was told is kept.
        (4, SELL, 101, 7), (4, LEVEL_BID, 99, 2),
    ]  # fmt: skip


def test_both_clocks_order_trades_of_their_own_before_the_book_of_their_instant() -> None:
    depth = book(
        (1, 11, SNAPSHOT, 1, 99, 5), (1, 11, SNAPSHOT, -1, 101, 5), (5, 15, DEPTH, 1, 99, 4), (6, 20, DEPTH, 1, 99, 1)
    )
    # The first is received after the change that it caused, the second with it.
    trades = book((5, 16, TRADE, -1, 99, 1), (6, 20, TRADE, -1, 99, 3))
    feed = feed_of(depth, trades=trades)
    assert shown(feed)[2:] == [(5, SELL, 99, 1), (5, LEVEL_BID, 99, 4), (6, SELL, 99, 3), (6, LEVEL_BID, 99, 1)]
    assert shown(feed, "local")[2:] == [
        (15, LEVEL_BID, 99, 4),
        (16, SELL, 99, 1),
        (20, SELL, 99, 3),
        (20, LEVEL_BID, 99, 1),
    ]


@pytest.mark.parametrize("table", ["orders", "book", "book and trades", "bbo and trades"])
def test_a_trade_without_an_aggressor_reaches_nobody_unless_quotes_before_it_tell_one(table: str) -> None:
    """Beside quotes of 99 and 101: at 101 it was a buyer's, at 99 a seller's, at 100 nobody's."""
    trades = [
        (10, TRADE, 1, 100, 1),
        (11, TRADE, 0, 101, 2),
        (12, TRADE, 0, 100, 4),
        (13, TRADE, 0, 99, 8),
        (14, TRADE, -1, 100, 16),
    ]
    apart = book(*((t, t, *row) for t, *row in trades))
    if table == "orders":
        feed = feed_of(orders((1, ADD, 1, 99, 50, 1), (1, ADD, -1, 101, 50, 2), *((*row, 0) for row in trades)))
    elif table == "book":
        feed = feed_of(book((1, 1, DEPTH, 1, 99, 50), (1, 1, DEPTH, -1, 101, 50), *((row[0], *row) for row in trades)))
    elif table == "book and trades":
        feed = feed_of(book((1, 1, DEPTH, 1, 99, 50), (1, 1, DEPTH, -1, 101, 50)), trades=apart)
    else:
        feed = feed_of(quotes((1, 99, 50, 101, 50)), trades=apart)
    told = [(11, BUY, 101, 2), (13, SELL, 99, 8)] if table == "bbo and trades" else []
    for stream in ("exchange", "local"):
        found = [row for row in shown(feed, stream) if abs(row[1]) == 2]
        assert found == sorted([(10, BUY, 100, 1), *told, (14, SELL, 100, 16)])
        assert 0 not in [row[1] for row in shown(feed, stream)]


def test_trades_in_the_table_of_the_book_keep_out_those_of_another() -> None:
    depth = book((1, 1, SNAPSHOT, 1, 99, 5), (1, 1, SNAPSHOT, -1, 101, 5), (2, 2, TRADE, 1, 101, 1))
    assert shown(feed_of(depth, trades=book((3, 3, TRADE, 1, 101, 9)))) == shown(feed_of(depth))


def test_a_level_that_is_meant_never_to_trade_is_left_out_of_a_book_too_wide_to_lay_out() -> None:
    far = 888_888_004_000
    rows = [(1, SNAPSHOT, 1, 2_000, 5, 1), (1, SNAPSHOT, -1, 2_001, 5, 2), (1, SNAPSHOT, -1, 2_002, 5, 3)]
    feed = feed_of(orders(*rows, (2, ADD, -1, far, 1, 4), (3, CANCEL, -1, far, 1, 4)))
    assert feed.pages[1] < 10
    assert shown(feed)[3:] == [(3, LEVEL_ASK, far, 0)]


# --- openings and sessions --------------------------------------------------------------------------------------------


def test_a_crossed_pre_opening_is_not_shown_and_the_book_is_whole_after_it() -> None:
    # Globex collects orders from 22:00 to 23:00 UTC in winter (T0 is a Sunday's midnight; the opening is the evening's).
    at = 22 * 3600 * S
    assert datetime.fromtimestamp(T0 // S, UTC).strftime("%a %H:%M") == "Sat 00:00"
    sunday = at + DAY_NS
    rows = [
        (sunday - 5 * S, ADD, 1, 100, 5, 1), (sunday - 5 * S, ADD, -1, 101, 5, 2),
        (sunday + 5 * S, ADD, 1, 103, 5, 3), (sunday + 6 * S, TRADE, 1, 101, 1, 0), (sunday + 7 * S, ADD, -1, 99, 2, 4),
        (sunday + 8 * S, CANCEL, 1, 103, 5, 3), (sunday + 9 * S, CANCEL, -1, 99, 2, 4), (sunday + 10 * S, ADD, 1, 98, 1, 5),
        # The opening: 102 against 101 is matched after it has come.
        (sunday + 50 * S, ADD, 1, 102, 5, 7), (sunday + 3600 * S, TRADE, 1, 101, 5, 0),
        (sunday + 3600 * S, CANCEL, -1, 101, 5, 2), (sunday + 3601 * S, ADD, -1, 103, 7, 6),
    ]  # fmt: skip
    feed = feed_of(orders(*rows), venue="glbx-mdp3")
    opened = sunday + 3601 * S
    wanted = [
        (sunday - 5 * S, LEVEL_BID, 100, 5), (sunday - 5 * S, LEVEL_ASK, 101, 5),
        (sunday + 5 * S, CLEAR_BIDS, 0, 0), (sunday + 5 * S, CLEAR_ASKS, 0, 0),
        (opened, LEVEL_BID, 102, 5), (opened, LEVEL_BID, 100, 5), (opened, LEVEL_BID, 98, 1), (opened, LEVEL_ASK, 103, 7),
    ]  # fmt: skip
    assert shown(feed) == wanted
    assert shown(feed, "local") == wanted
    assert len(shown(feed_of(orders(*rows)))) == len(rows)


def test_coverage_counts_sessions_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    friday, monday = (parse_instant(text, "day") for text in ("2024-01-12", "2024-01-15"))
    for midnight in (friday, monday):
        open_ts, close_ts = midnight + 52_200 * S, midnight + 75_600 * S  # 9:30 to 16:00 in New York, in winter
        times = (open_ts - 60 * S, open_ts + S, close_ts + S)
        frame = frame_of("bbo", [(ts, ts, 99, 1 + i, 101, 1, 0) for i, ts in enumerate(times)])
        lake.publish(lake.stage(
            venue="nasdaq", symbol="S", day=day_of(midnight), tick_size=ONE, lot_size=ONE, tables={"bbo": Table(frame)}
        ))  # fmt: skip
    feed = open_feed(lake, "nasdaq", "S", friday, monday + DAY_NS)
    assert (feed.coverage, feed.missing) == (1.0, ())
    # Tuesday's session is missing: a third.
    with pytest.raises(
        DataError, match=r"only 0.6667 of the range.*2024-01-16T14:30:00.000Z to 2024-01-16T21:00:00.000Z"
    ):
        open_feed(lake, "nasdaq", "S", friday, monday + 2 * DAY_NS)
    # Where no session is, the clock counts: a quarter of an hour in the evening.
    evening = friday + 75_600 * S
    with pytest.raises(DataError, match=r"only 0.0011 of the range"):
        open_feed(lake, "nasdaq", "S", evening, evening + 900 * S)


def test_a_day_of_nasdaq_given_as_plain_dates_is_covered(tmp_path: Path, sample_data: Path) -> None:
    lake = Lake(tmp_path)
    import_files([sample_data / "lobster" / "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"], lake)
    start, end = parse_instant("2012-06-21", "start"), parse_instant("2012-06-21", "end", end_of_day=True)
    assert end - start == DAY_NS
    feed = open_feed(lake, "nasdaq", "GOOG", start, end)
    assert feed.coverage > 0.999
    assert [dict(table)["table"] for table in feed.tables] == ["orders"]
    (stretch,) = feed.exchange()
    traded = np.abs(stretch.code) == 2
    # 7,765 visible executions of 492,509 shares, 81 of them told by two orders; 3,913 hidden ones are prints.
    assert (int(traded.sum()), int(stretch.qty_lots[traded].sum())) == (7765 + 81, 492_509)
    # The best quotes are those of the book that the import has built, at the end of each instant.
    bbo = lake.read("nasdaq", "GOOG", date(2012, 6, 21), "bbo").group_by("local_ts", maintain_order=True).last()
    told = {row[0] - T0: row[1:] for row in bbo.select("local_ts", "^(bid|ask)_.*$").iter_rows()}
    assert len(told) > 40_000
    levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
    rows = shown(feed)
    best: tuple[int, ...] = ()
    for i, (ts, code, price, lots) in enumerate(rows):
        side = levels[1 if code > 0 else -1]
        if abs(code) == 1:
            side.pop(price, None)
            side |= {price: lots} if lots else {}
        if i + 1 == len(rows) or rows[i + 1][0] != ts:
            bid, ask = max(levels[1]), min(levels[-1])
            now = (bid, levels[1][bid], ask, levels[-1][ask])
            assert now == told.get(ts, best), ts
            best = now


# --- which tables, and what is told of them ---------------------------------------------------------------------------


@pytest.fixture
def tables() -> dict[str, pl.DataFrame]:
    return {
        "orders": orders((1, ADD, 1, 97, 5, 1), (2, ADD, -1, 103, 5, 2)),
        "book": book((1, 1, SNAPSHOT, 1, 98, 5), (2, 2, SNAPSHOT, -1, 102, 5)),
        "bbo": quotes((1, 99, 5, 101, 5), (2, 99, 5, 101, 4)),
        "trades": book((2, 2, TRADE, 1, 101, 1)),
    }


@pytest.mark.parametrize(("kept", "bid", "told"), [
    (("orders", "book", "bbo", "trades"), 97, ["orders", "trades"]),
    (("book", "bbo"), 98, ["book"]),
    (("bbo", "trades"), 99, ["bbo", "trades"]),
])  # fmt: skip
def test_orders_go_before_a_book_and_a_book_before_quotes(
    tmp_path: Path, tables: dict[str, pl.DataFrame], kept: tuple[str, ...], bid: int, told: list[str]
) -> None:
    lake = Lake(tmp_path)
    publish(lake, day_of(T0), **{name: tables[name] for name in kept})
    feed = open_feed(lake, "v", "S", T0 + 1, T0 + 3)
    assert max(price for _, code, price, _ in shown(feed) if code == 1) == bid
    described = lake.describe("v", "S", day_of(T0))
    assert list(feed.tables) == [
        {"day": "2023-12-09", "table": name, "sha256": described.file(name).sha256} for name in told
    ]
    assert [abs(code) for _, code, _, _ in shown(feed)].count(2) == int("trades" in kept)


def test_the_data_hash_is_that_of_all_tables_that_are_replayed(tmp_path: Path, tables: dict[str, pl.DataFrame]) -> None:
    hashes = []
    for i, trades in enumerate((None, tables["trades"], tables["trades"].with_columns(qty_lots=pl.lit(2, pl.Int64)))):
        lake = Lake(tmp_path / str(i))
        publish(lake, day_of(T0), bbo=tables["bbo"], **({} if trades is None else {"trades": trades}))
        feeds = [open_feed(lake, "v", "S", T0 + 1, T0 + 3) for _ in range(2)]
        assert feeds[0].data_hash == feeds[1].data_hash
        hashes.append(feeds[0].data_hash)
    assert len(set(hashes)) == 3


def test_trades_that_are_published_later_are_replayed(tmp_path: Path, tables: dict[str, pl.DataFrame]) -> None:
    lake = Lake(tmp_path)
    publish(lake, day_of(T0), bbo=tables["bbo"])
    assert 2 not in [code for _, code, _, _ in shown(open_feed(lake, "v", "S", T0 + 1, T0 + 3))]
    publish(lake, day_of(T0), **{name: tables[name] for name in ("bbo", "trades")})
    assert 2 in [code for _, code, _, _ in shown(open_feed(lake, "v", "S", T0 + 1, T0 + 3))]


# --- what no replay may be made of ------------------------------------------------------------------------------------

SOUND = [(1, 1, SNAPSHOT, 1, 99, 5), (1, 1, SNAPSHOT, -1, 101, 5)]


@pytest.mark.parametrize(("rows", "text"), [
    ([*SOUND, (3, 3, DEPTH, 1, 98, 1), (2, 2, DEPTH, 1, 98, 2)], r"book row 4: receive time \d+ is earlier than the row before"),
    ([*SOUND, (2, 2, DEPTH, 1, 98, -1)], r"book row 3: qty_lots -1 is not allowed"),
    ([*SOUND, (2, 2, TRADE, 1, 98, -7)], r"book row 3: qty_lots -7 is not allowed"),
    ([*SOUND, (2, 2, DEPTH, 1, -98, 1)], r"book row 3: price_ticks -98 is not allowed \(at least 1 tick"),
    ([*SOUND, (2, 2, DEPTH, 0, 98, 1)], r"book row 3: side 0 is not allowed"),
    ([*SOUND, (2, 2, TRADE, 2, 98, 1)], r"book row 3: side 2 is not allowed \(\+1 or -1, 0 for a trade without an aggressor"),
    ([*SOUND, (2, 2, PRINT, -3, 98, 1)], r"book row 3: side -3 is not allowed"),
    ([*SOUND, (2, 2, 17, 1, 98, 1)], r"book row 3: kind 17 is not allowed"),
    ([*SOUND, (2, 2, ADD, 1, 98, 1)], r"book row 3: kind 6 is not allowed"),
    ([(1, 1, SNAPSHOT, 1, 101, 5), (1, 1, SNAPSHOT, -1, 99, 5)], r"book row 1: bids stand at or above asks.* 1 of 1 instants"),
    ([(1, 1, TRADE, 1, 101, 5)], "no level of any book"),
    ([(1, 1, PRINT, 1, 101, 5)], "book: no row that a replay can show"),
    ([], "zero events"),
])  # fmt: skip
def test_a_frame_that_no_replay_may_have_is_refused_by_row_and_rule(rows: list[tuple[int, ...]], text: str) -> None:
    with pytest.raises(DataError, match=text):
        feed_of(book(*rows))


def test_a_book_that_is_crossed_throughout_is_refused_and_a_level_left_behind_is_not() -> None:
    rows = [row for t in range(1, 50) for row in ((2 * t, 2 * t, DEPTH, 1, 105, t), (2 * t, 2 * t, DEPTH, -1, 100, t))]
    with pytest.raises(
        DataError, match=r"book row 1: bids stand at or above asks, as they come to do in 49 of 49 instants"
    ):
        feed_of(book(*rows))
    # New levels may come before what is gone, inside of an instant.
    moves = [row for t in range(2, 50) for row in ((t, t, DEPTH, 1, 101 + 2 * t, 1), (t, t, DEPTH, -1, 102 + 2 * t, 1),
                                                   (t, t, DEPTH, -1, 100 + 2 * t, 0))]  # fmt: skip
    assert feed_of(book((1, 1, SNAPSHOT, 1, 101, 1), (1, 1, SNAPSHOT, -1, 104, 1), *moves)).events == 146
    # The bid of 105 was never removed: once the asks are through it, it is taken for gone.
    left = [(1, 1, SNAPSHOT, 1, 105, 5), (1, 1, SNAPSHOT, -1, 106, 5)]
    assert feed_of(book(*left, *((t, t, DEPTH, -1, 100, t) for t in range(2, 50)))).events == 50


def test_bad_rows_of_orders_quotes_and_trades_are_named_too() -> None:
    sound = quotes((1, 99, 5, 101, 5))
    for frame, trades, text in (
        (orders((1, ADD, 1, 99, -2, 1)), None, "orders row 1: qty_lots -2"),
        (orders((1, ADD, 1, 99, 2, 1), (2, DEPTH, 1, 99, 2, 1)), None, "orders row 2: kind 1"),
        (orders((1, ADD, 1, 0, 2, 1)), None, "orders row 1: price_ticks 0"),
        (quotes((1, 99, 5, 101, 5), (2, 99, 5, 101, -5)), None, "bbo row 2: ask_qty_lots -5"),
        (quotes((2, 99, 5, 101, 5), (1, 99, 5, 101, 5)), None, "bbo row 2: receive time"),
        (quotes((1, 0, 5, 0, 5)), None, "no level of any book"),
        (sound, book((3, 3, TRADE, 1, 1, 1), (2, 2, TRADE, 1, 1, 1)), "trades row 2: receive time"),
        (sound, book((2, 2, DEPTH, 1, 1, 1)), "trades row 1: kind 1"),
    ):
        with pytest.raises(DataError, match=text):
            feed_of(frame, trades=trades)


def test_a_bad_row_of_a_day_names_the_day(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    publish(lake, day_of(T0), book=book(*SOUND, (2, 2, DEPTH, 1, 98, -1)))
    with pytest.raises(DataError, match=r"v/S 2023-12-09: book row 3: qty_lots -1"):
        open_feed(lake, "v", "S", T0 + 1, T0 + 2)


def test_tables_without_a_book_are_no_replay(tmp_path: Path, tables: dict[str, pl.DataFrame]) -> None:
    with pytest.raises(DataError, match="one of the tables orders, book, bbo"):
        prepare({"trades": tables["trades"]})
    lake = Lake(tmp_path)
    publish(lake, day_of(T0), trades=tables["trades"])
    with pytest.raises(DataError, match="no recorded events of v/S"):
        open_feed(lake, "v", "S", T0 + 1, T0 + 3)


# --- memory -----------------------------------------------------------------------------------------------------------

DAYS, ROWS = 12, 400_000
_MEASURE = """
import json, resource, sys
from pathlib import Path
import psutil
from market_maker.market_data.replay import open_feed
from market_maker.storage.lake import Lake

begin, end = int(sys.argv[2]), int(sys.argv[3])
process, seen, peaks = psutil.Process(), [], []

def look():
    seen.append(process.memory_info().rss)
    peaks.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

lake = Lake(Path(sys.argv[1]))
open_feed(lake, "v", "S", begin, begin + 86_400 * 10**9)
look()
feed = open_feed(lake, "v", "S", begin, end)
look()
venue, receiver = feed.exchange(), feed.local()
total = 0
for rows in venue:
    other = next(receiver)
    total += sum(int(column.sum()) for column in (*rows, *other)) * 0 + len(rows.ts)
    look()
    del rows, other
print(json.dumps({"seen": seen, "peaks": peaks, "rows": total, "events": feed.events}))
"""


def test_a_feed_of_many_days_needs_the_memory_of_one(tmp_path: Path) -> None:
    """12 days of 13 MB each (and 25 MB where the clocks disagree): opened twice, read through in both orders."""
    lake = Lake(tmp_path)
    chance = np.random.default_rng(1)
    side = np.where(chance.random(ROWS) < 0.5, 1, -1).astype(np.int8)
    lots = chance.integers(1, 100, ROWS)
    price = 1000 - side * chance.integers(1, 50, ROWS)
    for i in range(DAYS):
        local_ts = T0 + i * DAY_NS + np.linspace(0, DAY_NS - 1, ROWS).astype(np.int64)
        exch_ts = local_ts - 10**9 - 10**9 * (chance.random(ROWS) < 0.1)
        kind = np.where(chance.random(ROWS) < 0.2, TRADE, DEPTH).astype(np.int8)
        kind[:100] = DEPTH
        frame = pl.DataFrame({
            "exch_ts": exch_ts, "local_ts": local_ts, "kind": kind, "side": side, "price_ticks": price, "qty_lots": lots,
            "sequence": np.zeros(ROWS, np.int64),
        }, schema=BOOK_SCHEMA)  # fmt: skip
        publish(lake, day_of(T0 + i * DAY_NS), book=frame)
    words = [str(tmp_path), str(T0), str(T0 + DAYS * DAY_NS)]
    told = [
        json.loads(subprocess.run(
            [sys.executable, "-c", _MEASURE, *words], capture_output=True, text=True, timeout=120, check=True
        ).stdout)
        for _ in range(2)
    ]  # fmt: skip
    prepared = sum(path.stat().st_size for path in (tmp_path / ".prepared").rglob("*.npy"))
    assert prepared > 200 << 20
    for run in told:
        assert run["rows"] == run["events"] == DAYS * ROWS
    # The first has prepared them, one after the other; the second found them.
    for run in told:
        grown = [value - run["seen"][0] for value in run["seen"][1:]]
        assert max(grown) < 48 << 20, grown
        # In between it was no more either: the first day, before the first look, takes as much as any.
        assert run["peaks"][-1] - run["peaks"][0] < 48 << 20, run["peaks"]


def test_both_streams_of_a_day_share_what_is_open(tmp_path: Path, tables: dict[str, pl.DataFrame]) -> None:
    lake = Lake(tmp_path)
    publish(lake, day_of(T0), book=tables["book"])
    feed = open_feed(lake, "v", "S", T0 + 1, T0 + 3)
    assert isinstance(feed.days[0], StoredDay)
    (venue,), (receiver,) = list(feed.exchange()), list(feed.local())
    assert np.may_share_memory(venue.code, receiver.code)
    assert not venue.price_ticks.flags.writeable


def test_schemas_are_what_these_tests_write() -> None:
    assert list(ORDERS_SCHEMA) == [*BOOK_SCHEMA, "order_id"]
    assert list(BBO_SCHEMA)[2:6] == ["bid_price_ticks", "bid_qty_lots", "ask_price_ticks", "ask_qty_lots"]
