"""A simulated market in time: the row of table `sessions`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from market_maker.domain.modes import TestMode
from market_maker.domain.order import SelfTradePrevention
from market_maker.matching.codes import Phase

SPEEDS = (0.1, 100.0)
"""Slowest and fastest pace of a session's market beside the clock."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Filters and safeguards of a market in ticks, tick-lots and ns; 0 switches one off. See `matching.book.TradingRules`.

    `self_trade` is what orders have that name no self-trade prevention, a `SelfTradePrevention`.
    """

    collar_ticks: int = 0
    notional_min: int = 0
    static_band_ticks: int = 0
    dynamic_band_ticks: int = 0
    volatility_auction_ns: int = 0
    self_trade: int = int(SelfTradePrevention.CANCEL_NEWEST)

    @property
    def needs_reference(self) -> bool:
        """Whether the engine must know the reference price."""
        return bool(self.collar_ticks or self.static_band_ticks or self.notional_min)


@dataclass(frozen=True, slots=True)
class ScenarioWish:
    """A scenario that is to start: by name, with parameters, so long from now, and again at a distance (0: once)."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    starts_in_ns: int = 0
    repeats_every_ns: int = 0


class Pace(StrEnum):
    """How fast a recording is played: so many times as fast as the clock, or as fast as possible."""

    CLOCK = "CLOCK"
    FASTEST = "FASTEST"


class AtEnd(StrEnum):
    """What happens when a recording has been played to its end: the session pauses, stops, or plays it again."""

    PAUSE = "PAUSE"
    STOP = "STOP"
    LOOP = "LOOP"


@dataclass(frozen=True, slots=True)
class Playback:
    """The recording that a session plays instead of an invented market: [start_ts, end_ts) of its pair, ns UTC.

    `allow_gaps`: in spite of less than 0.99 coverage.
    """

    start_ts: int
    end_ts: int
    pace: Pace = Pace.CLOCK
    at_end: AtEnd = AtEnd.PAUSE
    allow_gaps: bool = False


@dataclass(slots=True)
class Session:
    """A market in time: the row of table `sessions`.

    `state` is RUNNING, PAUSED or STOPPED. `market` is the JSON text of `SimulatedExchange.dump_state`, empty
    before the first commit. `parameters` are those of mode CUSTOM, see `synthetic.custom`;
    `scenarios` are started when the market begins, in `first_phase`; `playback` is None for an invented market. Durations are in ns of the market's time, which runs `speed` times as fast as the clock.
    """

    session_id: UUID
    pair_id: UUID
    mode: TestMode
    seed: int
    state: str
    price_deviation: float
    execution_delay_ns: int
    market_update_interval_ns: int
    initial_price_ticks: int
    created_ts: int
    updated_ts: int
    sequence: int = 0
    market: str = ""
    speed: float = 1.0
    parameters: dict[str, Any] = field(default_factory=dict)
    scenarios: tuple[ScenarioWish, ...] = ()
    first_phase: Phase = Phase.CONTINUOUS
    rules: SessionRules = field(default_factory=SessionRules)
    playback: Playback | None = None

    @property
    def delay_ns(self) -> int:
        """The execution delay in ns of the clock."""
        return self.execution_delay_ns if self.speed == 1.0 else round(self.execution_delay_ns / self.speed)
