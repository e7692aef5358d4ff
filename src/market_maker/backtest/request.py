"""What users ask of a backtest, and the configuration that comes of it: what is left out is as the settings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.backtest.execution import Execution
from market_maker.backtest.guard import limits_json, limits_of
from market_maker.backtest.result import FillModel
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import NS_PER_SECOND, format_duration, format_instant
from market_maker.market_data.conditions import MarketConditions
from market_maker.settings import BacktestSettings

LATENCY_MAX_NS = 60 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run: [start_ts, end_ts) in ns UTC, and how. Latencies None: the setting execution_delay.

    `market_conditions`: volatility, trend, volume_profile, each optional; see `market_data.conditions`. `execution`: queue
    model, latency, fees and funds, see `backtest.execution`. `band`: tell pessimistic and optimistic fills beside the run's
    own. `record_orders`: keep every decision and order event. `with_pairs`: further instruments that the strategy trades
    at once, number 1 and on; there is no band then. `limits`: what stands before its orders, see `backtest.guard`.
    """

    strategy_id: UUID
    start_ts: int
    end_ts: int
    pair_id: UUID | None = None
    market_conditions: dict[str, Any] | None = None
    entry_latency_ns: int | None = None
    response_latency_ns: int | None = None
    balance: Decimal | None = None
    fill_model: str = FillModel.PARTIAL.name
    seed: int = 0
    allow_gaps: bool = False
    execution: Mapping[str, Any] | None = None
    band: bool = True
    record_orders: bool = False
    with_pairs: tuple[UUID, ...] = ()
    limits: Sequence[Mapping[str, Any]] | None = None


def configuration_of(request: RunRequest, settings: BacktestSettings) -> dict[str, Any]:
    """Return how a run is done: what the request says and, for the rest, the settings. InvalidRequest names a field."""
    if request.end_ts <= request.start_ts:
        raise InvalidRequest.of("end_date", format_instant(request.end_ts), "an instant after start_date")
    entry = settings.execution_delay if request.entry_latency_ns is None else request.entry_latency_ns
    response = entry if request.response_latency_ns is None else request.response_latency_ns
    if request.fill_model not in FillModel.__members__:
        raise InvalidRequest.of("fill_model", request.fill_model, ", ".join(FillModel.__members__))
    balance = settings.default_balance.amount if request.balance is None else request.balance
    for field, latency in (("entry_latency", entry), ("response_latency", response)):
        if not 0 <= latency <= LATENCY_MAX_NS:
            raise InvalidRequest.of(field, format_duration(latency), f"0 to {format_duration(LATENCY_MAX_NS)}")
    if not (balance.is_finite() and 0 < balance < Decimal(10) ** 15):
        raise InvalidRequest.of("balance", str(balance), "a positive amount below 1e15")
    conditions = MarketConditions.of(request.market_conditions)
    # Not written where there are none, so that a run of one instrument is told as ever.
    more: dict[str, Any] = {} if conditions is None else {"market_conditions": conditions.to_json()}
    more |= {"with_pairs": [str(pair_id) for pair_id in request.with_pairs]} if request.with_pairs else {}
    limits = limits_of(request.limits)
    if limits and request.with_pairs:
        raise InvalidRequest.of("limits", "set", "none with several instruments")
    more |= {"limits": limits_json(limits)} if limits else {}
    return {
        "start_ts": str(request.start_ts),
        "end_ts": str(request.end_ts),
        "entry_latency_ns": entry,
        "response_latency_ns": response,
        "balance": str(balance),
        "fill_model": request.fill_model,
        "sample_interval_ns": settings.market_update_interval,
        "seed": request.seed,
        "allow_gaps": request.allow_gaps,
        "execution": Execution.of(request.execution).to_json(),
        "band": request.band and not request.with_pairs,
        "record_orders": request.record_orders,
    } | more


def told_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as users read it: durations as text."""
    told = dict(configuration)
    for key in ("entry_latency_ns", "response_latency_ns", "sample_interval_ns"):
        told[key.removesuffix("_ns")] = format_duration(told.pop(key))
    return told
