"""The table of order statuses."""

from __future__ import annotations

import pytest

from market_maker.domain.order import OPEN_STATUSES, TRANSITIONS, OrderStatus, OrderType, Side

S = OrderStatus


def test_every_status_has_its_row() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)


@pytest.mark.parametrize("status", list(OrderStatus))
def test_an_order_that_has_ended_stays_so(status: OrderStatus) -> None:
    assert status.is_open == (status in OPEN_STATUSES) == bool(TRANSITIONS[status])


def test_nothing_goes_back() -> None:
    assert all(S.PENDING_NEW not in after for after in TRANSITIONS.values())
    assert S.NEW not in TRANSITIONS[S.PARTIALLY_FILLED]
    assert S.REJECTED not in TRANSITIONS[S.NEW] | TRANSITIONS[S.PARTIALLY_FILLED]


def test_codes_are_those_that_the_database_holds() -> None:
    assert [status.name for status in sorted(OrderStatus)] == [
        "PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED",
    ]  # fmt: skip
    assert max(OPEN_STATUSES) == 2  # the partial index of open orders says status <= 2
    assert (Side.BUY, Side.SELL) == (1, -1)
    assert (OrderType.LIMIT, OrderType.MARKET) == (0, 1)
