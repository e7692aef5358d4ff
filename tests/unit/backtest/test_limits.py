"""Limits of a run: what requests may say, what is told of them, and that nothing changes where there are none."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "differential"))

import random_trader
from test_replay_kernel import LIMITS, PAIR, random_feed

from market_maker.backtest.engine import RunConfig, run, run_sets
from market_maker.backtest.explain import explain_order
from market_maker.backtest.guard import limits_json, limits_of
from market_maker.backtest.result import RunResult
from market_maker.backtest.state import Note, Reason
from market_maker.backtest.sweep import trial_key
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import ContractType
from market_maker.market_data.replay import Feed, feed_of
from market_maker.risk import rules
from market_maker.risk.limits import Limit
from market_maker.strategies.contract import PreparedStrategy

EVERY = ("interval", "book", "trade", "order")


@pytest.fixture(scope="module")
def feed() -> Feed:
    return feed_of(random_feed(3))


def config(feed: Feed, *limits: dict[str, Any], **more: Any) -> RunConfig:
    values = {"entry_latency_ns": 300, "response_latency_ns": 700, "sample_interval_ns": 10_000} | more
    return RunConfig(
        PAIR, "random_trader", feed.first_ts, feed.last_ts + 1, {}, limits=limits_of(list(limits)), **values
    )


def strategy(*wakes_on: str, is_compiled: bool = True, seed: int = 7) -> PreparedStrategy:
    kind = replace(random_trader.KIND, wakes_on=wakes_on or ("interval",), is_compiled=is_compiled)
    return kind.prepare({"seed": seed, "interval_ns": 500})


def told(result: RunResult) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in result.summary.to_json()["limits"]}


LOSS = {"kind": "MAX_LOSS", "threshold": "5", "on_breach": "HALT"}
SIZE = {"kind": "MAX_ORDER_SIZE", "threshold": "0.2"}


def test_what_breaches_halts_the_run_and_cancels_what_rests(feed: Feed) -> None:
    result = run(config(feed, LOSS, records_orders=True), feed, strategy())
    loss = told(result)["MAX_LOSS"]
    assert (loss["state"], loss["hold"], loss["threshold"]) == ("BREACHED", "HALTED", "5")
    assert Decimal(loss["breached_value"]) > 5
    at = int(loss["hold_ts"])
    assert (at - feed.first_ts) % 500 == 0, "it is looked at when the strategy wakes"
    assert result.order_events is not None
    later = [row for row in result.order_events.iter_rows(named=True) if row["ts"] >= at]
    sent = {Note(row["note"]) for row in later}
    assert Note.CANCEL_SENT in sent
    assert not sent & {Note.NEW_SENT, Note.AMEND_SENT}
    reasons = {Reason(row["reason"]) for row in later if Note(row["note"]) is Note.REJECTED and row["ts"] > at + 300}
    assert reasons == {Reason.HALTED}
    assert result.fills["exch_ts"].max() <= at + 300, "nothing fills once the cancels have arrived"
    assert result.samples["position_lots"][-1] == result.fills["position_lots"][-1]


def test_an_order_that_is_refused_never_leaves_and_says_why(feed: Feed) -> None:
    result = run(config(feed, SIZE, records_orders=True), feed, strategy())
    size = told(result)["MAX_ORDER_SIZE"]
    events = result.order_events
    assert events is not None
    refused = [row for row in events.iter_rows(named=True) if row["reason"] == Reason.MAX_ORDER_SIZE]
    assert len(refused) == size["refused"] > 5
    assert min(row["qty_lots"] for row in refused) > 20, "lots of 0.01"
    ids = {row["order_id"] for row in refused if Note(row["note"]) is Note.REJECTED}
    assert not ids & {row["order_id"] for row in events.iter_rows(named=True) if Note(row["note"]) is Note.NEW_SENT}
    assert result.summary.orders_rejected >= len(ids)
    assert result.fills["qty_lots"].max() <= 20
    story = explain_order(config(feed, SIZE), feed, strategy(), min(ids))
    assert story.verdict == "not filled: rejected by the run's limits before it left: MAX_ORDER_SIZE"


def test_a_run_without_limits_is_what_it_was(feed: Feed) -> None:
    plain = run(config(feed), feed, strategy())
    assert "limits" not in plain.summary.to_json()
    assert "limits" not in plain.reproducibility["configuration"]
    wide = run(config(feed, {"kind": "MAX_POSITION", "threshold": "1e9"}), feed, strategy())
    assert wide.fills.equals(plain.fills)
    assert wide.samples.equals(plain.samples)
    assert wide.digest() != plain.digest(), "the configuration is another one"
    assert told(wide)["MAX_POSITION"]["state"] == "OK"
    assert trial_key(replace(config(feed), strategy_kind="do_nothing"), feed) != trial_key(
        replace(config(feed, SIZE), strategy_kind="do_nothing"), feed
    )


def test_plain_python_is_guarded_as_compiled_code_is(feed: Feed) -> None:
    for wakes in (("interval",), EVERY):
        compiled, plain = (run(config(feed, LOSS, *LIMITS[:5]), feed, strategy(*wakes, is_compiled=is_compiled))
                           for is_compiled in (True, False))  # fmt: skip
        assert compiled.fills.equals(plain.fills)
        assert compiled.summary == plain.summary
        assert sum(each["refused"] for each in told(plain).values()) > 5


def test_sets_that_share_a_pass_have_limits_of_their_own(feed: Feed) -> None:
    configs = [config(feed, SIZE), config(feed), config(feed, LOSS, {"kind": "MAX_MESSAGE_RATE", "threshold": "9"})]
    strategies = [strategy(seed=seed) for seed in (1, 2, 3)]
    for one, own, result in zip(configs, strategies, run_sets(configs, feed, strategies), strict=True):
        alone = run(one, feed, own)
        assert alone.digest() == result.digest()
        assert alone.summary == result.summary


def test_a_band_holds_each_assumption_against_the_limits(feed: Feed) -> None:
    plain = run(config(feed, band=True), feed, strategy()).summary.band
    tight = run(config(feed, SIZE, band=True), feed, strategy()).summary.band
    assert plain is not None
    assert tight is not None
    assert all(tight[name].volume < plain[name].volume for name in plain)


def test_outcomes_are_written_and_read(feed: Feed, tmp_path: Path) -> None:
    result = run(config(feed, LOSS, SIZE), feed, strategy())
    result.write(tmp_path)
    assert RunResult.read(tmp_path).summary == result.summary


@pytest.mark.parametrize(
    ("limits", "field", "allowed"),
    [
        ("MAX_LOSS", "limits", "a list"),
        ({"kind": "MAX_LOSS"}, "limits", "a list"),
        (["MAX_LOSS"], "limits[0]", "an object with kind, threshold"),
        ([SIZE, {"kind": "MAX_VAR", "threshold": "1"}], "limits[1].kind", "one of MAX_ORDER_SIZE, MAX_ORDER_NOTIONAL"),
        ([{"kind": 5, "threshold": "1"}], "limits[0].kind", "MAX_DRAWDOWN"),
        ([{"threshold": "1"}], "limits[0].kind", "MAX_DRAWDOWN"),
        ([SIZE, SIZE], "limits[1].kind", "each kind once"),
        ([SIZE | {"scope": "ALL"}], "limits[0].scope", "only kind, threshold"),
        ([{"kind": "MAX_LOSS"}], "limits[0].threshold", "an amount as text"),
        ([{"kind": "MAX_LOSS", "threshold": 1.5}], "limits[0].threshold", "an amount as text"),
        ([{"kind": "MAX_LOSS", "threshold": True}], "limits[0].threshold", "an amount as text"),
        ([{"kind": "MAX_LOSS", "threshold": "nan"}], "limits[0].threshold", "an amount as text"),
        ([{"kind": "MAX_LOSS", "threshold": "1e999999999"}], "limits[0].threshold", "an amount as text"),
        ([{"kind": "MAX_LOSS", "threshold": "0"}], "limits[0].threshold", "a positive amount"),
        ([LOSS | {"warn_share": "1.1"}], "limits[0].warn_share", "at most 1"),
        ([LOSS | {"on_breach": "STOP"}], "limits[0].on_breach", "ALERT, REDUCE, HALT for MAX_LOSS"),
        ([SIZE | {"on_breach": "HALT"}], "limits[0].on_breach", "ALERT for MAX_ORDER_SIZE"),
        ([{"kind": "MAX_MESSAGE_RATE", "threshold": 5000}], "limits[0].threshold", "at most 4000"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(limits: Any, field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        limits_of(limits)
    (fault,) = caught.value.errors
    assert fault.field == field
    assert allowed in fault.allowed


INVERSE = replace(PAIR, contract_type=ContractType.INVERSE, maker_fee=Decimal(0), taker_fee=Decimal(0))


def test_money_of_an_inverse_contract_is_bounded_in_coins(feed: Feed) -> None:
    """It was refused. What the guard saw is what some sample says: without latency both look at the same."""
    kinds = ("MAX_LOSS", "MAX_DRAWDOWN", "MAX_NOTIONAL")
    wide = [{"kind": kind, "threshold": "1000"} for kind in kinds]
    given = {"entry_latency_ns": 0, "response_latency_ns": 0, "sample_interval_ns": 1_000, "balance": Decimal(10_000)}
    each_microsecond = strategy().kind.prepare({"seed": 7, "interval_ns": 1_000})
    result = run(replace(config(feed, *wide, **given), instrument=INVERSE), feed, each_microsecond)
    assert result.summary.fills > 50
    equity = result.samples["equity_half_tick_lots"].to_list()
    half_unit, seen = INVERSE.tick_lot / 2, told(result)
    results = {value - equity[0] for value in equity}
    loss = int(Decimal(seen["MAX_LOSS"]["largest"]) / half_unit)
    # The guard rounds a worth to a unit, a sample to half a unit.
    assert any(-loss + off in results for off in (-1, 0, 1))
    assert loss > 100
    assert Decimal(seen["MAX_DRAWDOWN"]["largest"]) >= Decimal(seen["MAX_LOSS"]["largest"])
    mids = result.samples.filter(pl.col("mid_half_ticks") > 0)
    values = [
        abs(lots) * INVERSE.lot_size / (Decimal(mid) / 2 * INVERSE.tick_size)
        for lots, mid in mids.select("position_lots", "mid_half_ticks").iter_rows()
    ]
    assert Decimal(seen["MAX_NOTIONAL"]["largest"]) >= max(values) * Decimal("0.98")
    assert Decimal(seen["MAX_NOTIONAL"]["largest"]) < 2 * max(values)
    # Half of it breaches and halts.
    tight = f"{Decimal(seen['MAX_LOSS']['largest']) / 2:f}"
    halted = run(
        replace(config(feed, LOSS | {"threshold": tight}, **given), instrument=INVERSE), feed, each_microsecond
    )
    assert told(halted)["MAX_LOSS"]["hold"] == "HALTED"
    assert halted.summary.fills < result.summary.fills


def test_an_order_of_an_inverse_contract_is_bounded_by_its_coins(feed: Feed) -> None:
    given = {"balance": Decimal(10_000), "records_orders": True}
    middle = Decimal("0.0002")
    limit = {"kind": "MAX_ORDER_NOTIONAL", "threshold": f"{middle:f}"}
    result = run(replace(config(feed, limit, **given), instrument=INVERSE), feed, strategy())
    events = result.order_events
    assert events is not None
    refused = [row for row in events.iter_rows(named=True) if row["reason"] == Reason.MAX_ORDER_NOTIONAL]
    sent = [row for row in events.iter_rows(named=True) if Note(row["note"]) is Note.NEW_SENT and row["price_ticks"]]
    assert len(refused) > 5
    assert len(sent) > 5

    def coins(row: dict[str, Any]) -> Decimal:
        return row["qty_lots"] * INVERSE.lot_size / (row["price_ticks"] * INVERSE.tick_size)

    assert all(coins(row) > middle - INVERSE.tick_lot for row in refused if row["price_ticks"])
    assert all(coins(row) <= middle + INVERSE.tick_lot for row in sent)


def test_limits_come_back_as_they_were_given() -> None:
    given = limits_of([LOSS, SIZE | {"warn_share": "0.5"}])
    assert limits_of(limits_json(given)) == given
    assert limits_of(None) == ()
    assert all(isinstance(each, Limit) for each in given)


@pytest.mark.parametrize(
    ("price", "reference", "share"),
    [
        (100, 100, 0),
        (105, 100, 5_000_000),
        (95, 100, 5_000_000),
        (100, 3, 3_233_333_334),
        (1, 2**41, 10**8),
        (2**41, 1, 9 * 10**18),
    ],
)  # 10^8 (price - reference) / reference, rounded up; the last one is cut off
def test_collar_share(price: int, reference: int, share: int) -> None:
    assert rules.collar_share(price, reference) == share


def test_collar_share_is_the_fraction_rounded_up() -> None:
    for price in range(1, 400, 7):
        for reference in (1, 3, 7, 97, 2**40 - 1):
            assert rules.collar_share(price, reference) == -(-abs(price - reference) * 10**8 // reference)
