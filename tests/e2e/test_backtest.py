"""Backtests from file to result: import by command, runs by REST and by command, events, kills and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from e2e.event_consumer import EventConsumer
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from e2e.storm import new_prefix
from market_maker import NewOrder, OrderStatus, OrderType, Side, load_settings, open_service
from market_maker.directory import new_instrument
from market_maker.domain.errors import DataError, InvalidRequest, NotFound
from market_maker.domain.instrument import ContractType
from market_maker.domain.modes import Mode
from market_maker.domain.units import format_instant

SYMBOL = {"venue": "binance-usdm", "symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick_size": "0.1",
          "lot_size": "0.001"}  # fmt: skip
QUICK = {"half_spread_ticks": 3, "order_lots": 5, "max_inventory_lots": 50}
SLOW = QUICK | {"interval_ns": 12_000}
"""A wake-up every 12 microseconds of 346 seconds: several seconds of work."""
SECOND = 1_000_000_000
LOSS = {"kind": "MAX_LOSS", "threshold": "1", "on_breach": "HALT"}
ENDED = ("COMPLETED", "FAILED", "CANCELED")


class Backtester:
    """A service with the recording of a pair, and what a user asks of it."""

    def __init__(self, service: ServiceProcess, pair_id: str, first_ts: int, last_ts: int) -> None:
        self.service = service
        self.pair_id = pair_id
        self.first_ts, self.last_ts = first_ts, last_ts

    async def strategy(self, parameters: dict[str, Any]) -> str:
        body = {"name": "test", "kind": "inventory_skew", "pair_id": self.pair_id, "parameters": parameters}
        answer = await self.service.request("POST", "/api/v1/strategies", body)
        assert answer.status == 201, answer
        return str(answer.content["strategy_id"])

    async def ask(self, strategy: str, /, **changes: Any) -> Any:
        span = {"start_date": format_instant(self.first_ts), "end_date": format_instant(self.last_ts)}
        return await self.service.request("POST", "/api/v1/backtest", {"strategy_id": strategy, **span, **changes})

    async def begin(self, strategy_id: str, **changes: Any) -> str:
        answer = await self.ask(strategy_id, **changes)
        assert answer.status == 202, answer
        assert answer.headers["location"] == f"/api/v1/backtest/runs/{answer.content['run_id']}"
        return str(answer.content["run_id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        return dict(await self.service.get(f"/api/v1/backtest/runs/{run_id}"))

    async def until(self, run_id: str, *statuses: str, timeout_s: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            run = await self.run(run_id)
            if run["status"] in statuses:
                return run
            assert run["status"] not in ENDED, run
            await asyncio.sleep(0.05)
        raise AssertionError(f"after {timeout_s} s the run is still {run}")

    async def has_begun(self, run_id: str) -> dict[str, Any]:
        """Return the run once it has made progress, before its end."""
        for _ in range(1000):
            run = await self.run(run_id)
            assert run["status"] not in ENDED, run
            if run["progress_percent"] > 0:
                return run
            await asyncio.sleep(0.05)
        raise AssertionError(f"no progress: {run}")

    async def result(self, strategy_id: str) -> dict[str, Any]:
        return dict((await self.service.get(f"/api/v1/backtest/results/{strategy_id}"))["items"][0])


class Listener(EventConsumer):
    """A consumer that keeps what was told of backtests."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix)
        self.told: list[dict[str, Any]] = []

    def _note(self, message: Any) -> None:
        super()._note(message)
        if message.routing_key.startswith("backtest."):
            self.told.append(json.loads(message.body))


def command(service: ServiceProcess, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    environment |= {"MM_DATABASE_URL": service.dsn, "MM_DATA_DIR": str(service.folder), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "market_maker", *words],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def worker_of(service: ServiceProcess) -> psutil.Process | None:
    for process in psutil.Process(service.pid).children():
        with contextlib.suppress(psutil.Error):
            if "worker" in process.cmdline():
                return process
    return None


# --- one service for all that does not break it -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(
    _make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path
) -> Iterator[ServiceProcess]:
    """Yield a service with one worker."""
    folder = Path(tempfile.mkdtemp(prefix="market-maker-e2e-"))
    folder.chmod(0o755)
    service = ServiceProcess(_make_database(_migrated_template), folder / "service", {"MM_BACKTEST__WORKERS": "1"})
    try:
        asyncio.run(service.start())
        yield service
        assert service.faults() == []
    finally:
        service.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def recording(sample_data: Path) -> Path:
    return sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"


