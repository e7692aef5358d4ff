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
from market_maker.backtest.execution import LEVERAGE_MAX
from market_maker.backtest.faults import failure, refusal
from market_maker.backtest.fee_models import Contract, FeeState, per_value
from market_maker.backtest.fee_models.funding import Funding
from market_maker.backtest.guard import write_limits
from market_maker.backtest.ladder.kernel import MID
from market_maker.backtest.latency_models import LatencyState, carry
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.quotes import Quotes
from market_maker.backtest.state import (
    CHANCE_SCALE,
    FILL_DTYPE,
    FOREVER,
    LOG_DTYPE,
    SAMPLE_DTYPE,
    Code,
    Stretch,
    new_state,
    no_stretch,
    wake_sets_every,
)
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument
from market_maker.market_data.replay import TRADE_ROW, Feed
from market_maker.risk.limits import Limit
from market_maker.strategies.actions import WAKE_BOOK, WAKE_TIMER, WAKE_TRADE, Records, View

_OF_SET = (
    "balance_tick_lots", "partial_fill", "queue_model", "leverage", "cash_account", "seed", "chance_e9", "impact_e9",
    "impact_half_life_ns",
)  # fmt: skip
VIEW_NUMBERS = 14
PAUSE_ROWS = 1 << 18
"""After so many rows a replay pauses to let go of the memory in which it has seen them: 14 to 22 MB of a recorded day."""
_NO_ENTRIES = np.zeros(0, LOG_DTYPE)
_NO_FILLS = np.zeros((len(FILL_DTYPE.names or ()), 0), np.int64)


