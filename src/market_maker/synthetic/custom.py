"""Mode CUSTOM: every parameter of the synthetic market by name, with a published schema.

Owns the way between JSON values and the dataclasses of `flow.parameters`; defaults, bounds and units are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from market_maker.domain.errors import InvalidRequest
from market_maker.synthetic.correlation import GROUP_BOUNDS, GroupParameters
from market_maker.synthetic.flow.parameters import (
    CONDITION_BOUNDS,
    FLOW_BOUNDS,
    REFERENCE_BOUNDS,
    Conditions,
    FlowParameters,
    ReferenceParameters,
)
from market_maker.synthetic.reference.processes import Process

SECTIONS: dict[str, tuple[type[Any], dict[str, tuple[float, float]]]] = {
    "flow": (FlowParameters, FLOW_BOUNDS),
    "reference": (ReferenceParameters, REFERENCE_BOUNDS),
    "conditions": (Conditions, CONDITION_BOUNDS),
    "group": (GroupParameters, GROUP_BOUNDS),
}
LIST_MAX = 64


def custom_schema() -> dict[str, Any]:
    """Return the JSON schema of everything that mode CUSTOM takes: an object of `flow`, `reference`, `conditions`, `group`."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema_of(made, bounds) for name, (made, bounds) in SECTIONS.items()},
    }


def parse_custom(values: Mapping[str, Any], path: str = "parameters") -> dict[str, dict[str, Any]]:
    """Return checked values by section, only those given, as the dataclasses take them.

    Raises
    ------
    InvalidRequest
        An unknown name, a wrong type, or a value out of bounds; names it as `parameters.flow.levels`.
    """
    found: dict[str, dict[str, Any]] = {}
    for section, content in values.items():
        if section not in SECTIONS:
            raise InvalidRequest.of(f"{path}.{section}", content, f"one of {', '.join(SECTIONS)}")
        if not isinstance(content, Mapping):
            raise InvalidRequest.of(f"{path}.{section}", content, "an object of parameters")
        made, bounds = SECTIONS[section]
        defaults = _defaults(made)
        found[section] = {}
        for name, value in content.items():
            where = f"{path}.{section}.{name}"
            if name not in defaults:
                raise InvalidRequest.of(where, value, f"one of {', '.join(defaults)}")
            found[section][name] = _checked(value, defaults[name], bounds.get(name), where)
        try:
            made(**found[section])
        except InvalidRequest as error:
            first = error.errors[0]
            raise InvalidRequest.of(f"{path}.{section}.{first.field}", first.value, first.allowed) from None
    return found


def _defaults(made: type[Any]) -> dict[str, Any]:
    assert is_dataclass(made)
    return {each.name: each.default for each in fields(made) if each.default is not MISSING}


def _checked(value: Any, default: Any, bounds: tuple[float, float] | None, where: str) -> Any:
    if isinstance(default, Enum):
        kinds = {each.name: each for each in type(default)}
        if value not in kinds:
            raise InvalidRequest.of(where, value, ", ".join(kinds))
        return kinds[value]
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InvalidRequest.of(where, value, "true or false")
        return value
    if isinstance(default, tuple):
        if not isinstance(value, list) or not 1 <= len(value) <= LIST_MAX or not all(map(_is_number, value)):
            raise InvalidRequest.of(where, value, f"a list of 1 to {LIST_MAX} numbers")
        return tuple(float(each) for each in value)
    is_whole = isinstance(default, int)
    text = "a whole number" if is_whole else "a number"
    if bounds is not None:
        text += f" from {bounds[0]:.15g} to {bounds[1]:.15g}"
    if not _is_number(value) or (is_whole and value != int(value)):
        raise InvalidRequest.of(where, value, text)
    if bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise InvalidRequest.of(where, value, text)
    return int(value) if is_whole else float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _schema_of(made: type[Any], bounds: dict[str, tuple[float, float]]) -> dict[str, Any]:
    told = _descriptions(made)
    properties = {
        name: _property(default, bounds.get(name)) | ({"description": told[name]} if name in told else {})
        for name, default in _defaults(made).items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(default: Any, bounds: tuple[float, float] | None) -> dict[str, Any]:
    if isinstance(default, Process):
        return {"type": "string", "enum": [each.name for each in Process], "default": default.name}
    if isinstance(default, bool):
        return {"type": "boolean", "default": default}
    if isinstance(default, tuple):
        items = {"type": "number"}
        return {"type": "array", "items": items, "minItems": 1, "maxItems": LIST_MAX, "default": list(default)}
    known: dict[str, Any] = {"type": "integer" if isinstance(default, int) else "number", "default": default}
    return known if bounds is None else known | {"minimum": bounds[0], "maximum": bounds[1]}


def _descriptions(made: type[Any]) -> dict[str, str]:
    """Return what the docstring says of each field; a line of several names speaks for all of them."""
    text = re.split(r"\n\s*-{3,}\n", made.__doc__ or "", maxsplit=1)[-1].split("\n\n")[0]
    found: dict[str, str] = {}
    for part in re.split(r"\n(?=    \w[\w, ]* : )", "\n" + text):
        names, colon, meaning = part.strip().partition(" : ")
        if colon:
            found |= dict.fromkeys((name.strip() for name in names.split(",")), " ".join(meaning.split()))
    return found


def read_custom(path: Path) -> dict[str, dict[str, Any]]:
    """Return the parameters of mode CUSTOM in a YAML file, checked; InvalidRequest names what is wrong."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest.of("--custom", str(path), f"a YAML file that can be read ({error})") from error
    if not isinstance(values, dict):
        raise InvalidRequest.of(
            "--custom", str(path), "a YAML file with the sections flow, reference, conditions, group"
        )
    return parse_custom(values, "--custom")
