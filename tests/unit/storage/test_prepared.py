"""Columns in memory-mapped files: written whole or not at all, in parts, verified piece by piece, let go of by row."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.storage import prepared
from market_maker.storage.prepared import (
    derived_columns,
    has_columns,
    read_columns,
    release,
    write_columns,
    write_parts,
)


def parts(*sizes: int) -> Iterator[dict[str, Any]]:
    """Parts of a column and of a table beside it, some empty; the last one has a column of its own."""
    start = 0
    for n in sizes:
        rows = np.arange(start, start + n)
        yield {"x": rows, "pairs": np.column_stack([rows, -rows])}
        start += n
    yield {"marks": np.array([7, 8], np.int8)}


@pytest.mark.parametrize("sizes", [(5,), (3, 0, 2), (0, 0), (1, 1, 1, 1, 1)])
def test_columns_written_in_parts_are_those_written_at_once(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    n = sum(sizes)
    write_parts(tmp_path / "parts", parts(*sizes))
    write_columns(tmp_path / "whole", {
        "x": np.arange(n), "pairs": np.column_stack([np.arange(n), -np.arange(n)]), "marks": np.array([7, 8], np.int8)
    })  # fmt: skip
    one, other = read_columns(tmp_path / "parts"), read_columns(tmp_path / "whole")
    assert one.keys() == other.keys() == {"x", "pairs", "marks"}
    for name in one:
        assert np.array_equal(one[name], other[name])
        assert (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
        assert (tmp_path / "parts" / f"{name}.npy").read_bytes() == (tmp_path / "whole" / f"{name}.npy").read_bytes()
    assert (tmp_path / "parts" / "columns.json").read_text() == (tmp_path / "whole" / "columns.json").read_text()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"x": np.arange(3)}
        raise DataError("the second part cannot be made")

    with pytest.raises(DataError, match="second part"):
        write_parts(tmp_path / "columns", broken())
    assert list(tmp_path.iterdir()) == []
    assert not has_columns(tmp_path / "columns")


def test_whoever_is_second_finds_what_the_first_has_written(tmp_path: Path) -> None:
    def while_another_writes() -> Iterator[dict[str, Any]]:
        write_columns(tmp_path / "columns", {"x": np.arange(3)})
        yield {"x": np.arange(3)}

    write_parts(tmp_path / "columns", while_another_writes())
    assert read_columns(tmp_path / "columns")["x"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["columns"]


def test_derived_columns_lie_beside_those_that_they_are_made_of_and_are_made_once(tmp_path: Path) -> None:
    write_columns(tmp_path / "day", {"x": np.arange(3)})
    made = []

    def build() -> Iterator[dict[str, Any]]:
        made.append(1)
        yield {"twice": 2 * np.arange(3)}

    for _ in range(2):
        assert derived_columns(tmp_path / "day", "form-1", build)["twice"].tolist() == [0, 2, 4]
    assert made == [1]
    # Who may write to them writes to memory of his own.
    column = derived_columns(tmp_path / "day", "form-1", build)["twice"]
    column[0] = 99
    assert derived_columns(tmp_path / "day", "form-1", build)["twice"].tolist() == [0, 2, 4]
    assert read_columns(tmp_path / "day").keys() == {"x"}
    assert not read_columns(tmp_path / "day")["x"].flags.writeable


@pytest.mark.parametrize("at", [0, 1, -1], ids=["first byte", "second piece", "last byte"])
def test_damage_is_found_in_every_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(prepared, "PIECE_BYTES", 1000)
    values = np.arange(1000)  # eight pieces
    write_columns(tmp_path / "columns", {"x": values})
    path = tmp_path / "columns" / "x.npy"
    data = bytearray(path.read_bytes())
    begin = len(data) - values.nbytes
    data[{0: begin, 1: begin + 1500, -1: len(data) - 1}[at]] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"columns is damaged \(x\)"):
        read_columns(tmp_path / "columns")
    path.write_bytes(data[:-8])
    with pytest.raises(DataError, match=r"columns is damaged \("):
        read_columns(tmp_path / "columns")


def resident(column: np.ndarray[Any, Any]) -> int:
    """Kilobytes of a mapped file that are in this process's memory."""
    address = column.ctypes.data
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            begin, end = (int(word, 16) for word in words[0].split("-"))
            found = begin <= address < end
        elif found and words[0] == "Rss:":
            return int(words[1])
    raise AssertionError("the column is not mapped")


@pytest.mark.parametrize("writable", [False, True])
def test_rows_that_are_let_go_of_leave_memory_and_are_found_again(tmp_path: Path, writable: bool) -> None:
    pages = 64
    n = pages * mmap.PAGESIZE // 8
    write_columns(tmp_path / "columns", {"x": np.arange(n), "none": np.zeros(0)})
    columns = read_columns(tmp_path / "columns", writable=writable)
    column = columns["x"]
    total = int(column.sum())
    size = mmap.PAGESIZE >> 10
    assert resident(column) >= pages * size
    release(column, 0, n // 2)
    assert resident(column) <= (pages // 2 + 1) * size
    release(column, n // 2, n)
    assert resident(column) <= size
    assert int(column.sum()) == total
    # A view of the whole is as good; nothing happens to what is no mapped column, or empty.
    release(np.asarray(column), 0, n)
    assert resident(column) <= size
    release(columns["none"], 0, 0)
    release(np.arange(3), 0, 3)
