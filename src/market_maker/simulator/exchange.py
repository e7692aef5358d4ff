"""One pair's whole simulated market: the venue and the synthetic market, moved through time together.

Pure: no clock, no I/O. What must survive a restart goes out by `dump_state`, as the market's own bytes and as the rows of
its log (`Changes.commands`); `load` makes the same exchange of them.

Longer than 500 lines because time, scenarios, agents and what is written of them change the same few fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol
from uuid import UUID

import msgspec
from numpy.typing import NDArray

from market_maker.domain.errors import Conflict, DataError, InvalidRequest
from market_maker.domain.events import Event, EventType
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Order, Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.matching.codes import Phase
from market_maker.simulator.design import base_conditions, bounded, check_design, market_design
from market_maker.simulator.market_memory import market_digest, new_market, replayed, trading_rules
from market_maker.simulator.market_time import MarketTime
from market_maker.simulator.session import ScenarioWish, Session, SessionRules
from market_maker.simulator.stress import Stress, Told
from market_maker.synthetic.flow.parameters import MarketDesign, jump_quantum
from market_maker.synthetic.scenarios import Faults
from market_maker.venue.changes import Changes
from market_maker.venue.commands import ChangedConditions, conditions_row
from market_maker.venue.funds import AccountFunds
from market_maker.venue.market.market import SyntheticMarket
from market_maker.venue.queues import QueuePlace, queue_places
from market_maker.venue.venue import Venue, open_orders_of, phase_name

STANDSTILL_NS = 10 * NS_PER_SECOND
"""A market that nobody looked after for longer (of the clock) stood still; it catches up with less."""
CATCH_UP_NS = NS_PER_SECOND
"""One that runs fast catches up with ten seconds of its own time, but with so much of the clock at least: what happened in one
go is in memory at once."""
LOOK_NS = 100_000_000
"""So often (of the clock) a running market is looked after, at least: its trades are told no later."""
SOON_NS = 5_000_000
"""With agents a market is looked after at their instants, but no more often than this (of the market's time, at least of the clock)."""
FROZEN_LEVELS = 200
"""Levels of a side that are kept of the book while no market data are sent."""


@dataclass(frozen=True, slots=True)
class FrozenBook:
    """The last book before a gap of the feed: instant, sequence, and price (ticks) and lots of each side, best first."""

    ts: int
    sequence: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


LOOKS_PER_SECOND = 20_000
"""A market that runs faster than the clock is looked at by its agents no more often than this (of the clock)."""
_NEVER = (1 << 63) - 1
LOOKS_MAX = 2_000
"""Looks of agents in one call of `advance_to`, some tenths of a second: a market that needs more stands still for the rest."""


class Agent(Protocol):
    """Who acts on a market at instants of the market's own time, such as a strategy that runs on it."""

    @property
    def watches(self) -> bool:
        """Whether it looks at the market after each of its events."""

    def next_ts(self) -> int:
        """Return the instant of the market at which it looks next."""

    def look(self, exchange: SimulatedExchange) -> None:
        """Take in what has happened up to the present instant, and act."""

    def write(self, exchange: SimulatedExchange) -> None:
        """Add to the exchange's changes what must be written of it."""

    def end(self, exchange: SimulatedExchange) -> None:
        """Act no more: the session has ended."""


class SimulatedExchange:
    """The venue of one pair with its synthetic market.

    Parameters
    ----------
    instrument, session : what is traded, and in which market; `laws` are the parameters that its market has at present
    funds : account id -> its funds, shared by all pairs
    market : the market to go on with; a new one unless given
    """

    is_played = False
    """Whether the market is a recording, see `simulator.played`."""

    def __init__(
        self,
        instrument: Instrument,
        session: Session,
        funds: dict[UUID, AccountFunds],
        market: SyntheticMarket | None = None,
    ) -> None:
        self.instrument = instrument
        self.session = session
        self.market = market or new_market(
            instrument, session, price_ticks=session.initial_price_ticks, start_ts=session.created_ts
        )
        self.venue = Venue(instrument, session.session_id, self.market, funds)
        self.venue.fault_seed = session.seed
        self.venue.ends_by_clock = not self.is_played
        self.stress = Stress(session.session_id, base_conditions(session))
        self.frozen: FrozenBook | None = None
        self.laws = self._design(session)
        self._stress_text = msgspec.Raw(b"null")
        self.time = MarketTime(session.created_ts, self.market.clock_ts, _speed(session))
        self.last_ts = session.created_ts
        self.log_number = 0
        self.agents: list[Agent] = []
        self._last_mid_ts = session.created_ts
        self._stands = False
        self._looked_at, self._unseen_ts = 0, _NEVER
        self._ways_by_clock = False

    @property
    def changes(self) -> Changes:
        """What has happened since `take_changes`."""
        return self.venue.changes

    def take_changes(self) -> Changes:
        """Return what has happened since the last call and begin anew."""
        for agent in list(self.agents):
            agent.write(self)
        changes, self.venue.changes = self.venue.changes, Changes()
        return changes

    # ------------------------------------------------------------------ time

    @property
    def step(self) -> int:
        """Steps that the reference price has taken: one every `market_update_interval`."""
        return int(self.market.flow.head["steps"][0])

    @property
    def book_sequence(self) -> int:
        """A number that grows whenever the book changes."""
        return int(self.market.book.state.head["sequence"][0])

    @property
    def _next_step(self) -> int:
        return int(self.market.flow.head["step_ts"][0])

    def next_due_ts(self) -> int:
        """Return when the exchange is to be looked after next, in ns UTC."""
        due = min(self.last_ts + LOOK_NS, self.time.wall_at(self._next_step))
        first, end = self.venue.next_due_ts(), self.venue.next_end_ts()
        if first is not None:
            due = min(due, self.time.wall_at(first))
        return self._soon_enough(due if end is None else min(due, end))

    def _soon_enough(self, due: int) -> int:
        """Return `due`, or earlier, so that the world does not hear late of what agents do at their next look."""
        if not self.agents:
            return due
        look_ts = self._next_look_ts()
        pause_ns = round(SOON_NS * max(1.0, self.session.speed))
        return min(due, max(self.time.wall_at(look_ts), self.last_ts + pause_ns))

    @property
    def standstill_ns(self) -> int:
        """After how much of the clock without a look the market has stood still."""
        return max(CATCH_UP_NS, round(STANDSTILL_NS / max(1.0, self.session.speed)))

    def stand_still(self) -> None:
        """Let no time pass until the next call of `advance_to`: the market was paused, or has just been restored."""
        self._stands = True

    def set_speed(self, speed: float) -> None:
        """Let the market run so many times as fast as the clock, from the last instant on."""
        self.session.speed = speed
        self._begin_line(self.last_ts)
        self._feel(self.last_ts)

    def _begin_line(self, wall_ts: int) -> None:
        self.time = MarketTime(wall_ts, self.market.clock_ts, _speed(self.session))

    def advance_to(self, ts: int) -> None:
        """Let everything happen up to `ts`, in order of time; at a tie the market moves before orders arrive."""
        if self._stands or ts - self.last_ts > self.standstill_ns:
            self._stands = False
            self._begin_line(max(ts, self.last_ts))
        self._advance(ts, LOOKS_MAX)

    def _advance(self, ts: int, looks_max: int | None) -> None:
        looks = 0
        while True:
            due = self._next_due(ts)
            until = max(self.time.market_at(ts) if due is None else due, self.market.clock_ts)
            look_ts = self._next_look_ts() if self.agents else until + 1
            if look_ts < until:
                self._walk_to(look_ts, ts)
                self._look()
                looks += 1
                if looks == looks_max:
                    self._begin_line(ts)
                continue
            self._walk_to(until, ts)
            if due is not None:
                self._let_arrive(ts)
            if self.agents and (due is not None or look_ts == until or not self._has_limited_looks):
                self._look()
            if due is None and self._next_due(ts) is None:
                break
        self.last_ts = max(self.last_ts, ts)

    def _next_due(self, ts: int) -> int | None:
        """Return the market's instant of the next arrival or end of an order, if that is by `ts` of the clock."""
        now, due, end = self.market.clock_ts, self.venue.next_due_ts(), self.venue.next_end_ts()
        if end is not None and end <= ts:
            end = max(self.time.market_at(end), now)
            due = end if due is None else min(due, end)
        return due if due is not None and due <= max(self.time.market_at(ts), now) else None

    def _let_arrive(self, ts: int) -> None:
        """Let orders end that end by the clock, then what is on its way arrive, at the present instant."""
        venue, now = self.venue, self.market.clock_ts
        while (end := venue.next_end_ts()) is not None and end <= ts and self.time.market_at(end) <= now:
            self.last_ts = max(self.last_ts, end)
            venue.process_ends(end, self.last_ts)
        venue.process_due(self.last_ts, now)

    def step_by(self, duration_ns: int, ts: int) -> None:
        """Let the market, which is paused, go on by a duration of its own time; all of it is told as before `ts`."""
        # Not longer ago than what counts as one stretch of time.
        self.last_ts = max(self.last_ts, ts - self.standstill_ns)
        ts = max(ts, self.last_ts + 1)
        self.time = MarketTime(self.last_ts, self.market.clock_ts, Fraction(duration_ns, ts - self.last_ts))
        self._stands = False
        if self.agents and not self._has_limited_looks:
            # What users did since the last step is seen where the market stood, not wherever the step ends.
            self._look()
        self._advance(ts, None)
        self.stand_still()

    @property
    def _has_limited_looks(self) -> bool:
        """Whether agents that would look after each event look less often, as the market runs faster than the clock."""
        return self.session.speed > 1.0 and any(agent.watches for agent in self.agents)

    def _next_look_ts(self) -> int:
        """Return the next instant of the market at which an agent looks at it."""
        now, head = self.market.clock_ts, self.market.flow.head[0]
        due = min(agent.next_ts() for agent in self.agents)
        if any(agent.watches for agent in self.agents):
            event_ts = int(min(head["next_ts"], head["step_ts"]))
            if self._has_limited_looks:
                # What has happened since the last look is not looked at later because the market was stopped in between.
                pause_ns = round(NS_PER_SECOND / LOOKS_PER_SECOND * self.session.speed)
                event_ts = max(min(event_ts, self._unseen_ts), self._looked_at + pause_ns)
            due = min(due, event_ts)
        return max(due, now + 1)

    @property
    def market_delay_ns(self) -> int:
        """How long orders and cancels are on their way to the venue at present, in ns of the market's time."""
        faults = self.venue.faults
        return round(self.session.execution_delay_ns * faults.latency_factor) + faults.latency_extra_ns

    def arrival_ts(self, ts: int) -> int:
        """Return the market's instant at which what is sent at `ts` of the clock reaches the venue."""
        now = self.market.clock_ts
        sent = now if self._stands else max(now, self.time.market_at(ts))
        return sent + self.market_delay_ns

    def agent_arrival_ts(self) -> int:
        """Return the market's instant at which what an agent sends now reaches the venue."""
        return self.market.clock_ts + self.market_delay_ns

    def expiry_ts(self, market_ts: int) -> int:
        """Return the instant of the clock, at the session's pace, of an order's end at an instant of the market."""
        return max(1, MarketTime(self.last_ts, self.market.clock_ts, _speed(self.session)).wall_at(market_ts))

    def queue_places(self) -> list[QueuePlace]:
        """Return where our resting orders stand in their queues."""
        return queue_places(self.venue, self.market.book)

    def _look(self) -> None:
        if not self.is_played:
            head = self.market.flow.head[0]
            self._looked_at, self._unseen_ts = self.market.clock_ts, int(min(head["next_ts"], head["step_ts"]))
        for agent in list(self.agents):
            agent.look(self)

    def end_agents(self) -> None:
        """Let nobody act any more: the session has ended."""
        for agent in list(self.agents):
            agent.end(self)

    def _walk_to(self, until: int, ts: int) -> None:
        """Let the market go on to one of its instants, step by step of its reference price."""
        while self._next_step <= until:
            self._run(self._next_step, ts)
            self._note_mid()
        self._run(until, ts)

    def _run(self, until: int, ts: int) -> None:
        """Let everything go on to an instant of the market, at `ts` of the clock at the latest; scenarios change on the way."""
        while (change := self.stress.next_change_ts(self.market.clock_ts)) is not None and change <= until:
            self._go_on(change, ts)
            self._feel(self.last_ts)
        self._go_on(until, ts)

    def _go_on(self, until: int, ts: int) -> None:
        if until > self.market.clock_ts:
            self.venue.absorb(self.market.advance(until), lambda at: self._stamp(at, ts))
        self.last_ts = self._stamp(until, ts)

    def _stamp(self, market_ts: int, ts: int) -> int:
        return max(self.last_ts, min(self.time.wall_at(market_ts), ts))

    def _note_mid(self) -> None:
        if self.session.rules.needs_reference:
            self.venue.set_reference(self.market.reference_ticks)
        bid, ask = self.market.book.best(Side.BUY), self.market.book.best(Side.SELL)
        if bid is not None and ask is not None:
            self._last_mid_ts = max(self.last_ts, self._last_mid_ts + 1)
            self.changes.mids.append((self._last_mid_ts, bid + ask))
        self.changes.book_changed = True
        self.changes.session_changed = True

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can happen in the market; an invented one never ends."""
        return False

    def playback_data(self) -> dict[str, Any] | None:
        """Return as JSON values what is played, and where; None for an invented market."""
        return None

    def tell_session(self, ts: int) -> None:
        """Tell that the session has been changed."""
        session, venue = self.session, self.venue
        venue.session_sequence += 1
        data = {
            "session_id": str(session.session_id),
            "state": session.state,
            "mode": session.mode.value,
            "ended": self.has_ended,
        }
        key = session.session_id
        self.changes.events.append(Event(EventType.SESSION_CHANGED, key, venue.session_sequence, ts, str(key), data))
        self.changes.session_changed = True

    def end_session(self, ts: int) -> None:
        """End the session for good: open orders are cancelled, strategies stopped."""
        self.venue.end_all(ts)
        self.end_agents()
        self.session.state = "STOPPED"
        self.stand_still()
        self.tell_session(ts)

    def execute_trade(self, aggressor: Side, price_ticks: int, qty_lots: int, ts: int) -> None:
        """Make a given trade happen: it fills what rests at `price_ticks` or better, the rest is a bare print.

        Raises
        ------
        Conflict
            outside continuous trading
        """
        if self.session.state == "RUNNING":
            # Nothing that happened before it may be told after it.
            self.advance_to(ts)
        phase = self.market.book.phase
        if phase is not Phase.CONTINUOUS:
            raise Conflict(f"the market is in phase {phase_name(phase)}; trades are made in CONTINUOUS alone")
        traded = self.venue.place_as_market(aggressor, price_ticks, qty_lots, ts)
        if traded < qty_lots:
            self.venue.print_trade(aggressor, price_ticks, qty_lots - traded, ts)
        self.changes.session_changed = True

    # ------------------------------------------------------------------ scenarios and parameters

    @property
    def delay_ns(self) -> int:
        """How long orders and cancels are on their way to the venue at present, in ns of the clock."""
        faults, session = self.venue.faults, self.session
        if faults.latency_factor == 1.0 and not faults.latency_extra_ns:
            return session.delay_ns
        return round((session.execution_delay_ns * faults.latency_factor + faults.latency_extra_ns) / session.speed)

    def begin(self) -> None:
        """Let a new market begin: under its own conditions, with the scenarios of its session."""
        for wish in self.session.scenarios:
            self.stress.start(
                wish.name,
                wish.parameters,
                market_ts=self.market.clock_ts,
                ts=self.last_ts,
                starts_in_ns=wish.starts_in_ns,
                repeats_every_ns=wish.repeats_every_ns,
            )
        self._feel(self.last_ts)
        self.set_rules(self.session.rules)
        if self.session.first_phase is not Phase.CONTINUOUS:
            self.venue.enter_phase(self.session.first_phase, self.last_ts)

    def set_rules(self, rules: SessionRules) -> None:
        """Give the market other filters and safeguards, from the present instant on."""
        self.session.rules = rules
        if rules.needs_reference:
            self.venue.set_reference(self.market.reference_ticks)
        self.market.book.set_rules(trading_rules(self.session))
        self.changes.is_rewritten = True
        self.changes.session_changed = True

    def start_scenario(self, wish: ScenarioWish, ts: int) -> dict[str, Any]:
        """Start a scenario at the market's present instant or later; see `Stress.start`. Return it as JSON values."""
        told = self.stress.start(
            wish.name,
            wish.parameters,
            market_ts=self.market.clock_ts,
            ts=ts,
            starts_in_ns=wish.starts_in_ns,
            repeats_every_ns=wish.repeats_every_ns,
        )
        self._feel(ts)
        return self.describe_scenario(told)

    def stop_scenario(self, scenario_id: UUID, ts: int) -> dict[str, Any]:
        """Stop a scenario now; NotFound when none of this id is to come or under way. Return it as JSON values."""
        was_told = [each["scenario_id"] for each in self.scenarios() if each["state"] == "RUNNING"]
        told = self.stress.stop(scenario_id, market_ts=self.market.clock_ts, ts=ts)
        if told.scenario_id in was_told:
            self._tell_scenario("ended", told, ts)
        self._feel(ts)
        return self.describe_scenario(told)

    def stop_scenarios(self, ts: int) -> None:
        """Stop all scenarios."""
        for told in self.stress.stop_all(market_ts=self.market.clock_ts, ts=ts):
            self._tell_scenario("ended", told, ts)
        self._feel(ts)

    def scenarios(self) -> list[dict[str, Any]]:
        """Return the scenarios to come, under way and lately over, oldest first, as JSON values."""
        return self.stress.items(self.market.clock_ts, self.time.wall_at)

    def describe_scenario(self, told: Told) -> dict[str, Any]:
        """Return a scenario as JSON values."""
        return self.stress.describe(told, self.market.clock_ts, self.time.wall_at)

    def change_parameters(self, parameters: dict[str, Any], ts: int) -> None:
        """Give the market that runs the parameters of mode CUSTOM ({}: those of its session), from now on.

        Raises
        ------
        InvalidRequest
            A parameter that is wrong, or one that a market keeps for life.
        """
        design = self._design(replace(self.session, parameters=parameters))
        check_design(design)
        if parameters.get("group") != self.session.parameters.get("group"):
            raise InvalidRequest.of("group", parameters.get("group"), "the group that it began with")
        step_ns = self.laws.reference.step_ns
        if self.laws.since_epoch and design.reference.step_ns != step_ns:
            allowed = f"{step_ns}: a market of a group keeps its step"
            raise InvalidRequest.of("parameters.reference.step_ns", design.reference.step_ns, allowed)
        self.market.set_laws(design.flow, design.reference)
        self.session.parameters = parameters
        self.laws = design
        self.stress.base = base_conditions(self.session)
        self.changes.is_rewritten = True
        self._feel(ts)

    def _design(self, session: Session) -> MarketDesign:
        return market_design(
            session,
            tick_lot=float(self.instrument.tick_lot),
            price_ticks=session.initial_price_ticks,
            start_ts=self.market.clock_ts,
        )

    def _feel(self, ts: int) -> None:
        """Put what scenarios come to at the market's present instant in force, and tell what started or ended."""
        at = self.market.clock_ts
        for what, told in self.stress.pass_to(at, ts):
            self._tell_scenario(what, told, ts)
        effects = self.stress.effects(at)
        jump = jump_quantum(min(1.0, max(-0.99, effects.jump))) if effects.jump else 0
        changed = ChangedConditions(bounded(effects.conditions, self.laws.flow, self.session.speed), jump)
        if changed != self.market.conditions:
            self.changes.commands.append(conditions_row(at, changed))
            self.market.change_conditions(changed)
        self._set_faults(effects.faults)
        self._stress_text = self._stress_json()
        self.changes.session_changed = True

    def _set_faults(self, faults: Faults) -> None:
        self.venue.faults = faults
        if not faults.feed_gap:
            self.frozen = None
        elif self.frozen is None:
            sides = [self.market.depth(side, FROZEN_LEVELS).tolist() for side in (Side.BUY, Side.SELL)]
            bids, asks = ([(price, lots) for price, lots, _ in side] for side in sides)
            self.frozen = FrozenBook(self.last_ts, self.book_sequence, bids, asks)

    def _tell_scenario(self, what: str, told: Told, ts: int) -> None:
        session_id, venue = self.session.session_id, self.venue
        kind = EventType.SCENARIO_STARTED if what == "started" else EventType.SCENARIO_ENDED
        venue.session_sequence += 1
        data = {
            "session_id": str(session_id),
            "pair_id": str(self.session.pair_id),
            "scenario_id": told.scenario_id,
            "name": told.name,
            "parameters": told.parameters,
            "run": told.runs,
            "state": told.state,
        }
        self.changes.events.append(Event(kind, session_id, venue.session_sequence, ts, told.scenario_id, data))
        self.changes.session_changed = True

    def _stress_json(self) -> msgspec.Raw:
        """Return scenarios and a frozen book as JSON text, made anew only when they change: each commit writes them."""
        content = None if self.stress.is_empty else {"stress": self.stress.to_json(), "frozen": self.frozen}
        return msgspec.Raw(msgspec.json.encode(content))

    def _restore_stress(self, state: dict[str, Any], *, is_new_market: bool) -> None:
        """Go on with the scenarios of a stored state; a market that began anew is put under them once more."""
        stored = state.get("scenarios") or {}
        self.stress = Stress.of(self.session.session_id, self.stress.base, stored.get("stress"))
        if stored.get("frozen"):
            self.frozen = msgspec.convert(stored["frozen"], FrozenBook)
        if is_new_market:
            self._feel(self.last_ts)
        else:
            self._set_faults(self.stress.effects(self.market.clock_ts).faults)
            self._stress_text = self._stress_json()

    # ------------------------------------------------------------------ survival

    def dump_state(self) -> str:
        """Return as JSON text what neither the market's memory and log nor the orders and positions tell."""
        venue, time = self.venue, self.time
        return msgspec.json.encode(
            {
                "clock_ts": self.market.clock_ts,
                "line": [time.wall_ts, time.market_ts, time.speed.numerator, time.speed.denominator],
                "last_ts": self.last_ts,
                "last_mid_ts": self._last_mid_ts,
                "priority": venue.priority,
                "trades": venue.trades,
                "log_number": self.log_number,
                "reference_ticks": self.market.reference_ticks,
                "scenarios": self._stress_text,
                "market_ends": venue.market_ends,
                "looked": [self._looked_at, self._unseen_ts],
            }
        ).decode()

    @classmethod
    def load(
        cls,
        instrument: Instrument,
        session: Session,
        funds: dict[UUID, AccountFunds],
        *,
        checkpoint: bytes | None,
        log: Iterable[bytes],
    ) -> tuple[SimulatedExchange, str]:
        """Return the exchange as it was committed, without orders and positions, and what was wrong with its market.

        Parameters
        ----------
        checkpoint : `SyntheticMarket.dump` of an earlier instant
        log : rows of commands since then, commit by commit

        A market that cannot be read, such as that of an older version, begins anew at its last price.
        """
        state = msgspec.json.decode(session.market)
        clock_ts = int(state.get("clock_ts", session.updated_ts))
        fault, market, is_new = "", None, False
        if checkpoint is None:
            fault = "no checkpoint of the market is stored"
        else:
            try:
                market = replayed(SyntheticMarket.load(checkpoint), log, clock_ts)
            except DataError as error:
                fault = error.detail
        if market is None:
            is_new = True
            price = state.get("reference_ticks") or max(1, state.get("reference_micro", 0) // 1_000_000)
            market = new_market(instrument, session, price_ticks=price, start_ts=clock_ts)
        exchange = cls(instrument, session, funds, market)
        exchange.take_over(state, is_new_market=is_new)
        return exchange, fault

    def take_over(self, state: dict[str, Any], *, is_new_market: bool) -> None:
        """Go on from the state that `dump_state` wrote; the market is as it was, or a new one."""
        venue = self.venue
        venue.priority, venue.trades = state["priority"], state["trades"]
        venue.session_sequence = self.session.sequence
        self.last_ts = state["last_ts"]
        self._last_mid_ts = state.get("last_mid_ts", self.last_ts)
        self.log_number = state.get("log_number", 0)
        if "line" in state:
            wall_ts, market_ts, numerator, denominator = state["line"]
            self.time = MarketTime(wall_ts, market_ts, Fraction(numerator, denominator))
        else:
            self.time = MarketTime(self.last_ts, self.market.clock_ts, _speed(self.session))
        # Before 0.2 what was on its way arrived at an instant of the clock: its way begins anew.
        self._ways_by_clock = not self.is_played and "market_ends" not in state
        venue.market_ends = {UUID(key): end for key, end in state.get("market_ends", {}).items()}
        self._looked_at, self._unseen_ts = state.get("looked", (0, _NEVER))
        self._restore_stress(state, is_new_market=is_new_market)

    def restore_orders(self, orders: list[Order]) -> int:
        """Let committed open orders take part again; return how many the engine's memory did not agree with."""
        # As they were accepted: what has arrived, with the wishes about it, before what is on its way.
        for order in orders if self._ways_by_clock else ():
            now = self.market.clock_ts + self.market_delay_ns
            order.arrival_ts = now
            order.amend_arrival_ts, order.cancel_arrival_ts = (
                now if due else 0 for due in (order.amend_arrival_ts, order.cancel_arrival_ts)
            )
        for order in sorted(
            orders, key=lambda each: (not each.priority, each.priority, each.arrival_ts, each.created_ts, each.order_id)
        ):
            self.venue.restore(order)
        return self.venue.reconcile(self._engine_orders(), self.last_ts)

    def _engine_orders(self) -> NDArray[Any]:
        return open_orders_of(self.market.book.state.orders)

    def _market_digest(self) -> bytes:
        return market_digest(self.market)

    def state_hash(self) -> str:
        """Return sha256 of the whole state: book with queues, flow, open orders, positions."""
        venue = self.venue
        digest = hashlib.sha256()
        content: dict[str, Any] = {
            "orders": [venue.orders[key] for key in sorted(venue.orders)],
            "positions": [venue.positions[key] for key in sorted(venue.positions)],
            "counters": [venue.priority, venue.trades, venue.session_sequence],
            "scenarios": self._stress_text,
        }
        digest.update(msgspec.json.encode(content))
        digest.update(self._market_digest())
        return digest.hexdigest()


def _speed(session: Session) -> Fraction:
    return Fraction(session.speed).limit_denominator(1_000)
