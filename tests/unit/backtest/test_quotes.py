"""Best prices and places of recorded rows: stored by day, used by feeds of many days, in slices; always those of one ladder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from feed_builders import (
    ADD,
    CANCEL,
    CLEAR,
    DEPTH,
    SNAPSHOT,
    T0,
    TRADE,
    book,
    orders,
    publish,
)
from market_maker.backtest import day_columns, drive, quotes
from market_maker.backtest.conditioned import trace, under_conditions
from market_maker.backtest.day_columns import Layout, follow
from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.quotes import Quotes
from market_maker.backtest.state import FOREVER, Stretch
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import Feed, ReplayDay, open_feed
from market_maker.market_data.schema import BOOK_SCHEMA, DAY_NS
from market_maker.market_data.stretch import rows_of
from market_maker.storage.lake import Lake, day_of
from market_maker.strategies.contract import find_strategy

PAIR = Instrument(UUID(int=1), "v", "S", "A", "B", Decimal(1), Decimal(1))
STREAMS = ("exchange", "local")
MS = 1_000_000


class Market:
    """Rows of days one after the other: levels around a mid that wanders, trades among them, some of these received late."""

    def __init__(self, seed: int, *, is_wild: bool = True) -> None:
        self.chance = np.random.default_rng(seed)
        self.mid, self.is_wild = 5_000, is_wild
        self.levels: dict[tuple[int, int], int] = {}
        self.t = 0

    def snapshot(self, levels: dict[tuple[int, int], int]) -> list[tuple[int, ...]]:
        """Both sides cleared, then the levels; all in one instant."""
        self.t += 5
        rows = [(self.t, self.t, CLEAR, 1, 0, 0), (self.t, self.t, CLEAR, -1, 0, 0)]
        self.levels = dict(levels)
        return rows + [(self.t, self.t, SNAPSHOT, side, price, lots) for (side, price), lots in sorted(levels.items())]

    def around(self, n: int = 4) -> dict[tuple[int, int], int]:
        """Some levels on both sides of the mid."""
        return {(side, self.mid - side * k): int(self.chance.integers(1, 50)) for side in (1, -1) for k in range(1, n)}

    def wander(self, n: int) -> list[tuple[int, ...]]:
        """Changes of levels and trades; now and then a side is cleared, a bid overruns asks, or the mid jumps far away."""
        rows = []
        for _ in range(n):
            self.t += int(self.chance.integers(1, 40)) * MS
            side = int(self.chance.choice([1, -1]))
            if self.is_wild and self.chance.random() < 0.02:
                self.mid += int(self.chance.integers(-900, 901))
            if self.is_wild and self.chance.random() < 0.01:
                self.levels = {key: lots for key, lots in self.levels.items() if key[0] != side}
                rows.append((self.t, self.t, CLEAR, side, 0, 0))
            elif self.chance.random() < 0.25:
                late = self.t + int(self.chance.integers(0, 3)) * 20 * MS
                rows.append((self.t, late, TRADE, side, self.mid + side, int(self.chance.integers(1, 9))))
            else:
                price = self.mid - side * int(self.chance.integers(-1 if self.is_wild else 1, 6))
                lots = int(self.chance.integers(0, 3)) * int(self.chance.integers(1, 30))
                self.levels |= {(side, price): lots}
                rows.append((self.t, self.t, DEPTH, side, price, lots))
        self.levels = {key: lots for key, lots in self.levels.items() if lots}
        self.t += 60 * MS
        return rows


def received(rows: list[tuple[int, ...]]) -> pl.DataFrame:
    return book(*sorted(rows, key=lambda row: row[1]))


def recorded(tmp_path: Path, seed: int, kinds: str, rows: int = 150, *, is_wild: bool = True) -> Feed:
    """A feed of days, a letter each.

    c: begins with what the day before has left; w: with something else instead; s: with a snapshot of its own;
    b: with whatever comes; e: as c, and nothing follows but trades; a: as c, and ends without asks.
    """
    lake, market = Lake(tmp_path / f"{seed}-{kinds}"), Market(seed, is_wild=is_wild)
    for i, kind in enumerate(kinds):
        market.t = max(market.t, i * DAY_NS + 1)
        carried = 0
        if kind in "cwea" and i > 0:
            begin = market.snapshot(market.levels if kind != "w" else market.around())
            carried = len(begin)
        else:
            begin = market.snapshot(market.around()) if kind in "sca" else []
        more = market.wander(rows)
        if kind == "e":
            more = [row for row in more if row[2] == TRADE]
        if kind == "a":
            gone = [(market.t + 1, market.t + 1, DEPTH, *key, 0) for key in sorted(market.levels) if key[0] < 0]
            market.levels = {key: lots for key, lots in market.levels.items() if key[0] > 0}
            more += gone
            market.t += 20 * MS
        publish(lake, day_of(T0 + i * DAY_NS), {"book": carried}, book=received([*begin, *more]))
    return open_feed(lake, "v", "S", T0, T0 + len(kinds) * DAY_NS, allow_gaps=True)


def stretches(feed: Feed, stream: str) -> list[Stretch]:
    found = list(getattr(Quotes(feed), stream)())
    assert all(len(stretch.ts) for stretch in found)
    return found


def same_as_one_ladder(feed: Feed, stream: str) -> None:
    """Compare every column with that of one ladder that follows the whole feed."""
    ladder = Layout([day.pages for day in feed.days]).ladder()  # type: ignore[union-attr]
    rows = list(getattr(feed, stream)())
    wanted = [follow(ladder, part) for part in rows]
    found = stretches(feed, stream)
    for name in ("ts", "price_ticks", "qty_lots", "code", "joined_ts"):
        one, other = (np.concatenate([getattr(part, name) for part in parts]) for parts in (rows, found))
        assert np.array_equal(one, other), name
    best, other_best, slots, other_slots = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("quotes", "slots")
        for parts in (wanted, found)
    )
    assert np.array_equal(best, other_best), np.flatnonzero((best != other_best).any(axis=1))[:10]
    # What is removed where the day has no level at all is removed nowhere.
    nothing = (other_slots == len(ladder.quantity) - 1) & (np.concatenate([part.qty_lots for part in found]) == 0)
    assert np.array_equal(slots[~nothing], other_slots[~nothing])
    for stretch in found:
        kind = np.abs(stretch.code)
        assert stretch.trades.tolist() == [*np.flatnonzero(kind == 2), FOREVER]
        assert stretch.specials.tolist() == [*np.flatnonzero(kind > 2), FOREVER]
        assert (stretch.quotes.dtype, stretch.slots.dtype) == (np.int64, np.int32)
        assert stretch.quotes.flags.c_contiguous


@pytest.fixture(autouse=True)
def _crossed_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a book be crossed whenever it likes: following it is harder then."""
    monkeypatch.setattr("market_maker.market_data.feed.CROSSED_MAX", 1.0)


