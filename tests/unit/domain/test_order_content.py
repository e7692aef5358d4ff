"""Orders, fills and money as events and answers tell them: plain decimal text, exact."""

from __future__ import annotations

from decimal import Decimal

import pytest

from market_maker.domain.events import FilledOrderContent, order_content
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, DEFAULT_PAIR_ID, new_id
from market_maker.domain.instrument import MAX_TICKS, Instrument
from market_maker.domain.order import Liquidity, Order, OrderStatus, OrderType, Side, TimeInForce
from market_maker.domain.trade import Fill


def an_instrument(tick: str, lot: str) -> Instrument:
    return Instrument(DEFAULT_PAIR_ID, "simulator", "A-B", "A", "B", Decimal(tick), Decimal(lot))


@pytest.mark.parametrize("size", ["0.01", "0.00001", "1e-12", "0.25", "1", "5", "1E+3", "2.50", "1000000000"])
@pytest.mark.parametrize("steps", [0, 1, -1, 7, 99, -100, 12_345_678, MAX_TICKS, -MAX_TICKS])
def test_text_is_the_exact_product_in_plain_notation(size: str, steps: int) -> None:
    instrument = an_instrument(size, size)
    assert instrument.price_text(steps) == f"{instrument.ticks_to_price(steps):f}"
    assert instrument.qty_text(steps) == f"{instrument.lots_to_qty(steps):f}"
    assert instrument.cash_text(steps) == f"{instrument.cash_to_decimal(steps):f}"


def an_order(**changes: object) -> Order:
    fields: dict[str, object] = {
        "order_id": new_id(), "pair_id": DEFAULT_PAIR_ID, "account_id": DEFAULT_ACCOUNT_ID, "strategy_id": None,
        "position_id": new_id(), "client_order_id": None, "side": Side.BUY, "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC, "post_only": False, "price_ticks": 5_000_001, "qty_lots": 300,
        "execution_probability": 1.0, "price_impact": 0.0, "created_ts": 1, "arrival_ts": 2,
    }  # fmt: skip
    return Order(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "cum", "leaves", "average"),
    [
        ({}, "0.00000", "0.00300", None),
        ({"status": OrderStatus.CANCELED}, "0.00000", "0.00000", None),
        # 100 lots of 0.00001 for 0.00100 * 50000.01 = 50.00001: 5_000_001 * 100 tick-lots
        ({"status": OrderStatus.PARTIALLY_FILLED, "cum_qty_lots": 100, "value_tick_lots": 500_000_100},
         "0.00100", "0.00200", "50000.01"),
        ({"status": OrderStatus.FILLED, "cum_qty_lots": 300, "value_tick_lots": 1_500_000_300},
         "0.00300", "0.00000", "50000.01"),
    ],
)  # fmt: skip
def test_quantities_of_an_order(changes: dict[str, object], cum: str, leaves: str, average: str | None) -> None:
    content = order_content(an_order(**changes), an_instrument("0.01", "0.00001"))
    assert (content.price, content.amount) == ("50000.01", "0.00300")
    assert (content.cum_qty, content.leaves_qty, content.average_price) == (cum, leaves, average)


def test_a_fill_comes_with_its_order() -> None:
    order = an_order(status=OrderStatus.FILLED, cum_qty_lots=300, value_tick_lots=1_500_000_300)
    fill = Fill(
        new_id(), order.order_id, DEFAULT_PAIR_ID, DEFAULT_ACCOUNT_ID, None, order.position_id, Side.BUY, Liquidity.TAKER,
        5_000_001, 300, -12, 9,
    )  # fmt: skip
    content = order_content(order, an_instrument("0.01", "0.00001"), fill)
    assert isinstance(content, FilledOrderContent)
    assert (content.fill.price, content.fill.amount, content.fill.fee) == ("50000.01", "0.00300", "-0.0000012")
    assert content.fill.liquidity == "TAKER"


def test_the_average_price_of_an_order_is_a_price_whatever_the_multiplier() -> None:
    order = an_order(status=OrderStatus.FILLED, cum_qty_lots=300, value_tick_lots=1_500_000_300)
    future = Instrument(
        DEFAULT_PAIR_ID,
        "simulator",
        "A-B",
        "A",
        "B",
        Decimal("0.01"),
        Decimal("0.00001"),
        contract_multiplier=Decimal(50),
    )
    assert order_content(order, future).average_price == "50000.01"
