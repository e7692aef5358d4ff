"""A backup goes into another database and is the same there; what is damaged, newer or in the way is refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from integration.test_retention import event
from market_maker import cli, maintenance
from market_maker.domain.errors import Conflict, DataError, InvalidRequest
from market_maker.domain.ids import new_id
from market_maker.domain.units import DAY_NS
from market_maker.settings import Settings, load_settings
from market_maker.storage import backup, schema
from market_maker.storage.database import Database
from market_maker.storage.jobs import defer_run
from market_maker.storage.outbox import append_copy, ensure_stream, mark_published
from market_maker.storage.retention import Ages

ROWS = "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {} t"


def settings_of(dsn: str, folder: Path) -> Settings:
    return load_settings(None, overrides=[f"database_url={dsn}", f"data_dir={folder}"], environment={})


async def fill(dsn: str) -> None:
    """Put rows of every awkward kind into a database: texts with tabs, bytes, generated columns, jobs, identities."""
    database = Database(dsn)
    await database.open()
    async with database.transaction() as connection:
        stream = await ensure_stream(connection, "pair\t\\N\nx")
        await append_copy(connection, stream, [event(5), event(6)])
        await mark_published(connection, stream, 1)
        pair, strategy = uuid4(), uuid4()
        await connection.execute(
            "INSERT INTO pairs VALUES (%s, 'v', 'A\tB', 'A', '', 0.01, 0.0001, 'LINEAR', 0, 0, NULL, 0)", (pair,)
        )
        await connection.execute(
            "INSERT INTO strategies VALUES (%s, 'ä\\\\', 'k', '{\"a\": [1, null]}', %s, 1)", (strategy, pair)
        )
        await connection.execute("INSERT INTO market_checkpoints VALUES (%s, 1, 2, %s)", (uuid4(), bytes(range(256))))
        await connection.execute(
            "INSERT INTO backtest_trials (trial_id, sweep_id, number, trial_key, strategy_id, pair_id, kind, parameters,"
            " configuration, summary, digest, seed, created_ts, profits) VALUES (%s, %s, 1, 'k', %s, %s, 'k', '{}', '{}',"
            " '{\"net_pnl\": \"1.5\"}', 'd', 1, 1, '{1,NULL,-3}')",
            (uuid4(), uuid4(), strategy, pair),
        )
        await defer_run(connection, uuid4())
    await database.close()


def content(dsn: str) -> dict[str, str]:
    """Return every row of every table as text."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {name: str(connection.execute(ROWS.format(name)).fetchone()) for (name,) in names}


@pytest.fixture
async def kept(database_dsn: str, tmp_path: Path) -> Path:
    await fill(database_dsn)
    data = tmp_path / "data"
    day = data / "lake" / "venue=v" / "symbol=AB" / "day=2024-01-02"
    day.mkdir(parents=True)
    (day / "manifest.json").write_text("{}")
    (day / "trades-1.parquet").write_bytes(b"\0\1\2" * 1000)
    run = data / "results" / "r1"
    run.mkdir(parents=True)
    (run / "fills.parquet").write_bytes(b"fills")
    file = tmp_path / "kept.zip"
    manifest = await maintenance.back_up(settings_of(database_dsn, data), file, with_files=True)
    assert manifest.rows > 10
    assert len(manifest.files) == 3
    return file


async def test_a_backup_is_the_same_in_another_database(
    kept: Path, database_dsn: str, empty_database_dsn: str, tmp_path: Path
) -> None:
    restored = await maintenance.restore(settings_of(empty_database_dsn, tmp_path / "new"), kept, replace=False)
    assert restored.files == 3
    assert content(empty_database_dsn) == content(database_dsn)
    assert content(database_dsn)["backtest_trials"].count("1.5") == 2  # the summary's, and the column made of it
    for name in ("lake/venue=v/symbol=AB/day=2024-01-02/trades-1.parquet", "results/r1/fills.parquet"):
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "data" / name).read_bytes()
    # numbers that were given out are not given out again, and triggers work as before
    both = []
    for dsn in (database_dsn, empty_database_dsn):
        await fill_one_more(dsn)
        with psycopg.connect(dsn) as connection:
            both.append(
                connection.execute(
                    "SELECT (SELECT max(position) FROM events), (SELECT max(stream_id) FROM event_streams),"
                    " (SELECT max(id) FROM procrastinate_jobs), (SELECT max(id) FROM procrastinate_events)"
                ).fetchone()
            )
    assert both[0] == both[1]


