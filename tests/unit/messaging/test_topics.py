"""The envelope on the wire."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import new_id
from market_maker.messaging.topics import decode, encode, envelope_data, new_event, outbox_event


class Fill(msgspec.Struct):
    price: Decimal
    qty_lots: int


def test_an_event_reads_as_documented() -> None:
    aggregate = new_id()
    event = new_event(
        type=EventType.ORDER_FILLED, aggregate_id=aggregate, sequence=3, ts=1_700_000_000_123_456_789,
        data=Fill(Decimal("50000.10"), 7), correlation_id="request-1",
    )  # fmt: skip
    assert json.loads(event.body) == {
        "id": str(event.event_id),
        "type": "simulator.order.filled",
        "version": 1,
        "aggregate_id": str(aggregate),
        "sequence": 3,
        "time": "1700000000123456789",
        "correlation_id": "request-1",
        "data": {"price": "50000.10", "qty_lots": 7},
    }
    assert (event.aggregate_id, event.sequence, event.type, event.ts) == (
        aggregate, 3, "simulator.order.filled", 1_700_000_000_123_456_789,
    )  # fmt: skip
    assert envelope_data(decode(event.body), Fill) == Fill(Decimal("50000.10"), 7)
    assert event.event_id.version == 7


@given(
    sequence=st.integers(1, 2**63 - 1),
    ts=st.integers(0, 2**63 - 1),
    correlation_id=st.none() | st.text(),
    data=st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none()),
)
def test_whatever_is_encoded_is_decoded(
    sequence: int, ts: int, correlation_id: str | None, data: dict[str, object]
) -> None:
    event_id, aggregate = new_id(), new_id()
    body = encode(
        event_id=event_id, type=EventType.RISK_ASSESSED, aggregate_id=aggregate, sequence=sequence, ts=ts, data=data,
        correlation_id=correlation_id,
    )  # fmt: skip
    found = decode(body.encode())
    assert (found.id, found.aggregate_id, found.sequence, found.time) == (event_id, aggregate, sequence, str(ts))
    assert found.correlation_id == correlation_id
    assert envelope_data(found) == data


GOOD = {
    "id": str(new_id()), "type": "a.b", "version": 1, "aggregate_id": str(new_id()), "sequence": 1, "time": "5",
    "correlation_id": None, "data": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sequence": 0}, "sequence"),
        ({"sequence": 2**63}, "sequence"),
        ({"sequence": "1"}, "sequence"),
        ({"sequence": 1.5}, "sequence"),
        ({"version": 0}, "version"),
        ({"time": 5}, "time"),
        ({"time": "-5"}, "time"),
        ({"time": "٥"}, "time"),
        ({"time": ""}, "time"),
        ({"time": "9" * 20}, "time"),
        ({"id": "x"}, "id"),
        ({"aggregate_id": None}, "aggregate_id"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        decode(json.dumps(GOOD | changes))


@pytest.mark.parametrize("field", [field for field in GOOD if field != "correlation_id"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        decode(json.dumps({name: value for name, value in GOOD.items() if name != field}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"id": NaN}', b"[" * 10_000])
def test_what_is_no_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(body)


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert decode(json.dumps(GOOD | {"later": 1})).sequence == 1


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="price"):
        envelope_data(decode(json.dumps(GOOD | {"data": {"qty_lots": 1}})), Fill)


def test_routing_keys_are_words_with_dots() -> None:
    for topic in EventType:
        assert topic.replace(".", "").replace("_", "").isalpha()
        assert topic.split(".")[0] in {"simulator", "backtest", "market_data", "risk"}


def test_a_domain_event_becomes_a_row_of_the_outbox() -> None:
    fact = Event(EventType.ORDER_FILLED, new_id(), 2, 17, "request-1", {"price": "1.5"})
    row = outbox_event(fact)
    found = decode(row.body)
    assert (row.aggregate_id, row.sequence, row.type, row.ts) == (fact.aggregate_id, 2, "simulator.order.filled", 17)
    assert (found.id, found.sequence, found.time, found.correlation_id) == (row.event_id, 2, "17", "request-1")
    assert envelope_data(found) == {"price": "1.5"}
