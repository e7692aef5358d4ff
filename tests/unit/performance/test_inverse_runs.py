"""The analysis of runs of an inverse contract, against a ledger in fractions that knows nothing of units or columns."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from market_maker.performance.attribution import MoneySplit
from market_maker.performance.markout import Mids
from market_maker.performance.run_report import RunAnalysis, RunInputs, analyse_run
from market_maker.performance.trading import OrderCounts
from performance_builders import BALANCE, COIN, SECOND, ledger_run

UNIT = Fraction(COIN.tick_lot)
"""1e-10 BTC, to which each value is rounded once."""
Event = tuple[int, int, int, int, int, int]


def random_events(rng: np.random.Generator, count: int) -> list[Event]:
    """Events (ts, side, price, contracts, fee, mid in half ticks) around a mid that walks from 30,000 USD on; side 0 a sample."""
    events, mid, held = [], 120_000, 0
    for k in range(count):
        mid += int(rng.integers(-40, 41))
        ts = k * SECOND + (SECOND // 2 if k % 3 == 1 else 0)
        if k % 3 == 1:
            side = -1 if held > 200 else 1 if held < -200 else int(rng.choice([-1, 1]))
            price, contracts = mid // 2 - side * int(rng.integers(-2, 6)), int(rng.integers(1, 60))
            held += side * contracts
            events.append((ts, side, price, contracts, int(rng.integers(-9_000, 30_000)), mid))
        else:
            events.append((ts, 0, 0, 0, 0, mid))
    return events


@dataclass(frozen=True, slots=True)
class Told:
    """What a book of contracts came to, in BTC."""

    net: Fraction
    spread_capture: Fraction
    inventory: Fraction
    fees: Fraction
    turnover: Fraction
    equity: list[Fraction]


def usd(half_ticks: int) -> Fraction:
    return Fraction(half_ticks, 2) * Fraction(COIN.tick_size)


def told_slowly(events: list[Event]) -> Told:
    """Each fill holds its contracts from its own price through every later mid: n x 100 x (1/p0 - 1/p1) in each step."""
    capture = inventory = fees = turnover = Fraction(0)
    contracts, last, equity = 0, usd(events[0][5]), []
    start = BALANCE * UNIT
    for _, side, price, many, fee, mid in events:
        now = usd(mid)
        inventory += contracts * 100 * (1 / last - 1 / now)
        last = now
        if side:
            paid = usd(2 * price)
            capture += side * many * 100 * (1 / paid - 1 / now)
            turnover += many * 100 / paid
            fees += fee * UNIT
            contracts += side * many
        else:
            equity.append(start + capture + inventory - fees)
    return Told(capture + inventory - fees, capture, inventory, fees, turnover, equity)


@pytest.fixture
def events(rng: np.random.Generator) -> list[Event]:
    return random_events(rng, 750)


@pytest.fixture
def analysis(events: list[Event]) -> RunAnalysis:
    samples, fills = ledger_run(events, COIN)
    fills = type(fills).of(
        {field.name: getattr(fills, field.name) for field in fields(fills) if getattr(fills, field.name) is not None}
        | {"cause": fills.qty_lots % 3, "queue_ahead_lots": fills.qty_lots % 7, "resting_ns": fills.qty_lots}
    )
    mids = Mids(np.array([each[0] for each in events]), np.array([each[5] for each in events]))
    inputs = RunInputs(cause_names={0: "a", 1: "b", 2: "c"}, latency_ns=20, mids=mids)
    orders = OrderCounts(fills.count, 0, 0, 0)
    return analyse_run(samples, fills, instrument=COIN, orders=orders, sample_interval_ns=SECOND, inputs=inputs)


def near(amount: Decimal, expected: Fraction, values: int) -> bool:
    """Whether an amount is right but for the rounding of so many values."""
    return abs(Fraction(amount) - expected) <= values * UNIT


def test_money_is_what_fractions_say(events: list[Event], analysis: RunAnalysis) -> None:
    told, fills = told_slowly(events), 250
    profit = analysis.profit
    assert abs(told.net) > 100 * UNIT * fills, "roundings are far below what is looked at"
    assert near(profit.net, told.net, fills + 1)
    assert near(profit.spread_capture, told.spread_capture, 2 * fills)
    assert near(profit.inventory, told.inventory, 2 * fills)
    assert Fraction(profit.fees - profit.rebates) == told.fees
    assert near(analysis.turnover, told.turnover, fills)
    assert near(analysis.final_equity, told.equity[-1], fills + 1)
    assert analysis.initial_balance == 1
    falls = [max(told.equity[: k + 1]) - value for k, value in enumerate(told.equity)]
    assert near(analysis.drawdowns[0].depth, max(falls), 2 * fills)
    assert profit.residual == 0


def test_every_table_adds_up_to_the_last_unit(analysis: RunAnalysis) -> None:
    regimes = analysis.regimes
    tables = (
        analysis.by_day, analysis.by_hour_of_day, regimes.volatility, regimes.trend, regimes.joint,
        analysis.fills_by_cause, analysis.fills_by_queue,
    )  # fmt: skip
    for rows in tables:
        assert rows is not None
        assert len(rows) > (0 if rows is analysis.by_day else 1)
        for field in fields(MoneySplit):
            parts = sum((getattr(row.profit, field.name) for row in rows), Decimal(0))
            assert parts == getattr(analysis.profit, field.name), field.name
        assert all(row.profit.residual == 0 for row in rows)


def test_ratios_are_those_of_equity_in_coins(events: list[Event], analysis: RunAnalysis) -> None:
    told, sharpe = told_slowly(events), analysis.returns.sharpe
    at = [each[0] for each in events if not each[1]]
    clock = [
        told.equity[max(k for k, ts in enumerate(at) if ts <= instant)]
        for instant in range(at[0], at[-1] + 1, sharpe.interval_ns)
    ]
    returns = [float(after / before - 1) for before, after in pairwise(clock)]
    expected = np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(sharpe.periods_per_year)
    assert sharpe.ratio == pytest.approx(expected, rel=1e-6)
    assert (analysis.currency, analysis.quote) == ("BTC", "USD")


def test_markouts_are_ticks_of_price_and_money_in_coins(events: list[Event], analysis: RunAnalysis) -> None:
    found = next(each for each in analysis.markouts if each.horizon_ns == SECOND)
    ticks, weight, coins = Fraction(0), 0, Fraction(0)
    for ts, side, price, many, _, _ in events:
        later = [mid for at, *_, mid in events if at <= ts + SECOND]
        if not side or ts + SECOND > events[-1][0]:
            continue
        ticks += side * many * (Fraction(later[-1], 2) - price)
        weight += many
        coins += side * many * 100 * (1 / usd(2 * price) - 1 / usd(later[-1]))
    assert found.mean.estimate == pytest.approx(float(ticks / weight))
    assert abs(found.half_tick_lots * UNIT / 2 - coins) <= found.fills * UNIT


def test_it_is_plain_json(analysis: RunAnalysis) -> None:
    values = json.loads(json.dumps(analysis.to_json(), allow_nan=False))
    assert values["currency"] == "BTC"
    assert Decimal(values["profit"]["net"]) == analysis.profit.net
