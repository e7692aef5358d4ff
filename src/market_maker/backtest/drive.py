"""Feeds a replay: hands the kernel its rows stretch by stretch and empties its buffers.

Shared by a whole run (`engine`) and an interactive session (`session`). Translates the kernel's codes into errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.compiled import Kernel, compiled_kernel
from market_maker.backtest.state import FILL_DTYPE, FOREVER, ORDERS_MAX, SAMPLE_DTYPE, Code, new_state
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument
from market_maker.market_data.replay import Feed, Rows, no_rows
from market_maker.strategies.actions import Records


class Drive:
    """One replay in progress.

    Parameters
    ----------
    feed, instrument : the recorded market and its units
    balance_tick_lots : funds at the start
    entry_latency_ns, response_latency_ns : one-way latencies, >= 0
    strategy, params, memory : the compiled strategy and its arrays; None for a session driven from outside
    name : what errors call the strategy
    """

    def __init__(
        self,
        feed: Feed,
        instrument: Instrument,
        *,
        balance_tick_lots: int,
        entry_latency_ns: int,
        response_latency_ns: int,
        partial_fill: bool,
        depth_levels: int = 0,
        strategy: Callable[..., None] | None = None,
        params: NDArray[np.float64] | None = None,
        memory: NDArray[np.float64] | None = None,
        name: str = "session",
    ) -> None:
        if not 0 <= balance_tick_lots <= MAX_TICK_LOTS // 4:
            raise InvalidRequest.of("balance", balance_tick_lots, f"0 to {MAX_TICK_LOTS // 4} tick-lots of the pair")
        for field, value in (("entry_latency_ns", entry_latency_ns), ("response_latency_ns", response_latency_ns)):
            if not 0 <= value < 86_400 * 10**9:
                raise InvalidRequest.of(field, value, "0 ns to one day")
        self.kernel: Kernel = compiled_kernel()
        first_page, pages, pool = feed.pages
        self.state = new_state(
            first_page=first_page, pages=pages, pool=pool, depth_levels=depth_levels, partial_fill=partial_fill
        )
        self.sealed = self.kernel.seal(self.state)
        self.head = self.state.head[0]
        self.head["balance_tick_lots"] = balance_tick_lots
        self.head["entry_latency_ns"] = entry_latency_ns
        self.head["response_latency_ns"] = response_latency_ns
        self.head["maker_fee_e8"] = instrument.maker_fee_e8
        self.head["taker_fee_e8"] = instrument.taker_fee_e8
        self.head["clock_ts"] = feed.first_ts
        self.feed = feed
        self.name = name
        self._strategy = strategy or self.kernel.idle
        self._params = np.zeros(1) if params is None else params
        self._memory = np.zeros(1) if memory is None else memory
        self._exchange, self._local = _Stream(feed.exchange()), _Stream(feed.local())
        self._fills: list[Records] = []
        self._samples: list[Records] = []

    @property
    def events_done(self) -> int:
        """Rows that the venue has applied."""
        return int(self.head["events"])

    def wake_every(self, interval_ns: int, *, after_ts: int) -> None:
        """Wake the strategy at after_ts + k x interval, k >= 1."""
        self.head["wake_interval_ns"] = interval_ns
        self.head["next_wake_ts"] = after_ts + interval_ns

    def sample_every(self, interval_ns: int, *, after_ts: int, end_ts: int) -> None:
        """Sample the ledger at after_ts + k x interval, k >= 0, up to end_ts."""
        self.head["sample_interval_ns"] = interval_ns
        self.head["next_sample_ts"] = after_ts if after_ts <= end_ts else FOREVER
        self.head["sample_end_ts"] = end_ts

    def run_until(self, ts: int) -> None:
        """Process everything up to `ts` inclusive.

        Raises
        ------
        InvalidRequest
            The strategy failed or asked for something impossible; the message names it and the time.
        """
        while True:
            try:
                code = Code(
                    self.kernel.advance(
                        self.sealed,
                        self._exchange.rows,
                        self._exchange.is_last,
                        self._local.rows,
                        self._local.is_last,
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
                self._exchange.next()
                self.head["exchange_row"] = 0
            elif code == Code.NEEDS_LOCAL_ROWS:
                self._local.next()
                self.head["local_row"] = 0
            elif code == Code.BUFFERS_FULL:
                self.drain()
            else:
                raise refusal(code, self.name, self._now())

    def finish(self) -> None:
        """Let what is still in flight arrive after the last row; the strategy is woken no more."""
        self.head["next_wake_ts"] = FOREVER
        latency = int(self.head["entry_latency_ns"]) + int(self.head["response_latency_ns"])
        self.run_until(max(int(self.head["clock_ts"]), self.feed.last_ts) + latency)

    def drain(self) -> None:
        """Move fills and samples out of the kernel's buffers."""
        fills, samples = int(self.head["fill_count"]), int(self.head["sample_count"])
        self._fills.append(self.state.fills[:fills].copy())
        self._samples.append(self.state.samples[:samples].copy())
        self.head["fill_count"] = 0
        self.head["sample_count"] = 0

    def fills(self) -> Records:
        """Return all fills so far, FILL_DTYPE."""
        self.drain()
        return np.concatenate([np.zeros(0, FILL_DTYPE), *self._fills])

    def samples(self) -> Records:
        """Return all samples so far, SAMPLE_DTYPE."""
        self.drain()
        return np.concatenate([np.zeros(0, SAMPLE_DTYPE), *self._samples])

    def mid_half_ticks(self) -> int:
        """Return the venue's mid in half ticks; the last known one while a side is empty."""
        bid, ask = (int(value) for value in self.state.exchange.best)
        return bid + ask if bid and ask else int(self.state.exchange.extent[3])

    def _now(self) -> str:
        return f"clock {int(self.head['clock_ts'])} ns"


class _Stream:
    def __init__(self, parts: Iterator[Rows]) -> None:
        self._parts = list(parts)
        self.rows = self._parts.pop(0) if self._parts else no_rows()

    @property
    def is_last(self) -> bool:
        return not self._parts

    def next(self) -> None:
        self.rows = self._parts.pop(0)


def refusal(code: Code, name: str, when: str) -> InvalidRequest:
    """Return the error that a code of the kernel stands for."""
    texts: dict[Any, str] = {
        Code.TOO_MANY_ORDERS: f"more than {ORDERS_MAX} own orders open or in flight; cancel some first",
        Code.TOO_MANY_IN_FLIGHT: "more messages in flight than are kept; lower the latency or the order rate",
        Code.INVALID_ORDER: "an order with a side other than +1/-1, a price or quantity out of range, a time in force "
        "other than GTC or IOC, or post-only on an order that may not rest",
    }
    return InvalidRequest(f"{name} at {when}: {texts[code]}")
