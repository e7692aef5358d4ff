"""The order book of one pair: the typed face of the matching engine.

Owns the engine's memory and its growth, puts commands together, hands out events and depth, and checks what must always
hold. Knows no accounts and no clock: time comes in by command.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.order import Side, TimeInForce
from market_maker.matching.codes import EVERYONE, Command, EngineOrderType, Phase, Progress, SelfTrade
from market_maker.matching.compiled import compiled_matching
from market_maker.matching.state import (
    COMMAND_DTYPE,
    EVENTS_MARGIN,
    MISS_SCALE,
    NO_RANK,
    PAGE_MASK,
    PAGE_SHIFT,
    MatchingState,
    empty_ids,
    empty_levels,
    in_cache_lines,
    new_state,
)

QTY_LOTS_MAX = 1 << 40
Events = NDArray[Any]
Commands = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TradingRules:
    """The filters and safeguards of a pair; 0 switches one off.

    Parameters
    ----------
    price_step_ticks, lot_step : prices and quantities must be multiples of these
    qty_lots_max : largest quantity of an order, in lots
    notional_min : least price times quantity, in tick-lots; market orders are valued at the reference price
    collar_ticks : a limit price may be so far from the reference price; market orders trade no further
    static_band_ticks : a trade farther from the reference price interrupts continuous trading
    dynamic_band_ticks : so does one farther from the last price before the order that would trade
    volatility_auction_ns : how long the auction after an interruption collects orders; 0: until a command ends it
    seed : root of the draws of `execution_probability`

    Raises
    ------
    InvalidRequest
        for a negative number, or a quantity above 2^40 lots
    """

    price_step_ticks: int = 1
    lot_step: int = 1
    qty_lots_max: int = 1 << 30
    notional_min: int = 0
    collar_ticks: int = 0
    static_band_ticks: int = 0
    dynamic_band_ticks: int = 0
    volatility_auction_ns: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value < 0 or value >= 1 << 62:
                raise InvalidRequest.of(name, value, "a whole number from 0 to 2^62 - 1")
        if not 0 < self.qty_lots_max <= QTY_LOTS_MAX:
            raise InvalidRequest.of("qty_lots_max", self.qty_lots_max, "1 to 2^40 lots")


def new_commands(count: int) -> Commands:
    """Return `count` commands of zeros, to be filled in column by column; see `state.COMMAND_DTYPE`."""
    return np.zeros(count, COMMAND_DTYPE)


class OrderBook:
    """One pair's book and its rules.

    Parameters
    ----------
    rules : filters and safeguards
    phase : the phase to begin in
    owners : owners are numbered 0 .. owners - 1; 0 is the anonymous flow, without self-trade prevention and mass actions
    orders, pages : room to begin with; both grow by themselves
    events : size of the buffer in which events leave the engine

    Examples
    --------
    >>> book = OrderBook()
    >>> book.place(Side.SELL, price_ticks=101, qty_lots=5, order_id=1)["kind"].tolist()
    [1]
    >>> book.place(Side.BUY, price_ticks=101, qty_lots=2, order_id=2, owner=7)["kind"].tolist()
    [1, 3, 3]
    >>> book.depth(Side.SELL, 3).tolist()
    [[101, 3, 1]]
    """

    def __init__(
        self,
        rules: TradingRules | None = None,
        *,
        phase: Phase = Phase.CONTINUOUS,
        owners: int = 1024,
        orders: int = 4096,
        pages: int = 64,
        events: int = 4096,
    ) -> None:
        if events <= EVENTS_MARGIN:
            raise InvalidRequest.of("events", events, f"more than {EVENTS_MARGIN}")
        self.rules = rules or TradingRules()
        self._kernel = compiled_matching()
        state = new_state(orders=orders, owners=owners, pages=pages, events=events)
        for name in TradingRules.__slots__:
            state.head[name] = getattr(self.rules, name)
        state.head["phase"] = phase
        self._take_over(state)

    def _take_over(self, state: MatchingState) -> None:
        self.state = state
        self.sealed = self._kernel.seal(state)
        self._head = state.head[0]

    @property
    def phase(self) -> Phase:
        """The present trading phase."""
        return Phase(int(self._head["phase"]))

    @property
    def clock_ts(self) -> int:
        """The engine's time in ns."""
        return int(self._head["clock_ts"])

    @property
    def last_ticks(self) -> int:
        """The price of the last trade in ticks, 0 before the first."""
        return int(self._head["last_ticks"])

    @property
    def open_orders(self) -> int:
        """How many orders rest or wait."""
        return len(self.state.free_orders) - int(self._head["free_orders"])

    @property
    def traded_lots(self) -> int:
        """Volume of all trades, in lots."""
        return int(self._head["traded_lots"])

    @property
    def matches(self) -> int:
        """How many trades there were."""
        return int(self._head["match_id"])

    def best(self, side: Side) -> int | None:
        """Return the best price of a side in ticks, None when it is empty."""
        rank = int(self.state.best[0 if side is Side.BUY else 1])
        return None if rank == NO_RANK else -int(side) * rank

    def depth(self, side: Side, levels: int) -> NDArray[np.int64]:
        """Return up to `levels` rows of price (ticks), displayed lots and orders, best first."""
        found = np.zeros((levels, 3), np.int64)
        return found[: self._kernel.copy_depth(self.sealed, 0 if side is Side.BUY else 1, found)]

    def execute(self, commands: Commands) -> Events:
        """Do commands in order; return their events, see `state.EVENT_DTYPE`."""
        if commands.dtype != COMMAND_DTYPE or commands.ndim != 1 or not commands.flags.c_contiguous:
            raise InvalidRequest.of("commands", commands.dtype, "a contiguous row of COMMAND_DTYPE, see new_commands")
        parts, done = [], 0
        while True:
            done = self._kernel.run(self.sealed, commands, done)
            count, code = int(self._head["event_count"]), int(self._head["code"])
            parts.append(self.state.events[:count].copy())
            self._head["event_count"] = 0
            if code == Progress.DONE:
                return parts[0] if len(parts) == 1 else np.concatenate(parts)
            if code == Progress.NEEDS_ORDERS:
                self._take_over(_with_more_orders(self.state, self._kernel.rebuild, self._kernel.seal))
            elif code == Progress.NEEDS_PAGES:
                self._take_over(_with_more_pages(self.state, self._kernel.rebuild, self._kernel.seal))

    def _command(self, kind: Command, **fields: int) -> Events:
        command = new_commands(1)
        command["kind"] = kind
        for name, value in fields.items():
            command[name] = value
        return self.execute(command)

    def place(
        self,
        side: Side,
        *,
        qty_lots: int,
        price_ticks: int = 0,
        order_id: int = 0,
        owner: int = 0,
        order_type: EngineOrderType = EngineOrderType.LIMIT,
        time_in_force: TimeInForce = TimeInForce.GTC,
        stop_ticks: int = 0,
        display_lots: int = 0,
        expire_ts: int = 0,
        post_only: bool = False,
        self_trade: SelfTrade = SelfTrade.NONE,
        execution_probability: float = 1.0,
        price_impact: float = 0.0,
    ) -> Events:
        """Place one order and return what followed; a refusal is an event, too.

        Parameters
        ----------
        order_id : positive and unique among open orders; 0: the engine numbers it -1, -2, ...
        display_lots : quantity shown of an iceberg; 0: all of it
        execution_probability, price_impact : in [0, 1], kept to 1e-9
        """
        for name, number in (("execution_probability", execution_probability), ("price_impact", price_impact)):
            if not 0.0 <= number <= 1.0:
                raise InvalidRequest.of(name, number, "a number from 0 to 1")
        return self._command(
            Command.NEW, side=side, qty_lots=qty_lots, price_ticks=price_ticks, order_id=order_id, owner=owner,
            order_type=order_type, time_in_force=time_in_force, stop_ticks=stop_ticks, display_lots=display_lots,
            ts=expire_ts, post_only=post_only, self_trade=self_trade,
            miss_e9=MISS_SCALE - round(execution_probability * MISS_SCALE), impact_e9=round(price_impact * MISS_SCALE),
        )  # fmt: skip

    def cancel(self, order_id: int, *, owner: int = EVERYONE) -> Events:
        """Cancel one order; an owner can only cancel his own, EVERYONE speaks for the venue."""
        return self._command(Command.CANCEL, order_id=order_id, owner=owner)

    def amend(
        self, order_id: int, *, price_ticks: int = 0, qty_lots: int = 0, stop_ticks: int = 0, owner: int = EVERYONE
    ) -> Events:
        """Change price, total quantity or stop; 0 leaves one as it is. Only shrinking keeps the place."""
        return self._command(
            Command.AMEND, order_id=order_id, owner=owner, price_ticks=price_ticks, qty_lots=qty_lots,
            stop_ticks=stop_ticks,
        )  # fmt: skip

    def cancel_all(self, owner: int = EVERYONE, side: Side | None = None) -> Events:
        """Cancel all orders of an owner or of everyone."""
        return self._command(Command.CANCEL_ALL, owner=owner, side=0 if side is None else side)

    def suspend(self, owner: int) -> Events:
        """Cancel an owner's orders and refuse new ones until `release`."""
        return self._command(Command.SUSPEND, owner=owner)

    def release(self, owner: int) -> Events:
        """Take orders of a suspended owner again."""
        return self._command(Command.RELEASE, owner=owner)

    def advance_to(self, ts: int) -> Events:
        """Let time pass to `ts`: orders end, an interruption's auction is held."""
        return self._command(Command.CLOCK, ts=ts)

    def enter(self, phase: Phase) -> Events:
        """Enter a phase; a crossed book is uncrossed before trading or closing."""
        return self._command(Command.PHASE, order_type=phase)

    def set_reference(self, price_ticks: int) -> Events:
        """Set the reference price of collar, static band and auctions."""
        return self._command(Command.REFERENCE, price_ticks=price_ticks)

    def set_rules(self, rules: TradingRules) -> None:
        """Give the book other filters and safeguards, from the next command on; the seed of its draws stays."""
        self.rules = replace(rules, seed=int(self._head["seed"]))
        for name in TradingRules.__slots__:
            self._head[name] = getattr(self.rules, name)

    def indicative(self) -> tuple[int, int] | None:
        """Return price (ticks) and lots of an auction that was held now; None when no prices cross. O(open orders).

        The same rule as of the engine's auction: most volume, least imbalance, nearest to the reference, the lower one.
        """
        bid, ask = self.best(Side.BUY), self.best(Side.SELL)
        if bid is None or ask is None or bid < ask:
            return None
        orders = self.state.orders[:-1]
        orders = orders[(orders["order_id"] != 0) & (orders["leaves_lots"] > 0)]
        bids, asks = orders[(orders["book"] == 0) & (-orders["rank"] >= ask)], orders[orders["book"] == 1]
        asks = asks[asks["rank"] <= bid]
        bid_prices, ask_prices = -bids["rank"], asks["rank"]
        step = max(1, int(self._head["price_step_ticks"]))
        reference = int(self._head["reference_ticks"]) or self.last_ticks or (ask + bid) >> 1
        reference = reference // step * step
        # Quantities are the same between these prices: the nearest to the reference is at an end, or the reference.
        ends = np.concatenate([bid_prices, bid_prices + step, ask_prices, ask_prices - step, [reference, ask, bid]])
        chosen = None
        for price in np.unique(ends[(ends >= ask) & (ends <= bid)]).tolist():
            wanted = int(bids["leaves_lots"][bid_prices >= price].sum())
            offered = int(asks["leaves_lots"][ask_prices <= price].sum())
            rank = (-min(wanted, offered), abs(wanted - offered), abs(price - reference), price)
            chosen = rank if chosen is None else min(chosen, rank)
        return None if chosen is None else (chosen[3], -chosen[0])

    def check_invariants(self) -> None:
        """Raise AssertionError unless the memory is consistent: links, quantities, bitmaps, best prices, ids."""
        state, head = self.state, self._head
        seen = waiting = 0
        for book in range(4):
            ranks = []
            for at in range(int(state.page_counts[book])):
                page = int(state.pages[book, at])
                assert int(state.page_keys[page]) & 3 == book
                levels = state.levels[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT]
                occupied = np.flatnonzero(levels["orders"])
                assert len(occupied) > 0, "a page without levels is in use"
                words = state.words.reshape(-1, len(state.words) // len(state.page_keys))[page]
                bits = np.flatnonzero((words[:, None] >> np.arange(32)) & 1)
                assert np.array_equal(bits, occupied)
                ranks += [((int(state.page_keys[page]) >> 2) << PAGE_SHIFT) | int(i) for i in occupied[::-1]]
                found = sum(self._check_level(book, (page << PAGE_SHIFT) | int(i)) for i in occupied)
                seen += found
                waiting += found if book >= 2 else 0
            assert ranks == sorted(ranks, reverse=True), "pages are listed from worst to best"
            assert int(state.best[book]) == (ranks[-1] if ranks else NO_RANK)
        assert seen == self.open_orders
        assert head["stops"] == waiting
        assert int(state.id_counts.sum()) == seen

    def _check_level(self, book: int, index: int) -> int:
        """Check one queue and return how many orders stand in it."""
        state, level = self.state, self.state.levels[index]
        before, slot, shown, hidden, count = -1, int(level["first"]), 0, 0, 0
        while slot >= 0:
            order = state.orders[slot]
            assert order["before"] == before and order["level"] == index and order["book"] == book
            assert 0 < order["shown_lots"] <= order["leaves_lots"] <= order["qty_lots"]
            shown += int(order["shown_lots"])
            hidden += int(order["leaves_lots"] - order["shown_lots"])
            count += 1
            before, slot = slot, int(order["next"])
        assert before == level["last"]
        assert (shown, hidden, count) == (level["shown_lots"], level["hidden_lots"], level["orders"])
        return count


def _with_more_orders(state: MatchingState, rebuild: Any, seal: Any) -> MatchingState:
    """Return the same engine with room for twice as many orders."""
    before = len(state.orders) - 1
    orders = in_cache_lines(2 * before + 1, state.orders.dtype)
    details = np.zeros(2 * before + 1, state.details.dtype)
    orders[:before], details[:before] = state.orders[:before], state.details[:before]
    expiry = np.zeros(2 * before, np.int32)
    expiry[:before] = state.expiry
    free = np.zeros(2 * before, np.int32)
    count = int(state.head["free_orders"][0])
    free[:before] = np.arange(2 * before - 1, before - 1, -1)
    free[before : before + count] = state.free_orders[:count]
    grown = state._replace(orders=orders, details=details, expiry=expiry, free_orders=free, **empty_ids(2 * before))
    grown.head["free_orders"] = count + before
    grown.head["free_id_pages"] = 2 * before
    grown.directory[:] = -1
    rebuild(seal(grown))
    return grown


def _with_more_pages(state: MatchingState, rebuild: Any, seal: Any) -> MatchingState:
    """Return the same engine with room for twice as many pages of levels."""
    before = len(state.page_keys)
    fresh = empty_levels(2 * before)
    for name, width in (("page_keys", 1), ("summaries", 1), ("words", 32), ("levels", PAGE_MASK + 1)):
        fresh[name][: before * width] = getattr(state, name)[: before * width]
    fresh["pages"][:, :before] = state.pages
    count = int(state.head["free_pages"][0])
    fresh["free_pages"][:before] = np.arange(2 * before - 1, before - 1, -1)
    fresh["free_pages"][before : before + count] = state.free_pages[:count]
    grown = state._replace(**fresh, **empty_ids(len(state.free_orders)))
    grown.head["free_pages"] = count + before
    grown.head["free_id_pages"] = len(state.free_orders)
    rebuild(seal(grown))
    return grown
