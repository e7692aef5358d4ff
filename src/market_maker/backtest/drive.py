"""Feeds replays: hands the kernel its rows stretch by stretch and empties its buffers.

Shared by a whole run (`engine`), a sweep (`sweep`) and an interactive session (`session`). Translates the kernel's codes
into errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.compiled import Kernel, compiled_kernel
from market_maker.backtest.ladder.kernel import MID
from market_maker.backtest.quotes import Quotes
from market_maker.backtest.state import (
    FILL_DTYPE,
    FOREVER,
    ORDERS_MAX,
    SAMPLE_DTYPE,
    Code,
    Stretch,
    new_state,
    no_stretch,
    wake_sets_every,
)
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument
from market_maker.market_data.replay import Feed
from market_maker.strategies.actions import Records


@dataclass(frozen=True, slots=True)
class SetOfRun:
    """What one set of a drive has of its own.

    Parameters
    ----------
    balance_tick_lots : funds at the start
    entry_latency_ns, response_latency_ns : one-way latencies, 0 to one day
    partial_fill : whether fills are bounded by displayed or traded quantity
    params, memory_size : the strategy's parameters and how many numbers it keeps
    interval_ns : time between wake-ups
    """

    balance_tick_lots: int
    entry_latency_ns: int
    response_latency_ns: int
    partial_fill: bool
    params: NDArray[np.float64] | None = None
    memory_size: int = 1
    interval_ns: int = FOREVER


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much each set may have at one time; None: what a single run may. More in a sweep costs memory."""

    orders: int | None = None
    in_flight: int | None = None
    marks: int | None = None


class OutgrownError(Exception):
    """A set needs more memory than the sets of this drive were given."""


