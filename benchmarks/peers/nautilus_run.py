"""NautilusTrader's side of `backtest_vs_peers.py`, run by a Python of its own, since its pins need not be ours.

Replays the npz feed that hftbacktest reads, as book deltas (L2) and trades, through the same strategy, and prints one JSON
line: seconds of each run, events, orders, fills, bytes per event. Logging, pre-trade checks and the closing analysis are
off, which is its fastest. What it models differently: only commands take latency, the feed and answers take none; without
queue positions (versions that track them do so here) a resting order fills when the other side's best comes to its price,
and a trade at its price leaves it.
"""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import numpy as np
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel, LatencyModel
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import BookOrder, OrderBookDelta, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.trading.strategy import Strategy

KIND_MASK, TRADE_KIND, BUY_FLAG = 0xFF, 2, 1 << 29
LAST_OF_EVENT = 128
VENUE = Venue("MADE")
ID = InstrumentId(Symbol("A-B"), VENUE)
QUEUE_TRACKED = "queue_position" in (BacktestEngine.add_venue.__doc__ or "")


def decimals(step: float) -> int:
    """Return the decimals of a step such as 0.001."""
    return -int(Decimal(str(step)).as_tuple().exponent)


class Quoting(Strategy):
    """Two post-only quotes around the mid, skewed against the inventory, requoted on a timer."""

    def __init__(self, options):
        super().__init__()
        self.options = options
        self.sent = self.filled = self.wakes = 0
        self.instrument = None
        self.working = []

    def on_start(self):
        """Subscribe to the book and start the timer."""
        self.instrument = self.cache.instrument(ID)
        self.subscribe_order_book_deltas(ID, BookType.L2_MBP)
        self.clock.set_timer_ns(
            "requote", int(self.options["interval_ns"]), self.clock.timestamp_ns(), 0, self.on_timer
        )

    def on_order_filled(self, event):  # noqa: ARG002  (the name is theirs)
        """Count a fill."""
        self.filled += 1

    def on_timer(self, event):  # noqa: ARG002
        """Requote: what differs from the wish is canceled, what is missing is sent."""
        book = self.cache.order_book(ID)
        best_bid, best_ask = book.best_bid_price(), book.best_ask_price()
        if best_bid is None or best_ask is None:
            return
        self.wakes += 1
        options = self.options
        tick, lots, most = options["tick"], int(options["lots"]), int(options["most"])
        bid_tick, ask_tick = round(float(best_bid) / tick), round(float(best_ask) / tick)
        position = round(float(self.portfolio.net_position(ID)) / options["lot"])
        reservation = 0.5 * (bid_tick + ask_tick) - options["skew"] * position
        target = {
            OrderSide.BUY: min(math.floor(reservation - options["half_spread"]), ask_tick - 1),
            OrderSide.SELL: max(math.ceil(reservation + options["half_spread"]), bid_tick + 1),
        }
        wants = {OrderSide.BUY: position + lots <= most, OrderSide.SELL: position - lots >= -most}
        self.working = [order for order in self.working if not order.is_closed]
        for order in self.working:
            if order.is_pending_cancel:
                continue
            if wants[order.side] and round(float(order.price) / tick) == target[order.side]:
                wants[order.side] = False
            elif order.is_open:
                self.cancel_order(order)
        for side, wanted in wants.items():
            if wanted:
                self.send(side, target[side] * tick)

    def send(self, side, price):
        """Send one post-only order."""
        quantity = self.instrument.make_qty(self.options["lots"] * self.options["lot"])
        order = self.order_factory.limit(ID, side, quantity, self.instrument.make_price(price), post_only=True)
        self.submit_order(order)
        self.working.append(order)
        self.sent += 1


def load(path: str, price_decimals: int, quantity_decimals: int) -> list:
    """Return the feed as the objects that the engine reads, in the order of receipt."""
    rows = np.load(path)["data"]
    kinds = (rows["ev"] & KIND_MASK).tolist()
    buys = (rows["ev"] & BUY_FLAG > 0).tolist()
    data = []
    columns = (rows[name].tolist() for name in ("exch_ts", "local_ts", "px", "qty"))
    for number, (kind, buy, exch_ts, local_ts, px, qty) in enumerate(zip(kinds, buys, *columns, strict=True)):
        price, quantity = Price(px, price_decimals), Quantity(qty, quantity_decimals)
        if kind == TRADE_KIND:
            aggressor = AggressorSide.BUYER if buy else AggressorSide.SELLER
            data.append(TradeTick(ID, price, quantity, aggressor, TradeId(str(number)), exch_ts, local_ts))
        else:
            level = BookOrder(OrderSide.BUY if buy else OrderSide.SELL, price, quantity, 0)
            action = BookAction.UPDATE if qty > 0 else BookAction.DELETE
            data.append(OrderBookDelta(ID, action, level, LAST_OF_EVENT, number, exch_ts, local_ts))
    return data


def instrument(options: dict[str, float]) -> CryptoPerpetual:
    """Return a linear contract with the fees of the other side."""
    price_decimals, quantity_decimals = decimals(options["tick"]), decimals(options["lot"])
    return CryptoPerpetual(
        instrument_id=ID, raw_symbol=ID.symbol, base_currency=BTC, quote_currency=USDT, settlement_currency=USDT,
        is_inverse=False, price_precision=price_decimals, size_precision=quantity_decimals,
        price_increment=Price(options["tick"], price_decimals), size_increment=Quantity(options["lot"], quantity_decimals),
        ts_event=0, ts_init=0, maker_fee=Decimal(str(options["maker_fee"])), taker_fee=Decimal(str(options["taker_fee"])),
        margin_init=Decimal(0), margin_maint=Decimal(0),
    )  # fmt: skip


def run(options: dict[str, float], data: list) -> dict[str, float]:
    """Replay once; return seconds and the ledger."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True), run_analysis=False
        )
    )
    engine.add_venue(
        VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(10**9, USDT)], base_currency=USDT, book_type=BookType.L2_MBP,
        fill_model=FillModel(), latency_model=LatencyModel(int(options["latency_ns"])), trade_execution=True,
        **({"queue_position": True} if QUEUE_TRACKED else {}),
    )  # fmt: skip
    engine.add_instrument(instrument(options))
    engine.add_data(data, validate=False, sort=True)
    strategy = Quoting(options)
    engine.add_strategy(strategy)
    before, cpu = time.perf_counter(), time.process_time()
    engine.run()
    found = {
        "run_s": time.perf_counter() - before, "cpu_s": time.process_time() - cpu, "orders": strategy.sent,
        "fills": strategy.filled, "wakes": strategy.wakes, "position": float(strategy.portfolio.net_position(ID)),
    }  # fmt: skip
    engine.dispose()
    return found


def memory_mib(name: str) -> float:
    """Return a figure of this program's memory: VmRSS, now; VmHWM, at its peak."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def main() -> None:
    """Load once, run as often as asked."""
    options = json.loads(sys.argv[1])
    empty, started = memory_mib("VmRSS"), time.perf_counter()
    data = load(options["path"], decimals(options["tick"]), decimals(options["lot"]))
    gc.collect()
    load_s, loaded = time.perf_counter() - started, memory_mib("VmRSS")
    runs = [run(options, data) for _ in range(int(options["runs"]))]
    print(
        json.dumps(
            {
                "version": version("nautilus_trader"), "queue_tracked": QUEUE_TRACKED, "events": len(data), "load_s": load_s,
                "bytes_per_event": (loaded - empty) * 2**20 / len(data), "runs": runs, "peak_mib": memory_mib("VmHWM"),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
