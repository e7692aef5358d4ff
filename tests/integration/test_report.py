"""A report of a run on a recording: by command and by REST, with exact sums, and opened in a browser without a network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from e2e.service_process import ServiceProcess
from market_maker import dashboard
from market_maker.domain.units import format_instant

SPAN = ("2024-08-08T23:54:16Z", format_instant(1_723_161_600_000_000_000))
PARAMETERS = {"half_spread_ticks": 10, "order_lots": 5, "max_inventory_lots": 50}
FEES = {"fees": {"model": "PER_VALUE", "maker": "-0.00005", "taker": "0.0004"}}
NOBODY = "01a21b6e-0000-7000-8000-00000000dead"
WATCH = """<script>
const refused = [];
addEventListener("securitypolicyviolation", (event) => refused.push(event.blockedURI));
addEventListener("error", (event) => refused.push(String(event.message)));
addEventListener("load", () => setTimeout(() => {
  const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.documentElement.dataset.asked = JSON.stringify([...asked, ...refused]);
}, 500));
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed to open the report in")
    return found


def command(service: ServiceProcess, *words: str) -> str:
    """Run a command on the service's database and folder; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    environment |= {"MM_DATABASE_URL": service.dsn, "MM_DATA_DIR": str(service.folder), "COLUMNS": "80"}
    if "MM_KERNEL_CACHE" in os.environ:
        environment["MM_KERNEL_CACHE"] = os.environ["MM_KERNEL_CACHE"]
    done = subprocess.run(
        [sys.executable, "-m", "market_maker", *words],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def served(
    _make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path
) -> Iterator[ServiceProcess]:
    """Yield a service with one worker and some six minutes of BTCUSDT."""
    if not (dashboard.BUILT / "report.html").is_file():
        pytest.skip("the report page has not been built (make pages)")
    with tempfile.TemporaryDirectory(prefix="market-maker-report-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        service = ServiceProcess(
            _make_database(_migrated_template), Path(name) / "service", {"MM_BACKTEST__WORKERS": "1"}
        )
        try:
            asyncio.run(service.start())
            file = sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"
            command(service, "import", str(file), "--venue", "binance-usdm", "--offset-negative-latency")
            yield service
            assert service.faults() == []
        finally:
            service.close()


@pytest.fixture(scope="module")
def runs(served: ServiceProcess) -> list[dict[str, Any]]:
    """Return two completed runs of one strategy: with the band, and with every order event."""

    async def make() -> list[dict[str, Any]]:
        pairs = (await served.get("/api/v1/pairs"))["items"]
        (pair,) = (each for each in pairs if each["venue"] == "binance-usdm")
        wish = {"name": "skewed", "kind": "inventory_skew", "pair_id": pair["pair_id"], "parameters": PARAMETERS}
        strategy = (await served.request("POST", "/api/v1/strategies", wish)).content["strategy_id"]
        found = []
        for options in ({"execution": FEES}, {"record_orders": True, "entry_latency": "20ms"}):
            body = {"strategy_id": strategy, "start_date": SPAN[0], "end_date": SPAN[1], **options}
            run = (await served.request("POST", "/api/v1/backtest", body)).content
            assert run["report"] is None, "there is nothing to report yet"
            deadline = time.monotonic() + 60
            while run["status"] in ("PENDING", "RUNNING") and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                run = await served.get(f"/api/v1/backtest/runs/{run['run_id']}")
            assert run["status"] == "COMPLETED", run
            found.append(run)
        return found

    return asyncio.run(make())


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def opened(browser: str, page: str, folder: Path) -> str:
    """Return the document after a browser has drawn the page, with a note of what it asked for."""
    file = folder / "page.html"
    file.write_text(page.replace("<head>", f"<head>{WATCH}", 1), "utf-8")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


async def test_the_analysis_adds_up_to_the_summary(served: ServiceProcess, runs: list[dict[str, Any]]) -> None:
    ids = [run["run_id"] for run in runs]
    results = (await served.get(f"/api/v1/backtest/results/{runs[0]['strategy_id']}"))["items"]
    summaries = {result["run_id"]: result["summary"] for result in results}
    assert {result["report"] for result in results} == {run["report"] for run in runs}
    for run_id in ids:
        wish = {"run_ids": [run_id], "fragility": run_id == ids[0]}
        found = (await served.request("POST", "/api/v1/backtest/analysis", wish)).content
        profit, summary = found["analysis"]["profit"], summaries[run_id]
        assert Decimal(profit["residual"]) == Decimal(found["residual"]) == 0
        assert Decimal(profit["net"]) == Decimal(summary["net_pnl"])
        assert Decimal(profit["spread_capture"]) == Decimal(summary["spread_capture"])
        assert Decimal(profit["fees"]) - Decimal(profit["rebates"]) == Decimal(summary["fees"])
        assert 0 < found["analysis"]["volume_share"] < 0.1
        assert (found["analysis"]["time_at_best"] is not None) == (run_id == ids[1])
        # The grid does the run again: only then is it known to be repeatable.
        status = found["quality"][run_id]["reproducibility"]["status"]
        assert status == ("PASS" if wish["fragility"] else "UNKNOWN")
    both = (await served.request("POST", "/api/v1/backtest/analysis", {"run_ids": ids})).content
    assert both["runs"] == 2
    assert both["comparison"]["labels"] == ids
    told = await asyncio.to_thread(command, served, "analyze", *ids)
    for name in (*ids, "mean_absolute_inventory"):
        assert name in told, "nothing is cut where nobody looks at it"
    twice = await served.request("POST", "/api/v1/backtest/analysis", {"run_ids": [ids[0], ids[0]]})
    assert twice.status == 400, twice


async def test_rest_and_command_give_one_page(
    served: ServiceProcess, runs: list[dict[str, Any]], tmp_path: Path
) -> None:
    answer = await served.request("GET", runs[0]["report"])
    assert answer.status == 200
    page = answer.content if isinstance(answer.content, str) else bytes(answer.content).decode()
    file = tmp_path / "report.html"
    printed = await asyncio.to_thread(command, served, "report", runs[0]["run_id"], "--output", str(file))
    assert f"report: {file}" in printed
    by_rest, by_command = data_in(page), data_in(file.read_text("utf-8"))
    assert by_rest["runs"] == by_command["runs"]
    assert file.stat().st_size < 2_000_000
    unknown = await served.request("GET", runs[0]["report"].replace(runs[0]["run_id"], NOBODY))
    assert unknown.status == 404


async def test_the_page_opens_without_a_network(
    served: ServiceProcess, runs: list[dict[str, Any]], browser: str, tmp_path: Path
) -> None:
    file = tmp_path / "both.html"
    ids = [run["run_id"] for run in runs]
    await asyncio.to_thread(command, served, "report", *ids, "--fragility", "--output", str(file))
    document = await asyncio.to_thread(opened, browser, file.read_text("utf-8"), tmp_path)
    assert 'data-ready="true"' in document
    assert 'data-asked="[]"' in document, re.findall(r'data-asked="[^"]*"', document)
    text = re.sub(r"<[^>]+>", " ", document.split('id="page"', 1)[1].split('id="report-data"')[0])
    for words in (
        "What the fills are assumed to be",
        "Whether to believe it",
        "residual 0",
        "Side by side",
        "fees × 0.5",
    ):
        assert words in re.sub(r"\s+", " ", text), words
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", document)
    assert headings[:3] == ["Side by side", "What the fills are assumed to be", "Whether to believe it"]
    assert document.count("<canvas") == 5, "profit of both; equity, drawdown, price with fills, inventory of the first"
