"""The guard's short way past the framework: same checks, same figures, only for requests without a query."""

from __future__ import annotations

import asyncio
from typing import Any

from market_maker.api.guard import ApiKeys, Guard
from market_maker.monitoring.metrics import Metrics

PATH = "/api/v1/simulator/orders"


class Scene:
    """A guard between a caller and two ends that note what reaches them."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.reached: list[tuple[str, bytes]] = []
        self.sent: list[dict[str, Any]] = []
        self.guard = Guard(
            self.application,
            keys=ApiKeys(()),
            rate_limit=0,
            metrics=self.metrics,
            direct={("POST", PATH): self.direct},
        )

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append(("application", (await receive())["body"]))
        await self.answer(send)

    async def direct(self, scope: Any, send: Any) -> None:
        self.reached.append(("direct", scope["state"]["body"]))
        await self.answer(send)

    @staticmethod
    async def answer(send: Any) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def post(self, *pieces: dict[str, Any], query: bytes = b"", path: str = PATH) -> int:
        waiting = list(pieces)

        async def receive() -> dict[str, Any]:
            if len(waiting) < len(pieces):
                await asyncio.sleep(0.001)  # all but the first piece come later
            return waiting.pop(0)

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": query, "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"127.0.0.1")],
        }  # fmt: skip
        await self.guard(scope, receive, send)
        status: int = self.sent[0]["status"]
        return status


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_is_there_goes_the_short_way_and_is_counted() -> None:
    scene = Scene()
    assert await scene.post(piece(b"{}")) == 201
    assert scene.reached == [("direct", b"{}")]
    text = scene.metrics.render()[0].decode()
    assert f'market_maker_http_requests_total{{method="POST",route="{PATH}",status="201"}} 1.0' in text
    assert any(name == b"x-correlation-id" for name, _ in scene.sent[0]["headers"])


async def test_a_body_that_comes_in_pieces_is_whole() -> None:
    scene = Scene()
    assert await scene.post(piece(b"{", more=True), piece(b'"a":', more=True), piece(b"1}")) == 201
    assert scene.reached == [("direct", b'{"a":1}')]


async def test_a_query_or_another_path_takes_the_framework() -> None:
    scene = Scene()
    await scene.post(piece(b"{}"), query=b"wait=true")
    await scene.post(piece(b"[]"), path=PATH + "/")
    assert scene.reached == [("application", b"{}"), ("application", b"[]")]


async def test_a_caller_who_leaves_reaches_nobody() -> None:
    scene = Scene()
    assert await scene.post(piece(b"{", more=True), {"type": "http.disconnect"}) == 400
    assert scene.reached == []


async def test_what_is_refused_does_not_reach_the_short_way() -> None:
    scene = Scene()
    assert await scene.post(piece(b"[" * 40)) == 400
    assert scene.reached == []
