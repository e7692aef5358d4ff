"""Brings a database to the newest schema; Alembic is loaded only when there is something to do."""

from __future__ import annotations

from pathlib import Path

import psycopg

from market_maker.domain.errors import Unavailable

HEAD = "0013"
_MIGRATION_LOCK = 7_216_301


def current_revision(dsn: str) -> str | None:
    """Return the schema revision of a database, None for an empty one. Raises Unavailable."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            found = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
            if not found or not found[0]:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error


def upgrade(dsn: str, revision: str = HEAD) -> bool:
    """Bring the schema up to `revision`; return True when something was done. Safe to call from several processes."""
    if current_revision(dsn) == revision:
        return False
    import alembic.command
    import alembic.config
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=sqlalchemy.NullPool
    )
    configuration = alembic.config.Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with psycopg.connect(dsn, autocommit=True) as guard, engine.connect() as connection:
        guard.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        configuration.attributes["connection"] = connection
        alembic.command.upgrade(configuration, revision)
        connection.commit()
    return True
