"""Many runs over one recorded market for little more than their own orders: chunks of sets share each pass over the rows.

Every result is the one that `engine.run` gives for its configuration alone, bit for bit: sets never meet, and the same
kernel runs one or many. Pure: no database, no files. Chunks run on threads (the kernel holds no lock of Python's) over one
copy of the rows, or wherever another `ChunkPool` runs them, such as `cluster`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Protocol

from market_maker.backtest.drive import Capacity, OutgrownError
from market_maker.backtest.engine import RunConfig, RunProgress, RunResult, run, run_sets
from market_maker.backtest.guard import limits_json
from market_maker.backtest.quotes import Quotes
from market_maker.backtest.result import RunSummary
from market_maker.domain.errors import InvalidRequest
from market_maker.market_data.replay import Feed
from market_maker.strategies.contract import PreparedStrategy, find_strategy

CHUNK = 128
"""Sets that share a pass: more divide its cost further, but their orders no longer fit into the processor's cache."""
CHUNK_LEAST = 16
"""Sets that share a pass at least before one is split for the sake of another processor."""
SLICE_EVENTS = 100_000
"""Rows after which a chunk looks whether anybody still waits for it."""
TRIALS_MAX = 1_000_000
_USUAL = Capacity(orders=20, in_flight=37, marks=20)
"""What nearly every market maker needs; not powers of two, so that sets do not crowd the same lines of a cache."""
_AMPLE = Capacity(orders=250, in_flight=1001, marks=1000)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result whose columns were not brought home; `sha256` is the digest of the whole."""

    summary: RunSummary
    reproducibility: dict[str, Any]
    sha256: str

    @classmethod
    def of(cls, result: RunResult) -> Outcome:
        """Return what is left of a result without its columns."""
        return cls(result.summary, result.reproducibility, result.digest())

    def digest(self) -> str:
        """Return the digest, as `RunResult.digest` does."""
        return self.sha256


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished run of a sweep; `number` is its place among the configurations."""

    number: int
    result: RunResult | Outcome


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far a sweep is: finished runs, all runs, and seconds passed and left (None before the first chunk is done)."""

    done: int
    total: int
    elapsed_s: float
    left_s: float | None


class CanceledError(Exception):
    """The sweep was closed by its reader."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Runs that share a pass: their places among all configurations, what they do, and their strategies, by set."""

    numbers: Sequence[int]
    configs: Sequence[RunConfig]
    strategies: Sequence[PreparedStrategy]


class ChunkPool(Protocol):
    """Where chunks run."""

    def run(self, chunks: Sequence[Chunk], feed: Feed) -> Generator[list[Trial], None, None]:
        """Yield the trials of each chunk as it is done, in any order; closing the generator ends what still runs."""


def grid(base: RunConfig, values: Mapping[str, Sequence[object]]) -> list[RunConfig]:
    """Return one configuration for each combination of parameter values, the last name varying fastest.

    Raises
    ------
    InvalidRequest
        A name without values, or more than a million combinations.
    """
    count = 1
    for name, choices in values.items():
        count *= len(choices)
        if not 0 < count <= TRIALS_MAX:
            raise InvalidRequest.of(
                f"grid.{name}", len(choices), f"one value or more, {TRIALS_MAX} combinations at most"
            )
    return [
        replace(base, parameters={**base.parameters, **dict(zip(values, combination, strict=True))})
        for combination in itertools.product(*values.values())
    ]


def trial_key(config: RunConfig, feed: Feed) -> str:
    """Return what a run depends on, hashed: runs of one key have one result; a sweep that goes on skips known keys."""
    strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
    pair = config.instrument
    conditions = None if config.market_conditions is None else config.market_conditions.to_json()
    known = [
        feed.data_hash, config.strategy_kind, dict(strategy.values), config.start_ts, config.end_ts,
        config.entry_latency_ns, config.response_latency_ns, str(config.balance), config.fill_model.value,
        config.sample_interval_ns, config.seed, conditions, pair.venue, pair.symbol, str(pair.tick_size),
        str(pair.lot_size), str(pair.maker_fee), str(pair.taker_fee), pair.contract_type.value,
        config.execution.to_json(), None if config.funding is None else config.funding.digest(), config.band,
    ]  # fmt: skip
    # Not there without limits: known trials stay known.
    known += [limits_json(config.limits)] if config.limits else []
    known += [] if pair.contract_multiplier == 1 else [str(pair.contract_multiplier)]
    # Nor of shipped strategies; one's own may have another text today under the same name.
    text = strategy.kind.source_hash()
    known += [] if text is None else [text]
    # Fees that are named carry what they are rounded by; trials of before they did are others.
    known += ["carried"] if config.execution.fees is not None else []
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def sweep(
    configs: Sequence[RunConfig],
    feed: Feed,
    progress: Callable[[SweepProgress], None] | None = None,
    *,
    known: Collection[str] = (),
    strategies: Sequence[PreparedStrategy] | None = None,
    threads: int | None = None,
    chunk: int = CHUNK,
    pool: ChunkPool | None = None,
) -> Iterator[Trial]:
    """Run every configuration over `feed` and yield each result as its chunk is done.

    Parameters
    ----------
    configs : any parameters, latencies, funds, fill models and intervals; runs that agree in pair, range, sampling clock,
        conditions and kind of strategy share passes
    progress : called after each chunk
    known : keys (`trial_key`) of trials that exist already; they are left out
    strategies : prepared ones, one for each configuration; None: found by name
    threads : None: one for each processor
    chunk : sets that share a pass
    pool : where chunks run; None: on `threads` of this process

    Raises
    ------
    InvalidRequest, DataError
        As `engine.run`; the chunks that are done have been yielded.
    """
    if strategies is None:
        strategies = [find_strategy(config.strategy_kind).prepare(config.parameters) for config in configs]
    numbers = [number for number, config in enumerate(configs) if not known or trial_key(config, feed) not in known]
    chunks = list(_chunks(numbers, configs, strategies, chunk, threads or os.cpu_count() or 1))
    started, done = time.perf_counter(), 0
    if not chunks:
        return
    parts = (pool or Threads(threads)).run(chunks, feed)
    try:
        for trials in parts:
            done += len(trials)
            if progress is not None:
                elapsed = time.perf_counter() - started
                progress(SweepProgress(done, len(numbers), elapsed, elapsed * (len(numbers) - done) / done))
            yield from trials
    finally:
        parts.close()


