"""What is wrong with recorded data: figures of a table and day, and the rules that turn them into pass, warn or fail.

Measures rows of the normal form as they pass, in bounded memory; the same on the way in and on demand from the lake. Owns
every threshold. Knows no file format, no lake and no way to show a report. Statistics only: floating point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.units import format_instant
from market_maker.market_data.book import Applied
from market_maker.market_data.book.kernel import CROSSED, LOCKED
from market_maker.market_data.schema import DAY_NS, EventKind, interval_of, kind_of
from market_maker.market_data.sessions import SessionState, session_states

MINUTE_NS = 60_000_000_000
SILENCES_S = (1, 10, 60, 300, 3600)
"""Silences between two receive times are counted above each of these, in seconds."""
SAMPLE_MAX = 100_000
"""Latencies kept for the median, per thousand rows or more each; smallest and largest are of all rows."""
JUMP = 0.05
"""An event-to-event log return beyond this is an outlier."""
MAD_TO_SIGMA = 1.4826
JUMPS_TOLD_MAX = 20
SPLIT_MIN = 0.3
"""A log return between two bars beyond this that is near a ratio of small whole numbers looks like a split."""
_SPLIT_RATIOS = np.log([2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 3 / 2, 4 / 3, 5 / 2, 5 / 4, 5 / 3])
_TRADES = (int(EventKind.TRADE), int(EventKind.PRINT))
_NOT_EVENTS = (int(EventKind.SNAPSHOT), int(EventKind.CLEAR))


class Verdict(StrEnum):
    """What a rule says; FAIL stops an import unless it is forced."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Rule:
    """A figure and the values from which on it warns and fails (None: never)."""

    name: str
    warn: float | None
    fail: float | None
    meaning: str
    remedy: str = ""


RULES = (
    Rule("receive_time_reversals", None, 1, "rows received before the row before them", "--sort"),
    Rule("negative_latency_share", 1e-9, 0.01, "share of rows received before they happened", "--offset-negative-latency"),
    Rule("exchange_time_reversals", 1, None, "exchange times before that of the row before"),
    Rule("sequence_gaps", 1, None, "messages missing by the venue's own numbers: the book is unknown until a snapshot"),
    Rule("duplicates", 1, None, "rows that repeat an earlier one; they are left out"),
    Rule("unknown_references", 1, None, "cancels and fills of orders that were never added"),
    Rule("updates_without_book", 1, None, "changes of a book that was not known; they are left out"),
    Rule("crossed_share", 1e-9, 0.001, "share of messages with bid above ask while the market trades"),
    Rule("locked_share", 1e-3, None, "share of messages with bid at ask while the market trades"),
    Rule("trade_through_share", 0.25, 0.75, "share of trades outside the best quotes known when they were received"),
    Rule("jumps", 1, None, "steps of the price beyond 5 % (bars: also 15 robust standard deviations)"),
    Rule("split_like_jumps", 1, None, "steps between bars near a ratio of small whole numbers: adjust before risk figures"),
    Rule("absurd_prices", None, 1, "prices more than 100 times, or less than a hundredth of, the one before"),
    Rule("inconsistent_bars", None, 1, "bars whose high or low does not hold their open and close"),
    Rule("missing_bars_share", 1e-9, None, "share of intervals between the first and the last bar, while the market trades, without a bar"),
    Rule("uncovered_share", 0.01, None, "of the day's session are without known prices"),
)  # fmt: skip
"""In the order of reports. What a source states of itself (counts of an importer) is judged by the same names."""
_BY_NAME = {rule.name: rule for rule in RULES}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that did not pass."""

    rule: str
    verdict: Verdict
    value: float
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {"rule": self.rule, "verdict": self.verdict.value, "value": self.value, "text": self.text}


def judge(figures: Mapping[str, Any], places: Mapping[str, str] | None = None) -> list[Finding]:
    """Return the findings of figures by name; figures without a rule are only told. `places`: by rule, where it is broken first."""
    places = {**figures.get("first_seen", {}), **(places or {})}
    found = []
    for rule in RULES:
        value = figures.get(rule.name)
        if value is None:
            continue
        fails = rule.fail is not None and value >= rule.fail
        if fails or (rule.warn is not None and value >= rule.warn):
            where = figures["absurd_price"] if rule.name == "absurd_prices" else places.get(rule.name)
            place = f" ({where})" if where else ""
            shown = f"{value:.4%}" if rule.name.endswith("_share") else f"{value}"
            remedy = f"; {rule.remedy} mends it" if rule.remedy else ""
            verdict = Verdict.FAIL if fails else Verdict.WARN
            found.append(Finding(rule.name, verdict, value, f"{shown} {rule.meaning}{place}{remedy}"))
    return found


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict, PASS without findings."""
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in (Verdict.FAIL, Verdict.WARN) if verdict in verdicts), Verdict.PASS)


