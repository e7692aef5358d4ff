"""The environments: gymnasium's own check, repeatable, rewards that add up to the result, many equal to one."""

from __future__ import annotations

import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import NS_PER_SECOND

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from market_maker.gymnasium import EpisodeConfig, MarketMakingEnv, MarketMakingVectorEnv  # noqa: E402
from market_maker.gymnasium.episode import Episode  # noqa: E402
from market_maker.gymnasium.quotes import KIND  # noqa: E402
from market_maker.montecarlo.engine import Simulation, play  # noqa: E402
from market_maker.montecarlo.stress import ScenarioWish  # noqa: E402

SHORT = EpisodeConfig(duration_ns=60 * NS_PER_SECOND)


def actions_of(seed: int, count: int) -> np.ndarray[Any, Any]:
    """Return quotes at random, a tenth of them none."""
    drawn = np.random.default_rng(seed).random((count, 2)).astype(np.float32)
    return np.where(drawn > 0.9, np.float32(1.0), drawn)


def played(
    env: MarketMakingEnv, seed: int, actions: np.ndarray[Any, Any]
) -> tuple[list[Any], list[float], dict[str, Any]]:
    """Return observations, rewards and the last info of an episode."""
    seen, info = env.reset(seed=seed)
    observations, rewards = [seen], []
    for action in actions:
        seen, reward, terminated, truncated, info = env.step(action)
        observations.append(seen)
        rewards.append(reward)
        assert not terminated
    assert truncated
    return observations, rewards, info


def test_gymnasium_finds_nothing_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(MarketMakingEnv(SHORT), skip_render_check=True)


def test_the_same_seed_and_actions_give_the_same_episode() -> None:
    actions = actions_of(1, 60)
    one, again, other = (played(MarketMakingEnv(SHORT), seed, actions) for seed in (3, 3, 4))
    assert np.array_equal(one[0], again[0])
    assert one[1] == again[1]
    assert one[1] != other[1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rewards_add_up_to_the_result(seed: int) -> None:
    env = MarketMakingEnv(SHORT)
    observations, rewards, info = played(env, seed, np.full((60, 2), 0.1, np.float32))
    episode = env.episode
    assert episode is not None
    unit = episode._reward_unit / 2 * float(SHORT.instrument.tick_lot)
    assert sum(rewards) * unit == pytest.approx(info["net_pnl"])
    assert info["net_pnl"] != 0
    assert env.observation_space.contains(observations[-1])
    assert observations[-1][1] == 0
    # The same as headless: the quotes of a fixed strategy, fills and all, to the last unit.
    simulation = episode._simulation
    distance = float(np.float32(0.1)) * episode._reach_ticks
    values = {
        "order_lots": SHORT.order_lots, "max_inventory_lots": SHORT.max_inventory_lots, "interval_ns": SHORT.step_ns,
        "bid_distance_ticks": distance, "ask_distance_ticks": distance,
    }  # fmt: skip
    headless = Simulation(simulation.config, KIND.prepare(values), simulation.design.seed)
    play(headless)
    mine, theirs = simulation.drive.fills()[0], headless.drive.fills()[0]
    count = min(len(mine["exch_ts"]), len(theirs["exch_ts"]))
    assert count > 0
    assert {name: values[:count].tolist() for name, values in mine.items()} == {
        name: values[:count].tolist() for name, values in theirs.items()
    }


def test_no_quotes_no_result() -> None:
    _, rewards, info = played(MarketMakingEnv(SHORT), 1, np.ones((60, 2), np.float32))
    assert set(rewards) == {0.0}
    assert info == {"net_pnl": 0.0, "inventory_lots": 0}


def test_inventory_costs_its_penalty() -> None:
    actions = np.tile(np.array([[0.0, 1.0]], np.float32), (60, 1))  # Buys only.
    plain, dear = (
        played(MarketMakingEnv(replace(SHORT, inventory_penalty=penalty)), 5, actions) for penalty in (0.0, 2.0)
    )
    assert plain[2] == dear[2]
    held = np.array([seen[0] for seen in plain[0][1:]])
    assert held[-1] > 0
    # What an agent sees of its inventory comes a latency later: compared where it did not change meanwhile.
    steady = np.append(False, held[1:] == held[:-1])
    cost = np.array(plain[1]) - np.array(dear[1])
    assert cost[steady] == pytest.approx(2.0 * held[steady] ** 2, abs=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_many_are_as_many_of_one(threads: int) -> None:
    many = MarketMakingVectorEnv(3, SHORT, threads=threads)
    actions = np.stack([actions_of(seed, 60) for seed in range(3)], axis=1)
    seen, _ = many.reset(seed=[11, 12, 13])
    assert many.observation_space.contains(seen)
    rewards = []
    for row in actions:
        seen, reward, terminated, truncated, info = many.step(row)
        rewards.append(reward)
    assert truncated.all()
    assert not terminated.any()
    for place, seed in enumerate((11, 12, 13)):
        episode = Episode(SHORT, seed)
        alone = [episode.step(row[place]) for row in actions]
        assert alone == np.array(rewards)[:, place].tolist()
        assert np.array_equal(episode.observe(), seen[place])
        assert info["net_pnl"][place] == episode.net_pnl
    seen, reward, _, truncated, info = many.step(actions[0])
    assert not truncated.any(), "those that were over begin anew"
    assert reward.tolist() == [0.0] * 3
    assert info["inventory_lots"].tolist() == [0] * 3
    assert seen[:, 1].tolist() == [1.0] * 3
    many.close()


def test_a_crash_can_be_trained_for() -> None:
    crash = ScenarioWish("flash_crash", {"fall": 0.05, "fall_s": 10.0, "recovery": 0.0}, 20 * NS_PER_SECOND)
    observations, _, _ = played(MarketMakingEnv(replace(SHORT, scenarios=(crash,))), 1, np.ones((60, 2), np.float32))
    moves = [float(seen[5]) for seen in observations]
    assert abs(moves[15]) < 5
    assert moves[-1] == -10.0, "as far below the first price as is told"


def test_what_makes_no_sense_is_refused() -> None:
    penalties = ({"inventory_penalty": value} for value in (-0.1, float("nan"), float("inf")))
    for wrong in ({"step_ns": 0}, {"step_ns": 10**12}, {"reach_steps": 0}, *penalties):
        with pytest.raises(InvalidRequest):
            replace(SHORT, **wrong)
    with pytest.raises(InvalidRequest, match="num_envs"):
        MarketMakingVectorEnv(0)
    with pytest.raises(InvalidRequest, match="reset first"):
        MarketMakingEnv(SHORT).step(np.zeros(2, np.float32))
    with pytest.raises(InvalidRequest, match="seed"):
        MarketMakingVectorEnv(2, SHORT).reset(seed=[1])
    with pytest.raises(InvalidRequest):
        MarketMakingEnv(replace(SHORT, price=Decimal("0.001"))).reset(seed=1)


def test_an_action_that_is_none_is_refused() -> None:
    """Of an agent that had diverged (NaN) each action was taken for no quote, and it went on without a word."""
    episode = Episode(replace(SHORT, duration_ns=2 * NS_PER_SECOND), seed=1)
    for wrong in ((np.nan, 0.1), (0.1, np.inf), (0.1,), (0.1, 0.1, 0.1), None, "no"):
        with pytest.raises(InvalidRequest, match="action"):
            episode.step(wrong)  # type: ignore[arg-type]
    assert episode.step_number == 0
    episode.step((0.1, 2.0))
    episode.step((-1.0, 0.1))
    with pytest.raises(InvalidRequest, match="reset first"):
        episode.step((0.1, 0.1))
