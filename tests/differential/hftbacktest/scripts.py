"""Scripted orders for the comparison: made once from a seed and a feed, then carried out by both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.session import ReplaySession
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed

GTC, GTX, IOC = 0, 1, 3
"""The peer's codes of time in force; GTX is post-only."""
PLACE, CANCEL, MODIFY = 0, 1, 2
"""Values of `cancels`."""

ACTION_DTYPE = np.dtype(
    [
        ("ts", np.int64), ("cancels", np.int64), ("order_id", np.int64), ("side", np.int64), ("price_ticks", np.int64),
        ("lots", np.float64), ("time_in_force", np.int64), ("is_market", np.int64),
    ]
)  # fmt: skip


def make_script(
    feed: Feed, pair: Instrument, seed: int, *, orders: int, lots: int, taking: float, slack_ns: int
) -> NDArray[Any]:
    """Return actions in order of time.

    Most orders are post-only and rest at or behind the touch until they are filled or, mostly, canceled; a share of
    `taking` crosses. No two that may be open at one time share side and price: who of them gets how much of a trade
    is a question on which the engines differ on purpose (test_named_faults). Cancels go out only when the order has
    been acknowledged under any latency up to `slack_ns`, since the peer refuses them before.
    """
    chance = np.random.default_rng(seed)
    session = ReplaySession(feed, pair, start_ts=feed.first_ts)
    begin, end = feed.first_ts, feed.last_ts
    span = end - begin
    times = np.sort(chance.integers(begin + span // 50, end - span // 20, orders))
    taken: dict[tuple[int, int], int] = {}
    actions: list[tuple[Any, ...]] = []
    for order_id, ts in enumerate(times.tolist(), 1):
        session.run_until(ts)
        bids, asks = session.book(1)
        if not bids or not asks:
            continue
        bid, ask = bids[0][0], asks[0][0]
        side = 1 if chance.random() < 0.5 else -1
        own, other = (bid, ask) if side > 0 else (ask, bid)
        size = int(chance.integers(1, lots + 1))
        if chance.random() < taking:
            is_market = chance.random() < 0.3
            limit = other + side * int(chance.integers(0, 4))
            tif = GTC if is_market or chance.random() < 0.2 else IOC
            actions.append((ts, 0, order_id, side, limit, size, tif, int(is_market)))
            continue
        away = chance.random()
        offset = -1 if away < 0.1 else 0 if away < 0.5 else int(chance.geometric(0.15))
        price = own - side * offset
        if price <= 0 or taken.get((side, price), 0) > ts:
            continue
        # A pause in the middle of the distribution of what the market does at a level, so that both ends are seen.
        life = int(chance.exponential(span / 60)) + 2 * slack_ns + 1
        gone_at = ts + life
        actions.append((ts, 0, order_id, side, price, size, GTX, 0))
        if gone_at < end - span // 50 and chance.random() < 0.9:
            actions.append((gone_at, 1, order_id, side, price, 0, 0, 0))
            taken[side, price] = gone_at + 2 * slack_ns
        else:
            taken[side, price] = 2**62
    actions.sort(key=lambda action: action[:2])
    return np.array(actions, ACTION_DTYPE)
