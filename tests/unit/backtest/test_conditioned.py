"""Replay under conditions: the book that a strategy meets, how it reaches own orders, and what the result says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from market_maker.backtest.conditioned import trace, under_conditions
from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.replay import open_replay
from market_maker.backtest.result import FillModel, RunResult, RunSummary
from market_maker.backtest.session import ReplaySession
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import OrderType, Side, TimeInForce
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import Feed, ReplayDay, feed_of
from market_maker.market_data.schema import BOOK_SCHEMA
from market_maker.market_data.stretch import rows_of
from market_maker.strategies.contract import find_strategy

T0 = 1_700_006_400_000_000_000
MINUTE = 60_000_000_000
PAIR = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal("0.1"), Decimal("0.01"), taker_fee=Decimal("0.001"))
WISHES = [
    {"volatility": 0.5},
    {"trend": "UP", "volume_profile": "HIGH"},
    {"volatility": 0.02, "trend": "SIDEWAYS", "volume_profile": "NORMAL"},
    {"volatility": 0.3, "trend": "DOWN", "volume_profile": "U_SHAPED"},
]


def a_market(minutes: int = 8, seed: int = 1) -> Feed:
    """A walk around 200,000 ticks: three levels a side, a move every 100 ms or so, received late and by two sources."""
    chance = np.random.default_rng(seed)
    rows, mid, shown = [], 200_000, set()
    for ts in (T0 + np.cumsum(chance.integers(1, 200_000_000, minutes * 600))).tolist():
        mid += int(chance.integers(-30, 31))
        wanted = {(side, mid - side * k) for side in (1, -1) for k in (1, 2, 4)}
        received = ts + int(chance.integers(1_000_000, 5_000_000))
        rows += [(ts, received, 1, side, price, 0, 0) for side, price in sorted(shown - wanted)]
        rows += [(ts, received, 1, side, price, int(chance.integers(1, 30)), 0) for side, price in sorted(wanted)]
        if chance.random() < 0.3:
            side = int(chance.choice([1, -1]))
            rows.append((ts + 10, ts + 100, 2, side, mid + side, int(chance.integers(1, 20)), 0))
        shown = wanted
    frame = pl.DataFrame(rows, schema=BOOK_SCHEMA, orient="row")
    return feed_of(frame.sort("local_ts", maintain_order=True))


@pytest.fixture(scope="module")
def market() -> Feed:
    return a_market()


def replayed(feed: Feed, conditions: dict | None, model: FillModel = FillModel.PARTIAL) -> RunResult:
    parameters = {"half_spread_ticks": 2, "order_lots": 5, "max_inventory_lots": 50, "interval_ns": 500_000_000}
    config = RunConfig(
        PAIR, "inventory_skew", feed.start_ts, feed.end_ts, parameters, 10_000_000, 10_000_000, fill_model=model,
        market_conditions=MarketConditions.of(conditions),
    )  # fmt: skip
    return run(config, feed, find_strategy("inventory_skew").prepare(parameters))


@pytest.mark.parametrize("wish", WISHES)
def test_the_book_of_the_replay_has_the_mid_that_is_stated(market: Feed, wish: dict) -> None:
    changed, effect = under_conditions(market, MarketConditions.of(wish), PAIR)
    (was,), (now,) = market.exchange(), changed.exchange()
    (before,), (after,) = trace(market), trace(changed)
    kept = np.abs(now.code) != 4
    moved = now.price_ticks[kept] - was.price_ticks
    # At the end of each instant of the book, its mid and its best price moved by what its prices moved by.
    book = np.flatnonzero(np.abs(was.code) == 1)
    last = book[np.append(was.ts[book][1:] != was.ts[book][:-1], True)]
    places = np.flatnonzero(kept)[last]
    assert np.array_equal(after.mids[places], before.mids[last] + 2 * moved[last])
    assert np.array_equal(after.bests[places], before.bests[last] + moved[last])
    # Measured once more, by minutes from the first mid on.
    mids, ts = after.mids[places], was.ts[last]
    grid = np.searchsorted(ts, np.arange(ts[0], ts[-1] + 1, MINUTE), side="right") - 1
    returns = np.diff(np.log(mids[grid]))
    assert effect["realised"]["daily_volatility"] == pytest.approx(returns.std(ddof=1) * math.sqrt(1440))
    assert effect["realised"]["log_return"] == pytest.approx(math.log(mids[-1] / mids[0]))
    if "volatility" in wish:
        assert effect["realised"]["daily_volatility"] == pytest.approx(wish["volatility"], rel=0.005)
    if wish.get("trend") == "SIDEWAYS":
        assert abs(effect["realised"]["log_return"]) < 1 / 200_000, "at most one tick"


@pytest.mark.parametrize("model", list(FillModel))
def test_a_result_states_what_was_asked_for_and_what_became_of_it(market: Feed, model: FillModel) -> None:
    wish = WISHES[2]
    plain, changed = replayed(market, None, model), replayed(market, wish, model)
    assert changed.summary.fills > 20
    assert changed.digest() != plain.digest()
    assert changed.digest() == replayed(market, wish, model).digest()
    told = changed.summary.to_json()["market_conditions"]
    assert told.keys() == {"requested", "realised", "history", "ratios", "path"}
    assert told["requested"] == wish
    assert told["realised"]["daily_volatility"] == pytest.approx(0.02, rel=0.005)
    assert told["history"]["daily_volatility"] > 0
    assert changed.reproducibility["configuration"]["market_conditions"] == wish
    assert changed.reproducibility["data_hash"] == plain.reproducibility["data_hash"]
    assert RunSummary.from_json(json.loads(json.dumps(changed.summary.to_json()))) == changed.summary
    total = changed.summary
    assert total.spread_capture + total.inventory_pnl - total.fees == total.net_pnl


def test_without_conditions_history_is_untouched(market: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("a plain replay must read the recorded arrays themselves")

    monkeypatch.setattr("market_maker.backtest.engine.under_conditions", fail)
    plain = replayed(market, None)
    for nothing in ({}, {"volatility": None, "trend": None, "volume_profile": None}):
        assert replayed(market, nothing).digest() == plain.digest()
    assert "market_conditions" not in plain.summary.to_json()
    assert "market_conditions" not in plain.reproducibility["configuration"]
    assert RunSummary.from_json(plain.summary.to_json()) == plain.summary


def test_a_normal_profile_alone_changes_no_fill(market: Feed) -> None:
    plain, normal = replayed(market, None), replayed(market, {"volume_profile": "NORMAL"})
    assert normal.fills.equals(plain.fills)
    assert normal.samples.equals(plain.samples)
    assert normal.digest() != plain.digest(), "the configuration is part of it"


def test_a_range_that_is_too_short_says_so() -> None:
    with pytest.raises(DataError, match="need at least 2"):
        replayed(a_market(minutes=1), {"trend": "UP"})


# --- how a displaced book reaches own orders --------------------------------------------------------------------------

BOOK = [(0, 1, 1, 100, 8), (0, 1, 1, 97, 4), (0, 1, -1, 103, 3), (0, 1, -1, 104, 2), (0, 1, -1, 106, 9)]


def displaced_session(model: FillModel, *later: tuple[int, int, int, int]) -> ReplaySession:
    """`later` are (time, code, price, lots) of the venue, shifts among them."""
    frame = pl.DataFrame(
        [(T0 + t, T0 + t, kind, side, price, lots, 0) for t, kind, side, price, lots in BOOK],
        schema=BOOK_SCHEMA, orient="row",
    )  # fmt: skip
    feed = feed_of(frame)
    (rows,) = feed.exchange()
    more = np.array(later, np.int64).reshape(-1, 4)
    columns = {"ts": T0 + more[:, 0], "code": more[:, 1], "price_ticks": more[:, 2], "qty_lots": more[:, 3]}
    both = rows_of({name: np.concatenate([getattr(rows, name), column]) for name, column in columns.items()})
    day = ReplayDay(both, both, 0)
    last = int(both.ts[-1])
    return ReplaySession(replace(feed, days=(day,), last_ts=last, end_ts=last + 1), PAIR, fill_model=model, start_ts=T0)


@pytest.mark.parametrize(("model", "filled"), [
    # The asks come to 101, 102 and 104: 3 + 2 lots are within reach of a buy at 102, for an order of 6 lots.
    (FillModel.PARTIAL, 5),
    (FillModel.NO_PARTIAL, 6),
])  # fmt: skip
def test_own_orders_that_the_book_reaches_are_filled_at_their_price(model: FillModel, filled: int) -> None:
    session = displaced_session(model, (10, 4, -2, 0), (10, -4, 0, 0), (20, 4, -2, 0))
    own = session.submit(Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 102, 6)
    session.run_until(T0 + 5)
    assert session.fills() == []
    session.run_until(T0 + 10)
    assert session.order(own).cum_qty_lots == filled
    assert [(fill.exch_ts, fill.price_ticks, fill.qty_lots) for fill in session.fills()] == [(T0 + 10, 102, filled)]
    bids, asks = session.book()
    assert (bids, asks) == ([(98, 8), (95, 4)], [(101, 3), (102, 2), (104, 9)])


def test_nothing_fills_before_the_instant_is_over() -> None:
    # The book falls by 2, and in the same instant the asks at 103 - 2 and 104 - 2 are gone: nothing is within reach.
    session = displaced_session(
        FillModel.PARTIAL, (10, 4, -2, 0), (10, -1, 101, 0), (10, -1, 102, 0), (10, -4, 0, 0), (20, 1, 96, 1)
    )
    session.submit(Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 102, 6)
    session.run_until(T0 + 20)
    assert session.fills() == []


def test_own_orders_stand_behind_the_level_that_comes_to_their_price() -> None:
    # A buy at 99 has nothing ahead; the book falls by 1, and the 8 lots of 100 come to 99. 9 lots are sold there: 1 is ours.
    session = displaced_session(FillModel.PARTIAL, (10, 4, -1, 0), (10, -4, 0, 0), (20, -2, 99, 9), (30, 4, -1, 0))
    own = session.submit(Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 99, 6)
    session.run_until(T0 + 20)
    assert session.order(own).cum_qty_lots == 1


def test_levels_below_one_tick_are_not_seen_and_come_back() -> None:
    session = displaced_session(
        FillModel.PARTIAL, (10, 4, -97, 0), (10, -4, 0, 0), (20, 1, 0, 7), (30, 4, 0, 0), (30, -4, 0, 0)
    )
    session.run_until(T0 + 20)
    # 100 - 97 = 3; 97 - 97 = 0 is no price, also when its quantity changes.
    assert session.book()[0] == [(3, 8)]
    session.run_until(T0 + 30)
    assert session.book()[0] == [(100, 8), (97, 7)]


# --- the facade's replay ----------------------------------------------------------------------------------------------


async def test_a_replay_by_hand_may_be_under_conditions(market: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market_maker.backtest.replay.open_feed", lambda *_, **__: market)
    settings = SimpleNamespace(default_balance=SimpleNamespace(amount=Decimal(100_000)), execution_delay=0)
    backtests = SimpleNamespace(lake=None, settings=settings)
    ends = []
    for wish in (None, {}, {"trend": "SIDEWAYS", "volume_profile": "HIGH"}):
        replay = await open_replay(backtests, PAIR, market.start_ts, market.end_ts, wish)
        replay.run_until(market.first_ts + 10_000_000)  # the first rows have been received
        first = replay.get_order_book(PAIR.pair_id, 1)
        replay.run_until(market.last_ts)
        book = replay.get_order_book(PAIR.pair_id, 1)
        ends.append((first.bids[0].price, book.bids[0].price, book.bids[0].quantity))
    assert ends[0] == ends[1]
    assert ends[2][1] - ends[2][0] == pytest.approx(0, abs=Decimal("0.1")), "it ends where it began"
    assert ends[2][2] == 2 * ends[0][2]
    with pytest.raises(InvalidRequest, match=r"market_conditions\.trend"):
        await open_replay(backtests, PAIR, market.start_ts, market.end_ts, {"trend": "LEFT"})
