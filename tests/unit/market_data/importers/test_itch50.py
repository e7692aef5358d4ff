import datetime as dt
import gzip
import struct
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data.book import Book
from market_maker.market_data.importers import Notes, ReadOptions, itch50
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

TRADE, CLEAR, SNAPSHOT, PRINT = EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.PRINT
ADD, CANCEL, FILL = EventKind.ADD, EventKind.CANCEL, EventKind.FILL
MIDNIGHT = 1_548_824_400 * 10**9  # 2019-01-30 00:00 in New York is 05:00 UTC
NAME = "01302019.NASDAQ_ITCH50"
OPEN = 34_200 * 10**9


def message(kind, locate, ts, body=b""):
    content = kind.encode() + struct.pack(">HH", locate, 0) + ts.to_bytes(6, "big") + body
    return struct.pack(">H", len(content)) + content


def stock(symbol):
    return symbol.encode().ljust(8)


def directory(locate, symbol):
    return message("R", locate, 1, stock(symbol) + bytes(20))


def system(code="O"):
    return message("S", 0, 0, code.encode())


def added(locate, ts, ref, side, shares, price, kind="A"):
    body = struct.pack(">QcI", ref, side.encode(), shares) + stock("ANY") + struct.pack(">I", price)
    return message(kind, locate, ts, body + b"MPID" * (kind == "F"))


def executed(locate, ts, ref, shares, match):
    return message("E", locate, ts, struct.pack(">QIQ", ref, shares, match))


def executed_at(locate, ts, ref, shares, match, printable, price):
    return message("C", locate, ts, struct.pack(">QIQcI", ref, shares, match, printable.encode(), price))


def reduced(locate, ts, ref, shares):
    return message("X", locate, ts, struct.pack(">QI", ref, shares))


def deleted(locate, ts, ref):
    return message("D", locate, ts, struct.pack(">Q", ref))


def replaced(locate, ts, old, new, shares, price):
    return message("U", locate, ts, struct.pack(">QQII", old, new, shares, price))


def hidden(locate, ts, side, shares, price, match):
    return message(
        "P", locate, ts, struct.pack(">QcI", 0, side.encode(), shares) + stock("ANY") + struct.pack(">IQ", price, match)
    )


def cross(locate, ts, shares, price, match):
    return message("Q", locate, ts, struct.pack(">Q", shares) + stock("ANY") + struct.pack(">IQc", price, match, b"O"))


def broken(locate, ts, match):
    return message("B", locate, ts, struct.pack(">Q", match))


def trading(locate, ts, state):
    return message("H", locate, ts, stock("ANY") + state.encode() + bytes(5))


def write(tmp_path, messages, name=NAME, compress=lambda data: data):
    path = tmp_path / name
    path.write_bytes(compress(b"".join(messages)))
    return path


def read(path, **options):
    notes = Notes()
    batches = list(itch50.read(Source(path), ReadOptions(**options), notes))
    for batch in batches:
        assert tuple(batch.frame.columns) == RAW_COLUMNS["orders"]
        assert (batch.price_unit, batch.qty_unit) == (Decimal("0.0001"), 1)
    return batches, notes


def frames(batches):
    symbols = dict.fromkeys(batch.stream.symbol for batch in batches)
    return {symbol: pl.concat([b.frame for b in batches if b.stream.symbol == symbol]) for symbol in symbols}


