"""The rules of a resting order once more, slow and plain, around our queue models and latencies: the peer's or ours.

Every place where the peer is wrong is a switch (`Faults`). With all of them on the fills must be the peer's, which
checks our queue and latency models without any engine of ours; with all of them off they must be those of our engine.
Orders that differ between the two are then exactly those that a named fault explains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from engines import Config, Fill, read_latencies
from numba import njit, types
from numba.typed import Dict
from numpy.typing import NDArray

from market_maker.backtest import latency_models
from market_maker.backtest.latency_models import kernel as latency_kernel
from market_maker.backtest.queue_models import kernel as queue_kernel
from market_maker.backtest.queue_models import parameter_of
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed

on_trade, on_depth, executable_lots = queue_kernel.on_trade, queue_kernel.on_depth, queue_kernel.executable_lots
entry_latency, request_arrival = latency_kernel.entry_latency, latency_kernel.request_arrival
GTX, IOC = 1, 3


class Faults(NamedTuple):
    """What the peer does wrong with resting orders; each has its own test in `test_named_faults`.

    crosses_wholly : the other side reaching an order fills all of it, whatever is displayed (partial fills)
    front_below_zero : cancels can push the quantity ahead below 0: a later trade then fills more than it traded, and a
        fractional power or a logarithm of it sends the order to the back
    each_sees_all : every own order at the price of a trade is filled by all of it, as if the others were not there
    """

    crosses_wholly: bool = True
    front_below_zero: bool = True
    each_sees_all: bool = True


PEER, OURS = Faults(), Faults(*(False,) * len(Faults._fields))


@njit
def _arrivals(head, requests, sent_ts):
    """Return when each request arrives; 0: rejected on the way."""
    found = np.zeros(len(sent_ts), np.int64)
    for k in range(len(sent_ts)):
        latency = entry_latency(head[0], sent_ts[k], requests, np.int64(0))
        if latency >= 0:
            found[k] = request_arrival(head[0], sent_ts[k] + latency)
    return found


@njit
def _level(levels, slot):
    return levels[slot] if slot in levels else np.int64(0)


@njit
def _outward(levels, s, tick, low, high):
    """Return the next level away from the touch; 0 without one."""
    step = -1 if s == 0 else 1
    tick += step
    while low <= tick <= high:
        if _level(levels, 2 * tick + s) > 0:
            return tick
        tick += step
    return 0


@njit
def _set_level(levels, best, s, tick, lots, low, high):
    """Set a level and both best prices; return whether this side's improved."""
    sign = 1 - 2 * s
    levels[2 * tick + s] = lots
    if lots > 0 and (best[s] == 0 or sign * (tick - best[s]) > 0):
        best[s] = tick
        if best[1 - s] != 0 and sign * (tick - best[1 - s]) >= 0:
            best[1 - s] = _outward(levels, 1 - s, tick, low, high)
        return True
    if lots == 0 and tick == best[s]:
        best[s] = _outward(levels, s, tick, low, high)
    return False


class Memory(NamedTuple):
    """Everything that moves; compiled code takes it as one. `counts`: orders that rest, fills so far."""

    levels: Any
    taken: Any
    best: Any
    live: Any
    leaves: Any
    front: Any
    cum: Any
    fills: Any
    counts: Any


class Rules(NamedTuple):
    """What differs between runs."""

    model: int
    n: float
    partial: bool
    crosses_wholly: bool
    front_below_zero: bool
    each_sees_all: bool


@njit
def _fill(m, ts, order, lots):
    m.fills[m.counts[1]] = (ts, order, lots)
    m.counts[1] += 1
    m.leaves[order] -= lots


@njit
def _first(m, actions, side):
    """Return the order of a side that is first in line: best price, then arrival; -1 without one."""
    found = -1
    for j in range(m.counts[0]):
        order = m.live[j]
        own = actions[order]
        if own["side"] != side or m.leaves[order] == 0:
            continue
        if found < 0 or side * (own["price_ticks"] - actions[found]["price_ticks"]) > 0:
            found = order
    return found


@njit
def _compact(m):
    """Forget orders that are gone."""
    kept = 0
    for j in range(m.counts[0]):
        if m.leaves[m.live[j]] > 0:
            m.live[kept] = m.live[j]
            kept += 1
    m.counts[0] = kept


@njit
def _on_request(m, actions, action, ts):
    order = action["first"]
    if action["cancels"] == 1:
        m.leaves[order] = 0
        _compact(m)
        return
    side = action["side"]
    touch = m.best[1 if side > 0 else 0]
    crosses = touch != 0 and side * (action["price_ticks"] - touch) >= 0
    if action["is_market"] == 1 or (crosses and action["time_in_force"] != GTX):
        m.leaves[order] = np.int64(action["lots"])
        _fill(m, ts, order, m.leaves[order])
    elif not crosses and action["time_in_force"] != IOC:
        m.leaves[order] = np.int64(action["lots"])
        m.front[order] = float(_level(m.levels, 2 * action["price_ticks"] + (0 if side > 0 else 1)))
        m.cum[order] = 0.0
        m.live[m.counts[0]] = order
        m.counts[0] += 1