async def fill_one_more(dsn: str) -> None:
    database = Database(dsn)
    await database.open()
    async with database.transaction() as connection:
        await append_copy(connection, await ensure_stream(connection, "another"), [event(7)])
        await defer_run(connection, uuid4())
    await database.close()


async def test_a_database_that_holds_rows_is_spared_unless_told(kept: Path, database_dsn: str, tmp_path: Path) -> None:
    target = settings_of(database_dsn, tmp_path / "data")
    await fill_one_more(database_dsn)
    changed = content(database_dsn)
    with pytest.raises(Conflict, match=r"not empty: backtest_trials \(1 rows\).*--replace"):
        await maintenance.restore(target, kept, replace=False)
    assert content(database_dsn) == changed
    await maintenance.restore(target, kept, replace=True)
    assert content(database_dsn) != changed
    assert "another" not in content(database_dsn)["event_streams"]


async def test_nothing_is_touched_while_somebody_is_connected(kept: Path, database_dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(database_dsn), pytest.raises(Conflict, match="1 other connections"):
        await maintenance.restore(settings_of(database_dsn, tmp_path / "data"), kept, replace=True)


async def test_a_damaged_backup_is_refused_before_anything_is_lost(
    kept: Path, database_dsn: str, tmp_path: Path
) -> None:
    before = content(database_dsn)
    target = settings_of(database_dsn, tmp_path / "data")
    damaged, half = damage(kept)
    for path, text in ((damaged, "is damaged"), (half, "is not a backup"), (tmp_path / "none.zip", "cannot be read")):
        with pytest.raises(DataError, match=text):
            await maintenance.restore(target, path, replace=True)
    assert content(database_dsn) == before


def damage(kept: Path) -> tuple[Path, Path]:
    """Return a copy with one changed bit of a file in it, and one that was cut off."""
    damaged, half = kept.with_name("damaged.zip"), kept.with_name("half.zip")
    raw = bytearray(kept.read_bytes())
    half.write_bytes(raw[:2000])
    raw[raw.index(b"\0\1\2" * 100) + 50] ^= 1
    damaged.write_bytes(raw)
    return damaged, half


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"revision": "9999"}, "this version knows"),
        ({"format": 99}, "written by a newer version"),
        ({"tables": 5}, "is not a backup"),
    ],
)
async def test_a_backup_of_a_newer_version_is_refused(
    kept: Path, empty_database_dsn: str, tmp_path: Path, changes: dict[str, object], text: str
) -> None:
    other = with_manifest(kept, tmp_path / "other.zip", changes)
    with pytest.raises(DataError, match=text):
        await maintenance.restore(settings_of(empty_database_dsn, tmp_path / "new"), other, replace=False)


async def test_no_file_of_a_backup_leaves_its_folder(kept: Path, tmp_path: Path) -> None:
    for name in ("lake/../../evil", "lake//etc/evil", "results/"):
        manifest = backup.read_manifest(kept)
        manifest.files[name] = manifest.files["results/r1/fills.parquet"]
        with pytest.raises(DataError, match="outside of its folder"):
            backup.extract_files(kept, manifest, {"lake": tmp_path / "l", "results": tmp_path / "r"})
    assert not (tmp_path / "evil").exists()


def with_manifest(path: Path, target: Path, changes: dict[str, object]) -> Path:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as made:
        for name in source.namelist():
            text = source.read(name)
            made.writestr(name, json.dumps(json.loads(text) | changes) if name == backup.MANIFEST else text)
    return target