class Drive:
    """One replay in progress, of one or many sets.

    Parameters
    ----------
    feed, instrument : the recorded market and its units
    sets : what differs; sets of one interval are woken together when they stand next to each other
    depth_levels : levels per side that the strategy looks at
    strategy : the compiled strategy; None for a session driven from outside
    name : what errors call the strategy
    capacity : memory of each set
    """

    def __init__(
        self,
        feed: Feed,
        instrument: Instrument,
        sets: Sequence[SetOfRun],
        *,
        depth_levels: int = 0,
        strategy: Callable[..., None] | None = None,
        name: str = "session",
        capacity: Capacity | None = None,
    ) -> None:
        for own in sets:
            _check(own)
        self.kernel: Kernel = compiled_kernel()
        self.sets = tuple(sets)
        quotes = Quotes(feed)
        room = capacity or Capacity()
        self._bounded = capacity is not None
        self.state = new_state(
            exchange=quotes.exchange_ladder,
            local=quotes.local_ladder,
            depth_levels=depth_levels,
            sets=len(sets),
            orders=room.orders,
            in_flight=room.in_flight,
            marks=room.marks,
        )
        self.sealed = self.kernel.seal(self.state)
        self.heads = self.state.head
        for name_of_field in ("balance_tick_lots", "entry_latency_ns", "response_latency_ns", "partial_fill"):
            self.heads[name_of_field] = [getattr(own, name_of_field) for own in sets]
        self.heads["maker_fee_e8"] = instrument.maker_fee_e8
        self.heads["taker_fee_e8"] = instrument.taker_fee_e8
        self._clock = self.state.clock[0]
        self._clock["clock_ts"] = feed.first_ts
        self.feed = feed
        self.name = name
        self._strategy = strategy or self.kernel.idle
        nothing = np.zeros(1)
        self._params = np.array([nothing if own.params is None else own.params for own in sets], np.float64)
        self._memory = np.zeros((len(sets), max(own.memory_size for own in sets)))
        self._exchange, self._local = _Stream(quotes.exchange()), _Stream(quotes.local())
        self._fills: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._samples: list[Records] = []

    @property
    def events_done(self) -> int:
        """Rows that the venue has applied."""
        return int(self._clock["events"])

    @property
    def now_ts(self) -> int:
        """The owner's clock."""
        return int(self._clock["clock_ts"])

    def head(self, k: int = 0) -> Any:
        """Return the record of a set: ledgers and counts."""
        return self.heads[k]

    def wake(self, *, after_ts: int) -> None:
        """Wake the strategy of each set at after_ts + j x interval, j >= 1."""
        wake_sets_every(self.state, [own.interval_ns for own in self.sets], after_ts=after_ts)

    def sample_every(self, interval_ns: int, *, after_ts: int, end_ts: int) -> None:
        """Sample the ledgers at after_ts + j x interval, j >= 0, up to end_ts."""
        self._clock["sample_interval_ns"] = interval_ns
        self._clock["next_sample_ts"] = after_ts if after_ts <= end_ts else FOREVER
        self._clock["sample_end_ts"] = end_ts

    def run_until(self, ts: int) -> None:
        """Process everything up to `ts` inclusive.

        Raises
        ------
        InvalidRequest
            The strategy failed or asked for something impossible; the message names it and the time.
        OutgrownError
            A set has more open, in flight or taken than its share of a drive with a `capacity`.
        """
        while True:
            exchange, local = self._exchange, self._local
            try:
                code = Code(
                    self.kernel.advance(
                        self.sealed,
                        exchange.stretch,
                        exchange.is_last,
                        local.stretch,
                        local.is_last,
                        self._strategy,
                        self._params,
                        self._memory,
                        ts,
                    )
                )
            except Exception as error:
                raise InvalidRequest(f"strategy {self.name} failed at {self._now()}: {error!r}") from error
            if code == Code.REACHED:
                return
            if code == Code.NEEDS_EXCHANGE_ROWS:
                exchange.next()
                self._clock["exchange_row"] = self._clock["exchange_special"] = 0
            elif code == Code.NEEDS_LOCAL_ROWS:
                local.next()
                self._clock["local_row"] = self._clock["local_special"] = self._clock["local_trade"] = 0
            elif code == Code.BUFFERS_FULL:
                self.drain()
            elif self._bounded and code != Code.INVALID_ORDER:
                raise OutgrownError(code.name)
            else:
                raise refusal(code, self.name, self._now())

    def finish(self) -> None:
        """Let what is still in flight arrive after the last row; the strategy is woken no more."""
        self._clock["wake_count"] = 0
        latency = int((self.heads["entry_latency_ns"] + self.heads["response_latency_ns"]).max())
        self.run_until(max(self.now_ts, self.feed.last_ts) + latency)

    def drain(self) -> None:
        """Move fills and samples out of the kernel's buffers."""
        fills, samples = int(self._clock["fill_count"]), int(self._clock["sample_count"])
        if fills:
            # As a plain table: NumPy moves records one by one.
            table, numbers = self.state.fills[:fills].view(np.int64).reshape(fills, -1), self.state.fill_sets[:fills]
            order = np.argsort(numbers.astype(np.int32), kind="stable")
            ends = np.cumsum(np.bincount(numbers, minlength=len(self.sets)))
            self._fills.append((np.ascontiguousarray(np.take(table, order, axis=0).T), ends))
        if samples:
            self._samples.append(self.state.samples[:samples].copy())
        self._clock["fill_count"] = 0
        self._clock["sample_count"] = 0

    def fill_columns(self) -> list[dict[str, NDArray[np.int64]]]:
        """Return all fills so far of each set, by column of FILL_DTYPE."""
        self.drain()
        names = FILL_DTYPE.names or ()
        found = []
        for k in range(len(self.sets)):
            parts = [table[:, ends[k - 1] if k else 0 : ends[k]] for table, ends in self._fills]
            whole = np.concatenate([np.zeros((len(names), 0), np.int64), *parts], axis=1)
            found.append(dict(zip(names, whole, strict=True)))
        return found

    def fills(self) -> Records:
        """Return all fills so far of the first set, FILL_DTYPE."""
        columns = self.fill_columns()[0]
        return np.rec.fromarrays(list(columns.values()), dtype=FILL_DTYPE)

    def samples(self) -> list[Records]:
        """Return all samples so far of each set, SAMPLE_DTYPE."""
        self.drain()
        samples = np.concatenate([np.zeros((0, len(self.sets)), SAMPLE_DTYPE), *self._samples])
        self._samples = [samples]
        return [np.ascontiguousarray(samples[:, k]) for k in range(len(self.sets))]

    def mid_half_ticks(self) -> int:
        """Return the venue's mid in half ticks; the last known one while a side is empty."""
        return int(self.state.exchange.extent[MID])

    def _now(self) -> str:
        return f"clock {self.now_ts} ns"


def _check(own: SetOfRun) -> None:
    if not 0 <= own.balance_tick_lots <= MAX_TICK_LOTS // 4:
        raise InvalidRequest.of("balance", own.balance_tick_lots, f"0 to {MAX_TICK_LOTS // 4} tick-lots of the pair")
    for field in ("entry_latency_ns", "response_latency_ns"):
        value = getattr(own, field)
        if not 0 <= value < 86_400 * 10**9:
            raise InvalidRequest.of(field, value, "0 ns to one day")


class _Stream:
    def __init__(self, stretches: Iterator[Stretch]) -> None:
        self._stretches = stretches
        self.stretch = no_stretch()
        self._following = next(self._stretches, None)
        self.next()

    @property
    def is_last(self) -> bool:
        return self._following is None

    def next(self) -> None:
        if self._following is not None:
            self.stretch = self._following
            self._following = next(self._stretches, None)


def refusal(code: Code, name: str, when: str) -> InvalidRequest:
    """Return the error that a code of the kernel stands for."""
    texts: dict[Any, str] = {
        Code.TOO_MANY_ORDERS: f"more than {ORDERS_MAX} own orders open or in flight; cancel some first",
        Code.TOO_MANY_IN_FLIGHT: "more messages in flight than are kept; lower the latency or the order rate",
        Code.TOO_MANY_MARKS: "own orders took from more levels than are remembered; trade fewer levels",
        Code.INVALID_ORDER: "an order with a side other than +1/-1, a price or quantity out of range, a time in force "
        "other than GTC or IOC, or post-only on an order that may not rest",
    }
    return InvalidRequest(f"{name} at {when}: {texts[code]}")
