"""The outermost layer: keys, rates, depth."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from typing import Any

import pytest

from market_maker.api.guard import MAX_DEPTH, ApiKeys, Guard, RateLimit, _depth, _key_among
from market_maker.domain.errors import InvalidRequest
from market_maker.monitoring.metrics import Metrics


def entry(scope: str, key: str) -> str:
    return f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}"


def test_keys_have_the_scope_that_was_given() -> None:
    keys = ApiKeys((entry("read", "r"), entry("trade", "t"), entry("admin", "a")))
    assert [keys.level(key) for key in ("r", "t", "a", "x", "", "é\ud800")] == [0, 1, 2, None, None, None]
    assert keys
    assert not ApiKeys(())


@pytest.mark.parametrize(
    "text", ["", "read", "read:", "root:" + "0" * 64, "read:" + "0" * 63, "read:" + "G" * 64, "secret"]
)
def test_wrong_entries_are_refused_without_the_secret(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ApiKeys((text,))
    assert "0" * 60 not in caught.value.detail
    assert caught.value.errors[0].field == "api_keys"


def test_every_key_is_compared_whichever_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def count(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", count)
    keys = ApiKeys(tuple(entry("read", str(number)) for number in range(5)))
    counts = []
    for key in ("0", "4", "wrong", "", "x" * 1000):
        compared.clear()
        keys.level(key)
        counts.append(len(compared))
    assert counts == [5] * 5


def test_rate_limit_is_per_address_and_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rates = RateLimit(3)
    assert [rates.admit("a") for _ in range(5)] == [True, True, True, False, False]
    assert rates.admit("b")
    now[0] += 0.34  # one token: 3 per second
    assert [rates.admit("a"), rates.admit("a")] == [True, False]
    assert all(RateLimit(0).admit("a") for _ in range(1000))


def test_rate_limit_forgets_addresses_rather_than_grow() -> None:
    rates = RateLimit(1)
    for number in range(20_000):
        rates.admit(str(number))
    assert len(rates._buckets) <= 10_001


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b"{}", 1),
        (b'{"a": [{}]}', 3),
        (b"[] [] []", 1),
        (b'"[[["', 0),
        (b'"\\"[[["', 0),
        (b'"\\\\" [[', 2),
        (b'"open [[[', 0),
        (b"[" * 1000, MAX_DEPTH + 1),
    ],
)
def test_depth(body: bytes, depth: int) -> None:
    assert _depth(body) == depth


@pytest.mark.parametrize(
    "body", [b"[" * 40 + b'\\"' * 500_000, b'"' + b'\\"' * 500_000, b'"[[["' * 200_000, b'\\"[]' * 250_000]
)
def test_depth_takes_time_in_proportion(body: bytes) -> None:
    started = time.perf_counter()
    _depth(body)
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(
    ("protocols", "key"),
    [
        (["market-maker", "key.c2VjcmV0"], "secret"),
        (["key.w6nDqS1f"], "éé-_"),
        (["key.c2VjcmV0IQ"], "secret!"),
        (["market-maker"], ""),
        (["key."], ""),
        (["key.*"], ""),
        (["key._w"], ""),  # no text: byte 255
        ([], ""),
    ],
)
def test_a_browser_gives_its_key_as_a_protocol(protocols: list[str], key: str) -> None:
    assert _key_among(protocols) == key


@pytest.mark.parametrize("stops", [True, False])
async def test_who_is_not_answered_when_the_service_stops_is_told_so(stops: bool) -> None:
    """A recording that was being opened when SIGTERM came ended as 500 with a traceback: the server cancels what takes too long."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    guard = Guard(application, keys=ApiKeys(()), rate_limit=0, metrics=Metrics())
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/pairs",
        "headers": [],
        "query_string": b"",
        "client": None,
    }
    asked = asyncio.create_task(guard(scope, receive, send))
    await asyncio.sleep(0)
    if stops:
        await guard.drain()
    asked.cancel()
    if not stops:
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert sent == []
        return
    await asked
    assert sent[0]["status"] == 503
    assert b"stopping" in sent[1]["body"]
