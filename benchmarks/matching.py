"""The matching engine beside order books from PyPI: messages a second, and one order from Python.

One stream for all: 45 % limit orders that rest, 45 % cancels of any open order, 10 % orders that cross the spread, upon a book
of 2,500 orders that shrinks to some 600. Ours takes it in one compiled call per buffer of events; every order, cancel and fill
is an event. The peers are called order by order and return their fills; their totals must be those of the stream, which a plain
matcher works out while the stream is made. The same again upon a book of 100,000 orders, ours alone. The state is put back
between runs. Figures are processor time, median and best: where others use the machine, the best is nearer to the truth.

The peers are installed into `.peers`; MM_TEST_LIGHTMATCHINGENGINE_PYTHON and MM_TEST_PYORDERBOOK_PYTHON name Pythons that have
them. CppTrader, an engine in C++, is measured beside them where MM_TEST_CPPTRADER names the program that
`benchmarks/peers/cpptrader_run.cpp` says how to build. The last line is JSON; ratios above 1 say that ours is faster.

    python benchmarks/matching.py [--quick] [--output figures.json]
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from backtest_vs_peers import PEERS, PeerError, ended_well, peer_python

from market_maker.matching.book import Commands, TradingRules, new_commands
from market_maker.matching.codes import EVERYONE, Command, EventKind, Phase
from market_maker.matching.compiled import MatchingKernel, compiled_matching
from market_maker.matching.state import MatchingState, new_state

HERE = Path(__file__).resolve().parent
PEERS |= {
    "lightmatchingengine": ("lightmatchingengine==2019.1.4", "MM_TEST_LIGHTMATCHINGENGINE_PYTHON"),
    "pyorderbook": ("pyorderbook==0.4.9", "MM_TEST_PYORDERBOOK_PYTHON"),
}
ADDS, CANCELS = 0.45, 0.45
MESSAGES, RESTING = 100_000, 2_500
DEEP_MESSAGES, DEEP_RESTING = 200_000, 100_000
MIDDLE_TICKS, AWAY_TICKS_MAX = 100_000, 400
EVENTS = 8_192
SINGLES = 1_000


@dataclass(frozen=True, slots=True)
class Stream:
    """Commands, of which the first `resting` fill the book; and what a plain matcher found: trades, volume, open orders."""

    commands: Commands
    resting: int
    trades: int
    volume_lots: int
    open_orders: int


class PlainBook:
    """Price-time priority in dictionaries and heaps: knows which orders are open, so that cancels can be drawn."""

    def __init__(self) -> None:
        self.queues: dict[int, dict[int, dict[int, int]]] = {1: {}, -1: {}}  # side, price, order id: lots
        self.prices: dict[int, list[int]] = {1: [], -1: []}  # heaps, best first
        self.where: dict[int, tuple[int, int]] = {}
        self.open: list[int] = []
        self.place_in_open: dict[int, int] = {}
        self.trades = self.volume_lots = 0

    def best(self, side: int) -> int | None:
        """Return the best price of a side."""
        prices, queues = self.prices[side], self.queues[side]
        while prices and not queues[-side * prices[0]]:
            del queues[-side * heapq.heappop(prices)]
        return -side * prices[0] if prices else None

    def forget(self, order_id: int) -> None:
        """Take an order out of its queue and out of the list of open orders."""
        side, price = self.where.pop(order_id)
        del self.queues[side][price][order_id]
        last, place = self.open.pop(), self.place_in_open.pop(order_id)
        if last != order_id:
            self.open[place], self.place_in_open[last] = last, place

    def add(self, order_id: int, side: int, price: int, lots: int) -> None:
        """Match an order and let the rest of it rest."""
        best = self.best(-side)
        while lots and best is not None and side * (price - best) >= 0:
            queue = self.queues[-side][best]
            maker = next(iter(queue))
            taken = min(lots, queue[maker])
            lots, self.trades, self.volume_lots = lots - taken, self.trades + 1, self.volume_lots + taken
            queue[maker] -= taken
            if not queue[maker]:
                self.forget(maker)
                best = self.best(-side)
        if lots:
            if price not in self.queues[side]:
                self.queues[side][price] = {}
                heapq.heappush(self.prices[side], -side * price)
            self.queues[side][price][order_id] = lots
            self.where[order_id] = (side, price)
            self.place_in_open[order_id] = len(self.open)
            self.open.append(order_id)


def make_stream(messages: int, resting: int, seed: int) -> Stream:
    """Return a stream; limit orders rest 1 to 400 ticks from the other side's best price, most of them near it."""
    rng = np.random.default_rng(seed)
    count = resting + messages
    draws = rng.random(count)
    what = np.where(draws < ADDS, 0, np.where(draws < ADDS + CANCELS, 1, 2))
    what[:resting] = 0
    sides = rng.choice([1, -1], count).tolist()
    away = np.minimum(rng.geometric(0.05, count), AWAY_TICKS_MAX).tolist()
    lots = np.where(what == 2, rng.integers(1, 21, count), rng.integers(1, 101, count)).tolist()
    picks = rng.random(count).tolist()
    book, rows, order_id = PlainBook(), [], 0
    for i, kind in enumerate(what.tolist()):
        if kind == 1 and book.open:
            gone = book.open[int(picks[i] * len(book.open))]
            book.forget(gone)
            rows.append((Command.CANCEL, gone, 0, 0, 0))
            continue
        order_id += 1
        opposite = book.best(-sides[i])
        opposite = MIDDLE_TICKS if opposite is None else opposite
        price = opposite + (2 if kind == 2 else -away[i]) * sides[i]
        rows.append((Command.NEW, order_id, sides[i], price, lots[i]))
        book.add(*rows[-1][1:])
    commands = new_commands(count)
    for name, column in zip(
        ("kind", "order_id", "side", "price_ticks", "qty_lots"), zip(*rows, strict=True), strict=True
    ):
        commands[name] = column
    commands["owner"][commands["kind"] == Command.CANCEL] = EVERYONE
    return Stream(commands, resting, book.trades, book.volume_lots, len(book.open))


