"""One pair's whole simulated market: the venue and the synthetic market, moved through time together.

Pure: no clock, no I/O. What must survive a restart goes out by `dump_state`, as the market's own bytes and as the rows of
its log (`Changes.commands`); `load` makes the same exchange of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Protocol
from uuid import UUID

import msgspec

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Order, Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.matching.book import QTY_LOTS_MAX, TradingRules
from market_maker.simulator.design import market_design, warm_up_s
from market_maker.simulator.market_time import MarketTime
from market_maker.simulator.session import Session
from market_maker.venue.changes import Changes
from market_maker.venue.commands import read_log
from market_maker.venue.funds import AccountFunds
from market_maker.venue.market.market import SyntheticMarket
from market_maker.venue.venue import OWNERS_MAX, Venue, open_orders_of

STANDSTILL_NS = 10 * NS_PER_SECOND
"""A market that nobody looked after for longer (of the clock) stood still; it catches up with less."""
LOOK_NS = 100_000_000
"""So often (of the clock) a running market is looked after, at least: its trades are told no later."""
LOOKS_PER_SECOND = 20_000
"""A market that runs faster than the clock is looked at by its agents no more often than this (of the clock)."""
_PASSING = frozenset({"events", "inbox"})


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
    instrument, session : what is traded, and in which market
    funds : account id -> its funds, shared by all pairs
    market : the market to go on with; a new one unless given
    """

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
        self.time = MarketTime(session.created_ts, self.market.clock_ts, _speed(session))
        self.last_ts = session.created_ts
        self.log_number = 0
        self.agents: list[Agent] = []
        self._last_mid_ts = session.created_ts
        self._stands = False

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
        first = self.venue.next_due_ts()
        return due if first is None else min(due, first)

    def stand_still(self) -> None:
        """Let no time pass until the next call of `advance_to`: the market was paused, or has just been restored."""
        self._stands = True

    def set_speed(self, speed: float) -> None:
        """Let the market run so many times as fast as the clock, from the last instant on."""
        self.session.speed = speed
        self._begin_line(self.last_ts)

    def _begin_line(self, wall_ts: int) -> None:
        self.time = MarketTime(wall_ts, self.market.clock_ts, _speed(self.session))

    def advance_to(self, ts: int) -> None:
        """Let everything happen up to `ts`, in order of time; at a tie the market moves before orders arrive."""
        if self._stands or ts - self.last_ts > STANDSTILL_NS:
            self._stands = False
            self._begin_line(max(ts, self.last_ts))
        while True:
            due = self.venue.next_due_ts()
            is_due = due is not None and due <= ts
            at = max(due, self.last_ts) if due is not None and is_due else ts
            until = max(self.time.market_at(at), self.market.clock_ts)
            if self.agents and (look_ts := self._next_look_ts()) < until:
                self._walk_to(look_ts, ts)
                self._look()
                continue
            self._walk_to(until, ts)
            if is_due and due is not None:
                self.last_ts = max(due, self.last_ts)
                self.venue.process_due(self.last_ts)
            if self.agents:
                self._look()
                due = self.venue.next_due_ts()
                is_due = is_due or (due is not None and due <= ts)
            if not is_due:
                break
        self.last_ts = max(self.last_ts, ts)

    def step_by(self, duration_ns: int, ts: int) -> None:
        """Let the market, which is paused, go on by a duration of its own time; all of it is told as before `ts`."""
        # Not longer ago than what counts as one stretch of time.
        self.last_ts = max(self.last_ts, ts - STANDSTILL_NS)
        ts = max(ts, self.last_ts + 1)
        self.time = MarketTime(self.last_ts, self.market.clock_ts, Fraction(duration_ns, ts - self.last_ts))
        self._stands = False
        self.advance_to(ts)
        self.stand_still()

    def _next_look_ts(self) -> int:
        """Return the next instant of the market at which an agent looks at it."""
        now, head = self.market.clock_ts, self.market.flow.head[0]
        due = min(agent.next_ts() for agent in self.agents)
        if any(agent.watches for agent in self.agents):
            speed = self.session.speed
            pause_ns = round(NS_PER_SECOND / LOOKS_PER_SECOND * speed) if speed > 1.0 else 1
            due = min(due, max(int(min(head["next_ts"], head["step_ts"])), now + pause_ns))
        return max(due, now + 1)

    @property
    def market_delay_ns(self) -> int:
        """How long the orders of agents are on their way to the venue, in ns of the market's time."""
        return self.session.execution_delay_ns

    def _look(self) -> None:
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
        """Let the flow go on to an instant of the market, at `ts` of the clock at the latest."""
        if until > self.market.clock_ts:
            self.venue.absorb(self.market.advance(until), lambda at: self._stamp(at, ts))
        self.last_ts = self._stamp(until, ts)

    def _stamp(self, market_ts: int, ts: int) -> int:
        return max(self.last_ts, min(self.time.wall_at(market_ts), ts))

    def _note_mid(self) -> None:
        bid, ask = self.market.book.best(Side.BUY), self.market.book.best(Side.SELL)
        if bid is not None and ask is not None:
            self._last_mid_ts = max(self.last_ts, self._last_mid_ts + 1)
            self.changes.mids.append((self._last_mid_ts, bid + ask))
        self.changes.book_changed = True
        self.changes.session_changed = True

    def execute_trade(self, aggressor: Side, price_ticks: int, qty_lots: int, ts: int) -> None:
        """Make a given trade happen: it fills what rests at `price_ticks` or better, the rest is a bare print."""
        traded = self.venue.place_as_market(aggressor, price_ticks, qty_lots, ts)
        if traded < qty_lots:
            self.venue.print_trade(aggressor, price_ticks, qty_lots - traded, ts)
        self.changes.session_changed = True

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
        fault, market = "", None
        if checkpoint is None:
            fault = "no checkpoint of the market is stored"
        else:
            try:
                market = replayed(SyntheticMarket.load(checkpoint), log, clock_ts)
            except DataError as error:
                fault = error.detail
        if market is None:
            price = state.get("reference_ticks") or max(1, state.get("reference_micro", 0) // 1_000_000)
            market = new_market(instrument, session, price_ticks=price, start_ts=clock_ts)
        exchange = cls(instrument, session, funds, market)
        venue = exchange.venue
        venue.priority, venue.trades = state["priority"], state["trades"]
        venue.session_sequence = session.sequence
        exchange.last_ts = state["last_ts"]
        exchange._last_mid_ts = state.get("last_mid_ts", exchange.last_ts)
        exchange.log_number = state.get("log_number", 0)
        if "line" in state:
            wall_ts, market_ts, numerator, denominator = state["line"]
            exchange.time = MarketTime(wall_ts, market_ts, Fraction(numerator, denominator))
        else:
            exchange.time = MarketTime(exchange.last_ts, market.clock_ts, _speed(session))
        return exchange, fault

    def restore_orders(self, orders: list[Order]) -> int:
        """Let committed open orders take part again; return how many the engine's memory did not agree with."""
        # As they were accepted: what has arrived, with the wishes about it, before what is on its way.
        for order in sorted(
            orders, key=lambda each: (not each.priority, each.priority, each.arrival_ts, each.created_ts, each.order_id)
        ):
            self.venue.restore(order)
        return self.venue.reconcile(open_orders_of(self.market.book.state.orders), self.last_ts)

    def state_hash(self) -> str:
        """Return sha256 of the whole state: book with queues, flow, open orders, positions."""
        venue = self.venue
        digest = hashlib.sha256()
        content: dict[str, Any] = {
            "orders": [venue.orders[key] for key in sorted(venue.orders)],
            "positions": [venue.positions[key] for key in sorted(venue.positions)],
            "counters": [venue.priority, venue.trades, venue.session_sequence],
        }
        digest.update(msgspec.json.encode(content))
        digest.update(market_digest(self.market))
        return digest.hexdigest()


def _speed(session: Session) -> Fraction:
    return Fraction(session.speed).limit_denominator(1_000)


def new_market(instrument: Instrument, session: Session, *, price_ticks: int, start_ts: int) -> SyntheticMarket:
    """Return a new market of a session, with a book."""
    design = market_design(session, tick_lot=float(instrument.tick_lot), price_ticks=price_ticks, start_ts=start_ts)
    return SyntheticMarket.create(
        design,
        TradingRules(qty_lots_max=QTY_LOTS_MAX, seed=session.seed >> 1),
        owners=OWNERS_MAX,
        warm_up_s=warm_up_s(design),
    )


def replayed(market: SyntheticMarket, log: Iterable[bytes], clock_ts: int) -> SyntheticMarket:
    """Let a market do the commands of a log, each at its instant, and go on to `clock_ts`; return it."""
    for rows in log:
        for instant, command in read_log(rows):
            if instant > market.clock_ts:
                market.advance(instant)
            market.execute(command)
    if clock_ts > market.clock_ts:
        market.advance(clock_ts)
    return market


def market_digest(market: SyntheticMarket) -> bytes:
    """Return a digest of a market's memory; equal markets have equal ones, however time was cut into calls."""
    digest = hashlib.sha256()
    matching = market.book.state
    for name in matching._fields:
        if name not in _PASSING:
            array = getattr(matching, name)
            if name == "head":
                array = array.copy()
                array["code"] = 0
            digest.update(array.tobytes())
    for array in market.flow:
        digest.update(array.tobytes())
    return digest.digest()
