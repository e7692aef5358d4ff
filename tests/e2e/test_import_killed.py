"""kill -9 of an import at random moments: files and catalogue agree afterwards, and the same command completes it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from market_maker.domain.clock import SystemClock
from market_maker.market_data import catalogue
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake


def command(dsn: str, folder: Path, paths: list[Path], *options: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    environment = {**inherited, "MM_DATABASE_URL": dsn, "MM_DATA_DIR": str(folder)}
    words = [sys.executable, "-m", "market_maker", "import", *options, *map(str, paths)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def files_of(lake: Lake) -> dict[tuple[str, str, str, str], str]:
    return {
        (venue, symbol, str(day), file.kind): file.sha256
        for venue, symbol in lake.symbols() for day in lake.days(venue, symbol)
        for file in lake.describe(venue, symbol, day).files
    }  # fmt: skip


def forget(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM market_data_days")
        connection.execute("DELETE FROM imports")
        connection.execute("DELETE FROM pairs WHERE venue LIKE 'binance%'")


async def disagreements(dsn: str, lake: Lake) -> list[str]:
    """What whoever comes next finds: first it completes what was cut off, as every import and every service does."""
    database = Database(dsn)
    await database.open()
    try:
        await catalogue.finish_cut_off(database, lake, SystemClock().now_ns())
        return await catalogue.differences(database, lake)
    finally:
        await database.close()


async def kills(dsn: str, folder: Path, sample_data: Path, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    folder_of = sample_data / "binance_collector"
    paths = [*sorted((folder_of / "spot").iterdir()), *sorted((folder_of / "usdm").iterdir())]
    options = ("--offset-ns", "1278000000")
    # What may be there: nothing, or the whole of the first files, one more each time.
    states: list[dict] = [{}]
    for number in range(len(paths)):
        process = command(dsn, folder / "whole", paths[: number + 1], *options)
        told = process.communicate()[0]
        assert process.returncode == 0, told
        states.append(files_of(Lake(folder / "whole" / "lake")))
    forget(dsn)
    started = time.monotonic()
    command(dsn, folder / "timed", paths, *options).communicate()
    seconds = time.monotonic() - started
    wanted = states[-1]
    assert {kind for *_, kind in wanted} == {"book", "bbo"}
    found = []
    for number in range(rounds):
        forget(dsn)
        home = folder / f"round-{number}"
        lake = Lake(home / "lake")
        process = command(dsn, home, paths, *options)
        await asyncio.sleep(chance.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert await disagreements(dsn, lake) == []
        left = files_of(lake)
        assert left in states, "each file is there with all its days and tables, or not at all"
        found.append(states.index(left))
        again = command(dsn, home, paths, *options)
        told = again.communicate()[0]
        assert again.returncode == 0, told
        assert files_of(lake) == wanted
        assert await disagreements(dsn, lake) == []
        assert not list((home / "lake").rglob(".staging-*"))
    print(f"\n{rounds} kills of an import of {seconds:.1f} s; whole files left by them: {sorted(found)}")


@pytest.mark.timeout(120)
async def test_a_killed_import_leaves_all_or_nothing(database_dsn, service_folder, sample_data, seed):
    await kills(database_dsn, service_folder, sample_data, seed, rounds=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_twenty_killed_imports_leave_all_or_nothing(database_dsn, service_folder, sample_data, seed):
    await kills(database_dsn, service_folder, sample_data, seed, rounds=20)
