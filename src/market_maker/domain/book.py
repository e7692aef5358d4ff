"""Values that describe an order book at an instant; the engine is in `matching`."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Level:
    """One price and the total quantity displayed there, in quote and base currency."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """All levels to a depth at one instant, best first.

    `sequence` counts the changes of the book since its session began; `ts` is ns UTC. `is_stale`: the feed has a gap, and this
    is the last book before it. `phase` is the trading phase, `indicative` what its auction would trade at this moment.
    """

    pair_id: UUID
    ts: int
    sequence: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    is_stale: bool = field(default=False, kw_only=True)
    phase: str = field(default="CONTINUOUS", kw_only=True)
    indicative: Level | None = field(default=None, kw_only=True)
