"""Pairs that are corrected: what may be changed and when, who is told, and what runs on other contracts are worth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from market_maker.backtest.service import BacktestService, RunRequest
from market_maker.backtest.worker import Worker
from market_maker.domain.clock import SimulatedClock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, DEFAULT_ACCOUNT_ID, new_id
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.domain.position import describe_position
from market_maker.domain.units import Money, parse_instant
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.service import MarketDataService
from market_maker.monitoring.metrics import Metrics
from market_maker.risk.service import RiskAssessmentService
from market_maker.settings import BacktestSettings, RiskSettings
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.pair_changes import get_changes
from market_maker.storage.reference import ReferenceData
from market_maker.storage.simulation import get_positions

SPAN = ("2024-08-08T23:54:20Z", "2024-08-08T23:59:50Z")
INVERSE = {"contract_type": "INVERSE"}


class Desk:
    """A database with a pair, and what a user and two processes do with it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.lake, self.folder = database, Lake(folder / "lake"), folder
        self.reference, self.clock = ReferenceData(database), SimulatedClock(10**18)

    async def open(self) -> None:
        await self.database.open()
        await self.reference.seed(Money(Decimal(10**7), "USDT"), 1)
        await self.reference.load()
        pair = Instrument(new_id(), "v", "AB", "A", "B", Decimal("0.1"), Decimal("0.001"))
        self.pair_id = (await self.reference.add_pair(pair, None, 1)).instrument.pair_id

    async def change(self, **changes: Any) -> Instrument:
        return (await self.reference.change_pair(self.pair_id, changes, self.clock.now_ns())).instrument

    async def position_of(self, account_id: UUID) -> UUID:
        position_id = new_id()
        row = (position_id, self.pair_id, account_id)
        await self.run("INSERT INTO positions VALUES (%s, %s, %s, NULL, 1, 1, 0, 0, -1, 1, 1, 1)", row)
        return position_id

    async def run(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement, values)  # type: ignore[arg-type]

    async def recorded(self, sample_data: Path) -> None:
        path = sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"
        market_data = MarketDataService(self.database, self.reference, self.lake, self.clock)
        imported = await market_data.import_data([path], ImportOptions(repairs=Repairs(offset_negative_latency=True)))
        self.pair_id = imported.pair_ids[0]
        parameters = {"half_spread_ticks": 3, "order_lots": 5, "max_inventory_lots": 50}
        made = await self.reference.add_strategy("mine", "inventory_skew", parameters, self.pair_id, 1)
        self.strategy_id = made.strategy_id

    async def backtest(self, balance: str = "100000") -> tuple[Any, Any]:
        """Return the result and the position that it leaves."""
        service = BacktestService(self.database, self.reference, self.lake, self.clock, BacktestSettings())
        start, end = (parse_instant(text, "span") for text in SPAN)
        request = RunRequest(self.strategy_id, start, end, balance=Decimal(balance))
        run = await service.run_backtest(request, is_queued=False)
        worker = Worker(self.database, ReferenceData(self.database), self.lake, self.clock, self.folder / "results")
        await worker.run_now(UUID(run["run_id"]))
        run = await service.get_run(UUID(run["run_id"]))
        assert run["status"] == "COMPLETED", run["error"]
        (state,) = await get_positions(self.database, pair_id=self.pair_id)
        pair = (await self.reference.pair(self.pair_id)).instrument
        return await service.get_result(UUID(run["run_id"])), describe_position(state, pair, None)


