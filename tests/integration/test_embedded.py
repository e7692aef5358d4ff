"""The embedded PostgreSQL: sharing, kills, stale traces, private folders, long paths."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from market_maker.domain.errors import Unavailable
from market_maker.storage import embedded as module
from market_maker.storage import embedded_account
from market_maker.storage.embedded import EmbeddedDatabase, default_data_dir, start_embedded
from market_maker.storage.embedded_account import Account, make_private_folder

ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="shows what happens to root; run the tests as root to see it")


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Yield a finished data folder, so that only the tests of the first start pay for one."""
    folder = Path(tempfile.mkdtemp(prefix="mm-embedded-"))
    folder.chmod(0o755)
    start_embedded(folder / "template").stop()
    yield folder / "template"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_dir(template: Path) -> Iterator[Path]:
    """Yield a data folder with a database that is stopped; a server still running at the end is killed."""
    folder = template.parent / f"copy-{time.monotonic_ns()}"
    subprocess.run(["cp", "-a", template, folder], check=True)
    yield folder
    end_server_of(folder)
    shutil.rmtree(folder, ignore_errors=True)


def end_server_of(folder: Path) -> None:
    found = module._running((folder / "postgres").resolve() / "data")
    if found is not None:
        psutil.Process(found.pid).send_signal(signal.SIGQUIT)
        psutil.Process(found.pid).wait(10)


def in_another_process(code: str, *words: object) -> subprocess.Popen[str]:
    """Run Python with `words` as sys.argv[1:]; it prints a line when it is where the test wants it."""
    program = "import sys\nfrom pathlib import Path\nfrom market_maker.storage.embedded import start_embedded\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program + textwrap.dedent(code), *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


HOLD = "e = start_embedded(Path(sys.argv[1])); print(e.pid, flush=True); sys.stdin.read(); print(e.stop())"


