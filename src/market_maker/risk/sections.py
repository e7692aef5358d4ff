"""The parts of an assessment beside its two figures: falls, whose risk it is, getting out, what may come, storms.

Pure functions that return JSON values, amounts as text. A section that cannot be made holds the reason and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.domain.units import DAY_NS, NS_PER_SECOND, format_duration
from market_maker.performance.figures import Float64
from market_maker.risk.assessment import Observed
from market_maker.risk.contributions import contributions
from market_maker.risk.drawdowns import drawdown_risk
from market_maker.risk.holding import concentration, inventory_risk, margin, worst_case
from market_maker.risk.liquidity import (
    ImpactModel,
    depth_share,
    least_liquidation_risk,
    liquidation_value_at_risk,
    walk_book,
)
from market_maker.risk.measures import AMOUNT_STEP, RiskMetrics
from market_maker.risk.models import Model
from market_maker.risk.positions import Holding
from market_maker.risk.stress import SCENARIOS, Norm, Scenario, reverse_stress, stress, worst_windows
from market_maker.risk.tails import Convention

REFILL_S = 1.0
"""The book is taken to stand again as it is after so many seconds: what makes trading slowly cheaper."""
_DURATIONS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
HOLDING_NS = (NS_PER_SECOND, 10 * DAY_NS)
"""Shortest and longest time that an inventory is taken to be held."""
STRETCHES = 5


@dataclass(frozen=True, slots=True)
class Funds:
    """What stands behind the positions: equity in the account's currency, and the share of their value that has to be there."""

    equity: Decimal
    maintenance_rate: Decimal


def with_sections(metrics: RiskMetrics, observed: Observed, funds: Funds | None) -> RiskMetrics:
    """Return an assessment with all of its sections."""
    deviation = float(observed.profits.std(ddof=1)) if observed.profits.size > 1 else 0.0
    horizon_scale = math.sqrt(metrics.time_horizon_ns / metrics.sampling_interval_ns)
    makers: dict[str, Callable[[], dict[str, Any] | list[dict[str, Any]]]] = {
        "drawdowns": lambda: _drawdowns(metrics, observed),
        "components": lambda: _components(metrics, observed, horizon_scale),
        "liquidity": lambda: _liquidity(metrics, observed),
        "inventory": lambda: _inventory(metrics, observed, deviation),
        "worst_case": lambda: _worst_case(metrics, observed),
        "concentration": lambda: _concentration(observed),
        "margin": lambda: _margin(observed, funds, deviation * horizon_scale),
        "stress": lambda: stress_section(metrics, observed, funds),
    }
    return replace(metrics, sections={name: _or_reason(make) for name, make in makers.items()})


