"""A replay driven from outside: run to an instant, look, place, cancel. Serves the facade's backtest mode.

Everything a caller sees is what the owner of the orders knows at that time, after latency; `equity` values it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal

from market_maker.backtest.drive import Drive, SetOfRun
from market_maker.backtest.execution import is_of_orders, queue_model_of
from market_maker.backtest.faults import refusal
from market_maker.backtest.fee_models import Contract, FeeState
from market_maker.backtest.ladder.kernel import next_outward, slot_of
from market_maker.backtest.latency_models import LatencyState, constant
from market_maker.backtest.queue_models import QueueModel, parameter_of
from market_maker.backtest.result import FillModel
from market_maker.backtest.state import CHANCE_SCALE, IMPACT_SCALE, Code, Reason
from market_maker.domain.errors import InvalidRequest, NotFound, RejectReason
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.order import Liquidity, OrderStatus, OrderType, Side, TimeInForce
from market_maker.market_data.replay import Feed
from market_maker.performance.worth import Worth
from market_maker.strategies.actions import Records


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as its owner knows it; prices in ticks, quantities in lots, times in ns UTC."""

    order_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    price_ticks: int
    qty_lots: int
    cum_qty_lots: int
    leaves_lots: int
    status: OrderStatus
    reason: RejectReason | None
    queue_ahead_lots: int
    submitted_ts: int


@dataclass(frozen=True, slots=True)
class ReplayFill:
    """One execution at the venue; money in tick-lots."""

    exch_ts: int
    order_id: int
    side: Side
    liquidity: Liquidity
    price_ticks: int
    qty_lots: int
    fee_tick_lots: int


