"""The analysis of one run: consistent with itself, complete, writable, and quick."""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace
from decimal import Decimal

import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.attribution import Leg, MoneySplit, Split
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.drawdown import max_drawdown
from market_maker.performance.quality import judge_edge, judge_fills
from market_maker.performance.returns import sharpe_ratio
from market_maker.performance.run_report import AnalysisSettings, RunAnalysis, RunInputs, analyse_run
from market_maker.performance.trading import OrderCounts, OrderLives
from market_maker.performance.trial_statistics import TrialStatistics
from performance_builders import BALANCE, PAIR, SECOND, counts_for, ledger_run, random_run

CAUSES = {0: "trade through", 1: "trade at price", 2: "other side crossed"}


def analysis_of(samples: Samples, fills: Fills, **changes: object) -> RunAnalysis:
    arguments = {"instrument": PAIR, "orders": counts_for(fills), "sample_interval_ns": SECOND}
    return analyse_run(samples, fills, **(arguments | changes))


@pytest.fixture(scope="module")
def run() -> tuple[Samples, Fills]:
    return random_run(np.random.default_rng(5), samples=50_000, fills=6_000)


@pytest.fixture(scope="module")
def analysis(run: tuple[Samples, Fills]) -> RunAnalysis:
    return analysis_of(*run, inputs=RunInputs(cause_names=CAUSES, trials=TrialStatistics(20, 0.5)))


def added(rows: tuple[object, ...]) -> MoneySplit:
    names = [field.name for field in fields(MoneySplit)]
    return MoneySplit(**{name: sum((getattr(row.profit, name) for row in rows), Decimal(0)) for name in names})


def test_the_residual_is_zero_and_the_ledger_agrees(run, analysis):
    samples, fills = run
    last = samples if samples.ts[-1] >= fills.exch_ts[-1] else fills
    cash = int(last.cash_tick_lots[-1]) - int(last.fees_tick_lots[-1])
    gross = 2 * cash + int(last.position_lots[-1]) * int(last.mid_half_ticks[-1])
    assert analysis.profit.net == Decimal(gross) * PAIR.tick_lot / 2
    assert analysis.profit.residual == 0
    assert analysis.initial_balance == BALANCE * PAIR.tick_lot
    assert analysis.final_equity == analysis.initial_balance + analysis.profit.net


def test_every_table_adds_up_to_the_run(run, analysis):
    regimes = analysis.regimes
    for rows in (
        analysis.by_day,
        analysis.by_hour_of_day,
        regimes.volatility,
        regimes.trend,
        regimes.volume,
        regimes.joint,
    ):
        assert added(rows) == analysis.profit
        assert sum(row.fills for row in rows) == run[1].count
    for rows in (regimes.volatility, regimes.trend, regimes.volume, regimes.joint):
        assert sum(row.samples for row in rows) == len(run[0].ts)
    for rows in (analysis.fills_by_cause, analysis.fills_by_queue):
        assert added(rows) == analysis.profit  # it began flat, and has no funding
        assert sum(row.volume for row in rows) == analysis.volume
    assert [row.label for row in analysis.by_hour_of_day][:2] == ["00:00", "01:00"]
    assert analysis.by_day[0].label == "2023-11-14"
    assert analysis.net_pnl_without_best_day == analysis.profit.net - max(row.profit.net for row in analysis.by_day)


def test_figures_are_those_of_their_functions(run, analysis):
    samples, fills = run
    # 50,000 s hold 100 intervals of 300 s and not of 900 s.
    assert analysis.returns.sharpe == sharpe_ratio(samples.equity_half_tick_lots[::300], interval_ns=300 * SECOND)
    assert analysis.sharpe_hac.estimate == pytest.approx(analysis.returns.sharpe.ratio)
    assert analysis.sharpe_bootstrap.interval.estimate == pytest.approx(analysis.returns.sharpe.ratio)
    fall = max_drawdown(samples.equity_half_tick_lots)
    assert analysis.drawdowns[0].depth == Decimal(int(fall.depth)) * PAIR.tick_lot / 2
    assert analysis.drawdowns[0].start_ts == samples.ts[fall.start]
    assert len(analysis.drawdowns) == 5
    for row in analysis.drawdowns:
        ended = analysis.end_ts // SECOND * SECOND if row.recovery_ts is None else row.recovery_ts
        assert row.start_ts < row.trough_ts <= ended
        assert row.duration_ns == ended - row.start_ts
    assert (
        analysis.turnover
        == sum(
            (
                Decimal(price * qty)
                for price, qty in zip(fills.price_ticks.tolist(), fills.qty_lots.tolist(), strict=True)
            ),
            Decimal(0),
        )
        * PAIR.tick_lot
    )
    assert analysis.volume_share == pytest.approx(fills.qty_lots.sum() / samples.traded_lots.sum())
    assert analysis.edge.deflated.trials == 20
    assert judge_edge(analysis.edge_evidence).figures["trials"] == 20
    assert judge_fills(analysis.fill_evidence(0.0)).figures["fills"] == 6_000


def test_the_same_run_gives_the_same_analysis(run, analysis):
    again = analysis_of(*run, inputs=RunInputs(cause_names=CAUSES, trials=TrialStatistics(20, 0.5)))
    assert again == analysis
    other = analysis_of(*run, settings=AnalysisSettings(seed=1))
    assert other.sharpe_bootstrap != analysis.sharpe_bootstrap
    assert other.profit == analysis.profit


