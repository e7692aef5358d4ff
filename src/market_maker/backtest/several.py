"""One strategy on several instruments at once: a replay of each, in step, and one view over all of them.

Between two wake-ups the venues of different instruments know nothing of each other, so each replay runs on its own, in
compiled code; here is what brings them to the same instant and hands over to the strategy. Fills are decided by the same
kernel as in a run of one instrument, and with one instrument the result is that of `engine.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
import polars as pl

from market_maker.backtest.drive import Drive
from market_maker.backtest.engine import RunConfig, RunProgress, RunResult, check_config, open_drive, result_of
from market_maker.backtest.faults import failure, refusal
from market_maker.backtest.fee_models import Contract
from market_maker.backtest.state import FOREVER, Code
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.replay import Feed
from market_maker.performance.drawdown import max_drawdown
from market_maker.performance.returns import Sharpe, sharpe_ratio
from market_maker.strategies.actions import (
    AMEND,
    CANCEL,
    INSTRUMENT_DTYPE,
    WAKE_BOOK,
    WAKE_ORDER,
    WAKE_TIMER,
    WAKE_TRADE,
    View,
    new_actions,
)
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import PreparedStrategy

INSTRUMENTS_MAX = 16
_SHOWN = INSTRUMENT_DTYPE.names or ()
REPORT_EVERY = 1000
"""Wake-ups between two reports of progress."""


@dataclass(frozen=True, slots=True)
class SeveralResult:
    """What a run on several instruments yields; money in the currency that all of them settle in.

    Parameters
    ----------
    legs : the result of each instrument, in the order of the configurations
    equity : ts, and equity in whole `equity_unit` of all legs together, on the common sampling clock
    net_pnl, max_drawdown, sharpe : of all legs together
    """

    legs: tuple[RunResult, ...]
    equity: pl.DataFrame
    equity_unit: Decimal
    net_pnl: Decimal
    max_drawdown: Decimal
    sharpe: Sharpe


def run_several(
    configs: Sequence[RunConfig],
    feeds: Sequence[Feed],
    strategy: PreparedStrategy,
    progress: Callable[[RunProgress], None] | None = None,
) -> SeveralResult:
    """Replay several recorded markets through one strategy.

    Parameters
    ----------
    configs, feeds : one for each instrument; range and sampling clock are the same, the first instrument is number 0
    progress : called now and then; an exception it raises ends the run and is passed on

    Raises
    ------
    InvalidRequest
        Settings that do not go together, instruments that settle in different currencies, wake-ups on own orders without
        a response latency, or a strategy that failed.
    DataError
        A feed without events in the range.
    """
    _check(configs, feeds, strategy)
    legs = [_Leg(config, feed, strategy, j) for j, (config, feed) in enumerate(zip(configs, feeds, strict=True))]
    first = configs[0]
    begin = max(first.start_ts, *(feed.first_ts for feed in feeds))
    last = min(first.end_ts - 1, max(feed.last_ts for feed in feeds))
    for leg in legs:
        leg.drive.run_until(begin - 1)
        leg.drive.sample_every(first.sample_interval_ns, after_ts=begin, end_ts=last)
    _Conductor(legs, strategy).run(begin, last, progress)
    for leg in legs:
        leg.drive.run_until(last)
        if last >= leg.drive.feed.last_ts:
            leg.drive.finish()
    results = tuple(
        result_of(
            leg.config,
            leg.drive.feed,
            strategy,
            leg.drive,
            0,
            leg.drive.samples()[0],
            leg.drive.fills()[0],
            None,
        )
        for leg in legs
    )
    return _together(configs, results)


class _Leg:
    """The replay of one instrument."""

    def __init__(self, config: RunConfig, feed: Feed, strategy: PreparedStrategy, number: int) -> None:
        self.config, self.number = config, number
        self.drive: Drive = open_drive([config], feed, [strategy], is_led=True)
        self.response_ns = int(self.drive.state.latency["response_ns"][0])


class _Conductor:
    """Brings all replays to the next instant at which the strategy wakes, and wakes it."""

    def __init__(self, legs: Sequence[_Leg], strategy: PreparedStrategy) -> None:
        kind = strategy.kind
        self._legs, self._kind = legs, kind
        self._strategy = compiled(strategy) if kind.is_compiled else strategy.function()
        self._params, self._memory = strategy.vector, np.zeros(strategy.memory_size)
        self._interval = strategy.interval_ns
        self._actions = new_actions()
        self._shown = np.zeros(len(legs), INSTRUMENT_DTYPE)
        self._window = min(leg.response_ns for leg in legs) if kind.wake_bits & WAKE_ORDER else FOREVER

    def run(self, begin: int, last: int, progress: Callable[[RunProgress], None] | None) -> None:
        """Wake the strategy at every instant in (begin, last] that has a reason."""
        bits = self._kind.wake_bits
        now = begin
        for leg in self._legs:
            leg.drive.run_until(now)
        timer = begin + self._interval if bits & WAKE_TIMER else FOREVER
        wakes = 0
        before = sum(leg.drive.events_done for leg in self._legs)  # They only build the books.
        while True:
            # What answers arrive within a response latency from now is known already: they are on their way.
            stop = min(last, timer, now + self._window)
            answers = [leg.drive.next_answer_ts() for leg in self._legs] if bits & WAKE_ORDER else []
            market = [leg.drive.next_market_wake() for leg in self._legs] if bits & (WAKE_BOOK | WAKE_TRADE) else []
            stop = min(stop, *answers, *(ts for ts, _ in market)) if answers or market else stop
            stop = max(stop, now)
            reason = WAKE_TIMER if stop == timer else 0
            for ts, why in market:
                reason |= why if ts == stop else 0
            if any(ts <= stop for ts in answers):
                reason |= WAKE_ORDER
            for leg in self._legs:
                leg.drive.run_until(stop)
            if reason & WAKE_TIMER:
                timer += self._interval
            if reason:
                self._wake(stop, reason)
                wakes += 1
                if progress is not None and wakes % REPORT_EVERY == 0:
                    done = sum(leg.drive.events_done for leg in self._legs) - before
                    progress(RunProgress(done, sum(leg.drive.feed.events for leg in self._legs), stop))
            if stop >= last:
                return
            now = stop

    def _wake(self, now: int, reason: int) -> None:
        views = [leg.drive.look(0) for leg in self._legs]
        first, count = views[0], len(views)
        for shown, view in zip(self._shown, views, strict=True):
            for name in _SHOWN:
                shown[name] = getattr(view, name)
        orders = np.concatenate([view.orders for view in views])
        instruments = np.repeat(np.arange(count), [len(view.orders) for view in views])
        orders["instrument"] = instruments
        # One name for each order, whatever its instrument.
        orders["order_id"] = orders["order_id"] * count + instruments
        seen: View = first._replace(now_ts=now, wake_reason=reason, orders=orders, instruments=self._shown)
        self._actions[0]["kind"] = 0
        try:
            self._strategy(seen, self._params, self._memory, self._actions)
        except (Exception, SystemExit) as error:
            raise failure(error, self._kind.kind, f"clock {now} ns", reason) from error
        self._obey(now, reason)

    def _obey(self, now: int, reason: int) -> None:
        count = len(self._legs)
        for action in self._actions[1 : 1 + int(self._actions[0]["kind"])]:
            names_order = int(action["kind"]) in {CANCEL, AMEND}
            number = int(action["order_id"]) % count if names_order else int(action["instrument"])
            if not 0 <= number < count:
                raise InvalidRequest(f"{self._kind.kind} at clock {now} ns: instrument {number} of {count}")
            drive = self._legs[number].drive
            drive.state.actions[0]["kind"] = 1
            drive.state.actions[1] = action
            if names_order:
                drive.state.actions[1]["order_id"] = int(action["order_id"]) // count
            code = Code(drive.kernel.obey(drive.sealed, 0))
            if code != Code.REACHED:
                raise refusal(code, self._kind.kind, f"clock {now} ns", drive.state.actions, reason)


def _check(configs: Sequence[RunConfig], feeds: Sequence[Feed], strategy: PreparedStrategy) -> None:
    if not 1 <= len(configs) <= INSTRUMENTS_MAX or len(configs) != len(feeds):
        raise InvalidRequest.of("instruments", len(configs), f"1 to {INSTRUMENTS_MAX}, each with its feed")
    if len(configs) < strategy.kind.instruments:
        allowed = f"at least {strategy.kind.instruments} for {strategy.kind.kind}"
        raise InvalidRequest.of("instruments", len(configs), allowed)
    first = configs[0]
    for config in configs:
        check_config(config)
        same = (config.start_ts, config.end_ts, config.sample_interval_ns)
        if same != (first.start_ts, first.end_ts, first.sample_interval_ns):
            raise InvalidRequest.of(
                "instruments", config.instrument.symbol, "the range and sampling clock of the first"
            )
        if config.instrument.settled_in != first.instrument.settled_in:
            allowed = f"instruments that settle in {first.instrument.settled_in}, as the first one does"
            raise InvalidRequest.of(
                "instruments", f"{config.instrument.symbol} in {config.instrument.settled_in}", allowed
            )
        if config.market_conditions is not None:
            raise InvalidRequest.of("market_conditions", "set", "none with several instruments")
        is_constant = config.execution.latency is None and config.response_latency_ns > 0
        if strategy.kind.wake_bits & WAKE_ORDER and not is_constant:
            allowed = "a constant one above 0 for a strategy that wakes on its orders in several instruments"
            raise InvalidRequest.of("response_latency", config.response_latency_ns, allowed)
    if max(feed.first_ts for feed in feeds) >= min(first.end_ts, *(feed.last_ts for feed in feeds)):
        raise DataError("the recorded markets have no time in common in the range of the run")


def _together(configs: Sequence[RunConfig], legs: tuple[RunResult, ...]) -> SeveralResult:
    """Add the legs up exactly, in the largest unit that all of their half cash units are multiples of."""
    halves = [Fraction(Contract.of(config.instrument).cash_unit) / 2 for config in configs]
    denominator = lcm(*(half.denominator for half in halves))
    factors = [int(half * denominator) for half in halves]
    unit = Decimal(1) / Decimal(denominator)
    columns = [leg.samples["equity_half_tick_lots"].to_numpy() for leg in legs]
    total: Any = sum(
        (column.astype(object) * factor for column, factor in zip(columns, factors, strict=True)),
        np.zeros(len(columns[0]), object),
    )
    drawdown = max_drawdown(np.asarray(total, np.float64)) if len(total) else None
    return SeveralResult(
        legs=legs,
        equity=pl.DataFrame({"ts": legs[0].samples["ts"], "equity": [int(value) for value in total]}),
        equity_unit=unit,
        net_pnl=sum((leg.summary.net_pnl for leg in legs), Decimal(0)),
        max_drawdown=(Decimal(int(drawdown.depth)) if drawdown else Decimal(0)) * unit,
        sharpe=sharpe_ratio(np.asarray(total, np.float64), interval_ns=configs[0].sample_interval_ns),
    )
