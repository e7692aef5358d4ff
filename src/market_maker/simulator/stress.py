"""The scenarios of one market in time: which are to come, under way and over, and what they come to at an instant.

Owns their names for users and what is told of them. It works in the market's own time and has no clock; the exchange
asks it when something changes, and does what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from market_maker.domain.errors import NotFound
from market_maker.domain.ids import derived_id
from market_maker.synthetic.flow.parameters import Conditions
from market_maker.synthetic.scenarios import CALM, ActiveScenario, Effects, Scenarios, together

ENDED_MAX = 20
"""Scenarios that are over and still told of."""
_IDS_FROM = 1 << 48
"""Ids of scenarios are derived like those of trades, from numbers that no trade has."""


@dataclass(slots=True)
class Told:
    """What users are told of a scenario: instants in ns UTC, as far as they are known. `runs` counts its beginnings."""

    number: int
    scenario_id: str
    name: str
    parameters: dict[str, float]
    state: str = "SCHEDULED"
    repeats_every_ns: int = 0
    starts_ts: int = 0
    ends_ts: int = 0
    runs: int = 0


class Stress:
    """The scenarios of one market.

    Parameters
    ----------
    session_id : root of their ids
    base : conditions of the market itself, under which scenarios are put

    Examples
    --------
    >>> stress = Stress(UUID(int=1))
    >>> told = stress.start("wide_spread", {}, market_ts=0, ts=5, starts_in_ns=10)
    >>> stress.pass_to(10, 15), told.state, stress.effects(10).conditions.distance_steps
    ([('started', Told(...)], 'RUNNING', 5)
    """

    def __init__(self, session_id: UUID, base: Conditions | None = None) -> None:
        self.base = base or Conditions()
        self._session_id = session_id
        self._scenarios = Scenarios()
        self._told: dict[int, Told] = {}

    @property
    def is_calm(self) -> bool:
        """Whether nothing is to come or under way."""
        return not self._scenarios.active

    @property
    def is_empty(self) -> bool:
        """Whether nothing is told of."""
        return not self._told

    def start(
        self,
        name: str,
        parameters: Mapping[str, object],
        *,
        market_ts: int,
        ts: int,
        starts_in_ns: int = 0,
        repeats_every_ns: int = 0,
    ) -> Told:
        """Note a scenario; see `Scenarios.start`. `market_ts` is the market's instant, `ts` that of the clock."""
        made = self._scenarios.start(
            name, parameters, market_ts, starts_in_ns=starts_in_ns, repeats_every_ns=repeats_every_ns
        )
        scenario_id = str(derived_id(ts, self._session_id, _IDS_FROM + made.number))
        told = Told(made.number, scenario_id, name, dict(made.parameters), repeats_every_ns=made.every_ns)
        self._told[made.number] = told
        return told

    def stop(self, scenario_id: UUID, *, market_ts: int, ts: int) -> Told:
        """End a scenario that is to come or under way; NotFound when there is none of this id."""
        wanted = str(scenario_id)
        told = next((each for each in self._told.values() if each.scenario_id == wanted), None)
        if told is None or told.state not in ("SCHEDULED", "RUNNING"):
            raise NotFound.of("scenario that is to come or under way", "scenario_id", wanted)
        self._scenarios.stop(told.number, market_ts)
        told.state, told.ends_ts = "STOPPED", ts
        self._forget()
        return told

    def stop_all(self, *, market_ts: int, ts: int) -> list[Told]:
        """End everything that is to come or under way; return what was under way."""
        running = [each for each in self._told.values() if each.state == "RUNNING"]
        for active in list(self._scenarios.active):
            self.stop(UUID(self._told[active.number].scenario_id), market_ts=market_ts, ts=ts)
        return running

    def next_change_ts(self, market_ts: int) -> int | None:
        """Return the market's next instant at which something changes, None without one."""
        return None if self.is_calm else self._scenarios.next_change_ts(market_ts)

    def effects(self, market_ts: int) -> Effects:
        """Return what is in force from the market's instant on, the market's own conditions included."""
        found = CALM if self.is_calm else self._scenarios.effects(market_ts)
        if self.base == CALM.conditions:
            return found
        return Effects(together([self.base, found.conditions]), found.faults, found.jump)

    def pass_to(self, market_ts: int, ts: int) -> list[tuple[str, Told]]:
        """Take note of the market's instant; return what has started or ended by then, in order of their numbers."""
        news = []
        for active in list(self._scenarios.active):
            told, found = self._told[active.number], active.at(market_ts)
            begin = active.begin_at(market_ts)
            is_new_turn = found is not None and told.runs <= _turn(active, begin)
            if told.state == "RUNNING" and (found is None or is_new_turn):
                told.state, told.ends_ts = "ENDED" if active.is_over(market_ts) else "SCHEDULED", ts
                news.append(("ended", told))
            if is_new_turn:
                told.state, told.starts_ts, told.runs = "RUNNING", ts, _turn(active, begin) + 1
                news.append(("started", told))
        self._scenarios.forget(market_ts)
        self._forget()
        return news

    def _forget(self) -> None:
        over = [number for number, each in self._told.items() if each.state in ("ENDED", "STOPPED")]
        for number in over[:-ENDED_MAX]:
            del self._told[number]

    def describe(self, told: Told, market_ts: int, wall_at: Callable[[int], int]) -> dict[str, Any]:
        """Return a scenario as JSON values; `wall_at` tells when the market reaches an instant at its present pace."""
        active = next((each for each in self._scenarios.active if each.number == told.number), None)
        starts_ts, ends_ts, phase = told.starts_ts, told.ends_ts, None
        if active is not None:
            begin, found = active.begin_at(market_ts), active.at(market_ts)
            if told.state == "SCHEDULED":
                begin += active.every_ns if told.runs else 0
                starts_ts = wall_at(begin)
            ends_ts = wall_at(begin + active.length_ns)
            phase = found[0].label if told.state == "RUNNING" and found is not None else None
        return {
            "scenario_id": told.scenario_id,
            "name": told.name,
            "parameters": told.parameters,
            "state": told.state,
            "starts_ts": str(starts_ts),
            "ends_ts": str(ends_ts),
            "repeats_every_ns": told.repeats_every_ns,
            "runs": told.runs,
            "phase": phase,
        }

    def items(self, market_ts: int, wall_at: Callable[[int], int]) -> list[dict[str, Any]]:
        """Return all that are told of, as JSON values, oldest first."""
        return [self.describe(each, market_ts, wall_at) for each in self._told.values()]

    # ------------------------------------------------------------------ survival

    def to_json(self) -> dict[str, Any]:
        """Return everything that `of` needs, as JSON values."""
        return {"scenarios": self._scenarios.to_json(), "told": [asdict(each) for each in self._told.values()]}

    @classmethod
    def of(cls, session_id: UUID, base: Conditions, values: Mapping[str, Any] | None) -> Stress:
        """Return what `to_json` wrote; None: without scenarios."""
        made = cls(session_id, base)
        if values is not None:
            made._scenarios = Scenarios.of(values["scenarios"])
            made._told = {each["number"]: Told(**each) for each in values["told"]}
        return made


def _turn(active: ActiveScenario, begin: int) -> int:
    """Return how often a scenario had begun before the time that began at `begin`."""
    return (begin - active.start_ts) // active.every_ns if active.every_ns else 0
