"""Delimited text: exact numbers, units of time, and faults that name their row and column."""

from __future__ import annotations

import gzip
from decimal import Decimal

import polars as pl
import pytest

from market_maker.domain.errors import DataError
from market_maker.market_data import source as source_module
from market_maker.market_data.columns import TRUE_FALSE, TimeColumn, codes, read_csv, refuse_where
from market_maker.market_data.schema import DECIMAL
from market_maker.market_data.source import Source

COLUMNS = {"time": pl.Int64, "price": DECIMAL, "side": pl.String}
GOOD = "1,10.5,buy\n2,10.25,sell\n"
HEADER = "time,price,side\n"


def source_of(tmp_path, content, name="f.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source(path)


def read(tmp_path, content, columns=COLUMNS, **options):
    return pl.concat(read_csv(source_of(tmp_path, content), columns, **options))


EXPECTED = [(1, Decimal("10.5"), "buy"), (2, Decimal("10.25"), "sell")]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (GOOD, [1, 2]),
        (GOOD[:-1], [1, 2]),
        (HEADER + GOOD, [2, 3]),
        ("\ufeff" + GOOD, [1, 2]),
        ("\ufeff" + HEADER + GOOD, [2, 3]),
        (GOOD.replace("\n", "\r\n"), [1, 2]),
        ((HEADER + GOOD).replace("\n", "\r\n"), [2, 3]),
        (GOOD + "\n\n", [1, 2]),
        ('"time","price","side"\n' + GOOD, [2, 3]),
    ],
    ids=[
        "plain",
        "no last newline",
        "header",
        "BOM",
        "BOM and header",
        "CRLF",
        "CRLF and header",
        "blank end",
        "quoted header",
    ],
)
def test_forms_of_the_same_table(tmp_path, content, rows):
    frame = read(tmp_path, content)
    assert frame.select(list(COLUMNS)).rows() == EXPECTED
    assert frame["row"].to_list() == rows
    assert frame.schema == {**COLUMNS, "row": pl.Int64}


def test_blank_lines_between_rows_keep_the_numbers_of_rows_right(tmp_path):
    content = "1,10.5,buy\n\n\n2,oops,sell\n"
    with pytest.raises(DataError, match=r"f\.csv, row 4, column price: 'oops' is not a decimal number"):
        read(tmp_path, content)
    for end in ("\n", "\r\n"):
        frame = read(tmp_path, "1,10.5,buy\n\n\n2,10.25,sell\n".replace("\n", end))
        assert frame.select(list(COLUMNS)).rows() == EXPECTED, end
        assert frame["row"].to_list() == [1, 4]


def test_columns_of_a_header_are_found_by_name_in_any_order(tmp_path):
    content = "Side,extra,TIME,px,extra\nbuy,x,1,10.5,\nsell,,2,10.25,z\n"
    frame = read(tmp_path, content, aliases={"px": "price"})
    assert frame.select(list(COLUMNS)).rows() == EXPECTED
    with pytest.raises(DataError, match=r"f\.csv, row 1: the header .* has no column price"):
        read(tmp_path, content)


def test_optional_columns_may_be_empty_or_absent(tmp_path):
    columns = {**COLUMNS, "fee": DECIMAL}
    assert read(tmp_path, HEADER + GOOD, columns, optional=["fee"])["fee"].to_list() == [None, None]
    frame = read(tmp_path, "1,10.5,buy,\n2,10.25,sell,0.1\n", columns, optional=["fee"])
    assert frame["fee"].to_list() == [None, Decimal("0.1")]
    with pytest.raises(DataError, match=r"row 1, column fee: an empty field"):
        read(tmp_path, "1,10.5,buy,\n2,10.25,sell,0.1\n", columns)


def test_separator_skipped_rows_and_quotes(tmp_path):
    frame = read(tmp_path, "a comment\nanother\n" + GOOD.replace(",", ";"), separator=";", skip_rows=2)
    assert (frame["time"].to_list(), frame["row"].to_list()) == ([1, 2], [3, 4])
    frame = read(tmp_path, '1,10.5,"buy, now"\n', quotes=True)
    assert frame["side"].to_list() == ["buy, now"]
    with pytest.raises(DataError, match=r"row 2, column price: 'x' is not"):
        read(tmp_path, '1,10.5,"buy, now"\n2,x,sell\n', quotes=True)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("x,1,buy", r"column time: 'x' is not a whole number"),
        ("1.5,1,buy", r"column time: '1\.5' is not a whole number"),
        ("9223372036854775808,1,buy", r"column time: '9223372036854775808' does not fit into 64 bits"),
        (",1,buy", "column time: an empty field"),
        ("3,,buy", "column price: an empty field"),
        ("3,NaN,buy", r"column price: 'NaN' is not a decimal number"),
        ("3,Infinity,buy", r"column price: 'Infinity' is not"),
        ("3,1e400,buy", r"column price: '1e400' is not a decimal number below 10\^20"),
        ("3,100000000000000000000,buy", r"column price: '100000000000000000000' is not a decimal number below"),
        ("3,1_000,buy", "column price: '1_000' is not"),
        ("3,1", "2 fields where 3 are needed: '3,1'"),
        ("3,1,buy,4", "4 fields where 3 are needed: '3,1,buy,4'"),
        ("3,1,", "column side: an empty field"),
        ("garbage", "1 fields where 3 are needed"),
    ],
)
@pytest.mark.parametrize("start", ["", HEADER], ids=["no header", "header"])
def test_faults_name_row_and_column(tmp_path, line, what, start):
    row = 3 + (start != "")
    for end in (GOOD, ""):
        with pytest.raises(DataError, match=rf"^f\.csv, row {row}(, |: ){what}"):
            read(tmp_path, start + GOOD + line + "\n" + end)


