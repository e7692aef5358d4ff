"""The outermost ASGI layer: body limits, API keys, rate limit, correlation ids and request metrics.

It refuses what should not reach a handler: bodies over 1 MiB, deeper than 32, late, encoded or not called JSON;
callers without a key where keys are set; pages of other sites (in a browser of this machine) where none are.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import re
import time
import types
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import structlog
from prometheus_client import Counter

from market_maker.api.own_account import OutOfBounds, bind, bound_account
from market_maker.api.problems import PROBLEM_JSON, problem
from market_maker.domain.errors import FieldError, InvalidRequest, NotFound, shorten
from market_maker.domain.ids import new_id
from market_maker.monitoring.histograms import HistogramChild
from market_maker.monitoring.logs import bind_caller, bind_correlation
from market_maker.monitoring.metrics import Metrics
from market_maker.monitoring.tracing import is_tracing, name_request, request_span

_log = structlog.get_logger("api")
_is_logged = logging.getLogger("api").isEnabledFor
MAX_BODY = 1 << 20
MAX_DEPTH = 32
BODY_S = 5.0
SCOPES = ("read", "trade", "admin")
Scope = Any
Message = Any
Receive = Any
Send = Any
ASGIApp = Any
Direct = Callable[[Scope, Send], Awaitable[None]]

_KEY_ENTRY = re.compile(
    r"(?P<scope>read|trade|admin)(?:@(?P<account>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?:(?P<digest>[0-9a-f]{64})"
)
_OPEN_PATHS = ("/health", "/api/v1/health", "/assets/")
STREAM_PROTOCOL = "market-maker"
"""What a browser names as WebSocket protocol beside its key, since it can set no headers there."""
_KEY_PROTOCOL = "key."
_CORRELATION = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_REMEMBERED_CLIENTS = 10_000
_JSON_TYPES = (b"application/json", b"application/json;charset=utf-8")
# a string, open or closed, is one token, so that no text makes the search look back
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class Refused(Exception):
    """A request that is answered here."""

    def __init__(
        self, status: int, title: str, detail: str, field: str = "", value: str = "", allowed: str = ""
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.errors = (FieldError(field, value, allowed),) if field else ()
        self.headers: dict[str, str] = {}


class ApiKeys:
    """The accepted keys, as sha256, with their scopes.

    Parameters
    ----------
    entries : texts ``scope:sha256-in-hex``, or ``scope@account-id:sha256-in-hex``, from the settings
    """

    def __init__(self, entries: tuple[str, ...]) -> None:
        self._keys: list[tuple[bytes, int]] = []
        self._accounts: dict[bytes, UUID] = {}
        for entry in entries:
            found = _KEY_ENTRY.fullmatch(entry)
            if found is None or (found["account"] and found["scope"] == "admin"):
                # what was given may be a key itself: it is not shown
                raise InvalidRequest.of(
                    "api_keys", "an entry", "scope:sha256-of-the-key in hex, scope read, trade or admin; read@ACCOUNT or"
                    " trade@ACCOUNT binds it to one account",
                )  # fmt: skip
            digest = bytes.fromhex(found["digest"])
            self._keys.append((digest, SCOPES.index(found["scope"])))
            if found["account"]:
                self._accounts[digest] = UUID(found["account"])

    def __bool__(self) -> bool:
        return bool(self._keys)

    def level(self, key: str) -> int | None:
        """Return the index of the key's scope, None for an unknown key; the time does not depend on the key."""
        digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
        found = None
        for known, level in self._keys:
            if hmac.compare_digest(known, digest):
                found = level
        return found

    def name(self, key: str, level: int) -> str:
        """Return what a known key may be called: its scope and the begin of its sha256, as `market-maker keys --list` shows it."""
        return f"{SCOPES[level]} {hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:12]}"

    def account(self, key: str) -> UUID | None:
        """Return the account that a known key is bound to, None when it is not."""
        return self._accounts.get(hashlib.sha256(key.encode("utf-8", "replace")).digest()) if self._accounts else None


