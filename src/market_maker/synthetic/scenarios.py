"""Scenarios of mode STRESS: what hurts, for how long, and how it adds up while several run at once.

A scenario is a list of phases, made from its parameters when it starts. A phase changes the conditions of the flow, sets
faults of the venue, or lets the reference price drift. Everything is a function of the instant: no clock, no chance, so that
a market that is read back from its log meets the same scenarios at the same instants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.units import format_duration
from market_maker.synthetic.flow.parameters import CONDITION_BOUNDS, Conditions

NS = 1_000_000_000
ACTIVE_MAX = 32
"""Scenarios that run at once, at most."""
DURATION_MAX_S = 7 * 86_400.0
DRIFT_STEP_NS = NS
"""A drift of the reference price is done in jumps so far apart."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong at the venue; the defaults: nothing.

    Parameters
    ----------
    feed_gap : no market data are sent; trading goes on
    latency_factor : multiplier of the way of orders and cancels to the venue
    latency_extra_ns : added to it
    reject_probability : chance that a new order is rejected on arrival
    refuses_orders, refuses_cancels : new orders (cancels) are rejected on arrival
    """

    feed_gap: bool = False
    latency_factor: float = 1.0
    latency_extra_ns: int = 0
    reject_probability: float = 0.0
    refuses_orders: bool = False
    refuses_cancels: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a scenario.

    Parameters
    ----------
    seconds : how long it lasts
    conditions, faults : in force meanwhile
    drift : relative change of the reference price over the whole phase, in equal log steps of a second; 0: none
    label : what it is called
    """

    seconds: float
    conditions: Conditions = field(default_factory=Conditions)
    faults: Faults = field(default_factory=Faults)
    drift: float = 0.0
    label: str = "on"

    @property
    def length_ns(self) -> int:
        """The length in ns."""
        return round(self.seconds * NS)


@dataclass(frozen=True, slots=True)
class ScenarioParameter:
    """A number that a scenario takes: default and bounds (inclusive) in `unit`."""

    name: str
    default: float
    minimum: float
    maximum: float
    unit: str
    description: str


