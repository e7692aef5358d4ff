"""A market as a whole: its book, own orders, impact, conditions, jumps, phases; and, slow, its likeness to real ones."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy import stats

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.order import Side
from market_maker.matching.book import Events
from market_maker.matching.codes import EventKind, LiquidityCode, Phase
from market_maker.synthetic.draws.kernel import SHIFT
from market_maker.synthetic.flow.parameters import (
    NS,
    Conditions,
    FlowParameters,
    MarketDesign,
    ReferenceParameters,
    suited_step,
)
from market_maker.synthetic.reference.processes import Process
from market_maker.venue.market.market import SyntheticMarket

PRICE, STEP = 100_000, 10
CONSTANT = ReferenceParameters(process=Process.CONSTANT)
BALANCED = ReferenceParameters(price_deviation=1.33 * STEP / PRICE)


def a_market(seed: int = 1, *, reference: ReferenceParameters = CONSTANT, **flow: Any) -> SyntheticMarket:
    parameters = FlowParameters(**{"step_ticks": STEP, **flow})
    design = MarketDesign(price_ticks=PRICE, seed=seed, group_seed=seed, flow=parameters, reference=reference)
    return SyntheticMarket.create(design)


def taken(events: Events) -> Events:
    return events[(events["kind"] == EventKind.FILLED) & (events["liquidity"] == LiquidityCode.TAKER)]


def test_a_new_market_has_a_book_around_its_price() -> None:
    for seed in range(20):
        market = a_market(seed)
        bids, asks = market.depth(Side.BUY, 50), market.depth(Side.SELL, 50)
        assert len(bids) > 10 and len(asks) > 10
        assert bids[0, 0] < asks[0, 0]
        assert abs(bids[0, 0] + asks[0, 0] - 2 * PRICE) < 2 * 40 * STEP
        assert market.reference_ticks == PRICE
        assert market.clock_ts == 0
        assert market.advance(NS)["sequence"][0] == 1
        market.book.check_invariants()


def test_own_orders_stand_in_the_same_queues_and_trade_with_the_flow() -> None:
    market = a_market()
    bid = market.book.best(Side.BUY)
    assert bid is not None
    market.submit(Side.BUY, qty_lots=5, price_ticks=bid, owner=2, order_id=77)
    events = market.advance(30 * NS)
    own = events[events["owner"] == 2]
    assert own["kind"].tolist().count(EventKind.FILLED) >= 1
    assert (own["liquidity"] == LiquidityCode.MAKER).all()
    # It was filled after everything that stood before it at the same price.
    ask = market.book.best(Side.SELL)
    assert ask is not None
    told = market.submit(Side.BUY, qty_lots=3, price_ticks=ask, owner=2, order_id=78)
    assert told["kind"].tolist()[:2] == [EventKind.ACCEPTED, EventKind.FILLED]
    market.submit(Side.SELL, qty_lots=3, price_ticks=ask + 5_000, owner=2, order_id=79)
    assert market.cancel(79, owner=2)["kind"].tolist() == [EventKind.CANCELED]


def test_impact_moves_the_reference_price_for_good_and_the_mid_follows() -> None:
    mids = []
    for seed in range(6):
        market = a_market(seed)
        ask = market.book.best(Side.SELL)
        assert ask is not None
        lots = int(market.depth(Side.SELL, 1)[0, 1]) * 2
        told = market.submit(Side.BUY, qty_lots=lots, price_ticks=ask, owner=2, order_id=5, price_impact=0.01)
        executed = int(taken(told)["qty_lots"].sum())
        market.cancel(5, owner=2)
        market.advance(market.clock_ts)
        assert executed * 2 == lots
        expected = PRICE * (1 + 0.01 * executed / lots)
        assert math.isclose(int(market.flow.head["reference_q20"][0]) / (1 << SHIFT), expected, rel_tol=1e-6)
        assert int(market.book.state.head["impact_e12"][0]) == 0
        mids.append(market.quotes(900 * NS, NS, 900).mean())
    # 0.5 % are 500 ticks; the mid swings around them by about 100 ticks over minutes.
    assert math.isclose(np.mean(mids), PRICE + 500, abs_tol=90)


def test_the_mid_follows_a_jump_within_minutes_and_no_side_is_ever_empty() -> None:
    for jump in (0.05, -0.05):
        market = a_market()
        market.quotes(0, NS, 100)
        market.jump(jump)
        quotes = market.quotes(100 * NS, NS // 10, 3_000)
        assert (quotes > 0).all() and (quotes < 2 * PRICE).all()
        assert (quotes[:, 0] < quotes[:, 1]).all()
        assert math.isclose(quotes[-600:].mean(), PRICE * (1 + jump), rel_tol=0.004)
    with pytest.raises(InvalidRequest):
        a_market().jump(2.0)


def test_a_side_that_an_own_order_takes_whole_is_quoted_again() -> None:
    for side in Side:
        market = a_market(reference=CONSTANT)
        price = 2 * PRICE if side is Side.BUY else 1
        market.submit(side, qty_lots=1 << 20, price_ticks=price, owner=2, order_id=5)
        market.cancel(5, owner=2)
        assert market.book.best(Side(-side)) is None
        market.advance(market.clock_ts)
        assert market.book.best(Side(-side)) is not None
        # What stands elsewhere, alone and far away, is nothing to quote around.
        market.submit(Side(-side), qty_lots=1, price_ticks=5 * PRICE if side is Side.BUY else 1, owner=2, order_id=6)
        quotes = market.quotes(60 * NS, NS, 60)
        assert abs(quotes.mean() - PRICE) < 60 * STEP
        assert len(market.depth(Side(-side), 100)) > 5
        market.book.check_invariants()


def test_a_far_own_order_does_not_draw_the_flow_away() -> None:
    """All of the flow is taken, and all that is left of one side is an own order at a tenth of the price."""
    market = a_market(reference=CONSTANT)
    market.submit(Side.BUY, qty_lots=1, price_ticks=PRICE // 10, owner=2, order_id=6)
    market.submit(Side.SELL, qty_lots=1 << 20, price_ticks=PRICE // 5, owner=2, order_id=5)
    market.cancel(5, owner=2)
    assert market.book.best(Side.BUY) == PRICE // 10
    quotes = market.quotes(60 * NS, NS, 60)
    assert abs(quotes.mean() - PRICE) < 60 * STEP
    market.book.check_invariants()


def busy(conditions: Conditions, seed: int = 3) -> tuple[Events, SyntheticMarket, np.ndarray]:
    """Return events of 100 s under conditions, after 20 s to settle, and quotes of the 100 s after."""
    market = a_market(seed, activity_sigma=0.0)
    market.set_conditions(conditions)
    market.advance(20 * NS)
    events = market.advance(120 * NS)
    return events, market, market.quotes(120 * NS, NS, 100)


def kinds(events: Events) -> tuple[int, int, int]:
    """Return how many orders, cancels and market orders there were."""
    takers = len(np.unique(taken(events)["order_id"]))
    accepted = int((events["kind"] == EventKind.ACCEPTED).sum())
    return accepted - takers, int((events["kind"] == EventKind.CANCELED).sum()), takers


def test_activity_multiplies_everything() -> None:
    usual, lively = kinds(busy(Conditions())[0]), kinds(busy(Conditions(activity=4.0))[0])
    for before, after in zip(usual[:2], lively[:2], strict=True):
        assert math.isclose(after / before, 4.0, rel_tol=0.1)
    assert lively[2] > 2 * usual[2]


def test_liquidity_withdrawal_thins_and_shortens_the_book() -> None:
    _, usual, _ = busy(Conditions())
    _, thin, _ = busy(Conditions(limit=0.4, levels_max=5))
    assert len(usual.depth(Side.BUY, 100)) > 20
    for side in Side:
        levels = thin.depth(side, 100)
        assert 1 <= len(levels) <= 8
        assert levels[:, 1].sum() < 0.25 * usual.depth(side, 100)[:, 1].sum()
    # Nothing lasts: the book comes back.
    thin.set_conditions(Conditions())
    thin.advance(thin.clock_ts + 60 * NS)
    assert len(thin.depth(Side.BUY, 100)) > 10


def test_a_wide_spread() -> None:
    usual, wide = busy(Conditions())[2], busy(Conditions(distance_steps=4))[2]
    assert np.median(usual[:, 1] - usual[:, 0]) <= 2 * STEP
    assert (wide[:, 1] - wide[:, 0]).min() >= 5 * STEP


def test_a_one_sided_market_moves_the_price() -> None:
    events, _, up = busy(Conditions(buy_bias=0.9))
    assert (taken(events)["side"] == 1).mean() > 0.85
    _, _, down = busy(Conditions(buy_bias=-0.9))
    assert up.mean() - down.mean() > 10 * STEP


def test_sizes_and_market_orders_are_multiplied() -> None:
    usual, large = busy(Conditions())[0], busy(Conditions(size=10.0))[0]
    accepted = [e["qty_lots"][e["kind"] == EventKind.ACCEPTED].mean() for e in (usual, large)]
    assert math.isclose(accepted[1] / accepted[0], 10.0, rel_tol=0.05)
    rates = [np.mean([kinds(busy(Conditions(market=m), seed)[0])[2] for seed in range(5)]) for m in (1.0, 4.0)]
    assert 2.5 < rates[1] / rates[0] < 6.0


def test_volatility_multiplies_the_reference_price_alone() -> None:
    paths = []
    for volatility in (1.0, 5.0):
        market = a_market(reference=BALANCED)
        market.set_conditions(Conditions(volatility=volatility))
        prices = []
        for second in range(1, 400):
            market.advance(second * NS)
            prices.append(int(market.flow.head["reference_q20"][0]))
        paths.append(np.diff(np.log(prices)))
    np.testing.assert_allclose(paths[1], 5 * paths[0], rtol=1e-4, atol=5e-7)


def test_a_halted_market_takes_no_orders_and_an_auction_no_market_orders() -> None:
    market = a_market()
    market.book.enter(Phase.HALT)
    halted = market.advance(10 * NS)
    assert set(halted["kind"].tolist()) <= {EventKind.CANCELED}
    market.book.enter(Phase.CLOSING_AUCTION)
    calling = market.advance(20 * NS)
    assert set(calling["kind"].tolist()) == {EventKind.ACCEPTED, EventKind.CANCELED}
    market.book.enter(Phase.CONTINUOUS)
    assert EventKind.FILLED in market.advance(40 * NS)["kind"]
    market.book.check_invariants()


def test_a_price_of_few_ticks() -> None:
    """At the lower end of prices orders that would be free of charge do not come, and the market goes on."""
    design = MarketDesign(price_ticks=3, seed=2, reference=CONSTANT)
    market = SyntheticMarket.create(design)
    quotes = market.quotes(0, NS, 300)
    assert (quotes[:, 0] >= 1).all()
    assert (quotes[:, 1] > quotes[:, 0]).all()
    market.book.check_invariants()


def test_other_seeds_other_markets() -> None:
    one, other = a_market(1).advance(20 * NS), a_market(2).advance(20 * NS)
    assert one.tobytes() != other.tobytes()
    assert one.tobytes() == a_market(1).advance(20 * NS).tobytes()


def autocorrelation(values: np.ndarray, lag: int) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred * centred).mean())


def measure(seed: int) -> dict[str, float]:
    """Return facts of 20,000 s: kurtosis, memory of returns and of their size, variance by horizon."""
    step, speed = suited_step(PRICE, BALANCED)
    market = a_market(seed, reference=BALANCED, step_ticks=step, speed=speed)
    mid = np.log(market.quotes(0, NS, 20_001).mean(axis=1))
    found = {}
    for horizon in (1, 10, 60, 300):
        returns = np.diff(mid[::horizon])
        found[f"kurtosis {horizon}"] = float(stats.kurtosis(returns))
        found[f"variance {horizon}"] = float(returns.var() / horizon)
        found[f"memory {horizon}"] = autocorrelation(returns, 1)
        found[f"clustering {horizon}"] = autocorrelation(np.abs(returns), 1)
    found["clustering 1 at 10"] = autocorrelation(np.abs(np.diff(mid)), 10)
    return found


@pytest.mark.slow
def test_the_default_market_looks_like_one() -> None:
    """Stylised facts over eight seeds of 20,000 s each; docs/concepts/synthetic_market.md has the table."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(measure, range(8)))
    mean = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert mean["kurtosis 1"] > mean["kurtosis 10"] > mean["kurtosis 60"] > mean["kurtosis 300"]
    assert all(one["kurtosis 1"] > one["kurtosis 10"] > 0.5 for one in found)
    assert all(abs(one["memory 10"]) < 0.1 for one in found)
    assert abs(mean["memory 60"]) < 0.1
    assert all(one["clustering 1"] > 0.1 and one["clustering 1 at 10"] > 0.01 for one in found)
    assert all(one["clustering 10"] > 0.02 for one in found)
    variances = [mean[f"variance {horizon}"] for horizon in (1, 10, 60, 300)]
    assert max(variances) / min(variances) < 1.6
