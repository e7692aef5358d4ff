"""Starts PostgreSQL from its wheel: a real server on a Unix socket, its files in the service's data folder.

Several processes (service, workers) may share one server: whoever comes first starts it, the last one to let
go stops it, and one that was killed simply no longer counts. Knows nothing of tables and migrations.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import platformdirs
import psutil
import psycopg
from psycopg import sql

from market_maker.domain.errors import Unavailable
from market_maker.storage.embedded_account import (
    ROOT_HOME,
    SERVER_ADVICE,
    Account,
    account_for,
    cluster_folder,
    installation,
    make_data_folder,
    make_private_folder,
)

if sys.platform != "win32":
    import fcntl

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 100
"""`sockaddr_un` holds 107 bytes and an end mark on Linux, 103 on macOS."""

LOG_BYTES_MAX = 10_000_000

INITIAL_SETTINGS = {
    # durability: the defaults, written down because promises rest on them
    "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
    # a small neighbour of the service on the same machine
    "max_connections": "60", "shared_buffers": "64MB", "io_method": "sync", "huge_pages": "off", "jit": "off",
    "max_parallel_workers_per_gather": "0", "wal_level": "minimal", "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    # fewer checkpoints: less writing of full pages, a recovery of some seconds at most
    "max_wal_size": "1GB", "checkpoint_timeout": "10min",
    "timezone": "UTC", "log_timezone": "UTC", "log_checkpoints": "off",
}  # fmt: skip
"""Written to postgresql.conf when the database is made; afterwards the file is the user's."""

StopMode = Literal["smart", "fast", "immediate"]


def default_data_dir() -> Path:
    """Return the data folder when none is set: the user's data folder, for root /var/lib/market-maker."""
    if sys.platform != "win32" and os.geteuid() == 0:
        return ROOT_HOME
    return platformdirs.user_data_path("market-maker", appauthor=False)


def start_embedded(data_dir: Path, *, database: str = "market_maker", timeout_s: float = 60.0) -> EmbeddedDatabase:
    """Start or attach to the server whose files lie in ``data_dir/postgres`` and make `database` when missing.

    Blocking (about half a second the first time); call it from a coroutine by ``asyncio.to_thread``.

    Parameters
    ----------
    data_dir : made when missing; several of our processes may name the same one
    database : name of the database, encoding UTF-8
    timeout_s : how long to wait for another process that is starting it, or for recovery after a crash

    Raises
    ------
    Unavailable : what is in the way and what to do: a folder that cannot be written, files of another
        version, an account that cannot be made, a server that does not come up (with the end of its log)
    """
    if sys.platform == "win32":
        raise Unavailable("the embedded database needs Unix sockets and locks: give a server by MM_DATABASE_URL")
    make_data_folder(data_dir)
    embedded = EmbeddedDatabase(data_dir.resolve(), database)
    embedded.ensure_running(timeout_s)
    return embedded


@dataclass(frozen=True, slots=True)
class _Postmaster:
    pid: int
    socket_dir: Path
    ready: bool


