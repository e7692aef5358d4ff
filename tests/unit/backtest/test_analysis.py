"""From a result to its analysis: the net is the summary's to the last digit, whatever funding, end and events there are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from analysis_builders import PAIR, SECOND, T0, a_config, a_result, funding_at, walking_feed
from market_maker.backtest.analysis import analysed, order_lives, resting_ns, run_columns
from market_maker.backtest.evaluation import OBJECTIVES, evaluation_of, money, recalled
from market_maker.backtest.market_columns import market_columns
from market_maker.backtest.state import LOG_DTYPE, Note
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import ContractType
from market_maker.performance.quality import Status

FUNDED = {
    "none": None,
    # One at the instant of a sample, one between two, one after the last sample: 400 s of a feed sampled every 7 s.
    "some": funding_at((70, 11), (123.4, -7), (399.5, 5)),
}


COIN = replace(PAIR, contract_type=ContractType.INVERSE, lot_size=Decimal(1), contract_multiplier=Decimal(100))
PAIRS = {
    "linear": (PAIR, Decimal(100_000)),
    "inverse": (COIN, Decimal(10)),
    # A unit of cash that is no finite decimal.
    "inverse, tick of 0.3": (replace(COIN, tick_size=Decimal("0.3")), Decimal(10)),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("funding", FUNDED.values(), ids=list(FUNDED))
@pytest.mark.parametrize("with_market", [False, True])
def test_net_is_that_of_the_summary_and_nothing_is_left_over(
    rng: np.random.Generator, pair: str, funding: object, with_market: bool
) -> None:
    feed = walking_feed(rng)
    instrument, balance = PAIRS[pair]
    config = a_config(feed, instrument=instrument, balance=balance, funding=funding, sample_interval_ns=7 * SECOND)
    result = a_result(config, feed)
    assert result.summary.fills > 50
    assert (result.summary.funding != 0) == (funding is not None)
    market = market_columns(feed, result.samples["ts"].to_numpy()) if with_market else None
    found = analysed(result, instrument, run_id="r", strategy="s", market=market)
    assert found.analysis is not None
    profit, summary = found.analysis.profit, result.summary
    assert profit.residual == 0
    assert profit.net == summary.net_pnl
    assert profit.spread_capture == summary.spread_capture
    assert profit.inventory == summary.inventory_pnl
    assert profit.fees - profit.rebates == summary.fees
    assert profit.funding == -summary.funding
    assert found.analysis.final_equity == summary.final_equity
    for rows in (found.analysis.by_day, found.analysis.by_hour_of_day):
        assert sum(row.profit.net for row in rows) == summary.net_pnl
    assert found.analysis.turnover == summary.turnover
    assert found.analysis.fills_by_cause is not None
    nets = sum((row.profit.net for row in found.analysis.fills_by_cause), Decimal(0))
    assert nets == summary.net_pnl + summary.funding
    assert (found.analysis.volume_share is not None) == with_market


def test_judgements_say_what_is_known_and_what_is_not(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=1500)
    result = a_result(a_config(feed), feed)
    result.reproducibility["missing"] = [["0", str(90 * SECOND)], ["0", str(3 * SECOND)]]
    quality = analysed(result, PAIR, run_id="r", strategy="s").quality
    assert quality is not None
    assert quality.data.status is Status.WARN
    assert quality.data.figures["longest_gap_s"] == 90
    assert quality.fragility.status is quality.parity.status is Status.UNKNOWN
    assert quality.reproducibility.reasons == ("the run was not repeated",)
    assert quality.fills.figures["volume_share"] is None


def test_periods_of_an_inverse_run_add_up_to_its_profit(rng: np.random.Generator) -> None:
    """What sweeps and searches rank by; a unit of cash without end was cut off by one, so that what was kept was not found."""
    feed = walking_feed(rng)
    instrument, balance = PAIRS["inverse, tick of 0.3"]
    config = a_config(feed, instrument=instrument, balance=balance)
    result = a_result(config, feed)
    found = evaluation_of(config, feed, result)
    assert money(instrument, int(found.profits.sum())) == result.summary.net_pnl != 0
    kept = {"net_pnl": found.net_pnl, "turnover": found.turnover, "fills": found.fills, "profits": found.profits}
    known = recalled(config, feed, **kept)
    assert known is not None
    assert known.balance == found.balance
    assert [objective(known) for objective in OBJECTIVES.values()] == [each(found) for each in OBJECTIVES.values()]
    assert all(objective(found) is not None for objective in OBJECTIVES.values())


def test_a_result_of_an_earlier_version_is_named(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=300)
    result = a_result(a_config(feed), feed)
    columns = {name: values for name, values in result.fill_columns.items() if name != "cause"}
    with pytest.raises(DataError, match="no column cause: an earlier version wrote it"):
        run_columns(replace(result, fill_columns=columns), PAIR)


def a_log(*rows: tuple[int, int, Note, int, int, int]) -> pl.DataFrame:
    """Rows (time, order, note, side, price, left)."""
    values = np.zeros(len(rows), LOG_DTYPE)
    for k, row in enumerate(rows):
        for name, value in zip(("ts", "order_id", "note", "side", "price_ticks", "leaves_lots"), row, strict=True):
            values[k][name] = int(value)
    return pl.DataFrame({name: np.ascontiguousarray(values[name]) for name in LOG_DTYPE.names or ()})


LOG = a_log(
    (1, 1, Note.NEW_SENT, 1, 100, 5),
    (3, 1, Note.RESTED, 1, 100, 5),
    (4, 2, Note.RESTED, -1, 105, 2),
    (6, 1, Note.FILLED, 1, 100, 3),
    (7, 1, Note.AMENDED, 1, 99, 3),
    (9, 1, Note.FILLED, 1, 99, 0),
    (9, 3, Note.REJECTED, 1, 99, 1),
)


def test_an_order_lives_from_its_rest_to_its_end_and_anew_at_another_price() -> None:
    lives = order_lives(LOG, end_ts=20)
    columns = (lives.start_ts, lives.end_ts, lives.side, lives.price_ticks)
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == [
        (3, 7, 1, 100),
        (4, 21, -1, 105),
        (7, 9, 1, 99),
    ]


def test_a_fill_had_rested_since_its_order_first_rested() -> None:
    fills = pl.DataFrame({"order_id": [1, 4, 1], "exch_ts": [6, 8, 9]})
    # Order 4 never rested: it took.
    assert resting_ns(LOG, fills).tolist() == [3, 0, 6]


def test_the_market_beside_a_run_is_what_its_rows_say() -> None:
    from feed_builders import DEPTH, TRADE, book
    from market_maker.market_data.replay import feed_of

    feed = feed_of(
        book(
            (0, 0, DEPTH, 1, 10, 5),
            (5, 5, DEPTH, -1, 14, 5),
            (20, 20, TRADE, 1, 14, 3),
            (20, 20, DEPTH, -1, 14, 0),
            (30, 30, DEPTH, -1, 16, 1),
            (40, 40, TRADE, -1, 10, 2),
        )
    )
    found = market_columns(feed, np.array([2, 5, 20, 35, 60]) + T0)
    assert found.best_bid_ticks.tolist() == [10] * 5
    # Nothing is offered before 5, and from 20 to 30; a row at the instant of a sample counts.
    assert found.best_ask_ticks.tolist() == [0, 14, 0, 16, 16]
    assert found.traded_lots.tolist() == [0, 0, 3, 0, 2]
    # All within one hundredth of a second: the last mid alone, (10 + 16) half ticks.
    assert (found.mids.ts.tolist(), found.mids.half_ticks.tolist()) == ([T0 + 40], [26])
