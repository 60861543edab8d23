"""One keep-alive connection with one query at a time on it, and the least that reading our own replies takes."""

import asyncio
import re
from typing import Protocol

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d\d\d)")
MAX_HEAD_BYTES = 65_536


class ConnectionEvents(Protocol):
    """What the owner of connections is told."""

    def on_reply(self, connection: "HttpConnection", status: int, body: bytes) -> None:
        """The answer is complete; the connection is free, unless it is closing."""
        ...

    def on_unreadable(self, connection: "HttpConnection") -> None:
        """What came is no reply that this reader knows; the connection is closing."""
        ...

    def on_closed(self, connection: "HttpConnection") -> None:
        """The connection is gone. Told of every connection once, whoever closed it."""
        ...


class HttpConnection(asyncio.Protocol):
    """Sends requests, reads replies with a ``Content-Length``. ``due_s`` belongs to the query under way, if any."""

    __slots__ = ("_events", "_received", "due_s", "transport")
    transport: asyncio.Transport

    def __init__(self, events: ConnectionEvents) -> None:
        self._events = events
        self._received = b""
        self.due_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102  # asyncio's
        self.transport = transport  # type: ignore[assignment]  # a TCP transport can write

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102, ARG002  # asyncio's
        self._events.on_closed(self)

    def send(self, request: bytes, due_s: float) -> None:
        """Send the only request that is under way; on a connection that is closing, it is lost with it."""
        self.due_s = due_s
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:  # noqa: D102  # asyncio's
        if self._received:
            data = self._received + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._wait_for_more(data, whole_head=False)
            return
        status = _STATUS_LINE.match(data)
        length = _LENGTH.search(data, 0, head_end)
        if status is None or length is None or self.due_s is None:
            self._refuse()
            return
        body_start = head_end + 4
        missing = body_start + int(length[1]) - len(data)
        if missing > 0:
            self._wait_for_more(data, whole_head=True)
        elif missing < 0:  # two replies to one request
            self._refuse()
        else:
            self._received = b""
            if _CLOSE.search(data, 0, head_end) is not None:
                self.transport.close()
            self._events.on_reply(self, int(status[1]), data[body_start:])

    def _wait_for_more(self, data: bytes, *, whole_head: bool) -> None:
        if not whole_head and len(data) > MAX_HEAD_BYTES:
            self._refuse()
        else:
            self._received = data

    def _refuse(self) -> None:
        self.transport.abort()
        self._events.on_unreadable(self)
