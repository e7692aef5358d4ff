"""The catalogue of market data in the database: imports and their lineage, and the days that lie in the lake.

Owns how files and catalogue come to agree: an import is written down with all it has staged (PUBLISHING) before any of it
becomes visible, and what was cut off there is finished by whoever comes next. Knows no file format.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.domain.errors import Conflict, DataError, NotFound
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import new_id
from market_maker.market_data.ingest import ImportReport, SourceFile
from market_maker.messaging.topics import outbox_event
from market_maker.storage.database import Connection, Database, fetch
from market_maker.storage.lake import Lake, PublishedDay
from market_maker.storage.outbox import SERVICE_STREAM, append, ensure_stream

PENDING, RUNNING, PUBLISHING, COMPLETED, FAILED = "PENDING", "RUNNING", "PUBLISHING", "COMPLETED", "FAILED"
_BRIEF = (
    "import_id, source, source_sha256, importer, importer_version, options, created_ts, state, verdict, key, error, progress,"
    " rows, heartbeat_ts, finished_ts, version"
)
_COLUMNS = _BRIEF + ", report"


def import_key(sources: Sequence[SourceFile], importer: str, version: str, options: dict[str, Any]) -> str:
    """Return what tells that the same files were imported in the same way."""
    told = {name: value for name, value in options.items() if name != "replace"}
    words = [[source.sha256 for source in sources], importer, version, told]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


async def publish_import(
    database: Database, lake: Lake, report: ImportReport, ts: int, import_id: UUID | None = None
) -> UUID:
    """Make everything that was staged visible, in the lake and in the catalogue; return the import's id.

    To be called under the lake's lock of every symbol. A process that dies in here leaves an import that
    `finish_cut_off` completes: from the first commit on, all of it comes, and nothing of it before.
    """
    chosen = new_id() if import_id is None else import_id
    content = report.to_json()
    row = {
        "import_id": chosen,
        "source": ", ".join(source.name for source in report.sources)[:1000],
        "source_sha256": ",".join(source.sha256 for source in report.sources)[:1000],
        "importer": report.importer,
        "importer_version": report.importer_version,
        "options": Jsonb(report.options),
        "report": Jsonb(content | {"staged": [day.to_json() for day in report.days]}),
        "ts": ts,
        "verdict": report.verdict.value,
        "key": import_key(report.sources, report.importer, report.importer_version, report.options),
        "rows": report.rows,
    }
    async with database.transaction() as connection:
        await connection.execute(_BEGIN, row)
    await _publish(database, lake, chosen, report.days, content, ts)
    return chosen


async def finish_cut_off(database: Database, lake: Lake, ts: int) -> list[UUID]:
    """Complete the imports that were cut off while they were published; return their ids.

    One that another process is publishing right now is left to it.
    """
    finished = []
    for row in await publishing_imports(database):
        days = [PublishedDay.of_json(day) for day in row["report"].get("staged", [])]
        try:
            with _locks(lake, days, timeout_s=0.2):
                again = await database.fetch_one("SELECT state FROM imports WHERE import_id = %s", (row["import_id"],))
                if again is None or again["state"] != PUBLISHING:
                    continue
                content = {name: value for name, value in row["report"].items() if name != "staged"}
                missing = [day for day in days if not _is_staged(lake, day)]
                if missing:
                    await fail_import(
                        database, row["import_id"], f"cut off; the files of {missing[0].day} are gone", ts
                    )
                    continue
                await _publish(database, lake, row["import_id"], days, content, ts)
                finished.append(row["import_id"])
        except Conflict:
            continue
    return finished


def _locks(lake: Lake, days: Sequence[PublishedDay], timeout_s: float) -> Any:
    return lake.locks({(day.venue, day.symbol) for day in days}, timeout_s)


def _is_staged(lake: Lake, day: PublishedDay) -> bool:
    folder = lake.day_folder(day.venue, day.symbol, day.day)
    return all((folder / file.name).exists() for file in day.files)


async def _publish(
    database: Database, lake: Lake, import_id: UUID, days: Sequence[PublishedDay], content: dict[str, Any], ts: int
) -> None:
    for day in days:
        lake.publish(day)
    quality = {
        (stream["venue"], stream["symbol"], day["day"], table): {
            "verdict": day["verdict"], "findings": day["findings"], **day["figures"]
        }
        for stream in content["streams"] for day in stream["days"] for table in day["tables"]
    }  # fmt: skip
    async with database.transaction() as connection:
        for day in days:
            await _save_day(connection, import_id, day, quality)
        rows = await fetch(
            connection,
            "UPDATE imports SET state = 'COMPLETED', report = %s, progress = 100, finished_ts = %s, version = version + 1"
            f" WHERE import_id = %s RETURNING {_BRIEF}",
            (Jsonb(content), ts, import_id),
        )
        await _tell(connection, rows, EventType.IMPORT_COMPLETED, ts)


async def _save_day(
    connection: Connection, import_id: UUID, day: PublishedDay, quality: dict[tuple[str, str, str, str], dict[str, Any]]
) -> None:
    for file in day.files:
        figures = quality.get((day.venue, day.symbol, day.day.isoformat(), file.kind), {})
        await connection.execute(
            _SAVE_DAY,
            {
                "venue": day.venue,
                "symbol": day.symbol,
                "kind": file.kind,
                "day": day.day,
                "import_id": import_id,
                "path": file.name,
                "rows": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "first_ts": file.first_ts,
                "last_ts": file.last_ts,
                "quality": Jsonb(figures | {"gaps": [[str(a), str(b)] for a, b in file.gaps]}),
            },
        )


async def begin_import(database: Database, name: str, options: dict[str, Any], ts: int) -> UUID:
    """Write down the wish to import a file; return its id."""
    import_id = new_id()
    async with database.transaction() as connection:
        rows = await fetch(
            connection,
            "INSERT INTO imports (import_id, source, source_sha256, importer, importer_version, options, report, created_ts,"
            f" state, version) VALUES (%s, %s, '', '', '', %s, '{{}}', %s, 'PENDING', 1) RETURNING {_BRIEF}",
            (import_id, name, Jsonb(options), ts),
        )
        await _tell(connection, rows, EventType.IMPORT_QUEUED, ts)
    return import_id


async def note_progress(database: Database, import_id: UUID, percent: float, ts: int) -> None:
    """Write how far an import has come, and that it lives."""
    async with database.transaction() as connection:
        rows = await fetch(
            connection,
            "UPDATE imports SET state = 'RUNNING', progress = %s, heartbeat_ts = %s, version = version + 1"
            f" WHERE import_id = %s AND state IN ('PENDING', 'RUNNING') RETURNING {_BRIEF}",
            (percent, ts, import_id),
        )
        await _tell(connection, rows, EventType.IMPORT_PROGRESS, ts)


async def fail_import(database: Database, import_id: UUID, error: str, ts: int) -> None:
    """Write down that an import has failed, and why."""
    async with database.transaction() as connection:
        rows = await fetch(
            connection,
            "UPDATE imports SET state = 'FAILED', error = %s, finished_ts = %s, version = version + 1 WHERE import_id = %s"
            f" RETURNING {_BRIEF}",
            (error, ts, import_id),
        )
        await _tell(connection, rows, EventType.IMPORT_FAILED, ts)


async def end_as_repeated(database: Database, import_id: UUID, earlier: dict[str, Any], ts: int) -> None:
    """Write down that an import had been done before."""
    async with database.transaction() as connection:
        rows = await fetch(
            connection,
            "UPDATE imports SET state = 'COMPLETED', report = %s, verdict = %s, rows = %s, importer = %s, importer_version = %s,"
            f" progress = 100, finished_ts = %s, version = version + 1 WHERE import_id = %s RETURNING {_BRIEF}",
            (
                Jsonb(earlier["report"] | {"repeats": str(earlier["import_id"])}), earlier["verdict"], earlier["rows"],
                earlier["importer"], earlier["importer_version"], ts, import_id,
            ),
        )  # fmt: skip
        await _tell(connection, rows, EventType.IMPORT_COMPLETED, ts)


async def _tell(connection: Connection, rows: Sequence[dict[str, Any]], kind: EventType, ts: int) -> None:
    for row in rows:
        stream = await ensure_stream(connection, SERVICE_STREAM)
        event = Event(kind, row["import_id"], row["version"], ts, str(row["import_id"]), import_data(row))
        await append(connection, stream, [outbox_event(event)])


def import_data(row: dict[str, Any]) -> dict[str, Any]:
    """Return an import as JSON values; its report is None until it has ended, and where the row does not have it."""
    names = ("source", "importer", "importer_version", "options", "state", "verdict", "error", "rows")
    found = {"import_id": str(row["import_id"])} | {name: row[name] for name in names}
    found["progress_percent"] = round(row["progress"], 1)
    found["created_ts"] = str(row["created_ts"])
    found["finished_ts"] = None if row["finished_ts"] is None else str(row["finished_ts"])
    report = {name: value for name, value in row.get("report", {}).items() if name != "staged"}
    return found | {"report": report or None}


async def find_completed(database: Database, lake: Lake, key: str) -> dict[str, Any] | None:
    """Return the newest completed import with a key all of whose days are still there, also where others have added to them."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM imports WHERE key = %s AND state = 'COMPLETED' ORDER BY import_id DESC LIMIT 10",
        (key,),
    )
    for row in rows:
        if await asyncio.to_thread(_is_there, lake, row["report"]):
            return row
    return None


