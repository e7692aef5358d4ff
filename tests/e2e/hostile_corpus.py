"""About a thousand requests that nobody should send, made from the OpenAPI document and a few valid bodies.

Every case says what may come back. What is allowed to differ from "4xx, a problem, the field named" is listed here,
one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

CLIENT_FAULT = frozenset(range(400, 500))
RULES = {
    "price_collar": "5000", "min_notional": "1", "static_band": "2000", "dynamic_band": "1000", "volatility_auction": "10s",
    "self_trade_prevention": "CANCEL_BOTH",
}  # fmt: skip
NOBODY = "01a20000-0000-7000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile request and what may be answered.

    `names` is the field that the problem must name, None when no field is at fault. `statuses` are allowed.
    """

    name: str
    method: str
    template: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    names: str | None = None
    statuses: frozenset[int] = CLIENT_FAULT


@dataclass(frozen=True, slots=True)
class Known:
    """Ids that exist, so that everything but the fault is right."""

    pair_id: str
    strategy_id: str
    account_id: str
    order_id: str
    session_id: str
    position_id: str
    limit_id: str
    run_id: str


def valid_bodies(known: Known) -> dict[tuple[str, str], dict[str, Any]]:
    """Return a body that would be accepted for every endpoint that takes one."""
    return {
        ("post", "/api/v1/simulator/orders"): {
            "pair_id": known.pair_id, "side": "BUY", "type": "STOP_LIMIT", "price": "40000.00", "amount": "0.001",
            "stop_price": "41000.00", "display_amount": "0.0005", "self_trade_prevention": "CANCEL_NEWEST",
            "strategy_id": known.strategy_id, "account_id": known.account_id, "client_order_id": "c-1",
            "time_in_force": "GTC", "post_only": False, "expire_time": None,
            "simulation_params": {"execution_probability": 0.8, "price_impact": 0.001},
        },
        ("patch", "/api/v1/simulator/orders/{order_id}"): {
            "price": "40001.00", "amount": "0.002", "stop_price": "40002.00",
        },
        ("post", "/api/v1/simulator/trades"): {
            "pair_id": known.pair_id, "side": "SELL", "price": "60000.00", "amount": "0.001",
        },
        ("post", "/api/v1/simulator/sessions"): {
            "pair_id": known.pair_id, "mode": "NORMAL", "seed": 1, "initial_price": "50000", "price_deviation": 0.001,
            "execution_delay": "100ms", "market_update_interval": "1s", "speed": 1.0, "parameters": None, "scenarios": [],
            "phase": "CONTINUOUS", "rules": RULES, "state": "RUNNING", "playback": {
                "start": "2022-01-01", "end": "2022-01-02", "pace": "CLOCK", "at_end": "PAUSE", "allow_gaps": False,
            },
        },
        ("post", "/api/v1/simulator/sessions/{session_id}/scenarios"): {
            "name": "latency_spike", "parameters": {"factor": 2}, "starts_in": "1h", "repeats_every": "1h",
        },
        ("patch", "/api/v1/simulator/sessions/{session_id}"): {
            "state": "PAUSED", "recording": False, "speed": 1.0, "step": "1ms", "mode": "NORMAL", "parameters": None,
            "phase": "CONTINUOUS", "rules": RULES,
        },
        ("post", "/api/v1/simulator/strategies"): {
            "strategy_id": known.strategy_id, "account_id": known.account_id,
        },
        ("post", "/api/v1/pairs"): {
            "symbol": "BTC-USDT", "base": "BTC", "quote": "USDT", "tick_size": "0.01", "lot_size": "0.0001",
            "venue": "simulator", "contract_type": "LINEAR", "contract_multiplier": "1", "maker_fee": "0",
            "taker_fee": "0.0005", "initial_price": "50000",
        },
        ("patch", "/api/v1/pairs/{pair_id}"): {
            "contract_type": "LINEAR", "contract_multiplier": "1", "maker_fee": "0", "taker_fee": "0", "base": "BTC",
            "quote": "USDT", "tick_size": "0.01", "lot_size": "0.00001",
        },
        ("post", "/api/v1/accounts"): {"name": "default", "balance": "100000 USDT"},
        ("post", "/api/v1/accounts/{account_id}/transfers"): {"amount": "1", "currency": "USDT"},
        ("post", "/api/v1/strategies"): {
            "name": "mine", "kind": "inventory_skew", "pair_id": known.pair_id, "parameters": {"order_lots": 1},
        },
        ("post", "/api/v1/positions"): {
            "pair_id": known.pair_id, "account_id": known.account_id, "strategy_id": known.strategy_id,
            "quantity": "0.001", "average_price": "50000",
        },
        ("patch", "/api/v1/positions/{position_id}"): {"quantity": "0.001", "average_price": "50000", "version": 0},
        ("post", "/api/v1/backtest"): {
            "strategy_id": known.strategy_id, "start_date": "2022-01-01", "end_date": "2022-01-02", "pair_id": known.pair_id,
            "market_conditions": None, "entry_latency": "10ms", "response_latency": "10ms", "balance": "1000",
            "fill_model": "PARTIAL", "seed": 0, "allow_gaps": False, "execution": None, "band": True, "record_orders": False,
            "with_pairs": [], "limits": [{"kind": "MAX_LOSS", "threshold": "1000", "warn_share": "0.8", "on_breach": "HALT"}],
        },
        ("post", "/api/v1/backtest/sweeps"): {
            "strategy_id": known.strategy_id, "start_date": "2022-01-01", "end_date": "2022-01-02", "pair_id": known.pair_id,
            "grid": {"order_lots": [1, 2], "half_spread_ticks": {"from": 1, "to": 2}},
            "market_conditions": None, "entry_latency": "10ms", "response_latency": "10ms", "balance": "1000",
            "fill_model": "PARTIAL", "seed": 0, "allow_gaps": False, "execution": None,
            "limits": [{"kind": "MAX_ORDER_SIZE", "threshold": "1", "warn_share": "0.8", "on_breach": "ALERT"}],
        },
        ("post", "/api/v1/backtest/analysis"): {"run_ids": [known.run_id], "fragility": False},
        ("post", "/api/v1/risk/assessment"): {
            "position_id": known.position_id, "risk_model": "VaR", "confidence_level": "0.95", "time_horizon": "1d",
            "method": "NORMAL", "scope": "POSITION", "currency": "USDT",
        },
        ("post", "/api/v1/risk/stress"): {
            "position_id": known.position_id, "scope": "POSITION", "scenarios": [{"name": "down", "shock": -0.1}],
            "time_horizon": "1d", "loss": "1000", "norm": "EUCLID", "currency": "USDT",
        },
        ("post", "/api/v1/risk/limits"): {
            "kind": "MAX_VAR", "threshold": "1000", "scope": "POSITION", "scope_id": known.position_id,
            "warn_share": "0.8", "on_breach": "ALERT",
        },
        ("post", "/api/v1/risk/model-tests"): {
            "position_id": known.position_id, "methods": ["NORMAL"], "confidence_level": "0.95", "window": 30,
            "interval": "1s",
        },
        ("post", "/api/v1/risk/kill-switch"): {
            "engaged": False, "reason": "a test", "scope": "POSITION", "scope_id": known.position_id,
        },
        ("post", "/api/v1/market-data/imports"): {
            "path": "nothing.gz", "format": "binance_collector", "venue": "v", "symbol": "S", "symbols": ["S"],
            "date": "2024-08-08", "tick_size": "0.1", "lot_size": "0.001", "offset_negative_latency": False, "offset_ns": 0,
            "sort": False, "drop_off_book": False, "force": False, "replace": False, "contract_type": "LINEAR",
            "contract_multiplier": "50", "maker_fee": "0.0001", "taker_fee": "0.0002",
        },
    }  # fmt: skip


