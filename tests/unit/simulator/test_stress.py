"""Scenarios in a running market: what users are told, what the venue does, and that a restart changes nothing of it."""

from __future__ import annotations

import copy
from uuid import UUID

import pytest

from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.modes import TestMode as Mode
from market_maker.domain.order import OrderStatus
from market_maker.simulator.books import Books
from market_maker.simulator.control import MarketControl
from market_maker.simulator.design import EVENTS_MAX, bounded
from market_maker.simulator.exchange import SimulatedExchange, replayed
from market_maker.simulator.session import ScenarioWish
from market_maker.synthetic.flow.parameters import Conditions, FlowParameters, event_rate
from market_maker.venue.market.market import SyntheticMarket
from unit.simulator.test_exchange import facts, log_of, restarted, same_position_ids, trade_at_random
from venue_builders import DELAY, START, an_exchange

SECOND = 1_000_000_000
STORM = (
    ScenarioWish("flash_crash", {"fall": 0.02, "fall_s": 2, "hold_s": 1, "recovery_s": 2}, SECOND // 2),
    ScenarioWish("order_rejects", {"duration_s": 1, "probability": 0.5}, 0, 2 * SECOND),
    ScenarioWish("latency_spike", {"duration_s": 1, "factor": 4}, 2 * SECOND),
    ScenarioWish("feed_gap", {"duration_s": 2}, SECOND),
)


def stormy(**session: object) -> SimulatedExchange:
    exchange = an_exchange(mode=Mode.STRESS, scenarios=STORM, **session)
    exchange.begin()
    return exchange


def told(exchange: SimulatedExchange) -> list[tuple[str, str, int]]:
    return [
        (event.type.rpartition("_")[2], event.data["name"], round((event.ts - START) / 1e6))
        for event in exchange.changes.events
        if event.type.startswith("simulator.session.scenario")
    ]


def test_scenarios_start_and_end_at_their_instants_and_say_so() -> None:
    exchange = stormy()
    for step in range(1, 130):
        exchange.advance_to(START + step * 50_000_000)
    assert told(exchange) == [
        ("started", "order_rejects", 0), ("started", "flash_crash", 500), ("ended", "order_rejects", 1000),
        ("started", "feed_gap", 1000), ("started", "order_rejects", 2000), ("started", "latency_spike", 2000),
        ("ended", "order_rejects", 3000), ("ended", "latency_spike", 3000), ("ended", "feed_gap", 3000),
        ("started", "order_rejects", 4000), ("ended", "order_rejects", 5000), ("ended", "flash_crash", 5500),
        ("started", "order_rejects", 6000),
    ]  # fmt: skip
    sequences = [each.sequence for each in exchange.changes.events if each.aggregate_id == exchange.session.session_id]
    assert sequences == list(range(1, len(sequences) + 1))
    states = {each["name"]: (each["state"], each["runs"]) for each in exchange.scenarios()}
    assert states == {
        "flash_crash": ("ENDED", 1), "order_rejects": ("RUNNING", 4), "latency_spike": ("ENDED", 1),
        "feed_gap": ("ENDED", 1),
    }  # fmt: skip


def test_the_same_seed_and_commands_give_the_same_log_under_stress() -> None:
    first, second = stormy(), stormy()
    same_position_ids(first, second)
    for exchange in (first, second):
        trade_at_random(exchange, 3, START, START + 4 * SECOND)
    assert facts(first) == facts(second)
    assert first.changes.commands == second.changes.commands
    assert first.state_hash() == second.state_hash()
    calm = an_exchange()
    trade_at_random(calm, 3, START, START + 4 * SECOND)
    assert calm.market.reference_ticks != first.market.reference_ticks
    reasons = {order.reject_reason for order in first.changes.changed_orders.values()}
    assert "REJECTED_BY_CHANCE" in reasons


@pytest.mark.parametrize("pause_s", [0.7, 1.3, 2.5])
def test_a_restart_amid_scenarios_changes_nothing(pause_s: float) -> None:
    exchange = stormy()
    exchange.advance_to(START + SECOND // 4)
    checkpoint = exchange.market.dump()
    exchange.take_changes()
    last = trade_at_random(exchange, 5, START + SECOND // 4, START + round(pause_s * SECOND))
    again = restarted(exchange, checkpoint, log_of(exchange))
    assert again.state_hash() == exchange.state_hash()
    assert again.dump_state() == exchange.dump_state()
    assert again.scenarios() == exchange.scenarios()
    assert (again.frozen, again.venue.faults) == (exchange.frozen, exchange.venue.faults)
    exchange.take_changes()
    for each in (exchange, again):
        trade_at_random(each, 6, last, last + 4 * SECOND)
    assert facts(again) == facts(exchange)
    assert told(again) == told(exchange)
    assert again.state_hash() == exchange.state_hash()


def test_the_log_alone_brings_the_market_through_a_crash() -> None:
    exchange = stormy()
    begin = exchange.market.dump()
    exchange.take_changes()
    exchange.advance_to(START + 6 * SECOND)
    again = replayed(SyntheticMarket.load(begin), [b"".join(exchange.changes.commands)], exchange.market.clock_ts)
    assert again.dump() == exchange.market.dump()
    assert len(exchange.changes.commands) > 5


def test_a_lost_market_begins_anew_under_its_scenarios() -> None:
    exchange = stormy()
    exchange.advance_to(START + 2 * SECOND)
    session = copy.copy(exchange.session)
    session.sequence, session.market = exchange.venue.session_sequence, exchange.dump_state()
    again, fault = SimulatedExchange.load(exchange.instrument, session, exchange.venue.funds, checkpoint=None, log=[])
    assert fault
    assert again.market.conditions.conditions == exchange.market.conditions.conditions
    assert again.venue.faults == exchange.venue.faults


def test_a_gap_of_the_feed_keeps_the_last_book() -> None:
    exchange, books = an_exchange(), Books()
    exchange.advance_to(START + SECOND)
    before = books.get(exchange, 5)
    exchange.start_scenario(ScenarioWish("feed_gap", {"duration_s": 2}), START + SECOND)
    for step in range(1, 21):
        exchange.advance_to(START + SECOND + step * SECOND // 10 - 1)
        stale = books.get(exchange, 5)
        assert (stale.bids, stale.asks, stale.sequence, stale.is_stale) == (
            before.bids,
            before.asks,
            before.sequence,
            True,
        )
    assert books.get(exchange, 2).bids == before.bids[:2]
    exchange.advance_to(START + 3 * SECOND)
    after = books.get(exchange, 5)
    assert not after.is_stale
    assert after.sequence > before.sequence


def test_the_way_is_longer_in_a_spike() -> None:
    exchange = an_exchange(speed=2.0)
    assert exchange.delay_ns == DELAY // 2
    exchange.start_scenario(ScenarioWish("latency_spike", {"factor": 3, "extra_ms": 10}), START)
    assert exchange.delay_ns == (3 * DELAY + 10_000_000) // 2


def test_outage_refuses_orders_amendments_and_cancels() -> None:
    exchange = an_exchange()
    trade_at_random(exchange, 8, START, START + SECOND)
    exchange.advance_to(START + 2 * SECOND)
    resting = next(order for order in exchange.venue.orders.values() if order.priority)
    exchange.start_scenario(ScenarioWish("partial_outage", {"cancels_fail": 1, "duration_s": 5}), START + 2 * SECOND)
    ts = START + 2 * SECOND + 1
    exchange.venue.request_cancel(resting, ts, ts + DELAY, "")
    exchange.venue.request_amend(resting, ts, ts + DELAY, "", price=0, lots=resting.leaves_lots, stop=0)
    exchange.take_changes()
    exchange.advance_to(ts + DELAY)
    kinds = [event.type for event in exchange.changes.events if event.aggregate_id == resting.order_id]
    assert {"simulator.order.cancel_refused", "simulator.order.amend_refused"} <= set(kinds)
    assert (resting.cancel_arrival_ts, resting.amend_refusal) == (0, "OUTAGE")
    assert resting.status.is_open
    exchange.advance_to(START + 8 * SECOND)
    if resting.status.is_open:
        ts = exchange.last_ts + 1
        exchange.venue.request_cancel(resting, ts, ts + DELAY, "")
        exchange.advance_to(ts + DELAY)
        assert resting.status is not OrderStatus.NEW


def test_stopping_ends_at_once() -> None:
    exchange = an_exchange()
    made = exchange.start_scenario(ScenarioWish("wide_spread", {"steps": 7}), START)
    assert exchange.market.conditions.conditions.distance_steps == 7
    exchange.advance_to(START + SECOND)
    exchange.stop_scenario(UUID(made["scenario_id"]), START + SECOND)
    assert exchange.market.conditions.conditions == Conditions()
    assert told(exchange)[-1] == ("ended", "wide_spread", 1000)
    with pytest.raises(NotFound):
        exchange.stop_scenario(UUID(made["scenario_id"]), START + SECOND)
    planned = exchange.start_scenario(ScenarioWish("wide_spread", {}, SECOND), START + SECOND)
    exchange.stop_scenario(UUID(planned["scenario_id"]), START + SECOND)
    exchange.advance_to(START + 3 * SECOND)
    assert exchange.market.conditions.conditions == Conditions()


def test_parameters_change_while_the_market_runs_and_survive() -> None:
    exchange = an_exchange(mode=Mode.CUSTOM, parameters={"conditions": {"distance_steps": 3}})
    exchange.begin()
    assert exchange.market.conditions.conditions.distance_steps == 3
    calm = exchange.market.flow.head["limits"][0].item()
    exchange.advance_to(START + SECOND)
    calm = exchange.market.flow.head["limits"][0].item() - calm
    exchange.change_parameters({"flow": {"limit_rate": 20.0}}, START + SECOND)
    before = exchange.market.flow.head["limits"][0].item()
    assert exchange.changes.is_rewritten
    checkpoint = exchange.market.dump()
    exchange.take_changes()
    exchange.advance_to(START + 3 * SECOND)
    assert exchange.market.flow.head["limits"][0].item() - before > 5 * 2 * calm, "ten times the rate, for two seconds"
    again = restarted(exchange, checkpoint, log_of(exchange))
    assert again.laws.flow.limit_rate == 20.0
    for each in (exchange, again):
        each.advance_to(START + 5 * SECOND)
    assert again.market.dump() == exchange.market.dump()


class OneLoop:
    """A loop without a database."""

    def __init__(self, exchange: SimulatedExchange) -> None:
        self.exchange = exchange

    async def act(self, action):
        return action(self.exchange, self.exchange.last_ts)

    async def committed(self):
        return self.exchange


async def test_modes_and_their_rules() -> None:
    exchange = an_exchange()
    control = MarketControl(lambda _: OneLoop(exchange), tuple(Mode))
    key = exchange.session.session_id
    with pytest.raises(InvalidRequest, match="parameters: flow"):
        await control.set_mode(key, None, {"flow": {"limit_rate": 3}})
    await control.set_mode(key, Mode.CUSTOM, {"flow": {"limit_rate": 3}})
    assert (exchange.session.mode, exchange.laws.flow.limit_rate) == (Mode.CUSTOM, 3)
    with pytest.raises(Conflict, match="metaorders"):
        await control.set_mode(key, None, {"flow": {"metaorders": 3}})
    assert exchange.laws.flow.limit_rate == 3, "refused as a whole"
    await control.start_scenario(key, ScenarioWish("wide_spread"))
    assert exchange.session.mode is Mode.CUSTOM
    await control.set_mode(key, Mode.NORMAL, None)
    assert exchange.laws.flow.limit_rate == FlowParameters().limit_rate
    assert [each["state"] for each in await control.scenarios(key)] == ["STOPPED"]
    await control.start_scenario(key, ScenarioWish("wide_spread"))
    assert exchange.session.mode is Mode.STRESS
    limited = MarketControl(lambda _: OneLoop(an_exchange()), (Mode.NORMAL,))
    with pytest.raises(Conflict, match="test modes"):
        await limited.start_scenario(key, ScenarioWish("wide_spread"))
    with pytest.raises(InvalidRequest, match="mode"):
        await limited.set_mode(key, Mode.STRESS, None)


def test_activity_is_bounded_by_what_a_service_can_bear() -> None:
    flow = FlowParameters(speed=50.0)
    wild = Conditions(activity=1000.0, limit=100.0)
    tamed = bounded(wild, flow, 1.0)
    assert event_rate(flow, wild) > 100 * EVENTS_MAX
    assert event_rate(flow, tamed) == pytest.approx(EVENTS_MAX)
    assert bounded(Conditions(), flow, 1.0) == Conditions()


@pytest.mark.parametrize(
    ("wish", "shown"), [({"starts_in_ns": 30 * 86_400 * 10**9}, "30d"), ({"repeats_every_ns": 10**6}, "1ms")]
)
def test_a_schedule_that_is_refused_is_told_in_the_units_of_users(wish: dict[str, int], shown: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        an_exchange().start_scenario(ScenarioWish("flash_crash", **wish), START)
    assert caught.value.errors[0].value == shown
