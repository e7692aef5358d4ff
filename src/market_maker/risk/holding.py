"""Risk of what is held and of what may come to be held: inventory at its holding time, orders that all fill, concentration.

Pure functions. Quantities and money are exact decimals where they are given so; volatilities make floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.domain.order import Side
from market_maker.performance.figures import Figure
from market_maker.risk.laws import normal_tail
from market_maker.risk.results import Basis, ScalingRule, TailRisk
from market_maker.risk.samples import checked_sample
from market_maker.risk.scaling import HORIZON_MAX_NS
from market_maker.risk.tails import tail_share_of


def inventory_risk(
    value: float,
    volatility: float,
    confidence: float | Decimal,
    *,
    interval_ns: int,
    holding_ns: int,
    observations: int = 0,
) -> TailRisk:
    """Return the figures of an inventory over the time that it takes to work it off.

    Parameters
    ----------
    value : of the inventory, signed
    volatility : deviation of returns of one interval
    confidence : in (0, 1)
    interval_ns : of the volatility
    holding_ns : expected time to flatten, such as the half-life of the inventory; it may be shorter than the interval
    observations : that the volatility was made from

    Notes
    -----
    sigma |q| sqrt(E time) z: normal with zero mean. As if all of it were held for the whole time: for one that is worked
    off evenly the deviation would be smaller by sqrt(3).
    """
    if not (math.isfinite(value) and math.isfinite(volatility) and volatility >= 0.0):
        raise InvalidRequest.of("volatility", (value, volatility), "a finite value, a finite volatility of 0 or more")
    if not (interval_ns > 0 and 0 < holding_ns <= HORIZON_MAX_NS):
        raise InvalidRequest.of("holding_ns", holding_ns, "a positive time of at most 366 days, a positive interval")
    scale = math.sqrt(holding_ns / interval_ns)
    deviation = abs(value) * volatility * scale
    quantile, shortfall = normal_tail(float(tail_share_of(confidence)))
    basis = Basis(
        model="inventory",
        convention="zero mean, normal, all held for the expected time to flatten",
        confidence=float(confidence),
        horizon_ns=holding_ns,
        interval_ns=interval_ns,
        scaling=ScalingRule.SQUARE_ROOT,
        scale=scale,
        observations=observations,
        parameters=(("volatility", volatility),),
    )
    return TailRisk(deviation * quantile, deviation * shortfall, basis)


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """An order that may fill: its side, its price, and what is left of it."""

    side: Side
    price: Decimal
    leaves_qty: Decimal


@dataclass(frozen=True, slots=True)
class WorstCase:
    """What a position may become.

    Parameters
    ----------
    longest, shortest : position when all buys fill and no sale, and the reverse; signed
    largest : the one of the two with the larger size
    notional : |largest| x mark
    buy_cost, sell_proceeds : cash of all buys, of all sales
    loss_after_buys, loss_after_sells : loss against the mark of orders bought above it, sold below it; a gain is negative
    """

    longest: Decimal
    shortest: Decimal
    largest: Decimal
    notional: Decimal
    buy_cost: Decimal
    sell_proceeds: Decimal
    loss_after_buys: Decimal
    loss_after_sells: Decimal


def worst_case(position: Decimal, mark: Decimal, orders: Sequence[RestingOrder]) -> WorstCase:
    """Return what the position becomes if all resting orders of a side fill: the quantity for a check before an order.

    Parameters
    ----------
    position : signed quantity
    mark : price at which it is valued, positive
    orders : those that rest, and the one that is to be added

    Raises
    ------
    InvalidRequest
        A mark or a price that is not positive, a quantity that is negative or not finite.

    Notes
    -----
    Exact. Orders that cancel each other (one cancels the other, reduce-only) are counted in full.
    """
    if not (position.is_finite() and mark.is_finite() and mark > 0):
        raise InvalidRequest.of("mark", (str(position), str(mark)), "a finite position and a positive mark")
    totals = {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
    cash = {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
    with localcontext(EXACT):
        for number, order in enumerate(orders):
            fine = (
                order.price.is_finite() and order.leaves_qty.is_finite() and order.price > 0 and order.leaves_qty >= 0
            )
            if not fine:
                given = (str(order.price), str(order.leaves_qty))
                raise InvalidRequest.of(f"orders[{number}]", given, "a positive price and a quantity of 0 or more")
            totals[order.side] += order.leaves_qty
            cash[order.side] += order.leaves_qty * order.price
        longest, shortest = position + totals[Side.BUY], position - totals[Side.SELL]
        largest = longest if abs(longest) >= abs(shortest) else shortest
        return WorstCase(
            longest=longest,
            shortest=shortest,
            largest=largest,
            notional=abs(largest) * mark,
            buy_cost=cash[Side.BUY],
            sell_proceeds=cash[Side.SELL],
            loss_after_buys=cash[Side.BUY] - totals[Side.BUY] * mark,
            loss_after_sells=totals[Side.SELL] * mark - cash[Side.SELL],
        )


@dataclass(frozen=True, slots=True)
class Concentration:
    """How few positions make up a total.

    Parameters
    ----------
    herfindahl : sum of squared shares of sizes, from 1 / n to 1; undefined where all are 0
    effective_number : 1 / herfindahl: so many equal positions would be as concentrated
    largest_share : of the largest
    largest : its index
    """

    herfindahl: Figure
    effective_number: Figure
    largest_share: Figure
    largest: int


def concentration(amounts: ArrayLike) -> Concentration:
    """Return the concentration of amounts, such as values or component VaR, by their sizes.

    Parameters
    ----------
    amounts : (n,) finite, n >= 1; a hedge counts with its size
    """
    sizes = np.abs(checked_sample(amounts, "concentration"))
    largest = int(np.argmax(sizes))
    if sizes[largest] == 0.0:
        nothing = Figure(None, f"all {sizes.size} amounts are 0")
        return Concentration(nothing, nothing, nothing, largest)
    shares = sizes / sizes[largest]
    shares /= math.fsum(shares.tolist())
    index = float(shares @ shares)
    return Concentration(Figure(index), Figure(1.0 / index), Figure(float(shares[largest])), largest)


@dataclass(frozen=True, slots=True)
class Margin:
    """How far an account is from its liquidation.

    Parameters
    ----------
    equity, maintenance : of the account at the mark
    ratio : equity / maintenance; None for a flat position
    liquidation_price : where equity is down to maintenance; None where no positive price does it
    distance : |mark - liquidation price|; 0 when it is reached already
    distance_ticks : whole ticks that the price may move and leave the account alive; None as the price
    distance_sigmas : share of the price over `volatility`; None as the price, or without volatility
    """

    equity: Decimal
    maintenance: Decimal
    ratio: float | None
    liquidation_price: Decimal | None
    distance: Decimal | None
    distance_ticks: int | None
    distance_sigmas: float | None


def margin(
    equity: Decimal,
    position: Decimal,
    mark: Decimal,
    *,
    maintenance_rate: Decimal,
    tick_size: Decimal,
    volatility: float | None = None,
) -> Margin:
    """Return the margin of one linear position that the whole equity stands for.

    Parameters
    ----------
    equity : cash and unrealised profit at the mark
    position : signed quantity
    mark : price, positive
    maintenance_rate : share of the position's value that has to be there, in [0, 1)
    tick_size : of the price, positive
    volatility : deviation of returns over the horizon that distances are counted in

    Notes
    -----
    equity + q (p - mark) = rate |q| p, so p = (q mark - equity) / (q - rate |q|). One rate: venues with tiers have several.
    Distances are exact fractions, rounded towards the mark; the price is given to 28 digits.
    """
    amounts = (equity, position, mark, maintenance_rate, tick_size)
    if not (all(each.is_finite() for each in amounts) and mark > 0 and tick_size > 0 and 0 <= maintenance_rate < 1):
        allowed = "finite amounts, a positive mark and tick size, a rate from 0 up to and without 1"
        raise InvalidRequest.of("margin", tuple(map(str, amounts)), allowed)
    if volatility is not None and not (math.isfinite(volatility) and volatility > 0.0):
        raise InvalidRequest.of("volatility", volatility, "a positive number")
    with localcontext(EXACT):
        maintenance = maintenance_rate * abs(position) * mark
        spare = equity - maintenance
    if position == 0:
        return Margin(equity, maintenance, None, None, None, None, None)
    ratio = float(equity / maintenance) if maintenance else None
    if spare <= 0:
        return Margin(equity, maintenance, ratio, mark, Decimal(0), 0, 0.0 if volatility else None)
    # Each unit of price against the position costs |q| (1 - rate) when long, |q| (1 + rate) when short.
    with localcontext(EXACT):
        slope = abs(position) * (1 - maintenance_rate if position > 0 else 1 + maintenance_rate)
    distance = spare / slope
    price = mark - distance if position > 0 else mark + distance
    if price <= 0:
        return Margin(equity, maintenance, ratio, None, None, None, None)
    ticks = int(Fraction(spare) / (Fraction(slope) * Fraction(tick_size)))
    sigmas = None if volatility is None else float(distance / mark) / volatility
    return Margin(equity, maintenance, ratio, price, distance, ticks, sigmas)


def hedged_share(amounts: ArrayLike) -> float:
    """Return 1 - |net| / gross of signed amounts: 0 when all go one way, 1 when they cancel.

    DataError when all are 0: there is nothing that could be hedged.
    """
    row = checked_sample(amounts, "hedged share")
    gross = math.fsum(np.abs(row).tolist())
    if gross == 0.0:
        raise DataError(f"hedged share: all {row.size} amounts are 0; at least one that is not is needed")
    return 1.0 - abs(math.fsum(row.tolist())) / gross
