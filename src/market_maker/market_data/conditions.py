"""A recorded market under conditions: another volatility, another trend, other quantities; the order of events stays.

Owns the conditions, the conditioned path of the mid and the change of a feed's rows. Knows no orders and no fills: how
a displaced book reaches them is the replay's. What is measured here is a statistic, so it is floating point; the
displacement that comes out of it is a whole number of ticks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import CLEAR_ROW, LEVEL_ROW, SHIFT_ROW, TRADE_ROW, Feed, ReplayDay
from market_maker.market_data.sessions import SessionState, session_minutes_per_day, session_shares, session_states
from market_maker.market_data.stretch import Rows, frozen, no_rows, rows_of

MINUTE_NS = 60_000_000_000
VOLATILITY_MAX = 10.0
PRICE_MAX = 2**40
_CONTINUOUS = list(SessionState).index(SessionState.CONTINUOUS)


class Trend(StrEnum):
    """Where the path ends: two standard deviations of the whole range up or down, or where it began."""

    UP = "UP"
    DOWN = "DOWN"
    SIDEWAYS = "SIDEWAYS"


class VolumeProfile(StrEnum):
    """What quantities are multiplied by: 0.5, 1, 2, or a curve over the day's session (`u_shape`)."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"
    U_SHAPED = "U_SHAPED"


@dataclass(frozen=True, slots=True)
class MarketConditions:
    """Conditions put on a recorded market; None leaves that side of history as it was.

    `volatility` is the wanted standard deviation of daily log returns of the mid.
    """

    volatility: float | None = None
    trend: Trend | None = None
    volume_profile: VolumeProfile | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> MarketConditions | None:
        """Return the conditions from a request's values, None when none is set; InvalidRequest names the field."""
        given = {name: value for name, value in (values or {}).items() if value is not None}
        unknown = sorted(given.keys() - {"volatility", "trend", "volume_profile"})
        if unknown:
            allowed = "volatility, trend, volume_profile"
            raise InvalidRequest.of("market_conditions", unknown[0], allowed)
        volatility = given.get("volatility")
        if volatility is not None:
            is_number = isinstance(volatility, int | float) and not isinstance(volatility, bool)
            if not is_number or not 0 < volatility <= VOLATILITY_MAX:
                allowed = f"a number above 0, at most {VOLATILITY_MAX:g}: the standard deviation of daily log returns"
                raise InvalidRequest.of("market_conditions.volatility", volatility, allowed)
            volatility = float(volatility)
        names = {"trend": Trend, "volume_profile": VolumeProfile}
        for name, words in names.items():
            if name in given and given[name] not in list(words):
                raise InvalidRequest.of(f"market_conditions.{name}", given[name], ", ".join(words))
        if not given:
            return None
        trend, profile = given.get("trend"), given.get("volume_profile")
        return cls(volatility, trend and Trend(trend), profile and VolumeProfile(profile))

    @property
    def moves_prices(self) -> bool:
        """True when the path of the mid is another one than history's."""
        return self.volatility is not None or self.trend is not None

    def to_json(self) -> dict[str, Any]:
        """Return the conditions as JSON values; one that is not set is None."""
        return {
            "volatility": self.volatility,
            "trend": self.trend and self.trend.value,
            "volume_profile": self.volume_profile and self.volume_profile.value,
        }


class Trace(NamedTuple):
    """What the recorded book shows after each row of one stretch of the venue's stream.

    mids : (n,) int64, half ticks; the last one known while a side is empty, 0 before the first
    bests : (n,) int64, ticks, the lower one of the best prices, 0 for an empty book
    """

    mids: NDArray[np.int64]
    bests: NDArray[np.int64]


