"""A backup of one database: every table of it as rows, in one file, and back into an empty one.

The file is a zip: `tables/NAME` in PostgreSQL's text form of COPY, read in one snapshot while everybody goes on working,
`files/...` as they were, and `manifest.json` with revision, counts and checksums. It does not depend on the version of
PostgreSQL: the schema is made by our migrations. Knows nothing of what tables and files mean.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
from psycopg import sql

from market_maker.domain.errors import Conflict, DataError, Unavailable
from market_maker.storage import schema

FORMAT = 1
MANIFEST = "manifest.json"
_TABLES, _FILES = "tables/", "files/"
_CHUNK = 1 << 20
_REVISION_TABLE = "alembic_version"
_OF_A_FRESH_SCHEMA = {_REVISION_TABLE, "event_streams"}

_SELECT_COLUMNS = """
    SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = '' ORDER BY c.relname, a.attnum
"""
_SELECT_REFERENCES = """
    SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
_SELECT_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Kept:
    """One table or file of a backup."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    `tables`: by name, with `columns`; `sequences`: name -> last value, and whether it was given out; `files`: by path;
    `days`: the catalogue of recorded days, as rows, so that a lake that was copied apart can be held against it.
    """

    format: int
    revision: str
    version: str
    created_ts: int
    server_version: int
    tables: dict[str, Kept]
    columns: dict[str, list[str]]
    sequences: dict[str, tuple[int, bool]]
    files: dict[str, Kept]
    days: list[dict[str, Any]]

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Manifest:
        """Return the manifest that `asdict` has written."""
        kept = {kind: {name: Kept(**each) for name, each in values[kind].items()} for kind in ("tables", "files")}
        sequences = {name: (int(value[0]), bool(value[1])) for name, value in values["sequences"].items()}
        return cls(**{**values, **kept, "sequences": sequences})


def write_backup(
    dsn: str, path: Path, *, version: str, created_ts: int, files: Mapping[str, Path] | None = None
) -> Manifest:
    """Write everything that is committed at this moment into `path`; nobody has to stop.

    Parameters
    ----------
    dsn : of the database
    path : must not exist; it appears whole or not at all
    version, created_ts : written down in the manifest
    files : name in the backup -> file, read after the rows

    Raises
    ------
    Conflict : the file exists, or the database has no schema
    Unavailable : the server is lost, or a file cannot be read or written
    """
    if path.exists():
        raise Conflict(f"{path} exists already; choose another name, or remove it")
    part = path.with_name(path.name + ".part")
    try:
        with (
            psycopg.connect(dsn, connect_timeout=5) as connection,
            zipfile.ZipFile(part, "w", allowZip64=True) as archive,
        ):
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            manifest = _dump(connection, archive, version, created_ts, files or {})
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), default=str), zipfile.ZIP_DEFLATED)
        part.replace(path)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error
    except OSError as error:
        raise Unavailable(f"cannot write {path} or read what goes into it: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _dump(
    connection: psycopg.Connection[Any],
    archive: zipfile.ZipFile,
    version: str,
    created_ts: int,
    files: Mapping[str, Path],
) -> Manifest:
    columns = _columns(connection)
    if _REVISION_TABLE not in columns:
        raise Conflict("this database has no schema of ours: there is nothing to back up")
    revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert revision is not None
    tables = {
        name: _dump_table(connection, archive, name, columns[name]) for name in columns if name != _REVISION_TABLE
    }
    days = connection.execute(
        "SELECT to_jsonb(d) - 'quality' FROM market_data_days d ORDER BY venue, symbol, day, kind"
    ).fetchall()
    sequences = {}
    for (name,) in connection.execute(_SELECT_SEQUENCES).fetchall():
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(name))
        found = connection.execute(query).fetchone()
        assert found is not None
        sequences[name] = (int(found[0]), bool(found[1]))
    kept = {name: _dump_file(archive, name, file) for name, file in files.items()}
    del columns[_REVISION_TABLE]
    return Manifest(
        FORMAT, str(revision[0]), version, created_ts, connection.info.server_version, tables, columns, sequences, kept,
        [day for (day,) in days],
    )  # fmt: skip


def _dump_table(
    connection: psycopg.Connection[Any], archive: zipfile.ZipFile, name: str, columns: Iterable[str]
) -> Kept:
    digest, size = hashlib.sha256(), 0
    info = zipfile.ZipInfo(_TABLES + name)
    info.compress_type = zipfile.ZIP_DEFLATED
    with connection.cursor() as cursor, archive.open(info, "w", force_zip64=True) as target:
        with cursor.copy(_copy(name, columns, sql.SQL("TO STDOUT"))) as copy:
            for chunk in copy:
                content = bytes(chunk)
                target.write(content)
                digest.update(content)
                size += len(content)
        return Kept(cursor.rowcount, size, digest.hexdigest())


