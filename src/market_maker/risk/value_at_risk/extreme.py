"""Figures from the law of extremes: losses over a high threshold follow a generalised Pareto law.

Returns are profits, oldest first; figures are losses.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.laws import ParetoFit, fit_pareto
from market_maker.risk.results import Basis, TailRisk
from market_maker.risk.samples import checked_varying
from market_maker.risk.scaling import Horizon, prepare
from market_maker.risk.tails import tail_share_of
from market_maker.risk.value_at_risk.historical import filtered_scenarios
from market_maker.risk.volatility import DECAY, WARM_UP

TAIL_SHARE = 0.1
LEAST_EXCESSES = 20


def peaks_over_threshold(
    returns: ArrayLike,
    confidence: float | Decimal,
    horizon: Horizon,
    *,
    tail_share: float = TAIL_SHARE,
    volatility: str | None = None,
    decay: float = DECAY,
) -> TailRisk:
    """Return the figures of the generalised Pareto law fitted to the largest losses.

    Parameters
    ----------
    returns : (n,) profits or returns, oldest first; they must vary
    confidence : in (1 - tail_share, 1)
    horizon : what the figure is about; the square root of time is a convention here as elsewhere
    tail_share : share of the losses that lie above the threshold, in (0, 0.5]
    volatility : None: the observations as they are; `ewma` or `garch`: brought to the volatility expected next before
        (McNeil and Frey 2000)
    decay : of `ewma`

    Raises
    ------
    InvalidRequest
        A share or a confidence that is not allowed.
    DataError
        Fewer than `LEAST_EXCESSES` losses above the threshold, constant ones, or a tail so fat (shape of 1 or more) that
        expected shortfall is infinite.

    Notes
    -----
    With k of n losses above the threshold u, the loss of rank k + 1:
    VaR = u + beta / xi ((n / k (1 - c))^-xi - 1), ES = (VaR + beta - xi u) / (1 - xi).
    Source: McNeil, Frey and Embrechts (2015), "Quantitative Risk Management", equations 5.20 and 5.21.
    """
    if not 0.0 < tail_share <= 0.5:
        raise InvalidRequest.of("tail_share", tail_share, "a share above 0 and at most 0.5")
    tail = float(tail_share_of(confidence))
    what = "peaks over threshold"
    least = math.ceil(LEAST_EXCESSES / tail_share) + (WARM_UP if volatility else 0)
    data = prepare(returns, horizon, confidence, what, least)
    values = checked_varying(data.values, what)
    if volatility is not None:
        values, _ = filtered_scenarios(values, volatility, decay, what)
    threshold, fit, excesses = fit_tail(-values, tail_share, what)
    share = excesses / values.size
    if not tail < share:
        raise InvalidRequest.of("confidence", confidence, f"above {1.0 - share:.6g}, where the threshold lies")
    quantile, shortfall = pareto_tail(tail / share, fit)
    parameters = (
        ("threshold", threshold),
        ("excesses", float(excesses)),
        ("shape", fit.shape),
        ("scale", fit.scale),
    )
    basis = Basis(
        model="peaks_over_threshold" + (f"_{volatility}" if volatility else ""),
        convention=f"generalised Pareto of greatest likelihood above the {tail_share:.6g} largest losses",
        confidence=float(confidence),
        horizon_ns=horizon.horizon_ns,
        interval_ns=horizon.interval_ns,
        scaling=data.rule,
        scale=data.scale,
        observations=values.size,
        parameters=parameters,
    )
    return TailRisk((threshold + quantile) * data.scale, (threshold + shortfall) * data.scale, basis)


def fit_tail(losses: Float64, tail_share: float, what: str) -> tuple[float, ParetoFit, int]:
    """Return threshold, law of the excesses and their number; losses equal to the threshold are none."""
    count = losses.size
    wanted = math.floor(count * tail_share + 1e-9)
    if wanted < LEAST_EXCESSES:
        needed = math.ceil(LEAST_EXCESSES / tail_share)
        raise DataError(f"{what}: {count} losses are too few for a threshold; at least {needed} are needed")
    threshold = float(np.partition(losses, count - wanted - 1)[count - wanted - 1])
    excesses = losses[losses > threshold] - threshold
    if excesses.size < LEAST_EXCESSES:
        raise DataError(
            f"{what}: {excesses.size} of {count} losses lie above {threshold:.6g}, the others are equal to it;"
            f" at least {LEAST_EXCESSES} are needed"
        )
    checked_varying(excesses, what)
    fit = fit_pareto(excesses)
    if not fit.shape < 1.0:
        raise DataError(f"{what}: the tail has a shape of {fit.shape:.4g}; below 1 is needed for a finite shortfall")
    return threshold, fit, int(excesses.size)


def pareto_tail(share: float, fit: ParetoFit) -> tuple[float, float]:
    """Return VaR and ES of an excess, where `share` is the part of the excesses that lies above VaR."""
    log_share = math.log(share)
    growth = -log_share if fit.shape == 0.0 else math.expm1(-fit.shape * log_share) / fit.shape
    quantile = fit.scale * growth
    return quantile, (quantile + fit.scale) / (1.0 - fit.shape)
