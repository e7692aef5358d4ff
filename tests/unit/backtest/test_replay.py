"""The facade's replay: Decimal in, ticks inside; what it refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from market_maker.backtest.replay import Replay
from market_maker.backtest.session import ReplaySession
from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import NewOrder, OrderStatus, OrderType, Side, TimeInForce
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import BOOK_SCHEMA

T0 = 1_700_000_000_000_000_000
PAIR = Instrument(
    UUID(int=1), "test", "A-B", "A", "B", Decimal("0.5"), Decimal("0.1"), taker_fee=Decimal("0.001")
)  # fmt: skip


@pytest.fixture
def replay() -> Replay:
    """Bid 50.0 x 10, ask 50.5 x 10; at 50 someone sells 20 at 50.0."""
    rows = [(0, 1, 1, 100, 100), (0, 1, -1, 101, 100), (50, 2, -1, 100, 200), (1000, 1, 1, 50, 1)]
    frame = pl.DataFrame(
        [(T0 + t, T0 + t, kind, side, price, lots, 0) for t, kind, side, price, lots in rows],
        schema=BOOK_SCHEMA,
        orient="row",
    )
    return Replay(ReplaySession(feed_of(frame), PAIR, start_ts=T0), PAIR)


def an_order(side: Side = Side.BUY, price: str = "50.0", amount: str = "1") -> NewOrder:
    return NewOrder(PAIR.pair_id, side, OrderType.LIMIT, Decimal(amount), price=Decimal(price))


def test_an_order_rests_fills_and_moves_the_position(replay: Replay) -> None:
    order = an_order()
    placed = replay.place_order(order)
    assert (placed.created, placed.first_status) == (True, OrderStatus.PENDING_NEW)
    assert (placed.order.price_ticks, placed.order.qty_lots) == (100, 10)
    replay.run_until(T0 + 10)
    assert replay.status(order.order_id) is OrderStatus.NEW
    replay.run_until(T0 + 60)
    assert replay.status(order.order_id) is OrderStatus.FILLED
    position = replay.position()
    assert (position.quantity, position.average_price, position.fees) == (Decimal("1.0"), Decimal("50.0"), 0)
    assert position.position_id == replay.position_id


def test_placing_an_order_again_does_nothing(replay: Replay) -> None:
    order = an_order()
    replay.place_order(order)
    assert not replay.place_order(order).created
    replay.run_until(T0 + 60)
    assert replay.position().quantity == Decimal("1.0")


def test_a_cancel_ends_an_order_and_an_unknown_one_is_named(replay: Replay) -> None:
    order = an_order()
    replay.place_order(order)
    replay.run_until(T0 + 10)
    replay.cancel_order(order.order_id)
    replay.run_until(T0 + 60)
    assert replay.status(order.order_id) is OrderStatus.CANCELED
    assert replay.position().quantity == 0
    for ask in (replay.cancel_order, replay.status):
        with pytest.raises(NotFound, match="order_id"):
            ask(UUID(int=9))


def test_the_book_is_in_the_units_of_users(replay: Replay) -> None:
    book = replay.get_order_book(PAIR.pair_id, 1)
    assert [(level.price, level.quantity) for level in (*book.bids, *book.asks)] == [
        (Decimal("50.0"), Decimal("10.0")),
        (Decimal("50.5"), Decimal("10.0")),
    ]
    assert book.ts == replay.now_ts == T0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"price": None}, "price"),
        ({"price": Decimal("50.3")}, "price"),
        ({"amount": Decimal("0.05")}, "amount|quantity"),
        ({"amount": Decimal(0)}, "amount|qty|quantity"),
        ({"pair_id": UUID(int=9)}, "pair_id"),
        ({"time_in_force": TimeInForce.GTD, "expire_ts": T0 - 5}, "expire_ts"),
    ],
)
def test_what_a_replay_does_not_have_is_refused_by_name(replay: Replay, changes: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        replay.place_order(replace(an_order(), **changes))
    assert replay.position().quantity == 0


def test_time_does_not_go_back_and_ends(replay: Replay) -> None:
    replay.run_until(T0 + 60)
    with pytest.raises(InvalidRequest, match="not before"):
        replay.run_until(T0 + 59)
    with pytest.raises(InvalidRequest, match="pair_id"):
        replay.get_order_book(UUID(int=9))
    assert not replay.is_exhausted
    replay.run_until(T0 + 1000)
    assert replay.is_exhausted