def _is_there(lake: Lake, report: dict[str, Any]) -> bool:
    """Return whether the lake still names the sources of a report as origins of all its days."""
    sources = {source["sha256"] for source in report["sources"]}
    for stream in report["streams"]:
        for day in stream["days"]:
            published = lake.find(stream["venue"], stream["symbol"], date.fromisoformat(day["day"]))
            # Best quotes that were derived from a book give way to those of a source.
            for table in set(day["tables"]) - ({"bbo"} if stream["table"] != "bbo" else set()):
                file = None if published is None else published.file(table)
                if file is None or not sources & {origin.sha256 for origin in file.origins}:
                    return False
    return True


async def get_import(database: Database, import_id: UUID) -> dict[str, Any]:
    """Return an import; NotFound when there is none."""
    row = await database.fetch_one(f"SELECT {_COLUMNS} FROM imports WHERE import_id = %s", (import_id,))
    if row is None:
        raise NotFound.of("import", "import_id", str(import_id))
    return row


async def list_imports(database: Database, after: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Return imports, newest first, without their reports."""
    return await database.fetch(
        f"SELECT {_BRIEF} FROM imports WHERE (%(after)s::uuid IS NULL OR import_id < %(after)s)"
        " ORDER BY import_id DESC LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )


async def open_imports(database: Database) -> list[dict[str, Any]]:
    """Return the imports that were asked for and have not ended, oldest first."""
    return await database.fetch(
        f"SELECT {_COLUMNS} FROM imports WHERE state IN ('PENDING', 'RUNNING') ORDER BY import_id"
    )


async def publishing_imports(database: Database) -> list[dict[str, Any]]:
    """Return the imports whose publication has begun and not ended, oldest first."""
    return await database.fetch(f"SELECT {_COLUMNS} FROM imports WHERE state = 'PUBLISHING' ORDER BY import_id")


async def list_days(database: Database, *, venue: str | None = None, symbol: str | None = None) -> list[dict[str, Any]]:
    """Return the catalogued days, by venue, symbol and day."""
    query = """
        SELECT venue, symbol, kind, day, import_id, path, rows, bytes, sha256, first_ts, last_ts, quality FROM market_data_days
        WHERE (%(venue)s::text IS NULL OR venue = %(venue)s) AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
        ORDER BY venue, symbol, day, kind
    """
    return await database.fetch(query, {"venue": venue, "symbol": symbol})


async def differences(database: Database, lake: Lake) -> list[str]:
    """Return, in words, where files and catalogue disagree; nothing when every catalogued file is whole and every file known."""
    found = []
    catalogued = {(r["venue"], r["symbol"], r["day"], r["kind"]): r for r in await list_days(database)}
    for venue, symbol in lake.symbols():
        for day in lake.days(venue, symbol):
            published = lake.describe(venue, symbol, day)
            for file in published.files:
                row = catalogued.pop((venue, symbol, day, file.kind), None)
                if row is None:
                    found.append(f"{venue}/{symbol} {day} {file.kind}: in the lake and not in the catalogue")
                elif (row["path"], row["sha256"], row["rows"]) != (file.name, file.sha256, file.rows):
                    found.append(f"{venue}/{symbol} {day} {file.kind}: the catalogue names another file than the lake")
                else:
                    try:
                        lake.verified(published, file.kind)
                    except DataError as error:
                        found.append(error.detail)
    found += [f"{v}/{s} {day} {kind}: in the catalogue and not in the lake" for v, s, day, kind in catalogued]
    return found


_BEGIN = """
    INSERT INTO imports (import_id, source, source_sha256, importer, importer_version, options, report, created_ts, state, verdict, key, rows, progress)
    VALUES (%(import_id)s, %(source)s, %(source_sha256)s, %(importer)s, %(importer_version)s, %(options)s, %(report)s, %(ts)s, 'PUBLISHING',
        %(verdict)s, %(key)s, %(rows)s, 99)
    ON CONFLICT (import_id) DO UPDATE SET
        source_sha256 = excluded.source_sha256, importer = excluded.importer, importer_version = excluded.importer_version,
        options = excluded.options, report = excluded.report, state = excluded.state, verdict = excluded.verdict, key = excluded.key,
        rows = excluded.rows, progress = excluded.progress
"""
_SAVE_DAY = """
    INSERT INTO market_data_days (venue, symbol, kind, day, import_id, path, rows, bytes, sha256, first_ts, last_ts, quality)
    VALUES (%(venue)s, %(symbol)s, %(kind)s, %(day)s, %(import_id)s, %(path)s, %(rows)s, %(bytes)s, %(sha256)s, %(first_ts)s, %(last_ts)s, %(quality)s)
    ON CONFLICT (venue, symbol, kind, day) DO UPDATE SET
        import_id = excluded.import_id, path = excluded.path, rows = excluded.rows, bytes = excluded.bytes, sha256 = excluded.sha256,
        first_ts = excluded.first_ts, last_ts = excluded.last_ts, quality = excluded.quality
"""