class RateLimit:
    """A token bucket per client address: `per_second` on average, as many at once; 0 lets everything through."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str) -> bool:
        """Take one token; False when there is none."""
        if not self._per_second:
            return True
        now = time.monotonic()
        tokens, then = self._buckets.pop(address, (float(self._per_second), now))
        tokens = min(float(self._per_second), tokens + (now - then) * self._per_second)
        self._buckets[address] = (max(0.0, tokens - 1), now)
        while len(self._buckets) > _REMEMBERED_CLIENTS:
            self._buckets.popitem(last=False)
        return tokens >= 1


class Guard:
    """Wraps the application; see the module's text.

    `direct` handles (method, path) without a query by itself, past the application: the shortest way for what must
    be fast. What it needs lies in the scope's state: body and correlation_id.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: ApiKeys,
        rate_limit: int,
        metrics: Metrics,
        direct: Mapping[tuple[str, str], Direct] = MappingProxyType({}),
        check_bounds: Callable[[Scope], Awaitable[None]] | None = None,
        send_away: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._send_away = send_away
        self._draining = False
        self._check_bounds = check_bounds
        self._app = app
        self._direct = direct
        self._keys = keys
        self._rates = RateLimit(rate_limit)
        self._metrics = metrics
        self._kept: dict[tuple[str, str, int], tuple[Counter, HistogramChild]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not is_tracing() or scope["type"] != "http":
            await self._handle(scope, headers, receive, send)
            return
        with request_span(headers) as span:
            status = await self._handle(scope, headers, receive, send)
            route, correlation = scope.get("path_template") or "unmatched", scope["state"]["correlation_id"]
            name_request(span, scope["method"], route, status, correlation)

    async def _handle(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> int:
        """Handle one connection; return the status of the answer."""
        correlation = self._correlation(headers)
        scope["state"] = {**scope.get("state", {}), "correlation_id": correlation}
        started = time.perf_counter()
        status, is_begun = 500, False

        async def send_noted(message: Message) -> None:
            nonlocal status, is_begun
            is_begun = True
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-correlation-id", correlation.encode())]
            await send(message)

        try:
            bind_correlation(correlation)
            self._admit(scope, headers)
            if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
                receive = await self._read_body(scope, headers, receive)
                await self._check_account(scope)
                direct = self._direct.get((scope["method"], scope["path"]))
                if direct is not None and not scope["query_string"]:
                    scope["path_template"] = scope["path"]
                    await direct(scope, send_noted)
                    return status
            else:
                await self._check_account(scope)
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            # Whoever is not answered when the time for a stop is up is told so; the framework would call it a fault of ours.
            if not self._draining or scope["type"] != "http" or is_begun:
                raise
            await self._refuse(scope, _stopping(), send_noted)
        except Refused as refused:
            if refused.status == 413:
                await _drain(receive)
            await self._refuse(scope, refused, send_noted)
        finally:
            if scope["type"] == "http":
                self._note(scope, status, time.perf_counter() - started)
        return status

    async def drain(self) -> None:
        """Let in nothing new from now on (503), and close the streams; what is being answered goes on."""
        self._draining = True
        if self._send_away is not None:
            await self._send_away()

    def _correlation(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-correlation-id", b"").decode("latin-1")
        return given if _CORRELATION.fullmatch(given) else new_id().hex

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if self._draining:
            raise _stopping()
        client = scope.get("client")
        if not self._rates.admit(client[0] if client else ""):
            refused = Refused(429, "Too many requests", "the rate limit of this address is used up; try again later")
            refused.headers["Retry-After"] = "1"
            raise refused
        if not self._keys:
            _refuse_other_sites(headers)
            return
        if scope["path"] == "/" or scope["path"].startswith(_OPEN_PATHS):
            return
        given = headers.get(b"x-api-key", b"").decode("latin-1")
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        if authorization.lower().startswith("bearer "):
            given = authorization[7:].strip()
        if scope["type"] == "websocket":
            given = given or _key_among(scope.get("subprotocols", ()))
        level = self._keys.level(given)
        if level is None:
            refused = Refused(401, "Not authenticated", "give an API key in X-API-Key or Authorization: Bearer")
            refused.headers["WWW-Authenticate"] = "Bearer"
            raise refused
        scope["state"]["level"] = level
        needed = _needed_level(scope)
        if level < needed:
            raise Refused(403, "Not allowed", f"this needs a key of scope {SCOPES[needed]}")
        bind(self._keys.account(given))
        bind_caller(self._keys.name(given, level))

    async def _check_account(self, scope: Scope) -> None:
        """Refuse what a key that is bound to an account may not do; of another account's things nothing is told."""
        if bound_account() is None or self._check_bounds is None or scope["path"].startswith(_OPEN_PATHS):
            return
        try:
            await self._check_bounds(scope)
        except OutOfBounds:
            raise Refused(403, "Not allowed", "this key is bound to one account and may not do this") from None
        except NotFound as error:
            fault = error.errors[0]
            raise Refused(404, "Not found", error.detail, fault.field, fault.value, fault.allowed) from None

    async def _read_body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Read the whole body within its bounds; it is given on in the scope's state and by the `receive` returned."""
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(
                415, "Unsupported encoding", "the body must not be compressed", "content-encoding", "", "none"
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > MAX_BODY:
            raise _too_large()
        kind = headers.get(b"content-type")
        if kind is not None and kind.lower().replace(b" ", b"") not in _JSON_TYPES:
            raise Refused(
                415, "Unsupported media type", "a body is JSON", "content-type", "", "application/json, or none given"
            )
        reading = _whole_body(receive)
        try:
            waits_for = reading.send(None)
        except StopIteration as done:  # it was here already, as nearly always: no timer is needed
            body: bytes = done.value
        else:
            try:
                async with asyncio.timeout(BODY_S):
                    body = await _go_on(reading, waits_for)
            except TimeoutError:
                raise Refused(408, "Too slow", f"the body did not come within {BODY_S:g} s") from None
        if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
            raise Refused(
                400, "Invalid request", "the body is nested too deeply", "body", "", f"depth {MAX_DEPTH} at most"
            )
        scope["state"]["body"] = body
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    async def _refuse(self, scope: Scope, refused: Refused, send: Send) -> None:
        if scope["type"] == "websocket":
            code = {401: 4401, 503: 1001}.get(refused.status, 4403)
            await send({"type": "websocket.close", "code": code, "reason": ""})
            return
        answer = problem(refused.status, refused.title, str(refused), refused.errors)
        body = answer.content
        headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("path_template") or "unmatched"
        key = (scope["method"], route, status)
        kept = self._kept.get(key)
        if kept is None:
            count = self._metrics.http_requests.labels(scope["method"], route, str(status))
            kept = self._kept[key] = (count, self._metrics.http_seconds.labels(scope["method"], route))
        kept[0].inc()
        kept[1].observe(seconds)
        if status >= 500:
            _log.warning(
                "a request was not answered as it should be", method=scope["method"], route=route, status=status
            )
        elif _is_logged(logging.DEBUG):
            _log.debug("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1e3, 2))


def _stopping() -> Refused:
    refused = Refused(503, "Stopping", "the service is stopping; another takes over or it starts again")
    refused.headers |= {"Retry-After": "1", "Connection": "close"}
    return refused


def _key_among(protocols: Iterable[str]) -> str:
    """Return the key that a browser gives as a WebSocket protocol: `key.` and the key as base64 for URLs, unpadded."""
    text = next((name.removeprefix(_KEY_PROTOCOL) for name in protocols if name.startswith(_KEY_PROTOCOL)), "")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:  # base64's and UTF-8's errors alike
        return ""


def _needed_level(scope: Scope) -> int:
    """Reading needs read; accounts, pairs, sessions, limits and imports need admin; all else that changes needs trade.

    A stream reads, unless it is to cancel orders at its end.
    """
    if scope["type"] == "websocket":
        # As the handler reads it: a name may be written with escapes.
        return 1 if "cancel_on_disconnect" in parse_qs(scope["query_string"].decode("latin-1"), True) else 0
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return 0
    administered = ("/pairs", "/accounts", "/strategies", "/risk/limits", "/simulator/sessions", "/market-data")
    return 2 if scope["path"].removeprefix("/api/v1").startswith(administered) else 1


@types.coroutine
def _go_on(started: Coroutine[Any, Any, bytes], waits_for: Any) -> Generator[Any, Any, bytes]:
    """Await a coroutine that has made its first step and waits."""
    try:
        yield waits_for
    except BaseException as error:
        started.throw(error)
        raise
    body: bytes = yield from started
    return body


async def _whole_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "Invalid request", "the body ended too early", "body", f"{size} bytes", "a whole body")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _drain(receive: Receive) -> None:
    """Read for a second what is not wanted: a caller who is still sending when we close would never see our answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass


def _refuse_other_sites(headers: dict[bytes, bytes]) -> None:
    """Refuse what a page of another site makes the user's browser send to a service that asks for no key.

    A page elsewhere shows itself by its Origin; one that made its own name point to this machine, by that name in Host.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    if name and name.lower() != "localhost" and not _is_address(name.strip("[]")):
        raise Refused(403, "Not allowed", "without API keys the service answers to localhost and to addresses only",
                      "host", shorten(host), "localhost or an address")  # fmt: skip
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").rpartition("://")[2] != host:
        raise Refused(403, "Not allowed", "without API keys pages of other sites are not answered",
                      "origin", shorten(origin.decode("latin-1")), "the service's own pages")  # fmt: skip


@lru_cache(1024)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _too_large() -> Refused:
    return Refused(413, "Body too large", f"a body may have {MAX_BODY} bytes", "body", "", f"at most {MAX_BODY} bytes")


def _depth(body: bytes) -> int:
    """Return how deeply JSON text is nested, strings apart; counts no further than to what is too deep."""
    depth = deepest = 0
    for token in _TOKENS.finditer(body):
        first = body[token.start()]
        if first in b"{[":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif first in b"}]":
            depth -= 1
    return deepest