DAY = [
    system(), directory(7, "ABC"), directory(8, "OTHER"), trading(7, 2, "T"),
    added(7, OPEN, 11, "B", 100, 10_0000), added(8, OPEN, 12, "S", 5, 1_0000), added(7, OPEN + 1, 13, "S", 300, 10_0100, "F"),
    executed(7, OPEN + 2, 13, 50, 901),
    executed_at(7, OPEN + 3, 13, 60, 902, "Y", 10_0050), executed_at(7, OPEN + 4, 13, 70, 903, "N", 10_0050),
    reduced(7, OPEN + 5, 13, 20), replaced(7, OPEN + 6, 13, 14, 80, 10_0200),
    hidden(7, OPEN + 7, "B", 9, 10_0050, 904), hidden(7, OPEN + 8, "S", 8, 10_0050, 905),
    cross(7, OPEN + 9, 10_000_000_000, 10_0000, 906), cross(7, OPEN + 9, 0, 0, 907),
    deleted(7, OPEN + 10, 99), deleted(7, OPEN + 11, 11), broken(7, OPEN + 12, 901), trading(7, OPEN + 13, "H"),
    executed(7, OPEN + 14, 14, 80, 908), message("Y", 7, OPEN + 15, stock("ABC") + b"0"), system("C"),
]  # fmt: skip


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gz"])
def test_every_message(tmp_path, compress):
    path = write(tmp_path, DAY, NAME + ".gz" * (compress is gzip.compress), compress)
    assert itch50.recognises(Source(path))
    batches, notes = read(path, symbols=("ABC", "XYZ"))
    assert {(b.stream.venue, b.stream.symbol, b.stream.table) for b in batches} == {("nasdaq", "ABC", "orders")}
    frame = frames(batches)["ABC"]
    assert frame["exch_ts"].equals(frame["local_ts"], check_names=False)
    found = frame.with_columns(pl.col("local_ts") - MIDNIGHT - OPEN)
    assert found.select("local_ts", "kind", "side", "price", "qty", "sequence", "order_id", "last", "row").rows() == [
        (0, CLEAR, 1, 0, 0, 0, 0, False, 5), (0, CLEAR, -1, 0, 0, 0, 0, False, 5),
        (0, SNAPSHOT, 1, 0, 0, 0, 0, True, 5),
        (0, ADD, 1, 100000, 100, 0, 11, True, 5),
        (1, ADD, -1, 100100, 300, 0, 13, True, 7),
        (2, TRADE, 1, 100100, 50, 901, 0, False, 8), (2, FILL, -1, 100100, 50, 0, 13, True, 8),
        (3, TRADE, 1, 100050, 60, 902, 0, False, 9), (3, FILL, -1, 100100, 60, 0, 13, True, 9),
        (4, FILL, -1, 100100, 70, 0, 13, True, 10),
        (5, CANCEL, -1, 100100, 20, 0, 13, True, 11),
        (6, CANCEL, -1, 100100, 100, 0, 13, False, 12), (6, ADD, -1, 100200, 80, 0, 14, True, 12),
        (7, PRINT, 0, 100050, 9, 904, 0, True, 13), (8, PRINT, 1, 100050, 8, 905, 0, True, 14),
        (9, PRINT, 0, 100000, 10_000_000_000, 906, 0, True, 15),
        (11, CANCEL, 1, 100000, 100, 0, 11, True, 18),
        (14, TRADE, 1, 100200, 80, 908, 0, False, 21), (14, FILL, -1, 100200, 80, 0, 14, True, 21),
    ]  # fmt: skip
    assert notes.counts == {
        "ABC": {"rows": 19},
        "": {"messages": 23, "unknown_references": 1, "non_printable_executions": 1, "broken_trades": 1,
             "halts_and_pauses": 1, "empty_crosses": 1, "hidden_executions": 2, "crosses": 1},
    }  # fmt: skip
    assert notes.warnings == [
        f"{path.name}: it has no instrument XYZ",
        f"{path.name}: 1 trades were broken later by the exchange; they are still in the result",
    ]
    assert notes.instruments == {"ABC": {"base": "ABC", "quote": "USD", "contract_type": "SPOT"}}


def test_all_instruments_of_a_small_file(tmp_path):
    batches, _ = read(write(tmp_path, DAY), venue="v")
    assert {symbol: frame.height for symbol, frame in frames(batches).items()} == {"ABC": 19, "OTHER": 4}
    assert {batch.stream.venue for batch in batches} == {"v"}
    batches, _ = read(write(tmp_path, DAY), symbols=("OTHER",), symbol="mine")
    assert set(frames(batches)) == {"mine"}
    with pytest.raises(DataError, match="one name was given, but several instruments"):
        read(write(tmp_path, DAY), symbol="mine")


def test_a_whole_market_needs_names(tmp_path):
    many = [system(), *(directory(i, f"S{i:03d}") for i in range(1, 60)), added(5, OPEN, 1, "B", 1, 1)]
    with pytest.raises(
        DataError, match=r"more than 50 instruments \(S001, S002, .*, S020, \.\.\.\): name those to import"
    ):
        read(write(tmp_path, many))
    batches, _ = read(write(tmp_path, many), symbols=("S005",))
    assert set(frames(batches)) == {"S005"}
    with pytest.raises(DataError, match="no order or print of S006 in it"):
        read(write(tmp_path, many), symbols=("S006",))


