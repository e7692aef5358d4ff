"""Looks at machine, settings, database, broker, data and caches, and says what to do about what is wrong.

It changes nothing: a database that is not there is not made, a schema that is old stays old. Knows nothing of how
findings are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import platform
import re
import shutil
import socket
import stat
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import httpx
import platformdirs
import psutil
import psycopg

from market_maker import bootstrap
from market_maker.api.exposure import check_exposure
from market_maker.dashboard import BUILT
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import MarketMakerError
from market_maker.monitoring.health import State, check_durability
from market_maker.monitoring.logs import mask_secrets
from market_maker.settings import Settings
from market_maker.storage import schema
from market_maker.storage.lake import Lake, sha256_of
from market_maker.strategies.compilation import cache_key

OLDEST_POSTGRES = 150_000
"""PostgreSQL 15: the first with NULLS NOT DISTINCT, which the schema uses."""
_GIB = 1 << 30
_ADVICE = dict.fromkeys(("database", "data"), "start the database, or correct database_url")
"""What to do where an area cannot be looked at at all."""
_SYNC_S = 0.02
_CLOCK_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: OK, DEGRADED (works, but) or DOWN (does not work); what was found, what to do."""

    area: str
    name: str
    state: State
    found: str
    action: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as JSON values; an action that is not needed is left out."""
        told = {"area": self.area, "name": self.name, "state": self.state.value, "found": self.found}
        return told | ({"action": self.action} if self.action else {})


@dataclass(frozen=True, slots=True)
class Examination:
    """What is looked at: the settings, where each that was given comes from, and whether checksums are read too."""

    settings: Settings
    sources: dict[str, str]
    checksums: bool = False


Findings = AsyncIterator[Finding]


async def examine(wish: Examination) -> Findings:
    """Yield the findings, area by area; what one area cannot tell never hides the others."""
    areas: list[tuple[str, Callable[[Examination], Findings]]] = [
        ("machine", _machine), ("versions", _versions), ("settings", _settings), ("database", _database),
        ("broker", _broker), ("data", _data), ("kernels", _kernels), ("port", _port),
    ]  # fmt: skip
    for area, look in areas:
        try:
            async for finding in look(wish):
                yield finding
        except Exception as error:  # noqa: BLE001  (what cannot be looked at is a finding)
            told = error.detail if isinstance(error, MarketMakerError) else f"{type(error).__name__}: {error}"
            yield Finding(
                area, "could be looked at", State.DOWN, mask_secrets(told), _ADVICE.get(area, "see the reason given")
            )


def worst(findings: list[Finding]) -> State:
    """Return the worst state of the findings."""
    states = {finding.state for finding in findings}
    return State.DOWN if State.DOWN in states else State.DEGRADED if State.DEGRADED in states else State.OK


def _judge(area: str, name: str, found: str, wrong: str = "", *, state: State = State.DEGRADED) -> Finding:
    """Return an OK finding, or, with what to do in `wrong`, one of `state`."""
    return Finding(area, name, state if wrong else State.OK, found, wrong)


# ------------------------------------------------------------------------------------------------ machine and versions


async def _machine(wish: Examination) -> Findings:
    cores = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else os.cpu_count() or 1
    few = "" if cores >= 2 else "give it two: one for the service, one for the database and a worker"
    yield _judge("machine", "cores", str(cores), few)
    free = psutil.virtual_memory().available
    little = "" if free >= _GIB else "free some, or set backtest.workers=0 and run workers elsewhere"
    yield _judge("machine", "free memory", f"{free / _GIB:.1f} GiB", little)
    folder = _nearest(bootstrap.data_dir_of(wish.settings))
    room = shutil.disk_usage(folder).free
    state = State.DOWN if room < _GIB // 4 else State.DEGRADED
    full = "" if room >= 2 * _GIB else "free some, move data_dir, or `market-maker db prune`"
    yield _judge("machine", "free disk", f"{room / _GIB:.1f} GiB at {folder}", full, state=state)
    in_the_way = _file_in_the_way(bootstrap.data_dir_of(wish.settings))
    try:
        if in_the_way is not None:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(in_the_way))
        seconds = await asyncio.to_thread(_sync_seconds, folder)
    except OSError as error:
        advice = "make it writable for this user, or choose another by MM_DATA_DIR"
        told = f"{in_the_way or folder} cannot be written: {error.strerror}"
        yield Finding("machine", "data folder", State.DOWN, told, advice)
    else:
        slow = "" if seconds <= _SYNC_S else "every commit waits for this: put data_dir on a faster disk"
        yield _judge("machine", "time to make a write durable", f"{seconds * 1e3:.1f} ms at {folder}", slow)
    if sys.platform != "win32":
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        few_files = "" if files >= 1024 else "raise it (ulimit -n 4096; LimitNOFILE= of a systemd unit)"
        yield _judge("machine", "files and sockets allowed", str(files), few_files)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _file_in_the_way(folder: Path) -> Path | None:
    """Return the folder, or the one above it, that is there and is none."""
    return next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)


def _sync_seconds(folder: Path) -> float:
    """Return the median time of five durable writes of 4 KiB."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(5):
            started = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times)


