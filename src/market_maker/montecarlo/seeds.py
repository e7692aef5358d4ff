"""One strategy on the markets of many seeds, on threads: compiled runs release the interpreter's lock and share nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from market_maker.backtest.result import RunResult, RunSummary
from market_maker.domain.errors import InvalidRequest
from market_maker.montecarlo.engine import Simulation, SimulationConfig, play
from market_maker.montecarlo.loop.compiled import compiled_loop
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import PreparedStrategy

SEEDS_MAX = 100_000
THREADS_MAX = 256


@dataclass(frozen=True, slots=True)
class SeedRun:
    """What is kept of the run of one seed: its summary, the digest of its result, and how many events its market had."""

    seed: int
    summary: RunSummary
    digest: str
    events: int


def run_seeds(
    config: SimulationConfig,
    strategy: PreparedStrategy,
    seeds: Sequence[int],
    progress: Callable[[SeedRun], None] | None = None,
    *,
    threads: int | None = None,
    keep: Callable[[int, RunResult], None] | None = None,
) -> list[SeedRun]:
    """Return the runs of all seeds, in their order; how many threads there are changes nothing in them.

    Parameters
    ----------
    progress : called with each run as it ends, in the calling thread; an exception it raises stops what has not begun
    threads : None: as many as the machine has processors
    keep : given each seed with its whole result, in the thread that made it

    Raises
    ------
    InvalidRequest
        No seeds, too many or one twice, or a strategy that failed (names the seed and the time).
    """
    if not 1 <= len(seeds) <= SEEDS_MAX or len(set(seeds)) != len(seeds):
        raise InvalidRequest.of("seeds", len(seeds), f"1 to {SEEDS_MAX:,} seeds, each once")
    workers = os.cpu_count() or 1 if threads is None else threads
    if not 1 <= workers <= THREADS_MAX:
        raise InvalidRequest.of("threads", workers, f"1 to {THREADS_MAX}")
    # Once, before threads ask for it at the same time.
    compiled_loop()
    if strategy.kind.is_compiled:
        compiled(strategy)

    def one(seed: int) -> SeedRun:
        simulation = Simulation(config, strategy, seed)
        play(simulation)
        result = simulation.result()
        if keep is not None:
            keep(seed, result)
        return SeedRun(seed, result.summary, result.digest(), simulation.events)

    found: dict[int, SeedRun] = {}
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(one, seed) for seed in seeds]
        try:
            for future in as_completed(waiting):
                run = future.result()
                found[run.seed] = run
                if progress is not None:
                    progress(run)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[seed] for seed in seeds]