class ReplaySession:
    """An interactive replay.

    Parameters
    ----------
    feed, instrument : the recorded market and its units
    balance : funds at the start, quote currency
    entry_latency_ns, response_latency_ns : one-way latencies
    fill_model : how much of a resting order an opposing quantity fills
    queue_model, queue_n : None: FIFO on feeds of orders, RISK_AVERSE on others; see `queue_models.parameter_of`
    latency : instead of the constant ones
    fees : None: the pair's rates
    leverage, cash_account, seed, impact_half_life_ns : as in `drive.SetOfRun`
    start_ts : where the session begins (the book is built up to there); default: the range of the feed
    logs_orders : keep a log of decisions and order events
    """

    def __init__(
        self,
        feed: Feed,
        instrument: Instrument,
        balance: Decimal = Decimal(100_000),
        *,
        entry_latency_ns: int = 0,
        response_latency_ns: int = 0,
        fill_model: FillModel = FillModel.PARTIAL,
        queue_model: QueueModel | None = None,
        queue_n: float | None = None,
        latency: LatencyState | None = None,
        fees: FeeState | None = None,
        leverage: int = 1,
        cash_account: bool = False,
        seed: int = 0,
        impact_half_life_ns: int = 0,
        start_ts: int | None = None,
        logs_orders: bool = False,
    ) -> None:
        self.instrument = instrument
        self._contract = Contract.of(instrument)
        self._balance = int(EXACT.divide(balance, self._contract.cash_unit))
        model = queue_model_of(queue_model, of_orders=is_of_orders(feed))
        self._drive = Drive(
            feed,
            instrument,
            [
                SetOfRun(
                    balance_tick_lots=self._balance,
                    latency=latency or constant(entry_latency_ns, response_latency_ns),
                    partial_fill=fill_model is FillModel.PARTIAL,
                    queue_model=model,
                    queue_n=parameter_of(model, queue_n, instrument.lot_size),
                    fees=fees,
                    leverage=leverage,
                    cash_account=cash_account,
                    seed=seed,
                    impact_half_life_ns=impact_half_life_ns,
                )
            ],
            logs=int(logs_orders),
        )
        self._drive.heads["keeps_ended"] = 1
        self._ended: dict[int, OrderState] = {}
        self.run_until(max(feed.start_ts if start_ts is None else start_ts, feed.first_ts))

    @property
    def now_ts(self) -> int:
        """The session's clock."""
        return self._drive.now_ts

    @property
    def exhausted(self) -> bool:
        """True once the clock is past the last recorded row."""
        return self.now_ts >= self._drive.feed.last_ts

    def run_until(self, ts: int) -> None:
        """Process everything up to `ts` inclusive; InvalidRequest when it lies in the past."""
        if ts < self.now_ts:
            raise InvalidRequest.of("ts", ts, f"an instant not before the session's clock {self.now_ts}")
        self._drive.run_until(ts)
        self._collect()

    def submit(
        self,
        side: Side,
        order_type: OrderType,
        time_in_force: TimeInForce,
        price_ticks: int,
        qty_lots: int,
        post_only: bool = False,
        *,
        expire_ts: int = 0,
        execution_probability: float = 1.0,
        price_impact: float = 0.0,
    ) -> int:
        """Send an order now and return its id; it reaches the venue after the entry latency.

        `price_ticks` is ignored for MARKET, `expire_ts` (ns UTC) is needed for GTD. InvalidRequest for an order that cannot
        be.
        """
        chance = round(execution_probability * CHANCE_SCALE)
        order_id = int(
            self._drive.kernel.submit(
                self._drive.sealed,
                int(side),
                int(order_type),
                int(time_in_force),
                int(post_only),
                price_ticks,
                qty_lots,
                expire_ts,
                chance,
                round(price_impact * IMPACT_SCALE),
            )
        )
        if order_id < 0:
            raise refusal(Code(-order_id), "order", f"clock {self.now_ts} ns")
        return order_id

    def cancel(self, order_id: int) -> None:
        """Ask the venue to cancel; the answer arrives later. NotFound for an unknown id."""
        self.order(order_id)
        code = Code(self._drive.kernel.request_cancel(self._drive.sealed, order_id))
        if code != Code.REACHED:
            raise refusal(code, "cancel", f"clock {self.now_ts} ns")

    def amend(self, order_id: int, price_ticks: int, qty_lots: int) -> None:
        """Ask the venue to change an order to a price and a whole quantity; the answer arrives later.

        NotFound for an unknown id, InvalidRequest for a price or quantity that cannot be.
        """
        self.order(order_id)
        code = Code(self._drive.kernel.request_amend(self._drive.sealed, order_id, price_ticks, qty_lots))
        if code != Code.REACHED:
            raise refusal(code, "amend", f"clock {self.now_ts} ns")

    def order(self, order_id: int) -> OrderState:
        """Return one order, open or ended."""
        if order_id in self._ended:
            return self._ended[order_id]
        for slot in self._open_slots():
            if int(self._drive.state.orders[0, slot]["order_id"]) == order_id:
                return self._describe(slot)
        raise NotFound.of("order", "order_id", order_id)

    def orders(self) -> list[OrderState]:
        """Return every order of the session in order of submission."""
        everything = [*self._ended.values(), *(self._describe(slot) for slot in self._open_slots())]
        return sorted(everything, key=lambda order: order.order_id)

    def book(self, depth: int = 10) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return (bids, asks) as (price_ticks, qty_lots), best first, as seen after feed latency."""
        return self._levels(0, depth), self._levels(1, depth)

    @property
    def position_lots(self) -> int:
        """Signed position."""
        return int(self._drive.head()["known_position_lots"])

    @property
    def cash_tick_lots(self) -> int:
        """Sum of all payments for fills, fees apart."""
        return int(self._drive.head()["known_cash_tick_lots"])

    @property
    def fees_tick_lots(self) -> int:
        """Fees paid."""
        return int(self._drive.head()["known_fees_tick_lots"])

    def equity(self) -> Decimal:
        """Return balance + cash - fees + position at the mid, in quote currency (INVERSE: base currency)."""
        settled = 2 * (self._balance + self.cash_tick_lots - self.fees_tick_lots)
        worth = Worth(self._contract.inverse_scale).position(self.position_lots, self._drive.mid_half_ticks())
        total = settled + worth
        return EXACT.divide(EXACT.multiply(Decimal(total), self._contract.cash_unit), Decimal(2))

    def log(self) -> Records:
        """Return decisions and order events so far, LOG_DTYPE; empty unless the session logs orders."""
        return self._drive.log()

    def fills(self) -> list[ReplayFill]:
        """Return every execution at the venue so far."""
        fills = self._drive.fills()[0]
        columns = [fills[field.name] for field in fields(ReplayFill)]
        return [
            ReplayFill(
                exch_ts=exch_ts,
                order_id=order_id,
                side=Side(side),
                liquidity=Liquidity(liquidity),
                price_ticks=price_ticks,
                qty_lots=qty_lots,
                fee_tick_lots=fee_tick_lots,
            )
            for exch_ts, order_id, side, liquidity, price_ticks, qty_lots, fee_tick_lots in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]

    def _levels(self, side: int, depth: int) -> list[tuple[int, int]]:
        ladder = self._drive.state.local
        levels: list[tuple[int, int]] = []
        walk = getattr(next_outward, "py_func", next_outward)
        slot_at = getattr(slot_of, "py_func", slot_of)
        tick = int(ladder.best[side])
        while tick and len(levels) < depth:
            levels.append((tick, int(ladder.quantity[slot_at(ladder, side, tick)])))
            tick = int(walk(ladder, side, tick))
        return levels

    def _open_slots(self) -> list[int]:
        return [int(slot) for slot in self._drive.state.open_slots[0, : int(self._drive.head()["open_count"])]]

    def _collect(self) -> None:
        for slot in self._open_slots():
            described = self._describe(slot)
            if not described.status.is_open:
                self._ended[described.order_id] = described
                self._drive.kernel.release(self._drive.sealed, slot)

    def _describe(self, slot: int) -> OrderState:
        order = self._drive.state.orders[0, slot]
        reason = Reason(int(order["known_reason"]))
        return OrderState(
            order_id=int(order["order_id"]),
            side=Side(int(order["side"])),
            order_type=OrderType(int(order["order_type"])),
            time_in_force=TimeInForce(int(order["time_in_force"])),
            post_only=bool(order["post_only"]),
            price_ticks=int(order["known_price_ticks"]),
            qty_lots=int(order["known_qty_lots"]),
            cum_qty_lots=int(order["known_filled_lots"]),
            leaves_lots=int(order["known_leaves_lots"]),
            status=OrderStatus(int(order["known_status"])),
            reason=None if reason is Reason.NONE else RejectReason[reason.name],
            queue_ahead_lots=int(order["known_front_lots"]),
            submitted_ts=int(order["submitted_ts"]),
        )