async def _versions(_: Examination) -> Findings:
    known = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if known else "install it into Python 3.11, 3.12 or 3.13"
    yield _judge("versions", "Python", platform.python_version(), advice, state=State.DOWN)
    named = [f"{name} {version(name)}" for name in ("market-maker", "numba", "numpy", "litestar", "psycopg")]
    missing = sorted(_missing_packages())
    told = ", ".join(named) if not missing else f"missing: {', '.join(missing)}"
    yield _judge("versions", "packages", told, "install again: make setup" if missing else "", state=State.DOWN)
    built = BUILT.is_dir() and any(BUILT.glob("*.html"))
    advice = "" if built else "build them: make pages (without them there is no dashboard and no report)"
    yield _judge("versions", "pages", "built" if built else "not built", advice)


def _missing_packages() -> Iterator[str]:
    """Yield the packages that ours needs and that are not installed."""
    for requirement in requires("market-maker") or []:
        words, _, marker = requirement.partition(";")
        if "extra" in marker or ("win32" in marker and sys.platform == "win32"):
            continue
        found = re.match(r"[A-Za-z0-9._-]+", words)
        assert found is not None, requirement
        try:
            version(found[0])
        except PackageNotFoundError:
            yield found[0]


# --------------------------------------------------------------------------------------------------------- settings


async def _settings(wish: Examination) -> Findings:
    values = wish.settings.model_dump(mode="json")
    for key, source in sorted(wish.sources.items()):
        value: Any = values
        for part in key.split("."):
            value = value[part]
        shown = f"{len(value)} keys" if key == "api_keys" else mask_secrets(str(value))
        yield Finding("settings", key, State.OK, f"{shown} ({source})")
    if not wish.sources:
        yield Finding("settings", "given", State.OK, "none: the defaults, everything embedded")
    for finding in _files_of_settings(wish.sources):
        yield finding
    try:
        check_exposure(wish.settings)
    except MarketMakerError as error:
        advice = "set api_keys (`market-maker keys`), or host=127.0.0.1"
        found = f"{wish.settings.host} can be reached by others and no API key is set"
        if wish.settings.api_keys:
            advice, found = "make one by `market-maker keys`, and put in the line that it prints", error.detail
        yield Finding("settings", "exposure", State.DOWN, found, advice)
    else:
        guarded = f"{len(wish.settings.api_keys)} API keys" if wish.settings.api_keys else "this machine only"
        yield Finding("settings", "exposure", State.OK, f"{wish.settings.host}, {guarded}")


def _files_of_settings(sources: dict[str, str]) -> Iterator[Finding]:
    """Judge who may read the files that may hold passwords."""
    for source in sorted({source for source in sources.values() if source.startswith("file ")}):
        path = Path(source.removeprefix("file "))
        mode = path.stat().st_mode
        secret = any(key in ("database_url", "rabbitmq_url") for key, of in sources.items() if of == source)
        is_open = secret and mode & (stat.S_IRGRP | stat.S_IROTH)
        advice = f"chmod 600 {path}: it may hold a password" if is_open else ""
        yield _judge("settings", "file of settings", f"{path}, mode {stat.S_IMODE(mode):o}", advice)


# --------------------------------------------------------------------------------------------------------- database


