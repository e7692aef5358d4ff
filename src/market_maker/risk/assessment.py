"""From positions and their prices to the figures of their risk: one position, or all of an account, a strategy, the book.

Pure functions. Owns which observations a method gets; how a position is valued is in `positions`. Knows nothing of where positions
and prices come from or where figures go. Losses are positive; a gain is a negative loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import numpy as np

from market_maker.domain.errors import DataError, FieldError, InvalidRequest
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument
from market_maker.domain.position import PositionState
from market_maker.domain.units import format_duration
from market_maker.performance.drawdown import Drawdown, max_drawdown
from market_maker.performance.figures import Float64
from market_maker.risk.history import PriceHistory, Returns, choose_returns, on_one_grid, returns_at
from market_maker.risk.measures import AMOUNT_STEP, WANTED_OBSERVATIONS, RiskMetrics, Scope, amount_of
from market_maker.risk.models import DEFAULT_MODEL, IN_TIME_ORDER, Model, estimate
from market_maker.risk.positions import Holding, in_one_currency
from market_maker.risk.results import Basis, ScalingRule, TailRisk
from market_maker.risk.samples import checked_varying
from market_maker.risk.scaling import Horizon
from market_maker.risk.tails import Convention, minimum_observations
from market_maker.risk.value_at_risk.monte_carlo import fit_factors, monte_carlo
from market_maker.risk.volatility import GARCH_LEAST, WARM_UP

POINTS_OVER_THRESHOLD = 200
"""Observations that the 10 % largest losses need to be 20."""

FIELDS = {"confidence": "confidence_level", "horizon_ns": "time_horizon"}
"""What the library's arguments are called in a request."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What positions would have earned.

    Parameters
    ----------
    holdings : (p,) the named one first, all with the same times
    values : (p,) of each position, signed, in one currency
    returns : of the first one's pair, with times and interval
    table : (p, n) what each position earns of its value: the returns of its pair, of an INVERSE contract r / (1 + r)
    profits : (n,) of all together, at the quantities held now
    """

    holdings: Sequence[Holding]
    values: Float64
    returns: Returns
    table: Float64
    profits: Float64

    @property
    def currency(self) -> str:
        """What all money is in."""
        return self.holdings[0].currency

    @property
    def gross(self) -> float:
        """Sum of the sizes of all values."""
        return math.fsum(np.abs(self.values).tolist())


def least_observations(method: Model, confidence_level: float | Decimal) -> int:
    """Return how many returns a method needs."""
    least = minimum_observations(confidence_level)
    if method is Model.FILTERED_HISTORICAL:
        return least + WARM_UP + 1
    return max(least, {Model.GARCH: GARCH_LEAST, Model.PEAKS_OVER_THRESHOLD: POINTS_OVER_THRESHOLD}.get(method, 0))


def observe(
    holdings: Sequence[Holding],
    *,
    method: Model,
    confidence_level: float | Decimal,
    horizon_ns: int,
    wanted_observations: int = WANTED_OBSERVATIONS,
) -> Observed:
    """Return what the positions would have earned in each interval of their common history.

    A method in time order gets the newest stretch without a hole. InvalidRequest for several currencies, see `in_one_currency`;
    DataError for too little history, or prices that do not move.
    """
    holdings = in_one_currency(holdings)
    if horizon_ns <= 0:
        raise InvalidRequest.of("time_horizon", format_duration(horizon_ns), "a positive duration, such as 1d")
    for holding in holdings:
        _check_size(holding)
    histories = {holding.instrument.pair_id: holding.history for holding in holdings}
    if len(histories) > 1:
        histories = dict(zip(histories, on_one_grid(list(histories.values())), strict=True))
    least = least_observations(method, confidence_level)
    first = histories[holdings[0].instrument.pair_id]
    unbroken = method in IN_TIME_ORDER
    chosen = choose_returns(
        first, horizon_ns=horizon_ns, wanted=max(wanted_observations, least), least=least,
        unbroken=unbroken, whole=method is Model.GARCH,
    )  # fmt: skip
    rows: dict[UUID, Float64] = {}
    for pair_id, history in histories.items():
        found = returns_at(history, chosen.interval_ns)
        rows[pair_id] = (found.newest_unbroken() if unbroken else found).values
    for holding in holdings:
        if holding.position.qty_lots:
            checked_varying(rows[holding.instrument.pair_id], f"returns of {holding.instrument.symbol}")
    table = np.stack([holding.earned(rows[holding.instrument.pair_id]) for holding in holdings])
    values = np.array([float(holding.value) for holding in holdings])
    return Observed(holdings, values, chosen, table, values @ table)


def tail_risk(
    observed: Observed, *, method: Model, confidence_level: float | Decimal, horizon_ns: int, seed: int
) -> TailRisk:
    """Return both figures as shares of the gross value, scaled to the horizon.

    Positions that are flat, or hedge each other wholly, have figures of 0 by every method.
    """
    try:
        horizon = Horizon(horizon_ns, observed.returns.interval_ns, drift=False)
        return _estimated(observed, horizon, method, confidence_level, seed)
    except InvalidRequest as error:
        asked = tuple(_as_asked(each) for each in error.errors)
        detail = error.detail
        for known, name in FIELDS.items():
            detail = detail.replace(known, name) if any(each.field == name for each in asked) else detail
        raise InvalidRequest(detail, asked) from None


def _estimated(
    observed: Observed, horizon: Horizon, method: Model, confidence_level: float | Decimal, seed: int
) -> TailRisk:
    gross = observed.gross
    series = observed.profits / gross if gross else observed.profits
    if not gross or float(np.ptp(series)) < 1e-14:
        return TailRisk(0.0, 0.0, _nothing_at_risk(method, confidence_level, horizon, series.size))
    if method is not Model.MONTE_CARLO:
        return estimate(series, confidence_level, horizon, method)
    pairs = [holding.instrument.pair_id for holding in observed.holdings]
    order = list(dict.fromkeys(pairs))
    factors = np.stack([observed.table[pairs.index(pair_id)] for pair_id in order])
    exposures = [float(observed.values[[each == pair_id for each in pairs]].sum()) / gross for pair_id in order]
    return monte_carlo(fit_factors(factors), exposures, confidence_level, horizon, np.random.default_rng(seed))


def assess_holdings(
    holdings: Sequence[Holding],
    *,
    confidence_level: float | Decimal,
    horizon_ns: int,
    as_of_ts: int,
    method: Model = DEFAULT_MODEL,
    scope: Scope = Scope.POSITION,
    wanted_observations: int = WANTED_OBSERVATIONS,
) -> tuple[RiskMetrics, Observed]:
    """Return the risk of holding positions over the horizon, and the observations that it was found from.

    Parameters
    ----------
    holdings : the named position first
    confidence_level : between 0 and 1, both excluded
    horizon_ns : at least the history's interval
    as_of_ts : the instant of the assessment, ns UTC
    method : how value at risk and expected shortfall are found, see `models.Model`
    scope : what the holdings are together
    wanted_observations : as many returns are wanted before a longer interval is preferred, see `choose_returns`

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1), currencies that differ.
    DataError
        Too little history, prices that do not move, a sample that the method does not fit, or a position whose value
        leaves int64.

    Notes
    -----
    The loss of an observed return r is -value x r, of an INVERSE contract in coins -value x r / (1 + r). A flat position has figures of 0, and
    still needs a history. Simplifications: quantities stay as they are over the horizon; no cost of closing (that is in the
    section `liquidity`); the rule that took the figure to the horizon is stated.
    """
    observed = observe(
        holdings, method=method, confidence_level=confidence_level, horizon_ns=horizon_ns,
        wanted_observations=wanted_observations,
    )  # fmt: skip
    holdings = observed.holdings
    named = holdings[0]
    seed = int(named.history.data_hash[:12], 16)
    found = tail_risk(
        observed, method=method, confidence_level=confidence_level, horizon_ns=horizon_ns, seed=seed
    )  # fmt: skip
    with_sum = sum((holding.value for holding in holdings), Decimal(0))
    gross = sum((abs(holding.value) for holding in holdings), Decimal(0))
    history, fall, depth = _fall(observed)
    metrics = RiskMetrics(
        position_id=named.position.position_id,
        pair_id=named.instrument.pair_id,
        quantity=named.quantity,
        mark_price=named.mark_price,
        position_value=with_sum,
        confidence_level=Decimal(str(confidence_level)),
        time_horizon_ns=horizon_ns,
        value_at_risk=amount_of(gross, found.value_at_risk),
        expected_shortfall=amount_of(gross, found.expected_shortfall),
        drawdown=depth,
        drawdown_start_ts=int(history.ts[fall.start]) + history.interval_ns,
        drawdown_trough_ts=int(history.ts[fall.trough]) + history.interval_ns,
        drawdown_recovery_ts=None if fall.recovery is None else int(history.ts[fall.recovery]) + history.interval_ns,
        method=method.value,
        convention=found.basis.convention,
        sampling_interval_ns=observed.returns.interval_ns,
        scaling=found.basis.scale,
        observations=observed.returns.values.size,
        dropped=observed.returns.dropped,
        coverage=history.coverage,
        window_start_ts=history.window_start_ts,
        window_end_ts=history.window_end_ts,
        data_hash=history.data_hash,
        as_of_ts=as_of_ts,
        scope=scope,
        positions=len(holdings),
        gross_value=gross,
        currency=observed.currency,
        scaling_rule=found.basis.scaling,
        parameters=dict(found.basis.parameters),
    )
    return metrics, observed


def assess_position(
    position: PositionState,
    instrument: Instrument,
    history: PriceHistory,
    *,
    confidence_level: float | Decimal,
    horizon_ns: int,
    as_of_ts: int,
    mark_half_ticks: int | None = None,
    method: Model = DEFAULT_MODEL,
) -> RiskMetrics:
    """Return the risk of one position; all as in `assess_holdings`."""
    holding = Holding(position, instrument, history, mark_half_ticks)
    return assess_holdings(
        [holding], confidence_level=confidence_level, horizon_ns=horizon_ns, as_of_ts=as_of_ts, method=method
    )[0]


def _check_size(holding: Holding) -> None:
    lots, closes = holding.position.qty_lots, holding.history.close_half_ticks
    prices = np.array([closes.min(), closes.max(), holding.mark])
    if max(map(abs, holding.worth_at(lots, prices).tolist())) > 2 * MAX_TICK_LOTS - 1:
        raise DataError(f"a position of {lots} lots is worth more than can be counted; allowed: 2^62 units of cash")


def _fall(observed: Observed) -> tuple[PriceHistory, Drawdown, Decimal]:
    """Return the deepest fall of the marked value, and the history whose times it names: exact for a single pair."""
    holdings = observed.holdings
    pairs = {holding.instrument.pair_id for holding in holdings}
    named = holdings[0]
    if len(pairs) == 1:
        lots = sum(holding.position.qty_lots for holding in holdings)
        if not named.in_quote:
            fall = max_drawdown(np.asarray(named.worth_at(lots, named.history.close_half_ticks), np.int64))
            return named.history, fall, named.money_of(int(fall.depth))
    histories = {holding.instrument.pair_id: holding.history for holding in holdings}
    if len(pairs) > 1:
        histories = dict(zip(histories, on_one_grid(list(histories.values())), strict=True))
    value = np.zeros(histories[named.instrument.pair_id].ts.size)
    for holding in holdings:
        value += holding.marked(histories[holding.instrument.pair_id].close_half_ticks)
    fall = max_drawdown(value)
    return histories[named.instrument.pair_id], fall, Decimal(float(fall.depth)).quantize(AMOUNT_STEP)


def _nothing_at_risk(method: Model, confidence_level: float | Decimal, horizon: Horizon, observations: int) -> Basis:
    same = horizon.horizon_ns == horizon.interval_ns
    return Basis(
        model=method.value.lower(),
        convention=Convention.LOWER_QUANTILE.value,
        confidence=float(confidence_level),
        horizon_ns=horizon.horizon_ns,
        interval_ns=horizon.interval_ns,
        scaling=ScalingRule.NONE if same else ScalingRule.SQUARE_ROOT,
        scale=math.sqrt(horizon.ratio),
        observations=observations,
    )


def _as_asked(fault: FieldError) -> FieldError:
    value = format_duration(int(fault.value)) if fault.field == "horizon_ns" and fault.value.isdigit() else fault.value
    return FieldError(FIELDS.get(fault.field, fault.field), value, fault.allowed)
