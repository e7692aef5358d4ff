"""Metrics of the mid: returns, tails, clustering, and how variance grows with time (numbers 1 to 10 and 20).

Sources: Cont (2001), "Empirical properties of asset returns: stylized facts and statistical issues", Quantitative Finance 1(2);
Müller et al. (1997), J. Empirical Finance 4(2-3) for coarse and fine volatility.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.realism.metric import Curve, Metric, Told, curve_of
from market_maker.performance.realism.statistics import (
    LEAST,
    autocorrelation,
    correlation,
    excess_kurtosis,
    fano_factor,
    hill_index,
    known,
    power_exponent,
    skewness,
    variance_ratios,
)
from market_maker.performance.realism.window import Window

STEPS_S = (1, 10, 60, 300)
"""Intervals of returns, in seconds."""
RETURN_LAGS = np.arange(1, 21)
CLUSTER_LAGS = np.arange(1, 101)
SIGNATURE_S = np.array([1, 2, 5, 10, 30, 60, 120, 300])
LEVERAGE_LAGS = np.arange(1, 21)
FANO_WINDOW = 60
LOCAL = 60
"""Seconds over which local volatility, coarse and fine, is taken."""
COARSE_LAGS = np.arange(1, 11)

_TOO_SHORT = "the window is too short: {} returns of 1 s are known"


def price_facts(window: Window) -> Iterator[Metric]:
    """Yield the metrics of the mid."""
    mids = {step: window.mids(step * NS_PER_SECOND) for step in STEPS_S}
    returns = {step: np.diff(values) for step, values in mids.items()}
    second = returns[1]
    why = _TOO_SHORT.format(f"{len(known(second)):,}")
    for step in STEPS_S:
        yield _return_autocorrelation(step, returns[step], why)
    yield _distribution(returns, why)
    yield _by_step(
        Told("skewness", 7, "skewness of returns", "", "informational", is_informational=True), returns, skewness, why
    )
    yield _by_step(Told("tail_index", 3, "tail index of |r| (Hill, top 5 %)", "", "2 to 5"), returns, hill_index, why)
    yield from _clustering(returns, why)
    yield _volume_volatility(window, returns)
    yield _leverage(returns[10], why)
    yield from _intermittency(second, why)
    yield _coarse_fine(second, why)
    yield _signature(mids[1], why)


def _return_autocorrelation(step: int, series: Float64, why: str) -> Metric:
    told = Told(
        f"return_autocorrelation_{step}s", 1, f"autocorrelation of returns, {step} s", "",
        "about 0; slightly negative at lag 1 of 1 s",
    )  # fmt: skip
    curve = curve_of("lag", RETURN_LAGS, series, lambda part: autocorrelation(part, RETURN_LAGS))
    first = None if curve is None else float(curve.ys[0])
    notes: tuple[str, ...] = ()
    if first is not None and step >= 10 and abs(first) > 0.1:
        notes = (f"|{first:.2f}| is above 0.1: returns of {step} s can be foretold",)
    return told.measured({"lag 1": first}, why=why, curve=curve, notes=notes)


def _distribution(returns: dict[int, Float64], why: str) -> Metric:
    told = Told(
        "returns", 2, "returns of 1 s, and excess kurtosis by interval", "basis points", "kurtosis above 0, falling"
    )
    figures = {f"kurtosis {step} s": excess_kurtosis(series) for step, series in returns.items()}
    row = known(returns[1]) * 1e4
    if len(row) < LEAST:
        return told.missing(why)
    found = [value for value in figures.values() if value is not None]
    notes = ("excess kurtosis does not fall with the interval",) if len(found) > 1 and found[-1] >= found[0] else ()
    figures["deviation"] = float(row.std())
    return told.measured(figures, why="fewer than 30 returns", sample=row, notes=notes)


def _by_step(told: Told, returns: dict[int, Float64], measure: Callable[[Float64], float | None], why: str) -> Metric:
    values = {step: measure(series) for step, series in returns.items()}
    steps = [step for step, value in values.items() if value is not None]
    figures = {f"{step} s": value for step, value in values.items()}
    if 1 not in steps:
        return told.measured(figures, why=f"{why}, too few of which are not 0")

    def one(part: Float64) -> Float64 | None:
        value = measure(part)
        return None if value is None else np.array([value])

    return told.measured(figures, why="too few returns", curve=curve_of("interval, s", np.array([1]), returns[1], one))


def _clustering(returns: dict[int, Float64], why: str) -> Iterator[Metric]:
    told = Told(
        "volatility_clustering", 4, "autocorrelation of |r|, 1 s", "", "positive, decaying as lag^-0.2 to lag^-0.4"
    )
    sizes = np.abs(returns[1])
    curve = curve_of("lag, s", CLUSTER_LAGS, sizes, lambda part: autocorrelation(part, CLUSTER_LAGS))
    squares = autocorrelation(returns[1] ** 2, CLUSTER_LAGS)
    minute = autocorrelation(np.abs(returns[60]), np.array([1]))
    figures = {
        "lag 1": None if curve is None else float(curve.ys[0]),
        "lag 10": None if curve is None else float(curve.ys[9]),
        "exponent": None if curve is None else power_exponent(CLUSTER_LAGS, curve.ys),
        "squares, lag 1": None if squares is None else float(squares[0]),
        "lag 1 of 60 s": None if minute is None else float(minute[0]),
    }
    yield told.measured(figures, why=why if curve is None else "too few of the values are positive", curve=curve)


def _volume_volatility(window: Window, returns: dict[int, Float64]) -> Metric:
    told = Told("volume_volatility", 5, "correlation of volume and |r|", "", "0.2 to 0.6")
    if not len(window.trades.ts):
        return told.missing(window.why_not("trades"))
    figures: dict[str, float | None] = {}
    points: list[tuple[int, float]] = []
    for step, series in returns.items():
        volume = volumes(window, step * NS_PER_SECOND)[: len(series)]
        value = figures[f"{step} s"] = correlation(volume, np.abs(series))
        if value is not None:
            points.append((step, value))
    if not points or points[0][0] != 1:
        return told.measured(figures)
    pairs = np.column_stack([volumes(window, NS_PER_SECOND)[: len(returns[1])], np.abs(returns[1])])

    def one(part: Float64) -> Float64 | None:
        value = correlation(part[:, 0], part[:, 1])
        return None if value is None else np.array([value])

    return told.measured(figures, curve=curve_of("interval, s", np.array([1]), pairs, one))


def volumes(window: Window, step_ns: int) -> Float64:
    """Return the lots traded in each whole interval (start, end] as `Window.mids` cuts them; whole numbers."""
    count = (window.end_ts - window.start_ts) // step_ns
    place = np.maximum(window.trades.ts - window.start_ts - 1, 0) // step_ns
    inside = place < count
    return np.bincount(place[inside], weights=window.trades.lots[inside], minlength=count).astype(np.float64)


def _leverage(series: Float64, why: str) -> Metric:
    told = Told("leverage", 6, "correlation of r and later |r|, 10 s", "", "informational", is_informational=True)

    def measure(part: Float64) -> Float64 | None:
        if 3 * int(LEVERAGE_LAGS[-1]) > len(part):
            return None
        found = [correlation(part[:-lag], np.abs(part[lag:])) for lag in LEVERAGE_LAGS.tolist()]
        good = [value for value in found if value is not None]
        return np.array(good) if len(good) == len(found) else None

    curve = curve_of("lag, 10 s", LEVERAGE_LAGS, series, measure)
    return told.measured({"lag 1": None if curve is None else float(curve.ys[0])}, why=why, curve=curve)


def _intermittency(series: Float64, why: str) -> Iterator[Metric]:
    bursts = Told("intermittency", 8, "counts of |r| above its 99 % quantile in a minute", "", "Fano factor above 1")
    local = Told(
        "conditional_tails",
        9,
        "returns of 1 s over local volatility",
        "",
        "excess kurtosis above 0, less than unconditional",
    )
    sizes = np.abs(series)
    if len(known(sizes)) < 10 * FANO_WINDOW:
        yield bursts.missing(f"{why}; {10 * FANO_WINDOW} are needed")
        yield local.missing(f"{why}; {10 * FANO_WINDOW} are needed")
        return
    threshold = float(np.quantile(known(sizes), 0.99))
    whole = len(sizes) // FANO_WINDOW * FANO_WINDOW
    minutes = (sizes[:whole] > threshold).reshape(-1, FANO_WINDOW)
    counts = minutes.sum(axis=1)[~np.isnan(sizes[:whole]).reshape(-1, FANO_WINDOW).any(axis=1)].astype(np.float64)
    yield bursts.measured({"Fano factor": fano_factor(counts)}, why="no return stands out", sample=counts)
    squares = np.concatenate([[0.0], np.cumsum(np.where(np.isnan(series), 0.0, series**2))])
    before = (squares[LOCAL:-1] - squares[: -LOCAL - 1]) / LOCAL
    ratio = np.full(len(before), np.nan)
    moving = before > 1e-12 * float(np.nanmean(series**2))
    ratio[moving] = series[LOCAL:][moving] / np.sqrt(before[moving])
    row = known(ratio)
    yield local.measured(
        {"excess kurtosis": excess_kurtosis(row)}, why="the mid hardly moves", sample=row if len(row) >= LEAST else None
    )


def _coarse_fine(series: Float64, why: str) -> Metric:
    told = Told(
        "coarse_fine", 10, "coarse volatility foretells fine better than the reverse (difference)", "", "positive",
        is_informational=True,
    )  # fmt: skip

    def measure(part: Float64) -> Float64 | None:
        whole = part[: len(part) // LOCAL * LOCAL].reshape(-1, LOCAL)
        coarse, fine = np.abs(whole.sum(axis=1)), np.abs(whole).sum(axis=1)
        found = []
        for lag in COARSE_LAGS.tolist():
            if len(coarse) - lag < LEAST:
                return None
            ahead, mirrored = correlation(coarse[:-lag], fine[lag:]), correlation(fine[:-lag], coarse[lag:])
            if ahead is None or mirrored is None:
                return None
            found.append(ahead - mirrored)
        return np.array(found)

    curve = curve_of("lag, 60 s", COARSE_LAGS, series, measure)
    return told.measured({"lag 1": None if curve is None else float(curve.ys[0])}, why=why, curve=curve)


def _signature(log_mids: Float64, why: str) -> Metric:
    told = Told(
        "signature_plot", 20, "variance of returns over the interval, relative to 1 s", "",
        "flat; falling: bounce; rising: flow that is not absorbed",
    )  # fmt: skip
    lags: Int64 = SIGNATURE_S[: np.searchsorted(3 * SIGNATURE_S, len(log_mids), side="right")]
    if len(lags) < 2:
        return told.missing(why)
    curve: Curve | None = curve_of("interval, s", lags, log_mids, lambda part: variance_ratios(part, lags))
    if curve is None:
        return told.missing(why)
    figures = {f"{lag} s": float(value) for lag, value in zip(lags, curve.ys, strict=True) if lag in (10, 60, 300)}
    return told.measured(figures, curve=curve)
