"""Load as many users make it: orders of all kinds, cancels, repeated requests; remembers every answer.

It retries what was lost by the same key, as a careful client does. What it was told is the truth that the
database is held against afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from e2e.http_connection import Answer, HttpConnection

LOST = (OSError, asyncio.IncompleteReadError, TimeoutError)
ORDERS = "/api/v1/simulator/orders"


@dataclass(slots=True)
class Wish:
    """One order that somebody wants: sent once or several times, always the same bytes under the same key."""

    body: bytes
    headers: dict[str, str]
    has_key: bool
    order_id: str | None = None
    first_answer: dict[str, Any] | None = None


@dataclass(slots=True)
class Told:
    """What the service has told us."""

    wishes: list[Wish] = field(default_factory=list)
    acknowledged: dict[str, Wish] = field(default_factory=dict)
    cancels: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    lost_answers: int = 0
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slowest_s: float = 0.0
    acknowledged_at: list[tuple[float, float]] = field(default_factory=list)
    """When each order that was acknowledged had been sent, and when its answer came."""

    @property
    def share_acknowledged(self) -> float:
        """Share of the answers that were not a refusal."""
        total = sum(self.statuses.values())
        return 1.0 if not total else 1.0 - self.statuses[503] / total


class OrderLoad:
    """Users that place, repeat and cancel orders until told to stop.

    Parameters
    ----------
    port : of the service
    pairs : id -> (mid, smallest amount) to begin with
    seed : of everything that is chosen
    users : connections
    pause_s : mean pause of one user between two requests
    """

    def __init__(
        self, port: int, pairs: dict[str, tuple[float, float]], seed: int, *, users: int = 8, pause_s: float = 0.01
    ) -> None:
        self.told = Told()
        self._port = port
        self._pairs = dict(pairs)
        self._chance = random.Random(seed)
        self._users = users
        self._pause_s = pause_s
        self._number = 0
        self._open: list[str] = []
        self._unsure: list[Wish] = []
        self._stopping = False
        self._going = asyncio.Event()
        self._going.set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let the users begin."""
        self._tasks = [asyncio.create_task(self._user()) for _ in range(self._users)]
        self._tasks.append(asyncio.create_task(self._watch_prices()))

    def hold(self) -> None:
        """Let the users pause after what they are at."""
        self._going.clear()

    def release(self) -> None:
        """Let the users go on."""
        self._going.set()

    async def stop(self, settle_s: float = 20.0) -> Told:
        """Let the users finish what they are at, settle every lost answer by its key, and return what was told."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        connection = HttpConnection(self._port)
        deadline = time.monotonic() + settle_s
        while open_wishes := [wish for wish in self.told.wishes if wish.has_key and wish.order_id is None]:
            assert time.monotonic() < deadline, f"{len(open_wishes)} wishes could not be settled"
            with contextlib.suppress(*LOST):
                await self._place(connection, open_wishes[0])
        connection.close()
        return self.told

    async def acknowledged_after(self, instant: float, timeout_s: float = 40.0) -> float:
        """Return the seconds from `instant` (monotonic) to the first acknowledgement of what was sent after it."""
        while time.monotonic() < instant + timeout_s:
            later = [answered for sent, answered in self.told.acknowledged_at[-200:] if sent > instant]
            if later:
                return later[0] - instant
            await asyncio.sleep(0.005)
        raise AssertionError(f"no order was acknowledged within {timeout_s} s")

    async def _user(self) -> None:
        connection = HttpConnection(self._port)
        while not self._stopping:
            await self._going.wait()
            try:
                await self._act(connection)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            except LOST:
                self.told.lost_answers += 1
            await asyncio.sleep(self._chance.expovariate(1.0 / self._pause_s))
        connection.close()

    async def _act(self, connection: HttpConnection) -> None:
        draw = self._chance.random()
        if self._unsure:
            await self._place(connection, self._unsure.pop())
        elif draw < 0.05 and self.told.acknowledged:
            wish = self._chance.choice(self.told.wishes)
            if wish.has_key:
                await self._place(connection, wish)
        elif draw < 0.25 and self._open:
            await self._cancel(connection, self._open.pop(self._chance.randrange(len(self._open))))
        else:
            wish = self._new_wish()
            self.told.wishes.append(wish)
            await self._place(connection, wish)

    def _new_wish(self) -> Wish:
        chance = self._chance
        self._number += 1
        pair_id, (mid, amount) = chance.choice(list(self._pairs.items()))
        side = chance.choice(["BUY", "SELL"])
        away = chance.gauss(0.001, 0.001) * (-1 if side == "BUY" else 1)
        body: dict[str, Any] = {
            "pair_id": pair_id,
            "side": side,
            "type": "LIMIT",
            "price": f"{mid * (1 + away):.2f}",
            "amount": f"{amount * chance.randint(1, 50):.5f}",
        }
        kind = chance.random()
        if kind < 0.1:
            body["type"] = "MARKET"
            del body["price"]
        elif kind < 0.2:
            body["time_in_force"] = chance.choice(["IOC", "FOK"])
        elif kind < 0.25:
            body["post_only"] = True
        if chance.random() < 0.2:
            body["simulation_params"] = {"execution_probability": 0.8, "price_impact": 0.0001}
        headers = {}
        has_key = chance.random() < 0.8
        if has_key:
            body["client_order_id"] = f"wish-{self._number}"
            if chance.random() < 0.5:
                headers["idempotency-key"] = f"key-{self._number}"
        return Wish(json.dumps(body).encode(), headers, has_key)

    async def _place(self, connection: HttpConnection, wish: Wish) -> None:
        sent = time.monotonic()
        try:
            answer = await self._timed(connection, "POST", ORDERS, wish.body, wish.headers)
        except LOST:
            if wish.has_key and wish.order_id is None and not self._stopping:
                self._unsure.append(wish)
            raise
        if answer.status in (200, 201):
            self.told.acknowledged_at.append((sent, time.monotonic()))
            self._note_placed(wish, answer)
        elif answer.status == 503:
            self._note_refused(answer)
            if wish.has_key and wish.order_id is None and not self._stopping:
                self._unsure.append(wish)
            await asyncio.sleep(0.05)
        else:
            self.told.wrong.append(f"placing {wish.body.decode()}: {answer}")

    def _note_placed(self, wish: Wish, answer: Answer) -> None:
        told, order_id = self.told, str(answer.content["order_id"])
        if wish.order_id is not None:
            told.repeated += 1
            if wish.order_id != order_id or answer.status != 200:
                told.wrong.append(f"{wish.order_id} repeated: {answer}")
            return
        wish.order_id, wish.first_answer = order_id, answer.content
        told.acknowledged[order_id] = wish
        if answer.content["status"] == "PENDING_NEW":
            self._open.append(order_id)

    async def _cancel(self, connection: HttpConnection, order_id: str) -> None:
        answer = await self._timed(connection, "DELETE", f"{ORDERS}/{order_id}", None, {})
        if answer.status in (200, 202):
            self.told.cancels.add(order_id)
        elif answer.status == 503:
            self._note_refused(answer)
            self._open.append(order_id)
            await asyncio.sleep(0.05)
        elif answer.status != 409:
            self.told.wrong.append(f"canceling {order_id}: {answer}")

    async def _timed(
        self, connection: HttpConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        started = time.monotonic()
        answer = await connection.request(method, path, body, headers)
        seconds = time.monotonic() - started
        self.told.slowest_s = max(self.told.slowest_s, seconds)
        self.told.seconds.append(seconds)
        self.told.statuses[answer.status] += 1
        return answer

    def _note_refused(self, answer: Answer) -> None:
        if not answer.headers.get("retry-after", "").isdigit():
            self.told.wrong.append(f"a 503 that does not say when to come back: {answer}")

    async def _watch_prices(self) -> None:
        """Keep prices near the market; a lost answer is no news."""
        connection = HttpConnection(self._port)
        while not self._stopping:
            for pair_id, (_, amount) in list(self._pairs.items()):
                try:
                    answer = await connection.request("GET", f"/api/v1/simulator/orderbook/{pair_id}?depth=1")
                except LOST:
                    continue
                if answer.status == 200 and answer.content["bids"] and answer.content["asks"]:
                    best = [float(answer.content[side][0]["price"]) for side in ("bids", "asks")]
                    self._pairs[pair_id] = (sum(best) / 2, amount)
            await asyncio.sleep(0.2)
        connection.close()
