"""What tests of pages ask of the service and of the page, until it has become so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from browser.conftest import Service
from e2e.service_process import DEFAULT_PAIR

Found = TypeVar("Found")


def wait_until(check: Callable[[], Found], seconds: float = 45.0) -> Found:
    """Return what `check` returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not become so in time")


def api(service: Service, path: str) -> Any:
    """Return what the service answers to a question that it has to answer."""
    answer = httpx.get(f"{service.url}/api/v1/{path}", timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(service: Service, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Return the answer of a request that has to succeed."""
    answer = httpx.request(method, f"{service.url}/api/v1/{path}", json=body, timeout=20)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def orders(service: Service) -> list[dict[str, Any]]:
    """Return the open orders of the default pair."""
    found: list[dict[str, Any]] = api(service, f"simulator/orders?pair_id={DEFAULT_PAIR}&is_open=true")["items"]
    return found


def buy(service: Service, amount: str, pair_id: str = DEFAULT_PAIR) -> dict[str, Any]:
    """Buy at the market, and return the order when it is filled."""
    return trade(service, "BUY", amount, pair_id)


def trade(service: Service, side: str, amount: str, pair_id: str) -> dict[str, Any]:
    """Trade at the market, and return the order when it is filled."""
    order = {"pair_id": pair_id, "side": side, "type": "MARKET", "amount": amount}
    found: dict[str, Any] = send(service, "POST", "simulator/orders?wait=true", order)
    assert found["status"] == "FILLED", found
    return found


def metric(service: Service, series: str) -> float:
    """Return the value of a series of /metrics, 0 when it is not there yet."""
    lines = httpx.get(f"{service.url}/metrics", timeout=10).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"market_maker_{series} ")), 0.0)
