"""What the commands say when they cannot do what was asked: one line that names the fault, exit code 2."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from market_maker import cli

STRATEGY = "00000000-0000-7000-8000-000000000020"


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MM_CONFIG", "MM_DATABASE_URL", "MM_RABBITMQ_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MM_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["backtest", STRATEGY, "2024-13-01", "2024-01-02"], "start: 2024-13-01 is not allowed"),
        (["backtest", STRATEGY, "2024-01-01", "tomorrow"], "end: tomorrow is not allowed"),
        (["backtest", STRATEGY, "2024-01-01", "2024-01-02", "--set", "backtest.speed=9"], "backtest.speed"),
        (["backtest", STRATEGY, "2024-01-01", "2024-01-02", "--set", "backtest.workers"], "key=value"),
        (["sweep", STRATEGY, "2024-13-01", "2024-01-02", "--grid", "a=1"], "start: 2024-13-01 is not allowed"),
        (["sweep", STRATEGY, "2024-01-01", "2024-01-02", "--grid", "a"], "--grid: a is not allowed; allowed: NAME="),
        (["import", "f.gz", "--set", "lakes=/x"], "lakes"),
        (["import", "f.gz", "--config", "/nowhere.yaml"], "readable YAML"),
        (["import", "/nowhere.gz"], "PATH: /nowhere.gz is not allowed; allowed: a file or a folder that exists"),
        (["import", "f.gz", "--tick-size", "abc"], "tick_size: abc is not allowed"),
        (["import", "f.gz", "--date", "x"], "date: x is not allowed"),
        (["import", "f.gz", "--format", "xyz"], "format: xyz is not allowed; allowed: binance_collector"),
        (["import", "f.gz", "--venue", "../x"], "venue: ../x is not allowed"),
        (["quality", "x/y", "--from", "2024-13-01"], "--from: 2024-13-01 is not allowed"),
        (
            ["sweep", STRATEGY, "2024-01-01", "2024-01-02", "--grid", "a=1", "--report", "/nowhere/trials.json"],
            "--report: /nowhere/trials.json is not allowed; allowed: a file that can be written",
        ),
        (["optimise", STRATEGY, "2024-01-01", "2024-01-02", "--param", "a=1:2", "--report", "/"], "--report: / is not"),
        (["calibrate", "a/b", "2024-01-01", "2024-01-02", "--report", "/nowhere/m.json"], "--report: /nowhere/m.json"),
        (["analyze", STRATEGY, "--output", "/nowhere/a.json"], "--output: /nowhere/a.json"),
        (["report", STRATEGY, "--output", "/nowhere/a.html"], "--output: /nowhere/a.html"),
        (["import", "f.gz", "--report", "/nowhere/q.html"], "--report: /nowhere/q.html"),
        (
            ["backtest", STRATEGY, "2024-01-01", "2024-01-02", "--execution", sys.executable],
            f"--execution: {sys.executable[:20]}",
        ),
        (["keys", "root"], "scope: root is not allowed; allowed: read, trade or admin"),
        (["keys", "admin", "--account", STRATEGY], "--account: "),
    ],
)
def test_a_wrong_word_is_named(
    words: list[str], text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["market-maker", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert text in told
    assert told.startswith("market-maker: ")
    assert len(told.strip().splitlines()) == 1


def test_variables_of_callers_are_no_settings() -> None:
    """MM_API_KEY was read by some commands as the caller's key, and stopped all others as an unknown setting."""
    known: set[str] = set()
    waiting = [typer.main.get_command(cli.app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        known |= {str(option.envvar) for option in command.params if getattr(option, "envvar", None)}
    assert known == {"MARKET_MAKER_API_KEY", "MARKET_MAKER_URL"}


@pytest.mark.parametrize("words", [["explain", "not-an-id", "1"], ["backtest"], ["imports"]])
def test_a_wrong_form_is_explained(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["market-maker", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "Usage" in capsys.readouterr().err


def test_a_key_is_shown_once_with_the_setting_that_accepts_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["market-maker", "keys", "read"])
    with contextlib.suppress(SystemExit):
        cli.main()
    told = capsys.readouterr().out
    assert "api_keys: [read:" in told


def test_keys_that_are_accepted_are_listed_without_being_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["keys", "read", "--account", STRATEGY]
    monkeypatch.setattr(sys, "argv", ["market-maker", *made])
    with contextlib.suppress(SystemExit):
        cli.main()
    told = capsys.readouterr().out
    entry = told.partition("api_keys: [")[2].partition("]")[0]
    assert entry.startswith(f"read@{STRATEGY}:")
    monkeypatch.setenv("MM_API_KEYS", f"{entry},admin:{'0' * 64}")
    monkeypatch.setattr(sys, "argv", ["market-maker", "keys", "--list"])
    with contextlib.suppress(SystemExit):
        cli.main()
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in listed] == [["read", STRATEGY], ["admin", "all"]]
    assert entry[-64:] not in "".join(listed)


def test_a_seed_beyond_what_a_run_can_hold_is_refused() -> None:
    """It ended in a traceback, long after the command had begun."""
    ended = CliRunner().invoke(cli.app, ["simulate", "glft", "--duration", "1s", "--seed", str(2**62 + 1)])
    assert ended.exit_code == 2
    assert "4611686018427387904" in ended.output
