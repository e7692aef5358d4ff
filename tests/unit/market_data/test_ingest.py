"""Importing files: how they continue each other and the lake, what may be repaired or forced, and what is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from collector_lines import DAY_MS, NS, START_MS, bar, depth, quote, snapshot, trade, ts, write
from market_data_builders import import_files
from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import ImportOptions, Reading, Repairs
from market_maker.market_data.measured import measured_days
from market_maker.storage.lake import Lake

PAIR = Instrument(UUID(int=1), "binance-usdm", "X", "A", "B", Decimal("0.1"), Decimal("0.001"))
DAY = date(2023, 12, 9)
DAY_BEFORE = date(2023, 12, 8)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def day_of(lake, day=DAY):
    return lake.describe("binance-usdm", "X", day)


def rows(lake, table="book", day=DAY, *, columns=("kind", "side", "price_ticks", "qty_lots")):
    return lake.read("binance-usdm", "X", day, table).select(columns).rows()


def begun(at, number):
    """Return lines that begin a book at `at` with update `number`: 9.9 x 10.1."""
    return [depth(at, number, number, number - 1), snapshot(at + 1, number)]


# A file that ends before midnight with update 12, and one that continues it after midnight without a snapshot.
FIRST = [*begun(-1000, 10), depth(-500, 11, 12, 10, bids=[("9.8", "2.000")])]
SECOND = [
    depth(500, 13, 13, 12, bids=[("9.9", "3.000")]),
    trade(600, 7),
    depth(700, 14, 15, 13, asks=[("10.2", "1.000")]),
]


def test_a_file_without_snapshot_continues_the_book_of_the_day_before(lake, tmp_path):
    import_files([write(tmp_path / "a.gz", FIRST)], lake, PAIR)
    import_files([write(tmp_path / "b.gz", SECOND)], lake, PAIR)
    day = day_of(lake)
    assert (day.carried_rows, day.gaps) == (5, ())
    assert rows(lake) == [
        (3, 1, 0, 0), (3, -1, 0, 0), (4, 1, 99, 1000), (4, 1, 98, 2000), (4, -1, 101, 1000),
        (1, 1, 99, 3000), (2, -1, 100, 1), (1, -1, 102, 1000),
    ]  # fmt: skip
    assert rows(lake, "bbo", columns=("bid_price_ticks", "bid_qty_lots", "ask_price_ticks")) == [
        # What stood when the day began, and the change.
        (99, 1000, 101), (99, 3000, 101),
    ]  # fmt: skip


def test_a_continuation_of_another_book_is_not_believed(lake, tmp_path):
    import_files([write(tmp_path / "a.gz", FIRST[:-1])], lake, PAIR)
    report = import_files([write(tmp_path / "b.gz", SECOND)], lake, PAIR)
    assert [file.kind for file in day_of(lake).files] == ["trades"]
    assert rows(lake, "trades") == [(2, -1, 100, 1)]
    ((staged, _),) = report.streams[0].days
    assert staged.figures["updates_without_book"] == 2


def test_two_files_together_are_one_book_in_whatever_order_they_are_named(lake, tmp_path):
    first, second = write(tmp_path / "a.gz", FIRST), write(tmp_path / "b.gz", SECOND)
    report = import_files([second, first], lake, PAIR)
    assert [(day.day, day.gaps, day.carried_rows) for day in report.days] == [(DAY_BEFORE, (), 0), (DAY, (), 5)]
    assert [source.name for source in report.sources] == ["b.gz", "a.gz"]
    assert report.streams[0].figures["receive_time_reversals"] == 0
    apart = Lake(tmp_path / "apart")
    for path in (first, second):
        import_files([path], apart, PAIR)
    assert day_of(apart).file("book").sha256 == day_of(lake).file("book").sha256


def test_two_files_together_that_do_not_meet_leave_a_gap(lake, tmp_path):
    # The second one continues update 13, which no file holds; its own snapshot comes later.
    second = [
        depth(10_000, 14, 14, 13, bids=[("9.7", "1.000")]),
        trade(11_000, 1),
        depth(12_000, 15, 15, 14),
        snapshot(13_000, 15),
    ]
    first = [*begun(0, 10), depth(1000, 11, 12, 10)]
    import_files([write(tmp_path / "a.gz", first), write(tmp_path / "b.gz", second)], lake, PAIR)
    assert day_of(lake).gaps == ((ts(1) + 1, ts(13_000)),), (
        "an update without a level is no row: the last one is the snapshot"
    )
    # What stood before the gap must not go on standing in a replay: it is cleared.
    assert rows(lake)[4:] == [
        (3, 1, 0, 0), (3, -1, 0, 0), (2, -1, 100, 1), (3, 1, 0, 0), (3, -1, 0, 0), (4, 1, 99, 1000), (4, -1, 101, 1000),
    ]  # fmt: skip


def test_a_file_imported_before_the_one_that_it_continues_gives_its_prints_alone(lake, tmp_path):
    first, second = write(tmp_path / "a.gz", FIRST), write(tmp_path / "b.gz", SECOND)
    report = import_files([second], lake, PAIR)
    assert "begins without a snapshot, after update 12" in report.warnings[0]
    assert [file.kind for file in day_of(lake).files] == ["trades"]
    import_files([first], lake, PAIR)
    import_files([second], lake, PAIR)
    assert day_of(lake).file("book").rows == 8


HOUR = 3_600_000
PARTS = {  # of one day, each with a book of its own: first and last rows at 1, 3 and 5 h, and a second later
    name: [*begun(hours * HOUR, hours * 10), depth(hours * HOUR + 1000, hours * 10 + 1, hours * 10 + 1, hours * 10, bids=[("9.8", str(hours))])]
    for name, hours in {"a.gz": 1, "b.gz": 3, "c.gz": 5}.items()
}  # fmt: skip


@pytest.mark.parametrize(
    "order", [["a.gz", "b.gz", "c.gz"], ["c.gz", "b.gz", "a.gz"], ["a.gz", "c.gz", "b.gz"]], ids="".join
)
def test_files_of_one_day_are_merged_with_gaps_between_them(lake, tmp_path, order):
    for name in order:
        import_files([write(tmp_path / name, PARTS[name])], lake, PAIR)
    day = day_of(lake)
    ends = [ts(hours * HOUR + 1000) + 1 for hours in (1, 3)]
    assert day.gaps == ((ends[0], ts(3 * HOUR + 1)), (ends[1], ts(5 * HOUR + 1)))
    assert [origin.name for origin in day.file("book").origins] == ["a.gz", "b.gz", "c.gz"]
    quantities = [row[3] for row in rows(lake) if row[2] == 98]
    assert quantities == [1000, 3000, 5000]
    whole = Lake(tmp_path / "whole")
    import_files([tmp_path / name for name in order], whole, PAIR)
    assert day_of(whole).gaps == day.gaps
    assert rows(whole, "bbo", columns=("local_ts", "bid_price_ticks")) == rows(
        lake, "bbo", columns=("local_ts", "bid_price_ticks")
    )


def test_an_overlap_is_a_conflict_and_replace_takes_the_whole_day(lake, tmp_path):
    for name in ("a.gz", "c.gz"):
        import_files([write(tmp_path / name, PARTS[name])], lake, PAIR)
    before = day_of(lake)
    other = write(tmp_path / "other.gz", [*begun(HOUR + 500, 900), trade(4 * HOUR, 1)])
    with pytest.raises(
        Conflict, match=r"book of binance-usdm X 2023-12-09 is there from a\.gz for the same time; --replace"
    ):
        import_files([other], lake, PAIR)
    assert day_of(lake) == before
    report = import_files([other], lake, PAIR, ImportOptions(replace=True))
    assert [origin.name for origin in day_of(lake).file("book").origins] == ["other.gz"]
    assert report.to_json()["options"] == {"replace": True}


def test_a_file_of_the_same_name_takes_the_place_of_its_own_part(lake, tmp_path):
    for name in ("a.gz", "b.gz"):
        import_files([write(tmp_path / name, PARTS[name])], lake, PAIR)
    mended = [*PARTS["b.gz"], depth(3 * HOUR + 2000, 32, 32, 31, bids=[("9.7", "1")])]
    import_files([write(tmp_path / "b.gz", mended)], lake, PAIR)
    assert [row[2:] for row in rows(lake) if row[0] == 1] == [(98, 1000), (98, 3000), (97, 1000)]
    assert [origin.name for origin in day_of(lake).file("book").origins] == ["a.gz", "b.gz"]


def test_quotes_of_the_source_take_the_place_of_derived_ones_and_stay(lake, tmp_path):
    book = write(tmp_path / "book.gz", [*begun(0, 10), depth(2000, 11, 11, 10, bids=[("9.95", "1")])])
    pair = Instrument(UUID(int=1), "binance-usdm", "X", "A", "B", Decimal("0.01"), Decimal("0.001"))
    import_files([book], lake, pair)
    prices = ("bid_price_ticks", "ask_price_ticks")
    assert rows(lake, "bbo", columns=prices) == [(990, 1010), (995, 1010)]
    assert [origin.name for origin in day_of(lake).file("bbo").origins] == ["derived"]
    quotes = write(tmp_path / "quotes.gz", [quote(1000, "9.91", "10.1")])
    import_files([quotes], lake, pair)
    assert rows(lake, "bbo", columns=prices) == [(991, 1010)]
    import_files([book], lake, pair)
    assert rows(lake, "bbo", columns=prices) == [(991, 1010)], "the book's import leaves the source's own quotes alone"
    assert [file.kind for file in day_of(lake).files] == ["bbo", "book"]


def test_bars_have_a_file_a_year(lake, tmp_path):
    days = [START_MS + i * DAY_MS for i in range(20, 27)]  # 2023-12-29 to 2024-01-04
    lines = [bar(i, start, str(10 + i)) for i, start in enumerate(days)]
    report = import_files([write(tmp_path / "bars.gz", lines[:5])], lake, PAIR)
    assert [day.day for day in report.days] == [date(2023, 1, 1), date(2024, 1, 1)]
    assert rows(lake, "bars_86400s", date(2023, 1, 1), columns=("local_ts", "close_ticks")) == [
        (start * NS, 100 + 10 * i) for i, start in enumerate(days[:3])
    ]
    # The next file of the year is added to it; a file that repeats a day of another is refused.
    import_files([write(tmp_path / "later.gz", lines[5:])], lake, PAIR)
    assert len(rows(lake, "bars_86400s", date(2024, 1, 1), columns=("local_ts",))) == 4
    with pytest.raises(Conflict):
        import_files([write(tmp_path / "again.gz", lines[3:4])], lake, PAIR)
    assert rows(lake, "bars_86400s", date(2024, 1, 1), columns=("volume", "trades"))[0] == (Decimal(5), 3)


def test_an_offset_is_applied_to_every_stream_and_recorded(lake, tmp_path):
    path = write(
        tmp_path / "a.gz",
        [*begun(0, 10), quote(5, "9.9", "10.1"), depth(7, 11, 11, 10, bids=[("9.9", "2")])],
        latency_ms=-30,
    )
    asked = Repairs(offset_negative_latency=True, latency_floor_ns=2 * NS)
    report = import_files([path], lake, PAIR, ImportOptions(repairs=asked))
    assert report.offset_ns == 32 * NS
    assert report.to_json()["offset_ns"] == 32 * NS
    assert [f.rule for f in report.streams[0].findings] == ["negative_latency_share"]
    assert report.verdict == "WARN"
    assert rows(lake, "bbo", columns=("local_ts",)) == [(ts(5, 2),)]
    origin = day_of(lake).file("book").origins[0]
    assert (origin.first_ts, origin.last_ts) == (ts(1, 2), ts(7, 2))
    fixed = import_files(
        [path],
        Lake(lake.root / "b"),
        PAIR,
        ImportOptions(repairs=Repairs(offset_ns=100 * NS, offset_negative_latency=True)),
    )
    assert fixed.offset_ns == 100 * NS
    assert fixed.options == {"offset_negative_latency": True, "offset_ns": 100 * NS}


def test_a_clock_that_was_right_is_not_moved(lake, tmp_path):
    report = import_files(
        [write(tmp_path / "a.gz", begun(0, 10))],
        lake,
        PAIR,
        ImportOptions(repairs=Repairs(offset_negative_latency=True)),
    )
    assert report.offset_ns == 0
    assert report.streams[0].findings == []
    assert rows(lake, columns=("local_ts",))[0] == (ts(1),)


def test_a_failing_rule_stops_the_import_and_force_is_recorded(lake, tmp_path):
    # One message of two is crossed: 10.3 above 10.1.
    path = write(tmp_path / "a.gz", [*begun(0, 10), depth(10, 11, 11, 10, bids=[("10.3", "1")])])
    with pytest.raises(
        DataError, match=r"^a\.gz: crossed_share: 50\.0000% share of messages.*; --force imports it all the same$"
    ):
        import_files([path], lake, PAIR)
    assert lake.days("binance-usdm", "X") == []
    report = import_files([path], lake, PAIR, ImportOptions(force=True))
    assert (report.forced, report.verdict, report.options) == (["crossed_share"], "FAIL", {"force": True})
    assert day_of(lake).file("book").rows == 5


def test_a_price_of_another_unit_is_found_before_anything_is_staged(lake, tmp_path):
    lines = [trade(i, i + 1, "10.0") for i in range(3)] + [trade(4, 4, "1010.0")]
    with pytest.raises(DataError, match=r"absurd_prices.*a\.gz, row 4, column price: 1010 after 10 is no price"):
        import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    assert import_files([write(tmp_path / "b.gz", [*lines[:3], trade(4, 4, "1000.0")])], lake, PAIR).verdict == "WARN"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (quote(9, "9.95", "10.1"), "column bid_price: 9.95 is not a multiple of the tick size 0.1 of binance-usdm X"),
        (quote(9, "9.9", "10.15"), "column ask_price: 10.15 is not a multiple of the tick size 0.1"),
        (trade(9, 1, "10.0", "0.0015"), "column qty: 0.0015 is not a multiple of the lot size 0.001"),
        (trade(9, 1, "10.05"), "column price: 10.05 is not a multiple of the tick size 0.1"),
        (
            trade(9, 1, "10.0", "1099511628"),
            "column qty: 1099511628 is more than 1099511627776 times the lot size 0.001",
        ),
    ],
)
def test_numbers_off_the_steps_of_the_pair_are_named(lake, tmp_path, line, what):
    with pytest.raises(DataError, match=rf"^a\.gz, row 3, {what}"):
        import_files([write(tmp_path / "a.gz", [*begun(0, 10), line])], lake, PAIR)


def test_levels_that_no_whole_tick_can_hold_are_left_out_and_counted(lake, tmp_path):
    # 2**40 ticks of 0.1 are 109951162777.6.
    lines = [*begun(0, 10), depth(9, 11, 11, 10, asks=[("10.2", "1"), ("109951162777.7", "1")])]
    report = import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    assert report.streams[0].counts["levels_out_of_range"] == 1
    assert rows(lake)[-1] == (1, -1, 102, 1000)


def test_rows_of_two_files_at_once_are_put_in_order(lake, tmp_path):
    numbers = {"a.gz": [1, 3, 5, 7], "b.gz": [2, 4, 6]}
    paths = [write(tmp_path / name, [trade(i, i) for i in of]) for name, of in numbers.items()]
    import_files(paths, lake, PAIR)
    assert rows(lake, "trades", columns=("sequence",)) == [(i,) for i in range(1, 8)]


def test_a_third_file_leaves_the_continuation_of_two_others_whole(lake, tmp_path):
    first = [*begun(0, 10), depth(1000, 11, 11, 10, bids=[("9.8", "1")])]
    second = [depth(5000, 12, 12, 11, bids=[("9.8", "2")])]
    import_files([write(tmp_path / "a.gz", first)], lake, PAIR)
    import_files([write(tmp_path / "b.gz", second)], lake, PAIR)
    assert day_of(lake).gaps == ()
    import_files([write(tmp_path / "c.gz", PARTS["c.gz"])], lake, PAIR)
    assert day_of(lake).gaps == ((ts(5000) + 1, ts(5 * HOUR + 1)),)
    # Without its first part the second one is not known any more.
    import_files([write(tmp_path / "a.gz", [*begun(0, 10), trade(1000, 1)])], lake, PAIR)
    assert day_of(lake).gaps == ((ts(1000) + 1, ts(5 * HOUR + 1)),)


def test_files_of_two_formats_and_empty_ones_are_refused(lake, tmp_path):
    good = write(tmp_path / "a.gz", begun(0, 10))
    log = tmp_path / "b.txt"
    log.write_text('1619000000.5: {"type": "match", "product_id": "A-B"}\n')
    with pytest.raises(
        DataError, match=r"b\.txt is of format venue_log, a\.gz of binance_collector; import them apart"
    ):
        import_files([good, log], lake)
    with pytest.raises(DataError, match=r"c\.gz"):
        import_files([good, write(tmp_path / "c.gz", [depth(5, 1, 1, 0)])], lake, PAIR)
    assert lake.symbols() == []


def test_what_does_not_fit_into_memory_goes_to_files_and_gives_the_same(lake, tmp_path, monkeypatch):
    lines = [
        *FIRST,
        *SECOND,
        *(depth(1000 + i, 16 + i, 16 + i, 15 + i, bids=[("9.7", str(1 + i % 5))]) for i in range(50)),
    ]
    path = write(tmp_path / "a.gz", lines)
    import_files([path], lake, PAIR)
    monkeypatch.setattr("market_maker.market_data.spool.MEMORY_BYTES", 0)
    monkeypatch.setattr("market_maker.market_data.assembly.MEMORY_BYTES", 0)
    monkeypatch.setattr("market_maker.market_data.importers.binance_collector.BATCH_ROWS", 7)
    small = Lake(tmp_path / "small")
    import_files([path], small, PAIR)
    assert rows(small) == rows(lake)
    assert rows(small, day=DAY_BEFORE) == rows(lake, day=DAY_BEFORE)
    assert day_of(small).gaps == day_of(lake).gaps
    assert not [path for path in small.root.iterdir() if path.name.startswith(".") and path.name != ".prepared"]


def test_progress_is_that_of_all_files(tmp_path):
    paths = [write(tmp_path / f"{i}.gz", PARTS["a.gz"]) for i in range(2)]
    seen = []
    Reading(paths, ImportOptions(), tmp_path, lambda done, size: seen.append((done, size))).close()
    size = sum(path.stat().st_size for path in paths)
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


def test_what_is_measured_on_the_way_in_is_what_is_measured_later(lake, tmp_path):
    """A day that begins with a carried book and was added to by a second file: both are measured, the carried book is not."""
    import_files([write(tmp_path / "a.gz", FIRST)], lake, PAIR)
    import_files([write(tmp_path / "b.gz", SECOND)], lake, PAIR)
    report = import_files([write(tmp_path / "c.gz", PARTS["c.gz"])], lake, PAIR)
    ((staged, _),) = report.streams[0].days
    # Two updates of b.gz; the snapshot and the update of c.gz.
    assert (staged.figures["messages"], staged.figures["trades"]) == (4, 1)
    later = {(item["day"], item["table"]): item["figures"] for item in measured_days(lake, PAIR, None, None)}
    measured = later["2023-12-09", "book"]
    assert measured["gaps"] == staged.figures["gaps"] == [[str(ts(700) + 1), str(ts(5 * HOUR + 1))]]
    # The clear that was put at the gap's beginning is a row of the lake, and in time it lies before c.gz.
    ours = {"rows", "silences_longer_than_s"}
    assert {name: value for name, value in measured.items() if name not in ours} == {
        name: value for name, value in staged.figures.items() if name not in ours
    }
    assert [item["day"] for item in measured_days(lake, PAIR, DAY, None)] == ["2023-12-09"] * 2
    assert [item["day"] for item in measured_days(lake, PAIR, None, DAY_BEFORE)] == ["2023-12-08"] * 2


def test_trades_are_measured_against_the_quotes_beside_them(lake, tmp_path):
    lines = [
        quote(0, "9.9", "10.1"),
        trade(1000, 1, "10.1"),
        trade(2000, 2, "10.2"),
        quote(3000, "10.1", "10.3"),
        trade(4000, 3, "10.2"),
    ]
    import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    figures = {item["table"]: item["figures"] for item in measured_days(lake, PAIR, None, None)}
    # 10.2 above 10.1, and the same price within 10.1 and 10.3 later.
    assert figures["trades"]["trade_through_share"] == pytest.approx(1 / 3)
