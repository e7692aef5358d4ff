"""Stretches in which the book is not known: found, kept with the day, missing in coverage, never carried across."""

from __future__ import annotations

import json
from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from market_data_builders import import_files, publish
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import Assembly, with_message_ends
from market_maker.market_data.prices import bars
from market_maker.market_data.recorder import SessionRecorder
from market_maker.market_data.replay import open_feed
from market_maker.market_data.schema import DAY_NS, EventKind, frame_of
from market_maker.storage.lake import Lake, Table, day_of

S = 1_000_000_000
MS = 1_000_000
MIDNIGHT = 19_700 * DAY_NS
PAIR = Instrument(UUID(int=1), "simulator", "A-B", "A", "B", Decimal("0.5"), Decimal(1))


def snapshot(recorder, ts, bid=99, ask=101):
    recorder.record_snapshot(ts, ts, [(bid, 5)], [(ask, 5)])


def recorded(path, lake, *stretches):
    """Publish stretches (first second, last second), each begun by a snapshot and with one change a second."""
    recorder = SessionRecorder(path, PAIR)
    for first, last in stretches:
        snapshot(recorder, MIDNIGHT + first * S, bid=99 - abs(first))
        for second in range(first + 1, last + 1):
            ts = MIDNIGHT + second * S
            recorder.record_depth(ts, ts, 1, 60 - abs(first), 1 + second % 7)
            recorder.record_trade(ts, ts, -1, 90, 1)
    return publish(lake, recorder.finish(lake))


def test_the_silence_before_a_second_snapshot_is_a_gap_of_the_day(tmp_path):
    lake = Lake(tmp_path / "lake")
    day = recorded(tmp_path / "spool", lake, (0, 10), (30, 40)).days[0]
    assert day.gaps == ((MIDNIGHT + 10 * S + 1, MIDNIGHT + 30 * S),)
    published = lake.describe("simulator", "A-B", day.day)
    assert (set(published.files), published.gaps) == (set(day.files), day.gaps)
    feed = open_feed(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + 40 * S, allow_gaps=True)
    # 20 of 40 seconds are missing.
    assert feed.coverage == pytest.approx(0.5, abs=1e-6)
    assert feed.missing == day.gaps
    with pytest.raises(DataError, match=r"only 0.5000 of the range is recorded.*00:00:10.000Z to .*00:00:30.000Z"):
        open_feed(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + 40 * S)
    for first, last in ((0, 10), (30, 40)):
        assert open_feed(lake, "simulator", "A-B", MIDNIGHT + first * S, MIDNIGHT + last * S).missing == ()


def test_a_range_inside_a_gap_holds_no_events(tmp_path):
    lake = Lake(tmp_path / "lake")
    recorded(tmp_path / "spool", lake, (0, 10), (30, 40))
    with pytest.raises(DataError, match="no recorded events"):
        open_feed(lake, "simulator", "A-B", MIDNIGHT + 12 * S, MIDNIGHT + 20 * S, allow_gaps=True)


