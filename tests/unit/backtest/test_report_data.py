"""What the page is told: columns that add up again, every fill, and answers for one run and for several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from analysis_builders import PAIR, SECOND, a_config, a_result, stored, walking_feed
from market_maker.backtest import analyses
from market_maker.backtest.analyses import Analyses, StoredRun, analyse_runs
from market_maker.backtest.trial_counts import swept_names
from market_maker.dashboard import report_page
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import ContractType
from market_maker.market_data.replay import Feed

TEMPLATE = '<body><script type="application/json" id="report-data"></script></body>'


@pytest.fixture
def on_feed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let runs find the feed that is handed over as their recorded market."""

    def use(feed: Feed | None) -> None:
        def open_market(config: Any, _: object) -> Any:
            if feed is None:
                raise DataError("the recording is gone")
            return config, feed

        monkeypatch.setattr(analyses, "open_market", open_market)

    return use


def runs_on(feed: Feed, half_spreads: Sequence[int]) -> list[StoredRun]:
    made = []
    for number, half_spread in enumerate(half_spreads):
        config = a_config(
            feed, parameters={"half_spread_ticks": half_spread, "order_lots": 3, "interval_ns": SECOND // 5}
        )
        made.append(stored(a_result(config, feed), config, number))
    return made


def data_of(found: Analyses) -> dict[str, Any]:
    return json.loads(report_page(found.report_data(7), TEMPLATE).split(b">", 2)[2].split(b"<")[0])


def test_the_columns_of_the_page_add_up_to_the_run(rng: np.random.Generator, on_feed: Any) -> None:
    feed = walking_feed(rng, steps=1500)
    on_feed(feed)
    (run,) = runs_on(feed, [1])
    (shown,) = data_of(analyse_runs([run], None, with_fragility=True))["runs"]  # type: ignore[arg-type]
    fills, told = run.result.fills, shown["fills"]
    assert told["count"] == fills.height == len(told["ts"]) > 20
    assert list(accumulate(told["price_ticks"])) == fills["price_ticks"].to_list()
    assert list(accumulate(told["order_id"])) == fills["order_id"].to_list()
    assert list(accumulate(told["position_lots"])) == fills["position_lots"].to_list()
    start = int(shown["analysis"]["start_ts"])
    assert list(accumulate(told["ts"])) == [(ts - start) // 1000 for ts in fills["exch_ts"]]
    kinds = zip(fills["cause"], fills["side"], fills["liquidity"], strict=True)
    assert told["kind"] == [4 * cause + (2 if side > 0 else 0) + liquidity for cause, side, liquidity in kinds]
    equity = run.result.samples["equity_half_tick_lots"]
    assert list(accumulate(shown["curves"]["equity_half_tick_lots"])) == equity.to_list()
    falls = np.maximum.accumulate(equity.to_numpy()) - equity.to_numpy()
    assert list(accumulate(shown["curves"]["drawdown_half_tick_lots"])) == falls.tolist()
    nets = [row["profit"]["net"] for row in shown["timeline"]["rows"]]
    assert sum(map(Decimal, nets)) == run.result.summary.net_pnl
    assert len(nets) <= 61
    assert shown["quality"]["reproducibility"]["status"] == "PASS", "the grid repeats the run"
    assert len(shown["fragility"]["cells"]) == 48
    assert len(shown["capacity"]["points"]) == 6


def test_of_too_many_fills_the_first_the_last_and_an_even_choice_are_told(
    rng: np.random.Generator, on_feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market_maker.backtest import report_data

    monkeypatch.setattr(report_data, "FILLS_MAX", 10)
    feed = walking_feed(rng, steps=1500)
    on_feed(feed)
    (run,) = runs_on(feed, [1])
    told = data_of(analyse_runs([run], None))["runs"][0]["fills"]  # type: ignore[arg-type]
    ids = list(accumulate(told["order_id"]))
    assert len(ids) == 10
    assert (ids[0], ids[-1]) == (run.result.fills["order_id"][0], run.result.fills["order_id"][-1])
    assert told["count"] == run.result.fills.height


def test_one_run_is_analysed_and_several_are_compared(rng: np.random.Generator, on_feed: Any) -> None:
    feed = walking_feed(rng, steps=1200)
    on_feed(feed)
    runs = runs_on(feed, [1, 2])
    one = analyse_runs(runs[:1], None).to_json()  # type: ignore[arg-type]
    assert one["comparison"] is None
    assert Decimal(one["analysis"]["profit"]["net"]) == Decimal(one["rows"][0]["net_pnl"])
    assert one["analysis"]["edge_evidence"]["trials"] == 10
    assert one["fragility"] == {"run 0": None}
    both = analyse_runs(runs, None).to_json()  # type: ignore[arg-type]
    assert both["analysis"] is None
    assert both["comparison"]["labels"] == ["run 0", "run 1"]
    assert set(both["quality"]) == {"run 0", "run 1"}
    assert both["runs"] == 2, "what the totals told before is still there"


def test_the_page_has_the_notes_of_the_analysis(rng: np.random.Generator, on_feed: Any) -> None:
    feed = walking_feed(rng, steps=600)
    on_feed(feed)
    found = analyse_runs(runs_on(feed, [1]), None)  # type: ignore[arg-type]
    assert data_of(found)["notes"] == []
    assert data_of(replace(found, notes=("each leg alone",)))["notes"] == ["each leg alone"]


def test_a_recording_that_is_gone_is_missed_only_where_it_is_needed(rng: np.random.Generator, on_feed: Any) -> None:
    feed = walking_feed(rng, steps=600)
    runs = runs_on(feed, [1])
    for gone in (None, replace(feed, data_hash="other")):
        on_feed(gone)
        found = analyse_runs(runs, None)  # type: ignore[arg-type]
        assert found.runs[0].analysis is not None
        assert found.runs[0].analysis.volume_share is None
        with pytest.raises(DataError):
            analyse_runs(runs, None, with_fragility=True)  # type: ignore[arg-type]


def test_too_many_runs_are_told_by_totals_and_have_no_page(rng: np.random.Generator, on_feed: Any) -> None:
    feed = walking_feed(rng, steps=300)
    on_feed(feed)
    (run,) = runs_on(feed, [2])
    many = [replace(run, run_id=str(k)) for k in range(analyses.COMPARED_MAX + 1)]
    found = analyse_runs(many, None)  # type: ignore[arg-type]
    assert found.to_json()["runs"] == 51
    assert "50 at most" in str(found.reason)
    with pytest.raises(InvalidRequest, match="1 to 12 runs"):
        found.report_data(0)


def test_an_inverse_run_has_money_in_its_base_currency(rng: np.random.Generator, on_feed: Any) -> None:
    """The columns were told in tick-lots of the quote currency: a balance of 10 coins as ten billion."""
    feed = walking_feed(rng, steps=600)
    on_feed(feed)
    pair = replace(PAIR, contract_type=ContractType.INVERSE)
    config = a_config(feed, instrument=pair, balance=Decimal(10))
    result = a_result(config, feed)
    told, summary = result.to_json_with_columns(), result.summary
    assert summary.fills > 10
    assert Decimal(told["equity"]["equity"][0]) == 10
    assert abs(Decimal(told["equity"]["equity"][-1]) - summary.final_equity) < Decimal("0.001")
    assert sum(map(Decimal, told["fills"]["fee"])) == summary.fees
    paid = sum(Decimal(q) / Decimal(p) for q, p in zip(told["fills"]["quantity"], told["fills"]["price"], strict=True))
    assert abs(paid - summary.turnover) < Decimal("1e-6")
    assert (pair.settled_in, PAIR.settled_in) == ("A", "B")
    run = stored(result, config)
    found = analyse_runs([run], None, with_fragility=True)  # type: ignore[arg-type]
    assert found.to_json()["currency"] == "A"
    (shown,) = data_of(found)["runs"]
    assert (shown["pair"]["currency"], shown["pair"]["quote"], shown["analysis"]["currency"]) == ("A", "B", "A")
    half_unit = Decimal(shown["pair"]["cash_unit"]) / 2
    equity = [half_unit * value for value in accumulate(shown["curves"]["equity_half_tick_lots"])]
    assert equity == [Decimal(each) for each in told["equity"]["equity"]]
    assert sum(Decimal(row["profit"]["net"]) for row in shown["timeline"]["rows"]) == summary.net_pnl
    assert len(shown["fragility"]["cells"]) == 48
    assert shown["quality"]["reproducibility"]["status"] == "PASS"
    both = analyse_runs([run, replace(run, run_id="again")], None).to_json()  # type: ignore[arg-type]
    assert {each["unit"] for each in both["comparison"]["figures"] if each["name"] in {"net_pnl", "turnover"}} == {"A"}
    (linear,) = runs_on(feed, [1])
    with pytest.raises(InvalidRequest, match="run_ids: runs in A, B is not allowed; allowed: runs in one currency"):
        analyse_runs([run, linear], None)  # type: ignore[arg-type]


def test_an_empty_run_can_be_shown(rng: np.random.Generator, on_feed: Any) -> None:
    feed = walking_feed(rng, steps=600)
    on_feed(feed)
    config = a_config(feed, strategy_kind="do_nothing", parameters={}, instrument=PAIR)
    (shown,) = data_of(analyse_runs([stored(a_result(config, feed), config)], None))["runs"]  # type: ignore[arg-type]
    assert shown["fills"]["ts"] == []
    assert shown["analysis"]["profit"]["residual"] in {"0", "0.0000"}


def test_swept_are_the_numbers_that_differ() -> None:
    sets = [{"a": 1, "b": 2, "c": True, "d": "x"}, {"a": 1.0, "b": 3, "c": False, "d": "y"}]
    assert swept_names(sets) == ("b",)
    assert swept_names([]) == ()
