"""The Database component by the specification's names: what is saved comes back as it was."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from market_maker.domain.clock import SimulatedClock
from market_maker.domain.errors import DataError, NotFound
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, DEFAULT_PAIR_ID, DEFAULT_STRATEGY_ID, new_id
from market_maker.domain.modes import RiskModel
from market_maker.domain.order import Liquidity, Order, OrderStatus, OrderType, Side, TimeInForce
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill
from market_maker.domain.units import NS_PER_SECOND, Money
from market_maker.records import Records
from market_maker.risk.assessment import assess_position
from market_maker.risk.history import price_history
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData

POSITION_ID = new_id()


@pytest.fixture
async def records(database_dsn: str, tmp_path: Path):
    database = Database(database_dsn)
    await database.open()
    reference = ReferenceData(database)
    await reference.seed(Money(Decimal(100_000), "USDT"), 1)
    async with database.transaction() as connection:
        prices = [(DEFAULT_PAIR_ID, second * NS_PER_SECOND, 10_000_000 + second % 7) for second in range(120)]
        await connection.cursor().executemany("INSERT INTO simulated_prices VALUES (%s, %s, %s)", prices)
    yield Records(database, reference, Lake(tmp_path), SimulatedClock(5))
    await database.close()


def an_order() -> Order:
    return Order(
        order_id=new_id(), pair_id=DEFAULT_PAIR_ID, account_id=DEFAULT_ACCOUNT_ID, strategy_id=DEFAULT_STRATEGY_ID,
        position_id=POSITION_ID, client_order_id="mine", side=Side.SELL, order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC, post_only=True, price_ticks=5_000_000, qty_lots=7, execution_probability=0.5,
        price_impact=0.001, created_ts=1, arrival_ts=2, status=OrderStatus.NEW, priority=3, updated_ts=4, version=2,
    )  # fmt: skip


def a_position() -> PositionState:
    state = PositionState(POSITION_ID, DEFAULT_PAIR_ID, DEFAULT_ACCOUNT_ID, None)
    state.apply_fill(Side.BUY, 5_000_000, 7, 3)
    return state


async def test_orders_trades_and_positions_come_back(records: Records) -> None:
    order = an_order()
    await records.save_simulated_order(order)
    assert await records.get_simulated_orders() == [order]
    assert await records.get_simulated_orders(strategy_id=uuid4()) == []
    fill = Fill(
        new_id(), order.order_id, DEFAULT_PAIR_ID, DEFAULT_ACCOUNT_ID, None, POSITION_ID, Side.SELL, Liquidity.MAKER,
        5_000_000, 2, -1, 9,
    )  # fmt: skip
    await records.save_simulated_trade(fill)
    assert await records.get_simulated_trades(order_id=order.order_id) == [fill]
    position = a_position()
    await records.save_position(position)
    await records.save_position(replace(position, version=2))
    assert await records.get_positions() == [replace(position, version=2)]


async def test_history_and_risk_figures_come_back(records: Records) -> None:
    prices = await records.get_historical_data(DEFAULT_PAIR_ID, 0, 120 * NS_PER_SECOND, NS_PER_SECOND)
    assert [price.close_half_ticks for price in prices[:8]] == [10_000_000 + second % 7 for second in range(8)]
    with pytest.raises(DataError, match="no price history"):
        await records.get_historical_data(DEFAULT_PAIR_ID, 10**15, 10**15 + NS_PER_SECOND)
    position = a_position()
    await records.save_position(position)
    history = price_history([p.ts for p in prices], [p.close_half_ticks for p in prices], interval_ns=NS_PER_SECOND)
    instrument = (await records._reference.pair(DEFAULT_PAIR_ID)).instrument
    figures = assess_position(
        position, instrument, history, confidence_level=0.95, horizon_ns=NS_PER_SECOND, as_of_ts=7
    )
    with pytest.raises(NotFound):
        await records.get_risk_metrics(POSITION_ID)
    metrics_id = await records.save_risk_metrics(figures, RiskModel.EXPECTED_SHORTFALL)
    found = await records.get_risk_metrics(POSITION_ID)
    assert found["metrics_id"] == str(metrics_id)
    assert found["value"] == f"{figures.expected_shortfall:f}"
    assert found["data_hash"] == history.data_hash
