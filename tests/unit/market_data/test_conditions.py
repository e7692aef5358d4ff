"""Conditions on small markets whose paths are computed by hand: one bid and one ask, moving on full minutes."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.conditions import (
    MarketConditions,
    Trace,
    Trend,
    VolumeProfile,
    conditioned_feed,
    scaled_lots,
    u_shape,
)
from market_maker.market_data.replay import Feed, ReplayDay, feed_of
from market_maker.market_data.schema import BOOK_SCHEMA, ORDERS_SCHEMA
from market_maker.market_data.stretch import rows_of

DAY = 1_700_006_400_000_000_000  # 2023-11-15T00:00Z
MINUTE = 60_000_000_000
PAIR = Instrument(UUID(int=1), "v", "A-B", "A", "B", Decimal(1), Decimal("0.1"))
NASDAQ = replace(PAIR, venue="nasdaq")
LN2 = math.log(2)


def a_feed(half_ticks: list[int], minutes: list[int] | None = None, lots: int = 10, late_ns: int = 0) -> Feed:
    """At each minute both sides are cleared and quoted anew: bid and ask stand around the mid, one tick from it."""
    rows = []
    for minute, mid in zip(range(len(half_ticks)) if minutes is None else minutes, half_ticks, strict=True):
        ts = DAY + minute * MINUTE
        bid, ask = (mid - 1) // 2, mid // 2 + 1
        for kind, side, price, quantity in [(3, 1, 0, 0), (3, -1, 0, 0), (1, 1, bid, lots), (1, -1, ask, lots)]:
            rows.append((ts, ts + late_ns, kind, side, price, quantity, 0))
        rows.append((ts + 1, ts + 1 + late_ns, 2, 1, ask, 3, 0))
    return feed_of(pl.DataFrame(rows, schema=BOOK_SCHEMA, orient="row"))


def traces_of(feed: Feed) -> list[Trace]:
    """What the book shows at the end of each instant of `a_feed`; inside of it nobody looks."""
    (rows,) = feed.exchange()
    bids, asks = (rows.price_ticks[rows.code == side] for side in (1, -1))
    return [Trace(np.repeat(bids + asks, 5), np.repeat(bids, 5))]


def under(feed: Feed, pair: Instrument = PAIR, volatility: float | None = None, **words: str):
    """Volatilities of these markets are beyond what a user may ask for."""
    conditions = replace(MarketConditions.of(words) or MarketConditions(), volatility=volatility)
    return conditioned_feed(feed, conditions, pair, traces_of(feed))


def mids_of(feed: Feed) -> list[int]:
    """The mids of the quotes, in half ticks."""
    (rows,) = feed.exchange()
    return (rows.price_ticks[rows.code == 1] + rows.price_ticks[rows.code == -1]).tolist()


def nearest(*mids: float, recorded: list[int]) -> list[int]:
    """The recorded mids, each moved by the whole number of ticks (2 half ticks) that brings it nearest to the path."""
    return [was + 2 * round((mid - was) / 2) for mid, was in zip(mids, recorded, strict=True)]


# --- volatility -------------------------------------------------------------------------------------------------------

SWING = [2000, 4000, 2000, 4000, 2000]
# Returns ln 2, -ln 2, ln 2, -ln 2: mean 0, sum of squares 4 ln^2 2, over n - 1 = 3; a day has 1440 minutes.
SWING_VOLATILITY = LN2 * math.sqrt(4 / 3) * math.sqrt(1440)


def test_volatility_is_that_of_minutes_scaled_to_the_session() -> None:
    _, effect = under(a_feed(SWING), volume_profile="NORMAL")
    assert effect["history"]["daily_volatility"] == pytest.approx(SWING_VOLATILITY, rel=1e-12)
    assert effect["history"]["log_return"] == 0
    assert effect["path"]["minutes"] == 4
    assert effect["path"]["days"] == pytest.approx(4 / 1440, rel=1e-8)  # to the last change of the book
    # NASDAQ trades for 390 minutes a day; 2023-11-15 14:30Z is its opening, 870 minutes after midnight UTC.
    _, effect = under(a_feed(SWING, [870, 871, 872, 873, 874]), NASDAQ, volume_profile="NORMAL")
    assert effect["history"]["daily_volatility"] == pytest.approx(LN2 * math.sqrt(4 / 3) * math.sqrt(390), rel=1e-12)
    assert effect["path"]["days"] == pytest.approx(4 / 390, rel=1e-8)


@pytest.mark.parametrize(("factor", "high"), [
    (1.0, 4000),
    # Half: x' = x / 2, so that the mid goes to 2000 sqrt(2) = 2828.43; the displacement -585.79 ticks becomes -586.
    (0.5, 2828),
    # Twice: x is 2 ln 2, so that the mid goes to four times 2000.
    (2.0, 8000),
])  # fmt: skip
def test_volatility_scales_the_path(factor: float, high: int) -> None:
    feed, effect = under(a_feed(SWING), volatility=factor * SWING_VOLATILITY)
    assert mids_of(feed) == [2000, high, 2000, high, 2000]
    assert effect["path"]["scale"] == pytest.approx(factor)
    assert effect["realised"]["daily_volatility"] == pytest.approx(factor * SWING_VOLATILITY, rel=1e-3)
    assert effect["ratios"]["daily_volatility"] == pytest.approx(factor, rel=1e-3)


STEPS = [2000, 4000, 2000, 8000]
# Returns 1, -1, 2 times ln 2, mean 2/3; deviations 1/3, -5/3, 4/3, their squares 42/9, over n - 1 = 2: 7/3.
STEPS_VOLATILITY = LN2 * math.sqrt(7 / 3) * math.sqrt(1440)


def test_without_a_trend_the_return_of_the_range_scales_too() -> None:
    # d = a x(T), so that x' = a x: twice the logarithms.
    feed, effect = under(a_feed(STEPS), volatility=2 * STEPS_VOLATILITY)
    assert mids_of(feed) == [2000, 8000, 2000, 32000]
    assert effect["path"]["drift"] == pytest.approx(2 * 2 * LN2)
    assert effect["history"]["daily_volatility"] == pytest.approx(STEPS_VOLATILITY)


# --- trend ------------------------------------------------------------------------------------------------------------


def test_sideways_ends_where_it_began() -> None:
    # a = 1, d = 0: x - x(T) t/T = ln 2 (1 - 2/3, 0 - 4/3, 2 - 2) at t/T = 1/3, 2/3, 1.
    feed, effect = under(a_feed(STEPS), trend="SIDEWAYS")
    wanted = [2000, 2000 * 2 ** (1 / 3), 2000 * 2 ** (-4 / 3), 2000]
    assert mids_of(feed) == nearest(*wanted, recorded=STEPS) == [2000, 2520, 794, 2000]
    assert effect["realised"]["log_return"] == 0
    assert effect["realised"]["daily_volatility"] == pytest.approx(STEPS_VOLATILITY, rel=2e-3)
    assert effect["path"] == {
        "scale": 1.0,
        "drift": 0.0,
        "days": pytest.approx(3 / 1440),
        "minutes": 3,
        "shifts": 3,
        "displacement_ticks_min": -3000,
        "displacement_ticks_max": 0,
    }


@pytest.mark.parametrize(("trend", "sign"), [("UP", 1), ("DOWN", -1)])
@pytest.mark.parametrize("factor", [None, 0.5])
def test_up_and_down_end_two_deviations_away(trend: str, sign: int, factor: float | None) -> None:
    # d = 2 sigma sqrt(T) = 2 * ln 2 * sqrt(7/3) * sqrt(1440) * sqrt(3/1440) = 2 sqrt(7) ln 2, times the factor a.
    wish = {} if factor is None else {"volatility": factor * STEPS_VOLATILITY}
    feed, effect = under(a_feed(STEPS), trend=trend, **wish)
    a = factor or 1.0
    d = sign * 2 * math.sqrt(7) * a
    path = [2000 * 2 ** (a * (x - 2 * t) + d * t) for x, t in [(0, 0), (1, 1 / 3), (0, 2 / 3), (2, 1)]]
    assert mids_of(feed) == nearest(*path, recorded=STEPS)
    assert effect["path"]["drift"] == pytest.approx(d * LN2)
    assert effect["realised"]["log_return"] == pytest.approx(d * LN2, abs=0.02)
    assert effect["requested"] == {"volatility": wish.get("volatility"), "trend": trend, "volume_profile": None}


def test_time_stands_still_while_the_market_is_closed() -> None:
    # 2023-11-15 20:58, 20:59 and 21:00Z (16:00 in New York, the close), then 14:30 to 14:32Z of the next day.
    minutes = [1258, 1259, 1260, 1440 + 870, 1440 + 871, 1440 + 872]
    feed, effect = under(a_feed([2000, 4000, 2000, 8000, 4000, 8000], minutes), NASDAQ, trend="SIDEWAYS")
    # Open minutes: 1, -1 and, the night apart, -1, 1 times ln 2: mean 0, 4 squares over 3.
    assert effect["history"]["daily_volatility"] == pytest.approx(LN2 * math.sqrt(4 / 3) * math.sqrt(390))
    assert (effect["path"]["minutes"], effect["path"]["days"]) == (4, pytest.approx(4 / 390))
    # x = 0 1 0 2 1 2 times ln 2, x(T) = 2; t/T = 0 1/4 2/4 2/4 3/4 1: the closing and the opening stand at one time.
    path = [2000 * 2**x for x in (0, 1 - 0.5, 0 - 1, 2 - 1, 1 - 1.5, 0)]
    assert mids_of(feed) == nearest(*path, recorded=[2000, 4000, 2000, 8000, 4000, 8000])


def test_gaps_are_neither_minutes_nor_time() -> None:
    feed = replace(a_feed(SWING), missing=((DAY + MINUTE + 5, DAY + MINUTE + MINUTE // 2 + 5),))
    _, effect = under(feed, volume_profile="NORMAL")
    assert (effect["path"]["minutes"], effect["path"]["days"]) == (3, pytest.approx(3.5 / 1440))
    # ln 2, (-ln 2 missing), ln 2, -ln 2: mean 1/3, deviations 2/3, 2/3, -4/3, squares 24/9 over 2.
    assert effect["history"]["daily_volatility"] == pytest.approx(LN2 * math.sqrt(4 / 3) * math.sqrt(1440))


def test_a_gap_at_the_beginning_is_not_part_of_the_range() -> None:
    # The first snapshot was received, by another clock, a while after it was true: until then nothing is known.
    late = MINUTE // 4
    feed = replace(a_feed(STEPS), start_ts=DAY - MINUTE, missing=((DAY - MINUTE, DAY + late),))
    _, effect = under(feed, volume_profile="NORMAL")
    assert (effect["path"]["minutes"], effect["path"]["days"]) == (2, pytest.approx(2.75 / 1440))
    # Full minutes after 0:15 see the mids of minutes 0, 1 and 2: ln 2 and -ln 2, mean 0, two squares over 1.
    assert effect["history"]["daily_volatility"] == pytest.approx(LN2 * math.sqrt(2) * math.sqrt(1440))


def test_the_path_is_that_of_the_range_asked_for() -> None:
    # From 0:30 into the first minute to the end of the fourth: the mid of minute 0 stands at the start.
    feed = replace(a_feed([2000, 4000, 2000, 8000, 9000]), start_ts=DAY + MINUTE // 2, end_ts=DAY + 3 * MINUTE + 5)
    changed, effect = under(feed, trend="SIDEWAYS")
    assert effect["path"]["days"] == pytest.approx(2.5 / 1440)
    assert effect["history"]["log_return"] == pytest.approx(2 * LN2)
    mids = mids_of(changed)
    assert mids[:1] + mids[3:] == [2000, 2000, 9000 - 6000], "after the range the last displacement stays"


# --- rows -------------------------------------------------------------------------------------------------------------


def test_every_price_of_an_instant_moves_alike_and_the_order_of_events_stays() -> None:
    feed = a_feed(STEPS, late_ns=7)
    changed, effect = under(feed, trend="SIDEWAYS")
    (was,), (now,) = feed.exchange(), changed.exchange()
    recorded = np.abs(now.code) != 4
    assert np.array_equal(now.ts[recorded], was.ts)
    assert np.array_equal(now.code[recorded], was.code)
    assert np.array_equal(now.qty_lots[recorded], was.qty_lots)
    # 2520 - 4000, 794 - 2000 and 2000 - 8000 half ticks; quotes and the trade after them move, clears have no price.
    moved = np.repeat([0, -740, -603, -3000], 5) * (np.abs(was.code) != 3)
    assert np.array_equal(now.price_ticks[recorded], was.price_ticks + moved)
    # Before the first row of the book of an instant its shift, after the last one its end, before the trade.
    assert now.code[:19].tolist() == [3, -3, 1, -1, 2, 4, 3, -3, 1, -1, -4, 2, 4, 3, -3, 1, -1, -4, 2]
    assert now.price_ticks[now.code == 4].tolist() == [-740, -603, -3000]
    assert changed.events == len(now.ts) == feed.events + 2 * effect["path"]["shifts"]
    (local,) = changed.local()
    assert np.array_equal(local.ts, now.ts + 7)
    for column in ("price_ticks", "qty_lots", "code"):
        assert np.array_equal(getattr(local, column), getattr(now, column)), column
    assert (changed.data_hash, changed.pages, changed.coverage) == (feed.data_hash, feed.pages, feed.coverage)


def test_days_make_no_difference() -> None:
    whole = a_feed(STEPS)
    (rows,) = whole.exchange()
    # Cut after two instants; the second day begins with three rows that repeat what the first one has left.
    morning = rows_of({name: column[:10] for name, column in rows._asdict().items()})
    evening = rows_of({name: np.concatenate([column[7:10], column[10:]]) for name, column in rows._asdict().items()})
    cut = replace(whole, days=(ReplayDay(morning, morning, 0), ReplayDay(evening, evening, 3)))
    (trace,) = traces_of(whole)
    parts = [Trace(trace.mids[:10], trace.bests[:10]), Trace(trace.mids[10:], trace.bests[10:])]
    conditions = MarketConditions.of({"trend": "DOWN", "volume_profile": "LOW"})
    (one,), (two, three) = (
        list(conditioned_feed(feed, conditions, PAIR, traces)[0].exchange())
        for feed, traces in ((whole, [trace]), (cut, parts))
    )
    for column in one._fields:
        assert np.array_equal(getattr(one, column), np.concatenate([getattr(two, column), getattr(three, column)])), (
            column
        )


def test_trades_received_before_their_book_keep_the_price_of_the_venue() -> None:
    rows, mids = [], [200, 300, 200, 400]
    for minute, mid in enumerate(mids):
        ts = DAY + minute * MINUTE
        rows += [(ts, ts + 50, 1, 1, mid - 1, 10 + minute, 0), (ts, ts + 50, 1, -1, mid + 1, 10 + minute, 0)]
        if minute:
            rows += [(ts, ts + 50, 1, 1, mids[minute - 1] - 1, 0, 0), (ts, ts + 50, 1, -1, mids[minute - 1] + 1, 0, 0)]
        rows.append((ts + 10, ts + 20, 2, 1, mid + 1, 3, 0))
    frame = pl.DataFrame(rows, schema=BOOK_SCHEMA, orient="row").sort("local_ts", maintain_order=True)
    feed = feed_of(frame)
    (venue,) = feed.exchange()
    assert not np.array_equal(venue.code, next(feed.local()).code), "the two orders differ"
    ends = np.cumsum([3, 5, 5, 5])
    trace = Trace(
        np.repeat([400, 600, 400, 800], np.diff(ends, prepend=0)),
        np.repeat([199, 299, 199, 399], np.diff(ends, prepend=0)),
    )
    changed, _ = conditioned_feed(feed, MarketConditions.of({"trend": "SIDEWAYS"}), PAIR, [trace])
    (venue,), (local,) = changed.exchange(), changed.local()
    ticks = venue.price_ticks[venue.code == 4].tolist()
    assert len(ticks) == 3
    assert venue.price_ticks[venue.code == 2].tolist() == [201, 301 + ticks[0], 201 + ticks[1], 401 + ticks[2]]
    assert local.price_ticks[local.code == 2].tolist() == venue.price_ticks[venue.code == 2].tolist()
    # In the receiver's order the trade of a minute comes first, then the shift, then the rows of the book.
    assert local.code[4:10].tolist() == [4, 1, -1, 1, -1, 2]
    assert local.price_ticks[local.code == 4].tolist() == ticks
    assert -4 not in local.code


@pytest.mark.parametrize("late_ns", [0, 7], ids=["one order", "two orders"])
def test_rows_of_orders_keep_their_places_in_the_queue(late_ns: int) -> None:
    """Two orders of two lots at 201, of which a trade takes three lots each minute; what has become of them is told later."""
    rows: list[tuple[int, ...]] = []
    mids = [200, 300, 200, 400]
    for minute, mid in enumerate(mids):
        ts, ids = DAY + minute * MINUTE, 10 * minute
        rows += [(ts, ts, 3, side, 0, 0, 0, 0) for side in (1, -1)]
        rows.append((ts, ts, 6, 1, mid - 1, 5, 0, ids))
        rows += [(ts + i, ts + i, 6, -1, mid + 1, 2, 0, ids + i) for i in (1, 2)]
        rows.append((ts + 9, ts + 9, 2, 1, mid + 1, 3, 0, 0))
        rows += [(ts + 9, ts + 9 + late_ns, 7, -1, mid + 1, lots, 0, ids + i) for i, lots in ((1, 2), (2, 1))]
    feed = feed_of(pl.DataFrame(rows, schema=ORDERS_SCHEMA, orient="row"))
    (was,) = feed.exchange()
    assert np.array_equal(was.code, next(feed.local()).code) == (late_ns == 0)
    trace = Trace(np.repeat(2 * np.array(mids), 9), np.repeat(np.array(mids) - 1, 9))
    changed, _ = conditioned_feed(feed, MarketConditions.of({"trend": "SIDEWAYS"}), PAIR, [trace])
    (now,), (local,) = changed.exchange(), changed.local()
    kept = np.abs(now.code) != 4
    assert not kept.all()
    assert now.joined_ts[kept].tolist() == was.joined_ts.tolist()
    assert not now.joined_ts[~kept].any()
    assert len(local.joined_ts) == 0
    # Each minute: two clears, three orders, then 2 lots of the order of 1 and 1 of that of 2, each before its level.
    told = [int(joined - DAY) % MINUTE for joined in was.joined_ts[was.joined_ts > 0].tolist()]
    assert told == [0, 1, 2, 1, 1, 2, 2] * 4
    assert was.qty_lots[was.code == 2].tolist() == [2, 1] * 4


def test_no_trade_happens_at_zero() -> None:
    rows = [(3, 1, 0, 0), (3, -1, 0, 0), (1, 1, 999, 1), (1, -1, 1001, 1), (2, -1, 5, 1)]
    frame = [
        (DAY + minute * MINUTE, DAY + minute * MINUTE, kind, side, price * (1 + minute % 2), lots, 0)
        for minute in range(5)
        for kind, side, price, lots in rows
    ]
    feed = feed_of(pl.DataFrame(frame, schema=BOOK_SCHEMA, orient="row"))
    changed, _ = conditioned_feed(feed, MarketConditions.of({"volatility": 1.0}), PAIR, traces_of(feed))
    (now,) = changed.exchange()
    # Halved and more, the quotes of odd minutes go down by more than the 10 ticks at which somebody sold.
    assert now.price_ticks[now.code == -2].tolist() == [5, 1, 5, 1, 5]


# --- quantities -------------------------------------------------------------------------------------------------------


def test_the_u_shape_has_mean_one() -> None:
    assert u_shape(np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan])).tolist() == [2.0, 0.875, 0.5, 0.875, 2.0, 1.0]
    assert u_shape((np.arange(10_000) + 0.5) / 10_000).mean() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("profile", "lots", "wanted"), [
    (None, [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
    (VolumeProfile.NORMAL, [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
    # 0.5 would be nothing and stays 1; 1.5 and 2.5 both go to 2, the even one.
    (VolumeProfile.LOW, [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 1, 2, 2, 2, 3, 4]),
    (VolumeProfile.HIGH, [0, 1, 2, 3, 2**40], [0, 2, 4, 6, 2**41]),
])  # fmt: skip
def test_profiles_scale_quantities(profile: VolumeProfile | None, lots: list[int], wanted: list[int]) -> None:
    assert scaled_lots(np.array(lots), np.full(len(lots), DAY), profile, "v").tolist() == wanted


def test_the_u_shape_follows_the_session() -> None:
    # 0:00, 6:00, 12:00, 18:00 UTC for a venue that never closes: 2, 0.875, 0.5, 0.875.
    ts = DAY + np.array([0, 6, 12, 18]) * 60 * MINUTE
    assert scaled_lots(np.full(4, 1000), ts, VolumeProfile.U_SHAPED, "v").tolist() == [2000, 875, 500, 875]
    # In New York 9:30, 12:45 (the middle of 390 minutes) and, outside of the session, 9:29 and 16:00.
    ts = DAY + np.array([14 * 60 + 30, 17 * 60 + 45, 14 * 60 + 29, 21 * 60]) * MINUTE
    assert scaled_lots(np.full(4, 1000), ts, VolumeProfile.U_SHAPED, "nasdaq").tolist() == [2000, 500, 1000, 1000]


@pytest.mark.parametrize(("profile", "ratio"), [("LOW", 0.5), ("NORMAL", 1.0), ("HIGH", 2.0)])
def test_the_result_states_quantities(profile: str, ratio: float) -> None:
    feed, effect = under(a_feed(SWING), volume_profile=profile)
    assert effect["history"]["mean_level_quantity"] == pytest.approx(1.0)  # 10 lots of 0.1
    assert effect["history"]["traded_volume"] == "1.5"  # five trades of 3 lots
    assert effect["ratios"]["mean_level_quantity"] == ratio
    (rows,) = feed.exchange()
    assert set(rows.qty_lots[np.abs(rows.code) == 1].tolist()) == {int(10 * ratio)}
    assert effect["path"]["shifts"] == 0


def test_a_normal_profile_changes_no_row() -> None:
    feed = a_feed(SWING)
    changed, effect = under(feed, volume_profile="NORMAL")
    for was, now in [
        *zip(feed.exchange(), changed.exchange(), strict=True),
        *zip(feed.local(), changed.local(), strict=True),
    ]:
        for column in was._fields:
            assert np.array_equal(getattr(was, column), getattr(now, column)), column
    assert effect["history"] == effect["realised"]


# --- what cannot be done ----------------------------------------------------------------------------------------------


def test_no_conditions_are_none() -> None:
    assert MarketConditions.of(None) is None
    assert MarketConditions.of({}) is None
    assert MarketConditions.of({"volatility": None, "trend": None, "volume_profile": None}) is None
    some = MarketConditions.of({"volatility": 1, "trend": "UP"})
    assert some == MarketConditions(1.0, Trend.UP, None)
    assert MarketConditions.of(some.to_json()) == some


@pytest.mark.parametrize(("field", "values"), [
    ("volatility", {"volatility": 0}),
    ("volatility", {"volatility": -0.1}),
    ("volatility", {"volatility": 10.1}),
    ("volatility", {"volatility": math.nan}),
    ("volatility", {"volatility": "0.02"}),
    ("volatility", {"volatility": True}),
    ("trend", {"trend": "sideways"}),
    ("trend", {"trend": 1}),
    ("volume_profile", {"volume_profile": "HUGE"}),
])  # fmt: skip
def test_a_wrong_condition_is_named(field: str, values: dict) -> None:
    with pytest.raises(InvalidRequest, match=f"^market_conditions.{field}: ") as caught:
        MarketConditions.of(values)
    assert caught.value.errors[0].field == f"market_conditions.{field}"


def test_an_unknown_condition_is_named() -> None:
    with pytest.raises(InvalidRequest, match="volatilty is not allowed; allowed: volatility, trend, volume_profile"):
        MarketConditions.of({"volatilty": 0.02})


@pytest.mark.parametrize("wish", [{"volatility": 0.1}, {"trend": "UP"}])
@pytest.mark.parametrize(("half_ticks", "text"), [
    ([2000, 2002], r"the range has 1 whole minute\(s\) of open market; .* need at least 2"),
    ([2000], r"the range has 0 whole minute\(s\)"),
    ([2000, 2000, 2000, 2000], "the same return in each of the 3 minutes"),
])  # fmt: skip
def test_too_little_data_are_refused(wish: dict, half_ticks: list[int], text: str) -> None:
    with pytest.raises(DataError, match=text):
        under(a_feed(half_ticks), **wish)
    under(a_feed(half_ticks), volume_profile="HIGH")  # quantities need no path


def test_a_closed_market_has_no_minutes() -> None:
    with pytest.raises(DataError, match=r"0 whole minute\(s\) of open market"):
        under(a_feed(SWING, [0, 1, 2, 3, 4]), NASDAQ, trend="UP")  # midnight UTC is 19:00 in New York


def test_a_range_without_a_mid_is_refused() -> None:
    feed = a_feed(SWING)
    nothing = [Trace(traces_of(feed)[0].mids * 0, traces_of(feed)[0].bests)]
    with pytest.raises(DataError, match="need a mid price"):
        conditioned_feed(feed, MarketConditions.of({"trend": "UP"}), PAIR, nothing)


def test_prices_do_not_fall_to_zero_nor_beyond_measure() -> None:
    with pytest.raises(DataError, match="drive the price to zero"):
        # d = -2 ln 2 sqrt(4/3) sqrt(4) = -3.2, and 20 e^-3.2 = 0.8 half ticks: less than one tick.
        under(a_feed([20, 10, 20, 10, 20]), trend="DOWN")
    with pytest.raises(DataError, match="beyond 1099511627776 ticks"):
        under(a_feed([2 * 10**12, 2 * 10**12 - 2] * 3), volatility=10.0, trend="UP")
