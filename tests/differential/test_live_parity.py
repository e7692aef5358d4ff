"""A strategy live on a simulated exchange against the same strategy headless: one seed, the same orders and fills.

Equal are: every order with side, type, price and quantity; what happened to it, in its order and at its instant; every fill
with price, quantity, liquidity, fee and instant; inventory, fees and net result. The k-th order of one wake-up bears an instant
of creation that is k ns later than headless, as live every order has one of its own. Answers take no time in either. What
differs by design has tests below.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from differential.test_parity import (
    EVERYTHING,
    INTERVAL,
    PAIR,
    SECOND,
    SHIPPED,
    T0,
    config_of,
    kind_of,
    restless,
    taking,
)
from market_maker.backtest.state import Note
from market_maker.domain.errors import LimitBreached
from market_maker.domain.events import EventType
from market_maker.domain.modes import TestMode
from market_maker.domain.order import Liquidity
from market_maker.matching.book import TradingRules
from market_maker.montecarlo.engine import Simulation, SimulationConfig, play
from market_maker.simulator.exchange import LOOKS_MAX, SimulatedExchange, market_digest
from market_maker.simulator.session import Session
from market_maker.simulator.strategy_runs.live import LiveStrategy
from market_maker.simulator.strategy_runs.state import RUNNING, Progress, Run
from market_maker.strategies.actions import View, amend, place
from market_maker.strategies.contract import Parameter, find_strategy
from market_maker.venue.funds import AccountFunds
from market_maker.venue.market.market import SyntheticMarket
from market_maker.venue.venue import OWNERS_MAX

ACCOUNT, STRATEGY, RUN, SESSION = (UUID(int=(7 << 76) | (2 << 62) | number) for number in range(1, 5))
NOTES = {
    EventType.ORDER_RECEIVED: Note.NEW_SENT,
    EventType.ORDER_CANCEL_REQUESTED: Note.CANCEL_SENT,
    EventType.ORDER_AMEND_REQUESTED: Note.AMEND_SENT,
    EventType.ORDER_ACCEPTED: Note.RESTED,
    EventType.ORDER_AMENDED: Note.AMENDED,
    EventType.ORDER_FILLED: Note.FILLED,
    EventType.ORDER_CANCELED: Note.CANCELED,
    EventType.ORDER_EXPIRED: Note.EXPIRED,
    EventType.ORDER_REJECTED: Note.REJECTED,
    EventType.ORDER_AMEND_REFUSED: Note.REFUSED,
}
REQUESTS_MAX = 64


def an_exchange(config: SimulationConfig, simulation: Simulation) -> SimulatedExchange:
    """Return a live exchange with the market of a simulation that has not begun."""
    design = simulation.design
    market = SyntheticMarket.create(
        design, TradingRules(qty_lots_max=1 << 40, seed=design.seed), owners=OWNERS_MAX, warm_up_s=config.warm_up_s
    )
    market.set_conditions(config.conditions)
    session = Session(
        session_id=SESSION, pair_id=PAIR.pair_id, mode=TestMode.NORMAL, seed=design.seed, state="RUNNING",
        price_deviation=0.0001, execution_delay_ns=config.run.entry_latency_ns, market_update_interval_ns=SECOND,
        initial_price_ticks=design.price_ticks, created_ts=T0, updated_ts=T0,
    )  # fmt: skip
    return SimulatedExchange(PAIR, session, {ACCOUNT: AccountFunds(ACCOUNT, Decimal(10_000_000))}, market)


def a_run(kind: str) -> Run:
    return Run(
        run_id=RUN, strategy_id=STRATEGY, account_id=ACCOUNT, pair_id=PAIR.pair_id, session_id=SESSION, name="of a test",
        kind=kind, parameters={}, state=RUNNING, error="", started_ts=T0, ended_ts=0, updated_ts=T0, sequence=0,
    )  # fmt: skip


class Played:
    """What a live strategy did and met, advanced in steps of random length."""

    def __init__(self, config: SimulationConfig, strategy: Any, simulation: Simulation, chance: random.Random) -> None:
        self.exchange = an_exchange(config, simulation)
        self.live = LiveStrategy(a_run(strategy.kind.kind), strategy)
        self.live.begin(self.exchange)
        self.numbers: dict[UUID, int] = {}
        self.notes: list[tuple[int, int, int, str | None, str]] = []
        self.fills: list[tuple[int, ...]] = []
        ts, end = T0, config.run.end_ts - 1
        while ts < end:
            ts = min(end, ts + chance.choice([1_000_000, 37_000_000, 100_000_000, 2_500_000_000]))
            self.exchange.advance_to(ts)
            self._take()

    def _take(self) -> None:
        # Numbers of orders that have ended are gone: they are learnt in the order of their events.
        changes = self.exchange.take_changes()
        for order in changes.new_orders:
            self.numbers[order.order_id] = len(self.numbers) + 1
        for event in changes.events:
            if event.type in NOTES:
                number = self.numbers[event.data.order_id]
                self.notes.append((number, event.ts, NOTES[event.type], event.data.price, event.data.leaves_qty))
        self.fills += [
            (fill.ts, self.numbers[fill.order_id], int(fill.side), int(fill.liquidity), fill.price_ticks, fill.qty_lots,
             fill.fee_tick_lots)
            for fill in changes.fills
        ]  # fmt: skip


def headless_notes(result: Any) -> list[tuple[int, int, int]]:
    """Return (order, instant, note) of everything that happened."""
    rows = result.order_events.select("order_id", "ts", "note", "price_ticks", "leaves_lots").rows()
    return sorted(rows, key=lambda row: (row[0],))


def check_equal(result: Any, played: Played) -> None:
    """Fail unless orders, what happened to them and fills are the same."""
    names = ("exch_ts", "order_id", "side", "liquidity", "price_ticks", "qty_lots", "fee_tick_lots")
    assert played.fills == result.fills.select(names).rows()
    mine: dict[int, list[Any]] = {}
    for number, ts, note, price, leaves in played.notes:
        price_ticks = 0 if price is None else PAIR.price_to_ticks(Decimal(price))
        lots = 0 if note in {Note.CANCELED, Note.EXPIRED, Note.REJECTED} else PAIR.signed_lots(Decimal(leaves))
        mine.setdefault(number, []).append((note, price_ticks, lots, ts))
    theirs: dict[int, list[Any]] = {}
    for number, ts, note, price_ticks, leaves in headless_notes(result):
        lots = 0 if note in {Note.CANCELED, Note.EXPIRED, Note.REJECTED} else leaves
        theirs.setdefault(number, []).append((note, price_ticks, lots, ts))
    # What was still on its way at the end arrives headless, and not in a market that stands still.
    for number, story in theirs.items():
        found = mine[number]
        assert len(found) <= len(story)
        if len(found) < len(story):
            assert story[len(found)][3] >= played.exchange.last_ts
        for one, other in zip(found, story, strict=False):
            if one[0] not in {Note.AMEND_SENT, Note.REFUSED}:  # Told with the order as it is, headless with the wish.
                # Prices of fills are compared above: a note of one has the order's price here and the trade's there.
                assert one[0] == other[0], (number, one, other)
                assert one[0] == Note.FILLED or one[1:3] == other[1:3], (number, one, other)
            later = one[3] - other[3]
            assert later == 0 or (one[0] == Note.NEW_SENT and 0 < later < REQUESTS_MAX), (number, one, other)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("kind", "parameters"), SHIPPED, ids=[kind for kind, _ in SHIPPED])
def test_shipped_strategies_are_equal(kind: str, parameters: dict[str, float], seed: int) -> None:
    strategy = find_strategy(kind).prepare(parameters)
    config = config_of(kind, seconds=60, response_ns=0)
    simulation = Simulation(config, strategy, seed)
    played = Played(config, strategy, simulation, random.Random(seed))
    play(simulation)
    result = simulation.result()
    check_equal(result, played)
    score = played.live.run.progress.score
    assert score.fills == result.summary.fills > 0
    assert score.qty_lots == PAIR.signed_lots(result.summary.position)
    assert PAIR.cash_to_decimal(score.fees_tick_lots) == result.summary.fees
    assert PAIR.cash_to_decimal(score.net_half) / 2 == result.summary.net_pnl
    assert score.spread_half + score.inventory_half - 2 * score.fees_tick_lots == score.net_half


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("wakes", [EVERYTHING, ("book",), ("trade", "order"), ("interval",)])
def test_every_request_and_every_wake_up_is_equal(wakes: tuple[str, ...], is_compiled: bool, seed: int) -> None:
    strategy = kind_of(restless, "restless", wakes, is_compiled=is_compiled).prepare({"interval_ns": 130_000_000})
    config = config_of("restless", seconds=20, response_ns=0)
    simulation = Simulation(config, strategy, seed)
    played = Played(config, strategy, simulation, random.Random(seed))
    play(simulation)
    result = simulation.result()
    check_equal(result, played)
    assert played.live.run.state == RUNNING, played.live.run.error
    assert result.summary.fills > 0


def test_one_that_takes_is_equal() -> None:
    """Here both are the same market; a replay could not tell this."""
    strategy = kind_of(taking, "taking").prepare({"interval_ns": 100_000_000})
    config = config_of("taking", seconds=30, response_ns=0)
    simulation = Simulation(config, strategy, 3)
    played = Played(config, strategy, simulation, random.Random(3))
    play(simulation)
    check_equal(simulation.result(), played)
    assert len(played.fills) > 10
    assert {fill[3] for fill in played.fills} == {int(Liquidity.TAKER)}


def test_who_cannot_pay_is_refused_at_once_and_not_at_the_venue() -> None:
    """Live an order's worst case is reserved when it is accepted; a backtest asks when it arrives."""

    strategy = kind_of(too_much, "too_much", is_compiled=False).prepare({"interval_ns": 100_000_000})
    config = config_of("too_much", seconds=2, response_ns=0)
    simulation = Simulation(config, strategy, 1)
    played = Played(config, strategy, simulation, random.Random(1))
    play(simulation)
    told = simulation.result().order_events.select("ts", "note").rows()
    assert [(ts - T0, note) for ts, note in told] == [(100_000_000, Note.NEW_SENT), (110_000_000, Note.REJECTED)]
    assert [(ts - T0, note) for _, ts, note, _, _ in played.notes] == [(100_000_000, Note.REJECTED)]
    assert played.live.run.progress.rejected == 1
    assert "INSUFFICIENT_BALANCE" in played.live.run.progress.last_refusal


