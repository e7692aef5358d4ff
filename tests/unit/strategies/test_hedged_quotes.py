"""Quotes of one instrument around the mid of another, and the hedge there, by hand."""

from __future__ import annotations

import pytest

from market_maker.domain.order import OrderType, Side, TimeInForce
from market_maker.strategies.actions import Cancel, OwnOrder, make_view
from market_maker.strategies.contract import find_strategy, wake

KIND = find_strategy("hedged_quotes")


def hedge(bid: int = 198, ask: int = 202, position: int = 0) -> tuple[int, ...]:
    """Instrument 1 as the view shows it."""
    return (bid, 9, ask, 9, position, 0, 0, 0, 0, 0, 0)


def asked(orders=(), position=0, other=None, **values):
    """Return the requests of one wake-up: instrument 0 has a book of 95 to 105."""
    quoted = (95, 9, 105, 9, position, 0, 0, 0, 0, 0, 0)
    view = make_view(
        now_ts=1, bids=[(95, 9)], asks=[(105, 9)], position_lots=position, orders=orders,
        instruments=[quoted, other or hedge()],
    )  # fmt: skip
    defaults = {"half_spread_ticks": 2, "price_ratio": 0.5, "order_lots": 3, "max_inventory_lots": 10}
    return wake(KIND.prepare(defaults | values), view)


def test_quotes_stand_around_the_price_of_the_other_instrument():
    """A mid of 200 at half a tick a tick is 100: 98 and 102."""
    assert [(own.side, own.price_ticks, own.qty_lots, own.instrument) for own in asked()] == [
        (1, 98, 3, 0),
        (-1, 102, 3, 0),
    ]


@pytest.mark.parametrize(("position", "held", "ratio", "band", "lots"), [
    (4, 0, 1, 0.5, -4), (4, -4, 1, 0.5, 0), (-3, 1, 1, 0.5, 2), (4, -3, 1, 1, 0), (4, -2, 1, 1, -2), (4, 0, 2.5, 0.5, -10),
    (1, 0, 0.4, 0.5, 0),
])  # fmt: skip
def test_the_position_is_hedged_beyond_the_band(position, held, ratio, band, lots):
    """What is missing is -ratio x position less what is held."""
    requests = asked(position=position, other=hedge(position=held), hedge_ratio=ratio, hedge_band_lots=band)
    trades = [own for own in requests if not isinstance(own, Cancel) and own.instrument == 1]
    assert [own.side * own.qty_lots for own in trades] == ([lots] if lots else [])
    assert all((own.order_type, own.time_in_force) == (OrderType.MARKET, TimeInForce.IOC) for own in trades)


def test_a_hedge_on_its_way_is_not_sent_again():
    on_its_way = OwnOrder(9, int(Side.SELL), 0, 4, 4, instrument=1)
    assert not [own for own in asked([on_its_way], position=4) if getattr(own, "instrument", 0) == 1]


def test_without_a_price_of_the_other_instrument_the_quotes_are_withdrawn():
    quotes = [OwnOrder(2, 1, 98, 3, 3), OwnOrder(4, -1, 102, 3, 3), OwnOrder(5, -1, 0, 3, 3, instrument=1)]
    assert asked(quotes, other=hedge(bid=0)) == [Cancel(2), Cancel(4)]


def test_with_one_instrument_it_does_nothing():
    assert wake(KIND.prepare({}), make_view(now_ts=1, bids=[(95, 9)], asks=[(105, 9)])) == []