def ends(pid: int) -> bool:
    """Return whether the process ends within some seconds; one that nobody has buried yet has ended."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def setting(database: EmbeddedDatabase, name: str) -> str:
    with psycopg.connect(database.dsn) as connection:
        found = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert found is not None
    return str(found[0])


def modes(folder: Path) -> dict[Path, int]:
    return {step: stat.S_IMODE(step.stat().st_mode) for step in (folder, *folder.parents)}


def test_first_start_then_attach_then_restart(template: Path) -> None:
    folder = template.parent / "first"
    started = time.monotonic()
    first = start_embedded(folder)
    first_s = time.monotonic() - started
    try:
        assert first.started
        assert setting(first, "fsync") == "on"
        assert setting(first, "full_page_writes") == "on"
        assert setting(first, "synchronous_commit") == "on"
        assert setting(first, "listen_addresses") == ""
        assert setting(first, "server_encoding") == "UTF8"
        with psycopg.connect(first.dsn) as connection:
            assert connection.info.dbname == "market_maker"
            connection.execute("CREATE TABLE kept (text text)")
            connection.execute("INSERT INTO kept VALUES ('µ')")
        started = time.monotonic()
        second = start_embedded(folder)
        attach_s = time.monotonic() - started
        assert not second.started
        assert second.pid == first.pid
        assert not first.stop()  # the second still uses it
        assert setting(second, "fsync") == "on"
        assert second.stop()
        assert not second.stop()  # nothing left to let go of
        assert ends(second.pid)
    finally:
        end_server_of(folder)
    with start_embedded(folder) as again, psycopg.connect(again.dsn) as connection:
        assert again.started
        assert connection.execute("SELECT text FROM kept").fetchone() == ("µ",)
    print(f"first start {first_s:.2f} s, attach {attach_s:.3f} s")
    assert attach_s < 1.0
    assert first_s < 20.0  # about 0.9 s on a quiet machine


def test_two_processes_share_and_the_last_one_stops_it(data_dir: Path) -> None:
    other = in_another_process(HOLD, data_dir)
    assert other.stdout is not None
    pid = int(other.stdout.readline())
    mine = start_embedded(data_dir)
    assert mine.pid == pid
    assert not mine.started
    assert not mine.stop()
    assert psutil.pid_exists(pid)
    said, _ = other.communicate("")
    assert said.strip() == "True"
    assert ends(pid)


def test_processes_that_start_at_once_get_one_server(data_dir: Path) -> None:
    starters = [in_another_process(HOLD, data_dir) for _ in range(3)]
    pids = {int(starter.stdout.readline()) for starter in starters if starter.stdout}
    assert len(pids) == 1
    answers = [starter.communicate("")[0].strip() for starter in starters]
    assert answers.count("True") == 1  # the last one


def test_the_server_outlives_a_killed_parent_and_is_attached_again(data_dir: Path) -> None:
    parent = in_another_process(HOLD, data_dir)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    mine = start_embedded(data_dir)
    assert (mine.started, mine.pid) == (False, pid)
    assert mine.stop()  # the killed one does not count


def test_a_crashed_server_recovers_with_what_was_committed(data_dir: Path) -> None:
    database = start_embedded(data_dir)
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        old = database.pid
        os.kill(old, signal.SIGKILL)
        assert ends(old)
    assert database.ensure_running()
    assert database.pid != old
    assert not database.ensure_running()
    with psycopg.connect(database.dsn) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    database.stop_server("immediate")
    assert database.ensure_running()
    assert database.stop()


def test_a_stale_process_id_of_somebody_else_counts_for_nothing(data_dir: Path) -> None:
    database = start_embedded(data_dir)
    pgdata = (data_dir / "postgres").resolve() / "data"
    lines = (pgdata / "postmaster.pid").read_text().splitlines()
    lock = Path(f"{database.socket_dir / module.SOCKET_NAME}.lock")
    lock_lines = lock.read_text().splitlines()
    database.stop()
    # a living process of the very account that runs the server has the number by now
    account = embedded_account.account_for(pgdata.parent)
    switch = {"user": account.uid, "group": account.gid} if account.switch else {}
    stranger = subprocess.Popen(["sleep", "60"], **switch)  # type: ignore[call-overload]
    try:
        lines[0] = lock_lines[0] = str(stranger.pid)
        (pgdata / "postmaster.pid").write_text("\n".join(lines) + "\n")
        lock.write_text("\n".join(lock_lines) + "\n")
        (pgdata / "postmaster.pid").chmod(0o600)
        with start_embedded(data_dir) as again:
            assert again.started
            assert again.pid != stranger.pid
            assert setting(again, "fsync") == "on"
        assert stranger.poll() is None  # and nobody ended it
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "nonsense\n", "999999999\n", "1\n"])
def test_a_broken_process_id_file_is_no_obstacle(data_dir: Path, content: str) -> None:
    pgdata = (data_dir / "postgres").resolve() / "data"
    (pgdata / "postmaster.pid").write_text(content)
    with start_embedded(data_dir) as database:
        assert database.started


def test_a_socket_path_that_is_too_long_moves_to_a_short_private_folder(template: Path) -> None:
    folder = template.parent / ("x" * 60) / ("y" * 60)
    with start_embedded(folder) as database:
        assert len(os.fsencode(database.socket_dir)) < 100
        assert stat.S_IMODE(database.socket_dir.stat().st_mode) == 0o700
        assert setting(database, "listen_addresses") == ""
        with start_embedded(folder) as second:
            assert second.pid == database.pid
        short = database.socket_dir
    shutil.rmtree(short)


def test_a_socket_folder_of_somebody_else_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: Path
) -> None:
    account = embedded_account.own_account()
    homes = template.parent / "homes"
    homes.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(homes))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(homes))
    cluster = tmp_path / ("x" * 100)
    folder = module._socket_folder(cluster, account)
    assert folder.parent == homes
    folder.chmod(0o777)  # as if somebody had made it first, open
    fallback = module._socket_folder(cluster, account)
    assert fallback.parent == Path("/tmp")
    fallback.rmdir()


def test_files_of_another_version_are_refused(data_dir: Path) -> None:
    version = (data_dir / "postgres").resolve() / "data" / "PG_VERSION"
    version.write_text("15\n")
    with pytest.raises(Unavailable, match=r"PostgreSQL 15.*MM_DATABASE_URL"):
        start_embedded(data_dir)


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(data_dir: Path) -> None:
    with ((data_dir / "postgres").resolve() / "data" / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 7\n")
    with pytest.raises(Unavailable, match="no_such_setting"):
        start_embedded(data_dir)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="MM_DATA_DIR"):
        start_embedded(tmp_path / "file" / "data")


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Unavailable, match="writ"):
        start_embedded(tmp_path)


def test_an_interrupted_first_start_leaves_nothing_half_made(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = template.parent / "interrupted"

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_run", fail)
        with pytest.raises(KeyboardInterrupt):
            start_embedded(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["start.lock"]


def test_the_socket_and_the_files_are_private(data_dir: Path) -> None:
    with start_embedded(data_dir) as database:
        cluster = (data_dir / "postgres").resolve()
        assert stat.S_IMODE(cluster.stat().st_mode) == 0o700
        assert stat.S_IMODE((database.socket_dir / module.SOCKET_NAME).stat().st_mode) == 0o700
        environment = psutil.Process(database.pid).environ()
        assert not [name for name in environment if name.startswith(("MM_", "PGPASS", "AWS"))]


# --- root -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mm-root-"))
    folder.chmod(0o711)
    monkeypatch.setattr(embedded_account, "ROOT_HOME", folder / "home")
    yield folder / "home"
    shutil.rmtree(folder)


@only_root
def test_no_parent_of_a_private_data_folder_is_opened(root_home: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    data_dir = private / "data"
    data_dir.mkdir(mode=0o700)
    before = modes(data_dir)
    programs_before = modes(embedded_account.wheel_installation())
    with start_embedded(data_dir) as database:
        assert setting(database, "fsync") == "on"
        assert (data_dir / "postgres").is_symlink()
        assert (data_dir / "postgres").resolve().parent == root_home / "databases"
        assert psutil.Process(database.pid).uids().real != 0
        with start_embedded(data_dir) as second:  # found again by the link
            assert second.pid == database.pid
    assert modes(data_dir) == before
    assert modes(embedded_account.wheel_installation()) == programs_before


@only_root
def test_programs_in_a_private_folder_are_copied(
    root_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "environment"
    private.mkdir(mode=0o700)
    programs = embedded_account.wheel_installation()
    copied = private / programs.parent.name / programs.name
    shutil.copytree(programs, copied, ignore=shutil.ignore_patterns("include"), symlinks=True)
    libraries = programs.parent.with_name(f"{programs.parent.name}.libs")
    shutil.copytree(libraries, private / libraries.name)
    monkeypatch.setattr(embedded_account, "wheel_installation", lambda: copied)
    before = modes(copied)
    with start_embedded(tmp_path / "data") as database:
        assert str(root_home) in psutil.Process(database.pid).exe()
    assert modes(copied) == before


@only_root
def test_an_account_that_cannot_be_made_is_told(
    root_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_account, "ACCOUNT_NAME", "not a valid name!")
    with pytest.raises(Unavailable, match="useradd --system"):
        start_embedded(tmp_path / "data")


@only_root
def test_roots_default_folder_is_its_own() -> None:
    assert default_data_dir() == Path("/var/lib/market-maker")


def test_reachability_follows_owner_group_and_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    owner = folder.stat()
    mine = Account(uid=owner.st_uid, gid=owner.st_gid, switch=False)
    group = Account(uid=owner.st_uid + 7, gid=owner.st_gid, switch=False)
    other = Account(uid=owner.st_uid + 7, gid=owner.st_gid + 7, switch=False)
    (tmp_path / "a").chmod(0o710)
    assert embedded_account.blocking_parent(folder, mine) is None
    blocked = embedded_account.blocking_parent(folder, other)
    assert blocked is not None
    (tmp_path / "a").chmod(0o700)
    assert embedded_account.blocking_parent(folder, group) is not None
    make_private_folder(tmp_path / "c", mine)
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
