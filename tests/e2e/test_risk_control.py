"""Every kind of limit driven to its warning and beyond through the API, holds and their reset, and the kill switch."""

# ruff: noqa: F401, F811  (fixtures are imported and then asked for by name)

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from decimal import ROUND_CEILING, Decimal
from typing import Any
from uuid import UUID

import pytest

from e2e.conftest import MakeService
from e2e.risk_service import TICK, account, alerts_of, client, is_assessed, paused, price_of, service, the_limit, until
from e2e.service_process import DEFAULT_PAIR
from market_maker.client import Client
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, LimitBreached, MarketMakerError, NotFound

# ---------------------------------------------------------------------- before an order


@pytest.mark.parametrize(
    ("kind", "threshold", "fine", "warning", "refused"),
    [
        # warning from 80 % on; the threshold itself is allowed, one lot more is not
        ("MAX_ORDER_SIZE", "0.001", "0.00079", "0.001", "0.00101"),
        ("MAX_ORDER_NOTIONAL", "20", "0.00079", "0.001", "0.00101"),  # at 20,000
        ("MAX_WORST_CASE_POSITION", "0.001", "0.00079", "0.00021", "0.00001"),  # the three rest together
        ("MAX_POSITION", "0.001", "0.00079", "0.001", "0.00101"),
        ("MAX_NOTIONAL", "20", "0.00079", "0.001", "0.00101"),
    ],
)
def test_quantity_to_the_lot(
    client: Client, account: UUID, kind: Any, threshold: str, fine: str, warning: str, refused: str
) -> None:
    limit = client.add_limit(kind, threshold, scope="ACCOUNT", scope_id=account)
    assert (limit.state, limit.value, limit.evaluated_ts) == ("OK", None, None)
    client.place_order(DEFAULT_PAIR, "BUY", fine, "20000", account_id=account)
    seen = the_limit(client, limit.limit_id)
    assert (seen.state, seen.evaluated_ts is not None) == ("OK", True)
    client.place_order(DEFAULT_PAIR, "BUY", warning, "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "WARN"
    assert the_limit(client, limit.limit_id).value == Decimal(threshold)
    with pytest.raises(LimitBreached, match=f"{kind}.*{limit.limit_id}"):
        client.place_order(DEFAULT_PAIR, "BUY", refused, "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "BREACHED"
    until(lambda: ("CRITICAL", "RAISED") in alerts_of(client, limit.limit_id))
    other = client.add_account(f"other-{time.time_ns()}", "1000000 USDT").account_id
    client.place_order(DEFAULT_PAIR, "BUY", "0.002", "20000", account_id=other)
    client.remove_limit(limit.limit_id)
    # What it has told stays on record, and nothing of it is open any more.
    assert {state for _, state in alerts_of(client, limit.limit_id)} == {"CLEARED"}
    client.place_order(DEFAULT_PAIR, "BUY", refused, "20000", account_id=account)


def test_price_collar_to_the_tick(client: Client, account: UUID) -> None:
    (session,) = [each for each in client.get_sessions().items if str(each.pair_id) == DEFAULT_PAIR]
    client.change_session(session.session_id, state="PAUSED")
    try:
        reference = price_of(client)
        share = Decimal("0.1")
        limit = client.add_limit("PRICE_COLLAR", share, scope="ACCOUNT", scope_id=account)
        lowest = reference * (1 - share)
        inside = lowest.quantize(TICK, ROUND_CEILING)
        client.place_order(
            DEFAULT_PAIR, "BUY", "0.001", str(reference * Decimal("0.95") // TICK * TICK), account_id=account
        )
        assert the_limit(client, limit.limit_id).state == "OK"
        client.place_order(DEFAULT_PAIR, "BUY", "0.001", str(inside), account_id=account)
        assert the_limit(client, limit.limit_id).state == "WARN"
        with pytest.raises(LimitBreached, match="PRICE_COLLAR"):
            client.place_order(DEFAULT_PAIR, "BUY", "0.001", str(inside - TICK), account_id=account)
        assert the_limit(client, limit.limit_id).state == "BREACHED"
    finally:
        client.change_session(session.session_id, state="RUNNING")


@pytest.mark.parametrize("kind", ["MAX_MESSAGE_RATE", "MAX_REPEATED_ORDERS"])
def test_rates(client: Client, account: UUID, kind: Any) -> None:
    limit = client.add_limit(kind, "5", scope="ACCOUNT", scope_id=account)
    states = []
    for number in range(6):
        price = "20000" if kind == "MAX_REPEATED_ORDERS" else str(20000 + number)
        if number < 5:
            client.place_order(DEFAULT_PAIR, "BUY", "0.001", price, account_id=account)
        else:
            with pytest.raises(LimitBreached, match=f"{kind} to 6, beyond the limit of 5"):
                client.place_order(DEFAULT_PAIR, "BUY", "0.001", price, account_id=account)
        states.append(the_limit(client, limit.limit_id).state)
    assert states == ["OK", "OK", "OK", "WARN", "WARN", "BREACHED"]
    if kind == "MAX_REPEATED_ORDERS":
        client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000.01", account_id=account)
    time.sleep(1.05)
    client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "OK"


def test_self_trade_to_the_lot(client: Client, account: UUID) -> None:
    client.place_order(DEFAULT_PAIR, "SELL", "0.001", "90000", account_id=account, wait=True)
    limit = client.add_limit("MAX_SELF_TRADE", "0.001", scope="ACCOUNT", scope_id=account)
    client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "OK", "it does not meet the sale"
    client.place_order(DEFAULT_PAIR, "BUY", "0.001", "90000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "WARN"
    client.place_order(DEFAULT_PAIR, "SELL", "0.00101", "90000", account_id=account, wait=True)
    with pytest.raises(LimitBreached, match="MAX_SELF_TRADE"):
        client.place_order(DEFAULT_PAIR, "BUY", "0.001", "90000", account_id=account)
    client.place_order(DEFAULT_PAIR, "BUY", "0.001", "89999.99", account_id=account)


def test_book_value_at_risk_after_the_order(client: Client, account: UUID, paused: Callable[[], None]) -> None:
    position = client.open_position(DEFAULT_PAIR, quantity="1", account_id=account)
    until(lambda: is_assessed(client, position.position_id))
    paused()
    one = client.assess_risk(position.position_id).value_at_risk
    limit = client.add_limit("MAX_BOOK_VAR", one * Decimal("1.5"), scope="ACCOUNT", scope_id=account)
    client.place_order(DEFAULT_PAIR, "BUY", "0.1", "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "OK", "1.1 of 1.5"
    client.place_order(DEFAULT_PAIR, "BUY", "0.3", "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "WARN", "1.3 of 1.5: what rests does not count"
    with pytest.raises(LimitBreached, match="MAX_BOOK_VAR"):
        client.place_order(DEFAULT_PAIR, "BUY", "3", "20000", account_id=account)
    assert the_limit(client, limit.limit_id).state == "BREACHED"
    client.place_order(DEFAULT_PAIR, "SELL", "0.5", "90000", account_id=account)


def test_amendment_is_an_order_too(client: Client, account: UUID) -> None:
    order = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000", account_id=account, wait=True)
    client.add_limit("MAX_ORDER_SIZE", "0.001", scope="ACCOUNT", scope_id=account)
    with pytest.raises(LimitBreached, match="MAX_ORDER_SIZE"):
        client.amend_order(order.order_id, amount="0.00101")
    assert client.amend_order(order.order_id, amount="0.0005", wait=True).amount == Decimal("0.0005")


# ---------------------------------------------------------------------- of an assessment


@pytest.mark.parametrize(
    "kind",
    ["MAX_VAR", "MAX_ES", "MAX_DRAWDOWN", "MAX_POSITION", "MAX_NOTIONAL", "MAX_LOSS", "MAX_CONCENTRATION"],
)
def test_figures_warn_and_breach(client: Client, account: UUID, paused: Callable[[], None], kind: Any) -> None:
    """The same limit as the position grows four times by four: 22 % of the threshold, 87 %, 348 % (of a share: 20, 50, 80 %)."""
    strategy = client.add_strategy(f"other {kind}", "fixed_spread", DEFAULT_PAIR).strategy_id
    price = str((price_of(client) * 2) // TICK * TICK)
    held = client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=account, average_price=price)
    client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=account, strategy_id=strategy)
    until(lambda: is_assessed(client, held.position_id))
    paused()
    far = client.add_limit(kind, "1e12", scope="POSITION", scope_id=held.position_id)
    assert (far.state, far.evaluated_ts) == ("OK", None)
    client.assess_risk(held.position_id)
    seen = the_limit(client, far.limit_id)
    assert seen.evaluated_ts is not None
    client.remove_limit(far.limit_id)
    threshold = Decimal("0.6") if kind == "MAX_CONCENTRATION" else seen.value * Decimal("1.15")
    client.update_position(held.position_id, "0.025", average_price=price)
    limit = client.add_limit(kind, f"{threshold:f}", scope="POSITION", scope_id=held.position_id)
    told = []
    for quantity in ("0.025", "0.1", "0.4"):
        client.update_position(held.position_id, quantity, average_price=price)
        client.assess_risk(held.position_id)
        now = the_limit(client, limit.limit_id)
        raised = [severity for severity, state in alerts_of(client, limit.limit_id) if state == "RAISED"]
        told.append((now.state, *raised))
    assert told == [("OK",), ("WARN", "WARNING"), ("BREACHED", "CRITICAL")]
    assert alerts_of(client, limit.limit_id) == [("WARNING", "CLEARED"), ("CRITICAL", "RAISED")]


def test_staleness_warns_and_breaches_as_time_goes_by(
    client: Client, account: UUID, paused: Callable[[], None]
) -> None:
    held = client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=account)
    until(lambda: is_assessed(client, held.position_id))
    limit = client.add_limit(
        "MAX_STALENESS", "3", scope="POSITION", scope_id=held.position_id, warn_share=Decimal("0.5")
    )
    client.assess_risk(held.position_id)
    assert the_limit(client, limit.limit_id).state == "OK"
    paused()

    def state() -> str:
        client.assess_risk(held.position_id)
        return str(the_limit(client, limit.limit_id).state)

    until(lambda: state() == "WARN")
    assert Decimal("1.5") <= the_limit(client, limit.limit_id).value <= 3
    assert alerts_of(client, limit.limit_id) == [("WARNING", "RAISED")]
    until(lambda: state() == "BREACHED")
    assert the_limit(client, limit.limit_id).value > 3
    assert alerts_of(client, limit.limit_id) == [("WARNING", "CLEARED"), ("CRITICAL", "RAISED")]


def test_breach_on_a_fill_halts_until_it_is_reset(client: Client, account: UUID) -> None:
    held = client.open_position(DEFAULT_PAIR, quantity="0.001", account_id=account)
    until(lambda: is_assessed(client, held.position_id))
    resting = client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000", account_id=account, wait=True)
    limit = client.add_limit("MAX_VAR", "0.000001", scope="ACCOUNT", scope_id=account, on_breach="HALT")
    client.place_order(DEFAULT_PAIR, "BUY", "0.01", account_id=account, wait=True)
    halted = until(lambda: [each for each in client.get_risk_states().items if each.limit_id == limit.limit_id])
    assert (halted[0].state, halted[0].scope, halted[0].scope_id) == ("HALTED", "ACCOUNT", account)
    ended = until(lambda: (order := client.get_order(resting.order_id)).status == "CANCELED" and order)
    assert ended.reject_reason == "KILL_SWITCH"
    with pytest.raises(Conflict, match="HALTED"):
        client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000", account_id=account)
    assert ("CRITICAL", "RAISED") in alerts_of(client, limit.limit_id)
    reset = client.reset_limit(limit.limit_id)
    assert (reset.state, reset.hold, reset.hold_ts) == ("OK", "ACTIVE", None)
    assert ("CRITICAL", "RAISED") not in alerts_of(client, limit.limit_id)
    client.place_order(DEFAULT_PAIR, "BUY", "0.001", "20000", account_id=account)
    actions = [
        each.action
        for each in client.get_risk_audit(limit=5).items
        if each.details.get("limit_id") == str(limit.limit_id)
    ]
    assert actions == ["LIMIT_RESET", "HOLD", "LIMIT_ADDED"]
    client.remove_limit(limit.limit_id)
    with pytest.raises(NotFound):
        client.reset_limit(limit.limit_id)


@pytest.mark.parametrize("kind", ["MAX_VAR", "MAX_ES"])
def test_a_question_by_other_terms_breaches_no_limit_and_clears_no_alert(
    client: Client, account: UUID, paused: Callable[[], None], kind: Any
) -> None:
    """Who asked what ten days may cost halted everything; who asked for a second cleared the alert."""
    held = client.open_position(DEFAULT_PAIR, quantity="0.01", account_id=account)
    until(lambda: is_assessed(client, held.position_id))
    paused()
    usual = client.assess_risk(held.position_id)
    value = usual.value_at_risk if kind == "MAX_VAR" else usual.expected_shortfall
    limit = client.add_limit(kind, f"{value * 2:f}", scope="POSITION", scope_id=held.position_id, on_breach="HALT")
    assert client.assess_risk(held.position_id, time_horizon="30d").value_at_risk > limit.threshold
    assert (the_limit(client, limit.limit_id).state, the_limit(client, limit.limit_id).hold) == ("OK", "ACTIVE")
    client.assess_risk(held.position_id, confidence_level="0.950", time_horizon="24h")
    assert the_limit(client, limit.limit_id).value == value
    client.remove_limit(limit.limit_id)
    lower = client.add_limit(kind, f"{value / 2:f}", scope="POSITION", scope_id=held.position_id)
    client.assess_risk(held.position_id)
    for question in ({"time_horizon": "10s"}, {"confidence_level": "0.5"}, {"method": "NORMAL", "time_horizon": "10s"}):
        client.assess_risk(held.position_id, **question)  # type: ignore[arg-type]
    assert alerts_of(client, lower.limit_id) == [("CRITICAL", "RAISED")]
    client.remove_limit(lower.limit_id)


def test_what_is_changed_without_a_fill_is_looked_at_at_once(client: Client, account: UUID) -> None:
    """By hand or by the reset of its account: the alert of a position that had been brought to zero stayed open."""
    held = client.open_position(DEFAULT_PAIR, quantity="0.01", account_id=account)
    until(lambda: is_assessed(client, held.position_id))
    limit = client.add_limit("MAX_POSITION", "0.001", scope="POSITION", scope_id=held.position_id)
    client.update_position(held.position_id, "0.02")
    until(lambda: alerts_of(client, limit.limit_id) == [("CRITICAL", "RAISED")])
    client.update_position(held.position_id, "0")
    until(lambda: alerts_of(client, limit.limit_id) == [("CRITICAL", "CLEARED")])
    client.update_position(held.position_id, "0.02")
    until(lambda: alerts_of(client, limit.limit_id)[1:] == [("CRITICAL", "RAISED")])
    client.reset_account(account)
    until(lambda: alerts_of(client, limit.limit_id)[1:] == [("CRITICAL", "CLEARED")])
    client.remove_limit(limit.limit_id)


def test_the_trail_tells_what_a_limit_was(client: Client, account: UUID) -> None:
    limit = client.add_limit("MAX_LOSS", "100", scope="ACCOUNT", scope_id=account, on_breach="HALT")
    client.remove_limit(limit.limit_id)
    removed, added = client.get_risk_audit(limit=2).items
    terms = {
        "limit_id": str(limit.limit_id), "kind": "MAX_LOSS", "scope": "ACCOUNT", "scope_id": str(account),
        "threshold": "100", "warn_share": "0.8", "on_breach": "HALT",
    }  # fmt: skip
    assert (added.action, {**added.details, **terms}) == ("LIMIT_ADDED", added.details)
    assert (removed.action, {**removed.details, **terms}) == ("LIMIT_REMOVED", removed.details)
    assert (removed.details["state"], removed.details["hold"]) == ("OK", "ACTIVE")


def test_reducing_takes_only_what_reduces(client: Client, account: UUID) -> None:
    held = client.open_position(DEFAULT_PAIR, quantity="0.01", account_id=account)
    until(lambda: is_assessed(client, held.position_id))
    limit = client.add_limit("MAX_POSITION", "0.001", scope="POSITION", scope_id=held.position_id, on_breach="REDUCE")
    client.assess_risk(held.position_id)
    assert the_limit(client, limit.limit_id).hold == "REDUCING"
    for side, amount in (("BUY", "0.001"), ("SELL", "0.01001")):
        with pytest.raises(LimitBreached, match="REDUCING"):
            client.place_order(DEFAULT_PAIR, side, amount, "90000" if side == "SELL" else "20000", account_id=account)  # type: ignore[arg-type]
    client.place_order(DEFAULT_PAIR, "SELL", "0.006", "90000", account_id=account)
    with pytest.raises(LimitBreached, match="REDUCING"):  # with the one that rests it would go through zero
        client.place_order(DEFAULT_PAIR, "SELL", "0.00401", "90000", account_id=account)
    client.place_order(DEFAULT_PAIR, "SELL", "0.004", "90000", account_id=account)
    client.remove_limit(limit.limit_id)


def test_wrong_limits_and_switches_are_refused(client: Client, account: UUID) -> None:
    for wrong, field in (
        ({"kind": "MAX_ORDER_SIZE", "threshold": "0"}, "threshold"),
        ({"kind": "MAX_ORDER_SIZE", "threshold": "1", "on_breach": "HALT"}, "on_breach"),
        ({"kind": "MAX_ORDER_SIZE", "threshold": "1", "scope": "PAIR"}, "scope_id"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            client.add_limit(**wrong)  # type: ignore[arg-type]
        assert caught.value.errors[0].field == field
    with pytest.raises(InvalidRequest):
        client.set_kill_switch(True, "x", scope="ACCOUNT")
    with pytest.raises(NotFound):
        client.set_kill_switch(False, "x", scope="ACCOUNT", scope_id=account)


# ---------------------------------------------------------------------- models


def test_models_judged_through_rest(client: Client, account: UUID) -> None:
    position = client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=account)
    until(lambda: is_assessed(client, position.position_id))
    until(lambda: client.assess_risk(position.position_id).observations >= 60, 40)

    def made() -> Any:
        """Judge by whichever interval the history has; None while there is too little without a hole."""
        for interval in ("100ms", None):
            with contextlib.suppress(DataError, InvalidRequest):
                return client.test_risk_models(
                    position.position_id, methods=["HISTORICAL", "NORMAL"], window=20, interval=interval
                )
        return None

    found = until(made, 60)
    assert [each["method"] for each in found.models] == ["HISTORICAL", "NORMAL"]
    normal = found.models[1]
    assert normal.get("reason") or {each["test"] for each in normal["judgements"]} >= {
        "proportion_of_failures",
        "duration",
    }
    assert client.get_risk_model_tests(position.position_id).items[0] == found
    with pytest.raises(DataError, match="too few for a window of 5000"):
        client.test_risk_models(position.position_id, window=5000)
    for confidence in ("0", "1"):  # 0 was once taken for none, and answered with the figures of the default
        with pytest.raises(InvalidRequest, match="confidence_level"):
            client.test_risk_models(position.position_id, window=20, confidence_level=confidence)
    with pytest.raises(InvalidRequest) as caught:
        client.test_risk_models(position.position_id, interval="1ms", window=20)
    assert caught.value.errors[0].field == "interval"


# ---------------------------------------------------------------------- kill switch


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


async def test_kill_switch_under_a_storm_and_over_a_restart(
    database_dsn: str, make_service: MakeService, opened: contextlib.ExitStack
) -> None:
    keys = {scope: f"planted-{scope}-key" for scope in ("trade", "admin")}
    hashed = ",".join(f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" for scope, key in keys.items())
    service = make_service(
        database_dsn, MM_API_KEYS=hashed, MM_SIMULATOR__EXECUTION_DELAY="5s", MM_BACKTEST__WORKERS="0"
    )
    await service.start()
    address = f"http://127.0.0.1:{service.port}"
    trader, admin = (opened.enter_context(Client(address, api_key=keys[scope])) for scope in ("trade", "admin"))

    def storm() -> tuple[int, float]:
        for number in range(150):
            trader.place_order(DEFAULT_PAIR, "BUY", "0.0001", str(20000 + number))
        started = time.monotonic()
        ended = trader.set_kill_switch(True, "fingers too fat").orders_ended
        return ended, time.monotonic() - started

    ended, seconds = await asyncio.to_thread(storm)
    assert ended == 150, "those that are still on their way too"
    assert seconds < 1.0
    assert not trader.get_orders(is_open=True).items
    with pytest.raises(Conflict, match=r"kill switch.*fingers too fat"):
        trader.place_order(DEFAULT_PAIR, "BUY", "0.0001", "20000")
    service.kill()
    await service.start()
    with pytest.raises(Conflict, match="fingers too fat"):
        await asyncio.to_thread(trader.place_order, DEFAULT_PAIR, "BUY", "0.0001", "20000")
    assert trader.get_kill_switches().engaged
    with pytest.raises(MarketMakerError, match="admin"):
        trader.set_kill_switch(False, "all is well")
    assert not admin.set_kill_switch(False, "looked into").engaged
    assert trader.place_order(DEFAULT_PAIR, "BUY", "0.0001", "20000").status == "PENDING_NEW"
    audit = [(each.action, each.details["by"]) for each in trader.get_risk_audit().items]
    names = {scope: f"{scope} {hashlib.sha256(key.encode()).hexdigest()[:12]}" for scope, key in keys.items()}
    assert audit == [("KILL_SWITCH_RELEASED", names["admin"]), ("KILL_SWITCH_ENGAGED", names["trade"])]
