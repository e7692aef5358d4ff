"""How the market's own time runs beside the clock of the world: as fast, faster or not at all.

A market has an instant of its own, from which its flow is drawn. While it runs, both times are on one line; when it
stands still the line begins anew, so that a market that was paused or restored goes on from where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class MarketTime:
    """A line: at `wall_ts` (ns UTC) the market is at `market_ts`, and `speed` as fast as the clock from then on.

    Examples
    --------
    >>> time = MarketTime(1_000, 50, Fraction(2))
    >>> time.market_at(1_010), time.wall_at(70)
    (70, 1010)
    """

    wall_ts: int
    market_ts: int
    speed: Fraction = Fraction(1)

    def market_at(self, wall_ts: int) -> int:
        """Return the market's instant at an instant of the clock."""
        return self.market_ts + (wall_ts - self.wall_ts) * self.speed.numerator // self.speed.denominator

    def wall_at(self, market_ts: int) -> int:
        """Return the first instant of the clock at which the market has reached `market_ts`."""
        ahead = (market_ts - self.market_ts) * self.speed.denominator
        return self.wall_ts - -ahead // self.speed.numerator