async def test_an_older_schema_is_restored_and_brought_up_to_date(
    empty_database_dsn: str, database_dsn: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(schema.upgrade, empty_database_dsn, "0004")
    with psycopg.connect(empty_database_dsn) as connection:
        connection.execute("INSERT INTO accounts VALUES (gen_random_uuid(), 'mine', 'USDT', 5, 1)")
    file = tmp_path / "old.zip"
    manifest = await maintenance.back_up(settings_of(empty_database_dsn, tmp_path / "a"), file, with_files=False)
    assert manifest.revision == "0004"
    await maintenance.restore(settings_of(database_dsn, tmp_path / "b"), file, replace=True)
    assert schema.current_revision(database_dsn) == schema.HEAD
    assert "mine" in content(database_dsn)["accounts"]


async def test_the_snapshot_is_of_one_moment(database_dsn: str, tmp_path: Path) -> None:
    """Each transaction writes a pair and its market's rows; the backup holds whole transactions only."""
    stop = asyncio.Event()

    async def write() -> None:
        database = Database(database_dsn)
        await database.open()
        while not stop.is_set():
            async with database.transaction() as connection:
                stream = await ensure_stream(connection, f"pair {uuid4()}")
                await append_copy(connection, stream, [event(5)] * 3)
        await database.close()

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.2)
    manifests = [
        await maintenance.back_up(settings_of(database_dsn, tmp_path), tmp_path / f"{number}.zip", with_files=False)
        for number in range(5)
    ]
    stop.set()
    await writing
    assert manifests[0].tables["events"].rows < manifests[-1].tables["events"].rows
    for manifest in manifests:
        assert manifest.tables["events"].rows == 3 * (manifest.tables["event_streams"].rows - 1)


