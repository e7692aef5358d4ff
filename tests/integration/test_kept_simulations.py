"""Results of simulated runs that are kept: in the lists of results, with a report, equal to what was simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from market_maker.backtest.service import BacktestService
from market_maker.bootstrap import open_store
from market_maker.cli_simulate import MarketWish, SimulateWish, find_kept, run_simulate, simulation_config
from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.ids import DEFAULT_PAIR_ID, new_id
from market_maker.domain.instrument import ContractType
from market_maker.montecarlo.engine import simulate
from market_maker.montecarlo.stress import ScenarioWish
from market_maker.settings import Settings, load_settings
from market_maker.strategies.contract import find_strategy
from venue_builders import an_instrument

PARAMETERS = {"half_spread_ticks": 300, "order_lots": 1000, "max_inventory_lots": 20_000}


@pytest.fixture
def settings(_make_database: Callable[[str | None], str], _migrated_template: str, tmp_path: Path) -> Settings:
    return load_settings(None, overrides=[f"database_url={_make_database(_migrated_template)}", f"data_dir={tmp_path}"])


def with_backtests(settings: Settings, work: Callable[[Any, BacktestService], Any]) -> Any:
    """Return what work(store, service of backtests) comes to."""

    async def run() -> Any:
        async with open_store(settings) as store:
            service = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
            return await work(store, service)

    return asyncio.run(run())


def test_kept_runs_are_listed_read_and_reported(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    async def add(store: Any, _: BacktestService) -> Any:
        whole = dict(find_strategy("inventory_skew").validate(PARAMETERS))
        return await store.reference.add_strategy("kept", "inventory_skew", whole, DEFAULT_PAIR_ID, 1)

    strategy = with_backtests(settings, add)
    kept = find_kept(settings, str(strategy.strategy_id), 2)
    assert kept is not None
    assert kept.price is not None
    wish = SimulateWish(
        120 * 10**9, seeds=3, seed=5, market=MarketWish(price=kept.price),
        scenarios=(ScenarioWish("wide_spread", {"duration_s": 10.0}, 60 * 10**9),),
    )  # fmt: skip
    run_simulate("inventory_skew", ["order_lots=500"], wish, kept=kept)
    printed = capsys.readouterr().out
    values = {**PARAMETERS, "order_lots": 500}
    prepared = find_strategy("inventory_skew").prepare(values)

    async def look(_: Any, service: BacktestService) -> None:
        results = await service.get_backtest_results(strategy.strategy_id)
        runs = {run["run_id"]: run for run in await service.get_runs(strategy_id=strategy.strategy_id)}
        assert sorted(runs[each["run_id"]]["configuration"]["seed"] for each in results) == [5, 6]
        for each in results:
            run = runs[each["run_id"]]
            assert (each["kind"], run["kind"], run["status"]) == ("SIMULATION", "SIMULATION", "COMPLETED")
            assert run["configuration"]["scenarios"][0]["name"] == "wide_spread"
            assert each["run_id"] in printed
            seed = run["configuration"]["seed"]
            config = simulation_config(prepared, wish, kept.instrument)
            again = await asyncio.to_thread(simulate, config, prepared, seed)
            result = await service.get_result(run_id_of(each))
            assert result.digest() == each["digest"] == again.digest()
            assert result.summary.fills > 0
            page = await service.get_report([run_id_of(each)])
            assert page["runs"][0]["summary"]["net_pnl"] == each["summary"]["net_pnl"]
            assert Decimal(page["runs"][0]["analysis"]["profit"]["residual"]) == 0
            with pytest.raises(InvalidRequest, match="no recording"):
                await service.explain_order(run_id_of(each), 1)

    with_backtests(settings, look)
    with pytest.raises(NotFound):
        find_kept(settings, str(new_id()), 1)


def test_a_strategy_is_found_by_kind_name_and_id(settings: Settings) -> None:
    """`simulate` took ids and kinds alone, and knew no kinds of the user's own files."""

    async def add(store: Any, _: BacktestService) -> Any:
        coin = an_instrument(contract_type=ContractType.INVERSE, pair_id=new_id(), symbol="COIN")
        await store.reference.add_pair(coin, None, 1)
        await store.reference.add_strategy("coins", "do_nothing", {}, coin.pair_id, 1)
        return await store.reference.add_strategy("mine", "do_nothing", {}, DEFAULT_PAIR_ID, 1)

    strategy = with_backtests(settings, add)
    by_name, by_id = find_kept(settings, "mine", 1), find_kept(settings, str(strategy.strategy_id), 1)
    assert by_name is not None
    assert by_id is not None
    assert by_name.strategy == by_id.strategy == strategy
    assert find_kept(settings, "inventory_skew", 1) is None
    with pytest.raises(NotFound, match=r"nobody is no kind of strategy .*do_nothing.* and none that is kept"):
        find_kept(settings, "nobody", 1)
    with pytest.raises(InvalidRequest, match="simulator/COIN is INVERSE"):
        find_kept(settings, "coins", 1)


def run_id_of(result: dict[str, Any]) -> Any:
    """Return the id of a result's run."""
    return UUID(result["run_id"])
