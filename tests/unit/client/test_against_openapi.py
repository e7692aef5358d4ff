"""The client and the OpenAPI document describe the same API: every operation, parameter and body, both ways."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from market_maker.api import schemas
from market_maker.api.app import openapi_document
from market_maker.client import AsyncClient, Client
from market_maker.client.conversation import Call
from market_maker.client.operations import Operation, Operations
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.ids import DEFAULT_PAIR_ID

ALIASES = {("get", "/health"): "the same as /health/ready"}

SAMPLES: dict[str, Any] = {
    "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "kind": "MAX_VAR", "scope": "ACCOUNT", "mode": "NORMAL",
    "contract_type": "SPOT", "fill_model": "PARTIAL", "risk_model": "VaR", "alert_state": "RAISED", "state": "PAUSED",
    "run_ids": [DEFAULT_PAIR_ID], "parameters": {}, "execution": {}, "market_conditions": schemas.MarketConditions(), "limit": 5, "depth": 5,
    "seed": 5, "version": 5, "wait": True, "is_open": True, "post_only": True, "recording": True, "allow_gaps": True,
    "options": {"sort": True}, "execution_probability": 0.5, "price_impact": 0.5, "price_deviation": 0.5,
    "path": "x", "name": "x", "self_trade_prevention": "DECREMENT", "speed": 2.0, "step": "1s", "fragility": True, "sort": "number", "rules": schemas.TradingRules(), "phase": "PRE_OPEN", "state_hash": True, "scenarios": [schemas.StartScenario(name="x")], "with_pairs": [DEFAULT_PAIR_ID], "limits": [{"kind": "MAX_LOSS", "threshold": "1"}], "grid": {"a": [1, 0.1], "b": {"from": 1, "to": 2}},
    "methods": ["EWMA"], "window": 30, "engaged": True, "reason": "x", "on_breach": "HALT", "method": "EWMA", "norm": "EUCLID",
    "currency": "XBT",
}  # fmt: skip
DECIMALS = {"price", "amount", "quantity", "average_price", "balance", "threshold", "warn_share", "loss", "initial_price", "stop_price", "display_amount",
            "confidence_level", "tick_size", "lot_size", "maker_fee", "taker_fee", "contract_multiplier"}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


def operations() -> dict[str, Operation[Any, Any]]:
    return {name: each for name, each in vars(Operations).items() if isinstance(each, Operation)}


def full_call(operation: Operation[Any, Any]) -> Call[Any]:
    """Return the call with all of its arguments given."""
    arguments: dict[str, Any] = {}
    for name in list(inspect.signature(operation.describe).parameters)[1:]:
        if name == "scenarios" and operation.describe.__name__ == "stress_risk":
            arguments[name] = [{"name": "x", "shock": -0.1}]
        elif name in SAMPLES:
            arguments[name] = SAMPLES[name]
        elif name in DECIMALS:
            arguments[name] = "1"
        elif name == "after" or name.endswith("_id"):
            arguments[name] = DEFAULT_PAIR_ID
        else:
            arguments[name] = "text"
    call: Call[Any] = operation.describe(None, **arguments)
    return call


def test_every_operation_of_the_document_has_a_method_and_the_other_way_round(document: dict[str, Any]) -> None:
    documented = {(method, path) for path, methods in document["paths"].items() for method in methods}
    offered = [(call.method.lower(), call.path) for call in map(full_call, operations().values())]
    assert len(set(offered)) == len(offered), "two methods do the same"
    assert documented - set(offered) == set(ALIASES)
    assert set(offered) <= documented


@pytest.mark.parametrize("name", operations())
def test_method_is_as_documented(name: str, document: dict[str, Any]) -> None:
    call = full_call(operations()[name])
    described = document["paths"][call.path][call.method.lower()]
    parameters = {place: {each["name"] for each in described.get("parameters", []) if each["in"] == place}
                  for place in ("path", "query", "header")}  # fmt: skip
    assert set(call.path_values) == parameters["path"]
    assert set(call.query) == parameters["query"]
    assert all(value is not None for value in call.query.values())
    if call.method == "POST" and call.path.endswith("/orders"):
        assert parameters["header"] == {"Idempotency-Key"}
    else:
        assert parameters["header"] == set()
    body = described.get("requestBody")
    assert (call.body is None) == (body is None)
    if body is not None:
        schema = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert type(call.body).__name__ == schema
        sent = msgspec.json.decode(msgspec.json.encode(call.body))
        assert set(sent) == set(document["components"]["schemas"][schema]["properties"])
    _check_answer(call, described)


def _check_answer(call: Call[Any], described: dict[str, Any]) -> None:
    (success,) = [response for status, response in described["responses"].items() if status.startswith("2")]
    content = success.get("content", {})
    if call.answer is type(None):
        assert not content
    elif call.answer is str:
        assert list(content) in (["text/plain"], ["text/html"])
    else:
        schema = content["application/json"]["schema"]
        named = schema.get("$ref", "").rpartition("/")[2]
        assert named == (
            call.answer.__name__ if isinstance(call.answer, type) and issubclass(call.answer, msgspec.Struct) else ""
        )


def test_get_calls_and_keyed_orders_are_sent_again_and_nothing_else_that_changes_something() -> None:
    calls = {name: full_call(operation) for name, operation in operations().items()}
    assert all(call.is_repeatable for call in calls.values() if call.method == "GET")
    changing = {name for name, call in calls.items() if call.is_repeatable and call.method != "GET"}
    assert changing == {"place_order", "cancel_all_orders", "analyze_backtest_results", "stress_risk"}


def test_editor_sees_arguments_and_answers() -> None:
    with Client() as client:
        assert "execution_probability" in inspect.signature(client.place_order).parameters
        assert client.place_order.__doc__
        assert client.place_order.__doc__.startswith("Place a simulated order")
    for operation in operations().values():
        assert operation.__doc__
        hint = get_type_hints(operation.describe)["return"]
        assert len(get_args(hint)) == 1


def test_both_clients_have_the_same_operations() -> None:
    assert {name for name in dir(Client) if not name.startswith("_")} == {
        name for name in dir(AsyncClient) if not name.startswith("_")
    }


def test_importing_the_client_loads_no_part_of_the_service() -> None:
    program = (
        "import sys, market_maker.client\n"
        "heavy = {'litestar', 'numba', 'numpy', 'polars', 'psycopg', 'pydantic', 'uvicorn', 'market_maker.service',"
        " 'market_maker.settings'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_market_conditions_are_taken_as_a_mapping_and_checked() -> None:
    describe = Operations.run_backtest.describe
    wish = {"volatility": 0.02, "trend": "SIDEWAYS", "volume_profile": "NORMAL"}
    call = describe(None, DEFAULT_PAIR_ID, "2022-01-01", "2022-01-31", market_conditions=wish)
    assert call.body.market_conditions == schemas.MarketConditions(0.02, "SIDEWAYS", "NORMAL")
    for wrong in ({"volatility": 0}, {"trend": "sideways"}, {"volatilty": 0.02}):
        with pytest.raises(InvalidRequest, match=r"market_conditions: .* allowed: volatility above 0") as caught:
            describe(None, DEFAULT_PAIR_ID, "2022-01-01", "2022-01-31", market_conditions=wrong)
        assert caught.value.errors[0].field == "market_conditions"
