"""A strategy of one's own in one file, looked at by hand and then run over an invented recording."""

from decimal import Decimal
from uuid import UUID

import numpy as np
import polars as pl

from market_maker.backtest.engine import RunConfig, run
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import BOOK_SCHEMA
from market_maker.strategies.actions import make_view
from market_maker.strategies.contract import StrategyKind, wake
from market_maker.strategies.parameters import INTERVAL, MAX_INVENTORY, ORDER_LOTS
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides


def on_wake(view, params, memory, actions):  # type: ignore[no-untyped-def]
    """Join the best bid and the best ask, a tick further away on the side that would add to the position."""
    bid = view.best_bid_ticks - (1 if view.position_lots > 0 else 0)
    ask = view.best_ask_ticks + (1 if view.position_lots < 0 else 0)
    if view.best_bid_ticks > 0 and view.best_ask_ticks > 0:
        quote_both_sides(view, actions, memory[:TWO_QUOTES], bid, ask, int(params[0]), 0, int(params[1]))


PARAMETERS = (ORDER_LOTS, MAX_INVENTORY, INTERVAL)
KIND = StrategyKind("join_the_touch", "Joins the touch.", PARAMETERS, "__main__:on_wake", memory_size=TWO_QUOTES)
strategy = KIND.prepare({"order_lots": 2})
for request in wake(strategy, make_view(now_ts=0, bids=[(99, 5)], asks=[(101, 5)], position_lots=4)):
    print(request)
rng, rows = np.random.default_rng(8), [(10**18, 1, 999, 9), (10**18, -1, 1001, 9)]
for ts in range(10**18 + 10**7, 10**18 + 60 * 10**9, 10**7):  # one print in 10 ms, in a market that stands still
    side = int(rng.choice([-1, 1]))
    rows.append((ts, 2 * side, 1000 + side, int(rng.integers(1, 9))))
columns = [(ts, ts, abs(code), code // abs(code), price, lots, 0) for ts, code, price, lots in rows]
feed = feed_of(pl.DataFrame(columns, schema=BOOK_SCHEMA, orient="row"))
pair = Instrument(UUID(int=1), "invented", "A-B", "A", "B", Decimal(1), Decimal(1))
summary = run(RunConfig(pair, KIND.kind, feed.first_ts, feed.last_ts + 1), feed, strategy).summary
print(f"{summary.orders} orders, {summary.fills} fills, net P&L {summary.net_pnl}")