def u_shape(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1/2 + 6 (u - 1/2)^2 at shares u of the session: 2 at both ends, 1/2 in the middle; outside (NaN) 1.

    Its mean over the session is 1/2 + 6/12 = 1.
    """
    curve: NDArray[np.float64] = 0.5 + 6.0 * (share - 0.5) ** 2
    return np.where(np.isnan(share), 1.0, curve)


def scaled_lots(
    lots: NDArray[np.int64], ts: NDArray[np.int64], profile: VolumeProfile | None, venue: str
) -> NDArray[np.int64]:
    """Return quantities under a profile at exchange times, halves to even; what was positive stays at least 1 lot."""
    if profile is None or profile is VolumeProfile.NORMAL:
        return lots
    if profile is VolumeProfile.HIGH:
        return lots * 2
    if profile is VolumeProfile.LOW:
        scaled = lots // 2 + (lots & (lots // 2) & 1)  # 3 -> 1.5 -> 2, 5 -> 2.5 -> 2
    else:
        scaled = np.rint(lots * u_shape(session_shares(venue, ts))).astype(np.int64)
    return np.maximum(scaled, np.minimum(lots, 1))


def conditioned_feed(
    feed: Feed, conditions: MarketConditions, instrument: Instrument, traces: Sequence[Trace]
) -> tuple[Feed, dict[str, Any]]:
    """Return the feed under conditions, and what was requested, reached and recorded, as JSON values.

    At each instant of the venue that changes the book, the whole feed is displaced by the whole number of ticks that
    brings the mid nearest to its conditioned path. Where that number changes, a SHIFT_ROW comes before the instant's
    first row of the book, and one of negative code after its last. The receiver's stream has the SHIFT_ROW where that
    first row is received. Times, order and number of recorded rows stay as they are.

    Parameters
    ----------
    traces : of each stretch of `feed.exchange()`, in order

    Raises
    ------
    DataError
        Volatility or trend of a range with less than two whole minutes of open market or with a mid that stands still,
        and conditions that drive the price to nothing or beyond what can be represented.
    """
    exchange, local = list(feed.exchange()), list(feed.local())
    instants = [_instants(rows) for rows in exchange]
    ends = [last for _, last in instants]
    path = _path_of(
        feed,
        instrument.venue,
        ts=np.concatenate([rows.ts[last] for rows, last in zip(exchange, ends, strict=True)]),
        mids=np.concatenate([trace.mids[last] for trace, last in zip(traces, ends, strict=True)]),
    )
    history = path.measures(path.mids)
    displacement = np.zeros(len(path.ts), np.int64)
    shape = {"scale": 1.0, "drift": history["log_return"]}
    if conditions.moves_prices:
        displacement, shape = _displacement(path, conditions, history)
        lowest = np.concatenate([trace.bests[last] for trace, last in zip(traces, ends, strict=True)])
        _check_prices(path.mids, lowest, displacement)
    days, carried, begin = [], 0, 0
    for i, (first, last) in enumerate(instants):
        part = displacement[begin : begin + len(first)]
        days.append(_changed_day(exchange[i], local[i], first, last, part, carried, conditions, instrument.venue))
        begin += len(first)
        carried = int(part[-1]) if len(part) else carried
    shifts = int(np.count_nonzero(np.diff(displacement, prepend=0)))
    changed = replace(feed, days=tuple(days), events=feed.events + 2 * shifts)
    before = history | _quantities(feed, exchange, instrument)
    after = path.measures(path.mids + 2 * displacement) | _quantities(feed, list(changed.exchange()), instrument)
    return changed, {
        "requested": conditions.to_json(),
        "realised": after,
        "history": before,
        "ratios": {
            name: _ratio(float(after[name]), float(before[name]))
            for name in ("daily_volatility", "mean_level_quantity", "traded_volume")
            if after[name] is not None and before[name] is not None
        },
        "path": shape
        | {
            "days": path.days,
            "minutes": path.minutes,
            "shifts": shifts,
            "displacement_ticks_min": int(displacement.min(initial=0)),
            "displacement_ticks_max": int(displacement.max(initial=0)),
        },
    }


class _Path(NamedTuple):
    """The recorded mid at the instants of the book, and the market's clock from the run's first mid to its last.

    Attributes
    ----------
    ts, mids : (n,) int64, all instants of the feed; first, last : those between which the conditions hold
    edges, open_ns : edges of minutes and gaps, from `ts[first]`, and the open and recorded time up to each
    grid : last instant of the book at or before each full minute
    counted : which of the minutes between two places of the grid are open and recorded throughout
    minutes_per_day : of the venue's session
    """

    ts: NDArray[np.int64]
    mids: NDArray[np.int64]
    first: int
    last: int
    edges: NDArray[np.int64]
    open_ns: NDArray[np.int64]
    grid: NDArray[np.int64]
    counted: NDArray[np.bool_]
    minutes_per_day: int

    @property
    def days(self) -> float:
        """The length T in days: open time over the session's length."""
        return float(self.open_ns[-1]) / (self.minutes_per_day * MINUTE_NS)

    @property
    def minutes(self) -> int:
        """The number of one-minute returns."""
        return int(self.counted.sum())

    def shares(self) -> NDArray[np.float64]:
        """Return t/T at each instant between first and last: 0 to 1, standing still while the market is closed."""
        elapsed = self.ts[self.first : self.last + 1] - self.ts[self.first]
        passed: NDArray[np.float64] = np.interp(elapsed, self.edges, self.open_ns)
        return passed / float(self.open_ns[-1])  # the last one by itself: exactly 1

    def returns(self, mids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the log returns of open minutes."""
        found: NDArray[np.float64] = np.diff(np.log(mids[self.grid]))[self.counted]
        return found

    def measures(self, mids: NDArray[np.int64]) -> dict[str, Any]:
        """Return the daily volatility (None: fewer than two returns) and the total log return of a path."""
        returns = self.returns(mids)
        daily = float(returns.std(ddof=1)) * math.sqrt(self.minutes_per_day) if len(returns) > 1 else None
        return {
            "daily_volatility": daily,
            "log_return": math.log(int(mids[self.last]) / int(mids[self.first])),
        }


def _path_of(feed: Feed, venue: str, *, ts: NDArray[np.int64], mids: NDArray[np.int64]) -> _Path:
    """Lay the market's clock over the instants: minutes from the first known mid of the range, gaps and closed hours apart."""
    known = np.flatnonzero(mids > 0)
    last = int(np.searchsorted(ts, min(feed.end_ts - 1, feed.last_ts), side="right")) - 1
    if not len(known) or known[0] > last:
        raise DataError("the book never has both a bid and an ask in the range; market_conditions need a mid price")
    begin = max(feed.start_ts, int(ts[known[0]]))
    for gap_begin, gap_end in feed.missing:
        begin = gap_end if gap_begin <= begin < gap_end else begin
    first = min(last, int(np.searchsorted(ts, begin, side="right")) - 1)
    # The range begins where it was asked for, with the mid that stands then.
    origin = ts.copy()
    origin[: first + 1] = np.minimum(np.maximum(ts[: first + 1], begin), ts[last])
    start, length = int(origin[first]), int(origin[last] - origin[first])
    whole = np.arange(length // MINUTE_NS + 1, dtype=np.int64) * MINUTE_NS
    gaps = np.clip(np.array(feed.missing, np.int64).reshape(-1, 2) - start, 0, length)
    edges = np.unique(np.concatenate([whole, gaps.ravel(), [length]]))
    is_open = session_states(venue, start + edges[:-1]) == _CONTINUOUS
    for i, j in np.searchsorted(edges, gaps):
        is_open[i:j] = False
    open_ns = np.concatenate([[0], np.cumsum(np.diff(edges) * is_open)])
    return _Path(
        ts=origin,
        mids=mids,
        first=first,
        last=last,
        edges=edges,
        open_ns=open_ns,
        grid=np.searchsorted(origin, start + whole, side="right") - 1,
        counted=np.diff(open_ns[np.searchsorted(edges, whole)]) == MINUTE_NS,
        minutes_per_day=session_minutes_per_day(venue),
    )


def _displacement(
    path: _Path, conditions: MarketConditions, history: Mapping[str, Any]
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Return the displacement in ticks at each instant, and scale a and drift d of the path.

    With x(t) the log of the mid over the first one, x'(t) = a (x(t) - x(T) t/T) + d t/T; a is the wanted over the
    recorded volatility, d = +-2 sigma sqrt(T) for UP and DOWN, 0 for SIDEWAYS, and a x(T) without a trend.
    """
    recorded = history["daily_volatility"]
    if recorded is None:
        raise DataError(
            f"the range has {path.minutes} whole minute(s) of open market; volatility and trend are measured by returns"
            " of one minute and need at least 2: choose a longer range"
        )
    if not bool(np.ptp(path.returns(path.mids))):
        raise DataError(
            f"the mid price has the same return in each of the {path.minutes} minutes of the range; what has no volatility"
            " cannot be scaled: choose another range, or leave volatility and trend out"
        )
    sigma = recorded if conditions.volatility is None else conditions.volatility
    scale = sigma / recorded
    total = history["log_return"]
    reach = 2 * sigma * math.sqrt(path.days)
    drift = {Trend.UP: reach, Trend.DOWN: -reach, Trend.SIDEWAYS: 0.0, None: scale * total}[conditions.trend]
    inside = path.mids[path.first : path.last + 1]
    share = path.shares()
    wanted = scale * (np.log(inside / inside[0]) - total * share) + drift * share
    if bool(np.any(wanted > math.log(2 * PRICE_MAX / int(inside[0])))):
        raise DataError(f"the conditions drive the price beyond {PRICE_MAX} ticks; ask for less volatility")
    displacement = np.zeros(len(path.ts), np.int64)
    displacement[path.first : path.last + 1] = np.rint((inside[0] * np.exp(wanted) - inside) / 2).astype(np.int64)
    displacement[path.last + 1 :] = displacement[path.last]
    return displacement, {"scale": scale, "drift": drift}


def _check_prices(mids: NDArray[np.int64], lowest: NDArray[np.int64], displacement: NDArray[np.int64]) -> None:
    """Raise DataError where a best price or a mid falls below one tick."""
    falls = ((lowest > 0) & (lowest + displacement < 1)) | ((mids > 0) & (mids + 2 * displacement < 2))
    if bool(np.any(falls)):
        raise DataError("the conditions drive the price to zero; ask for less volatility or another trend")


def _instants(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last row of the book of each instant that has one."""
    book = np.flatnonzero(np.abs(rows.code) != TRADE_ROW)
    ts = rows.ts[book]
    differs = ts[1:] != ts[:-1]
    edge = np.ones(min(1, len(book)), np.bool_)
    return book[np.concatenate([edge, differs])], book[np.concatenate([differs, edge])]


def _changed_day(
    exchange: Rows,
    local: Rows,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    displacement: NDArray[np.int64],
    carried: int,
    conditions: MarketConditions,
    venue: str,
) -> ReplayDay:
    """Return a day under conditions; `carried` is the displacement that the day before has left."""
    changes = np.flatnonzero(np.diff(displacement, prepend=carried))
    starts, ends, ticks = first[changes], last[changes], displacement[changes]
    stretches = np.diff(np.concatenate([[0], starts, [len(exchange.ts)]]))
    moved = np.repeat(np.concatenate([[carried], ticks]), stretches)
    kind = np.abs(exchange.code)
    price = np.where(kind == CLEAR_ROW, exchange.price_ticks, exchange.price_ticks + moved)
    price = np.where(kind == TRADE_ROW, np.maximum(price, 1), price)
    lots = scaled_lots(exchange.qty_lots, exchange.ts, conditions.volume_profile, venue)
    # After the last row of an instant comes its end, then perhaps the beginning of the next one's shift.
    pairs = _pairs(starts, ends + 1)
    columns = {
        "price_ticks": np.insert(price, pairs, _pairs(ticks, ticks)),
        "qty_lots": np.insert(lots, pairs, 0),
        "code": np.insert(exchange.code, pairs, _pairs(ticks * 0 + SHIFT_ROW, ticks * 0 - SHIFT_ROW)),
    }
    # What is inserted is about no order; a market on another path keeps its queues.
    joined = np.insert(exchange.joined_ts, pairs, 0) if len(exchange.joined_ts) else exchange.joined_ts
    venue_rows = rows_of(
        {
            "ts": np.insert(exchange.ts, pairs, _pairs(exchange.ts[starts], exchange.ts[ends])),
            **columns,
            "joined_ts": joined,
        }
    )
    if np.may_share_memory(exchange.code, local.code):
        ts = np.insert(local.ts, pairs, _pairs(local.ts[starts], local.ts[ends]))
        received = venue_rows._replace(ts=frozen(ts, np.int64), joined_ts=no_rows().joined_ts)
        return ReplayDay(venue_rows, received, 0)
    same, books = _order_of_receipt(exchange, local)
    places = books[np.searchsorted(np.flatnonzero(kind != TRADE_ROW), starts)]
    received = rows_of(
        {
            "ts": np.insert(local.ts, places, local.ts[places]),
            "price_ticks": np.insert(price[same], places, ticks),
            "qty_lots": np.insert(lots[same], places, 0),
            "code": np.insert(local.code, places, SHIFT_ROW),
        }
    )
    return ReplayDay(venue_rows, received, 0)


def _order_of_receipt(exchange: Rows, local: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the venue's row that each received row is, and the received rows of the book.

    Both streams hold the same rows, and trades among themselves, as rows of the book, have one order in both.
    """
    same = np.empty(len(local.code), np.int64)
    is_trade = np.abs(local.code) == TRADE_ROW
    books = np.flatnonzero(~is_trade)
    same[is_trade] = np.flatnonzero(np.abs(exchange.code) == TRADE_ROW)
    same[books] = np.flatnonzero(np.abs(exchange.code) != TRADE_ROW)
    assert np.array_equal(exchange.price_ticks[same], local.price_ticks), "the streams hold different rows"
    return same, books


def _pairs(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    paired: NDArray[np.int64] = np.column_stack([a, b]).ravel()
    return paired


def _quantities(feed: Feed, stretches: Sequence[Rows], instrument: Instrument) -> dict[str, Any]:
    """Return the mean quantity that a row of the book displays, and the traded volume (as text), in the range."""
    displayed, levels, traded = 0, 0, 0
    for rows in stretches:
        inside = slice(*np.searchsorted(rows.ts, [feed.start_ts, feed.end_ts]))
        kind, lots = np.abs(rows.code[inside]), rows.qty_lots[inside]
        shown = lots[(kind == LEVEL_ROW) & (lots > 0)]
        displayed, levels = displayed + int(shown.sum()), levels + len(shown)
        traded += int(lots[kind == TRADE_ROW].sum())
    mean = float(instrument.lots_to_qty(displayed)) / levels if levels else None
    return {"mean_level_quantity": mean, "traded_volume": f"{instrument.lots_to_qty(traded):f}"}


def _ratio(after: float, before: float) -> float | None:
    return after / before if before else None
