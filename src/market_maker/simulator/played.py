"""A session whose market is a recording: orders of ours stand in it and fill as in a backtest, the rest is the session's.

Instants at which orders arrive and end are those of the market, so that what happens does not depend on how fast it is
played. Pure, as the exchange of an invented market; the recording is handed in by those who can open it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol, cast
from uuid import UUID

import msgspec
from numpy.typing import NDArray

from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Order, Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.matching.book import Commands, Events
from market_maker.simulator.exchange import LOOK_NS, SimulatedExchange
from market_maker.simulator.market_memory import replayed
from market_maker.simulator.market_time import MarketTime
from market_maker.simulator.session import AtEnd, Pace, Playback, Session, SessionRules
from market_maker.venue.funds import AccountFunds
from market_maker.venue.market.market import SyntheticMarket
from market_maker.venue.queues import ORDERS_MAX, QueuePlace

LOOKS_MAX = 1_000
"""Looks of agents in one go: a market that is played faster than they can act goes on more slowly."""
ROWS_IN_ONE_GO, EVENTS_IN_ONE_GO, LOOKS_IN_ONE_GO = 400_000, 500, 100
"""What is done in one go of a market that is played as fast as possible: each of them is some 20 ms of work."""
WATCHED_NS = 20_000_000
"""So often (of the clock) a recording is looked after in which agents look at each change."""
CHUNK_NS, CHUNK_NS_MIN = NS_PER_SECOND, 1_000_000
_FOREVER = 1 << 62


class PlayableMarket(Protocol):
    """A recording that plays; `playback.market.PlayedMarket` is one. Prices in ticks, instants in ns of the market's time."""

    passes: int
    is_lost: bool
    """Whether it only stands in for a recording that cannot be opened, see `simulator.lost_recording`."""

    @property
    def clock_ts(self) -> int:
        """The present instant: the recorded one, later when the recording is played again."""

    @property
    def recorded_ts(self) -> int:
        """The recorded instant."""

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last recorded instant that are played."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be played."""

    @property
    def reference_ticks(self) -> int:
        """The mid, rounded up to a tick."""

    @property
    def sequence(self) -> int:
        """A number that grows whenever the book changes."""

    def watch(self, *, wanted: bool) -> None:
        """Say whether `advance` is to stop at what somebody watches for."""

    def advance(self, until_ts: int) -> Events:
        """Let everything happen up to an instant, or to the first one at which there is something to see."""

    def execute(self, commands: Commands) -> Events:
        """Do own commands at the present instant."""

    def others(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """Return price and lots of the best recorded levels."""

    def lots_ahead(self, number: int) -> int:
        """Return what is ahead of an own order."""

    def places(self) -> list[tuple[int, Side, int, int, int, int]]:
        """Return number, side, price, open lots, lots ahead and lots of the level of own orders that rest."""

    def traded(self) -> tuple[int, int, int]:
        """Return lots bought and sold, and trades, since the feed began."""

    def open_orders(self) -> NDArray[Any]:
        """Return the own orders that rest."""

    def dump(self) -> bytes:
        """Return the memory as bytes."""

    def restore(self, data: bytes) -> None:
        """Become the market that was written; DataError when it cannot."""

    def restart(self, ts: int) -> None:
        """Begin anew without own orders, and go on to an instant."""

    def digest(self) -> bytes:
        """Return a digest of the memory."""


class Player(Protocol):
    """Who can open recordings; `playback.player.LakePlayer` is one."""

    def open(self, instrument: Instrument, playback: Playback, seed: int) -> PlayableMarket:
        """Return a recording at the begin of its range; DataError, InvalidRequest. Takes seconds when it is new."""


class PlayedExchange(SimulatedExchange):
    """The venue of one pair with a recording as its market.

    Parameters
    ----------
    instrument, session, funds : as of `SimulatedExchange`; the session has a `playback`
    recording : opened
    """

    is_played = True

    def __init__(
        self, instrument: Instrument, session: Session, funds: dict[UUID, AccountFunds], recording: PlayableMarket
    ) -> None:
        self.recording = recording
        self._chunk_ns = CHUNK_NS
        # What is asked of both kinds of market they have in common; all else is overridden here.
        super().__init__(instrument, session, funds, cast("SyntheticMarket", recording))

    @property
    def playback(self) -> Playback:
        """What is played, and how."""
        assert self.session.playback is not None
        return self.session.playback

    # ------------------------------------------------------------------ time

    @property
    def step(self) -> int:
        """Intervals of `market_update_interval` that have passed since the begin."""
        return (self.recording.clock_ts - self.recording.span[0]) // self.session.market_update_interval_ns

    @property
    def book_sequence(self) -> int:
        """A number that grows whenever the book changes."""
        return self.recording.sequence

    @property
    def _next_step(self) -> int:
        return self.recording.span[0] + (self.step + 1) * self.session.market_update_interval_ns

    @property
    def _is_fastest(self) -> bool:
        return self.playback.pace is Pace.FASTEST

    def next_due_ts(self) -> int:
        """Return when the exchange is to be looked after next, in ns UTC."""
        if self._is_fastest:
            return self.last_ts
        due = min(self.last_ts + LOOK_NS, self.time.wall_at(self._next_step))
        first = self.venue.next_due_ts()
        return self._soon_enough(due if first is None else min(due, self.time.wall_at(first)))

    def _next_look_ts(self) -> int:
        """Return the next instant of the market at which an agent looks at it, or may: of a change nobody knows beforehand."""
        now = self.recording.clock_ts
        watched = any(agent.watches for agent in self.agents)
        return (
            now + round(WATCHED_NS * self.session.speed)
            if watched
            else max(now + 1, min(agent.next_ts() for agent in self.agents))
        )

    def set_speed(self, speed: float) -> None:
        """Let the recording be played so many times as fast as the clock, from the last instant on."""
        self.session.playback = replace(self.playback, pace=Pace.CLOCK)
        super().set_speed(speed)

    def arrival_ts(self, ts: int) -> int:  # noqa: ARG002  (as of an invented market)
        """Return the market's instant at which what is sent now reaches the venue."""
        return self.agent_arrival_ts()

    def agent_arrival_ts(self) -> int:
        """Return the market's instant at which what is sent now reaches the venue."""
        return self.recording.clock_ts + self.market_delay_ns

    def expiry_ts(self, market_ts: int) -> int:
        """Return the end of an order that is to end at an instant of the market: that instant."""
        return market_ts

    def advance_to(self, ts: int) -> None:
        """Play up to `ts` of the clock."""
        if self._stands or ts - self.last_ts > self.standstill_ns:
            self._stands = False
            self._begin_line(max(ts, self.last_ts))
        if not self._is_fastest:
            self._play(self.time.market_at(ts), ts)
            return
        self._take_line(self._chunk_ns, ts)
        rows, events, passes = self.recording.sequence, len(self.changes.events), self.recording.passes
        looks = self._play(self.recording.clock_ts + self._chunk_ns, ts)
        work = (
            (self.recording.sequence - rows) / ROWS_IN_ONE_GO
            + (len(self.changes.events) - events) / EVENTS_IN_ONE_GO
            + looks / LOOKS_IN_ONE_GO
            + (self.recording.passes - passes)
        )
        first, last = self.recording.span
        self._chunk_ns = min(last - first + 1, max(CHUNK_NS_MIN, round(self._chunk_ns / max(0.5, work))))

    def step_by(self, duration_ns: int, ts: int) -> None:
        """Let the market, which is paused, go on by a duration of its own time; all of it is told as before `ts`."""
        self.last_ts = max(self.last_ts, ts - self.standstill_ns)
        ts = max(ts, self.last_ts + 1)
        self._take_line(duration_ns, ts)
        target = self.recording.clock_ts + duration_ns
        while self.recording.clock_ts < target and not self.recording.ended:
            self._play(target, ts)
        self.stand_still()

    def _take_line(self, duration_ns: int, ts: int) -> None:
        """Let a duration of the market end at `ts` of the clock."""
        speed = Fraction(duration_ns, max(1, ts - self.last_ts))
        self.time = MarketTime(self.last_ts, self.recording.clock_ts, speed)

    def _play(self, target: int, ts: int) -> int:
        """Play up to an instant of the market, `ts` of the clock at the latest; return how often agents looked.

        At one instant the market moves first, then what is due at the venue arrives, then agents look.
        """
        self.recording.watch(wanted=any(agent.watches for agent in self.agents))
        looks, sequence = 0, self.recording.sequence
        while True:
            now = self.recording.clock_ts
            due = self.venue.next_due_ts()
            change = self.stress.next_change_ts(now)
            timer = min((agent.next_ts() for agent in self.agents), default=_FOREVER)
            stop = min(target, self._next_step, timer, *(each for each in (due, change) if each is not None))
            is_step = stop >= self._next_step
            self._go_on(max(now, stop), ts)
            now = self.recording.clock_ts
            if change is not None and change <= now:
                self._feel(self.last_ts)
            if due is not None and due <= now:
                self.venue.process_due(self.last_ts, now)
            if is_step and now >= stop:
                self._note_mid()
            if self.agents:
                self._look()
                looks += 1
            due = self.venue.next_due_ts()
            if due is not None and due <= now:
                continue
            if self.recording.ended:
                self._end()
                break
            if now >= target:
                break
            if looks >= LOOKS_MAX:
                self._begin_line(ts)
                break
        self.last_ts = max(self.last_ts, ts)
        self.changes.book_changed |= self.recording.sequence != sequence
        return looks

    def _go_on(self, until: int, ts: int) -> None:
        self.venue.absorb(self.recording.advance(until), lambda at: self._stamp(at, ts))
        self.last_ts = self._stamp(self.recording.clock_ts, ts)

    def _end(self) -> None:
        """Nothing is left to be played."""
        session = self.session
        if self.playback.at_end is AtEnd.STOP:
            self.venue.end_all(self.last_ts)
            self.end_agents()
            session.state = "STOPPED"
        else:
            session.state = "PAUSED"
        self.stand_still()
        self.tell_session(self.last_ts)

    @property
    def has_ended(self) -> bool:
        """Whether the recording has been played to its end."""
        return self.recording.ended

    # ------------------------------------------------------------------ what a recording does not do

    def execute_trade(self, aggressor: Side, price_ticks: int, qty_lots: int, ts: int) -> None:  # noqa: ARG002  (as of an invented market)
        """Raise Conflict: the trades of a recording are what they were."""
        raise Conflict("the market is a recording: no trade can be made to happen in it")

    def set_rules(self, rules: SessionRules) -> None:
        """Take over what orders have that name no self-trade prevention; Conflict for rules of an engine."""
        if rules != SessionRules(self_trade=rules.self_trade):
            raise Conflict("the market is a recording: it has no trading rules of its own")
        self.session.rules = rules
        self.changes.session_changed = True

    def change_parameters(self, parameters: dict[str, Any], ts: int) -> None:  # noqa: ARG002  (as of an invented market)
        """Raise Conflict: a recording has no parameters."""
        if parameters:
            raise Conflict("the market is a recording: it has no parameters")

    def _feel(self, ts: int) -> None:
        """Put the faults of scenarios in force; a recording has no conditions that could change."""
        at = self.recording.clock_ts
        for what, told in self.stress.pass_to(at, ts):
            self._tell_scenario(what, told, ts)
        self._set_faults(self.stress.effects(at).faults)
        self._stress_text = self._stress_json()
        self.changes.session_changed = True

    # ------------------------------------------------------------------ what is told

    def queue_places(self) -> list[QueuePlace]:
        """Return where our resting orders stand in their queues."""
        venue = self.venue
        return [
            QueuePlace(venue.numbered[number].order_id, side, price, leaves, ahead, level)
            for number, side, price, leaves, ahead, level in self.recording.places()[:ORDERS_MAX]
            if number in venue.numbered
        ]

    def playback_data(self) -> dict[str, Any]:
        """Return as JSON values what is played, and where."""
        playback, (first, last) = self.playback, self.recording.span
        return {
            "start_ts": str(playback.start_ts),
            "end_ts": str(playback.end_ts),
            "first_ts": str(first),
            "last_ts": str(last),
            "recorded_ts": str(self.recording.recorded_ts),
            "pace": playback.pace.value,
            "at_end": playback.at_end.value,
            "allow_gaps": playback.allow_gaps,
            "passes": self.recording.passes,
            "ended": self.recording.ended,
        }

    # ------------------------------------------------------------------ survival

    def restore_orders(self, orders: list[Order]) -> int:
        """Let committed open orders take part again; what stands in for a lost recording agrees to all of them."""
        if not self.recording.is_lost:
            return super().restore_orders(orders)
        for order in orders:
            self.venue.restore(order)
        return 0

    def _engine_orders(self) -> NDArray[Any]:
        return self.recording.open_orders()

    def _market_digest(self) -> bytes:
        return self.recording.digest()


def load_played(
    instrument: Instrument,
    session: Session,
    funds: dict[UUID, AccountFunds],
    recording: PlayableMarket,
    *,
    checkpoint: bytes | None,
    log: Iterable[bytes],
) -> tuple[PlayedExchange, str]:
    """Return the exchange as it was committed, without orders and positions, and what was wrong; see `SimulatedExchange.load`."""
    state = msgspec.json.decode(session.market)
    clock_ts, fault = int(state["clock_ts"]), ""
    try:
        if checkpoint is None:
            raise DataError("no checkpoint of the market is stored")
        recording.restore(checkpoint)
        replayed(cast("SyntheticMarket", recording), log, clock_ts)
    except DataError as error:
        fault = error.detail
        recording.restart(clock_ts)
    exchange = PlayedExchange(instrument, session, funds, recording)
    exchange.take_over(state, is_new_market=bool(fault))
    return exchange, fault
