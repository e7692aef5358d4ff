"""The worked example of docs/concepts/fill_models.md, row by row."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from market_maker.backtest.result import FillModel
from market_maker.backtest.session import ReplaySession
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Liquidity, OrderType, Side, TimeInForce
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import BOOK_SCHEMA, EventKind

T0 = 1_700_000_000_000_000_000
PAIR = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal(1), Decimal(1))
DEPTH, TRADE = EventKind.DEPTH, EventKind.TRADE

# (time, kind, side, price, lots), then queue ahead and filled as the page has them after it
EXAMPLE = [
    ((1, TRADE, -1, 100, 3), 5, 0),
    ((2, DEPTH, 1, 100, 9), 5, 0),
    ((3, DEPTH, 1, 100, 4), 4, 0),
    ((4, TRADE, -1, 100, 6), 0, 2),
    ((5, DEPTH, -1, 100, 1), 0, 3),
    ((6, TRADE, -1, 99, 1), None, 5),
]


def open_session(model: FillModel) -> tuple[ReplaySession, int]:
    rows = [(0, DEPTH, 1, 100, 8), (0, DEPTH, 1, 95, 9), (0, DEPTH, -1, 101, 6), *(row for row, _, _ in EXAMPLE)]
    rows.append((100, DEPTH, 1, 50, 1))
    frame = pl.DataFrame(
        [(T0 + t, T0 + t, int(kind), side, price, lots, 0) for t, kind, side, price, lots in rows],
        schema=BOOK_SCHEMA,
        orient="row",
    )
    session = ReplaySession(feed_of(frame), PAIR, fill_model=model, start_ts=T0)
    return session, session.submit(Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 100, 5)


def test_the_worked_example_is_what_happens() -> None:
    session, order_id = open_session(FillModel.PARTIAL)
    for (time, *_), _, filled in EXAMPLE:
        session.run_until(T0 + time)
        assert session.order(order_id).cum_qty_lots == filled, time
    assert [(fill.qty_lots, fill.price_ticks, fill.liquidity) for fill in session.fills()] == [
        (2, 100, Liquidity.MAKER),
        (1, 100, Liquidity.MAKER),
        (2, 100, Liquidity.MAKER),
    ]


def test_the_queue_ahead_is_that_of_the_example() -> None:
    for (time, *_), ahead, _ in EXAMPLE[:5]:
        session, order_id = open_session(FillModel.PARTIAL)
        session.run_until(T0 + time)
        state = session._drive.state
        (slot,) = [i for i, order in enumerate(state.orders[0]) if order["order_id"] == order_id]
        assert state.nodes[slot]["lots"] == ahead, time


@pytest.mark.parametrize(("time", "filled"), [(3, 0), (4, 5)])
def test_without_partial_fills_the_order_is_whole_at_time_4(time: int, filled: int) -> None:
    session, order_id = open_session(FillModel.NO_PARTIAL)
    session.run_until(T0 + time)
    assert session.order(order_id).cum_qty_lots == filled