def test_json_is_plain_and_small(analysis):
    text = json.dumps(analysis.to_json(), allow_nan=False)
    values = json.loads(text)
    assert len(text) < 400_000
    assert values["profit"]["net"] == f"{analysis.profit.net:f}"
    assert Decimal(values["profit"]["residual"]) == 0
    assert values["start_ts"] == str(analysis.start_ts)
    assert len(values["curves"]["equity"]["ts"]) == len(values["curves"]["equity"]["values"]) <= 2010
    assert values["markouts"][0]["horizon_ns"] == 10**8
    assert isinstance(values["inventory"]["histogram"]["counts"][0], int)


def test_what_was_not_given_is_left_out(run):
    samples, fills = run
    bare = analysis_of(
        Samples.of({name: getattr(samples, name) for name in Samples._needed()}),
        Fills.of({name: getattr(fills, name) for name in Fills._needed()}),
    )
    assert bare.fills_by_cause is bare.fills_by_queue is bare.time_at_best is bare.volume_share is None
    assert bare.regimes.volume == ()
    assert bare.spreads.quoted is None
    assert bare.edge.deflated is None
    assert added(bare.regimes.joint) == bare.profit
    assert bare.profit.hedging == 0
    json.dumps(bare.to_json(), allow_nan=False)


def test_what_is_given_is_used(run):
    samples, fills = run
    hedge = Split(net=-4, spread_capture=0, inventory=-4, fees=0, rebates=0, funding=0)
    end_ts = int(max(samples.ts[-1], fills.exch_ts[-1])) + 1
    inputs = RunInputs(
        end_ts=end_ts,
        end_mid_half_ticks=int(samples.mid_half_ticks[-1]) + 10,
        funding_ts=np.array([samples.ts[100]]),
        funding_tick_lots=np.array([-70]),
        hedges=[Leg(hedge, Decimal("0.25"))],
        order_lives=OrderLives(samples.ts[:1], samples.ts[-1:] + 1, np.array([1]), np.array([2**40])),
    )
    fills = replace(fills, resting_ns=np.full(fills.count, 10**6))
    found = analysis_of(samples, fills, inputs=replace(inputs, latency_ns=10**5))
    assert found.fill_evidence().young_profit_share in {None, 0.0}
    assert found.end_ts == end_ts
    assert found.profit.funding == -140 * PAIR.tick_lot / 2
    assert found.profit.hedging == Decimal(-1)
    assert found.profit.residual == 0
    assert found.time_at_best.bid_at_best == 1.0


def test_a_fill_after_the_last_sample_is_valued_at_its_own_mid():
    told = [
        (0, 0, 0, 0, 0, 2000),
        (SECOND, 1, 999, 4, 0, 2001),
        (2 * SECOND, 0, 0, 0, 0, 2005),
        (2 * SECOND + 1, 1, 999, 1, 0, 1990),
    ]
    samples, fills = ledger_run(told)
    coded = replace(fills, cause=np.array([0, 1]))
    found = analysis_of(samples, coded, orders=OrderCounts(9, 0, 0, 0), inputs=RunInputs(cause_names=CAUSES))
    # Five lots bought at 999 are worth 1990 half ticks each at the end: 5 x (1990 - 1998) = -40.
    assert found.profit.net == -40 * PAIR.tick_lot / 2
    assert added(found.fills_by_cause) == found.profit


def test_a_run_that_did_nothing():
    samples, fills = ledger_run([(k * SECOND, 0, 0, 0, 0, 2000) for k in range(50)])
    found = analysis_of(samples, fills, orders=OrderCounts(0, 0, 0, 0))
    assert found.profit == MoneySplit(*(Decimal(0),) * 7)
    assert (found.drawdowns, found.turnover_per_day, found.net_pnl_without_best_day) == ((), 0.0, None)
    assert found.returns.sharpe.reason == "the returns do not vary"
    assert found.sharpe_bootstrap.interval.reason is not None
    assert [each.mean.reason for each in found.markouts] == ["no fill to count"] * 6
    json.dumps(found.to_json(), allow_nan=False)


def test_a_run_of_one_sample():
    samples, fills = ledger_run([(5, 0, 0, 0, 0, 2000)])
    found = analysis_of(samples, fills, orders=OrderCounts(0, 0, 0, 0))
    assert (found.start_ts, found.end_ts, found.turnover_per_day) == (5, 5, None)
    json.dumps(found.to_json(), allow_nan=False)


def test_runs_that_are_refused(run):
    samples, fills = run
    with pytest.raises(DataError, match="without samples"):
        analysis_of(*ledger_run([]), orders=OrderCounts(0, 0, 0, 0))
    equity = samples.equity_half_tick_lots.copy()
    equity[17] += 1
    wrong = Samples(
        samples.ts,
        equity,
        samples.position_lots,
        samples.cash_tick_lots,
        samples.fees_tick_lots,
        samples.mid_half_ticks,
    )
    with pytest.raises(DataError, match="sample 17: equity"):
        analysis_of(wrong, fills)


def test_a_million_samples_take_less_than_two_seconds():
    """Measured: 0.6 s. Time of the processor, and the best of three, because the machine may be busy."""
    samples, fills = random_run(np.random.default_rng(1), samples=1_000_000, fills=200_000)
    orders, took = counts_for(fills), []
    for _ in range(3):
        begin = time.process_time()
        found = analysis_of(samples, fills, orders=orders, inputs=RunInputs(cause_names=CAUSES))
        took.append(time.process_time() - begin)
    assert found.profit.residual == 0
    assert min(took) < 2.0
