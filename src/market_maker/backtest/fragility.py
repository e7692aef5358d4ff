"""How a result changes with what was assumed: the same run under other latencies, queue models and fees, in shared passes.

Makes the grid; what it tells is `performance.fragility`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.execution import is_of_orders, queue_model_of
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.sweep import SweepProgress, sweep
from market_maker.domain.instrument import EXACT
from market_maker.market_data.replay import Feed
from market_maker.performance.fragility import FragilityCell, FragilityFigures, fragility_figures

LATENCY_FACTORS = (0.5, 1.0, 2.0, 5.0)
FEE_FACTORS = (Decimal("0.5"), Decimal(1), Decimal("1.5"))
_STRICTNESS = {QueueModel.FRONT: 0, QueueModel.RISK_AVERSE: 2, QueueModel.BACK: 3}
_FRACTIONS = {QueueModel.FRONT: 0.0, QueueModel.BACK: 1.0}


@dataclass(frozen=True, slots=True)
class _Queue:
    """A queue model with its exponent; `name` tells both."""

    model: QueueModel
    n: float | None

    @property
    def name(self) -> str:
        return self.model.name if self.n is None else f"{self.model.name} {self.n:g}"


@dataclass(frozen=True, slots=True)
class FragilityGrid:
    """The cells, what they tell, the run's own queue model, and the digest of the cell that is the run itself."""

    cells: tuple[FragilityCell, ...]
    figures: FragilityFigures
    queue_model: str
    reference_digest: str


def fragility_grid(
    config: RunConfig, feed: Feed, progress: Callable[[SweepProgress], None] | None = None
) -> FragilityGrid:
    """Return the run under latency x {0.5, 1, 2, 5}, queue {BACK, its own, POWER 2, FRONT} and fees x {0.5, 1, 1.5}.

    Parameters
    ----------
    config : the run; its band is left out
    feed : what it ran on
    progress : as of `sweep`

    Raises
    ------
    InvalidRequest, DataError
        As `sweep`.

    Notes
    -----
    A factor that changes nothing, of a latency or of fees that are 0, is left out. A rebate is divided by the factor, so
    that larger fees are never kinder. One pass over the market for each factor of the fees, and for each of a latency that
    is not constant.
    """
    own = _own_queue(config, feed)
    queues = list(dict.fromkeys([_Queue(QueueModel.BACK, None), own, _Queue(QueueModel.POWER, 2.0), _Queue(QueueModel.FRONT, None)]))  # fmt: skip
    latencies = LATENCY_FACTORS if _has_latency(config) else (1.0,)
    fees = FEE_FACTORS if _has_fees(config) else (Decimal(1),)
    points = [(latency, queue, fee) for fee in fees for latency in latencies for queue in queues]
    plain = replace(config, band=False, records_orders=False)
    configs = [_under(plain, latency, None if queue == own else queue, fee) for latency, queue, fee in points]
    cells: dict[int, FragilityCell] = {}
    digest = ""
    for trial in sweep(configs, feed, progress):
        latency, queue, fee = points[trial.number]
        summary = trial.result.summary
        cells[trial.number] = FragilityCell(
            latency_factor=latency,
            queue_model=queue.name,
            fee_factor=float(fee),
            net_pnl=summary.net_pnl,
            sharpe=summary.sharpe.ratio,
            queue_fraction=_FRACTIONS.get(queue.model),
        )
        if latency == 1.0 and queue == own and fee == 1:
            digest = trial.result.digest()
    ordered = tuple(cells[number] for number in sorted(cells))
    stricter = [queue.name for queue in queues if _strictness(queue) > _strictness(own)]
    figures = fragility_figures(ordered, queue_model=own.name, conservative_models=stricter)
    return FragilityGrid(ordered, figures, own.name, digest)


def _own_queue(config: RunConfig, feed: Feed) -> _Queue:
    execution = config.execution
    return _Queue(queue_model_of(execution.queue_model, of_orders=is_of_orders(feed)), execution.queue_n)


def _strictness(queue: _Queue) -> int:
    return _STRICTNESS.get(queue.model, 1)


def _has_latency(config: RunConfig) -> bool:
    return config.execution.latency is not None or config.entry_latency_ns > 0 or config.response_latency_ns > 0


def _has_fees(config: RunConfig) -> bool:
    pair = config.instrument
    return config.execution.fees is not None or bool(pair.maker_fee) or bool(pair.taker_fee)


def _under(config: RunConfig, latency: float, queue: _Queue | None, fee: Decimal) -> RunConfig:
    """Return the run under other assumptions; the run itself, unchanged, where they are its own."""
    execution = config.execution
    if queue is not None:
        execution = replace(execution, queue_model=queue.model, queue_n=queue.n)
    if latency != 1.0 and execution.latency is not None:
        execution = replace(execution, latency=_slower(execution.latency, latency))
    pair = config.instrument
    if fee != 1:
        if execution.fees is not None:
            execution = replace(execution, fees=_dearer(execution.fees, fee))
        pair = replace(pair, maker_fee=_times(pair.maker_fee, fee), taker_fee=_times(pair.taker_fee, fee))
    return replace(
        config,
        instrument=pair,
        execution=execution,
        entry_latency_ns=round(config.entry_latency_ns * latency),
        response_latency_ns=round(config.response_latency_ns * latency),
    )


def _slower(options: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return options of a latency model with every duration multiplied; what counts events stays."""

    def scaled(values: Mapping[str, Any]) -> dict[str, Any]:
        durations = ("entry_ns", "response_ns", "mean_ns", "deviation_ns", "floor_ns", "ns_per_event", "most_ns")
        return {name: round(value * factor) if name in durations else value for name, value in values.items()}

    slower = scaled(options)
    for name in ("entry", "response"):
        if slower.get(name) is not None:
            slower[name] = scaled(slower[name])
    if "rows" in slower:
        slower["rows"] = [_slower_row(row, factor) for row in slower["rows"]]
    return slower


def _slower_row(row: Sequence[int], factor: float) -> list[int]:
    """Return a recorded request whose way there and back takes longer; one that the venue rejected has the second 0."""
    made, arrived, answered = row
    if arrived <= 0:
        return [made, arrived, made + round((answered - made) * factor)]
    there = made + round((arrived - made) * factor)
    return [made, there, there + round((answered - arrived) * factor)]


def _dearer(options: Mapping[str, Any], factor: Decimal) -> dict[str, Any]:
    dearer = dict(options)
    for name in ("maker", "taker"):
        if dearer.get(name) is not None:
            dearer[name] = f"{_times(Decimal(dearer[name]), factor):f}"
    if dearer.get("tiers") is not None:
        dearer["tiers"] = [_dearer(tier, factor) for tier in dearer["tiers"]]
    return dearer


def _times(rate: Decimal, factor: Decimal) -> Decimal:
    """Return a fee times the factor, or a rebate divided by it, to 8 decimals as rates have them."""
    return round(EXACT.multiply(rate, factor) if rate >= 0 else rate / factor, 8)