# ---------------------------------------------------------------------- bodies that are wrong as a whole

_DEEP = 100_000
WHOLE_BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"<order/>",
    "null": b"null",
    "number": b"1e308",
    "string": b'"order"',
    "array": b"[]",
    "array of objects": b"[{}]",
    "no field": b"{}",
    "trailing text": b"{} {}",
    "truncated": b'{"pair_id": "00000000',
    "truncated in an escape": b'{"pair_id": "\\u00',
    "single quotes": b"{'pair_id': 1}",
    "comment": b"/* */ {}",
    "NaN": b"NaN",
    "null bytes": b"\x00" * 100,
    "null byte before": b"\x00{}",
    "UTF-8 byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"pair_id": "x"}'.encode("utf-16"),
    "UTF-32": '{"pair_id": "x"}'.encode("utf-32"),
    "latin-1": '{"name": "Zürich"}'.encode("latin-1"),
    "invalid UTF-8 in a key": b'{"\xff\xfe": 1}',
    "lone surrogate in a key": b'{"\\ud800": 1}',
    "deep arrays": b"[" * _DEEP + b"]" * _DEEP,
    "deep objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "deep and open": b"[" * _DEEP,
    "deep behind a string": b'{"a": "' + b"[" * 50 + b'", "b": ' + b"[" * 50 + b"]" * 50 + b"}",
    "quotes without end": b"[" * 40 + b'\\"' * 250_000,
    "one long string": b'{"x": "' + b"a" * 900_000 + b'"}',
    "many keys": b"{" + b",".join(b'"k%d": 1' % number for number in range(20_000)) + b"}",
    "huge integer": b'{"pair_id": ' + b"9" * 100_000 + b"}",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07os.exit\x94.",
    "YAML": b"!!python/object/apply:os.system ['true']",
}