async def _database(wish: Examination) -> Findings:
    if not bootstrap.database_exists(wish.settings):
        folder = bootstrap.data_dir_of(wish.settings)
        yield Finding("database", "server", State.OK, f"embedded, made at the first start in {folder}")
        return
    async with _connected(wish) as (connection, dsn):
        number = connection.info.server_version
        kind = "embedded" if wish.settings.database_url is None else connection.info.host
        old = "" if number >= OLDEST_POSTGRES else "PostgreSQL 15 or newer is needed"
        yield _judge("database", "server", f"PostgreSQL {number // 10_000}, {kind}", old, state=State.DOWN)
        durability = await check_durability(connection)
        told = durability.reason or "fsync, full_page_writes and synchronous_commit are on"
        yield Finding("database", "durability", durability.state, told, durability.action)
        yield _schema_finding(await asyncio.to_thread(schema.current_revision, dsn))
        async for finding in _server_findings(connection, wish.settings):
            yield finding


@contextlib.asynccontextmanager
async def _connected(wish: Examination) -> AsyncIterator[tuple[psycopg.AsyncConnection[Any], str]]:
    async with bootstrap.open_server(wish.settings) as dsn:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=5)
        try:
            yield connection, dsn
        finally:
            await connection.close()


def _schema_finding(revision: str | None) -> Finding:
    if revision is None:
        return Finding(
            "database", "schema", State.OK, "none yet: made at the first start, or by `market-maker db upgrade`"
        )
    if revision == schema.HEAD:
        return Finding("database", "schema", State.OK, revision)
    if revision > schema.HEAD:
        advice = "a newer version has made it: use that version, or restore a backup into another database"
        return Finding("database", "schema", State.DOWN, f"{revision}, this version knows {schema.HEAD}", advice)
    advice = "`market-maker db backup`, then `market-maker db upgrade` (the next start does it too)"
    return Finding("database", "schema", State.DEGRADED, f"{revision}, this version has {schema.HEAD}", advice)


async def _server_findings(connection: psycopg.AsyncConnection[Any], settings: Settings) -> Findings:
    row = await (
        await connection.execute(
            "SELECT current_setting('max_connections')::int, current_setting('server_encoding'),"
            " pg_database_size(current_database()), has_database_privilege(current_database(), 'CREATE'),"
            " extract(epoch FROM clock_timestamp())::float8"
        )
    ).fetchone()
    assert row is not None
    most, encoding, size, may_create, clock = row
    wanted = settings.database_pool + 10  # loops, relay and workers have connections of their own
    few = "" if most >= wanted else f"raise max_connections to {wanted} or more, or lower database_pool"
    yield _judge("database", "connections", f"{most} allowed, {settings.database_pool} in the pool", few)
    other = "" if encoding == "UTF8" else "make the database anew with ENCODING 'UTF8'"
    yield _judge("database", "encoding", encoding, other, state=State.DOWN)
    yield Finding("database", "size", State.OK, f"{size / 1e6:.1f} MB")
    forbidden = "" if may_create else "GRANT CREATE ON DATABASE to this role: migrations make tables"
    yield _judge("database", "rights", "may make tables" if may_create else "may not make tables", forbidden)
    apart = abs(clock - SystemClock().now_ns() / 1e9)
    wrong = "" if apart <= _CLOCK_S else "let both machines keep their clocks by NTP"
    yield _judge("database", "clock", f"{apart:.1f} s from this machine's", wrong)


# ------------------------------------------------------------------------------------------------- broker and data


async def _broker(wish: Examination) -> Findings:
    url = wish.settings.rabbitmq_url
    if url is None:
        yield Finding("broker", "bus", State.OK, "inside the process; other programs read the WebSocket stream")
        return
    import aio_pika

    try:
        connection = await aio_pika.connect(url, timeout=5)
    except Exception as error:  # noqa: BLE001  (its library raises many kinds)
        told = mask_secrets(f"{type(error).__name__}: {error}")
        advice = "start it, or correct rabbitmq_url; until then events wait in the database"
        yield Finding("broker", "RabbitMQ", State.DEGRADED, f"cannot be reached ({told})", advice)
        return
    async with connection:
        facts = getattr(getattr(connection.transport, "connection", None), "server_properties", None) or {}
        yield Finding("broker", "RabbitMQ", State.OK, f"answers, version {facts.get('version', 'unknown')}")


