"""From bytes to types and from faults to problem documents: every fault is named."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from market_maker.api import schemas
from market_maker.api.commands import Command
from market_maker.api.problems import decode
from market_maker.domain.errors import FieldError, InvalidRequest

PAIR = "00000000-0000-7000-8000-000000000010"
ORDER = {"pair_id": PAIR, "side": "BUY", "type": "LIMIT", "amount": "1", "price": "2"}


def read(text: str | bytes, kind: type[schemas.Request] = schemas.PlaceOrder) -> schemas.Request:
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    read_: schemas.Request = decode(body, msgspec.json.Decoder(kind))
    return read_


def with_price(raw: str) -> str:
    return json.dumps(ORDER).replace('"price": "2"', f'"price": {raw}')


@pytest.mark.parametrize(
    "raw", ["0.1", '"0.1"', "1e-1", "0.10", "50000.00", "123456789012345678901234567890.123456789"]
)
def test_decimals_never_pass_through_a_float(raw: str) -> None:
    order = read(with_price(raw))
    assert isinstance(order, schemas.PlaceOrder)
    assert str(order.price) == str(Decimal(raw.strip('"')))


@pytest.mark.parametrize(
    "raw",
    [
        "1e308",
        "1e-400",
        '"1e999999999"',
        '"1e-999999999"',
        '"0e-999999999"',
        '"NaN"',
        '"sNaN"',
        '"-Infinity"',
        "9" * 61,
        "0." + "1" * 61,
        '"1_0"x',
    ],
)
def test_decimals_that_would_cost_seconds_or_mean_nothing_are_refused(raw: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(with_price(raw))
    assert caught.value.errors[0].field in {"price", "body"}
    assert len(caught.value.detail) < 400


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", " NaN"])
def test_what_is_no_number_in_json_is_named(raw: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(with_price(raw))
    assert caught.value.errors[0].field == "price"


@pytest.mark.parametrize("name", ["price", "pair_id", "amount"])
def test_a_name_given_twice_is_refused(name: str) -> None:
    again = json.dumps(ORDER)[:-1] + f', "{name}": {json.dumps(ORDER[name])}}}'
    escaped = json.dumps(ORDER)[:-1] + f', "\\u{ord(name[0]):04x}{name[1:]}": {json.dumps(ORDER[name])}}}'
    for text in (again, escaped):
        with pytest.raises(InvalidRequest) as caught:
            read(text)
        assert caught.value.errors[0].field == name


def test_the_same_name_in_two_objects_is_no_fault() -> None:
    text = json.dumps({"name": "x", "kind": "y", "pair_id": PAIR, "parameters": {"name": 1, "inner": {"name": 2}}})
    strategy = read(text, schemas.NewStrategy)
    assert isinstance(strategy, schemas.NewStrategy)
    assert strategy.parameters["inner"] == {"name": 2}
    with pytest.raises(InvalidRequest):
        read(text.replace('"inner"', '"name"'), schemas.NewStrategy)
    quoting = read(json.dumps({"name": 'a "name": b', "balance": None}), schemas.NewAccount)
    assert isinstance(quoting, schemas.NewAccount)
    assert quoting.name == 'a "name": b'


@pytest.mark.parametrize(
    ("change", "field", "allowed"),
    [
        ({"amount": None}, "amount", "a value of type decimal"),
        ({"side": "HOLD"}, "side", "one of BUY, SELL"),
        ({"time_in_force": "DAY"}, "time_in_force", "one of FOK, GTC, GTD, IOC"),
        ({"amont": 1}, "amont", "a known field"),
        ({"simulation_params": {"price_impact": "x"}}, "simulation_params.price_impact", "a value of type float"),
        ({"client_order_id": "a b"}, "client_order_id", ""),
        ({"pair_id": "x"}, "pair_id", "the text of a UUID"),
        ({"amount": "x"}, "amount", "a decimal number"),
    ],
)
def test_faults_name_field_and_what_is_allowed(change: dict[str, object], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(json.dumps({**ORDER, **change}))
    (fault,) = caught.value.errors
    assert fault.field == field
    assert fault.allowed.startswith(allowed)


def test_a_value_among_names_of_the_callers_own_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read('{"name": "flash_crash", "parameters": {"fall": 0.1, "fall_s": "x"}}', schemas.StartScenario)
    (fault,) = caught.value.errors
    assert (fault.field, fault.value, fault.allowed) == ("parameters.fall_s", "x", "a value of type float")


def test_known_fields_are_told_and_values_stand_as_they_were_written() -> None:
    """Whoever misspelt a field was told that it must be a known one, and `None` where null had been sent."""

    def fault_of(body: dict[str, object], kind: Any = schemas.PlaceOrder) -> FieldError:
        with pytest.raises(InvalidRequest) as caught:
            read(json.dumps(body), kind)
        return caught.value.errors[0]

    assert fault_of({"name": "a", "balances": {"USDT": "1"}}, schemas.NewAccount) == FieldError(
        "balances", '{"USDT": "1"}', "a known field: name, balance"
    )
    nested = fault_of({**ORDER, "simulation_params": {"probability": True}})
    assert (nested.value, nested.allowed) == ("true", "a known field: execution_probability, price_impact")
    assert fault_of({**ORDER, "amount": None}).value == "null"
    command = fault_of({"command": "cancel_all_orders", "pair": 1}, Command)
    assert command.allowed == "a known field: pair_id, account_id"
    unknown = fault_of({"command": "fly"}, Command)
    assert unknown.allowed == "amend_order, cancel_all_orders, cancel_order, place_order"


def test_missing_field_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read("{}")
    assert caught.value.errors[0].field == "pair_id"
    assert caught.value.errors[0].allowed == "this field is required"


def test_a_problem_never_carries_the_request_back() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(json.dumps({**ORDER, "side": "B" * 500_000}))
    fault = caught.value.errors[0]
    assert len(fault.value) <= 100
    assert len(fault.allowed) + len(caught.value.detail) <= 1000