# ---------------------------------------------------------------------- values that are wrong for a type, as JSON text

_SQL = json.dumps("1'; DROP TABLE simulated_orders; --")
_ANY = ["{}", "[]", '{"$ne": null}', "[1]"]
_NUMBERS = ["NaN", "Infinity", "-Infinity"]
WRONG: dict[str, list[str]] = {
    "decimal": [
        *_ANY, *_NUMBERS, "true", '"NaN"', '"sNaN"', '"Infinity"', '"-Infinity"', '""', '"abc"', '"1,5"', '"0x10"', _SQL,
        "1e308", "-1e308", "1e-400", '"1e-400"', "1e999999999", '"1e999999999"', '"1e-999999999"', "9" * 5000,
        '"' + "9" * 5000 + '"', "0." + "1" * 5000, "-1e999999999999999999999", '"\\u0000"', '"\\ud800"', '"1\\u0000"',
    ],
    "uuid": [
        *_ANY, *_NUMBERS, "1", "true", '""', '"x"', _SQL, '"../../etc/passwd"', '"\\u0000"', '"\\ud800"',
        '"00000000-0000-7000-8000-00000000001"', '"' + "a" * 5000 + '"', f'"{NOBODY}"',
    ],
    "enum": [*_ANY, *_NUMBERS, "0", "true", '""', '"buy"', _SQL, '"\\u0000"', '"\\udfff"', '"' + "B" * 5000 + '"'],
    "integer": [*_ANY, *_NUMBERS, '"1"', "1.5", "true", "-1", "18446744073709551616", "9" * 5000, "1e308", '"\\u0000"'],
    "number": [*_ANY, *_NUMBERS, '"0.5"', "true", "-0.0001", "-1", "1e308", "1e999", "11", "9" * 5000],
    "boolean": [*_ANY, *_NUMBERS, "1", '"true"', '""'],
    "string": [*_ANY, *_NUMBERS, "1", "true", '""', '"\\ud800"', '"\\u0000"', '"' + "x" * 5000 + '"', _SQL, '"../../../etc/passwd"'],
}  # fmt: skip

FINE = {("speed", "11")}
"""What is wrong for others and right here."""
WRONG_QUERY: dict[str, list[str]] = {
    "uuid": ["x", "' OR '1'='1", "\x00", "../..", "1" * 3000, "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1")],
    "integer": ["0", "-1", "1001", "x", "NaN", "1e9", "9" * 40, "1.5", "\x00", "1;DROP TABLE pairs"],
    "boolean": ["maybe", "2", "\x00", "' OR 1=1"],
    "enum": ["raised", "x", "\x00", "RAISED' OR '1'='1"],
    "string": ["x", "9999-99-99", "\x00", "1e308", "-1", "NaN", "9" * 39, "0s", "' OR 1=1--", "x" * 3000],
}  # fmt: skip

