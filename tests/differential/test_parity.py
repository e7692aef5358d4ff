"""A simulated run against a backtest of what a recorder saw of it: the same orders, fills and samples, bit by bit.

The other side is the replay: its queues, fills and view come from the tape by rules of their own, it knows no matching engine.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.execution import Execution
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import OrderType, TimeInForce
from market_maker.matching.codes import SelfTrade
from market_maker.montecarlo.engine import Simulation, SimulationConfig, play
from market_maker.montecarlo.recording import feed_of_tape, frame_of_tape
from market_maker.strategies.actions import View, amend, cancel, place, place_until
from market_maker.strategies.contract import Parameter, StrategyKind, find_strategy
from market_maker.synthetic.flow.parameters import Conditions, ReferenceParameters, suited_design

T0 = 1_700_000_000_000_000_000
SECOND = 10**9
PAIR = Instrument(
    UUID(int=1), "synthetic", "A-B", "A", "B", Decimal("0.01"), Decimal("0.001"),
    maker_fee=Decimal("-0.0001"), taker_fee=Decimal("0.0004"),
)  # fmt: skip
INTERVAL = Parameter("interval_ns", "integer", 100_000_000, 1, 10**12, "ns", "between wake-ups")
GTC = int(TimeInForce.GTC)
LIMIT, MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)


def restless(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Use everything a maker can ask for: joins, improves, amends both ways, ends by time, cancels; woken by everything."""
    memory[0] += 1
    turn = int(memory[0])
    if view.best_bid_ticks == 0 or view.best_ask_ticks == 0:
        return
    room = view.best_ask_ticks - view.best_bid_ticks
    for order in view.orders:
        if order["status"] == 0 or order["cancel_pending"] or order["amend_pending"]:
            continue
        choice = (turn + int(order["order_id"])) % 7
        if choice == 0:
            cancel(actions, order["order_id"])
        elif choice == 1 and order["qty_lots"] > 2:
            amend(actions, order["order_id"], order["price_ticks"], order["qty_lots"] - 1)
        elif choice == 2:
            amend(actions, order["order_id"], order["price_ticks"] - order["side"], order["qty_lots"] + 3)
    if len(view.orders) < 6:
        side = 1 if turn % 2 else -1
        best = view.best_bid_ticks if side > 0 else view.best_ask_ticks
        step = turn % 3 if room > 8 else 0
        if turn % 5 == 0:
            place_until(actions, side, 1, best, 5, view.now_ts + 700_000_000)
        else:
            place(actions, side, LIMIT, GTC, 1, best + side * step, 8)