@dataclass(slots=True)
class Meter:
    """Measures one table of one day (bars: one year).

    Parameters
    ----------
    venue : for its timetable
    table : as in the lake
    day_start_ts : 00:00 UTC of the day, ns
    """

    venue: str
    table: str
    day_start_ts: int
    rows: int = 0
    first_ts: int = 0
    last_ts: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    states: dict[str, Counter[str]] = field(default_factory=dict)
    silences: Counter[str] = field(default_factory=Counter)
    longest_silence_ns: int = 0
    first_seen: dict[str, str] = field(default_factory=dict)
    jumps: list[dict[str, Any]] = field(default_factory=list)
    latency_min_ns: int | None = None
    latency_max_ns: int | None = None
    _latencies: list[NDArray[np.int64]] = field(default_factory=list)
    _previous_price: float = 0.0
    _previous_exch_ts: int = 0
    _bar_ts: list[NDArray[np.int64]] = field(default_factory=list)
    _bar_closes: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, frame: pl.DataFrame, applied: Applied | None = None) -> None:
        """Measure rows in their order; `applied` is what they did to the book."""
        if not frame.height:
            return
        local = frame["local_ts"].to_numpy()
        self._times(local)
        self.rows += frame.height
        kind = kind_of(self.table)
        if kind == "bars":
            self._bars(frame)
            return
        kinds = frame["kind"].to_numpy() if "kind" in frame.columns else np.zeros(frame.height, np.int8)
        self._latency(frame["exch_ts"].to_numpy(), local, kinds)
        if applied is not None:
            exch = frame["exch_ts"].to_numpy()
            self._book(np.where(exch > 0, exch, local), local, applied)
        if kind in {"book", "orders", "trades"}:
            self._prints(frame, kinds, local, applied)
        elif kind == "bbo":
            self._quotes(frame, local)

    def figures(self, gaps: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
        """Return the figures so far by name; `gaps` [from, until) are the times without a known book."""
        found: dict[str, Any] = {"rows": self.rows, "first_ts": str(self.first_ts), "last_ts": str(self.last_ts)}
        if kind_of(self.table) == "bars":
            found |= self._bar_figures()
        elif self.table != "ticker":
            found |= self._event_figures(gaps)
        if self.jumps:
            found["jumps_seen"] = self.jumps
        if self.first_seen:
            found["first_seen"] = self.first_seen
        return found

    def _see(self, rule: str, rows: NDArray[np.int64], local: NDArray[np.int64]) -> None:
        """Keep where a rule is broken first; `rows` of those added last."""
        if len(rows) and rule not in self.first_seen:
            at = int(rows[0])
            number = self.rows - len(local) + at + 1
            self.first_seen[rule] = (
                f"first in row {number:,} of the table's day, received at {format_instant(int(local[at]))}"
            )

    def _event_figures(self, gaps: Sequence[tuple[int, int]]) -> dict[str, Any]:
        stamped = self.counts["stamped"]
        found: dict[str, Any] = {
            "jumps": self.counts["jumps"],
            "exchange_time_reversals": self.counts["exchange_time_reversals"],
            "silences_longer_than_s": {str(s): self.silences[str(s)] for s in SILENCES_S},
            "longest_silence_s": self.longest_silence_ns / 1e9,
            "uncovered_share": self._uncovered(gaps),
        }
        if stamped:
            median = int(np.median(np.concatenate(self._latencies)))
            found["latency_ns"] = {"min": self.latency_min_ns, "median": median, "max": self.latency_max_ns}
            found["negative_latency_share"] = self.counts["negative"] / stamped
        if self.table in {"book", "orders"}:
            messages = self.counts["messages"]
            open_states = self.states.get(SessionState.CONTINUOUS.value, Counter())
            found |= {
                "messages": messages,
                "states": {name: dict(counter) for name, counter in self.states.items()},
                "crossed_share": open_states["crossed"] / messages if messages else 0.0,
                "locked_share": open_states["locked"] / messages if messages else 0.0,
                "gaps": [[str(a), str(b)] for a, b in gaps],
                "updates_without_book": self.counts["updates_without_book"],
            }
        if self.table in {"book", "orders", "trades"}:
            trades = self.counts["trades"]
            found |= {"trades": trades, "off_book_prints": self.counts["prints"]}
            if self.counts["judged_trades"]:
                found["trade_through_share"] = self.counts["trade_throughs"] / self.counts["judged_trades"]
        if self.table == "bbo":
            found |= {
                "crossed_share": self.counts["crossed"] / self.rows,
                "locked_share": self.counts["locked"] / self.rows,
            }
        return found

    def _times(self, local: NDArray[np.int64]) -> None:
        if self.rows:
            local = np.concatenate([[self.last_ts], local])
        else:
            self.first_ts = int(local[0])
        steps = np.diff(local)
        if len(steps):
            self.longest_silence_ns = max(self.longest_silence_ns, int(steps.max()))
            if self.longest_silence_ns > SILENCES_S[0] * 10**9:
                for limit_s in SILENCES_S:
                    self.silences[str(limit_s)] += int((steps > limit_s * 10**9).sum())
        self.last_ts = int(local[-1])

    def _latency(self, exch: NDArray[np.int64], local: NDArray[np.int64], kinds: NDArray[np.int8]) -> None:
        stamped = exch > 0
        if len(kinds) and kinds.any():
            stamped &= (kinds != _NOT_EVENTS[0]) & (kinds != _NOT_EVENTS[1])
        exch, local = (exch, local) if stamped.all() else (exch[stamped], local[stamped])
        if not len(exch):
            return
        latency = local - exch
        low, high = int(latency.min()), int(latency.max())
        self.latency_min_ns = low if self.latency_min_ns is None else min(low, self.latency_min_ns)
        self.latency_max_ns = high if self.latency_max_ns is None else max(high, self.latency_max_ns)
        self._latencies.append(latency[:: max(1, len(latency) // 1000)][:SAMPLE_MAX])
        self.counts["stamped"] += len(latency)
        self.counts["negative"] += int((latency < 0).sum()) if low < 0 else 0
        reversals = int(exch[0] < self._previous_exch_ts) + int((exch[1:] < exch[:-1]).sum())
        self.counts["exchange_time_reversals"] += reversals
        self._previous_exch_ts = int(exch[-1])

    def _book(self, exch: NDArray[np.int64], local: NDArray[np.int64], applied: Applied) -> None:
        self.counts["updates_without_book"] += int(applied.dropped.sum())
        self.counts["messages"] += int((applied.states > 0).sum())
        odd = np.flatnonzero(applied.states >= LOCKED)
        if len(odd):
            names = list(SessionState)
            sessions = session_states(self.venue, exch[odd])
            for state, name in ((CROSSED, "crossed"), (LOCKED, "locked")):
                for code, count in zip(
                    *np.unique(sessions[applied.states[odd] == state], return_counts=True), strict=True
                ):
                    self.states.setdefault(names[code].value, Counter())[name] += int(count)
                self._see(f"{name}_share", odd[(applied.states[odd] == state) & (sessions == 0)], local)
        quotes = applied.quotes
        both = (quotes[:, 0] > 0) & (quotes[:, 2] > 0)
        mids = (quotes[both, 0] + quotes[both, 2]) / 2
        self._steps(mids, local[applied.quote_rows[both]])

    def _prints(
        self, frame: pl.DataFrame, kinds: NDArray[np.int8], local: NDArray[np.int64], applied: Applied | None
    ) -> None:
        self.counts["prints"] += int((kinds == _TRADES[1]).sum())
        at = np.flatnonzero(kinds == _TRADES[0])
        if not len(at):
            return
        self.counts["trades"] += len(at)
        prices = frame["price_ticks"].to_numpy()[at]
        if applied is None:
            self._steps(prices.astype(np.float64), local[at])
            return
        quotes = np.vstack([np.array([applied.quote_before], np.int64), applied.quotes])
        standing = quotes[np.searchsorted(applied.quote_rows, at, side="left")]
        bid, ask = standing[:, 0], standing[:, 2]
        known = (bid > 0) & (ask > 0)
        self.counts["judged_trades"] += int(known.sum())
        self.counts["trade_throughs"] += int((known & ((prices < bid) | (prices > ask))).sum())

    def _quotes(self, frame: pl.DataFrame, local: NDArray[np.int64]) -> None:
        bid, ask = frame["bid_price_ticks"].to_numpy(), frame["ask_price_ticks"].to_numpy()
        both = (bid > 0) & (ask > 0)
        is_open = session_states(self.venue, local) == 0
        for name, odd in (("crossed", bid > ask), ("locked", bid == ask)):
            rows = np.flatnonzero(both & is_open & odd)
            self.counts[name] += len(rows)
            self._see(f"{name}_share", rows, local)
        self._steps((bid[both] + ask[both]) / 2, local[both])

    def _steps(self, prices: NDArray[np.float64], local: NDArray[np.int64]) -> None:
        prices, local = prices[prices > 0], local[prices > 0]
        if not len(prices):
            return
        before = np.concatenate([[self._previous_price or prices[0]], prices[:-1]])
        self._previous_price = float(prices[-1])
        returns = np.log(prices / before)
        far = np.flatnonzero(np.abs(returns) > JUMP)
        self.counts["jumps"] += len(far)
        self._tell(local[far], returns[far])

    def _tell(self, local: NDArray[np.int64], returns: NDArray[np.float64]) -> None:
        for ts, step in zip(local.tolist(), returns.tolist(), strict=True):
            if len(self.jumps) < JUMPS_TOLD_MAX:
                self.jumps.append({"ts": str(ts), "log_return": round(step, 6)})

    def _bars(self, frame: pl.DataFrame) -> None:
        o, h, low, c = (frame[f"{name}_ticks"].to_numpy() for name in ("open", "high", "low", "close"))
        self.counts["inconsistent_bars"] += int(((h < np.maximum(o, c)) | (low > np.minimum(o, c)) | (low > h)).sum())
        self.counts["zero_volume_bars"] += int((frame["volume"] == 0).sum())
        self._bar_ts.append(frame["local_ts"].to_numpy())
        self._bar_closes.append(c.astype(np.float64))

    def _bar_figures(self) -> dict[str, Any]:
        ts, closes = np.concatenate(self._bar_ts), np.concatenate(self._bar_closes)
        interval_ns = interval_of(self.table) * 10**9
        returns = np.diff(np.log(np.maximum(closes, 1e-9)))
        consecutive = np.diff(ts) <= max(5 * interval_ns, 5 * DAY_NS)
        deviation = MAD_TO_SIGMA * float(np.median(np.abs(returns - np.median(returns)))) if len(returns) else 0.0
        far = np.abs(returns) > max(JUMP, 15 * deviation)
        nearest = np.abs(np.abs(returns)[:, None] - _SPLIT_RATIOS[None, :]).min(axis=1) if len(returns) else returns
        splits = (np.abs(returns) > SPLIT_MIN) & (nearest < 0.08) & consecutive
        at = np.flatnonzero(far | splits)
        self.jumps.clear()
        self._tell(ts[at + 1], returns[at])
        found = {
            "jumps": int(far.sum()), "split_like_jumps": int(splits.sum()),
            "inconsistent_bars": self.counts["inconsistent_bars"], "zero_volume_bars": self.counts["zero_volume_bars"],
        }  # fmt: skip
        if interval_ns < DAY_NS:
            steps = np.arange(ts[0], ts[-1] + 1, interval_ns)
            wanted = steps[session_states(self.venue, steps) == 0]
            missing = len(np.setdiff1d(wanted, ts, assume_unique=True))
            found["missing_bars_share"] = missing / len(wanted) if len(wanted) else 0.0  # type: ignore[assignment]
        return found

    def _uncovered(self, gaps: Sequence[tuple[int, int]]) -> float:
        """Return the share of the day's trading minutes whose middle lies outside what is known."""
        middles = self.day_start_ts + MINUTE_NS // 2 + MINUTE_NS * np.arange(1440)
        middles = middles[session_states(self.venue, middles) == 0]
        if not len(middles):
            return 0.0
        known = (middles >= self.first_ts) & (middles <= self.last_ts)
        for start, end in gaps:
            known &= ~((middles >= start) & (middles < end))
        return 1.0 - float(known.mean())
