"""Hostile files: all refused with file, row and column; lake and catalogue unchanged, memory bounded (R14)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from integration.hostile_files import CASES
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, DataError, InvalidRequest
from market_maker.market_data.importers import ReadOptions
from market_maker.market_data.ingest import ImportOptions
from market_maker.market_data.service import MarketDataService
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData

GROWTH_MIB = 200


@pytest.fixture
async def service(database_dsn, tmp_path):
    database = Database(database_dsn)
    await database.open()
    yield MarketDataService(database, ReferenceData(database), Lake(tmp_path / "lake"), SystemClock())
    await database.close()


def options_for(path: Path) -> ImportOptions:
    """Binance's names tell the symbol; these are named for what is wrong with them."""
    is_dump = path.suffix != ".txt" and path.stem.split(".")[0] not in {"tardis", "tardis-side", "tardis-names"}
    return ImportOptions(read=ReadOptions(symbol="BTCUSDT" if is_dump and ".csv" in path.name else None))


async def rows_of(database: Database) -> dict[str, int]:
    return {
        table: (await database.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"]
        for table in ("imports", "market_data_days", "pairs")
    }


def test_there_are_enough_of_them():
    assert len(CASES) >= 50


async def test_every_hostile_file_is_refused_with_its_place(service, tmp_path):
    before, wrong = await rows_of(service.database), []
    await asyncio.to_thread((tmp_path / "in").mkdir)
    for name, (make, told) in CASES.items():
        path = tmp_path / "in" / name
        path.write_bytes(make())
        try:
            await service.import_data([path], options_for(path))
        except (DataError, InvalidRequest, Conflict) as error:
            import re

            if not re.search(told, error.detail, re.DOTALL):
                wrong.append(f"{name}: refused with {error.detail[:300]!r}, wanted {told!r}")
            if len(error.detail) > 3_000:
                wrong.append(f"{name}: {len(error.detail)} characters of refusal")
        except Exception as error:  # noqa: BLE001 - the failure that this test looks for
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        else:
            wrong.append(f"{name}: imported")
        path.unlink()
    assert not wrong, "\n" + "\n".join(wrong)
    assert await rows_of(service.database) == before
    files = [p.name for p in (tmp_path / "lake").rglob("*") if p.is_file() and p.name != ".lock"]
    assert files == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "lake"], "nothing outside of the lake"


PROGRAM = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from integration.hostile_files import CASES
from market_data_builders import import_files
from integration.test_import_hostile import options_for
from market_maker.domain.errors import MarketMakerError
from market_maker.storage.lake import Lake
path = Path(sys.argv[2])
def one(file):
    try:
        import_files([file], Lake(path / "lake"), None, options_for(file))
    except MarketMakerError:
        return
for name in ("words.csv", "collector.txt", "nulls.parquet"):
    (path / name).write_bytes(CASES[name][0]()); one(path / name)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[3].split(","):
    one(path / name)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_stays_bounded(tmp_path):
    """What is large on purpose, imported in a process of its own; making the files costs memory here, not there."""
    names = ["bomb.csv.gz", "bomb.zip", "one-line.csv", "many.zip", "lie.npz", "zeros.gz"]
    for name in names:
        (tmp_path / name).write_bytes(CASES[name][0]())
    arguments = [str(Path(__file__).resolve().parents[1]), str(tmp_path), ",".join(names)]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert float(done.stdout.strip()) < GROWTH_MIB
