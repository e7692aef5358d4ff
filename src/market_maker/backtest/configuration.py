"""From the row of a run to what the engine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.execution import Execution
from market_maker.backtest.guard import limits_of
from market_maker.backtest.result import FillModel
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.market_data.conditions import MarketConditions
from market_maker.storage.reference import Strategy


def run_config(run: dict[str, Any], strategy: Strategy, instrument: Instrument) -> RunConfig:
    """Return what the engine does for a run: a row with its `configuration`."""
    configuration = run["configuration"]
    return RunConfig(
        instrument=instrument,
        strategy_kind=strategy.kind,
        parameters=strategy.parameters,
        start_ts=int(configuration["start_ts"]),
        end_ts=int(configuration["end_ts"]),
        entry_latency_ns=configuration["entry_latency_ns"],
        response_latency_ns=configuration["response_latency_ns"],
        balance=Decimal(configuration["balance"]),
        fill_model=FillModel[configuration["fill_model"]],
        sample_interval_ns=configuration["sample_interval_ns"],
        seed=configuration["seed"],
        allow_gaps=configuration["allow_gaps"],
        market_conditions=MarketConditions.of(configuration.get("market_conditions")),
        execution=Execution.of(configuration.get("execution")),
        band=configuration.get("band", False),
        records_orders=configuration.get("record_orders", False),
        limits=limits_of(configuration.get("limits")),
    )


def as_it_was(instrument: Instrument, reproducibility: dict[str, Any]) -> Instrument:
    """Return the pair of a stored run with the steps, fees and contract that it had then."""
    pair = reproducibility["configuration"]["pair"]
    return replace(
        instrument,
        tick_size=Decimal(pair["tick_size"]),
        lot_size=Decimal(pair["lot_size"]),
        contract_type=ContractType(pair["contract_type"]),
        maker_fee=Decimal(pair["maker_fee"]),
        taker_fee=Decimal(pair["taker_fee"]),
        contract_multiplier=Decimal(pair.get("contract_multiplier", 1)),
    )


def pair_ids_of(run: dict[str, Any]) -> list[UUID]:
    """Return the pairs of a run's row: its own, then those that the strategy trades with it."""
    return [run["pair_id"], *(UUID(pair_id) for pair_id in run["configuration"].get("with_pairs", ()))]


def run_configs(run: dict[str, Any], strategy: Strategy, instruments: Sequence[Instrument]) -> list[RunConfig]:
    """Return what the engine does for a run with each of its instruments; each has the whole balance to itself."""
    return [run_config(run, strategy, instrument) for instrument in instruments]
