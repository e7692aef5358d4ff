"""Backtests, sweeps, trials and their results."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from market_maker.api.schemas.bases import Request, View


class MarketConditions(Request):
    """Conditions put on the history; each optional. Volatility: standard deviation of daily log returns."""

    volatility: Annotated[float, Meta(gt=0, le=10)] | None = None
    trend: Literal["UP", "DOWN", "SIDEWAYS"] | None = None
    volume_profile: Literal["LOW", "NORMAL", "HIGH", "U_SHAPED"] | None = None


class RunLimit(Request):
    """A limit of a run, as a risk limit. `on_breach` is for what is held: MAX_POSITION, MAX_NOTIONAL, MAX_LOSS, MAX_DRAWDOWN."""

    kind: str
    threshold: Decimal
    warn_share: Decimal = Decimal("0.8")
    on_breach: Literal["ALERT", "REDUCE", "HALT"] = "ALERT"


class RunBacktest(Request):
    """A backtest. Dates are UTC and both included; timestamps are taken exactly. Latencies as `100ms`."""

    strategy_id: UUID
    start_date: str
    end_date: str
    market_conditions: MarketConditions | None = None
    pair_id: UUID | None = None
    entry_latency: str | None = None
    response_latency: str | None = None
    balance: Decimal | None = None
    fill_model: Literal["PARTIAL", "NO_PARTIAL"] = "PARTIAL"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    allow_gaps: bool = False
    execution: dict[str, Any] | None = None
    """Queue model, latency, fees, funds: see the page about backtests."""
    band: bool = True
    record_orders: bool = False
    with_pairs: Annotated[list[UUID], Meta(max_length=15)] = []
    """Further instruments that the strategy trades at once, number 1 and on; there is no band then."""
    limits: Annotated[list[RunLimit], Meta(max_length=10)] = []
    """What stands before its orders: see the page about backtests."""


class RunView(View):
    """A run: PENDING, RUNNING, COMPLETED, FAILED or CANCELED; a backtest, or a simulation whose result was kept."""

    run_id: UUID
    strategy_id: UUID
    pair_id: UUID
    kind: Literal["BACKTEST", "SIMULATION"]
    status: Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"]
    progress_percent: float
    events_per_second: float | None
    eta_seconds: float | None
    error: str | None
    attempts: int
    cancel_requested: bool
    configuration: dict[str, Any]
    created_ts: str
    started_ts: str | None
    finished_ts: str | None
    report: str | None
    version: int


class RunPage(View):
    """Runs, newest first."""

    items: list[RunView]
    next: str | None


class ResultView(View):
    """What a completed run earned; money as text in `currency`."""

    run_id: UUID
    strategy_id: UUID
    pair_id: UUID
    kind: Literal["BACKTEST", "SIMULATION"]
    start_ts: str
    end_ts: str
    currency: str
    summary: dict[str, Any]
    reproducibility: dict[str, Any]
    digest: str
    created_ts: str
    report: str


class ResultPage(View):
    """Results, newest first."""

    items: list[ResultView]
    next: str | None


class TrialView(View):
    """One parameter set that a sweep has tried; `number` is its place in the grid, money is text in what its pair settles in."""

    trial_id: UUID
    sweep_id: UUID
    number: int
    trial_key: str
    strategy_id: UUID
    pair_id: UUID
    kind: str
    parameters: dict[str, Any]
    configuration: dict[str, Any]
    summary: dict[str, Any]
    digest: str
    seed: int
    created_ts: str


class TrialPage(View):
    """Trials, newest first."""

    items: list[TrialView]
    next: str | None


class GridRange(Request, rename={"first": "from", "last": "to"}):
    """Values from the first to the last, both included; 0.1 steps meet 0.3."""

    first: Decimal
    last: Decimal
    step: Decimal = Decimal(1)


class RunSweep(Request):
    """A sweep: every combination of the grid's values, the last name varying fastest; the rest is as of a backtest."""

    strategy_id: UUID
    start_date: str
    end_date: str
    grid: dict[str, list[Decimal] | GridRange]
    market_conditions: MarketConditions | None = None
    pair_id: UUID | None = None
    entry_latency: str | None = None
    response_latency: str | None = None
    balance: Decimal | None = None
    fill_model: Literal["PARTIAL", "NO_PARTIAL"] = "PARTIAL"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    allow_gaps: bool = False
    execution: dict[str, Any] | None = None
    limits: Annotated[list[RunLimit], Meta(max_length=10)] = []


class SweepView(View):
    """A sweep: `done` of `total` sets are tried, `known` of them before it began; the last name of `grid` varies fastest."""

    sweep_id: UUID
    strategy_id: UUID
    pair_id: UUID
    status: Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"]
    total: int
    done: int
    known: int
    progress_percent: float
    sets_per_second: float | None
    eta_seconds: float | None
    error: str | None
    attempts: int
    cancel_requested: bool
    configuration: dict[str, Any]
    created_ts: str
    started_ts: str | None
    finished_ts: str | None
    version: int
    grid: dict[str, list[int | float]]


class SweepDetailView(SweepView):
    """A sweep with its best trials by net P&L so far; the best of many is not evidence."""

    best: list[TrialView]


class SweepPage(View):
    """Sweeps, newest first."""

    items: list[SweepView]
    next: str | None


class SweepTrialPage(View):
    """Trials of a sweep: `number` is the place in its grid, `sweep_id` the sweep that ran the set, maybe an earlier one."""

    items: list[TrialView]
    next: str | None


class AnalyzeRuns(Request):
    """Completed runs to analyse together; with `fragility` they also run under other latencies, queue models and fees."""

    run_ids: Annotated[list[UUID], Meta(min_length=1, max_length=1000)]
    fragility: bool = False
