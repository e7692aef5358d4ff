from decimal import Decimal
from uuid import UUID

import pytest

from market_data_builders import publish
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.prices import bars, half_ticks_to_price
from market_maker.market_data.recorder import SessionRecorder
from market_maker.market_data.replay import open_feed
from market_maker.market_data.schema import DAY_NS
from market_maker.storage.lake import Lake

SECOND = 1_000_000_000
MIDNIGHT = 19_700 * DAY_NS
PAIR = Instrument(UUID(int=1), "simulator", "A-B", "A", "B", Decimal("0.5"), Decimal(1))


def record(path, lake, start, seconds, price=100):
    recorder = SessionRecorder(path, PAIR)
    recorder.record_snapshot(start, start, [(price - 1, 5)], [(price + 1, 5)])
    for i in range(1, seconds):
        now = start + i * SECOND
        recorder.record_depth(now, now, 1, price - 1, 5 + i % 7)
        recorder.record_trade(now, now, -1, price - 1, 2)
    return publish(lake, recorder.finish(lake))


def test_a_session_over_midnight_gives_two_days_each_with_its_book(tmp_path):
    lake = Lake(tmp_path / "lake")
    start = MIDNIGHT - 10 * SECOND
    report = record(tmp_path / "spool", lake, start, 20)
    first, second = report.days
    assert [day.carried_rows for day in report.days] == [0, 4]
    (stream,) = report.streams
    assert (stream.counts["trade"], [day.figures["crossed_share"] for day, _ in stream.days]) == (19, [0.0, 0.0])
    alone = lake.read("simulator", "A-B", second.day, "book")
    assert alone["kind"].to_list()[:4] == [3, 3, 4, 4]
    feed = open_feed(lake, "simulator", "A-B", start, start + 19 * SECOND, allow_gaps=True)
    rows = sum(len(rows.ts) for rows in feed.local())
    assert rows == first.file("book").rows + second.file("book").rows - 4, "a replay over both skips the carried book"
    assert feed.missing == ((MIDNIGHT - SECOND + 1, MIDNIGHT),), "one second a row: the last before midnight is quiet"
    assert not (tmp_path / "spool").exists()


def test_a_torn_spool_goes_on_after_a_crash(tmp_path):
    path = tmp_path / "spool"
    recorder = SessionRecorder(path, PAIR)
    recorder.record_snapshot(MIDNIGHT, MIDNIGHT, [(99, 5)], [(101, 5)])
    recorder.close()
    path.write_bytes(path.read_bytes() + b"torn")
    again = SessionRecorder(path, PAIR)
    assert again.rows == 4
    again.record_trade(MIDNIGHT + 1, MIDNIGHT + 1, 1, 101, 3)
    assert again.finish(Lake(tmp_path / "lake")).rows == 5


def test_a_recording_without_a_first_snapshot_is_refused_and_kept(tmp_path):
    recorder = SessionRecorder(tmp_path / "spool", PAIR)
    recorder.record_depth(MIDNIGHT, MIDNIGHT, 1, 99, 5)
    lake = Lake(tmp_path / "lake")
    with pytest.raises(DataError, match="snapshot"):
        recorder.finish(lake)
    recorder.close()
    assert (tmp_path / "spool").exists()
    assert lake.days("simulator", "A-B") == []


def test_publishing_again_replaces_the_day_and_leaves_no_old_file(tmp_path):
    lake = Lake(tmp_path / "lake")
    before = record(tmp_path / "a", lake, MIDNIGHT, 5).days[0]
    after = record(tmp_path / "b", lake, MIDNIGHT, 9).days[0]
    assert set(lake.describe("simulator", "A-B", after.day).files) == set(after.files)
    assert after.file("book").sha256 != before.file("book").sha256
    names = {path.name for path in (tmp_path / "lake").rglob("day=*/*")}
    assert names == {"manifest.json", *(file.name for file in after.files)}