@pytest.fixture(params=[1 << 20, 37], ids=["whole days", "slices"])
def slice_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Slices of the replay and of what is stored: smaller than a day, or larger."""
    size: int = request.param
    monkeypatch.setattr(quotes, "SLICE_ROWS", size)
    monkeypatch.setattr(day_columns, "BUILD_ROWS", size)
    monkeypatch.setattr("market_maker.market_data.replay.OPEN_ROWS_MAX", 0 if size < 1000 else 1 << 20)
    return size


@pytest.mark.parametrize("kinds", ["s", "b", "ccc", "sss", "bbb", "scw", "swcc", "sacc", "scbsc", "bec", "ceac", "wsa"])
@pytest.mark.parametrize("stream", STREAMS)
def test_columns_are_those_of_one_ladder_whatever_days_follow_each_other(
    tmp_path: Path, seed: int, kinds: str, stream: str, slice_rows: int
) -> None:
    feed = recorded(tmp_path, seed, kinds)
    assert [day.skip > 0 for day in feed.days] == [i > 0 and kind in "cwea" for i, kind in enumerate(kinds)]
    same_as_one_ladder(feed, stream)
    same_as_one_ladder(feed, stream)  # once more, with what was stored


def rows_followed(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many rows of each day the venue's stream has had to follow, once everything is stored."""
    Quotes(feed)
    counts = []
    for days in range(1, len(feed.days) + 1):
        rows = []

        def counting(ladder, part, rows=rows):
            rows.append(len(part.ts))
            return follow(ladder, part)

        with monkeypatch.context() as patch:
            patch.setattr(quotes, "follow", counting)
            stretches(replace(feed, days=feed.days[:days]), "exchange")
        counts.append(sum(rows) - sum(counts))
    return counts


