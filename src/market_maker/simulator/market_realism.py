"""MarketRealism: the stylised facts of running markets, held against a recording where one is named, and as gauges."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from market_maker.domain.errors import Conflict, InvalidRequest, MarketMakerError
from market_maker.domain.units import NS_PER_SECOND, format_instant
from market_maker.performance.realism.compiled import compiled_realism
from market_maker.performance.realism.measure import measure
from market_maker.performance.realism.metric import Metric
from market_maker.performance.realism.recorded import recorded_window
from market_maker.performance.realism.score import Scores, compare
from market_maker.performance.realism.told import realism_json
from market_maker.performance.realism.window import Window
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.service import SimulatorService
from market_maker.simulator.street import Street, Taken
from market_maker.storage.database import Connection
from market_maker.storage.lake import Lake
from market_maker.strategies.compiling.apart import compile_apart, note_compiled

ROWS_MAX = 5_000_000
"""Rows of a recording that a request may ask for."""
_MARK = "realism.compiled"
_log = structlog.get_logger("simulator")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A stretch of a recorded market: [start, end) ns of a pair."""

    pair_id: UUID
    start_ts: int
    end_ts: int


class MarketRealism:
    """Watches all markets of a simulator and measures them on demand and from time to time.

    Parameters
    ----------
    simulator : whose markets are watched, from their start or restart on
    lake : of recordings
    events_max : events of each market that are kept
    interval_ns : between two measurements for the gauges; 0: none
    """

    def __init__(self, simulator: SimulatorService, lake: Lake, *, events_max: int, interval_ns: int) -> None:
        self._simulator = simulator
        self._lake = lake
        self._events_max = events_max
        self._interval_s = interval_ns / NS_PER_SECOND
        self._streets: dict[UUID, Street] = {}
        self._busy = asyncio.Lock()
        # One thread for ever: what a measurement needs for a moment, the allocator keeps for each thread that ever made one.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="realism")
        self._task: asyncio.Task[None] | None = None
        simulator.loaders.append(self._watch)

    async def start(self) -> None:
        """Begin to measure from time to time."""
        if self._interval_s:
            self._task = asyncio.create_task(self._measure_for_ever(), name="realism")

    async def stop(self) -> None:
        """Measure no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def get(
        self, pair_id: UUID, *, least_ns: int, recorded: Recorded | None = None, reference: Recorded | None = None
    ) -> dict[str, Any]:
        """Return the metrics of a market, and their scores against a reference.

        Parameters
        ----------
        least_ns : how much of the running market's own time it is to be at least; what is kept may be less
        recorded : measure this instead of the running market

        Raises
        ------
        NotFound, Conflict : there is no such pair, or no market runs for it
        InvalidRequest : a recording too long
        DataError : nothing recorded, or a market that has just begun
        """
        taken: Taken | None = None
        if recorded is None:
            loop = await self._simulator.running(pair_id)
            if (await loop.committed()).is_played:
                raise Conflict("the market is a recording; measure the recording itself by start and end")
            taken = self._streets[pair_id].taken(least_ns)
        instruments = [
            None if span is None else (await self._simulator.reference.pair(span.pair_id)).instrument
            for span in (recorded, reference)
        ]

        def work() -> tuple[list[Window], list[tuple[Metric, ...]], Scores | None]:
            compile_apart(_MARK, f"from {__name__} import compile_realism; compile_realism()")
            windows = [] if taken is None else [taken.window()]
            for span, instrument in zip((recorded, reference), instruments, strict=True):
                if span is not None and instrument is not None:
                    windows.append(
                        recorded_window(
                            self._lake, instrument, span.start_ts, span.end_ts, allow_gaps=True, rows_max=ROWS_MAX
                        )
                    )
            measured = [measure(window) for window in windows]
            return windows, measured, compare(measured[0], measured[1]) if len(measured) > 1 else None

        async with self._busy:  # One at a time: each may take seconds and a lot of memory.
            windows, measured, scores = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        if taken is not None and taken.is_whole:
            self._show(pair_id, measured[0], scores)
        told = realism_json(windows, measured, scores)
        if taken is not None:
            told["market"]["begins"] = taken.begins
        return told

    async def _watch(self, _: Connection, exchange: SimulatedExchange) -> None:
        if not exchange.is_played:
            self._streets[exchange.instrument.pair_id] = Street(exchange, self._events_max)

    def _show(self, pair_id: UUID, metrics: tuple[Metric, ...], scores: Scores | None) -> None:
        """Set the gauges of a market: of each metric the first figure that could be had."""
        symbol = self._simulator.reference.known_pair(pair_id).instrument.symbol
        gauge = self._simulator.metrics.simulation_quality
        for metric in metrics:
            value = next((each.value for each in metric.figures.values() if each.value is not None), None)
            if value is not None:
                gauge.labels(symbol, metric.key).set(value)
        if scores is not None:
            for name, mean in (("score_w1", scores.mean_w1), ("score_l1", scores.mean_l1)):
                if mean is not None:
                    gauge.labels(symbol, name).set(mean)

    async def _measure_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            for pair_id in list(self._simulator.loops):
                try:
                    await self.get(pair_id, least_ns=1 << 62)
                except MarketMakerError as error:
                    _log.info("the realism of a market was not measured", pair=str(pair_id), reason=error.detail)
                await asyncio.get_running_loop().run_in_executor(self._pool, give_back_memory)


def compile_realism() -> None:
    """Compile what measures in this process, or read it from the cache."""
    compiled_realism()
    note_compiled(_MARK)


def give_back_memory() -> None:
    """Return to the system what the allocator keeps of memory that a measurement needed for a moment; glibc alone does."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def check_span(pair_id: UUID | None, start_ts: int | None, end_ts: int | None, prefix: str) -> Recorded | None:
    """Return the recording that three parameters name, None when they name none; InvalidRequest when some are missing."""
    given: dict[str, Any] = {f"{prefix}start": start_ts, f"{prefix}end": end_ts}
    if prefix:
        given = {f"{prefix}pair_id": pair_id, **given}
    if all(value is None for value in given.values()):
        return None
    for name, value in given.items():
        if value is None:
            raise InvalidRequest.of(name, None, f"a value, as {', '.join(given)} belong together")
    assert pair_id is not None and start_ts is not None and end_ts is not None, given
    if end_ts <= start_ts:
        raise InvalidRequest.of(f"{prefix}end", format_instant(end_ts), f"an instant after {prefix}start")
    return Recorded(pair_id, start_ts, end_ts)
