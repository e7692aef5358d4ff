"""Progress and the time that is left: over several days they never go back, never pass the whole, and are about right."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from feed_builders import DEPTH, LEVEL_ASK, LEVEL_BID, T0, book, publish
from market_maker.backtest.engine import RunConfig, RunProgress, backtest
from market_maker.backtest.execution import Execution
from market_maker.backtest.pace import Pace
from market_maker.backtest.several_run import backtest_several
from market_maker.domain.instrument import Instrument
from market_maker.market_data.schema import DAY_NS
from market_maker.storage.lake import Lake

FIRST = date(2023, 12, 9)  # T0
PAIR = Instrument(UUID(int=1), "v", "S", "A", "B", Decimal(1), Decimal(1))
ROWS = (3000, 500, 8000, 2000)
"""By day: days are not alike."""


def a_day(number: int, rows: int) -> pl.DataFrame:
    """Return a book that moves all day, within three ticks."""
    rng = np.random.default_rng(number)
    times = np.sort(rng.integers(0, DAY_NS - 1, rows)) + number * DAY_NS
    events = [(int(times[0]), DEPTH, LEVEL_BID, 1000, 5), (int(times[0]), DEPTH, LEVEL_ASK, 1004, 5)]
    for ts in times[1:]:
        side = LEVEL_BID if rng.random() < 0.5 else LEVEL_ASK
        price = 1000 - int(rng.integers(0, 3)) if side == LEVEL_BID else 1004 + int(rng.integers(0, 3))
        events.append((int(ts), DEPTH, side, price, int(rng.integers(1, 9))))
    return book(*((ts, ts, kind, side, price, lots) for ts, kind, side, price, lots in events))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(Path(tmp_path_factory.mktemp("pace")) / "lake")
    assert (FIRST - date(1970, 1, 1)).days == T0 // DAY_NS
    for number, rows in enumerate(ROWS):
        publish(lake, FIRST + timedelta(number), book=a_day(number, rows))
    return lake


def reports_of(lake: Lake, **options: object) -> list[RunProgress]:
    """Return what a run over the last three days tells; the day before only builds its book."""
    config = RunConfig(
        PAIR, "inventory_skew", T0 + DAY_NS + DAY_NS // 2, T0 + 4 * DAY_NS, {}, allow_gaps=True, **options,  # type: ignore[arg-type]
    )  # fmt: skip
    reports: list[RunProgress] = []
    backtest(config, lake, reports.append)
    return reports


@pytest.mark.parametrize(
    "options",
    [{}, {"band": True}, {"band": True, "execution": Execution(price_impact=0.001)}],
    ids=["alone", "band", "band with impact"],
)
def test_progress_never_goes_back_and_ends_with_the_whole(lake: Lake, options: dict[str, object]) -> None:
    """Rows before the range counted as done (597 % were told), and with an impact a band went from 0 to 100 % three times."""
    reports = reports_of(lake, **options)
    shares = [one.events_done / one.events_total for one in reports]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)
    assert len({round(share, 2) for share in shares}) > 50, "it moves"


def test_progress_of_several_instruments(lake: Lake) -> None:
    config = RunConfig(
        PAIR, "hedged_quotes", T0 + 3 * DAY_NS - 600 * 10**9, T0 + 3 * DAY_NS, {}, allow_gaps=True,
        entry_latency_ns=10**8, response_latency_ns=10**8,
    )  # fmt: skip
    reports: list[RunProgress] = []
    backtest_several([config, config], lake, reports.append)
    shares = [one.events_done / one.events_total for one in reports]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1


def test_what_is_left_is_about_right_after_a_few_percent(lake: Lake) -> None:
    """The opening of a recording, which may take a minute, was taken for the pace of the first events."""
    opening_s, event_s = 60.0, 2e-3
    pace, shares = Pace(), []
    for report in reports_of(lake):
        now_s = opening_s + event_s * report.events_done
        pace.note(report, now_s)
        shares.append(pace.share)
        left = pace.left_s(now_s)
        if report.events_done:
            assert left == pytest.approx(event_s * (report.events_total - report.events_done), rel=0.01, abs=1e-6)
            assert pace.events_per_second == pytest.approx(1 / event_s)
        else:
            assert left is None
    assert shares == sorted(shares)
    assert pace.left_s(1e9) == 0


def test_between_two_reports_the_time_runs_down() -> None:
    pace = Pace()
    pace.note(RunProgress(0, 0, 0), 1.0)
    assert (pace.share, pace.left_s(1.0)) == (0, None)
    pace.note(RunProgress(0, 100, 0), 5.0)
    pace.note(RunProgress(50, 100, 0), 10.0)
    assert [pace.left_s(now) for now in (10.0, 12.0, 14.0, 16.0)] == [5, 3, 1, 0]
    pace.note(RunProgress(40, 100, 0), 11.0)  # what goes back is not told
    assert pace.share == 0.5
