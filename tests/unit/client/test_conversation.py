"""What the client sends again, what its errors are, and that it never places twice."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from market_maker.client import AsyncClient, Client
from market_maker.client.stream import stream_address
from market_maker.domain.errors import (
    Conflict,
    DataError,
    FieldError,
    InvalidRequest,
    LimitBreached,
    MarketMakerError,
    NotAllowed,
    NotFound,
    Unavailable,
)
from market_maker.domain.ids import DEFAULT_PAIR_ID

ORDER = {
    "order_id": str(DEFAULT_PAIR_ID), "pair_id": str(DEFAULT_PAIR_ID), "account_id": str(DEFAULT_PAIR_ID),
    "strategy_id": None, "client_order_id": None, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC",
    "post_only": False, "price": "0.1", "amount": "1.10", "status": "NEW", "reject_reason": None, "cum_qty": "0",
    "leaves_qty": "1.10", "average_price": None, "cancel_requested": False, "simulation_params": {},
    "created_ts": "1", "updated_ts": "1", "version": 1, "stop_price": None, "display_amount": None,
    "self_trade_prevention": "CANCEL_NEWEST", "triggered": False, "amend_requested": False, "amend_refusal": None, "expire_time": None, "a_later_version": "adds this",
}  # fmt: skip


def problem(status: int, title: str = "x", **headers: str) -> httpx.Response:
    content = {"type": "about:blank", "title": title, "status": status, "detail": "why",
               "errors": [{"field": "price", "value": "1", "allowed": "2"}]}  # fmt: skip
    return httpx.Response(status, json=content, headers=headers)


class Service:
    """Answers from a list; an exception in it is raised. Remembers requests and pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        monkeypatch.setattr("time.sleep", self.pauses.append)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options: Any) -> Client:
        client = Client("http://service", "the-key", **options)
        client._http = httpx.Client(
            base_url="http://service", headers=client._http.headers, transport=httpx.MockTransport(self)
        )
        return client


def ok(status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=ORDER)


def place(client: Client, **more: Any) -> Any:
    return client.place_order(DEFAULT_PAIR_ID, "BUY", "1.10", "0.1", **more)


def test_money_is_text_on_the_way_out_and_decimal_on_the_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, ok(201))
    order = place(service.client())
    sent = msgspec.json.decode(service.requests[0].content)
    assert (sent["amount"], sent["price"], sent["type"]) == ("1.10", "0.1", "LIMIT")
    assert (order.amount, order.price) == (Decimal("1.10"), Decimal("0.1"))
    assert str(order.amount) == "1.10"
    assert service.requests[0].headers["x-api-key"] == "the-key"


@pytest.mark.parametrize(
    "lost",
    [
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.ReadTimeout("x"),
        problem(503),
        problem(429),
    ],
)
def test_an_order_is_sent_again_with_the_same_key_and_body(lost: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, lost, lost, ok())
    place(service.client())
    keys = {request.headers["idempotency-key"] for request in service.requests}
    assert len(service.requests) == 3
    assert len(keys) == 1
    assert len({request.content for request in service.requests}) == 1


def test_two_orders_have_two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, ok(), ok())
    client = service.client()
    place(client)
    place(client)
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 2


def test_client_order_id_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, httpx.ReadError("x"), ok())
    place(service.client(), client_order_id="mine-1")
    assert all("idempotency-key" not in request.headers for request in service.requests)
    assert all(b'"client_order_id":"mine-1"' in request.content for request in service.requests)


@pytest.mark.parametrize(
    ("answer", "times"),
    [(httpx.ReadError("x"), 1), (problem(503), 1), (httpx.ConnectError("x"), 4), (problem(429), 4)],
)
def test_what_may_have_been_done_is_not_done_again(answer: Any, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, *[answer] * 4)
    with pytest.raises(Unavailable):
        service.client(attempts=4).execute_trade(DEFAULT_PAIR_ID, "BUY", 1, 1)
    assert len(service.requests) == times


