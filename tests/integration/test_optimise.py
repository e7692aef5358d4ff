"""`optimise` and `calibrate` as commands on recorded data: what is shown first, what is kept, and going on after a stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from market_maker.backtest.trial_counts import surface, trial_statistics
from market_maker.backtest.trials import count_trials
from market_maker.storage.database import Database
from market_maker.storage.reference import ReferenceData
from market_maker.strategies.contract import find_strategy

SPAN = ("2024-08-08T23:54:16Z", "2024-08-09T00:00:00Z")
KIND = "inventory_skew"
STRATEGY = {each.name: each.default for each in find_strategy(KIND).parameters} | {
    "half_spread_ticks": 30,
    "order_lots": 5,
    "max_inventory_lots": 50,
}
RANGES = ("--param", "half_spread_ticks=1:200:log", "--param", "order_lots=1:20")


@dataclass(frozen=True)
class Recorded:
    """A database and a lake with some six minutes of BTCUSDT, and commands on them."""

    dsn: str
    folder: Path

    def begin(self, *words: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        environment |= {"MM_DATABASE_URL": self.dsn, "MM_DATA_DIR": str(self.folder), "COLUMNS": "200"}
        if "MM_KERNEL_CACHE" in os.environ:
            environment["MM_KERNEL_CACHE"] = os.environ["MM_KERNEL_CACHE"]
        return subprocess.Popen(
            [sys.executable, "-m", "market_maker", *words],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def command(self, *words: str, code: int = 0) -> str:
        process = self.begin(*words)
        out, err = process.communicate(timeout=110)
        assert process.returncode == code, err + out
        return out if code == 0 else err

    def kept(self, strategy_id: UUID) -> dict[str, tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(
                "SELECT trial_key, digest, summary ->> 'net_pnl', profits FROM backtest_trials"
                " WHERE strategy_id = %s", (strategy_id,),
            ).fetchall()  # fmt: skip
        return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def recorded(
    _make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path
) -> Iterator[Recorded]:
    with tempfile.TemporaryDirectory(prefix="market-maker-optimise-", ignore_cleanup_errors=True) as name:
        made = Recorded(_make_database(_migrated_template), Path(name))
        file = sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"
        made.command("import", str(file), "--offset-negative-latency")
        Path(name).chmod(0o755)
        yield made


@pytest.fixture
async def database(recorded: Recorded) -> AsyncIterator[Database]:
    database = Database(recorded.dsn)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def strategy_id(database: Database) -> UUID:
    reference = ReferenceData(database)
    await reference.load()
    pair = reference.find_pair("binance-usdm", "BTCUSDT")
    assert pair is not None
    return (await reference.add_strategy("searched", KIND, STRATEGY, pair.instrument.pair_id, 1)).strategy_id


async def test_what_was_not_searched_on_comes_first(
    recorded: Recorded, database: Database, strategy_id: UUID, tmp_path: Path
) -> None:
    before, report = await count_trials(database, KIND), tmp_path / "report.json"
    words = ["optimise", str(strategy_id), *SPAN, *RANGES, "--trials", "40", "--folds", "3", "--embargo", "5s"]
    words += ["--search", "bayes", "--report", str(report)]
    told = await asyncio.to_thread(recorded.command, *words)
    made = json.loads(report.read_text())
    assert told.index("Out of sample") < told.index("in sample") < told.index("In sample:")
    assert next(iter(made)) == "out_of_sample"
    judged = made["out_of_sample"]
    assert Decimal(judged["net_pnl"]) == sum(Decimal(fold["out_of_sample"]["net_pnl"]) for fold in made["folds"])
    curve = [Decimal(value) for value in judged["equity"]["equity"]]
    assert curve[-1] - curve[0] == Decimal(judged["net_pnl"])
    for fold in made["folds"]:
        assert int(fold["train"][0][1]) + 5 * 10**9 == int(fold["test"][0])
        assert fold["sets"] <= 40
        assert 0 <= fold["overfitting_probability"] <= 1
    tried = await count_trials(database, KIND)
    assert tried == made["trials_of_kind"]
    assert f"All {tried:,} trials" in told
    # Different sets in three folds, the chosen one and the strategy's own on each test.
    assert tried - before == sum(fold["sets"] for fold in made["folds"]) + 2 * 3
    kept = recorded.kept(strategy_id)
    assert len(kept) == tried - before
    steps = Decimal("0.1") * Decimal("0.001") / 2
    for _, net_pnl, profits in kept.values():
        assert sum(profits) * steps == Decimal(net_pnl)

    shown = await surface(database, strategy_id, {"half_spread_ticks": 30, "order_lots": 5})
    assert shown is not None
    assert shown.names == ("half_spread_ticks", "order_lots")
    sets = {fold["sets"] for fold in made["folds"]}
    assert max(sets) <= shown.trials <= max(sets) + 2, "the trials of one range"
    best = made["folds"][-1]["parameters"]
    searched = await trial_statistics(database, KIND, {**STRATEGY, **best})
    assert searched.was_searched
    assert searched.overfitting is not None
    assert 0 <= searched.overfitting.probability <= 1
    assert searched.overfitting.trials == shown.trials
    unknown = await trial_statistics(database, KIND, {**STRATEGY, "order_lots": 49})
    assert not unknown.was_searched
    assert unknown.overfitting is None

    again = await asyncio.to_thread(recorded.command, *words)
    assert f"{len(kept):,} runs were known" in again
    remade = json.loads(report.read_text())
    assert {name: value for name, value in remade.items() if name != "sweep_id"} == {
        name: value for name, value in made.items() if name != "sweep_id"
    }
    assert recorded.kept(strategy_id) == kept


def test_a_stopped_search_goes_on(recorded: Recorded, strategy_id: UUID) -> None:
    words = ["optimise", str(strategy_id), *SPAN, *RANGES, "--trials", "3000", "--folds", "2"]
    process = recorded.begin(*words)
    deadline = time.monotonic() + 60
    while len(recorded.kept(strategy_id)) < 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in out
    kept = recorded.kept(strategy_id)
    assert 200 <= len(kept) < 6000
    words[words.index("3000")] = "128"
    told = recorded.command(*words)
    # The first sets of a search do not depend on how many there are to be.
    assert "128 runs were known" in told
    now = recorded.kept(strategy_id)
    assert {key: now[key] for key in kept} == kept


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--param", "spread=1:2"], "--param: spread=1:2 is not allowed; allowed: each once of half_spread_ticks"),
        (["--param", "order_lots=1:20", "--search", "hill"], "--search: hill"),
        (["--param", "order_lots=1:20", "--search", "grid", "--trials", "5"], "trials: 5 is not allowed; allowed: 20 or more"),
        (["--param", "order_lots=1:20", "--folds", "90"], "folds: 90 is not allowed; allowed: fewer"),
        (["--param", "order_lots=1:20", "--objective", "luck"], "objective: luck"),
    ],
)  # fmt: skip
def test_wrong_words_are_told_before_anything_runs(
    recorded: Recorded, strategy_id: UUID, words: list[str], text: str
) -> None:
    assert text in recorded.command("optimise", str(strategy_id), *SPAN, *words, code=2)
    assert recorded.kept(strategy_id) == {}


def test_a_market_is_calibrated(recorded: Recorded, tmp_path: Path) -> None:
    report = tmp_path / "market.json"
    told = recorded.command("calibrate", "binance-usdm/BTCUSDT", *SPAN, "--report", str(report))
    made = json.loads(report.read_text())
    for name in ("volatility", "intensity", "intensity_decay"):
        assert 0 < made[name]["error"] < made[name]["value"] / 4, "known to a quarter"
    assert made["trades"] > 20_000
    assert [hour["reason"] for hour in made["hours"]] == [None]
    assert made["hours"][0]["volatility"]["value"] == pytest.approx(made["volatility"]["value"], rel=1e-3)
    assert set(made["suggestions"]) == {"avellaneda_stoikov", "glft"}
    assert "glft: risk_aversion" in told
    error = recorded.command("calibrate", "binance-usdm/NONE", *SPAN, code=2)
    assert "no pair binance-usdm/NONE; there are" in error
    error = recorded.command("calibrate", "BTCUSDT", *SPAN, code=2)
    assert "PAIR: BTCUSDT is not allowed" in error
