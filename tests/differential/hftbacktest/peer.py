"""The peer's side of the comparison, run by a Python of its own that has hftbacktest: a script of orders over one feed.

Reads a list of jobs from the file named first and writes what happened in each to the file it names (npz). Nothing here
imports market_maker; the columns of a script are those of `scripts.ACTION_DTYPE`. All jobs run in one process: the
compilation of this file takes longer than most of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.order import FILLED, PARTIALLY_FILLED
from numba import njit

QUEUE_MODELS = {
    "RISK_AVERSE": lambda asset, n: asset.risk_adverse_queue_model(),
    "POWER": lambda asset, n: asset.power_prob_queue_model(n),
    "POWER2": lambda asset, n: asset.power_prob_queue_model2(n),
    "POWER3": lambda asset, n: asset.power_prob_queue_model3(n),
    "LOG": lambda asset, n: asset.log_prob_queue_model(),
    "LOG2": lambda asset, n: asset.log_prob_queue_model2(),
}


@njit
def look(hbt, leaves, fills, count):
    """Write every fill that has become known since the last look; return how many there are now."""
    values = hbt.orders(0).values()
    while values.has_next():
        order = values.get()
        key = order.order_id
        if order.status in (FILLED, PARTIALLY_FILLED) and order.leaves_qty != leaves[key]:
            fill = fills[count]
            fill["ts"], fill["order_id"], fill["side"] = order.exch_timestamp, key, order.side
            fill["price_ticks"], fill["lots"] = order.exec_price_tick, order.exec_qty
            fill["given"] = leaves[key] - order.leaves_qty
            leaves[key] = order.leaves_qty
            count += 1
    return count


@njit
def replay(hbt, actions, until, tick, lot, leaves, fills, sent):
    """Carry out the actions, then run on to `until`; return the number of fills and whether the feed lasted."""
    count = 0
    # Before the first call the peer's clock says the end of time.
    lasted = hbt.elapse(0) == 0
    for k in range(len(actions) + 1):
        due = actions[k]["ts"] if k < len(actions) else until
        while lasted and hbt.current_timestamp < due:
            code = hbt.wait_next_feed(True, due - hbt.current_timestamp)
            count = look(hbt, leaves, fills, count)
            # 1 is the end of the feed, more is an error.
            lasted = code in (0, 2, 3)
        hbt.clear_inactive_orders(0)
        if not lasted or k == len(actions):
            break
        action = actions[k]
        key = action["order_id"]
        if action["cancels"] == 1:
            sent[k] = hbt.cancel(0, key, False)
            continue
        if action["cancels"] == 2:
            sent[k] = hbt.modify(0, key, action["price_ticks"] * tick, action["lots"] * lot, False)
            continue
        leaves[key] = action["lots"] * lot
        kind = np.uint8(1 if action["is_market"] == 1 else 0)
        if action["side"] > 0:
            sent[k] = hbt.submit_buy_order(
                0,
                key,
                action["price_ticks"] * tick,
                action["lots"] * lot,
                np.uint8(action["time_in_force"]),
                kind,
                False,
            )
        else:
            sent[k] = hbt.submit_sell_order(
                0,
                key,
                action["price_ticks"] * tick,
                action["lots"] * lot,
                np.uint8(action["time_in_force"]),
                kind,
                False,
            )
    return count, lasted


def run(job):
    """Carry out one job and write what happened; the feed is read once for all jobs."""
    tick, lot = job["tick"], job["lot"]
    asset = BacktestAsset().data([job["feed"]]).linear_asset(1.0).tick_size(tick).lot_size(lot)
    asset = asset.trading_value_fee_model(job["maker_fee"], job["taker_fee"])
    asset = QUEUE_MODELS[job["queue_model"]](asset, job["n"])
    asset = asset.partial_fill_exchange() if job["partial"] else asset.no_partial_fill_exchange()
    if job["latencies"]:
        asset = asset.intp_order_latency([job["latencies"]])
    else:
        asset = asset.constant_order_latency(job["entry_ns"], job["response_ns"])
    actions = np.load(job["script"])["data"]
    most = int(actions["order_id"].max()) + 1 if len(actions) else 1
    leaves = np.zeros(most)
    fills = np.zeros(
        8 * len(actions) + 64,
        [("ts", "i8"), ("order_id", "i8"), ("side", "i8"), ("price_ticks", "i8"), ("lots", "f8"), ("given", "f8")],
    )
    sent = np.full(len(actions), -1, np.int64)
    hbt = HashMapMarketDepthBacktest([asset])
    count, lasted = replay(hbt, actions, job["until"], tick, lot, leaves, fills, sent)
    state = hbt.state_values(0)
    ledger = np.array([state.position, state.balance, state.fee, float(state.num_trades), float(lasted)])
    np.savez(job["out"], fills=fills[:count], sent=sent, ledger=ledger)
    hbt.close()


if __name__ == "__main__":
    for each in json.loads(Path(sys.argv[1]).read_text()):
        run(each)
