"""A position with its market, valued: in the currency that its pair settles in, or in the pair's quote at the pair's own price.

A linear position is worth price x quantity: a return r of the price earns value x r. An INVERSE contract of a fixed amount of
quote currency is settled in coins: n contracts of m from p0 to p1 earn n x m x (1/p0 - 1/p1) coins, which is value x r / (1 + r)
with value = n x m / p0. Turned into the quote at p1, it is n x m x r: linear again. Knows no figure of risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from market_maker.domain.book import BookSnapshot
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.position import PositionState
from market_maker.performance.columns import Whole
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.worth import Worth
from market_maker.risk.history import PriceHistory
from market_maker.risk.holding import RestingOrder


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """A position with what is known of its market.

    Parameters
    ----------
    position, instrument : what is held
    history : closes of the instrument
    mark_half_ticks : price at which it is valued; default: the history's last close
    book : the present book, where a market runs
    orders : the position's own that rest
    in_quote : money of an INVERSE contract is turned into the quote currency, at the mark
    """

    position: PositionState
    instrument: Instrument
    history: PriceHistory
    mark_half_ticks: int | None = None
    book: BookSnapshot | None = None
    orders: tuple[RestingOrder, ...] = ()
    in_quote: bool = False

    @property
    def currency(self) -> str:
        """What its money is in."""
        return self.instrument.quote if self.in_quote else self.instrument.settled_in

    @property
    def is_in_coins(self) -> bool:
        """Whether its money is in the currency whose price moves: what it earns is then not linear in the price."""
        return bool(self.instrument.inverse_scale) and not self.in_quote

    @property
    def mark(self) -> int:
        """The price at which it is valued, in half ticks."""
        return int(self.history.close_half_ticks[-1]) if self.mark_half_ticks is None else self.mark_half_ticks

    @property
    def mark_price(self) -> Decimal:
        """The same in quote currency."""
        return EXACT.divide(self.instrument.ticks_to_price(self.mark), Decimal(2))

    @property
    def quantity(self) -> Decimal:
        """Signed quantity."""
        return self.instrument.lots_to_qty(self.position.qty_lots)

    @property
    def value(self) -> Decimal:
        """Signed value, exact: positive when it is long, also of an INVERSE contract, whose holder owes it."""
        return self.value_of(self.position.qty_lots)

    def value_of(self, lots: int) -> Decimal:
        """Return the value of another signed number of lots at the mark."""
        if self.in_quote:
            return EXACT.multiply(self.instrument.lots_to_qty(lots), self.instrument.contract_multiplier)
        worth = Worth.of(self.instrument).position(lots, self.mark)
        return self.money_of(-worth if self.instrument.inverse_scale else worth)

    def money_of(self, half_units: int) -> Decimal:
        """Return half units of the pair's cash in `currency`."""
        money = EXACT.divide(self.instrument.cash_to_decimal(half_units), Decimal(2))
        return EXACT.multiply(money, self.mark_price) if self.in_quote else money

    @property
    def result(self) -> Decimal:
        """What it has earned, open result and fees included."""
        state = self.position
        settled = state.realised_tick_lots - state.fees_tick_lots - state.cost_tick_lots
        return self.money_of(2 * settled + Worth.of(self.instrument).position(state.qty_lots, self.mark))

    def earned(self, returns: Float64) -> Float64:
        """Return what each return of the price earns, as a share of the value."""
        return returns / (1.0 + returns) if self.is_in_coins else returns

    def marked(self, close_half_ticks: Int64) -> Float64:
        """Return what the position is worth at other prices; differences are what it earns."""
        if self.in_quote:
            return float(self.value) * (close_half_ticks / self.mark)
        worth = Worth.of(self.instrument).positions(np.full(1, self.position.qty_lots), close_half_ticks)
        found: Float64 = worth.astype(np.float64) * (float(self.instrument.tick_lot) / 2.0)
        return found

    def worth_at(self, lots: int, close_half_ticks: Int64) -> Whole:
        """Return the worth of so many lots of its pair at prices, exact, in half units of the pair's cash."""
        return Worth.of(self.instrument).positions(np.full(1, lots), close_half_ticks)


def in_one_currency(holdings: Sequence[Holding], wanted: str | None = None) -> list[Holding]:
    """Return positions with their money in one currency: that given, what all settle in, or else the quote of all.

    Raises
    ------
    InvalidRequest
        Several currencies that the pairs' own prices do not make one, or a currency that a position cannot be told in.
    """
    currencies = sorted({holding.currency for holding in holdings})
    if wanted is None and len(currencies) == 1:
        return list(holdings)
    quotes = {holding.instrument.quote for holding in holdings}
    if wanted is None and len(quotes) > 1:
        raise InvalidRequest.of("scope", ", ".join(currencies), "positions that are all valued in one currency")
    return [_told_in(holding, wanted or next(iter(quotes))) for holding in holdings]


def _told_in(holding: Holding, currency: str) -> Holding:
    pair = holding.instrument
    if currency == pair.settled_in:
        return replace(holding, in_quote=False)
    if currency == pair.quote:
        return replace(holding, in_quote=True)
    allowed = pair.settled_in if pair.settled_in == pair.quote else f"{pair.settled_in} or {pair.quote}"
    raise InvalidRequest.of("currency", currency, f"{allowed}, which a position in {pair.symbol} is valued in")