class EmbeddedDatabase:
    """A handle on the embedded server; made by `start_embedded`, also usable as a context manager.

    Examples
    --------
    >>> with start_embedded(default_data_dir()) as embedded:  # doctest: +SKIP
    ...     psycopg.connect(embedded.dsn)
    """

    def __init__(self, data_dir: Path, database: str) -> None:
        self.data_dir = data_dir
        self.database = database
        self.started = False
        """Whether this handle started the server (False: it was already running)."""
        self._users_lock: int | None = None
        self._cluster = data_dir / "postgres"
        self._server: _Postmaster | None = None

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._known_server().pid

    @property
    def socket_dir(self) -> Path:
        """The folder of the server's Unix socket."""
        return self._known_server().socket_dir

    @property
    def dsn(self) -> str:
        """The connection URL of the database."""
        return self.dsn_of(self.database)

    def dsn_of(self, database: str) -> str:
        """Return the connection URL of another database of the same server."""
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self.socket_dir), safe='')}"

    def ensure_running(self, timeout_s: float = 60.0) -> bool:
        """Start the server again if it has died; return whether that was needed. Blocking."""
        deadline = time.monotonic() + timeout_s
        with _start_lock(self.data_dir, deadline):
            found = _running(self._pgdata)
            if found is not None and found.ready and self._users_lock is not None:
                self._server = found
                return False
            self._start(deadline)
            return self.started

    def stop(self) -> bool:
        """Let go of the server; it stops when nobody else uses it. Return whether it was stopped.

        The second call does nothing. A server that has already died counts as stopped.
        """
        if self._users_lock is None:
            return False
        with _start_lock(self.data_dir, time.monotonic() + 60.0):
            users_lock, self._users_lock = self._users_lock, None
            try:
                fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False  # another process holds it shared: it still uses the server
            else:
                self.stop_server()
                return True
            finally:
                os.close(users_lock)

    def stop_server(self, mode: StopMode = "fast") -> None:
        """Stop the server whoever else uses it; ``immediate`` is a crash on purpose. Raises Unavailable on failure."""
        if _running(self._pgdata) is None:
            return
        account = account_for(self._cluster)
        command = [str(installation(account) / "bin" / "pg_ctl"), "stop", "-w", "-t", "60", "-m", str(mode)]
        _run([*command, "-D", str(self._pgdata)], account, self._cluster, "stop PostgreSQL")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _pgdata(self) -> Path:
        return self._cluster / "data"

    def _known_server(self) -> _Postmaster:
        assert self._server is not None, "start_embedded makes handles"
        return self._server

    def _start(self, deadline: float) -> None:
        """Bring the server up and count ourselves among its users; the start lock is held."""
        self._cluster = cluster_folder(self.data_dir)
        account = account_for(self._cluster)
        found = _running(self._pgdata)
        while found is not None and not found.ready:  # it is starting or recovering, or about to end
            _pause(deadline, f"PostgreSQL (process {found.pid}) in {self._cluster} is not ready")
            found = _running(self._pgdata)
        self.started = found is None
        if found is None:
            programs = installation(account)
            _create_cluster(self._cluster, programs, account)
            _clear_stale(self._pgdata, deadline)
            found = _launch(self._cluster, programs, account, deadline)
        self._server = found
        _create_database(self.dsn_of(SUPERUSER), self.database, deadline)
        if self._users_lock is None:
            self._users_lock = os.open(self.data_dir / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)


@contextlib.contextmanager
def _start_lock(data_dir: Path, deadline: float) -> Iterator[None]:
    """Only one process at a time starts or stops the server; a killed one frees the lock by dying."""
    path = data_dir / "start.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"cannot write to the data folder {data_dir} ({error.strerror}): "
            f"make it writable, choose another by MM_DATA_DIR, {SERVER_ADVICE}"
        ) from error
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                _pause(deadline, f"another process holds {path} and does not finish starting or stopping PostgreSQL")
        yield
    finally:
        os.close(lock)


