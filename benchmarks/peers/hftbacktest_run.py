"""The peer's side of `backtest_vs_peers.py`, run by a Python of its own: hftbacktest pins NumPy below 2.3.

Replays an npz feed through the same market-making strategy as ours (fixed half-spread around the mid, skewed against the
inventory, post-only, requoted on a timer) and prints one JSON line: seconds of each run, events, orders, fills, ledger.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from hftbacktest import GTX, LIMIT, BacktestAsset, HashMapMarketDepthBacktest, ROIVectorMarketDepthBacktest
from hftbacktest.order import BUY, NEW
from numba import njit


@njit
def quote(hbt, until, interval, half_spread, skew, lots, most, tick, lot):
    """Requote every `interval` ns until `until`; return the number of orders."""
    asset = 0
    orders_sent = 0
    next_id = 1
    while hbt.elapse(interval) == 0 and hbt.current_timestamp < until:
        depth = hbt.depth(asset)
        bid_tick, ask_tick = depth.best_bid_tick, depth.best_ask_tick
        if bid_tick <= 0 or ask_tick >= 2**62 or bid_tick == -(2**63):
            continue
        hbt.clear_inactive_orders(asset)
        position = round(hbt.position(asset) / lot)
        reservation = 0.5 * (bid_tick + ask_tick) - skew * position
        bid = min(int(np.floor(reservation - half_spread)), ask_tick - 1)
        ask = max(int(np.ceil(reservation + half_spread)), bid_tick + 1)
        wants_bid = position + lots <= most
        wants_ask = position - lots >= -most
        orders = hbt.orders(asset)
        values = orders.values()
        while values.has_next():
            order = values.get()
            target = bid if order.side == BUY else ask
            wanted = wants_bid if order.side == BUY else wants_ask
            if order.cancellable:
                if wanted and round(order.price / tick) == target:
                    if order.side == BUY:
                        wants_bid = False
                    else:
                        wants_ask = False
                else:
                    hbt.cancel(asset, order.order_id, False)
            elif order.status == 0 or order.req == NEW:
                # On its way: as ours, an order that is not known to have ended counts.
                if wanted and round(order.price / tick) == target:
                    if order.side == BUY:
                        wants_bid = False
                    else:
                        wants_ask = False
        if wants_bid:
            hbt.submit_buy_order(asset, next_id, bid * tick, lots * lot, GTX, LIMIT, False)
            next_id += 1
            orders_sent += 1
        if wants_ask:
            hbt.submit_sell_order(asset, next_id, ask * tick, lots * lot, GTX, LIMIT, False)
            next_id += 1
            orders_sent += 1
    return orders_sent


def run(options: dict[str, float], path: str) -> dict[str, float]:
    """Replay once; return seconds and the ledger."""
    tick, lot = options["tick"], options["lot"]
    asset = (
        BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(int(options["latency_ns"]), int(options["latency_ns"]))
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(options["maker_fee"], options["taker_fee"])
        .tick_size(tick)
        .lot_size(lot)
    )
    started = time.perf_counter()
    if options["roi"]:
        asset = asset.roi_lb(options["low"]).roi_ub(options["high"])
        hbt = ROIVectorMarketDepthBacktest([asset])
    else:
        hbt = HashMapMarketDepthBacktest([asset])
    loaded, before = time.perf_counter(), time.process_time()
    orders = quote(
        hbt, int(options["until"]), int(options["interval_ns"]), options["half_spread"], options["skew"],
        int(options["lots"]), int(options["most"]), tick, lot,
    )  # fmt: skip
    ended = time.perf_counter()
    state = hbt.state_values(0)
    found = {
        "load_s": loaded - started, "run_s": ended - loaded, "cpu_s": time.process_time() - before, "orders": orders, "position": state.position,
        "balance": state.balance, "fee": state.fee, "fills": state.num_trades,
        "private_mib": memory_mib("RssAnon"),
    }  # fmt: skip
    hbt.close()
    return found


def memory_mib(name: str) -> float:
    """Return a figure of this program's memory: `VmHWM`, its peak, or `RssAnon`, what of it is in no file now."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def main() -> None:
    """Run as often as asked; the first run compiles and is told apart."""
    options = json.loads(sys.argv[1])
    first = time.perf_counter()
    runs = [run(options, options["path"]) for _ in range(int(options["runs"]) + 1)]
    print(
        json.dumps(
            {
                "first_s": runs[0]["load_s"] + runs[0]["run_s"], "wall_s": time.perf_counter() - first, "runs": runs[1:],
                "peak_mib": memory_mib("VmHWM"), "private_mib": max(each["private_mib"] for each in runs),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
