"""A strategy on spot and futures at once: by REST and by command it is the run of `run_several`, kept and told by leg."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from market_maker import dashboard
from market_maker.backtest.engine import RunConfig, open_market
from market_maker.backtest.several import run_several
from market_maker.backtest.several_run import SeveralRun, read_result
from market_maker.domain.errors import DataError
from market_maker.domain.ids import new_id
from market_maker.domain.units import parse_instant
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData
from market_maker.strategies.contract import find_strategy

pytestmark = pytest.mark.timeout(300)
SPAN = ("2024-08-08T23:54:20Z", "2024-08-08T23:59:50Z")
# A spot tick is a tenth of a futures tick, a spot lot a hundredth of a futures lot.
HEDGED = {
    "order_lots": 500, "max_inventory_lots": 5000, "half_spread_ticks": 400, "price_ratio": 10, "hedge_ratio": 0.01,
    "hedge_band_lots": 4,
}  # fmt: skip
SUMS = ("net_pnl", "gross_pnl", "fees", "funding", "spread_capture", "inventory_pnl", "turnover", "final_equity")


class Desk:
    """A service with two recorded markets, and what a user asks of it."""

    def __init__(self, service: ServiceProcess, pairs: dict[str, str]) -> None:
        self.service = service
        self.spot, self.futures = pairs["binance-spot"], pairs["binance-usdm"]

    async def strategy(self, kind: str = "hedged_quotes", parameters: dict[str, Any] | None = None) -> str:
        given = HEDGED if parameters is None else parameters
        body = {"name": "hedger", "kind": kind, "pair_id": self.spot, "parameters": given}
        return str((await self.service.request("POST", "/api/v1/strategies", body)).content["strategy_id"])

    async def ask(self, strategy_id: str, path: str = "", **options: Any) -> Any:
        body = {"strategy_id": strategy_id, "start_date": SPAN[0], "end_date": SPAN[1], **options}
        return await self.service.request("POST", f"/api/v1/backtest{path}", body)

    async def ended(self, run_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            run = dict(await self.service.get(f"/api/v1/backtest/runs/{run_id}"))
            if run["status"] not in ("PENDING", "RUNNING"):
                return run
            await asyncio.sleep(0.1)
        raise AssertionError(run)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        environment |= {"MM_DATABASE_URL": self.service.dsn, "MM_DATA_DIR": str(self.service.folder), "COLUMNS": "200"}
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


@pytest.fixture(scope="module")
def desk(_make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path) -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="market-maker-several-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        service = ServiceProcess(
            _make_database(_migrated_template), Path(name) / "service", {"MM_BACKTEST__WORKERS": "1"}
        )
        try:
            asyncio.run(service.start())
            importer = Desk(service, {"binance-spot": "", "binance-usdm": ""})
            for kind in ("spot", "usdm"):
                file = sample_data / "binance_collector" / kind / "btcusdt_20240808.gz"
                importer.command("import", str(file), "--offset-negative-latency")
            pairs = asyncio.run(service.get("/api/v1/pairs"))["items"]
            yield Desk(service, {pair["venue"]: pair["pair_id"] for pair in pairs})
            assert service.faults() == []
        finally:
            service.close()


async def run_directly(desk: Desk) -> SeveralRun:
    """Return the run as the library does it, without service and database."""
    database = Database(desk.service.dsn)
    await database.open()
    reference = ReferenceData(database)
    await reference.load()
    await database.close()
    pairs = [reference.find_pair(venue, "BTCUSDT") for venue in ("binance-spot", "binance-usdm")]
    start, end = (parse_instant(instant, "span") for instant in SPAN)
    latency = 100_000_000
    configs = [
        RunConfig(pair.instrument, "hedged_quotes", start, end, HEDGED, latency, latency)
        for pair in pairs
        if pair is not None
    ]
    lake = Lake(desk.service.folder / "lake")
    opened = [open_market(config, lake) for config in configs]
    strategy = find_strategy("hedged_quotes").prepare(HEDGED)
    return SeveralRun(run_several([config for config, _ in opened], [feed for _, feed in opened], strategy))


async def test_by_rest_and_by_command_it_is_the_run_of_the_library(desk: Desk) -> None:
    strategy_id = await desk.strategy()
    options = {"with_pairs": [desk.futures], "balance": "100000", "entry_latency": "100ms"}
    answer = await desk.ask(strategy_id, **options)
    assert answer.status == 202, answer
    run = await desk.ended(answer.content["run_id"])
    assert (run["status"], run["error"]) == ("COMPLETED", None)
    assert (run["pair_id"], run["configuration"]["with_pairs"]) == (desk.spot, [desk.futures])
    assert run["configuration"]["band"] is False

    expected = await run_directly(desk)
    assert all(leg.summary.fills > 0 for leg in expected.legs)
    whole = await desk.service.get(f"/api/v1/backtest/runs/{run['run_id']}/result")
    assert whole["digest"] == expected.digest()
    assert [(leg["venue"], leg["symbol"]) for leg in whole["legs"]] == [
        ("binance-spot", "BTCUSDT"), ("binance-usdm", "BTCUSDT"),
    ]  # fmt: skip
    for told, leg in zip(whole["legs"], expected.legs, strict=True):
        assert told["digest"] == leg.digest()
        assert told["summary"] == leg.summary.to_json()
        assert len(told["fills"]["price"]) == leg.summary.fills
        assert len(told["equity"]["ts"]) == leg.samples.height
    summary = whole["summary"]
    for name in SUMS:
        assert Decimal(summary[name]) == sum(Decimal(leg["summary"][name]) for leg in whole["legs"]), name
    assert Decimal(summary["initial_balance"]) == 200_000, "each instrument has the whole balance to itself"
    assert Decimal(summary["net_pnl"]) == expected.result.net_pnl
    assert summary["fills"] == sum(leg.summary.fills for leg in expected.legs)
    assert "position" not in summary, "coins of spot and contracts do not add up"
    equity = whole["equity"]
    sums = [
        sum(map(Decimal, points)) for points in zip(*(leg["equity"]["equity"] for leg in whole["legs"]), strict=True)
    ]
    assert [Decimal(value) for value in equity["equity"]] == sums
    known = whole["reproducibility"]
    assert known["coverage"] == min(leg["coverage"] for leg in known["legs"])
    assert len({leg["data_hash"] for leg in known["legs"]} | {known["data_hash"]}) == 3

    (listed,) = (await desk.service.get(f"/api/v1/backtest/results/{strategy_id}"))["items"]
    assert (listed["summary"], listed["digest"]) == (summary, whole["digest"])
    positions = (await desk.service.get("/api/v1/positions"))["items"]
    held = {each["pair_id"]: Decimal(each["quantity"]) for each in positions if each["strategy_id"] == strategy_id}
    wanted = [Decimal(leg["summary"]["position"]) for leg in whole["legs"]]
    assert held == dict(zip((desk.spot, desk.futures), wanted, strict=True))

    words = ["--latency", "100ms", "--balance", "100000"]
    told = await asyncio.to_thread(
        desk.command, "backtest", strategy_id, *SPAN, "--with", "binance-usdm/BTCUSDT", *words
    )
    assert f"digest {whole['digest']}" in told
    assert "binance-spot/BTCUSDT" in told
    assert "binance-usdm/BTCUSDT" in told
    assert summary["net_pnl"] in told


async def test_analysis_and_report_tell_each_leg_and_what_they_cannot_tell(desk: Desk) -> None:
    strategy_id = await desk.strategy()
    answer = await desk.ask(strategy_id, with_pairs=[desk.futures])
    run_id = (await desk.ended(answer.content["run_id"]))["run_id"]
    found = await desk.service.request("POST", "/api/v1/backtest/analysis", {"run_ids": [run_id]})
    assert found.status == 200, found
    whole = await desk.service.get(f"/api/v1/backtest/runs/{run_id}/result")
    assert set(found.content["quality"]) == {f"{run_id}/1", f"{run_id}/2"}
    assert Decimal(found.content["net_pnl"]) == Decimal(whole["summary"]["net_pnl"])
    assert Decimal(found.content["residual"]) == 0
    (note,) = found.content["notes"]
    assert "each leg is analysed as a run of its own" in note
    assert "say nothing of the hedge" in note
    assert f"All together: net P&L {whole['summary']['net_pnl']}," in note
    assert f"max drawdown {whole['summary']['max_drawdown']}," in note
    refused = await desk.service.request(
        "POST", "/api/v1/backtest/analysis", {"run_ids": [run_id], "fragility": True}
    )  # fmt: skip
    assert (refused.status, refused.content["errors"][0]["field"]) == (400, "fragility")
    story = await desk.service.request("GET", f"/api/v1/backtest/runs/{run_id}/orders/1")
    assert (story.status, story.content["errors"][0]["field"]) == (400, "run_id")
    told = await asyncio.to_thread(desk.command, "analyze", run_id)
    assert "say nothing of the hedge" in " ".join(told.split())
    if (dashboard.BUILT / "report.html").is_file():
        page = await desk.service.request("GET", f"/api/v1/backtest/runs/{run_id}/report")
        assert page.status == 200
        content = page.content if isinstance(page.content, str) else bytes(page.content).decode()
        held = content.split('id="report-data">', 1)[1].split("<", 1)[0]
        assert json.loads(held)["notes"] == [note], "the page says it, too"


SLOW = """
import time
from market_maker.strategies.contract import StrategyKind
from market_maker.strategies.parameters import INTERVAL

