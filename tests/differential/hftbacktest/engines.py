"""Both engines behind one call: a script over a feed in, fills and a ledger out, in ticks and lots.

Owns the files and the process of the peer, and the one place where the comparison touches the interface of ours.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.result import FillModel
from market_maker.backtest.session import ReplaySession
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import OrderType, Side, TimeInForce
from market_maker.market_data.replay import Feed, Rows
from market_maker.market_data.schema import BOOK_SCHEMA

PROJECT = Path(__file__).resolve().parents[3]
PEER = Path(__file__).with_name("peer.py")
LOCAL, EXCHANGE = 1 << 30, 1 << 31
SLACK_NS = 400_000_000
"""More than any recorded latency, and than what the peer makes of a rejection among them (test_named_faults)."""


def peer_python() -> Path:
    """Return the Python that has hftbacktest; skip with the reason when there is none, fail when one was named."""
    named = os.environ.get("MM_TEST_PEER_PYTHON")
    python = Path(named or PROJECT / ".peers" / "bin" / "python")
    if not python.exists():
        reason = f"no Python with hftbacktest at {python}; make one (see benchmarks) and name it in MM_TEST_PEER_PYTHON"
        if named:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return python


@dataclass(frozen=True)
class Config:
    """One configuration of the comparison.

    `latencies`: a file of recorded latencies to interpolate; None: constant. The script has `orders` orders of up to
    `size` times the feed's median trade (0: of one lot), of which a share of `taking` crosses. `exact`: hand the peer sizes
    as they are, see `peer_size`.
    """

    name: str
    queue_model: QueueModel = QueueModel.RISK_AVERSE
    n: float | None = None
    partial: bool = False
    entry_ns: int = 0
    response_ns: int = 0
    latencies: str | None = None
    size: int = 1
    taking: float = 0.0
    orders: int = 1500
    exact: bool = False

    @property
    def slack_ns(self) -> int:
        """A bound of any latency."""
        return SLACK_NS if self.latencies else max(self.entry_ns, self.response_ns)


class Fill(NamedTuple):
    """One execution; `ts` is the venue's time."""

    ts: int
    order_id: int
    side: int
    price_ticks: int
    lots: int


@dataclass
class Outcome:
    """What a run gave: fills by (time, order), the ledger in quote and base currency, which actions were sent."""

    fills: list[Fill]
    position: float
    balance: float
    fee: float
    sent: list[bool] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


# --- the peer ---------------------------------------------------------------------------------------------------------


def peer_rows(feed: Feed, tick: float, lot: float) -> NDArray[Any]:
    """Return the feed as the peer's events: the venue's stream, then the receiver's, each with its own flag.

    Clears are by side here and bounded by a price there: bids are removed from the best down to it, asks up to it.
    """
    from feeds import as_hftbacktest

    (day,) = feed.days
    parts = []
    for rows, flag in ((day.exchange, EXCHANGE), (day.local, LOCAL)):
        code = rows.code.astype(np.int64)
        frame = pl.DataFrame(
            dict(zip(BOOK_SCHEMA, (rows.ts, rows.ts, np.abs(code), np.sign(code), rows.price_ticks, rows.qty_lots,
                                   np.zeros(len(code), np.int64)), strict=True)),
            schema=BOOK_SCHEMA,
        )  # fmt: skip
        events = as_hftbacktest(frame, tick, lot)
        is_clear = np.abs(code) == 3
        highest = int(rows.price_ticks[np.abs(code) == 1].max())
        events["px"][is_clear] = np.where(code[is_clear] > 0, 1, highest) * tick
        events["ev"] &= ~np.uint64(LOCAL | EXCHANGE)
        events["ev"] |= np.uint64(flag)
        parts.append(events[~(is_clear & _empty_before(rows))])
    both = np.concatenate(parts)
    return both[np.argsort(both["exch_ts"], kind="stable")]


def _empty_before(rows: Rows) -> NDArray[np.bool_]:
    """Tell which rows come before the first level of their side: a clear there does nothing."""
    found = np.zeros(len(rows.code), np.bool_)
    for side in (1, -1):
        of_side = np.sign(rows.code) == side
        levels = np.flatnonzero(of_side & (np.abs(rows.code) == 1))
        found |= of_side & (np.arange(len(found)) < (levels[0] if len(levels) else len(found)))
    return found


def peer_size(lots: float, config: Config) -> float:
    """Return the size that the peer gets: with partial fills one that nothing fills exactly, or the order stays a zombie.

    An order of k lots becomes k - 0.3: a fill of j < k lots leaves it k - j - 0.3, and only k lots or more end it, as
    they end ours.
    """
    return lots - 0.3 if config.partial and not config.exact and lots > 0 else lots