@pytest.fixture(scope="module")
def refused(served: ServiceProcess, recording: Path) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Import the recording as it is: what the command said, and the catalogue afterwards."""
    done = command(served, "import", str(recording))
    return done, asyncio.run(served.get("/api/v1/market-data/catalogue"))["items"]


@pytest.fixture(scope="module")
def imported(served: ServiceProcess, recording: Path, refused: Any) -> Backtester:
    done = command(served, "import", str(recording), "--offset-negative-latency")
    assert done.returncode == 0, done.stderr
    assert "binance-usdm BTCUSDT" in done.stdout
    days = asyncio.run(served.get("/api/v1/market-data/catalogue"))["items"]
    pairs = asyncio.run(served.get("/api/v1/pairs"))["items"]
    pair = next(pair for pair in pairs if pair["venue"] == "binance-usdm")
    book = next(day for day in days if day["kind"] == "book")
    return Backtester(served, pair["pair_id"], int(book["first_ts"]), int(book["last_ts"]))


def test_a_recording_from_the_future_is_refused_with_the_repair_that_helps(refused: Any) -> None:
    done, catalogue = refused
    assert done.returncode == 2
    assert "negative_latency_share: 100.0000% share of rows received before they happened" in done.stdout
    assert "--offset-negative-latency" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert catalogue == []


async def test_an_import_again_replaces_the_day(imported: Backtester, recording: Path) -> None:
    path = f"/api/v1/market-data/catalogue?pair_id={imported.pair_id}"
    before = (await imported.service.get(path))["items"]
    done = await asyncio.to_thread(
        command, imported.service, "import", str(recording), "--offset-negative-latency", "--again"
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    after = (await imported.service.get(path))["items"]
    assert [(day["kind"], day["day"], day["sha256"]) for day in after] == [
        (day["kind"], day["day"], day["sha256"]) for day in before
    ]
    assert {day["kind"] for day in after} == {"book", "bbo"}
    assert {day["import_id"] for day in after}.isdisjoint(day["import_id"] for day in before)
    # Until the first snapshot, 0.3 s after the first row, the book is not known.
    (gap,) = next(day for day in after if day["kind"] == "book")["quality"]["gaps"]
    assert 0 < int(gap[1]) - int(gap[0]) < SECOND


async def test_a_run_by_rest_and_by_command_has_one_result(imported: Backtester) -> None:
    strategy_id = await imported.strategy(QUICK)
    run_id = await imported.begin(strategy_id)
    run = await imported.until(run_id, "COMPLETED")
    assert (run["progress_percent"], run["attempts"], run["error"]) == (100.0, 1, None)
    assert run["events_per_second"] > 0
    first = await imported.result(strategy_id)
    span = [format_instant(ts) for ts in (imported.first_ts, imported.last_ts)]
    done = await asyncio.to_thread(command, imported.service, "backtest", strategy_id, *span)
    assert done.returncode == 0, done.stderr
    assert "completed; digest" in done.stdout
    second = await imported.result(strategy_id)
    assert second["run_id"] != first["run_id"]
    assert second["digest"] == first["digest"]
    assert second["digest"] in done.stdout

    summary, told = first["summary"], first["reproducibility"]
    assert summary["fills"] > 100
    assert Decimal(summary["max_drawdown"]) > 0
    assert {"sharpe", "net_pnl", "spread_capture", "inventory_pnl", "fees"} <= summary.keys()
    assert len(told["data_hash"]) == 64
    assert (told["seed"], told["coverage"] > 0.99) == (0, True)
    assert {"numba", "numpy", "polars", "python"} <= told["libraries"].keys()
    assert told["configuration"]["parameters"]["half_spread_ticks"] == 3
    whole = await imported.service.get(f"/api/v1/backtest/runs/{run_id}/result")
    equity, fills = whole["equity"], whole["fills"]
    assert len(equity["ts"]) == len(equity["equity"]) > 340
    assert Decimal(equity["equity"][-1]) == Decimal(summary["final_equity"])
    assert len(fills["price"]) == summary["fills"]

    body = {"run_ids": [first["run_id"], second["run_id"]]}
    analysis = await imported.service.request("POST", "/api/v1/backtest/analysis", body)
    assert analysis.status == 200, analysis
    assert Decimal(analysis.content["residual"]) == 0
    positions = (await imported.service.get(f"/api/v1/positions?pair_id={imported.pair_id}"))["items"]
    mine = [position for position in positions if position["strategy_id"] == strategy_id]
    assert [Decimal(position["quantity"]) for position in mine] == [Decimal(summary["position"])]


async def test_requests_that_cannot_be_run_are_refused_by_name(imported: Backtester) -> None:
    strategy_id = await imported.strategy(QUICK)
    late = format_instant(imported.last_ts)
    cases: list[tuple[dict[str, Any], int, str, str]] = [
        ({"market_conditions": {"volatility": 0}}, 400, "market_conditions.volatility", "> 0"),
        ({"market_conditions": {"volatility": 11}}, 400, "market_conditions.volatility", "<= 10"),
        ({"market_conditions": {"volatility": "0.02"}}, 400, "market_conditions.volatility", "float"),
        ({"market_conditions": {"trend": "sideways"}}, 400, "market_conditions.trend", "sideways"),
        ({"market_conditions": {"volume_profile": "HUGE"}}, 400, "market_conditions.volume_profile", "HUGE"),
        ({"market_conditions": {"liquidity": 1}}, 400, "market_conditions", "liquidity"),
        ({"strategy_id": DEFAULT_PAIR}, 404, "strategy_id", "strategy"),
        ({"start_date": "2024-13-01"}, 400, "start_date", "UTC date"),
        ({"end_date": "tomorrow"}, 400, "end_date", "UTC date"),
        ({"start_date": late, "end_date": "2024-08-01"}, 400, "end_date", "after start_date"),
        ({"entry_latency": "-5ms"}, 400, "entry_latency", "such as 100ms"),
        ({"balance": "0"}, 400, "balance", "positive"),
        ({"fill_model": "LUCKY"}, 400, "fill_model", "PARTIAL"),
        ({"limits": {"kind": "MAX_LOSS", "threshold": "1"}}, 400, "limits", "array"),
        ({"limits": [{"kind": "MAX_VAR", "threshold": "1"}]}, 400, "limits[0].kind", "one of MAX_ORDER_SIZE"),
        ({"limits": [{"kind": "MAX_LOSS", "threshold": "x"}]}, 400, "limits[0].threshold", "decimal"),
        ({"limits": [{"kind": "MAX_LOSS", "threshold": "-1"}]}, 400, "limits[0].threshold", "positive amount"),
        ({"limits": [LOSS, LOSS]}, 400, "limits[1].kind", "each kind once"),
        ({"limits": [LOSS | {"scope": "ALL"}]}, 400, "limits[0]", "scope"),
        ({"pair_id": "00000000-0000-7000-8000-0000000000ff"}, 404, "pair_id", "pair"),
    ]
    for changes, status, field, text in cases:
        answer = await imported.ask(strategy_id, **changes)
        assert answer.status == status, (changes, answer)
        told = str(answer.content)
        assert field in told, (changes, told)
        assert text in told, (changes, told)
    unknown = await imported.service.request("GET", f"/api/v1/backtest/results/{DEFAULT_PAIR}")
    assert unknown.status == 404
    for run_id in (DEFAULT_PAIR, "x"):
        assert (await imported.service.request("GET", f"/api/v1/backtest/runs/{run_id}")).status == 404
    runs = await imported.service.get(f"/api/v1/backtest/runs?strategy_id={strategy_id}")
    assert runs["items"] == []


async def test_conditions_of_the_specification_are_replayed_and_stated(imported: Backtester) -> None:
    conditions = {"volatility": 0.02, "trend": "SIDEWAYS", "volume_profile": "NORMAL"}
    strategy_id = await imported.strategy(QUICK)
    plain_id = await imported.begin(strategy_id)
    run_id = await imported.begin(strategy_id, market_conditions=conditions)
    await imported.until(plain_id, "COMPLETED")
    run = await imported.until(run_id, "COMPLETED")
    assert run["configuration"]["market_conditions"] == conditions
    result, plain = (await imported.service.get(f"/api/v1/backtest/results/{strategy_id}"))["items"]
    assert (result["run_id"], plain["run_id"]) == (run_id, plain_id)
    assert "market_conditions" not in plain["summary"]

    told = result["summary"]["market_conditions"]
    assert told["requested"] == conditions
    assert told["realised"]["daily_volatility"] == pytest.approx(0.02, rel=0.01)
    # Sideways: the mid, some 600,000 ticks, ends at most half a tick from where it began.
    assert abs(told["realised"]["log_return"]) < 1e-6
    assert told["ratios"]["traded_volume"] == told["ratios"]["mean_level_quantity"] == 1
    assert abs(told["history"]["log_return"]) > 1e-4
    assert told["path"]["minutes"] == 5
    assert told["path"]["shifts"] > 100
    assert result["digest"] != plain["digest"]
    assert result["reproducibility"]["configuration"]["market_conditions"] == conditions
    whole = await imported.service.get(f"/api/v1/backtest/runs/{run_id}/result")
    mids = [mid for mid in map(float, whole["equity"]["mid"]) if mid]
    assert mids[-1] / mids[0] == pytest.approx(1.0, abs=1e-4)
    body = {"run_ids": [plain_id, run_id]}
    analysis = await imported.service.request("POST", "/api/v1/backtest/analysis", body)
    assert (analysis.status, Decimal(analysis.content["residual"])) == (200, 0)

    words = ["--volatility", "0.02", "--trend", "SIDEWAYS", "--volume-profile", "NORMAL"]
    span = [format_instant(ts) for ts in (imported.first_ts, imported.last_ts)]
    done = await asyncio.to_thread(command, imported.service, "backtest", strategy_id, *span, *words)
    assert done.returncode == 0, done.stderr
    assert (await imported.result(strategy_id))["digest"] == result["digest"]
    assert result["digest"] in done.stdout
    assert "realised daily_volatility" in done.stdout


KINDS = ("MAX_ORDER_SIZE", "MAX_ORDER_NOTIONAL", "PRICE_COLLAR", "MAX_MESSAGE_RATE", "MAX_REPEATED_ORDERS",
         "MAX_WORST_CASE_POSITION", "MAX_POSITION", "MAX_NOTIONAL", "MAX_LOSS", "MAX_DRAWDOWN")  # fmt: skip


async def limited(imported: Backtester, strategy_id: str, limits: list[dict[str, str]]) -> dict[str, Any]:
    """Run with limits; return the result, its outcomes by kind."""
    await imported.until(await imported.begin(strategy_id, limits=limits, band=False), "COMPLETED")
    result = await imported.result(strategy_id)
    return result | {"limits": {each["kind"]: each for each in result["summary"]["limits"]}}


async def test_every_kind_of_limit_is_driven_to_its_warning_and_its_breach(imported: Backtester) -> None:
    strategy_id = await imported.strategy(QUICK)
    far = [{"kind": kind, "threshold": "4000" if kind in KINDS[3:5] else "1e9"} for kind in KINDS]
    free = await limited(imported, strategy_id, far)
    assert {each["state"] for each in free["limits"].values()} == {"OK"}
    largest = {kind: Decimal(free["limits"][kind]["largest"]) for kind in KINDS}
    assert min(largest.values()) > 0

    near = [{"kind": kind, "threshold": f"{largest[kind] * Decimal('1.1'):f}"} for kind in KINDS]
    warned = await limited(imported, strategy_id, near)
    for kind in KINDS:
        one = warned["limits"][kind]
        assert (one["warnings"] > 0, one["breaches"], one["refused"]) == (True, 0, 0), one
        assert Decimal(one["warned_value"]) >= Decimal(one["threshold"]) * Decimal("0.8")
        assert imported.first_ts <= int(one["warned_ts"]) <= imported.last_ts
    assert warned["summary"]["net_pnl"] == free["summary"]["net_pnl"], "a warning changes nothing"

    for kind in KINDS:
        held = kind in KINDS[6:]
        limit = {"kind": kind, "threshold": f"{largest[kind] / 2:f}"} | ({"on_breach": "HALT"} if held else {})
        run = await limited(imported, strategy_id, [limit])
        one = run["limits"][kind]
        assert one["breaches"] > 0, one
        assert Decimal(one["breached_value"]) > Decimal(one["threshold"])
        assert run["summary"]["orders_rejected"] > free["summary"]["orders_rejected"]
        assert (one["hold"] == "HALTED", one["hold_ts"] is not None) == (held, held), one
        assert held or one["refused"] > 0


async def test_limits_by_command_are_those_by_rest_and_stand_on_the_page(imported: Backtester) -> None:
    strategy_id = await imported.strategy(QUICK)
    result = await limited(imported, strategy_id, [LOSS, {"kind": "MAX_ORDER_SIZE", "threshold": "0.01"}])
    span = [format_instant(ts) for ts in (imported.first_ts, imported.last_ts)]
    words = ["--no-band", "--limit", "MAX_LOSS=1:HALT", "--limit", "MAX_ORDER_SIZE=0.01"]
    done = await asyncio.to_thread(command, imported.service, "backtest", strategy_id, *span, *words)
    assert done.returncode == 0, done.stderr
    assert result["digest"] in done.stdout
    told = next(line for line in done.stdout.splitlines() if "MAX_LOSS" in line)
    assert "HALTED from" in told
    assert result["limits"]["MAX_LOSS"]["breached_value"] in told
    page = await imported.service.request("GET", f"/api/v1/backtest/runs/{result['run_id']}/report")
    assert "MAX_LOSS" in str(page.content)
    done = await asyncio.to_thread(command, imported.service, "backtest", strategy_id, *span, "--limit", "MAX_LOSS")
    assert (done.returncode, "KIND=THRESHOLD" in done.stderr) == (2, True), done.stderr


async def test_conditions_that_the_data_do_not_allow_fail_the_run_with_the_reason(imported: Backtester) -> None:
    strategy_id = await imported.strategy(QUICK)
    end = format_instant(imported.first_ts + 90 * SECOND)
    run_id = await imported.begin(strategy_id, end_date=end, market_conditions={"trend": "UP"})
    failed = await imported.until(run_id, "FAILED")
    assert "1 whole minute(s) of open market" in failed["error"]
    assert "choose a longer range" in failed["error"]
    # Quantities need no path.
    run_id = await imported.begin(strategy_id, end_date=end, market_conditions={"volume_profile": "HIGH"})
    await imported.until(run_id, "COMPLETED")
    told = (await imported.result(strategy_id))["summary"]["market_conditions"]
    assert told["ratios"]["traded_volume"] == told["ratios"]["mean_level_quantity"] == 2


async def test_missing_data_fail_the_run_and_are_named(imported: Backtester) -> None:
    strategy_id = await imported.strategy(QUICK)
    nothing = await imported.begin(strategy_id, start_date="2023-01-01", end_date="2023-01-02")
    hour_before = format_instant(imported.first_ts - 3600 * SECOND)
    partly = await imported.begin(strategy_id, start_date=hour_before)
    allowed = await imported.begin(strategy_id, start_date=hour_before, allow_gaps=True)
    failed = await imported.until(nothing, "FAILED")
    assert "no recorded events of binance-usdm/BTCUSDT from 2023-01-01" in failed["error"]
    assert "recorded: 2024-08-08T23:54" in failed["error"]
    failed = await imported.until(partly, "FAILED")
    assert "of the range is recorded, 0.99 is needed; missing: 2024-08-08T22:54" in failed["error"]
    assert "allow_gaps" in failed["error"]
    await imported.until(allowed, "COMPLETED")
    told = (await imported.result(strategy_id))["reproducibility"]
    assert told["coverage"] == pytest.approx(346 / 3946, abs=0.001)
    # The hour before, and the 0.3 s until the first snapshot, are one hole.
    ((_, hole_end),) = told["missing"]
    assert 0 < int(hole_end) - imported.first_ts < SECOND
    answer = await imported.service.request("GET", f"/api/v1/backtest/runs/{nothing}/result")
    assert answer.status == 404


async def test_running_and_waiting_runs_can_be_canceled(imported: Backtester) -> None:
    slow, quick = await imported.strategy(SLOW), await imported.strategy(QUICK)
    running, waiting = await imported.begin(slow), await imported.begin(quick)
    assert (await imported.has_begun(running))["eta_seconds"] > 0
    for run_id in (waiting, running):
        answer = await imported.service.request("DELETE", f"/api/v1/backtest/runs/{run_id}")
        assert (answer.status, answer.content["cancel_requested"]) == (202, True)
    for run_id in (running, waiting):
        ended = await imported.until(run_id, "CANCELED", timeout_s=20)
        assert "user" in ended["error"]
        again = await imported.service.request("DELETE", f"/api/v1/backtest/runs/{run_id}")
        assert again.status == 409
    for strategy_id in (slow, quick):
        assert (await imported.service.get(f"/api/v1/backtest/results/{strategy_id}"))["items"] == []


async def test_a_worker_killed_in_mid_run_leaves_no_run_behind(imported: Backtester) -> None:
    slow, quick = await imported.strategy(SLOW), await imported.strategy(QUICK)
    run_id, queued = await imported.begin(slow), await imported.begin(quick)
    await imported.until(run_id, "RUNNING")
    worker = worker_of(imported.service)
    assert worker is not None
    worker.kill()
    ended = await imported.until(run_id, "COMPLETED", timeout_s=60)
    assert ended["attempts"] == 2
    await imported.until(queued, "COMPLETED")


@pytest.mark.slow
async def test_a_spot_recording_and_its_continuation_are_one(imported: Backtester, sample_data: Path) -> None:
    folder = sample_data / "binance_collector" / "spot"
    for name in ("btcusdt_20240808.gz", "btcusdt_20240809.gz"):  # the second holds no snapshot
        done = await asyncio.to_thread(
            command, imported.service, "import", str(folder / name), "--offset-ns", "1278000000"
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert "binance-spot BTCUSDT" in done.stdout
    items = (await imported.service.get("/api/v1/market-data/catalogue"))["items"]
    books = [day for day in items if day["venue"] == "binance-spot" and day["kind"] == "book"]
    assert [day["day"] for day in books] == ["2024-08-08", "2024-08-09"]
    assert books[1]["quality"]["gaps"] == []


async def test_the_facade_trades_by_hand_on_the_recording(
    imported: Backtester, database_dsn: str, service_folder: Path
) -> None:
    wishes = [f"database_url={database_dsn}", f"data_dir={service_folder}", f"lake={imported.service.folder / 'lake'}"]
    async with open_service(Mode.BACKTEST, load_settings(overrides=wishes, environment={})) as service:
        fields = {"contract_type": "LINEAR", "maker_fee": "0.0002", "taker_fee": "0.0005"}
        pair = await service.directory.add_pair(new_instrument(**_typed(SYMBOL | fields)), None)
        pair_id = UUID(pair["pair_id"])
        start = imported.first_ts + 10 * SECOND
        replay = await service.open_replay(pair_id, start, imported.last_ts)
        assert replay.now_ts == start
        book = await service.get_order_book(pair_id, 5)
        assert book.bids[0].price < book.asks[0].price
        assert len(book.bids) == len(book.asks) == 5
        take = NewOrder(pair_id, Side.BUY, OrderType.MARKET, Decimal("0.010"))
        rest = NewOrder(pair_id, Side.BUY, OrderType.LIMIT, Decimal("0.001"), price=book.bids[0].price - 1000)
        assert await service.place_order(take) is OrderStatus.PENDING_NEW
        await service.place_order(rest)
        replay.run_until(start + SECOND)
        assert (replay.status(take.order_id), replay.status(rest.order_id)) == (OrderStatus.FILLED, OrderStatus.NEW)
        position = await service.get_position(replay.position_id)
        assert position.quantity == Decimal("0.010")
        assert position.average_price >= book.asks[0].price - 10
        assert position.fees == pytest.approx(Decimal("0.0005") * position.average_price * position.quantity, abs=1)
        await service.cancel_order(rest.order_id)
        replay.run_until(start + 2 * SECOND)
        assert replay.status(rest.order_id) is OrderStatus.CANCELED
        with pytest.raises(NotFound):
            await service.cancel_order(pair_id)
        with pytest.raises(InvalidRequest, match="not before"):
            replay.run_until(start)
        replay.run_until(imported.last_ts)
        assert replay.is_exhausted
        with pytest.raises(DataError, match="no recorded events"):
            await service.open_replay(pair_id, 0, SECOND)

        mids = []
        for conditions in (None, {"trend": "SIDEWAYS"}):
            replay = await service.open_replay(pair_id, imported.first_ts, imported.last_ts, conditions)
            for ts in (imported.first_ts + SECOND, imported.last_ts):
                replay.run_until(ts)
                book = await service.get_order_book(pair_id, 1)
                mids.append((book.bids[0].price + book.asks[0].price) / 2)
        assert abs(mids[1] - mids[0]) > 100, "the recorded price fell in these minutes"
        assert abs(mids[3] - mids[2]) < 20
        with pytest.raises(InvalidRequest, match=r"market_conditions\.trend"):
            await service.open_replay(pair_id, imported.first_ts, imported.last_ts, {"trend": "sideways"})


def _typed(fields: dict[str, str]) -> dict[str, Any]:
    decimals = {name: Decimal(fields[name]) for name in ("tick_size", "lot_size", "maker_fee", "taker_fee")}
    return {**fields, **decimals, "contract_type": ContractType(fields["contract_type"])}


# --- services of their own --------------------------------------------------------------------------------------------


async def test_a_queued_run_outlives_the_service_and_its_end_is_told_on_the_bus(
    imported: Backtester, make_service: Callable[..., ServiceProcess], database_dsn: str, rabbitmq_url: str
) -> None:
    prefix = new_prefix()
    consumer = Listener(rabbitmq_url, prefix)
    lake = str(imported.service.folder / "lake")
    idle = make_service(database_dsn, MM_LAKE=lake, MM_RABBITMQ_URL=rabbitmq_url, MM_RABBITMQ_PREFIX=prefix)
    busy = make_service(
        database_dsn, MM_LAKE=lake, MM_RABBITMQ_URL=rabbitmq_url, MM_RABBITMQ_PREFIX=prefix, MM_BACKTEST__WORKERS="1"
    )
    await consumer.start()
    try:
        await idle.start()
        answer = await idle.request("POST", "/api/v1/pairs", SYMBOL)
        assert answer.status == 201, answer
        user = Backtester(idle, answer.content["pair_id"], imported.first_ts, imported.last_ts)
        strategy_id = await user.strategy(QUICK)
        run_id = await user.begin(strategy_id)
        assert (await user.run(run_id))["status"] == "PENDING"
        assert idle.terminate() == 0
        await busy.start()
        user.service = busy
        await user.until(run_id, "COMPLETED")
        await busy.set_state("PAUSED")
        await consumer.caught_up(database_dsn, 20)
        assert consumer.differences(database_dsn) == []
        data = consumer.told[-1]["data"]
        result = await busy.get(data["result"])
        stored = await user.result(strategy_id)
    finally:
        for service in (idle, busy):
            service.close()
        await consumer.close()
    assert {envelope["aggregate_id"] for envelope in consumer.told} == {run_id}
    types = [envelope["type"] for envelope in consumer.told]
    assert types[:2] == ["backtest.queued", "backtest.started"]
    assert types[-1] == "backtest.completed"
    assert set(types[2:-1]) <= {"backtest.progress"}
    assert result["digest"] == data["digest"] == stored["digest"]
    assert Decimal(data["summary"]["net_pnl"]) == Decimal(result["summary"]["net_pnl"])


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_many_runs_survive_kills_of_workers_and_service(
    imported: Backtester, make_service: Callable[..., ServiceProcess], database_dsn: str, seed: int
) -> None:
    chance = random.Random(seed)
    lake = str(imported.service.folder / "lake")
    service = make_service(database_dsn, MM_LAKE=lake, MM_BACKTEST__WORKERS="2")
    await service.start()
    answer = await service.request("POST", "/api/v1/pairs", SYMBOL)
    user = Backtester(service, answer.content["pair_id"], imported.first_ts, imported.last_ts)
    strategies = [await user.strategy(SLOW), await user.strategy(QUICK)]
    runs = [await user.begin(chance.choice(strategies)) for _ in range(20)]
    for round_ in range(8):
        await asyncio.sleep(chance.uniform(0.2, 4.0))
        worker = worker_of(service)
        if round_ % 3 == 2:
            service.kill()
            await service.start()
        elif worker is not None:
            worker.kill()
    for run_id in runs:
        ended = await user.until(run_id, "COMPLETED", "FAILED", timeout_s=200)
        if ended["status"] == "FAILED":
            assert "interrupted" in ended["error"]
    digests: dict[str, set[str]] = {}
    for strategy_id in strategies:
        for result in (await service.get(f"/api/v1/backtest/results/{strategy_id}"))["items"]:
            digests.setdefault(strategy_id, set()).add(result["digest"])
    assert all(len(found) == 1 for found in digests.values()), digests
