"""Limits of a pair, a strategy, an account and the whole book bound the sum of what they name, before orders and in assessments."""

# ruff: noqa: F401, F811  (fixtures are imported and then asked for by name)

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from e2e.risk_service import account, alerts_of, client, is_assessed, paused, price_of, service, the_limit, until
from e2e.service_process import DEFAULT_PAIR
from market_maker.client import Client
from market_maker.domain.errors import InvalidRequest, LimitBreached


@pytest.fixture
def strategies(client: Client) -> list[UUID]:
    """Two strategies, so that an account holds two positions in one pair."""
    return [client.add_strategy(f"one {time.time_ns()}", "fixed_spread", DEFAULT_PAIR).strategy_id for _ in range(2)]


@pytest.fixture
def other_pair(client: Client) -> UUID:
    name = f"X{time.time_ns()}"
    return client.add_pair(
        f"{name}-USDT", name, "USDT", tick_size="0.01", lot_size="0.00001", initial_price="20000"
    ).pair_id


def buy(client: Client, amount: str, account: UUID, strategy: UUID | None, pair: Any = DEFAULT_PAIR) -> Any:
    return client.place_order(pair, "BUY", amount, "20000", account_id=account, strategy_id=strategy)


def test_an_accounts_position_in_a_pair_is_net(client: Client, account: UUID, strategies: list[UUID]) -> None:
    held = client.open_position(DEFAULT_PAIR, quantity="0.006", account_id=account, strategy_id=strategies[0])
    limit = client.add_limit("MAX_POSITION", "0.01", scope="ACCOUNT", scope_id=account)
    buy(client, "0.002", account, strategies[1])
    assert (the_limit(client, limit.limit_id).value, the_limit(client, limit.limit_id).state) == (
        Decimal("0.008"),
        "WARN",
    )
    with pytest.raises(LimitBreached, match=r"MAX_POSITION to 0\.01001"):
        buy(client, "0.00401", account, strategies[1])
    client.update_position(held.position_id, "-0.006")
    buy(client, "0.016", account, strategies[1])
    with pytest.raises(LimitBreached, match=r"MAX_POSITION to 0\.01001"):
        buy(client, "0.01601", account, strategies[1])
    alone = client.add_limit("MAX_POSITION", "0.007", scope="STRATEGY", scope_id=strategies[0])
    with pytest.raises(LimitBreached, match=str(alone.limit_id)):
        client.place_order(DEFAULT_PAIR, "SELL", "0.002", "90000", account_id=account, strategy_id=strategies[0])


def test_worst_case_counts_what_rests_for_all_of_the_pair(
    client: Client, account: UUID, strategies: list[UUID], other_pair: UUID
) -> None:
    other = client.add_account(f"other-{time.time_ns()}", "1000000 USDT").account_id
    limit = client.add_limit("MAX_WORST_CASE_POSITION", "0.01", scope="PAIR", scope_id=other_pair)
    until(lambda: any(each.pair_id == other_pair for each in client.get_sessions().items))
    client.place_order(other_pair, "BUY", "0.006", "10000", account_id=account, strategy_id=None)
    client.place_order(other_pair, "BUY", "0.004", "10000", account_id=other)
    with pytest.raises(LimitBreached, match=str(limit.limit_id)):
        client.place_order(other_pair, "BUY", "0.00001", "10000", account_id=other)
    buy(client, "0.02", account, None)


def test_notional_of_an_account_is_gross_over_its_pairs(client: Client, account: UUID, other_pair: UUID) -> None:
    until(lambda: any(each.pair_id == other_pair for each in client.get_sessions().items))
    client.open_position(other_pair, quantity="-0.01", account_id=account)
    limit = client.add_limit("MAX_NOTIONAL", "400", scope="ACCOUNT", scope_id=account)
    buy(client, "0.001", account, None)
    seen = the_limit(client, limit.limit_id).value
    assert 215 < seen < 225, "0.01 at about 20,000 and 0.001 at 20,000"
    with pytest.raises(LimitBreached, match="MAX_NOTIONAL"):
        buy(client, "0.0112", account, None)
    buy(client, "0.009", account, None)


