"""The collector's stream: Binance's sequence rules, the late snapshot, prints, damaged lines."""

import gzip
import json
from decimal import Decimal
from uuid import UUID

import pytest

from market_data_builders import import_files
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.importers import Stream, detect
from market_maker.market_data.ingest import ImportOptions, Reading, Repairs
from market_maker.market_data.source import Source
from market_maker.storage.lake import Lake

PAIR = Instrument(UUID(int=1), "binance", "X", "A", "B", Decimal("0.1"), Decimal("0.001"))
T = 1_700_000_000_000
NS = 1_000_000


def depth(at, first, last, before, bids=(), asks=()):
    data = {"e": "depthUpdate", "E": T + at, "T": T + at, "s": "X", "U": first, "u": last, "pu": before,
            "b": list(bids), "a": list(asks)}  # fmt: skip
    return at, {"stream": "x@depth@0ms", "data": data}


def trade(at, price="10.0", quantity="0.001", **more):
    data = {"e": "trade", "E": T + at, "T": T + at, "s": "X", "t": at, "p": price, "q": quantity, "m": True} | more
    return at, {"stream": "x@trade", "data": data}


def snapshot(at, last, bids, asks):
    return at, {"lastUpdateId": last, "E": T + at, "T": T + at, "bids": bids, "asks": asks}


def write(path, lines, latency_ms=5):
    """Write lines (received at, body); `latency_ms` is added to the former."""
    text = "".join(f"{(T + at + latency_ms) * NS} {json.dumps(body)}\n" for at, body in lines)
    path.write_bytes(gzip.compress(text.encode()))
    return path


def rows_of(lake, report):
    rows = lake.read("binance", "X", report.days[0].day, "book")
    return rows.select("kind", "side", "price_ticks", "qty_lots").rows()


GOOD = [
    depth(0, 1, 5, 0, bids=[("9.9", "7.000")]),
    depth(1, 6, 8, 5, bids=[("9.8", "2.000")], asks=[("10.1", "0.000")]),
    snapshot(2, 6, [["9.9", "1.000"]], [["10.1", "1.000"], ["10.2", "3.000"]]),
    depth(3, 9, 9, 8, asks=[("10.2", "4.000")]),
    trade(4),
]


def test_a_late_snapshot_takes_newer_updates_again(tmp_path):
    lake = Lake(tmp_path / "lake")
    report = import_files([write(tmp_path / "f.gz", GOOD)], lake, PAIR)
    assert rows_of(lake, report) == [
        (3, 1, 0, 0), (3, -1, 0, 0),
        (4, 1, 99, 1000), (4, -1, 101, 1000), (4, -1, 102, 3000),
        (1, 1, 98, 2000), (1, -1, 101, 0),
        (1, -1, 102, 4000),
        (2, -1, 100, 1),
    ]  # fmt: skip
    counts = report.streams[0].counts
    assert (counts["updates_before_snapshot_dropped"], counts["updates_reapplied"]) == (1, 1)
    assert "sequence_gaps" not in counts
    quotes = lake.read("binance", "X", report.days[0].day, "bbo")
    # 9.9 stands; 10.1 is gone with the update that is applied again, so that 10.2 is the best ask: 99 and 102 ticks.
    names = ("bid_price_ticks", "bid_qty_lots", "ask_price_ticks", "ask_qty_lots")
    assert quotes.select(names).rows() == [(99, 1000, 102, 3000), (99, 1000, 102, 4000)]


def test_a_sequence_gap_clears_the_book_and_is_counted(tmp_path):
    lines = [*GOOD, depth(5, 12, 13, 11, bids=[("9.7", "1.000")])]
    lake = Lake(tmp_path / "lake")
    report = import_files([write(tmp_path / "f.gz", lines)], lake, PAIR)
    counts = report.streams[0].counts
    assert (counts["sequence_gaps"], counts["ends_without_book"]) == (1, 1)
    assert ("sequence_gaps", "WARN") in [(f.rule, f.verdict) for f in report.streams[0].findings]
    assert [row[:2] for row in rows_of(lake, report)[-2:]] == [(3, 1), (3, -1)], "after a gap nothing is known"
    (day,) = report.days
    # The last good update is that of 3 ms, received at 8 ms; the file ends at 10 ms.
    assert day.gaps == (((T + 8) * NS + 1, (T + 10) * NS + 1),)


def test_prints_that_are_not_of_the_book_are_told_apart_or_left_out(tmp_path):
    path = write(tmp_path / "f.gz", [*GOOD, trade(6, X="INSURANCE_FUND"), trade(7, X="NA", quantity="0")])
    lake = Lake(tmp_path / "a")
    report = import_files([path], lake, PAIR)
    assert [row[0] for row in rows_of(lake, report)[-2:]] == [2, 5]
    counts = report.streams[0].counts
    assert (counts["trade"], counts["off_book_prints"], counts["skipped_empty_prints"]) == (3, 1, 1)
    lake = Lake(tmp_path / "b")
    report = import_files([path], lake, PAIR, ImportOptions(repairs=Repairs(drop_off_book=True)))
    assert [row[0] for row in rows_of(lake, report)[-2:]] == [1, 2]
    assert report.to_json()["options"] == {"drop_off_book": True}


def test_a_trade_told_again_is_counted_and_left_out(tmp_path):
    lake = Lake(tmp_path / "lake")
    report = import_files([write(tmp_path / "f.gz", [*GOOD, trade(4), trade(6)])], lake, PAIR)
    assert report.streams[0].counts["duplicates"] == 1
    # Trade 5 is missing: prints need no book, so that this is told and no gap.
    assert report.streams[0].counts["trade_id_gaps"] == 1
    assert [row[0] for row in rows_of(lake, report)].count(2) == 2


