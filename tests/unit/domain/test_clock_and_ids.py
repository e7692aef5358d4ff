"""Time that never turns back, and ids that sort by it (R23)."""

from __future__ import annotations

import time

import pytest

from market_maker.domain.clock import SimulatedClock, SystemClock
from market_maker.domain.ids import derived_id, new_id
from venue_builders import SESSION

HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize("jump", [HOUR_NS, -HOUR_NS])
def test_a_jump_of_the_wall_clock_is_not_noticed(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    clock = SystemClock()
    before = clock.now_ns()
    wall = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() + jump)
    after = clock.now_ns()
    assert before <= after < before + 10**9


def test_a_clock_set_back_before_the_start_goes_on_from_what_is_committed() -> None:
    committed = time.time_ns() + HOUR_NS
    clock = SystemClock()
    clock.not_before(committed)
    assert committed <= clock.now_ns() < committed + 10**9
    assert SystemClock(committed).now_ns() >= committed
    clock.not_before(0)
    assert clock.now_ns() >= committed


def test_a_simulated_clock_moves_only_when_told() -> None:
    clock = SimulatedClock(5)
    clock.advance(3)
    assert clock.now_ns() == 8
    with pytest.raises(AssertionError):
        clock.advance(-1)


def test_ids_are_version_7_and_carry_their_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {each.version for each in made} == {7}
    assert before <= made[0].int >> 80 <= time.time_ns() // 1_000_000


def test_derived_ids_follow_from_their_arguments() -> None:
    assert derived_id(10**18, SESSION, 1) == derived_id(10**18, SESSION, 1)
    assert len({derived_id(10**18, SESSION, n) for n in range(1000)}) == 1000
    assert derived_id(10**18, SESSION, 9) < derived_id(10**18 + 10**6, SESSION, 1)