def run_peer(
    feed_files: list[Path],
    until: int,
    pair: Instrument,
    scripts: list[NDArray[Any]],
    configs: list[Config],
    folder: Path,
) -> list[Outcome]:
    """Run the peer once in its own Python over several configurations, each with its feed and script."""
    jobs = []
    for number, (config, script, feed_file) in enumerate(zip(configs, scripts, feed_files, strict=True)):
        actions = script.copy()
        actions["lots"] = [peer_size(value, config) for value in script["lots"]]
        np.savez(folder / f"script-{number}.npz", data=actions)
        jobs.append(
            {
                "feed": str(feed_file), "script": str(folder / f"script-{number}.npz"),
                "out": str(folder / f"out-{number}.npz"), "tick": float(pair.tick_size), "lot": float(pair.lot_size),
                "maker_fee": float(pair.maker_fee), "taker_fee": float(pair.taker_fee),
                "queue_model": config.queue_model.name, "n": config.n or 0.0, "partial": config.partial,
                "entry_ns": config.entry_ns, "response_ns": config.response_ns, "latencies": config.latencies,
                "until": until,
            }
        )  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [str(peer_python()), str(PEER), str(folder / "jobs.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [_read(Path(job["out"]), pair, config) for job, config in zip(jobs, configs, strict=True)]


def _read(path: Path, pair: Instrument, config: Config) -> Outcome:
    with np.load(path) as found:
        fills = [
            Fill(
                int(f["ts"]),
                int(f["order_id"]),
                int(f["side"]),
                int(f["price_ticks"]),
                size_of(f["lots"], pair, config),
            )
            for f in found["fills"]
        ]
        position, balance, fee, trades, lasted = found["ledger"].tolist()
        more = {"raw": found["fills"].copy(), "trades": int(trades), "lasted": bool(lasted)}
        sent = [code == 0 for code in found["sent"].tolist()]
    return Outcome(sorted(fills), position, balance, fee, sent, more)


def size_of(quantity: float, pair: Instrument, config: Config) -> int:
    """Return the whole lots that a quantity of the peer stands for: the last chunk of an order is 0.3 short."""
    lots = float(quantity) / float(pair.lot_size)
    return math.ceil(lots - 1e-6) if config.partial else round(lots)


# --- ours -------------------------------------------------------------------------------------------------------------


def supported(config: Config) -> str | None:
    """Return why our engine cannot run a configuration yet; None when it can."""
    known = inspect.signature(ReplaySession.__init__).parameters
    if config.queue_model is not QueueModel.RISK_AVERSE and "queue_model" not in known:
        return "the engine has no queue models yet"
    if config.latencies is not None and "latency" not in known:
        return "the engine has no latency models yet"
    return None


def run_ours(feed: Feed, pair: Instrument, script: NDArray[Any], config: Config) -> Outcome:
    """Run our engine by its interactive session."""
    options: dict[str, Any] = {"entry_latency_ns": config.entry_ns, "response_latency_ns": config.response_ns}
    if config.queue_model is not QueueModel.RISK_AVERSE:
        options |= {"queue_model": config.queue_model, "queue_n": config.n}
    if config.latencies is not None:
        from market_maker.backtest.latency_models import recorded

        options = {name: value for name, value in options.items() if "latency" not in name}
        options["latency"] = recorded(read_latencies(Path(config.latencies)))
    model = FillModel.PARTIAL if config.partial else FillModel.NO_PARTIAL
    balance = pair.cash_to_decimal(2**59)
    session = ReplaySession(feed, pair, balance, fill_model=model, start_ts=feed.first_ts, **options)
    ids: dict[int, int] = {}
    sent: list[bool] = []
    for action in script:
        session.run_until(int(action["ts"]))
        key = int(action["order_id"])
        if action["cancels"]:
            # Nothing is sent for an order that is known to have ended.
            sent.append(session.order(ids[key]).status.is_open)
            session.cancel(ids[key])
            continue
        sent.append(True)
        is_market = bool(action["is_market"])
        tif = TimeInForce.IOC if is_market or action["time_in_force"] == 3 else TimeInForce.GTC
        order_type = OrderType.MARKET if is_market else OrderType.LIMIT
        ids[key] = session.submit(
            Side(int(action["side"])), order_type, tif, int(action["price_ticks"]), int(action["lots"]),
            bool(action["time_in_force"] == 1),
        )  # fmt: skip
    session.run_until(feed.last_ts - 1)
    keys = {own: key for key, own in ids.items()}
    fills = [Fill(f.exch_ts, keys[f.order_id], int(f.side), f.price_ticks, f.qty_lots) for f in session.fills()]
    unit = float(pair.tick_lot)
    fee = session.fees_tick_lots * unit
    balance, position = session.cash_tick_lots * unit, session.position_lots * float(pair.lot_size)
    return Outcome(sorted(fills), position, balance, fee, sent)


def read_latencies(path: Path) -> NDArray[np.int64]:
    """Return the rows of a file of recorded latencies as ours wants them."""
    with np.load(path) as found:
        rows = found["data"]
    return np.stack([rows[name] for name in ("req_ts", "exch_ts", "resp_ts")], axis=1)


def write_latencies(path: Path, rows: NDArray[np.int64]) -> None:
    """Write recorded latencies in the peer's form."""
    data = np.zeros(len(rows), [("req_ts", "i8"), ("exch_ts", "i8"), ("resp_ts", "i8"), ("_padding", "i8")])
    data["req_ts"], data["exch_ts"], data["resp_ts"] = rows.T
    np.savez(path, data=data)