@dataclass(frozen=True, slots=True)
class SetOfRun:
    """What one set of a drive has of its own.

    Parameters
    ----------
    balance_tick_lots : funds at the start
    latency : of requests and answers; recorded ones and the window of load are the same for all sets of a drive
    partial_fill : whether fills are bounded by displayed or traded quantity
    params, memory_size : the strategy's parameters and how many numbers it keeps
    interval_ns : time between wake-ups
    queue_model, queue_n : see `queue_models`; n as `parameter_of` gives it
    fees : see `fee_models`; None: the instrument's rates
    leverage : exposure that a unit of funds carries
    cash_account : sells only what it has
    seed, chance_e9 : how likely a counterparty is there, in 1e-9, and what the draws depend on
    impact_e9, impact_half_life_ns : relative move of the market when an order is wholly executed, in 1e-9, and in what time
        half of it is gone again (0: never). A set whose orders move the market has a drive of its own
    limits : what stands before its orders, see `guard`
    """

    balance_tick_lots: int
    latency: LatencyState
    partial_fill: bool
    params: NDArray[np.float64] | None = None
    memory_size: int = 1
    interval_ns: int = FOREVER
    queue_model: QueueModel = QueueModel.RISK_AVERSE
    queue_n: float = 0.0
    fees: FeeState | None = None
    leverage: int = 1
    cash_account: bool = False
    seed: int = 0
    chance_e9: int = CHANCE_SCALE
    impact_e9: int = 0
    impact_half_life_ns: int = 0
    limits: tuple[Limit, ...] = ()


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
    strategy : None for a session driven from outside
    is_compiled : whether the strategy is; a plain one is called here, between two stretches of compiled time
    wakes_on : what wakes it, a sum of WAKE_*
    name : what errors call the strategy
    capacity : memory of each set
    funding : funding instants of the instrument
    logs : 0: no log, 1: of all orders, 2: the story of the order `explained_id`
    """

    def __init__(
        self,
        feed: Feed,
        instrument: Instrument,
        sets: Sequence[SetOfRun],
        *,
        depth_levels: int = 0,
        strategy: Callable[..., None] | None = None,
        is_compiled: bool = True,
        wakes_on: int = WAKE_TIMER,
        name: str = "session",
        capacity: Capacity | None = None,
        funding: Funding | None = None,
        logs: int = 0,
        explained_id: int = 0,
    ) -> None:
        for own in sets:
            _check(own)
        assert len(sets) == 1 or not any(own.impact_e9 for own in sets), "orders that move the market share no pass"
        self.kernel: Kernel = compiled_kernel()
        self.sets = tuple(sets)
        self._quotes = quotes = Quotes(feed)
        room = capacity or Capacity()
        self._bounded = capacity is not None
        contract = Contract.of(instrument)
        fees = [own.fees or per_value(contract, instrument.maker_fee, instrument.taker_fee) for own in sets]
        self.state = new_state(
            exchange=quotes.exchange_ladder,
            local=quotes.local_ladder,
            depth_levels=depth_levels,
            sets=len(sets),
            orders=room.orders,
            in_flight=room.in_flight,
            marks=room.marks,
            latency=sets[0].latency,
            fee_shape=(max(len(fee.tiers) for fee in fees), max(len(fee.volumes) for fee in fees)),
            funding=None if funding is None else (funding.ts, funding.per_lot_e8),
            logs=logs,
            limited=any(own.limits for own in sets),
        )
        self.sealed = self.kernel.seal(self.state)
        self.heads = self.state.head
        for field in _OF_SET:
            self.heads[field] = [int(getattr(own, field)) for own in sets]
        self.state.queue_n[:] = [own.queue_n for own in sets]
        for k, (own, fee) in enumerate(zip(sets, fees, strict=True)):
            self.state.latency[k] = own.latency.head[0]
            self.state.fees[k] = fee.head[0]
            self.state.fee_tiers[k, :, 0] = FOREVER  # A tier that no volume reaches.
            self.state.fee_tiers[k, : len(fee.tiers)] = fee.tiers
            self.state.fee_volumes[k, : len(fee.volumes)] = fee.volumes
        for row, own in zip(self.state.limits, sets, strict=False):  # Without any limits there are no rows.
            write_limits(row, own.limits, instrument)
        self._clock = self.state.clock[0]
        self._clock["clock_ts"] = feed.first_ts
        self.feed = feed
        self.name = name
        self._by_hand = None if is_compiled else strategy
        self._strategy = strategy if strategy is not None and is_compiled else self.kernel.idle
        self._wakes_on = wakes_on
        self._clock["hands_over"] = int(not is_compiled)
        self._clock["explained_id"] = explained_id
        self._numbers = np.zeros(VIEW_NUMBERS, np.int64)
        nothing = np.zeros(1)
        self._params = np.array([nothing if own.params is None else own.params for own in sets], np.float64)
        self._memory = np.zeros((len(sets), max(own.memory_size for own in sets)))
        self._exchange, self._local = _Stream(quotes.exchange()), _Stream(quotes.local(), wakes_on)
        self._held_from = 0
        self._fills: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._samples: list[NDArray[np.int64]] = []
        self._log: list[tuple[Records, NDArray[np.int64]]] = []

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
        """Wake the strategy of each set at after_ts + j x interval, j >= 1, and from now on for whatever else wakes it."""
        self._clock["wakes_on"] = self._wakes_on
        self._clock["local_event"] = np.searchsorted(self._local.stretch.wakes, self._clock["local_row"])
        if not self._wakes_on & WAKE_TIMER:
            return
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
        pause = None
        while pause != ts:
            pause = min(ts, self._local.pause(int(self._clock["local_row"])))
            while self._run(pause) == Code.AWAKE:
                self._wake_by_hand()
            self._let_go()

    def run_to_wake(self, ts: int) -> int:
        """Process everything up to `ts` inclusive, or up to the first instant that wakes; return why (WAKE_*), 0 without.

        For drives whose caller wakes: `is_compiled` is False and there is no strategy. Raises as `run_until`.
        """
        code = self._run(ts)
        self._let_go()
        return int(self.state.reasons[0]) if code == Code.AWAKE else 0

    def _let_go(self) -> None:
        """Let go of the memory of rows that the receiver has seen, many at a time; the venue has seen them before."""
        row = int(self._clock["local_row"])
        self._held_from = self._held_from if self._held_from <= row else 0  # of another stretch
        if row - self._held_from >= PAUSE_ROWS:
            self._quotes.release(self._local.number, row)
            self._held_from = row

    def _run(self, ts: int) -> Code:
        """Go on to `ts` (REACHED), or to where the caller is to wake (AWAKE)."""
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
            except (Exception, SystemExit) as error:
                raise failure(error, self.name, self._now(), int(self.state.reasons.max())) from error
            if code in {Code.REACHED, Code.AWAKE}:
                return code
            if code == Code.NEEDS_EXCHANGE_ROWS:
                carry(self.state.load, self.state.carried, exchange.stretch.ts)
                exchange.next()
                self._clock["exchange_row"] = self._clock["exchange_special"] = 0
            elif code == Code.NEEDS_LOCAL_ROWS:
                local.next()
                self._clock["local_row"] = self._clock["local_special"] = 0
                self._clock["local_trade"] = self._clock["local_event"] = 0
            elif code == Code.BUFFERS_FULL:
                self.drain()
            else:
                self._refuse(code)

    def _refuse(self, code: Code) -> None:
        if self._bounded and code not in {Code.INVALID_ORDER, Code.ENDLESS}:
            raise OutgrownError(code.name)
        raise refusal(code, self.name, self._now(), self.state.actions, int(self.state.reasons.max()))

    def _wake_by_hand(self) -> None:
        """Call a plain strategy for every set that has a reason."""
        strategy = self._by_hand
        for k in np.flatnonzero(self.state.reasons).tolist():
            view = self.look(k)
            try:
                if strategy is not None:
                    strategy(view, self._params[k], self._memory[k], self.state.actions)
            except (Exception, SystemExit) as error:
                raise failure(error, self.name, self._now(), view.wake_reason) from error
            code = Code(self.kernel.obey(self.sealed, k))
            if code != Code.REACHED:
                self._refuse(code)

    def look(self, k: int) -> View:
        """Return what the strategy of a set that wakes sees; its arrays are the drive's and change with time."""
        self.kernel.look(self.sealed, k, self._numbers)
        state = self.state
        orders = state.view_orders[: int(state.head[k]["open_count"])]
        return View._make([*self._numbers.tolist(), state.view_bids, state.view_asks, orders, state.view_instruments])

    def next_answer_ts(self) -> int:
        """Return when the first answer that is on its way arrives, FOREVER without one; of the first set."""
        head = self.heads[0]
        if not head["response_count"]:
            return FOREVER
        return int(self.state.responses[0, head["response_first"]]["arrival_ts"])

    def next_market_wake(self) -> tuple[int, int]:
        """Return the time of the next row that wakes, and why (WAKE_*); 0 where it is only known that none comes before."""
        stretch, row = self._local.stretch, int(self._clock["local_row"])
        at = int(np.searchsorted(stretch.wakes, row))
        first = int(stretch.wakes[at])
        if first >= len(stretch.ts):
            return (FOREVER if self._local.is_last or not len(stretch.ts) else int(stretch.ts[-1])), 0
        ts, reason = int(stretch.ts[first]), 0
        while stretch.wakes[at] < len(stretch.ts) and stretch.ts[stretch.wakes[at]] == ts:
            reason |= WAKE_TRADE if abs(int(stretch.code[stretch.wakes[at]])) == TRADE_ROW else WAKE_BOOK
            at += 1
        return ts, reason

    def finish(self) -> None:
        """Let what is still in flight arrive after the last row; the strategy is woken no more."""
        self._clock["wake_count"] = self._clock["wakes_on"] = 0
        self._clock["ended"] = 1
        for name in ("next_answer_ts", "next_expiry_ts", "next_funding_ts"):
            self._clock[name] = FOREVER
        self.run_until(max(self.now_ts, self.feed.last_ts))
        while (self.heads["request_count"] + self.heads["response_count"]).any():
            arrivals = [self.state.latency[name].max() for name in ("last_entry_ts", "last_response_ts")]
            self.run_until(max(self.now_ts, int(max(arrivals))))

    def drain(self) -> None:
        """Move fills and samples out of the kernel's buffers."""
        fills, samples = int(self._clock["fill_count"]), int(self._clock["sample_count"])
        # As plain tables: NumPy moves records one by one.
        if fills:
            self._fills.append((_table(self.state.fills[:fills]).copy(), self.state.fill_sets[:fills].copy()))
        if samples:
            self._samples.append(_table(self.state.samples[:samples]).copy())
        entries = int(self._clock["log_count"])
        if entries:
            self._log.append((self.state.log[:entries].copy(), self.state.log_sets[:entries].copy()))
        for name in ("fill_count", "sample_count", "log_count"):
            self._clock[name] = 0

    def fills(self) -> list[dict[str, NDArray[np.int64]]]:
        """Return all fills so far of each set, by column of FILL_DTYPE; they are parts of one table."""
        self.drain()
        names, sets = FILL_DTYPE.names or (), len(self.sets)
        sizes = np.zeros(sets, np.int64)
        for _, numbers in self._fills:
            sizes += np.bincount(numbers, minlength=sets)
        starts = np.cumsum(sizes) - sizes
        places, columns = starts.copy(), np.empty((len(names), int(sizes.sum())), np.int64)
        for table, numbers in self._fills:
            self.kernel.sort_fills(table, numbers, places, columns)
        ends = zip(starts.tolist(), (starts + sizes).tolist(), strict=True)
        return [dict(zip(names, columns[:, start:end], strict=True)) for start, end in ends]

    def samples(self) -> list[dict[str, NDArray[np.int64]]]:
        """Return all samples so far of each set, by column of SAMPLE_DTYPE."""
        self.drain()
        names, done = SAMPLE_DTYPE.names or (), 0
        columns = np.empty((len(self.sets), len(names), sum(map(len, self._samples))), np.int64)
        for table in self._samples:
            columns[:, :, done : done + len(table)] = table.transpose(1, 2, 0)
            done += len(table)
        return [dict(zip(names, own, strict=True)) for own in columns]

    def log(self, k: int = 0) -> Records:
        """Return all entries of the log so far of a set, LOG_DTYPE."""
        self.drain()
        parts = [entries[numbers == k] for entries, numbers in self._log]
        return np.concatenate([np.zeros(0, LOG_DTYPE), *parts])

    def take_story(self) -> tuple[Records, NDArray[np.int64]]:
        """Return the entries of the log and the fills, FILL_DTYPE as a plain (columns, n) table, since the last call; of one set."""
        if not (self._clock["log_count"] or self._clock["fill_count"] or self._log or self._fills):
            return _NO_ENTRIES, _NO_FILLS
        self.drain()
        entries = [entry for entry, _ in self._log]
        fills = [np.ascontiguousarray(table.T) for table, _ in self._fills]
        self._log, self._fills = [], []
        return np.concatenate([_NO_ENTRIES, *entries]), np.concatenate([_NO_FILLS, *fills], axis=1)

    @property
    def place(self) -> tuple[int, int]:
        """Which stretch of each stream is being read, counted from 0; with the clock and the state this is all of a replay."""
        return self._exchange.number, self._local.number

    def go_to(self, place: tuple[int, int]) -> None:
        """Bring a drive that has not begun to the stretches of another one over the same feed, whose state it is given."""
        for stream, number in zip((self._exchange, self._local), place, strict=True):
            while stream.number < number and not stream.is_last:
                stream.next()

    def seen(self) -> tuple[int, int]:
        """Return how many rows the receiver has seen, and how many of them changed a best price.

        The latter only of drives that wake on the book and on trades.
        """
        return self._local.seen(int(self._clock["local_row"]))

    def mid_half_ticks(self) -> int:
        """Return the venue's mid in half ticks; the last known one while a side is empty."""
        return int(self.state.exchange.extent[MID])

    def _now(self) -> str:
        return f"clock {self.now_ts} ns"


