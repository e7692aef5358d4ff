"""Metrics of orders and trades: arrival, memory of signs, lives of orders, and what they move (numbers 13, 14, 16, 18, 19).

Sources: Bouchaud et al. (2004), "Fluctuations and response in financial markets", Quantitative Finance 4(2), for signs and
response; Nagy et al. (2025), LOB-Bench, arXiv 2502.09172, for the six classes of events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.units import NS_PER_SECOND
from market_maker.market_data.stretch import frozen
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.realism import kernel
from market_maker.performance.realism.compiled import compiled_realism
from market_maker.performance.realism.metric import PARTS, Curve, Metric, Told, curve_of
from market_maker.performance.realism.statistics import (
    LEAST,
    autocorrelation,
    known,
    power_exponent,
    survival,
    variation,
)
from market_maker.performance.realism.window import Events, Lives, Window

SIGN_LAGS = np.array([1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500])
RESPONSE_LAGS = np.array([1, 2, 3, 5, 10, 20, 50, 100, 200, 500])
CLASSES = ("limit", "cancel", "market")
LEAST_METAORDERS = 10


def flow_facts(window: Window) -> Iterator[Metric]:
    """Yield the metrics of orders and trades."""
    yield from _arrivals(window)
    yield _signs(window)
    yield from _lives(window)
    yield from _places(window)
    yield from _responses(window)
    yield _metaorders(window)


# --- arrival and signs ------------------------------------------------------------------------------------------------


def _arrivals(window: Window) -> Iterator[Metric]:
    trades = Told("market_order_waits", 13, "time between market orders", "log10 ms", "CV above 1, heavy tail")
    every = Told("event_waits", 13, "time between events of the book", "log10 ms", "CV above 1, heavy tail")
    if not len(window.trades.ts):
        yield trades.missing(window.why_not("trades"))
    else:
        yield _waits(trades, window, _prints(window))
    if window.events is None:
        yield every.missing(window.why_not("events"))
    else:
        yield _waits(every, window, _distinct(window.events.ts))


def _prints(window: Window) -> Int64:
    return window.market_orders.ts if len(window.market_orders.ts) else _distinct(window.trades.ts)


def _distinct(ts: Int64) -> Int64:
    """Return the instants, of times that never decrease."""
    return ts[np.append(True, ts[1:] > ts[:-1])] if len(ts) else ts


def _waits(told: Told, window: Window, ts: Int64) -> Metric:
    keep = np.ones(max(0, len(ts) - 1), bool)
    for begin, end in window.gaps:
        # What a wait over a gap would have been is not known.
        keep &= (ts[1:] < begin) | (ts[:-1] >= end)
    ms = np.diff(ts)[keep] / 1e6
    if len(ms) < LEAST:
        return told.missing(f"{len(ms)} waits; {LEAST} are needed")
    positive = ms[ms > 0.0]
    return told.measured(
        {"CV": variation(ms), "mean, ms": float(ms.mean()), "share of 0": float(np.mean(ms == 0.0))},
        sample=np.log10(positive), is_log=True,
    )  # fmt: skip


def _signs(window: Window) -> Metric:
    told = Told("trade_signs", 14, "autocorrelation of signs of market orders", "", "decays as lag^-0.5")
    if not len(window.trades.ts):
        return told.missing(window.why_not("trades"))
    signs = window.market_orders.side.astype(np.float64)
    if not len(signs):
        return told.missing("no aggressor is recorded")
    lags = SIGN_LAGS[: np.searchsorted(3 * SIGN_LAGS, len(signs), side="right")]
    curve = None
    if len(lags):
        curve = curve_of("lag, market orders", lags, signs, lambda part: autocorrelation(part, lags))
    figures = {
        "lag 1": None if curve is None else float(curve.ys[0]),
        "exponent": None if curve is None else power_exponent(lags, curve.ys),
    }
    why = f"{len(signs)} market orders" if curve is None else "too few of the values are positive"
    return told.measured(figures, why=why, curve=curve)


# --- lives and places of orders ---------------------------------------------------------------------------------------


def _lives(window: Window) -> Iterator[Metric]:
    fill = Told("time_to_fill", 16, "time to the first fill of orders that are filled", "log10 s")
    cancel = Told("time_to_cancel", 16, "time to cancel of orders that are canceled", "log10 s")
    if window.lives is None:
        yield from (each.missing(window.why_not("lives")) for each in (fill, cancel))
        return
    lives = window.lives
    ended = np.where(lives.filled_ts > 0, lives.filled_ts, np.where(lives.gone_ts > 0, lives.gone_ts, window.end_ts))
    yield _times(fill, ended - lives.ts, lives.filled_ts > 0, "no order was filled")
    ended = np.where(lives.gone_ts > 0, lives.gone_ts, window.end_ts)
    yield _times(cancel, ended - lives.ts, _is_canceled(lives), "no order was canceled")


def _is_canceled(lives: Lives) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = lives.how == kernel.WAS_CANCELED
    return found


def _times(told: Told, waits_ns: Int64, is_ended: NDArray[np.bool_], why: str) -> Metric:
    seconds = waits_ns / NS_PER_SECOND
    sample = seconds[is_ended]
    if len(sample) < LEAST:
        return told.missing(f"{why}: {len(sample)} of {len(seconds)} orders" if len(sample) else why)
    times, shares = survival(seconds, is_ended)
    below = np.flatnonzero(shares <= 0.5)
    return told.measured(
        {
            "median of those, s": float(np.median(sample)),
            "share of orders": float(len(sample) / len(seconds)),
            "median by Kaplan-Meier, s": float(times[below[0]]) if len(below) else None,
        },
        why="fewer than half would ever", sample=np.log10(np.maximum(sample, 1e-9)), is_log=True,
    )  # fmt: skip


def _places(window: Window) -> Iterator[Metric]:
    for kind, name in ((kernel.LIMIT, "limit"), (kernel.CANCEL, "cancel")):
        distance = Told(f"{name}_distance", 16, f"distance of {name}s from the mid", "log10 ticks")
        level = Told(f"{name}_level", 16, f"index of the level of {name}s", "")
        events = window.events
        if events is None:
            yield from (each.missing(window.why_not("events")) for each in (distance, level))
            continue
        chosen = (events.kind == kind) & (events.mid_half_ticks > 0)
        if chosen.sum() < LEAST:
            yield from (each.missing(f"{int(chosen.sum())} {name}s; {LEAST} are needed") for each in (distance, level))
            continue
        away = 0.5 * events.side[chosen] * (events.mid_half_ticks[chosen] - 2 * events.price_ticks[chosen])
        beyond = away[away > 0.0]
        yield distance.measured(
            {"median, ticks": float(np.median(away)), "share through the mid": float(np.mean(away <= 0.0))},
            sample=np.log10(beyond), is_log=True,
        )  # fmt: skip
        index = events.level[chosen]
        near = index[index > 0].astype(np.float64)
        yield level.measured(
            {"share at the best": float(np.mean(index == 1)), "share of unknown (far)": float(np.mean(index == 0))},
            sample=near,
        )


# --- what events move -------------------------------------------------------------------------------------------------


def classes_of(events: Events) -> NDArray[np.int8]:
    """Return the class of each event: 2 x kind, plus 1 when the mid before the next event is another one; -1 at the end."""
    found = (2 * events.kind).astype(np.int8)
    mids = events.mid_half_ticks
    found[:-1] += mids[1:] != mids[:-1]
    found[-1:] = -1
    found[mids == 0] = -1
    found[:-1][mids[1:] == 0] = -1
    return found


def responses(mids: Int64, signs: NDArray[np.int8], groups: NDArray[np.int8], lags: Int64) -> tuple[Float64, Int64]:
    """Return mean sign x (mid before event i + lag - mid before event i) in ticks by group and lag, and how many events.

    Parameters
    ----------
    mids : (n,) half ticks before each event, 0 unknown; signs, groups : (n,); groups from 0 to 5, below 0 left out
    lags : (m,)

    Returns
    -------
    means : (6, m), NaN without an event
    counts : (6, m)
    """
    sums, counts = np.zeros((6, len(lags)), np.int64), np.zeros((6, len(lags)), np.int64)
    given = (frozen(mids, np.int64), frozen(signs, np.int8), frozen(groups, np.int8), frozen(lags, np.int64))
    compiled_realism().respond(*given, sums, counts)
    with np.errstate(invalid="ignore"):
        return 0.5 * sums / np.where(counts > 0, counts, np.nan), counts


def _responses(window: Window) -> Iterator[Metric]:
    told = [
        Told(f"response_{name}{suffix}", 18, f"response of the mid to {name} orders that {words}", "ticks", expected)
        for name, expected in zip(CLASSES, ("", "", "rises, then flattens"), strict=True)
        for suffix, words in (("", "do not move it"), ("_moving", "move it"))
    ]
    if window.events is None:
        yield from _responses_of_trades(window, told, window.why_not("events"))
        return
    events = window.events
    if 2 * len(_distinct(events.ts)) < len(events.ts):
        why = "changes come many to an instant, so that it cannot be told which of them moved the mid"
        yield from _responses_of_trades(window, told, why)
        return
    groups = classes_of(events)
    # A cancel of a bid presses the price down.
    signs = np.where(events.kind == kernel.CANCEL, -events.side, events.side).astype(np.int8)
    yield from _curves(told, events.mid_half_ticks, signs, groups, "lag, events")


def _responses_of_trades(window: Window, told: list[Told], why: str) -> Iterator[Metric]:
    """Yield what trades alone tell: lags count market orders, and `why` the others cannot be had."""
    yield from (each.missing(why) for each in told[:4])
    orders, quotes = window.market_orders, window.quotes
    if not len(orders.ts) or not len(quotes.ts):
        none = window.why_not("trades") if not len(window.trades.ts) else "no aggressor is recorded"
        yield from (each.missing(none) for each in told[4:])
        return
    place = np.searchsorted(quotes.ts, orders.ts, side="left") - 1
    bid, ask = quotes.bid_ticks[place], quotes.ask_ticks[place]
    mids = np.where((place >= 0) & (bid > 0) & (ask > 0), bid + ask, 0)
    kinds = np.full(len(mids), kernel.MARKET)
    as_events = Events(
        orders.ts, kinds, orders.side, orders.price_ticks, orders.lots, np.zeros(len(mids), np.int64), mids
    )
    found = _curves(told, mids, orders.side.astype(np.int8), classes_of(as_events), "lag, market orders")
    yield from list(found)[4:]


def _curves(
    told: list[Told], mids: Int64, signs: NDArray[np.int8], groups: NDArray[np.int8], x_name: str
) -> Iterator[Metric]:
    lags = RESPONSE_LAGS[: np.searchsorted(3 * RESPONSE_LAGS, len(mids), side="right")]
    if not len(lags):
        yield from (each.missing(f"{len(mids)} events") for each in told)
        return
    means, counts = responses(mids, signs, groups, lags)
    edges = np.linspace(0, len(mids), PARTS + 1).astype(int)
    pieces = [responses(mids[a:b], signs[a:b], groups[a:b], lags)[0] for a, b in pairwise(edges.tolist())]
    for g, each in enumerate(told):
        if counts[g].min() < LEAST:
            yield each.missing(f"{int(counts[g].max())} such events; {LEAST} are needed")
            continue
        parts = np.array([piece[g] for piece in pieces])
        parts = parts if np.isfinite(parts).all() else np.zeros((0, len(lags)))
        figures = {f"lag {lag}": float(means[g, k]) for k, lag in enumerate(lags.tolist()) if lag in (1, 10, 100, 500)}
        yield each.measured(figures, curve=Curve(x_name, lags.astype(np.float64), means[g], parts))


def _metaorders(window: Window) -> Metric:
    told = Told(
        "metaorder_impact",
        19,
        "impact of metaorders over sigma sqrt(Q / V), and what is left of it later",
        "",
        "Y about 1",
    )
    if window.metaorders is None:
        return told.missing("needs metaorders that are known as such: an agent that trades in the market")
    orders, quotes = window.metaorders, window.quotes
    spans = orders.end_ts - orders.ts
    instants = (orders.ts, orders.end_ts, orders.end_ts + spans)
    before, after, later = (_log_mid_at(window, at) for at in instants)
    changes = known(np.diff(window.mids(NS_PER_SECOND)))
    length_s = (window.end_ts - window.start_ts) / NS_PER_SECOND
    volume = float(window.trades.lots.sum())
    if len(changes) < LEAST or volume <= 0.0 or not len(quotes.ts):
        return told.missing("volatility or volume of the window is not known")
    # sigma and V of the same stretch of time, the window.
    sigma = math.sqrt(float(np.mean(changes**2)) * length_s)
    scale = sigma * np.sqrt(orders.lots / volume)
    impact, left = orders.side * (after - before), orders.side * (later - before)
    good = ~np.isnan(impact) & (scale > 0.0)
    if good.sum() < LEAST_METAORDERS:
        return told.missing(f"{int(good.sum())} metaorders; {LEAST_METAORDERS} are needed")
    factor = float(scale[good] @ impact[good]) / float(scale[good] @ scale[good])
    both = good & ~np.isnan(left)
    total = float(impact[both].sum())
    reverted = 1.0 - float(left[both].sum()) / total if both.sum() >= LEAST_METAORDERS and total > 0.0 else None
    return told.measured(
        {"Y": factor, "share that reverts": reverted},
        why="no impact, or no later mid",
        sample=impact[good] / scale[good],
    )


def _log_mid_at(window: Window, at: Int64) -> Float64:
    """Return ln(mid) at instants inside the window, of the last quote at or before each; NaN unknown."""
    quotes = window.quotes
    place = np.searchsorted(quotes.ts, at, side="right") - 1
    bid, ask = quotes.bid_ticks[place], quotes.ask_ticks[place]
    is_known = (place >= 0) & (bid > 0) & (ask > 0) & (at < window.end_ts)
    for begin, end in window.gaps:
        is_known &= (at < begin) | (at >= end)
    return np.log(np.where(is_known, 0.5 * (bid + ask), np.nan))