WRONG_PATH = ["x", "' OR '1'='1", "..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "a" * 4000, "%2e%2e", "1;2", "{pair_id}"]

FREE_TEXT = {
    ("post", "/api/v1/risk/kill-switch", "reason"),
    ("post", "/api/v1/accounts", "name"),
    ("post", "/api/v1/strategies", "name"),
}
"""Texts of the user's own: SQL, paths and the like are names as good as any."""

KEY_QUERY = {("get", "/api/v1/simulator/orders", "client_order_id"): re.compile(r"[A-Za-z0-9._:\-]{1,128}")}
"""Keys of the user's own: of these characters any is as good as another."""

HARMLESS = {("patch", "/api/v1/simulator/sessions/{session_id}", "no field")}
"""A wish to change nothing."""

NAMED_OTHERWISE = {
    # the fault shows only in the whole
    "quantity": {"quantity", "amount", "average_price"},
    "seed": {"seed", "body"},
    # an offset of -1 is as good as any: what is wrong is that the file is not there
    "offset_ns": {"offset_ns", "path"},
}


def cases(document: dict[str, Any], known: Known) -> Iterator[Case]:
    """Yield all requests that can be made by the means of a decent client."""
    bodies = valid_bodies(known)
    ids = {"order_id": known.order_id, "session_id": known.session_id, "position_id": known.position_id,
           "limit_id": known.limit_id, "run_id": known.run_id, "strategy_id": known.strategy_id,
           "pair_id": known.pair_id, "import_id": NOBODY, "sweep_id": NOBODY, "scenario_id": NOBODY,
           "account_id": known.account_id}  # fmt: skip
    for template, methods in document["paths"].items():
        # Orders of a run have numbers.
        known_ids = {**ids, "order_id": "1"} if "/runs/{run_id}/orders/" in template else ids
        target = template.format(**known_ids)
        for method, operation in methods.items():
            yield from _paths(method, template, known_ids, bodies.get((method, template)))
            yield from _queries(method, template, target, operation)
            yield from _protocol(method, template, target)
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                schema = document["components"]["schemas"][reference.rpartition("/")[2]]
                yield from _bodies(method, template, target, schema, bodies[method, template], document)


def _paths(method: str, template: str, ids: dict[str, str], body: dict[str, Any] | None) -> Iterator[Case]:
    content = b"" if body is None else json.dumps(body).encode()
    for name in [part[1:-1] for part in template.split("/") if part.startswith("{")]:
        for wrong in [*WRONG_PATH, NOBODY]:
            target = template.replace("{" + name + "}", wrong if "%" in wrong else quote(wrong, safe=""))
            expected = name if wrong not in {"%2e%2e", "..%2f..%2fetc%2fpasswd"} else None
            query = "?start=2022-01-01&end=2022-01-02" if "/market-data/bars/" in template else ""
            query = "?at=2022-01-01" if "/market-data/orderbook/" in template else query
            yield Case(
                f"path {name}={wrong[:30]}", method, template, target.format(**ids) + query, content, {}, expected
            )


def _queries(method: str, template: str, target: str, operation: dict[str, Any]) -> Iterator[Case]:
    parameters = [each for each in operation.get("parameters", []) if each["in"] == "query"]
    good = {each["name"]: "2022-01-01" for each in parameters if each.get("required")}
    for parameter in parameters:
        name, kind = parameter["name"], kind_of(parameter["schema"])
        own = KEY_QUERY.get((method, template, name))
        for wrong in WRONG_QUERY[kind]:
            if own is not None and own.fullmatch(wrong):
                continue
            query = "&".join(f"{key}={quote(value, safe='')}" for key, value in {**good, name: wrong}.items())
            yield Case(f"query {name}={wrong[:30]!r}", method, template, f"{target}?{query}", names=name)
    if template.startswith("/api/v1/"):
        query = "&".join([*(f"{key}={quote(value, safe='')}" for key, value in good.items()), "misspelt=1"])
        yield Case("query misspelt", method, template, f"{target}?{query}", names="misspelt")
    if method == "get":
        always = frozenset({200, *CLIENT_FAULT})
        yield Case("query garbage", method, template, target + "?%ff=%00&&&=&a=b;c&" + "x=1&" * 500, statuses=always)
        yield Case("query unescaped", method, template, target + "?a='\"<script>{}[]|^`", statuses=always)


def _protocol(method: str, template: str, target: str) -> Iterator[Case]:
    for wrong in ("PUT", "TRACE", "PROPFIND"):
        yield Case(f"method {wrong}", method, template, target, headers={}, statuses=CLIENT_FAULT, names=f"!{wrong}")
    yield Case("path of the parent", method, template, "/.." + target + "/../../etc/passwd")
    if method in ("post", "patch"):
        body = b'{"pair_id": "x"}'
        for encoding in ("gzip", "br", "deflate", "x", "gzip, gzip"):
            headers = {"Content-Encoding": encoding}
            yield Case(
                f"encoding {encoding}",
                method,
                template,
                target,
                b"\x1f\x8b\x08\x00" + body,
                headers,
                "content-encoding",
            )
        for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded",
                     "application/json; charset=utf-16", "application/x-pickle", "\x00", "x" * 2000):  # fmt: skip
            yield Case(f"type {kind[:20]!r}", method, template, target, body, {"Content-Type": kind}, "content-type")


