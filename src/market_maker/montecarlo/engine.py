"""One run of one strategy on a synthetic market: configuration and seed in, the result of a backtest out.

Owns the market, the strategy's memory and the way between the compiled loop and Python. The configuration, the drive with
ledger, messages and samples, and the result are those of a backtest (`backtest.engine`), so that both are read alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.backtest.drive import VIEW_NUMBERS, Capacity, Drive
from market_maker.backtest.engine import RunConfig, check_config, open_drive, result_of
from market_maker.backtest.execution import Execution
from market_maker.backtest.faults import failure, refusal
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.result import FillModel, RunResult
from market_maker.backtest.state import CHANCE_SCALE, FOREVER, Code, no_stretch
from market_maker.domain.errors import InvalidRequest
from market_maker.market_data.replay import Feed, feed_of
from market_maker.market_data.schema import ORDERS_SCHEMA, EventKind
from market_maker.matching.book import TradingRules
from market_maker.matching.codes import SelfTrade
from market_maker.matching.state import MISS_SCALE
from market_maker.montecarlo.loop.compiled import compiled_loop
from market_maker.montecarlo.loop.kernel import MARKET_CODE
from market_maker.montecarlo.loop.state import new_trader
from market_maker.montecarlo.stress import ScenarioWish, Stress
from market_maker.strategies.actions import View
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import PreparedStrategy
from market_maker.synthetic.flow.parameters import Conditions, MarketDesign
from market_maker.synthetic.scenarios import Effects
from market_maker.venue.market.market import SyntheticMarket

ROOM = Capacity(orders=1024, in_flight=4096, marks=1)
PREVENTIONS = (SelfTrade.NONE, SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH)
OWNERS = 2
"""The flow, and the strategy."""


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """What one simulated run does beside its seed.

    Parameters
    ----------
    run : pair, strategy, duration (`start_ts` to `end_ts`), latencies, balance, fees and sampling clock, as of a backtest
    design : the market; its `start_ts` is that of `run`, and each run puts its own seed in
    conditions : what is changed of the market from the first instant on
    warm_up_s : how long the market has traded before
    shows_own : count own orders in the levels and the mid that the strategy sees; False as in a backtest, whose recorded
        book does not have them
    self_trade : what happens when an order would trade with an own one; DECREMENT is not offered
    scenarios : of stress, over the run's time

    Raises
    ------
    InvalidRequest
        An option of a backtest that a market which trades with our orders has no place for.
    """

    run: RunConfig
    design: MarketDesign
    conditions: Conditions = field(default_factory=Conditions)
    warm_up_s: float = 30.0
    shows_own: bool = False
    self_trade: SelfTrade = SelfTrade.CANCEL_OLDEST
    scenarios: tuple[ScenarioWish, ...] = ()

    def __post_init__(self) -> None:
        check_config(self.run)
        execution = self.run.execution
        if self.design.start_ts != self.run.start_ts:
            raise InvalidRequest.of("design.start_ts", self.design.start_ts, f"the run's start {self.run.start_ts}")
        if self.self_trade not in PREVENTIONS:
            raise InvalidRequest.of("self_trade", self.self_trade.name, ", ".join(each.name for each in PREVENTIONS))
        for name, value, plain in (
            ("band", self.run.band, False), ("market_conditions", self.run.market_conditions, None),
            ("funding", self.run.funding, None), ("fill_model", self.run.fill_model, FillModel.PARTIAL),
            ("execution.impact_half_life_ns", execution.impact_half_life_ns, 0),
        ):  # fmt: skip
            if value != plain:
                raise InvalidRequest.of(name, str(value), f"{plain} on a synthetic market")
        if execution.queue_model not in (None, QueueModel.FIFO):
            raise InvalidRequest.of("execution.queue_model", execution.queue_model.name, "none: the queue is simulated")
        if self.scenarios and execution.latency is not None:
            raise InvalidRequest.of("execution.latency", execution.latency.get("model"), "none together with scenarios")
        if execution.latency is not None and execution.latency.get("model") == "UNDER_LOAD":
            raise InvalidRequest.of("execution.latency.model", "UNDER_LOAD", "a model that asks for no recorded load")


class Simulation:
    """One run in progress.

    Parameters
    ----------
    config, strategy, seed : what runs, and on which market
    records : keep the tape that a recorder would have made, see `recording.feed_of_tape`
    is_led : somebody else is the strategy: `run_until` comes back with True at each wake-up
    function : another compiled form of the strategy, which the engine calls in its place
    """

    def __init__(
        self,
        config: SimulationConfig,
        strategy: PreparedStrategy,
        seed: int,
        *,
        records: bool = False,
        is_led: bool = False,
        function: Any = None,
    ) -> None:
        self.config, self.strategy = config, strategy
        self.design = replace(config.design, seed=seed)
        self.market = SyntheticMarket.create(
            self.design,
            TradingRules(qty_lots_max=1 << 40, seed=seed & ((1 << 62) - 1)),
            owners=OWNERS,
            warm_up_s=config.warm_up_s,
        )
        self.market.set_conditions(config.conditions)
        self._stress = Stress(config.scenarios, config.run.start_ts, config.conditions)
        self._kernel = compiled_loop()
        # The engine of the market draws whose counterparty is not there, and moves the price for what we take.
        plain = replace(config.run.execution, execution_probability=1.0, price_impact=0.0, queue_model=QueueModel.FIFO)
        self._run = replace(config.run, seed=seed, execution=plain)
        kind = strategy.kind
        self.drive: Drive = open_drive([self._run], _no_feed(), [strategy], ROOM, is_led=is_led or not kind.is_compiled)
        self.drive.state.clock["clock_ts"] = config.run.start_ts
        self.drive.state.clock["hands_over"] = is_led or not kind.is_compiled
        self.trader = new_trader(records=records)
        head = self.trader.head
        head["miss_e9"] = MISS_SCALE - round(config.run.execution.execution_probability * CHANCE_SCALE)
        head["impact_e9"] = round(config.run.execution.price_impact * MISS_SCALE)
        head["self_trade"], head["shows_own"] = config.self_trade, config.shows_own
        self._sealed = self._kernel.seal(self.trader)
        self._is_led = is_led
        self._function: Callable[..., None] = (
            compiled(strategy) if kind.is_compiled and not is_led else self.drive.kernel.idle
        )
        self._function = function or self._function
        self._by_hand = strategy.function()
        self._params = np.array([strategy.vector], np.float64)
        self._memory = np.zeros((1, strategy.memory_size))
        self._numbers = np.zeros(VIEW_NUMBERS, np.int64)
        self._nothing = no_stretch()
        self._tape: list[NDArray[Any]] = []
        # Before the first look at the book, which wakes those who ask for that, as the first rows of a recording do.
        self.drive.wake(after_ts=config.run.start_ts)
        while not self._kernel.begin(self.drive.sealed, self.market.book.sealed, self._sealed):
            self.trader = self.trader._replace(tape=np.zeros(2 * len(self.trader.tape), self.trader.tape.dtype))
            self.trader.head["tape_count"] = 0
            self._sealed = self._kernel.seal(self.trader)
        self.drive.sample_every(
            config.run.sample_interval_ns, after_ts=config.run.start_ts, end_ts=config.run.end_ts - 1
        )

    @property
    def params(self) -> NDArray[np.float64]:
        """The strategy's parameters, (n,); what is changed between two calls of `run_until` holds from the next wake-up on."""
        found: NDArray[np.float64] = self._params[0]
        return found

    @property
    def events(self) -> int:
        """Events of the market so far."""
        return int(self.trader.head["events"][0])

    def run_until(self, ts: int) -> bool:
        """Simulate up to `ts` inclusive; return True when a strategy that is led elsewhere is awake, and go on when called again.

        Raises
        ------
        InvalidRequest
            The strategy failed or asked for something impossible; the message names it and the time.
        """
        while self._stress.next_ts <= ts:
            at = self._stress.next_ts
            if self._run_until(at):
                return True
            self._change_market(self._stress.at(at))
        return self._run_until(ts)

    def _change_market(self, effects: Effects) -> None:
        """Let scenarios take effect at the present instant."""
        self.market.set_conditions(effects.conditions)
        if effects.jump:
            self.market.jump(effects.jump)
        entry_ns = round(self.config.run.entry_latency_ns * effects.faults.latency_factor)
        self.drive.state.latency["entry_ns"] = entry_ns + effects.faults.latency_extra_ns

    def _run_until(self, ts: int) -> bool:
        drive = self.drive
        while True:
            try:
                code = self._kernel.run(
                    drive.sealed,
                    self.market.book.sealed,
                    self.market._sealed,  # noqa: SLF001
                    self._sealed,
                    self._nothing,
                    self._function,
                    self._params,
                    self._memory,
                    ts,
                )
            except (Exception, SystemExit) as error:
                raise failure(error, self.strategy.kind.kind, self._now(), int(drive.state.reasons.max())) from error
            if code == Code.REACHED:
                return False
            if code >= MARKET_CODE:
                self.market._make_room(code - MARKET_CODE)  # noqa: SLF001
            elif code == Code.BUFFERS_FULL:
                self._drain()
            elif code == Code.AWAKE:
                if self._is_led:
                    return True
                self._wake_by_hand()
            else:
                raise self._refusal(Code(code))

    def _drain(self) -> None:
        self.drive.drain()
        count = int(self.trader.head["tape_count"][0])
        if count:
            self._tape.append(self.trader.tape[:count].copy())
            self.trader.head["tape_count"] = 0

    def look(self) -> View:
        """Return what a strategy that is awake sees; its arrays change with time."""
        self._kernel.look(self.drive.sealed, self.market.book.sealed, self._sealed, self._numbers)
        state = self.drive.state
        orders = state.view_orders[: int(state.head[0]["open_count"])]
        return View._make([*self._numbers.tolist(), state.view_bids, state.view_asks, orders, state.view_instruments])

    def obey(self) -> None:
        """Send the requests that a strategy which is led elsewhere has put into `drive.state.actions`."""
        code = Code(self.drive.kernel.obey(self.drive.sealed, 0))
        if code != Code.REACHED:
            raise self._refusal(code)

    def _wake_by_hand(self) -> None:
        view = self.look()
        try:
            self._by_hand(view, self._params[0], self._memory[0], self.drive.state.actions)
        except (Exception, SystemExit) as error:
            raise failure(error, self.strategy.kind.kind, self._now(), view.wake_reason) from error
        self.obey()

    def _refusal(self, code: Code) -> InvalidRequest:
        state = self.drive.state
        return refusal(code, self.strategy.kind.kind, self._now(), state.actions, int(state.reasons.max()))

    def _now(self) -> str:
        return f"clock {self.drive.now_ts} ns, seed {self.design.seed}"

    def finish(self) -> None:
        """Let what is still in flight arrive at a market that stands still, as after the last row of a recording."""
        state = self.drive.state
        state.clock["wake_count"] = state.clock["wakes_on"] = state.clock["market_reasons"] = 0
        state.clock["ended"] = self.trader.head["frozen"] = 1
        for name in ("next_answer_ts", "next_expiry_ts"):
            state.clock[name] = FOREVER
        while (state.head["request_count"] + state.head["response_count"]).any():
            arrivals = [state.latency[name].max() for name in ("last_entry_ts", "last_response_ts")]
            self.run_until(max(self.drive.now_ts, int(max(arrivals))))

    def result(self) -> RunResult:
        """Return the result of a run that has ended; call it once."""
        self._drain()
        market = market_json(self.config, self.design)
        digest = hashlib.sha256(json.dumps(market, sort_keys=True).encode()).hexdigest()
        feed = replace(_no_feed(), data_hash=digest)
        samples, fills = self.drive.samples()[0], self.drive.fills()[0]
        config = replace(self._run, execution=self.config.run.execution)
        result = result_of(config, feed, self.strategy, self.drive, 0, samples, fills, None)
        head = self.trader.head[0]
        extra = {"market": market} | {name: int(head[name]) for name in ("taken_lots", "own_meetings")}
        return replace(result, reproducibility=result.reproducibility | extra)

    def tape(self) -> NDArray[Any]:
        """Return the rows that a recorder has seen so far, `loop.state.TAPE_DTYPE`."""
        self._drain()
        return np.concatenate([self.trader.tape[:0], *self._tape])


