"""The only readers of wall time. Everything else is handed a `Clock`."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now_ns(self) -> int:
        """Return the present as nanoseconds since 1970 UTC."""


class SystemClock:
    """The machine's clock made monotonic: a jump of the wall clock never turns time back or makes it leap.

    The wall clock is read once, when the clock is made; from then on only the monotonic counter moves it.
    """

    def __init__(self, not_before_ns: int = 0) -> None:
        wall_ns = max(time.time_ns(), not_before_ns)
        self._offset_ns = wall_ns - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since 1970 UTC; never less than an earlier answer."""
        return time.monotonic_ns() + self._offset_ns

    def not_before(self, ts: int) -> None:
        """Move the clock forward so that it never answers less than `ts` (the last committed instant)."""
        self._offset_ns = max(self._offset_ns, ts - time.monotonic_ns())


class SimulatedClock:
    """A clock that moves only when told to; for tests and virtual time."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Return the simulated instant."""
        return self._now_ns

    def advance(self, duration_ns: int) -> None:
        """Move forward by `duration_ns` >= 0."""
        assert duration_ns >= 0, duration_ns
        self._now_ns += duration_ns
