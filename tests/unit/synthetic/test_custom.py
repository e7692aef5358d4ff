"""Mode CUSTOM: the schema says what the dataclasses have, and wrong values are named."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.synthetic.custom import SECTIONS, custom_schema, parse_custom
from market_maker.synthetic.flow.parameters import FlowParameters, ReferenceParameters
from market_maker.synthetic.reference.processes import Process


def test_the_schema_has_every_parameter_with_its_default_and_meaning() -> None:
    schema = custom_schema()
    for name, (made, bounds) in SECTIONS.items():
        properties = schema["properties"][name]["properties"]
        assert set(properties) == {each.name for each in fields(made)}
        for each in fields(made):
            told = properties[each.name]
            assert told["description"], each.name
            default = each.default
            assert told["default"] == (
                default.name
                if isinstance(default, Process)
                else list(default)
                if isinstance(default, tuple)
                else default
            )
            if each.name in bounds:
                assert (told["minimum"], told["maximum"]) == bounds[each.name]
                assert told["minimum"] <= told["default"] <= told["maximum"]


def test_defaults_of_the_schema_are_accepted_and_change_nothing() -> None:
    values = {
        name: {key: told["default"] for key, told in section["properties"].items()}
        for name, section in custom_schema()["properties"].items()
    }
    found = parse_custom(values)
    assert FlowParameters(**found["flow"]) == FlowParameters()
    assert ReferenceParameters(**found["reference"]) == ReferenceParameters()


def test_values_arrive() -> None:
    found = parse_custom({"flow": {"levels": 40.0, "decays": [8, 1, 0.2, 0.02]}, "reference": {"process": "HESTON"}})
    assert found == {
        "flow": {"levels": 40, "decays": (8.0, 1.0, 0.2, 0.02)}, "reference": {"process": Process.HESTON},
    }  # fmt: skip
    assert isinstance(found["flow"]["levels"], int)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"flows": {}}, "parameters.flows"),
        ({"flow": 5}, "parameters.flow: 5 is not allowed; allowed: an object"),
        ({"flow": {"level": 5}}, "parameters.flow.level: 5 is not allowed; allowed: one of step_ticks"),
        ({"flow": {"levels": 1}}, "parameters.flow.levels: 1 is not allowed; allowed: a whole number from 2"),
        ({"flow": {"levels": 2.5}}, "parameters.flow.levels"),
        ({"flow": {"levels": "5"}}, "parameters.flow.levels"),
        ({"flow": {"levels": True}}, "parameters.flow.levels"),
        ({"flow": {"branching": 1.0}}, "parameters.flow.branching: 1.0 is not allowed; allowed: a number from 0 to 0.99"),
        ({"flow": {"branching": float("nan")}}, "parameters.flow.branching"),
        ({"flow": {"limit_rate": 1e300 * 1e300}}, "parameters.flow.limit_rate"),
        ({"flow": {"decays": [1, 2]}}, "parameters.flow.decays"),
        ({"flow": {"decays": [1, 2, 3, -1]}}, "parameters.flow.decays"),
        ({"flow": {"cancel_rates": []}}, "parameters.flow.cancel_rates"),
        ({"reference": {"process": "gbm"}}, "parameters.reference.process: gbm is not allowed; allowed: "),
        ({"reference": {"business_time": 1}}, "parameters.reference.business_time: 1 is not allowed; allowed: true or false"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(values: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_custom(values)
    assert text in caught.value.detail
