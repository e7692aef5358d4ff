"""Dataclasses as JSON values: money as decimal text, instants as text, nothing rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from market_maker.domain.errors import DataError


def json_value(value: Any, name: str = "") -> Any:
    """Return `value` as JSON values.

    Parameters
    ----------
    value : dataclasses, mappings, tuples, lists, text, numbers, Decimal, None
    name : of the field it stands in; integers of a field `ts` or `..._ts` become text, because a reader that keeps
        numbers in 53 bits would round them

    Raises
    ------
    DataError
        A number that is not finite, or a type that has no JSON form.
    """
    if value is None or isinstance(value, str | bool):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int):
        return str(value) if name == "ts" or name.endswith("_ts") else int(value)
    if isinstance(value, float):
        if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 (NaN is not itself)
            raise DataError(f"{name or 'a figure'} is {value}; only finite numbers can be written")
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_value(getattr(value, field.name), field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_value(item, str(key)) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [json_value(item, name) for item in value]
    raise DataError(f"{name or 'a value'} of type {type(value).__name__} has no JSON form")
