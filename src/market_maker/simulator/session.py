"""A simulated market in time: the row of table `sessions`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from market_maker.domain.modes import TestMode

SPEEDS = (0.1, 100.0)
"""Slowest and fastest pace of a session's market beside the clock."""


@dataclass(slots=True)
class Session:
    """A market in time: the row of table `sessions`.

    `state` is RUNNING, PAUSED or STOPPED. `market` is the JSON text of `SimulatedExchange.dump_state`, empty
    before the first commit. Durations are in ns of the market's time, which runs `speed` times as fast as the clock.
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

    @property
    def delay_ns(self) -> int:
        """The execution delay in ns of the clock."""
        return self.execution_delay_ns if self.speed == 1.0 else round(self.execution_delay_ns / self.speed)
