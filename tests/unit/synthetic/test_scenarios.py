"""Scenarios: what is in force at an instant, how several add up, and that a market really feels them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.order import Side
from market_maker.synthetic.flow.parameters import CONDITION_BOUNDS, Conditions, ReferenceParameters, suited_design
from market_maker.synthetic.scenarios import CALM, NS, SCENARIOS, Faults, Scenarios, find_scenario, joined, together
from market_maker.venue.market.market import SyntheticMarket


def market(seed: int) -> SyntheticMarket:
    reference = ReferenceParameters(price_deviation=0.0002, step_ns=NS)
    return SyntheticMarket.create(
        suited_design(price_ticks=1_000_000, lot_value_ticks=1e-3, reference=reference, seed=seed)
    )


def run(made: SyntheticMarket, scenarios: Scenarios, seconds: int) -> None:
    """Advance a market under scenarios as the exchange does: stop at each change, set what is in force."""
    end = made.clock_ts + seconds * NS
    while made.clock_ts < end:
        effects = scenarios.effects(made.clock_ts)
        made.set_conditions(effects.conditions)
        if effects.jump:
            made.jump(effects.jump)
        change = scenarios.next_change_ts(made.clock_ts)
        made.advance(end if change is None else min(end, change))


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_defaults_last_and_end(name: str) -> None:
    scenarios = Scenarios()
    active = scenarios.start(name, {}, 7 * NS)
    assert scenarios.effects(7 * NS - 1) == CALM
    assert scenarios.effects(7 * NS) != CALM
    assert scenarios.effects(active.end_ts - 1) != CALM or name == "price_jump"
    assert scenarios.effects(active.end_ts) == CALM
    assert scenarios.next_change_ts(active.end_ts) is None
    instants, ts = [], 0
    while (change := scenarios.next_change_ts(ts)) is not None:
        assert change > ts
        ts = change
        instants.append(ts)
    assert instants[0] == 7 * NS
    assert instants[-1] == active.end_ts


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_corner_of_the_parameters_is_allowed_by_the_market(name: str) -> None:
    scenario = find_scenario(name)
    for corner in ("minimum", "maximum"):
        values = {each.name: getattr(each, corner) for each in scenario.parameters}
        for phase in scenario.phases(scenario.validate(values)):
            together([phase.conditions, phase.conditions])
            assert phase.length_ns > 0


def test_a_crash_falls_and_comes_back_in_part() -> None:
    scenarios = Scenarios()
    scenarios.start("flash_crash", {"fall": 0.1, "fall_s": 20, "hold_s": 10, "recovery": 0.6, "recovery_s": 30}, 0)
    path = [1.0 + scenarios.effects(second * NS).jump for second in range(60)]
    assert math.prod(path[:20]) == pytest.approx(0.9)
    assert path[20:30] == [1.0] * 10
    assert math.prod(path) == pytest.approx(1.0 - 0.1 * 0.4)


def test_several_add_up() -> None:
    found = together(
        [Conditions(limit=0.5, buy_bias=0.7, levels_max=9), Conditions(limit=0.4, buy_bias=0.6, distance_steps=2)]
    )
    assert found == Conditions(limit=0.2, buy_bias=1.0, levels_max=9, distance_steps=2)
    assert together([Conditions(limit=1000.0)] * 3).limit == CONDITION_BOUNDS["limit"][1]
    faults = joined(
        [
            Faults(latency_factor=3, reject_probability=0.5),
            Faults(latency_factor=2, latency_extra_ns=5, reject_probability=0.5),
        ]
    )
    assert faults == Faults(latency_factor=6, latency_extra_ns=5, reject_probability=0.75)
    assert together([]) == Conditions()
    assert joined([]) == Faults()


def test_they_stop_survive_and_are_named() -> None:
    scenarios = Scenarios()
    first = scenarios.start("wide_spread", {"duration_s": 100}, 0)
    second = scenarios.start("feed_gap", {"duration_s": 50}, 10 * NS)
    again = Scenarios.of(json.loads(json.dumps(scenarios.to_json())))
    for ts in range(0, 110 * NS, NS):
        assert again.effects(ts) == scenarios.effects(ts)
        assert again.next_change_ts(ts) == scenarios.next_change_ts(ts)
    assert scenarios.stop(first.number, 20 * NS) == first
    assert scenarios.effects(20 * NS).faults.feed_gap
    assert scenarios.effects(20 * NS).conditions == Conditions()
    with pytest.raises(NotFound, match="running scenario"):
        scenarios.stop(first.number, 20 * NS)
    with pytest.raises(NotFound):
        scenarios.stop(second.number, 60 * NS)
    assert scenarios.start("feed_gap", {}, 70 * NS).number == 3, "numbers are not used again"


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("earthquake", {}, "scenario: earthquake is not allowed; allowed: flash_crash"),
        ("flash_crash", {"depth": 1}, "parameters.depth: 1 is not allowed; allowed: one of fall, fall_s"),
        (
            "flash_crash",
            {"fall": 0.9},
            "parameters.fall: 0.9 is not allowed; allowed: a number from 0.001 to 0.5 share",
        ),
        ("feed_gap", {"duration_s": float("nan")}, "parameters.duration_s"),
        ("feed_gap", {"duration_s": True}, "parameters.duration_s"),
        ("feed_gap", {"duration_s": "5"}, "parameters.duration_s"),
    ],
)
def test_wrong_wishes_are_named(name: str, values: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Scenarios().start(name, values, 0)
    assert text in caught.value.detail


def test_too_many_at_once_are_refused() -> None:
    scenarios = Scenarios()
    for _ in range(32):
        scenarios.start("feed_gap", {}, 0)
    with pytest.raises(InvalidRequest, match="32 at once"):
        scenarios.start("feed_gap", {}, 0)
    scenarios.start("feed_gap", {}, 60 * NS)


def test_a_market_falls_in_a_crash() -> None:
    made, scenarios = market(3), Scenarios()
    run(made, scenarios, 60)
    before = made.book.best(Side.BUY)
    assert before is not None
    scenarios.start("flash_crash", {"fall": 0.05, "recovery": 0.0}, made.clock_ts)
    run(made, scenarios, 50)
    fallen = made.book.best(Side.BUY)
    assert fallen is not None
    assert 0.93 < fallen / before < 0.97


def test_a_wide_spread_is_wide_and_ends() -> None:
    made, scenarios = market(4), Scenarios()

    def spread(seconds: int) -> float:
        found = []
        for _ in range(seconds):
            run(made, scenarios, 1)
            bid, ask = made.book.best(Side.BUY), made.book.best(Side.SELL)
            assert bid is not None
            assert ask is not None
            found.append(ask - bid)
        return float(np.mean(found))

    calm = spread(60)
    scenarios.start("wide_spread", {"steps": 10, "duration_s": 60}, made.clock_ts)
    assert spread(60) > 2.5 * calm
    run(made, scenarios, 20)
    assert spread(60) < 1.5 * calm


def test_a_thin_market_has_less_depth() -> None:
    made, scenarios = market(5), Scenarios()

    def depth() -> int:
        return int(made.depth(Side.BUY, 1000)[:, 1].sum() + made.depth(Side.SELL, 1000)[:, 1].sum())

    run(made, scenarios, 30)
    before = depth()
    scenarios.start("liquidity_withdrawal", {}, made.clock_ts)
    run(made, scenarios, 40)
    assert depth() < 0.5 * before
