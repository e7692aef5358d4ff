"""Scenarios of a headless run: when they are in force, that they do what they say, and what a run has no place for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from market_maker.backtest.engine import run
from market_maker.cli_simulate import MarketWish, SimulateWish, mode_options, simulation_config
from market_maker.domain.errors import InvalidRequest
from market_maker.montecarlo.engine import Simulation, play
from market_maker.montecarlo.recording import feed_of_tape
from market_maker.montecarlo.stress import FOREVER, ScenarioWish, Stress, parse_scenario
from market_maker.strategies.contract import find_strategy
from market_maker.synthetic.flow.parameters import Conditions
from market_maker.synthetic.reference.processes import Process

SECOND = 1_000_000_000
QUOTER = {"order_lots": 500, "max_inventory_lots": 5_000}


def simulated(*wishes: ScenarioWish, seconds: int = 60, seed: int = 3, records: bool = False) -> Simulation:
    """Return a run that has ended."""
    strategy = find_strategy("inventory_skew").prepare(QUOTER)
    config = simulation_config(strategy, SimulateWish(seconds * SECOND, scenarios=wishes))
    made = Simulation(replace(config, run=replace(config.run, records_orders=True)), strategy, seed, records=records)
    play(made)
    return made


def test_texts_become_scenarios() -> None:
    wish = parse_scenario("flash_crash:fall=0.1,starts_in=10s,repeats_every=10m")
    assert (wish.name, wish.parameters, wish.starts_ns, wish.repeats_ns) == (
        "flash_crash", {"fall": 0.1}, 10 * SECOND, 600 * SECOND,
    )  # fmt: skip
    for wrong in ("x", "flash_crash:fall", "flash_crash:depth=1", "flash_crash:fall=2", "wide_spread:starts_in=1"):
        with pytest.raises(InvalidRequest):
            parse_scenario(wrong)
    with pytest.raises(InvalidRequest, match="repetition"):
        parse_scenario("wide_spread:duration_s=60,repeats_every=30s")


@pytest.mark.parametrize("name", ["feed_gap", "order_rejects", "partial_outage"])
def test_faults_of_a_service_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="needs a service"):
        ScenarioWish(name)


def test_a_schedule_repeats_and_adds_up() -> None:
    burst = ScenarioWish("volatility_burst", {"volatility": 2.0, "duration_s": 4.0}, 10 * SECOND, 20 * SECOND)
    other = ScenarioWish("volatility_burst", {"volatility": 3.0, "duration_s": 4.0}, 12 * SECOND)
    stress = Stress((burst, other), 0, Conditions(volatility=1.5))
    seen = []
    while stress.next_ts <= 35 * SECOND:
        at = stress.next_ts
        seen.append((at // SECOND, stress.at(at).conditions.volatility))
    # 2 x 1.5 from 10 s on; both from 12 to 14 s; the second alone to 16 s; again from 30 to 34 s.
    assert seen == [(10, 3.0), (12, 9.0), (14, 4.5), (16, 1.5), (30, 3.0), (34, 1.5)]
    assert Stress((), 0, Conditions()).next_ts == FOREVER


def test_a_crash_lets_the_price_fall_in_its_time_only() -> None:
    calm = simulated()
    crash = simulated(ScenarioWish("flash_crash", {"fall": 0.05, "fall_s": 10.0, "recovery": 0.0}, 20 * SECOND))
    before, after = np.array([made.result().samples["mid_half_ticks"].to_numpy()[[19, 35]] for made in (calm, crash)]).T
    assert before[0] == before[1], "until it begins it is the market of the seed"
    assert after[1] / before[1] == pytest.approx(0.95, abs=0.01)
    assert after[0] / before[0] == pytest.approx(1.0, abs=0.01)


def test_a_run_with_scenarios_can_be_repeated_and_replayed() -> None:
    wishes = (
        ScenarioWish("flash_crash", {"fall": 0.01, "fall_s": 5.0}, 10 * SECOND),
        ScenarioWish("wide_spread", {"duration_s": 10.0}, 30 * SECOND),
    )
    one, again = simulated(*wishes, records=True), simulated(*wishes)
    result = one.result()
    assert result.digest() == again.result().digest()
    assert [each["name"] for each in result.reproducibility["market"]["scenarios"]] == ["flash_crash", "wide_spread"]
    strategy = find_strategy("inventory_skew").prepare(QUOTER)
    replayed = run(replace(one.config.run, seed=3), feed_of_tape(one), strategy)
    assert replayed.fills.equals(result.fills)
    assert result.summary.fills > 0


def test_slow_ways_to_the_venue_are_slow_for_their_time() -> None:
    made = simulated(ScenarioWish("latency_spike", {"factor": 1.0, "extra_ms": 700.0, "duration_s": 10.0}, 20 * SECOND))
    events = made.result().order_events
    assert events is not None
    start = made.config.run.start_ts
    waits: dict[int, int] = {}
    sent = dict(events.filter(events["note"] == 0).select("order_id", "ts").rows())
    for order_id, ts in events.filter(events["note"] == 3).select("order_id", "ts").rows():
        waits[(sent[order_id] - start) // SECOND] = ts - sent[order_id]
    inside = [wait for second, wait in waits.items() if 20 <= second < 29]
    outside = [wait for second, wait in waits.items() if second < 19 or second > 31]
    assert inside
    assert min(inside) > 600_000_000
    assert set(outside) == {10_000_000}


def test_modes_and_their_options_belong_together(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("flow: {levels: 12}\nreference: {process: ORNSTEIN_UHLENBECK}\nconditions: {activity: 2}\n")
    scenarios, custom = mode_options("CUSTOM", [], file)
    assert scenarios == ()
    wish = SimulateWish(60 * SECOND, market=MarketWish(custom=custom))
    config = simulation_config(find_strategy("do_nothing").prepare({}), wish)
    assert config.design.flow.levels == 12
    assert config.design.reference.process is Process.ORNSTEIN_UHLENBECK
    assert config.conditions.activity == 2.0
    (found,), nothing = mode_options("STRESS", ["wide_spread"], None)
    assert (found.name, nothing) == ("wide_spread", {})
    for mode, scenario, path in (
        ("NORMAL", ["wide_spread"], None),
        ("STRESS", [], None),
        ("STRESS", ["x"], file),
        ("X", [], None),
    ):
        with pytest.raises(InvalidRequest):
            mode_options(mode, scenario, path)
    for wrong in ("flow: {levels: many}", "a: 1", "[", "- 1"):
        file.write_text(wrong)
        with pytest.raises(InvalidRequest):
            mode_options("CUSTOM", [], file)
