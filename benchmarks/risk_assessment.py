"""How long an assessment of one position takes by REST, database and all: POST /api/v1/risk/assessment, one after another.

The service (embedded PostgreSQL unless --database is given) runs one market; the position has limits on both figures; the price
history is that of six hours by the second, most of it written beforehand. Every answer is saved with its events before it is
given. Asked are value at risk by four methods in turn, with all sections, over one connection. The last line is JSON.

Run: .venv/bin/python benchmarks/risk_assessment.py [--quick] [--database URL]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psycopg

from market_maker.storage.embedded import start_embedded

PAIR = "00000000-0000-7000-8000-000000000010"
HISTORY_S = 6 * 3600
METHODS = ("HISTORICAL", "NORMAL", "AGE_WEIGHTED", "EWMA")
WARM_UP = 20


class Service:
    """A service in a process of its own, asked over one connection that stays open."""

    def __init__(self, folder: Path, database: str | None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        environment |= {"MM_DATA_DIR": str(folder), "MM_BACKTEST__WORKERS": "0"}
        if database:
            environment["MM_DATABASE_URL"] = database
        command = [sys.executable, "-m", "market_maker", "serve", "--port", "0"]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        assert len(words) > 2, "the service did not start; its log is above"
        self._connection = http.client.HTTPConnection("127.0.0.1", int(words[2].rpartition(":")[2]))

    def call(self, method: str, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Return the answer's content and the seconds from the request to the answer's last byte."""
        data = json.dumps(body)
        started = time.perf_counter()
        self._connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - started
        assert answer.status in (200, 201), (answer.status, content[:500])
        return json.loads(content), seconds

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


def write_history(dsn: str) -> None:
    """Write mids of the last hours, by the second, up to a minute ago."""
    steps = np.random.default_rng(7).normal(0.0, 300.0, HISTORY_S).round().astype(int)
    mids = np.maximum(9_000_000, 10_000_000 + np.cumsum(steps)).tolist()
    end_s = int(time.time()) - 60
    rows = ((PAIR, (end_s - HISTORY_S + i) * 10**9, mid) for i, mid in enumerate(mids))
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO simulated_prices VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", rows)


def measure(service: Service, count: int) -> list[float]:
    """Return the seconds of each assessment."""
    account = service.call("POST", "/api/v1/accounts", {"name": f"risk {time.time_ns()}", "balance": "1000000 USDT"})[0]
    wish = {"pair_id": PAIR, "account_id": account["account_id"], "quantity": "0.5", "average_price": "50000"}
    position = service.call("POST", "/api/v1/positions", wish)[0]["position_id"]
    for kind in ("MAX_VAR", "MAX_ES"):
        limit = {"kind": kind, "threshold": "1000000", "scope": "POSITION", "scope_id": position}
        service.call("POST", "/api/v1/risk/limits", limit)
    times = []
    for number in range(WARM_UP + count):
        body = {"position_id": position, "method": METHODS[number % len(METHODS)]}
        found, seconds = service.call("POST", "/api/v1/risk/assessment", body)
        assert float(found["value_at_risk"]) > 0, found
        times.append(seconds)
    return times[WARM_UP:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="400 assessments instead of 4,000")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database to use instead of the embedded one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="market-maker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded server may run under an account of its own
        service = Service(folder / "data", chosen.database)
        try:
            if chosen.database:
                write_history(chosen.database)
            else:
                with start_embedded(folder / "data") as embedded:
                    write_history(embedded.dsn)
            times = sorted(measure(service, 400 if chosen.quick else 4000))
        finally:
            service.stop()
    figures = {
        "benchmark": "risk_assessment",
        "n": len(times),
        "median_ms": round(1e3 * median(times), 2),
        "p99_ms": round(1e3 * times[len(times) * 99 // 100], 2),
        "worst_ms": round(1e3 * times[-1], 2),
        "aim_p99_ms": 20.0,
    }
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}")
    print(
        f"{len(times)} assessments: median {figures['median_ms']} ms, p99 {figures['p99_ms']} ms, worst {figures['worst_ms']} ms"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
