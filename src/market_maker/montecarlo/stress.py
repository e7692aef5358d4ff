"""Scenarios of a headless run: which come when, and what they make of market and latency.

What happens is `synthetic.scenarios`'; here are the schedule and what a run without a service has no place for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import format_duration, parse_duration
from market_maker.synthetic.flow.parameters import Conditions
from market_maker.synthetic.scenarios import Effects, Faults, Scenarios, find_scenario, together

FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class ScenarioWish:
    """A scenario of a run.

    Parameters
    ----------
    name, parameters : see `synthetic.scenarios`; those left out by default
    starts_ns : after the run's start
    repeats_ns : it comes again so long after each start; 0: once

    Raises
    ------
    InvalidRequest
        An unknown scenario or parameter, one that is due again before it has ended, or one of faults that a headless run does
        not know: it has no feed that could fail and no venue that refuses orders.
    """

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    starts_ns: int = 0
    repeats_ns: int = 0

    def __post_init__(self) -> None:
        scenario = find_scenario(self.name)
        phases = scenario.phases(scenario.validate(self.parameters))
        length_ns = sum(phase.length_ns for phase in phases)
        if self.starts_ns < 0 or 0 < self.repeats_ns < length_ns or self.repeats_ns < 0:
            allowed = f"a start from 0, and a repetition after {format_duration(length_ns)} or more"
            raise InvalidRequest.of("scenario", f"{self.name} {self.starts_ns} {self.repeats_ns}", allowed)
        for phase in phases:
            faults = phase.faults
            latency_only = Faults(latency_factor=faults.latency_factor, latency_extra_ns=faults.latency_extra_ns)
            if faults != latency_only:
                raise InvalidRequest.of("scenario", self.name, "one of the market or of latency; this needs a service")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name, "parameters": find_scenario(self.name).validate(self.parameters),
            "starts_in": format_duration(self.starts_ns),
            "repeats_every": format_duration(self.repeats_ns) if self.repeats_ns else None,
        }  # fmt: skip


class Stress:
    """The scenarios of one run, over its time.

    Parameters
    ----------
    wishes : in any order
    start_ts : of the run, ns
    base : conditions that hold throughout

    Examples
    --------
    >>> stress = Stress((ScenarioWish("wide_spread", {"duration_s": 5.0}, 10_000_000_000),), 0, Conditions())
    >>> stress.next_ts, stress.at(stress.next_ts).conditions.distance_steps > 0, stress.next_ts
    (10000000000, True, 15000000000)
    """

    def __init__(self, wishes: tuple[ScenarioWish, ...], start_ts: int, base: Conditions) -> None:
        self._base = base
        self._scenarios = Scenarios()
        self._due = [(start_ts + wish.starts_ns, wish) for wish in wishes]
        self.next_ts = min((ts for ts, _ in self._due), default=FOREVER)

    def at(self, ts: int) -> Effects:
        """Return what is in force from `ts` on, which is `next_ts`, and find the next one."""
        later = []
        for due_ts, wish in self._due:
            if due_ts > ts:
                later.append((due_ts, wish))
                continue
            self._scenarios.start(wish.name, wish.parameters, due_ts)
            if wish.repeats_ns:
                later.append((due_ts + wish.repeats_ns, wish))
        self._due = later
        self._scenarios.forget(ts)
        effects = self._scenarios.effects(ts)
        change = self._scenarios.next_change_ts(ts)
        self.next_ts = min([due_ts for due_ts, _ in later] + [FOREVER if change is None else change])
        return Effects(together((self._base, effects.conditions)), effects.faults, effects.jump)


def parse_scenario(text: str, option: str = "--scenario") -> ScenarioWish:
    """Return the scenario of a text such as ``flash_crash:fall=0.1,starts_in=10m,repeats_every=1h``.

    Raises
    ------
    InvalidRequest
        As `ScenarioWish`, or something else than NAME=VALUE.
    """
    name, _, rest = text.partition(":")
    values: dict[str, float] = {}
    times = {"starts_in": 0, "repeats_every": 0}
    for word in filter(None, rest.split(",")):
        key, _, value = word.partition("=")
        if key in times:
            times[key] = parse_duration(value, f"{option} {key}")
            continue
        try:
            values[key] = float(value)
        except ValueError:
            raise InvalidRequest.of(option, word, "NAME=NUMBER, starts_in=DURATION or repeats_every=DURATION") from None
    return ScenarioWish(name.strip(), values, times["starts_in"], times["repeats_every"])
