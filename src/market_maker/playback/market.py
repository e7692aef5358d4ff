"""A recording as a market in which orders of ours stand: the backtest's engine behind what an exchange asks of a market.

Orders fill by the engine's rules, as in a backtest; here its log becomes events, and its book, with our orders in it, is shown.
The market has a clock of its own: recorded instants, and when the recording begins anew, later ones. Knows no accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.drive import Capacity, Drive, SetOfRun
from market_maker.backtest.execution import is_of_orders, queue_model_of
from market_maker.backtest.ladder.kernel import (
    DISPLACED,
    FIRST_PAGE,
    MID,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_TICKS,
    Ladder,
)
from market_maker.backtest.latency_models import constant
from market_maker.backtest.queue_models import parameter_of
from market_maker.backtest.state import CHANCE_SCALE, FILL_DTYPE, MARKS_MAX, Note, Reason
from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument
from market_maker.domain.order import OrderStatus, Side
from market_maker.market_data.replay import TRADE_ROW, Feed
from market_maker.matching.book import Commands, Events
from market_maker.matching.codes import Cause, Command, EventKind, LiquidityCode, Phase
from market_maker.matching.state import EVENT_DTYPE
from market_maker.matching.state import ORDER_DTYPE as ENGINE_ORDER_DTYPE
from market_maker.playback.memory import dump_state, fill_state, read_state, state_digest
from market_maker.simulator.session import AtEnd, Playback
from market_maker.strategies.actions import WAKE_BOOK, WAKE_ORDER, WAKE_TRADE
from market_maker.venue.venue import ALONE

ORDERS_MAX = 4_096
"""Own orders that may be open at one time; further ones are rejected."""
MARKS_SPARE = 4_096
"""Levels that one order may still mark as taken; with fewer left, new orders are rejected."""
WATCHED = WAKE_BOOK | WAKE_TRADE | WAKE_ORDER
_KINDS = {
    int(Note.FILLED): EventKind.FILLED,
    int(Note.CANCELED): EventKind.CANCELED,
    int(Note.EXPIRED): EventKind.EXPIRED,
    int(Note.REJECTED): EventKind.REJECTED,
    int(Note.AMENDED): EventKind.AMENDED,
    int(Note.REFUSED): EventKind.REFUSED,
}
_CAUSES = {
    int(Reason.NONE): Cause.REQUESTED,
    int(Reason.NO_LIQUIDITY): Cause.NO_LIQUIDITY,
    int(Reason.POST_ONLY_WOULD_TAKE): Cause.POST_ONLY_WOULD_TAKE,
    int(Reason.TIME_IN_FORCE): Cause.TIME_IN_FORCE,
    int(Reason.CANNOT_FILL_COMPLETELY): Cause.CANNOT_FILL_COMPLETELY,
    int(Reason.NOT_THERE): Cause.NOT_THERE,
}
_IS_TOLD = np.isin(np.arange(len(Note)), list(_KINDS))
_NOTHING = np.zeros(0, EVENT_DTYPE)
_LIQUIDITY = (FILL_DTYPE.names or ()).index("liquidity")


@dataclass(frozen=True, slots=True)
class PlayedBook:
    """What of a market's book is asked for beside its levels."""

    market: PlayedMarket

    @property
    def phase(self) -> Phase:
        """Always CONTINUOUS: auctions of a recorded market are trades in its tape."""
        return Phase.CONTINUOUS

    def best(self, side: Side) -> int | None:
        """Return the best recorded price in ticks, None without one."""
        return int(self.market.ladder.best[_index(side)]) or None


