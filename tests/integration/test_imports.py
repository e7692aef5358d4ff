"""Imports on a real database: recognised when repeated, whole or not at all, completed after a crash, resumed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from collector_lines import DAY_MS, depth, snapshot, trade, ts, write
from market_maker.domain.clock import SimulatedClock
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, NotFound
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.domain.units import Money
from market_maker.market_data import catalogue
from market_maker.market_data.import_queue import ImportQueue, options_of
from market_maker.market_data.importers import ReadOptions
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.intake import Terms
from market_maker.market_data.service import MarketDataService
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData

FORCED = ImportOptions(force=True)


@pytest.fixture
async def service(database_dsn: str, tmp_path: Path) -> AsyncIterator[MarketDataService]:
    database = Database(database_dsn)
    await database.open()
    reference = ReferenceData(database)
    await reference.seed(Money(Decimal(100_000), "USDT"), 1)
    yield MarketDataService(database, reference, Lake(tmp_path / "lake"), SimulatedClock(ts(0)))
    await database.close()


def a_book(at: int = 0, number: int = 10):
    return [
        depth(at, number, number, number - 1), snapshot(at + 1, number),
        depth(at + 1000, number + 1, number + 1, number, bids=[("9.8", "2.000")]), trade(at + 2000, number),
    ]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of two days."""
    return write(tmp_path / "a.gz", [*a_book(), depth(DAY_MS, 12, 12, 11, asks=[("10.2", "1.000")])])


def cut_off(path: Path, target: Path) -> Path:
    target.write_bytes(path.read_bytes()[:-10])
    return target


async def state(service: MarketDataService) -> tuple[object, ...]:
    """Return all that an import may change, but for the list of imports."""
    pairs = await service.database.fetch("SELECT venue, symbol, tick_size, lot_size FROM pairs ORDER BY symbol")
    files = sorted(
        (str(path.relative_to(service.lake.root)), path.read_bytes())
        for path in service.lake.root.rglob("*")
        if path.is_file() and path.name != ".lock"
    )
    return pairs, files, await catalogue.list_days(service.database)


async def imports(service: MarketDataService) -> list[tuple[str, str]]:
    rows = await catalogue.list_imports(service.database, None, 100)
    return [(row["source"], row["state"]) for row in reversed(rows)]


