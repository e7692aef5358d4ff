"""The lake: tables of a day that come and go apart, locks, what a crash leaves, damage, and an object store behind it."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import date
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from market_maker.domain.errors import Conflict, DataError, InvalidRequest, Unavailable
from market_maker.market_data.schema import DAY_NS
from market_maker.storage.lake import MANIFEST, Lake, Origin, PublishedDay, Table, day_of, sha256_of
from market_maker.storage.objects import ObjectStore

MIDNIGHT = 19_700 * DAY_NS
DAY = date(2023, 12, 9)


def frame(*times):
    return pl.DataFrame(
        {"local_ts": [MIDNIGHT + t for t in times], "x": list(times)}, schema={"local_ts": pl.Int64, "x": pl.Int64}
    )


def stage(lake, tick="0.1", day=DAY, **tables):
    return lake.stage(
        venue="v", symbol="S", day=day, tick_size=Decimal(tick), lot_size=Decimal(1),
        tables={kind: rows if isinstance(rows, Table) else Table(rows) for kind, rows in tables.items()},
    )  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def test_tables_of_a_day_come_and_go_apart(lake):
    lake.publish(stage(lake, book=frame(1, 2), bbo=frame(1)))
    lake.publish(stage(lake, trades=frame(5)))
    day = lake.describe("v", "S", DAY)
    assert [(file.kind, file.rows) for file in day.files] == [("bbo", 1), ("book", 2), ("trades", 1)]
    assert (day.first_ts, day.last_ts, day.rows) == (MIDNIGHT + 1, MIDNIGHT + 5, 4)
    old = day.file("book").name
    lake.publish(stage(lake, book=frame(1, 2, 3)))
    again = lake.describe("v", "S", DAY)
    assert again.file("bbo") == day.file("bbo")
    assert lake.read("v", "S", DAY, "book")["x"].to_list() == [1, 2, 3]
    assert old not in names(lake.root)
    assert len(names(lake.root)) == 4


def test_publishing_the_same_again_changes_nothing(lake):
    staged = stage(lake, book=frame(1))
    assert lake.publish(staged) == lake.publish(staged) == lake.publish(PublishedDay.of_json(staged.to_json()))
    assert lake.read("v", "S", DAY, "book").height == 1


def test_a_day_is_described_as_it_was_staged(lake):
    table = Table(
        frame(1, 9), 1, ((MIDNIGHT + 2, MIDNIGHT + 5),), (Origin("a.gz", "ab", 1, 2), Origin("b.gz", "cd", 3, 4))
    )
    staged = stage(lake, book=table)
    lake.publish(staged)
    (file,) = lake.describe("v", "S", DAY).files
    assert file == staged.files[0]
    assert (file.carried_rows, file.gaps, [origin.name for origin in file.origins]) == (1, table.gaps, ["a.gz", "b.gz"])
    path = lake.verified(lake.describe("v", "S", DAY), "book")
    assert sha256_of(path) == file.sha256
    assert file.sha256.startswith(path.stem.removeprefix("book-"))
    assert pl.read_parquet_metadata(path)["tick_size"] == "0.1"


def test_tables_may_be_kept_in_different_steps(lake):
    lake.publish(stage(lake, book=frame(1)))
    lake.publish(stage(lake, tick="0.01", trades=frame(1)))
    day = lake.describe("v", "S", DAY)
    assert {file.kind: file.tick_size for file in day.files} == {"book": Decimal("0.1"), "trades": Decimal("0.01")}
    for kind in ("book", "trades"):
        lake.verified(day, kind)


def test_rows_may_come_from_arrow_files(lake, tmp_path):
    paths = []
    for i in (1, 2):
        paths.append(tmp_path / f"{i}.arrow")
        frame(i).write_ipc(paths[-1])
    lake.publish(stage(lake, book=Table(tuple(paths))))
    assert lake.read("v", "S", DAY, "book")["x"].to_list() == [1, 2]


@pytest.mark.parametrize("rows", [frame(), frame(2, 1)], ids=["none", "out of order"])
def test_bad_rows_are_not_staged(lake, rows):
    with pytest.raises(DataError):
        stage(lake, book=rows)
    assert list(lake.root.rglob("*.parquet")) == []
    with pytest.raises(DataError, match="zero events"):
        stage(lake)


def test_sweep_removes_what_was_never_published_and_nothing_else(lake):
    lake.publish(stage(lake, book=frame(1)))
    before = names(lake.root)
    stage(lake, book=frame(1, 2))
    stage(lake, trades=frame(5), day=date(2023, 12, 10))
    (lake.day_folder("v", "S", DAY) / ".staging-x.parquet").write_bytes(b"half a file")
    assert lake.sweep("v", "S") == 3
    assert names(lake.root) == before
    assert not lake.day_folder("v", "S", date(2023, 12, 10)).exists()
    assert lake.read("v", "S", DAY, "book").height == 1


def test_scan_gives_the_rows_of_a_range_day_by_day(lake):
    lake.publish(stage(lake, book=frame(1, DAY_NS - 1)))
    lake.publish(stage(lake, book=frame(DAY_NS, DAY_NS + 5), day=date(2023, 12, 10)))
    found = [part["x"].to_list() for part in lake.scan("v", "S", "book", MIDNIGHT + 2, MIDNIGHT + DAY_NS + 5)]
    assert found == [[DAY_NS - 1], [DAY_NS]]
    assert [day_of(MIDNIGHT + t) for t in (-1, 0, DAY_NS)] == [date(2023, 12, 8), DAY, date(2023, 12, 10)]


def test_a_yearly_table_does_not_stretch_the_day_that_it_lies_in(lake):
    lake.publish(stage(lake, bars_60s=frame(5, 300 * DAY_NS)))
    assert lake.describe("v", "S", DAY).events == ()
    lake.publish(stage(lake, book=frame(7, 8)))
    day = lake.describe("v", "S", DAY)
    assert (day.first_ts, day.last_ts) == (MIDNIGHT + 7, MIDNIGHT + 8)


# --- locks


def test_a_lock_is_held_by_one(lake):
    with lake.lock("v", "S"):
        with (
            pytest.raises(Conflict, match="v/S is being imported or recorded by another process"),
            lake.lock("v", "S", 0.1),
        ):
            pass
        with lake.lock("v", "T", 0.1):
            pass
    with lake.lock("v", "S", 0.1):
        pass


def test_locks_of_many_are_let_go_when_one_cannot_be_had(lake):
    with lake.lock("v", "T"), pytest.raises(Conflict), lake.locks([("v", "T"), ("v", "S")], 0.1):
        pass
    with lake.locks([("v", "S"), ("v", "T"), ("v", "S")], 0.1):
        pass


def test_who_waits_for_a_lock_gets_it(lake):
    order = []
    with lake.lock("v", "S"):

        def other():
            with lake.lock("v", "S"):
                order.append("other")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]


def test_a_process_that_is_killed_lets_go(lake):
    program = (
        "import sys, time, pathlib; from market_maker.storage.lake import Lake\n"
        "with Lake(pathlib.Path(sys.argv[1])).lock('v', 'S'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lake.root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Conflict), lake.lock("v", "S", 0.1):
            pass
        process.kill()
        process.wait(10)
        with lake.lock("v", "S", 5.0):
            pass


# --- damage


def test_damage_is_told_with_the_file(lake):
    lake.publish(stage(lake, book=frame(1), bbo=frame(1)))
    path = next(lake.root.rglob("book-*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=rf"{path.name}: sha256 .* is not the published .*; import the day again"):
        lake.read("v", "S", DAY, "book")
    assert lake.read("v", "S", DAY, "bbo").height == 1
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name} of v/S 2023-12-09 is missing"):
        lake.read("v", "S", DAY, "book")
    with pytest.raises(DataError, match="has no orders data"):
        lake.read("v", "S", DAY, "orders")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"venue": 1}', b"\xff", b'{"venue": "v", "symbol": "S", "day": "x", "files": []}'],
)  # fmt: skip
def test_a_damaged_manifest_is_told(lake, content):
    lake.publish(stage(lake, book=frame(1)))
    (lake.day_folder("v", "S", DAY) / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match="the manifest of venue=v/symbol=S/day=2023-12-09 is damaged"):
        lake.describe("v", "S", DAY)


def test_a_day_that_is_not_there(lake):
    assert lake.find("v", "S", DAY) is None
    assert lake.days("v", "S") == []
    assert lake.symbols() == []
    with pytest.raises(DataError, match="no recorded data of v/S for 2023-12-09"):
        lake.describe("v", "S", DAY)


def test_prepared_columns_are_made_once_for_a_content(lake):
    built = []

    def build(rows):
        built.append(rows.height)
        return {"x": rows["x"].to_numpy(), "none": np.empty(0, np.int8)}

    lake.publish(stage(lake, book=frame(1, 2)))
    for _ in range(2):
        columns = lake.prepared(lake.describe("v", "S", DAY), "book", 1, build)
        assert columns["x"].tolist() == [1, 2]
        assert not columns["x"].flags.writeable
    assert built == [2]
    lake.prepared(lake.describe("v", "S", DAY), "book", 2, build)
    lake.publish(stage(lake, book=frame(1, 2, 3)))
    lake.prepared(lake.describe("v", "S", DAY), "book", 2, build)
    assert built == [2, 2, 3]


# --- an object store


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path):
    return f"memory://lake-{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/objects"


def test_two_machines_read_the_same_from_an_object_store(url, tmp_path):
    here = Lake(tmp_path / "here", ObjectStore(url))
    there = Lake(tmp_path / "there", ObjectStore(url))
    assert there.days("v", "S") == []
    assert there.symbols() == []
    here.publish(stage(here, book=frame(1, 2), bbo=frame(1)))
    assert there.days("v", "S") == [DAY]
    assert there.symbols() == [("v", "S")]
    assert there.describe("v", "S", DAY) == here.describe("v", "S", DAY)
    assert there.read("v", "S", DAY, "book").equals(frame(1, 2))
    cached = next(there.root.rglob("book-*.parquet"))
    # A second reading needs no store; another table of another machine is seen at once.
    there.publish(stage(there, book=frame(1, 2, 3)))
    assert here.read("v", "S", DAY, "book").height == 3
    assert here.describe("v", "S", DAY).file("bbo").rows == 1
    assert not cached.exists()


def test_what_was_staged_alone_is_not_in_the_store(url, tmp_path):
    here, there = Lake(tmp_path / "here", ObjectStore(url)), Lake(tmp_path / "there", ObjectStore(url))
    stage(here, book=frame(1))
    assert there.days("v", "S") == []
    assert here.sweep("v", "S") == 1


def test_damage_and_loss_in_the_store_are_told(tmp_path):
    url = f"file://{tmp_path}/objects"
    here, there = Lake(tmp_path / "here", ObjectStore(url)), Lake(tmp_path / "there", ObjectStore(url))
    here.publish(stage(here, book=frame(1)))
    stored = next((tmp_path / "objects").rglob("book-*.parquet"))
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="sha256"):
        there.read("v", "S", DAY, "book")
    stored.write_bytes(whole)
    assert there.read("v", "S", DAY, "book").height == 1, "what was damaged on the way is fetched again"
    third = Lake(tmp_path / "third", ObjectStore(url))
    stored.unlink()
    with pytest.raises(DataError, match="missing in the object store"):
        third.read("v", "S", DAY, "book")


def test_a_store_that_fails_is_unavailable_and_an_unknown_one_refused(tmp_path, monkeypatch):
    store = ObjectStore(f"file://{tmp_path}/objects")
    lake = Lake(tmp_path / "lake", store)
    staged = stage(lake, book=frame(1))

    def fail(*_, **__):
        raise PermissionError("no")

    monkeypatch.setattr(store._files, "pipe_file", fail)
    with pytest.raises(Unavailable, match=r"the object store of the lake failed \(pipe_file\): no"):
        lake.publish(staged)
    assert lake.days("v", "S") == []
    monkeypatch.undo()
    lake.publish(staged)
    assert lake.days("v", "S") == [DAY]
    with pytest.raises(InvalidRequest, match="lake"):
        ObjectStore("nonsense://bucket/x")
