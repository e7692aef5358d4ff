"""`market-maker doctor`: each fault is found, named, and comes with what to do; a sound installation is called sound."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import psycopg
import pytest

from market_maker import cli, doctor
from market_maker.domain.errors import Unavailable
from market_maker.monitoring.health import State
from market_maker.storage.database import Database


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MM_") and not name.startswith("MM_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MM_PORT", "0")
    monkeypatch.setenv("MM_KERNEL_CACHE", str(tmp_path / "kernels"))


def examined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """Run the command and return its exit code and its findings by area and name."""
    monkeypatch.setattr("sys.argv", ["market-maker", "doctor", "--json", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = json.loads(capsys.readouterr().out)
    for finding in told["findings"]:
        assert finding["found"]
        assert (finding["state"] == "ok") != bool(finding.get("action")), finding
    return int(ended.value.code or 0), {(each["area"], each["name"]): each for each in told["findings"]}


def test_a_fresh_machine_is_sound_and_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, found = examined(monkeypatch, capsys)
    assert code == 0
    assert "made at the first start" in found["database", "server"]["found"]
    assert "inside the process" in found["broker", "bus"]["found"]
    assert found["kernels", "compiled"]["state"] == "degraded"
    assert "compile" in found["kernels", "compiled"]["action"]
    assert {area for area, _ in found} == {
        "machine", "versions", "settings", "database", "broker", "data", "kernels", "port"
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_told_with_its_source_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, database_dsn: str
) -> None:
    file = tmp_path / "mm.yaml"
    file.write_text("rabbitmq_url: amqp://user:planted-Zq1@127.0.0.1:9/\nsimulator:\n  seed: 5\n")
    file.chmod(0o644)
    monkeypatch.setenv("MM_DATABASE_URL", database_dsn)
    monkeypatch.setenv("MM_API_KEYS", "admin:" + "0" * 64)
    _, found = examined(monkeypatch, capsys, "--config", str(file), "--set", "simulator.execution_delay=50ms")
    told = {name: each["found"] for (area, name), each in found.items() if area == "settings"}
    assert told["simulator.seed"] == f"5 (file {file})"
    assert told["simulator.execution_delay"] == "50ms (command line)"
    assert told["api_keys"] == "1 keys (environment MM_API_KEYS)"
    assert told["data_dir"].endswith("(environment MM_DATA_DIR)")
    assert "planted" not in json.dumps(list(found.values()))
    assert found["settings", "file of settings"]["action"].startswith("chmod 600")
    assert found["broker", "RabbitMQ"]["state"] == "degraded"
    assert "events wait" in found["broker", "RabbitMQ"]["action"]
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    _, found = examined(monkeypatch, capsys, "--config", str(file))
    assert found["settings", "file of settings"]["state"] == "ok"


def test_a_server_is_judged_by_schema_and_durability(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_dsn: str, rabbitmq_url: str
) -> None:
    monkeypatch.setenv("MM_DATABASE_URL", database_dsn)
    monkeypatch.setenv("MM_RABBITMQ_URL", rabbitmq_url)
    code, found = examined(monkeypatch, capsys)
    assert code == 0
    assert "answers, version" in found["broker", "RabbitMQ"]["found"]
    assert found["database", "schema"]["state"] == found["database", "durability"]["state"] == "ok"
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    code, found = examined(monkeypatch, capsys)
    assert code == 0
    assert "synchronous_commit = off" in found["database", "durability"]["found"]
    assert "db upgrade" in found["database", "schema"]["action"]
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    code, found = examined(monkeypatch, capsys)
    assert code == 1
    assert found["database", "schema"]["state"] == "down"


def test_what_cannot_work_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MM_DATABASE_URL", "postgresql://user:planted-Zq2@127.0.0.1:9/none")
    monkeypatch.setenv("MM_HOST", "0.0.0.0")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        monkeypatch.setenv("MM_PORT", str(taken.getsockname()[1]))
        code, found = examined(monkeypatch, capsys)
    assert code == 1
    assert found["settings", "exposure"]["action"].startswith("set api_keys")
    assert found["port", f"0.0.0.0:{os.environ['MM_PORT']}"]["state"] == "down"
    assert found["database", "could be looked at"]["state"] == "down"
    assert "planted" not in json.dumps(list(found.values()))


def test_wrong_settings_are_a_finding_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = examined(monkeypatch, capsys, "--set", "simulator.sed=5")
    assert code == 1
    assert "simulator.sed" in found["settings", "given"]["found"]


def test_a_catalogue_that_the_lake_does_not_bear_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_dsn: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("MM_DATABASE_URL", database_dsn)
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO imports (import_id, source, source_sha256, importer, importer_version, options, report, created_ts)"
            " VALUES ('00000000-0000-7000-8000-0000000000aa', 's', 's', 'i', '1', '{}', '{}', 1)"
        )
        connection.execute(
            "INSERT INTO market_data_days VALUES ('v', 'AB', 'trades', '2024-01-02',"
            " '00000000-0000-7000-8000-0000000000aa', 'p', 1, 2, 'abc', 1, 2, '{}')"
        )
    code, found = examined(monkeypatch, capsys)
    assert code == 0
    assert found["data", "catalogue"]["state"] == "degraded"
    assert "v/AB 2024-01-02 trades is missing in the lake" in found["data", "catalogue"]["found"]


def test_people_are_told_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MM_HOST", "0.0.0.0")
    monkeypatch.setattr("sys.argv", ["market-maker", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().out
    assert ended.value.code == 1
    assert "→ set api_keys" in " ".join(told.split())
    assert "It does not work until" in told


@pytest.mark.parametrize(
    ("states", "expected"),
    [([], "ok"), (["ok", "degraded"], "degraded"), (["down", "degraded", "ok"], "down")],
)
def test_the_worst_finding_decides(states: list[str], expected: str) -> None:
    found = [doctor.Finding("a", "b", State(state), "c") for state in states]
    assert doctor.worst(found).value == expected


def test_a_file_where_the_data_folder_should_be_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All was called well, and the service could not start."""
    (tmp_path / "file").write_text("in the way")
    code, found = examined(monkeypatch, capsys, "--set", f"data_dir={tmp_path / 'file' / 'data'}")
    assert code == 1
    assert found["machine", "data folder"]["found"] == f"{tmp_path / 'file'} cannot be written: Not a directory"


def test_a_key_that_is_none_is_wrong_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key instead of its digest was called one API key; the service ran its markets before it noticed."""
    code, found = examined(monkeypatch, capsys, "--set", "api_keys=planted-key-Zq7")
    assert code == 1
    exposure = found["settings", "exposure"]
    assert ("market-maker keys" in exposure["action"], "scope:sha256" in exposure["found"]) == (True, True)
    assert "planted" not in str(found)


@pytest.mark.slow
async def test_a_start_without_a_database_says_why() -> None:
    """It spoke of a change that was under way."""
    with pytest.raises(
        Unavailable, match=r"cannot be reached: .*refused.*; start it, or correct database_url"
    ) as error:
        await Database("postgresql://u:planted-Zq7@127.0.0.1:1/none").open()
    assert "planted" not in error.value.detail
