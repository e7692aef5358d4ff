"""What a strategy has earned on a running market so far: result by cause, and markouts.

Exact integers of half tick-lots; it is told fills and mids, and knows no market.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from market_maker.domain.units import NS_PER_SECOND

HORIZONS_NS = (NS_PER_SECOND, 10 * NS_PER_SECOND, 60 * NS_PER_SECOND)
WAITING_MAX = 2_000
"""Fills whose mid at a horizon is yet to come; further ones are left out of that horizon."""


@dataclass(slots=True)
class Horizon:
    """Markouts at one horizon after the fills.

    `sum_half` is the sum of side x 2 (mid then - price) x quantity in half tick-lots, `lots` and `fills` what it is over.
    `waiting` are (instant, signed lots, half ticks of the price), oldest first.
    """

    horizon_ns: int
    sum_half: int = 0
    lots: int = 0
    fills: int = 0
    left_out: int = 0
    waiting: list[tuple[int, int, int]] = field(default_factory=list)

    def settle(self, now_ts: int, mid_half_ticks: int) -> None:
        """Take in the fills whose horizon has passed, at the present mid."""
        count = 0
        for due_ts, signed_lots, price_half in self.waiting:
            if due_ts > now_ts:
                break
            self.sum_half += signed_lots * (mid_half_ticks - price_half)
            self.lots += abs(signed_lots)
            self.fills += 1
            count += 1
        del self.waiting[:count]


@dataclass(slots=True)
class Score:
    """The result since the start, in half tick-lots.

    `spread_half` is what trading away from the mid earned, at the mid right before each fill. What the mid did to the inventory
    is the rest of the net result, so that spread + inventory - fees = net, always.
    """

    start_lots: int = 0
    start_mid_half: int = 0
    mid_half: int = 0
    qty_lots: int = 0
    cash_tick_lots: int = 0
    fees_tick_lots: int = 0
    volume_tick_lots: int = 0
    spread_half: int = 0
    fills: int = 0
    maker_fills: int = 0
    horizons: list[Horizon] = field(default_factory=lambda: [Horizon(each) for each in HORIZONS_NS])

    def mark(self, now_ts: int, mid_half_ticks: int) -> bool:
        """Take in the market's mid at an instant; return whether a horizon of a fill has passed."""
        if not self.start_mid_half:
            self.start_mid_half = mid_half_ticks
        self.mid_half = mid_half_ticks
        due = [each for each in self.horizons if each.waiting and each.waiting[0][0] <= now_ts]
        for horizon in due:
            horizon.settle(now_ts, mid_half_ticks)
        return bool(due)

    def add_fill(
        self, ts: int, side: int, price_ticks: int, qty_lots: int, *, fee_tick_lots: int, is_maker: bool
    ) -> None:
        """Take in a fill at an instant of the market, right after the mid that `mark` was told last."""
        value = price_ticks * qty_lots
        self.qty_lots += side * qty_lots
        self.cash_tick_lots -= side * value
        self.fees_tick_lots += fee_tick_lots
        self.volume_tick_lots += value
        self.fills += 1
        self.maker_fills += is_maker
        self.spread_half += side * qty_lots * (self.mid_half - 2 * price_ticks)
        for horizon in self.horizons:
            if len(horizon.waiting) < WAITING_MAX:
                horizon.waiting.append((ts + horizon.horizon_ns, side * qty_lots, 2 * price_ticks))
            else:
                horizon.left_out += 1

    @property
    def net_half(self) -> int:
        """The whole result, fees paid, at the present mid."""
        held = (self.start_lots + self.qty_lots) * self.mid_half - self.start_lots * self.start_mid_half
        return 2 * (self.cash_tick_lots - self.fees_tick_lots) + held

    @property
    def inventory_half(self) -> int:
        """What the mid did to the inventory."""
        return self.net_half + 2 * self.fees_tick_lots - self.spread_half