@njit
def _on_level(m, actions, rules, ts, s, tick, lots, low, high):
    sign, slot = 1 - 2 * s, 2 * tick + s
    before = _level(m.levels, slot)
    improved = _set_level(m.levels, m.best, s, tick, lots, low, high)
    m.taken[slot] = min(_level(m.taken, slot), lots)
    for j in range(m.counts[0]):
        order = m.live[j]
        if actions[order]["side"] == sign and actions[order]["price_ticks"] == tick:
            m.front[order], m.cum[order] = on_depth(rules.model, rules.n, m.front[order], m.cum[order], before, lots)
            if not rules.front_below_zero:
                m.front[order] = max(m.front[order], 0.0)
    by_level = rules.partial and not rules.crosses_wholly
    while (by_level and lots > 0) or (not by_level and improved):
        order = _first(m, actions, -sign)
        if order < 0 or sign * (tick - actions[order]["price_ticks"]) < 0:
            return
        given = m.leaves[order]
        if by_level:
            given = min(given, lots - m.taken[slot])
            m.taken[slot] += given
        if given == 0:
            return
        _fill(m, ts, order, given)


@njit
def _on_print(m, actions, rules, ts, aggressor, tick, lots):
    shared = 0
    for j in range(m.counts[0]):
        order = m.live[j]
        own = actions[order]
        through = own["side"] * (own["price_ticks"] - tick)
        if own["side"] == aggressor or through < 0:
            continue
        if through > 0:
            _fill(m, ts, order, m.leaves[order])
            continue
        m.front[order], m.cum[order] = on_trade(rules.model, rules.n, m.front[order], m.cum[order], lots)
        reached = executable_lots(m.front[order])
        if reached > 0:
            m.front[order] = 0.0
        if not rules.each_sees_all:
            reached -= shared
        if reached > 0:
            part = min(reached, m.leaves[order])
            shared += part
            _fill(m, ts, order, part if rules.partial else m.leaves[order])


@njit
def _run(ts, code, price, lots, arrivals, actions, rules):
    size = len(actions)
    m = Memory(
        Dict.empty(types.int64, types.int64), Dict.empty(types.int64, types.int64), np.zeros(2, np.int64),
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size), np.zeros(size),
        np.zeros((64 * size + 64, 3), np.int64), np.zeros(2, np.int64),
    )  # fmt: skip
    low, high = price[price > 0].min(), price.max()
    k = 0
    for i in range(len(ts) + 1):
        while k < size and (i == len(ts) or arrivals[k] < ts[i]):
            if arrivals[k] != 0:
                _on_request(m, actions, actions[k], arrivals[k])
            k += 1
        if i == len(ts):
            break
        s = 0 if code[i] > 0 else 1
        if abs(code[i]) == 1:
            _on_level(m, actions, rules, ts[i], s, price[i], lots[i], low, high)
        elif abs(code[i]) == 2:
            _on_print(m, actions, rules, ts[i], 1 if code[i] > 0 else -1, price[i], lots[i])
        else:
            for tick in range(low, high + 1):
                if 2 * tick + s in m.levels:
                    m.levels[2 * tick + s] = 0
                    m.taken[2 * tick + s] = 0
            m.best[s] = 0
        _compact(m)
    return m.fills[: m.counts[1]]


def run_rules(
    feed: Feed, pair: Instrument, script: NDArray[Any], sent: list[bool], config: Config, faults: Faults
) -> list[Fill]:
    """Return the fills of the script's orders; `sent` tells which actions went out at all. Prices are left out (0)."""
    (day,) = feed.days
    rows = day.exchange
    out = script[np.array(sent)]
    placed = {int(action["order_id"]): k for k, action in enumerate(out) if not action["cancels"]}
    actions = np.zeros(len(out), [*script.dtype.descr, ("first", np.int64)])
    for name in script.dtype.names or ():
        actions[name] = out[name]
    # Every action knows the position of the one that placed its order.
    actions["first"] = [placed[int(key)] for key in out["order_id"]]
    if config.latencies is None:
        latency = latency_models.constant(config.entry_ns, config.response_ns)
    else:
        latency = latency_models.recorded(read_latencies(Path(config.latencies)))
    sent_ts = np.ascontiguousarray(out["ts"])
    arrivals = _arrivals(latency.head, latency.requests, sent_ts)
    n = parameter_of(config.queue_model, config.n, pair.lot_size)
    rules = Rules(int(config.queue_model), n, config.partial, *faults)
    found = _run(rows.ts, rows.code, rows.price_ticks, rows.qty_lots, arrivals, actions, rules)
    return sorted(
        Fill(int(ts), int(actions[k]["order_id"]), int(actions[k]["side"]), 0, int(lots)) for ts, k, lots in found
    )