def on_wake(view, params, memory, actions):
    time.sleep(0.01)

KIND = StrategyKind("slow_own", "Waits.", (INTERVAL,), "slow_own:on_wake", is_compiled=False)
"""


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_command_does_its_run_itself_beside_the_workers_of_a_service(
    desk: Desk, tmp_path: Path, is_stopped: bool
) -> None:
    """A worker knows nothing of the strategy file of the command, and failed the run when it was quicker."""
    file = tmp_path / "slow_own.py"
    file.write_text(SLOW)
    own = ("--set", f"strategy_files={file}")
    name = f"own {is_stopped}"
    strategy_id = desk.command("strategy", "add", name, "slow_own", "binance-usdm/BTCUSDT", *own).strip()
    end = SPAN[1] if is_stopped else "2024-08-08T23:54:40Z"
    process = desk.begin("backtest", name, SPAN[0], end, "--no-band", *own, "--allow-gaps")
    if is_stopped:
        for _ in range(600):
            await asyncio.sleep(0.1)
            runs = (await desk.service.get(f"/api/v1/backtest/runs?strategy_id={strategy_id}"))["items"]
            if runs and runs[0]["progress_percent"]:
                break
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    (run,) = (await desk.service.get(f"/api/v1/backtest/runs?strategy_id={strategy_id}"))["items"]
    if is_stopped:
        assert (process.returncode, run["status"]) == (130, "CANCELED"), err + out
        assert f"stopped: run {run['run_id']} is CANCELED" in out
    else:
        assert (process.returncode, run["status"]) == (0, "COMPLETED"), err + out


async def test_too_few_and_wrong_pairs_are_refused_by_name(desk: Desk) -> None:
    hedged, plain = await desk.strategy(), await desk.strategy("do_nothing", {})
    dollars = {"venue": "v", "symbol": "BTCUSD", "base": "BTC", "quote": "USD", "tick_size": "0.1", "lot_size": "0.001"}
    other = (await desk.service.request("POST", "/api/v1/pairs", dollars)).content["pair_id"]
    nobody = str(new_id())
    both = {"with_pairs": [desk.futures]}
    cases: list[tuple[str, dict[str, Any], int, str, str]] = [
        (hedged, {}, 400, "with_pairs", "1 or more beside the run's own pair: hedged_quotes trades 2 instruments"),
        (hedged, {"with_pairs": []}, 400, "with_pairs", "0 pairs"),
        (hedged, {"with_pairs": [desk.spot]}, 400, "with_pairs", "not the run's own"),
        (hedged, {"with_pairs": [desk.futures] * 2}, 400, "with_pairs", "each pair once"),
        (hedged, {"with_pairs": [nobody]}, 404, "with_pairs", nobody),
        (hedged, {"with_pairs": [other]}, 400, "with_pairs", "v/BTCUSD in USD"),
        (hedged, {"with_pairs": [desk.futures] * 16}, 400, "with_pairs", "15"),
        (hedged, both | {"market_conditions": {"trend": "UP"}}, 400, "market_conditions", "none with several"),
        (hedged, both | {"record_orders": True}, 400, "record_orders", "false with several"),
        (
            hedged,
            both | {"limits": [{"kind": "MAX_LOSS", "threshold": "1"}]},
            400,
            "limits",
            "none with several",
        ),
        (plain, {"with_pairs": [desk.spot]}, 400, "with_pairs", "not the run's own"),
    ]
    for strategy_id, options, status, field, text in cases:
        answer = await desk.ask(strategy_id, **options)
        assert answer.status == status, (options, answer)
        assert answer.content["errors"][0]["field"] == field, (options, answer)
        assert text in str(answer.content), (options, answer)
    assert (await desk.service.get(f"/api/v1/backtest/runs?strategy_id={hedged}"))["items"] == []
    swept = await desk.ask(hedged, "/sweeps", grid={"order_lots": [100, 200]})
    assert (swept.status, swept.content["errors"][0]["field"]) == (400, "strategy_id")
    told = await asyncio.to_thread(desk.command, "backtest", hedged, *SPAN, code=2)
    assert "with_pairs: 0 pairs is not allowed" in told
    told = await asyncio.to_thread(desk.command, "backtest", hedged, *SPAN, "--with", "binance-usdm/ETHUSDT", code=2)
    assert "there is no pair binance-usdm/ETHUSDT" in told
    told = await asyncio.to_thread(desk.command, "sweep", hedged, *SPAN, "--grid", "order_lots=1,2", code=2)
    assert "a strategy of one instrument" in told


async def test_missing_data_of_one_market_fail_the_run(desk: Desk) -> None:
    answer = await desk.ask(await desk.strategy(), with_pairs=[DEFAULT_PAIR])
    failed = await desk.ended(answer.content["run_id"])
    assert failed["status"] == "FAILED"
    assert "no recorded events of simulator/BTC-USDT" in failed["error"]


async def test_a_kept_result_is_read_as_it_was_written_or_not_at_all(desk: Desk, tmp_path: Path) -> None:
    made = await run_directly(desk)
    files = made.write(tmp_path)
    assert {file["name"] for file in files} == {
        "leg_0/samples.parquet", "leg_0/fills.parquet", "leg_1/samples.parquet", "leg_1/fills.parquet", "equity.parquet",
    }  # fmt: skip
    read = read_result(tmp_path)
    assert isinstance(read, SeveralRun)
    assert read.to_json_with_columns() == made.to_json_with_columns()
    assert isinstance(made.legs[0], type(read_result(tmp_path / "leg_0")))
    text = (tmp_path / "result.json").read_text()
    (tmp_path / "result.json").write_text(text.replace(made.digest(), "0" * 64))
    with pytest.raises(DataError, match="not the one that was written"):
        read_result(tmp_path)
    (tmp_path / "result.json").write_text(text)
    (tmp_path / "equity.parquet").unlink()
    with pytest.raises(DataError, match=r"equity in .* is missing"):
        read_result(tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(DataError, match="missing or damaged"):
        read_result(tmp_path)