def too_much(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Ask once for more than the account has."""
    memory[0] += 1
    if memory[0] == 1:
        place(actions, 1, 0, 0, 1, view.best_bid_ticks, 2_000_000_000)


class Refusing:
    """A guard that lets two orders pass and no amendment."""

    active = True

    def __init__(self) -> None:
        self.passed = 0

    def check(self, wish: Any, venue: Any, ts: int) -> None:
        self.passed += 1
        if self.passed > 2:
            raise LimitBreached(f"order of {wish.qty_lots} lots at {wish.price_ticks}: a limit forbids it")

    def check_amended(self, order: Any, venue: Any, ts: int, *, price: int, lots: int, stop: int) -> None:
        raise LimitBreached("no amendment")


def test_limits_stand_before_the_orders_of_a_strategy() -> None:
    strategy = kind_of(restless, "restless", ("book",), is_compiled=False).prepare({})
    config = config_of("restless", seconds=20, response_ns=0)
    exchange = an_exchange(config, Simulation(config, strategy, 4))
    live = LiveStrategy(a_run("restless"), strategy, guard=Refusing())
    live.begin(exchange)
    for second in range(1, 20):
        exchange.advance_to(T0 + second * SECOND)
    changes = exchange.take_changes()
    assert len(changes.new_orders) == 2
    assert not any(event.type == EventType.ORDER_AMEND_REQUESTED for event in changes.events)
    progress = live.run.progress
    assert live.run.state == RUNNING
    assert progress.refused > 0
    assert "forbids" in progress.last_refusal or "no amendment" in progress.last_refusal


def test_a_restart_in_between_changes_nothing() -> None:
    """What is written with a commit is enough: memory, numbers, next wake-up; the market has its own test of this."""
    strategy = kind_of(restless, "restless", EVERYTHING, is_compiled=False).prepare({"interval_ns": 130_000_000})
    config = config_of("restless", seconds=20, response_ns=0)
    whole, cut = (an_exchange(config, Simulation(config, strategy, 5)) for _ in range(2))
    LiveStrategy(a_run("restless"), strategy).begin(whole)
    LiveStrategy(a_run("restless"), strategy).begin(cut)
    for second in range(1, 20):
        for exchange in (whole, cut):
            exchange.advance_to(T0 + second * SECOND)
            changes = exchange.take_changes()
        agent = cut.agents.pop()
        assert isinstance(agent, LiveStrategy)
        _, values = changes.statements[-1]
        run = agent.run
        run.progress = Progress.unpacked(json.loads(values[14]))
        memory = np.frombuffer(values[15]).copy()
        LiveStrategy(run, strategy, memory).begin(cut)
    assert market_digest(whole.market) == market_digest(cut.market)
    first, second = (exchange.agents[0].run.progress for exchange in (whole, cut))
    assert (first.wakes, first.placed, first.score) == (second.wakes, second.placed, second.score)
    assert first.score.fills > 0


def test_an_error_names_strategy_time_and_event_and_takes_its_orders_out() -> None:
    strategy = kind_of(breaking, "breaking", ("trade",), is_compiled=False).prepare({})
    config = config_of("breaking", seconds=20, response_ns=0)
    played = Played(config, strategy, Simulation(config, strategy, 2), random.Random(2))
    run = played.live.run
    assert run.state == "FAILED"
    assert "of a test (breaking) at 2023-11-14T22:13" in run.error
    assert "woken by trade" in run.error
    assert "ZeroDivisionError" in run.error
    assert not played.exchange.venue.orders
    assert played.exchange.agents == []


def breaking(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Quote far away, then fail."""
    memory[0] += 1
    if memory[0] == 1:
        place(actions, 1, 0, 0, 1, view.best_bid_ticks - 500, 5)
    if memory[0] == 3:
        raise ZeroDivisionError("a mistake")


@pytest.mark.parametrize(("wrong", "words"), [
    ({"side": 2}, "side 2"), ({"qty_lots": 0}, "0 lots"), ({"price_ticks": 0}, "price of 0 ticks"),
])  # fmt: skip
def test_a_request_that_makes_no_sense_ends_the_strategy(wrong: dict[str, int], words: str) -> None:
    strategy = replace(kind_of(senseless, "senseless", is_compiled=False), parameters=(INTERVAL, *WRONG)).prepare(wrong)
    config = config_of("senseless", seconds=1, response_ns=0)
    played = Played(config, strategy, Simulation(config, strategy, 2), random.Random(2))
    assert played.live.run.state == "FAILED"
    assert words in played.live.run.error


WRONG = [
    Parameter(name, "integer", default, -2, 10**9, "", "") for name, default in
    (("side", 1), ("price_ticks", 999_000), ("qty_lots", 1))
]  # fmt: skip


def senseless(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Ask for what the parameters say."""
    place(actions, int(params[1]), 0, 0, 0, int(params[2]), int(params[3]))


def test_one_that_is_woken_by_itself_for_ever_ends() -> None:
    strategy = kind_of(endless, "endless", ("interval", "order"), is_compiled=False).prepare({})
    config = config_of("endless", seconds=1, entry_ns=0, response_ns=0)
    played = Played(config, strategy, Simulation(config, strategy, 2), random.Random(2))
    assert played.live.run.state == "FAILED"
    assert "again and again" in played.live.run.error


def endless(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Change the one order at every answer."""
    if not len(view.orders):
        place(actions, 1, 0, 0, 1, view.best_bid_ticks - 500, 5)
    for order in view.orders:
        amend(actions, order["order_id"], order["price_ticks"] - 1, order["qty_lots"])


def restful(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Take once, and then do nothing any more."""
    memory[0] += 1
    if memory[0] == 1:
        place(actions, 1, 1, 1, 0, 0, 5)


def test_a_fill_is_marked_in_a_market_that_has_lost_a_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fill is compared with later is the last mid while there is none: nobody waits for a new one."""
    strategy = kind_of(restful, "restful", ("trade",), is_compiled=False).prepare({})
    config = config_of("restful", seconds=20, response_ns=0)
    exchange = an_exchange(config, Simulation(config, strategy, 4))
    live = LiveStrategy(a_run("restful"), strategy)
    live.begin(exchange)
    score = live.run.progress.score
    for second in range(1, 10):
        exchange.advance_to(T0 + second * SECOND)
        if score.fills:
            break
    assert any(horizon.waiting for horizon in score.horizons)
    mid_half, looks = score.mid_half, []
    monkeypatch.setattr("market_maker.simulator.strategy_runs.live.shown_levels", lambda *_: [])
    monkeypatch.setattr(live, "look", lambda each, look=live.look: looks.append(each) or look(each))
    exchange.advance_to(exchange.last_ts + 5 * SECOND)
    assert [horizon.fills for horizon in score.horizons if horizon.horizon_ns <= 5 * SECOND].count(0) == 0
    assert score.mid_half == mid_half
    assert len(looks) < LOOKS_MAX


class Restless:
    """An agent that always wants to look again at once."""

    watches = False

    def __init__(self) -> None:
        self.looks = 0

    def next_ts(self) -> int:
        return 0

    def look(self, exchange: SimulatedExchange) -> None:
        self.looks += 1


def test_an_agent_that_looks_too_often_does_not_hold_up_the_others() -> None:
    strategy = kind_of(restful, "restful", ("trade",), is_compiled=False).prepare({})
    config = config_of("restful", seconds=20, response_ns=0)
    exchange = an_exchange(config, Simulation(config, strategy, 4))
    agent = Restless()
    exchange.agents.append(agent)  # type: ignore[arg-type]
    exchange.advance_to(T0 + SECOND)
    assert agent.looks <= LOOKS_MAX + 1
    assert exchange.last_ts == T0 + SECOND
    assert exchange.market.clock_ts < T0 + SECOND


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_steps_of_any_length_give_the_same_orders_and_fills(speed: float) -> None:
    """Steps may be shorter than an order's way, and the clock may run as it likes between them."""

    def stepped(lengths: list[int]) -> tuple[Any, ...]:
        exchange = an_exchange(config, Simulation(config, strategy, 4))
        exchange.session.speed = speed
        live = LiveStrategy(a_run("restless"), strategy)
        live.begin(exchange)
        exchange.stand_still()
        clock, end, turn = T0, T0 + 10 * SECOND, 0
        while (left := end - exchange.market.clock_ts) > 0:
            clock += 10**6 + 7 * 10**7 * (turn % 3)
            exchange.step_by(min(left, lengths[turn % len(lengths)]), clock)
            turn += 1
        changes, progress = exchange.take_changes(), live.run.progress
        orders = [(each.side, each.price_ticks, each.qty_lots, each.status) for each in changes.new_orders]
        fills = [(fill.side, fill.price_ticks, fill.qty_lots, fill.liquidity) for fill in changes.fills]
        told = [(event.type, event.sequence) for event in changes.events]
        digest = market_digest(exchange.market)
        return orders, fills, told, digest, progress.wakes, progress.placed

    strategy = kind_of(restless, "restless", EVERYTHING, is_compiled=False).prepare({"interval_ns": 130_000_000})
    config = config_of("restless", seconds=20, response_ns=0)
    whole = stepped([10 * SECOND])
    assert whole[1]
    assert stepped([config.run.entry_latency_ns // 3]) == whole
    assert stepped([1_000_000, 370_000_000, 5_000_001]) == whole