def _or_reason(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (DataError, InvalidRequest) as error:
        return {"reason": error.detail}


def text(value: float | Decimal) -> str:
    """Return an amount as decimal text, rounded to `AMOUNT_STEP`."""
    exact = value if isinstance(value, Decimal) else Decimal(value)
    return f"{exact.quantize(AMOUNT_STEP, rounding=ROUND_HALF_EVEN, context=EXACT) + Decimal(0):f}"


def _drawdowns(metrics: RiskMetrics, observed: Observed) -> dict[str, Any]:
    found = drawdown_risk(observed.profits, metrics.confidence_level)
    return {
        "deepest": text(found.deepest),
        "deepest_duration": format_duration(found.deepest_duration * metrics.sampling_interval_ns),
        "longest_duration": format_duration(found.longest_duration * metrics.sampling_interval_ns),
        "average": text(found.average),
        "ulcer": text(found.ulcer),
        "drawdown_at_risk": text(found.drawdown_at_risk),
        "conditional": text(found.conditional),
        "share_under_water": found.share_under_water,
    }


def _components(metrics: RiskMetrics, observed: Observed, scale: float) -> dict[str, Any]:
    """Return the parts of the historical figures, brought to the horizon by the square root of time."""
    held = np.flatnonzero(observed.values != 0.0)
    if not held.size:
        raise DataError("components: every position is flat; at least one that is not is needed")
    values = observed.values[held]
    found = contributions(values[:, None] * observed.table[held], metrics.confidence_level, exposures=values)
    rows = []
    for place, index in enumerate(held.tolist()):
        holding = observed.holdings[index]
        row: dict[str, Any] = {
            "position_id": str(holding.position.position_id),
            "pair_id": str(holding.instrument.pair_id),
            "symbol": holding.instrument.symbol,
            "position_value": text(holding.value),
        }
        for name, part in (("var", found.value_at_risk), ("es", found.expected_shortfall)):
            row[f"component_{name}"] = text(float(part.components[place]) * scale)
            row[f"marginal_{name}"] = float(part.marginal[place]) * scale
            row[f"incremental_{name}"] = text(float(part.incremental[place]) * scale)
        rows.append(row)
    return {
        "method": Model.HISTORICAL.value,
        "convention": Convention.LOWER_QUANTILE.value,
        "value_at_risk": text(found.value_at_risk.total * scale),
        "expected_shortfall": text(found.expected_shortfall.total * scale),
        "items": rows,
    }


def _net_by_pair(observed: Observed) -> list[tuple[Holding, Decimal]]:
    """Return one holding of each pair with the net quantity in it."""
    found: dict[Any, tuple[Holding, Decimal]] = {}
    for holding in observed.holdings:
        known = found.get(holding.instrument.pair_id)
        quantity = holding.quantity + (known[1] if known else Decimal(0))
        found[holding.instrument.pair_id] = (known[0] if known else holding, quantity)
    return list(found.values())


def _liquidity(metrics: RiskMetrics, observed: Observed) -> dict[str, Any]:
    cost, slow, rows = Decimal(0), 0.0, []
    for holding, quantity in _net_by_pair(observed):
        book = holding.book
        if book is None:
            raise DataError(f"liquidity: no market of {holding.instrument.symbol} runs here whose book could be walked")
        walked = walk_book(quantity, book.bids, book.asks)
        paid = EXACT.multiply(walked.cost, holding.instrument.contract_multiplier)
        cost += paid
        row: dict[str, Any] = {
            "pair_id": str(holding.instrument.pair_id),
            "quantity": f"{quantity:f}",
            "cost": text(paid),
            "worst_price": None if walked.worst_price is None else f"{walked.worst_price:f}",
            "levels": walked.levels,
            "depth_share": depth_share(quantity, book.bids, book.asks),
        }
        if quantity:
            row["over_time"] = _over_time(metrics, observed, holding, quantity, walked.cost)
            slow += float(row["over_time"]["value_at_risk"])
        rows.append(row)
    return {
        "cost": text(cost),
        "liquidity_adjusted_var": text(metrics.value_at_risk + cost),
        "liquidity_adjusted_es": text(metrics.expected_shortfall + cost),
        "over_time_value_at_risk": text(slow),
        "items": rows,
    }


def _over_time(
    metrics: RiskMetrics, observed: Observed, holding: Holding, quantity: Decimal, cost: Decimal
) -> dict[str, Any]:
    """Return Almgren and Chriss's cost, with the slope of the book at hand as temporary impact and no permanent one.

    `cost` is in prices x quantity, without the multiplier, by which what comes out is multiplied.
    """
    book, size = holding.book, float(abs(quantity))
    assert book is not None
    index = next(place for place, each in enumerate(observed.holdings) if each is holding)
    per_second = math.sqrt(NS_PER_SECOND / metrics.sampling_interval_ns)
    volatility = float(observed.table[index].std(ddof=1)) * per_second * float(holding.mark_price)
    half_spread = float(book.asks[0].price - book.bids[0].price) / 2.0
    best = book.bids[0] if quantity > 0 else book.asks[0]
    # One more unit a second costs what the book costs beyond its best price, or a tick for all that stands there.
    beyond = max(float(cost) / size - half_spread, 0.0) / (size / REFILL_S)
    least = float(holding.instrument.tick_size) / (float(best.quantity) / REFILL_S)
    model = ImpactModel(volatility, 0.0, max(beyond, least), half_spread)
    duration, schedule = least_liquidation_risk(size, model, metrics.confidence_level, _DURATIONS_S, steps=50)
    unit = float(holding.instrument.contract_multiplier)
    return {
        "duration": format_duration(round(duration * NS_PER_SECOND)),
        "expected_cost": text(unit * schedule.expected_cost),
        "deviation": text(unit * math.sqrt(schedule.cost_variance)),
        "value_at_risk": text(unit * liquidation_value_at_risk(schedule, metrics.confidence_level)),
    }


def _inventory(metrics: RiskMetrics, observed: Observed, deviation: float) -> dict[str, Any]:
    """Return the risk over the time to work the inventory off: at the pace traded so far, or else over the horizon.

    What was traded or transferred to build up what is held tells nothing of how fast it goes, and is left out of the pace.
    """
    gross = observed.gross
    if not gross:
        raise DataError("inventory: every position is flat; at least one that is not is needed")
    speed = 0.0
    for holding in observed.holdings:
        age_s = max(metrics.as_of_ts / 1e9 - (holding.position.position_id.int >> 80) / 1e3, 1.0)
        beyond = max(holding.position.volume_tick_lots - abs(holding.position.cost_tick_lots), 0)
        speed += float(holding.money_of(2 * beyond)) / age_s
    by_turnover = speed > 0.0
    wanted = gross / speed * 1e9 if by_turnover else metrics.time_horizon_ns
    holding_ns = int(min(max(wanted, HOLDING_NS[0]), HOLDING_NS[1]))
    found = inventory_risk(
        gross,
        deviation / gross,
        metrics.confidence_level,
        interval_ns=metrics.sampling_interval_ns,
        holding_ns=holding_ns,
        observations=metrics.observations,
    )
    return {
        "holding_time": format_duration(holding_ns // NS_PER_SECOND * NS_PER_SECOND),
        "holding_time_from": "TURNOVER" if by_turnover else "HORIZON",
        "value_at_risk": text(found.value_at_risk),
        "expected_shortfall": text(found.expected_shortfall),
    }


def _worst_case(metrics: RiskMetrics, observed: Observed) -> dict[str, Any]:
    rows, notional = [], Decimal(0)
    for holding, quantity in _net_by_pair(observed):
        pair_id = holding.instrument.pair_id
        orders = [order for each in observed.holdings if each.instrument.pair_id == pair_id for order in each.orders]
        found = worst_case(quantity, holding.mark_price, orders)
        unit = holding.instrument.contract_multiplier
        if holding.instrument.inverse_scale and orders:
            raise DataError(
                f"worst case: what resting orders of {holding.instrument.symbol} may lose in coins is not known"
            )
        largest = abs(holding.value_of(holding.instrument.signed_lots(found.largest)))
        notional += largest
        rows.append(
            {
                "pair_id": str(pair_id),
                "orders": len(orders),
                "longest": f"{found.longest:f}",
                "shortest": f"{found.shortest:f}",
                "largest": f"{found.largest:f}",
                "notional": text(largest),
                "loss_after_buys": text(EXACT.multiply(found.loss_after_buys, unit)),
                "loss_after_sells": text(EXACT.multiply(found.loss_after_sells, unit)),
            }
        )
    gross = metrics.gross_value
    share = float(notional / gross) if gross else None
    return {"notional": text(notional), "share_of_gross_value": share, "items": rows}


def _concentration(observed: Observed) -> dict[str, Any]:
    found = concentration(observed.values)
    if found.herfindahl.value is None:
        raise DataError("concentration: every position is flat; at least one that is not is needed")
    return {
        "herfindahl": found.herfindahl.value,
        "effective_number": found.effective_number.value,
        "largest_share": found.largest_share.value,
        "largest_position_id": str(observed.holdings[found.largest].position.position_id),
    }


def _margin(observed: Observed, funds: Funds | None, deviation: float) -> dict[str, Any]:
    if funds is None:
        raise DataError(
            "margin: positions of several accounts have no equity in common; ask for one account or position"
        )
    _refuse_coins("margin", observed)
    pairs = [(holding, quantity) for holding, quantity in _net_by_pair(observed) if quantity]
    rate = funds.maintenance_rate
    gross = sum((abs(holding.value) for holding in observed.holdings), Decimal(0))
    shown: dict[str, Any] = {"equity": text(funds.equity), "maintenance_rate": f"{rate:f}"}
    if len(pairs) != 1:
        maintenance = rate * gross
        shown |= {"maintenance": text(maintenance), "ratio": float(funds.equity / maintenance) if maintenance else None}
        return shown | {"liquidation_price": None, "distance": None, "distance_ticks": None, "distance_sigmas": None}
    holding, held = pairs[0]
    quantity = EXACT.multiply(held, holding.instrument.contract_multiplier)
    value = abs(float(holding.value))
    if holding.in_quote:
        # Its value in quote currency does not move: a return earns as much as of a linear one of that value at the mark.
        quantity = EXACT.divide(quantity, holding.mark_price)
    found = margin(
        funds.equity,
        quantity,
        holding.mark_price,
        maintenance_rate=rate,
        tick_size=holding.instrument.tick_size,
        volatility=deviation / value if deviation > 0.0 else None,
    )
    price, distance = found.liquidation_price, found.distance
    return shown | {
        "maintenance": text(found.maintenance),
        "ratio": found.ratio,
        "liquidation_price": None if price is None else text(price),
        "distance": None if distance is None else text(distance),
        "distance_ticks": found.distance_ticks,
        "distance_sigmas": found.distance_sigmas,
    }


def stress_section(
    metrics: RiskMetrics,
    observed: Observed,
    funds: Funds | None,
    scenarios: Sequence[Scenario] = SCENARIOS,
    *,
    loss: float | None = None,
    norm: Norm = Norm.LIKELIHOOD,
) -> dict[str, Any]:
    """Return what storms lose: given ones, the worst stretches of the history, and the smallest that loses an amount.

    `loss` is by default the equity that stands behind the positions.
    """
    exposures: dict[str, float] = {}
    for value, holding in zip(observed.values.tolist(), observed.holdings, strict=True):
        exposures[holding.instrument.base] = exposures.get(holding.instrument.base, 0.0) + value
    in_coins = _coins(observed)
    spread_cost, impact_cost = _costs_now(observed)
    fixed = [
        {
            "scenario": each.scenario,
            "loss": text(each.loss),
            "market": text(each.market),
            "liquidation": text(each.liquidation),
        }
        for each in stress(exposures, scenarios, spread_cost=spread_cost, impact_cost=impact_cost, in_coins=in_coins)
    ]
    amount = loss if loss is not None or funds is None or in_coins else float(funds.equity)
    return {
        "fixed": fixed,
        "historical": _stretches(metrics, observed),
        "reverse": _or_reason(lambda: _reverse(observed, exposures, amount, norm)),
    }


def _costs_now(observed: Observed) -> tuple[float, float]:
    """Return the cost of getting out now that is spread, and what goes beyond the best prices."""
    spread, beyond = 0.0, 0.0
    for holding, quantity in _net_by_pair(observed):
        book = holding.book
        if book is None or not quantity or not book.bids or not book.asks:
            continue
        unit = float(holding.instrument.contract_multiplier)
        half = float(book.asks[0].price - book.bids[0].price) / 2.0 * float(abs(quantity)) * unit
        spread += half
        try:
            beyond += max(float(walk_book(quantity, book.bids, book.asks).cost) * unit - half, 0.0)
        except DataError:
            continue  # less depth than the position: told by the section `liquidity`
    return spread, beyond


def _stretches(metrics: RiskMetrics, observed: Observed) -> list[dict[str, Any]]:
    count = observed.profits.size
    length = max(1, min(round(metrics.time_horizon_ns / metrics.sampling_interval_ns), count // STRETCHES))
    interval_ns, ts = metrics.sampling_interval_ns, observed.returns.ts
    return [
        {
            "from_ts": str(int(ts[each.first]) - interval_ns),
            "to_ts": str(int(ts[each.last])),
            "loss": text(each.loss),
        }
        for each in worst_windows(observed.profits, length, STRETCHES)
    ]


def _reverse(observed: Observed, exposures: dict[str, float], loss: float | None, norm: Norm) -> dict[str, Any]:
    if loss is None:
        _refuse_coins("reverse stress", observed, "; name a loss")
        raise DataError("reverse stress: no equity stands behind positions of several accounts; name a loss")
    first = {holding.instrument.base: index for index, holding in reversed(list(enumerate(observed.holdings)))}
    names = [name for name in exposures if exposures[name] != 0.0]
    if not names:
        raise DataError("reverse stress: every position is flat; at least one that is not is needed")
    weights: Float64 = np.array([exposures[name] for name in names])
    covariance = np.atleast_2d(np.cov(observed.table[[first[name] for name in names]]))
    found = reverse_stress(weights, loss, norm, covariance=covariance if norm is Norm.LIKELIHOOD else None)
    in_coins = _coins(observed)
    moves = []
    for name, share in zip(names, found.moves.tolist(), strict=True):
        move = share
        if name in in_coins:
            # What was found is what the coins earn of their value, r / (1 + r) of a move of r.
            if share >= 1.0:
                raise DataError(
                    f"reverse stress: no rise of {name} loses {text(loss)} {observed.currency}: less is at stake"
                )
            move = share / (1.0 - share)
        moves.append({"factor": name, "move": move})
    return {"loss": text(loss), "norm": norm.value, "size": found.size, "moves": moves}


def _coins(observed: Observed) -> frozenset[str]:
    """Return the factors whose positions are told in themselves: those of INVERSE contracts."""
    return frozenset(each.instrument.base for each in observed.holdings if each.is_in_coins)


def _refuse_coins(what: str, observed: Observed, or_else: str = "") -> None:
    quotes = [each.instrument.quote for each in observed.holdings if each.is_in_coins]
    if quotes:
        raise DataError(
            f"{what}: the figures are in {observed.currency} and the account's equity is not; ask for them in"
            f" {quotes[0]}{or_else}"
        )
