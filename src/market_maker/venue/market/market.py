"""A synthetic market: the order book of one pair with invented participants, moved through time together.

Owns the memory of both and its growth, and hands out events, depth and the reference price. Knows no accounts and no wall
clock. Own orders go into the same book and trade with the same flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.order import Side
from market_maker.matching.book import Commands, Events, OrderBook, TradingRules
from market_maker.matching.codes import Command, Progress
from market_maker.synthetic.draws.kernel import SHIFT
from market_maker.synthetic.flow.parameters import (
    Conditions,
    FlowParameters,
    MarketDesign,
    ReferenceParameters,
    conditions_of,
    jump_quantum,
    make_flow,
    set_conditions,
    set_laws,
)
from market_maker.synthetic.flow.state import FlowState
from market_maker.venue.commands import ChangedConditions
from market_maker.venue.market.compiled import compiled_market
from market_maker.venue.market.kernel import NEEDS_POOL
from market_maker.venue.market.memory import dump_market, load_arrays, read_header

NS = 1_000_000_000
TS_MAX = 1 << 62
WARM_UP_S_MAX = 86_400.0
_NO_QUOTES = np.zeros((0, 2), np.int64)


class SyntheticMarket:
    """One pair's market.

    Made by `create` or `load`.

    Parameters
    ----------
    book, flow : the two halves of its memory

    Examples
    --------
    >>> market = SyntheticMarket.create(MarketDesign(price_ticks=100_000, seed=7))
    >>> events = market.advance(60_000_000_000)
    >>> len(events) > 1_000, market.book.best(Side.BUY) < market.book.best(Side.SELL)
    (True, True)
    """

    def __init__(self, book: OrderBook, flow: FlowState) -> None:
        self._kernel = compiled_market()
        self.book = book
        self._take_over(flow)

    @classmethod
    def create(
        cls,
        design: MarketDesign,
        rules: TradingRules | None = None,
        *,
        owners: int = 1024,
        orders: int = 1024,
        pages: int = 64,
        events: int = 16_384,
        warm_up_s: float = 30.0,
    ) -> SyntheticMarket:
        """Return a new market, warmed up: it has a book.

        Parameters
        ----------
        design : what it is made with
        rules : filters and safeguards of the book
        owners : owners are numbered 1 .. owners - 1; 0 is the invented flow
        orders, pages : room of the book to begin with; both grow by themselves
        events : size of the buffer in which events leave the market
        warm_up_s : how long it has traded before `start_ts`, in seconds; its reference price stands still meanwhile

        Raises
        ------
        InvalidRequest
            for a warm-up of less than nothing or more than a day
        """
        if not 0.0 <= warm_up_s <= WARM_UP_S_MAX:
            raise InvalidRequest.of("warm_up_s", warm_up_s, f"seconds from 0 to {WARM_UP_S_MAX}")
        expected = max(2, round(float((design.flow.limit_rates() / design.flow.cancel_rates_of_levels()).sum())))
        rules = rules or TradingRules(seed=design.seed & ((1 << 62) - 1))
        book = OrderBook(rules, owners=owners, orders=max(orders, 4 * expected), pages=pages, events=events)
        book.advance_to(design.start_ts)
        market = cls(book, make_flow(design))
        market._warm_up(round(warm_up_s * NS), 2 * expected)
        return market

    def _take_over(self, flow: FlowState) -> None:
        self.flow = flow
        self._sealed = self._kernel.seal(flow)

    def _warm_up(self, before_ns: int, orders: int) -> None:
        """Build a book from nothing and let it trade; nobody hears of it."""
        # Time passes for the participants alone: the book's clock and the steps of the reference price begin at the start.
        head = self.flow.head[0]
        head["opening"] = orders
        head["ts"] = self.clock_ts - before_ns
        head["pending"] = 0
        self.advance(self.clock_ts)
        self.book.state.head["sequence"] = 0

    # ------------------------------------------------------------------ time

    @property
    def clock_ts(self) -> int:
        """The present instant in ns UTC."""
        return self.book.clock_ts

    def advance(self, until_ts: int) -> Events:
        """Let everything happen up to `until_ts`; return the events in order, see `matching.state.EVENT_DTYPE`.

        Own orders that stood or stopped in between are told like those of the flow, by their owner.

        Raises
        ------
        InvalidRequest
            for an instant that has passed
        """
        if not self.clock_ts <= until_ts < TS_MAX:
            raise InvalidRequest.of("until_ts", until_ts, f"an instant from {self.clock_ts}")
        parts: list[Events] = []
        head, state = self.book.state.head[0], self.book.state
        while True:
            code = self._kernel.advance(self.book.sealed, self._sealed, until_ts, 0, _NO_QUOTES)
            count = int(head["event_count"])
            if count:
                parts.append(state.events[:count].copy())
                head["event_count"] = 0
            if code == Progress.DONE:
                break
            self._make_room(code)
            head, state = self.book.state.head[0], self.book.state
        return parts[0] if len(parts) == 1 else np.concatenate([state.events[:0], *parts])

    def _make_room(self, code: int) -> None:
        if code in {Progress.NEEDS_ORDERS, Progress.NEEDS_PAGES}:
            # The book makes room before it does anything, also before time stands still.
            self.book.advance_to(self.clock_ts)
        elif code == NEEDS_POOL:
            pool = np.zeros(2 * len(self.flow.pool), self.flow.pool.dtype)
            pool[: len(self.flow.pool)] = self.flow.pool
            self._take_over(self.flow._replace(pool=pool))

    # ------------------------------------------------------------------ own orders

    def submit(self, side: Side, **order: Any) -> Events:
        """Place an own order at the present instant and return what followed; arguments as of `OrderBook.place`.

        It stands in the same queues as the flow's orders. What price impact it has moves the reference price for good
        as soon as time goes on.

        Raises
        ------
        InvalidRequest
            for owner 0, which is the flow
        """
        if not order.get("owner"):
            raise InvalidRequest.of("owner", order.get("owner", 0), "1 or more: 0 is the invented flow")
        return self.book.place(side, **order)

    def cancel(self, order_id: int, *, owner: int) -> Events:
        """Cancel an own order at the present instant."""
        return self.book.cancel(order_id, owner=owner)

    def execute(self, commands: Commands) -> Events:
        """Do own commands at the present instant, see `OrderBook.execute`.

        Raises
        ------
        InvalidRequest
            for a command that lets time pass, which `advance` alone does
        """
        if (commands["kind"] == Command.CLOCK).any():
            raise InvalidRequest.of("commands", "CLOCK", "no CLOCK: time passes by advance")
        return self.book.execute(commands)

    # ------------------------------------------------------------------ prices

    @property
    def reference_ticks(self) -> int:
        """The reference price rounded to a tick, at least 1."""
        return max(1, (int(self.flow.head[0]["reference_q20"]) + (1 << (SHIFT - 1))) >> SHIFT)

    @property
    def refilled(self) -> int:
        """A number that changes whenever the flow has filled an empty side."""
        return int(self.flow.head["refilled"][0])

    @property
    def last_trade_ticks(self) -> int:
        """The last price, 0 before the first."""
        return self.book.last_ticks

    def depth(self, side: Side, levels: int) -> NDArray[np.int64]:
        """Return up to `levels` rows of price (ticks), displayed lots and orders, best first."""
        return self.book.depth(side, levels)

    def set_conditions(self, conditions: Conditions) -> None:
        """Set what a scenario changes, from the present instant on."""
        set_conditions(self.flow, conditions)

    @property
    def conditions(self) -> ChangedConditions:
        """The conditions in force, with a jump that is still to be done."""
        return ChangedConditions(conditions_of(self.flow), int(self.flow.conditions["jump_q40"][0]))

    def change_conditions(self, changed: ChangedConditions) -> None:
        """Set conditions and a jump, from the present instant on, as a log has them."""
        set_conditions(self.flow, changed.conditions)
        self.flow.conditions["jump_q40"] = changed.jump_q40

    def set_laws(self, flow: FlowParameters, reference: ReferenceParameters) -> None:
        """Give the market other laws, from the present instant on; see `flow.parameters.set_laws`."""
        set_laws(self.flow, flow, reference)

    def jump(self, relative: float) -> None:
        """Let the reference price jump at the present instant; the flow follows.

        Raises
        ------
        InvalidRequest
            unless `relative` is from -0.99 to 1
        """
        self.flow.conditions["jump_q40"] = jump_quantum(relative)

    def quotes(self, begin_ts: int, every_ns: int, count: int) -> NDArray[np.int64]:
        """Let time pass and return best bid and ask at equal distances, (count, 2) ticks; events are thrown away."""
        if begin_ts < self.clock_ts or every_ns < 1 or begin_ts + count * every_ns >= TS_MAX:
            raise InvalidRequest.of("begin_ts", begin_ts, f"instants from {self.clock_ts} on, in order")
        found = np.zeros((max(1, count), 2), np.int64)
        while code := self._kernel.advance(self.book.sealed, self._sealed, begin_ts, every_ns, found):
            self._make_room(code)
        return found[:count]

    # ------------------------------------------------------------------ survival

    def dump(self) -> bytes:
        """Return everything as bytes; a market loaded from them goes on byte for byte like this one."""
        return dump_market(self.book.state, self.flow)

    @classmethod
    def load(cls, data: bytes) -> SyntheticMarket:
        """Return the market that `dump` wrote.

        Raises
        ------
        DataError
            for damaged bytes, or those of another version
        """
        header, content = read_header(data)
        book = OrderBook(TradingRules(), **header["sizes"])
        flow = load_arrays(header, content, book.state)
        head = book.state.head[0]
        book.rules = TradingRules(**{name: int(head[name]) for name in TradingRules.__slots__})
        return cls(book, flow)


def advance_all(markets: Sequence[SyntheticMarket], until_ts: int, *, threads: int = 2) -> list[Events]:
    """Let several markets advance at once and return the events of each; they share nothing but common factors.

    How many threads there are changes nothing in the result: a common factor is a function of the step alone.
    """
    if threads <= 1 or len(markets) <= 1:
        return [market.advance(until_ts) for market in markets]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda market: market.advance(until_ts), markets))
