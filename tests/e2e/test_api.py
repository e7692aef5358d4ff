"""The API as its users meet it: the specification's requests word for word, and every endpoint's whole life."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from e2e.service_process import DEFAULT_PAIR, DEFAULT_STRATEGY, ServiceProcess
from market_maker import dashboard
from market_maker.api.schemas import StartScenario, TradingRules, View
from market_maker.cli import app
from market_maker.client import (
    AsyncClient,
    BookTwin,
    Client,
    Reconnected,
    StreamBook,
    StreamDelta,
    StreamEvent,
    StreamTrades,
)
from market_maker.client.conversation import Answer, Call, Outcome, Send
from market_maker.client.stream import Stream, stream_address
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, NotFound, Unavailable
from market_maker.domain.units import format_instant
from market_maker.service import new_instrument
from market_maker.simulator.design import seed_of_pair

NOBODY = "01a20000-0000-7000-8000-000000000000"


class StrictClient(Client):
    """A client that also refuses answers with fields that their type does not have, and remembers what it asked."""

    asked: set[tuple[str, str]]

    def send(self, call: Call[Answer]) -> Answer:
        answer = super().send(call)
        assert isinstance(self.last, httpx.Response)
        if isinstance(answer, View):
            assert _names(self.last.json()) == _names(msgspec.to_builtins(answer)), call.path
            assert not re.search(rb'"-?[0-9.]+E[+-]?[0-9]+"', self.last.content), "plain decimals"
        self.asked.add((call.method.lower(), call.path))
        return answer

    def _ask(self, send: Send) -> Outcome:
        self.last = super()._ask(send)
        return self.last


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _names(inner) for name, inner in value.items()}
    return [_names(inner) for inner in value] if isinstance(value, list) else None


@pytest.fixture(scope="module")
def service(_migrated_template: str, _make_database: Callable[[str | None], str]) -> Iterator[ServiceProcess]:
    folder = Path(tempfile.mkdtemp(prefix="market-maker-e2e-"))
    folder.chmod(0o755)
    process = ServiceProcess(_make_database(_migrated_template), folder, {"MM_BACKTEST__WORKERS": "1"})
    asyncio.run(process.start())
    yield process
    process.close()
    faults = process.faults()
    shutil.rmtree(folder, ignore_errors=True)
    assert not faults


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[StrictClient]:
    with StrictClient(f"http://127.0.0.1:{service.port}") as made:
        made.asked = set()
        yield made


@pytest.fixture
def http(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=20) as made:
        yield made


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)
    return answer


def post(http: httpx.Client, path: str, text: str, **headers: str) -> httpx.Response:
    return http.post(path, content=text, headers={"Content-Type": "application/json", **headers})


# ---------------------------------------------------------------------- the specification's requests


def test_order_of_the_specification(http: httpx.Client) -> None:
    text = """{"pair_id": "PAIR", "side": "BUY", "type": "LIMIT", "price": 50000.00, "amount": 1.0, "strategy_id": "STRATEGY",
        "simulation_params": {"execution_probability": 0.8, "price_impact": 0.001}}"""
    placed = post(
        http, "/api/v1/simulator/orders", text.replace("PAIR", DEFAULT_PAIR).replace("STRATEGY", DEFAULT_STRATEGY)
    )
    assert placed.status_code == 201
    order = placed.json()
    assert (order["status"], order["price"], order["amount"]) == ("PENDING_NEW", "50000.00", "1.00000")
    assert order["simulation_params"] == {"execution_probability": 0.8, "price_impact": 0.001}
    assert placed.headers["location"] == f"/api/v1/simulator/orders/{order['order_id']}"
    canceled = http.delete(placed.headers["location"])
    assert canceled.status_code in (202, 409)  # 409: the market was quicker
    book = http.get(f"/api/v1/simulator/orderbook/{DEFAULT_PAIR}")
    assert book.status_code == 200
    assert {
        "bids",
        "asks",
        "pair_id",
        "sequence",
        "ts",
        "stale",
        "phase",
        "indicative_price",
        "indicative_amount",
    } == set(book.json())


def test_backtest_of_the_specification(http: httpx.Client) -> None:
    text = """{"strategy_id": "STRATEGY", "start_date": "2022-01-01", "end_date": "2022-01-31",
        "market_conditions": {"volatility": 0.02, "trend": "SIDEWAYS", "volume_profile": "NORMAL"}}"""
    text = text.replace("STRATEGY", DEFAULT_STRATEGY)
    queued = post(http, "/api/v1/backtest", text)
    assert queued.status_code == 202
    wanted = {"volatility": 0.02, "trend": "SIDEWAYS", "volume_profile": "NORMAL"}
    assert queued.json()["configuration"]["market_conditions"] == wanted
    path = queued.headers["location"]
    assert path == f"/api/v1/backtest/runs/{queued.json()['run_id']}"
    run = until(lambda: (found := http.get(path).json())["status"] not in ("PENDING", "RUNNING") and found)
    assert run["status"] == "FAILED"  # no data is an error, never an empty success
    assert "2022-01-01" in run["error"]
    assert http.get(f"/api/v1/backtest/results/{DEFAULT_STRATEGY}").json() == {"items": [], "next": None}


def test_assessment_of_the_specification(http: httpx.Client, client: StrictClient) -> None:
    position_id = client.open_position(DEFAULT_PAIR, quantity="0.25", strategy_id=DEFAULT_STRATEGY).position_id
    text = """{"position_id": "POSITION", "risk_model": "VaR", "confidence_level": 0.95, "time_horizon": "1d"}"""
    request = text.replace("POSITION", str(position_id))
    assessed = until(lambda: (made := post(http, "/api/v1/risk/assessment", request)).status_code == 201 and made)
    figures = assessed.json()
    assert Decimal(figures["value"]) == Decimal(figures["value_at_risk"]) > 0
    assert Decimal(figures["expected_shortfall"]) >= Decimal(figures["value_at_risk"])
    assert (figures["confidence_level"], figures["time_horizon"]) == ("0.95", "1d")
    saved = http.get(f"/api/v1/risk/metrics/{position_id}").json()["items"]
    assert saved[0] == figures


# ---------------------------------------------------------------------- orders


def test_idempotency(http: httpx.Client, client: StrictClient) -> None:
    order = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.001"}
    text, other = json.dumps(order), json.dumps({**order, "amount": "0.002"})
    first, second = (post(http, "/api/v1/simulator/orders", text, **{"Idempotency-Key": "k-1"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert post(http, "/api/v1/simulator/orders", other, **{"Idempotency-Key": "k-1"}).status_code == 409
    named = {"pair_id": DEFAULT_PAIR, "side": "BUY", "amount": "0.001", "price": "40000", "client_order_id": "k-1"}
    mine = client.place_order(**named, wait=True)
    assert mine.client_order_id == "k-1"
    assert str(mine.order_id) != first.json()["order_id"], "a header's key and an order's own are two things"
    again = client.place_order(**named)
    assert (again.order_id, again.status) == (mine.order_id, "PENDING_NEW"), "the first answer again"
    with pytest.raises(Conflict):
        client.place_order(**{**named, "price": "40001"})


def test_wait_gives_the_outcome(client: StrictClient) -> None:
    resting = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "40000", wait=True)
    assert (resting.status, resting.leaves_qty) == ("NEW", Decimal("0.001"))
    canceled = client.cancel_order(resting.order_id, wait=True)
    assert (canceled.status, canceled.cancel_requested, canceled.leaves_qty) == ("CANCELED", True, 0)
    with pytest.raises(Conflict, match="ended"):
        client.cancel_order(resting.order_id)
    taken = client.place_order(DEFAULT_PAIR, "BUY", "0.001", wait=True)
    assert (taken.type, taken.time_in_force, taken.status) == ("MARKET", "IOC", "FILLED")
    assert taken.average_price is not None
    fills = client.get_trades(order_id=taken.order_id).items
    assert sum(fill.amount for fill in fills) == taken.cum_qty == Decimal("0.001")
    assert {fill.liquidity for fill in fills} == {"TAKER"}
    rejected = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "60000", post_only=True, wait=True)
    assert (rejected.status, rejected.reject_reason) == ("REJECTED", "POST_ONLY_WOULD_TAKE")
    with pytest.raises(NotFound):
        client.get_order(NOBODY)


def test_paging_gives_every_row_once(client: StrictClient) -> None:
    placed = {client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000", wait=True).order_id for _ in range(7)}
    seen: list[UUID] = []
    after = None
    while True:
        page = client.get_orders(pair_id=DEFAULT_PAIR, is_open=True, limit=3, after=after)
        seen += [order.order_id for order in page.items]
        if page.next is None:
            break
        after = page.next
    assert seen == sorted(set(seen), reverse=True)
    assert placed <= set(seen)
    assert client.cancel_all_orders(pair_id=DEFAULT_PAIR).cancel_requested >= 7
    until(lambda: not client.get_orders(pair_id=DEFAULT_PAIR, is_open=True).items)


def test_paging_gives_both_fills_of_a_trade_between_two_accounts(client: StrictClient) -> None:
    """They have one trade id, which is the cursor: a page that ended between them lost the second one."""
    pair = client.add_pair("BOTH-USDT", "BOTH", "USDT", tick_size="0.01", lot_size="0.001", initial_price="100")
    (session,) = [each for each in client.get_sessions().items if each.pair_id == pair.pair_id]
    client.change_session(session.session_id, phase="HALTED")
    client.change_session(session.session_id, phase="PRE_OPEN")
    accounts = [client.add_account(name).account_id for name in ("buys of it", "sells to it")]
    for _ in range(3):
        for side, account in zip(("BUY", "SELL"), accounts, strict=True):
            client.place_order(
                pair.pair_id, side, "0.5", "150" if side == "BUY" else "50", account_id=account, wait=True
            )
    client.change_session(session.session_id, phase="CONTINUOUS")
    until(lambda: not client.get_orders(pair_id=pair.pair_id, is_open=True).items)
    whole = {(each.trade_id, each.order_id) for each in client.get_trades(pair_id=pair.pair_id, limit=1000).items}
    shared = len(whole) - len({trade_id for trade_id, _ in whole})
    assert shared, "no trade was between the two"
    seen: list[tuple[UUID, UUID]] = []
    after = None
    while True:
        page = client.get_trades(pair_id=pair.pair_id, limit=1, after=after)
        seen += [(each.trade_id, each.order_id) for each in page.items]
        if page.next is None:
            break
        after = page.next
    assert len(seen) == len(set(seen))
    assert set(seen) == whole


def test_pairs_that_name_no_seed_do_not_move_alike(client: StrictClient) -> None:
    """All had the seed of the settings: every pair had the same book and took the same path, as if correlated by one."""
    pairs = [
        client.add_pair(f"{name}-USDT", name, "USDT", tick_size="0.01", lot_size="0.001", initial_price="100").pair_id
        for name in ("ALONE", "APART")
    ]
    sessions = {each.pair_id: each for each in client.get_sessions().items}
    seeds = [sessions[pair].seed for pair in pairs]
    assert len({*seeds, sessions[UUID(DEFAULT_PAIR)].seed}) == 3
    # By venue and symbol: the next service that has such a pair has the same market.
    assert seeds[0] == seed_of_pair(20221101, new_instrument(
        venue="simulator", symbol="ALONE-USDT", base="ALONE", quote="USDT", tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"), contract_type="LINEAR", maker_fee=Decimal(0), taker_fee=Decimal(0),
    ))  # fmt: skip
    books = [[level.quantity for level in client.get_order_book(pair, depth=1).bids] for pair in pairs]
    assert books[0] != books[1]


def test_an_order_is_found_by_the_key_of_its_owner(client: StrictClient) -> None:
    """A bot that begins anew knows its own keys alone: it had to read all pages of all orders to find them."""
    key = f"bot:{uuid4()}"
    other = client.add_account("named twice", "100000 USDT")
    placed = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000", client_order_id=key, wait=True)
    twin = client.place_order(
        DEFAULT_PAIR, "BUY", "0.001", "30000", client_order_id=key, account_id=other.account_id, wait=True
    )
    assert {each.order_id for each in client.get_orders(client_order_id=key).items} == {placed.order_id, twin.order_id}
    mine = client.get_orders(client_order_id=key, account_id=other.account_id, is_open=True).items
    assert [each.order_id for each in mine] == [twin.order_id]
    client.cancel_order(placed.order_id, wait=True)
    client.cancel_order(twin.order_id, wait=True)
    assert [each.status for each in client.get_orders(client_order_id=key).items] == ["CANCELED", "CANCELED"]
    assert client.get_orders(client_order_id="nobody").items == []
    with pytest.raises(InvalidRequest):
        client.get_orders(client_order_id="a b")


def test_given_trade_fills_what_rests(client: StrictClient) -> None:
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.002", "45000", wait=True)
    assert order.status == "NEW"
    assert client.execute_trade(DEFAULT_PAIR, "SELL", "44000", "1000").trade_ids
    assert client.get_order(order.order_id).status == "FILLED"
    (fill,) = client.get_trades(order_id=order.order_id).items
    assert (fill.price, fill.liquidity) == (45000, "MAKER")


def test_stop_waits_and_iceberg_shows_a_part(client: StrictClient) -> None:
    stop = client.place_order(DEFAULT_PAIR, "BUY", "0.001", stop_price="90000", wait=True)
    assert (stop.type, stop.status, stop.stop_price, stop.triggered) == ("STOP", "NEW", 90000, False)
    limited = client.place_order(DEFAULT_PAIR, "SELL", "0.001", "9000", stop_price="10000", wait=True)
    assert (limited.type, limited.status, limited.price) == ("STOP_LIMIT", "NEW", 9000)
    assert client.execute_trade(DEFAULT_PAIR, "BUY", "200000", "0.001").trade_ids
    now = client.place_order(DEFAULT_PAIR, "BUY", "0.001", stop_price="0.01", wait=True)
    assert (now.status, now.triggered) == ("FILLED", True), "its price had been reached"
    iceberg = client.place_order(DEFAULT_PAIR, "BUY", "0.5", "30001", display_amount="0.1", wait=True)
    assert (iceberg.display_amount, iceberg.leaves_qty) == (Decimal("0.1"), Decimal("0.5"))
    (level,) = [each for each in client.get_order_book(DEFAULT_PAIR, 1000).bids if Decimal(each.price) == 30001]
    assert Decimal(level.quantity) == Decimal("0.1")
    for order in (stop, limited, iceberg):
        client.cancel_order(order.order_id, wait=True)
    for wrong, field in (
        ({"stop_price": "1", "type": "LIMIT", "price": "1"}, "stop_price"), ({"type": "STOP"}, "stop_price"),
        ({"price": "1", "display_amount": "5"}, "display_amount"), ({"display_amount": "0.001"}, "display_amount"),
        ({"stop_price": "0.001"}, "stop_price"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            client.place_order(DEFAULT_PAIR, "BUY", "0.001", **wrong)
        assert caught.value.errors[0].field == field


def test_a_dated_order_tells_its_end(client: StrictClient) -> None:
    wish = {"time_in_force": "GTD", "expire_time": "2190-01-01T12:00:00Z"}
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000", wait=True, **wish)
    assert (order.status, order.expire_time) == ("NEW", "2190-01-01T12:00:00.000000000Z")
    assert client.get_order(order.order_id).expire_time == order.expire_time
    assert client.cancel_order(order.order_id, wait=True).status == "CANCELED"
    assert client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000").expire_time is None
    with pytest.raises(InvalidRequest, match="2190-01-01T12:00:00"):
        client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000", expire_time="2190-01-01T12:00:00Z")


def test_amended_order(client: StrictClient) -> None:
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.003", "30000", wait=True)
    shrunk = client.amend_order(order.order_id, amount="0.002", wait=True)
    assert (shrunk.amount, shrunk.leaves_qty, shrunk.amend_requested) == (Decimal("0.002"), Decimal("0.002"), False)
    assert client.amend_order(order.order_id, price="30002").amend_requested
    until(lambda: client.get_order(order.order_id).price == 30002)
    filled = client.amend_order(order.order_id, price="90000", wait=True)
    assert filled.status == "FILLED"
    with pytest.raises(Conflict, match="ended"):
        client.amend_order(order.order_id, price="30000")
    with pytest.raises(InvalidRequest):
        client.amend_order(order.order_id)
    with pytest.raises(NotFound):
        client.amend_order(NOBODY, price="1")


# ---------------------------------------------------------------------- sessions, positions, risk


def test_life_of_a_session(client: StrictClient) -> None:
    pair = client.add_pair("LIFE-USDT", "LIFE", "USDT", tick_size="0.01", lot_size="0.001", initial_price="100")
    (session,) = [each for each in client.get_sessions().items if each.pair_id == pair.pair_id]
    paused = client.change_session(session.session_id, state="PAUSED")
    assert paused.state == "PAUSED"
    order = client.place_order(pair.pair_id, "BUY", 1, 90)
    time.sleep(0.2)
    assert client.change_session(session.session_id, speed=50).speed == 50
    with pytest.raises(InvalidRequest):
        client.change_session(session.session_id, speed=1000)
    assert client.get_session(session.session_id).step == paused.step
    assert client.get_order(order.order_id).status == "PENDING_NEW", "a market that pauses matches nothing"
    assert client.change_session(session.session_id, state="RUNNING").state == "RUNNING"
    until(lambda: client.get_order(order.order_id).status == "NEW")
    assert client.change_session(session.session_id, state="STOPPED").state == "STOPPED"
    assert client.get_order(order.order_id).status == "CANCELED"
    with pytest.raises(NotFound):
        client.get_session(session.session_id)
    with pytest.raises(Conflict, match="sessions"):
        client.get_order_book(pair.pair_id)
    with pytest.raises(InvalidRequest, match="parameters: flow"):
        client.start_session(pair.pair_id, initial_price="50", parameters={"flow": {"levels": 20}})
    again = client.start_session(
        pair.pair_id, mode="CUSTOM", seed=7, initial_price="50", price_deviation=0.01, execution_delay="1ms",
        market_update_interval="20ms",
    )  # fmt: skip
    assert (again.seed, again.execution_delay, again.market_update_interval) == (7, "1ms", "20ms")
    until(lambda: client.get_order_book(pair.pair_id).bids)
    with pytest.raises(Conflict):
        client.start_session(pair.pair_id)


def test_scenarios_of_a_session(client: StrictClient) -> None:
    pair = client.add_pair("STRESS-USDT", "STRESS", "USDT", tick_size="0.01", lot_size="0.001", initial_price="100")
    (first,) = [each for each in client.get_sessions().items if each.pair_id == pair.pair_id]
    client.change_session(first.session_id, state="STOPPED")
    kinds = {kind.name: kind for kind in client.get_scenario_kinds().items}
    assert kinds["flash_crash"].parameters["properties"]["fall"]["default"] == 0.05
    session = client.start_session(
        pair.pair_id, mode="STRESS", initial_price="100", market_update_interval="50ms", execution_delay="1ms",
        scenarios=[StartScenario(name="wide_spread", parameters={"steps": 9}, starts_in="1h")],
    )  # fmt: skip
    (planned,) = session.scenarios
    assert (session.mode, planned.state, planned.runs, planned.phase) == ("STRESS", "SCHEDULED", 0, None)
    key = session.session_id
    with client.stream(["simulator.session.*"], [pair.pair_id]) as stream:
        gap = client.start_scenario(key, "feed_gap", parameters={"duration_s": 1.5})
        assert (gap.state, gap.phase, gap.runs) == ("RUNNING", "on", 1)
        assert int(gap.ends_ts) - int(gap.starts_ts) in range(1_300_000_000, 1_700_000_000)
        stale = client.get_order_book(pair.pair_id)
        assert stale.stale
        refused = client.start_scenario(key, "partial_outage", parameters={"duration_s": 600})
        order = client.place_order(pair.pair_id, "BUY", 1, 90, wait=True)
        assert (order.status, order.reject_reason) == ("REJECTED", "OUTAGE")
        later = client.get_order_book(pair.pair_id)
        assert later == stale, "trading goes on unseen"
        stopped = client.stop_scenario(key, refused.scenario_id)
        assert (stopped.state, stopped.name) == ("STOPPED", "partial_outage")
        assert client.place_order(pair.pair_id, "BUY", 1, 90, wait=True).status == "NEW"
        told: list[tuple[str, str]] = []
        books = []
        while len(told) < 4:
            message = stream.receive(10)
            if isinstance(message, StreamBook):
                books.append(message)
            elif isinstance(message, StreamEvent) and message.type.startswith("simulator.session.scenario"):
                told.append((message.type.rpartition("_")[2], message.data["name"]))
        assert told == [
            ("started", "feed_gap"), ("started", "partial_outage"), ("ended", "partial_outage"), ("ended", "feed_gap"),
        ]  # fmt: skip
    fresh = until(lambda: not (found := client.get_order_book(pair.pair_id)).stale and found)
    assert fresh.sequence > stale.sequence
    states = {each.name: each.state for each in client.get_scenarios(key).items}
    assert states == {"wide_spread": "SCHEDULED", "feed_gap": "ENDED", "partial_outage": "STOPPED"}
    again = client.start_scenario(key, "price_jump", parameters={"jump": 0.01}, repeats_every="2s")
    until(lambda: {each.name: each.runs for each in client.get_scenarios(key).items}["price_jump"] > 1)
    with pytest.raises(NotFound):
        client.stop_scenario(key, gap.scenario_id)
    for wrong, field in (
        ({"name": "earthquake"}, "name"), ({"starts_in": "soon"}, "starts_in"), ({"starts_in": "8d"}, "starts_in"),
        ({"repeats_every": "10s"}, "repeats_every"), ({"parameters": {"depth": 1}}, "parameters.depth"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            client.start_scenario(key, **{"name": "feed_gap", **wrong})
        assert caught.value.errors[0].field == field
    calm = client.change_session(key, mode="NORMAL")
    assert calm.mode == "NORMAL"
    assert {each.state for each in calm.scenarios} == {"ENDED", "STOPPED"}
    assert client.start_scenario(key, "latency_spike").state == "RUNNING"
    assert client.get_session(key).mode == "STRESS"
    assert again.repeats_every == "2s"
    client.change_session(key, state="STOPPED")


def test_scenarios_by_command(client: StrictClient, service: ServiceProcess) -> None:
    (session,) = [each for each in client.get_sessions().items if str(each.pair_id) == DEFAULT_PAIR]
    url = f"http://127.0.0.1:{service.port}"

    def command(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "market_maker", "scenario", *words, "--url", url],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, text = command(
        "start", "wide_spread", "--param", "steps=3", "--in", "1h", "--session", str(session.session_id)
    )
    assert code == 0, text
    made = text.strip()
    assert [str(each.scenario_id) for each in client.get_scenarios(session.session_id).items] == [made]
    assert made in command("list")[1]
    assert "recovery_s" in command("list", "flash_crash")[1]
    assert command("stop", made) == (0, "wide_spread STOPPED\n")
    code, text = command("start", "earthquake", "--session", str(session.session_id))
    assert (code, "flash_crash" in text) == (2, True)
    other = client.add_pair("SECOND-USDT", "SECOND", "USDT", tick_size="0.01", lot_size="0.001", initial_price="10")
    # With several markets an id had to be looked up elsewhere; now the message lists them by name, and names are taken.
    code, text = command("start", "wide_spread")
    assert code == 2
    assert "simulator/SECOND-USDT" in text
    assert str(session.session_id) in text
    code, text = command("start", "wide_spread", "--session", "THIRD-USDT")
    assert (code, "simulator/BTC-USDT" in text, "THIRD-USDT" in text) == (2, True, True)
    started = [command("start", "wide_spread", "--session", name) for name in ("SECOND-USDT", "simulator/SECOND-USDT")]
    assert [code for code, _ in started] == [0, 0], started
    assert "simulator/SECOND-USDT" in command("list")[1]
    assert command("stop", started[0][1].strip(), "--session", "SECOND-USDT")[0] == 0
    (second,) = [each for each in client.get_sessions().items if each.pair_id == other.pair_id]
    assert [each.state for each in client.get_scenarios(second.session_id).items] == ["STOPPED", "RUNNING"]
    client.change_session(second.session_id, state="STOPPED")
    client.change_session(session.session_id, mode="NORMAL")


def test_a_day_of_phases_and_rules(client: StrictClient) -> None:
    pair = client.add_pair("DAY-USDT", "DAY", "USDT", tick_size="0.01", lot_size="0.001")
    rules = TradingRules(price_collar=Decimal(5), min_notional=Decimal(10), self_trade_prevention="DECREMENT")
    session = client.start_session(
        pair.pair_id, initial_price="100", price_deviation=0.0001, execution_delay="1ms", phase="PRE_OPEN", rules=rules
    )
    assert (session.phase, session.rules) == ("PRE_OPEN", rules)
    key = session.session_id
    buy = client.place_order(pair.pair_id, "BUY", 100, "102", wait=True)
    assert (buy.status, buy.self_trade_prevention) == ("NEW", "DECREMENT")
    now = client.place_order(pair.pair_id, "BUY", 1, wait=True)
    assert (now.status, now.reject_reason) == ("REJECTED", "WRONG_PHASE")
    book = until(lambda: (found := client.get_order_book(pair.pair_id)).indicative_amount and found)
    assert (book.phase, book.stale) == ("PRE_OPEN", False)
    assert 99 < book.indicative_price <= 102
    with client.stream(["simulator.session.phase_changed", "simulator.trade.#"]) as stream:
        assert client.change_session(key, phase="CONTINUOUS").phase == "CONTINUOUS"
        changed, auctions = None, 0
        while changed is None:
            message = stream.receive(10)
            if isinstance(message, StreamEvent) and message.data["pair_id"] == str(pair.pair_id):
                auctions += message.data.get("auction", False)
                changed = message.data if "phase" in message.data else None
    assert changed["phase"] == "CONTINUOUS"
    assert changed["auction_price"] is not None
    assert auctions
    until(lambda: client.get_order(buy.order_id).cum_qty >= Decimal(changed["auction_amount"]))
    for price, amount, reason in (("50", 1, "PRICE_COLLAR"), ("99", "0.01", "NOTIONAL_MIN")):
        refused = client.place_order(pair.pair_id, "BUY", amount, price, wait=True)
        assert (refused.status, refused.reject_reason) == ("REJECTED", reason)
    assert client.change_session(key, rules=TradingRules()).rules == TradingRules()
    assert client.place_order(pair.pair_id, "BUY", 1, "50", wait=True).status == "NEW"
    assert client.change_session(key, phase="HALTED").phase == "HALTED"
    with pytest.raises(Conflict, match="HALTED"):
        client.execute_trade(pair.pair_id, "BUY", 100, 1)
    with pytest.raises(InvalidRequest) as caught:
        client.change_session(key, rules=TradingRules(static_band=Decimal("0.001")))
    assert caught.value.errors[0].field == "rules.static_band"
    client.change_session(key, state="STOPPED")


def test_parameters_of_a_custom_session(client: StrictClient) -> None:
    schema = client.get_custom_schema()
    assert {"flow", "reference", "conditions", "group"} == set(schema["properties"])
    pair = client.add_pair("CUSTOM-USDT", "CUSTOM", "USDT", tick_size="0.01", lot_size="0.001")
    wanted = {
        "flow": {"levels": 12, "decays": [8, 1, 0.2, 0.02]},
        "reference": {"process": "HESTON", "price_deviation": 0.002},
    }
    session = client.start_session(pair.pair_id, mode="CUSTOM", initial_price="100", parameters=wanted)
    assert (session.parameters, session.price_deviation) == (wanted, 0.002)
    until(lambda: client.get_order_book(pair.pair_id).bids)
    key = session.session_id
    changed = {"flow": {"levels": 12, "limit_rate": 3}, "conditions": {"distance_steps": 7}}
    assert client.change_session(key, parameters=changed).parameters == changed
    with pytest.raises(Conflict, match="levels"):
        client.change_session(key, parameters={"flow": {"levels": 13}})
    for wrong, field in (
        ({"flow": {"levels": 1}}, "parameters.flow.levels"), ({"flows": {}}, "parameters.flows"),
        ({"flow": {"levels": 12, "cancel_rates": [1e-9]}}, "parameters.flow.limit_rate"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            client.change_session(key, parameters=wrong)
        assert caught.value.errors[0].field == field
    assert client.get_session(key).parameters == changed
    with pytest.raises(InvalidRequest, match="parameters: flow"):
        client.change_session(key, mode="STRESS", parameters=wanted)
    with pytest.raises(Conflict, match="levels"):
        client.change_session(key, mode="NORMAL")  # it goes on: a later test kills and starts the service


def test_sessions_of_a_group(client: StrictClient) -> None:
    sessions = []
    for name, loadings in (("GROUPED", [1.0]), ("ALIKE", [1.0]), ("OPPOSED", [-1.0])):
        pair = client.add_pair(f"{name}-USDT", name, "USDT", tick_size="0.01", lot_size="0.001")
        parameters = {
            "reference": {"process": "GBM", "price_deviation": 0.002},
            "group": {"seed": 11, "loadings": loadings},
        }
        session = client.start_session(
            pair.pair_id, mode="CUSTOM", initial_price="100", parameters=parameters, state="PAUSED"
        )
        sessions.append((pair.pair_id, session.session_id))
    for pair_id, session_id in sessions:
        client.change_session(session_id, step="60s")
        assert client.get_order_book(pair_id, depth=1).bids
    key = sessions[0][1]
    with pytest.raises(Conflict, match=r"parameters\.group"):
        client.change_session(key, parameters={"group": {"seed": 12}})
    with pytest.raises(InvalidRequest, match="keeps its step"):
        client.change_session(key, parameters={"reference": {"step_ns": 500_000_000}})
    with pytest.raises(InvalidRequest, match="squares sum to at most one"):
        client.change_session(key, parameters={"group": {"loadings": [0.9, 0.9]}})
    kept = client.change_session(key, mode="NORMAL").parameters
    assert kept == {"group": {"seed": 11, "loadings": [1.0]}}, "a group is for life"
    for _, session_id in sessions:
        client.change_session(session_id, state="STOPPED")


def test_money_of_an_account(client: StrictClient) -> None:
    account = client.add_account("payer", "1000 USDT")
    assert [(each.currency, each.total, each.reserved, each.available) for each in account.balances] == [
        ("USDT", 1000, 0, 1000)
    ]
    key = account.account_id
    assert (client.transfer(key, "500.25", "USDT").number, client.transfer(key, "-0.25").number) == (1, 2)
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.04", "30000", account_id=key, wait=True)
    (balance,) = client.get_account(key).balances
    assert (balance.total, balance.reserved, balance.available) == (1500, 1200, 300)
    with pytest.raises(Conflict, match="available"):
        client.transfer(key, "-300.01")
    assert client.transfer(key, -300).amount == -300
    (balance,) = client.get_account(key).balances
    assert (balance.total, balance.available) == (1200, 0)
    refused = client.place_order(DEFAULT_PAIR, "BUY", "0.04", "30000", account_id=key, wait=True)
    assert refused.reject_reason == "INSUFFICIENT_BALANCE"
    for wrong in ("0", "1e15", "0.0000000000001"):
        with pytest.raises(InvalidRequest) as caught:
            client.transfer(key, wrong)
        assert caught.value.errors[0].field == "amount"
    with pytest.raises(InvalidRequest, match="currency"):
        client.transfer(key, 1, "EUR")
    client.cancel_order(order.order_id, wait=True)
    bought = client.place_order(DEFAULT_PAIR, "BUY", "0.02", account_id=key, wait=True)
    assert bought.cum_qty == Decimal("0.02")
    resting = client.place_order(DEFAULT_PAIR, "SELL", "0.001", "90000", account_id=key, wait=True)
    fresh = client.reset_account(key)
    assert fresh.balance == fresh.initial_balance == 1000
    assert [(each.reserved, each.available) for each in fresh.balances] == [(0, 1000)]
    assert client.get_order(resting.order_id).status == "CANCELED"
    assert [each.quantity for each in client.get_positions(account_id=key).items] == [0]
    assert client.reset_account(key) == client.get_account(key)
    _check_statement(client, key)
    for nobody in (NOBODY, "00000000-0000-7000-8000-000000000001"):
        with pytest.raises(NotFound):
            client.get_account(nobody)
        with pytest.raises(NotFound):
            client.get_transfers(nobody)
    with pytest.raises(NotFound):
        client.get_position_transfers(NOBODY)


def _check_statement(client: StrictClient, key: UUID) -> None:
    """The lists of an account give all its money: they could not be had, so that a reset looked like money from nowhere."""
    lines, after = [], None
    while True:
        page = client.get_transfers(key, after=after, limit=2)
        lines += page.items
        if page.next is None:
            break
        after = page.next
    assert [(each.number, each.reason) for each in lines] == [
        (4, "RESET"), (3, "TRANSFER"), (2, "TRANSFER"), (1, "TRANSFER")
    ]  # fmt: skip
    assert [each.amount for each in lines[1:]] == [-300, Decimal("-0.25"), Decimal("500.25")]
    assert {each.currency for each in lines} == {"USDT"}
    assert sum(each.amount for each in lines) == client.get_account(key).transferred
    (position,) = client.get_positions(account_id=key).items
    (closing,) = client.get_position_transfers(position.position_id).items
    assert (closing.side, closing.quantity) == ("SELL", Decimal("0.02"))
    fills = client.get_trades(account_id=key).items
    paid = sum((each.price * each.amount + each.fee for each in fills), Decimal(0))
    assert sum(each.amount for each in fills) == closing.quantity
    # The balance is the first one again, so that the reset brought back what buying and the reset's closing lost.
    assert lines[0].amount == 1000 - (1200 - paid + closing.price * closing.quantity)


def test_life_of_a_strategy_on_a_market(client: StrictClient) -> None:
    pair = client.add_pair("QUOTED-USDT", "QUOTED", "USDT", tick_size="0.01", lot_size="0.001", initial_price="100")
    (session,) = [each for each in client.get_sessions().items if each.pair_id == pair.pair_id]
    wanted = {"half_spread_ticks": 2, "order_lots": 1000, "max_inventory_lots": 50_000, "interval_ns": 100_000_000}
    strategy = client.add_strategy("quoter", "inventory_skew", pair.pair_id, wanted).strategy_id
    begun = client.run_strategy(strategy)
    assert (begun.state, begun.kind, begun.parameters["order_lots"]) == ("RUNNING", "inventory_skew", 1000)
    with pytest.raises(Conflict, match="runs for account"):
        client.run_strategy(strategy)
    other = client.run_strategy(strategy, account_id=client.add_account("second quoter").account_id)
    client.change_session(session.session_id, speed=20)
    traded = until(
        lambda: (found := client.get_strategy_run(begun.run_id)).fills > 3 and found.markouts[0].fills and found
    )
    assert traded.pnl.spread + traded.pnl.inventory - traded.pnl.fees == traded.pnl.net
    assert traded.maker_fills == traded.fills
    assert traded.turnover > 0
    until(
        lambda: (
            (found := client.get_strategy_run(begun.run_id).quotes).bid
            and found.ask
            and found.bid.price < found.ask.price
        )
    )
    mine = client.get_orders(strategy_id=strategy, is_open=True).items
    assert {order.post_only for order in mine} == {True}
    client.change_session(session.session_id, speed=1)
    stopped = client.stop_strategy(begun.run_id)
    assert (stopped.state, stopped.error) == ("STOPPED", None)
    with pytest.raises(Conflict, match="STOPPED"):
        client.stop_strategy(begun.run_id)
    orders = lambda: [each for each in client.get_orders(strategy_id=strategy, is_open=True).items  # noqa: E731
                      if each.account_id == begun.account_id]  # fmt: skip
    until(lambda: not orders())
    assert (
        until(lambda: (found := client.get_strategy_run(begun.run_id)).open_orders == 0 and found).wakes
        == stopped.wakes
    )
    assert {each.run_id for each in client.get_strategy_runs(strategy_id=strategy).items} == {
        begun.run_id,
        other.run_id,
    }
    client.change_session(session.session_id, state="STOPPED")
    ended = client.get_strategy_run(other.run_id)
    assert (ended.state, ended.error) == ("STOPPED", "the session was stopped")
    with pytest.raises(Conflict, match="sessions"):
        client.run_strategy(strategy)
    with pytest.raises(NotFound):
        client.get_strategy_run(NOBODY)
    with pytest.raises(NotFound):
        client.run_strategy(NOBODY)


def test_tape_and_candles_tell_the_same_trades(client: StrictClient) -> None:
    pair = client.add_pair("TAPED-USDT", "TAPED", "USDT", tick_size="0.01", lot_size="0.001", initial_price="100")
    (session,) = [each for each in client.get_sessions().items if each.pair_id == pair.pair_id]
    until(lambda: len(client.get_tape(pair.pair_id).items) > 5)
    client.execute_trade(pair.pair_id, "BUY", "100", "1.5")
    client.change_session(session.session_id, state="PAUSED")
    trades = client.get_tape(pair.pair_id, limit=1000).items
    assert [each.ts for each in trades] == sorted((each.ts for each in trades), reverse=True)
    assert "BUY" in {each.side for each in trades}  # not the last of all: the market goes on until it is paused
    seconds = client.get_live_bars(pair.pair_id, limit=1000).items
    (hour,) = client.get_live_bars(pair.pair_id, "1h").items[-1:]
    inside = [each for each in trades if int(each.ts) >= int(hour.ts)]
    assert (hour.open, hour.close) == (inside[-1].price, inside[0].price)
    assert (hour.high, hour.low) == (max(each.price for each in inside), min(each.price for each in inside))
    assert hour.volume == sum(each.amount for each in inside)
    assert hour.buy_volume == sum(each.amount for each in inside if each.side == "BUY") >= Decimal("1.5")
    assert (sum(bar.volume for bar in seconds), sum(bar.trades for bar in seconds)) == (
        sum(each.amount for each in trades), len(trades),
    )  # fmt: skip
    assert client.get_tape(pair.pair_id, limit=2).items == trades[:2]
    assert client.get_live_bars(pair.pair_id, limit=1).items == seconds[-1:]
    for wrong in ("500ms", "1500ms", "2h", "0s"):
        with pytest.raises(InvalidRequest, match="interval"):
            client.get_live_bars(pair.pair_id, wrong)
    client.change_session(session.session_id, state="STOPPED")
    with pytest.raises(Conflict, match="no simulated market"):
        client.get_tape(pair.pair_id)


def test_realism_of_a_running_market(client: StrictClient) -> None:
    pair = client.add_pair("REAL-USDT", "REAL", "USDT", tick_size="0.01", lot_size="0.001", initial_price="100")
    (session,) = [each for each in client.get_sessions().items if each.pair_id == pair.pair_id]
    client.change_session(session.session_id, recording=True)
    client.change_session(session.session_id, state="PAUSED")
    client.change_session(session.session_id, step="60s")
    client.place_order(pair.pair_id, "BUY", 1, 90)
    for _ in range(4):
        client.change_session(session.session_id, step="60s")
    found = client.get_realism(pair.pair_id)
    assert {metric["number"] for metric in found.market["metrics"]} == set(range(1, 21))
    assert 100e9 < int(found.market["end_ts"]) - int(found.market["start_ts"]) < 320e9
    short = client.get_realism(pair.pair_id, window="1s").market
    assert (short["start_ts"], short["end_ts"]) > (found.market["start_ts"], found.market["start_ts"])
    assert found.market["trades"] > 50
    spread = next(metric for metric in found.market["metrics"] if metric["key"] == "spread")
    assert spread["figures"]["mean"]["value"] > 0
    gauge = rf'simulation_quality{{measure="spread",pair="{pair.symbol}"}} ([0-9.e+]+)'
    assert float(re.search(gauge, client.get_metrics()).group(1)) == pytest.approx(spread["figures"]["mean"]["value"])
    assert (found.reference, found.scores) == (None, None)
    client.change_session(session.session_id, recording=False)
    day = format_instant(time.time_ns())[:10]
    same = client.get_realism(pair.pair_id, reference_pair_id=pair.pair_id, reference_start=day, reference_end=day)
    assert 0 <= same.scores["mean_l1"] <= 1
    assert "score_l1" in client.get_metrics()
    recorded = client.get_realism(pair.pair_id, start=day, end=day)
    assert recorded.market["quotes"] > 4  # A recording sees the book once a commit.
    with pytest.raises(InvalidRequest, match="reference_start"):
        client.get_realism(pair.pair_id, reference_pair_id=pair.pair_id)
    with pytest.raises(DataError):
        client.get_realism(pair.pair_id, start="2001-01-01", end="2001-01-02")
    client.change_session(session.session_id, state="STOPPED")
    with pytest.raises(Conflict, match="no simulated market"):
        client.get_realism(pair.pair_id)
    with pytest.raises(NotFound):
        client.get_realism(NOBODY)


def test_life_of_a_position(client: StrictClient) -> None:
    account = client.add_account("holder", "100000 USDT").account_id
    opened = client.open_position(DEFAULT_PAIR, quantity="-0.5", average_price="50000", account_id=account)
    assert (opened.quantity, opened.average_price) == (Decimal("-0.5"), 50000)
    same = client.open_position(DEFAULT_PAIR, quantity="-0.5", average_price="50000", account_id=account)
    assert same.position_id == opened.position_id
    changed = client.update_position(opened.position_id, "0.25", average_price="40000", version=opened.version)
    assert (changed.quantity, changed.average_price, changed.realised_pnl) == (Decimal("0.25"), 40000, 5000)
    with pytest.raises(Conflict, match="version"):
        client.update_position(opened.position_id, 0, version=opened.version)
    assert client.get_positions(account_id=account).items[0].position_id == opened.position_id
    with pytest.raises(InvalidRequest) as caught:
        client.update_position(opened.position_id, "0.000001")
    assert caught.value.errors[0].field == "quantity"


def test_a_pair_is_corrected(client: StrictClient, service: ServiceProcess) -> None:
    pair = client.add_pair(
        "XBTUSD",
        "XBT",
        "USD",
        tick_size="0.5",
        lot_size="100",
        venue="bitmex",
        contract_type="INVERSE",
        taker_fee="0.00075",
    )
    assert (pair.contract_type, pair.contract_multiplier, pair.is_simulated) == ("INVERSE", 1, False)
    changed = client.change_pair(pair.pair_id, maker_fee="-0.00025", contract_multiplier=10)
    assert (changed.maker_fee, changed.taker_fee, changed.contract_multiplier) == (
        Decimal("-0.00025"), Decimal("0.00075"), 10,
    )  # fmt: skip
    (line,) = client.get_pair_changes(pair.pair_id).items
    assert line.changes == {
        "maker_fee": {"from": "0", "to": "-0.00025"}, "contract_multiplier": {"from": "1", "to": "10"},
    }  # fmt: skip
    assert line.correlation_id
    with pytest.raises(InvalidRequest, match="at least one of maker_fee, taker_fee"):
        client.change_pair(pair.pair_id)
    with pytest.raises(InvalidRequest, match="initial_price: 5"):
        client.add_pair(
            "X", "XBT", "USD", tick_size="0.5", lot_size="100", contract_type="INVERSE", initial_price="5"
        )  # fmt: skip
    with pytest.raises(InvalidRequest, match=r"pair_id.*a SPOT or LINEAR pair"):
        client.start_session(pair.pair_id, initial_price="50000")
    with pytest.raises(
        Conflict, match=r"maker_fee of simulator/BTC-USDT cannot be changed: a simulated market of it runs"
    ):
        client.change_pair(DEFAULT_PAIR, maker_fee="0.001")
    # 100 contracts of 10 USD, held at 50,000: 0.02 coins; entered by hand, told in coins.
    account = client.add_account("inverse holder").account_id
    held = client.open_position(pair.pair_id, quantity="100", average_price="50000", account_id=account)
    assert (held.currency, held.average_price) == ("XBT", 50_000)
    sold = client.update_position(held.position_id, "0", average_price="40000")
    assert sold.realised_pnl == pytest.approx(Decimal("0.02") - Decimal("0.025"), abs=Decimal("1e-9"))
    assert client.get_account(account).balance == client.get_account(account).initial_balance
    with pytest.raises(Conflict, match="contract_type of bitmex/XBTUSD cannot be changed: positions of accounts"):
        client.change_pair(pair.pair_id, contract_type="LINEAR")

    def command(*words: str) -> tuple[int, str]:
        settings = ["--set", f"database_url={service.dsn}", "--set", f"data_dir={service.folder}"]
        done = CliRunner().invoke(app, ["pair", *words, *settings])
        return done.exit_code, done.output + str(done.exception or "")

    code, text = command("change", "bitmex/XBTUSD", "--taker-fee", "0.0005")
    assert (code, "taker fee   0.0005" in text, "contract    INVERSE" in text) == (0, True, True)
    assert client.get_pair(pair.pair_id).taker_fee == Decimal("0.0005")  # the service sees what the command did
    by = client.get_pair_changes(pair.pair_id).items[0].by
    assert by == f"user {pwd.getpwuid(os.getuid()).pw_name}"
    assert f"taker_fee: 0.00075 -> 0.0005 by {by}" in command("show", "bitmex/XBTUSD")[1]
    assert "maker_fee: 0 -> -0.00025" in command("show", str(pair.pair_id))[1]
    assert "bitmex/XBTUSD" in command("list")[1]
    assert "nothing is new" in command("change", "bitmex/XBTUSD", "--taker-fee", "0.0005")[1]
    for words, fault in (
        (("change", "bitmex/XBTUSD"), "at least one of --maker-fee"),
        (("change", "bitmex/XBTUSD", "--taker-fee", "x"), "a decimal number"),
        (("change", "bitmex/XBTUSD", "--contract-type", "FUTURE"), "SPOT, LINEAR, INVERSE"),
        (("change", "bitmex/NONE", "--taker-fee", "0"), "there is no pair bitmex/NONE"),
        (("show", "nobody"), "venue/symbol"),
    ):
        code, text = command(*words)
        assert (code != 0, fault in text) == (True, True), text


def test_risk_by_command(client: StrictClient, service: ServiceProcess, tmp_path: Path) -> None:
    position = client.open_position(
        DEFAULT_PAIR, quantity="0.3", account_id=client.add_account("by command").account_id
    )
    key, page = str(position.position_id), tmp_path / "risk.html"

    def command(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "market_maker", "risk", *words, "--url", f"http://127.0.0.1:{service.port}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, text = command("report", key, "--to", str(page))
    assert (code, "not been assessed" in text) == (2, True)
    until(lambda: _assessed(client, position.position_id))
    code, text = command("assess", key, "--confidence", "0.9", "--horizon", "5m")
    assert (code, text.startswith("VaR "), "at 0.9 over 5m (HISTORICAL" in text) == (0, True, True)
    assert command("report", key, "--to", str(page))[0] == 0
    assert "Risk of 0.3" in page.read_text("utf-8")
    code, text = command("stress", key, "--scenario", "crash=-0.5", "--loss", "100", "--scope", "ACCOUNT")
    assert (code, "crash" in text, "100.00000000 are lost by BTC -" in text) == (0, True, True)
    assert command("stress", key, "--scenario", "crash")[0] == 2
    code, text = command("test", key, "--window", "4999", "--confidence", "0.99")
    assert (code, "too few" in text) == (2, True)
    assert command("kill-switch", "perhaps", "--reason", "x")[0] == 2
    code, text = command("kill-switch", "engage", "--reason", "drill")
    assert (code, text.startswith("engaged for ALL; ")) == (0, True)
    assert client.get_kill_switches().engaged
    of_account = ("--scope", "ACCOUNT", "--scope-id", str(position.account_id), "--reason", "one of them")
    assert command("kill-switch", "engage", *of_account)[0] == 0
    held = command("states")[1]
    assert ("drill" in held, f"ACCOUNT {position.account_id}" in held) == (True, True)
    left = f"released for ALL; still engaged for ACCOUNT {position.account_id}\n"
    assert command("kill-switch", "release", "--reason", "drill is over") == (0, left)
    assert command("kill-switch", "release", *of_account) == (0, f"released for ACCOUNT {position.account_id}\n")


def test_limits_by_command(client: StrictClient, service: ServiceProcess) -> None:
    position = client.open_position(
        DEFAULT_PAIR, quantity="0.3", account_id=client.add_account("limits by command").account_id
    )

    def command(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["risk", *words], env={"MARKET_MAKER_URL": f"http://127.0.0.1:{service.port}"})
        return done.exit_code, done.output

    until(lambda: _assessed(client, position.position_id))
    of_position = ("--scope", "POSITION", "--scope-id", str(position.position_id))
    code, text = command("add-limit", "MAX_POSITION", "0.1", *of_position, "--on-breach", "HALT")
    (limit,) = [each for each in client.get_limits().items if each.scope_id == position.position_id]
    assert (code, text) == (0, f"limit {limit.limit_id}: MAX_POSITION 0.1 of POSITION {position.position_id}\n")
    client.assess_risk(position.position_id)
    listed = command("limits")[1]
    assert (str(limit.limit_id) in listed, "BREACHED" in listed, "HALTED" in listed) == (True, True, True)
    assert f"position {position.position_id} is above its limit of 0.1" in command("alerts", "--raised")[1]
    assert str(limit.limit_id) in command("states")[1]
    assert command("reset-limit", str(limit.limit_id)) == (0, f"limit {limit.limit_id}: OK, ACTIVE\n")
    assert command("remove-limit", str(limit.limit_id)) == (0, f"limit {limit.limit_id} is removed\n")
    trail = re.findall(r"\b(?:LIMIT_[A-Z]+|HOLD)\b", command("audit", "--last", "4")[1])
    assert trail == ["LIMIT_REMOVED", "LIMIT_RESET", "HOLD", "LIMIT_ADDED"]
    assert command("add-limit", "MAX_FUN", "1")[0] != 0


def test_assessment_by_every_method_and_scope(client: StrictClient) -> None:
    account = client.add_account("manager", "100000 USDT").account_id
    position = client.open_position(DEFAULT_PAIR, quantity="0.5", account_id=account)
    until(lambda: _assessed(client, position.position_id))
    wanted = until(lambda: (found := client.assess_risk(position.position_id)).observations >= 21 and found)
    assert (wanted.method, wanted.scope, wanted.convention) == ("HISTORICAL", "POSITION", "LOWER_QUANTILE")
    page = client.get_risk_report(position.position_id)
    assert "Risk of 0.5" in page
    assert "<svg" in page or "without a hole" in page
    fresh = client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=client.add_account("unassessed").account_id)
    with pytest.raises(Conflict, match="not been assessed"):
        client.get_risk_report(fresh.position_id)
    assert wanted.scaling_rule == "SQUARE_ROOT"
    for method in ("AGE_WEIGHTED", "NORMAL", "EWMA", "MONTE_CARLO"):
        found = client.assess_risk(position.position_id, method=method, time_horizon="5m", confidence_level="0.9")
        assert (found.method, found.expected_shortfall > found.value_at_risk) == (method, True)
    with pytest.raises(DataError, match="are needed"):
        client.assess_risk(
            position.position_id, method="PEAKS_OVER_THRESHOLD", confidence_level="0.999999", time_horizon="10d"
        )
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.25", "30000", account_id=account, wait=True)
    second = client.open_position(
        DEFAULT_PAIR, quantity="-0.2", account_id=account,
        strategy_id=client.add_strategy("other", "inventory_skew", DEFAULT_PAIR).strategy_id,
    )  # fmt: skip
    both = client.assess_risk(position.position_id, scope="ACCOUNT")
    assert (both.positions, both.quantity) == (2, Decimal("0.5"))
    assert both.position_value == pytest.approx(Decimal("0.3") * both.mark_price)
    assert both.gross_value == pytest.approx(Decimal("0.7") * both.mark_price)
    parts = both.components["items"]
    assert {part["position_id"] for part in parts} == {str(position.position_id), str(second.position_id)}
    total = sum(Decimal(part["component_es"]) for part in parts)
    assert total == pytest.approx(both.expected_shortfall, abs=Decimal("1e-6")), "components add up to the whole"
    alone = client.assess_risk(position.position_id)
    assert Decimal(alone.worst_case["items"][0]["longest"]) == Decimal("0.75")
    assert Decimal(alone.liquidity["liquidity_adjusted_var"]) > alone.value_at_risk
    assert alone.liquidity["items"][0]["over_time"]["duration"]
    assert alone.margin["ratio"] > 1
    assert Decimal(alone.margin["equity"]) > 90_000
    assert alone.inventory["holding_time_from"] in ("TURNOVER", "HORIZON")
    down = {each["scenario"]: Decimal(each["loss"]) for each in alone.stress["fixed"]}
    assert down["DOWN_10"] == pytest.approx(alone.position_value / 10, rel=Decimal("1e-9"))
    assert down["CRASH"] > down["DOWN_30"]
    assert len(alone.stress["historical"]) >= 1
    assert alone.concentration["herfindahl"] == 1
    storm = client.stress_risk(
        position.position_id, scenarios=[{"name": "mine", "shock": -0.2}], loss="1000", norm="EUCLID", currency="USDT"
    )
    assert (alone.currency, storm.currency) == ("USDT", "USDT")
    assert Decimal(storm.fixed[0]["loss"]) == pytest.approx(alone.position_value / 5, rel=Decimal("0.05"))
    assert storm.reverse["moves"][0]["move"] == pytest.approx(-1000 / float(alone.position_value), rel=0.05)
    # What leaves the digits of an amount was answered with 500.
    for storms, field in (([{"name": "up", "shocks": {"BTC": 1e300}}], "scenarios[0].shocks[...]"),
                          ([{"name": "dry", "depth_factor": 1e-300}], "scenarios[0].depth_factor")):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            client.stress_risk(position.position_id, scenarios=storms)
        assert caught.value.errors[0].field == field
    with pytest.raises(InvalidRequest, match="at most 1E"):
        client.stress_risk(position.position_id, loss="1e59")
    client.cancel_order(order.order_id)
    for wrong, field in (({"confidence_level": "1"}, "confidence_level"), ({"time_horizon": "400d"}, "time_horizon"),
                         ({"scope": "STRATEGY"}, "scope"), ({"method": "GUESS"}, "method"),
                         ({"currency": "EUR"}, "currency")):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            client.assess_risk(position.position_id, **wrong)
        assert caught.value.errors[0].field == field
    with pytest.raises(NotFound):
        client.assess_risk(NOBODY)


def test_breach_raises_an_alert_and_its_end_clears_it(client: StrictClient) -> None:
    position = client.open_position(DEFAULT_PAIR, quantity=1, account_id=client.add_account("risky").account_id)
    until(lambda: _assessed(client, position.position_id))
    limit = client.add_limit("MAX_VAR", "0.01", scope="POSITION", scope_id=position.position_id)
    assert limit.state == "OK"
    client.assess_risk(position.position_id, risk_model="ExpectedShortfall", confidence_level="0.95", time_horizon="1d")
    (alert,) = [each for each in client.get_alerts(alert_state="RAISED").items if each.limit_id == limit.limit_id]
    assert (alert.severity, alert.kind, alert.position_id) == ("CRITICAL", "MAX_VAR", position.position_id)
    (breached,) = [each for each in client.get_limits().items if each.limit_id == limit.limit_id]
    assert breached.state == "BREACHED"
    client.update_position(position.position_id, 0)
    client.assess_risk(position.position_id)
    (cleared,) = [each for each in client.get_alerts(alert_state="CLEARED").items if each.limit_id == limit.limit_id]
    assert cleared.alert_id == alert.alert_id
    assert cleared.cleared_value == 0
    client.remove_limit(limit.limit_id)
    with pytest.raises(NotFound):
        client.remove_limit(limit.limit_id)


def _assessed(client: Client, position_id: UUID) -> bool:
    """Tell whether there is history enough by now."""
    try:
        client.assess_risk(position_id)
    except DataError:
        return False
    return True


# ---------------------------------------------------------------------- history, backtests, stream, operations


def test_bars_of_virtual_trading(client: StrictClient) -> None:
    start = format_instant(int(client.get_sessions().items[0].created_ts))
    bars = until(
        lambda: (found := client.get_bars(DEFAULT_PAIR, start, "2100-01-01T00:00:00Z", "200d").items) and found
    )
    assert len(bars) == 1
    assert bars[0].low <= bars[0].open <= bars[0].high
    with pytest.raises(DataError, match="bars"):
        client.get_bars(DEFAULT_PAIR, start, "2100-01-01", "1s")
    with pytest.raises(InvalidRequest) as caught:
        client.get_bars(DEFAULT_PAIR, start, start, "1s")
    assert caught.value.errors[0].field == "end"


def test_recording_backtest_result_analysis(client: StrictClient) -> None:
    (session,) = [each for each in client.get_sessions().items if str(each.pair_id) == DEFAULT_PAIR]
    assert client.change_session(session.session_id, recording=True).recording
    until(lambda: client.get_session(session.session_id).recorded_events > 300)
    assert not client.change_session(session.session_id, recording=False).recording
    days = client.get_catalogue(pair_id=DEFAULT_PAIR).items
    assert {day.kind for day in days} >= {"book"}
    start, end = (format_instant(int(edge)) for edge in (days[0].first_ts, days[-1].last_ts))
    strategy = client.add_strategy(
        "test",
        "inventory_skew",
        DEFAULT_PAIR,
        {"order_lots": 100, "max_inventory_lots": 1000, "interval_ns": 1_000_000},
    )
    runs = [
        client.run_backtest(strategy.strategy_id, start, end, entry_latency="10ms", balance="50000", allow_gaps=True)
        for _ in range(2)
    ]
    ended = [client.wait_for_run(run.run_id, 60) for run in runs]
    assert [(run.status, run.error, run.progress_percent) for run in ended] == [("COMPLETED", None, 100)] * 2
    results = client.get_backtest_results(strategy.strategy_id, limit=1)
    assert (results.items[0].run_id, results.next) == (runs[1].run_id, str(runs[1].run_id))
    older = client.get_backtest_results(strategy.strategy_id, after=results.next).items
    assert [result.digest for result in older] == [results.items[0].digest], "the same run again"
    assert client.get_run_result(runs[0].run_id)["summary"] == results.items[0].summary
    assert client.analyze_backtest_results([run.run_id for run in runs])
    assert ended[0].report == f"/api/v1/backtest/runs/{runs[0].run_id}/report"
    if (dashboard.BUILT / "report.html").is_file():
        assert str(runs[0].run_id) in client.get_run_report(runs[0].run_id)
    else:
        with pytest.raises(Unavailable, match="make setup"):
            client.get_run_report(runs[0].run_id)
    assert set(results.items[0].summary["band"]) == {"pessimistic", "queue", "optimistic"}
    assert client.get_trials(strategy.strategy_id).items == [], "a run is no trial of a sweep"
    story = client.explain_order(runs[0].run_id, 1)
    assert story["steps"][0]["what"] == "NEW_SENT"
    assert story["verdict"].startswith(("filled", "not filled"))
    with pytest.raises(NotFound, match="order"):
        client.explain_order(runs[0].run_id, 10**9)
    with pytest.raises(InvalidRequest, match="queue_model"):
        client.run_backtest(strategy.strategy_id, start, end, execution={"queue_model": "LUCKY"})
    _sweep_of(client, strategy.strategy_id, (start, end), entry_latency="10ms", balance="50000", allow_gaps=True)
    held = [
        each for each in client.get_positions(pair_id=DEFAULT_PAIR).items if each.strategy_id == strategy.strategy_id
    ]
    assert len(held) == 1
    with pytest.raises(Conflict, match="COMPLETED"):
        client.cancel_run(runs[0].run_id)
    with pytest.raises(NotFound) as caught:
        client.analyze_backtest_results([NOBODY])
    assert caught.value.errors[0].field == "run_id"


def _sweep_of(client: StrictClient, strategy_id: UUID, span: tuple[str, str], **options: Any) -> None:
    """Sweep two parameters, read it every way there is, and see that its first set is the run of that set alone."""
    grid = {"half_spread_ticks": {"from": 100, "to": 300, "step": 100}, "order_lots": [100, 50]}
    queued = client.run_sweep(strategy_id, *span, grid, **options)
    assert (queued.status, queued.total, queued.done) == ("PENDING", 6, 0)
    ended = client.wait_for_sweep(queued.sweep_id, 60)
    assert (ended.status, ended.error, ended.done, ended.progress_percent) == ("COMPLETED", None, 6, 100)
    assert ended.grid == {"half_spread_ticks": [100, 200, 300], "order_lots": [100, 50]}
    first = client.get_sweep_trials(queued.sweep_id, sort="number", limit=4)
    rest = client.get_sweep_trials(queued.sweep_id, sort="number", limit=4, after=first.next)
    trials = first.items + rest.items
    assert [(trial.number, trial.parameters["order_lots"]) for trial in trials] == [
        (0, 100), (1, 50), (2, 100), (3, 50), (4, 100), (5, 50),
    ]  # fmt: skip
    best = client.get_sweep_trials(queued.sweep_id).items
    assert best == ended.best
    assert best == sorted(trials, key=lambda trial: (-Decimal(trial.summary["net_pnl"]), trial.number))
    alone = client.add_strategy("alone", "inventory_skew", DEFAULT_PAIR, trials[0].parameters)
    run = client.wait_for_run(client.run_backtest(alone.strategy_id, *span, band=False, **options).run_id, 60)
    assert client.get_backtest_results(alone.strategy_id).items[0].digest == trials[0].digest, run
    assert client.get_sweeps(strategy_id=strategy_id).items == [client.get_sweeps(limit=1).items[0]]
    assert {trial.sweep_id for trial in client.get_trials(strategy_id).items} == {queued.sweep_id}
    assert client.get_sweep(queued.sweep_id) == ended
    with pytest.raises(Conflict, match="COMPLETED"):
        client.cancel_sweep(queued.sweep_id)
    for wrong in ({"order_lots": [0.5]}, {"order_lots": {"from": 2, "to": 1}}, {"lots": [1]}, {}):
        with pytest.raises(InvalidRequest, match="grid"):
            client.run_sweep(strategy_id, *span, wrong)


def test_import_of_a_file_in_the_inbox(client: StrictClient, service: ServiceProcess, sample_data: Path) -> None:
    inbox = service.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    with gzip.open(sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz") as whole:
        (inbox / "part.gz").write_bytes(gzip.compress(b"".join(islice(whole, 5000)), 1))
    queued = client.import_file("part.gz", {"offset_negative_latency": True})
    assert (queued.state, queued.source, queued.report) == ("PENDING", "part.gz", None)
    assert isinstance(client.last, httpx.Response)
    assert client.last.status_code == 202
    assert client.last.headers["location"] == f"/api/v1/market-data/imports/{queued.import_id}"
    ended = until(lambda: (found := client.get_import(queued.import_id)).finished_ts and found)
    assert (ended.state, ended.error, ended.verdict, ended.progress_percent) == ("COMPLETED", None, "WARN", 100)
    assert ended.report
    pair_id = ended.report["streams"][0]["pair_id"]
    assert client.get_pair(pair_id).symbol == "BTCUSDT"
    days = client.get_catalogue(pair_id=pair_id).items
    assert {day.kind for day in days} == {"bbo", "book"}
    last_ts = format_instant(int(next(day.last_ts for day in days if day.kind == "book")))
    book = client.get_recorded_book(pair_id, last_ts, depth=3)
    assert (len(book.bids), len(book.asks), format_instant(int(book.ts))) == (3, 3, last_ts)
    assert Decimal(book.bids[0].price) < Decimal(book.asks[0].price)
    with pytest.raises(DataError, match="recorded: 2024-08-08"):
        client.get_recorded_book(pair_id, "2024-08-09T12:00:00Z")
    # Measured anew from the lake, checksums included: what the import measured on the way in.
    tables = {item.table: item for item in client.get_quality(pair_id, first="2024-08-08", last="2024-08-08").items}
    measured = {
        day["day"]: day for stream in ended.report["streams"] for day in stream["days"] if "book" in day["tables"]
    }
    assert tables["book"].figures["messages"] == measured["2024-08-08"]["figures"]["messages"]
    assert {item.verdict for item in tables.values()} == {"WARN"}
    again = client.import_file("part.gz", {"offset_negative_latency": True})
    repeated = until(lambda: (found := client.get_import(again.import_id)).finished_ts and found)
    assert repeated.report
    assert (repeated.state, repeated.report["repeats"]) == ("COMPLETED", str(queued.import_id))
    newest = client.get_imports(limit=1)
    assert ([each.import_id for each in newest.items], newest.next) == ([again.import_id], again.import_id)
    assert client.get_imports(after=newest.next).items[0].import_id == queued.import_id


def test_import_that_cannot_be_done_says_why(client: StrictClient, service: ServiceProcess) -> None:
    inbox = service.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "nonsense.bin").write_bytes(bytes(range(256)))
    queued = client.import_file("nonsense.bin")
    ended = until(lambda: (found := client.get_import(queued.import_id)).finished_ts and found)
    assert (ended.state, ended.rows) == ("FAILED", 0)
    assert "no known format" in (ended.error or "")
    for options, field in (({"format": "x"}, "format"), ({"tick_size": "0"}, "tick_size")):
        with pytest.raises(InvalidRequest) as caught:
            client.import_file("nonsense.bin", options)
        assert caught.value.errors[0].field == field
    with pytest.raises(NotFound):
        client.get_import(NOBODY)


def test_every_endpoint_answers_as_described(client: StrictClient, http: httpx.Client) -> None:
    document = http.get("/openapi").json()
    client.get_pairs(), client.get_pair(DEFAULT_PAIR), client.get_accounts()
    client.add_account("everyone"), client.add_pair("ALL-USDT", "ALL", "USDT", tick_size="0.1", lot_size="1")
    client.get_strategies(), client.get_strategy(DEFAULT_STRATEGY)
    client.get_liveness(), client.get_metrics(), client.get_runs(strategy_id=DEFAULT_STRATEGY)
    queued = client.run_backtest(DEFAULT_STRATEGY, "2022-01-01", "2022-01-02")
    client.get_run(queued.run_id)
    assert client.get_health().state in ("ok", "degraded")
    assert http.get("/health").json().keys() == {"state", "checks"}
    test_wait_gives_the_outcome(client)
    test_paging_gives_every_row_once(client)
    test_given_trade_fills_what_rests(client)
    position = client.get_positions(limit=1).items[0]
    client.get_position(position.position_id), client.get_risk_metrics(position.position_id)
    apart = {  # other tests of this file, or of test_risk_control.py, call these with the same strict client
        "change_session", "start_session", "open_position", "update_position", "cancel_run", "get_run_result", "get_catalogue",
        "get_backtest_results", "analyze_backtest_results", "assess_risk", "get_limits", "add_limit", "remove_limit",
        "get_alerts", "get_bars", "import_file", "add_strategy", "get_sessions", "get_session", "get_order_book",
        "get_import", "get_imports", "get_recorded_book", "get_quality", "get_trials", "explain_order",
        "get_run_report", "amend_order", "run_sweep", "get_sweeps", "get_sweep", "cancel_sweep", "get_sweep_trials",
        "get_scenario_kinds", "get_custom_schema", "get_scenarios", "start_scenario", "stop_scenario",
        "get_account", "transfer", "reset_account", "get_transfers", "get_position_transfers",
        "run_strategy", "get_strategy_runs", "get_strategy_run", "stop_strategy", "get_tape", "get_live_bars",
        "get_realism",
        "stress_risk", "test_risk_models", "get_risk_model_tests", "reset_limit", "get_risk_states", "get_kill_switches",
        "set_kill_switch", "get_risk_audit", "get_risk_report", "change_pair", "get_pair_changes",
    }  # fmt: skip
    beside = Path(__file__).with_name("test_risk_control.py")
    text = Path(__file__).read_text(encoding="utf-8") + beside.read_text(encoding="utf-8").replace("trader.", "client.")
    assert [name for name in apart if text.count(f"client.{name}(") < 1] == []
    documented = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert len(documented - client.asked - {("get", "/health")}) == len(apart)


def test_metrics_hold_every_monitoring_item_of_the_specification(client: StrictClient) -> None:
    client.place_order(DEFAULT_PAIR, "BUY", "0.001", wait=True)
    position = client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=client.add_account("watched").account_id)
    until(lambda: _assessed(client, position.position_id))
    client.wait_for_run(client.run_backtest(DEFAULT_STRATEGY, "2022-01-01", "2022-01-02").run_id, 30)
    wanted = {
        "simulated orders": r"simulated_orders_total [1-9]",
        "simulated trades": r"simulated_trades_total [1-9]",
        "virtual volume, simulation": r'virtual_volume_total{currency="USDT",mode="simulation"} [1-9]',
        "time of operations, simulation": r'operation_seconds_count{mode="simulation",operation="place_order"} [1-9]',
        "quality of the simulation": r'simulation_quality{[^}]*pair="BTC-USDT"[^}]*} ',
        "backtests": r'backtests_total{outcome="failed"} [1-9]',
        "virtual volume, backtest": r'virtual_volume_total{currency="USDT",mode="backtest"} ',
        "time of operations, backtest": r'operation_seconds_count{mode="backtest",operation="run"} [1-9]',
        "quality of backtests": r"# TYPE market_maker_backtest_quality gauge",
        "risk metrics": r'risk_metrics_total{risk_model="VaR"} [1-9]',
        "virtual volume, risk": r'virtual_volume_total{currency="USDT",mode="risk"} ',
        "time of operations, risk": r'operation_seconds_count{mode="risk",operation="assess"} [1-9]',
        "quality of risk figures": r'risk_quality{measure="coverage"} ',
        "memory": r"process_resident_memory_bytes [1-9]",
        "CPU": r"process_cpu_seconds_total [0-9]",
        "memory of workers": r"workers_resident_memory_bytes [1-9]",
        "how late the event loop is": r"event_loop_lag_seconds_count [1-9]",
        "markets brought up to date": r"book_update_seconds_count [1-9]",
        "connections": r'database_pool{state="size"} [1-9]',
        "health, though nobody asked": r'health_state{check="database"} 0',
        "version": r'build_info{version="[0-9]',
        "routes by their templates": r'http_requests_total{method="POST",route="/api/v1/simulator/orders",status="201"} [1-9]',
    }

    def missing() -> list[str]:
        text = client.get_metrics()
        return [name for name, pattern in wanted.items() if not re.search(pattern, text)]

    deadline = time.monotonic() + 5
    while missing() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert missing() == []


def test_stream_tells_an_order_whole_and_in_order(client: StrictClient) -> None:
    with client.stream(["simulator.order.*", "simulator.trade.#"], [DEFAULT_PAIR]) as stream:
        order = client.place_order(DEFAULT_PAIR, "BUY", "0.001")
        events: list[StreamEvent] = []
        books = 0
        while not (events and events[-1].type == "simulator.order.filled"):
            message = stream.receive(5)
            books += isinstance(message, StreamBook)
            if isinstance(message, StreamEvent) and message.aggregate_id == order.order_id:
                events.append(message)
    assert books
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].type == "simulator.order.received"
    with pytest.raises(InvalidRequest, match="topics"), client.stream(["NO"]) as stream:
        stream.receive(5)


def test_deltas_rebuild_the_book_and_the_tape_tells_public_trades(client: StrictClient) -> None:
    twin, seen, trades = BookTwin(), 0, []
    with client.stream([], deltas=[DEFAULT_PAIR], trades=[DEFAULT_PAIR]) as stream:
        order = client.place_order(DEFAULT_PAIR, "BUY", "0.123", "30003", wait=True)
        iceberg = client.place_order(DEFAULT_PAIR, "BUY", "0.5", "30004", display_amount="0.1", wait=True)
        deadline, equal = time.monotonic() + 30, 0
        while equal < 3 or not trades:
            assert time.monotonic() < deadline
            message = stream.receive(5)
            if isinstance(message, StreamTrades):
                trades += message.trades
                continue
            assert isinstance(message, StreamDelta)
            assert (message.type == "simulator.book.snapshot") == (seen == 0)
            twin.apply(message)
            seen += 1
            book = client.get_order_book(DEFAULT_PAIR, 1000)
            if book.sequence == twin.book_sequence:  # the market has not gone on between the two
                equal += 1
                assert twin.bids == {level.price: level.quantity for level in book.bids}
                assert twin.asks == {level.price: level.quantity for level in book.asks}
                assert twin.best == (book.bids[0].price, book.asks[0].price)
        assert twin.bids[Decimal(30003)] == Decimal("0.123")
        assert twin.bids[Decimal(30004)] == Decimal("0.1")
        known = {each.trade_id for each in trades}
        bought = client.place_order(DEFAULT_PAIR, "BUY", "0.001", wait=True)
        ours = {fill.trade_id for fill in client.get_trades(order_id=bought.order_id).items}
        while not ours <= known:
            message = stream.receive(5)
            if isinstance(message, StreamTrades):
                known |= {each.trade_id for each in message.trades}
    for each in (order, iceberg):
        client.cancel_order(each.order_id)
    with pytest.raises(InvalidRequest, match="no pair"), client.stream([], deltas=[NOBODY]) as stream:
        stream.receive(5)


def test_orders_of_an_account_are_canceled_when_its_stream_ends(client: StrictClient) -> None:
    account, other = client.add_account("gone").account_id, client.add_account("stays").account_id
    with client.stream(["backtest.#"], cancel_on_disconnect=account):
        placed = [
            client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000", account_id=each, wait=True)
            for each in (account, other)
        ]
        time.sleep(0.3)
        assert client.get_order(placed[0].order_id).status == "NEW"
    until(lambda: client.get_order(placed[0].order_id).status == "CANCELED")
    assert client.get_order(placed[1].order_id).status == "NEW"
    assert client.cancel_all_orders(account_id=other).cancel_requested == 1
    with pytest.raises(InvalidRequest, match="no account"), client.stream([], cancel_on_disconnect=NOBODY) as stream:
        stream.receive(5)


def test_a_filter_that_is_spelled_wrong_cancels_nothing(client: StrictClient, http: httpx.Client) -> None:
    """It was left out in silence, and the orders of all accounts were cancelled."""
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "30000", wait=True)
    answer = http.delete("/api/v1/simulator/orders", params={"acount_id": str(NOBODY)})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "acount_id")
    assert answer.json()["errors"][0]["allowed"] == "a known parameter: account_id, pair_id"
    assert not client.get_order(order.order_id).cancel_requested
    twice = http.get("/api/v1/simulator/orders?limit=1&limit=2")
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (400, "limit")
    client.cancel_order(order.order_id)
    session_id = client.get_sessions().items[0].session_id
    misspelt = http.delete(f"/api/v1/simulator/sessions/{session_id}/scenarios/x").json()
    assert [fault["field"] for fault in misspelt["errors"]] == ["scenario_id"]
    value = http.get("/api/v1/simulator/orders", params={"limit": 5000}).json()["errors"][0]["value"]
    assert value == "5000"
    address = stream_address(str(http.base_url).rstrip("/"), None, ["backtest.#"], [])
    with (
        pytest.raises(InvalidRequest, match="trade: "),
        Stream(replace(address, url=address.url + "&trade=x")) as stream,
    ):
        stream.receive(5)


def test_state_hash_is_told_when_it_is_asked_for(client: StrictClient) -> None:
    session = client.get_sessions().items[0]
    assert session.state_hash is None
    told = client.get_session(session.session_id, state_hash=True).state_hash
    assert told is not None
    assert len(told) == 64
    assert all(each.state_hash for each in client.get_sessions(state_hash=True).items)


async def test_stream_connects_again_and_says_so(service: ServiceProcess) -> None:
    async with (
        AsyncClient(f"http://127.0.0.1:{service.port}") as client,
        client.stream(["simulator.order.*"]) as stream,
    ):
        await client.place_order(DEFAULT_PAIR, "BUY", "0.001")
        assert isinstance(await stream.receive(), StreamEvent)
        service.kill()
        await service.start()
        async with asyncio.timeout(20):
            async for message in stream:
                if isinstance(message, Reconnected):
                    break
        assert message.reason
        placed = await client.place_order(DEFAULT_PAIR, "BUY", "0.001")
        async with asyncio.timeout(20):
            async for message in stream:
                if isinstance(message, StreamEvent) and message.aggregate_id == placed.order_id:
                    break