async def _data(wish: Examination) -> Findings:
    root = bootstrap.lake_root_of(wish.settings)
    if wish.settings.lake_url is not None:
        yield Finding("data", "lake", State.OK, f"{wish.settings.lake_url}, cached in {root}")
    elif not root.is_dir():
        yield Finding("data", "lake", State.OK, f"none yet; the first import makes {root}")
    else:
        readable = os.access(root, os.R_OK | os.X_OK)
        advice = "" if readable else "give this user the right to read it"
        yield _judge("data", "lake", f"{root} can{'' if readable else 'not'} be read", advice, state=State.DOWN)
    if not bootstrap.database_exists(wish.settings):
        return
    async with _connected(wish) as (connection, _):
        there = await (await connection.execute("SELECT to_regclass('market_data_days') IS NOT NULL")).fetchone()
        if there is None or not there[0]:
            return
        query = "SELECT venue, symbol, kind, day, bytes, sha256 FROM market_data_days ORDER BY 1, 2, 4, 3"
        listed = await (await connection.execute(query)).fetchall()
    if not listed:
        yield Finding("data", "catalogue", State.OK, "no recorded data yet")
        return
    lake = bootstrap.lake_of(wish.settings)
    wrong = await asyncio.to_thread(_disagreements, lake, listed, checksums=wish.checksums)
    told = f"{len(listed)} tables of days, all as catalogued" if not wrong else "; ".join(wrong[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    advice = "import them again (`market-maker import --replace`), or restore the lake from its backup" if wrong else ""
    yield _judge("data", "catalogue", told + more, advice)


def _disagreements(lake: Lake, listed: list[tuple[Any, ...]], *, checksums: bool) -> list[str]:
    """Return what of the catalogue the lake does not hold as it says."""
    wrong = []
    for venue, symbol, kind, day, size, sha256 in listed:
        name = f"{venue}/{symbol} {day} {kind}"
        published = lake.find(venue, symbol, day)
        file = None if published is None else published.file(kind)
        if file is None:
            wrong.append(f"{name} is missing in the lake")
        elif (file.bytes, file.sha256) != (size, sha256):
            wrong.append(f"{name} is another than was catalogued")
        else:
            path = lake.day_folder(venue, symbol, day) / file.name
            if path.exists():  # with an object store the folder is a cache
                if path.stat().st_size != size or (checksums and sha256_of(path) != sha256):
                    wrong.append(f"{name} has been changed")
            elif not lake.is_remote:
                wrong.append(f"{name} has lost its file")
    return wrong


# --------------------------------------------------------------------------------------------------- kernels and port


async def _kernels(_: Examination) -> Findings:
    root = Path(os.environ.get("MM_KERNEL_CACHE") or platformdirs.user_cache_path("market-maker") / "kernels")
    folder = root / cache_key()
    count = sum(1 for _ in folder.rglob("*.nbi")) if folder.is_dir() else 0
    advice = "" if count else "`market-maker compile` (otherwise the first start takes a minute or more)"
    yield _judge("kernels", "compiled", f"{count} functions in {folder}", advice)
    writable = os.access(_nearest(folder), os.W_OK)
    advice = "" if writable else "set MM_KERNEL_CACHE to a folder that this user may write"
    yield _judge("kernels", "cache", f"{root} can{'' if writable else 'not'} be written", advice)
    others = _count_of_others(root, folder)
    if others > 5:
        yield Finding("kernels", "old caches", State.OK, f"{others} of other versions in {root} may be deleted")


def _count_of_others(root: Path, folder: Path) -> int:
    return sum(1 for path in root.glob("*") if path != folder)


async def _port(wish: Examination) -> Findings:
    host, port = wish.settings.host, wish.settings.port
    if port == 0:
        yield Finding("port", "port", State.OK, "a free one is picked")
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken: str | None = error.strerror or str(error)
        else:
            taken = None
    if taken is None:
        yield Finding("port", f"{host}:{port}", State.OK, "free")
    elif await _answers(host, port):
        yield Finding("port", f"{host}:{port}", State.OK, "a service of ours runs there")
    else:
        yield Finding(
            "port", f"{host}:{port}", State.DOWN, taken, "choose another by --port, or end what listens there"
        )


async def _answers(host: str, port: int) -> bool:
    """Return whether a service of ours listens at an address."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (only to find ourselves)
    url = f"http://[{name}]:{port}/health/live" if ":" in name else f"http://{name}:{port}/health/live"
    with contextlib.suppress(httpx.HTTPError, ValueError):
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            return "checks" in (await client.get(url)).json()
    return False
