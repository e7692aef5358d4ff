"""Sweeps on a real database and a recorded market: kept by chunk, gone on with after a stop, counted by kind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from e2e.service_process import ServiceProcess
from market_maker.backtest.engine import RunConfig
from market_maker.backtest.request import RunRequest
from market_maker.backtest.sweep import grid
from market_maker.backtest.sweep_runs import Sweeps
from market_maker.backtest.sweep_work import SweepWork
from market_maker.backtest.trials import (
    Plan,
    best_trials,
    count_trials,
    known_keys,
    list_trials,
    run_plan,
    save_trials,
)
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.ids import new_id
from market_maker.market_data.replay import open_feed
from market_maker.settings import load_settings
from market_maker.storage import schema
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData
from market_maker.strategies.contract import find_strategy

KIND = "inventory_skew"
BASE = {"half_spread_ticks": 3, "order_lots": 5, "max_inventory_lots": 50}
SPAN = ("2024-08-08T23:54:16Z", "2024-08-09T00:00:00Z")
START_TS, END_TS = 1_723_161_256_000_000_000, 1_723_161_600_000_000_000


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
        out, err = process.communicate(timeout=100)
        assert process.returncode == code, err + out
        return out if code == 0 else err

    def sweep(self, strategy_id: UUID, *words: str, code: int = 0) -> str:
        return self.command("sweep", str(strategy_id), *SPAN, *words, code=code)

    def rows(self, strategy_id: UUID) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(
                "SELECT trial_key, digest, sweep_id, number FROM backtest_trials WHERE strategy_id = %s", (strategy_id,)
            ).fetchall()


@pytest.fixture(scope="module")
def recorded(
    _make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path
) -> Iterator[Recorded]:
    with tempfile.TemporaryDirectory(prefix="market-maker-trials-", ignore_cleanup_errors=True) as name:
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


async def strategy_of(database: Database, **parameters: Any) -> UUID:
    reference = ReferenceData(database)
    await reference.load()
    pair = reference.find_pair("binance-usdm", "BTCUSDT")
    assert pair is not None
    made = await reference.add_strategy("swept", KIND, BASE | parameters, pair.instrument.pair_id, 1)
    return made.strategy_id


@pytest.fixture
async def plan(recorded: Recorded, database: Database) -> Plan:
    """Return a plan of twelve sets for a strategy of its own."""
    strategy_id = await strategy_of(database)
    reference = ReferenceData(database)
    await reference.load()
    pair = reference.find_pair("binance-usdm", "BTCUSDT")
    assert pair is not None
    base = RunConfig(
        pair.instrument, KIND, START_TS, END_TS, BASE, 10**8, 10**8, Decimal(100_000), allow_gaps=True, seed=7
    )
    configs = grid(base, {"half_spread_ticks": [1, 2, 5, 9], "order_lots": [1, 5, 10]})
    lake = Lake(recorded.folder / "lake")
    feed = open_feed(
        lake, "binance-usdm", "BTCUSDT", START_TS, END_TS,
        allow_gaps=True, steps=(pair.instrument.tick_size, pair.instrument.lot_size),
    )  # fmt: skip
    return Plan.of(strategy_id, feed, configs, [find_strategy(KIND).prepare(config.parameters) for config in configs])


async def test_trials_are_kept_once_found_by_key_and_counted(database: Database, plan: Plan) -> None:
    before = await count_trials(database, KIND)
    parts = list(run_plan(plan, chunk=5, threads=2))
    assert [len(trials) for trials, _ in parts] == [4, 4, 4]
    assert [step.done for _, step in parts] == [4, 8, 12]
    trials = [trial for part, _ in parts for trial in part]
    assert sorted(trial.number for trial in trials) == list(range(12))
    assert await save_trials(database, plan, trials[:7], 100) == 7
    assert await save_trials(database, plan, trials, 200) == 5, "those that are kept stay as they are"
    assert await save_trials(database, replace(plan, sweep_id=new_id()), trials, 300) == 0
    assert await save_trials(database, plan, [], 300) == 0

    assert await known_keys(database, plan.strategy_id, [*plan.keys, "x"]) == set(plan.keys)
    assert await known_keys(database, new_id(), plan.keys) == set()
    assert await count_trials(database, KIND) == before + 12
    assert await count_trials(database, KIND, plan.strategy_id) == 12
    assert await count_trials(database, "another") == 0

    found = await list_trials(database, plan.strategy_id, limit=5)
    while page := await list_trials(database, plan.strategy_id, after=UUID(found[-1]["trial_id"]), limit=5):
        found += page
    assert sorted(trial["number"] for trial in found) == list(range(12))
    by_number = {trial.number: trial.result for trial in trials}
    for kept in found:
        result = by_number[kept["number"]]
        known = result.reproducibility
        assert kept["digest"] == result.digest()
        assert kept["summary"] == json.loads(json.dumps(result.summary.to_json()))
        assert kept["parameters"] == known["configuration"]["parameters"]
        assert kept["configuration"]["data_hash"] == known["data_hash"]
        assert (kept["seed"], kept["kind"], kept["sweep_id"]) == (7, KIND, str(plan.sweep_id))
    assert {kept["created_ts"] for kept in found} == {"100", "200"}

    best = await best_trials(database, plan.strategy_id, plan.keys[:6], 3)
    expected = sorted((by_number[number].summary.net_pnl for number in range(6)), reverse=True)[:3]
    assert [Decimal(trial["summary"]["net_pnl"]) for trial in best] == expected


async def test_what_is_known_is_left_out_and_the_rest_keeps_its_numbers(database: Database, plan: Plan) -> None:
    parts = run_plan(plan, chunk=4, threads=1)
    first, _ = next(parts)
    parts.close()
    await save_trials(database, plan, first, 1)
    known = await known_keys(database, plan.strategy_id, plan.keys)
    again = replace(plan, sweep_id=new_id())
    rest = [trial for trials, _ in run_plan(again, known, chunk=4) for trial in trials]
    done = {trial.number for trial in first}
    assert sorted(trial.number for trial in rest) == sorted(set(range(12)) - done)
    for trial in rest:
        parameters = trial.result.reproducibility["configuration"]["parameters"]
        assert parameters == dict(plan.strategies[trial.number].values)
    assert list(run_plan(plan, plan.keys)) == []


async def test_sweeps_of_the_same_sets_at_once_keep_each_trial_once(database: Database, plan: Plan) -> None:
    trials = [trial for part, _ in run_plan(plan) for trial in part]
    others = [replace(plan, sweep_id=new_id()) for _ in range(6)]
    orders = itertools.cycle((trials, trials[::-1]))
    new = await asyncio.gather(*(save_trials(database, other, next(orders), 1) for other in others))
    assert sum(new) == 12


async def test_the_command_tries_keeps_and_tells_the_best(
    recorded: Recorded, database: Database, tmp_path: Path
) -> None:
    strategy_id = await strategy_of(database)
    report = tmp_path / "report.json"
    words = ["--grid", "half_spread_ticks=1:10:1", "--report", str(report)]
    told = await asyncio.to_thread(recorded.sweep, strategy_id, *words, "--grid", "order_lots=5,10")
    assert "Best 10 of 20 sets" in told
    assert "is not evidence" in told
    tried = await count_trials(database, KIND)
    assert f"trials of {KIND} so far: {tried:,}" in told
    content = json.loads(report.read_text())
    assert (content["sets"], content["trials_of_kind"], len(content["trials"])) == (20, tried, 20)
    swept = [(t["parameters"]["half_spread_ticks"], t["parameters"]["order_lots"]) for t in content["trials"]]
    assert swept == [(half, lots) for half in range(1, 11) for lots in (5, 10)]
    best = max(content["trials"], key=lambda trial: Decimal(trial["summary"]["net_pnl"]))
    first = next(line for line in told.splitlines() if re.match(r"\s*1\s", line))
    assert best["summary"]["net_pnl"] in first

    # A trial is what the command `backtest` gives for the same parameters.
    alone = await strategy_of(database, **best["parameters"])
    told = await asyncio.to_thread(recorded.command, "backtest", str(alone), *SPAN)
    assert best["digest"] in told

    # Names will do for ids.
    async with database.transaction() as connection:
        await connection.execute("UPDATE strategies SET name = 'the best' WHERE strategy_id = %s", (alone,))
    words_of_names = ["backtest", "the best", *SPAN, "--pair", "binance-usdm/BTCUSDT"]
    assert best["digest"] in await asyncio.to_thread(recorded.command, *words_of_names)
    told = await asyncio.to_thread(recorded.command, "backtest", "the worst", *SPAN, code=2)
    assert "there is no strategy the worst; there are" in told
    assert "the best" in told
    async with database.transaction() as connection:
        await connection.execute("UPDATE strategies SET name = 'the best' WHERE strategy_id = %s", (strategy_id,))
    told = await asyncio.to_thread(recorded.command, *words_of_names, code=2)
    assert "2 strategies bear this name" in told
    assert str(alone) in told

    told = await asyncio.to_thread(recorded.sweep, strategy_id, *words, "--grid", "order_lots=5,10,20")
    assert "20 of 30 sets were tried before" in told
    assert await count_trials(database, KIND, strategy_id) == 30
    told = await asyncio.to_thread(
        recorded.sweep, strategy_id, *words, "--grid", "order_lots=5,10,20", "--volume-profile", "HIGH"
    )
    assert "tried before" not in told
    assert await count_trials(database, KIND, strategy_id) == 60


async def test_sets_are_tried_and_searched_under_the_assumptions_of_a_backtest(
    recorded: Recorded, database: Database, tmp_path: Path
) -> None:
    strategy_id = str(await strategy_of(database))
    report = tmp_path / "report.json"
    fees = {"model": "PER_VALUE", "maker": "0.0002", "taker": "0.0005"}
    words = ["--execution", json.dumps({"fees": fees}), "--latency", "5ms", "--response-latency", "7ms", "--balance"]
    words += [
        "20000",
        "--fill-model",
        "NO_PARTIAL",
        "--queue-model",
        "POWER",
        "--queue-n",
        "3",
        "--limit",
        "MAX_LOSS=900",
    ]
    told = await asyncio.to_thread(
        recorded.command, "sweep", strategy_id, *SPAN, *words, "--seed", "4", "--grid", "half_spread_ticks=3",
        "--report", str(report),
    )  # fmt: skip
    (trial,) = json.loads(report.read_text())["trials"]
    assert Decimal(trial["summary"]["fees"]) > 0
    told = await asyncio.to_thread(
        recorded.command, "backtest", str(await strategy_of(database, half_spread_ticks=3)), *SPAN, *words, "--seed", "4"
    )  # fmt: skip
    assert trial["digest"] in told

    searched = ["--param", "half_spread_ticks=3:3:1", "--search", "grid", "--folds", "0", "--report", str(report)]
    await asyncio.to_thread(recorded.command, "optimise", strategy_id, *SPAN, *words, *searched)
    with psycopg.connect(recorded.dsn) as connection:
        found = connection.execute(
            "SELECT configuration FROM backtest_trials WHERE strategy_id = %s", (strategy_id,)
        ).fetchall()
    assert len(found) == 2
    for (configuration,) in found:
        assert configuration["execution"]["fees"] == fees
        assert (configuration["queue_model"], configuration["fill_model"]) == ("POWER", "NO_PARTIAL")
        assert (configuration["entry_latency_ns"], configuration["response_latency_ns"]) == (5_000_000, 7_000_000)
        assert Decimal(configuration["balance"]) == 20_000
        assert configuration["limits"][0]["kind"] == "MAX_LOSS"


OWN = """
from market_maker.strategies.contract import StrategyKind
from market_maker.strategies.parameters import INTERVAL, ORDER_LOTS
from market_maker.strategies.actions import place

