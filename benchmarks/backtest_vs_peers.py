"""Our backtest beside hftbacktest 2.4.4 and NautilusTrader 1.221.0: speed, sweeps, cold start, memory, growth.

All replay a generated feed (a fifth of it trades) through one market maker: two post-only quotes, requoted every 100 ms,
skewed against the inventory, 10 ms latency each way, no-partial fills, risk-averse queue. Same orders and same fills are
checked against hftbacktest; NautilusTrader has fill rules of its own, and a smaller feed, since it needs long. Each side
runs in processes of its own, in turns, and medians are compared; ours reads a recorded day of a lake, and its time includes
the columns of the result. The last line is JSON; ratios above 1 say that ours is faster or smaller.

The peers are installed into `.peers`; MM_TEST_PEER_PYTHON and MM_TEST_NAUTILUS_PYTHON name Pythons that have them. Where
NautilusTrader cannot be installed or run, one line says so.

    python benchmarks/backtest_vs_peers.py [--quick | --full] [--output figures.json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

HERE = Path(__file__).resolve().parent
PEERS = {
    "hftbacktest": ("hftbacktest==2.4.4", "MM_TEST_PEER_PYTHON"),
    "nautilus": ("nautilus_trader==1.221.0", "MM_TEST_NAUTILUS_PYTHON"),
}
NAUTILUS_EVENTS = 200_000
PEER_S_MAX = 600
FIRST_TS = 1_699_920_000_000_000_000
"""Midnight UTC: the largest feed, 2.8 hours, is one recorded day."""
TICK, LOT = 0.1, 0.001
LATENCY_NS, INTERVAL_NS = 10_000_000, 100_000_000
MAKER_FEE, TAKER_FEE = 0.0002, 0.0005
QUOTING = {"half_spread_ticks": 1.5, "skew_ticks_per_lot": 0.05, "order_lots": 10, "max_inventory_lots": 200}
VENUE, SYMBOL = "made", "A-B"


class PeerError(Exception):
    """A peer could not be installed or run; the text is the last line that it said."""


def ended_well(program: list[str]) -> str:
    """Run a program of a peer to its end and return what it printed."""
    try:
        done = subprocess.run(program, check=False, text=True, capture_output=True, timeout=PEER_S_MAX)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PeerError(said[-1])
    return done.stdout


def peer_python(peer: str) -> str:
    """Return a Python with a peer: the one that its variable names, else that of an environment made for it."""
    package, variable = PEERS[peer]
    given = os.environ.get(variable)
    if given:
        return given
    home = HERE.parent / ".peers" / peer
    python = str(home / "bin" / "python")
    if not (home / "complete").exists():
        print(f"making {home} with {package}", flush=True)
        installer = shutil.which("uv", path=Path(sys.executable).parent)
        venv.create(home, with_pip=installer is None, clear=True)
        install = (
            [python, "-m", "pip", "install"] if installer is None else [installer, "pip", "install", "--python", python]
        )
        ended_well([*install, "--quiet", package])
        (home / "complete").touch()
    return python


def make(events: int, folder: Path) -> dict[str, Any]:
    """Write one feed for all sides, ours as a day of a lake; return what a child needs to know of it."""
    import feeds

    from market_maker.storage.lake import Lake, Table, day_of

    frame = feeds.make_feed(events, first_ts=FIRST_TS)
    feeds.write_hftbacktest(frame, folder / "peer.npz", TICK, LOT)
    last_ts, lake = int(frame["local_ts"].max()), Lake(folder / "lake")  # type: ignore[arg-type]
    lake.publish(
        lake.stage(
            venue=VENUE, symbol=SYMBOL, day=day_of(FIRST_TS), tick_size=Decimal(str(TICK)), lot_size=Decimal(str(LOT)),
            tables={"book": Table(frame)},
        )
    )  # fmt: skip
    return {
        "events": events, "trades": float((frame["kind"] == 2).mean() or 0), "first_ts": int(frame["exch_ts"][0]),
        "last_ts": last_ts, "folder": str(folder),
    }  # fmt: skip


def opened(made: dict[str, Any], events: int | None = None) -> Any:
    """Return our feed, the recorded day memory-mapped; with `events`, the first ones of it."""
    from market_maker.market_data.replay import ReplayDay, open_feed
    from market_maker.market_data.stretch import Rows
    from market_maker.storage.lake import Lake

    feed = open_feed(Lake(Path(made["folder"]) / "lake"), VENUE, SYMBOL, made["first_ts"], made["last_ts"] + 1)
    if events is None or events == feed.events:
        return feed
    exchange, local = (
        Rows(*(column[:events] for column in rows)) for rows in (feed.days[0].exchange, feed.days[0].local)
    )
    last = int(local.ts[-1])
    return replace(feed, days=(ReplayDay(exchange, local, 0),), end_ts=last + 1, last_ts=last, events=events)


def configured(feed: Any) -> Any:
    """Return the run that both sides do."""
    from market_maker.backtest.engine import RunConfig
    from market_maker.backtest.result import FillModel
    from market_maker.domain.instrument import Instrument

    pair = Instrument(
        UUID(int=1), VENUE, SYMBOL, "A", "B", Decimal(str(TICK)), Decimal(str(LOT)),
        maker_fee=Decimal(str(MAKER_FEE)), taker_fee=Decimal(str(TAKER_FEE)),
    )  # fmt: skip
    return RunConfig(
        pair, "inventory_skew", feed.first_ts, feed.last_ts + 1, QUOTING | {"interval_ns": INTERVAL_NS}, LATENCY_NS,
        LATENCY_NS, Decimal(10**9), FillModel.NO_PARTIAL,
    )  # fmt: skip


def memory_mib(name: str) -> float:
    """Return a figure of this program's memory: `VmHWM`, its peak (the resource module's includes its parent's), or `RssAnon`.

    The latter is what of it is in no file at this moment; the system keeps no peak of that.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def timed(work: Any) -> tuple[Any, float, float]:
    """Return what `work` returns, its wall and its processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def run_single(options: dict[str, Any]) -> dict[str, Any]:
    """Open the feed and replay `runs` + 1 times; opening, which may prepare the day, and the first run are told apart."""
    from market_maker.backtest.engine import run
    from market_maker.strategies.contract import find_strategy

    feed, open_s, _ = timed(lambda: opened(options["feed"]))
    config = configured(feed)
    strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
    walls, cpus, result, private = [], [], None, 0.0
    for _ in range(options["runs"] + 1):
        result, wall, cpu = timed(lambda: run(config, feed, strategy))
        walls.append(wall)
        cpus.append(cpu)
        private = max(private, memory_mib("RssAnon"))
    assert result is not None
    summary = result.summary
    return {
        "open_s": open_s, "first_s": walls[0], "walls": walls[1:], "cpus": cpus[1:], "orders": summary.orders, "fills": summary.fills,
        "position": float(summary.position), "fees": float(summary.fees), "digest": result.digest(), "private_mib": private,
    }  # fmt: skip


def combinations(config: Any, sets: int) -> list[Any]:
    """Return a grid of half-spreads and skews."""
    from market_maker.backtest.sweep import grid

    spreads = [1.5 + 0.5 * i for i in range(16)]
    skews = [0.01 * (1 + i) for i in range(-(-sets // len(spreads)))]
    return grid(config, {"skew_ticks_per_lot": skews, "half_spread_ticks": spreads})[:sets]


def run_sweep(options: dict[str, Any]) -> dict[str, Any]:
    """Sweep after one run that prepares the feed; on all processors and on one."""
    from market_maker.backtest.engine import run
    from market_maker.backtest.sweep import sweep
    from market_maker.strategies.contract import find_strategy

    feed = opened(options["feed"])
    base = configured(feed)
    run(base, feed, find_strategy(base.strategy_kind).prepare(base.parameters))
    configs = combinations(base, options["sets"])
    found: dict[str, Any] = {}
    for name, threads in (("all", None), ("one", 1)):
        walls, cpus, orders = [], [], 0
        for _ in range(options["runs"]):

            def work(threads: int | None = threads) -> int:
                return sum(trial.result.summary.orders for trial in sweep(configs, feed, threads=threads))

            orders, wall, cpu = timed(work)
            walls.append(wall)
            cpus.append(cpu)
        found[name] = {"walls": walls, "cpus": cpus}
    return found | {"orders_per_set": orders / len(configs)}


def run_curves(options: dict[str, Any]) -> dict[str, Any]:
    """Measure how cost grows: one run over more and more events, more and more sets over the same events."""
    from market_maker.backtest.engine import run
    from market_maker.backtest.sweep import sweep
    from market_maker.strategies.contract import find_strategy

    total = options["feed"]["events"]
    by_events, by_sets = [], []
    for events in (total // 16, total // 8, total // 4, total // 2, total):
        feed = opened(options["feed"], events)
        config = configured(feed)
        strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
        run(config, feed, strategy)
        seconds = min(timed(lambda c=config, f=feed, s=strategy: run(c, f, s))[2] for _ in range(3))
        by_events.append({"events": events, "cpu_s": seconds})
    feed = opened(options["feed"], min(total, 500_000))
    config = configured(feed)
    list(sweep([config], feed))
    for sets in options["set_counts"]:
        configs = combinations(config, sets)
        seconds = min(timed(lambda c=configs: list(sweep(c, feed, threads=1)))[2] for _ in range(2))
        by_sets.append({"sets": sets, "events": feed.events, "cpu_s": seconds})
    return {"by_events": by_events, "by_sets": by_sets}


CHILDREN = {"single": run_single, "sweep": run_sweep, "curves": run_curves}


def child(kind: str, options: dict[str, Any], cache: str | None = None) -> dict[str, Any]:
    """Run one of ours in a process of its own; add its peak memory and the seconds from start to end."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    if cache is not None:
        environment["MM_KERNEL_CACHE"] = cache
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, json.dumps(options)],
        env=environment, check=True, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"process_s": time.perf_counter() - started}


