"""HTTP/1.1 as uvicorn speaks it, with a bound on what a request may carry beside its body.

uvicorn's parser keeps request lines, headers and trailers of any length in memory; here they end the connection.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 128 << 10
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
_PROBLEM = (
    b'{"type":"about:blank","title":"Headers too large","status":431,"detail":"request line and headers may have'
    b' 131072 bytes","errors":[]}'
)


class BoundedHttp(HttpToolsProtocol):
    """Counts the bytes that are no body; more than `MAX_HEAD` of them in one request are answered 431."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._beside_body = 0

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self.transport.is_closing():
            return
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_ANSWER % (len(_PROBLEM), _PROBLEM))
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count anew."""
        self._beside_body = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Do not count a body: the guard bounds it."""
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew."""
        self._beside_body = 0
        super().on_message_complete()