def taking(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Take one lot of the other side at every tenth wake-up."""
    memory[0] += 1
    if int(memory[0]) % 10 == 0:
        place(actions, 1 if int(memory[0]) % 20 else -1, MARKET, GTC, 0, 0, 3000)


def kind_of(
    function: Any, name: str, wakes: tuple[str, ...] = ("interval",), *, is_compiled: bool = True
) -> StrategyKind:
    """Return a strategy of this file."""
    source = f"{function.__module__}:{function.__name__}"
    return StrategyKind(name, "of a test", (INTERVAL,), source, 1, 3, wakes, is_compiled)


EVERYTHING = ("interval", "book", "trade", "order")
SHIPPED: list[tuple[str, dict[str, float]]] = [
    ("fixed_spread", {"bid_spread_bps": 0.5, "ask_spread_bps": 0.5, "order_lots": 500, "max_inventory_lots": 5000,
                      "order_levels": 3}),
    ("avellaneda_stoikov", {"order_lots": 200, "max_inventory_lots": 2000}),
    ("glft", {"order_lots": 200, "max_inventory_lots": 2000}),
    ("grid", {"order_lots": 50, "spacing_ticks": 80, "max_inventory_lots": 1000}),
    ("imbalance", {"order_lots": 20, "max_inventory_lots": 200}),
    ("inventory_skew", {"order_lots": 20, "max_inventory_lots": 200}),
]  # fmt: skip


def config_of(
    kind: str, *, seconds: int = 90, entry_ns: int = 10_000_000, response_ns: int = 5_000_000, **other: Any
) -> SimulationConfig:
    """Return a run of so many seconds; `execution` and fields of SimulationConfig as given."""
    reference = ReferenceParameters(price_deviation=0.0001)
    design = suited_design(price_ticks=1_000_000, lot_value_ticks=1e-5, reference=reference, start_ts=T0)
    run_config = RunConfig(
        PAIR, kind, T0, T0 + seconds * SECOND, entry_latency_ns=entry_ns, response_latency_ns=response_ns,
        balance=Decimal(10_000_000), records_orders=True, execution=other.pop("execution", Execution()),
    )  # fmt: skip
    return SimulationConfig(run_config, design, **other)


def both(config: SimulationConfig, strategy: Any, seed: int) -> tuple[Any, Any, Simulation]:
    """Return the simulated run, the backtest of its tape and the simulation."""
    simulation = Simulation(config, strategy, seed, records=True)
    play(simulation)
    plain = replace(config.run, seed=seed)
    return simulation.result(), run(plain, feed_of_tape(simulation), strategy), simulation


def check_equal(one: Any, other: Any) -> None:
    """Fail unless everything that a run yields is equal; says what differs first."""
    for name in ("order_events", "fills", "samples"):
        mine, replayed = getattr(one, name), getattr(other, name)
        if not mine.equals(replayed):
            pairs = zip(mine.iter_rows(), replayed.iter_rows(), strict=False)
            first = next((pair for pair in pairs if pair[0] != pair[1]), (mine.height, replayed.height))
            pytest.fail(f"{name}: {mine.columns}: {first}")
    assert one.summary == other.summary


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("kind", "parameters"), SHIPPED, ids=[kind for kind, _ in SHIPPED])
def test_shipped_strategies_are_equal(kind, parameters, seed):
    one, other, _ = both(config_of(kind), find_strategy(kind).prepare(parameters), seed)
    check_equal(one, other)
    assert one.summary.fills > 0
    assert one.reproducibility["taken_lots"] == one.reproducibility["own_meetings"] == 0


@pytest.mark.parametrize("seed", [4, 5, 6])
@pytest.mark.parametrize(("entry_ns", "response_ns", "wakes"), [
    (10_000_000, 5_000_000, EVERYTHING), (0, 250_000_000, EVERYTHING), (30_000_000, 0, EVERYTHING),
    # Woken by its own orders too, it would never let time pass.
    (0, 0, ("interval", "book", "trade")),
])  # fmt: skip
@pytest.mark.parametrize("is_compiled", [True, False])
def test_every_request_and_every_wake_up_is_equal(seed, entry_ns, response_ns, wakes, is_compiled):
    kind = kind_of(restless, "restless", wakes, is_compiled=is_compiled)
    config = config_of("restless", seconds=20, entry_ns=entry_ns, response_ns=response_ns)
    one, other, _ = both(config, kind.prepare({"interval_ns": 130_000_000}), seed)
    if one.reproducibility["own_meetings"] or one.reproducibility["taken_lots"]:
        pytest.skip("own orders met: outside of what a replay can tell")
    check_equal(one, other)
    assert one.summary.fills > 0
    assert one.summary.orders_canceled > 10


@pytest.mark.parametrize("conditions", [
    Conditions(activity=4.0, volatility=2.0), Conditions(limit=0.4, cancel=2.0, levels_max=5), Conditions(buy_bias=0.9),
    Conditions(distance_steps=4),
], ids=["burst", "thin", "one-sided", "wide"])  # fmt: skip
def test_conditions_change_nothing_about_it(conditions):
    strategy = find_strategy("inventory_skew").prepare({"order_lots": 500, "max_inventory_lots": 5000})
    one, other, _ = both(config_of("inventory_skew", seconds=60, conditions=conditions), strategy, 8)
    check_equal(one, other)
    assert one.summary.fills > 0


def test_own_impact_and_drawn_latencies_are_on_the_tape():
    """Impact moves the market, the market is recorded: the replay is told of no impact. Latencies come from the seed."""
    latency = {
        "model": "GAMMA",
        "entry": {"mean_ns": 20_000_000, "deviation_ns": 9_000_000},
        "response": {"mean_ns": 9_000_000, "deviation_ns": 2_000_000},
    }
    strategy = find_strategy("fixed_spread").prepare(SHIPPED[0][1])
    config = config_of("fixed_spread", execution=Execution(latency=latency, price_impact=0.001))
    simulation = Simulation(config, strategy, 9, records=True)
    play(simulation)
    one = simulation.result()
    plain = replace(config.run, seed=9, execution=Execution(latency=latency))
    other = run(plain, feed_of_tape(simulation), strategy)
    check_equal(one, other)
    unmoved = Simulation(config_of("fixed_spread", execution=Execution(latency=latency)), strategy, 9, records=True)
    play(unmoved)
    assert not frame_of_tape(unmoved).equals(frame_of_tape(simulation)), "impact did nothing"


def test_a_taker_is_not_equal():
    """Who takes changes the book; a recorded one stays as it was. The run says that it is outside."""
    kind = kind_of(taking, "taking")
    one, other, _ = both(config_of("taking", seconds=60), kind.prepare({"interval_ns": 100_000_000}), 3)
    assert one.reproducibility["taken_lots"] == one.fills["qty_lots"].sum() > 0
    assert one.fills.rows() != other.fills.rows()


def test_a_chance_that_nobody_is_there_is_not_equal():
    """Both draw, but not the same numbers."""
    strategy = find_strategy("fixed_spread").prepare(SHIPPED[0][1])
    config = config_of("fixed_spread", execution=Execution(execution_probability=0.5))
    one, other, _ = both(config, strategy, 1)
    assert one.summary.fills > 0
    assert one.fills.rows() != other.fills.rows()


def test_showing_own_orders_is_another_view():
    strategy = find_strategy("inventory_skew").prepare({"order_lots": 20, "max_inventory_lots": 200})
    hidden, shown = (
        Simulation(config_of("inventory_skew", seconds=60, shows_own=shows), strategy, 1) for shows in (False, True)
    )
    play(hidden)
    play(shown)
    assert hidden.result().fills.rows() != shown.result().fills.rows()


@pytest.mark.parametrize(
    "prevention", [SelfTrade.NONE, SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH]
)
def test_own_orders_that_meet(prevention):
    """A market order into one's own quote: quantity and cash add up whatever is chosen, and the meeting is counted."""
    kind = kind_of(meeting, "meeting")
    simulation = Simulation(config_of("meeting", seconds=20, self_trade=prevention), kind.prepare({}), 1)
    play(simulation)
    found = simulation.result()
    fills = found.fills
    assert (fills["side"] * fills["qty_lots"]).sum() == fills["position_lots"][-1]
    assert -(fills["side"] * fills["qty_lots"] * fills["price_ticks"]).sum() == fills["cash_tick_lots"][-1]
    simulation.market.book.check_invariants()
    if prevention is not SelfTrade.NONE:
        assert found.reproducibility["own_meetings"] > 0


def meeting(view: View, params: Any, memory: Any, actions: Any) -> None:
    """Quote inside the spread and at once sell into it."""
    memory[0] += 1
    turn = int(memory[0])
    if view.best_ask_ticks - view.best_bid_ticks > 2:
        if turn % 4 == 1:
            place(actions, 1, LIMIT, GTC, 1, view.best_bid_ticks + 1, 5)
        elif turn % 4 == 2:
            place(actions, -1, MARKET, GTC, 0, 0, 2)
    if turn % 40 == 0:
        for order in view.orders:
            cancel(actions, order["order_id"])
