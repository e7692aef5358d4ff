"""HTTP as bytes: what a well-behaved client would never send can be sent, and every answer is timed.

Knows how to send and how to read one answer; knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back: status 0 when the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def is_problem(self) -> bool:
        """True for a problem document that has all its members."""
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return False
        content = self.json()
        return isinstance(content, dict) and {"type", "title", "status", "detail", "errors"} <= set(content)

    @property
    def fields(self) -> list[str]:
        """The fields that a problem names."""
        return [fault["field"] for fault in self.json()["errors"]] if self.is_problem else []

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)


def request_bytes(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return one request with the headers of a decent client, unless they are given."""
    lines = {"Host": "127.0.0.1", "Connection": "close", **(headers or {})}
    if body and not {"content-length", "transfer-encoding"} & {name.lower() for name in lines}:
        lines["Content-Length"] = str(len(body))
    if body and "content-type" not in {name.lower() for name in lines}:
        lines["Content-Type"] = "application/json"
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


async def chunked(total: int, chunk: bytes) -> AsyncIterator[bytes]:
    """Yield a chunked body of at least `total` bytes."""
    part = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
    for _ in range(total // len(chunk) + 1):
        yield part
    yield b"0\r\n\r\n"


async def exchange(
    port: int, data: bytes, more: AsyncIterator[bytes] | None = None, *, end: bool = False, timeout_s: float = 5.0
) -> RawAnswer:
    """Send bytes (and `more`; `end` closes our side afterwards) and return the first final answer."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        async with asyncio.timeout(timeout_s):
            sending = asyncio.create_task(_send(writer, data, more, end=end))
            try:
                return await _read(reader, started)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, data: bytes, more: AsyncIterator[bytes] | None, *, end: bool) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
        if more is not None:
            async for part in more:
                writer.write(part)
                await writer.drain()
        if end:
            writer.write_eof()


async def _read(reader: asyncio.StreamReader, started: float) -> RawAnswer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return RawAnswer(0, {}, b"", time.perf_counter() - started)
    headers = {}
    for line in head[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        length = headers.get("content-length")
        if headers.get("transfer-encoding") == "chunked":
            body = await _chunks(reader)
        else:
            body = await (reader.read() if length is None else reader.readexactly(int(length)))
        return RawAnswer(int(head[0].split(" ")[1]), headers, body, time.perf_counter() - started)
    return RawAnswer(int(head[0].split(" ")[1]), headers, b"", time.perf_counter() - started)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body