@pytest.mark.parametrize("scope", ["PAIR", "STRATEGY", "ACCOUNT", "BOOK"])
@pytest.mark.parametrize("kind", ["MAX_NOTIONAL", "MAX_VAR", "MAX_LOSS"])
def test_assessments_of_every_scope_are_held_against_its_limits(
    client: Client, account: UUID, strategies: list[UUID], paused: Callable[[], None], scope: Any, kind: Any
) -> None:
    """Two positions of 0.1 of one account, as large as each other: of strategy the sum is that of both accounts'."""
    price = str(price_of(client) * 2 // 1)
    second = client.add_account(f"second-{time.time_ns()}", "1000000 USDT").account_id
    one = client.open_position(
        DEFAULT_PAIR, quantity="0.1", account_id=account, strategy_id=strategies[0], average_price=price
    )
    two = client.open_position(
        DEFAULT_PAIR,
        quantity="0.1",
        account_id=second if scope == "STRATEGY" else account,
        strategy_id=strategies[0 if scope == "STRATEGY" else 1],
        average_price=price,
    )
    until(lambda: is_assessed(client, one.position_id, scope))
    paused()
    owner = {"PAIR": DEFAULT_PAIR, "STRATEGY": strategies[0], "ACCOUNT": account, "BOOK": None}[scope]
    limits = client.add_limit(kind, "1e12", scope="ALL" if scope == "BOOK" else scope, scope_id=owner)
    client.assess_risk(one.position_id)
    seen = the_limit(client, limits.limit_id).value  # None, or what the schedule has found of the sum meanwhile
    both = client.assess_risk(one.position_id, scope=scope)
    assert both.positions >= 2
    whole = the_limit(client, limits.limit_id).value
    assert seen is None or seen == pytest.approx(whole, rel=Decimal("1e-6")), "a position is not the sum"
    client.remove_limit(limits.limit_id)
    if scope in ("STRATEGY", "ACCOUNT"):
        alone = client.add_limit(kind, "1e12", scope="POSITION", scope_id=one.position_id)
        client.assess_risk(one.position_id)
        assert whole == pytest.approx(2 * the_limit(client, alone.limit_id).value, rel=Decimal("1e-6"))
        client.remove_limit(alone.limit_id)

    near = client.add_limit(kind, f"{whole * Decimal('1.1'):f}", scope=limits.scope, scope_id=owner)
    for position in (one, two):  # whoever shows it, it is one alert
        client.assess_risk(position.position_id, scope=scope)
    assert alerts_of(client, near.limit_id) == [("WARNING", "RAISED")]
    (alert,) = [each for each in client.get_alerts(limit=1000).items if each.limit_id == near.limit_id]
    assert (alert.scope, str(alert.scope_id)) == (limits.scope, str(owner))
    client.update_position(two.position_id, "20", average_price=price)
    client.assess_risk(two.position_id, scope=scope)
    assert alerts_of(client, near.limit_id) == [("WARNING", "CLEARED"), ("CRITICAL", "RAISED")]
    assert the_limit(client, near.limit_id).state == "BREACHED"
    client.remove_limit(near.limit_id)
    for position in (one, two):  # at what it cost, so that the next sum does not drown in this one
        client.update_position(position.position_id, "0", average_price=price)


def test_results_of_positions_that_are_flat_count_in_a_loss(
    client: Client, account: UUID, strategies: list[UUID], paused: Callable[[], None]
) -> None:
    price = price_of(client) // 1
    held = client.open_position(
        DEFAULT_PAIR, quantity="0.1", account_id=account, strategy_id=strategies[0], average_price=str(price * 2)
    )
    other = client.open_position(DEFAULT_PAIR, quantity="0.1", account_id=account, strategy_id=strategies[1])
    until(lambda: is_assessed(client, other.position_id))
    client.update_position(held.position_id, "0", average_price=str(price))
    paused()
    limit = client.add_limit("MAX_LOSS", "1e9", scope="ACCOUNT", scope_id=account)
    client.assess_risk(other.position_id, scope="ACCOUNT")
    lost = client.get_position(held.position_id).realised_pnl
    assert lost < 0
    assert the_limit(client, limit.limit_id).value >= -lost - 100


def test_a_fill_of_one_position_shows_the_breach_of_the_sum(
    client: Client, account: UUID, strategies: list[UUID]
) -> None:
    price = str(price_of(client) * 2 // 1)
    held = client.open_position(
        DEFAULT_PAIR, quantity="0.01", account_id=account, strategy_id=strategies[0], average_price=price
    )
    until(lambda: is_assessed(client, held.position_id))
    limit = client.add_limit("MAX_LOSS", "1", scope="ACCOUNT", scope_id=account, on_breach="REDUCE")
    placed = client.place_order(DEFAULT_PAIR, "BUY", "0.001", account_id=account, strategy_id=strategies[1], wait=True)
    assert placed.status in {"FILLED", "PENDING_NEW"}, placed
    # What cannot be assessed at the fill, for want of prices on a machine that is busy, is assessed by schedule.
    until(lambda: the_limit(client, limit.limit_id).state == "BREACHED", seconds=90)
    assert the_limit(client, limit.limit_id).hold == "REDUCING"
    with pytest.raises(LimitBreached, match="REDUCING"):
        buy(client, "0.001", account, strategies[1])


def test_a_strategys_sum_needs_a_strategy(client: Client, account: UUID) -> None:
    held = client.open_position(DEFAULT_PAIR, quantity="0.01", account_id=account)
    with pytest.raises(InvalidRequest, match="POSITION, PAIR, ACCOUNT or BOOK"):
        client.assess_risk(held.position_id, scope="STRATEGY")
