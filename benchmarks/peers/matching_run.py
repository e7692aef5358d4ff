"""Put the stream of benchmarks/matching.py through an order book from PyPI; run by a Python that has the peer.

Only the peer's own calls are timed, in processor time: the commands are Python objects beforehand, and fills are counted
afterwards. The last line is JSON: seconds of each run, trades, volume.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

NEW, SYMBOL = 1, "pair"


def run_lightmatchingengine(before: list[list[int]], rows: list[list[int]]) -> tuple[float, int, int]:
    """Return seconds, trades and volume; its ids count up from 1, as the stream's do."""
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

    engine = LightMatchingEngine()
    sides = {1: Side.BUY, -1: Side.SELL}
    for _, _, side, price, lots in before:
        engine.add_order(SYMBOL, price, lots, sides[side])
    calls = [(kind, order_id, sides.get(side), price, lots) for kind, order_id, side, price, lots in rows]
    add, cancel, answers = engine.add_order, engine.cancel_order, []
    started = time.process_time()
    for kind, order_id, side, price, lots in calls:
        if kind == NEW:
            _, trades = add(SYMBOL, price, lots, side)
            if trades:
                answers.append((side, trades))
        else:
            cancel(order_id, SYMBOL)
    seconds = time.process_time() - started
    # It tells the taker's fill once per price and the resting orders' one by one: the latter are the trades.
    fills = [trade.trade_qty for side, trades in answers for trade in trades if trade.trade_side != side]
    return seconds, len(fills), sum(fills)


def run_pyorderbook(before: list[list[int]], rows: list[list[int]]) -> tuple[float, int, int]:
    """Return seconds, trades and volume; an order with its id is made by a call of the library, which counts."""
    from pyorderbook import Book, ask, bid

    book = Book()
    makers = {1: bid, -1: ask}
    orders: dict[int, Any] = {}
    for _, order_id, side, price, lots in before:
        orders[order_id] = makers[side](SYMBOL, price, lots)
        book.match(orders[order_id])
    calls = [(kind, order_id, makers.get(side), price, lots) for kind, order_id, side, price, lots in rows]
    match, cancel, answers = book.match, book.cancel, []
    started = time.process_time()
    for kind, order_id, make, price, lots in calls:
        if kind == NEW:
            order = orders[order_id] = make(SYMBOL, price, lots)
            blotter = match(order)
            if blotter.trades:
                answers.append(blotter)
        else:
            cancel(orders[order_id])
    seconds = time.process_time() - started
    fills = [trade.fill_quantity for blotter in answers for trade in blotter.trades]
    return seconds, len(fills), sum(fills)


PEERS = {"lightmatchingengine": run_lightmatchingengine, "pyorderbook": run_pyorderbook}


def main() -> None:
    """Run one peer as often as asked."""
    options = json.loads(sys.argv[1])
    stream = json.loads(Path(options["path"]).read_text("utf-8"))
    seconds, trades, volume = [], 0, 0
    gc.disable()
    for _ in range(options["runs"]):
        needed, trades, volume = PEERS[options["peer"]](stream["before"], stream["rows"])
        seconds.append(needed)
        gc.collect()
    print(json.dumps({"seconds": seconds, "trades": trades, "volume": volume, "version": version(options["peer"])}))


if __name__ == "__main__":
    main()