def test_damage_is_found_on_reading(tmp_path):
    lake = Lake(tmp_path / "lake")
    day = record(tmp_path / "a", lake, MIDNIGHT, 5).days[0]
    path = next((tmp_path / "lake").rglob("book-*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="sha256"):
        lake.read("simulator", "A-B", day.day, "book")


def test_damage_of_the_prepared_form_is_found(tmp_path):
    lake = Lake(tmp_path / "lake")
    record(tmp_path / "a", lake, MIDNIGHT, 5)
    open_feed(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + 4 * SECOND)
    path = next((tmp_path / "lake").rglob("qty_lots.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="prepared"):
        open_feed(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + 4 * SECOND)


def test_a_recording_is_invisible_until_it_is_published_and_can_be_swept_away(tmp_path):
    lake = Lake(tmp_path / "lake")
    recorder = SessionRecorder(tmp_path / "spool", PAIR)
    recorder.record_snapshot(MIDNIGHT, MIDNIGHT, [(99, 5)], [(101, 5)])
    staged = recorder.finish(lake, keep_spool=True)
    assert [file.kind for file in staged.days[0].files] == ["book", "bbo"]
    assert lake.days("simulator", "A-B") == []
    assert lake.sweep("simulator", "A-B") == 2
    assert not list((tmp_path / "lake").rglob("*.parquet"))
    assert (tmp_path / "spool").exists()


def test_the_first_snapshot_may_have_one_side_alone(tmp_path):
    """A side without levels once made the recorded book unknown, because its clear came after the other side."""
    lake = Lake(tmp_path / "lake")
    recorder = SessionRecorder(tmp_path / "spool", PAIR)
    recorder.record_snapshot(MIDNIGHT, MIDNIGHT, [(99, 5)], [])
    recorder.record_depth(MIDNIGHT + 5, MIDNIGHT + 5, -1, 101, 2)
    (day,) = publish(lake, recorder.finish(lake)).days
    assert day.gaps == ()
    assert lake.read("simulator", "A-B", day.day, "bbo")["ask_price_ticks"].to_list() == [0, 101]


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a" * 65, "é"])
def test_names_that_could_leave_the_lake_are_refused(tmp_path, name):
    with pytest.raises(InvalidRequest):
        Lake(tmp_path).days(name, "s")


def test_missing_coverage_is_told(tmp_path):
    lake = Lake(tmp_path / "lake")
    record(tmp_path / "a", lake, MIDNIGHT, 5)
    with pytest.raises(DataError, match="missing"):
        open_feed(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + 8 * SECOND)
    feed = open_feed(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + 8 * SECOND, allow_gaps=True)
    assert feed.coverage == pytest.approx(0.5, abs=0.01)
    with pytest.raises(DataError, match="no recorded events"):
        open_feed(lake, "simulator", "A-B", MIDNIGHT + DAY_NS, MIDNIGHT + 2 * DAY_NS)


def test_bars_carry_quiet_intervals_and_leave_holes_out(tmp_path):
    lake = Lake(tmp_path / "lake")
    recorder = SessionRecorder(tmp_path / "spool", PAIR)
    recorder.record_snapshot(MIDNIGHT, MIDNIGHT, [(99, 5)], [(102, 5)])
    recorder.record_trade(MIDNIGHT + 1, MIDNIGHT + 1, 1, 102, 3)
    now = MIDNIGHT + 2 * SECOND
    recorder.record_depth(now, now, -1, 101, 4)
    publish(lake, recorder.finish(lake))
    first, quiet, last = bars(lake, "simulator", "A-B", MIDNIGHT, MIDNIGHT + DAY_NS, SECOND)
    # 99 + 102 = 201 half ticks, then 99 + 101 = 200.
    assert (first.close_half_ticks, first.volume_lots, first.quotes) == (201, 3, 1)
    assert (quiet.open_half_ticks, quiet.close_half_ticks, quiet.quotes) == (201, 201, 0)
    assert (last.close_half_ticks, last.ts) == (200, now)
    assert half_ticks_to_price(201, Decimal("0.5")) == Decimal("50.25")
    # A range that begins later still knows the price that stands.
    assert bars(lake, "simulator", "A-B", MIDNIGHT + SECOND, now, SECOND) == [quiet]
    with pytest.raises(DataError):
        bars(lake, "simulator", "A-B", 0, SECOND, SECOND)
