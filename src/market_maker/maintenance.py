"""The database as an operator sees it: its state, the newest schema, backups, and old rows that may go.

Joins database, lake and results of one installation; the work on rows is in `storage`. Knows nothing of how it is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from market_maker import bootstrap
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, DataError, Unavailable
from market_maker.domain.units import NS_PER_SECOND
from market_maker.settings import Settings
from market_maker.storage import backup, outbox, retention, schema
from market_maker.storage.database import Connection
from market_maker.storage.lake import MANIFEST

LAKE, RESULTS = "lake", "results"


@dataclass(frozen=True, slots=True)
class Table:
    """One table: rows as the server estimates them, and bytes with its indices."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a database. `tables`: the largest first; `others`: connections beside ours; `None` where there is no schema."""

    server_version: int
    revision: str | None
    newest: str
    bytes: int
    others: int
    tables: list[Table]
    waiting_events: int | None
    oldest_event_s: float | None
    open_orders: int | None
    running_backtests: int | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: rows of tables, files, and recorded days that the lake does not hold."""

    manifest: backup.Manifest
    files: int
    missing_days: list[str]


async def status(settings: Settings) -> Status:
    """Return the state of the database; raises Unavailable when it cannot be had."""
    async with bootstrap.open_server(settings) as dsn, _connection(dsn) as connection:
        revision = await asyncio.to_thread(schema.current_revision, dsn)
        size = await _one(connection, "SELECT pg_database_size(current_database())")
        others = await _one(connection, _COUNT_OTHERS)
        cursor = await connection.execute(
            "SELECT relname, greatest(reltuples, 0)::bigint, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 3 DESC, 1"
        )
        tables = [Table(*row) for row in await cursor.fetchall()]
        depth = orders = runs = oldest_s = None
        if revision == schema.HEAD:
            waiting = await outbox.depth(connection)
            depth = waiting.rows
            if waiting.oldest_ts is not None:
                oldest_s = (SystemClock().now_ns() - waiting.oldest_ts) / NS_PER_SECOND
            orders = await _one(connection, "SELECT count(*) FROM simulated_orders WHERE status <= 2")
            runs = await _one(connection, "SELECT count(*) FROM backtest_runs WHERE status IN ('PENDING', 'RUNNING')")
        number = connection.info.server_version
        return Status(number, revision, schema.HEAD, size, others, tables, depth, oldest_s, orders, runs)


async def upgrade(settings: Settings) -> tuple[str | None, str]:
    """Bring the schema up to date; return the revisions before and after."""
    async with bootstrap.open_server(settings) as dsn:
        before = await asyncio.to_thread(schema.current_revision, dsn)
        await asyncio.to_thread(schema.upgrade, dsn)
        return before, schema.HEAD


async def back_up(settings: Settings, path: Path, *, with_files: bool) -> backup.Manifest:
    """Write a backup of the database, and with `with_files` of lake and results; the service may go on working."""
    async with bootstrap.open_server(settings) as dsn:
        files = await asyncio.to_thread(_files_of, settings) if with_files else {}
        return await asyncio.to_thread(
            backup.write_backup, dsn, path, version=version("market-maker"), created_ts=SystemClock().now_ns(), files=files
        )  # fmt: skip


def _files_of(settings: Settings) -> dict[str, Path]:
    """Return what is kept beside the database: the published files of the lake, and the columns of results."""
    if settings.lake_url is not None:
        raise Conflict("the lake is in an object store, which has backups of its own: leave out --files")
    files: dict[str, Path] = {}
    root = bootstrap.lake_root_of(settings)
    for manifest in sorted(root.glob(f"venue=*/symbol=*/day=*/{MANIFEST}")):
        for path in sorted(manifest.parent.iterdir()):
            files[f"{LAKE}/{path.relative_to(root).as_posix()}"] = path
    results = bootstrap.data_dir_of(settings) / RESULTS
    for path in sorted(results.rglob("*")):
        if path.is_file():
            files[f"{RESULTS}/{path.relative_to(results).as_posix()}"] = path
    return files


async def restore(settings: Settings, path: Path, *, replace: bool) -> Restored:
    """Put a backup in place of the database; its checksums are verified before anything is touched.

    Raises
    ------
    DataError : the file is no backup, or damaged, or of a newer version
    Conflict : the database holds rows and `replace` is not set, or somebody else is connected to it
    """
    manifest = await asyncio.to_thread(backup.read_manifest, path)
    if manifest.revision > schema.HEAD:
        raise DataError(f"{path} has schema {manifest.revision}, this version knows {schema.HEAD}: use a newer one")
    await asyncio.to_thread(backup.verify, path, manifest)
    data_dir = bootstrap.data_dir_of(settings)
    targets = {LAKE: bootstrap.lake_root_of(settings), RESULTS: data_dir / RESULTS}
    async with bootstrap.open_server(settings) as dsn:
        await _refuse_used(dsn)
        filled = await asyncio.to_thread(backup.filled_tables, dsn)
        if filled and not replace:
            told = ", ".join(f"{name} ({count} rows)" for name, count in sorted(filled.items())[:4])
            raise Conflict(f"the database is not empty: {told}; name another, or add --replace to lose what it holds")
        await asyncio.to_thread(backup.restore_rows, dsn, path, manifest)
        files = await asyncio.to_thread(backup.extract_files, path, manifest, targets)
        if any(name.startswith(RESULTS) for name in manifest.files):
            async with _connection(dsn) as connection:
                await connection.execute(
                    "UPDATE backtest_results SET folder = %s || run_id::text", (f"{data_dir / RESULTS}/",)
                )
        missing = await asyncio.to_thread(_missing_days, settings, manifest)
    return Restored(manifest, files, missing)


async def _refuse_used(dsn: str) -> None:
    async with _connection(dsn) as connection:
        others = await _one(connection, _COUNT_OTHERS)
    if others:
        raise Conflict(f"{others} other connections use this database: stop services and workers first")


def _missing_days(settings: Settings, manifest: backup.Manifest) -> list[str]:
    """Return the recorded days of the backup's catalogue that the lake does not hold as they were."""
    if not manifest.days:
        return []
    lake = bootstrap.lake_of(settings)
    missing = []
    for day in manifest.days:
        name = f"{day['venue']}/{day['symbol']} {day['day']} {day['kind']}"
        try:
            published = lake.find(day["venue"], day["symbol"], date.fromisoformat(day["day"]))
        except DataError:
            published = None
        file = None if published is None else published.file(day["kind"])
        if file is None or file.sha256 != day["sha256"]:
            missing.append(name)
    return missing


async def prune(
    settings: Settings, ages: retention.Ages, *, dry_run: bool, note: Callable[[str, int], None] = lambda *_: None
) -> dict[str, int]:
    """Delete what is too old, a little at a time, or with `dry_run` only count it; return rows by kind.

    `note` is told each kind and how many of it are gone so far. Folders of results go with their runs.
    """
    now = SystemClock().now_ns()
    gone: dict[str, int] = {}
    async with bootstrap.open_server(settings) as dsn, _connection(dsn) as connection:
        if await asyncio.to_thread(schema.current_revision, dsn) != schema.HEAD:
            raise Conflict("the schema is not up to date: `market-maker db upgrade` first")
        for kind in retention.kinds_of(ages):
            if dry_run:
                gone[kind] = await retention.count_old(connection, kind, ages, now)
                continue
            gone[kind] = 0
            while batch := await retention.delete_old(connection, kind, ages, now):
                gone[kind] += batch.rows
                for folder in batch.folders:
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                note(kind, gone[kind])
    return gone


_COUNT_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)


async def _one(connection: Connection, query: str) -> Any:
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0]


@contextlib.asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[Connection]:
    try:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error
    async with connection:
        yield connection
