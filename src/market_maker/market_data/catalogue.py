"""The catalogue of market data: which days lie in the lake, where they came from, and how good they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.domain.ids import new_id
from market_maker.market_data.ingest import ImportReport
from market_maker.storage.database import Database


async def save_import(database: Database, report: ImportReport, ts: int) -> UUID:
    """Store one import with all its days, replacing what the same days held before; return its id."""
    import_id = new_id()
    content = report.to_json()
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO imports VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                import_id,
                str(report.source),
                report.source_sha256,
                report.importer,
                report.importer_version,
                Jsonb(content.get("options", {})),
                Jsonb(content),
                ts,
            ),
        )
        for day in report.days:
            for file in day.files:
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
                        "quality": Jsonb({**content["quality"], "gaps": [[str(a), str(b)] for a, b in day.gaps]}),
                    },
                )
    return import_id


async def list_days(database: Database, *, venue: str | None = None, symbol: str | None = None) -> list[dict[str, Any]]:
    """Return the catalogued days, by venue, symbol and day."""
    query = """
        SELECT venue, symbol, kind, day, import_id, path, rows, bytes, sha256, first_ts, last_ts, quality FROM market_data_days
        WHERE (%(venue)s::text IS NULL OR venue = %(venue)s) AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
        ORDER BY venue, symbol, day, kind
    """
    return await database.fetch(query, {"venue": venue, "symbol": symbol})


_SAVE_DAY = """
    INSERT INTO market_data_days (venue, symbol, kind, day, import_id, path, rows, bytes, sha256, first_ts, last_ts, quality)
    VALUES (%(venue)s, %(symbol)s, %(kind)s, %(day)s, %(import_id)s, %(path)s, %(rows)s, %(bytes)s, %(sha256)s, %(first_ts)s, %(last_ts)s, %(quality)s)
    ON CONFLICT (venue, symbol, kind, day) DO UPDATE SET
        import_id = excluded.import_id, path = excluded.path, rows = excluded.rows, bytes = excluded.bytes, sha256 = excluded.sha256,
        first_ts = excluded.first_ts, last_ts = excluded.last_ts, quality = excluded.quality
"""