def test_negative_latency_needs_the_named_repair(tmp_path):
    path, lake = write(tmp_path / "f.gz", GOOD, latency_ms=-1200), Lake(tmp_path / "lake")
    with pytest.raises(
        DataError, match=r"f\.gz: negative_latency_share: 100.0000%.*--offset-negative-latency mends it"
    ):
        import_files([path], lake, PAIR)
    assert lake.days("binance", "X") == []
    report = import_files([path], lake, PAIR, ImportOptions(repairs=Repairs(offset_negative_latency=True)))
    figures = report.streams[0].figures
    # The smallest latency, -1200 ms, becomes 1 ms.
    assert (report.offset_ns, figures["negative_latency_share"], figures["smallest_latency_ns"]) == (
        1201 * NS,
        1.0,
        -1200 * NS,
    )
    rows = lake.read("binance", "X", report.days[0].day, "book")
    assert (rows["local_ts"] - rows["exch_ts"]).min() == 1 * NS
    assert report.verdict == "WARN"


def test_rows_received_out_of_order_need_the_named_repair(tmp_path):
    path = write(tmp_path / "f.gz", [*GOOD, trade(6), (5, trade(7)[1])])
    lake = Lake(tmp_path / "lake")
    for force in (False, True):
        with pytest.raises(
            DataError, match=r"receive_time_reversals: 1 rows.*\(first in \S+, row \d+\); --sort mends it$"
        ):
            import_files([path], lake, PAIR, ImportOptions(force=force))
    report = import_files([path], lake, PAIR, ImportOptions(repairs=Repairs(sort=True)))
    rows = lake.read("binance", "X", report.days[0].day, "book")
    assert rows["local_ts"].is_sorted()
    assert rows.filter(rows["kind"] == 2)["sequence"].to_list() == [4, 7, 6]
    assert ("receive_time_reversals", "WARN") in [(f.rule, f.verdict) for f in report.streams[0].findings]


def test_facts_of_an_unknown_pair(tmp_path):
    path = write(tmp_path / "f.gz", GOOD)
    assert detect(Source(path)).NAME == "binance_collector"
    reading = Reading([path], ImportOptions(), tmp_path)
    (spooled,) = reading.streams
    assert spooled.stream == Stream("binance-usdm", "X", "book")
    assert (spooled.price_step.size(), spooled.qty_step.size()) == (Decimal("0.1"), Decimal("0.001"))
    counts = reading.counts("X")
    assert {name: counts[name] for name in ("depth", "snapshot", "trade")} == {"depth": 3, "snapshot": 1, "trade": 1}
    reading.close()


BAD_LINES = {
    "NaN": trade(5, price="NaN"),
    "1e308": trade(5, price="1e308"),
    "negative": trade(5, price="-1.0"),
    "off tick": trade(5, price="10.05"),
    "off lot": trade(5, quantity="0.0001"),
    "zero quantity": trade(5, quantity="0.000"),
    "zero price": trade(5, price="0.0"),
    "number instead of text": trade(5, price=10.0),
    "time in seconds": (
        5,
        {"stream": "x@trade", "data": {"e": "trade", "E": 1, "T": 1e9, "s": "X", "p": "1", "q": "1"}},
    ),
    "neither": (5, {"what": 1}),
    "levels without lists": (
        5,
        {"stream": "x@depth", "data": {"e": "depthUpdate", "E": T + 5, "s": "X", "u": 10, "pu": 9, "U": 10}},
    ),
}


@pytest.mark.parametrize("name", list(BAD_LINES))
def test_bad_lines_are_refused_with_file_and_row(tmp_path, name):
    lake = Lake(tmp_path / "lake")
    with pytest.raises(DataError, match=r"f\.gz.*row 6"):
        import_files([write(tmp_path / "f.gz", [*GOOD, BAD_LINES[name]])], lake, PAIR)
    assert lake.days("binance", "X") == []
    assert not list((tmp_path / "lake").rglob("*.parquet"))


def damaged(kind, good):
    raw = gzip.decompress(good)
    return {
        "truncated gzip": good[: len(good) // 2],
        "empty": b"",
        "not a format": b"a,b,c\n1,2,3\n",
        "binary": b"\x00\xff" * 500,
        "half a line": raw[:-40],
        "huge line": raw + b"1700000000010000000 {" + b" " * (5 << 20) + b"}\n",
        "deep json": raw + b"1700000000010000000 " + b'{"a":' * 100_000,
        "not utf-8": raw + b'1700000000010000000 {"stream":"\xff","data":{}}\n',
    }[kind]


@pytest.mark.parametrize("kind", [
    "truncated gzip", "empty", "not a format", "binary", "half a line", "huge line", "deep json", "not utf-8",
])  # fmt: skip
def test_damaged_files_publish_nothing(tmp_path, kind):
    path = write(tmp_path / "f.gz", GOOD)
    path.write_bytes(damaged(kind, path.read_bytes()))
    lake = Lake(tmp_path / "lake")
    with pytest.raises(DataError, match=r"f\.gz"):
        import_files([path], lake, PAIR)
    assert lake.days("binance", "X") == []


def test_without_any_snapshot_only_the_prints_are_taken(tmp_path):
    path = write(tmp_path / "f.gz", [line for line in GOOD if "stream" in line[1]])
    lake = Lake(tmp_path / "lake")
    report = import_files([path], lake, PAIR)
    (day,) = report.days
    assert [file.kind for file in day.files] == ["trades"]
    assert lake.read("binance", "X", day.day, "trades").select("kind", "price_ticks").rows() == [(2, 100)]
    assert report.streams[0].counts["updates_without_snapshot"] == 3
    assert "begins without a snapshot" in report.warnings[0]
