"""The object `execution` of a request: what it takes, what it refuses by name, and what it becomes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from market_maker.backtest.execution import Execution, queue_model_of
from market_maker.backtest.fee_models import FeeModel
from market_maker.backtest.latency_models import LatencyModel
from market_maker.backtest.queue_models import QueueModel
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument

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
    ({"queue_model": "POWER"}, r"queue_model.n: None is not allowed"),
    ({"queue_model": "LOG", "queue_n": 2}, r"queue_model.n: 2.0 is not allowed; allowed: nothing"),
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
    ({"latency": {"model": "UNDER_LOAD", **LOAD, "more": 1}}, r"execution.latency.more: 1 is not allowed"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(values: dict[str, Any], text: str):
    with pytest.raises(InvalidRequest, match=text):
        Execution.of(values)


@pytest.mark.parametrize(("fees", "text"), [
    ({"model": "PER_VALUE", "maker": "0.1"}, r"execution.fees.taker: None is not allowed"),
    ({"model": "PER_VALUE", "maker": "NaN", "taker": "0"}, r"execution.fees.maker: NaN is not allowed; allowed: a finite"),
    ({"model": "PER_VALUE", "maker": 0.1, "taker": "0"}, r"execution.fees.maker: 0.1 is not allowed; allowed: an amount as text"),
    ({"model": "TIERED", "tiers": [7]}, r"execution.fees.tiers\[0\].least_volume: None is not allowed"),
    ({"model": "TIERED", "tiers": [{"least_volume": "5", "maker": "0", "taker": "0"}]}, r"tiers.least_volume"),
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
