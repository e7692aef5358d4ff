"""/api/v1/simulator: strategies on running simulated markets, and what these markets have traded."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, FromQuery

from market_maker.api.answers import After, AnyRequest, Limit, Service, answer, body_of, page
from market_maker.api.schemas import (
    MarketBarList,
    RealismView,
    StartStrategy,
    StrategyRunPage,
    StrategyRunView,
    TapeView,
)
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import parse_duration, parse_instant

_PATH = "/api/v1/simulator/strategies"


class StrategyRuns(Controller):
    """Strategies on simulated markets."""

    path = _PATH
    tags = ("simulator",)

    @get(summary="List runs of strategies")
    async def find(
        self, service: Service, strategy_id: FromQuery[UUID | None] = None, after: After = None, limit: Limit = 100
    ) -> Response[StrategyRunPage]:
        """Return runs of strategies on simulated markets, newest first, those that have ended included."""
        items = await service.parts.strategy_runs.find(strategy_id=strategy_id, after=after, limit=limit)
        return page(StrategyRunPage, items, "run_id", limit)

    @post(status_code=201, opt={"body": StartStrategy}, summary="Run a strategy on its market")
    async def start(self, request: AnyRequest, service: Service) -> Response[StrategyRunView]:
        """Let a strategy trade on its pair's running market; it goes on after a restart of the service, until stopped."""
        wish = await body_of(request, StartStrategy)
        data = await service.parts.strategy_runs.start(wish.strategy_id, wish.account_id)
        return answer(StrategyRunView, data, 201, {"Location": f"{_PATH}/{data['run_id']}"})

    @get("/{run_id:uuid}", summary="One run of a strategy")
    async def one(self, service: Service, run_id: FromPath[UUID]) -> Response[StrategyRunView]:
        """Return quotes, inventory, result by cause, fills, markouts and the last error of a run."""
        return answer(StrategyRunView, await service.parts.strategy_runs.get(run_id))

    @delete("/{run_id:uuid}", status_code=202, summary="Stop a strategy")
    async def stop(self, service: Service, run_id: FromPath[UUID]) -> Response[StrategyRunView]:
        """Stop a strategy; that its orders are to be cancelled is durable when answered."""
        return answer(StrategyRunView, await service.parts.strategy_runs.stop(run_id), 202)


class Tapes(Controller):
    """What running markets have traded."""

    path = "/api/v1/simulator"
    tags = ("simulator",)

    @get("/tape/{pair_id:uuid}", summary="The last public trades")
    async def tape(self, service: Service, pair_id: FromPath[UUID], limit: Limit = 100) -> Response[TapeView]:
        """Return the last public trades of a running market since the service started, newest first; 1,000 are kept."""
        return answer(TapeView, {"items": await service.directory.tape(pair_id, limit)})

    @get("/bars/{pair_id:uuid}", summary="Candles of a running market")
    async def bars(
        self, service: Service, pair_id: FromPath[UUID], interval: FromQuery[str] = "1s", limit: Limit = 100
    ) -> Response[MarketBarList]:
        """Return the last candles of public trades, oldest first, by whole seconds up to an hour; six hours are kept."""
        interval_ns = parse_duration(interval, "interval")
        return answer(MarketBarList, {"items": await service.directory.live_bars(pair_id, interval_ns, limit)})


class Realism(Controller):
    """How real running markets look."""

    path = "/api/v1/simulator/realism"
    tags = ("simulator",)

    @get("/{pair_id:uuid}", summary="Realism of a running market")
    async def measure(
        self,
        service: Service,
        pair_id: FromPath[UUID],
        window: FromQuery[str] = "1d",
        start: FromQuery[str | None] = None,
        end: FromQuery[str | None] = None,
        reference_pair_id: FromQuery[UUID | None] = None,
        reference_start: FromQuery[str | None] = None,
        reference_end: FromQuery[str | None] = None,
    ) -> Response[RealismView]:
        """Return the stylised facts of at least the last `window` of a running market, or of all of it that is kept.

        `market.begins` says why it begins where it does: SESSION, RESTART, KEPT or ASKED. With `start` and `end` those of what was recorded of it. With a reference recording also the distances from it.
        """

        def instant(text: str | None, field: str) -> int | None:
            return None if text is None else parse_instant(text, field, end_of_day=field.endswith("end"))

        window_ns = parse_duration(window, "window")
        if window_ns < 1_000_000_000:
            raise InvalidRequest.of("window", window, "1s or more")
        data = await service.directory.live_realism(
            pair_id,
            window_ns,
            start_ts=instant(start, "start"),
            end_ts=instant(end, "end"),
            reference_pair_id=reference_pair_id,
            reference_start_ts=instant(reference_start, "reference_start"),
            reference_end_ts=instant(reference_end, "reference_end"),
        )
        return answer(RealismView, data)
