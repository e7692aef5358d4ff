"""Forecasts as they would have been made: each from the window before it, held against the loss that followed.

Each forecast is that of `models.estimate` on its window, one interval ahead, computed for all windows at once where the
model allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest, MarketMakerError
from market_maker.performance.figures import Float64, Int64
from market_maker.risk.laws import (
    fit_student,
    normal_tail,
    normal_upper,
    student_tail,
    student_upper,
)
from market_maker.risk.models import Model
from market_maker.risk.samples import checked_sample
from market_maker.risk.tails import minimum_observations, tail_figures_of_rows, tail_share_of
from market_maker.risk.validation.forecasts import Forecasts, TailLaw
from market_maker.risk.value_at_risk.extreme import TAIL_SHARE, fit_tail, pareto_tail
from market_maker.risk.value_at_risk.historical import AGE_DECAY, age_weights
from market_maker.risk.value_at_risk.parametric import expanded_tail, expansion, rises
from market_maker.risk.volatility import DECAY, GARCH_LEAST, WARM_UP, fit_garch

Fit = TypeVar("Fit")

WINDOW = 250
REFIT_GARCH = 25
_BLOCK = 1 << 21


def rolling_forecasts(
    returns: ArrayLike,
    confidence: float | Decimal,
    model: Model,
    *,
    window: int = WINDOW,
    refit_every: int | None = None,
) -> Forecasts:
    """Return one-interval forecasts and the losses that followed.

    Parameters
    ----------
    returns : (n,) profits or returns, oldest first, of neighbouring intervals; n - window forecasts are made
    confidence : in (0, 1)
    model : any but MONTE_CARLO, which for one series is NORMAL with the noise of its draws
    window : observations for each forecast, at least what the model needs
    refit_every : STUDENT_T, PEAKS_OVER_THRESHOLD and GARCH are fitted anew after so many forecasts and keep their
        parameters in between, GARCH going on with its variance. Default: 1, for GARCH 25

    Raises
    ------
    InvalidRequest
        A model, a window or a confidence that is not allowed.
    DataError
        Too few observations, or a window that the model cannot be fitted to: the message tells which.
    """
    row = checked_sample(returns, "rolling forecasts")
    if model is Model.MONTE_CARLO:
        raise InvalidRequest.of("model", model.value, "any other; for one series it is NORMAL with noise")
    every = (REFIT_GARCH if model is Model.GARCH else 1) if refit_every is None else refit_every
    if every < 1:
        raise InvalidRequest.of("refit_every", refit_every, "1 or more")
    least = minimum_observations(confidence) + (WARM_UP if model is Model.FILTERED_HISTORICAL else 0)
    if model is Model.GARCH:
        least = max(least, GARCH_LEAST)
    if window < least:
        raise InvalidRequest.of("window", window, f"at least {least} for {model.value} at {confidence}")
    if row.size <= window:
        raise DataError(
            f"rolling forecasts: {row.size} observations are too few for a window of {window};"
            f" at least {window + 1} are needed"
        )
    windows = np.lib.stride_tricks.sliding_window_view(row[:-1], window)
    still = np.flatnonzero(np.ptp(windows, axis=1) <= 0.0)
    if still.size:
        raise DataError(f"rolling forecasts: the {window} observations from index {still[0]} on do not vary")
    quantile, shortfall, law = _MAKERS[model](_Task(windows, confidence, float(tail_share_of(confidence)), every))
    return Forecasts(
        model=model.value,
        confidence=float(confidence),
        losses=-row[window:],
        value_at_risk=quantile,
        expected_shortfall=shortfall,
        tail_law=law,
        window=window,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Windows (m, w) of returns, oldest first, and what is wanted of each."""

    windows: Float64
    confidence: float | Decimal
    tail: float
    every: int


Made = tuple[Float64, Float64, TailLaw]