def test_prices_are_not_carried_across_a_gap(tmp_path):
    lake = Lake(tmp_path / "lake")
    recorded(tmp_path / "spool", lake, (0, 10), (30, 40))
    series = bars(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + DAY_NS, S)
    seconds = [(price.ts - MIDNIGHT) // S for price in series]
    assert seconds == [*range(11), *range(30, 41)]
    # Bids 99 and 69 with ask 101 are mids of 200 and 170 half ticks.
    assert {price.close_half_ticks for price in series[:11]} == {200}
    assert {price.close_half_ticks for price in series[11:]} == {170}
    # A long interval that holds the gap has quotes of both sides of it.
    whole = bars(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + DAY_NS, 60 * S)
    assert [(p.open_half_ticks, p.close_half_ticks, p.quotes, p.volume_lots) for p in whole] == [(200, 170, 2, 20)]
    # A range that begins in the gap does not know the price from before it.
    later = bars(lake, "simulator", "A-B", MIDNIGHT + 20 * S, MIDNIGHT + DAY_NS, S)
    assert later[0].ts == MIDNIGHT + 30 * S


def test_a_gap_over_midnight_belongs_to_no_day_and_the_old_book_is_not_carried(tmp_path):
    lake = Lake(tmp_path / "lake")
    report = recorded(tmp_path / "spool", lake, (-20, -10), (5, 15))
    assert [(day.gaps, day.carried_rows) for day in report.days] == [((), 0), ((), 0)]
    feed = open_feed(lake, "simulator", "A-B", MIDNIGHT - 20 * S, MIDNIGHT + 15 * S, allow_gaps=True)
    # The end of the first day and the beginning of the second are told one after the other.
    assert feed.missing == ((MIDNIGHT - 10 * S + 1, MIDNIGHT + 5 * S),)
    assert lake.read("simulator", "A-B", report.days[1].day, "book")["price_ticks"].to_list()[:4] == [0, 0, 94, 101]


def test_a_message_torn_by_a_crash_is_not_judged(tmp_path):
    path, lake = tmp_path / "spool", Lake(tmp_path / "lake")
    recorder = SessionRecorder(path, PAIR)
    snapshot(recorder, MIDNIGHT)
    # The bid moves over the old ask; the removal of that ask was not written any more.
    recorder.record_depth(MIDNIGHT + S, MIDNIGHT + S, 1, 103, 5)
    recorder.close()
    path.write_bytes(path.read_bytes() + b"torn")
    again = SessionRecorder(path, PAIR)
    assert (again.rows, again.last_ts) == (5, MIDNIGHT + S)
    snapshot(again, MIDNIGHT + 3 * S, 102, 104)
    day = publish(lake, again.finish(lake)).days[0]
    assert day.gaps == ((MIDNIGHT + S + 1, MIDNIGHT + 3 * S),)


def test_a_gap_still_open_at_midnight_goes_on_in_the_next_day(tmp_path):
    lake = Lake(tmp_path / "lake")
    assembly = Assembly(lake, PAIR, "book", derives_bbo=True)
    start, lost, found = MIDNIGHT - 60 * S, MIDNIGHT - 30 * S, MIDNIGHT + 30 * S
    book = [
        (EventKind.CLEAR, 1, 0, 0),
        (EventKind.CLEAR, -1, 0, 0),
        (EventKind.SNAPSHOT, 1, 99, 5),
        (EventKind.SNAPSHOT, -1, 101, 5),
    ]
    trade = [(EventKind.TRADE, 1, 101, 1)]
    for ts, rows in (
        (start, book), (lost - S, trade), (lost, book[:2]), (MIDNIGHT - S, trade), (MIDNIGHT + S, trade), (found, book),
    ):  # fmt: skip
        assembly.add(message(ts, rows))
    first, second = (staged.day for staged in assembly.finish())
    # Updates are missing since the last good one; a trade after it does not say that the book was still whole.
    assert first.gaps == ((start + 1, MIDNIGHT - S + 1),)
    assert second.gaps == ((MIDNIGHT + S, found),)
    assert second.carried_rows == 0


def test_a_book_that_is_lost_without_a_word_is_cleared_for_the_replay(tmp_path):
    lake = Lake(tmp_path / "lake")
    assembly = Assembly(lake, PAIR, "book", derives_bbo=True)
    book = [
        (EventKind.CLEAR, 1, 0, 0),
        (EventKind.CLEAR, -1, 0, 0),
        (EventKind.SNAPSHOT, 1, 99, 5),
        (EventKind.SNAPSHOT, -1, 101, 5),
    ]
    assembly.add(message(MIDNIGHT, book))
    assembly.lose_book()
    # Not a snapshot: the levels of before would go on standing there.
    assembly.add(message(MIDNIGHT + 10 * S, [(EventKind.TRADE, 1, 101, 1)]))
    assembly.add(message(MIDNIGHT + 20 * S, [(EventKind.DEPTH, 1, 100, 1)]))
    (staged,) = assembly.finish()
    lake.publish(staged.day)
    assert staged.day.gaps == ((MIDNIGHT + 1, MIDNIGHT + 10 * S + 1),)
    assert staged.figures["updates_without_book"] == 1
    rows = lake.read("simulator", "A-B", staged.day.day, "book").select("local_ts", "kind", "side").rows()
    assert rows[4:] == [(MIDNIGHT + 1, 3, 1), (MIDNIGHT + 1, 3, -1), (MIDNIGHT + 10 * S, 2, 1)]
    quotes = lake.read("simulator", "A-B", staged.day.day, "bbo").select("local_ts", "bid_price_ticks").rows()
    assert quotes == [(MIDNIGHT, 99), (MIDNIGHT + 1, 0)]


def message(ts, rows):
    """Return rows (kind, side, ticks, lots) of one message."""
    values = [(ts, ts, int(kind), side, price, lots, 0) for kind, side, price, lots in rows]
    return with_message_ends(frame_of("book", values))


def depth_line(ts, first, last, before, bids=()):
    data = {"e": "depthUpdate", "E": ts // MS, "T": ts // MS, "s": "X", "U": first, "u": last, "pu": before, "b": bids,
            "a": []}  # fmt: skip
    return f"{ts + MS} {json.dumps({'stream': 'x@depth@0ms', 'data': data})}"


def quote_line(ts, bid):
    data = {"e": "bookTicker", "E": ts // MS, "T": ts // MS, "s": "X", "u": 1, "b": bid, "B": "1.000", "a": "10.1",
            "A": "1.000"}  # fmt: skip
    return f"{ts + MS} {json.dumps({'stream': 'x@bookTicker', 'data': data})}"


def snapshot_line(ts, last):
    body = {"lastUpdateId": last, "E": ts // MS, "T": ts // MS, "bids": [["9.9", "1.000"]], "asks": [["10.1", "1.000"]]}
    return f"{ts + MS} {json.dumps(body)}"


@pytest.fixture
def interrupted(tmp_path):
    """Import a file: quotes each second to 40, the book from 1 s to 10 s and again from 30 s."""
    at = [MIDNIGHT + second * S for second in range(42)]
    lines = [quote_line(at[0], "9.9"), depth_line(at[0] + 1, 1, 5, 0), snapshot_line(at[1], 5)]
    lines += [depth_line(at[second], second + 4, second + 4, second + 3, [["9.8", "2.000"]]) for second in range(2, 11)]
    lines += [quote_line(at[12], "9.8"), depth_line(at[20], 101, 101, 100), snapshot_line(at[30], 101)]
    lines += [quote_line(at[32], "9.7"), depth_line(at[40], 102, 102, 101, [["9.8", "3.000"]])]
    path = tmp_path / "f.txt"
    path.write_text("\n".join(lines) + "\n")
    pair = Instrument(UUID(int=1), "binance", "X", "A", "B", Decimal("0.1"), Decimal("0.001"))
    lake = Lake(tmp_path / "lake")
    return lake, import_files([path], lake, pair)


def test_an_import_knows_its_gaps(interrupted):
    lake, report = interrupted
    assert report.streams[0].counts["sequence_gaps"] == 1
    # Until the first snapshot, and from the last good update before the gap to the snapshot after it.
    first = (MIDNIGHT + MS, MIDNIGHT + S + MS)
    second = (MIDNIGHT + 10 * S + MS + 1, MIDNIGHT + 30 * S + MS)
    assert lake.describe("binance", "X", report.days[0].day).gaps == (first, second)
    feed = open_feed(lake, "binance", "X", MIDNIGHT, MIDNIGHT + 40 * S, allow_gaps=True)
    assert feed.coverage == pytest.approx(1 - 21 / 40, abs=1e-3)


def test_quotes_of_the_source_inside_a_gap_of_the_book_count_but_are_not_carried(interrupted):
    lake, _ = interrupted
    series = bars(lake, "binance", "X", MIDNIGHT, MIDNIGHT + DAY_NS, S)
    assert [(price.ts - MIDNIGHT) // S for price in series] == [0, 12, *range(32, 41)]
    assert [price.quotes for price in series] == [1, 1, 1, *[0] * 8]


def test_a_day_without_any_book_is_replayed_from_its_quotes(tmp_path):
    at = [MIDNIGHT, MIDNIGHT + 3 * S]
    path = tmp_path / "f.txt"
    path.write_text("\n".join(quote_line(ts, "9.9") for ts in at) + "\n")
    pair = Instrument(UUID(int=1), "binance", "X", "A", "B", Decimal("0.1"), Decimal("0.001"))
    lake = Lake(tmp_path / "lake")
    import_files([path], lake, pair)
    assert len(bars(lake, "binance", "X", MIDNIGHT, MIDNIGHT + DAY_NS, S)) == 4
    feed = open_feed(lake, "binance", "X", *at)
    assert [table["table"] for table in feed.tables] == ["bbo"]


def test_a_manifest_without_gaps_is_damaged(tmp_path):
    lake = Lake(tmp_path / "lake")
    day = recorded(tmp_path / "spool", lake, (0, 10)).days[0]
    path = next((tmp_path / "lake").rglob("manifest.json"))
    values = json.loads(path.read_text())
    del values["files"][0]["gaps"]
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="manifest"):
        lake.describe("simulator", "A-B", day.day)


def test_staging_keeps_of_a_gap_what_lies_in_the_day(tmp_path):
    lake = Lake(tmp_path / "lake")
    frame = pl.DataFrame({"local_ts": [MIDNIGHT + 10, MIDNIGHT + 20]})
    gaps = ((0, MIDNIGHT + 5), (MIDNIGHT + 5, MIDNIGHT + 12), (MIDNIGHT + 15, MIDNIGHT + 30))
    staged = lake.stage(
        venue="v", symbol="s", day=day_of(MIDNIGHT), tick_size=Decimal(1), lot_size=Decimal(1),
        tables={"book": Table(frame, gaps=gaps)},
    )  # fmt: skip
    assert staged.gaps == ((MIDNIGHT + 10, MIDNIGHT + 12), (MIDNIGHT + 15, MIDNIGHT + 21))
