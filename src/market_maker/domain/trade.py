"""Trades (public prints) and fills (ours)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from market_maker.domain.order import Liquidity, Side


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of one of our orders: price in ticks, quantity in lots, fee in tick-lots (positive: paid)."""

    trade_id: UUID
    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    position_id: UUID
    side: Side
    liquidity: Liquidity
    price_ticks: int
    qty_lots: int
    fee_tick_lots: int
    ts: int
