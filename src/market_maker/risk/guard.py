"""What stands before every order: limits, what their breaches hold back, kill switches. In memory, by integers.

One per process, asked by the one writer of each pair, so that what it sees is what the order will meet. Without limits and
switches it costs one look at `active`. It refuses and notes; what is noted is written by `control`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import numpy as np

from market_maker.domain.errors import Conflict, LimitBreached
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.order import Order, Side
from market_maker.domain.position import PositionState
from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.figures import Float64
from market_maker.risk import rules
from market_maker.risk.limits import Hold, Limit, LimitKind, LimitScope, LimitState, covers, evaluate
from market_maker.risk.sums import lots_by_pair, members, resting_lots, value_beside
from market_maker.risk.tails import tail_figures

if TYPE_CHECKING:  # the venue brings the compiler with it
    from market_maker.venue.venue import Venue

_SHARE_UNIT, _ONE = Decimal("1e-8"), Decimal(1)
_LOTS = {
    LimitKind.MAX_ORDER_SIZE,
    LimitKind.MAX_POSITION,
    LimitKind.MAX_SELF_TRADE,
    LimitKind.MAX_WORST_CASE_POSITION,
}
_CASH = {LimitKind.MAX_ORDER_NOTIONAL, LimitKind.MAX_NOTIONAL}
_COUNTS = {LimitKind.MAX_MESSAGE_RATE, LimitKind.MAX_REPEATED_ORDERS}
GUARDED = frozenset({*_LOTS, *_CASH, *_COUNTS, LimitKind.PRICE_COLLAR, LimitKind.MAX_BOOK_VAR})
"""Kinds that are evaluated before an order."""


class OrderWish(Protocol):
    """What of an order the guard looks at, in ticks and lots."""

    account_id: UUID
    strategy_id: UUID | None
    side: Side
    price_ticks: int
    stop_ticks: int
    qty_lots: int


@dataclass(slots=True)
class Amended:
    """An order as an amendment would make it, and the lots that it would add."""

    account_id: UUID
    strategy_id: UUID | None
    side: Side
    price_ticks: int
    stop_ticks: int
    qty_lots: int
    added_lots: int


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """No new order in a scope until it is released."""

    switch_id: UUID
    scope: LimitScope
    scope_id: UUID | None
    reason: str
    engaged_ts: int


@dataclass(slots=True)
class Noted:
    """The last value that a limit met before an order, and the state that it was then in."""

    value: Decimal
    state: LimitState
    position_id: UUID
    ts: int


class OrderGuard:
    """Limits and switches in memory.

    Parameters
    ----------
    wake : called when something is to be written: a state that changed
    venues : returns those that run: what limits on sums look at beside the venue of an order
    """

    def __init__(self, wake: Callable[[], None], venues: Callable[[], Iterable[Venue]] = tuple) -> None:
        self.active = False
        self.noted: dict[UUID, Noted] = {}
        self.scenarios: dict[UUID, Float64] = {}
        self.confidence = Decimal("0.95")
        self._wake = wake
        self._venues = venues
        self._limits: list[Limit] = []
        self._held: list[Limit] = []
        self._switches: list[KillSwitch] = []
        self._bounds: dict[tuple[UUID, UUID], tuple[int, int, Decimal]] = {}
        self._recent: dict[UUID, deque[int]] = {}
        self._equal: dict[tuple[object, ...], deque[int]] = {}

    @property
    def switches(self) -> tuple[KillSwitch, ...]:
        """Switches that are engaged."""
        return tuple(self._switches)

    def set_limits(self, limits: Iterable[Limit]) -> None:
        """Take other limits; what was noted of those that stay is kept."""
        given = list(limits)
        self._limits = [limit for limit in given if limit.kind in GUARDED]
        self._held = [limit for limit in given if limit.hold is not Hold.ACTIVE]
        self._bounds.clear()
        known = {limit.limit_id for limit in given}
        self.noted = {key: value for key, value in self.noted.items() if key in known}
        self._settle()

    def set_switches(self, switches: Iterable[KillSwitch]) -> None:
        """Take other kill switches."""
        self._switches = list(switches)
        self._settle()

    def _settle(self) -> None:
        self.active = bool(self._limits or self._held or self._switches)

    @property
    def needs_scenarios(self) -> bool:
        """Whether a limit on the book's value at risk is there."""
        return any(limit.kind is LimitKind.MAX_BOOK_VAR for limit in self._limits)

    # ------------------------------------------------------------------ before an order

    def check(self, wish: OrderWish, venue: Venue, ts: int) -> None:
        """Refuse an order that a switch, a hold or a limit forbids.

        Raises
        ------
        Conflict : a kill switch, or a halt
        LimitBreached : a limit, or an order that does not reduce where only these are taken
        """
        position = venue.position_for(wish.account_id, wish.strategy_id)
        for switch in self._switches:
            if covers(switch.scope, switch.scope_id, position):
                raise Conflict(f"a kill switch is engaged for {_named(switch.scope, switch.scope_id)}: {switch.reason}")
        for limit in self._held:
            if covers(limit.scope, limit.scope_id, position):
                self._check_hold(limit, wish, position, venue)
        price = wish.price_ticks or wish.stop_ticks or venue.market.reference_ticks
        for limit in self._limits:
            if covers(limit.scope, limit.scope_id, position):
                value = self._value(limit, wish, position, venue, price=price, ts=ts)
                if value is not None:
                    self._hold_against(limit, value, position, venue.instrument, ts)

    def check_amended(self, order: Order, venue: Venue, ts: int, *, price: int, lots: int, stop: int) -> None:
        """As `check`, for an open order that is to become another: what it adds to its quantity counts as an order.

        One that only shrinks passes; limits on size and price look at the whole order as it would be.
        """
        more = max((lots or order.qty_lots) - order.qty_lots, 0)
        if not more and not price and not stop:
            return
        self.check(
            Amended(
                order.account_id, order.strategy_id, order.side, price or order.price_ticks, stop or order.stop_ticks,
                lots or order.qty_lots, more,
            ),
            venue,
            ts,
        )  # fmt: skip

    def _check_hold(self, limit: Limit, wish: OrderWish, position: PositionState, venue: Venue) -> None:
        where = f"{_named(limit.scope, limit.scope_id)} (limit {limit.limit_id}, {limit.kind})"
        if limit.hold is Hold.HALTED:
            raise Conflict(f"{where} is HALTED: no order is taken until the limit is reset")
        resting = resting_lots(venue, wish.side, (position,))
        added = wish.added_lots if isinstance(wish, Amended) else wish.qty_lots
        if not rules.only_reduces(int(wish.side), position.qty_lots, resting, added):
            raise LimitBreached(f"{where} is REDUCING: only orders that reduce the position are taken")

    def _hold_against(self, limit: Limit, value: int, position: PositionState, instrument: Instrument, ts: int) -> None:
        bound, warn_from, unit = self._bound(limit, instrument)
        noted = self.noted.get(limit.limit_id)
        before = LimitState.OK if noted is None else noted.state
        if value < warn_from and before is LimitState.OK:
            state, shown = LimitState.OK, EXACT.multiply(Decimal(value), unit)
        else:
            shown = EXACT.multiply(Decimal(value), unit)
            state = evaluate(limit, shown, before).state
        self.noted[limit.limit_id] = Noted(shown, state, position.position_id, ts)
        if state is not before:
            self._wake()
        if value > bound:
            raise LimitBreached(
                f"the order would take {limit.kind} to {shown.normalize(EXACT):f}, beyond the limit of"
                f" {limit.threshold:f} (limit {limit.limit_id})"
            )

    def _bound(self, limit: Limit, instrument: Instrument) -> tuple[int, int, Decimal]:
        """Return threshold and warning in whole units of this pair, and the unit."""
        found = self._bounds.get((limit.limit_id, instrument.pair_id))
        if found is None:
            kind = limit.kind
            unit = _SHARE_UNIT
            if kind in _LOTS:
                unit = instrument.lot_size
            elif kind in _CASH:
                unit = instrument.tick_lot
            elif kind in _COUNTS:
                unit = _ONE
            bound = int(EXACT.divide(limit.threshold, unit).to_integral_value(ROUND_FLOOR))
            warn = EXACT.divide(EXACT.multiply(limit.threshold, limit.warn_share), unit)
            found = (bound, int(warn.to_integral_value(ROUND_CEILING)), unit)
            self._bounds[(limit.limit_id, instrument.pair_id)] = found
        return found

    # ------------------------------------------------------------------ what an order would make of each figure

    def _value(
        self, limit: Limit, wish: OrderWish, position: PositionState, venue: Venue, *, price: int, ts: int
    ) -> int | None:
        """Return the limited figure with the order, in units of `_bound`; None where the order does not make it worse."""
        added = wish.added_lots if isinstance(wish, Amended) else wish.qty_lots
        signed = int(wish.side) * added
        match limit.kind:
            case LimitKind.MAX_ORDER_SIZE:
                return wish.qty_lots
            case LimitKind.MAX_ORDER_NOTIONAL:
                return price * wish.qty_lots
            case LimitKind.PRICE_COLLAR:
                reference = venue.market.reference_ticks
                return rules.collar_share(price, reference)
            case LimitKind.MAX_MESSAGE_RATE:
                return _counted(self._recent.setdefault(limit.limit_id, deque()), ts)
            case LimitKind.MAX_REPEATED_ORDERS:
                key = (
                    limit.limit_id,
                    position.pair_id,
                    wish.side,
                    wish.price_ticks,
                    wish.stop_ticks,
                    wish.qty_lots,
                )
                if len(self._equal) > 10_000:
                    self._equal = {
                        known: times for known, times in self._equal.items() if ts - times[-1] < NS_PER_SECOND
                    }
                return _counted(self._equal.setdefault(key, deque()), ts)
            case LimitKind.MAX_SELF_TRADE:
                return _own_opposite(wish, venue)
            case LimitKind.MAX_WORST_CASE_POSITION:
                covered = members(limit, venue, position)
                resting = int(wish.side) * resting_lots(venue, wish.side, covered)
                return _if_larger(rules.larger_position(_net(covered), resting + signed))
            case LimitKind.MAX_POSITION:
                return _if_larger(rules.larger_position(_net(members(limit, venue, position)), signed))
            case LimitKind.MAX_NOTIONAL:
                after = rules.larger_position(position.qty_lots, signed)
                if after == rules.NOT_WORSE:
                    return None
                return after * price + value_beside(limit, venue, self._venues(), position)
        return self._book_var(limit, position, venue, signed)

    def _book_var(self, limit: Limit, position: PositionState, venue: Venue, signed: int) -> int | None:
        """Return the value at risk of all that the limit covers with the order; None where the order does not raise it."""
        pair_id = venue.instrument.pair_id
        if pair_id not in self.scenarios:
            raise LimitBreached(
                f"the value at risk of {venue.instrument.symbol} is not known yet: too little price history"
                f" (limit {limit.limit_id})"
            )
        profits = np.zeros_like(self.scenarios[pair_id])
        for held_id, lots in lots_by_pair(limit, venue, self._venues(), position).items():
            if held_id in self.scenarios:
                profits = profits + lots * self.scenarios[held_id]
        before = tail_figures(-profits, self.confidence).value_at_risk
        after = tail_figures(-(profits + signed * self.scenarios[pair_id]), self.confidence).value_at_risk
        return None if after <= before else int(-(-after * 1e8 // 1))


def _net(positions: Iterable[PositionState]) -> int:
    return sum(each.qty_lots for each in positions)


def _if_larger(lots: int) -> int | None:
    return None if lots == rules.NOT_WORSE else lots


def _counted(times: deque[int], ts: int) -> int:
    """Return how many there were in the second up to now, this one included."""
    while times and ts - times[0] >= NS_PER_SECOND:
        times.popleft()
    times.append(ts)
    return len(times)


def _own_opposite(wish: OrderWish, venue: Venue) -> int:
    """Return the lots of the account's own orders that the order would meet."""
    side = int(wish.side)
    price = wish.price_ticks
    return sum(
        order.leaves_lots
        for order in venue.orders.values()
        if order.account_id == wish.account_id
        and order.side is not wish.side
        and order.price_ticks
        and (not price or side * (price - order.price_ticks) >= 0)
    )


def _named(scope: LimitScope, scope_id: UUID | None) -> str:
    return "the whole book" if scope is LimitScope.ALL else f"{scope.value.lower()} {scope_id}"