def run_through(kernel: MatchingKernel, sealed: Any, state: MatchingState, commands: Commands) -> int:
    """Do all commands, throw their events away buffer by buffer, and return how many there were."""
    head, done, events = state.head[0], 0, 0
    while True:
        done = kernel.run(sealed, commands, done)
        events += int(head["event_count"])
        head["event_count"] = 0
        if done == len(commands) and head["stage"] == 0:
            return events


def prepared(stream: Stream) -> tuple[MatchingState, Any]:
    """Return an engine with the stream's first orders in its book."""
    kernel = compiled_matching()
    room = 1 << (2 * stream.resting).bit_length()
    state = new_state(orders=room, owners=1, pages=64, events=EVENTS)
    state.head["qty_lots_max"] = TradingRules().qty_lots_max
    state.head["phase"] = Phase.CONTINUOUS
    sealed = kernel.seal(state)
    run_through(kernel, sealed, state, stream.commands[: stream.resting])
    return state, sealed


def loop_seconds(stream: Stream, runs: int) -> tuple[list[float], int]:
    """Return processor seconds of each run and the number of events; checks the totals."""
    kernel = compiled_matching()
    state, sealed = prepared(stream)
    commands = stream.commands[stream.resting :].copy()
    before = [array.copy() for array in state]
    seconds, events = [], 0
    for _ in range(runs):
        for array, kept in zip(state, before, strict=True):
            array[...] = kept
        started = time.process_time()
        events = run_through(kernel, sealed, state, commands)
        seconds.append(time.process_time() - started)
    head = state.head[0]
    found = (int(head["match_id"]), int(head["traded_lots"]), len(state.free_orders) - int(head["free_orders"]))
    assert found == (stream.trades, stream.volume_lots, stream.open_orders), (found, stream)
    return seconds, events


