"""The AsyncAPI document: every event on the bus and on the stream, in its envelope, with the shape of its data.

Most events carry what the endpoint of the same thing answers, so that the shapes are those of `schemas`. An event that is
not in `SHAPES` is documented with data of any shape.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal
from uuid import UUID

import msgspec

from market_maker.api import schemas
from market_maker.domain.events import EventType, FilledOrderContent, OrderContent
from market_maker.service import EVENTS_EXCHANGE, SCHEMA_VERSION

_REF = "#/components/schemas/{name}"


class SessionStarted(schemas.View):
    """A market that runs from now on."""

    session_id: UUID
    pair_id: UUID
    mode: str


class SessionChanged(schemas.View):
    """A market that was paused, goes on or was stopped, or is in another mode; `ended`: its recording has been played."""

    session_id: UUID
    state: str
    mode: str
    ended: bool


class ScenarioNews(schemas.View):
    """A scenario that began in a market, or ended."""

    session_id: UUID
    pair_id: UUID
    scenario_id: UUID
    name: str
    parameters: dict[str, float]
    run: int
    state: str


class PhaseChanged(schemas.View):
    """Another trading phase; after an auction with its price and quantity."""

    session_id: UUID
    pair_id: UUID
    phase: str
    interruption: bool
    auction_price: str | None
    auction_amount: str | None


class AccountTransferred(schemas.View):
    """Money that went into an account (negative: out of it), also by a reset."""

    transfer_id: UUID
    account_id: UUID
    amount: str
    currency: str
    reason: str


class KillSwitchEngaged(schemas.View):
    """A scope whose new orders are refused and whose open ones are about to end, each with its own event."""

    scope: str
    scope_id: UUID | None
    reason: str


class KillSwitchReleased(schemas.View):
    """A scope that may trade again."""

    scope: str
    scope_id: UUID | None
    reason: str


class PublicTrade(schemas.View):
    """One print of the market; one of an auction has no aggressor."""

    trade_id: UUID
    pair_id: UUID
    aggressor: Literal["BUY", "SELL"] | None
    price: str
    amount: str
    ts: str
    auction: bool


class CompletedRun(schemas.RunView):
    """A run with what it earned; the whole result is at `result`."""

    summary: dict[str, Any]
    digest: str
    coverage: float
    events: int
    quote: str
    position_id: UUID
    position_ids: list[UUID]
    result: str


SweepNews = msgspec.defstruct(
    "SweepNews",
    [(field.name, field.type) for field in msgspec.structs.fields(schemas.SweepView) if field.name != "grid"],
    namespace={"__doc__": "A sweep without its grid, which may be long."},
    kw_only=True,
)

EndedSweep = msgspec.defstruct(
    "EndedSweep",
    [*[(field.name, field.type) for field in msgspec.structs.fields(SweepNews)], ("best", list[dict[str, Any]])],
    namespace={"__doc__": "A sweep that has ended, with the best of its trials."},
    kw_only=True,
)

_ORDER = {
    EventType.ORDER_RECEIVED, EventType.ORDER_ACCEPTED, EventType.ORDER_REJECTED, EventType.ORDER_CANCEL_REQUESTED,
    EventType.ORDER_CANCELED, EventType.ORDER_EXPIRED, EventType.ORDER_TRIGGERED, EventType.ORDER_AMEND_REQUESTED,
    EventType.ORDER_AMENDED, EventType.ORDER_AMEND_REFUSED, EventType.ORDER_CANCEL_REFUSED,
}  # fmt: skip
_RUN = {
    EventType.BACKTEST_QUEUED, EventType.BACKTEST_STARTED, EventType.BACKTEST_PROGRESS, EventType.BACKTEST_FAILED,
    EventType.BACKTEST_CANCELED,
}  # fmt: skip
_IMPORT = {
    EventType.IMPORT_QUEUED, EventType.IMPORT_PROGRESS, EventType.IMPORT_COMPLETED, EventType.IMPORT_FAILED
}  # fmt: skip
_SWEEP = {
    EventType.SWEEP_QUEUED, EventType.SWEEP_STARTED, EventType.SWEEP_PROGRESS, EventType.SWEEP_FAILED, EventType.SWEEP_CANCELED,
}  # fmt: skip
_ALERT = {EventType.RISK_ALERT_RAISED, EventType.RISK_ALERT_CLEARED, EventType.RISK_LIMIT_BREACHED}

SHAPES: dict[EventType, type[Any]] = {
    **dict.fromkeys(_ORDER, OrderContent),
    EventType.ORDER_FILLED: FilledOrderContent,
    EventType.TRADE_EXECUTED: PublicTrade,
    EventType.POSITION_UPDATED: schemas.PositionView,
    EventType.SESSION_STARTED: SessionStarted,
    EventType.SESSION_CHANGED: SessionChanged,
    EventType.SCENARIO_STARTED: ScenarioNews,
    EventType.SCENARIO_ENDED: ScenarioNews,
    EventType.PHASE_CHANGED: PhaseChanged,
    EventType.ACCOUNT_TRANSFERRED: AccountTransferred,
    **dict.fromkeys(_RUN, schemas.RunView),
    EventType.BACKTEST_COMPLETED: CompletedRun,
    **dict.fromkeys(_SWEEP, SweepNews),
    **dict.fromkeys((EventType.SWEEP_COMPLETED, EventType.SWEEP_FAILED, EventType.SWEEP_CANCELED), EndedSweep),
    **dict.fromkeys(_IMPORT, schemas.ImportView),
    EventType.RISK_ASSESSED: schemas.RiskMetricsView,
    **dict.fromkeys(_ALERT, schemas.AlertView),
    EventType.RISK_KILL_SWITCH_ENGAGED: KillSwitchEngaged,
    EventType.RISK_KILL_SWITCH_RELEASED: KillSwitchReleased,
}
"""The shape of the data of each event."""

_ENVELOPE_PROPERTIES: dict[str, Any] = {
    "id": {"type": "string", "format": "uuid", "description": "the same at every repetition: drop what you have seen"},
    "type": {"type": "string", "description": "the routing key"},
    "version": {"type": "integer", "description": "of the schema of `data`"},
    "aggregate_id": {"type": "string", "format": "uuid", "description": "what the event is about"},
    "sequence": {"type": "integer", "minimum": 1, "description": "1, 2, 3, ... without a gap per aggregate"},
    "time": {"type": "string", "pattern": "^[0-9]{1,19}$", "description": "ns since 1970 UTC"},
    "correlation_id": {
        "type": ["string", "null"],
        "description": "what caused it: that of the request, or of its order",
    },
}


def asyncapi_document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of everything that the service publishes."""
    _, shapes = msgspec.json.schema_components(list(dict.fromkeys(SHAPES.values())), ref_template=_REF)
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for kind in EventType:
        name = kind.name.lower()
        messages[name] = _message(kind)
        channels[name] = {
            "address": kind.value,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {"amqp": {"is": "routingKey", "exchange": {"name": EVENTS_EXCHANGE, "type": "topic", "durable": True}}},
        }  # fmt: skip
        operations[f"publish_{name}"] = {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Market Maker Service: events",
            "version": version("market-maker"),
            "description": f"Published to the topic exchange {EVENTS_EXCHANGE} (the prefix is the setting rabbitmq_prefix) and on the"
            " WebSocket stream /api/v1/stream: at least once, in order per aggregate.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(shapes.items()))},
    }  # fmt: skip


def _message(kind: EventType) -> dict[str, Any]:
    shape = SHAPES.get(kind)
    data = {"type": "object"} if shape is None else {"$ref": _REF.format(name=shape.__name__)}
    properties = {
        **_ENVELOPE_PROPERTIES,
        "type": {"const": kind.value},
        "version": {"const": SCHEMA_VERSION},
        "data": data,
    }
    payload = {"type": "object", "required": list(properties), "properties": properties}
    return {"name": kind.value, "title": kind.value, "contentType": "application/json", "payload": payload}