def simulate(
    config: SimulationConfig,
    strategy: PreparedStrategy,
    seed: int,
    progress: Callable[[int], None] | None = None,
    *,
    slices: int = 20,
) -> RunResult:
    """Run a strategy on the market of a seed; same seed, same result.

    progress : called `slices` times with the simulated ns that have passed; an exception it raises ends the run

    Raises
    ------
    InvalidRequest
        As `Simulation.run_until`.
    """
    simulation = Simulation(config, strategy, seed)
    play(simulation, progress, slices=slices)
    return simulation.result()


def play(simulation: Simulation, progress: Callable[[int], None] | None = None, *, slices: int = 1) -> None:
    """Run a simulation to its end."""
    start, last = simulation.config.run.start_ts, simulation.config.run.end_ts - 1
    for part in range(1, (slices if progress else 1) + 1):
        passed = (last - start) * part // (slices if progress else 1)
        simulation.run_until(start + passed)
        if progress:
            progress(passed)
    simulation.finish()


def market_json(config: SimulationConfig, design: MarketDesign) -> dict[str, Any]:
    """Return everything that makes the market of a run, as JSON values."""
    values: dict[str, Any] = asdict(design)
    values["reference"]["process"] = design.reference.process.name
    values["conditions"] = asdict(config.conditions)
    values |= {
        "warm_up_s": config.warm_up_s, "shows_own": config.shows_own, "self_trade": config.self_trade.name,
    }  # fmt: skip
    if config.scenarios:
        values["scenarios"] = [each.to_json() for each in config.scenarios]
    # Whole numbers of 64 bits, which JSON readers of other languages round.
    for name in ("start_ts", "seed", "group_seed"):
        values[name] = str(values[name])
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


@cache
def _no_feed() -> Feed:
    """Return a feed that stands for a recording where a drive asks for one; its one row is never applied."""
    row = (0, 0, int(EventKind.SNAPSHOT), 1, 1, 1, 0, 1)
    return feed_of(pl.DataFrame([row], schema=ORDERS_SCHEMA, orient="row"))


__all__ = ["Execution", "Simulation", "SimulationConfig", "play", "simulate"]