def single_us(stream: Stream, runs: int) -> list[float]:
    """Return the microseconds of one limit order placed from Python, of each of many rows of them."""
    kernel = compiled_matching()
    state, sealed = prepared(stream)
    head, first = state.head[0], 1 << 30
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        for order_id in range(first, first + SINGLES):
            kernel.submit(sealed, order_id, 0, 1, MIDDLE_TICKS // 2, 10, 0, 0)
        found.append(1e6 * (time.perf_counter() - started) / SINGLES)
        assert set(state.events["kind"][: head["event_count"]].tolist()) == {EventKind.ACCEPTED}
        head["event_count"] = 0
        for order_id in range(first, first + SINGLES):
            kernel.withdraw(sealed, order_id, EVERYONE)
        head["event_count"] = 0
    return found


def peer_program(name: str, stream: Stream, folder: Path, runs: int) -> list[str]:
    """Return the call that runs a peer over the stream."""
    if name == "CppTrader":
        program = os.environ.get("MM_TEST_CPPTRADER")
        if not program:
            raise PeerError(
                "build benchmarks/peers/cpptrader_run.cpp, which says how, and name it in MM_TEST_CPPTRADER"
            )
        return [program, str(folder / "stream.bin"), str(stream.resting), str(20 * runs)]
    options = {"peer": name, "path": str(folder / "stream.json"), "runs": runs}
    return [peer_python(name), str(HERE / "peers" / "matching_run.py"), json.dumps(options)]


def peer_seconds(name: str, stream: Stream, folder: Path, runs: int) -> dict[str, Any]:
    """Run a peer over the stream and check its totals."""
    said = ended_well(peer_program(name, stream, folder, runs))
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    if (found["trades"], found["volume"]) != (stream.trades, stream.volume_lots):
        raise PeerError(
            f"{found['trades']} trades of {found['volume']} lots; {stream.trades} of {stream.volume_lots} expected"
        )
    return found


def write_for_peers(stream: Stream, folder: Path) -> None:
    """Write a stream for peers: as JSON, and as rows of 64-bit integers."""
    names = ("kind", "order_id", "side", "price_ticks", "qty_lots")
    table = np.stack([stream.commands[name].astype(np.int64) for name in names], axis=1)
    table.tofile(folder / "stream.bin")
    rows = table.tolist()
    text = json.dumps({"before": rows[: stream.resting], "rows": rows[stream.resting :]})
    (folder / "stream.json").write_text(text, "utf-8")


def beside_peers(stream: Stream, turns: int, runs: int) -> dict[str, Any]:
    """Run ours and the peers in turns; one line for each, and why where one cannot be installed or run."""
    messages = len(stream.commands) - stream.resting
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"lightmatchingengine": [], "pyorderbook": [], "CppTrader": []}
    faults: dict[str, str] = {}
    events = 0
    with tempfile.TemporaryDirectory() as scratch:
        write_for_peers(stream, Path(scratch))
        for _ in range(turns):
            seconds, events = loop_seconds(stream, runs)
            ours += seconds
            for name in theirs:
                if name not in faults:
                    try:
                        theirs[name] += peer_seconds(name, stream, Path(scratch), 1)["seconds"]
                    except PeerError as error:
                        faults[name] = str(error)
    figures = told("", stream, ours, events)
    for name, found in theirs.items():
        if name in faults:
            print(f"  {name} is not measured: {faults[name]}", flush=True)
            figures[f"ratio_matching_vs_{name}"] = None
            continue
        rate, ratio = messages / statistics.median(found), statistics.median(found) / statistics.median(ours)
        best, best_ratio = messages / min(found), min(found) / min(ours)
        figures |= {
            f"ratio_matching_vs_{name}": ratio, f"ratio_best_matching_vs_{name}": best_ratio,
            f"{name}_messages_per_s": rate, f"{name}_messages_per_s_best": best,
        }  # fmt: skip
        title = PEERS[name][0] if name in PEERS else name
        print(
            f"  {title:32} {rate / 1e6:.3f} M messages/s median, {best / 1e6:.3f} best; ours is {ratio:.3g} times as fast "
            f"by medians, {best_ratio:.3g} by bests",
            flush=True,
        )
    return figures


def told(name: str, stream: Stream, seconds: list[float], events: int) -> dict[str, Any]:
    """Print what ours did and return it."""
    messages = len(stream.commands) - stream.resting
    median, best = statistics.median(seconds), min(seconds)
    print(
        f"  ours, {stream.resting:,} orders at first: {messages / median / 1e6:.1f} M messages/s median, "
        f"{messages / best / 1e6:.1f} best; {events / median / 1e6:.1f} M events/s; {stream.trades:,} trades",
        flush=True,
    )
    return {
        f"{name}messages_per_s": messages / median, f"{name}messages_per_s_best": messages / best,
        f"{name}events_per_s": events / median, f"{name}messages": messages, f"{name}trades": stream.trades,
    }  # fmt: skip


def machine() -> dict[str, str]:
    """Return what ran this."""
    cpus = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if "model name" in line
    ]
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} x {cpus[0] if cpus else 'unknown'}",
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in ("numpy", "numba"))]),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs: under 50 s")
    parser.add_argument("--output", type=Path, help="write the figures there, too")
    chosen = parser.parse_args()
    figures: dict[str, Any] = dict(machine())
    print(f"{figures['machine']}; {figures['versions']}", flush=True)
    started = time.perf_counter()
    compiled_matching()
    print(f"  compiled or read from the cache in {time.perf_counter() - started:.1f} s", flush=True)
    stream, deep = make_stream(MESSAGES, RESTING, seed=1), make_stream(DEEP_MESSAGES, DEEP_RESTING, seed=2)
    figures |= beside_peers(stream, *((5, 40) if chosen.quick else (15, 60)))
    figures |= told("deep_", deep, *loop_seconds(deep, 30 if chosen.quick else 200))
    singles = single_us(stream, runs=50 if chosen.quick else 300)
    figures |= {"single_order_us": statistics.median(singles), "single_order_us_best": min(singles)}
    print(f"  one order from Python: {statistics.median(singles):.2f} us median, {min(singles):.2f} best", flush=True)
    if chosen.output:
        chosen.output.write_text(json.dumps(figures, indent=1), "utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