@pytest.fixture
async def desk(database_dsn: str, tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(Database(database_dsn), tmp_path)
    await desk.open()
    yield desk
    await desk.database.close()


async def test_fees_are_changed_and_every_process_sees_it(desk: Desk) -> None:
    """A fee forgotten at the import could not be given to the pair any more."""
    other = ReferenceData(desk.database)
    await other.load()
    found = await desk.change(maker_fee=Decimal("-0.0001"), taker_fee=Decimal("0.0005"))
    assert (found.maker_fee, found.taker_fee, found.tick_size) == (
        Decimal("-0.0001"),
        Decimal("0.0005"),
        Decimal("0.1"),
    )
    assert (await other.pair(desk.pair_id)).instrument.taker_fee == 0
    await other.refresh_pairs()
    assert (await other.pair(desk.pair_id)).instrument == found
    desk.clock.advance(5)
    await desk.change(taker_fee=Decimal("0.0004"))
    await desk.change(taker_fee=Decimal("0.0004"))  # nothing new: no line
    newest, oldest = await get_changes(desk.database, desk.pair_id)
    assert (newest["ts"], newest["changes"]) == (str(10**18 + 5), {"taker_fee": {"from": "0.0005", "to": "0.0004"}})
    assert oldest["changes"]["maker_fee"] == {"from": "0", "to": "-0.0001"}
    assert await get_changes(desk.database, desk.pair_id, after=UUID(newest["change_id"])) == [oldest]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"maker_fee": Decimal("0.5")}, "maker_fee"),
        ({"contract_type": "FUTURE"}, "contract_type"),
        ({"contract_multiplier": Decimal(0)}, "contract_multiplier"),
        ({"tick_size": Decimal("1e-13")}, "tick_size"),
        ({"quote": "A"}, "quote"),
        ({"symbol": "CD"}, "symbol"),
    ],
)
async def test_what_no_pair_can_be_is_refused(desk: Desk, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await desk.change(**changes)
    assert refused.value.errors[0].field == field
    assert await get_changes(desk.database, desk.pair_id) == []


async def test_no_pair_no_change(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.reference.change_pair(new_id(), {"maker_fee": Decimal(0)}, 1)


async def test_a_market_keeps_the_fees_it_began_with(desk: Desk) -> None:
    session = "INSERT INTO sessions VALUES (%s, %s, 'NORMAL', 1, %s, '{}', '', 0, 1, 1)"
    await desk.run(session, (new_id(), desk.pair_id, "RUNNING"))
    with pytest.raises(Conflict, match="maker_fee of v/AB cannot be changed: a simulated market of it runs"):
        await desk.change(maker_fee=Decimal("0.001"))
    await desk.run("UPDATE sessions SET state = 'STOPPED'")
    await desk.change(maker_fee=Decimal("0.001"))
    with pytest.raises(
        Conflict, match="contract_multiplier of v/AB cannot be changed: a simulated market or its orders"
    ):
        await desk.change(contract_multiplier=Decimal(50))


async def test_what_is_kept_in_ticks_and_lots_holds_them(desk: Desk) -> None:
    await desk.change(tick_size=Decimal("0.5"))
    day = "INSERT INTO market_data_days ({}) VALUES ({})"
    columns = await desk.database.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'market_data_days'"
    )
    filler = {
        "text": "''",
        "bigint": "1",
        "date": "'2024-01-01'",
        "uuid": f"'{new_id()}'",
        "jsonb": "'{}'",
        "integer": "1",
    }
    values = {row["column_name"]: filler.get(row["data_type"], "'{}'") for row in columns}
    values |= {"venue": "'v'", "symbol": "'AB'"}
    await desk.run(
        "SET LOCAL session_replication_role = replica; " + day.format(", ".join(values), ", ".join(values.values()))
    )
    with pytest.raises(Conflict, match="tick_size of v/AB cannot be changed: days are recorded in the present ones"):
        await desk.change(tick_size=Decimal("0.1"))
    await desk.change(contract_multiplier=Decimal(50))
    await desk.position_of(DEFAULT_ACCOUNT_ID)
    with pytest.raises(Conflict, match="contract_type of v/AB cannot be changed: positions of accounts"):
        await desk.change(**INVERSE)
    await desk.change(maker_fee=Decimal("0.001"))


async def test_what_backtests_left_goes_with_the_contract(desk: Desk) -> None:
    position_id = await desk.position_of(BACKTEST_ACCOUNT_ID)
    await desk.run("INSERT INTO risk_model_tests VALUES (%s, %s, '{}', 1)", (new_id(), position_id))
    await desk.change(maker_fee=Decimal("0.001"))
    assert len(await get_positions(desk.database, pair_id=desk.pair_id)) == 1
    strategy = await desk.reference.add_strategy("x", "inventory_skew", {}, desk.pair_id, 1)
    run = (
        "INSERT INTO backtest_runs VALUES (%s, %s, %s, 'RUNNING', %s, 0, NULL, NULL, NULL, 1, false, 1, 1, 1, NULL, 1)"
    )
    default = next(iter(desk.reference.pairs())).instrument.pair_id
    configuration = Jsonb({"with_pairs": [str(desk.pair_id)]})
    await desk.run(run, (new_id(), strategy.strategy_id, default, configuration))
    with pytest.raises(Conflict, match="a backtest of it is on its way"):
        await desk.change(**INVERSE)
    await desk.run("UPDATE backtest_runs SET status = 'COMPLETED'")
    assert (await desk.change(**INVERSE)).contract_type is ContractType.INVERSE
    assert await get_positions(desk.database, pair_id=desk.pair_id) == []


async def test_the_position_of_an_inverse_run_is_that_of_its_result(desk: Desk, sample_data: Path) -> None:
    """It was kept in price x quantity beside fees in coins: `GET /positions` told millions where there were cents."""
    await desk.recorded(sample_data)
    await desk.change(**INVERSE, maker_fee=Decimal("-0.00025"), contract_multiplier=Decimal(10))
    result, position = await desk.backtest("10000")
    summary = result.summary
    assert (summary.fills > 100, position.currency) == (True, "BTC")
    assert position.fees == summary.fees < 0
    assert position.quantity == summary.position
    end = Decimal(int(result.samples["mid_half_ticks"][-1])) / 2
    pair = (await desk.reference.pair(desk.pair_id)).instrument
    open_result = summary.gross_pnl - position.realised_pnl
    if position.quantity:
        assert position.average_price is not None
        worth = 10 * position.quantity * (1 / position.average_price - 1 / (end * pair.tick_size))
        assert open_result == pytest.approx(worth, rel=Decimal("0.05"), abs=Decimal("1e-9"))
    else:
        assert open_result == 0


async def test_an_inverse_run_is_reported_and_its_position_assessed_in_coins(desk: Desk, sample_data: Path) -> None:
    """Both were refused: a desk that trades XBTUSD had totals alone."""
    many = Decimal(10**6)
    await desk.recorded(sample_data)
    await desk.change(**INVERSE, maker_fee=Decimal("-0.00025"), contract_multiplier=many)
    result, position = await desk.backtest("10000")
    service = BacktestService(desk.database, desk.reference, desk.lake, desk.clock, BacktestSettings())
    (run,) = await service.get_runs()
    (listed,) = await service.get_backtest_results(desk.strategy_id)
    assert (listed["currency"], listed["summary"]["net_pnl"]) == ("BTC", f"{result.summary.net_pnl:f}")
    (told,) = (await service.get_report([UUID(run["run_id"])], fragility=True))["runs"]
    assert (told["pair"]["currency"], told["pair"]["quote"], told["pair"]["quantity_unit"]) == (
        "BTC",
        "USDT",
        "contracts",
    )
    assert Decimal(told["analysis"]["profit"]["net"]) == result.summary.net_pnl != 0
    assert Decimal(told["analysis"]["profit"]["residual"]) == 0
    assert told["quality"]["reproducibility"]["status"] == "PASS"
    risk = RiskAssessmentService(
        desk.database, desk.reference, desk.lake, Metrics(), SimulatedClock(result.samples["ts"][-1]), RiskSettings()
    )
    wishes = {"time_horizon_ns": 10**9, "confidence_level": Decimal("0.9")}
    _, coins = await risk.calculate_risk_metrics(position.position_id, **wishes)
    _, dollars = await risk.calculate_risk_metrics(position.position_id, currency="USDT", **wishes)
    assert (coins.currency, dollars.currency, dollars.position_value) == ("BTC", "USDT", many * position.quantity)
    assert coins.position_value == pytest.approx(many * position.quantity / coins.mark_price, abs=Decimal("1e-9"))
    # Moves of a second are so small that coins, turned into dollars, are nearly the line that dollars are.
    assert coins.value_at_risk * coins.mark_price == pytest.approx(dollars.value_at_risk, rel=Decimal("0.01"))
    assert coins.value_at_risk > 0
    page = await risk.report(position.position_id)
    assert "amounts in USDT" in page


async def test_a_multiplier_multiplies_money_and_nothing_else(desk: Desk, sample_data: Path) -> None:
    await desk.recorded(sample_data)
    await desk.change(maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"))
    plain, _ = await desk.backtest("100000")
    assert "contract_multiplier" not in plain.reproducibility["configuration"]["pair"]  # digests stay what they were
    await desk.change(contract_multiplier=Decimal(50))
    future, position = await desk.backtest("5000000")
    fees = ("fee_tick_lots", "fees_tick_lots")
    assert future.fills.drop(fees).equals(plain.fills.drop(fees))
    assert future.reproducibility["configuration"]["pair"]["contract_multiplier"] == "50"
    for name in ("gross_pnl", "spread_capture", "inventory_pnl", "turnover", "initial_balance"):
        assert getattr(future.summary, name) == 50 * getattr(plain.summary, name), name
    # Fees of a pair with a multiplier carry what they are rounded by: they are right to half a unit of cash.
    value = sum(price * lots for price, lots in future.fills.select("price_ticks", "qty_lots").iter_rows())
    assert (future.summary.taker_fills, future.summary.maker_fills > 100) == (0, True)
    unit = (await desk.reference.pair(desk.pair_id)).instrument.tick_lot
    assert abs(future.summary.fees - value * unit * Decimal("0.0002")) <= unit / 2
    assert future.summary.net_pnl == future.summary.gross_pnl - future.summary.fees
    assert future.summary.max_drawdown == pytest.approx(50 * plain.summary.max_drawdown, rel=Decimal("0.001"))
    for name in ("volume", "position", "fills", "orders", "orders_rejected"):
        assert getattr(future.summary, name) == getattr(plain.summary, name), name
    columns, points = future.to_json_with_columns(), plain.to_json_with_columns()
    last, plain_last = (Decimal(each["equity"]["equity"][-1]) for each in (columns, points))
    assert last == pytest.approx(50 * plain_last, rel=Decimal("1e-6"))
    assert columns["fills"]["price"] == points["fills"]["price"]
    assert (position.fees, position.quantity) == (future.summary.fees, future.summary.position)
    # What covers 5,000,000 of points does not cover fifty times as much: orders lack funds.
    poor, _ = await desk.backtest("10000")
    assert poor.summary.orders_rejected > future.summary.orders_rejected


async def test_a_run_is_told_as_it_was(desk: Desk, sample_data: Path) -> None:
    """Analysis and story of a run come with the terms that its pair had then."""
    await desk.recorded(sample_data)
    await desk.change(taker_fee=Decimal("0.0005"))
    service = BacktestService(desk.database, desk.reference, desk.lake, desk.clock, BacktestSettings())
    result, _ = await desk.backtest()
    (run,) = await service.get_runs()
    before = (await service.get_report([UUID(run["run_id"])]))["runs"][0]
    first = int(result.fills["order_id"][0])
    story = await service.explain_order(UUID(run["run_id"]), first)
    await desk.change(taker_fee=Decimal("0.01"), contract_multiplier=Decimal(50))
    after = (await service.get_report([UUID(run["run_id"])]))["runs"][0]
    assert after["pair"]["contract_multiplier"] == "1"
    assert after == before
    assert replace(await service.explain_order(UUID(run["run_id"]), first)) == story


async def test_positions_of_inverse_contracts_are_brought_over(empty_database_dsn: str) -> None:
    """The migration: what runs left goes, what was entered by hand keeps quantity and average price."""
    from market_maker.storage.schema import upgrade

    upgrade(empty_database_dsn, "0012")
    pair_id, backtest, mine = new_id(), new_id(), new_id()
    with psycopg.connect(empty_database_dsn) as connection:
        connection.execute(
            "INSERT INTO pairs VALUES (%s, 'bitmex', 'XBTUSD', 'XBT', 'USD', 0.5, 100, 'INVERSE', 0, 0, NULL, 1)",
            (pair_id,),
        )
        for account_id, name, position_id in ((BACKTEST_ACCOUNT_ID, "backtest", backtest), (new_id(), "mine", mine)):
            connection.execute("INSERT INTO accounts VALUES (%s, %s, 'USDT', 1, 1)", (account_id, name))
            # Short 10,000 USD at 50,000: 100 lots at 100,000 ticks.
            connection.execute(
                "INSERT INTO positions VALUES (%s, %s, %s, NULL, -100, -10000000, 7, 0, 10000007, 1, 1, 1)",
                (position_id, pair_id, account_id),
            )
    upgrade(empty_database_dsn)
    database = Database(empty_database_dsn)
    await database.open()
    reference = ReferenceData(database)
    await reference.load()
    (state,) = await get_positions(database, pair_id=pair_id)
    shown = describe_position(state, (await reference.pair(pair_id)).instrument, None)
    assert (shown.position_id, shown.quantity, shown.average_price) == (mine, -10_000, 50_000)
    assert state.cash_tick_lots + state.cost_tick_lots == state.realised_tick_lots == 0
    await database.close()