def _dump_file(archive: zipfile.ZipFile, name: str, file: Path) -> Kept:
    digest, size = hashlib.sha256(), 0
    info = zipfile.ZipInfo(_FILES + name)  # such files are compressed already
    with file.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return Kept(0, size, digest.hexdigest())


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a backup; DataError when the file is none, or of a newer form."""
    try:
        with zipfile.ZipFile(path) as archive:
            values = json.loads(archive.read(MANIFEST))
        if values["format"] > FORMAT:
            raise DataError(f"{path} was written by a newer version ({values['version']}); restore it with that one")
        return Manifest.of_json(values)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a backup of this service, or not a whole one ({error})") from error


def verify(path: Path, manifest: Manifest) -> None:
    """Read the whole backup and compare every checksum; DataError names what differs."""
    with zipfile.ZipFile(path) as archive:
        wanted = {_TABLES + name: kept for name, kept in manifest.tables.items()}
        wanted |= {_FILES + name: kept for name, kept in manifest.files.items()}
        for name, kept in wanted.items():
            digest = hashlib.sha256()
            try:
                for chunk in _chunks(archive, name):
                    digest.update(chunk)
            except (zipfile.BadZipFile, KeyError, EOFError) as error:
                raise DataError(f"{name} of {path} is damaged: {error}") from error
            if digest.hexdigest() != kept.sha256:
                raise DataError(f"{name} of {path} is damaged: its checksum differs")


def filled_tables(dsn: str) -> dict[str, int]:
    """Return the tables that hold rows beyond those that a fresh schema has, with their counts."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        names = [name for name in _columns(connection) if name not in _OF_A_FRESH_SCHEMA]
        counts = {}
        for name in names:
            found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
            assert found is not None
            counts[name] = int(found[0])
    return {name: count for name, count in counts.items() if count}


def restore_rows(dsn: str, path: Path, manifest: Manifest) -> None:
    """Put the rows of a verified backup into a database, in place of everything in its schema `public`.

    The schema is made as it was, filled in one transaction, and then brought up to date.

    Raises
    ------
    DataError : a table has not as many rows as the backup says
    Unavailable : the server is lost, or the role may not make the schema anew
    """
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        schema.upgrade(dsn, manifest.revision)
        with psycopg.connect(dsn, connect_timeout=5) as connection, zipfile.ZipFile(path) as archive:
            _load(connection, archive, manifest)
        schema.upgrade(dsn)
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            connection.execute("ANALYZE")
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        raise Unavailable(f"the database cannot be restored: {error}") from error


def _load(connection: psycopg.Connection[Any], archive: zipfile.ZipFile, manifest: Manifest) -> None:
    names = [name for name in _in_order_of_references(connection) if name in manifest.tables]
    missing = set(manifest.tables) - set(names)
    if missing:
        raise DataError(f"revision {manifest.revision} has no tables {', '.join(sorted(missing))}")
    for name in names:  # what triggers would do has been done, and is in the backup
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(name)))
    connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, names))))
    for name in names:
        with connection.cursor() as cursor:
            with cursor.copy(_copy(name, manifest.columns[name], sql.SQL("FROM STDIN"))) as copy:
                for chunk in _chunks(archive, _TABLES + name):
                    copy.write(chunk)
            if cursor.rowcount != manifest.tables[name].rows:
                raise DataError(f"{name} has {cursor.rowcount} rows, {manifest.tables[name].rows} are in the backup")
    for name, (value, is_called) in manifest.sequences.items():
        connection.execute("SELECT setval(quote_ident(%s)::regclass, %s, %s)", (name, value, is_called))
    for name in names:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(sql.Identifier(name)))


def extract_files(path: Path, manifest: Manifest, targets: Mapping[str, Path]) -> int:
    """Write the files of a backup whose names begin with a key of `targets` into its folder; return how many.

    Raises
    ------
    DataError : a name would lead out of its folder
    """
    count = 0
    with zipfile.ZipFile(path) as archive:
        for name in manifest.files:
            first, _, rest = name.partition("/")
            if first not in targets:
                continue
            if not rest or ".." in PurePosixPath(rest).parts or PurePosixPath(rest).is_absolute():
                raise DataError(f"{path} names a file {name} that would lie outside of its folder")
            target = targets[first] / rest
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as output:
                for chunk in _chunks(archive, _FILES + name):
                    output.write(chunk)
            count += 1
    return count


def _chunks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _columns(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for table, column in connection.execute(_SELECT_COLUMNS).fetchall():
        columns.setdefault(table, []).append(column)
    return columns


def _in_order_of_references(connection: psycopg.Connection[Any]) -> list[str]:
    """Return all tables, each after those that it refers to."""
    sorter: TopologicalSorter[str] = TopologicalSorter({name: [] for name in _columns(connection)})
    for table, referred in connection.execute(_SELECT_REFERENCES).fetchall():
        if table != referred:
            sorter.add(table, referred)
    return list(sorter.static_order())


def _copy(table: str, columns: Iterable[str], direction: sql.SQL) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), names, direction)