def test_an_answer_that_does_not_come_in_time_is_no_missing_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to start a service, by `market-maker serve`, while the one that it had asked was still at work."""
    service = Service(monkeypatch, httpx.ReadTimeout("timed out"))
    with pytest.raises(Unavailable, match="no answer in time; whether it was done is not known"):
        service.client().start_session(DEFAULT_PAIR_ID)


def test_pauses_grow_and_obey_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = httpx.ReadError("x")
    service = Service(monkeypatch, lost, lost, problem(503, **{"Retry-After": "3"}), lost, lost, lost, lost, lost, ok())
    place(service.client(attempts=9))
    assert service.pauses == [0.1, 0.2, 3.0, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(400), InvalidRequest),
        (problem(404), NotFound),
        (problem(409), Conflict),
        (problem(413), InvalidRequest),
        (problem(422, "Data not usable"), DataError),
        (problem(422, "Limit breached"), LimitBreached),
        (problem(401), NotAllowed),
        (problem(403), NotAllowed),
    ],
)
def test_problems_are_our_errors(
    answer: httpx.Response, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch, answer)
    with pytest.raises(kind) as caught:
        place(service.client())
    assert type(caught.value) is kind
    assert caught.value.detail == "why"  # type: ignore[attr-defined]
    assert caught.value.errors == (FieldError("price", "1", "2"),)  # type: ignore[attr-defined]
    assert len(service.requests) == 1


def test_what_is_no_problem_document_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MarketMakerError, match=r"500.*<h1>oh"):
        place(Service(monkeypatch, httpx.Response(500, text="<h1>oh")).client())
    with pytest.raises(Unavailable, match="gateway says no"):
        place(Service(monkeypatch, *[httpx.Response(503, text="gateway says no")] * 5).client())
    with pytest.raises(MarketMakerError, match="not as described"):
        place(Service(monkeypatch, httpx.Response(200, json={"order_id": 1})).client())


def test_health_is_an_answer_also_when_it_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    down = httpx.Response(503, json={"state": "down", "checks": {}})
    service = Service(monkeypatch, down)
    assert service.client().get_health().state == "down"
    assert len(service.requests) == 1


def test_floats_and_wrong_ids_are_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Service(monkeypatch).client()
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("amount", lambda: client.place_order(DEFAULT_PAIR_ID, "BUY", 0.1, "1")),  # type: ignore[arg-type]
        ("amount", lambda: client.place_order(DEFAULT_PAIR_ID, "BUY", "one", "1")),
        ("price", lambda: client.place_order(DEFAULT_PAIR_ID, "BUY", "1", True)),
        ("pair_id", lambda: client.get_order_book("../../admin")),
        ("order_id", lambda: client.get_order(5)),  # type: ignore[arg-type]
    ]
    for field, act in wrong:
        with pytest.raises(InvalidRequest) as caught:
            act()
        assert caught.value.errors[0].field == field


async def test_asynchronous_client_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, httpx.ConnectError("x"), ok(201))
    async with AsyncClient("http://service") as client:
        client._http = httpx.AsyncClient(base_url="http://service", transport=httpx.MockTransport(service))
        order = await client.place_order(DEFAULT_PAIR_ID, "BUY", "1.10", "0.1")
    assert order.order_id == DEFAULT_PAIR_ID
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1


def test_stream_address_holds_no_key() -> None:
    address = stream_address("https://host:1/x/", "the-key", ["a.*", "b.#"], [UUID(int=1)])
    assert address.url == f"wss://host:1/x/api/v1/stream?topics=a.%2A%2Cb.%23&books={UUID(int=1)}"
    assert address.headers == {"X-API-Key": "the-key"}
    assert "the-key" not in repr(address)
    with pytest.raises(InvalidRequest):
        stream_address("ftp://host", None, [], [])
