"""Metrics of the book: spread, depth, imbalance, order flow imbalance, volume by time (numbers 11, 12, 15 and 17).

Source: Vyetrenko et al. (2019), arXiv 1912.04941; Nagy et al. (2025), LOB-Bench, arXiv 2502.09172; order flow imbalance:
Cont, Kukanov and Stoikov (2014), J. Financial Econometrics 12(1), equation 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.realism.metric import PARTS, Curve, Metric, Told
from market_maker.performance.realism.price_facts import volumes
from market_maker.performance.realism.statistics import LEAST, correlation
from market_maker.performance.realism.window import SAMPLE_NS, Quotes, Window

FLOW_EVENTS = 100
"""Changes of the best quotes over which order flow imbalance is summed."""
HOUR_NS = 3600 * NS_PER_SECOND


def book_facts(window: Window) -> Iterator[Metric]:
    """Yield the metrics of the book."""
    yield from _spread(window)
    yield from _depth(window)
    yield from _order_flow(window)
    yield from _volume(window)


def sampled_spread(window: Window) -> tuple[Int64, Float64]:
    """Return instants, one a second, and the spread in ticks then; those without a two-sided or uncrossed book are left out."""
    at = np.arange(window.start_ts, window.end_ts, SAMPLE_NS, dtype=np.int64)
    quotes = window.quotes
    if not len(quotes.ts):
        return at[:0], np.zeros(0)
    place = np.searchsorted(quotes.ts, at, side="right") - 1
    is_known = (place >= 0) & (quotes.bid_ticks[place] > 0) & (quotes.ask_ticks[place] > quotes.bid_ticks[place])
    for begin, end in window.gaps:
        is_known &= (at < begin) | (at >= end)
    place = place[is_known]
    return at[is_known], (quotes.ask_ticks[place] - quotes.bid_ticks[place]).astype(np.float64)


def time_weighted_spreads(window: Window) -> tuple[Int64, Int64]:
    """Return the spreads (ticks, increasing) of the window and for how long each stood, ns; gaps count as no spread."""
    quotes = window.quotes
    edges = np.append(quotes.ts, window.end_ts)
    duration = np.diff(edges)
    for begin, end in window.gaps:
        overlap = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
        duration = duration - np.maximum(overlap, 0)
    good = (quotes.bid_ticks > 0) & (quotes.ask_ticks > quotes.bid_ticks) & (duration > 0)
    spreads, place = np.unique(quotes.ask_ticks[good] - quotes.bid_ticks[good], return_inverse=True)
    totals = np.zeros(len(spreads), np.int64)
    np.add.at(totals, place, duration[good])
    return spreads, totals


def _spread(window: Window) -> Iterator[Metric]:
    told = Told("spread", 11, "spread, by time", "ticks")
    hourly = Told(
        "spread_by_hour", 11, "mean spread by hour (UTC)", "ticks", "widest at the open", is_informational=True
    )
    by_volatility = Told(
        "spread_by_volatility", 11, "mean spread in calm, middling and wild minutes", "ticks", "rising"
    )
    at, sample = sampled_spread(window)
    spreads, totals = time_weighted_spreads(window)
    if len(sample) < LEAST:
        why = f"a two-sided book is known in {len(sample)} seconds only"
        yield from (each.missing(why) for each in (told, hourly, by_volatility))
        return
    share = np.cumsum(totals) / totals.sum()
    yield told.measured(
        {
            "mean": float(spreads @ (totals / totals.sum())),
            "median": float(spreads[np.searchsorted(share, 0.5)]),
            "95 %": float(spreads[np.searchsorted(share, 0.95)]),
            "share of 1 tick": float(totals[spreads == 1].sum() / totals.sum()),
        },
        sample=sample,
    )
    yield _by_hour(hourly, at, sample)
    minute = (at - window.start_ts) // (60 * NS_PER_SECOND)
    moves = np.abs(np.diff(window.mids(NS_PER_SECOND)))
    place = np.arange(len(moves)) // 60
    good = ~np.isnan(moves)
    volatility = np.bincount(place[good], weights=moves[good], minlength=int(minute.max()) + 1).astype(np.float64)
    yield _by_thirds(by_volatility, "third of minutes by sum |r|", volatility[minute], sample)


def _by_hour(told: Told, at: Int64, values: Float64) -> Metric:
    hours = at // HOUR_NS % 24
    seen = np.unique(hours)
    if len(seen) < 2:
        return told.missing("the window lies in one hour of the day")
    means = np.array([float(values[hours == hour].mean()) for hour in seen])
    return told.measured(
        {"largest over smallest": float(means.max() / means.min()) if means.min() > 0 else None},
        why="an hour without any", curve=Curve("hour", seen.astype(np.float64), means, np.zeros((0, len(seen)))),
    )  # fmt: skip


def _by_thirds(told: Told, x_name: str, by: Float64, values: Float64) -> Metric:
    """Return means in the thirds of `by`."""
    low, high = np.quantile(by, [1 / 3, 2 / 3])
    if low >= high:
        return told.missing("volatility hardly varies")
    third = (by > low).astype(np.int64) + (by > high)

    def means(part: slice) -> Float64 | None:
        rows, places = values[part], third[part]
        counts = np.bincount(places, minlength=3)
        return np.bincount(places, weights=rows, minlength=3) / counts if counts.min() > 0 else None

    whole = means(slice(None))
    if whole is None:
        return told.missing("a third is empty")
    edges = np.linspace(0, len(values), PARTS + 1).astype(int)
    found = [part for a, b in pairwise(edges.tolist()) if (part := means(slice(a, b))) is not None]
    parts = np.array(found) if len(found) >= PARTS // 2 else np.zeros((0, 3))
    return told.measured(
        {"calm": float(whole[0]), "wild": float(whole[2])}, curve=Curve(x_name, np.arange(1.0, 4.0), whole, parts)
    )


def _depth(window: Window) -> Iterator[Metric]:
    profile = Told("depth_profile", 12, "mean quantity of levels, bids then asks", "lots", "humped or rising")
    imbalance = Told("imbalance", 12, "imbalance of the best quantities, (bid - ask) / (bid + ask)", "")
    given = Told("depth_by_spread", 12, "best ask quantity given the spread", "lots", is_informational=True)
    if window.depth is None:
        yield from (each.missing(window.why_not("depth")) for each in (profile, imbalance, given))
        return
    depth = window.depth
    good = (depth.bid_lots[:, 0] > 0) & (depth.ask_lots[:, 0] > 0)
    bids, asks, at = depth.bid_lots[good].astype(float), depth.ask_lots[good].astype(float), depth.ts[good]
    if len(at) < LEAST:
        why = f"a two-sided book is known in {len(at)} samples only"
        yield from (each.missing(why) for each in (profile, imbalance, given))
        return
    levels = bids.shape[1]
    both = np.hstack([bids[:, ::-1], asks])
    means = np.array([part.mean(axis=0) for part in np.array_split(both, PARTS)])
    xs = np.concatenate([np.arange(-float(levels), 0.0), np.arange(1.0, levels + 1)])
    notes = () if levels > 1 else ("best quotes alone: levels 2 to 10 are not recorded",)
    yield profile.measured(
        {"best bid": float(bids[:, 0].mean()), "best ask": float(asks[:, 0].mean())}
        | ({"level 10, both sides": float(both[:, [0, -1]].mean())} if levels > 1 else {}),
        curve=Curve("level, bids negative", xs, both.mean(axis=0), means), notes=notes,
    )  # fmt: skip
    balance = (bids[:, 0] - asks[:, 0]) / (bids[:, 0] + asks[:, 0])
    yield imbalance.measured({"mean": float(balance.mean()), "deviation": float(balance.std())}, sample=balance)
    seconds, spread = sampled_spread(window)
    _, here, there = np.intersect1d(at, seconds, assume_unique=True, return_indices=True)
    buckets = np.minimum(spread[there], 3).astype(int)
    seen = np.unique(buckets)
    values = np.array([float(asks[here, 0][buckets == bucket].mean()) for bucket in seen])
    yield given.measured(
        {"correlation": correlation(spread[there], asks[here, 0])}, why="the spread does not vary",
        curve=Curve("spread, ticks (3: 3 or more)", seen.astype(float), values, np.zeros((0, len(seen)))) if len(seen) else None,
    )  # fmt: skip


def order_flow(quotes: Quotes) -> Int64:
    """Return the order flow imbalance of each change of quotes but the first, lots; 0 where a side was or is empty.

    e = [bid up or same] bid lots - [bid down or same] bid lots before - [ask down or same] ask lots + [ask up or same] ask
    lots before.
    """
    bid, ask, bid_lots, ask_lots = quotes.bid_ticks, quotes.ask_ticks, quotes.bid_lots, quotes.ask_lots
    found = np.where(bid[1:] >= bid[:-1], bid_lots[1:], 0) - np.where(bid[1:] <= bid[:-1], bid_lots[:-1], 0)
    found -= np.where(ask[1:] <= ask[:-1], ask_lots[1:], 0) - np.where(ask[1:] >= ask[:-1], ask_lots[:-1], 0)
    is_two_sided = (bid > 0) & (ask > 0)
    return np.where(is_two_sided[1:] & is_two_sided[:-1], found, 0)


def _order_flow(window: Window) -> Iterator[Metric]:
    told = Told(
        "order_flow_imbalance",
        15,
        f"order flow imbalance over {FLOW_EVENTS} changes of the best quotes",
        "share of quantity",
    )
    given = Told(
        "order_flow_given_move",
        15,
        "the same before a fall, no move and a rise of the mid",
        "share of quantity",
        "rising",
    )
    quotes = window.quotes
    blocks = (len(quotes.ts) - 1) // FLOW_EVENTS
    if blocks < LEAST:
        why = f"{max(0, blocks)} stretches of {FLOW_EVENTS} changes of the best quotes; {LEAST} are needed"
        yield from (each.missing(why) for each in (told, given))
        return
    flow = order_flow(quotes)[: blocks * FLOW_EVENTS].reshape(blocks, FLOW_EVENTS).sum(axis=1)
    moved = 0.5 * (quotes.bid_lots + quotes.ask_lots)[: blocks * FLOW_EVENTS].reshape(blocks, FLOW_EVENTS).sum(axis=1)
    shares = flow / np.maximum(moved, 1.0)
    mids = quotes.bid_ticks + quotes.ask_ticks
    ends = np.arange(FLOW_EVENTS, blocks * FLOW_EVENTS + 1, FLOW_EVENTS)
    later = np.minimum(ends + FLOW_EVENTS, len(mids) - 1)
    same = correlation(shares, (mids[ends] - mids[ends - FLOW_EVENTS]).astype(float))
    yield told.measured(
        {"deviation": float(shares.std()), "correlation with the mid's move": same},
        why="the mid does not move",
        sample=shares,
    )
    # The next tick: the first move of the mid after the stretch, if it comes within the next stretch.
    direction = np.sign(mids[later] - mids[ends]).astype(int) + 1
    counts = np.bincount(direction, minlength=3)
    if counts.min() < 5:
        yield given.missing("the mid falls, stays or rises too seldom")
        return
    means = np.bincount(direction, weights=shares, minlength=3) / counts
    pieces = [
        np.bincount(d, weights=s, minlength=3) / c
        for d, s in zip(np.array_split(direction, PARTS), np.array_split(shares, PARTS), strict=True)
        if (c := np.bincount(d, minlength=3)).min() > 0
    ]
    parts = np.array(pieces) if len(pieces) >= PARTS // 2 else np.zeros((0, 3))
    yield given.measured(
        {"fall": float(means[0]), "rise": float(means[2])},
        curve=Curve("next move (-1, 0, 1)", np.arange(-1.0, 2.0), means, parts),
    )


def _volume(window: Window) -> Iterator[Metric]:
    told = Told("volume_per_minute", 17, "volume per minute", "log10(1 + lots)")
    hourly = Told(
        "volume_by_hour",
        17,
        "mean volume per minute by hour (UTC)",
        "lots",
        "U shape over a session",
        is_informational=True,
    )
    if not len(window.trades.ts):
        yield from (each.missing(window.why_not("trades")) for each in (told, hourly))
        return
    minutes = volumes(window, 60 * NS_PER_SECOND)
    at = window.start_ts + 60 * NS_PER_SECOND * np.arange(len(minutes), dtype=np.int64)
    keep = np.ones(len(minutes), bool)
    for begin, end in window.gaps:
        keep &= (at + 60 * NS_PER_SECOND <= begin) | (at >= end)
    minutes, at = minutes[keep], at[keep]
    if len(minutes) < 5:
        yield from (each.missing(f"{len(minutes)} whole minutes; 5 are needed") for each in (told, hourly))
        return
    yield told.measured(
        {"mean, lots": float(minutes.mean()), "deviation over mean": float(minutes.std() / minutes.mean()) if minutes.any() else None},
        why="nothing was traded", sample=np.log10(1.0 + minutes), is_log=True,
    )  # fmt: skip
    yield _by_hour(hourly, at, minutes)