def test_days_that_go_on_or_begin_anew_are_not_followed_again(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = recorded(tmp_path, seed, "sccsw", is_wild=False)
    first, second, third, anew, other = rows_followed(feed, monkeypatch)
    assert (first, second, third) == (0, 0, 0)
    # Two clears, three asks, of which the first comes last, and the first bid: then nothing of the day before is left.
    assert anew == 2 + 3 + 1
    # What it should have begun with is not what the replay has.
    assert other == len(feed.days[4].exchange.ts) - feed.days[4].skip


def test_a_day_alone_is_read_as_it_lies(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = recorded(tmp_path, seed, "s")
    before = stretches(feed, "exchange")

    def fail(*_: object) -> None:
        pytest.fail("what is stored must not be found again")

    monkeypatch.setattr(quotes, "follow", fail)
    monkeypatch.setattr(day_columns, "follow", fail)
    for again in (feed, recorded_again(tmp_path, seed)):
        (stretch,) = stretches(again, "exchange")
        assert np.array_equal(stretch.quotes, before[0].quotes)
        assert not any(column.flags.owndata for column in stretch[:8])


def recorded_again(tmp_path: Path, seed: int) -> Feed:
    return open_feed(Lake(tmp_path / f"{seed}-s"), "v", "S", T0, T0 + DAY_NS, allow_gaps=True)


def test_both_streams_share_stored_columns_where_they_have_one_order(tmp_path: Path, seed: int) -> None:
    lake, market = Lake(tmp_path), Market(seed)
    rows = [(t, t, *row) for t, _, *row in [*market.snapshot(market.around()), *market.wander(100)]]
    publish(lake, day_of(T0), book=received(rows))
    feed = open_feed(lake, "v", "S", T0, T0 + DAY_NS, allow_gaps=True)
    both = Quotes(feed)
    (venue,), (local,) = both.exchange(), both.local()
    assert np.shares_memory(venue.quotes, local.quotes)
    assert len(list((tmp_path / ".prepared").glob("*/quotes*"))) == 1
    other = recorded(tmp_path, seed, "s")
    assert not np.array_equal(next(other.exchange()).code, next(other.local()).code)
    stretches(other, "local")
    assert len(list((tmp_path / f"{seed}-s" / ".prepared").glob("*/quotes*"))) == 2


def test_places_of_orders_come_through_slices_and_midnights(tmp_path: Path, slice_rows: int) -> None:
    lake = Lake(tmp_path)
    first = [(1 + i, ADD, 1 - 2 * (i % 2), 100 + i % 2 * 5, 1 + i, i + 1) for i in range(60)]
    at = DAY_NS + 5
    carried = [(at, CLEAR, 1, 0, 0, 0), (at, CLEAR, -1, 0, 0, 0), *((at, SNAPSHOT, *row[2:]) for row in first)]
    second = [(at + 1 + i, CANCEL, *row[2:]) for i, row in enumerate(first[:50])]
    publish(lake, day_of(T0), orders=orders(*first))
    publish(lake, day_of(T0 + DAY_NS), {"orders": len(carried)}, orders=orders(*carried, *second))
    feed = open_feed(lake, "v", "S", T0, T0 + 2 * DAY_NS, allow_gaps=True)
    same_as_one_ladder(feed, "exchange")
    same_as_one_ladder(feed, "local")
    joined = np.concatenate([stretch.joined_ts for stretch in stretches(feed, "exchange")])
    assert joined.tolist() == [T0 + 1 + i for i in [*range(60), *range(50)]]


# --- what runs make of it ---------------------------------------------------------------------------------------------


def in_memory(feed: Feed) -> Feed:
    """The same rows as arrays."""
    days = [
        ReplayDay(*(rows_of(rows._asdict() | {"ts": rows.ts.copy()}) for rows in (day.exchange, day.local)), day.skip)
        for day in feed.days
    ]
    return replace(feed, days=tuple(days))


def digest(feed: Feed, conditions: dict[str, object] | None = None) -> str:
    parameters = {"half_spread_ticks": 1, "order_lots": 3, "max_inventory_lots": 20, "interval_ns": 1_000 * MS}
    config = RunConfig(
        PAIR, "inventory_skew", feed.start_ts, feed.end_ts, parameters, MS, MS, sample_interval_ns=10**12,
        market_conditions=MarketConditions.of(conditions),
    )  # fmt: skip
    result = run(config, feed, find_strategy("inventory_skew").prepare(parameters))
    assert result.summary.fills > 5
    return result.digest()


def test_runs_over_stored_days_and_slices_are_those_over_rows_in_memory(
    tmp_path: Path, seed: int, slice_rows: int
) -> None:
    feed = recorded(tmp_path, seed, "ssccw", rows=400)
    assert digest(feed) == digest(in_memory(feed))
    assert digest(feed, {"volume_profile": "HIGH"}) == digest(in_memory(feed), {"volume_profile": "HIGH"})


@pytest.mark.parametrize("pause_rows", [1, 60])
def test_pauses_in_stored_days_change_nothing(
    tmp_path: Path, seed: int, pause_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that lets go of rows finds its way from day to day, and the next run finds the rows again."""
    feed = recorded(tmp_path, seed, "ssccw", rows=400, is_wild=False)
    whole = digest(feed)
    monkeypatch.setattr(drive, "PAUSE_ROWS", pause_rows)
    assert [digest(feed), digest(feed)] == [whole, whole]


def test_market_conditions_trace_stored_days_row_by_row(tmp_path: Path, seed: int, slice_rows: int) -> None:
    feed = recorded(tmp_path, seed, "scw")
    for one, other in zip(trace(feed), trace(in_memory(feed)), strict=True):
        assert np.array_equal(one.mids, other.mids)
        assert np.array_equal(one.bests, other.bests)
    conditions = MarketConditions.of({"volume_profile": "LOW"})
    assert conditions is not None
    changed, _ = under_conditions(feed, conditions, PAIR)
    assert [len(rows.ts) for rows in changed.exchange()] == [len(rows.ts) for rows in feed.exchange()]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_damaged_column_is_found_by_the_next_process(tmp_path: Path, seed: int) -> None:
    feed = recorded(tmp_path, seed, "s")
    stretches(feed, "exchange")
    (path,) = (tmp_path / f"{seed}-s" / ".prepared").glob("*/quotes-1-*/slots.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"the prepared replay form quotes-.* is damaged \(slots\)"):
        stretches(recorded_again(tmp_path, seed), "exchange")


def test_stored_columns_are_of_the_rules_by_which_the_ladder_follows(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = recorded(tmp_path, seed, "s")
    Quotes(feed)
    monkeypatch.setattr(day_columns, "_rules", lambda: "other")
    Quotes(recorded_again(tmp_path, seed))
    folders = {path.name for path in (tmp_path / f"{seed}-s" / ".prepared").glob("*/quotes*")}
    assert len(folders) == 4
    assert {"quotes-other", "quotes-local-other"} < folders


_MEASURE = """
import json, sys
from pathlib import Path
from market_maker.backtest import quotes
from market_maker.market_data import replay
from market_maker.market_data.replay import open_feed
from market_maker.storage.lake import Lake

def resident(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

begin, end, limit = (int(word) for word in sys.argv[2:])
replay.OPEN_ROWS_MAX, quotes.SLICE_ROWS = limit, 1 << 17
feed = open_feed(Lake(Path(sys.argv[1])), "v", "S", begin, end)
start, seen = (resident("RssFile"), resident("RssAnon")), []
for _ in range(2):
    both, rows = quotes.Quotes(feed), 0
    local = both.local()
    for venue in both.exchange():
        for column in (*venue, *next(local)):
            column.sum()
        rows += len(venue.ts)
        seen.append((resident("RssFile") - start[0], resident("RssAnon") - start[1]))
        del venue
print(json.dumps({"rows": rows, "file": max(file for file, _ in seen), "anon": max(anon for _, anon in seen)}))
"""


def test_memory_of_a_replay_is_that_of_a_few_slices(tmp_path: Path, seed: int) -> None:
    """1.5 million rows of 53 bytes: 80 MB as files. Slices of 131,072 rows are 7 MB; two of them, and one to come, are seen."""
    n = 1_500_000
    chance = np.random.default_rng(seed)
    side = np.where(chance.random(n) < 0.5, 1, -1).astype(np.int8)
    kind = np.where(chance.random(n) < 0.2, TRADE, DEPTH).astype(np.int8)
    kind[:100] = DEPTH
    ts = T0 + np.linspace(1, DAY_NS - 1, n).astype(np.int64)
    frame = pl.DataFrame({
        "exch_ts": ts, "local_ts": ts, "kind": kind, "side": side, "price_ticks": 1000 - side * chance.integers(1, 50, n),
        "qty_lots": chance.integers(1, 100, n), "sequence": np.zeros(n, np.int64),
    }, schema=BOOK_SCHEMA)  # fmt: skip
    lake = Lake(tmp_path)
    publish(lake, day_of(T0), book=frame)
    Quotes(open_feed(lake, "v", "S", T0, T0 + DAY_NS, allow_gaps=True))

    def measured(limit: int) -> dict[str, int]:
        words = [str(tmp_path), str(T0), str(T0 + DAY_NS), str(limit)]
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, *words], capture_output=True, text=True, timeout=120, check=True
        )
        found: dict[str, int] = json.loads(done.stdout)
        assert found["rows"] == n
        return found

    whole, sliced = measured(n), measured(n - 1)
    assert whole["file"] > 70 << 10, whole
    assert sliced["file"] < 32 << 10, sliced
    # The rows that are trades, counted from their slice: 0.2 of 131,072, in two streams.
    assert sliced["anon"] < 8 << 10, sliced
