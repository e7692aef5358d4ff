"""Promise R16: a key that is bound to an account sees and does what is of that account; another's id is 404 to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from e2e.conftest import MakeService
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from market_maker.api.app import openapi_document
from market_maker.api.guard import ApiKeys
from market_maker.domain.errors import InvalidRequest

KEYS = {name: f"planted-{name}-key" for name in ("admin", "ann", "ben", "reader")}


def digest(name: str) -> str:
    return hashlib.sha256(KEYS[name].encode()).hexdigest()


async def asked(service: ServiceProcess, who: str, method: str, path: str, body: Any = None) -> Any:
    return await service.request(method, path, body, X_API_Key=KEYS[who])


@pytest.fixture
async def service(database_dsn: str, make_service: MakeService) -> tuple[ServiceProcess, dict[str, str]]:
    """Return a service with two accounts, and a key for each."""
    first = make_service(database_dsn, MM_API_KEYS=f"admin:{digest('admin')}")
    await first.start()
    accounts = {}
    for name in ("ann", "ben"):
        made = await asked(first, "admin", "POST", "/api/v1/accounts", {"name": name})
        accounts[name] = made.content["account_id"]
    assert first.terminate() == 0
    keys = [f"admin:{digest('admin')}", f"read@{accounts['ann']}:{digest('reader')}"]
    keys += [f"trade@{account}:{digest(name)}" for name, account in accounts.items()]
    second = make_service(database_dsn, MM_API_KEYS=",".join(keys))
    await second.start()
    return second, accounts


def order(price: str, account: str | None = None) -> dict[str, str]:
    body = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": price, "amount": "0.01"}
    return body | ({"account_id": account} if account else {})


async def test_nothing_of_one_account_leaks_to_another(service: tuple[ServiceProcess, dict[str, str]]) -> None:
    process, accounts = service
    orders = {}
    for name in ("ann", "ben"):
        placed = await asked(process, name, "POST", "/api/v1/simulator/orders", order("40000"))
        assert (placed.status, placed.content["account_id"]) == (201, accounts[name])
        orders[name] = placed.content["order_id"]
        bought = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "MARKET", "amount": "0.01"}
        await asked(process, name, "POST", "/api/v1/simulator/orders?wait=true", bought)
    refused = await asked(process, "ann", "POST", "/api/v1/simulator/orders", order("40000", accounts["ben"]))
    assert refused.status == 404
    positions = (await asked(process, "admin", "GET", "/api/v1/positions")).content["items"]
    of = {name: next(p["position_id"] for p in positions if p["account_id"] == accounts[name]) for name in accounts}
    told = []
    for path in ("simulator/orders", "simulator/trades", "positions", "accounts"):
        mine = (await asked(process, "ann", "GET", f"/api/v1/{path}")).content["items"]
        assert mine, path
        assert {item["account_id"] for item in mine} == {accounts["ann"]}, path
        told.append(json.dumps(mine))
        asking = await asked(process, "ann", "GET", f"/api/v1/{path}?account_id={accounts['ben']}")
        assert accounts["ben"] not in json.dumps(asking.content.get("items", [])), path
    assert orders["ben"] not in "".join(told)
    foreign = [
        ("GET", f"/api/v1/simulator/orders/{orders['ben']}", None),
        ("DELETE", f"/api/v1/simulator/orders/{orders['ben']}", None),
        ("PATCH", f"/api/v1/simulator/orders/{orders['ben']}", {"price": "41000"}),
        ("GET", f"/api/v1/positions/{of['ben']}", None),
        ("PATCH", f"/api/v1/positions/{of['ben']}", {"quantity": "1"}),
        ("GET", f"/api/v1/risk/metrics/{of['ben']}", None),
        ("GET", f"/api/v1/positions/{of['ben']}/transfers", None),
        ("GET", f"/api/v1/accounts/{accounts['ben']}/transfers", None),
        ("POST", "/api/v1/risk/assessment", {"position_id": of["ben"], "risk_model": "VaR"}),
        ("POST", "/api/v1/positions", {"pair_id": DEFAULT_PAIR, "quantity": "1", "account_id": accounts["ben"]}),
    ]
    for method, path, body in foreign:
        answer = await asked(process, "ann", method, path, body)
        assert answer.status == 404, (method, path, answer)
        unknown = path.replace(orders["ben"], "01a20000-0000-7000-8000-000000000000").replace(
            of["ben"], "01a20000-0000-7000-8000-000000000000"
        )
        if unknown != path:  # what exists for others looks as what does not exist
            other = await asked(process, "ann", method, unknown, body)
            assert (other.status, other.content["title"]) == (404, answer.content["title"])
    own = await asked(process, "ann", "GET", f"/api/v1/simulator/orders/{orders['ann']}")
    assert own.status == 200
    for path in (f"accounts/{accounts['ann']}", f"positions/{of['ann']}"):
        listed = await asked(process, "ann", "GET", f"/api/v1/{path}/transfers")
        assert (listed.status, listed.content) == (200, {"items": [], "next": None})
    assert (
        await asked(process, "ann", "POST", f"/api/v1/accounts/{accounts['ann']}/transfers", {"amount": "1"})
    ).status == 403
    assert (await asked(process, "ben", "DELETE", f"/api/v1/simulator/orders/{orders['ben']}")).status == 202
    assert (await asked(process, "reader", "GET", f"/api/v1/simulator/orders/{orders['ann']}")).status == 200
    assert (await asked(process, "reader", "DELETE", f"/api/v1/simulator/orders/{orders['ann']}")).status == 403
    assert (await asked(process, "admin", "GET", f"/api/v1/simulator/orders/{orders['ben']}")).status == 200


async def test_a_bound_key_assesses_its_own_and_sees_no_sum_over_others(
    service: tuple[ServiceProcess, dict[str, str]],
) -> None:
    """The client names the scope always and was refused; sums that the schedule saves under a position told all others' values."""
    process, accounts = service
    of = {}
    for name in ("ann", "ben"):
        held = {"pair_id": DEFAULT_PAIR, "quantity": "0.1"}
        of[name] = (await asked(process, name, "POST", "/api/v1/positions", held)).content["position_id"]
    path = "/api/v1/risk/assessment"

    async def status(scope: str) -> int:
        return int((await asked(process, "ann", "POST", path, {"position_id": of["ann"], "scope": scope})).status)

    async with asyncio.timeout(30):
        while await status("POSITION") != 201:  # noqa: ASYNC110  (it is the market that goes on)
            await asyncio.sleep(0.5)
    assert [await status(scope) for scope in ("ACCOUNT", "PAIR", "BOOK")] == [201, 403, 403]
    await asked(process, "admin", "POST", "/api/v1/risk/limits", {"kind": "MAX_NOTIONAL", "threshold": "7"})
    whole = await asked(process, "admin", "POST", path, {"position_id": of["ann"], "scope": "BOOK"})
    assert of["ben"] in json.dumps(whole.content["components"])
    seen = await asked(process, "ann", "GET", f"/api/v1/risk/metrics/{of['ann']}")
    assert {each["scope"] for each in seen.content["items"]} == {"POSITION", "ACCOUNT"}
    assert of["ben"] not in json.dumps(seen.content)
    page = await asked(process, "ann", "GET", f"/api/v1/risk/report/{of['ann']}")
    assert ("MAX_NOTIONAL" in str(page.content), "with all of its book" in str(page.content)) == (False, False)
    assert accounts["ben"] not in str(page.content)