def _blocks(task: _Task) -> list[slice]:
    """Return slices of windows that fit into memory together."""
    count, window = task.windows.shape
    step = max(1, _BLOCK // window)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _by_blocks(task: _Task, work: Callable[[Float64], Float64]) -> Float64:
    """Return (k, m) of work's (k, part) for parts of the windows."""
    return np.concatenate([work(task.windows[part]) for part in _blocks(task)], axis=1)


def _historical(task: _Task) -> Made:
    return _of_scenarios(task, lambda part: -task.windows[part])


def _filtered(task: _Task) -> Made:
    def scenarios(part: slice) -> Float64:
        given = task.windows[part]
        squares, count = given * given, given.shape[1]
        expected = np.empty_like(squares)
        sums = np.zeros(len(given))
        for t in range(count):
            sums = DECAY * sums + squares[:, t]
            expected[:, t] = sums * (1.0 - DECAY) / -math.expm1((t + 1) * math.log(DECAY))
        before, now = expected[:, WARM_UP - 1 : -1], np.sqrt(expected[:, -1])
        if not float(before.min()) > 0.0:
            place = part.start + int(np.argmin(before.min(axis=1)))
            raise DataError(f"rolling forecasts: no volatility at the start of the window from index {place} on")
        return -given[:, WARM_UP:] / np.sqrt(before) * now[:, None]

    return _of_scenarios(task, scenarios)


def _of_scenarios(task: _Task, scenarios: Callable[[slice], Float64]) -> Made:
    """Return historical figures of scenario losses (part, k), and the law that draws from their tails."""
    quantiles, shortfalls, tails, count = [], [], [], 0
    for part in _blocks(task):
        losses = scenarios(part)
        count = losses.shape[1]
        quantile, shortfall = tail_figures_of_rows(losses, task.confidence)
        kept = min(int(count * task.tail) + 2, count)
        quantiles.append(quantile)
        shortfalls.append(shortfall)
        tails.append(-np.sort(-np.partition(losses, count - kept, axis=1)[:, count - kept :], axis=1))
    worst = np.concatenate(tails)

    def law(above: Float64, times: Int64) -> Float64:
        # The loss with at most `above` of the sample beyond it: of rank floor(n x above) + 1.
        found: Float64 = worst[times, np.minimum((above * count).astype(np.int64), worst.shape[1] - 1)]
        return found

    return np.concatenate(quantiles), np.concatenate(shortfalls), law


def _age_weighted(task: _Task) -> Made:
    weights = age_weights(task.windows.shape[1], AGE_DECAY)
    places = np.arange(len(task.windows))
    sorted_losses, sums = [], []
    for part in _blocks(task):
        losses = -task.windows[part]
        order = np.argsort(-losses, axis=1, kind="stable")
        added = np.cumsum(weights[order], axis=1)
        needed = int((added <= task.tail + 1e-12).sum(axis=1).max()) + 1
        sorted_losses.append(np.take_along_axis(losses, order[:, :needed], axis=1))
        sums.append(added[:, :needed])
    widest = max(part.shape[1] for part in sums)
    worst = np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1])), mode="edge") for part in sorted_losses])
    added = np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1])), constant_values=2.0) for part in sums])
    place = np.minimum((added <= task.tail + 1e-12).sum(axis=1), widest - 1)
    quantile = worst[places, place]
    counted = np.diff(np.minimum(added, task.tail), axis=1, prepend=0.0)
    shortfall = (counted * worst).sum(axis=1) / task.tail

    def law(above: Float64, times: Int64) -> Float64:
        rank = (added[times] <= above[:, None]).sum(axis=1)
        found: Float64 = worst[times, np.minimum(rank, widest - 1)]
        return found

    return quantile, np.maximum(shortfall, quantile), law


def _located(
    location: Float64, scale: Float64, quantile: Float64 | float, shortfall: Float64 | float, standard: TailLaw
) -> Made:
    """Return figures and law of location + scale x a standard law, for losses."""

    def law(above: Float64, times: Int64) -> Float64:
        found: Float64 = location[times] + scale[times] * standard(above, times)
        return found

    return location + scale * quantile, location + scale * shortfall, law


def _standard_normal(above: Float64, times: Int64) -> Float64:
    assert above.shape == times.shape
    return normal_upper(above)


def _normal(task: _Task) -> Made:
    mean, deviation = _by_blocks(task, lambda part: np.stack([part.mean(axis=1), part.std(axis=1, ddof=1)]))
    return _located(-mean, deviation, *normal_tail(task.tail), _standard_normal)


def _ewma(task: _Task) -> Made:
    weights = age_weights(task.windows.shape[1], DECAY)
    (variance,) = _by_blocks(task, lambda part: ((part**2) @ weights)[None, :])
    return _located(np.zeros(len(variance)), np.sqrt(variance), *normal_tail(task.tail), _standard_normal)


def _student(task: _Task) -> Made:
    fits = _refitted(task, lambda values: fit_student(values, "Student t"))
    location, scale, degrees = (
        np.array([getattr(fit, name) for fit in fits]) for name in ("location", "scale", "degrees")
    )
    figures = np.array([student_tail(task.tail, float(value)) for value in degrees])

    def standard(above: Float64, times: Int64) -> Float64:
        return student_upper(above, degrees[times])

    return _located(-location, scale, figures[:, 0], figures[:, 1], standard)


