"""An open-loop HTTP client: every query leaves at its time, whether or not the ones before it have been answered.

Latency counts from the time at which the query was due, so that a slow server cannot hide behind a waiting client.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

OK = 200
LAST_ANSWER_TIMEOUT_S = 5.0


class Reply(NamedTuple):
    """What came back for query ``index``, and how long after it was due.

    ``default_code`` is why the answer is the default output, ``error`` why there is none; ``query_id`` is what feedback
    names.
    """

    index: int
    latency_s: float
    output: object
    default_code: str | None
    error: str | None
    query_id: str | None = None


class Connection(asyncio.Protocol):
    """One keep-alive connection with one query at a time on it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = b""
        self.on_body: Callable[[int, bytes], None] | None = None
        self.on_lost: Callable[[Connection], None] | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102  # asyncio's
        self.transport = transport  # type: ignore[assignment]  # a TCP transport can write

    def send(self, request: bytes, on_body: Callable[[int, bytes], None]) -> None:
        """Send one request; ``on_body(status, body)`` runs once, when the answer is complete."""
        self.on_body = on_body
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:  # noqa: D102  # asyncio's
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or self.on_body is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.received = b""
        on_body, self.on_body = self.on_body, None
        on_body(int(head[9:12]), body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102, ARG002  # asyncio's
        self.closed.set()
        if self.on_lost is not None:
            self.on_lost(self)


class OpenLoop:
    """Sends ``bodies`` to ``url``, ``rate_qps`` of them a second, over as many connections as that needs."""

    def __init__(self, url: str, bodies: Sequence[bytes], rate_qps: float) -> None:
        self.replies: list[Reply] = []
        self.sent = 0
        self.on_reply: Callable[[Reply], None] = self.replies.append
        self._parts = urlsplit(url)
        self._bodies = bodies
        self._rate_qps = rate_qps
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._in_flight: dict[Connection, tuple[int, float]] = {}
        self._all_answered = asyncio.Event()
        self._milestone = 0
        self._at_milestone = asyncio.Event()

    async def run(self) -> None:
        """Send everything and wait for the last answer."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for index, body in enumerate(self._bodies):
            due_s = start_s + index / self._rate_qps
            if (early_s := due_s - loop.time()) > 0:
                await asyncio.sleep(early_s)
            connection = self._idle.pop() if self._idle else await self._connect()
            self._send(connection, index, due_s, body)
            self.sent = index + 1
            if self.sent == self._milestone:
                self._at_milestone.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_answered.wait(), LAST_ANSWER_TIMEOUT_S)
        for connection in list(self._open):
            connection.transport.close()
            await connection.closed.wait()

    async def reached(self, sent: int) -> None:
        """Wait until that many queries have left; one at a time may wait."""
        self._milestone = sent
        if self.sent < sent:
            self._at_milestone.clear()
            await self._at_milestone.wait()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._parts.hostname, self._parts.port)
        connection.on_lost = self._lost
        self._open.add(connection)
        return connection

    def _send(self, connection: Connection, index: int, due_s: float, body: bytes) -> None:
        head = f"POST {self._parts.path} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nContent-Type: application/json\r\n"
        request = b"%sContent-Length: %d\r\n\r\n%s" % (head.encode(), len(body), body)
        self._in_flight[connection] = index, due_s
        self._all_answered.clear()
        connection.send(request, lambda status, reply: self._answered(connection, status, reply))

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        index, due_s = self._forget(connection)
        self._idle.append(connection)
        reply = json.loads(body)
        error = None if status == OK else f"{status} {reply.get('code', '')}"
        default_code = reply["default_explanation"].partition(":")[0] if reply.get("default") else None
        latency_s = asyncio.get_running_loop().time() - due_s
        self.on_reply(Reply(index, latency_s, reply.get("output"), default_code, error, reply.get("query_id")))

    def _lost(self, connection: Connection) -> None:
        """A connection that the server closed: what was asked on it has no answer, which `replies` then lacks."""
        self._open.discard(connection)
        if connection in self._in_flight:
            self._forget(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _forget(self, connection: Connection) -> tuple[int, float]:
        asked = self._in_flight.pop(connection)
        if not self._in_flight:
            self._all_answered.set()
        return asked
