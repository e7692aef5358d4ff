"""The service as its users run it: a process that can be killed and started again on the same port.

Owns start, kill and log of one process; knows nothing of what is asked of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.http_connection import Answer, HttpConnection

FAST_MARKET = {
    "MM_SIMULATOR__EXECUTION_DELAY": "5ms",
    "MM_SIMULATOR__MARKET_UPDATE_INTERVAL": "50ms",
    "MM_SIMULATOR__PRICE_DEVIATION": "0.0002",
    "MM_SIMULATOR__DEFAULT_BALANCE": "100000000 USDT",
    "MM_BACKTEST__WORKERS": "0",
    "MM_LOG_LEVEL": "INFO",
}
"""Everything twenty times as fast as by default, and money enough that no order is refused for the lack of it."""

DEFAULT_PAIR = "00000000-0000-7000-8000-000000000010"
DEFAULT_STRATEGY = "00000000-0000-7000-8000-000000000020"

_URL = re.compile(r"serves http://127\.0\.0\.1:(\d+)")


class ServiceProcess:
    """One `market-maker serve`.

    Parameters
    ----------
    dsn : its database
    folder : its data folder and log
    settings : environment variables beside `FAST_MARKET`
    """

    def __init__(self, dsn: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.dsn = dsn
        self.folder = folder
        self.log = folder / "service.log"
        self.port = 0
        self.starts = 0
        self.started_at = 0.0
        self._settings = {**FAST_MARKET, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start the process and return at once."""
        assert not self.is_alive
        self.folder.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        if "MM_KERNEL_CACHE" in os.environ:
            inherited["MM_KERNEL_CACHE"] = os.environ["MM_KERNEL_CACHE"]
        environment = {**inherited, "MM_DATABASE_URL": self.dsn, "MM_DATA_DIR": str(self.folder), **self._settings}
        command = [sys.executable, "-m", "market_maker", "serve", "--port", str(self.port)]
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            log.write(f"=== start {self.starts + 1}\n".encode())
            log.flush()
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.starts += 1

    async def start(self, timeout_s: float = 40.0) -> float:
        """Start the process and return the seconds until it listened."""
        self.spawn()
        return await self.listening(timeout_s)

    async def listening(self, timeout_s: float = 40.0) -> float:
        """Return the seconds from the start until it said that it listens."""
        while time.monotonic() < self.started_at + timeout_s:
            text = self._log_of_this_start()
            found = _URL.search(text)
            if found:
                self.port = int(found[1])
                return time.monotonic() - self.started_at
            if not self.is_alive:
                raise AssertionError(f"the service ended at its start:\n{text[-4000:]}")
            await asyncio.sleep(0.02)
        raise AssertionError(f"the service does not listen after {timeout_s} s:\n{self._log_of_this_start()[-4000:]}")

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def terminate(self, timeout_s: float = 20.0) -> int:
        """Ask it to end and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout_s)

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.is_alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate()
            if self.is_alive:
                self.kill()

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask one thing on a connection of its own."""
        connection = HttpConnection(self.port)
        try:
            return await connection.request(method, path, body, headers)
        finally:
            connection.close()

    async def get(self, path: str) -> Any:
        """Return the content of a resource that is there."""
        answer = await self.request("GET", path)
        assert answer.status == 200, answer
        return answer.content

    async def session(self, pair_id: str = DEFAULT_PAIR) -> dict[str, Any]:
        """Return the running session of a pair."""
        sessions = (await self.get("/api/v1/simulator/sessions"))["items"]
        return next(dict(session) for session in sessions if session["pair_id"] == pair_id)

    async def set_state(self, state: str) -> list[dict[str, Any]]:
        """Set all sessions RUNNING or PAUSED and return them."""
        changed = []
        for session in (await self.get("/api/v1/simulator/sessions"))["items"]:
            path = f"/api/v1/simulator/sessions/{session['session_id']}"
            answer = await self.request("PATCH", path, {"state": state})
            assert answer.status == 200, answer
            changed.append(answer.content)
        return changed

    async def add_pair_with_fees(self) -> str:
        """Add a pair whose makers get a rebate and whose takers pay, and return its id."""
        pair = {
            "venue": "simulator", "symbol": "ETH-USDT", "base": "ETH", "quote": "USDT", "tick_size": "0.01",
            "lot_size": "0.0001", "maker_fee": "-0.0001", "taker_fee": "0.0005", "initial_price": "3000",
        }  # fmt: skip
        answer = await self.request("POST", "/api/v1/pairs", pair)
        assert answer.status == 201, answer
        return str(answer.content["pair_id"])

    def faults(self) -> list[str]:
        """Return the lines of the log that tell of an error of our own (a lost broker is none)."""
        signs = ("Traceback", '"level": "error"', '"level": "critical"')
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        own = [line for line in lines if '"logger": "aiormq' not in line]
        return [line[:3000] for line in own if any(sign in line for sign in signs)]

    def _log_of_this_start(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text.rpartition(f"=== start {self.starts}\n")[2]
