"""What it costs to get out: against the book that is there, over time, and as a spread that varies.

Walking a book is exact, in decimal money. The rest is statistics.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

import numpy as np

from market_maker.domain.book import Level
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.performance.figures import Float64
from market_maker.risk.laws import upper_quantile
from market_maker.risk.results import TailRisk
from market_maker.risk.tails import tail_share_of


@dataclass(frozen=True, slots=True)
class Liquidation:
    """What it costs to close a position at once.

    Parameters
    ----------
    quantity : closed, not negative, base currency
    cost : (mid - price) x quantity of a sale, the reverse of a purchase, exact, quote currency: not negative
    worst_price : of the last unit; None for a flat position
    levels : levels that were used
    depth : quantity that was there
    """

    quantity: Decimal
    cost: Decimal
    worst_price: Decimal | None
    levels: int
    depth: Decimal


def walk_book(position: Decimal, bids: Sequence[Level], asks: Sequence[Level]) -> Liquidation:
    """Return the cost of closing a position by a market order, against the mid.

    Parameters
    ----------
    position : signed quantity in base currency; a long one sells to the bids
    bids, asks : best first, positive quantities, not crossed

    Raises
    ------
    DataError
        No two-sided, ordered book, or less depth than the position: the message says how much is there.

    Notes
    -----
    Hidden quantity and what refills a level during the walk are not counted; nor are fees. O(levels).

    Examples
    --------
    >>> bids = [Level(Decimal(99), Decimal(1)), Level(Decimal(98), Decimal(5))]
    >>> walk_book(Decimal(2), bids, [Level(Decimal(101), Decimal(1))]).cost  # 1 at 99 and 1 at 98, mid 100
    Decimal('3')
    """
    if not position.is_finite():
        raise InvalidRequest.of("position", str(position), "a finite quantity")
    mid = _checked_mid(bids, asks)
    side = bids if position > 0 else asks
    with localcontext(EXACT):
        depth = sum((level.quantity for level in side), Decimal(0))
        left, cost, used, worst = abs(position), Decimal(0), 0, None
        if left > depth:
            raise DataError(f"liquidation: the book holds {depth:f} in {len(side)} levels; {left:f} is needed")
        for level in side:
            if not left:
                break
            taken = min(left, level.quantity)
            cost += abs(mid - level.price) * taken
            left, used, worst = left - taken, used + 1, level.price
    return Liquidation(abs(position), cost, worst, used, depth)


def with_liquidation(risk: TailRisk, cost: float) -> TailRisk:
    """Return both figures with the cost of getting out added: liquidity-adjusted VaR, LVaR = VaR + cost.

    `cost` is in the unit of the figures, not negative. It is added in full: as if the spread were paid with certainty.
    """
    if not (math.isfinite(cost) and cost >= 0.0):
        raise InvalidRequest.of("cost", cost, "a finite cost of 0 or more")
    basis = replace(
        risk.basis,
        convention=risk.basis.convention + ", plus the cost of liquidation",
        parameters=(*risk.basis.parameters, ("liquidation_cost", cost)),
    )
    return TailRisk(risk.value_at_risk + cost, risk.expected_shortfall + cost, basis)


def exogenous_spread_cost(value: float, spread_mean: float, spread_deviation: float, factor: float) -> float:
    """Return half the spread at its worst: |value| / 2 x (mean + factor x deviation) of the relative spread.

    Parameters
    ----------
    value : of the position
    spread_mean, spread_deviation : of (ask - bid) / mid, not negative
    factor : deviations to the wanted quantile of the spread; 2 to 4.5 by the source, since spreads are not normal

    Source: Bangia, Diebold, Schuermann and Stroughair (1999), "Modeling liquidity risk", equation 6.
    """
    given = (value, spread_mean, spread_deviation, factor)
    if not (all(map(math.isfinite, given)) and min(given[1:]) >= 0.0):
        raise InvalidRequest.of("spread", given, "finite numbers; mean, deviation and factor not negative")
    return 0.5 * abs(value) * (spread_mean + factor * spread_deviation)


def time_to_liquidate(quantity: float, daily_volume: float, participation: float) -> float:
    """Return days to close |quantity| at a share of the daily volume, in (0, 1]."""
    if not (0.0 < participation <= 1.0 and daily_volume > 0.0 and math.isfinite(daily_volume)):
        allowed = "a positive daily volume and a participation above 0 and at most 1"
        raise InvalidRequest.of("participation", (daily_volume, participation), allowed)
    return abs(quantity) / (daily_volume * participation)


@dataclass(frozen=True, slots=True)
class ImpactModel:
    """What trading does to the price, and what the price does by itself (Almgren and Chriss).

    Parameters
    ----------
    volatility : of the price per square root of a unit of time (price, not return)
    permanent : gamma, change of the price per lot sold
    temporary : eta, concession per lot and unit of time of the rate of trade
    fixed : epsilon, half spread plus fees, per lot
    """

    volatility: float
    permanent: float
    temporary: float
    fixed: float = 0.0

    def __post_init__(self) -> None:
        for name in ("volatility", "permanent", "temporary", "fixed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise InvalidRequest.of(name, value, "a finite number, 0 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """A way to liquidate.

    Parameters
    ----------
    holdings : (steps + 1,) lots held, from all to 0
    expected_cost, cost_variance : in price x lots, and its square
    """

    holdings: Float64
    expected_cost: float
    cost_variance: float


def liquidation_schedule(
    qty_lots: float, duration: float, steps: int, model: ImpactModel, *, risk_aversion: float = 0.0
) -> Schedule:
    """Return the schedule of least expected cost + risk aversion x variance, in equal steps.

    Parameters
    ----------
    qty_lots : lots to close, positive
    duration : time for it, positive, in the unit of the model
    steps : trades, 1 to 10,000
    model : temporary impact above permanent x step / 2, else no schedule is best
    risk_aversion : lambda, 0: equal trades

    Notes
    -----
    x_j = sinh(k (T - t_j)) / sinh(k T) X with 2 / tau^2 (cosh(k tau) - 1) = lambda sigma^2 / eta~, eta~ = eta - gamma tau / 2;
    E = gamma X^2 / 2 + epsilon X + eta~ / tau sum n_j^2, V = sigma^2 tau sum_{j>=1} x_j^2.
    Source: Almgren and Chriss (2000), "Optimal execution of portfolio transactions", J. Risk 3(2), equations 8 to 18.
    """
    if not (qty_lots > 0.0 and duration > 0.0 and 1 <= steps <= 10_000 and risk_aversion >= 0.0):
        allowed = "a positive quantity and duration, 1 to 10000 steps and a risk aversion of 0 or more"
        raise InvalidRequest.of("schedule", (qty_lots, duration, steps, risk_aversion), allowed)
    step = duration / steps
    adjusted = model.temporary - 0.5 * model.permanent * step
    if not adjusted > 0.0:
        allowed = f"more than permanent x step / 2 = {0.5 * model.permanent * step:.6g}"
        raise InvalidRequest.of("temporary", model.temporary, allowed)
    curvature = 0.5 * risk_aversion * model.volatility**2 / adjusted * step**2
    kappa = math.acosh(1.0 + curvature)  # per step
    left = np.arange(steps, -1, -1, dtype=np.float64)
    if kappa * steps < 1e-9:
        holdings = qty_lots * left / steps
    else:
        # sinh(k j) / sinh(k n) without overflow.
        holdings = (
            qty_lots * np.exp(kappa * (left - steps)) * np.expm1(-2 * kappa * left) / math.expm1(-2 * kappa * steps)
        )
    trades = -np.diff(holdings)
    cost = 0.5 * model.permanent * qty_lots**2 + model.fixed * qty_lots + adjusted / step * float(trades @ trades)
    variance = model.volatility**2 * step * float(holdings[1:] @ holdings[1:])
    return Schedule(holdings, cost, variance)


def liquidation_value_at_risk(schedule: Schedule, confidence: float | Decimal) -> float:
    """Return the cost of the schedule that is exceeded with probability 1 - c: E + z sqrt(V), the costs being normal.

    Source: Almgren and Chriss (2000), section 4.1.
    """
    return schedule.expected_cost + upper_quantile(float(tail_share_of(confidence))) * math.sqrt(schedule.cost_variance)


def least_liquidation_risk(
    qty_lots: float, model: ImpactModel, confidence: float | Decimal, durations: Sequence[float], *, steps: int = 100
) -> tuple[float, Schedule]:
    """Return the duration among those given, and its schedule of equal trades, with the least `liquidation_value_at_risk`.

    Durations whose steps are too long for the model are passed over; InvalidRequest when none is left.
    """
    quantile = upper_quantile(float(tail_share_of(confidence)))
    # Of equal trades: sum n_j^2 = X^2 / n and sum x_j^2 = X^2 (n - 1)(2n - 1) / 6n.
    left = (steps - 1) * (2 * steps - 1) / (6.0 * steps)

    def value(duration: float) -> float:
        step = duration / steps
        adjusted = model.temporary - 0.5 * model.permanent * step
        return adjusted / step * qty_lots**2 / steps + quantile * model.volatility * qty_lots * math.sqrt(step * left)

    fitting = [each for each in durations if model.temporary > 0.5 * model.permanent * each / steps]
    if not fitting:
        raise InvalidRequest.of("durations", len(durations), "at least one that is short enough for the model")
    best = min(fitting, key=value)
    return best, liquidation_schedule(qty_lots, best, steps, model)


def depth_share(position: Decimal, bids: Sequence[Level], asks: Sequence[Level]) -> float:
    """Return |position| over the visible depth of the side that would take it; DataError without any depth."""
    depth = sum((level.quantity for level in (bids if position > 0 else asks)), Decimal(0))
    if depth <= 0:
        raise DataError("liquidation: the book holds nothing on the side that is needed; at least one level is needed")
    return float(abs(position) / depth)


def _checked_mid(bids: Sequence[Level], asks: Sequence[Level]) -> Decimal:
    if not bids or not asks:
        raise DataError(f"liquidation: the book has {len(bids)} bids and {len(asks)} asks; one of each is needed")
    for side, step in ((bids, -1), (asks, 1)):
        prices = [level.price for level in side]
        ordered = all((second - first) * step > 0 for first, second in itertools.pairwise(prices))
        if not ordered or min(level.quantity for level in side) <= 0:
            raise DataError("liquidation: levels must be best first, each price once, with positive quantities")
    if bids[0].price >= asks[0].price:
        raise DataError(f"liquidation: the book is crossed: {bids[0].price:f} is bid, {asks[0].price:f} asked")
    return EXACT.divide(EXACT.add(bids[0].price, asks[0].price), Decimal(2))