_SECONDS = ScenarioParameter("duration_s", 60.0, 1.0, DURATION_MAX_S, "s", "how long it lasts")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named scenario with its parameters; `phases` makes it of their values."""

    name: str
    summary: str
    parameters: tuple[ScenarioParameter, ...]
    phases: Callable[[Mapping[str, float]], tuple[Phase, ...]]

    def schema(self) -> dict[str, Any]:
        """Return the parameters as a JSON schema object."""
        properties = {
            each.name: {
                "type": "number", "default": each.default, "minimum": each.minimum, "maximum": each.maximum,
                "unit": each.unit, "description": each.description,
            }
            for each in self.parameters
        }  # fmt: skip
        return {"type": "object", "additionalProperties": False, "properties": properties}

    def validate(self, values: Mapping[str, object]) -> dict[str, float]:
        """Return all parameters, those left out by default; InvalidRequest names what is wrong."""
        known = {each.name: each for each in self.parameters}
        for name in values:
            if name not in known:
                raise InvalidRequest.of(f"parameters.{name}", values[name], f"one of {', '.join(known)}")
        whole = {}
        for name, each in known.items():
            value = values.get(name, each.default)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not each.minimum <= value <= each.maximum:  # type: ignore[operator]
                raise InvalidRequest.of(
                    f"parameters.{name}", value, f"a number from {each.minimum:g} to {each.maximum:g} {each.unit}"
                )
            whole[name] = float(value)  # type: ignore[arg-type]
        return whole


@dataclass(frozen=True, slots=True)
class ActiveScenario:
    """A scenario under way or to come: [start, end) ns of the market's clock, and again every `every_ns` if not 0."""

    number: int
    name: str
    parameters: Mapping[str, float]
    start_ts: int
    phases: tuple[Phase, ...] = field(repr=False)
    every_ns: int = 0

    @property
    def length_ns(self) -> int:
        """How long it lasts each time."""
        return sum(phase.length_ns for phase in self.phases)

    @property
    def end_ts(self) -> int:
        """When it is over for the first time."""
        return self.start_ts + self.length_ns

    def is_over(self, ts: int) -> bool:
        """Tell whether nothing of it is left at an instant."""
        return not self.every_ns and self.end_ts <= ts

    def begin_at(self, ts: int) -> int:
        """Return when the time began that an instant belongs to; the first time for what comes before."""
        if not self.every_ns or ts < self.start_ts:
            return self.start_ts
        return ts - (ts - self.start_ts) % self.every_ns

    def at(self, ts: int) -> tuple[Phase, int] | None:
        """Return the phase of an instant and when it began; None outside."""
        begin = self.begin_at(ts)
        for phase in self.phases:
            if begin <= ts < begin + phase.length_ns:
                return phase, begin
            begin += phase.length_ns
        return None

    def next_change_ts(self, ts: int) -> int | None:
        """Return the next instant after `ts` at which a phase begins or ends, or a drift takes a step."""
        if ts < self.start_ts:
            return self.start_ts
        found = self.at(ts)
        if found is None:
            return self.begin_at(ts) + self.every_ns if self.every_ns else None
        phase, begin = found
        end = begin + phase.length_ns
        return min(end, ts + DRIFT_STEP_NS - (ts - begin) % DRIFT_STEP_NS) if phase.drift else end

    def jump_at(self, ts: int) -> float:
        """Return the log of what the reference price is multiplied by at exactly this instant; 0 when nothing."""
        found = self.at(ts)
        if found is None or not found[0].drift or (ts - found[1]) % DRIFT_STEP_NS:
            return 0.0
        steps = -(-found[0].length_ns // DRIFT_STEP_NS)
        return math.log1p(found[0].drift) / steps

    def to_json(self) -> dict[str, Any]:
        """Return what tells of it, as JSON values."""
        return {
            "number": self.number, "name": self.name, "parameters": dict(self.parameters),
            "start_ts": str(self.start_ts), "end_ts": str(self.end_ts), "every_ns": str(self.every_ns),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effects:
    """What all scenarios of an instant come to; `jump` is the relative jump of the reference price at that instant."""

    conditions: Conditions
    faults: Faults
    jump: float = 0.0


_MULTIPLIERS = ("activity", "limit", "cancel", "market", "size", "volatility")
NO_FAULTS = Faults()
CALM = Effects(Conditions(), NO_FAULTS)


class Scenarios:
    """The scenarios of one market, over time.

    Examples
    --------
    >>> scenarios = Scenarios()
    >>> active = scenarios.start("volatility_burst", {"volatility": 3.0, "duration_s": 10}, ts=0)
    >>> scenarios.effects(5 * NS).conditions.volatility, scenarios.effects(10 * NS) == CALM
    (3.0, True)
    """

    def __init__(self) -> None:
        self.active: list[ActiveScenario] = []
        self._started = 0

    def start(
        self, name: str, parameters: Mapping[str, object], ts: int, *, starts_in_ns: int = 0, repeats_every_ns: int = 0
    ) -> ActiveScenario:
        """Start a scenario at an instant or `starts_in_ns` later; it may run beside others and beside itself.

        Parameters
        ----------
        repeats_every_ns : from one begin to the next, until it is stopped; 0: it runs once

        Raises
        ------
        InvalidRequest
            An unknown name, a wrong parameter, a schedule out of bounds, or too many at once.
        """
        scenario = find_scenario(name)
        values = scenario.validate(parameters)
        phases = scenario.phases(values)
        length_s = sum(phase.length_ns for phase in phases) / NS
        if not 0 <= starts_in_ns <= DURATION_MAX_S * NS:
            raise InvalidRequest.of("starts_in", format_duration(starts_in_ns), "0s to 7d")
        if repeats_every_ns and not length_s <= repeats_every_ns / NS <= DURATION_MAX_S:
            raise InvalidRequest.of(
                "repeats_every", format_duration(repeats_every_ns), f"{length_s:g}s (its length) to 7d"
            )
        self.forget(ts)
        if len(self.active) >= ACTIVE_MAX:
            raise InvalidRequest.of("scenario", name, f"{ACTIVE_MAX} at once; stop one first")
        self._started += 1
        made = ActiveScenario(self._started, name, values, ts + starts_in_ns, phases, repeats_every_ns)
        self.active.append(made)
        return made

    def stop(self, number: int, ts: int) -> ActiveScenario:
        """End a scenario early and return it; NotFound when none of this number runs."""
        self.forget(ts)
        for i, each in enumerate(self.active):
            if each.number == number:
                del self.active[i]
                return each
        raise NotFound.of("running scenario", "number", number)

    def forget(self, ts: int) -> None:
        """Drop the scenarios that are over at `ts`."""
        self.active = [each for each in self.active if not each.is_over(ts)]

    def next_change_ts(self, ts: int) -> int | None:
        """Return the next instant after `ts` at which the effects change or the price jumps, None without one."""
        changes = (each.next_change_ts(ts) for each in self.active)
        return min((change for change in changes if change is not None), default=None)

    def effects(self, ts: int) -> Effects:
        """Return what is in force from `ts` until the next change."""
        phases = [found[0] for each in self.active if (found := each.at(ts)) is not None]
        if not phases:
            return CALM
        jump = sum(each.jump_at(ts) for each in self.active)
        return Effects(
            together(phase.conditions for phase in phases), joined(phase.faults for phase in phases), math.expm1(jump)
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything that `of` needs to go on, as JSON values."""
        return {"started": self._started, "active": [each.to_json() for each in self.active]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Scenarios:
        """Return what `to_json` wrote."""
        made = cls()
        made._started = int(values["started"])
        for each in values["active"]:
            phases = find_scenario(each["name"]).phases(each["parameters"])
            begin, every = int(each["start_ts"]), int(each.get("every_ns", 0))
            made.active.append(ActiveScenario(each["number"], each["name"], each["parameters"], begin, phases, every))
        return made


def together(parts: Iterable[Conditions]) -> Conditions:
    """Return conditions that hold at once: multipliers multiply, biases and distances add up, the fewest levels count."""
    listed = list(parts)
    values = {name: math.prod(getattr(part, name) for part in listed) for name in _MULTIPLIERS}
    values |= {name: sum(getattr(part, name) for part in listed) for name in ("distance_steps", "buy_bias")}
    values["levels_max"] = min((part.levels_max for part in listed), default=Conditions().levels_max)
    bounded: dict[str, Any] = {
        name: min(max(value, CONDITION_BOUNDS[name][0]), CONDITION_BOUNDS[name][1]) for name, value in values.items()
    }
    bounded |= {name: int(bounded[name]) for name in ("distance_steps", "levels_max")}
    return Conditions(**bounded)


def joined(parts: Iterable[Faults]) -> Faults:
    """Return faults that hold at once: latencies multiply and add up, chances are independent."""
    whole, passes = Faults(), 1.0
    for part in parts:
        passes *= 1.0 - part.reject_probability
        whole = Faults(
            feed_gap=whole.feed_gap or part.feed_gap,
            latency_factor=whole.latency_factor * part.latency_factor,
            latency_extra_ns=whole.latency_extra_ns + part.latency_extra_ns,
            refuses_orders=whole.refuses_orders or part.refuses_orders,
            refuses_cancels=whole.refuses_cancels or part.refuses_cancels,
        )
    return replace(whole, reject_probability=1.0 - passes)


# --- the scenarios ----------------------------------------------------------------------------------------------------


def _parameter(name: str, default: float, low: float, high: float, unit: str, description: str) -> ScenarioParameter:
    return ScenarioParameter(name, default, low, high, unit, description)


def _flash_crash(p: Mapping[str, float]) -> tuple[Phase, ...]:
    fallen = Conditions(limit=p["liquidity"], cancel=2.0, market=2.0, buy_bias=-0.7, volatility=2.0)
    back = Conditions(market=1.5, volatility=1.5)
    recovered = (1.0 - p["fall"] * (1.0 - p["recovery"])) / (1.0 - p["fall"]) - 1.0
    return (
        Phase(p["fall_s"], fallen, drift=-p["fall"], label="fall"),
        Phase(p["hold_s"], replace(fallen, buy_bias=0.0), label="hold"),
        Phase(p["recovery_s"], back, drift=recovered, label="recovery"),
    )


def _steady(
    conditions: Callable[[Mapping[str, float]], Conditions],
) -> Callable[[Mapping[str, float]], tuple[Phase, ...]]:
    return lambda p: (Phase(p["duration_s"], conditions(p)),)


def _faulty(faults: Callable[[Mapping[str, float]], Faults]) -> Callable[[Mapping[str, float]], tuple[Phase, ...]]:
    return lambda p: (Phase(p["duration_s"], faults=faults(p)),)


_SHIPPED = (
    Scenario(
        "flash_crash",
        "The price falls within seconds while liquidity leaves, stays there, and comes back in part.",
        (
            _parameter("fall", 0.05, 0.001, 0.5, "share", "how far the reference price falls"),
            _parameter("fall_s", 20.0, 1.0, 3600.0, "s", "for how long it falls"),
            _parameter("hold_s", 30.0, 1.0, 3600.0, "s", "for how long it stays down"),
            _parameter("recovery", 0.7, 0.0, 1.0, "share", "share of the fall that is made good"),
            _parameter("recovery_s", 120.0, 1.0, 86_400.0, "s", "for how long it rises"),
            _parameter("liquidity", 0.3, 0.01, 1.0, "factor", "rate of limit orders meanwhile"),
        ),
        _flash_crash,
    ),
    Scenario(
        "volatility_burst",
        "Everything happens faster, and the reference price moves more.",
        (
            _SECONDS,
            _parameter("volatility", 4.0, 1.0, 100.0, "factor", "deviation of the reference price"),
            _parameter("activity", 3.0, 1.0, 100.0, "factor", "rates of all orders"),
        ),
        _steady(lambda p: Conditions(volatility=p["volatility"], activity=p["activity"])),
    ),
    Scenario(
        "liquidity_withdrawal",
        "Fewer limit orders, more cancels, a shallow book.",
        (
            _SECONDS,
            _parameter("limit", 0.3, 0.01, 1.0, "factor", "rate of limit orders"),
            _parameter("cancel", 2.0, 1.0, 100.0, "factor", "rate of cancels"),
            _parameter("levels", 8.0, 1.0, 30.0, "levels", "no orders farther away than this"),
        ),
        _steady(lambda p: Conditions(limit=p["limit"], cancel=p["cancel"], levels_max=int(p["levels"]))),
    ),
    Scenario(
        "wide_spread",
        "All quotes of the flow stand farther away.",
        (_SECONDS, _parameter("steps", 5.0, 1.0, 1000.0, "levels", "how much farther, in levels")),
        _steady(lambda p: Conditions(distance_steps=int(p["steps"]))),
    ),
    Scenario(
        "one_sided_market",
        "Most market orders go one way.",
        (
            _SECONDS,
            _parameter("buy_bias", -0.8, -1.0, 1.0, "share", "share that is forced to buy; negative: to sell"),
            _parameter("market", 1.5, 0.1, 100.0, "factor", "rate of market orders"),
        ),
        _steady(lambda p: Conditions(buy_bias=p["buy_bias"], market=p["market"])),
    ),
    Scenario(
        "volume_surge",
        "More and larger market orders.",
        (
            _SECONDS,
            _parameter("market", 3.0, 1.0, 100.0, "factor", "rate of market orders"),
            _parameter("size", 2.0, 0.1, 100.0, "factor", "size of all orders"),
        ),
        _steady(lambda p: Conditions(market=p["market"], size=p["size"])),
    ),
    Scenario(
        "price_jump",
        "News: the reference price jumps within a second, the flow follows.",
        (_parameter("jump", 0.02, -0.5, 1.0, "share", "relative change of the reference price"),),
        lambda p: (Phase(1.0, drift=p["jump"]),),
    ),
    Scenario(
        "feed_gap",
        "Market data stop; trading goes on unseen.",
        (_SECONDS,),
        _faulty(lambda _: Faults(feed_gap=True)),
    ),
    Scenario(
        "latency_spike",
        "Orders and cancels take longer to the venue.",
        (
            _SECONDS,
            _parameter("factor", 10.0, 1.0, 1000.0, "factor", "multiplier of execution_delay"),
            _parameter("extra_ms", 0.0, 0.0, 600_000.0, "ms", "added to it"),
        ),
        _faulty(lambda p: Faults(latency_factor=p["factor"], latency_extra_ns=round(p["extra_ms"] * 1e6))),
    ),
    Scenario(
        "order_rejects",
        "The venue rejects new orders by chance.",
        (_SECONDS, _parameter("probability", 0.3, 0.0, 1.0, "share", "chance of a rejection")),
        _faulty(lambda p: Faults(reject_probability=p["probability"])),
    ),
    Scenario(
        "partial_outage",
        "The venue takes no new orders; cancels work unless they fail, too.",
        (_SECONDS, _parameter("cancels_fail", 0.0, 0.0, 1.0, "0 or 1", "from 0.5 on cancels are refused as well")),
        _faulty(lambda p: Faults(refuses_orders=True, refuses_cancels=p["cancels_fail"] >= 0.5)),
    ),
)
SCENARIOS: Mapping[str, Scenario] = {each.name: each for each in _SHIPPED}
FAULT_SCENARIOS = ("feed_gap", "latency_spike", "order_rejects", "partial_outage")
"""Those that change nothing of the flow: faults of the venue alone."""


def find_scenario(name: str) -> Scenario:
    """Return a scenario by name; InvalidRequest lists them."""
    if name not in SCENARIOS:
        raise InvalidRequest.of("scenario", name, ", ".join(SCENARIOS))
    return SCENARIOS[name]