def peer(name: str, python: str, made: dict[str, Any], runs: int) -> dict[str, Any]:
    """Run a peer in a process of its own."""
    options = {
        "tick": TICK, "lot": LOT, "latency_ns": LATENCY_NS, "interval_ns": INTERVAL_NS,
        "half_spread": QUOTING["half_spread_ticks"], "skew": QUOTING["skew_ticks_per_lot"], "lots": QUOTING["order_lots"],
        "most": QUOTING["max_inventory_lots"], "maker_fee": MAKER_FEE, "taker_fee": TAKER_FEE, "until": made["last_ts"],
        "roi": 1, "low": 0, "high": 20_000, "path": str(Path(made["folder"]) / "peer.npz"), "runs": runs,
    }  # fmt: skip
    program = [python, str(HERE / "peers" / f"{name}_run.py"), json.dumps(options)]
    started = time.perf_counter()
    found: dict[str, Any] = json.loads(ended_well(program).splitlines()[-1])
    return found | {"process_s": time.perf_counter() - started}


def median(turns: list[dict[str, Any]], name: str) -> float:
    """Return the median of a figure over all runs of all turns."""
    return statistics.median([run[name] for turn in turns for run in turn["runs"]])


def beside_nautilus(hftbacktest: str, folder: Path, runs: int) -> dict[str, Any]:
    """Run all three over one feed of a size that NautilusTrader does in seconds; one line where it cannot be run."""
    try:
        made = make(NAUTILUS_EVENTS, folder)
        theirs = peer("nautilus", peer_python("nautilus"), made, runs)
    except PeerError as error:
        print(f"\nNautilusTrader is not measured: {error}", flush=True)
        return {"ratio_single_vs_nautilus": None}
    child("single", {"feed": made, "runs": 0})
    hft, ours = peer("hftbacktest", hftbacktest, made, 3), child("single", {"feed": made, "runs": 10})
    seconds = [median([theirs], "run_s"), median([hft], "run_s"), statistics.median(ours["walls"])]
    tracked = "with" if theirs["queue_tracked"] else "without"
    print(f"\n{NAUTILUS_EVENTS:,} events                          NautilusTrader  hftbacktest         ours")
    rows = (
        ("single run, ms (wall, median)", [1e3 * each for each in seconds]),
        ("single run, million events/s", [NAUTILUS_EVENTS / each / 1e6 for each in seconds]),
        ("times as fast as NautilusTrader", [seconds[0] / each for each in seconds]),
        ("peak memory of the process, MiB", [each["peak_mib"] for each in (theirs, hft, ours)]),
        ("orders", [theirs["runs"][0]["orders"], hft["runs"][0]["orders"], ours["orders"]]),
        ("fills (each by its own rules)", [theirs["runs"][0]["fills"], hft["runs"][0]["fills"], ours["fills"]]),
    )
    for name, values in rows:
        print(
            f"  {name:40}"
            + "".join(f" {value:12,}" if isinstance(value, int) else f" {value:12.2f}" for value in values)
        )
    print(f"  NautilusTrader {theirs['version']}, {tracked} queue positions, holds {theirs['bytes_per_event']:.0f} bytes per event",
          flush=True)  # fmt: skip
    return {
        "nautilus_events": NAUTILUS_EVENTS, "nautilus_version": theirs["version"], "nautilus_s": seconds[0],
        "nautilus_events_per_s": NAUTILUS_EVENTS / seconds[0], "nautilus_bytes_per_event": theirs["bytes_per_event"],
        "nautilus_peak_mib": theirs["peak_mib"], "nautilus_orders": theirs["runs"][0]["orders"],
        "nautilus_fills": theirs["runs"][0]["fills"], "nautilus_queue_tracked": theirs["queue_tracked"],
        "single_s_of_nautilus_feed": seconds[2], "fills_of_nautilus_feed": ours["fills"],
        "ratio_single_vs_nautilus": seconds[0] / seconds[2], "ratio_hftbacktest_vs_nautilus": seconds[0] / seconds[1],
    }  # fmt: skip


