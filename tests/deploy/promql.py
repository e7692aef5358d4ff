"""Reads PromQL: enough of it to say whether an expression is well formed, and which metrics and labels it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FUNCTIONS = {
    "rate", "increase", "deriv", "histogram_quantile", "predict_linear", "avg_over_time", "max_over_time", "absent",
    "clamp_min", "abs", "time", "label_replace",
}  # fmt: skip
AGGREGATIONS = {"sum", "max", "min", "avg", "count", "topk", "bottomk", "quantile"}
COUNTED_FROM_A_RANGE = {"rate", "increase", "deriv"}
_TOKEN = re.compile(
    r"\s*(?:(?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])|(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<text>\"[^\"]*\")"
    r"|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/<>=(){},]))"
)
_RANK = {
    "or": 1,
    "and": 2,
    "unless": 2,
    "==": 3,
    "!=": 3,
    ">": 3,
    "<": 3,
    ">=": 3,
    "<=": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
}


@dataclass
class Selector:
    """One metric as an expression names it; `labels` are those it is selected by."""

    metric: str
    labels: set[str] = field(default_factory=set)
    is_range: bool = False


class NotPromQL(Exception):
    """The expression is not well formed."""


class Reader:
    """One pass over one expression."""

    def __init__(self, text: str) -> None:
        self.selectors: list[Selector] = []
        self.grouped: set[str] = set()
        self._tokens = list(_tokens(text))
        self._at = 0
        self._expression(0)
        if self._at != len(self._tokens):
            raise NotPromQL(f"{text}: nothing may follow, but {self._peek()} does")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self, wanted: str | None = None) -> str:
        kind, text = self._peek()
        if kind == "end" or (wanted is not None and text != wanted):
            raise NotPromQL(f"{wanted or 'more'} is missing before {text!r}")
        self._at += 1
        return text

    def _expression(self, rank: int) -> None:
        self._operand()
        while (found := _RANK.get(self._peek()[1])) is not None and found > rank:
            self._next()
            self._expression(found)

    def _operand(self) -> None:
        kind, text = self._peek()
        if kind == "number":
            self._next()
        elif text == "(":
            self._next()
            self._expression(0)
            self._next(")")
        elif kind == "name" and text in AGGREGATIONS:
            self._next()
            if self._peek()[1] in ("by", "without"):
                self._next()
                self.grouped |= set(self._names())
            self._arguments()
        elif kind == "name" and text in FUNCTIONS:
            self._next()
            first = len(self.selectors)
            self._arguments()
            if text in COUNTED_FROM_A_RANGE and not all(each.is_range for each in self.selectors[first:]):
                raise NotPromQL(f"{text} needs a range")
        elif kind == "name":
            self._selector()
        else:
            raise NotPromQL(f"{text!r} stands where an operand should")

    def _arguments(self) -> None:
        self._next("(")
        while True:
            self._expression(0)
            if self._peek()[1] != ",":
                break
            self._next()
        self._next(")")

    def _names(self) -> Iterator[str]:
        self._next("(")
        while True:
            yield self._next()
            if self._peek()[1] != ",":
                break
            self._next()
        self._next(")")

    def _selector(self) -> None:
        selector = Selector(self._next())
        if self._peek()[1] == "{":
            self._next()
            while self._peek()[1] != "}":
                selector.labels.add(self._next())
                if self._next() not in ("=", "!=", "=~", "!~"):
                    raise NotPromQL("a label is compared by =, !=, =~ or !~")
                if self._peek()[0] != "text":
                    raise NotPromQL("a label is compared with a text")
                self._next()
                if self._peek()[1] == ",":
                    self._next()
            self._next("}")
        if self._peek()[0] == "range":
            self._next()
            selector.is_range = True
        self.selectors.append(selector)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotPromQL(f"{text[at:]!r} is no word of PromQL")
        at = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]