def _table(records: Records) -> NDArray[np.int64]:
    """Return records of int64 fields as they are, their fields along one more axis."""
    return records.view(np.int64).reshape(*records.shape, -1)


def _check(own: SetOfRun) -> None:
    if not 0 <= own.balance_tick_lots <= MAX_TICK_LOTS // 4:
        raise InvalidRequest.of("balance", own.balance_tick_lots, f"0 to {MAX_TICK_LOTS // 4} tick-lots of the pair")
    if not 1 <= own.leverage <= LEVERAGE_MAX:
        raise InvalidRequest.of("leverage", own.leverage, f"a whole number from 1 to {LEVERAGE_MAX}")
    if not 0 <= own.chance_e9 <= CHANCE_SCALE:
        raise InvalidRequest.of("execution_probability", own.chance_e9 / CHANCE_SCALE, "0 to 1")


class _Stream:
    """The stretches of one stream, one at a time."""

    def __init__(self, stretches: Iterator[Stretch], wakes_on: int = 0) -> None:
        self._stretches = stretches
        self._wakes_on = wakes_on
        self._last_quotes: NDArray[np.int64] | None = None
        self.stretch = no_stretch()
        self.number = -1
        self._passed_rows = self._passed_wakes = self._passed_trades = 0
        self._following = next(self._stretches, None)
        self.next()

    @property
    def is_last(self) -> bool:
        return self._following is None

    def next(self) -> None:
        if self._following is None:
            return
        self._passed_rows += len(self.stretch.ts)
        self._passed_wakes += len(self.stretch.wakes) - 1
        self._passed_trades += len(self.stretch.trades) - 1
        self.stretch = self._following
        self.number += 1
        self._following = next(self._stretches, None)
        if self._wakes_on & (WAKE_BOOK | WAKE_TRADE):
            self.stretch = self.stretch._replace(wakes=self._wakes(self.stretch))

    def pause(self, row: int) -> int:
        """Return the time of a row some way after one of the present stretch, or of its last one; FOREVER at the very end."""
        ts = self.stretch.ts
        if row + PAUSE_ROWS < len(ts):
            return int(ts[row + PAUSE_ROWS])
        return FOREVER if self.is_last or not len(ts) else int(ts[-1])

    def seen(self, row: int) -> tuple[int, int]:
        """Return how many rows there are before a row of the present stretch, and how many of them changed a best price.

        The latter is known of streams that look for what wakes.
        """
        stretch = self.stretch
        wakes = self._passed_wakes + int(np.searchsorted(stretch.wakes, row))
        trades = self._passed_trades + int(np.searchsorted(stretch.trades, row))
        return self._passed_rows + row, wakes - trades

    def _wakes(self, stretch: Stretch) -> NDArray[np.int64]:
        """Return the rows that wake: trades, and those after which a best price is another one."""
        wakes = np.zeros(len(stretch.ts), np.bool_)
        if len(wakes) and self._wakes_on & WAKE_BOOK:
            before = stretch.quotes[:1] * 0 if self._last_quotes is None else self._last_quotes
            quotes = np.maximum(stretch.quotes, 0)
            wakes |= (np.diff(quotes, axis=0, prepend=before) != 0).any(axis=1)
            self._last_quotes = quotes[-1:]
        if self._wakes_on & WAKE_TRADE:
            wakes[stretch.trades[:-1]] = True
        return np.append(np.flatnonzero(wakes), FOREVER).astype(np.int64)