class PlayedMarket:
    """A recording that plays, see `simulator.played.PlayableMarket`.

    Parameters
    ----------
    feed, instrument : the recorded market and its units
    playback : range and what happens at its end
    seed : root of the chance whether a counterparty is there
    """

    def __init__(self, feed: Feed, instrument: Instrument, playback: Playback, seed: int) -> None:
        self._feed, self._instrument, self._seed, self.is_lost = feed, instrument, seed, False
        self._begin_ts, self._end_ts = max(playback.start_ts, feed.first_ts), min(playback.end_ts - 1, feed.last_ts)
        if self._end_ts < self._begin_ts:
            raise DataError(f"the recording ({feed.first_ts} to {feed.last_ts} ns) has no events in the range")
        self._loops = playback.at_end is AtEnd.LOOP
        self.passes, self._shift_ns, self._touches = 0, 0, 0
        self._watched = False
        self.book = PlayedBook(self)
        self._begin()

    def _begin(self) -> None:
        """Make the replay of a pass, up to the instant before the range."""
        model = queue_model_of(None, of_orders=is_of_orders(self._feed))
        one = SetOfRun(
            # Funds are the venue's, which asks before an order comes here.
            balance_tick_lots=MAX_TICK_LOTS // 4,
            latency=constant(0, 0),
            partial_fill=True,
            queue_model=model,
            queue_n=parameter_of(model, None, self._instrument.lot_size),
            seed=self._seed & ((1 << 62) - 1),
        )
        self._drive = Drive(
            self._feed,
            self._instrument,
            [one],
            is_compiled=False,
            wakes_on=WATCHED,
            name="orders of a session",
            capacity=Capacity(orders=ORDERS_MAX, in_flight=64, marks=MARKS_MAX),
            logs=1,
        )
        self._drive.heads["keeps_ended"] = 1
        self._drive.run_until(self._begin_ts - 1)
        self._drive.take_story()
        self._trades = _trades_after(self._feed, self._begin_ts - 1)
        self._next_trades = next(self._trades, None)

    # ------------------------------------------------------------------ time

    @property
    def _now_ts(self) -> int:
        """The recorded instant."""
        return max(self._drive.now_ts, self._begin_ts)

    @property
    def clock_ts(self) -> int:
        """The market's present instant: the recorded one, later by the length of what has been played before."""
        return self._now_ts + self._shift_ns

    @property
    def recorded_ts(self) -> int:
        """The recorded instant that is played, ns UTC."""
        return self._now_ts

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last recorded instant that are played."""
        return self._begin_ts, self._end_ts

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be played."""
        return not self._loops and self._drive.now_ts >= self._end_ts

    def watch(self, *, wanted: bool) -> None:
        """Say whether `advance` is to stop at what somebody watches for."""
        if wanted != self._watched:
            self._watched = wanted
            self._heed()

    def _heed(self) -> None:
        if self._watched:
            self._drive.wake(after_ts=self._drive.now_ts)
        else:
            self._drive.state.clock["wakes_on"] = 0

    def advance(self, until_ts: int) -> Events:
        """Let everything happen up to `until_ts`; return public trades and what concerns own orders.

        When somebody watches: up to the first instant at which a best price changed, a trade was made or something became of
        an own order.
        """
        parts = []
        while True:
            stop = min(until_ts - self._shift_ns, self._end_ts)
            is_seen = self._run_to(stop) if stop > self._drive.now_ts else False
            parts.append(self._told())
            if is_seen or not self._loops or until_ts <= self._end_ts + self._shift_ns:
                return np.concatenate(parts)
            parts.append(self._end_all())
            self._shift_ns += self._end_ts - self._begin_ts + 1
            self.passes += 1
            self._begin()
            self._heed()

    def _run_to(self, ts: int) -> bool:
        """Go on to a recorded instant; return whether there was something to see before it or at it."""
        if self._watched:
            return self._drive.run_to_wake(ts) != 0
        self._drive.run_until(ts)
        return False

    def _settle(self) -> None:
        """Do what is left of the present instant: requests that have just been made; nobody watches them."""
        clock = self._drive.state.clock
        watched = int(clock["wakes_on"][0])
        clock["wakes_on"] = 0
        self._drive.run_until(self._now_ts)
        clock["wakes_on"] = watched

    def _end_all(self) -> Events:
        """End the own orders that rest: the book begins anew, and they have no place in it."""
        for number in self._resting_numbers():
            self._drive.kernel.request_cancel(self._drive.sealed, number)
        self._settle()
        events = self._told()
        events["cause"] = Cause.MASS_CANCEL
        return events

    # ------------------------------------------------------------------ own orders

    def execute(self, commands: Commands) -> Events:
        """Do own commands at the present instant; return what followed.

        Raises
        ------
        Conflict
            for a command that would change the recorded market
        """
        parts = [_NOTHING]
        if self._drive.now_ts < self._begin_ts:
            self._drive.run_until(self._begin_ts)
            self._heed()
            parts.append(self._told())
        for command in commands:
            kind = int(command["kind"])
            if kind == Command.REFERENCE:
                continue
            if kind not in (Command.NEW, Command.CANCEL, Command.AMEND) or int(command["order_id"]) <= 0:
                raise Conflict(
                    "the market is a recording: nothing but own orders can be placed, changed and cancelled in it"
                )
            refused = self._do(kind, command)
            self._touches += 1
            self._settle()
            parts += [self._told()] if refused is None else [self._told(), refused]
        return np.concatenate(parts)

    def _do(self, kind: int, command: Any) -> Events | None:
        """Do a command; return the event of one that is refused, or of one that changes nothing."""
        drive, number = self._drive, int(command["order_id"])
        if kind == Command.CANCEL:
            drive.kernel.request_cancel(drive.sealed, number)
            return None
        if kind == Command.AMEND:
            order = self._slot(number)
            price, lots = (
                int(command[name]) or int(order[known])
                for name, known in (("price_ticks", "known_price_ticks"), ("qty_lots", "known_qty_lots"))
            )
            if (price, lots) == (int(order["known_price_ticks"]), int(order["known_qty_lots"])):
                return self._event(EventKind.AMENDED, Cause.NONE, number, price, lots)
            code = drive.kernel.request_amend(drive.sealed, number, price, lots)
            return None if code == 0 else self._event(EventKind.REFUSED, Cause.INVALID_CODE, number, price, lots)
        clock, head = drive.state.clock[0], drive.head()
        price, lots = int(command["price_ticks"]), int(command["qty_lots"])
        if head["open_count"] >= ORDERS_MAX or clock["marks"] > MARKS_MAX - MARKS_SPARE:
            return self._event(EventKind.REJECTED, Cause.INVALID_CODE, number, price, lots)
        head["last_order_id"] = number - 1  # So that it is known here by its number at the venue.
        code = drive.kernel.submit(
            drive.sealed, int(command["side"]), int(command["order_type"]), int(command["time_in_force"]),
            int(command["post_only"]), price, lots, 0, CHANCE_SCALE - int(command["miss_e9"]), int(command["impact_e9"]),
        )  # fmt: skip
        return None if code >= 0 else self._event(EventKind.REJECTED, Cause.INVALID_CODE, number, price, lots)

    def _event(self, kind: EventKind, cause: Cause, number: int, price: int, lots: int) -> Events:
        event = np.zeros(1, EVENT_DTYPE)
        event["ts"], event["kind"], event["cause"], event["order_id"] = self.clock_ts, kind, cause, number
        event["price_ticks"], event["qty_lots"] = price, lots
        return event

    def _slots(self) -> NDArray[np.int64]:
        state = self._drive.state
        found: NDArray[np.int64] = state.open_slots[0, : int(self._drive.head()["open_count"])]
        return found

    def _slot(self, number: int) -> Any:
        orders = self._drive.state.orders[0]
        slot = next((slot for slot in self._slots() if int(orders[slot]["order_id"]) == number), None)
        assert slot is not None, (number, "the recording does not know this order")
        return orders[slot]

    def _resting_numbers(self) -> list[int]:
        orders = self._drive.state.orders[0][self._slots()]
        found: list[int] = orders["order_id"][orders["status"] < int(OrderStatus.FILLED)].tolist()
        return found

    def open_orders(self) -> NDArray[Any]:
        """Return number, owner (0), whole and open lots of the own orders that rest, as `matching.state.ORDER_DTYPE`."""
        orders = self._drive.state.orders[0][self._slots()]
        orders = orders[orders["status"] < int(OrderStatus.FILLED)]
        found = np.zeros(len(orders), ENGINE_ORDER_DTYPE)
        for name in ("order_id", "qty_lots", "leaves_lots"):
            found[name] = orders[name]
        return found

    def lots_ahead(self, number: int) -> int:
        """Return what was displayed ahead of an own order when something last became of it; 0 for one that does not rest."""
        orders = self._drive.state.orders[0]
        slot = next((slot for slot in self._slots() if int(orders[slot]["order_id"]) == number), None)
        return 0 if slot is None else int(orders[slot]["known_front_lots"])

    def places(self) -> list[tuple[int, Side, int, int, int, int]]:
        """Return number, side, price, open lots, lots ahead and displayed lots of the level of each own order that rests.

        Nearest to the market first.
        """
        state, found = self._drive.state, []
        for s, side in enumerate((Side.BUY, Side.SELL)):
            shown = dict(self.others(side, 1 << 30))
            for slot in state.resting[0, s, : int(state.resting_count[0, s])].tolist():
                order = state.orders[0, slot]
                price, leaves = int(order["price_ticks"]), int(order["leaves_lots"])
                ahead = int(state.nodes[slot]["lots"])
                found.append((int(order["order_id"]), side, price, leaves, ahead, shown.get(price, 0) + leaves))
        return found

    # ------------------------------------------------------------------ what is seen

    @property
    def ladder(self) -> Ladder:
        """The recorded book as its receiver saw it."""
        local: Ladder = self._drive.state.local
        return local

    @property
    def reference_ticks(self) -> int:
        """The mid, the last one while a side is empty, rounded up to a tick; at least 1."""
        return max(1, (int(self.ladder.extent[MID]) + 1) // 2)

    @property
    def sequence(self) -> int:
        """A number that grows whenever the book changes."""
        return self._drive.seen()[0] + self._touches + self.passes * self._feed.events

    @property
    def refilled(self) -> int:
        """How often a best recorded price has changed."""
        return self._drive.seen()[1] + self.passes * self._feed.events

    @property
    def last_trade_ticks(self) -> int:
        """The last recorded price, 0 before the first."""
        return int(self._drive.state.clock["last_trade_ticks"][0])

    def traded(self) -> tuple[int, int, int]:
        """Return lots bought, lots sold and the number of recorded trades since the feed began."""
        clock = self._drive.state.clock[0]
        return int(clock["bought_lots"]), int(clock["sold_lots"]), int(clock["trades"])

    def others(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """Return price and lots of the best recorded levels of a side."""
        ladder, s = self.ladder, _index(side)
        best, found = int(ladder.best[s]), list[tuple[int, int]]()
        displaced, first = int(ladder.extent[DISPLACED]), int(ladder.extent[FIRST_PAGE])
        page, offset = ((best - displaced) >> PAGE_SHIFT) - first, (best - displaced) & PAGE_MASK
        while best and 0 <= page < ladder.table.shape[1] and len(found) < levels:
            position = int(ladder.table[s, page])
            if position >= 0:
                lots = ladder.quantity[position << PAGE_SHIFT : (position + 1) << PAGE_SHIFT]
                ticks = np.flatnonzero(lots[: offset + 1])[::-1] if s == 0 else np.flatnonzero(lots[offset:]) + offset
                ticks = ticks[: levels - len(found)]
                prices = ticks + ((page + first) << PAGE_SHIFT) + displaced
                found += zip(prices.tolist(), lots[ticks].tolist(), strict=True)
            page, offset = page + (1 if s else -1), 0 if s else PAGE_TICKS - 1
        return [level for level in found if level[0] > 0]

    def depth(self, side: Side, levels: int) -> NDArray[np.int64]:
        """Return up to `levels` rows of price (ticks), lots and orders (a recorded level counts as one), best first.

        Own orders are in it, but for those that the other side has reached without filling them.
        """
        state, s = self._drive.state, _index(side)
        found = {price: [lots, 1] for price, lots in self.others(side, levels)}
        other = int(self.ladder.best[1 - s])
        for slot in state.resting[0, s, : int(state.resting_count[0, s])].tolist():
            price, lots = int(state.orders[0, slot]["price_ticks"]), int(state.orders[0, slot]["leaves_lots"])
            if not other or side * (other - price) > 0:
                level = found.setdefault(price, [0, 0])
                level[0] += lots
                level[1] += 1
        rows = sorted(([price, *level] for price, level in found.items()), key=lambda row: -side * row[0])[:levels]
        return np.array(rows, np.int64).reshape(len(rows), 3)

    # ------------------------------------------------------------------ what happened

    def _told(self) -> Events:
        """Return what happened since the last call: recorded trades, then all about own orders, in order of time."""
        entries, fills = self._drive.take_story()
        own = entries[_IS_TOLD[entries["note"]]] if len(entries) else entries
        events = np.zeros(len(own), EVENT_DTYPE)
        if len(own):
            self._describe(events, own, fills)
            for slot in self._slots().copy():
                if int(self._drive.state.orders[0, slot]["known_status"]) >= int(OrderStatus.FILLED):
                    self._drive.kernel.release(self._drive.sealed, int(slot))
        prints = self._prints()
        if not len(prints):
            return events
        whole: Events = np.concatenate([prints, events])
        return whole[np.argsort(whole["ts"], kind="stable")]

    def _describe(self, events: Events, own: NDArray[Any], fills: NDArray[np.int64]) -> None:
        """Write the engine's notes about own orders as events."""
        for name in ("order_id", "price_ticks", "qty_lots", "leaves_lots", "side"):
            events[name] = own[name]
        events["ts"] = own["ts"] + self._shift_ns
        events["kind"] = [_KINDS[note] for note in own["note"].tolist()]
        events["cause"] = [_CAUSES.get(reason, Cause.INVALID_CODE) for reason in own["reason"].tolist()]
        is_fill = own["note"] == int(Note.FILLED)
        events["match_id"][is_fill] = ALONE
        events["liquidity"][is_fill] = fills[_LIQUIDITY]
        events["cause"][is_fill] = 0

    def _prints(self) -> Events:
        """Return the recorded trades since the last call."""
        parts, now = [], self._drive.now_ts
        if self._next_trades is None or self._next_trades["ts"][0] > now:
            return _NOTHING
        while self._next_trades is not None and len(self._next_trades):
            count = int(np.searchsorted(self._next_trades["ts"], now, side="right"))
            parts.append(self._next_trades[:count].copy())
            if count < len(self._next_trades):
                self._next_trades = self._next_trades[count:]
                break
            self._next_trades = next(self._trades, None)
        prints: Events = np.concatenate(parts)
        prints["ts"] += self._shift_ns
        return prints

    # ------------------------------------------------------------------ survival

    def dump(self) -> bytes:
        """Return everything as bytes; a market loaded from them over the same recording goes on byte for byte like this one."""
        header = {
            "data": self._feed.data_hash,
            "span": list(self.span),
            "place": list(self._drive.place),
            "passes": self.passes,
            "shift_ns": self._shift_ns,
            "touches": self._touches,
        }
        return dump_state(self._drive.state, header)

    def restore(self, data: bytes) -> None:
        """Become the market that `dump` wrote; DataError for damaged bytes, another version or another recording."""
        header, content = read_state(data)
        if (header["data"], header["span"]) != (self._feed.data_hash, list(self.span)):
            raise DataError(
                "the recording is not the one that was played: its days have been recorded or imported anew"
            )
        self._begin()
        self._drive.go_to(tuple(header["place"]))
        fill_state(self._drive.state, header, content)
        self.passes, self._shift_ns, self._touches = header["passes"], header["shift_ns"], header["touches"]
        self._trades = _trades_after(self._feed, self._drive.now_ts)
        self._next_trades = next(self._trades, None)
        self._heed()

    def restart(self, ts: int) -> None:
        """Begin anew without own orders, and go on to an instant of the market; nothing is told of it."""
        self.passes = self._shift_ns = self._touches = 0
        self._begin()
        self._heed()
        watched, self._watched = self._watched, False
        if ts > self.clock_ts:
            self.advance(ts)
        self._watched = watched

    def digest(self) -> bytes:
        """Return a digest of the market's memory; equal markets have equal ones, however time was cut into calls."""
        return state_digest(self._drive.state) + repr((self.passes, self._shift_ns, self._touches)).encode()


def _index(side: Side) -> int:
    return 0 if side is Side.BUY else 1


def _trades_after(feed: Feed, ts: int) -> Iterator[Events]:
    """Yield the trades that the receiver sees after an instant as events, part by part; none is empty."""
    for rows in feed.local():
        first = int(np.searchsorted(rows.ts, ts, side="right"))
        places = first + np.flatnonzero(np.abs(rows.code[first:]) == TRADE_ROW)
        if not len(places):
            continue
        found = np.zeros(len(places), EVENT_DTYPE)
        found["ts"], found["price_ticks"], found["qty_lots"] = (
            rows.ts[places],
            rows.price_ticks[places],
            rows.qty_lots[places],
        )
        found["side"] = np.sign(rows.code[places])
        found["kind"], found["liquidity"] = EventKind.FILLED, LiquidityCode.TAKER
        yield found
