"""The object `execution` of a request: what it takes, what it refuses by name, and what it becomes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from kernel_forms import interpreted
from market_maker.backtest.execution import Execution, queue_model_of
from market_maker.backtest.fee_models import FeeModel, kernel
from market_maker.backtest.latency_models import LatencyModel
from market_maker.backtest.queue_models import QueueModel
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Liquidity

plain = interpreted(kernel)
PAIR = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal("0.5"), Decimal("0.01"))
DRAWN = {"mean_ns": 1000, "deviation_ns": 10}
LOAD = {"entry_ns": 1, "response_ns": 2, "window_ns": 3, "quiet_events": 4, "ns_per_event": 5, "most_ns": 6}


def test_nothing_said_is_the_default_and_comes_back_the_same():
    made = Execution.of(None)
    assert made == Execution() == Execution.of(made.to_json())
    assert int(made.latency_state(7, 9, seed=0).head["entry_ns"][0]) == 7
    assert int(made.fee_state(PAIR, 0).head["model"][0]) == FeeModel.PER_VALUE


@pytest.mark.parametrize(("values", "model"), [
    ({"model": "CONSTANT", "entry_ns": 5}, LatencyModel.CONSTANT),
    ({"model": "NORMAL", "entry": DRAWN, "response": DRAWN | {"floor_ns": 900}}, LatencyModel.NORMAL),
    ({"model": "LOG_NORMAL", "entry": DRAWN, "response": DRAWN}, LatencyModel.LOG_NORMAL),
    ({"model": "GAMMA", "entry": DRAWN, "response": DRAWN}, LatencyModel.GAMMA),
    ({"model": "RECORDED", "rows": [[1, 5, 9], [10, 0, 30]]}, LatencyModel.RECORDED),
    ({"model": "UNDER_LOAD", **LOAD}, LatencyModel.UNDER_LOAD),
])  # fmt: skip
def test_every_latency_model_can_be_asked_for(values, model):
    made = Execution.of({"latency": values})
    assert int(made.latency_state(0, 0, seed=1).head["model"][0]) == model
    assert Execution.of(made.to_json()) == made


@pytest.mark.parametrize(("values", "model"), [
    ({"model": "PER_VALUE", "maker": "-0.0001", "taker": "0.0004"}, FeeModel.PER_VALUE),
    ({"model": "PER_QUANTITY", "maker": "0", "taker": 1}, FeeModel.PER_QUANTITY),
    ({"model": "FLAT_PER_FILL", "maker": "0.5", "taker": "1"}, FeeModel.FLAT_PER_FILL),
    ({"model": "FLAT_PER_ORDER", "maker": "0.5", "taker": "1"}, FeeModel.FLAT_PER_ORDER),
    ({"model": "TIERED", "tiers": [{"least_volume": "0", "maker": "0", "taker": "0"}], "window_days": 7}, FeeModel.TIERED),
])  # fmt: skip
def test_every_fee_model_can_be_asked_for(values, model):
    assert int(Execution.of({"fees": values}).fee_state(PAIR, 0).head["model"][0]) == model


@pytest.mark.parametrize(("values", "text"), [
    ({"queue": "POWER"}, r"execution.queue: POWER is not allowed; allowed: only queue_model"),
    ({"queue_model": "LUCKY"}, r"execution.queue_model: LUCKY is not allowed; allowed: one of RISK_AVERSE, POWER"),
    ({"queue_model": "POWER"}, r"execution.queue_n: None is not allowed"),
    ({"queue_model": "LOG", "queue_n": 2}, r"execution.queue_n: 2.0 is not allowed; allowed: nothing"),
    ({"queue_n": 2}, r"execution.queue_n: 2.0 is not allowed; allowed: nothing without a queue_model"),
    ({"leverage": "3"}, r"execution.leverage: 3 is not allowed; allowed: a whole number"),
    ({"leverage": 0}, r"execution.leverage: 0 is not allowed; allowed: a whole number from 1 to 1000"),
    ({"cash_account": 1}, r"execution.cash_account: 1 is not allowed; allowed: true or false"),
    ({"execution_probability": 1.5}, r"execution.execution_probability: 1.5 is not allowed; allowed: 0 to 1"),
    ({"execution_probability": True}, r"execution.execution_probability: True is not allowed"),
    ({"price_impact": -0.1}, r"execution.price_impact: -0.1 is not allowed"),
    ({"impact_half_life_ns": -1}, r"execution.impact_half_life_ns: -1 is not allowed"),
    ({"latency": 5}, r"execution.latency: 5 is not allowed; allowed: an object"),
    ({"latency": {"model": "FAST"}}, r"execution.latency.model: FAST is not allowed; allowed: one of CONSTANT"),
    ({"latency": {}}, r"execution.latency.model: None is not allowed"),
    ({"latency": {"model": "NORMAL", "entry": DRAWN}}, r"execution.latency.response.mean_ns: None is not allowed"),
    ({"latency": {"model": "NORMAL", "entry": {"mean_ns": 1.5}}}, r"execution.latency.entry.mean_ns: 1.5 is not allowed"),
    ({"latency": {"model": "RECORDED", "rows": []}}, r"execution.latency.rows: \[\] is not allowed"),
    ({"latency": {"model": "RECORDED", "rows": [[1, 2]]}}, r"execution.latency.rows\[0\]: \[1, 2\] is not allowed"),
    ({"queue_model": []}, r"execution.queue_model: \[\] is not allowed; allowed: one of RISK_AVERSE"),
    ({"queue_model": "POWER", "queue_n": 10**400}, r"execution.queue_n: 10+… is not allowed; allowed: a finite number"),
    ({"latency": {"model": "CONSTANT", "entry_ns": 10**18}}, r"execution.latency.entry_ns: 10+ is not allowed; allowed: -86400"),
    ({"latency": {"model": "UNDER_LOAD", **LOAD, "window_ns": 0}}, r"execution.latency.window_ns: 0 is not allowed"),
    ({"latency": {"model": "GAMMA", "entry": DRAWN | {"mean_ns": 0}, "response": DRAWN}}, r"execution.latency.entry.mean_ns: 0 is"),
    ({"latency": {"model": "RECORDED", "rows": [[1, 5, 9], [10, 5, 20]]}}, r"execution.latency.rows: row 2 .*before it was made"),
    ({"latency": {"model": "UNDER_LOAD", **LOAD, "more": 1}}, r"execution.latency.more: 1 is not allowed"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(values: dict[str, Any], text: str):
    with pytest.raises(InvalidRequest, match=text):
        Execution.of(values)


@pytest.mark.parametrize(("fees", "text"), [
    ({"model": "PER_VALUE", "maker": "0.1"}, r"execution.fees.taker: None is not allowed"),
    ({"model": "PER_VALUE", "maker": "NaN", "taker": "0"}, r"execution.fees.maker: NaN is not allowed; allowed: a finite"),
    ({"model": "PER_VALUE", "maker": 0.1, "taker": "0"}, r"execution.fees.maker: 0.1 is not allowed; allowed: an amount as text"),
    ({"model": "TIERED", "tiers": [{"least_volume": "5", "maker": "0", "taker": "0"}]}, r"execution.fees.tiers.least_volume: \['5'\] is not"),
    ({"model": "TIERED", "tiers": [7]}, r"execution.fees.tiers\[0\]: 7 is not allowed; allowed: an object with least_volume"),
    ({"model": "TIERED", "tiers": [{"least_volume": "0", "maker": "0", "taker": "1e20"}]}, r"execution.fees.tiers\[0\].taker: 1E\+20 is"),
    ({"model": "TIERED", "tiers": [{"least_volume": "0", "maker": "0", "taker": "0"}], "window_days": 0}, r"execution.fees.window_days: 0"),
    ({"model": ["PER_VALUE"], "maker": "0", "taker": "0"}, r"execution.fees.model: \['PER_VALUE'\] is not allowed; allowed: one of"),
    ({"model": "PER_VALUE", "maker": True, "taker": "0"}, r"execution.fees.maker: True is not allowed; allowed: an amount as text"),
    ({"model": "PER_VALUE", "maker": "1e999999999", "taker": "0"}, r"execution.fees.maker: 1e999999999 is not allowed; allowed: an amount from"),
    ({"model": "PER_VALUE", "maker": "0." + "3" * 90, "taker": "0"}, r"execution.fees.maker: 0.3+ is not allowed; allowed: an amount from"),
    ({"model": "PER_VALUE", "maker": "0.000000001", "taker": "0"}, r"execution.fees.maker: 1E-9 is not allowed; .*at most 8 decimals"),
    ({"model": "PER_QUANTITY", "maker": "1e9", "taker": "0"}, r"execution.fees.maker: 1E\+9 is not allowed; allowed: .* of at most 5497.56"),
])  # fmt: skip
def test_fees_that_cannot_be_are_refused_by_name(fees: dict[str, Any], text: str):
    with pytest.raises(InvalidRequest, match=text):
        Execution.of({"fees": fees}).fee_state(PAIR, 0)


def test_the_default_queue_is_the_exact_one_where_the_feed_allows_it():
    assert queue_model_of(None, of_orders=True) is QueueModel.FIFO
    assert queue_model_of(None, of_orders=False) is QueueModel.RISK_AVERSE
    assert queue_model_of(QueueModel.POWER, of_orders=True) is QueueModel.POWER
    with pytest.raises(InvalidRequest, match="does not tell single orders"):
        queue_model_of(QueueModel.FIFO, of_orders=False)


@pytest.mark.parametrize(
    ("latency", "usual"),
    [
        (None, 100),
        ({"model": "LOG_NORMAL", "entry": {"mean_ns": 5, "deviation_ns": 2}, "response": {"mean_ns": 9, "deviation_ns": 2}}, 5),
        ({"model": "CONSTANT", "entry_ns": 7, "response_ns": 8}, 7),
        ({"model": "CONSTANT"}, 100),
        ({"model": "RECORDED", "rows": [[10, 13, 20], [30, 0, 50], [60, 64, 70], [80, 95, 99]]}, 4),
        (
            {"model": "UNDER_LOAD", "entry_ns": 6, "response_ns": 6, "window_ns": 100, "quiet_events": 3,
             "ns_per_event": 2, "most_ns": 90},
            6,
        ),
    ],
)  # fmt: skip
def test_the_usual_way_to_the_venue_is_the_models(latency: dict[str, object] | None, usual: int) -> None:
    assert Execution.of({"latency": latency}).usual_entry_ns(100) == usual


@pytest.mark.parametrize(("values", "of_each"), [
    ({"model": "PER_QUANTITY", "maker": "-0.002", "taker": "0.0035"}, (Decimal("-0.00002"), Decimal("0.000035"))),
    ({"model": "FLAT_PER_FILL", "maker": "-0.0002", "taker": "0.001"}, (Decimal("-0.0002"), Decimal("0.001"))),
    ({"model": "PER_VALUE", "maker": "-0.0001", "taker": "0.0004"}, (Decimal("-0.000025"), Decimal("0.0001"))),
], ids=["per quantity", "flat", "per value"])  # fmt: skip
def test_fees_that_a_run_names_add_up_however_small_each_is(values, of_each, rng):
    """Of single shares at 0.3 cents each every fee was rounded to none; a unit of cash here is 0.005."""
    state = Execution.of({"fees": values}).fee_state(PAIR, 0)
    exact, total = Decimal(0), 0
    for is_taker in rng.integers(0, 2, 2000).tolist():
        liquidity = Liquidity.TAKER if is_taker else Liquidity.MAKER
        args = (state.head[0], state.tiers, state.volumes, 0, liquidity, 50, 1, True)  # One lot of 0.01 at 25.0.
        total += int(plain.fill_fee(*args))
        exact += of_each[is_taker]
        assert abs(total * PAIR.tick_lot - exact) <= PAIR.tick_lot / 2


def test_flat_fees_that_are_whole_in_cash_are_as_large_as_they_were():
    state = Execution.of({"fees": {"model": "FLAT_PER_ORDER", "maker": "0", "taker": "100000000"}}).fee_state(PAIR, 0)
    assert int(state.head["carries"][0]) == 0
    assert int(state.head["taker_e8"][0]) == 20_000_000_000