def _pause(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise Unavailable(f"{otherwise}: try again, or end that process")
    time.sleep(0.02)


def _running(pgdata: Path) -> _Postmaster | None:
    """Return the living server of `pgdata`; a process-id file alone proves nothing, its number may be reused."""
    try:
        lines = (pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or Path(process.cwd()) != pgdata:
            return None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    socket_dir = Path(lines[4]) if len(lines) > 4 else Path()
    return _Postmaster(pid=pid, socket_dir=socket_dir, ready=len(lines) > 7 and lines[7].strip() == "ready")


def _create_cluster(cluster: Path, programs: Path, account: Account) -> None:
    """Make the server's files, whole or not at all: they are made aside and renamed."""
    version_file = cluster / "data" / "PG_VERSION"
    if cluster.exists():
        version = version_file.read_text(encoding="utf-8").strip() if version_file.exists() else "none"
        if version != MAJOR_VERSION:
            raise Unavailable(
                f"{cluster} holds files of PostgreSQL {version}, this package brings {MAJOR_VERSION}: dump them with "
                f"that version, move the folder away and load the dump, {SERVER_ADVICE}"
            )
        return
    aside = cluster.with_name(f"{cluster.name}.new-{uuid.uuid4().hex[:8]}")
    try:
        make_private_folder(aside, account)
        make_private_folder(aside / "run", account)
        command: list[str | Path] = [programs / "bin" / "initdb", "-D", aside / "data", "-U", SUPERUSER, "--auth=trust"]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if sys.platform == "linux":
            command += ["--sync-method=syncfs"]  # one call for 1,000 files: 0.65 s instead of 0.85-1.1 s
        command += [word for name, value in INITIAL_SETTINGS.items() for word in ("-c", f"{name}={value}")]
        _run(command, account, aside, "create the database")
        aside.rename(cluster)
    except OSError as error:
        raise Unavailable(
            f"cannot create {cluster} ({error.strerror}): choose another MM_DATA_DIR, {SERVER_ADVICE}"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear_stale(pgdata: Path, deadline: float) -> None:
    """Remove the traces of a server that no longer lives, which its process id in other hands would keep alive."""
    traces = [pgdata / "postmaster.pid"]
    if not traces[0].exists():
        return
    while _orphans(pgdata):  # children of a killed server notice within moments and leave
        _pause(deadline, f"processes of a killed PostgreSQL still work in {pgdata}")
    with contextlib.suppress(OSError, IndexError):
        socket_dir = Path(traces[0].read_text(encoding="utf-8").splitlines()[4])
        traces += [socket_dir / SOCKET_NAME, socket_dir / f"{SOCKET_NAME}.lock"]
    for trace in traces:
        trace.unlink(missing_ok=True)


def _orphans(pgdata: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error, OSError):
            if process.info["name"] == "postgres" and Path(process.cwd()) == pgdata:
                found.append(process.pid)
    return found


def _launch(cluster: Path, programs: Path, account: Account, deadline: float) -> _Postmaster:
    log = cluster / "server.log"
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    socket_dir = _socket_folder(cluster, account)
    options = "-c listen_addresses='' -c unix_socket_permissions=0700 "
    options += f"-c unix_socket_directories={shlex.quote(str(socket_dir))}"
    seconds = str(max(1, int(deadline - time.monotonic())))
    command: list[str | Path] = [programs / "bin" / "pg_ctl", "start", "-w", "-t", seconds, "-D", cluster / "data"]
    _run([*command, "-l", log, "-o", options], account, cluster, "start PostgreSQL", log)
    found = _running(cluster / "data")
    if found is None or not found.ready:
        raise Unavailable(f"PostgreSQL in {cluster} came up and ended again; the end of its log:\n{_tail(log)}")
    return found


def _socket_folder(cluster: Path, account: Account) -> Path:
    """Return the folder of the socket: ``run`` beside the data, or a short private one where that path is too long."""
    folder = cluster / "run"
    if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
        return folder
    name = f"market-maker-{account.uid}-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]}"
    homes = [
        Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()),
        Path(tempfile.gettempdir()),
        Path("/tmp"),  # noqa: S108 (owner and mode are checked below)
    ]
    for home in homes:
        folder = home / name
        if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX or not home.is_dir():
            continue
        with contextlib.suppress(FileExistsError):
            make_private_folder(folder, account)
        state = folder.lstat()
        if stat.S_ISDIR(state.st_mode) and state.st_uid == account.uid and not state.st_mode & 0o077:
            return folder
    raise Unavailable(
        f"the path of the socket in {cluster} is longer than {SOCKET_PATH_BYTES_MAX} bytes and no private folder "
        f"could be made for it in {', '.join(map(str, dict.fromkeys(homes)))}: "
        f"choose a shorter MM_DATA_DIR, {SERVER_ADVICE}"
    )


def _create_database(dsn: str, name: str, deadline: float) -> None:
    while True:
        try:
            with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                    connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            return
        except psycopg.OperationalError as error:
            _pause(deadline, f"PostgreSQL is up but refuses connections ({error})")


def _run(command: Sequence[str | Path], account: Account, folder: Path, purpose: str, log: Path | None = None) -> None:
    """Run one of PostgreSQL's programs as `account`, with an environment of its own (no PG* variables, no secrets)."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    switch = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.switch else {}
    with tempfile.TemporaryFile() as output:  # a pipe would stay open in the server that pg_ctl leaves behind
        try:
            done = subprocess.run(  # noqa: S603 (our own programs, no shell, no outside text)
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
                env=environment, start_new_session=True, check=False, **switch,  # type: ignore[call-overload]
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"cannot {purpose}: {error}, {SERVER_ADVICE}") from error
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    if done.returncode != 0:
        ending = f"\nThe end of {log}:\n{_tail(log)}" if log is not None else ""
        raise Unavailable(f"cannot {purpose} in {folder} (free space? permissions?):\n{said[-2000:].strip()}{ending}")


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
    except OSError as error:
        return f"({error.strerror})"