async def test_the_stream_tells_each_account_its_own(service: tuple[ServiceProcess, dict[str, str]]) -> None:
    process, accounts = service
    address = f"ws://127.0.0.1:{process.port}/api/v1/stream"
    async with (
        connect(address, additional_headers={"X-API-Key": KEYS["ann"]}) as ann,
        connect(address, additional_headers={"X-API-Key": KEYS["admin"]}) as admin,
    ):
        for name in ("ben", "ann", "ben"):
            await asked(process, name, "POST", "/api/v1/simulator/orders", order("40000"))
        seen: list[str] = []
        while sum('"simulator.order.accepted"' in text for text in seen) < 3:
            seen.append(str(await asyncio.wait_for(admin.recv(), 5)))
        assert any(accounts["ben"] in text for text in seen)
        got = []
        while not any('"simulator.order.accepted"' in text for text in got):
            got.append(str(await asyncio.wait_for(ann.recv(), 5)))
        assert all(accounts["ann"] in text and accounts["ben"] not in text for text in got)


async def test_what_belongs_to_no_account_is_refused_unless_it_is_everybodys(
    service: tuple[ServiceProcess, dict[str, str]],
) -> None:
    process, _ = service
    unknown = "01a20000-0000-7000-8000-000000000000"
    allowed = set()
    for path, methods in openapi_document()["paths"].items():
        for method in methods:
            concrete = path
            while "{" in concrete:
                concrete = concrete[: concrete.index("{")] + unknown + concrete[concrete.index("}") + 1 :]
            answer = await asked(process, "ann", method.upper(), concrete)
            assert answer.status < 500, (method, path)
            if answer.status != 403:
                allowed.add((method, path))
    changing = {(method, path) for method, path in allowed if method != "get"}
    assert changing == {
        ("post", "/api/v1/simulator/orders"), ("post", "/api/v1/positions"), ("post", "/api/v1/risk/assessment"),
        ("delete", "/api/v1/simulator/orders/{order_id}"), ("patch", "/api/v1/simulator/orders/{order_id}"),
        ("patch", "/api/v1/positions/{position_id}"),
    }  # fmt: skip
    assert ("get", "/api/v1/simulator/orderbook/{pair_id}") in allowed
    assert not {
        path for method, path in allowed if path.startswith(("/metrics", "/api/v1/backtest", "/api/v1/risk/limits"))
    }


@pytest.mark.parametrize(
    "entry",
    ["admin@00000000-0000-7000-8000-000000000001:" + "0" * 64, "trade@:" + "0" * 64, "trade@x:" + "0" * 64, "read@" + "0" * 64],
)  # fmt: skip
def test_a_wrong_binding_does_not_start(entry: str) -> None:
    with pytest.raises(InvalidRequest, match="api_keys"):
        ApiKeys((entry,))
