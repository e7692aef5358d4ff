"""What an account can afford: the worst case of all its open orders (leverage 1)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from market_maker.domain.errors import RejectReason
from market_maker.domain.order import OrderStatus, Side
from venue_builders import ACCOUNT, DELAY, PAIR, Desk

BUY, SELL = Side.BUY, Side.SELL
REJECTED = OrderStatus.REJECTED
# one lot at 10,000 ticks is 10,000 x 0.01 x 0.001 = 0.1 of quote currency


def test_the_last_affordable_lot() -> None:
    desk = Desk("1")
    assert desk.place(BUY, 10_000, 10).status is OrderStatus.PENDING_NEW
    refused = desk.place(BUY, 10_000, 1)
    assert (refused.status, refused.reject_reason) == (REJECTED, RejectReason.INSUFFICIENT_BALANCE)
    assert refused.order_id not in desk.venue.orders


def test_both_sides_may_use_the_same_money() -> None:
    desk = Desk("1")
    assert desk.place(BUY, 10_000, 10).status is not REJECTED
    assert desk.place(SELL, 10_000, 10).status is not REJECTED
    assert desk.place(SELL, 10_000, 1).status is REJECTED


def test_an_ended_order_gives_its_money_back() -> None:
    desk = Desk("1")
    order = desk.put(BUY, 10_000, 10)
    desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "")
    assert desk.place(BUY, 10_000, 1).status is REJECTED  # not before the cancel has arrived
    desk.arrive()
    assert desk.place(BUY, 10_000, 10).status is not REJECTED


def test_what_is_held_counts_and_may_always_be_reduced() -> None:
    desk = Desk("1", maker_fee=Decimal(0), taker_fee=Decimal(0))
    desk.quote(SELL, 10_000, 10)
    assert desk.put(BUY, 10_000, 10).status is OrderStatus.FILLED
    assert desk.place(BUY, 10_000, 1).status is REJECTED
    assert desk.place(SELL, 10_000, 20).status is not REJECTED  # ten to close, ten to open
    assert desk.place(SELL, 10_000, 1).status is REJECTED


def test_results_and_fees_change_the_balance() -> None:
    desk = Desk("10", maker_fee=Decimal(0), taker_fee=Decimal("0.001"))
    desk.quote(SELL, 10_000, 10)
    desk.quote(BUY, 9_000, 10)
    desk.put(BUY, 0, 10)
    desk.put(SELL, 0, 10)
    # bought for 1.0, sold for 0.9, 0.1 % of each: 10 - 0.1 - 0.001 - 0.0009
    assert desk.funds[ACCOUNT].balance() == Decimal("9.8981")
    assert desk.funds[ACCOUNT].pairs[PAIR].qty_lots == 0


def test_fees_of_a_future_add_up_though_a_unit_of_cash_is_large() -> None:
    """A unit of an ES future is 12.5 USD: fees of 1.2 USD a fill were none, those of 50.05 USD 50."""
    desk = Desk(
        "10000000", tick_size=Decimal("0.25"), lot_size=Decimal(1), contract_multiplier=Decimal(50),
        maker_fee=Decimal(0), taker_fee=Decimal("0.00001"),
    )  # fmt: skip
    for _ in range(40):
        desk.quote(SELL, 10_000, 1)
        desk.put(BUY, 0, 1)
    (position,) = [each for each in desk.venue.positions.values() if each.account_id == ACCOUNT]
    # 40 contracts at 2,500 points x 50 USD x 0.00001 = 1.25 USD each
    assert desk.venue.instrument.cash_to_decimal(position.fees_tick_lots) == 50


@pytest.mark.parametrize("story", ["filled", "expired", "rejected", "canceled", "partly"])
def test_nothing_stays_reserved(story: str) -> None:
    desk = Desk()
    desk.quote(SELL, 10_000, 5)
    if story == "filled":
        desk.put(BUY, 10_005, 5)
    elif story == "expired":
        from market_maker.domain.order import TimeInForce

        desk.put(BUY, 10_005, 9, time_in_force=TimeInForce.IOC)
    elif story == "rejected":
        desk.put(BUY, 10_005, 5, post_only=True)
    else:
        order = desk.put(BUY, 10_005, 9)
        desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "")
        desk.arrive()
    exposure = desk.funds[ACCOUNT].pairs[PAIR]
    assert (exposure.buy_notional, exposure.sell_notional) == (0, 0)
