"""The simulated markets as risk sees them: books, resting orders, balances. Reads and changes nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import UUID

from market_maker.domain.errors import RejectReason, Unavailable
from market_maker.risk.holding import RestingOrder
from market_maker.risk.limits import LimitScope, covers
from market_maker.risk.market_view import MarketLook
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.service import SimulatorService
from market_maker.venue.venue import Venue

LEVELS = 200
"""Levels a side that a liquidation may walk."""


class SimulatedMarkets:
    """`risk.market_view.MarketView` of the simulated exchange."""

    def __init__(self, simulator: SimulatorService) -> None:
        self._simulator = simulator

    async def look(self, pair_id: UUID, position_ids: frozenset[UUID]) -> MarketLook | None:
        """Return the committed market of a pair; None where none runs."""
        loop = self._simulator.loops.get(pair_id)
        if loop is None:
            return None
        try:
            exchange = await loop.committed()
        except Unavailable:
            return None
        return MarketLook(
            loop.books.get(exchange, LEVELS), exchange.market.reference_ticks, _resting(exchange, position_ids)
        )

    def balance(self, account_id: UUID) -> Decimal | None:
        """Return the balance of an account, results and fees included; None when it has not traded since the start."""
        funds = self._simulator.funds.get(account_id)
        return None if funds is None else funds.balance()

    def reference_ticks(self, pair_id: UUID) -> int | None:
        """Return the reference price of a pair in ticks; None where no market runs."""
        loop = self._simulator.loops.get(pair_id)
        return None if loop is None or loop.exchange is None else loop.exchange.market.reference_ticks

    def venues(self) -> list[Venue]:
        """Return the venues that run."""
        loops = self._simulator.loops.values()
        return [loop.exchange.venue for loop in loops if loop.exchange is not None]

    async def end_orders(self, scope: LimitScope, scope_id: UUID | None) -> int:
        """Cancel every open order of a scope at once, without the delay of a request; return how many."""

        def end(exchange: SimulatedExchange, ts: int) -> int:
            venue = exchange.venue
            found = [
                order for order in venue.orders.values() if covers(scope, scope_id, venue.positions[order.position_id])
            ]
            for order in found:
                if order.order_id in venue.orders:
                    venue.cancel_now(order, ts, RejectReason.KILL_SWITCH)
            return len(found)

        return sum(await asyncio.gather(*(loop.act(end) for loop in list(self._simulator.loops.values()))))


def _resting(exchange: SimulatedExchange, position_ids: frozenset[UUID]) -> dict[UUID, tuple[RestingOrder, ...]]:
    instrument, venue = exchange.instrument, exchange.venue
    found: dict[UUID, list[RestingOrder]] = {}
    for order in venue.orders.values():
        if order.position_id in position_ids and order.leaves_lots:
            price = instrument.ticks_to_price(venue.order_price(order))
            resting = RestingOrder(order.side, price, instrument.lots_to_qty(order.leaves_lots))
            found.setdefault(order.position_id, []).append(resting)
    return {key: tuple(orders) for key, orders in found.items()}
