"""Metrics of windows: against plain loops on random markets, on markets whose law is known, and what cannot be had."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise

import numpy as np
import pytest

from market_maker.performance.charts import Panel, Series, picture
from market_maker.performance.realism import kernel
from market_maker.performance.realism.book_facts import order_flow, sampled_spread, time_weighted_spreads
from market_maker.performance.realism.flow_facts import classes_of, responses
from market_maker.performance.realism.measure import measure, metrics_json
from market_maker.performance.realism.pictures import realism_chart
from market_maker.performance.realism.price_facts import volumes
from market_maker.performance.realism.window import (
    Depth,
    Events,
    LevelRows,
    Lives,
    Metaorders,
    Quotes,
    Trades,
    Window,
    window_of,
)
from unit.performance.test_realism_window import random_rows

SECOND = 10**9
NUMBERS = set(range(1, 21))


def random_window(rng, n=4000):
    rows = random_rows(rng, n)
    return window_of(rows, name="random", start_ts=int(rows.ts[20]), end_ts=int(rows.ts[-1]) + 1)


def diffusion(rng, *, seconds=7200, per_second=5, rate=2.0):
    """Return a market that is a random walk with Poisson trades of independent signs, a spread of 2 and equal depth."""
    n = seconds * per_second
    bid = 10**6 + np.cumsum(rng.integers(-3, 4, n))
    ts = (np.arange(n) + 1) * (SECOND // per_second)
    lots = rng.integers(1, 9, (2, n))
    quotes = Quotes(ts, bid, lots[0], bid + 2, lots[1])
    trade_ts = np.sort(rng.integers(0, seconds * SECOND, rng.poisson(rate * seconds)))
    side = rng.choice([-1, 1], len(trade_ts))
    trades = Trades(trade_ts, bid[np.searchsorted(ts, trade_ts) - 1], np.ones(len(side), np.int64), side)
    at = np.arange(seconds) * SECOND
    depth = Depth(at, np.full((seconds, 10), 7), np.full((seconds, 10), 7))
    return Window("walk", 0, seconds * SECOND, quotes, trades, depth=depth)


def by_key(window):
    return {metric.key: metric for metric in measure(window)}


def value(metric, name):
    figure = metric.figures[name]
    assert figure.value is not None, figure.reason
    return figure.value


# --- against plain loops ----------------------------------------------------------------------------------------------


def test_order_flow_is_the_formula(rng):
    quotes = random_window(rng).quotes
    rows = list(
        zip(
            quotes.bid_ticks.tolist(),
            quotes.bid_lots.tolist(),
            quotes.ask_ticks.tolist(),
            quotes.ask_lots.tolist(),
            strict=True,
        )
    )
    expected = []
    for (pb, qb, pa, qa), (bid, bid_lots, ask, ask_lots) in pairwise(rows):
        e = (bid >= pb) * bid_lots - (bid <= pb) * qb - (ask <= pa) * ask_lots + (ask >= pa) * qa
        expected.append(e if min(pb, pa, bid, ask) > 0 else 0)
    assert order_flow(quotes).tolist() == expected


def test_spreads_by_time_are_those_of_a_loop(rng):
    window = dataclasses.replace(random_window(rng), gaps=((3 * SECOND, 5 * SECOND + 7),))
    quotes = window.quotes
    expected: dict[int, int] = {}
    for i, begin in enumerate(quotes.ts.tolist()):
        end = int(quotes.ts[i + 1]) if i + 1 < len(quotes.ts) else window.end_ts
        spread = int(quotes.ask_ticks[i] - quotes.bid_ticks[i])
        inside = (end - begin) - max(0, min(end, window.gaps[0][1]) - max(begin, window.gaps[0][0]))
        if quotes.bid_ticks[i] > 0 and spread > 0 and inside > 0:
            expected[spread] = expected.get(spread, 0) + inside
    spreads, totals = time_weighted_spreads(window)
    assert dict(zip(spreads.tolist(), totals.tolist(), strict=True)) == expected
    at, sampled = sampled_spread(window)
    for instant, spread in zip(at.tolist(), sampled.tolist(), strict=True):
        place = max(i for i, ts in enumerate(quotes.ts.tolist()) if ts <= instant)
        assert spread == quotes.ask_ticks[place] - quotes.bid_ticks[place]
        assert not window.gaps[0][0] <= instant < window.gaps[0][1]


def test_volumes_are_those_of_a_loop(rng):
    window = random_window(rng)
    step = 3 * SECOND
    expected = [0.0] * ((window.end_ts - window.start_ts) // step)
    for ts, lots in zip(window.trades.ts.tolist(), window.trades.lots.tolist(), strict=True):
        place = max(0, math.ceil((ts - window.start_ts) / step) - 1)
        if place < len(expected):
            expected[place] += lots
    assert volumes(window, step).tolist() == expected


def test_responses_are_those_of_a_loop(rng):
    events = random_window(rng).events
    groups, lags = classes_of(events), np.array([1, 3, 10])
    mids = events.mid_half_ticks.tolist()
    for i in range(len(mids)):
        is_known = i + 1 < len(mids) and mids[i] > 0 and mids[i + 1] > 0
        assert groups[i] == (2 * events.kind[i] + (mids[i + 1] != mids[i]) if is_known else -1)
    signs = events.side.astype(np.int8)
    means, counts = responses(events.mid_half_ticks, signs, groups, lags)
    for g in range(6):
        for k, lag in enumerate(lags.tolist()):
            moves = [
                0.5 * (mids[i + lag] - mids[i]) * int(signs[i])
                for i in range(len(mids) - lag) if groups[i] == g and mids[i] > 0 and mids[i + lag] > 0
            ]  # fmt: skip
            assert counts[g, k] == len(moves)
            assert not moves or means[g, k] == pytest.approx(np.mean(moves), abs=1e-12)


def test_places_and_waits_of_a_random_market(rng):
    window = random_window(rng)
    found, events = by_key(window), window.events
    rows = [i for i in range(len(events.ts)) if events.kind[i] == kernel.CANCEL and events.mid_half_ticks[i] > 0]
    away = [events.side[i] * (events.mid_half_ticks[i] / 2 - events.price_ticks[i]) for i in rows]
    assert value(found["cancel_distance"], "median, ticks") == np.median(away)
    np.testing.assert_allclose(np.sort(10 ** found["cancel_distance"].sample), np.sort([x for x in away if x > 0]))
    assert value(found["cancel_level"], "share at the best") == np.mean([events.level[i] == 1 for i in rows])
    waits = np.diff(sorted(set(events.ts.tolist()))) / 1e6
    assert value(found["event_waits"], "CV") == pytest.approx(np.std(waits) / np.mean(waits))


def pearson(pairs):
    xs, ys = zip(*pairs, strict=True)
    return np.corrcoef(xs, ys)[0, 1]


def test_metrics_of_second_moments_against_plain_loops(rng):
    """Numbers 6, 9 and 10, a return at a time."""
    window = diffusion(rng, seconds=3600)
    found = by_key(window)
    quotes = window.quotes

    def log_mid(at):
        place = np.searchsorted(quotes.ts, at, side="right") - 1
        return math.log((quotes.bid_ticks[place] + quotes.ask_ticks[place]) / 2) if place >= 0 else None

    def returns(step):
        mids = [log_mid(at * SECOND) for at in range(0, 3601, step)]
        return [None if a is None or b is None else b - a for a, b in pairwise(mids)]

    tens, ones = returns(10), returns(1)
    for lag in (1, 7, 20):
        pairs = [(a, abs(b)) for a, b in zip(tens, tens[lag:], strict=False) if a is not None]
        assert found["leverage"].curve.ys[lag - 1] == pytest.approx(pearson(pairs), abs=1e-9)
    local = [
        ones[i] / math.sqrt(sum((r or 0.0) ** 2 for r in ones[i - 60 : i]) / 60) for i in range(60, len(ones))
    ]  # fmt: skip
    np.testing.assert_allclose(found["conditional_tails"].sample, local, rtol=1e-6)
    minutes = [ones[i : i + 60] for i in range(0, 3600, 60)]
    whole = [None not in minute for minute in minutes]
    coarse = [abs(sum(minute)) if good else None for minute, good in zip(minutes, whole, strict=True)]
    fine = [sum(map(abs, minute)) if good else None for minute, good in zip(minutes, whole, strict=True)]
    for lag in (1, 4):
        both = [
            pearson([(x, y) for x, y in zip(first, second[lag:], strict=False) if x is not None and y is not None])
            for first, second in ((coarse, fine), (fine, coarse))
        ]
        assert found["coarse_fine"].curve.ys[lag - 1] == pytest.approx(both[0] - both[1], abs=1e-9)


def test_depth_and_spread_against_plain_loops(rng):
    """Numbers 11 and 12 on a market whose spread and depth are drawn."""
    walk = diffusion(rng, seconds=1800)
    quotes, seconds = walk.quotes, np.arange(1800) * SECOND
    wide = Quotes(
        quotes.ts,
        quotes.bid_ticks,
        quotes.bid_lots,
        quotes.bid_ticks + rng.integers(1, 6, len(quotes.ts)),
        quotes.ask_lots,
    )
    lots = rng.integers(0, 9, (2, 1800, 10))
    window = dataclasses.replace(walk, quotes=wide, depth=Depth(seconds, lots[0], lots[1]))
    found = by_key(window)
    good = [i for i in range(1800) if lots[0, i, 0] > 0 and lots[1, i, 0] > 0]
    balance = [(lots[0, i, 0] - lots[1, i, 0]) / (lots[0, i, 0] + lots[1, i, 0]) for i in good]
    np.testing.assert_allclose(found["imbalance"].sample, balance)
    profile = found["depth_profile"].curve
    assert profile.xs.tolist() == [*range(-10, 0), *range(1, 11)]
    for x, y in zip(profile.xs.astype(int).tolist(), profile.ys, strict=True):
        assert y == pytest.approx(np.mean([lots[0 if x < 0 else 1, i, abs(x) - 1] for i in good]))
    at, spreads = sampled_spread(window)
    given = dict(zip(at.tolist(), spreads.tolist(), strict=True))
    pairs = [(given[i * SECOND], lots[1, i, 0]) for i in good if i * SECOND in given]
    assert value(found["depth_by_spread"], "correlation") == pytest.approx(pearson(pairs))
    ones = [lots for spread, lots in pairs if spread == 1]
    assert found["depth_by_spread"].curve.ys[0] == pytest.approx(np.mean(ones))
    # Minutes by the sum of |r| in them, cut at the thirds of what the seconds see.
    mids = window.mids(SECOND)
    sums = [np.nansum(np.abs(np.diff(mids)[i : i + 60])) for i in range(0, 1800, 60)]
    seen = [sums[instant // (60 * SECOND)] for instant in at.tolist()]
    low, high = np.quantile(seen, [1 / 3, 2 / 3])
    calm = [spread for spread, wildness in zip(spreads, seen, strict=True) if wildness <= low]
    wild = [spread for spread, wildness in zip(spreads, seen, strict=True) if wildness > high]
    assert value(found["spread_by_volatility"], "calm") == pytest.approx(np.mean(calm))
    assert value(found["spread_by_volatility"], "wild") == pytest.approx(np.mean(wild))


def test_order_flow_before_moves_against_a_plain_loop(rng):
    window = diffusion(rng, seconds=3600)
    quotes = window.quotes
    flow, mids = order_flow(quotes).tolist(), (quotes.bid_ticks + quotes.ask_ticks).tolist()
    sizes = (0.5 * (quotes.bid_lots + quotes.ask_lots)).tolist()
    before = {-1: [], 0: [], 1: []}
    for begin in range(0, (len(flow) // 100) * 100, 100):
        share = sum(flow[begin : begin + 100]) / sum(sizes[begin : begin + 100])
        later = mids[min(begin + 200, len(mids) - 1)] - mids[begin + 100]
        before[int(np.sign(later))].append(share)
    metric = by_key(window)["order_flow_given_move"]
    if metric.reason is None:
        assert metric.curve.ys == pytest.approx([np.mean(before[move]) for move in (-1, 0, 1)])
    else:
        assert min(map(len, before.values())) < 5


# --- markets whose law is known ---------------------------------------------------------------------------------------


def test_a_diffusion_with_poisson_trades():
    """Fixed chance: returns of a walk of uniform steps are independent and nearly normal, waits exponential, signs white."""
    found = by_key(diffusion(np.random.default_rng(3)))
    n = 7200
    for step in (1, 10, 60):
        metric = found[f"return_autocorrelation_{step}s"]
        assert np.abs(metric.curve.ys).max() < 4 / np.sqrt(n / step)
    # Five steps, uniform from -3 to 3, of variance 4: 20 ticks^2 in a second of a price of 10^6; kurtosis -1.25/5.
    assert value(found["returns"], "deviation") == pytest.approx(math.sqrt(20) / 100, rel=0.04)
    assert value(found["returns"], "kurtosis 1 s") == pytest.approx(-0.25, abs=0.15)
    assert found["signature_plot"].curve.ys == pytest.approx(np.ones(8), abs=0.5)
    assert value(found["signature_plot"], "10 s") == pytest.approx(1.0, abs=0.12)
    assert abs(value(found["volatility_clustering"], "lag 1")) < 4 / np.sqrt(n)
    assert abs(value(found["volume_volatility"], "1 s")) < 4 / np.sqrt(n)
    assert value(found["market_order_waits"], "CV") == pytest.approx(1.0, abs=0.04)
    assert value(found["market_order_waits"], "mean, ms") == pytest.approx(500.0, rel=0.04)
    assert np.abs(found["trade_signs"].curve.ys).max() < 4 / np.sqrt(14_000)
    assert value(found["spread"], "mean") == 2.0
    assert value(found["imbalance"], "deviation") == 0.0
    assert value(found["depth_profile"], "best bid") == 7.0
    assert value(found["volume_per_minute"], "mean, lots") == pytest.approx(120, rel=0.04)
    # Counts of a law without bursts: a minute has 60 chances of 1 %, variance over mean 0.99.
    assert value(found["intermittency"], "Fano factor") == pytest.approx(0.99, abs=0.4)


def test_persistent_signs_and_their_response():
    """Signs in runs of Pareto(1.5) length have the exponent 0.5, and each market order moves the mid by half a tick."""
    rng = np.random.default_rng(5)
    lengths = np.ceil((1 - rng.random(60_000)) ** (-1 / 1.5)).astype(int)
    signs = np.repeat(rng.choice([-1, 1], len(lengths)), np.minimum(lengths, 10_000))[:100_000]
    n = len(signs)
    mids = 2 * 10**6 + np.concatenate([[0], np.cumsum(signs)[:-1]])
    ts = np.arange(n) * (SECOND // 10)
    ones = np.ones(n, np.int64)
    quotes = Quotes(ts, mids // 2, ones, mids - mids // 2, ones)
    events = Events(ts, np.full(n, kernel.MARKET), signs, mids // 2, ones, ones, mids)
    found = by_key(Window("runs", 0, n * SECOND // 10, quotes, Trades(ts, mids // 2, ones, signs), events=events))
    assert value(found["trade_signs"], "exponent") == pytest.approx(0.5, abs=0.15)
    curve = found["response_market_moving"].curve
    lags = curve.xs.astype(int)
    assert curve.ys[0] == pytest.approx(0.5)
    # R(l) is the sum of the signs' autocovariances, half a tick each.
    products = [np.mean(signs[: n - 9] * signs[k : n - 9 + k]) for k in range(10)]
    assert curve.ys[lags == 10] == pytest.approx(0.5 * np.sum(products), rel=0.02)
    assert found["response_market"].reason is not None
    assert "0 such events" in found["response_market"].reason


def test_order_flow_moves_the_mid_in_a_market_where_it_does():
    """Quotes whose bid grows before the mid rises: the mean imbalance before a rise is above that before a fall."""
    rng = np.random.default_rng(8)
    blocks = 400
    up = rng.choice([-1, 1], blocks)
    rows, bid = [], 1000
    for b in range(blocks):
        for i in range(100):
            grows = rng.random() < 0.5 + 0.3 * up[b]
            rows.append((len(rows), bid, 20 + (i % 7 if grows else 0), bid + 1, 20 + (0 if grows else i % 7)))
        bid += int(up[b])
    quotes = Quotes(*np.array(rows, np.int64).T)
    found = by_key(Window("flow", 0, len(rows), quotes, Trades(*np.zeros((4, 0), np.int64))))
    reason = found["order_flow_given_move"].reason
    assert reason is not None
    assert "too seldom" in reason  # it never stays


def test_metaorders_of_a_known_impact():
    rng = np.random.default_rng(2)
    window = diffusion(rng, rate=1.0)
    volume, length_s = window.trades.lots.sum(), 7200
    changes = np.diff(window.mids(SECOND))
    sigma = np.sqrt(np.nanmean(changes**2) * length_s)
    starts = np.arange(20, 7000, 300) * SECOND
    lots, side = rng.integers(5, 50, len(starts)), rng.choice([-1, 1], len(starts))
    # A flat market in which each order moves the mid by 0.8 sigma sqrt(Q / V), of which half is left a span later.
    impact = 0.8 * sigma * np.sqrt(lots / volume) * 1e9
    rows, mid = [(0, 10**9, 10**9)], 10**9
    for start, jump, s in zip(starts.tolist(), impact, side, strict=True):
        for at, part in ((start + 10 * SECOND, 1.0), (start + 20 * SECOND, -0.5)):
            mid = round(mid + s * jump * part)
            rows.append((at, mid, mid))
    columns = np.array(rows, np.int64).T
    flat = Quotes(columns[0], columns[1], columns[0] * 0 + 1, columns[2] + 2, columns[0] * 0 + 1)
    orders = Metaorders(starts, starts + 10 * SECOND, side, lots)
    found = by_key(dataclasses.replace(window, quotes=flat, metaorders=orders))["metaorder_impact"]
    here = np.sqrt(np.mean(np.diff(Window("flat", 0, 7200 * SECOND, flat, window.trades).mids(SECOND)) ** 2) * length_s)
    assert value(found, "Y") == pytest.approx(0.8 * sigma / here, rel=0.01)
    assert value(found, "share that reverts") == pytest.approx(0.5, abs=0.01)


# --- what cannot be had -----------------------------------------------------------------------------------------------


def everything_is_told(metrics):
    for metric in metrics:
        if metric.reason is not None:
            assert metric.reason
            assert (metric.figures, metric.sample, metric.curve) == ({}, None, None)
        for figure in metric.figures.values():
            assert (figure.value is None) == (figure.reason is not None)
            assert figure.value is None or math.isfinite(figure.value)
        for values in (metric.sample, *(() if metric.curve is None else metric.curve[1:])):
            assert values is None or np.isfinite(values).all(), metric.key
    json.dumps(metrics_json(metrics), allow_nan=False)


def test_best_quotes_alone_say_what_they_cannot_tell(rng):
    n = 4000
    ts = np.arange(n) * (SECOND // 4)
    bid = 1000 + np.cumsum(rng.integers(-1, 2, n))
    rows = LevelRows(
        np.repeat(ts, 4), np.column_stack([np.roll(bid, 1), np.roll(bid, 1) + 1, bid, bid + 1]).ravel(),
        np.tile([0, 0, 3, 5], n), np.tile([1, -1, 1, -1], n).astype(np.int8),
    )  # fmt: skip
    window = window_of(
        rows, name="bbo", start_ts=0, end_ts=int(ts[-1]) + 1, has_levels=False,
        missing=(("trades", "no trades are recorded"), ("lives", "no orders are named")),
    )  # fmt: skip
    metrics = measure(window)
    everything_is_told(metrics)
    found = {metric.key: metric for metric in metrics}
    assert {metric.number for metric in metrics} == NUMBERS
    assert "neither limit orders nor cancels" in found["limit_distance"].reason
    assert found["time_to_cancel"].reason == "no orders are named"
    assert found["trade_signs"].reason == found["market_order_waits"].reason == "no trades are recorded"
    assert found["spread"].reason is None
    assert len(found["depth_profile"].curve.xs) == 2
    assert "levels 2 to 10" in found["depth_profile"].notes[0]


@pytest.mark.parametrize("seconds", [1, 2, 40, 400])
def test_short_windows_give_reasons_and_no_nan(rng, seconds):
    rows = random_rows(rng, 40 * seconds)
    start = int(rows.ts[0])
    everything_is_told(measure(window_of(rows, name="x", start_ts=start, end_ts=start + seconds * SECOND)))


def test_a_market_that_never_moves_gives_no_nan():
    quotes = Quotes(*np.array([[0], [99], [1], [101], [1]], np.int64))
    still = Window("still", 0, 4000 * SECOND, quotes, Trades(*np.zeros((4, 0), np.int64)))
    everything_is_told(measure(still))
    nothing = Window(
        "nothing", 0, 4000 * SECOND, Quotes(*np.zeros((5, 0), np.int64)), Trades(*np.zeros((4, 0), np.int64))
    )
    assert {metric.is_available for metric in measure(nothing)} == {False}


def test_trades_without_an_aggressor():
    window = diffusion(np.random.default_rng(1), seconds=600)
    trades = window.trades
    blind = Trades(trades.ts, trades.price_ticks, trades.lots, np.zeros_like(trades.side))
    found = by_key(dataclasses.replace(window, trades=blind))
    assert found["trade_signs"].reason == found["response_market"].reason == "no aggressor is recorded"
    assert found["market_order_waits"].reason is None


def test_changes_that_come_in_batches_are_not_told_apart():
    """Ten events to an instant: which of them moved the mid is not known; market orders are counted among themselves."""
    window = diffusion(np.random.default_rng(6), seconds=600)
    n = 10 * len(window.quotes.ts)
    ts, mids = np.repeat(window.quotes.ts, 10), np.repeat(window.quotes.bid_ticks + window.quotes.ask_ticks, 10)
    ones = np.ones(n, np.int64)
    batched = Events(ts, np.zeros(n, np.int64), ones, mids // 2 - 1, ones, ones, mids)
    found = by_key(dataclasses.replace(window, events=batched))
    assert "many to an instant" in found["response_limit_moving"].reason
    assert found["response_market_moving"].curve.x_name == "lag, market orders"
    single = Events(
        window.quotes.ts,
        *(np.asarray(column)[::10] for column in (batched.kind, ones, mids // 2 - 1, ones, ones, mids)),
    )
    found = by_key(dataclasses.replace(window, events=single))
    assert found["response_limit_moving"].curve.x_name == "lag, events"


def test_lives_are_told_with_censoring():
    n = 100
    lives = Lives(
        np.zeros(n), np.where(np.arange(n) < 40, (np.arange(n) + 1) * SECOND, 0), np.full(n, 50 * SECOND),
        np.where(np.arange(n) < 40, kernel.WAS_FILLED, kernel.WAS_CANCELED),
    )  # fmt: skip
    found = by_key(dataclasses.replace(diffusion(np.random.default_rng(1), seconds=600), lives=lives))
    fill, cancel = found["time_to_fill"], found["time_to_cancel"]
    # 40 of 100 are filled after 1, 2, ..., 40 s, the others wait to 50 s in vain: never half of them.
    assert value(fill, "median of those, s") == 20.5
    assert value(fill, "share of orders") == 0.4
    assert fill.figures["median by Kaplan-Meier, s"].value is None
    assert value(cancel, "median by Kaplan-Meier, s") == 50.0


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_are_the_same_again_and_hold_no_nan(rng):
    one, two = measure(diffusion(rng, seconds=900)), measure(random_window(rng))
    text = realism_chart({"one": one, "two <&>": two})
    assert text == realism_chart({"one": one, "two <&>": two})
    assert "two &lt;&amp;&gt;" in text
    assert "nan" not in text.lower()
    assert text.count("class='t'") == 18


def test_points_that_no_axis_has_are_left_out():
    panel = Panel(
        "logarithms",
        "x",
        "y",
        [Series("a", [0.0, 1.0, 10.0, 100.0], [1.0, -1.0, 10.0, np.nan], "dots")],
        x_log=True,
        y_log=True,
    )
    assert picture([panel]).count("<circle") == 1
    assert "nothing here" in picture([Panel("empty", "x", "y", [], note="nothing here")])
