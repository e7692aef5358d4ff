"""How long a request travels to the venue, and an answer back: the models, their checks and their memory.

Owns what a user may choose and the arrays that the kernel works on. The arithmetic is in `kernel`; who asks for a
latency, and when, is the replay's business. All times are int64 ns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest

DAY_NS = 86_400 * 10**9
CARRIED_MAX = 1 << 12
"""Event times kept over the end of a stretch of rows, per feed, for latency under load."""
DEVIATION_MAX = 100
"""Largest standard deviation of a drawn latency, in means."""


class LatencyModel(IntEnum):
    """Where latencies come from.

    CONSTANT: always the same. NORMAL, LOG_NORMAL, GAMMA: drawn from a distribution with a mean, a standard deviation
    and a floor. RECORDED: interpolated between requests that were really made. UNDER_LOAD: rises with the number of
    market events in a window before the instant, for stress.
    """

    CONSTANT = 0
    NORMAL = 1
    LOG_NORMAL = 2
    GAMMA = 3
    RECORDED = 4
    UNDER_LOAD = 5


LATENCY_DTYPE = np.dtype(
    [
        *((name, np.int64) for name in (
            "model", "entry_ns", "response_ns", "last_entry_ts", "last_response_ts",
            "entry_floor_ns", "response_floor_ns", "seed", "quiet_events", "ns_per_event", "most_ns",
            # what moves, as the last arrivals do: requests and answers so far, cursors into recorded ones
            "entries", "responses", "entry_row", "response_row",
        )),
        *((name, np.float64) for name in ("entry_a", "entry_b", "response_a", "response_b")),
    ]
)  # fmt: skip
"""One record per set of parameters. `a`, `b` are the numbers of a distribution: mean and deviation (NORMAL), those of
the logarithm (LOG_NORMAL), shape and scale (GAMMA)."""


LOAD_DTYPE = np.dtype([("window_ns", np.int64), ("carried_count", np.int64)])
"""The window in which events are counted, 0: nobody asks for them; and how many times are carried."""


class LatencyState(NamedTuple):
    """Everything the kernel needs.

    head : (1,) LATENCY_DTYPE; a replay of many parameter sets copies the record into one per set
    requests : (n, 3) int64, recorded requests in time order: made, at the venue (<= 0: rejected), answer received
    answers : (m, 2) int64, the same without rejections, ordered by the second: at the venue, received
    load : (1,) LOAD_DTYPE; one window for all sets, since all of them see the same market
    carried : (CARRIED_MAX,) int64, times of the last events before the present stretch of rows, in order
    """

    head: Any
    requests: NDArray[np.int64]
    answers: NDArray[np.int64]
    load: Any
    carried: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draw:
    """One direction of a drawn latency: mean, standard deviation and the least that physics allows, in ns."""

    mean_ns: int
    deviation_ns: int
    floor_ns: int = 0

    def check(self, field: str) -> None:
        """Raise InvalidRequest for impossible numbers, named under `field`."""
        _check(f"{field}.mean_ns", self.mean_ns, 1, DAY_NS // 2)
        _check(f"{field}.deviation_ns", self.deviation_ns, 0, DEVIATION_MAX * self.mean_ns)
        _check(f"{field}.floor_ns", self.floor_ns, 0, DAY_NS // 2)

    def numbers(self, model: LatencyModel) -> tuple[float, float]:
        """Return a and b of the distribution with this mean and deviation; a GAMMA without deviation is a NORMAL."""
        mean, deviation = float(self.mean_ns), float(self.deviation_ns)
        if model is LatencyModel.LOG_NORMAL:
            variance = math.log1p((deviation / mean) ** 2)
            return math.log(mean) - variance / 2, math.sqrt(variance)
        if model is LatencyModel.GAMMA:
            return (mean / deviation) ** 2, deviation**2 / mean
        return mean, deviation


def constant(entry_ns: int, response_ns: int) -> LatencyState:
    """Return a latency that never changes; a negative entry: every request is rejected, its owner told after |entry|."""
    _check("entry_latency_ns", entry_ns, -DAY_NS, DAY_NS)
    _check("response_latency_ns", response_ns, 0, DAY_NS)
    state = _new(LatencyModel.CONSTANT)
    state.head["entry_ns"] = entry_ns
    state.head["response_ns"] = response_ns
    return state


def drawn(model: LatencyModel, *, seed: int, entry: Draw, response: Draw) -> LatencyState:
    """Return latencies drawn from a distribution: the k-th request always gets the k-th draw of `seed`."""
    if model not in {LatencyModel.NORMAL, LatencyModel.LOG_NORMAL, LatencyModel.GAMMA}:
        raise InvalidRequest.of("latency.model", model.name, "NORMAL, LOG_NORMAL or GAMMA")
    _check("latency.seed", seed, 0, 2**63 - 1)
    entry.check("latency.entry")
    response.check("latency.response")
    sure = model is LatencyModel.GAMMA and 0 in {entry.deviation_ns, response.deviation_ns}
    if sure:
        raise InvalidRequest.of("latency.deviation_ns", 0, "1 ns or more for GAMMA; use CONSTANT for none")
    state = _new(model)
    state.head["seed"] = seed
    for name, draw in (("entry", entry), ("response", response)):
        state.head[f"{name}_floor_ns"] = draw.floor_ns
        state.head[f"{name}_a"], state.head[f"{name}_b"] = draw.numbers(model)
    return state


def recorded(rows: NDArray[np.int64]) -> LatencyState:
    """Return latencies interpolated from recorded requests.

    Parameters
    ----------
    rows : (n, 3) int64, in order of the first column: request made, at the venue (<= 0: rejected before it), answer
        received; ns

    Raises
    ------
    DataError
        No rows, times that go backwards, a negative latency; names the row.
    """
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] != 3 or len(rows) == 0:
        raise DataError(f"recorded latencies of shape {rows.shape}; allowed: (n, 3) with at least one row")
    made, venue, answered = rows.T
    rejected = venue <= 0
    rules = (
        (np.append(False, made[1:] < made[:-1]), "made before the request of the row above"),
        (~rejected & (venue < made), "at the venue before it was made"),
        (~rejected & (answered < venue), "answered before it was at the venue"),
        (rejected & (answered <= made), "rejected without any delay"),
        ((venue - made > DAY_NS) | (answered - made > DAY_NS), "on its way for more than a day"),
    )
    for broken, what in rules:
        if broken.any():
            row = int(np.argmax(broken))
            raise DataError(f"row {row + 1} of the recorded latencies, {rows[row].tolist()}: a request {what}")
    state = _new(LatencyModel.RECORDED)
    answers = rows[~rejected][:, 1:]
    answers = answers[np.argsort(answers[:, 0], kind="stable")]
    # A day of nothing but rejections has no answers; one that is never used keeps the array's type.
    return state._replace(requests=rows, answers=np.ascontiguousarray(answers) if len(answers) else _none(2, 1))


def under_load(
    *, entry_ns: int, response_ns: int, window_ns: int, quiet_events: int, ns_per_event: int, most_ns: int
) -> LatencyState:
    """Return latencies that rise with the load of the venue.

    latency = base + ns_per_event x max(0, events in the `window_ns` before the instant - quiet_events), at most
    `most_ns`. Events are rows of the venue's own stream before the instant, so the future plays no part.
    """
    _check("entry_latency_ns", entry_ns, 0, DAY_NS)
    _check("response_latency_ns", response_ns, 0, DAY_NS)
    _check("latency.window_ns", window_ns, 1, DAY_NS)
    _check("latency.quiet_events", quiet_events, 0, 10**9)
    _check("latency.ns_per_event", ns_per_event, 0, 10**9)
    _check("latency.most_ns", most_ns, max(entry_ns, response_ns), DAY_NS)
    state = _new(LatencyModel.UNDER_LOAD)
    state.load["window_ns"] = window_ns
    values = {"entry_ns": entry_ns, "response_ns": response_ns, "most_ns": most_ns}
    for name, value in {**values, "quiet_events": quiet_events, "ns_per_event": ns_per_event}.items():
        state.head[name] = value
    return state


def carry(load: Any, carried: NDArray[np.int64], times: NDArray[np.int64]) -> None:
    """Keep the last times of a stretch of the venue's rows that is being replaced: how a feed is cut changes nothing.

    There is room for CARRIED_MAX. A window that holds more events than that before the stretch counts only those: the
    load is then off the scale of any sensible window.
    """
    room = len(carried)
    kept = np.concatenate([carried[: int(load["carried_count"][0])], times[-room:]])[-room:]
    carried[: len(kept)] = kept
    load["carried_count"] = len(kept)


def _new(model: LatencyModel) -> LatencyState:
    head = np.zeros(1, LATENCY_DTYPE)
    head["model"] = int(model)
    return LatencyState(head, _none(3), _none(2), np.zeros(1, LOAD_DTYPE), np.zeros(CARRIED_MAX, np.int64))


def _none(columns: int, rows: int = 0) -> NDArray[np.int64]:
    return np.zeros((rows, columns), np.int64)


def _check(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidRequest.of(field, value, f"{least} to {most}")