def _cornish_fisher(task: _Task) -> Made:
    mean, deviation, skewness, excess = _by_blocks(task, _moments)
    figures = np.empty((len(mean), 2))
    for index, (skew, kurt) in enumerate(zip(skewness.tolist(), excess.tolist(), strict=True)):
        if not rises(skew, kurt, task.tail):
            raise DataError(
                f"rolling forecasts: Cornish-Fisher is not valid for the window from index {index} on: skewness {-skew:.4g},"
                f" kurtosis {kurt + 3.0:.4g}; take another model"
            )
        figures[index] = expanded_tail(skew, kurt, task.tail)

    def standard(above: Float64, times: Int64) -> Float64:
        found: Float64 = np.asarray(expansion(normal_upper(above), skewness[times], excess[times]))
        return found

    return _located(-mean, deviation, figures[:, 0], figures[:, 1], standard)


def _moments(windows: Float64) -> Float64:
    """Return (4, m): mean and deviation (n - 1) of returns, skewness and excess kurtosis (1/n) of losses."""
    mean = windows.mean(axis=1)
    centred = windows - mean[:, None]
    # Shares of the largest, so that powers stay in range.
    unit = np.max(np.abs(centred), axis=1)
    centred /= unit[:, None]
    variance = np.mean(centred**2, axis=1)
    skewness = -np.mean(centred**3, axis=1) / variance**1.5
    excess = np.mean(centred**4, axis=1) / variance**2 - 3.0
    count = windows.shape[1]
    return np.stack([mean, unit * np.sqrt(variance * count / (count - 1)), skewness, excess])


def _garch(task: _Task) -> Made:
    windows, every = task.windows, task.every
    variance = np.empty(len(windows))
    for first in range(0, len(windows), every):
        law = _at(first, lambda values: fit_garch(values, "GARCH").law, windows[first])
        last = min(first + every, len(windows))
        # Between two fits each window has one more observation at its end.
        variance[first:last] = law.filtered(windows[first + 1 : last, -1], law.variance)
    return _located(np.zeros(len(windows)), np.sqrt(variance), *normal_tail(task.tail), _standard_normal)


def _peaks(task: _Task) -> Made:
    fits = _refitted(task, lambda values: fit_tail(-values, TAIL_SHARE, "peaks over threshold"))
    thresholds = np.array([threshold for threshold, _, _ in fits])
    shapes, scales = (np.array([getattr(fit, name) for _, fit, _ in fits]) for name in ("shape", "scale"))
    shares = np.array([excesses for _, _, excesses in fits]) / task.windows.shape[1]
    if not task.tail < float(shares.min()):
        raise InvalidRequest.of("confidence", task.confidence, f"above {1.0 - float(shares.min()):.6g}")
    figures = np.array(
        [pareto_tail(task.tail / share, fit) for (_, fit, _), share in zip(fits, shares.tolist(), strict=True)]
    )

    def law(above: Float64, times: Int64) -> Float64:
        logs, shape = np.log(above / shares[times]), shapes[times]
        near = np.abs(shape) < 1e-12
        growth = np.where(near, -logs, np.expm1(-shape * logs) / np.where(near, 1.0, shape))
        found: Float64 = thresholds[times] + scales[times] * growth
        return found

    return thresholds + figures[:, 0], thresholds + figures[:, 1], law


def _refitted(task: _Task, fit: Callable[[Float64], Fit]) -> list[Fit]:
    """Return the fit of each window, made anew every so many of them."""
    fits: list[Fit] = []
    for index in range(len(task.windows)):
        again = index % task.every == 0
        fits.append(_at(index, fit, task.windows[index]) if again else fits[-1])
    return fits


def _at(index: int, fit: Callable[[Float64], Fit], values: Float64) -> Fit:
    """Return the fit of one window; its error tells which."""
    try:
        return fit(values)
    except MarketMakerError as error:
        raise DataError(f"rolling forecasts, window from index {index} on: {error}") from error


_MAKERS: dict[Model, Callable[[_Task], Made]] = {
    Model.HISTORICAL: _historical,
    Model.AGE_WEIGHTED: _age_weighted,
    Model.FILTERED_HISTORICAL: _filtered,
    Model.NORMAL: _normal,
    Model.STUDENT_T: _student,
    Model.CORNISH_FISHER: _cornish_fisher,
    Model.EWMA: _ewma,
    Model.GARCH: _garch,
    Model.PEAKS_OVER_THRESHOLD: _peaks,
}
