"""/api/v1/backtest: runs, sweeps, results and their analysis."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, FromQuery

from market_maker.api.answers import After, AnyRequest, Limit, Service, answer, body_of, correlation_of, page
from market_maker.api.schemas import (
    AnalyzeRuns,
    GridRange,
    ResultPage,
    RunBacktest,
    RunPage,
    RunSweep,
    RunView,
    SweepDetailView,
    SweepPage,
    SweepTrialPage,
    SweepView,
    TrialPage,
)
from market_maker.dashboard import report_page, report_template
from market_maker.domain.units import parse_duration, parse_instant
from market_maker.service import RunRequest


class Backtests(Controller):
    """Backtests."""

    path = "/api/v1/backtest"
    tags = ("backtest",)

    @post(status_code=202, opt={"body": RunBacktest}, summary="Run a backtest")
    async def run(self, request: AnyRequest, service: Service) -> Response[RunView]:
        """Queue a backtest; durable when answered. Its progress is at `Location`."""
        wish = await body_of(request, RunBacktest)
        made = _request(wish, band=wish.band, record_orders=wish.record_orders, with_pairs=tuple(wish.with_pairs))
        run = await service.parts.backtests.run_backtest(made, correlation_of(request))
        return answer(RunView, run, 202, {"Location": f"/api/v1/backtest/runs/{run['run_id']}"})

    @post("/sweeps", status_code=202, opt={"body": RunSweep}, summary="Sweep parameters")
    async def sweep(self, request: AnyRequest, service: Service) -> Response[SweepView]:
        """Queue a sweep over a grid; durable when answered. Its progress is at `Location`."""
        wish = await body_of(request, RunSweep)
        grid = {name: _choices(given) for name, given in wish.grid.items()}
        sweep = await service.parts.backtests.sweeps.start(_request(wish), grid, correlation_of(request))
        return answer(SweepView, sweep, 202, {"Location": f"/api/v1/backtest/sweeps/{sweep['sweep_id']}"})

    @get("/sweeps", summary="List sweeps")
    async def find_sweeps(
        self,
        service: Service,
        strategy_id: FromQuery[UUID | None] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response[SweepPage]:
        """Return sweeps, newest first."""
        items = await service.parts.backtests.sweeps.find(strategy_id=strategy_id, after=after, limit=limit)
        return page(SweepPage, items, "sweep_id", limit)

    @get("/sweeps/{sweep_id:uuid}", summary="One sweep with its progress")
    async def one_sweep(self, service: Service, sweep_id: FromPath[UUID]) -> Response[SweepDetailView]:
        """Return a sweep: sets done, sets per second and time left while it runs, and its best trials so far."""
        return answer(SweepDetailView, await service.parts.backtests.sweeps.get(sweep_id))

    @delete("/sweeps/{sweep_id:uuid}", status_code=202, summary="Cancel a sweep")
    async def cancel_sweep(self, service: Service, sweep_id: FromPath[UUID]) -> Response[SweepView]:
        """Ask for a sweep to be stopped; the trials of its finished chunks stay."""
        return answer(SweepView, await service.parts.backtests.sweeps.cancel(sweep_id), 202)

    @get("/sweeps/{sweep_id:uuid}/trials", summary="Trials of a sweep")
    async def sweep_trials(
        self,
        service: Service,
        sweep_id: FromPath[UUID],
        sort: FromQuery[Literal["best", "number"]] = "best",
        after: After = None,
        limit: Limit = 100,
    ) -> Response[SweepTrialPage]:
        """Return the trials of a sweep's sets: by net P&L, best first, or by their place in the grid."""
        items = await service.parts.backtests.sweeps.trials(
            sweep_id, best_first=sort == "best", after=after, limit=limit
        )
        return page(SweepTrialPage, items, "trial_id", limit)

    @get("/runs", summary="List runs")
    async def find(
        self,
        service: Service,
        strategy_id: FromQuery[UUID | None] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response[RunPage]:
        """Return runs, newest first."""
        items = await service.parts.backtests.get_runs(strategy_id=strategy_id, after=after, limit=limit)
        return page(RunPage, items, "run_id", limit)

    @get("/runs/{run_id:uuid}", summary="One run with its progress")
    async def one(self, service: Service, run_id: FromPath[UUID]) -> Response[RunView]:
        """Return a run: percent, events per second and time left while it runs."""
        return answer(RunView, await service.parts.backtests.get_run(run_id))

    @delete("/runs/{run_id:uuid}", status_code=202, summary="Cancel a run")
    async def cancel(self, service: Service, run_id: FromPath[UUID]) -> Response[RunView]:
        """Ask for a run to be stopped."""
        return answer(RunView, await service.parts.backtests.cancel_run(run_id), 202)

    @get("/runs/{run_id:uuid}/result", summary="A run's whole result")
    async def result(self, service: Service, run_id: FromPath[UUID]) -> dict[str, Any]:
        """Return summary, equity curve and fills of a completed run; of several instruments by leg."""
        return await service.directory.backtest_columns(run_id)

    @get("/runs/{run_id:uuid}/report", summary="A run's report as a page", media_type="text/html")
    async def report(
        self, service: Service, run_id: FromPath[UUID], fragility: FromQuery[bool] = False
    ) -> Response[bytes]:
        """Return the report of a completed run: one HTML page that opens without a network."""
        page_template = report_template()
        data = await service.get_report([run_id], fragility=fragility)
        content = await asyncio.to_thread(report_page, data, page_template)
        return Response(content, media_type="text/html; charset=utf-8")

    @get("/runs/{run_id:uuid}/orders/{order_id:int}", summary="The story of one order of a run")
    async def explain(self, service: Service, run_id: FromPath[UUID], order_id: FromPath[int]) -> dict[str, Any]:
        """Return all that happened to an order: the queue ahead over time, what moved it, why it did or did not fill."""
        story = await service.parts.backtests.explain_order(run_id, order_id)
        return story.to_json()

    @get("/results/{strategy_id:uuid}", summary="Results of a strategy")
    async def results(
        self, service: Service, strategy_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[ResultPage]:
        """Return the results of a strategy's completed runs, newest first."""
        items = await service.parts.backtests.get_backtest_results(strategy_id, after=after, limit=limit)
        return page(ResultPage, items, "run_id", limit)

    @get("/trials/{strategy_id:uuid}", summary="Trials of a strategy's sweeps")
    async def trials(
        self, service: Service, strategy_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[TrialPage]:
        """Return every parameter set that sweeps of a strategy have tried, newest first."""
        items = await service.parts.backtests.get_trials(strategy_id, after=after, limit=limit)
        return page(TrialPage, items, "trial_id", limit)

    @post("/analysis", status_code=200, opt={"body": AnalyzeRuns}, summary="Analyse completed runs")
    async def analyze(self, request: AnyRequest, service: Service) -> dict[str, Any]:
        """Return the analysis of one completed run with its quality, or the comparison of several, beside their totals."""
        wish = await body_of(request, AnalyzeRuns)
        found = await service.analyze_backtest_results(wish.run_ids, fragility=wish.fragility)
        return await asyncio.to_thread(found.to_json)


def _request(wish: RunBacktest | RunSweep, **more: Any) -> RunRequest:
    """Return what both kinds of requests have in common; `more` is what a run has beside it."""
    entry, response = wish.entry_latency, wish.response_latency
    return RunRequest(
        strategy_id=wish.strategy_id,
        start_ts=parse_instant(wish.start_date, "start_date"),
        end_ts=parse_instant(wish.end_date, "end_date", end_of_day=True),
        pair_id=wish.pair_id,
        market_conditions=None if wish.market_conditions is None else msgspec.to_builtins(wish.market_conditions),
        entry_latency_ns=None if entry is None else parse_duration(entry, "entry_latency"),
        response_latency_ns=None if response is None else parse_duration(response, "response_latency"),
        balance=wish.balance,
        fill_model=wish.fill_model,
        seed=wish.seed,
        allow_gaps=wish.allow_gaps,
        execution=wish.execution,
        limits=msgspec.to_builtins(wish.limits),
        **more,
    )


def _choices(given: list[Decimal] | GridRange) -> list[Decimal] | dict[str, Decimal]:
    return {"from": given.first, "to": given.last, "step": given.step} if isinstance(given, GridRange) else given