def on_wake(view, params, memory, actions):
    if view.position_lots == 0 and len(view.orders) == 0:
        place(actions, {side}, 1, 1, 0, 0, int(params[0]))

KIND = StrategyKind("own_maker", "Takes once.", (ORDER_LOTS, INTERVAL), "own_maker:on_wake", is_compiled=False)
"""


@pytest.mark.slow
async def test_an_own_strategy_that_was_changed_is_tried_anew(
    recorded: Recorded, database: Database, tmp_path: Path
) -> None:
    """Its trials were known by name and parameters, and a sweep showed what the old text had earned."""
    file, report = tmp_path / "own_maker.py", tmp_path / "report.json"
    own = ("--set", f"strategy_files={file}")
    sweep = ("sweep", "own", *SPAN, *own, "--grid", "order_lots=1,2", "--report", str(report))
    file.write_text(OWN.replace("{side}", "1"))
    await asyncio.to_thread(recorded.command, "strategy", "add", "own", "own_maker", "binance-usdm/BTCUSDT", *own)
    await asyncio.to_thread(recorded.command, *sweep)
    bought = json.loads(report.read_text())["trials"]
    assert "2 of 2 sets were tried before" in await asyncio.to_thread(recorded.command, *sweep)
    told = await asyncio.to_thread(recorded.command, "backtest", "own", *SPAN, *own)
    run_id = re.findall(r"run (\S+) completed", told)[0]
    assert "filled" in await asyncio.to_thread(recorded.command, "explain", run_id, "1", *own)
    file.write_text(OWN.replace("{side}", "-1"))
    assert "tried before" not in await asyncio.to_thread(recorded.command, *sweep)
    sold = json.loads(report.read_text())["trials"]
    assert [Decimal(each["summary"]["position"]) for each in bought] == [Decimal("0.001"), Decimal("0.002")]
    assert [Decimal(each["summary"]["position"]) for each in sold] == [Decimal("-0.001"), Decimal("-0.002")]
    told = await asyncio.to_thread(recorded.command, "explain", run_id, "1", *own, code=2)
    assert "the file of strategy own_maker has changed since the run" in told


async def test_trials_are_listed_by_rest_page_by_page(recorded: Recorded, database: Database) -> None:
    strategy_id = await strategy_of(database)
    await asyncio.to_thread(recorded.sweep, strategy_id, "--grid", "half_spread_ticks=1:7:1")
    service = ServiceProcess(recorded.dsn, recorded.folder / "service")
    try:
        await service.start()
        path, found, after = f"/api/v1/backtest/trials/{strategy_id}?limit=3", list[Any](), ""
        while True:
            page = await service.get(path + after)
            found += page["items"]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        unknown = await service.request("GET", f"/api/v1/backtest/trials/{new_id()}")
    finally:
        service.close()
    assert found == await list_trials(database, strategy_id)
    assert sorted(trial["parameters"]["half_spread_ticks"] for trial in found) == list(range(1, 8))
    assert unknown.status == 404


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--grid", "spread=1"], "grid.spread: 1 is not allowed; allowed: only the parameters half_spread_ticks"),
        (["--grid", "order_lots=1,1.5"], "grid.order_lots: 1.5 is not allowed; allowed: a whole number from 1"),
        (["--grid", "half_spread_ticks=-1:3:1"], "grid.half_spread_ticks: -1 is not allowed; allowed: a number from 0"),
        (["--grid", "order_lots=1:400:1", "--grid", "half_spread_ticks=1:400:1"], "160,000 sets"),
        (["--grid", "order_lots=1", "--trend", "LEFT"], "market_conditions.trend"),
        (
            ["--grid", "order_lots=1", "--limit", "MAX_VAR=5"],
            "limits[0].kind: MAX_VAR is not allowed; allowed: one of MAX_ORDER_SIZE",
        ),
    ],
)
async def test_a_wrong_set_is_named_before_anything_runs(
    recorded: Recorded, database: Database, words: list[str], text: str
) -> None:
    strategy_id = await strategy_of(database)
    told = await asyncio.to_thread(recorded.sweep, strategy_id, *words, code=2)
    assert text in told
    assert len(told.strip().splitlines()) == 1
    assert recorded.rows(strategy_id) == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[str]]:
    """Yield the words that send a sweep to a cluster of two worker processes."""
    distributed = pytest.importorskip("distributed", reason="needs the package distributed: make develop installs it")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1") as made:
        yield ["--cluster", made.scheduler_address]


async def test_a_cluster_gives_what_threads_give(
    recorded: Recorded, database: Database, cluster: list[str], tmp_path: Path
) -> None:
    reports = []
    for more in ([], cluster):
        strategy_id, report = await strategy_of(database), tmp_path / f"{len(reports)}.json"
        words = ["--grid", "half_spread_ticks=1:20:1", "--grid", "order_lots=1:10:1", "--report", str(report)]
        told = await asyncio.to_thread(recorded.sweep, strategy_id, *words, *more)
        assert "Best 10 of 200 sets" in told
        reports.append(json.loads(report.read_text())["trials"])
    threads, workers = reports
    own = {"trial_id", "sweep_id", "strategy_id", "created_ts", "trial_key"}
    plain = [[{name: trial[name] for name in trial if name not in own} for trial in report] for report in reports]
    assert plain[0] == plain[1]
    assert [trial["trial_key"] for trial in threads] == [trial["trial_key"] for trial in workers]
    assert len({trial["digest"] for trial in workers}) > 100


async def test_threads_do_not_fit_a_cluster(recorded: Recorded, cluster: list[str]) -> None:
    words = ["--grid", "order_lots=1", *cluster, "--threads", "2"]
    told = await asyncio.to_thread(recorded.sweep, new_id(), *words, code=2)
    assert "--threads: 2 is not allowed; allowed: none with the cluster tcp://" in told


@pytest.mark.parametrize(
    ("how", "where"),
    [
        (signal.SIGKILL, "threads"),
        (signal.SIGINT, "cluster"),
        pytest.param(signal.SIGINT, "threads", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "cluster", marks=pytest.mark.slow),
    ],
)
async def test_a_sweep_that_is_ended_goes_on_where_it_was(
    recorded: Recorded, database: Database, cluster: list[str], how: signal.Signals, where: str
) -> None:
    strategy_id = await strategy_of(database)
    words = ["--grid", "half_spread_ticks=1:40:1", "--grid", "order_lots=1:25:1"]
    process = recorded.begin(
        "sweep", str(strategy_id), *SPAN, *words, *(cluster if where == "cluster" else ["--threads", "1"])
    )
    for _ in range(6000):
        if recorded.rows(strategy_id):
            break
        await asyncio.sleep(0.01)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    kept = recorded.rows(strategy_id)
    assert 0 < len(kept) < 1000
    if how is signal.SIGINT:
        assert process.returncode == 130, err
        assert f"stopped: {len(kept):,} of 1,000 sets are kept" in out
    told = await asyncio.to_thread(recorded.sweep, strategy_id, *words)
    assert f"{len(kept):,} of 1,000 sets were tried before" in told
    rows = recorded.rows(strategy_id)
    assert len({row[0] for row in rows}) == len(rows) == 1000
    assert sorted(row[3] for row in rows) == list(range(1000)), "each has its place in the grid"
    assert len({row[2] for row in rows}) == 2
    assert set(kept) <= set(rows)


# --- sweeps by request, in the worker ---------------------------------------------------------------------------------


@dataclass
class Office:
    """What takes sweeps and what does them, on one database and lake."""

    database: Database
    reference: ReferenceData
    sweeps: Sweeps
    work: SweepWork

    async def begin(self, strategy_id: UUID, grid: dict[str, Any], **changes: Any) -> UUID:
        wish = RunRequest(strategy_id, START_TS, END_TS, **changes)
        return UUID((await self.sweeps.start(wish, grid))["sweep_id"])

    async def do(self, strategy_id: UUID, grid: dict[str, Any], **changes: Any) -> dict[str, Any]:
        sweep_id = await self.begin(strategy_id, grid, **changes)
        await self.work.run(sweep_id)
        return await self.sweeps.get(sweep_id)

    async def has_begun(self, sweep_id: UUID) -> None:
        """Wait until a chunk is done."""
        for _ in range(6000):
            if (await self.sweeps.get(sweep_id))["done"]:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("no chunk is done")

    async def all_trials(self, sweep_id: str, *, best_first: bool, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = None
        while page := await self.sweeps.trials(UUID(sweep_id), best_first=best_first, after=after, limit=limit):
            found += page
            after = UUID(page[-1]["trial_id"])
        return found

    async def events(self, sweep_id: str) -> list[dict[str, Any]]:
        rows = await self.database.fetch(
            "SELECT body FROM events WHERE aggregate_id = %s ORDER BY position", (sweep_id,)
        )
        return [json.loads(row["body"]) for row in rows]


@pytest.fixture
async def office(recorded: Recorded, database: Database) -> Office:
    reference = ReferenceData(database)
    await reference.load()
    settings, clock = load_settings(environment={}).backtest, SystemClock()
    lake = Lake(recorded.folder / "lake")
    return Office(
        database,
        reference,
        Sweeps(database, reference, clock, settings),
        SweepWork(database, reference, lake, clock, 2),
    )


GRID = {"half_spread_ticks": {"from": Decimal("0.5"), "to": Decimal(5), "step": Decimal("0.5")}, "order_lots": [10, 5]}
WORDS = ["--grid", "half_spread_ticks=0.5:5:0.5", "--grid", "order_lots=10,5"]


async def test_a_sweep_by_request_is_the_one_by_command(
    recorded: Recorded, database: Database, office: Office, tmp_path: Path
) -> None:
    by_command, report = await strategy_of(database), tmp_path / "report.json"
    words = [*WORDS, "--report", str(report)]
    await asyncio.to_thread(recorded.sweep, by_command, *words)
    expected = json.loads(report.read_text())["trials"]

    sweep = await office.do(await strategy_of(database), GRID)
    assert (sweep["status"], sweep["done"], sweep["total"], sweep["known"]) == ("COMPLETED", 20, 20, 0)
    assert (sweep["progress_percent"], sweep["attempts"], sweep["error"], sweep["eta_seconds"]) == (100, 1, None, None)
    assert sweep["sets_per_second"] > 0
    assert sweep["grid"] == {"half_spread_ticks": [n / 2 for n in range(1, 11)], "order_lots": [10, 5]}
    assert list(sweep["grid"]) == list(GRID), "the last name varies fastest"
    found = await office.all_trials(sweep["sweep_id"], best_first=False, limit=7)
    assert [trial["number"] for trial in found] == list(range(20))
    same = ("number", "trial_key", "digest", "parameters", "configuration", "summary", "seed", "kind", "pair_id")
    assert [[trial[name] for name in same] for trial in found] == [[one[name] for name in same] for one in expected]

    best = await office.all_trials(sweep["sweep_id"], best_first=True, limit=3)
    order = sorted(found, key=lambda trial: (-Decimal(trial["summary"]["net_pnl"]), trial["number"]))
    assert best == order
    assert sweep["best"] == order[:10]
    # What a request has tried, the command does not try again.
    told = await asyncio.to_thread(recorded.sweep, UUID(sweep["strategy_id"]), *WORDS)
    assert "20 of 20 sets were tried before" in told


async def test_options_of_a_request_reach_every_set(database: Database, office: Office) -> None:
    strategy_id = await strategy_of(database)
    grid = {"half_spread_ticks": [1, 2]}
    plain = await office.do(strategy_id, grid)
    options = {"entry_latency_ns": 10**6, "response_latency_ns": 2 * 10**6, "balance": Decimal(5000), "fill_model": "NO_PARTIAL",
               "seed": 9, "execution": {"queue_model": "POWER", "queue_n": 3}, "market_conditions": {"volume_profile": "HIGH"}}  # fmt: skip
    sweep = await office.do(strategy_id, grid, **options)
    assert (sweep["status"], sweep["known"]) == ("COMPLETED", 0)
    assert sweep["configuration"]["entry_latency"] == "1ms"
    for trial, other in zip(sweep["best"], plain["best"], strict=True):
        told = trial["configuration"]
        assert (told["entry_latency_ns"], told["response_latency_ns"], trial["seed"]) == (10**6, 2 * 10**6, 9)
        assert Decimal(told["balance"]) == 5000
        assert trial["summary"]["market_conditions"]["requested"]["volume_profile"] == "HIGH"
        assert trial["digest"] != other["digest"]
        assert "band" not in trial["summary"], "one set is one run"
    limited = await office.do(strategy_id, grid, limits=[{"kind": "MAX_ORDER_NOTIONAL", "threshold": "0.000001"}])
    assert (limited["status"], limited["known"]) == ("COMPLETED", 0), "with limits it is another run"
    for trial in limited["best"]:
        (limit,) = trial["summary"]["limits"]
        assert limit["refused"] == trial["summary"]["orders"] > 0
        assert trial["summary"]["fills"] == 0


async def test_sets_of_an_earlier_sweep_are_left_out_and_told(database: Database, office: Office) -> None:
    strategy_id = await strategy_of(database)
    first = await office.do(strategy_id, {"order_lots": [1, 2, 3]})
    second = await office.do(strategy_id, {"order_lots": [5, 3, 4, 1]})
    assert (second["done"], second["total"], second["known"]) == (4, 4, 2)
    trials = await office.all_trials(second["sweep_id"], best_first=False, limit=10)
    assert [(trial["number"], trial["parameters"]["order_lots"]) for trial in trials] == [
        (0, 5),
        (1, 3),
        (2, 4),
        (3, 1),
    ]
    ran_by = [first if trial["sweep_id"] == first["sweep_id"] else second for trial in trials]
    assert ran_by == [second, first, second, first]
    again = await office.do(strategy_id, {"order_lots": [1, 2, 3]})
    assert (again["status"], again["known"], again["sets_per_second"]) == ("COMPLETED", 3, None)
    listed = await office.sweeps.find(strategy_id=strategy_id, limit=2)
    rest = await office.sweeps.find(strategy_id=strategy_id, after=UUID(listed[-1]["sweep_id"]), limit=2)
    assert [sweep["sweep_id"] for sweep in listed + rest] == [each["sweep_id"] for each in (again, second, first)]
    for sweep in (first, second, again):
        events = await office.events(sweep["sweep_id"])
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        kinds = [event["type"].removeprefix("backtest.sweep.") for event in events]
        assert kinds == ["queued", "started", *["progress"] * (len(events) - 3), "completed"]
        last = events[-1]["data"]
        assert (last["done"], last["best"][0]["digest"]) == (sweep["total"], sweep["best"][0]["digest"])
        assert "grid" not in last


@pytest.mark.parametrize("victim", ["a worker", pytest.param("a worker that has just begun", marks=pytest.mark.slow)])
async def test_a_sweep_whose_worker_is_killed_goes_on(
    recorded: Recorded, database: Database, office: Office, victim: str
) -> None:
    strategy_id = await strategy_of(database)
    grid = {"half_spread_ticks": list(range(1, 41)), "order_lots": list(range(1, 26))}
    sweep_id = await office.begin(strategy_id, grid)
    worker = recorded.begin("worker")
    for _ in range(6000):
        sweep = await office.sweeps.get(sweep_id)
        if sweep["done"] if victim == "a worker" else sweep["status"] == "RUNNING":
            break
        await asyncio.sleep(0.01)
    worker.kill()
    worker.communicate()
    kept = recorded.rows(strategy_id)
    assert len(kept) < 1000
    other = recorded.begin("worker")
    try:
        for _ in range(900):
            sweep = await office.sweeps.get(sweep_id)
            if sweep["status"] not in ("PENDING", "RUNNING"):
                break
            await asyncio.sleep(0.1)
    finally:
        other.terminate()
        other.communicate(timeout=30)
    assert (sweep["status"], sweep["done"], sweep["attempts"], sweep["known"]) == ("COMPLETED", 1000, 2, len(kept))
    rows = recorded.rows(strategy_id)
    assert len({row[0] for row in rows}) == len(rows) == 1000
    assert set(kept) <= set(rows)
    assert sorted(row[3] for row in rows) == list(range(1000))
    assert len({row[1] for row in rows}) > 500
    kinds = [event["type"].rpartition(".")[2] for event in await office.events(str(sweep_id))]
    assert (kinds.count("queued"), kinds.count("started"), kinds.count("completed")) == (1, 2, 1)


async def test_a_canceled_sweep_stops_and_keeps_what_is_done(database: Database, office: Office) -> None:
    strategy_id = await strategy_of(database)
    grid = {"half_spread_ticks": list(range(1, 101)), "order_lots": list(range(1, 101))}
    waiting = await office.begin(strategy_id, grid)
    assert (await office.sweeps.cancel(waiting))["cancel_requested"]
    await office.work.run(waiting)
    ended = await office.sweeps.get(waiting)
    assert (ended["status"], ended["done"], ended["attempts"]) == ("CANCELED", 0, 0)

    sweep_id = await office.begin(strategy_id, grid)
    working = asyncio.create_task(office.work.run(sweep_id))
    await office.has_begun(sweep_id)
    running = await office.sweeps.get(sweep_id)
    assert running["status"] == "RUNNING"
    assert running["eta_seconds"] > 0
    assert len(running["best"]) == 10
    await office.work.run(sweep_id)
    assert not working.done(), "who finds another worker at it leaves it alone"
    await office.sweeps.cancel(sweep_id)
    await asyncio.wait_for(working, 20)
    ended = await office.sweeps.get(sweep_id)
    assert (ended["status"], ended["error"]) == ("CANCELED", "canceled by the user")
    assert 0 < ended["done"] < 10_000
    assert await count_trials(database, KIND, strategy_id) == ended["done"]
    assert (await office.events(str(sweep_id)))[-1]["type"] == "backtest.sweep.canceled"
    with pytest.raises(Conflict, match="ended already: CANCELED"):
        await office.sweeps.cancel(sweep_id)


async def test_a_sweep_that_cannot_be_done_ends_failed(database: Database, office: Office) -> None:
    strategy_id = await strategy_of(database)
    wish = RunRequest(strategy_id, START_TS - 86_400 * 10**9, END_TS)
    sweep_id = UUID((await office.sweeps.start(wish, {"order_lots": [1, 2]}))["sweep_id"])
    await office.work.run(sweep_id)
    failed = await office.sweeps.get(sweep_id)
    assert (failed["status"], failed["best"]) == ("FAILED", [])
    assert "of the range is recorded, 0.99 is needed" in failed["error"]

    # A worker that dies three times without a finished chunk.
    sweep_id = await office.begin(strategy_id, {"order_lots": [1, 2]})
    for _ in range(3):
        begun = await office.work._begin(sweep_id)
        assert begun is not None
        assert await office.work._begin(sweep_id) is None, "a living worker is left alone"
        await _change(database, "UPDATE backtest_sweeps SET heartbeat_ts = 0 WHERE sweep_id = %s", sweep_id)
    await office.work.run(sweep_id)
    failed = await office.sweeps.get(sweep_id)
    assert (failed["status"], failed["attempts"], failed["done"]) == ("FAILED", 3, 0)
    assert "interrupted" in failed["error"]

    # The market is another one than when the sweep began.
    sweep_id = await office.begin(strategy_id, {"order_lots": [1, 2]})
    await _change(database, "INSERT INTO backtest_sweep_sets VALUES (%s, 0, 'another')", sweep_id)
    await office.work.run(sweep_id)
    failed = await office.sweeps.get(sweep_id)
    assert failed["status"] == "FAILED"
    assert "the recorded market has changed" in failed["error"]
    assert await count_trials(database, KIND, strategy_id) == 0


async def test_a_worker_that_was_taken_for_dead_changes_nothing_any_more(database: Database, office: Office) -> None:
    strategy_id = await strategy_of(database)
    grid = {"half_spread_ticks": list(range(1, 51)), "order_lots": list(range(1, 51))}
    sweep_id = await office.begin(strategy_id, grid)
    working = asyncio.create_task(office.work.run(sweep_id))
    await office.has_begun(sweep_id)
    await _change(database, "UPDATE backtest_sweeps SET attempts = 7 WHERE sweep_id = %s", sweep_id)
    await asyncio.wait_for(working, 20)
    sweep = await office.sweeps.get(sweep_id)
    assert (sweep["status"], sweep["attempts"]) == ("RUNNING", 7)
    assert sweep["done"] < sweep["total"]


async def test_an_open_sweep_without_a_job_gets_one(database: Database, office: Office) -> None:
    sweep_id = await office.begin(await strategy_of(database), {"order_lots": [1]})
    jobs = "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE args ->> 'sweep_id' = %s"

    async def count() -> int:
        row = await database.fetch_one(jobs, (str(sweep_id),))
        assert row is not None
        return int(row["jobs"])

    assert await count() == 1
    await _change(database, "DELETE FROM procrastinate_jobs WHERE args ->> 'sweep_id' = %s::text", sweep_id)
    for before_ts, expected in ((0, 0), (2**62, 1), (2**62, 1)):
        async with database.transaction() as connection:
            await office.work.queue_orphans(connection, before_ts)
        assert await count() == expected
    await office.work.run(sweep_id)


async def _change(database: Database, query: str, sweep_id: UUID) -> None:
    async with database.transaction() as connection:
        await connection.execute(query, (sweep_id,))


@pytest.mark.parametrize(
    ("grid", "changes", "text"),
    [
        ({}, {}, "grid: 1 sets"),
        ({"order_lots": []}, {}, "grid.order_lots:  is not allowed; allowed: one value or more"),
        ({"order_lots": [1, 1.0]}, {}, "grid.order_lots: 1, 1.0 is not allowed; allowed: each value once"),
        ({"order_lots": [1.5]}, {}, "grid.order_lots: 1.5 is not allowed; allowed: a whole number"),
        ({"order_lots": [Decimal("NaN")]}, {}, "grid.order_lots: NaN .*a finite number"),
        ({"order_lots": [Decimal("1e999999999")]}, {}, "grid.order_lots: 1E.999999999 .*a finite number"),
        (
            {"half_spread_ticks": {"from": 3, "to": 1}},
            {},
            "grid.half_spread_ticks: from 3, to 1 .*FIRST not above LAST",
        ),
        ({"half_spread_ticks": {"from": 0, "to": 10**7}}, {}, "100,000 values at most"),
        ({"spread": [1]}, {}, "grid.spread: 1 is not allowed; allowed: only the parameters half_spread_ticks"),
        ({"order_lots": [*range(1, 500)], "half_spread_ticks": [*range(500)]}, {}, "grid: 249,500 sets .*100,000 sets"),
        ({"order_lots": [1]}, {"balance": Decimal(0)}, "balance"),
        ({"order_lots": [1]}, {"fill_model": "LUCKY"}, "fill_model"),
        ({"order_lots": [1]}, {"execution": {"queue_model": "BEST"}}, "queue_model"),
    ],
)
async def test_a_wrong_request_is_refused_before_it_is_stored(
    database: Database, office: Office, grid: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    strategy_id = await strategy_of(database)
    with pytest.raises(InvalidRequest, match=text):
        await office.begin(strategy_id, grid, **changes)
    assert await office.sweeps.find(strategy_id=strategy_id) == []


async def test_what_is_not_there_is_named(database: Database, office: Office) -> None:
    with pytest.raises(NotFound, match="strategy_id"):
        await office.begin(new_id(), {"order_lots": [1]})
    for ask in (office.sweeps.get, office.sweeps.cancel, office.sweeps.trials):
        with pytest.raises(NotFound, match="no sweep with sweep_id"):
            await ask(new_id())
    sweep_id = await office.begin(await strategy_of(database), {"order_lots": [1]})
    with pytest.raises(InvalidRequest, match=r"after: .* the cursor `next`"):
        await office.sweeps.trials(sweep_id, after=new_id())
    await office.sweeps.cancel(sweep_id)


def test_the_newest_migration_is_the_head(database_dsn: str) -> None:
    folder = Path(schema.__file__).parent / "migrations" / "versions"
    assert max(path.name for path in folder.glob("[0-9]*.py"))[:4] == schema.HEAD
    assert schema.current_revision(database_dsn) == schema.HEAD
    assert not schema.upgrade(database_dsn)