@pytest.mark.parametrize(
    ("name", "day", "venue"),
    [
        (NAME, "2019-01-30", "nasdaq"), ("S020619-v50.txt", "2019-02-06", "nasdaq"), ("S020619-v50", "2019-02-06", "nasdaq"),
        ("20190730.PSX_ITCH_50", "2019-07-30", "nasdaq-psx"), ("20190730.BX_ITCH_50", "2019-07-30", "nasdaq-bx"),
    ],
)  # fmt: skip
def test_the_day_is_in_the_name(tmp_path, name, day, venue):
    (batch, *_), _ = read(write(tmp_path, DAY, name), symbols=("ABC",))
    local = (
        pl.Series([batch.frame["local_ts"][0]]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("America/New_York")
    )
    assert (str(local.dt.date()[0]), str(local.dt.time()[0]), batch.stream.venue) == (day, "09:30:00", venue)


def test_a_file_without_a_day_in_its_name(tmp_path):
    path = write(tmp_path, DAY, "sample.itch")
    assert itch50.recognises(Source(path))
    with pytest.raises(DataError, match=r"sample.itch: the messages hold no date, .* give the date"):
        read(path)
    batches, _ = read(path, date=dt.date(2019, 1, 30), symbols=("ABC",))
    assert batches[0].frame["local_ts"][0] == MIDNIGHT + OPEN


def test_the_end_mark_ends_the_file(tmp_path):
    _, notes = read(write(tmp_path, [*DAY, b"\x00\x00", b"junk that follows"]))
    assert notes.counts[""]["messages"] == 23


BAD = {
    "type": (message("z", 7, OPEN), "row 6: message b'z' is no type of message of ITCH 5.0"),
    "length": (message("A", 7, OPEN), "row 6: message b'A' has another length than its type"),
    "no shares": (added(7, OPEN, 50, "B", 0, 1), "row 6: message b'A' has no shares, no side"),
    "no side": (added(7, OPEN, 50, "X", 1, 1), "row 6: message b'A' has no shares, no side"),
    "no order": (added(7, OPEN, 0, "B", 1, 1), "row 6: message b'A' has no shares, no side, or an order number"),
    "a large order number": (added(7, OPEN, 2**63, "B", 1, 1), "row 6: message b'A' has no shares, no side, or an order number"),
    "twice": (added(7, OPEN, 11, "B", 1, 1), "row 6: message b'A' adds an order that is in the book already"),
    "replaced by another": (replaced(7, OPEN, 11, 11, 1, 1) * 2 + replaced(7, OPEN, 11, 11, 0, 1), "row 8: message b'U' has no shares"),
    "another day": (added(7, 86_400 * 10**9, 50, "B", 1, 1), "row 6, column timestamp: 86400000000000 is no nanosecond of a day"),
    "cut": (added(7, OPEN, 50, "B", 1, 1)[:-1], "row 6: the file ends inside this message"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_message_is_refused(tmp_path, case):
    bad, error = BAD[case]
    with pytest.raises(DataError, match=f"^{NAME}, {error}"):
        read(write(tmp_path, [*DAY[:5], bad]))


@pytest.mark.parametrize(
    "data", [b"", b"S", b"DBN\x01" + bytes(50), b"time,price\n" * 20, directory(1, "A"), bytes(100)]
)
def test_other_files_are_not_recognised(tmp_path, data):
    assert not itch50.recognises(Source(write(tmp_path, [data])))


def plain(data, wanted):  # noqa: C901 - slow and obvious on purpose
    """The same rules in plain Python: rows by symbol, and the number of unknown references."""
    symbols, book, rows, unknown = {}, {}, {}, 0
    at = number = 0
    while at < len(data):
        (length,) = struct.unpack_from(">H", data, at)
        body = data[at + 2 : at + 2 + length]
        at, number = at + 2 + length, number + 1
        kind, (locate,) = chr(body[0]), struct.unpack_from(">H", body, 1)
        ts = MIDNIGHT + int.from_bytes(body[5:11], "big")
        if kind == "R":
            symbols[locate] = body[11:19].decode().strip()
        if symbols.get(locate) not in wanted:
            continue
        out = rows.setdefault(symbols[locate], [])

        def put(kind, side, price, shares, match=0, ref=0):
            out.append((ts, int(kind), side, price, shares, match, ref, number))  # noqa: B023 - used at once

        if kind in "AF":
            ref, side, shares = struct.unpack_from(">QcI", body, 11)
            (price,) = struct.unpack_from(">I", body, 32)
            book[ref] = [1 if side == b"B" else -1, price, shares]
            put(ADD, *book[ref], 0, ref)
        elif kind in "ECXDU":
            (ref,) = struct.unpack_from(">Q", body, 11)
            if ref not in book:
                unknown += 1
                continue
            order = book[ref]
            left = order[2]
            shares = min(struct.unpack_from(">I", body, 19)[0], left) if kind in "ECX" else left
            if kind == "E":
                put(TRADE, -order[0], order[1], shares, struct.unpack_from(">Q", body, 23)[0])
            if kind == "C" and body[31:32] == b"Y":
                put(
                    TRADE,
                    -order[0],
                    struct.unpack_from(">I", body, 32)[0],
                    shares,
                    struct.unpack_from(">Q", body, 23)[0],
                )
            put(FILL if kind in "EC" else CANCEL, order[0], order[1], shares, 0, ref)
            order[2] -= shares
            if not order[2]:
                del book[ref]
            if kind == "U":
                new, shares, price = struct.unpack_from(">QII", body, 19)
                book[new] = [order[0], price, shares]
                put(ADD, *book[new], 0, new)
        elif kind == "P":
            side, shares = struct.unpack_from(">cI", body, 19)
            price, match = struct.unpack_from(">IQ", body, 32)
            put(PRINT, 1 if side == b"S" else 0, price, shares, match)
    return rows, unknown


def random_day(rng, count):
    """Messages of five instruments; references are mostly to orders that live, some to none."""
    out, live, ts, ref = [system(), *(directory(i, f"S{i}") for i in range(1, 6))], {}, OPEN, 1000
    for _ in range(count):
        ts += int(rng.integers(0, 5000))
        chance, size, price = rng.random(), int(rng.integers(1, 500)), int(rng.integers(90_000, 110_000))
        locate = int(rng.integers(1, 6))
        if chance < 0.5 or not live:
            ref += int(rng.integers(1, 3))
            live[ref] = locate
            out.append(added(locate, ts, ref, "BS"[ref % 2], size, price, "AF"[size % 2]))
            continue
        old = int(rng.choice(list(live)[-50:])) if chance < 0.95 else 5
        locate = live.get(old, locate)
        if chance < 0.6:
            out.append(executed(locate, ts, old, size, ref))
        elif chance < 0.65:
            out.append(executed_at(locate, ts, old, size, ref, "YN"[size % 2], price))
        elif chance < 0.75:
            out.append(reduced(locate, ts, old, size))
        elif chance < 0.85:
            live.pop(old, None)
            out.append(deleted(locate, ts, old))
        elif chance < 0.93:
            live.pop(old, None)
            ref += 3
            live[ref] = locate
            out.append(replaced(locate, ts, old, ref, size, price))
        elif chance < 0.96:
            out.append(hidden(locate, ts, "BS"[size % 2], size, price, ref))
        else:
            out.append(deleted(locate, ts, old))
    return b"".join(out)


def test_the_kernel_and_plain_python_agree(tmp_path, monkeypatch, rng):
    """A random day in small blocks, little room for rows and orders: everything that can stop the kernel does."""
    monkeypatch.setattr(itch50, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(itch50, "ROWS_ROOM", 300)
    monkeypatch.setattr(itch50, "TABLE_ROOM", 64)
    data = random_day(rng, 8_000)
    wanted = ("S1", "S3", "S4")
    expected, unknown = plain(data, wanted)
    batches, notes = read(write(tmp_path, [data]), symbols=wanted)
    assert len(batches) > 20
    found = frames(batches)
    assert notes.counts[""]["unknown_references"] == unknown > 50
    assert notes.counts[""]["changes_of_more_than_is_left"] > 50
    assert set(found) == set(expected) == set(wanted)
    for symbol, frame in found.items():
        body = frame.filter(~pl.col("kind").is_in([CLEAR, SNAPSHOT]))
        columns = body.select("local_ts", "kind", "side", "price", "qty", "sequence", "order_id", "row")
        assert columns.rows() == expected[symbol]
        rows = frame["row"].to_numpy()
        assert np.array_equal(frame["last"].to_numpy()[3:], np.append(rows[4:] != rows[3:-1], True))
        book = Book(by_order=True)
        book.apply(frame.rename({"price": "price_ticks", "qty": "qty_lots"}))
        assert (book.unknown_orders, book.duplicate_adds, book.known) == (0, 0, True)
