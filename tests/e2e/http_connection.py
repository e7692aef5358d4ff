"""One HTTP/1.1 connection kept alive, with as little in it as a load generator can afford.

Knows requests and answers with a length; knows nothing of retries.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `content` is decoded JSON, or text when it is not JSON."""

    status: int
    headers: dict[str, str]
    content: Any


class HttpConnection:
    """A connection to a port of this machine, opened on first use and again after a loss.

    A loss is an OSError or an IncompleteReadError: whether the request was carried out is then unknown.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Answer:
        """Send a request (`body` is bytes or anything JSON takes) and return its answer."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(payload)}"]
        lines += ["content-type: application/json"] if payload else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
        try:
            async with asyncio.timeout(timeout_s):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self._streams
                writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
                return await self._read(reader)
        except BaseException:
            self.close()
            raise

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for line in head[1:]:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.lower()] = value.strip()
        text = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        is_json = "json" in headers.get("content-type", "")
        content = json.loads(text) if is_json and text else text.decode("utf-8", "replace")
        return Answer(int(head[0].split(" ")[1]), headers, content)

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