class Threads:
    """Threads of this process, over one copy of the rows.

    Parameters
    ----------
    threads : None: one for each processor
    stop : once set, what runs ends with CanceledError; from any thread
    """

    def __init__(self, threads: int | None = None, stop: Stop | None = None) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._stop = stop

    def run(self, chunks: Sequence[Chunk], feed: Feed) -> Generator[list[Trial], None, None]:
        """Yield the trials of each chunk as it is done."""
        prepare_feed(chunks, feed)
        threads = min(len(chunks), self._threads)
        with ThreadPoolExecutor(threads) as pool:
            stop = self._stop or Stop()
            waiting: dict[Future[list[Trial]], Chunk] = {}
            ahead = iter(chunks)
            try:
                while True:
                    # Few in advance: results that nobody has taken yet are memory.
                    for part in itertools.islice(ahead, threads + 1 - len(waiting)):
                        waiting[pool.submit(run_chunk, part, feed, stop.of(part))] = part
                    if not waiting:
                        return
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        trials = future.result()
                        stop.forget(waiting.pop(future))
                        yield trials
            finally:
                stop.set()
                for future in waiting:
                    future.cancel()


class Stop:
    """Tells running chunks that nobody waits for them any more, and knows how far they are.

    Parameters
    ----------
    note : called by the threads with `under_way`, now and then
    """

    def __init__(self, note: Callable[[float], None] | None = None) -> None:
        self._event = Event()
        self._note = note
        self._shares: dict[int, float] = {}

    @property
    def under_way(self) -> float:
        """How many sets the parts of their passes that are done would be."""
        return math.fsum(self._shares.copy().values())

    def of(self, chunk: Chunk) -> Callable[[RunProgress], None]:
        """Return what a chunk tells its progress to."""

        def look(progress: RunProgress) -> None:
            self(progress)
            share = progress.events_done / progress.events_total if progress.events_total else 0.0
            # A pass that begins anew, with room for more orders, does not go back.
            before = self._shares.get(id(chunk), 0.0)
            self._shares[id(chunk)] = max(before, len(chunk.numbers) * min(share, 1.0))
            if self._note is not None:
                self._note(self.under_way)

        return look

    def forget(self, chunk: Chunk) -> None:
        """Take a chunk for done: its sets are counted elsewhere from now on."""
        self._shares.pop(id(chunk), None)

    def set(self) -> None:
        """End what runs, at its next slice."""
        self._event.set()

    def __call__(self, _: RunProgress) -> None:
        """Raise CanceledError once set."""
        if self._event.is_set():
            raise CanceledError


def prepare_feed(chunks: Sequence[Chunk], feed: Feed) -> None:
    """Find what chunks share of a feed, once, before threads wait for one another."""
    if all(config.market_conditions is None for chunk in chunks for config in chunk.configs):
        Quotes(feed)


def _chunks(
    numbers: Sequence[int],
    configs: Sequence[RunConfig],
    strategies: Sequence[PreparedStrategy],
    size: int,
    processors: int,
) -> Iterator[Chunk]:
    """Yield runs that may share a pass; sets that wake at the same instants stand next to each other."""
    groups: dict[object, list[int]] = {}
    for number in numbers:
        config = configs[number]
        same = (
            config.instrument, config.strategy_kind, config.start_ts, config.end_ts, config.sample_interval_ns,
            repr(config.market_conditions), repr(config.execution.latency), repr(config.execution.fees), config.execution.funding,
            config.records_orders,
        )  # fmt: skip
        groups.setdefault(same, []).append(number)
    for group in groups.values():
        ordered = sorted(group, key=lambda number: strategies[number].interval_ns)
        # Equal parts, so that no thread is left with a small rest that costs as much of a pass as a full one.
        parts = max(-(-len(ordered) // max(1, size)), min(processors, len(ordered) // CHUNK_LEAST))
        for part in range(parts):
            chosen = ordered[part * len(ordered) // parts : (part + 1) * len(ordered) // parts]
            yield Chunk(chosen, [configs[number] for number in chosen], [strategies[number] for number in chosen])


def run_chunk(chunk: Chunk, feed: Feed, progress: Callable[[RunProgress], None]) -> list[Trial]:
    """Run a chunk in one pass; an exception that `progress` raises, now and then, ends it.

    Raises
    ------
    InvalidRequest, DataError
        As `engine.run`; of several sets at fault, the first is named.
    """
    for capacity in (_USUAL, _AMPLE):
        try:
            results = run_sets(
                chunk.configs, feed, chunk.strategies, progress, capacity, slices=1 + feed.events // SLICE_EVENTS
            )
        except OutgrownError:
            continue
        except InvalidRequest:
            break  # One set is at fault: alone, it is named with its own time.
        return [Trial(number, result) for number, result in zip(chunk.numbers, results, strict=True)]
    return [
        Trial(number, run(config, feed, strategy, progress))
        for number, config, strategy in zip(chunk.numbers, chunk.configs, chunk.strategies, strict=True)
    ]