async def test_an_import_makes_pair_days_and_catalogue(service: MarketDataService, path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = await service.import_data([path], progress=lambda *at: seen.append(at))
    assert not done.repeats
    pair = service._reference.find_pair("binance-usdm", "X")
    assert pair is not None
    assert pair.instrument.pair_id == done.pair_ids[0]
    assert (pair.instrument.tick_size, pair.instrument.lot_size) == (Decimal("0.1"), Decimal("0.001"))
    days = await service.get_catalogue(pair.instrument)
    assert [(day["day"], day["kind"], day["rows"]) for day in days] == [
        ("2023-12-09", "bbo", 1), ("2023-12-09", "book", 6), ("2023-12-10", "bbo", 1), ("2023-12-10", "book", 6),
    ]  # fmt: skip
    assert {day["import_id"] for day in days} == {str(done.import_id)}
    row = await catalogue.get_import(service.database, done.import_id)
    assert (row["state"], row["verdict"], row["progress"], row["rows"]) == (
        "COMPLETED",
        "WARN",
        100,
        done.report["streams"][0]["rows"],
    )
    assert row["report"] == done.report
    assert await catalogue.differences(service.database, service.lake) == []
    assert seen[-1][0] == seen[-1][1] == row["report"]["sources"][0]["bytes"]
    with pytest.raises(NotFound):
        await catalogue.get_import(service.database, new_id())


async def test_the_same_import_is_recognised_by_content_and_options(
    service: MarketDataService, path: Path, tmp_path: Path
) -> None:
    first = await service.import_data([path])
    before = await state(service)
    renamed = Path(shutil.copy(path, tmp_path / "renamed.gz"))
    for again in (path, renamed):
        done = await service.import_data([again])
        assert (done.repeats, done.import_id, done.report, done.pair_ids) == (
            True,
            first.import_id,
            first.report,
            first.pair_ids,
        )
    assert await state(service) == before
    assert await imports(service) == [("a.gz", "COMPLETED")]
    # Other options are another import; asked for again it is done again.
    assert not (await service.import_data([path], ImportOptions(repairs=Repairs(drop_off_book=True)))).repeats
    assert not (await service.import_data([path], again=True)).repeats
    assert len(await imports(service)) == 3


async def test_files_of_one_day_are_recognised_all(service: MarketDataService, tmp_path: Path) -> None:
    """The same command resumes: a file whose day was added to by a later one has been imported all the same."""
    paths = [write(tmp_path / f"{hour}.gz", a_book(3_600_000 * hour, 10 * hour)) for hour in (1, 2, 3)]
    for path in paths:
        assert not (await service.import_data([path])).repeats
    before = await state(service)
    for path in paths:
        assert (await service.import_data([path])).repeats, path.name
    assert await state(service) == before
    # What another import has replaced is not there any more.
    other = write(tmp_path / "other.gz", a_book(3_600_000 * 2, 10 * 2 + 500))
    await service.import_data([other], ImportOptions(replace=True))
    assert not (await service.import_data([paths[0]], ImportOptions(replace=True))).repeats


async def test_a_crash_while_publishing_is_completed(
    service: MarketDataService, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, calls = service.lake.publish, []

    def dies(day):
        calls.append(day)
        if len(calls) == 2:
            raise KeyboardInterrupt("killed")
        return publish(day)

    monkeypatch.setattr(service.lake, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        await service.import_data([path])
    monkeypatch.undo()
    assert await imports(service) == [("a.gz", "PUBLISHING")]
    assert await catalogue.differences(service.database, service.lake) != []
    # Nobody sweeps away what waits for completion, and whoever comes next completes it.
    (finished,) = await catalogue.finish_cut_off(service.database, service.lake, ts(1))
    row = await catalogue.get_import(service.database, finished)
    assert (row["state"], row["finished_ts"]) == ("COMPLETED", ts(1))
    assert "staged" not in row["report"]
    assert await catalogue.differences(service.database, service.lake) == []
    assert len(await service.get_catalogue()) == 4
    assert await catalogue.finish_cut_off(service.database, service.lake, ts(2)) == []
    assert (await service.import_data([path])).repeats


async def test_the_next_import_completes_what_was_cut_off(
    service: MarketDataService, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(day):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(service.lake, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        await service.import_data([path])
    monkeypatch.undo()
    later = write(tmp_path / "b.gz", a_book(2 * DAY_MS, 90))
    await service.import_data([later])
    assert await imports(service) == [("a.gz", "COMPLETED"), ("b.gz", "COMPLETED")]
    assert len({day["day"] for day in await service.get_catalogue()}) == 3
    assert await catalogue.differences(service.database, service.lake) == []


async def test_a_crash_whose_files_are_gone_is_told_as_failed(
    service: MarketDataService, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(day):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(service.lake, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        await service.import_data([path])
    monkeypatch.undo()
    service.lake.sweep("binance-usdm", "X")
    assert await catalogue.finish_cut_off(service.database, service.lake, ts(1)) == []
    assert await imports(service) == [("a.gz", "FAILED")]
    assert not (await service.import_data([path])).repeats


async def test_an_import_in_the_middle_of_another_process_is_left_to_it(
    service: MarketDataService, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(day):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(service.lake, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        await service.import_data([path])
    monkeypatch.undo()
    with service.lake.lock("binance-usdm", "X"):
        assert await catalogue.finish_cut_off(service.database, service.lake, ts(1)) == []
    assert await imports(service) == [("a.gz", "PUBLISHING")]


@pytest.mark.parametrize("known", [False, True])
async def test_an_import_that_fails_changes_nothing(
    service: MarketDataService, path: Path, tmp_path: Path, known: bool
) -> None:
    if known:
        await service.import_data([path])
    before, listed = await state(service), await imports(service)
    crossed = write(tmp_path / "crossed.gz", [*a_book(3_000, 20), depth(6_000, 22, 22, 21, bids=[("10.35", "1")])])
    with pytest.raises(DataError if not known else (DataError, Conflict)):
        await service.import_data([crossed])
    far = write(
        tmp_path / "far.gz", [*a_book(5 * DAY_MS, 20), depth(5 * DAY_MS + 9000, 22, 22, 21, bids=[("10.35", "1")])]
    )
    with pytest.raises(DataError, match=r"crossed_share.*first in row \d+ of the table's day, received at 20"):
        await service.import_data([far])
    damaged = cut_off(path, tmp_path / "damaged.gz")
    with pytest.raises(DataError, match=r"damaged\.gz"):
        await service.import_data([damaged])
    assert await state(service) == before
    assert await imports(service) == listed
    assert await catalogue.differences(service.database, service.lake) == []


async def test_finer_numbers_of_a_later_file_change_the_steps_of_the_pair(
    service: MarketDataService, path: Path, tmp_path: Path
) -> None:
    first = await service.import_data([path])
    later = write(
        tmp_path / "b.gz", [*a_book(3 * DAY_MS, 40), depth(3 * DAY_MS + 3000, 42, 42, 41, bids=[("9.95", "1.0005")])]
    )
    second = await service.import_data([later])
    assert second.pair_ids == first.pair_ids
    told = [text for text in second.report["warnings"] if "from now on" in text]
    assert [text.partition(":")[0] for text in told] == [
        "the tick of binance-usdm/X is 0.05 from now on, it was 0.1",
        "the lot of binance-usdm/X is 0.0005 from now on, it was 0.001",
    ]
    pair = await service._reference.pair(first.pair_ids[0])
    assert (pair.instrument.tick_size, pair.instrument.lot_size) == (Decimal("0.05"), Decimal("0.0005"))
    for at, best in ((2000, "9.9"), (3 * DAY_MS + 3000, "9.95")):
        book = await service.get_book_at(pair.instrument, ts(at), 1)
        assert f"{book.bids[0].price.normalize():f}" == best
    assert {item["verdict"] for item in await service.get_quality(pair.instrument)} <= {"PASS", "WARN"}
    with pytest.raises(DataError, match="nothing of binance-usdm X is recorded in the range"):
        await service.get_quality(pair.instrument, first=date(2030, 1, 1))


async def test_a_pair_that_is_kept_otherwise_than_the_file_says_is_told(
    service: MarketDataService, tmp_path: Path
) -> None:
    """Results of an inverse contract that is kept as a spot pair are in the wrong currency, and nobody was told."""
    kept = Instrument(
        new_id(), "binance-usdm", "ABUSDT", "AB", "USDT", Decimal("0.1"), Decimal("0.001"), ContractType.INVERSE
    )
    await service._reference.add_pair(kept, None, 0)
    file = tmp_path / "trades.csv"
    file.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "binance-futures,ABUSDT,1583020800000000,1583020800001000,1,buy,10.5,2\n"
    )
    imported = await service.import_data([file])
    assert imported.pair_ids == (kept.pair_id,)
    (told,) = [text for text in imported.report["warnings"] if "contract_type" in text]
    assert told == (
        "the file says that contract_type of binance-usdm/ABUSDT is LINEAR, the pair is kept with INVERSE:"
        " `market-maker pair change binance-usdm/ABUSDT --contract-type LINEAR` changes it"
    )


async def test_a_mapping_says_what_a_contract_is_of(service: MarketDataService, tmp_path: Path) -> None:
    """The multiplier of a mapping was told to have no effect: ES was worth a fiftieth of what it is."""
    file, mapping = tmp_path / "trades.csv", tmp_path / "mapping.yaml"
    file.write_text("ts,price,qty\n1583020800000,10.5,2\n")
    mapping.write_text(
        "{table: trades, venue: v, symbol: AB, time: {column: ts, unit: ms}, columns: {price: price, qty: qty},"
        " instrument: {base: A, quote: B, multiplier: 50}}"
    )
    imported = await service.import_data([file], ImportOptions(read=ReadOptions(mapping=mapping)))
    (pair_id,) = imported.pair_ids
    assert (await service._reference.pair(pair_id)).instrument.contract_multiplier == 50
    (told,) = imported.report["warnings"]
    assert told.startswith(
        "nothing says what contract it is, SPOT is taken (v/AB). `market-maker pair change v/AB --contract-type"
    )


async def test_terms_of_a_new_pair_and_of_one_that_is_there(service: MarketDataService, tmp_path: Path) -> None:
    """Who forgot the fee at the first import was told at the second that there was nothing to do."""
    file = tmp_path / "trades.csv"
    file.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "bitmex,XBTUSD,1583020800000000,1583020800001000,1,buy,8500.5,2\n"
    )
    first = await service.import_data([file], ImportOptions(terms=Terms(taker_fee=Decimal("0.0005"))))
    assert first.report["warnings"] == []
    pair = (await service._reference.pair(first.pair_ids[0])).instrument
    assert (pair.contract_type, pair.base, pair.quote) == (ContractType.INVERSE, "XBT", "USD")
    assert (pair.maker_fee, pair.taker_fee) == (0, Decimal("0.0005"))
    wish = ImportOptions(terms=Terms(maker_fee=Decimal("-0.0001"), taker_fee=Decimal("0.0005")))
    again = await service.import_data([file], wish)
    assert again.repeats
    (told,) = again.told
    assert told == (
        "you say that maker_fee of bitmex/XBTUSD is -0.0001, the pair is kept with 0:"
        " `market-maker pair change bitmex/XBTUSD --maker-fee -0.0001` changes it"
    )
    with pytest.raises(InvalidRequest, match="contract_type"):
        options_of({"contract_type": "FUTURE"})
    with pytest.raises(InvalidRequest, match="maker_fee"):
        options_of({"maker_fee": "0.5"})
    with pytest.raises(InvalidRequest, match="contract_multiplier"):
        options_of({"contract_multiplier": "many"})


# --- the queue


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


async def ended(service: MarketDataService, import_id: UUID) -> dict[str, object]:
    for _ in range(400):
        row = await catalogue.get_import(service.database, import_id)
        if row["finished_ts"] is not None:
            return row
        await asyncio.sleep(0.025)
    raise AssertionError("the import does not end")


async def test_wishes_are_done_one_after_the_other(service: MarketDataService, inbox: Path) -> None:
    queue = ImportQueue(service, inbox, SimulatedClock(ts(5)))
    await queue.start()
    write(inbox / "a.gz", a_book())
    (inbox / "bad.gz").write_bytes(b"\x1f\x8b broken")
    wishes = [await queue.add(name, options) for name, options in (
        ("a.gz", {}), ("bad.gz", {}), ("a.gz", {}), ("a.gz", {"force": True, "tick_size": "0.01"}),
    )]  # fmt: skip
    rows = [await ended(service, import_id) for import_id in wishes]
    await queue.stop()
    assert [row["state"] for row in rows] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]
    assert "bad.gz" in str(rows[1]["error"])
    assert rows[2]["report"]["repeats"] == str(wishes[0])
    assert rows[3]["options"] == {"force": True, "tick_size": "0.01"}
    assert len(await imports(service)) == 4


async def test_wishes_survive_a_stop_and_a_crash(
    service: MarketDataService, inbox: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not begun, begun, and cut off while publishing: all come to their end at the next start."""
    queue = ImportQueue(service, inbox, SimulatedClock(ts(5)))
    write(inbox / "b.gz", a_book(3 * DAY_MS, 90))
    write(inbox / "c.gz", a_book(4 * DAY_MS, 91))
    wishes = [await queue.add(name, {}) for name in ("b.gz", "c.gz")]
    await catalogue.note_progress(service.database, wishes[1], 40.0, ts(6))

    def dies(day):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(service.lake, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        await service.import_data([path])
    monkeypatch.undo()
    assert sorted(state for _, state in await imports(service)) == ["PENDING", "PUBLISHING", "RUNNING"]
    again = ImportQueue(service, inbox, SimulatedClock(ts(7)))
    await again.start()
    for import_id in wishes:
        assert (await ended(service, import_id))["state"] == "COMPLETED"
    await again.stop()
    assert {state for _, state in await imports(service)} == {"COMPLETED"}
    assert await catalogue.differences(service.database, service.lake) == []


@pytest.mark.parametrize("name", ["../a.gz", "/etc/passwd", "nothing.gz", "", ".", "sub", "a\x00.gz"])
async def test_names_that_lead_out_of_the_inbox_are_refused(
    service: MarketDataService, inbox: Path, path: Path, name: str
) -> None:
    (inbox / "sub").mkdir()
    (inbox / "link.gz").symlink_to(path)
    queue = ImportQueue(service, inbox, SimulatedClock(ts(5)))
    for wish in (name, "link.gz"):
        with pytest.raises(InvalidRequest, match="the name of a file in the inbox folder"):
            await queue.add(wish, {})
    assert await imports(service) == []


@pytest.mark.parametrize(
    ("options", "field"),
    [({"format": "x"}, "format"), ({"tick_size": "0"}, "tick_size"), ({"lot_size": "NaN"}, "lot_size"), ({"date": "x"}, "date"),
     ({"venue": "../x"}, "venue"), ({"symbol": ""}, "symbol")],
)  # fmt: skip
async def test_options_are_checked_before_the_wish_is_noted(
    service: MarketDataService, inbox: Path, options: dict[str, str], field: str
) -> None:
    queue = ImportQueue(service, inbox, SimulatedClock(ts(5)))
    write(inbox / "a.gz", a_book())
    with pytest.raises(InvalidRequest) as caught:
        await queue.add("a.gz", options)
    assert caught.value.errors[0].field == field
    assert await imports(service) == []
