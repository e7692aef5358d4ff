"""One pair's whole simulated market: the venue and the invented participants, moved through time together.

Pure: no clock, no I/O. What must survive a restart goes out by `dump_market` and comes back by `load_market`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import msgspec

from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode
from market_maker.domain.order import Order, Side
from market_maker.matching.reference import RestingOrder
from market_maker.synthetic.market import MICRO, MarketState, parameters_for, taker_orders, wanted_levels
from market_maker.venue.changes import Changes
from market_maker.venue.funds import AccountFunds
from market_maker.venue.venue import Venue


@dataclass(slots=True)
class Session:
    """A market in time: the row of table `sessions`.

    `state` is RUNNING, PAUSED or STOPPED. `market` is the JSON text of `SimulatedExchange.dump_market`, empty
    before the first commit. Durations are in ns.
    """

    session_id: UUID
    pair_id: UUID
    mode: TestMode
    seed: int
    state: str
    price_deviation: float
    execution_delay_ns: int
    market_update_interval_ns: int
    initial_price_ticks: int
    created_ts: int
    updated_ts: int
    sequence: int = 0
    market: str = ""


class Books:
    """Snapshots of the present instant by depth, made once however often they are asked for."""

    def __init__(self) -> None:
        self._instant: tuple[SimulatedExchange, int, int] | None = None
        self._by_depth: dict[int, BookSnapshot] = {}

    def get(self, exchange: SimulatedExchange, depth: int) -> BookSnapshot:
        """Return the best `depth` levels of both sides."""
        instant = (exchange, exchange.venue.book_sequence, exchange.last_ts)
        if instant != self._instant:
            self._instant = instant
            self._by_depth.clear()
        found = self._by_depth.get(depth)
        if found is None:
            found = self._by_depth[depth] = snapshot(exchange, depth)
        return found


def snapshot(exchange: SimulatedExchange, depth: int) -> BookSnapshot:
    """Return the best `depth` levels of both sides."""
    instrument, book = exchange.instrument, exchange.venue.book

    def side(which: Side) -> tuple[Level, ...]:
        levels = book.levels(which, depth)
        return tuple(Level(instrument.ticks_to_price(price), instrument.lots_to_qty(lots)) for price, lots in levels)

    return BookSnapshot(
        pair_id=instrument.pair_id,
        ts=exchange.last_ts,
        sequence=exchange.venue.book_sequence,
        bids=side(Side.BUY),
        asks=side(Side.SELL),
    )


class SimulatedExchange:
    """The venue of one pair with its synthetic market.

    Parameters
    ----------
    instrument, session : what is traded, and in which market
    funds : account id -> its funds, shared by all pairs
    """

    def __init__(self, instrument: Instrument, session: Session, funds: dict[UUID, AccountFunds]) -> None:
        self.instrument = instrument
        self.session = session
        self.market = MarketState(session.seed, session.initial_price_ticks * MICRO)
        self.parameters = parameters_for(
            reference_ticks=session.initial_price_ticks,
            lot_value_ticks=float(instrument.tick_lot),
            price_deviation=session.price_deviation,
        )
        self.venue = Venue(instrument, session.session_id, self.market, funds)
        self.next_update_ts = session.created_ts
        self.last_ts = session.created_ts

    @property
    def changes(self) -> Changes:
        """What has happened since `take_changes`."""
        return self.venue.changes

    def take_changes(self) -> Changes:
        """Return what has happened since the last call and begin anew."""
        changes, self.venue.changes = self.venue.changes, Changes()
        return changes

    def next_due_ts(self) -> int:
        """Return when something happens next, in ns UTC."""
        due = self.venue.next_due_ts()
        return self.next_update_ts if due is None else min(due, self.next_update_ts)

    def advance_to(self, ts: int) -> None:
        """Let everything due up to `ts` happen, in order of time; at a tie the market moves before orders arrive."""
        while True:
            due = self.venue.next_due_ts()
            if self.next_update_ts <= ts and (due is None or self.next_update_ts <= due):
                now = max(self.next_update_ts, self.last_ts + 1)
                self._step_market(now)
                self.next_update_ts += self.session.market_update_interval_ns
                if self.next_update_ts <= ts - self.session.market_update_interval_ns:
                    self.next_update_ts = ts  # after a standstill the market goes on from now, it does not catch up
            elif due is not None and due <= ts:
                now = max(due, self.last_ts)
                self.venue.process_due(now)
            else:
                break
            self.last_ts = now
        self.last_ts = max(self.last_ts, ts)

    def execute_trade(self, aggressor: Side, price_ticks: int, qty_lots: int, ts: int) -> None:
        """Make a given trade happen: it fills what rests at `price_ticks` or better, the rest is a bare print."""
        traded = self.venue.take_as_market(aggressor, price_ticks, qty_lots, ts)
        if traded < qty_lots:
            self.venue.print_trade(aggressor, price_ticks, qty_lots - traded, ts)
        self.changes.session_changed = True

    def _step_market(self, ts: int) -> None:
        market, book = self.market, self.venue.book
        market.step += 1
        market.move(self.parameters.price_deviation * market.normal())
        wanted = {side: wanted_levels(market, self.parameters, side) for side in Side}
        missing: list[tuple[Side, int, int]] = []
        for side in Side:
            standing = self._withdraw(side, wanted[side])
            for price, quantity in wanted[side].items():
                if standing.get(price, 0) < quantity:
                    missing.append((side, price, quantity - standing.get(price, 0)))
        for side, price, quantity in missing:
            self.venue.quote_as_market(side, price, quantity, ts)
        for side, quantity in taker_orders(market, self.parameters):
            if book.best(Side(-side)) is not None:
                self.venue.take_as_market(side, None, quantity, ts)
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        if bid is not None and ask is not None:
            self.changes.mids.append((ts, bid + ask))
        self.changes.book_changed = True
        self.changes.session_changed = True

    def _withdraw(self, side: Side, wanted: dict[int, int]) -> dict[int, int]:
        """Take out what the market no longer wants, newest first; return what it still shows by price."""
        standing: dict[int, int] = {}
        mine = [order for order in self.venue.market_quotes.values() if order.side is side]
        for order in mine:
            standing[order.price_ticks] = standing.get(order.price_ticks, 0) + order.leaves_lots
        for order in reversed(mine):
            surplus = standing[order.price_ticks] - wanted.get(order.price_ticks, 0)
            if surplus > 0:
                taken = min(surplus, order.leaves_lots)
                self.venue.reduce(order, taken)
                standing[order.price_ticks] -= taken
        return standing

    # ------------------------------------------------------------------ survival

    def dump_market(self) -> str:
        """Return as JSON text all of the market that the orders and positions do not tell."""
        return msgspec.json.encode(self._market_content()).decode()

    def load_market(self, text: str, open_orders: list[Order]) -> None:
        """Restore a committed market and its open orders, each at its place in the queue."""
        content = msgspec.json.decode(text)
        venue = self.venue
        self.market.reference_micro = content["reference_micro"]
        self.market.step = content["step"]
        self.market.draws = content["draws"]
        venue.priority, venue.trades = content["priority"], content["trades"]
        venue.book_sequence = content["book_sequence"]
        venue.session_sequence = self.session.sequence
        self.next_update_ts, self.last_ts = content["next_update_ts"], content["last_ts"]
        resting = [(priority, None, (side, price, leaves)) for side, price, leaves, priority in content["resting"]]
        ours = [(order.priority, order, None) for order in open_orders]
        for priority, order, synthetic in sorted([*resting, *ours], key=lambda row: row[0]):
            if order is not None:
                venue.restore(order)
            elif synthetic is not None:
                side, price, leaves = synthetic
                venue.rest_as_market(RestingOrder(Side(side), price, leaves, priority, None))
        self.take_changes()

    def state_hash(self) -> str:
        """Return sha256 of the whole state: book with queue order, open orders, positions, market. Clocks apart."""
        content = self._market_content()
        for key in ("next_update_ts", "last_ts", "book_sequence"):
            del content[key]
        venue = self.venue
        content["book"] = {
            side.name: [[order.price_ticks, order.leaves_lots, order.priority] for order in venue.book.orders(side)]
            for side in Side
        }
        content["orders"] = [asdict(venue.orders[key]) for key in sorted(venue.orders)]
        content["positions"] = [asdict(venue.positions[key]) for key in sorted(venue.positions)]
        content["session_sequence"] = venue.session_sequence
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()

    def _market_content(self) -> dict[str, Any]:
        venue = self.venue
        return {
            "reference_micro": self.market.reference_micro,
            "step": self.market.step,
            "draws": self.market.draws,
            "priority": venue.priority,
            "trades": venue.trades,
            "book_sequence": venue.book_sequence,
            "next_update_ts": self.next_update_ts,
            "last_ts": self.last_ts,
            "resting": [
                [int(order.side), order.price_ticks, order.leaves_lots, order.priority]
                for order in venue.market_quotes.values()
            ],
        }
