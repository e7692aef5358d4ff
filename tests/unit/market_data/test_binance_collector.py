import gzip
import json
from decimal import Decimal
from uuid import UUID

import pytest

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import Repairs, import_file, inspect_file
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
    text = "".join(f"{(T + at + latency_ms) * NS} {json.dumps(body)}\n" for at, body in lines)
    path.write_bytes(gzip.compress(text.encode()))
    return path


GOOD = [
    depth(0, 1, 5, 0, bids=[("9.9", "7.000")]),
    depth(1, 6, 8, 5, bids=[("9.8", "2.000")], asks=[("10.1", "0.000")]),
    snapshot(2, 6, [["9.9", "1.000"]], [["10.1", "1.000"], ["10.2", "3.000"]]),
    depth(3, 9, 9, 8, asks=[("10.2", "4.000")]),
    trade(4),
]


def test_a_late_snapshot_takes_newer_updates_again(tmp_path):
    lake = Lake(tmp_path / "lake")
    report = import_file(write(tmp_path / "f.gz", GOOD), lake, PAIR)
    rows = (
        lake.read("binance", "X", report.days[0].day, "book").select("kind", "side", "price_ticks", "qty_lots").rows()
    )
    assert rows == [
        (3, 1, 0, 0), (3, -1, 0, 0),
        (4, 1, 99, 1000), (4, -1, 101, 1000), (4, -1, 102, 3000),
        (1, 1, 98, 2000), (1, -1, 101, 0),
        (1, -1, 102, 4000),
        (2, -1, 100, 1),
    ]  # fmt: skip
    assert report.counts["updates_before_snapshot_dropped"] == 1
    assert report.counts["updates_reapplied"] == 1
    assert report.quality.sequence_gaps == 0


def test_a_sequence_gap_clears_the_book_and_is_counted(tmp_path):
    lines = [*GOOD, depth(5, 12, 13, 11, bids=[("9.7", "1.000")])]
    lake = Lake(tmp_path / "lake")
    report = import_file(write(tmp_path / "f.gz", lines), lake, PAIR)
    assert report.quality.sequence_gaps == 1
    kinds = lake.read("binance", "X", report.days[0].day, "book")["kind"].to_list()
    assert kinds[-2:] == [3, 3], "after a gap nothing is known of the book"


def test_prints_that_are_not_of_the_book_are_left_out(tmp_path):
    report = import_file(write(tmp_path / "f.gz", [*GOOD, trade(6, X="INSURANCE_FUND")]), Lake(tmp_path / "l"), PAIR)
    assert (report.counts["trade"], report.counts["off_book_trades_skipped"]) == (2, 1)


def test_negative_latency_needs_the_named_repair(tmp_path):
    path, lake = write(tmp_path / "f.gz", GOOD, latency_ms=-1200), Lake(tmp_path / "lake")
    with pytest.raises(DataError, match="offset_negative_latency"):
        import_file(path, lake, PAIR)
    assert lake.days("binance", "X") == []
    report = import_file(path, lake, PAIR, Repairs(offset_negative_latency=True))
    assert (report.offset_ns, report.quality.negative_latency_share) == (1201 * NS, 1.0)
    rows = lake.read("binance", "X", report.days[0].day, "book")
    assert (rows["local_ts"] - rows["exch_ts"]).min() == 1 * NS


def test_facts_of_an_unknown_pair(tmp_path):
    facts = inspect_file(write(tmp_path / "f.gz", GOOD))
    assert (facts.symbol, facts.tick_size, facts.lot_size, facts.market) == (
        "X",
        Decimal("0.1"),
        Decimal("0.001"),
        "usdm",
    )
    assert facts.streams == {"depth": 3, "snapshot": 1, "trade": 1}


BAD_LINES = {
    "NaN": trade(5, price="NaN"),
    "1e308": trade(5, price="1e308"),
    "negative": trade(5, price="-1.0"),
    "off tick": trade(5, price="10.05"),
    "off lot": trade(5, quantity="0.0001"),
    "zero": trade(5, quantity="0.000"),
    "number instead of text": trade(5, price=10.0),
    "time in seconds": (
        5,
        {"stream": "x@trade", "data": {"e": "trade", "E": 1, "T": 1e9, "s": "X", "p": "1", "q": "1"}},
    ),
    "back in time": trade(1),
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
        import_file(write(tmp_path / "f.gz", [*GOOD, BAD_LINES[name]]), lake, PAIR)
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
        "no snapshot": b"".join(line + b"\n" for line in raw.splitlines() if b"lastUpdateId" not in line),
    }[kind]


@pytest.mark.parametrize("kind", [
    "truncated gzip", "empty", "not a format", "binary", "half a line", "huge line", "deep json", "not utf-8",
    "no snapshot",
])  # fmt: skip
def test_damaged_files_publish_nothing(tmp_path, kind):
    path = write(tmp_path / "f.gz", GOOD)
    path.write_bytes(damaged(kind, path.read_bytes()))
    lake = Lake(tmp_path / "lake")
    with pytest.raises(DataError, match=r"f\.gz"):
        import_file(path, lake, PAIR)
    assert lake.days("binance", "X") == []