def _bodies(
    method: str, template: str, target: str, schema: dict[str, Any], valid: dict[str, Any], document: dict[str, Any]
) -> Iterator[Case]:
    for name, body in WHOLE_BODIES.items():
        if (method, template, name) in HARMLESS:
            continue
        yield Case(f"body {name}", method, template, target, body, {"Content-Type": "application/json"}, names="")
    text = json.dumps(valid)
    for extra in ("__proto__", "constructor", "user_id", "\\u0000", "price'; --"):
        body = (text[:-1] + f', "{extra}": 1}}').encode()
        yield Case(f"unknown field {extra}", method, template, target, body, names="")
    for name, value in valid.items():
        yield Case(
            f"{name} twice",
            method,
            template,
            target,
            (text[:-1] + f', "{name}": {json.dumps(value)}}}').encode(),
            names=name,
        )
    for path, inner in _fields(schema, document):
        if path.split(".")[0] not in valid:
            raise AssertionError(f"no valid value for {template} {path}")
        kind = kind_of(inner)
        for wrong in WRONG[kind]:
            if (path, wrong) in FINE:
                continue
            if (method, template, path) in FREE_TEXT and wrong in (_SQL, '"../../../etc/passwd"'):
                continue
            if path == "quantity" and wrong.startswith("-1e3"):
                continue
            yield Case(f"{path}={wrong[:30]}", method, template, target, _with(valid, path, wrong), names=path)


def _fields(schema: dict[str, Any], document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in schema["properties"].items():
        options = inner.get("anyOf", [inner])
        reference = next((option["$ref"] for option in options if "$ref" in option), None)
        if reference is not None:
            yield from _fields(
                document["components"]["schemas"][reference.rpartition("/")[2]], document, f"{prefix}{name}."
            )
        elif options[0].get("type") not in ("array", "object"):
            yield prefix + name, inner


def _with(valid: dict[str, Any], path: str, raw: str) -> bytes:
    """Return the body with `raw` JSON text in the place of one field."""
    mark = "@wrong@"
    body = json.loads(json.dumps(valid))
    parts = path.split(".")
    inner = body
    for part in parts[:-1]:
        inner[part] = inner[part] or {}
        inner = inner[part]
    inner[parts[-1]] = mark
    return json.dumps(body).replace(f'"{mark}"', raw).encode()


def kind_of(schema: dict[str, Any]) -> str:
    """Return the kind of a schema, by which its wrong values are chosen."""
    options = schema.get("anyOf") or schema.get("oneOf") or [schema]
    options = [option for option in options if option.get("type") != "null"] or options
    chosen = options[0]
    if "enum" in chosen:
        return "enum"
    if chosen.get("format") == "uuid":
        return "uuid"
    kind = chosen.get("type")
    if isinstance(kind, list):
        kind = [each for each in kind if each != "null"]
        return "decimal" if "number" in kind and "string" in kind else kind[0]
    return str(kind)