def compare(python: str, made: dict[str, Any], *, turns: int, sets: int) -> dict[str, Any]:
    """Run both sides in turns over one feed and print them side by side."""
    theirs, ours = [], []
    for _ in range(turns):
        theirs.append(peer("hftbacktest", python, made, 3))
        ours.append(child("single", {"feed": made, "runs": 5}))
    swept = child("sweep", {"feed": made, "sets": sets, "runs": 4})

    hft, hft_cpu = median(theirs, "run_s"), median(theirs, "cpu_s")
    single, single_cpu = (
        statistics.median([value for turn in ours for value in turn[name]]) for name in ("walls", "cpus")
    )
    per_set = {name: min(swept[name]["walls"]) / sets for name in ("all", "one")}
    per_set_cpu = min(swept["all"]["cpus"] + swept["one"]["cpus"]) / sets
    their, our = theirs[0]["runs"][0], ours[0]
    same = (their["orders"], their["fills"]) == (our["orders"], our["fills"])
    (their_peak, our_peak), (their_private, our_private) = (
        [max(turn[name] for turn in turns) for turns in (theirs, ours)] for name in ("peak_mib", "private_mib")
    )
    n = made["events"]
    print(f"\n{n:,} events, {made['trades']:.1%} trades         hftbacktest            ours     ratio")
    rows = (
        ("single run, ms (wall, median)", hft * 1e3, single * 1e3, hft / single),
        ("single run, ms (processor, median)", hft_cpu * 1e3, single_cpu * 1e3, hft_cpu / single_cpu),
        ("single run, million events/s", n / hft / 1e6, n / single / 1e6, hft / single),
        (f"each of {sets} sets, ms (all processors)", hft * 1e3, per_set["all"] * 1e3, hft / per_set["all"]),
        (f"each of {sets} sets, ms (one thread)", hft * 1e3, per_set["one"] * 1e3, hft / per_set["one"]),
        (f"each of {sets} sets, ms (processor)", hft_cpu * 1e3, per_set_cpu * 1e3, hft_cpu / per_set_cpu),
        ("peak memory of one run, MiB", their_peak, our_peak, their_peak / our_peak),
        ("memory in no file after a run, MiB", their_private, our_private, their_private / our_private),
    )
    for name, left, right, ratio in rows:
        print(f"  {name:40} {left:12.2f} {right:15.2f} {ratio:9.2f}")
    print(f"  orders / fills {their['orders']} / {their['fills']}, ours {our['orders']} / {our['fills']}: "
          f"{'the same' if same else 'DIFFERENT'}; orders of a set of the sweep: {swept['orders_per_set']:.0f}", flush=True)  # fmt: skip
    return {
        "events": n, "sets": sets, "same_orders_and_fills": same, "digest": our["digest"],
        "hftbacktest_s": hft, "hftbacktest_cpu_s": hft_cpu, "single_s": single, "single_cpu_s": single_cpu,
        "open_s": our["open_s"], "first_run_s": our["first_s"], "sweep_per_set_s": per_set["all"], "sweep_per_set_one_thread_s": per_set["one"],
        "sweep_per_set_cpu_s": per_set_cpu, "peak_mib": our_peak, "peak_sweep_mib": swept["peak_mib"],
        "hftbacktest_peak_mib": their_peak, "private_mib": our_private, "hftbacktest_private_mib": their_private, "ratio_single_vs_hftbacktest": hft / single,
        "ratio_single_cpu_vs_hftbacktest": hft_cpu / single_cpu, "ratio_sweep_per_set_vs_hftbacktest": hft / per_set["all"],
        "ratio_sweep_per_set_one_thread_vs_hftbacktest": hft / per_set["one"],
        "ratio_sweep_per_set_cpu_vs_hftbacktest": hft_cpu / per_set_cpu,
        "ratio_peak_memory_vs_hftbacktest": their_peak / our_peak,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half a million events, no empty cache: under 50 s")
    parser.add_argument("--full", action="store_true", help="10 million events as well")
    parser.add_argument("--sets", type=int, default=256)
    parser.add_argument("--output", type=Path, help="write the figures and both curves there, too")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "OPTIONS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        found = CHILDREN[chosen.child[0]](json.loads(chosen.child[1]))
        print(json.dumps(found | {"peak_mib": memory_mib("VmHWM")}))
        return
    python = peer_python("hftbacktest")
    figures: dict[str, Any] = {}
    smallest: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        sizes = [500_000] if chosen.quick else [2_000_000, 10_000_000] if chosen.full else [2_000_000]
        for events in sizes:
            folder = Path(scratch) / str(events)
            folder.mkdir()
            made = make(events, folder)
            preparing = child("single", {"feed": made, "runs": 0})
            found = compare(python, made, turns=1 if chosen.quick or events > 2_000_000 else 3, sets=chosen.sets)
            found |= {"prepare_s": preparing["open_s"], "prepare_peak_mib": preparing["peak_mib"]}
            print(
                f"  preparing the day, once: {found['prepare_s']:.2f} s, peak {found['prepare_peak_mib']:.0f} MiB",
                flush=True,
            )
            if figures:
                figures["larger"].append(found)
            else:
                figures, smallest = found | {"larger": []}, made
        figures["cold_start_warm_cache_s"] = child("single", {"feed": smallest, "runs": 0})["process_s"]
        print(f"  process start to first result, warm cache: {figures['cold_start_warm_cache_s']:.2f} s")
        if not chosen.quick:
            empty = child("single", {"feed": smallest, "runs": 0}, cache=str(Path(scratch) / "cache"))
            figures["cold_start_empty_cache_s"] = empty["process_s"]
            print(f"  process start to first result, empty compile cache: {empty['process_s']:.2f} s")
        if chosen.full:
            figures["ratio_memory_vs_hftbacktest"] = figures["larger"][-1]["ratio_peak_memory_vs_hftbacktest"]
        (Path(scratch) / "nautilus").mkdir()
        figures |= beside_nautilus(python, Path(scratch) / "nautilus", 1 if chosen.quick else 3)
        counts = [1, 4, 16, 64] if chosen.quick else [1, 4, 16, 64, 256, 1024]
        figures["curves"] = child("curves", {"feed": smallest, "set_counts": counts})
    if chosen.output:
        chosen.output.write_text(json.dumps(figures, indent=1), "utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
