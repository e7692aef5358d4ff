"""What risk may ask of the markets that run: their books, the orders that rest there, what accounts hold.

Risk lies below the simulated exchange and knows it only by this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from market_maker.domain.book import BookSnapshot
from market_maker.risk.holding import RestingOrder
from market_maker.risk.limits import LimitScope

if TYPE_CHECKING:  # the venue brings the compiler with it
    from market_maker.venue.venue import Venue


@dataclass(frozen=True, slots=True)
class MarketLook:
    """A market at one instant: its book, its reference price, and the resting orders of the positions asked for."""

    book: BookSnapshot
    reference_ticks: int
    orders: dict[UUID, tuple[RestingOrder, ...]] = field(default_factory=dict)


class MarketView(Protocol):
    """Markets that run; `simulator.risk_view.SimulatedMarkets` is one."""

    async def look(self, pair_id: UUID, position_ids: frozenset[UUID]) -> MarketLook | None:
        """Return the committed market of a pair; None where none runs."""

    def balance(self, account_id: UUID) -> Decimal | None:
        """Return the balance of an account, results and fees included; None when it has not traded since the start."""

    def reference_ticks(self, pair_id: UUID) -> int | None:
        """Return the reference price of a pair in ticks; None where no market runs."""

    def venues(self) -> Sequence[Venue]:
        """Return the venues that run, for what is held and rests there at this moment."""

    async def end_orders(self, scope: LimitScope, scope_id: UUID | None) -> int:
        """Cancel every open order of a scope at once, without the delay of a request; return how many."""


class NoMarkets:
    """What is known where no market runs: nothing."""

    async def look(self, pair_id: UUID, position_ids: frozenset[UUID]) -> MarketLook | None:  # noqa: ARG002
        """Return None."""
        return None

    def balance(self, account_id: UUID) -> Decimal | None:  # noqa: ARG002
        """Return None."""
        return None

    def reference_ticks(self, pair_id: UUID) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def venues(self) -> Sequence[Venue]:
        """Return none."""
        return ()

    async def end_orders(self, scope: LimitScope, scope_id: UUID | None) -> int:  # noqa: ARG002
        """Return 0."""
        return 0