def test_text_that_is_no_utf8_is_refused_with_its_row(tmp_path):
    with pytest.raises(DataError, match=r"f\.csv, row 3: not UTF-8"):
        read(tmp_path, (GOOD).encode() + b"3,1,\xff\xfe\n")


def test_rows_are_numbered_through_the_blocks_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module.Source.blocks, "__defaults__", (None, 64))
    text = "".join(f"{i},{i}.5,buy\n" for i in range(1, 500))
    frames = list(read_csv(source_of(tmp_path, gzip.compress((HEADER + text).encode()), "f.csv.gz"), COLUMNS))
    assert len(frames) > 50
    frame = pl.concat(frames)
    assert frame["row"].to_list() == list(range(2, 501))
    with pytest.raises(DataError, match="row 501, column price"):
        list(read_csv(source_of(tmp_path, HEADER + text + "500,x,buy\n"), COLUMNS))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.000000000000000001", "1e-18"),
        ("99999999999999999999.5", "99999999999999999999.5"),
        ("1e-8", "1e-8"),
        ("-5", "-5"),
        (".5", "0.5"),
    ],
)
def test_decimals_never_pass_through_floating_point(tmp_path, text, value):
    assert read(tmp_path, f"1,{text},buy\n")["price"].to_list() == [Decimal(value)]


@pytest.mark.parametrize(
    ("first", "unit", "ns"),
    [
        (1_700_000_000, "s", 1_700_000_000_000_000_000),
        (1_700_000_000_123, "ms", 1_700_000_000_123_000_000),
        (1_700_000_000_123_456, "us", 1_700_000_000_123_456_000),
        (1_700_000_000_123_456_789, "ns", 1_700_000_000_123_456_789),
    ],
)
def test_the_unit_of_a_time_is_found_by_its_size(tmp_path, first, unit, ns):
    times = TimeColumn(source_of(tmp_path, ""), "time")
    frame = pl.DataFrame({"time": [None, first, first + 1], "row": [1, 2, 3]})
    assert times.ns(frame).to_list()[:2] == [None, ns]
    assert times.unit == unit


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([1_700_000_000, 1_700_000_000_123], 8),          # s, then ms
        ([1_735_689_599_999, 1_735_689_600_000_000], 8),  # Binance spot dumps change from ms to us with 2025
        ([1_700_000_000_123, 0], 8),
        ([1_700_000_000_123, -1], 8),
    ],
)  # fmt: skip
def test_a_mixture_of_units_is_refused_with_its_row(tmp_path, values, row):
    times = TimeColumn(source_of(tmp_path, ""), "time")
    with pytest.raises(DataError, match=rf"f\.csv, row {row}, column time"):
        times.ns(pl.DataFrame({"time": values, "row": [7, 8]}))


def test_a_mixture_over_two_batches_is_refused(tmp_path):
    times = TimeColumn(source_of(tmp_path, ""), "time")
    times.ns(pl.DataFrame({"time": [1_700_000_000_123], "row": [1]}))
    with pytest.raises(DataError, match="row 2, column time"):
        times.ns(pl.DataFrame({"time": [1_700_000_000_123_456], "row": [2]}))
    with pytest.raises(DataError, match="12 is no time in s, ms, us or ns"):
        TimeColumn(source_of(tmp_path, ""), "time").ns(pl.DataFrame({"time": [12], "row": [1]}))


def test_codes_and_refusals_name_the_first_bad_row(tmp_path):
    source = source_of(tmp_path, "")
    frame = pl.DataFrame({"m": ["true", "False", "1"], "row": [4, 5, 6]})
    assert codes(source, frame.head(2), "m", TRUE_FALSE).to_list() == [1, 0]
    with pytest.raises(DataError, match=r"row 6, column m: '1' is none of true, false"):
        codes(source, frame, "m", TRUE_FALSE)
    refuse_where(source, frame, "m", pl.Series([False, None, False]), "is wrong")
    with pytest.raises(DataError, match=r"row 5, column m: False is wrong"):
        refuse_where(source, frame, "m", pl.Series([None, True, True]), "is wrong")