async def test_prune_counts_first_and_then_deletes_the_same(database_dsn: str, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "old"
    folder.mkdir(parents=True)
    with psycopg.connect(database_dsn) as connection:
        pair, strategy = uuid4(), uuid4()
        connection.execute("INSERT INTO pairs VALUES (%s, 'v', 's', 'A', 'B', 1, 1, 'L', 0, 0, NULL, 0)", (pair,))
        connection.execute("INSERT INTO strategies VALUES (%s, 's', 'k', '{}', %s, 1)", (strategy, pair))
        for status, finished_ts in (("COMPLETED", 5), ("RUNNING", None), ("FAILED", 2**62)):
            run = uuid4()
            connection.execute(
                "INSERT INTO backtest_runs VALUES (%s, %s, %s, %s, '{}', 1, 0, 0, NULL, 1, false, 0, 1, 1, %s, 1)",
                (run, strategy, pair, status, finished_ts),
            )
            if status == "COMPLETED":
                connection.execute(
                    "INSERT INTO backtest_results VALUES (%s, %s, '{}', '{}', 'd', %s, '{}', 1)",
                    (run, strategy, str(folder)),
                )
        for status, updated_ts in ((3, 5), (1, 5), (3, 2**62)):  # FILLED long ago, NEW, FILLED lately
            connection.execute(
                "INSERT INTO simulated_orders (order_id, pair_id, account_id, position_id, side, order_type, time_in_force,"
                " post_only, price_ticks, qty_lots, execution_probability, price_impact, created_ts, arrival_ts, expire_ts,"
                " status, cum_qty_lots, value_tick_lots, priority, cancel_arrival_ts, updated_ts, version)"
                " VALUES (%s, %s, %s, %s, 1, 0, 0, false, 1, 1, 1, 0, 1, 1, 0, %s, 0, 0, 0, 0, %s, 1)",
                (uuid4(), pair, uuid4(), uuid4(), status, updated_ts),
            )
    settings = settings_of(database_dsn, tmp_path)
    ages = Ages(DAY_NS, orders_ns=30 * DAY_NS, runs_ns=30 * DAY_NS)
    before = content(database_dsn)
    counted = await maintenance.prune(settings, ages, dry_run=True)
    assert counted == {"events": 0, "idempotency keys": 0, "prices": 0, "ended orders": 1, "runs": 1}
    assert content(database_dsn) == before
    assert folder.exists()
    assert await maintenance.prune(settings, ages, dry_run=False) == counted
    assert not folder.exists()
    assert set((await maintenance.prune(settings, ages, dry_run=True)).values()) == {0}
    left = content(database_dsn)
    assert left["backtest_runs"].count("RUNNING") == left["backtest_runs"].count("FAILED") == 1
    assert "COMPLETED" not in left["backtest_runs"]
    assert left["simulated_orders"].count("\\n") == 1
    assert "ended orders" not in await maintenance.prune(settings, Ages(DAY_NS), dry_run=True)


async def test_assessments_are_pruned_when_asked_but_the_newest_of_a_position(
    database_dsn: str, tmp_path: Path
) -> None:
    """The schedule adds one a minute of each position; nothing could take them away."""
    positions = [uuid4(), uuid4()]
    with psycopg.connect(database_dsn) as connection:
        pair, account = uuid4(), uuid4()
        connection.execute("INSERT INTO pairs VALUES (%s, 'v', 's', 'A', 'B', 1, 1, 'L', 0, 0, NULL, 0)", (pair,))
        connection.execute("INSERT INTO accounts VALUES (%s, 'a', 'B', 1, 1)", (account,))
        for number, position in enumerate(positions):
            strategy = uuid4()
            connection.execute("INSERT INTO strategies VALUES (%s, 's', 'k', '{}', %s, 1)", (strategy, pair))
            connection.execute(
                "INSERT INTO positions VALUES (%s, %s, %s, %s, 0, 0, 0, 0, 0, 0, 1, 1)",
                (position, pair, account, strategy),
            )
            # Ids of one millisecond are in no order.
            for metrics_id, as_of_ts in zip(sorted(new_id() for _ in range(3 - number)), (1, 2, 2**62), strict=False):
                connection.execute(
                    "INSERT INTO risk_metrics VALUES (%s, %s, 'VaR', 'HISTORICAL', 0.95, 1, 1, '{}', %s)",
                    (metrics_id, position, as_of_ts),
                )
    settings = settings_of(database_dsn, tmp_path)
    assert "assessments" not in await maintenance.prune(settings, Ages(DAY_NS), dry_run=True)
    ages = Ages(DAY_NS, assessments_ns=30 * DAY_NS)
    assert (await maintenance.prune(settings, ages, dry_run=True))["assessments"] == 3
    assert (await maintenance.prune(settings, ages, dry_run=False))["assessments"] == 3
    with psycopg.connect(database_dsn) as connection:
        left = connection.execute("SELECT position_id, as_of_ts FROM risk_metrics").fetchall()
    assert sorted(left) == sorted([(positions[0], 2**62), (positions[1], 2)])


def test_orders_that_a_repeated_key_may_name_are_not_pruned() -> None:
    with pytest.raises(InvalidRequest, match="2d or more"):
        Ages(DAY_NS, orders_ns=DAY_NS)


def test_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_database_dsn: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("MM_DATABASE_URL", empty_database_dsn)
    monkeypatch.setenv("MM_DATA_DIR", str(tmp_path))

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["market-maker", "db", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    file = str(tmp_path / "kept.zip")
    assert "schema none" in run("status")[1]
    assert run("backup", file) == (
        2,
        "market-maker: this database has no schema of ours: there is nothing to back up\n",
    )
    assert run("upgrade") == (0, f"schema none -> {schema.HEAD}\n")
    assert run("upgrade") == (0, f"schema {schema.HEAD}\n")
    assert f"newest {schema.HEAD}" in run("status")[1]
    assert json.loads(run("status", "--json")[1])["waiting_events"] == 0
    assert run("backup", file)[0] == 0
    assert "exists already" in run("backup", file)[1]
    assert run("restore", file)[0] == 0
    assert "0 events would go" in " ".join(run("prune", "--dry-run")[1].split())
    assert "--orders: soon is not allowed" in run("prune", "--orders", "soon")[1]
    assert not list(tmp_path.glob("*.part"))


async def test_the_embedded_database_is_kept_and_restored_too() -> None:
    folder = Path(tempfile.mkdtemp(prefix="market-maker-backup-"))
    os.chmod(folder, 0o755)  # noqa: PTH101  (the embedded server's account must be able to enter it)
    try:
        first, second = (
            load_settings(None, overrides=[f"data_dir={folder / name}"], environment={}) for name in ("one", "two")
        )
        assert await maintenance.upgrade(first) == (None, schema.HEAD)
        folder_file = folder / "kept.zip"
        manifest = await maintenance.back_up(first, folder_file, with_files=False)
        restored = await maintenance.restore(second, folder_file, replace=False)
        assert restored.manifest == manifest
        assert (await maintenance.status(second)).revision == schema.HEAD
    finally:
        shutil.rmtree(folder, ignore_errors=True)
