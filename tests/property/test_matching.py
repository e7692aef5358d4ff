"""What holds of the book after any commands: never crossed while it trades, quantity conserved, levels sorted, queues first come."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from market_maker.domain.order import Side, TimeInForce
from market_maker.matching.book import Events, OrderBook, TradingRules
from market_maker.matching.codes import EngineOrderType, EventKind, Phase, SelfTrade

ENDS = {EventKind.CANCELED, EventKind.EXPIRED}
SIDES, LOTS, PRICES = st.sampled_from(Side), st.integers(1, 30), st.integers(80, 120)
OWNERS = st.integers(0, 3)


class MatchingMachine(RuleBasedStateMachine):
    """Follows every order's quantity through the events alone and compares with the book."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: dict[int, int] = {}
        self.bought = self.sold = self.sequence = self.next_id = 0

    @initialize(band=st.sampled_from([0, 8]), phase=st.sampled_from([Phase.CONTINUOUS, Phase.PRE_OPEN]))
    def begin(self, band: int, phase: Phase) -> None:
        self.book = OrderBook(TradingRules(dynamic_band_ticks=band), phase=phase, owners=4, orders=2, pages=2, events=9)

    def take_in(self, events: Events) -> None:
        for event in events:
            kind, order_id = EventKind(int(event["kind"])), int(event["order_id"])
            lots, leaves = int(event["qty_lots"]), int(event["leaves_lots"])
            self.sequence += 1
            assert int(event["sequence"]) == self.sequence
            if kind is EventKind.ACCEPTED:
                assert order_id not in self.leaves
                self.leaves[order_id] = lots
            elif kind is EventKind.FILLED:
                self.leaves[order_id] -= lots
                assert self.leaves[order_id] == leaves >= 0
                if event["side"] > 0:
                    self.bought += lots
                else:
                    self.sold += lots
            elif kind in ENDS:
                # What was open has gone, or (self-trade prevention) was taken off.
                self.leaves[order_id] -= lots
                assert self.leaves[order_id] == leaves == 0
            elif kind in {EventKind.AMENDED, EventKind.RESTATED}:
                self.leaves[order_id] = leaves
            if self.leaves.get(order_id) == 0:
                del self.leaves[order_id]

    @rule(side=SIDES, price=PRICES, lots=LOTS, owner=OWNERS, force=st.sampled_from(TimeInForce), post_only=st.booleans(),
          display=st.sampled_from([0, 1, 5]), self_trade=st.sampled_from(SelfTrade), wait=st.integers(1, 50))  # fmt: skip
    def place(self, side, price, lots, owner, force, post_only, display, self_trade, wait) -> None:  # type: ignore[no-untyped-def]
        self.next_id += 1
        self.take_in(
            self.book.place(
                side, price_ticks=price, qty_lots=lots, order_id=self.next_id, owner=owner, time_in_force=force,
                post_only=post_only, display_lots=display, self_trade=self_trade,
                expire_ts=self.book.clock_ts + wait if force is TimeInForce.GTD else 0,
            )
        )  # fmt: skip

    @rule(side=SIDES, lots=LOTS, stop=PRICES, limit=st.one_of(st.none(), PRICES))
    def place_stop(self, side: Side, lots: int, stop: int, limit: int | None) -> None:
        self.next_id += 1
        kind = EngineOrderType.STOP if limit is None else EngineOrderType.STOP_LIMIT
        self.take_in(
            self.book.place(
                side, qty_lots=lots, stop_ticks=stop, price_ticks=limit or 0, order_type=kind, order_id=self.next_id
            )
        )

    @rule(back=st.integers(0, 20), price=st.one_of(st.just(0), PRICES), lots=st.one_of(st.just(0), LOTS))
    def amend(self, back: int, price: int, lots: int) -> None:
        self.take_in(self.book.amend(max(1, self.next_id - back), price_ticks=price, qty_lots=lots))

    @rule(back=st.integers(0, 20))
    def cancel(self, back: int) -> None:
        self.take_in(self.book.cancel(max(1, self.next_id - back)))

    @rule(owner=st.integers(1, 3))
    def cancel_all(self, owner: int) -> None:
        self.take_in(self.book.cancel_all(owner))

    @rule(step=st.integers(0, 20))
    def advance(self, step: int) -> None:
        self.take_in(self.book.advance_to(self.book.clock_ts + step))

    @rule(phase=st.sampled_from([*Phase, Phase.CONTINUOUS, Phase.CONTINUOUS]))
    def enter(self, phase: Phase) -> None:
        self.take_in(self.book.enter(phase))

    @invariant()
    def memory_is_consistent(self) -> None:
        self.book.check_invariants()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.bought == self.sold == self.book.traded_lots
        assert len(self.leaves) == self.book.open_orders
        shown = sum(int(self.book.depth(side, 100)[:, 1].sum()) for side in Side)
        assert shown <= sum(self.leaves.values())

    @invariant()
    def book_is_not_crossed_while_it_trades(self) -> None:
        bid, ask = self.book.best(Side.BUY), self.book.best(Side.SELL)
        if self.book.phase is Phase.CONTINUOUS and bid is not None and ask is not None:
            assert bid < ask

    @invariant()
    def levels_are_sorted(self) -> None:
        depth = {side: self.book.depth(side, 100) for side in Side}
        for side, levels in depth.items():
            prices = levels[:, 0].tolist()
            assert prices == sorted(prices, reverse=side is Side.BUY)


TestMatching = MatchingMachine.TestCase
TestMatching.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


def test_a_queue_is_first_come() -> None:
    """Whoever came first at a price is filled first, whatever was canceled in between."""
    book = OrderBook()
    for order_id in range(1, 60):
        book.place(Side.BUY, price_ticks=100 + order_id % 3, qty_lots=1, order_id=order_id)
    for order_id in range(1, 60, 5):
        book.cancel(order_id)
    events = book.place(Side.SELL, order_type=EngineOrderType.MARKET, qty_lots=100)
    makers = [int(event["order_id"]) for event in events if event["kind"] == EventKind.FILLED and event["side"] > 0]
    left = [order_id for order_id in range(1, 60) if order_id % 5 != 1]
    assert makers == sorted(left, key=lambda order_id: (-(order_id % 3), order_id))
